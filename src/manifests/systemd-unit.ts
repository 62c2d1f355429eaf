/** The systemd unit that runs the agent in containerd, for machines whose kubelet runs no static pods. Pure. */
import { PREFIX } from "../config/settings.ts";
import type { SettingName } from "../config/settings.ts";
import { fullReference } from "./image.ts";
import type { Mount } from "./mounts.ts";
import { MEMORY_LIMIT_MIB } from "./pod.ts";

export interface SystemdUnitOptions {
  /** What a person has set, as it was written. */
  readonly given: ReadonlyMap<SettingName, string>;
  readonly image: string;
  readonly mounts: readonly Mount[];
  readonly capabilities: readonly string[];
  /** Seconds that the agent has for its end. */
  readonly graceSeconds: number;
}

/** What `ctr run` gives to a container without being asked (containerd's oci.defaultUnixCaps). */
const CAPABILITIES_OF_CTR = [
  "CHOWN",
  "DAC_OVERRIDE",
  "FSETID",
  "FOWNER",
  "MKNOD",
  "NET_RAW",
  "SETGID",
  "SETUID",
  "SETFCAP",
  "SETPCAP",
  "NET_BIND_SERVICE",
  "SYS_CHROOT",
  "KILL",
  "AUDIT_WRITE",
];

/**
 * A word of a command line in a unit file: systemd expands `%` and `$` also in quotes, and reads C's escapes
 * there (systemd.service(5), systemd.syntax(7)).
 */
function word(text: string): string {
  const escaped = text
    .replaceAll("\\", String.raw`\\`)
    .replaceAll('"', String.raw`\"`)
    .replaceAll("\n", String.raw`\n`)
    .replaceAll("\t", String.raw`\t`)
    .replaceAll("%", "%%")
    .replaceAll("$", "$$$$");
  return `"${escaped}"`;
}

function bind({ path, readOnly }: Mount): string {
  return `--mount type=bind,src=${path},dst=${path},options=rbind:${readOnly ? "ro" : "rw"}`;
}

/** The text of the unit. The mounts' paths have no blank and no comma: the caller has checked them. */
export function systemdUnit(options: SystemdUnitOptions): string {
  const { given, image, mounts, capabilities, graceSeconds } = options;
  const ctr = "ctr -n leasehold";
  const remove = (when: string): string[] => [
    `${when}=-${ctr} tasks delete --force leasehold`,
    `${when}=-${ctr} containers delete leasehold`,
  ];
  const folders = mounts.filter(({ type }) => type === "DirectoryOrCreate").map(({ path }) => path);
  const dropped = CAPABILITIES_OF_CTR.filter((name) => !capabilities.includes(name));
  const added = capabilities.filter((name) => !CAPABILITIES_OF_CTR.includes(name));
  const run = [
    `ExecStart=${ctr} run --rm --net-host --read-only --seccomp --memory-limit ${MEMORY_LIMIT_MIB * 1024 * 1024}`,
    ...dropped.map((name) => `--cap-drop CAP_${name}`),
    ...added.map((name) => `--cap-add CAP_${name}`),
    ...mounts.map(bind),
    ...[...given].map(([name, value]) => `--env ${word(`${PREFIX}${name}=${value}`)}`),
    `${fullReference(image)} leasehold leasehold run`,
  ];
  return `# systemd unit for a machine whose kubelet runs no static pods. \`leasehold manifest systemd --vip ADDRESS\` prints it
# with your settings. docs/guides/systemd.md says where to put it. The image lies in containerd's namespace \`leasehold\`,
# where the kubelet does not collect it as garbage.
[Unit]
Description=Leasehold, the virtual IP of a Kubernetes control plane
Wants=containerd.service
After=containerd.service
StartLimitIntervalSec=0

[Service]
Type=exec
# A power loss leaves the container's name behind.
${remove("ExecStartPre").join("\n")}
ExecStartPre=mkdir -p ${folders.join(" ")}
${run.join(" \\\n  ")}
# ctr passes SIGTERM on to the agent, which hands the VIP over. If ctr alone is killed, the agent ends here.
${remove("ExecStopPost").join("\n")}
TimeoutStopSec=${graceSeconds}
Restart=always
RestartSec=1
# Exit status 2: a setting is wrong, and the log says which.
RestartPreventExitStatus=2

[Install]
WantedBy=multi-user.target
`;
}

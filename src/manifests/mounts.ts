/** Which of the node's files a static pod mounts, by its settings. Pure. */
import { posix } from "node:path";
import type { Config } from "../config/config.ts";
import { splitCommand } from "../config/command-line.ts";
import { PREFIX } from "../config/settings.ts";
import type { SettingName } from "../config/settings.ts";
import { shown } from "../config/text.ts";

export interface Mount {
  /** Name of the volume. */
  readonly name: string;
  /** The same path on the node and in the container. */
  readonly path: string;
  readonly readOnly: boolean;
  /** Kubernetes' hostPath type. */
  readonly type: "DirectoryOrCreate" | "Directory" | "FileOrCreate";
  /** Lines above the volume, without "# ". */
  readonly comment: readonly string[];
}

export interface Mounts {
  readonly mounts: readonly Mount[];
  /** One sentence for each path that cannot be mounted. */
  readonly problems: readonly string[];
  /** What may not come out as the person expects. */
  readonly warnings: readonly string[];
}

export const ETC_KUBERNETES = "/etc/kubernetes";
/** Where kubeadm has the kubelet's kubeconfig, which is a worker's only one. */
export const KUBELET_CONF = `${ETC_KUBERNETES}/kubelet.conf`;
const KUBELET_PKI = "/var/lib/kubelet/pki";

/** A mount over one of these would hide what the image itself runs on. */
const OF_THE_IMAGE = [
  "/app",
  "/bin",
  "/boot",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/sbin",
  "/usr",
] as const;
/** Every container has its own, made by the runtime. */
const OF_THE_RUNTIME = ["/proc", "/sys", "/dev"] as const;

const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(`${directory}/`);
const isIn = (file: string, directory: string): boolean =>
  isWithin(posix.dirname(posix.normalize(file)), directory);
const isAnyOf = (path: string, directories: readonly string[]): boolean =>
  directories.some((directory) => isWithin(path, directory));

/** A path in one of the image's own directories of programs. */
export const isOfTheImage = (path: string): boolean => isAnyOf(posix.normalize(path), OF_THE_IMAGE);

/** Why the pod cannot mount this directory, behind the directory's name; undefined when it can. */
export const mountProblem = (path: string): string | undefined =>
  obstacle({ path: posix.normalize(path), type: "DirectoryOrCreate" });

/** Why the pod cannot mount this; undefined when it can. */
function obstacle({ path, type }: Pick<Mount, "path" | "type">): string | undefined {
  if (path.includes(":"))
    return "has a colon in it, which Kubernetes refuses in the path of a mount; use one without";
  if (isAnyOf(path, OF_THE_IMAGE))
    return "would hide the image's own files; use a directory of its own, such as /etc/leasehold or /var/lib/leasehold";
  if (isAnyOf(path, OF_THE_RUNTIME))
    return "is each container's own and not the node's; use another, such as /run/leasehold or /var/lib/leasehold";
  // A single file hides nothing but itself: /etc/machine-id.
  if (type === "FileOrCreate" || path.split("/").filter((part) => part !== "").length > 1) return undefined;
  return "holds more than the pod may see, so it is not mounted as a whole; use a directory below a top-level one, such as /etc/leasehold or /var/lib/leasehold";
}

class Collector {
  readonly mounts: Mount[] = [];
  readonly problems: string[] = [];
  readonly warnings: string[] = [];
  readonly #writable: readonly Mount[];

  /**
   * @param writable the directories that the pod writes to. A file in one of them needs no mount of its own
   */
  constructor(writable: readonly Mount[]) {
    this.#writable = writable;
  }

  #isCovered(path: string): boolean {
    return [...this.mounts, ...this.#writable].some((mount) => isWithin(path, mount.path));
  }

  /**
   * Adds a mount unless another one contains its path. `setting` has that path, or a file in it, as its
   * value `value`.
   */
  add(mount: Mount, setting: SettingName, value: string): void {
    const { path, readOnly } = mount;
    if (
      readOnly
        ? this.#isCovered(path)
        : this.mounts.some((other) => !other.readOnly && isWithin(path, other.path))
    )
      return;
    const reason = obstacle(mount);
    if (reason === undefined) this.mounts.push(mount);
    else
      this.problems.push(`${PREFIX}${setting}=${shown(value)} cannot be mounted: ${path} ${reason}`);
  }

  /**
   * Mounts the directory of a file and not the file: when a mounted file is replaced, the pod goes on
   * seeing the old one.
   */
  directoryOf(
    file: string,
    name: string,
    setting: SettingName,
    value = file,
    comment: readonly string[] = [],
  ): void {
    const path = posix.dirname(posix.normalize(file));
    if (isAnyOf(path, OF_THE_RUNTIME)) return;
    this.add({ name, path, readOnly: true, type: "DirectoryOrCreate", comment }, setting, value);
  }
}

const directory = (path: string): string => posix.normalize(path).replace(/(?<=.)\/$/, "");
const writable = (name: string, path: string): Mount => ({
  name,
  path: directory(path),
  readOnly: false,
  type: "DirectoryOrCreate",
  comment: [],
});

/** The mounts of a control-plane node. */
export function podMounts(config: Config): Mounts {
  const { kubeconfig, adminKubeconfig, stateDir, dataDir, machineIdFile, trackFile, trackExec, notify, notifyFifo, apiServerManifest } =
    config;
  const run = writable("run", stateDir);
  const data = writable("data", dataDir);
  const found = new Collector([run, data]);
  if (adminKubeconfig !== null && isIn(adminKubeconfig, ETC_KUBERNETES)) {
    found.add(
      {
        name: "etc-kubernetes",
        path: ETC_KUBERNETES,
        readOnly: true,
        type: "DirectoryOrCreate",
        comment: [
          "The pod mounts the directory and not the files in it. The pod starts before its kubeconfig and admin.conf exist,",
          "and when a mounted file is replaced, the pod goes on seeing the old one. The keys of the cluster's CA, of etcd and",
          "of service accounts are in there too. When the agents have their own kubeconfig, use the manifest that mounts none",
          "of these: `leasehold manifest pod --admin-kubeconfig none` (docs/guides/least-files.md).",
        ],
      },
      "KUBECONFIG",
      kubeconfig,
    );
  }
  if (adminKubeconfig === null && posix.dirname(posix.normalize(kubeconfig)) === ETC_KUBERNETES)
    found.warnings.push(
      `${PREFIX}KUBECONFIG=${shown(kubeconfig)} makes the pod mount all of ${ETC_KUBERNETES}, with the keys of the cluster; use a directory of its own, such as ${ETC_KUBERNETES}/leasehold`,
    );
  found.directoryOf(kubeconfig, "kubeconfig", "KUBECONFIG", kubeconfig, [
    "The pod mounts the directory and not the file: when a mounted file is replaced, the pod goes on seeing the old one.",
  ]);
  if (adminKubeconfig !== null) found.directoryOf(adminKubeconfig, "admin-kubeconfig", "ADMIN_KUBECONFIG");
  found.directoryOf(apiServerManifest, "api-server-manifest", "API_SERVER_MANIFEST");
  found.add(run, "STATE_DIR", stateDir);
  found.add(data, "DATA_DIR", dataDir);
  const machineId = posix.normalize(machineIdFile);
  if (!isAnyOf(machineId, OF_THE_RUNTIME)) {
    found.add(
      {
        name: "machine-id",
        path: machineId,
        readOnly: true,
        type: "FileOrCreate",
        comment: [
          "Where a machine has none, the kubelet creates an empty file. The agent then makes an id up and warns, and systemd",
          "fills the file at the next boot (machine-id(5)).",
        ],
      },
      "MACHINE_ID_FILE",
      machineIdFile,
    );
  }
  if (trackFile !== undefined) found.directoryOf(trackFile, "track-file", "TRACK_FILE");
  if (notifyFifo !== undefined) {
    const pipes = writable("notify-fifo", posix.dirname(notifyFifo));
    found.add(pipes, "NOTIFY_FIFO", notifyFifo);
  }
  if (trackExec !== undefined) program("TRACK_EXEC", "track-exec", trackExec, found);
  if (notify !== undefined) program("NOTIFY", "notify", notify, found);
  return found;
}

/**
 * A check's or a hook's program runs inside the container. One outside the image's directories of programs is the
 * node's, so it is mounted. So are the scripts that a shell of the image is given.
 */
function program(setting: SettingName, volume: string, command: string, found: Collector): void {
  // The settings' parser has refused a command that names no program.
  const [name = "", ...args] = splitCommand(command) ?? [];
  if (name.startsWith("/") && !isOfTheImage(name)) return found.directoryOf(name, volume, setting, command);
  const scripts = SHELL.test(posix.basename(name)) ? scriptsIn(args) : [];
  scripts.forEach((path, at) => {
    found.directoryOf(path, at === 0 ? volume : `${volume}-${at + 1}`, setting, command);
  });
  if (scripts.length === 0)
    found.warnings.push(
      `${PREFIX}${setting}=${shown(command)} runs ${name} of the image, not of the node; a program of the node's own has to lie elsewhere, such as in /etc/leasehold`,
    );
}

const SHELL = /^(?:ba|da)?sh$/;

/** The absolute paths in a shell's arguments that the pod can mount. */
const scriptsIn = (args: readonly string[]): readonly string[] =>
  [...args.join(" ").matchAll(/(?<=^|[\s;&|(<>'"])\/[\w.@%+-]+(?:\/[\w.@%+-]+)+/g)]
    .map(([path]) => posix.normalize(path))
    .filter((path) => mountProblem(posix.dirname(path)) === undefined);

const KUBELETS_DIRECTORIES = [
  "The pod mounts directories and not the files in them: kubelet.conf names a symbolic link in /var/lib/kubelet/pki,",
  "and after each renewal the link leads to another file.",
];

/**
 * The mounts of a worker. It takes no part in the election, so it has neither state nor machine id nor
 * checks.
 */
export function workerMounts(config: Config, isSet: (name: SettingName) => boolean): Mounts {
  const { kubeconfig, adminKubeconfig, dataDir } = config;
  const data = writable("data", dataDir);
  const found = new Collector([data]);
  const fallback = isSet("ADMIN_KUBECONFIG") ? adminKubeconfig : null;
  const files = [kubeconfig, ...(fallback === null ? [] : [fallback])];
  const isKubelets = posix.normalize(kubeconfig) === KUBELET_CONF;
  if (files.some((file) => isWithin(posix.dirname(posix.normalize(file)), ETC_KUBERNETES))) {
    const comment = isKubelets ? KUBELETS_DIRECTORIES : [];
    found.add(
      { name: "etc-kubernetes", path: ETC_KUBERNETES, readOnly: true, type: "Directory", comment },
      "KUBECONFIG",
      kubeconfig,
    );
  }
  found.directoryOf(kubeconfig, "kubeconfig", "KUBECONFIG");
  if (isKubelets)
    found.add(
      { name: "kubelet-pki", path: KUBELET_PKI, readOnly: true, type: "Directory", comment: [] },
      "KUBECONFIG",
      kubeconfig,
    );
  if (fallback !== null) found.directoryOf(fallback, "admin-kubeconfig", "ADMIN_KUBECONFIG");
  found.add(data, "DATA_DIR", dataDir);
  return found;
}

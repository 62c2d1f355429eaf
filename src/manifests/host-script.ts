/** The script that is `leasehold` on a host, which has no Node: it runs the command in the image. Pure. */
import { PREFIX } from "../config/settings.ts";
import type { SettingName } from "../config/settings.ts";
import { fullReference } from "./image.ts";
import type { Mount } from "./mounts.ts";

export interface HostScriptOptions {
  /** What a person has set, as it was written. */
  readonly given: ReadonlyMap<SettingName, string>;
  readonly image: string;
  readonly mounts: readonly Mount[];
}

/**
 * What `leasehold doctor` looks at beyond the pod's own mounts, each with its place in the container: every
 * process of the machine, and the files of the kubelet and of keepalived. All of it is read-only.
 */
const DOCTORS: readonly (readonly [source: string, place: string])[] = [
  ["/proc", "/host/proc"],
  ["/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/kubeadm-flags.env"],
  ["/etc/default/kubelet", "/etc/default/kubelet"],
  ["/etc/sysconfig/kubelet", "/etc/sysconfig/kubelet"],
  ["/etc/keepalived", "/etc/keepalived"],
];

/** A word of a POSIX shell that stands for itself. */
const word = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** The text of the script. */
export function hostScript({ given, image, mounts }: HostScriptOptions): string {
  const env = [...given].map(([name, value]) => ` --env ${word(`${PREFIX}${name}=${value}`)}`).join("");
  const paths = mounts.map(({ path }) => word(path));
  const doctors = DOCTORS.map(([source, place]) => `${source}:${place}`);
  return `#!/bin/sh
# \`leasehold\` on a host, as root. \`leasehold manifest cli\` prints it. Put it into /usr/local/sbin/leasehold, mode 0755.
# While the pod runs, the command runs in its container (crictl exec), with the pod's settings. Otherwise it runs in a
# container of its own (ctr run), with the settings that were given to \`leasehold manifest cli\`. \`leasehold doctor\`
# always has a container of its own, because it looks at the machine's processes, and so has \`leasehold import\`, because
# it reads the machine's files. They have the pod's settings while it runs.
set -eu

usage() {
  echo "$1" >&2
  exit 2
}
[ "$(id -u)" -eq 0 ] || usage 'leasehold: run this as root: it asks containerd'
[ $# -gt 0 ] || set -- --help
case "$1" in
  run) usage 'leasehold: the agent runs as a static pod, and not from here: see \`leasehold manifest pod\`' ;;
  --*) [ "$1" = --help ] || [ "$1" = --version ] || usage "leasehold: unknown flag $1" ;;
esac

container=$(crictl ps --state Running --name '^leasehold$' --quiet 2>/dev/null | head -n 1) || container=
case "$1" in doctor | import) inside= ;; *) inside=$container ;; esac
if [ -n "$inside" ]; then
  # --sync passes the exit status on, and shows the output at the end.
  sync=--sync
  for argument; do
    case "$argument" in -w | --watch) sync= ;; esac
  done
  exec crictl exec $sync "$inside" leasehold "$@"
fi

binds=
mount() {
  [ ! -e "$1" ] || binds="$binds --mount type=bind,src=$1,dst=$2,options=rbind:ro"
}
for path in ${paths.join(" ")}; do
  mount "$path" "$path"
done
if [ "$1" = doctor ]; then
  for path in ${doctors.join(" ")}; do
    mount "\${path%%:*}" "\${path#*:}"
  done
elif [ "$1" = import ]; then
  # The files that are named. ctr takes neither a blank nor a comma in a path.
  for path; do
    case "$path" in
      *[!A-Za-z0-9._/@+-]*) ;;
      /*) [ ! -f "$path" ] || mount "$path" "$path" ;;
      *) [ ! -f "$path" ] || usage "leasehold: name $path by its whole path: $(pwd)/$path" ;;
    esac
  done
fi
set -- ${word(fullReference(image))} "leasehold-cli-$$" leasehold "$@"
if [ -n "$container" ]; then
  settings=$(crictl exec --sync "$container" env | grep '^${PREFIX}') || settings=
  while IFS= read -r setting; do
    [ -z "$setting" ] || set -- --env "$setting" "$@"
  done <<EOF
$settings
EOF
else
  echo 'leasehold: the pod does not run, so this is a container of its own' >&2
${env === "" ? "" : `  set --${env} "$@"\n`}fi
# The paths have no blank and no comma: \`leasehold manifest cli\` has checked them.
# shellcheck disable=SC2086
exec ctr -n k8s.io run --rm --net-host --cap-add CAP_NET_ADMIN --cap-add CAP_NET_RAW $binds "$@"
`;
}

/** One sentence for each mount that cannot be a word of `ctr run`. */
export function ctrProblems(mounts: readonly Mount[]): readonly string[] {
  return mounts
    .filter(({ path }) => !/^[\w./@+-]+$/.test(path))
    .map(({ path }) => `${JSON.stringify(path)} cannot be mounted by ctr; use a path of letters, digits and ._@+-/`);
}

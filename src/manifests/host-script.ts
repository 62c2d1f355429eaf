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

/** A word of a POSIX shell that stands for itself. */
const word = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** The text of the script. */
export function hostScript({ given, image, mounts }: HostScriptOptions): string {
  const env = [...given].map(([name, value]) => `  --env ${word(`${PREFIX}${name}=${value}`)} \\\n`);
  const paths = mounts.map(({ path }) => word(path));
  return `#!/bin/sh
# \`leasehold\` on a host, as root. \`leasehold manifest cli\` prints it. Put it into /usr/local/sbin/leasehold, mode 0755.
# While the pod runs, the command runs in its container (crictl exec), with the pod's settings. Otherwise it runs in a
# container of its own (ctr run), with the settings that were given to \`leasehold manifest cli\`.
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
if [ -n "$container" ]; then
  # --sync passes the exit status on, and shows the output at the end.
  sync=--sync
  for argument; do
    case "$argument" in -w | --watch) sync= ;; esac
  done
  exec crictl exec $sync "$container" leasehold "$@"
fi

echo 'leasehold: the pod does not run, so this is a container of its own' >&2
binds=
for path in ${paths.join(" ")}; do
  [ ! -e "$path" ] || binds="$binds --mount type=bind,src=$path,dst=$path,options=rbind:ro"
done
# The paths have no blank and no comma: \`leasehold manifest cli\` has checked them.
# shellcheck disable=SC2086
exec ctr -n k8s.io run --rm --net-host --cap-add CAP_NET_ADMIN --cap-add CAP_NET_RAW $binds \\
${env.join("")}  ${word(fullReference(image))} "leasehold-cli-$$" leasehold "$@"
`;
}

/** One sentence for each mount that cannot be a word of `ctr run`. */
export function ctrProblems(mounts: readonly Mount[]): readonly string[] {
  return mounts
    .filter(({ path }) => !/^[\w./@+-]+$/.test(path))
    .map(({ path }) => `${JSON.stringify(path)} cannot be mounted by ctr; use a path of letters, digits and ._@+-/`);
}

#!/bin/sh
# `leasehold` on a host, as root. `leasehold manifest cli` prints it. Put it into /usr/local/sbin/leasehold, mode 0755.
# While the pod runs, the command runs in its container (crictl exec), with the pod's settings. Otherwise it runs in a
# container of its own (ctr run), with the settings that were given to `leasehold manifest cli`. `leasehold doctor`
# always has a container of its own, because it looks at the machine's processes, and so has `leasehold import`, because
# it reads the machine's files. They have the pod's settings while it runs.
set -eu

usage() {
  echo "$1" >&2
  exit 2
}
[ "$(id -u)" -eq 0 ] || usage 'leasehold: run this as root: it asks containerd'
[ $# -gt 0 ] || set -- --help
case "$1" in
  run) usage 'leasehold: the agent runs as a static pod, and not from here: see `leasehold manifest pod`' ;;
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
for path in '/etc/kubernetes' '/run/leasehold' '/var/lib/leasehold' '/etc/machine-id'; do
  mount "$path" "$path"
done
if [ "$1" = doctor ]; then
  for path in /proc:/host/proc /var/lib/kubelet/kubeadm-flags.env:/var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet:/etc/default/kubelet /etc/sysconfig/kubelet:/etc/sysconfig/kubelet /etc/keepalived:/etc/keepalived; do
    mount "${path%%:*}" "${path#*:}"
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
set -- 'docker.io/library/leasehold:0.1.0' "leasehold-cli-$$" leasehold "$@"
if [ -n "$container" ]; then
  settings=$(crictl exec --sync "$container" env | grep '^LEASEHOLD_') || settings=
  while IFS= read -r setting; do
    [ -z "$setting" ] || set -- --env "$setting" "$@"
  done <<EOF
$settings
EOF
else
  echo 'leasehold: the pod does not run, so this is a container of its own' >&2
  set -- --env 'LEASEHOLD_VIP=192.0.2.10' "$@"
fi
# The paths have no blank and no comma: `leasehold manifest cli` has checked them.
# shellcheck disable=SC2086
exec ctr -n k8s.io run --rm --net-host --cap-add CAP_NET_ADMIN --cap-add CAP_NET_RAW $binds "$@"

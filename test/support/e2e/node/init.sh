#!/bin/sh
# Process 1 of a node: makes the machine that kubeadm expects, and keeps containerd and the kubelet running. It has process,
# mount, host name and cgroup namespaces of its own, and is in the node's network namespace. node.ts starts it.
#   NODE      host name          ADDRESS  the node's own address       DISK  what outlives a reboot
#   PROGRAMS  an overlay's lower folders, for /usr/local/bin           CGROUPS  v1's controllers, or v2
#   PAUSE     image of every pod's first container                     PODS  the node's own subnet for pods
set -eu

# Mounts of other nodes' network namespaces would keep these alive after a power loss.
for mounted in $(awk '$5 ~ "^/run/netns/" {print $5}' /proc/self/mountinfo); do umount "$mounted" || :; done
mount -t proc proc /proc
echo "$NODE" >/proc/sys/kernel/hostname

# cgroups that begin at this node.
umount -R /sys/fs/cgroup
if [ "$CGROUPS" = v2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # Only a cgroup without processes can give its controllers to others.
  mkdir /sys/fs/cgroup/services
  echo 1 >/sys/fs/cgroup/services/cgroup.procs
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
  done
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  for controller in $CGROUPS; do
    mkdir "/sys/fs/cgroup/$controller"
    case $controller in
      systemd) mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd ;;
      *) mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" ;;
    esac
  done
fi

# Folders of this node alone. /usr too: hostPath volumes of kubeadm's pods are made there (/lib/modules, /usr/libexec/kubernetes).
mkdir -p "$DISK/lib" "$DISK/log" "$DISK/root" "$DISK/tmp" "$DISK/run"
for folder in etc usr opt; do
  mkdir -p "$DISK/$folder.upper" "$DISK/$folder.work"
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$DISK/$folder.upper,workdir=$DISK/$folder.work" "/$folder"
done
mount -t overlay overlay -o "lowerdir=$PROGRAMS" /usr/local/bin
mount --bind "$DISK/lib" /var/lib
mount --bind "$DISK/log" /var/log
mount --bind "$DISK/root" /root
mount --bind "$DISK/tmp" /tmp
mount -t tmpfs tmpfs "$DISK/run"
mount --bind "$DISK/run" /run
mkdir -p /run/lock /run/sysctl

# The kubelet sets these for the whole machine, unless they have these values already. So it reads files that say so.
kernel_setting() {
  file=/run/sysctl/$(echo "$1" | tr / .)
  echo "$2" >"$file"
  mount --bind "$file" "/proc/sys/$1"
  mount -o remount,bind,ro "/proc/sys/$1"
}
kernel_setting vm/overcommit_memory 1
kernel_setting vm/panic_on_oom 0
kernel_setting kernel/panic 10
kernel_setting kernel/panic_on_oops 1
kernel_setting kernel/keys/root_maxkeys 1000000
kernel_setting kernel/keys/root_maxbytes 25000000

rm -rf /etc/cni /etc/containerd
mkdir -p /etc/containerd /etc/cni/net.d /var/lib/kubelet
[ -s /var/lib/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/var/lib/machine-id
cat /var/lib/machine-id >/etc/machine-id
printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "$ADDRESS" "$NODE" >/etc/hosts
: >/etc/resolv.conf
echo 'runtime-endpoint: unix:///run/containerd/containerd.sock' >/etc/crictl.yaml
cat >/etc/containerd/config.toml <<CONFIG
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
CONFIG
# A node is Ready only with a network for pods.
case $PODS in
  *:*) EVERYWHERE=::/0 ;;
  *) EVERYWHERE=0.0.0.0/0 ;;
esac
cat >/etc/cni/net.d/10-pods.conflist <<CONFIG
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "$PODS"}]],
 "routes": [{"dst": "$EVERYWHERE"}]}}]}
CONFIG

(while :; do
  containerd >>/var/log/containerd.log 2>&1 || :
  sleep 1
done) &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
: >/run/kubelet.enabled
: >/run/booted
# As kubeadm's unit for systemd starts it, and again 10 s after it ended. `systemctl` next to this file moves it.
while :; do
  if [ -e /run/kubelet.enabled ] && [ -s /var/lib/kubelet/config.yaml ]; then
    rm -f /run/kubelet.now
    KUBELET_KUBEADM_ARGS=
    [ ! -e /var/lib/kubelet/kubeadm-flags.env ] || . /var/lib/kubelet/kubeadm-flags.env
    # shellcheck disable=SC2086
    kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
      --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS >>/var/log/kubelet.log 2>&1 &
    echo $! >/run/kubelet.pid
    wait $! || :
    rm -f /run/kubelet.pid
    turns=0
    while [ $turns -lt 50 ] && [ ! -e /run/kubelet.now ]; do sleep 0.2; turns=$((turns + 1)); done
  else
    sleep 0.2
  fi
done

#!/bin/sh
# Process 1 of a machine of the staged incidents: gives it a disk, a host name and processes of its own, and keeps its
# stand-in for the kubelet running. It is in the machine's network namespace already. ../machine.ts starts it.
#   NODE  host name    ADDRESS  the machine's own address    DISK  where its disk is    NODE_JS  the Node that runs KUBELET
#   KUBELET  the stand-in; empty on a machine that is no node    DATA_SIZE  size of the disk at /var/lib/leasehold, or empty
set -eu

# Mounts of other machines' network namespaces would keep these alive after a power loss.
for mounted in $(awk '$5 ~ "^/run/netns/" {print $5}' /proc/self/mountinfo); do umount "$mounted" || :; done
mount -t proc proc /proc
echo "$NODE" >/proc/sys/kernel/hostname

mkdir -p "$DISK/lib" "$DISK/log" "$DISK/run" "$DISK/local.upper/bin" "$DISK/local.upper/sbin"
for folder in etc root usr/local; do
  name=${folder##*/}
  mkdir -p "$DISK/$name.upper" "$DISK/$name.work"
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$DISK/$name.upper,workdir=$DISK/$name.work" "/$folder"
done
mount --bind "$DISK/lib" /var/lib
mount --bind "$DISK/log" /var/log
mount -t tmpfs tmpfs "$DISK/run"
mount --bind "$DISK/run" /run
mkdir -p /run/lock /run/leasehold /var/lib/leasehold
[ -z "$DATA_SIZE" ] || mount -t tmpfs -o "size=$DATA_SIZE" tmpfs /var/lib/leasehold
[ -s /var/lib/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/var/lib/machine-id
# The machine that this lab runs on may have a cluster, or a keepalived, of its own.
rm -rf /etc/kubernetes /etc/keepalived
mkdir -p /etc/kubernetes/manifests
cat /var/lib/machine-id >/etc/machine-id
printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "$ADDRESS" "$NODE" >/etc/hosts
: >/run/booted
# This shell reaps what the machine's daemons leave behind.
while :; do
  if [ -n "$KUBELET" ]; then
    "$NODE_JS" "$KUBELET" >>/var/log/kubelet.log 2>&1 || :
    sleep 1
  else
    sleep 3600 &
    wait $! || :
  fi
done

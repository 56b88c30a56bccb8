#!/bin/sh
# PID 1 of a worker until init.sh is: what a kubelet and a container runtime need of a machine and a network namespace lacks.
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

groups() {
    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    tail -n +2 /proc/cgroups | while read -r name hierarchy _; do
        [ "$hierarchy" = 0 ] && continue
        mkdir "/sys/fs/cgroup/$name"
        mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name"
    done
}

# Control groups of its own: this process goes into a group of every hierarchy, and that is the root of a new namespace.
if [ "${1:-}" != inside ]; then
    group=petiole
    if [ -n "${LABTESTS_LAB:-}" ]; then group=clab-${LABTESTS_LAB##*/}; fi
    group=$group-$(hostname)
    if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo "worker.sh: this machine has control groups of version 2 only, which is not built yet" >&2
        exit 69
    fi
    groups
    for hierarchy in /sys/fs/cgroup/*; do
        mkdir -p "$hierarchy/$group"
        for file in cpuset.cpus cpuset.mems; do
            if [ -e "$hierarchy/$file" ]; then cat "$hierarchy/$file" >"$hierarchy/$group/$file"; fi
        done
        echo $$ >"$hierarchy/$group/cgroup.procs"
    done
    exec unshare --cgroup "$0" inside "$@"
fi
shift
groups

# State that is the node's alone; an overlay's upper layer cannot lie on the overlay that a node's root is.
for folder in /var/lib/containerd /var/lib/kubelet /var/lib/cni /etc/cni/net.d /opt/cni/bin; do
    mkdir -p $folder
    mount -t tmpfs -o mode=755 tmpfs $folder
done
# The kubelet reads the kernel's log for processes that ran out of memory. /dev takes no devices here.
if [ ! -e /dev/kmsg ]; then
    mkdir /run/devices
    mount -t tmpfs -o mode=755 tmpfs /run/devices
    mknod /run/devices/kmsg c 1 11
    : >/dev/kmsg
    mount --bind /run/devices/kmsg /dev/kmsg
fi
# The kubelet would set these for the whole machine: it is shown that they are so already.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=/run/settings/${setting%=*}
    mkdir -p "${file%/*}"
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
# Volumes of the host that pass mounts on need a root that does.
mount --make-rshared /

# Every pod's lo is made by the reference plugin, which packages of Kubernetes bring to a node.
cp /usr/lib/cni/loopback /opt/cni/bin/
exec /usr/local/lib/lab/init.sh "$@"

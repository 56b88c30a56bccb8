#!/bin/sh
# What the nodes of kubernetes.clab.yml run beside the services of init.sh, which starts this with a service's name.
#
# /usr/local/lib/kubernetes is bound: bin/ with Kubernetes' own programs, pki/ with the certificates, images/ with what pods run.
# Flags and files are those of a cluster that an operator would build by hand; what is there for the lab alone says so.
set -u
library=/usr/local/lib/kubernetes
pki=$library/pki
own=$pki/$(hostname)
api=https://10.122.255.1:6443
pods=10.123.128.0/17,fd00:123:8000::/112
services=10.123.0.0/17,fd00:123::/112

if [ ! -x $library/bin/kubelet ]; then
    echo "services.sh: no binaries in $library/bin: cargo xtask kubernetes build" >&2
    exit 69
fi

# The node's own IPv4 and IPv6 address, as provisioning left them on lo.
address() {
    sed -n "s,^addr add \($1[^/]*\)/.* dev lo\$,\1,p" /etc/lab/network
}
v4=$(address '[0-9.]*\.')
v6=$(address '[0-9a-f:]*:')

# Kubernetes' programs end where they want to be started again (a lease that was lost, a store that did not answer), so they
# are, after a second, until a file NAME.off says that they are to stay away. The pid is the program's.
name=$1
# One that was sent away may not have gone yet; it would go on if it did not see this file.
while [ -e "/run/lab/$name.off" ] && kill -0 "$(cat "/run/lab/$name.keeper")"; do sleep 0.1; done 2>/dev/null
rm -f "/run/lab/$name.off"
echo $$ >"/run/lab/$name.keeper"
keep() {
    until [ -e "/run/lab/$name.off" ]; do
        "$@" &
        echo $! >"/run/lab/$name.pid"
        wait $!
        echo "services.sh: $name ended with $?" >&2
        [ -e "/run/lab/$name.off" ] || sleep 1
    done
}

case $name in
apiserver)
    # It asks the member of etcd beside it and no other: what announces the address has all that it takes in one machine.
    # Told to end it fails /readyz at once, and answers for longer than the anycast address takes to move: `fall` failures.
    keep $library/bin/kube-apiserver \
        --etcd-servers=http://127.0.0.1:2379 \
        --advertise-address="$v4" --bind-address=:: --secure-port=6443 \
        --service-cluster-ip-range=$services \
        --tls-cert-file="$own/apiserver.crt" --tls-private-key-file="$own/apiserver.key" \
        --client-ca-file=$pki/ca.crt \
        --kubelet-certificate-authority=$pki/ca.crt \
        --kubelet-client-certificate="$own/apiserver-kubelet.crt" --kubelet-client-key="$own/apiserver-kubelet.key" \
        --kubelet-preferred-address-types=InternalIP \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file=$pki/sa.pub --service-account-signing-key-file=$pki/sa.key \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --endpoint-reconciler-type=lease \
        --shutdown-delay-duration=6s
    ;;
controller-manager)
    keep $library/bin/kube-controller-manager \
        --kubeconfig="$own/controller-manager.kubeconfig" --leader-elect=true \
        --leader-elect-lease-duration=6s --leader-elect-renew-deadline=4s --leader-elect-retry-period=1s \
        --root-ca-file=$pki/ca.crt --service-account-private-key-file=$pki/sa.key \
        --use-service-account-credentials=true --allocate-node-cidrs=false \
        --service-cluster-ip-range=$services
    ;;
scheduler)
    keep $library/bin/kube-scheduler \
        --kubeconfig="$own/scheduler.kubeconfig" --leader-elect=true \
        --leader-elect-lease-duration=6s --leader-elect-renew-deadline=4s --leader-elect-retry-period=1s
    ;;
containerd)
    cat >/run/containerd.toml <<END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:latest"
  # The lab's nodes lack CAP_SYS_RESOURCE on some machines.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
END
    keep containerd --config /run/containerd.toml
    ;;
kubelet)
    mkdir -p /etc/kubernetes/manifests
    cat >/run/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: { enabled: false }
  webhook: { enabled: true }
  x509: { clientCAFile: $pki/ca.crt }
authorization: { mode: Webhook }
tlsCertFile: $own/kubelet.crt
tlsPrivateKeyFile: $own/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDomain: cluster.local
clusterDNS: [10.123.0.10]
staticPodPath: /etc/kubernetes/manifests
resolvConf: /etc/resolv.conf
cgroupDriver: cgroupfs
cgroupRoot: /
# For the lab: control groups as its machine has them, no swap file of its own, a disk shared with everybody.
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
protectKernelDefaults: true
enforceNodeAllocatable: []
imageGCHighThresholdPercent: 100
evictionHard: { memory.available: 100Mi, nodefs.available: 0%, imagefs.available: 0%, nodefs.inodesFree: 0%, imagefs.inodesFree: 0% }
END
    # No registry: the images are there before anybody asks for them.
    until ctr version >/dev/null 2>&1; do sleep 0.2; done
    for archive in $library/images/*.tar; do
        ctr --namespace k8s.io images import "$archive" || exit
    done
    keep $library/bin/kubelet --config=/run/kubelet.yaml --kubeconfig="$own/kubelet.kubeconfig" \
        --node-ip="$v4,$v6" --hostname-override="$(hostname)"
    ;;
broker)
    exec petiole-lab echo --listen '[::]:9092'
    ;;
kube-proxy)
    cat >/run/kube-proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: { kubeconfig: $own/kube-proxy.kubeconfig }
# Whatever does not come from a pod is given this node's address, so that it returns by this node.
detectLocalMode: ClusterCIDR
clusterCIDR: $pods
healthzBindAddress: 127.0.0.1:10256
hostnameOverride: $(hostname)
# The machine's own numbers of connections stay as they are.
conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s }
END
    keep $library/bin/kube-proxy --config=/run/kube-proxy.yaml
    ;;
*)
    echo "services.sh: no service is called '$1'" >&2
    exit 64
    ;;
esac

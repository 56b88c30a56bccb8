#!/bin/sh
# PID 1 of every node, the same under containerlab and under petiole-lab.
#
#   init.sh SERVICE...        start these services, reap what dies, end on SIGTERM
#   init.sh start SERVICE     start one again (from an exec); nothing restarts by itself
#
# A node's own files lie in /etc/lab (bound from the folder with the node's name) and are copied before use, so that
# nothing inside the node can change them: network (an `ip -batch` file), frr.conf, petiole.toml; bird.conf is read where it is.
# Each service has its pid in /run/lab/SERVICE.pid and its output in /run/lab/SERVICE.log.
set -u
umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
self=$0
state=/run/lab

# Interfaces come after PID 1, and the kernel drops a route with its link: this runs again at every link event.
# Lines for what is already there, or not there yet, fail and are noted only.
network() {
    if [ -r /etc/lab/network ]; then
        ip -force -batch /etc/lab/network >/dev/null 2>$state/network.log
    fi
}

# A session's IPv6 next hop is read once, when it comes up over IPv4: bgpd starts when zebra answers and every interface
# of its configuration has an IPv6 address. It does not wait for ever, a link may be missing.
interfaces() {
    tries=200
    while [ $tries -gt 0 ]; do
        missing=
        [ -S /var/run/frr/zserv.api ] || missing=zebra
        for interface in $(sed -n 's/^interface //p' /etc/frr/frr.conf); do
            [ -n "$(ip -6 -o address show dev "$interface" scope global 2>/dev/null)" ] || missing=$interface
        done
        [ -n "$missing" ] || return 0
        sleep 0.05
        tries=$((tries - 1))
    done
    echo "init.sh: no $missing after 10 s, going on without"
}

# An FRR daemon takes its part of the integrated configuration once its socket is there.
configure() {
    until [ -S "/var/run/frr/$1.vty" ]; do sleep 0.05; done
    vtysh -b -d "$1"
}

run() {
    echo $$ >"$state/$1.pid"
    case $1 in
    zebra | bgpd | bfdd)
        rm -f "/var/run/frr/$1.vty" "/var/run/frr/$1.pid"
        if [ "$1" = bgpd ]; then interfaces; fi
        # It would try zebra again after 10 s only.
        if [ "$1" = bfdd ]; then until [ -S /var/run/frr/zserv.api ]; do sleep 0.05; done; fi
        (configure "$1" &)
        if [ "$1" = zebra ]; then
            # Where bgpd is to restart gracefully, what a former life left in the kernel stays for a minute, and IPv6 routes are
            # replaced in one step, as IPv4's are anyway.
            keep=
            if grep -q preserve-fw-state /etc/frr/frr.conf; then keep='-K 60 --v6-rr-semantics'; fi
            # shellcheck disable=SC2086
            set -- zebra -s 90000000 $keep
        fi
        daemon=$1
        shift
        exec "/usr/lib/frr/$daemon" "$@" -F datacenter -A 127.0.0.1 -u frr -g frr --log stdout
        ;;
    bird)
        # As a boot script does: graceful recovery (-R) only where a former life has left its mark.
        recover=
        if [ -e "$state/bird.ran" ]; then recover=-R; fi
        : >"$state/bird.ran"
        # shellcheck disable=SC2086
        exec bird -f $recover -c /etc/lab/bird.conf -s /run/bird/bird.ctl
        ;;
    etcd) exec etcd ;;
    agent) exec petiole agent --config /etc/petiole/petiole.toml ;;
    health) exec petiole-lab health --listen "$HEALTH_LISTEN" --file /run/health ;;
    echo) exec petiole-lab echo --listen '[::]:80' ;;
    *)
        # A lab that has more than these says how they start.
        if [ -x /usr/local/lib/lab/services.sh ]; then exec /usr/local/lib/lab/services.sh "$1"; fi
        echo "init.sh: no service is called '$1'" >&2
        exit 64
        ;;
    esac
}

case ${1:-} in
run)
    run "$2"
    ;;
start)
    # A socket that was left behind looks like a zebra that answers.
    if [ "$2" = zebra ]; then rm -f /var/run/frr/zserv.api; fi
    setsid "$self" run "$2" >>"$state/$2.log" 2>&1 </dev/null &
    exit 0
    ;;
esac

mkdir -p $state /var/run/frr /run/bird /etc/frr /etc/petiole /var/lib/petiole /var/lib/etcd
if [ -r /etc/lab/frr.conf ]; then
    cp /etc/lab/frr.conf /etc/frr/frr.conf
    : >/etc/frr/vtysh.conf
    chown -R frr:frr /etc/frr /var/run/frr
fi
if [ -r /etc/lab/petiole.toml ]; then cp /etc/lab/petiole.toml /etc/petiole/petiole.toml; fi
: >/run/health

ip link set lo up
network
ip -o monitor link | while read -r _; do network; done &
# Links that came between the line before and the monitor's subscription have no event.
{ sleep 1; network; } &

for service; do
    setsid "$self" run "$service" >>"$state/$service.log" 2>&1 </dev/null &
done

trap 'kill -TERM -1; exit 0' TERM INT
while :; do
    wait
    sleep 1
done

# A node in namespaces of its own: sh node.sh PODS RULES nothing|hand|rules|collect FOLDER PROGRAM
# It prints the most memory that the program had, in KiB.
set -e
if [ "${6-}" = space ]; then
    mode=space
else
    mode=$3
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /var/lib
    mount -t sysfs sysfs /sys
    mkdir -p /run/netns
    ip link set lo up
    ip link add cni0 type bridge
    ip addr add 10.244.0.1/16 dev cni0
    ip link set cni0 up
    pod=0
    while [ "$pod" -lt "$1" ]; do
        pod=$((pod + 1))
        ip netns add "pod$pod"
        ip link add "veth$pod" type veth peer name eth0 netns "pod$pod"
        ip link set "veth$pod" master cni0 up
        ip -n "pod$pod" addr add "10.244.$((pod / 250 + 1)).$((pod % 250 + 2))/16" dev eth0
        ip -n "pod$pod" link set eth0 up
        ip -n "pod$pod" route add default via 10.244.0.1
    done
    iptables-nft-restore <"$2"
    mkdir -p "$4"
fi

# The commands of the snapshot's manual, one by one.
by_hand() {
    mkdir -p "$1"
    ip -d link show >"$1/link.txt"
    ip addr show >"$1/addr.txt"
    ip -d route show table all >"$1/route.txt"
    ip -6 -d route show table all >"$1/route6.txt"
    ip rule show >"$1/rule.txt"
    ip -6 rule show >"$1/rule6.txt"
    ip nexthop show >"$1/nexthop.txt"
    ip neigh show >"$1/neigh.txt"
    bridge fdb show >"$1/fdb.txt"
    bridge -d link show >"$1/bridge-link.txt"
    bridge vlan show >"$1/bridge-vlan.txt"
    ip -d tuntap show >"$1/tuntap.txt"
    iptables-nft-save -c >"$1/iptables-save"
    ip6tables-nft-save -c >"$1/ip6tables-save"
    nft list ruleset >"$1/nft.txt"
    ipset save >"$1/ipset" 2>/dev/null || true
    conntrack -L -o extended >"$1/conntrack" 2>/dev/null || true
    sysctl -a 2>/dev/null | grep '^net\.' >"$1/sysctl"
}

case $mode in
nothing) ;;
space) by_hand "$4" ;;
rules)
    iptables-nft-save -c >"$4/iptables-save"
    ip6tables-nft-save -c >"$4/ip6tables-save"
    nft list ruleset >"$4/nft.txt"
    ;;
hand)
    by_hand "$4/host"
    for netns in /run/netns/*; do
        nsenter --net="$netns" sh "$0" 0 - - "$4/${netns##*/}" - space
    done
    tar -C "$4" -czf "$4.tar.gz" .
    ;;
collect)
    cat >"$4/run.sh" <<'END'
"$1" collect --node n1 -w "$2" &
program=$!
while read -r line <"/proc/$program/stat" 2>/dev/null; do
    most=$(sed -n 's/^VmHWM:[ \t]*\([0-9]*\) kB/\1/p' "/proc/$program/status" 2>/dev/null)
    [ -z "$most" ] && break
    peak=$most
    sleep 0.2
done
wait "$program" || exit
echo "$peak"
END
    exec unshare --pid --fork --kill-child --mount-proc sh "$4/run.sh" "$5" "$4.tar.gz"
    ;;
esac

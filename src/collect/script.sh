#!/bin/sh
# Takes a flowtrace snapshot of the node it runs on, with iproute2, iptables and nsenter (or ip netns) alone:
#
#   sh collect.sh FOLDER|FILE.tar.gz|- [NODE]
#
# Needs root. It reads only: where asking would load a kernel module or make a table, the kernel is not asked. What can't
# be taken costs its own file, and snapshot.json says why. Exit codes: 0 all of it was taken, 3 something was not,
# 2 there is no snapshot.
set -u
LC_ALL=C
TZ=UTC
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/var/lib/rancher/k3s/data/current/bin/aux:/var/lib/rancher/k3s/data/current/bin
export LC_ALL TZ PATH

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "collect: $*"
    exit 2
}

have() {
    command -v "$1" >/dev/null 2>&1
}

moment() {
    date -u +%Y-%m-%dT%H:%M:%SZ
}

# ---- Where it goes

target=${1-}
[ -n "$target" ] || die "say where: sh collect.sh FOLDER|FILE.tar.gz|- [NODE]"

# Not the ip of busybox, which tells less and is taken before any other by its own shell.
ip=
IFS=:
for folder in $PATH; do
    [ ! -x "$folder/ip" ] || case $("$folder/ip" -V 2>/dev/null) in *iproute2*) ip=$folder/ip && break ;; esac
done
unset IFS
[ -n "$ip" ] || die "iproute2 is not installed (busybox's ip tells too little)"
case $target in
-)
    [ ! -t 1 ] || die "a terminal can't show an archive; give a folder, a .tar.gz, or a pipe"
    root=$(mktemp -d "${TMPDIR:-/tmp}/flowtrace.XXXXXX") || die "no temporary folder can be made"
    ;;
*.tar.gz | *.tgz)
    [ ! -e "$target" ] || die "$target exists; name another one, or remove it"
    root=$(mktemp -d "$(dirname -- "$target")/.flowtrace.XXXXXX") || die "no temporary folder can be made"
    ;;
*)
    root=$target
    mkdir -p -- "$root" || exit 2
    [ -z "$(ls -A -- "$root")" ] || die "the folder $target is not empty; name another one"
    ;;
esac
case $root in -*) root=./$root ;; esac
notes=$(mktemp -d "${TMPDIR:-/tmp}/flowtrace.XXXXXX") || die "no temporary folder can be made"
if [ "$root" = "$target" ] || [ "$root" = "./$target" ]; then
    trap 'rm -rf "$notes"' EXIT
else
    trap 'rm -rf "$notes" "$root"' EXIT
fi
trap 'exit 2' HUP INT TERM
: >"$notes/failed"
: >"$notes/told"
: >"$notes/read"
taken=$(moment)

# The name that the kubelet is told, or else the machine's, as the kubelet takes it.
node=${2-}
if [ -z "$node" ]; then
    for line in /proc/[0-9]*/cmdline; do
        words=$(tr '\000' '\n' <"$line" 2>/dev/null) || continue
        case $words in */kubelet* | kubelet* | *k3s* | *rke2*) ;; *) continue ;; esac
        node=$(printf '%s\n' "$words" |
            sed -n -e 's/^--hostname-override=//p' -e 's/^--node-name=//p' \
                -e '/^--hostname-override$/{n;p;}' -e '/^--node-name$/{n;p;}' | head -n 1)
        [ -z "$node" ] || break
    done
    [ -n "$node" ] || node=$(tr '[:upper:]' '[:lower:]' </proc/sys/kernel/hostname)
fi
case $node in
'' | .* | -* | *[!A-Za-z0-9._-]*) die "'$node' can't be a node's name: letters, digits, - and . make one" ;;
esac

# ---- What the kernel has: asking for more would load it

loaded() { # MODULE FUNCTION
    [ ! -e /proc/modules ] || grep -q "^$1 " /proc/modules || [ -e "/sys/module/$1" ] ||
        grep -q -w "$2" /proc/kallsyms
}

has_nft=
has_ipset=
has_conntrack=
! loaded nf_tables nf_tables_newtable || has_nft=1
! loaded ip_set ip_set_type_register || has_ipset=1
! loaded nf_conntrack_netlink ctnetlink_dump_table || has_conntrack=1

# The programs of each backend: "nft" and "legacy" are empty where there is none.
find_saves() { # iptables|ip6tables
    nft=
    legacy=
    ! have "$1-nft-save" || nft=$1-nft-save
    ! have "$1-legacy-save" || legacy=$1-legacy-save
    if have "$1-save"; then
        case $("$1-save" --version 2>/dev/null) in
        *nf_tables*) nft=${nft:-$1-save} ;;
        *) legacy=${legacy:-$1-save} ;;
        esac
    fi
}

find_saves iptables
nft4=$nft
legacy4=$legacy
find_saves ip6tables
nft6=$nft
legacy6=$legacy

# ---- One namespace: "net" is its file (empty for the one that this script is in), "dir" its folder

inside() {
    if [ -z "$net" ]; then
        "$@"
    elif have nsenter; then
        nsenter "--net=$net" "$@"
    else
        case $net in
        /run/netns/* | /var/run/netns/*) "$ip" netns exec "${net##*/}" "$@" ;;
        *)
            echo "nsenter is not installed" >&2
            return 1
            ;;
        esac
    fi
}

fail() { # FILE WHY
    printf '%s\t%s\n' "$dir/$1" "$2" >>"$notes/failed"
    say "not taken: $dir/$1: $2"
}

# Writes a command's output into a file, or says why there is none.
take() { # FILE COMMAND...
    file=$1
    shift
    if ! have "$1"; then
        fail "$file" "$1 is not installed"
        return
    fi
    inside "$@" >"$root/$dir/$file" 2>"$notes/error"
    code=$?
    [ "$code" -ne 0 ] || return 0
    rm -f "$root/$dir/$file"
    fail "$file" "${1##*/}: $(grep . "$notes/error" | tail -n 1) (exit $code)"
}

empty() { # FILE
    : >"$root/$dir/$1"
}

# Kernels without nexthop objects or IPv6 have none of them.
take_or_none() { # FILE COMMAND...
    take "$@" 2>"$notes/complaint"
    if grep -q "not supported" "$notes/complaint"; then
        sed '$d' "$notes/failed" >"$notes/others"
        mv "$notes/others" "$notes/failed"
        empty "$1"
    else
        cat "$notes/complaint" >&2
    fi
}

# TUN devices: the tool looks into /sys, which shows the devices of the namespace in which it was mounted.
take_tuntap() {
    if ! grep -q '^    tun ' "$root/$dir/link.txt" 2>/dev/null; then
        empty tuntap.txt
    elif [ -z "$net" ]; then
        take tuntap.txt "$ip" -d tuntap show
    elif have unshare; then
        # shellcheck disable=SC2016 # The inner shell expands it.
        take tuntap.txt unshare -m sh -c 'mount -t sysfs sysfs /sys && exec "$0" -d tuntap show' "$ip"
    else
        fail tuntap.txt "unshare is not installed"
    fi
}

# The rules of iptables-legacy: in a file of their own beside nft's, and in the usual one where there is no other.
take_legacy() { # FAMILY NAMES NFT LEGACY
    file=$1-save
    [ -z "$3" ] || file=$1-legacy-save
    tables=$(inside cat "/proc/self/net/$2" 2>/dev/null)
    if [ -z "$tables" ]; then
        if [ -n "$3" ]; then
            :
        elif [ -z "$4" ] && [ -n "$has_nft" ]; then
            fail "$file" "$file is not installed"
        else
            empty "$file"
        fi
    elif [ -n "$4" ]; then
        take "$file" "$4" -c
    else
        fail "$file" "the kernel has tables of iptables-legacy, and $1-legacy-save is not installed"
    fi
}

take_rules() {
    if [ -z "$has_nft" ]; then
        [ -z "$nft4" ] || empty iptables-save
        [ -z "$nft6" ] || empty ip6tables-save
        empty nft.txt
    else
        [ -z "$nft4" ] || take iptables-save "$nft4" -c
        [ -z "$nft6" ] || take ip6tables-save "$nft6" -c
        take nft.txt nft list ruleset
    fi
    take_legacy iptables ip_tables_names "$nft4" "$legacy4"
    take_legacy ip6tables ip6_tables_names "$nft6" "$legacy6"
    if [ -n "$has_ipset" ]; then take ipset ipset save; else empty ipset; fi
}

take_conntrack() {
    if [ -n "$has_conntrack" ] && have conntrack; then
        take conntrack conntrack -L -f ipv4 -o extended
        [ -e "$root/$dir/conntrack" ] || return
        mv "$root/$dir/conntrack" "$notes/ipv4"
        take conntrack conntrack -L -f ipv6 -o extended
        [ ! -e "$root/$dir/conntrack" ] || cat "$notes/ipv4" >>"$root/$dir/conntrack"
    elif inside cat /proc/self/net/nf_conntrack >"$root/$dir/conntrack" 2>/dev/null; then
        :
    elif [ -e /proc/sys/net/netfilter/nf_conntrack_count ]; then
        rm -f "$root/$dir/conntrack"
        fail conntrack "conntrack is not installed"
    fi
}

take_recent() {
    for list in $(inside ls /proc/self/net/xt_recent 2>/dev/null); do
        mkdir -p "$root/$dir/recent"
        take "recent/$list" cat "/proc/self/net/xt_recent/$list"
    done
}

# Every setting but the keys of TCP fast open and of IPv6's private addresses.
take_sysctls() {
    inside grep -r '' /proc/sys/net 2>/dev/null |
        sed -e '/stable_secret:/d' -e '/tcp_fastopen_key:/d' -e 's|^/proc/sys/\([^:]*\):|\1 = |' \
            >"$root/$dir/sysctl"
    [ -s "$root/$dir/sysctl" ] || fail sysctl "/proc/sys/net can't be read"
}

take_all() { # DIR NET
    dir=$1
    net=$2
    started=$(moment)
    mkdir -p "$root/$dir"
    if ! inside true 2>"$notes/error"; then
        printf '%s\t%s\n' "$dir" "the namespace can't be entered: $(tail -n 1 "$notes/error")" >>"$notes/failed"
        rmdir "$root/$dir"
        return
    fi
    take link.txt "$ip" -d link show
    take addr.txt "$ip" addr show
    take route.txt "$ip" -4 -d route show table all
    take_or_none route6.txt "$ip" -6 -d route show table all
    take rule.txt "$ip" rule show
    take_or_none rule6.txt "$ip" -6 rule show
    take_or_none nexthop.txt "$ip" nexthop show
    take neigh.txt "$ip" neigh show
    take fdb.txt bridge fdb show
    take bridge-link.txt bridge -d link show
    take bridge-vlan.txt bridge vlan show
    take_tuntap
    take_rules
    take_conntrack
    take_recent
    take_sysctls
    printf '%s\t%s\t%s\n' "$dir" "$started" "$(moment)" >>"$notes/read"
}

# ---- The namespaces: "number file" in $notes/spaces, "number folder" in $notes/names

netns_of() { # PROCESS
    readlink "/proc/$1/ns/net" 2>/dev/null | sed 's/[^0-9]//g'
}

find_spaces() {
    {
        sed -n 's/^[^ ]* [^ ]* [^ ]* net:\[\([0-9]*\)\] \([^ ]*\) .*/\1 \2/p' /proc/self/mountinfo
        find_processes
    } | awk -v host="$host" '$1 != host && !seen[$1]++' >"$notes/spaces"
}

find_processes() {
    # shellcheck disable=SC2012 # The names are numbers, and one call asks for all.
    ls -l /proc/[0-9]*/ns/net 2>/dev/null |
        sed -n 's|.* \(/proc/[0-9]*/ns/net\) -> net:\[\([0-9]*\)\]$|\2 \1|p'
}

field() { # NAME: its value in the JSON on the standard input
    sed -n "s/.*\"$1\"[ ]*:[ ]*\"\([^\"]*\)\".*/\1/p"
}

# What isn't a name of Kubernetes becomes no path.
is_name() {
    case $1 in '' | [!a-z0-9]* | *[!a-z0-9.-]*) return 1 ;; esac
}

# From what containerd (also that of k3s and RKE2) and CRI-O keep of each container that runs.
read_runtime() {
    for file in /run/containerd/io.containerd.runtime.v2.task/k8s.io/*/config.json \
        /run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/*/config.json \
        /run/containerd/io.containerd.runtime.v1.linux/k8s.io/*/config.json \
        /run/containers/storage/overlay-containers/*/userdata/config.json; do
        [ -f "$file" ] || continue
        text=$(tr -d '\n' <"$file")
        space=$(printf '%s\n' "$text" |
            sed -n 's/.*"type"[ ]*:[ ]*"network"[ ]*,[ ]*"path"[ ]*:[ ]*"\([^"]*\)".*/\1/p')
        [ -n "$space" ] || continue
        namespace=$(printf '%s\n' "$text" | field io.kubernetes.cri.sandbox-namespace)
        name=$(printf '%s\n' "$text" | field io.kubernetes.cri.sandbox-name)
        [ -n "$namespace" ] || namespace=$(printf '%s\n' "$text" | field io.kubernetes.pod.namespace)
        [ -n "$name" ] || name=$(printf '%s\n' "$text" | field io.kubernetes.pod.name)
        is_name "$namespace" || continue
        is_name "$name" || continue
        # shellcheck disable=SC2012 # The number is wanted, not the name.
        number=$(ls -Ldi "$space" 2>/dev/null | sed 's/^ *\([0-9]*\) .*/\1/')
        [ -z "$number" ] || printf '%s %s\n' "$number" "${namespace}_$name"
    done
}

# From the control groups of a namespace's processes, and the kubelet's folders of logs.
read_kubelet() { # NUMBER
    sed -n "s|^$1 /proc/\([0-9]*\)/.*|\1|p" "$notes/processes" | head -n 8 | while read -r process; do
        sed -n 's|.*pod\([0-9a-f][0-9a-f_-]*\).*|\1|p' "/proc/$process/cgroup" 2>/dev/null
    done | sort -u | tr _ - | while read -r uid; do
        for logs in /var/log/pods/*_"$uid"; do
            [ ! -d "$logs" ] || basename "$logs" "_$uid"
        done
    done | head -n 1
}

# From what CNI plugins answered for the pod with an address.
read_cni() { # ADDRESS
    file=$(grep -l "\"$1/" /var/lib/cni/results/* /var/lib/cni/cache/results/* 2>/dev/null | head -n 1)
    [ -n "$file" ] || return
    text=$(tr -d '\n' <"$file")
    namespace=$(printf '%s\n' "$text" | sed -n 's/.*"K8S_POD_NAMESPACE"[ ]*,[ ]*"\([^"]*\)".*/\1/p')
    name=$(printf '%s\n' "$text" | sed -n 's/.*"K8S_POD_NAME"[ ]*,[ ]*"\([^"]*\)".*/\1/p')
    if is_name "$namespace" && is_name "$name"; then printf '%s\n' "${namespace}_$name"; fi
}

# The folder of a namespace; none for one that no packet passes and that is no pod.
name_of() { # NUMBER
    folder=$(sed -n "s/^$1 //p" "$notes/names" | head -n 1)
    [ -n "$folder" ] || folder=$(read_kubelet "$1")
    if [ -z "$folder" ] && inside "$ip" -o link show 2>/dev/null | grep -q -v ' lo: '; then
        address=$(inside "$ip" -o addr show scope global 2>/dev/null |
            sed -n 's|.* inet6* \([^ /]*\).*|\1|p' | head -n 1)
        [ -z "$address" ] || folder=$(read_cni "$address")
        label=${net##*/}
        case $label in net | *_* | ????????????????*) label= ;; esac
        if [ -n "$folder" ]; then
            :
        elif [ -n "$label" ]; then
            folder=netns_$label
        else
            folder=unnamed_$(printf '%s' "${address:-$1}" | tr : -)
        fi
    fi
    printf '%s\n' "$folder"
}

host=$(netns_of 1)
own=$(netns_of self)
: "${host:=$own}"
hostnet=
[ "$host" = "$own" ] || hostnet=/proc/1/ns/net
take_all "nodes/$node/host" "$hostnet"
if [ "$(id -u)" != 0 ]; then
    echo "this is not root: the pods' namespaces and most rule sets can't be read; run it again with sudo" \
        >>"$notes/told"
    : >"$notes/spaces"
else
    find_spaces
fi
find_processes >"$notes/processes"
read_runtime >"$notes/names"
all=$(grep -c . "$notes/spaces")
done=0
left=0
while read -r number net; do
    done=$((done + 1))
    [ ! -t 2 ] || printf '\r%s of %s namespaces' "$done" "$all" >&2
    folder=$(name_of "$number")
    if [ -z "$folder" ]; then
        left=$((left + 1))
        continue
    fi
    if [ -e "$root/nodes/$node/pods/$folder" ]; then
        count=2
        while [ -e "$root/nodes/$node/pods/$folder.$count" ]; do count=$((count + 1)); done
        echo "there are two namespaces of $folder: the other one is in $folder.$count; delete the one that is old" \
            >>"$notes/told"
        folder=$folder.$count
    fi
    take_all "nodes/$node/pods/$folder" "$net" </dev/null
done <"$notes/spaces"
[ ! -t 2 ] || printf '\r' >&2
[ "$left" = 0 ] || echo "$left namespaces with no device but lo, of no pod, are left out" >>"$notes/told"

# ---- snapshot.json

quoted() {
    tr -d '\000-\010\013-\037' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g'
}

listed() { # FILE FORMAT: a JSON object for each line, its tab-separated parts put into the format
    quoted <"$1" | awk -F '\t' -v format="$2" '{ printf "%s\n    " format, separator, $1, $2, $3; separator = "," }'
}

{
    printf '{\n  "schema": "flowtrace/snapshot/1",\n  "taken": "%s",\n  "by": "flowtrace collect --print-script",\n' "$taken"
    printf '  "node": "%s",\n  "kernel": "%s",\n  "namespaces": [' "$node" "$(uname -r | quoted)"
    listed "$notes/read" '{"dir": "%s", "started": "%s", "ended": "%s"}'
    printf '\n  ],\n  "failed": ['
    listed "$notes/failed" '{"file": "%s", "why": "%s"}'
    printf '\n  ],\n  "notes": ['
    listed "$notes/told" '"%s"'
    printf '\n  ]\n}\n'
} >"$root/snapshot.json"

case $target in
-) (cd "$root" && tar cf - .) | gzip -1 || exit 2 ;;
*.tar.gz | *.tgz) (cd "$root" && tar cf - .) | gzip -1 >"$target" || exit 2 ;;
esac
while read -r told; do say "note: $told"; done <"$notes/told"
say "node $node: $(grep -c . "$notes/read") namespaces into $target"
if [ -s "$notes/failed" ] || [ "$(id -u)" != 0 ]; then exit 3; fi

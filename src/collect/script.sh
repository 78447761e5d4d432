#!/bin/sh
# Takes a flowtrace snapshot of the node it runs on, with iproute2, iptables and nsenter (or ip netns) alone:
#
#   sh collect.sh FOLDER|FILE.tar.gz|- [NODE [POD...]]
#
# With PODs (NAMESPACE_NAME; - is none) only their namespaces are taken, those whose names are not known, and the node's.
# Needs root. It reads only: where asking would load a kernel module or make a table, the kernel is not asked. What can't
# be taken costs its own file, and snapshot.json says why. Exit codes: 0 all of it was taken, 3 something was not,
# 2 there is no snapshot.
set -u
LC_ALL=C
TZ=UTC
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin
tools_in() { # FOLDER
    case :$PATH: in *":$1:"*) return ;; esac
    [ ! -d "$1" ] || PATH=$PATH:$1/aux:$1
}

# k3s and RKE2 bring tools along, in the folder of their data, wherever that is: root's programs run from there. What a
# container sees under such a path is its own, and nothing that root should run.
for tools in /var/lib/rancher/k3s/data/current/bin /var/lib/rancher/rke2/data/*/bin /var/lib/rancher/rke2/bin; do
    tools_in "$tools"
done
own=" $(readlink /proc/1/ns/mnt) $(readlink /proc/self/ns/mnt) "
is_of_node() { # PROCESS: whether it is root's, and sees the node's files
    mounts=$(readlink "/proc/$1/ns/mnt" 2>/dev/null)
    case $own in *" ${mounts:-none} "*) ;; *) return 1 ;; esac
    grep -q '^Uid:[^0-9]*0[^0-9]' "/proc/$1/status" 2>/dev/null
}
# shellcheck disable=SC2012 # Who owns a process and what it runs is in one line.
for run in $(
    ls -ln /proc/[0-9]*/exe 2>/dev/null |
        sed -n 's|^l[^ ]*  *[0-9]*  *0  *0 .* /proc/\([0-9]*\)/exe -> \(/.*/data/[^/]*/bin\)/[^/]*$|\1:\2|p'
); do
    ! is_of_node "${run%%:*}" || tools_in "${run#*:}"
done
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
made=
[ -n "$target" ] || die "say where: sh collect.sh FOLDER|FILE.tar.gz|- [NODE [POD...]]"

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
    [ -e "$root" ] || made=yes
    mkdir -p -- "$root" || exit 2
    [ -z "$(ls -A -- "$root")" ] || die "the folder $target is not empty; name another one"
    ;;
esac
case $root in -*) root=./$root ;; esac
notes=$(mktemp -d "${TMPDIR:-/tmp}/flowtrace.XXXXXX") || die "no temporary folder can be made"
if [ "$root" = "$target" ] || [ "$root" = "./$target" ]; then
    trap 'rm -rf "$notes"' EXIT
else
    trap 'rm -rf "$notes" "$root" "$root.tar.gz"' EXIT
fi
# A part must not be taken for the whole. What runs meanwhile may have its errors elsewhere.
exec 3>&2
give_up() { # WHY
    rm -rf "$root/nodes" "$root/snapshot.json"
    [ -z "$made" ] || rmdir "$root" 2>/dev/null
    die "$1" 2>&3
}
unwritten() { # FILE
    give_up "$1 can't be written (is the disk full?): nothing is kept of the snapshot"
}
trap 'give_up "interrupted: nothing is kept of the snapshot"' HUP INT TERM
: >"$notes/failed"
: >"$notes/told"
: >"$notes/changed"
: >"$notes/read"
taken=$(moment)

# The node in a certificate of the kubelet's: its name is a string of ASN.1, whose length stands before it.
certified() { # FILE
    sed -n '/-BEGIN CERTIFICATE-/,/-END/{/-----/!p;/-END/q;}' "$1" 2>/dev/null |
        base64 -d 2>/dev/null | od -An -v -tu1 | awk '
            { for (i = 1; i <= NF; i++) { byte[++n] = $i; text = text sprintf("%c", $i > 31 && $i < 127 ? $i + 0 : 46) } }
            END {
                at = index(text, "system:node:")
                if (at) print substr(text, at + 12, byte[at - 1] - 12)
            }'
}

# The name that the kubelet is told, or that of its certificate, or else the machine's, as the kubelet takes it. k3s has
# the kubelet in it, and wipes its command line.
node=${2-}
if [ -z "$node" ]; then
    # shellcheck disable=SC2013 # These are paths without spaces, not lines.
    for agent in $(grep -l -x -e kubelet -e k3s -e k3s-server -e k3s-agent /proc/[0-9]*/comm 2>/dev/null); do
        agent=${agent%/comm}
        is_of_node "${agent#/proc/}" || continue
        node=$(tr '\000' '\n' <"$agent/cmdline" 2>/dev/null |
            sed -n -e 's/^--hostname-override=//p' -e '/^--hostname-override$/{n;p;}' | head -n 1)
        program=$(readlink "$agent/exe" 2>/dev/null)
        certificate=
        case $(cat "$agent/comm" 2>/dev/null):$program in
        kubelet:*) certificate=/var/lib/kubelet/pki/kubelet-client-current.pem ;;
        *:/*/data/*/bin/*) certificate=${program%/data/*/bin/*}/agent/client-kubelet.crt ;;
        esac
        [ -n "$node" ] || [ -z "$certificate" ] || node=$(certified "$certificate")
        [ -z "$node" ] || break
    done
    [ -n "$node" ] || node=$(tr '[:upper:]' '[:lower:]' </proc/sys/kernel/hostname)
fi
case $node in
'' | .* | -* | *[!A-Za-z0-9._-]*) die "'$node' can't be a node's name: letters, digits, - and . make one" ;;
esac

# Who is wanted, between spaces; empty for everybody.
wanted=
if [ $# -gt 2 ]; then
    shift 2
    wanted=" $* "
fi

# ---- What the kernel has: asking for more would load it

loaded() { # MODULE FUNCTION
    [ ! -e /proc/modules ] || grep -q "^$1 " /proc/modules || [ -e "/sys/module/$1" ] ||
        grep -q -w "$2" /proc/kallsyms
}

has_nft=
has_ipset=
has_acct=
has_conntrack=
! loaded nf_tables nf_tables_newtable || has_nft=1
! loaded ip_set ip_set_type_register || has_ipset=1
! loaded nfnetlink_acct nfnl_acct_find_get || has_acct=1
! loaded nf_conntrack_netlink ctnetlink_dump_table || has_conntrack=1

# Each backend's program: "nft" and "legacy" are empty where there is none.
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

# ---- One namespace: "net" is its file (empty for the one that this script is in), "dir" its folder, "held" what keeps it

held=
inside() {
    if [ -z "$net" ]; then
        "$@"
    elif have nsenter; then
        nsenter "--net=${held:-$net}" "$@"
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

fail_path() { # PATH WHY
    printf '%s\t%s\n' "$1" "$2" >>"$notes/failed" || unwritten "$notes/failed"
    say "not taken: $1: $2"
}

fail() { # FILE WHY
    fail_path "$dir/$1" "$2"
}

unentered() {
    fail_path "$dir" "the namespace can't be entered: $(tail -n 1 "$notes/error")"
}

changed() { # FILE
    printf '%s\n' "$dir/$1" >>"$notes/changed" || unwritten "$notes/changed"
    say "$dir/$1 changed whenever it was read: it may be of no one moment"
}

# Writes a command's output into a file, or says why there is none. The tools say nothing where the disk is full: cat does.
# iproute2 says where a table changed while it was read (the kernel's NLM_F_DUMP_INTR): then it is read again.
take() { # FILE COMMAND...
    file=$1
    shift
    if ! have "$1"; then
        fail "$file" "$1 is not installed"
        return
    fi
    turns=8
    while
        code=$({ {
            inside "$@" 2>"$notes/error"
            echo $? >&4
        } | cat >"$root/$dir/$file"; } 4>&1) || unwritten "$dir/$file"
        [ -s "$notes/error" ] && grep -q "Dump was interrupted" "$notes/error"
    do
        turns=$((turns - 1))
        [ "$turns" = 0 ] || continue
        [ "$code" != 0 ] || changed "$file"
        break
    done
    [ "$code" != 0 ] || return 0
    rm -f "$root/$dir/$file"
    fail "$file" "${1##*/}: $(grep . "$notes/error" | tail -n 1) (exit $code)"
}

empty() { # FILE
    true >"$root/$dir/$1" || unwritten "$dir/$1"
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
    if ! tables=$(inside cat "/proc/self/net/$2" 2>"$notes/error") && inside test -e "/proc/self/net/$2"; then
        fail "$file" "$(tail -n 1 "$notes/error")"
    elif [ -z "$tables" ]; then
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

# What is asked again behind the others comes first.
read_nft() { # take|retake
    "$1" nft.txt nft list ruleset
    [ -z "$nft4" ] || "$1" iptables-save "$nft4" -c
    [ -z "$nft6" ] || "$1" ip6tables-save "$nft6" -c
}

retake() { # FILE COMMAND...: only what could be taken before
    [ ! -e "$root/$dir/$1" ] || take "$@"
}

# Rules without what goes on by itself: counters, clocks, and the moment in a comment.
rules_alone() {
    sed -e '/^#/d' -e 's/packets [0-9]* bytes [0-9]*//' -e 's/\[[0-9]*:[0-9]*\]//' -e 's/ expires [0-9a-z]*//g' \
        -e 's/ used [0-9a-z]*//g' | cksum
}

# Whether a file has the rules of now. Of so many that listing them takes long, that is not asked.
is_of_now() { # FILE COMMAND...
    listed=$root/$dir/$1
    shift
    if [ "$(wc -c <"$listed")" -gt 4000000 ]; then
        echo "$dir: so many rules are not read twice: whether they changed while they were read is not known" \
            >>"$notes/told"
    else
        [ "$(rules_alone <"$listed")" = "$(inside "$@" 2>/dev/null | rules_alone)" ]
    fi
}

# Whether nft's rules are still those that were read. The tool that lists all of them is asked where it is there.
are_still() {
    if [ -e "$root/$dir/nft.txt" ]; then
        is_of_now nft.txt nft list ruleset
    elif [ -e "$root/$dir/iptables-save" ] && [ -n "$nft4" ]; then
        is_of_now iptables-save "$nft4"
    fi
}

take_nft() {
    read_nft take
    are_still && return
    read_nft retake
    are_still && return
    # Each of them may be of a moment between two changes, and all of them of different ones.
    for file in ip6tables-save iptables-save nft.txt; do
        [ ! -e "$root/$dir/$file" ] || changed "$file"
    done
}

take_rules() {
    if [ -z "$has_nft" ]; then
        [ -z "$nft4" ] || empty iptables-save
        [ -z "$nft6" ] || empty ip6tables-save
        empty nft.txt
    else
        take_nft
    fi
    take_legacy iptables ip_tables_names "$nft4" "$legacy4"
    take_legacy ip6tables ip6_tables_names "$nft6" "$legacy6"
    if [ -n "$has_ipset" ]; then take ipset ipset save; else empty ipset; fi
    # Hardly any node has the tool, or rules that ask about what it shows.
    if [ -n "$has_acct" ] && have nfacct; then take nfacct nfacct list; fi
}

take_conntrack() {
    if [ -n "$has_conntrack" ] && have conntrack; then
        take conntrack conntrack -L -f ipv4 -o extended
        [ -e "$root/$dir/conntrack" ] || return
        mv "$root/$dir/conntrack" "$root/$dir/ipv4" || unwritten "$dir/conntrack"
        take conntrack conntrack -L -f ipv6 -o extended
        [ ! -e "$root/$dir/conntrack" ] || cat "$root/$dir/ipv4" >>"$root/$dir/conntrack" || unwritten "$dir/conntrack"
        rm -f "$root/$dir/ipv4"
    elif inside test -r /proc/self/net/nf_conntrack; then
        take conntrack cat /proc/self/net/nf_conntrack
    elif [ ! -e /proc/sys/net/netfilter/nf_conntrack_count ]; then
        # Without connection tracking there are no connections.
        empty conntrack
    elif have conntrack; then
        fail conntrack "the kernel lists its connections by the module nf_conntrack_netlink, which is not loaded, and\
 nothing is loaded here (modprobe nf_conntrack_netlink does it)"
    else
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
        sed -e '/stable_secret:/d' -e '/tcp_fastopen_key:/d' -e 's|^/proc/sys/\([^:]*\):|\1 = |' |
        cat >"$root/$dir/sysctl" || unwritten "$dir/sysctl"
    [ -s "$root/$dir/sysctl" ] || fail sysctl "/proc/sys/net can't be read"
}

take_all() { # DIR NET
    dir=$1
    net=$2
    started=$(moment)
    mkdir -p "$root/$dir" || unwritten "$dir"
    if ! inside true 2>"$notes/error"; then
        unentered
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
    printf '%s\t%s\t%s\n' "$dir" "$started" "$(moment)" >>"$notes/read" || unwritten "$notes/read"
}

# ---- The namespaces: "number file" in $notes/spaces, "number folder" in $notes/names

netns_of() { # PROCESS
    readlink "/proc/$1/ns/net" 2>/dev/null | sed 's/[^0-9]//g'
}

# Those in which something runs come first: of two sandboxes of a pod, such a one gets the pod's name.
find_spaces() {
    {
        sed -n 's/^[^ ]* [^ ]* [^ ]* net:\[\([0-9]*\)\] \([^ ]*\) .*/\1 \2/p' /proc/self/mountinfo
        cat "$notes/processes"
    } | awk -v host="$host" '
        FILENAME != "-" { lives[$1] = 1; next }
        $1 == host || seen[$1]++ { next }
        $1 in lives { print; next }
        { others = others $0 "\n" }
        END { printf "%s", others }' "$notes/processes" - | cat >"$notes/spaces" || unwritten "$notes/spaces"
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

named() { # NAMESPACE NAME FILE: the pod of the network namespace that the file is
    if ! is_name "$1" || ! is_name "$2"; then return; fi
    # shellcheck disable=SC2012 # The number is wanted, not the name.
    number=$(ls -Ldi "$3" 2>/dev/null | sed 's/^ *\([0-9]*\) .*/\1/')
    [ -z "$number" ] || printf '%s %s\n' "$number" "$1_$2"
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
        named "$namespace" "$name" "$space"
    done
}

# From what Docker keeps of each container, under cri-dockerd.
read_docker() {
    for file in /var/lib/docker/containers/*/config.v2.json; do
        [ -f "$file" ] || continue
        text=$(tr -d '\n' <"$file")
        space=$(printf '%s\n' "$text" | field SandboxKey)
        process=$(printf '%s\n' "$text" | sed -n 's/.*"Pid"[ ]*:[ ]*\([1-9][0-9]*\).*/\1/p')
        [ -e "$space" ] || space=${process:+/proc/$process/ns/net}
        named "$(printf '%s\n' "$text" | field io.kubernetes.pod.namespace)" \
            "$(printf '%s\n' "$text" | field io.kubernetes.pod.name)" "$space"
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
find_processes | cat >"$notes/processes" || unwritten "$notes/processes"
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
{
    read_runtime
    read_docker
} | cat >"$notes/names" || unwritten "$notes/names"
all=$(grep -c . "$notes/spaces")
done=0
left=0
others=0
while read -r number net; do
    done=$((done + 1))
    [ ! -t 2 ] || printf '\r%s of %s namespaces' "$done" "$all" >&2
    folder=$(name_of "$number")
    if [ -z "$folder" ]; then
        left=$((left + 1))
        continue
    fi
    case $folder in
    unnamed_* | netns_*) ;;
    *)
        case $wanted in
        '' | *" $folder "*) ;;
        *)
            others=$((others + 1))
            continue
            ;;
        esac
        ;;
    esac
    if [ -e "$root/nodes/$node/pods/$folder" ]; then
        count=2
        while [ -e "$root/nodes/$node/pods/$folder.$count" ]; do count=$((count + 1)); done
        echo "there are two namespaces of $folder: the other one is in $folder.$count; delete the one that is old" \
            >>"$notes/told"
        folder=$folder.$count
    fi
    # A namespace that somebody holds open stays until all of it is read.
    dir=nodes/$node/pods/$folder
    # shellcheck disable=SC2094 # A namespace is entered, not written.
    {
        held=/proc/self/fd/9
        take_all "$dir" "$net" </dev/null 2>&3
    } 2>"$notes/error" 9<"$net"
    [ -n "$held" ] || unentered
    held=
done <"$notes/spaces"
[ ! -t 2 ] || printf '\r' >&2
[ "$left" = 0 ] || echo "$left namespaces with no device but lo, of no pod, are left out" >>"$notes/told"

[ "$others" = 0 ] || echo "$others namespaces of other pods are left out, which were not asked for" >>"$notes/told"

tools=$(sed -n 's/.*[^a-z0-9-]\([a-z0-9-]*\) is not installed$/\1/p' "$notes/failed" | sort -u | tr '\n' ' ')
[ -z "$tools" ] || echo "this node lacks ${tools% }: install what has them (Debian's packages are iptables, nftables, ipset,\
 conntrack, iproute2 and util-linux) and take it again" >>"$notes/told"

# ---- snapshot.json

quoted() {
    tr -d '\000-\010\013-\037' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g'
}

listed() { # FILE FORMAT: a JSON object for each line, its tab-separated parts put into the format
    quoted <"$1" | awk -F '\t' -v format="$2" '{ printf "%s\n    " format, separator, $1, $2, $3; separator = "," }'
}

{
    printf '{\n  "schema": "flowtrace/snapshot/1",\n  "taken": "%s",\n  "by": "flowtrace collect --print-script",\n' "$taken"
    printf '  "node": "%s",\n  "timezone": "%s",\n  "kernel": "%s",\n  "namespaces": [' \
        "$node" "$TZ" "$(uname -r | quoted)"
    listed "$notes/read" '{"dir": "%s", "started": "%s", "ended": "%s"}'
    printf '\n  ],\n  "changed": ['
    listed "$notes/changed" '"%s"'
    printf '\n  ],\n  "failed": ['
    listed "$notes/failed" '{"file": "%s", "why": "%s"}'
    printf '\n  ],\n  "notes": ['
    listed "$notes/told" '"%s"'
    printf '\n  ]\n}\n'
} | cat >"$root/snapshot.json" || unwritten snapshot.json

# Writes the archive to descriptor 5. Where tar fails, what gzip makes of it is none.
pack() {
    code=$({ {
        (cd "$root" && tar cf - .)
        echo $? >&4
    } | gzip -1 >&5; } 4>&1) && [ "$code" = 0 ]
}

case $target in
-) pack 5>&1 || die "the archive can't be written" ;;
*.tar.gz | *.tgz)
    # It gets its name once it is whole.
    pack 5>"$root.tar.gz" || die "$target can't be written (is the disk full?): nothing is kept of the snapshot"
    [ ! -e "$target" ] || die "$target is there by now; name another one"
    mv -- "$root.tar.gz" "$target" || die "$target can't be written: nothing is kept of the snapshot"
    ;;
esac
while read -r told; do say "note: $told"; done <"$notes/told"
say "node $node: $(grep -c . "$notes/read") namespaces into $target"
if [ -s "$notes/failed" ] || [ "$(id -u)" != 0 ]; then exit 3; fi

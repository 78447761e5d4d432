//! What rtnetlink tells, what the script takes and what the tools print of one namespace are the same rows, for every kind
//! of device, address, route, rule, nexthop object, neighbour and forwarding entry that this kernel has.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use flowtrace::load::load;
use flowtrace::snapshot::{Link, LinkKind, Neigh, NeighState, Netns as Tables, Routes};

use crate::lab::judge::Folder;
use crate::lab::machine::{Taker, take};
use crate::lab::netns::{Netns, must, run};
use crate::lab::scenario::{Place, Space};
use crate::lab::snapshot::{Form, write_space};

/// Devices, and what stands on them. A kernel may lack some of the kinds.
const DEVICES: &str = "
link set lo up
link add dum0 address 02:00:00:00:00:01 type veth peer name peer0
link add dum1 mtu 9000 type veth peer name peer1
link add dum2 type dummy
link add br0 type bridge forward_delay 0
link set br0 type bridge nf_call_iptables 1
link set br0 type bridge mcast_snooping 0
link set br0 type bridge vlan_filtering 1
link add br1 type bridge stp_state 1 priority 4096 ageing_time 100
link set br1 type bridge vlan_protocol 802.1ad
link set br1 type bridge vlan_default_pvid 0
link add br2 type bridge mst_enable 1
link add veth0 type veth peer name veth1
link add veth2 type veth peer name veth3
link add veth4 type veth peer name veth5
link set veth0 master br0
link set veth2 master br0
link set veth4 master br1
link set veth2 type bridge_slave hairpin on
link set veth2 type bridge_slave isolated on
link set veth2 type bridge_slave learning off
link set veth2 type bridge_slave flood off
link set veth2 type bridge_slave mcast_flood off
link set veth2 type bridge_slave bcast_flood off
link set veth2 type bridge_slave neigh_suppress on
link set veth4 type bridge_slave locked on
link set veth4 type bridge_slave mcast_to_unicast on
link set veth4 type bridge_slave vlan_tunnel on
link set veth4 type bridge_slave guard on
link set veth4 type bridge_slave root_block on
link set veth4 type bridge_slave fastleave on
link set veth4 type bridge_slave priority 10
link set veth4 type bridge_slave cost 7
link set veth4 type bridge_slave group_fwd_mask 8
link set veth0 type bridge_slave proxy_arp on
link set veth0 type bridge_slave proxy_arp_wifi on
link set veth0 type bridge_slave backup_port veth2
link add vlan5 link dum0 type vlan id 5
link add vlan6 link dum0 type vlan protocol 802.1ad id 6 reorder_hdr off gvrp on ingress-qos-map 1:2 egress-qos-map 3:4
link add vlan7 link dum1 type vlan id 4094 mvrp on loose_binding on
link add vx1 type vxlan id 1 local 192.0.2.1 dev dum0 dstport 8472 nolearning
link add vx2 type vxlan id 2 remote 192.0.2.9 dstport 4789 ttl 9 tos 0x10 df set ageing 30 maxaddr 100 srcport 1000 2000
link add vx3 type vxlan id 3 group 239.1.1.1 dev dum0 dstport 4790 ttl inherit tos inherit df inherit proxy rsc l2miss l3miss
link add vx4 type vxlan id 4 local 2001:db8::1 remote 2001:db8::2 dstport 4791 udp6zerocsumtx udp6zerocsumrx flowlabel 0x12345
link add vx5 type vxlan dstport 4792 external
link add vx6 type vxlan id 6 dstport 4793 gbp noudpcsum
link add vx7 type vxlan dstport 4794 gpe external
link add vx9 type vxlan id 9 dstport 4796 remote 192.0.2.9 nolocalbypass
link add mac0 link dum1 type macvlan mode bridge
link add mac1 link dum1 type macvtap mode private
link add ipv0 link dum0 type ipvlan mode l3 bridge
link add ipv1 link dum0 type ipvtap mode l2
link add bond0 type bond mode active-backup
link add team0 type team
link add vrf0 type vrf table 1000
link set dum1 master vrf0
link add ipip1 type ipip local 192.0.2.1 remote 192.0.2.2
link add sit1 type sit local 192.0.2.1 remote any ttl 64
link add gre1 type gre local 192.0.2.1 remote 192.0.2.2 key 7
link add gretap1 type gretap local 192.0.2.1 remote 192.0.2.3
link add ip6tnl1 type ip6tnl local 2001:db8::1 remote 2001:db8::2
link add ip6gre1 type ip6gre local 2001:db8::1 remote 2001:db8::2
link add vti1 type vti local 192.0.2.1 remote 192.0.2.4 key 8
link add geneve0 type geneve id 5 remote 192.0.2.9
link add wg0 type wireguard
link add nlmon0 type nlmon
link add ifb7 type ifb
link add vcan0 type vcan
link add xfrm0 type xfrm dev dum0 if_id 5
link add hsr0 type hsr slave1 veth3 slave2 veth5
link add netdev0 type netdevsim
link add nk0 type netkit
link add amt0 type amt mode gateway local 192.0.2.1 discovery 192.0.2.2 dev dum0
link add bareudp0 type bareudp dstport 6635 ethertype mpls_uc
tuntap add dev tun0 mode tun
tuntap add dev tap0 mode tap user 1 group 1 multi_queue
tuntap add dev tap1 mode tap pi vnet_hdr one_queue
link property add dev dum0 altname another-name-of-it
link property add dev dum0 altname and-one-more
link set dum0 alias words-of-people
link set dum0 group 7
link set dum1 arp off
link set veth5 protodown on
link set dum0 promisc on
link set dum0 allmulticast on
link set dum0 up
link set peer0 up
link set dum1 up
link set peer1 up
link set br0 up
link set veth0 up
link set veth1 up
link set veth2 up
link set br1 up
link set vlan5 up
link set vx1 up
link set vx2 up
link set vrf0 up
link set tun0 up
link set ipip1 up
link set vx5 up
addr add 192.0.2.1/24 brd + dev dum0
addr add 192.0.2.7/24 dev dum0
addr add 192.0.2.8/24 brd 192.0.2.254 dev dum0 label dum0:one
addr add 10.9.9.1 peer 10.9.9.2/32 dev dum0
addr add 198.51.100.1/24 dev br0 scope link noprefixroute
addr add 203.0.113.1/32 dev vx1 metric 77
addr add 10.7.0.1/24 dev dum1 valid_lft 5000 preferred_lft 4000
addr add 10.8.0.1/24 dev vlan5 scope 200
addr add 224.1.1.1/32 dev dum0 autojoin
addr add 2001:db8::1/64 dev dum0 nodad
addr add 2001:db8::7/64 dev dum0 nodad preferred_lft 0
addr add 2001:db8::8/64 dev dum0 nodad noprefixroute home
addr add 2001:db8:1::1/64 dev br0
addr add 2001:db8:2::1 peer 2001:db8:2::2/128 dev dum0 nodad
addr add fd00::1/64 dev dum0 nodad mngtmpaddr
addr add 2001:db8:3::1/64 dev dum0 optimistic
";

/// Routes and rules of both families, objects, neighbours.
const ROUTES: &str = "
route add default via 192.0.2.2
route add 10.0.0.0/8 via 192.0.2.2 dev dum0 metric 100 proto static
route add 10.1.0.0/16 via 192.0.2.2 dev dum0 src 192.0.2.7 table 100
route add 10.1.0.0/16 dev dum0 scope link proto 42 table 1000000
route add 10.2.0.0/16 nexthop via 192.0.2.2 dev dum0 weight 3 nexthop via 192.0.2.3 dev dum0 weight 256 onlink
route add 10.3.0.0/16 nexthop via 198.51.100.2 dev br0 onlink nexthop dev vlan5
route add 10.4.0.0/16 via 203.0.113.77 dev vx1 onlink
route add blackhole 10.5.0.0/16
route add unreachable 10.5.1.0/24 metric 9
route add prohibit 10.5.2.0/24
route add throw 10.5.3.0/24 table 100
route add local 10.5.4.0/24 dev lo
route add broadcast 10.5.5.255/32 dev dum0
route add unicast 10.5.6.0/24 dev dum0 tos 0x10
route add 10.5.7.0/24 dev dum0 tos 0x08
route add 10.6.0.0/16 dev dum0 mtu 1400 advmss 1360 hoplimit 9 rtt 200ms rttvar 40ms window 1000 ssthresh 9 cwnd lock 10 initcwnd 10 initrwnd 20 quickack 1 congctl reno reordering 4 rto_min 4s features ecn fastopen_no_cookie 1
route add 10.6.1.0/24 dev dum0 mtu lock 1300 rto_min 50ms
route add 10.6.2.0/24 dev dum0 realm 5
route add 10.6.3.0/24 dev dum0 realms 4/5
route add 10.6.4.0/24 via inet6 2001:db8::99 dev dum0
route add 10.6.5.0/24 nexthop via inet6 2001:db8::98 dev dum0 nexthop via 192.0.2.5 dev dum0
route add 10.6.6.0/24 encap ip id 100 src 192.0.2.1 dst 192.0.2.9 ttl 5 tos 4 key csum seq dev vx5
route add 10.6.7.0/24 encap ip6 id 100 src 2001:db8::1 dst 2001:db8::9 hoplimit 5 tc 4 dev vx5
route add 10.6.8.0/24 encap mpls 100/200 ttl 9 via 192.0.2.2 dev dum0
route add 10.6.9.0/24 encap seg6 mode encap segs fd00::9,fd00::8 via 192.0.2.2 dev dum0
route add 10.6.10.0/24 encap ip id 1 dst 192.0.2.9 nexthop dev vx5 weight 2
route add 10.6.11.0/24 nexthop encap ip id 7 dst 192.0.2.9 dev vx5 nexthop via 192.0.2.2 dev dum0
route add 192.0.2.77 dev dum0 scope host
route add 0.0.0.0/1 via 192.0.2.2
route add multicast 239.0.0.0/8 dev dum0 table 100
-6 route add default via 2001:db8::2 dev dum0 metric 500
-6 route add 2001:db8:10::/48 via 2001:db8::2 dev dum0 proto ra pref high
-6 route add 2001:db8:11::/48 nexthop via 2001:db8::2 dev dum0 weight 3 nexthop via 2001:db8::3 dev dum0
-6 route add blackhole 2001:db8:12::/48
-6 route add unreachable 2001:db8:13::/48 metric 7
-6 route add prohibit 2001:db8:14::/48 table 100
-6 route add throw 2001:db8:15::/48 table 100
-6 route add 2001:db8:16::/48 from 2001:db8:17::/48 via 2001:db8::2 dev dum0
-6 route add 2001:db8:18::/48 dev dum0 mtu lock 1300 advmss 1200 expires 5000
-6 route add 2001:db8:19::/48 encap seg6 mode inline segs fd00::9 dev dum0
-6 route add 2001:db8:1a::/48 encap seg6local action End.X nh6 2001:db8::2 dev dum0
-6 route add 2001:db8:1b::/48 encap seg6local action End.DT6 table 100 dev dum0
-6 route add 2001:db8:1c::/48 encap ioam6 trace prealloc type 0x800000 ns 1 size 12 dev dum0
-6 route add 2001:db8:1d::/48 encap rpl segs fd00::9,fd00::8 dev dum0
-6 route add 2001:db8:1e::/48 encap ip6 id 3 dst 2001:db8::9 dev vx5
-6 route add 2001:db8:1f::/48 encap xfrm if_id 5 link_dev dum0 dev dum0
-6 route add local 2001:db8:20::/64 dev lo
-6 route add 2001:db8:21::1 via fe80::2 dev dum0 onlink
-6 route add anycast 2001:db8:22::/128 dev dum0
nexthop add id 1 via 192.0.2.2 dev dum0
nexthop add id 2 via 192.0.2.3 dev dum0 onlink proto zebra
nexthop add id 3 group 1/2,5
nexthop add id 4 blackhole
nexthop add id 5 dev dum0 scope link
nexthop add id 6 group 1,3/2 type resilient buckets 32 idle_timer 60 unbalanced_timer 300
nexthop add id 7 via 2001:db8::2 dev dum0
nexthop add id 8 encap mpls 300 via 192.0.2.2 dev dum0
nexthop add id 9 via 192.0.2.9 fdb
nexthop add id 10 group 9 fdb
nexthop add id 11 via 2001:db8::3 dev dum0
nexthop add id 12 group 7,2/11
nexthop add id 13 encap ip id 9 dst 192.0.2.9 dev vx5
nexthop add id 14 group 1,300/2
route add 10.20.0.0/16 nhid 1
route add 10.21.0.0/16 nhid 3
route add 10.22.0.0/16 nhid 4
route add 10.23.0.0/16 nhid 6
route add 10.24.0.0/16 nhid 5
route add 10.25.0.0/16 nhid 7
route add 10.26.0.0/16 nhid 13
-6 route add 2001:db8:30::/48 nhid 7
-6 route add 2001:db8:31::/48 nhid 12
rule add pref 100 from 10.0.0.0/8 to 10.1.0.0/16 lookup 100
rule add pref 101 not from 10.1.2.3 iif dum0 oif dum1 lookup 1000000
rule add pref 102 fwmark 0x10/0xf0 lookup 100
rule add pref 103 fwmark 7 goto 32766
rule add pref 104 fwmark 7 goto 32000
rule add pref 105 tos 0x10 lookup main suppress_prefixlength 0
rule add pref 106 lookup main suppress_ifgroup 5
rule add pref 107 ipproto tcp sport 80 dport 1000-2000 lookup 100
rule add pref 108 ipproto 222 lookup 100
rule add pref 109 uidrange 100-200 lookup 100
rule add pref 110 blackhole
rule add pref 111 to 10.5.0.0/16 unreachable
rule add pref 112 from 10.5.0.0/16 prohibit
rule add pref 113 nop
rule add pref 114 l3mdev
rule add pref 115 iif gone0 lookup 100
rule add pref 116 from all realms 3/4 lookup 100
rule add pref 117 protocol static lookup 100
rule add pref 118 tun_id 9 lookup 100
rule add pref 119 from 0/1 lookup default
rule add pref 120 protocol zebra nop
rule add pref 121 protocol zebra blackhole
rule add pref 122 dscp 0x2e lookup 100
rule add pref 123 sport 0x50/0xff lookup 100
rule add pref 124 from all suppress_prefixlength 0 l3mdev
-6 rule add pref 100 from 2001:db8::/32 to 2001:db8:1::1 lookup 100
-6 rule add pref 101 iif lo fwmark 1 lookup 100
-6 rule add pref 102 ipproto ipv6-icmp lookup 100
-6 rule add pref 103 flowlabel 0x5/0xff lookup 100
-6 rule add pref 104 unreachable
neigh add 192.0.2.10 dev dum0 lladdr 5a:00:00:00:00:01 nud permanent
neigh add 192.0.2.11 dev dum0 lladdr 5a:00:00:00:00:02 nud stale
neigh add 192.0.2.12 dev dum0 lladdr 5a:00:00:00:00:03 nud noarp
neigh add 192.0.2.13 dev dum0 nud failed
neigh add 192.0.2.14 dev dum0 lladdr 5a:00:00:00:00:04 nud permanent extern_learn
neigh add 192.0.2.15 dev dum0 lladdr 5a:00:00:00:00:05 nud permanent router
neigh add 192.0.2.16 dev dum0 lladdr 5a:00:00:00:00:06 managed
neigh add 192.0.2.17 dev dum0 lladdr 5a:00:00:00:00:07 nud permanent protocol zebra
neigh add proxy 192.0.2.18 dev dum0
neigh add 10.99.0.1 dev ipip1 nud permanent
neigh add 10.99.0.2 dev gre1 lladdr 192.0.2.9 nud permanent
neigh add 2001:db8::10 dev dum0 lladdr 5a:00:00:00:00:08 nud permanent router
neigh add 2001:db8::11 dev dum0 lladdr 5a:00:00:00:00:09 nud stale
";

const ENTRIES: &str = "
fdb add 5a:00:00:00:00:11 dev vx1 dst 192.0.2.12
fdb append 00:00:00:00:00:00 dev vx1 dst 192.0.2.13
fdb append 00:00:00:00:00:00 dev vx1 dst 192.0.2.14 port 4000 vni 99 via dum0
fdb add 5a:00:00:00:00:12 dev vx4 dst 2001:db8::9
fdb add 5a:00:00:00:00:13 dev vx2 nhid 10
fdb add 5a:00:00:00:00:14 dev vx5 dst 192.0.2.15 src_vni 1000 vni 1001
fdb add 5a:00:00:00:00:15 dev veth0 master static
fdb add 5a:00:00:00:00:16 dev veth0 master permanent vlan 1
fdb add 5a:00:00:00:00:17 dev veth2 master dynamic
fdb add 5a:00:00:00:00:18 dev veth2 master static sticky
fdb add 5a:00:00:00:00:19 dev veth2 master extern_learn
fdb add 5a:00:00:00:00:1a dev br0 self permanent
fdb add 5a:00:00:00:00:1b dev dum0 self
fdb add 5a:00:00:00:00:1c dev br0 vlan 30 self permanent
fdb add 5a:00:00:00:00:1d dev veth4 master static
vlan add vid 10 dev veth0
vlan add vid 20 dev veth0 pvid untagged
vlan add vid 30-33 dev veth2
vlan add vid 40 dev veth2 untagged
vlan add vid 30 dev br0 self
vlan del vid 1 dev veth2
vlan add vid 5 dev veth4
";

/// So many of the lines a kernel may refuse before the comparison means little.
const MOST_REFUSED: usize = 65;

/// Runs every line for itself: one that the kernel doesn't know must not keep the others from it.
fn furnish(program: &str, lines: &str) -> Vec<String> {
    let mut refused = Vec::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        if let Err(error) = must(program, &words, "") {
            refused.push(format!("{line}: {}", error.lines().nth(1).unwrap_or_default()));
        }
    }
    refused
}

/// A row without the place where it stands.
fn bare(row: &impl Debug) -> String {
    let text = format!("{row:?}");
    let mut parts = text.split("Evidence {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once('}').map_or("", |(_, rest)| rest))
}

fn rows<T: Debug>(rows: Option<&Vec<T>>) -> Option<Vec<String>> {
    let mut rows: Vec<String> = rows?.iter().map(bare).collect();
    rows.sort();
    Some(rows)
}

/// Every table as sorted rows, `None` for one that is not there.
fn tables(netns: &Tables) -> BTreeMap<&'static str, Option<Vec<String>>> {
    let routes = |routes: &Option<Routes>| rows(routes.as_ref().map(|routes| routes.rows().to_vec()).as_ref());
    BTreeMap::from([
        ("links", rows(netns.links.as_ref().map(|links| links.iter().map(ordered).collect()).as_ref())),
        ("addrs", rows(netns.addrs.as_ref())),
        ("routes", routes(&netns.routes)),
        ("routes6", routes(&netns.routes6)),
        ("rules", rows(netns.rules.as_ref())),
        ("rules6", rows(netns.rules6.as_ref())),
        ("nexthops", rows(netns.nexthops.as_ref())),
        ("neighs", rows(netns.neighs.as_ref().map(|neighs| neighs.iter().map(settled).collect()).as_ref())),
        ("fdb", rows(netns.fdb.as_ref())),
        ("vlans", rows(netns.bridge_vlans.as_ref())),
        ("tuns", rows(netns.tuns.as_ref())),
    ])
}

/// iproute2's versions print a tunnel's switches in another order each.
fn ordered(link: &Link) -> Link {
    let mut link = link.clone();
    if let LinkKind::Vxlan(vxlan) = &mut link.kind {
        vxlan.unmodelled.sort();
    }
    link
}

/// Who is asked for in vain is `INCOMPLETE` at one moment and `FAILED` at the next.
fn settled(neigh: &Neigh) -> Neigh {
    let state = if neigh.state == NeighState::Incomplete { NeighState::Failed } else { neigh.state };
    Neigh { state, ..neigh.clone() }
}

fn loaded(folder: &Path) -> (BTreeMap<&'static str, Option<Vec<String>>>, Vec<String>) {
    let snapshot = load(folder).unwrap();
    let gaps = snapshot.gaps.iter().map(|gap| gap.what.clone()).collect();
    (tables(&snapshot.namespaces[0]), gaps)
}

#[test]
fn rtnetlink_and_the_script_tell_what_the_tools_print() {
    if !crate::lab::ready::ready() {
        return;
    }
    let netns = Netns::new("rows").unwrap();
    let refused: Vec<String> = netns.enter(|| {
        let _ = run("sysctl", &["-q", "net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1"], "");
        [furnish("ip", DEVICES), furnish("ip", ROUTES), furnish("bridge", ENTRIES)].concat()
    });
    println!("{} lines are refused here:\n{}", refused.len(), refused.join("\n"));
    // Duplicate addresses are looked for within two seconds.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let folders = Folder::new("rows");
    let by_tools = folders.path.join("tools");
    let host = Space::new("rows", Place::Host { node: "n1".to_owned() });
    let target = by_tools.join("nodes/n1/host");
    std::fs::create_dir_all(&target).unwrap();
    netns.enter(|| write_space(&host, &target, Form::Text)).unwrap();
    let (wanted, wanted_gaps) = loaded(&by_tools);
    let mut wrong = Vec::new();
    for taker in [Taker::Netlink, Taker::Script("dash"), Taker::Script("busybox sh")] {
        let folder = folders.path.join(format!("{taker:?}"));
        let output = take(&netns, &[], "n1", &folder, taker).unwrap();
        assert!(output.status.success(), "{taker:?}: {}", String::from_utf8_lossy(&output.stderr));
        let (found, gaps) = loaded(&folder);
        for (table, wanted) in &wanted {
            wrong.extend(
                differences(wanted.as_ref(), found[table].as_ref())
                    .into_iter()
                    .map(|row| format!("{taker:?} {table}: {row}")),
            );
        }
        if gaps.len() > wanted_gaps.len() {
            wrong.push(format!("{taker:?}: {gaps:#?}, the tools: {wanted_gaps:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused.len() <= MOST_REFUSED, "{} lines are refused", refused.len());
}

/// The rows that only one side has.
fn differences(wanted: Option<&Vec<String>>, found: Option<&Vec<String>>) -> Vec<String> {
    let (Some(wanted), Some(found)) = (wanted, found) else {
        return if wanted == found { Vec::new() } else { vec![format!("{wanted:?} became {found:?}")] };
    };
    let missing = wanted.iter().filter(|row| !found.contains(row)).map(|row| format!("- {row}"));
    let more = found.iter().filter(|row| !wanted.contains(row)).map(|row| format!("+ {row}"));
    let count = (wanted.len() != found.len()).then(|| format!("{} rows became {}", wanted.len(), found.len()));
    missing.chain(more).chain(count).collect()
}

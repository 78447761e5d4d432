//! Settings and rules that are seldom met, and that change where a packet goes.

use nix::errno::Errno;

use super::flannel::FlannelBackend;
use super::probe::{Probe, Proto, Want};
use super::scenario::{Place, Scenario};
use super::situations::{EVERY, POD1, two_nodes, two_pods};

const POD2: &str = "default/pod2";

/// The node answers for addresses that it doesn't have: a pod whose routes name no gateway reaches the other node.
pub fn proxy_arp() -> Scenario {
    let mut scenario = two_pods("proxy-arp", FlannelBackend::Vxlan).scenario();
    scenario.space("n1").sysctl("ipv4/conf/cni0/proxy_arp", 1);
    scenario.space("default/pod1").ip("route add 10.244.2.0/24 dev eth0");
    for proto in EVERY {
        scenario.probe(Probe::ask(POD1, POD2, proto, "10.244.2.2", 7000).answered_by(POD2));
    }
    scenario.probe(Probe::ask(POD1, "10.244.1.77", Proto::Udp, "10.244.1.77", 7000).error(Errno::EHOSTUNREACH));
    scenario
}

/// A service's port on the loopback address: its packets have a source that may not leave the node, unless
/// `route_localnet` lets it.
pub fn local_node_port(route_localnet: bool) -> Scenario {
    let mut scenario = two_pods("local-node-port", FlannelBackend::Vxlan).scenario();
    let n1 = scenario.space("n1");
    n1.sysctl("ipv4/conf/all/route_localnet", u8::from(route_localnet));
    let rules = n1.rules4();
    rules.insert("nat", "OUTPUT -d 127.0.0.1/32 -p udp -m udp --dport 30080 -j DNAT --to-destination 10.244.1.2:7000");
    rules.insert("nat", "POSTROUTING -s 127.0.0.0/8 ! -d 127.0.0.0/8 -j MASQUERADE");
    let probe = Probe::ask("node/n1", "127.0.0.1", Proto::Udp, "127.0.0.1", 30080).listening(7000);
    scenario.probe(if route_localnet { probe.answered_by(POD1) } else { probe.refused(Errno::EINVAL) });
    scenario
}

/// The mark that a rule gave a request goes over to the answer, where a policy rule catches it.
pub fn reflected_mark() -> Scenario {
    let mut scenario = two_pods("reflected-mark", FlannelBackend::Vxlan).scenario();
    let n2 = scenario.space("n2");
    n2.sysctl("ipv4/fwmark_reflect", 1).sysctl("ipv4/tcp_fwmark_accept", 1);
    n2.ip("rule add fwmark 7 blackhole");
    n2.rules4().insert("mangle", "PREROUTING ! -s 192.0.2.12/32 -j MARK --set-xmark 0x7/0xffffffff");
    let n2 = |proto: Proto| Probe::ask("node/n1", "node/n2", proto, "192.0.2.12", 7000);
    scenario.probe(n2(Proto::Icmp).want(Want::Unheard("n2".to_owned())));
    scenario.probe(n2(Proto::Tcp).want(Want::Unheard("n2".to_owned())));
    scenario.probe(n2(Proto::Udp).answered_by("n2"));
    scenario
}

/// An egress hook drops before a capture on the device sees anything.
pub fn egress_hook() -> Scenario {
    let mut scenario = two_pods("egress-hook", FlannelBackend::Vxlan).scenario();
    let hook = "type filter hook egress device \"eth0\" priority 0; policy accept;";
    let n1 = scenario.space("n1");
    n1.nft.push_str(&format!("table netdev t {{\n chain c {{\n  {hook}\n  ip daddr 192.0.2.12 drop\n }}\n}}\n"));
    scenario.probe(Probe::ask(POD1, POD2, Proto::Udp, "10.244.2.2", 7000).silent());
    scenario.probe(Probe::ask("node/n1", POD1, Proto::Udp, "10.244.1.2", 7000).answered_by(POD1));
    scenario
}

/// nft sends packets on by another device as they come in or go out: to a neighbour of the other node, to one that
/// nobody is, to another pod with the frame as it is, again and again.
pub fn sent_on() -> Scenario {
    let cluster = two_nodes("sent-on", FlannelBackend::Vxlan);
    let veth = |name: &str| cluster.pods.iter().find(|pod| pod.full_name() == name).expect("a pod").veth();
    let pod1 = veth(POD1);
    let mut scenario = cluster.scenario();
    let n1 = scenario.space("n1");
    n1.late("neigh replace 10.244.1.3 lladdr 0a:58:0a:f4:01:03 dev cni0 nud permanent");
    n1.ip("link add gone type veth peer name gone2");
    n1.late("link del gone");
    n1.nft.push_str(&format!(
        "table netdev t {{
 chain i {{
  type filter hook ingress device \"{pod1}\" priority 0; policy accept;
  meta protocol ip meta nftrace set 1
  udp dport 7001 fwd ip to 192.0.2.12 device \"eth0\"
  udp dport 7002 fwd to \"flannel.1\"
  udp dport 7003 fwd ip6 to fd00::1 device \"eth0\"
  udp dport 7005 fwd ip to 192.0.2.77 device \"eth0\"
  udp dport 7010 fwd ip to 192.0.2.12 device \"gone\"
  udp dport 7010 counter
  udp dport 7011 fwd to \"gone\"
  udp dport 7009 fwd ip to ip daddr map {{ 10.244.2.2 : 192.0.2.12 }} device udp sport map {{ 41009 : \"eth0\" }}
 }}
 chain e {{
  type filter hook egress device \"eth0\" priority 0; policy accept;
  udp dport 7006 fwd ip to 10.244.1.3 device \"cni0\"
  udp dport 7007 fwd to \"eth0\"
  udp dport 7008 fwd ip to 10.244.1.4 device \"cni0\"
 }}
}}
"
    ));
    let ask = |port: u16| Probe::ask(POD1, POD2, Proto::Udp, "10.244.2.2", port);
    scenario.probe(ask(7000).answered_by(POD2));
    scenario.probe(ask(7001).answered_by(POD2));
    scenario.probe(ask(7001).ttl(2).sport(41_002));
    scenario.probe(ask(7002).silent());
    scenario.probe(ask(7003).answered_by(POD2));
    scenario.probe(ask(7005).silent());
    scenario.probe(ask(7009).sport(41_009).answered_by(POD2));
    scenario.probe(ask(7009).sport(41_010).answered_by(POD2));
    scenario.probe(ask(7010).answered_by(POD2));
    scenario.probe(ask(7010).ttl(3).sport(41_003).error(Errno::EHOSTUNREACH));
    scenario.probe(ask(7011).silent());
    let host = |port: u16| Probe::ask("node/n1", "node/n2", Proto::Udp, "192.0.2.12", port);
    for port in [7006, 7007, 7008] {
        scenario.probe(host(port).silent());
    }
    scenario
}

/// nft sends on what has no TTL left, or doesn't: newer kernels look.
pub fn sent_on_without_ttl() -> Scenario {
    let mut scenario = two_pods("sent-on-ttl", FlannelBackend::Vxlan).scenario();
    let hook = "type filter hook egress device \"eth0\" priority 0; policy accept;";
    let fwd = "udp dport 7000 fwd ip to 10.244.1.2 device \"cni0\"";
    scenario.space("n1").nft.push_str(&format!("table netdev t {{\n chain e {{\n  {hook}\n  {fwd}\n }}\n}}\n"));
    scenario.probe(Probe::ask("node/n1", "node/n2", Proto::Udp, "192.0.2.12", 7000).ttl(1).silent());
    scenario
}

/// Who answers no ARP request: a device without ARP, an address of another device, a node that is set to be silent.
pub fn silent_owners() -> Scenario {
    let mut cluster = two_pods("silent-owners", FlannelBackend::Vxlan).pod("default/pod3", 1, 3);
    cluster.kube_proxy = false;
    let mut scenario = cluster.scenario();
    scenario.space("default/pod3").late("link set eth0 arp off");
    scenario.space("n2").sysctl("ipv4/conf/eth0/arp_ignore", 1);
    scenario.space("n1").ip("route add 10.244.2.1/32 dev eth0");
    let ask = |from: &str, to: &str| Probe::ask(from, to, Proto::Udp, to, 7000);
    scenario.probe(ask(POD1, "10.244.1.3").error(Errno::EHOSTUNREACH));
    scenario.probe(ask("default/pod3", "10.244.1.2"));
    scenario.probe(ask("node/n1", "10.244.2.1").error(Errno::EHOSTUNREACH));
    scenario.probe(ask("node/n1", "192.0.2.12"));
    scenario
}

/// A question repairs what its target has wrong of who asks.
pub fn repaired_neighbour() -> Scenario {
    let mut scenario = two_pods("repaired-neighbour", FlannelBackend::Vxlan).scenario();
    let pod2 = scenario.space("default/pod2");
    pod2.late("neigh replace 10.244.2.1 lladdr 5a:00:00:00:99:99 dev eth0 nud reachable");
    scenario.probe(Probe::ask(POD1, POD2, Proto::Udp, "10.244.2.2", 7000).answered_by(POD2));
    scenario
}

/// A bridge that forwards IPv6 although the node as a whole doesn't.
pub fn forced_forwarding() -> Scenario {
    let mut cluster = two_pods("forced-forwarding", FlannelBackend::Vxlan);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let n1 = scenario.space("n1");
    n1.sysctl("ipv6/conf/all/forwarding", 0).sysctl("ipv6/conf/cni0/force_forwarding", 1);
    let pod2 = |from: &str| Probe::ask(from, POD2, Proto::Udp, "fd00:10:244:2::2", 7000);
    scenario.probe(pod2(POD1));
    scenario.probe(pod2("node/n1").answered_by(POD2));
    scenario
}

/// Connection tracking on the bridge puts IPv6's pieces together and forgets how large they were: they are split anew
/// where the way gets narrower, as if the sender had allowed it.
pub fn reassembled_on_bridge() -> Scenario {
    let mut cluster = two_pods("reassembled-on-bridge", FlannelBackend::Vxlan);
    cluster.dual_stack = true;
    let devices: Vec<(String, String)> = cluster.pods.iter().map(|pod| (pod.space(), pod.veth())).collect();
    let mut scenario = cluster.scenario();
    for ((space, veth), node) in devices.iter().zip(["n1", "n2"]) {
        scenario.space(space).late("link set eth0 mtu 1450");
        scenario.space(node).late(format!("link set {veth} mtu 1450")).late("link set cni0 mtu 1450");
    }
    for proto in [Proto::Icmp, Proto::Udp] {
        scenario.probe(Probe::ask(POD1, POD2, proto, "fd00:10:244:2::2", 7000).size(1500).answered_by(POD2));
    }
    scenario.probe(Probe::ask(POD1, POD2, Proto::Udp, "fd00:10:244:2::2", 7000).size(1440).error(Errno::EMSGSIZE));
    scenario
}

/// A node whose uplink has no carrier asks nobody, and nobody hears of it: packets to it fail as unknown neighbours.
pub fn without_carrier(backend: FlannelBackend) -> Scenario {
    let mut cluster = two_pods("without-carrier", backend);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let ends = scenario.wires.iter().flat_map(|wire| [(&wire.a, &wire.b), (&wire.b, &wire.a)]);
    let port = ends.into_iter().find(|(near, _)| near.space == "n2" && near.dev == "eth0").map(|(_, far)| far.clone());
    let port = port.expect("n2's port of the switch");
    scenario.space(&port.space).late(format!("link set {} down", port.dev));
    for (from, to, addresses) in
        [(POD1, POD2, ["10.244.2.2", "fd00:10:244:2::2"]), (POD2, POD1, ["10.244.1.2", "fd00:10:244:1::2"])]
    {
        for address in addresses {
            scenario.probe(Probe::ask(from, to, Proto::Udp, address, 7000));
        }
    }
    scenario.probe(Probe::ask("node/n1", "node/n2", Proto::Udp, "192.0.2.12", 7000).error(Errno::EHOSTUNREACH));
    scenario
}

/// A static entry sends frames for the bridge's own address out of a port.
pub fn bridge_address_on_a_port() -> Scenario {
    let cluster = two_pods("bridge-address-on-a-port", FlannelBackend::Vxlan).pod("default/pod3", 1, 3);
    let (mac, veth) = (cluster.nodes[0].bridge_mac(), cluster.pod_named("default/pod3").veth());
    let mut scenario = cluster.scenario();
    scenario.space("n1").late_bridge.push(format!("fdb replace {mac} dev {veth} master static"));
    // Who gets it takes it, for its address, and does not forward.
    scenario.space("default/pod3").late(format!("link set eth0 address {mac}"));
    scenario.probe(Probe::ask(POD1, POD2, Proto::Udp, "10.244.2.2", 7000).silent());
    scenario
}

/// Who answers for an address: in IPv4 whoever has a local route for it; in IPv6 no device without ARP.
pub fn unusual_owners() -> Scenario {
    let mut cluster = two_pods("unusual-owners", FlannelBackend::Vxlan).pod("default/pod3", 1, 3);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    scenario.space("n1").ip("route add local 10.244.1.99/32 dev cni0").ip("route add local 10.244.1.98/32 dev lo");
    scenario.space("default/pod3").late("link set eth0 arp off");
    for address in ["10.244.1.99", "10.244.1.98"] {
        scenario.probe(Probe::ask(POD1, address, Proto::Udp, address, 7000).answered_by("n1"));
    }
    let pod3 = Probe::ask(POD1, "default/pod3", Proto::Udp, "fd00:10:244:1::3", 7000);
    scenario.probe(pod3.error(Errno::EHOSTUNREACH));
    scenario
}

/// Two pods have one address: which of them answers first, nobody knows.
pub fn duplicate_address() -> Scenario {
    let cluster = two_pods("duplicate-address", FlannelBackend::Vxlan).pod("default/pod3", 1, 3);
    let mut scenario = cluster.scenario();
    scenario.space("default/pod3").ip("addr add 10.244.1.2/32 dev eth0");
    scenario.probe(Probe::ask(POD2, "10.244.1.2", Proto::Udp, "10.244.1.2", 7000).times(2));
    scenario.probe(Probe::ask("node/n1", "10.244.1.2", Proto::Icmp, "10.244.1.2", 0));
    scenario
}

/// The elements of a set that had no link address, and take a packet's: they lose their mark.
pub fn completed_elements() -> Scenario {
    let mut scenario = two_pods("completed-elements", FlannelBackend::Vxlan).scenario();
    let n1 = scenario.space("n1");
    n1.ipset.push_str("create a bitmap:ip,mac range 10.244.1.0/24 skbinfo\nadd a 10.244.1.2 skbmark 0x7\n");
    n1.ipset.push_str("create b bitmap:ip,mac range 10.244.1.0/24 skbinfo\nadd b 10.244.1.2 skbmark 0x7\n");
    n1.ipset.push_str("create l list:set size 8\nadd l a\n");
    let rules = n1.rules4();
    for rule in [
        "-j SET --map-set l src,src --map-mark",
        "-m set --match-set a src,dst -j DROP",
        "-m mark --mark 0x7 -j DROP",
        "-j SET --map-set a src,src --map-mark",
        "-j SET --add-set b src,src",
        "-m set --match-set b src,dst -j DROP",
        "-j SET --map-set b src,src --map-mark",
    ] {
        rules.append("mangle", format!("PREROUTING -i cni0 {rule}"));
    }
    scenario.probe(Probe::ask(POD1, POD2, Proto::Udp, "10.244.2.2", 7000).answered_by(POD2));
    scenario
}

/// A listener without timestamps, whose answer's length depends on whether the SYN asked for selective acknowledgement:
/// rules of both kinds ask for it, and for that of the tunnel packet around it.
pub fn short_answers() -> Scenario {
    let mut scenario = two_pods("short-answers", FlannelBackend::Vxlan).scenario();
    scenario.space(POD2).sysctl("ipv4/tcp_timestamps", 0);
    let n2 = scenario.space("n2");
    n2.rules4().insert("filter", "FORWARD -p tcp -m length --length 52 -j ACCEPT");
    n2.rules4().insert("filter", "OUTPUT -p udp -m udp --dport 8472 -m length --length 102 -j ACCEPT");
    let chain = "type filter hook forward priority 10; policy accept;";
    let rules = "meta length 44-60 counter\n  meta length 52 tcp dport 7000 drop\n  ip length 52 tcp sport 7000 drop";
    let n1 = scenario.space("n1");
    n1.nft.push_str(&format!("table ip t {{\n chain c {{\n  {chain}\n  {rules}\n }}\n}}\n"));
    scenario.probe(Probe::ask(POD1, POD2, Proto::Tcp, "10.244.2.2", 7000).want(Want::Unheard(POD2.to_owned())));
    scenario
}

/// What bridged frames have for a route: the bridge's own one, which names nobody; after address translation on the
/// bridge a real one.
pub fn bridged_routes() -> Scenario {
    let mut scenario = two_nodes("bridged-routes", FlannelBackend::Vxlan).scenario();
    let n1 = scenario.space("n1");
    n1.nft.push_str(
        "table ip t {\n\
           chain f {\n  type filter hook forward priority 10; policy accept;\n\
             rt classid 0 counter\n  meta rtclassid 0 counter\n\
             rt nexthop 10.244.1.3 counter\n  rt nexthop 10.244.1.4 counter\n  rt nexthop 10.244.2.0 counter\n\
             rt mtu 1410 counter\n }\n\
           chain p {\n  type filter hook postrouting priority 10; policy accept;\n\
             rt nexthop 10.244.1.3 counter\n  rt nexthop 10.244.1.4 counter\n  rt classid 0 counter\n }\n}\n\
         table bridge b {\n\
           chain p {\n  type filter hook prerouting priority -10; policy accept;\n  meta rtclassid 0 counter\n }\n\
           chain f {\n  type filter hook forward priority -10; policy accept;\n  meta rtclassid 0 counter\n }\n\
           chain i {\n  type filter hook input priority -10; policy accept;\n  meta rtclassid 0 counter\n }\n}\n",
    );
    for proto in EVERY {
        scenario.probe(Probe::ask(POD1, "default/pod3", proto, "10.244.1.3", 7000).answered_by("default/pod3"));
    }
    scenario.probe(Probe::ask(POD1, POD2, Proto::Udp, "10.244.2.2", 7000).answered_by(POD2));
    let rules = scenario.space("n1").rules4();
    rules.insert("nat", "PREROUTING -d 10.96.0.99/32 -p udp -j DNAT --to-destination 10.244.1.4:7000");
    let web = Probe::ask(POD1, "10.96.0.99", Proto::Udp, "10.96.0.99", 7000);
    scenario.probe(web.answered_by("shop/web-0"));
    scenario
}

/// The sender is no part of the snapshot: the question says by which port of the bridge its frames come in, to another
/// pod on the bridge and to one of the other node.
pub fn at_a_port_of_the_bridge() -> Scenario {
    let cluster = two_pods("at-a-port", FlannelBackend::Vxlan).pod("default/pod3", 1, 3);
    let port = cluster.pod_named(POD1).veth();
    let mut scenario = cluster.scenario();
    scenario.space(POD1).place = Place::Hidden;
    for receiver in [POD2, "default/pod3"] {
        scenario.space(receiver).rules4().append("filter", "INPUT -s 10.244.1.2/32 -j DROP");
    }
    scenario.space("n1").rules4().insert("filter", "FORWARD -p udp -d 10.244.1.3/32 -m comment --comment bridged");
    for (receiver, address) in [("default/pod3", "10.244.1.3"), (POD2, "10.244.2.2")] {
        for proto in EVERY {
            let mut probe = Probe::new(POD1, "10.244.1.2", receiver, proto, address, 7000).silent();
            probe.extra.extend(["--at".to_owned(), format!("n1/{port}")]);
            scenario.probe(probe);
        }
    }
    scenario
}

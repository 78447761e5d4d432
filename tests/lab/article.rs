//! The cluster of the article that the project grew from, whole: what its few tables stand for. flannel is an old one,
//! which has one route to all pods and tells the kernel where each of them is when it asks.

use super::flannel::{Cluster, FlannelBackend};
use super::probe::{Probe, Proto};
use super::scenario::{Place, Plug, Scenario, Space, Wire};

const UPLINK: &str = "eno16777984";
const POD1: &str = "default/pod1";

/// A node: its name, the last part of its address, and the third part of its pods'.
#[derive(Clone, Copy)]
struct Host {
    name: &'static str,
    number: u8,
    subnet: u8,
}

const HOSTS: [Host; 3] = [
    Host { name: "host1", number: 212, subnet: 14 },
    Host { name: "host2", number: 213, subnet: 5 },
    Host { name: "host3", number: 214, subnet: 0 },
];

/// Pods: namespace, name, node and the last part of the address.
const PODS: [(&str, &str, Host, u8); 4] = [
    ("default", "pod1", HOSTS[0], 15),
    ("default", "pod3", HOSTS[0], 16),
    ("default", "pod2", HOSTS[1], 150),
    ("kube-system", "kube-dns", HOSTS[2], 46),
];

impl Host {
    fn address(self) -> String {
        format!("192.168.93.{}", self.number)
    }

    fn vtep_mac(self) -> String {
        format!("5a:00:00:00:04:{:02x}", self.number)
    }
}

/// Situation 12, with everything that the article does not print.
pub fn article() -> Scenario {
    let cluster = Cluster::new("article-whole", FlannelBackend::Vxlan, 0);
    let mut scenario = Scenario { name: cluster.name.clone(), ..Scenario::default() };
    let hidden = |name: &str| {
        let mut space = Space::new(name, Place::Hidden);
        cluster.add_defaults(&mut space, 0);
        space
    };
    let mut switch = hidden("switch0");
    switch.ip("link add br0 type bridge mcast_snooping 0").ip("link set br0 up");
    scenario.spaces.push(switch);
    let mut world = hidden("world");
    world.ip("addr add 192.168.93.254/24 brd + dev eth0").ip("link set eth0 up").ip("addr add 203.0.113.1/32 dev lo");
    scenario.spaces.push(world);
    let gateway =
        Plug { space: "world".to_owned(), dev: "eth0".to_owned(), index: 2, mac: "52:54:00:00:00:fe".to_owned() };
    cluster.plug_into_switch(&mut scenario, 0, gateway);
    for host in HOSTS {
        add_host(&cluster, host, &mut scenario);
    }
    for (index, (namespace, name, host, last)) in (10..).zip(PODS) {
        add_pod(&cluster, (namespace, name, host, last), index, &mut scenario);
    }
    for proto in [Proto::Icmp, Proto::Udp, Proto::Tcp] {
        let ask = |to: &str| Probe::ask(POD1, to, proto, to, 7000);
        scenario.probe(ask("10.0.5.150").answered_by("default/pod2"));
        scenario.probe(ask("10.0.14.16").answered_by("default/pod3"));
        scenario.probe(ask("203.0.113.1").answered_by("world"));
    }
    let dns = "10.16.0.10";
    scenario.probe(Probe::ask(POD1, dns, Proto::Udp, dns, 53).answered_by("kube-system/kube-dns"));
    scenario
}

fn add_host(cluster: &Cluster, host: Host, scenario: &mut Scenario) {
    let Host { name, number, subnet } = host;
    let mut space = Space::new(name, Place::Host { node: name.to_owned() });
    cluster.add_defaults(&mut space, 0);
    space.sysctl("ipv4/ip_forward", 1).sysctl("bridge/bridge-nf-call-iptables", 1);
    let address = host.address();
    space.ip(format!("addr add {address}/24 brd + dev {UPLINK} metric 100")).ip(format!("link set {UPLINK} up"));
    space.ip(format!("route add default via 192.168.93.254 dev {UPLINK} proto static metric 100"));
    space.ip(format!(
        "link add flannel.1 index 4 address {} mtu 1450 type vxlan id 1 local {address} dev {UPLINK} dstport 8472 nolearning",
        host.vtep_mac()
    ));
    space.ip(format!("addr add 10.0.{subnet}.0/32 dev flannel.1")).ip("link set flannel.1 up");
    space.ip("route add 10.0.0.0/16 dev flannel.1");
    space.ip(format!("link add cni0 index 6 address ce:00:00:00:00:{number:02x} mtu 1450 type bridge"));
    space.ip(format!("addr add 10.0.{subnet}.1/24 brd + dev cni0")).ip("link set cni0 up");
    space.ip("link add docker0 index 7 address 02:42:00:00:00:01 type bridge").ip("addr add 172.17.0.1/16 dev docker0");
    space.ip("link set docker0 up");
    for peer in HOSTS.iter().filter(|peer| peer.number != number) {
        let mac = peer.vtep_mac();
        space.bridge.push(format!("fdb replace {mac} dev flannel.1 dst {} self permanent", peer.address()));
        for (_, _, host, last) in PODS.iter().filter(|pod| pod.2.number == peer.number) {
            space.ip(format!("neigh replace 10.0.{}.{last} lladdr {mac} dev flannel.1 nud permanent", host.subnet));
        }
    }
    add_rules(&mut space);
    let plug =
        Plug { space: name.to_owned(), dev: UPLINK.to_owned(), index: 2, mac: format!("52:54:00:00:00:{number:02x}") };
    scenario.spaces.push(space);
    cluster.plug_into_switch(scenario, 0, plug);
}

/// The article's four rules, and one for what leaves the cluster.
fn add_rules(space: &mut Space) {
    let (svc, sep) = ("KUBE-SVC-TCOU7JCQXEZGVUNU", "KUBE-SEP-L5MHPWJPDKD7XIFG");
    let dns = "-m comment --comment \"kube-system/kube-dns:dns\"";
    let portal = "-m comment --comment \"kube-system/kube-dns:dns cluster IP\"";
    let rules = space.rules4();
    rules.chain("nat", "KUBE-SERVICES").chain("nat", svc).chain("nat", sep);
    for rule in [
        "PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES".to_owned(),
        format!("KUBE-SERVICES -d 10.16.0.10/32 -p udp {portal} -m udp --dport 53 -j {svc}"),
        format!("{svc} {dns} -j {sep}"),
        format!("{sep} -p udp {dns} -m udp -j DNAT --to-destination 10.0.0.46:53"),
        "POSTROUTING -s 10.0.0.0/16 ! -d 10.0.0.0/16 -j MASQUERADE".to_owned(),
    ] {
        rules.append("nat", rule);
    }
}

fn add_pod(
    cluster: &Cluster,
    (namespace, name, host, last): (&str, &str, Host, u8),
    index: u32,
    scenario: &mut Scenario,
) {
    let full = format!("{namespace}/{name}");
    let place = Place::Pod { node: host.name.to_owned(), namespace: namespace.to_owned(), pod: name.to_owned() };
    let mut space = Space::new(&full, place);
    cluster.add_defaults(&mut space, 0);
    let gateway = format!("10.0.{}.1", host.subnet);
    space.ip(format!("addr add 10.0.{}.{last}/24 brd + dev eth0", host.subnet)).ip("link set eth0 up");
    space.ip(format!("route add default via {gateway} dev eth0"));
    space.ip(format!("route add 10.0.0.0/16 via {gateway} dev eth0"));
    scenario.spaces.push(space);
    let veth = format!("veth{name}");
    let node = scenario.space(host.name);
    node.ip(format!("link set {veth} master cni0")).ip(format!("link set {veth} up"));
    let outer = Plug { space: host.name.to_owned(), dev: veth, index, mac: format!("fe:00:00:00:00:{last:02x}") };
    let inner = Plug {
        space: full,
        dev: "eth0".to_owned(),
        index: 2,
        mac: format!("0a:58:0a:00:{:02x}:{last:02x}", host.subnet),
    };
    scenario.wires.push(Wire { a: outer, b: inner, mtu: 1450 });
}

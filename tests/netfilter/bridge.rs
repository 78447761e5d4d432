//! Rules of nft's family of bridges that not every kernel has, held against what its source says.

use super::*;

const PORTS: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq master br0 state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:00:00:20 brd ff:ff:ff:ff:ff:ff promiscuity 1
    bridge_slave state forwarding priority 32 cost 2 hairpin off guard off root_block off fastleave off learning on flood on
3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq master br0 state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:00:00:21 brd ff:ff:ff:ff:ff:ff promiscuity 1
    bridge_slave state forwarding priority 32 cost 2 hairpin off guard off root_block off fastleave off learning on flood on
4: br0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether 52:54:00:00:00:10 brd ff:ff:ff:ff:ff:ff promiscuity 0
    bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time 30000 stp_state 0 priority 32768 vlan_filtering 0
";

/// The host whose devices are the ports of a bridge, which has both its addresses.
fn bridge(nft: &str) -> Host {
    let addr = ADDR.replace("eth0", "br0").replace("eth1", "br0");
    let route = ROUTE.replace("eth0", "br0").replace("eth1", "br0");
    let neigh = NEIGH.replace("eth0", "br0").replace("eth1", "br0");
    host(&[("link.txt", PORTS), ("addr.txt", &addr), ("route.txt", &route), ("neigh.txt", &neigh), ("nft.txt", nft)])
}

fn chains(hook: &str, rule: &str, more: &str) -> String {
    format!(
        "table bridge t {{\n chain i {{\n  type filter hook {hook} priority 0; policy accept;\n  {rule}\n }}\n \
         chain o {{\n  type filter hook output priority 0; policy accept;\n  {more}\n }}\n}}\n\
         table inet t {{\n chain o {{\n  type filter hook output priority 0; policy drop;\n }}\n}}\n"
    )
}

#[test]
fn a_bridge_rejects_a_frame_as_its_destination_would() {
    for (hook, destination) in [("prerouting", THEM), ("prerouting", US), ("input", US)] {
        for (rule, packet) in [
            ("reject", packet(CLIENT, destination, udp(53))),
            ("reject with tcp reset", packet(CLIENT, destination, tcp(80))),
        ] {
            let path = bridge(&chains(hook, rule, "counter")).with(packet).path();
            assert_eq!(path.forward.verdict, Verdict::Rejected, "{rule}");
            let error = path.reply.unwrap();
            let first = &error.steps[0];
            let Decision::Rule { hook, table, .. } = &first.decision else { panic!("{first:?}") };
            assert_eq!((hook.as_str(), table.as_str()), ("output", "t"));
            assert_eq!(first.packet.ip.source, destination.parse::<IpAddr>().unwrap());
            let link = first.packet.link.unwrap();
            assert_eq!(
                link.source.to_string() + " " + &link.destination.to_string(),
                "52:54:00:00:00:10 52:54:00:00:00:99"
            );
            let sent = error.steps.iter().find_map(|step| match &step.decision {
                Decision::Transmit { device } => Some(device.as_str()),
                _ => None,
            });
            assert_eq!(sent, Some("eth0"));
        }
    }
    let path =
        bridge(&chains("prerouting", "reject", "ip protocol icmp drop")).with(packet(CLIENT, US, udp(53))).path();
    assert_eq!((path.forward.verdict, path.reply.unwrap().verdict), (Verdict::Rejected, Verdict::Dropped));
}

#[test]
fn a_bridge_answers_nothing_that_is_for_many() {
    let mut frame = packet(CLIENT, US, udp(53));
    frame.link = Some(Link { destination: "01:00:5e:00:00:01".parse().unwrap(), ..frame.link.unwrap() });
    let path = bridge(&chains("prerouting", "reject", "counter")).with(frame).path();
    assert_eq!((path.forward.verdict, path.reply.is_none()), (Verdict::Dropped, true));
}

/// What becomes of a frame to an address that comes in by eth0, where ebtables-nft keeps the bridge's rules, and the
/// device that hands it to the stack.
fn in_ebtables(priority: i32, rule: &str, netfilter: bool, to: &str) -> Vec<(Verdict, Option<String>)> {
    let hook = format!("type filter hook prerouting priority {priority}; policy accept;");
    let nft = format!("table bridge nat {{\n chain PREROUTING {{\n  {hook}\n  {rule}\n }}\n}}\n");
    let mut host = bridge(&nft).with(packet(CLIENT, US, udp(53)));
    let link = host.packet.link.unwrap();
    host.packet.link = Some(Link { destination: to.parse().unwrap(), ..link });
    let (_, sysctl) = host.files.iter_mut().find(|(name, _)| name.ends_with("sysctl")).unwrap();
    let netfilter = u8::from(netfilter);
    *sysctl =
        format!("{sysctl}net.ipv4.conf.br0.rp_filter = 0\nnet.bridge.bridge-nf-call-iptables = {netfilter}\n").into();
    let last = |path: &Path| {
        path.forward.steps.iter().rev().find_map(|step| match &step.decision {
            Decision::Receive { device, .. } => Some(device.to_string()),
            _ => None,
        })
    };
    host.answer().paths.iter().map(|path| (path.forward.verdict, last(path))).collect()
}

const ELSEWHERE: &str = "52:54:00:00:00:77";

/// Each is how a version of iptables has nft print it.
#[test]
fn a_redirected_frame_is_for_the_bridge() {
    let up = (Verdict::Delivered, Some("br0".to_owned()));
    for rule in [
        "ether type ip counter packets 0 bytes 0 meta set pkttype host",
        "meta pkttype set host accept",
        "meta pkttype set host xt target \"redirect\" accept",
        "ether daddr set meta ibrhwaddr meta pkttype set host accept",
    ] {
        assert_eq!(in_ebtables(-300, rule, false, ELSEWHERE), std::slice::from_ref(&up), "{rule}");
    }
    let dropped = (Verdict::Dropped, Some("eth0".to_owned()));
    assert_eq!(in_ebtables(-300, "meta set pkttype host drop", false, ELSEWHERE), std::slice::from_ref(&dropped));
    // No words for the verdict: it is accepted, goes on to the next rule, or is dropped.
    assert_eq!(in_ebtables(-300, "xt target \"redirect\"", false, ELSEWHERE), [up.clone(), up, dropped]);
}

/// A question that tells who sends the frame needn't tell whom it is for.
#[test]
fn a_rule_readdresses_a_frame_that_is_taken_to_be_for_the_bridge() {
    for (rule, wanted) in [
        ("ether daddr set ff:ff:ff:ff:ff:ff", Verdict::Delivered),
        ("ether daddr set 52:54:00:00:00:10", Verdict::Delivered),
        ("meta pkttype set host accept", Verdict::Delivered),
    ] {
        let hook = "type filter hook prerouting priority -300; policy accept;";
        let nft = format!("table bridge nat {{\n chain PREROUTING {{\n  {hook}\n  {rule}\n }}\n}}\n");
        let mut host = bridge(&nft).with(packet(CLIENT, US, udp(53)));
        let (_, sysctl) = host.files.iter_mut().find(|(name, _)| name.ends_with("sysctl")).unwrap();
        *sysctl = format!("{sysctl}net.ipv4.conf.br0.rp_filter = 0\nnet.bridge.bridge-nf-call-iptables = 0\n").into();
        host.given.mac = host.packet.link.take().map(|link| link.source);
        let path = host.path();
        assert_eq!(path.forward.verdict, wanted, "{rule}: {:?}", path.forward.steps.last());
    }
}

#[test]
fn a_frame_that_a_bridge_does_not_take_goes_to_the_stack_of_its_port() {
    let rule = "ether type ip meta broute set 1 accept";
    for own in ["52:54:00:00:00:20", "52:54:00:00:00:10"] {
        for netfilter in [false, true] {
            assert_eq!(in_ebtables(-300, rule, netfilter, own), [(Verdict::Delivered, Some("eth0".to_owned()))]);
        }
        // Behind bridge netfilter nobody asks.
        assert_eq!(in_ebtables(1, rule, true, own), [(Verdict::Delivered, Some("br0".to_owned()))]);
    }
    assert_eq!(in_ebtables(-300, rule, false, ELSEWHERE), [(Verdict::Dropped, Some("eth0".to_owned()))]);
    let off = "ether type ip meta broute set 0 accept";
    assert_eq!(in_ebtables(-300, off, false, "52:54:00:00:00:10"), [(Verdict::Delivered, Some("br0".to_owned()))]);
}

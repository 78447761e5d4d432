//! Frames with VLAN tags: what rules of nft and ebtables see of them, where bridges send them, when IP's hooks have
//! them, and that nobody's are dropped. They are sent into the other end of a port, so that no VLAN device is needed,
//! which not every kernel has.

use flowtrace::net::VlanProtocol::{self, Customer, Service};
use flowtrace::trace::{EndCause, Verdict};

use crate::lab::rules::craft::{Crafted, Payload, Tag};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::{BRIDGE_MAC, BRIDGE_SETTINGS, Router, SERVER_MAC};

/// Frames without a tag, with one and with several.
const TAGS: [&[Tag]; 12] = [
    &[],
    &[(Customer, 10, 0)],
    &[(Customer, 10, 3)],
    &[(Customer, 20, 0)],
    &[(Customer, 0, 0)],
    &[(Customer, 0, 3)],
    &[(Service, 10, 0)],
    &[(Customer, 10, 0), (Customer, 20, 0)],
    &[(Service, 10, 0), (Customer, 20, 3)],
    &[(Customer, 0, 0), (Customer, 0, 0)],
    &[(Customer, 0, 0), (Customer, 10, 0)],
    // With DEI.
    &[(Customer, 0x100a, 3)],
];

/// What is asked of each; the packet has 48 bytes in IPv4 and 68 in IPv6.
const ASKED: &str = "  vlan id 10
  vlan id != 10
  vlan id 5-12
  vlan id { 10, 20 }
  vlan pcp 3
  vlan pcp != 3
  vlan dei 0
  vlan dei 1
  ether type 8021q vlan type ip
  ether type 8021q vlan type 8021q
  ether type 8021q
  ether type 8021ad
  ether type 8021ad vlan id 10
  ether type ip
  ether type ip6
  meta protocol ip
  meta protocol 8021q
  ip saddr 192.0.2.99
  ip6 saddr 2001:db8:1::99
  udp dport 53
  meta l4proto udp
  vlan id 10 udp dport 53
  vlan id 10 vlan pcp 3 ip saddr 192.0.2.99
  vlan id 10 ip6 saddr 2001:db8:1::99
  meta length 48
  meta length 52
  meta length 62
  meta length 66
  @ll,96,16 0x8100
  @ll,112,16 0x600a
  @ll,128,16 0x800
  @ll,112,32 0x60140800
";

/// Each line of what is asked, and its counter, for frames that are no markers.
fn asking() -> String {
    let rules = ASKED.lines().map(|line| format!("{line} counter\n"));
    ["  ether daddr != 02:00:00:00:00:ee meta nftrace set 1\n".to_owned()].into_iter().chain(rules).collect()
}

fn in_ipv6(packet: Crafted) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    Crafted { source: address("2001:db8:1::99"), destination: address("2001:db8:2::7"), ..packet }
}

/// A datagram in a frame with tags, in IPv4 and in IPv6.
fn frames(to: &'static str, tags: &'static [Tag]) -> [Crafted; 2] {
    let packet = Crafted { to, tags, ..Crafted::datagram() };
    [packet, in_ipv6(packet)]
}

/// What becomes of a packet, which is the kernel's too.
fn judged(router: &mut Router, packet: &Crafted) -> (Verdict, Option<EndCause>) {
    let (answer, difference) = through(router, packet).expect("an answer");
    assert_eq!(difference, None);
    let [path] = answer.paths.as_slice() else { panic!("{} ways: {packet:?}", answer.paths.len()) };
    let cause = path.forward.steps.last().and_then(|step| match &step.decision {
        flowtrace::trace::Decision::End { cause, .. } => cause.clone(),
        _ => None,
    });
    (path.forward.verdict, cause)
}

/// The VLAN of the first tag that names one.
fn vid(tags: &[Tag]) -> Option<u16> {
    tags.iter().map(|(_, id, _): &(VlanProtocol, _, _)| *id & 0x0fff).find(|id| *id != 0)
}

#[test]
fn a_device_without_a_vlan_shows_tags_to_its_rules_and_drops_the_frame() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let rules = format!(
        "table netdev t {{
 chain i {{
  type filter hook ingress device \"eth0\" priority 0; policy accept;
{asked} }}
 chain e {{
  type filter hook egress device \"eth1\" priority 0; policy accept;
{asked} }}
}}
",
        asked = asking()
    );
    router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
    for tags in TAGS {
        for packet in frames(Crafted::datagram().to, tags) {
            let (verdict, cause) = judged(&mut router, &packet);
            let nobodys = vid(tags).map(|vid| EndCause::NoVlanDevice { device: "eth0".into(), vid });
            let wanted = if nobodys.is_some() { Verdict::Dropped } else { Verdict::Left };
            assert_eq!((verdict, cause), (wanted, nobodys), "{packet:?}");
        }
    }
}

#[test]
fn a_bridge_forwards_frames_with_their_tags() {
    if !crate::lab::ready::ready() {
        return;
    }
    let chains = ["prerouting", "input", "forward", "postrouting"].map(|hook| {
        format!(" chain {hook} {{\n  type filter hook {hook} priority 0; policy accept;\n{} }}\n", asking())
    });
    let of_ip = ["prerouting", "forward", "postrouting", "input"].map(|hook| {
        let input = if hook == "input" { "iifname eth0" } else { "iifname br0" };
        format!(
            " chain {hook} {{\n  type filter hook {hook} priority 0; policy accept;\n  {input} counter\n  \
             udp dport 53 counter\n  oifname br0 counter\n }}\n"
        )
    });
    let rules = format!("table bridge t {{\n{}}}\ntable inet i {{\n{}}}\n", chains.concat(), of_ip.concat());
    for settings in BRIDGE_SETTINGS {
        let mut router = Router::bridged(settings).expect("a bridge");
        router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
        for tags in TAGS {
            for packet in frames(SERVER_MAC, tags) {
                assert_eq!(judged(&mut router, &packet), (Verdict::Left, None), "{settings:?} {packet:?}");
            }
            let [up, _] = frames(BRIDGE_MAC, tags);
            let (verdict, cause) = judged(&mut router, &up);
            let nobodys = vid(tags).map(|vid| EndCause::NoVlanDevice { device: "br0".into(), vid });
            let wanted = if nobodys.is_some() { Verdict::Dropped } else { Verdict::Left };
            assert_eq!((verdict, cause), (wanted, nobodys), "{settings:?} {up:?}");
        }
    }
}

/// nft asks for the frame's type before it asks for ICMP, unless the rule has told the protocol by then, which a listing
/// may leave out.
#[test]
fn a_bridge_asks_for_icmp_behind_a_tag_where_the_rule_tells_the_protocol() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::bridged([0, 0]).expect("a bridge");
    for (asked, ways) in [
        ("icmp type echo-request", 2),
        ("meta l4proto icmp icmp type echo-request", 2),
        ("vlan id 10 icmp type echo-request", 1),
        ("ip protocol icmp icmp type echo-request", 1),
    ] {
        let rules = format!(
            "table bridge t {{
 chain p {{
  type filter hook prerouting priority -300; policy accept;
  ether daddr != 02:00:00:00:00:ee meta nftrace set 1
 }}
 chain f {{
  type filter hook forward priority 0; policy accept;
  {asked} drop
 }}
}}
"
        );
        router.load_steps(&[("nft", "flush ruleset\n"), ("nft", &rules)]).expect("rules that are taken");
        for tags in [&[][..], TAGS[1], TAGS[7]] {
            let payload = Payload::Icmp { kind: 8, code: 0, id: 7 };
            let packet = Crafted { to: SERVER_MAC, tags, payload, ..Crafted::datagram() };
            let (answer, difference) = through(&mut router, &packet).expect("an answer");
            assert_eq!(difference, None);
            assert_eq!(answer.paths.len(), if tags.len() == 1 { ways } else { 1 }, "{asked} {tags:?}");
        }
    }
}

/// A chain of IP drops, rewrites or lets pass what is bridged with a tag only where it sees it.
#[test]
fn ip_sees_what_is_bridged_with_a_tag_where_a_setting_says_so() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = "table ip n {
 chain p {
  type nat hook prerouting priority -100; policy accept;
  udp dport 7001 dnat to 192.0.2.98
  udp dport 7002 dnat to 192.0.2.10
 }
}
table inet f {
 chain f {
  type filter hook forward priority 0; policy accept;
  udp dport 7003 drop
  ether type 8021q counter
 }
}
";
    let port = |port, tags| Crafted {
        payload: Payload::Udp { source: 4000, destination: port },
        to: SERVER_MAC,
        tags,
        ..Crafted::datagram()
    };
    for settings in BRIDGE_SETTINGS {
        let mut router = Router::bridged(settings).expect("a bridge");
        let neighbour = ["neigh", "add", "192.0.2.98", "lladdr", SERVER_MAC, "dev", "br0", "nud", "permanent"];
        router.enter(|| crate::lab::netns::must("ip", &neighbour, "")).expect("a neighbour");
        // What has been sent to gives its header to what is bridged (`br_nf_pre_routing_finish_bridge`).
        let sent = router.enter(|| std::net::UdpSocket::bind("0.0.0.0:0")?.send_to(&[0], "192.0.2.98:9"));
        sent.expect("a datagram");
        router.refresh().expect("a snapshot");
        router.load_steps(&[("nft", rules)]).expect("rules that are taken");
        for tags in [&[][..], &[(Customer, 10, 0)], &[(Customer, 0, 3)], &[(Service, 10, 0)], TAGS[7]] {
            let seen = settings[0] == 1 && (tags.is_empty() || tags.len() == 1 && settings[1] == 1);
            for (number, wanted) in [(7000, Verdict::Left), (7003, Verdict::Dropped)] {
                let wanted = if seen { wanted } else { Verdict::Left };
                assert_eq!(judged(&mut router, &port(number, tags)).0, wanted, "{settings:?} {number} {tags:?}");
            }
            for number in [7001, 7002] {
                judged(&mut router, &port(number, tags));
            }
        }
    }
}

/// nft prints the extension for VLANs of ebtables in its own words.
#[test]
fn ebtables_asks_for_tags() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = "*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
-A FORWARD -p 802_1Q --vlan-prio 3 -j DROP
-A FORWARD -p 802_1Q --vlan-id 20 -j DROP
-A FORWARD -p 802_1Q --vlan-encap 86DD -j DROP
-A FORWARD -p IPv4 --ip-proto udp --ip-sport 4001 -j DROP
";
    let mut router = Router::bridged([0, 0]).expect("a bridge");
    let traced = "table bridge t {
 chain p {
  type filter hook prerouting priority -300; policy accept;
  ether daddr != 02:00:00:00:00:ee meta nftrace set 1
 }
}
";
    router.load_steps(&[("ebtables-nft", rules), ("nft", traced)]).expect("rules that are taken");
    for tags in TAGS {
        for packet in frames(SERVER_MAC, tags) {
            judged(&mut router, &packet);
        }
        let other = Payload::Udp { source: 4001, destination: 53 };
        let [packet, _] = frames(SERVER_MAC, tags);
        judged(&mut router, &Crafted { payload: other, ..packet });
    }
    let dropped = |tags| judged(&mut router, &frames(SERVER_MAC, tags)[0]).0;
    assert_eq!(TAGS.map(dropped).map(|verdict| verdict == Verdict::Dropped)[1..4], [false, true, true]);
}

/// What a device rejects goes back without the tag.
#[test]
fn a_device_rejects_a_frame_with_a_tag() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = "table netdev t {
 chain i {
  type filter hook ingress device \"eth0\" priority 0; policy accept;
  ether daddr != 02:00:00:00:00:ee meta nftrace set 1
  vlan id 10 udp dport 53 reject
 }
 chain e {
  type filter hook egress device \"eth0\" priority 0; policy accept;
  meta nftrace set 1
  vlan id 10 counter
  ether type ip counter
 }
}
";
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(&[("nft", rules)]).expect("rules that are taken");
    for packet in frames(Crafted::datagram().to, TAGS[1]) {
        assert_eq!(judged(&mut router, &packet).0, Verdict::Rejected);
    }
}

/// A device's own chain is asked for what a bridge hands up, too.
#[test]
fn a_bridge_has_an_ingress_hook_of_its_own() {
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = "table netdev t {
 chain i {
  type filter hook ingress device \"br0\" priority 0; policy accept;
  meta nftrace set 1
  vlan id 10 counter
  udp dport 7001 drop
 }
}
";
    let mut router = Router::bridged([1, 1]).expect("a bridge");
    router.load_steps(&[("nft", rules)]).expect("rules that are taken");
    for tags in [&[][..], TAGS[1]] {
        for (port, wanted) in
            [(7000, if tags.is_empty() { Verdict::Left } else { Verdict::Dropped }), (7001, Verdict::Dropped)]
        {
            let payload = Payload::Udp { source: 4000, destination: port };
            let [packet, _] = frames(BRIDGE_MAC, tags);
            assert_eq!(judged(&mut router, &Crafted { payload, ..packet }).0, wanted, "{port} {tags:?}");
        }
    }
}

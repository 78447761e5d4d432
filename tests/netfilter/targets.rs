//! Targets that change, end or answer a packet.

use super::*;

fn last_packet(trace: &Trace) -> &Packet {
    &trace.steps.last().unwrap().packet
}

fn mangled(rules: &str) -> Packet {
    let host = host(&[("iptables-save", &table("mangle", ":PREROUTING ACCEPT", rules))]);
    last_packet(&host.path().forward).clone()
}

#[test]
fn marks_are_set_and_masked() {
    let mark = |rules: &str| mangled(rules).mark;
    assert_eq!(mark("-A PREROUTING -j MARK --set-xmark 0x4000/0x4000"), Mark(0x4000));
    assert_eq!(mark("-A PREROUTING -j MARK --set-mark 0x3\n-A PREROUTING -j MARK --and-mark 0x2"), Mark(2));
    assert_eq!(mark("-A PREROUTING -j MARK --or-mark 0x5\n-A PREROUTING -j MARK --xor-mark 0x4"), Mark(1));
    assert_eq!(mark("-A PREROUTING -j MARK --set-mark 0xff/0x0f"), Mark(0xff));
}

#[test]
fn a_connection_carries_a_mark() {
    let rules = "-A PREROUTING -j MARK --set-mark 0x12\n-A PREROUTING -j CONNMARK --save-mark --mask 0xf0\n\
                 -A PREROUTING -j MARK --set-mark 0x0\n-A PREROUTING -j CONNMARK --restore-mark --mask 0xff";
    assert_eq!(mangled(rules).mark, Mark(0x10));
    let rules =
        "-A PREROUTING -j CONNMARK --set-xmark 0x7/0xff\n-A PREROUTING -m connmark --mark 0x7 -j MARK --set-mark 1";
    assert_eq!(mangled(rules).mark, Mark(1));
}

#[test]
fn header_fields_are_rewritten() {
    assert_eq!(mangled("-A PREROUTING -j TOS --set-tos 0x10/0x3f").ip.tos, 0x10);
    assert_eq!(mangled("-A PREROUTING -j DSCP --set-dscp 0x2e").ip.tos, 0xb8);
    assert_eq!(mangled("-A PREROUTING -j TTL --ttl-set 5").ip.ttl, 5);
    assert_eq!(mangled("-A PREROUTING -j TTL --ttl-dec 5").ip.ttl, 59);
    assert_eq!(mangled("-A PREROUTING -j TTL --ttl-inc 250").ip.ttl, 255);
}

#[test]
fn a_rejected_packet_is_answered() {
    let end = |with: &str| {
        let path = filter(&format!("-A INPUT -p tcp -j REJECT --reject-with {with}")).path();
        assert_eq!(path.forward.verdict, Verdict::Rejected);
        let Decision::End { icmp, tcp_reset, .. } = path.forward.steps.last().unwrap().decision else { panic!() };
        (icmp, tcp_reset)
    };
    assert_eq!(end("icmp-port-unreachable"), (Some((3, 3)), false));
    assert_eq!(end("icmp-host-prohibited"), (Some((3, 10)), false));
    assert_eq!(end("tcp-reset"), (None, true));
}

#[test]
fn untracked_packets_have_no_connection() {
    let rules = format!(
        "{}{}",
        table("raw", ":PREROUTING ACCEPT", "-A PREROUTING -j CT --notrack"),
        "*filter\n:INPUT ACCEPT\n-A INPUT -m conntrack --ctstate UNTRACKED -j DROP\nCOMMIT\n"
    );
    assert!(host(&[("iptables-save", &rules)]).is_dropped());
    assert!(host(&[("iptables-save", &rules.replace("CT --notrack", "NOTRACK"))]).is_dropped());
}

#[test]
fn a_queue_leaves_the_end_to_a_program() {
    for (target, dropped) in [("--queue-num 1", "it drops it, or none listens"), ("--queue-bypass", "it drops it")] {
        let answer = filter(&format!("-A INPUT -j NFQUEUE {target}")).answer();
        let verdicts: Vec<Verdict> = answer.paths.iter().map(|path| path.forward.verdict).collect();
        assert_eq!(verdicts, [Verdict::Delivered, Verdict::Dropped]);
        assert!(answer.paths[1].why[0].ends_with(dropped), "{:?}", answer.paths[1].why);
        assert!(answer.gaps[0].what.starts_with("a program decides on the packet: -A INPUT -j NFQUEUE"));
    }
}

/// The verdicts of every way, and the marks with which the packet arrives.
fn ends(host: &Host) -> Vec<(Verdict, u32)> {
    let paths = host.answer().paths;
    paths.iter().map(|path| (path.forward.verdict, path.forward.steps.last().unwrap().packet.mark.0)).collect()
}

#[test]
fn a_transparent_proxy_takes_the_packet_or_it_is_dropped() {
    let rule = "-A PREROUTING -p tcp -j TPROXY --on-port 8080 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1";
    let host = host(&[("iptables-save", &table("mangle", ":PREROUTING ACCEPT", rule))]);
    assert_eq!(ends(&host), [(Verdict::Delivered, 1), (Verdict::Dropped, 0)]);
}

#[test]
fn a_synproxy_answers_in_the_servers_place() {
    let host = filter("-A INPUT -p tcp -j SYNPROXY --sack-perm --mss 1460");
    let end = host.path().forward;
    assert_eq!((end.verdict, end.reason), (Verdict::Delivered, None));
    assert!(!filter("-A INPUT -p tcp -j SYNPROXY --mss 1460").with(packet(CLIENT, US, udp(53))).branches());
}

#[test]
fn a_segment_without_options_gets_a_size_from_tcpmss() {
    let length = |length: u32| {
        let rule = "-A POSTROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1300";
        let mut host = host(&[("iptables-save", &table("mangle", ":POSTROUTING ACCEPT", rule))]).forwarded();
        host.packet.length = length;
        host.path().forward.steps.last().unwrap().packet.length
    };
    assert_eq!((length(40), length(60)), (44, 60));
}

#[test]
fn ecn_clears_flags_of_tcp() {
    let rules = "-A PREROUTING -p tcp -j ECN --ecn-tcp-remove";
    let mut host = host(&[("iptables-save", &table("mangle", ":PREROUTING ACCEPT", rules))]);
    host.packet.transport = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0xc2 };
    let packet = host.path().forward.steps.last().unwrap().packet.clone();
    assert!(matches!(packet.transport, Transport::Tcp { flags: 0x02, .. }));
}

#[test]
fn prefixes_of_ipv6_are_replaced_without_a_connection() {
    let rule = "-A PREROUTING -j DNPT --src-pfx 2001:db8:9::/48 --dst-pfx 2001:db8:2::/48";
    let files = table("mangle", ":PREROUTING ACCEPT", rule);
    let host = host(&[("ip6tables-save", &files)]).with(packet("2001:db8:1::99", "2001:db8:9::7", tcp(80)));
    let packet = host.path().forward.steps.last().unwrap().packet.clone();
    assert_eq!(packet.ip.destination.to_string(), "2001:db8:2:7::7");
}

const LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";

#[test]
fn whether_a_connection_is_picked_up_in_its_middle_must_be_in_the_snapshot() {
    let rules = "*filter\n:INPUT ACCEPT\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
    let reason = |setting: &str| {
        let mut host = host(&[("iptables-save", rules), ("sysctl", &format!("{SYSCTL}{setting}"))]);
        host.packet.transport = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0x10 };
        host.path().forward.reason
    };
    assert_eq!(reason(&format!("{LOOSE} = 1\n")), None);
    assert_eq!(reason(&format!("{LOOSE} = 0\n")), Some(Reason::Rule));
    assert_eq!(reason(""), Some(Reason::MissingTable));
}

#[test]
fn a_zone_of_one_direction_keeps_only_that_one_apart() {
    let row = |zone: &str| {
        format!(
            "ipv4     2 tcp      6 431999 ESTABLISHED src=192.0.2.99 dst=192.0.2.10 sport=40000 dport=80 src=192.0.2.10 \
             dst=192.0.2.99 sport=80 dport=40000 [ASSURED] mark=0 {zone} use=1\n"
        )
    };
    let established = |target: &str, zone: &str| {
        let rules = format!(
            "{}{}",
            table("raw", ":PREROUTING ACCEPT", &format!("-A PREROUTING -j CT {target}")),
            "*filter\n:INPUT ACCEPT\n-A INPUT -m conntrack --ctstate ESTABLISHED -j DROP\nCOMMIT\n"
        );
        let sysctl = format!("{SYSCTL}{LOOSE} = 1\n");
        let mut host = host(&[("iptables-save", &rules), ("conntrack", &row(zone)), ("sysctl", &sysctl)]);
        host.packet.transport = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0x10 };
        host.packet.mark = Mark(5);
        host.path().forward.reason
    };
    let (rule, another, clash) = (Some(Reason::Rule), None, Some(Reason::Conntrack));
    assert_eq!(established("--zone-orig 5", "zone-orig=5"), rule);
    assert_eq!(established("--zone-reply 5", "zone-reply=5"), rule);
    assert_eq!(established("--zone 5", "zone=5"), rule);
    assert_eq!(established("--zone mark", "zone=5"), rule);
    assert_eq!(established("--zone-orig 5", "zone-reply=5"), another);
    // Another connection, whose answers are in zone 0 as those of the first are, and no nat rule tells them apart.
    assert_eq!(established("--zone-orig 6", "zone-orig=5"), clash);
    assert_eq!(established("--zone 5", "zone-reply=5"), clash);
    // The zone of the other direction is 0.
    assert_eq!(established("--zone-reply 5", "zone=0"), rule);
}

#[test]
fn a_hash_of_the_flow_becomes_the_mark() {
    let rule = "-A PREROUTING -p tcp -j HMARK --hmark-tuple src,dst,sport,dport,proto --hmark-rnd 1 --hmark-mod 1 \
                --hmark-offset 9";
    let host = host(&[("iptables-save", &table("mangle", ":PREROUTING ACCEPT", rule))]);
    assert_eq!(ends(&host), [(Verdict::Delivered, 9)]);
}

#[test]
fn a_target_that_is_not_modelled_branches() {
    let answer = filter("-A INPUT -j NEWER --than this\n-A INPUT -j DROP").answer();
    let verdicts: Vec<Verdict> = answer.paths.iter().map(|path| path.forward.verdict).collect();
    assert_eq!(verdicts, [Verdict::Dropped, Verdict::Undetermined]);
}

#[test]
fn harmless_targets_are_steps_without_effect() {
    for target in ["LOG --log-prefix \"x \"", "NFLOG --nflog-group 1", "AUDIT --type drop", "TEE --gateway 192.0.2.9"] {
        let path = filter(&format!("-A INPUT -j {target}")).path();
        assert_eq!(matched(&path.forward), ["INPUT 1", "INPUT policy"], "{target}");
    }
}

#[test]
fn what_is_refused_is_a_gap_with_its_column() {
    let answer = filter("  -A INPUT -p tcp -m tcp --dport 65536 -j ACCEPT").answer();
    let gap = answer.gaps.iter().find(|gap| gap.column.is_some()).unwrap();
    // The blanks before the rule count as well.
    assert_eq!(gap.column, Some(34));
    assert!(gap.what.ends_with("a port, or two with a colon between them, not `65536` (column 34)"), "{}", gap.what);
    assert_eq!(gap.evidence[0].line, 6);
}

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
    assert_eq!(filter("-A INPUT -j NFQUEUE --queue-num 1").path().forward.verdict, Verdict::Undetermined);
    assert_eq!(filter("-A INPUT -j NFQUEUE --queue-bypass").answer().paths.len(), 2);
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

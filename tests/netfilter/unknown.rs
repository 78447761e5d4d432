//! What no snapshot tells: rules without effect, lengths of answers, identifiers, ages.

use super::*;

fn reply_passes(rule: &str, packet: Packet) -> Vec<Verdict> {
    let answer = filter(&format!("-A OUTPUT {rule} -j DROP")).with(packet).answer();
    answer.paths.iter().map(|path| path.reply.as_ref().unwrap().verdict).collect()
}

fn syn(length: u32) -> Packet {
    let mut packet = packet(CLIENT, US, tcp(80));
    packet.length = length;
    packet
}

#[test]
fn a_rule_without_effect_that_may_match_is_marked() {
    let rules = "-A INPUT -m cpu --cpu 98 -j LOG\n-A INPUT -m cpu --cpu 99\n-A INPUT -j LOG";
    let path = filter(rules).path();
    let rules = path.forward.steps.iter().filter(|step| matches!(step.decision, Decision::Rule { .. }));
    assert_eq!(rules.map(|step| step.certain).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(path.forward.steps.iter().filter(|step| !step.certain).count(), 2);
}

#[test]
fn the_answer_to_a_syn_has_the_options_of_the_syn() {
    for (length, answer) in [(40, 44), (44, 44), (48, 48), (52, 52), (56, 56), (60, 60)] {
        let dropped = reply_passes(&format!("-m length --length {answer}"), syn(length));
        assert_eq!(dropped, [Verdict::Dropped], "{length}");
    }
    let v6 = |length: u32| Packet { length, ..packet("2001:db8:1::99", "2001:db8:1::10", tcp(80)) };
    let rules = table("filter", ":OUTPUT ACCEPT", "-A OUTPUT -m length --length 64 -j DROP");
    let host = host(&[("ip6tables-save", &rules)]).with(v6(60));
    assert_eq!(host.path().reply.unwrap().verdict, Verdict::Dropped);
}

#[test]
fn the_answer_to_a_long_syn_has_a_length_between_bounds() {
    assert_eq!(reply_passes("-m length --length 44:60", syn(200)), [Verdict::Dropped]);
    assert_eq!(reply_passes("-m length --length 61:", syn(200)), [Verdict::Left]);
    assert_eq!(reply_passes("-m length --length 50:", syn(200)).len(), 2);
    // Fast open, or several paths.
    assert_eq!(reply_passes("-m length --length 72:80", syn(64)).len(), 2);
}

#[test]
fn the_answer_to_a_syn_tells_its_segment_size() {
    assert_eq!(reply_passes("-p tcp --tcp-option 2", syn(40)), [Verdict::Dropped]);
}

#[test]
fn a_listener_without_timestamps_sends_shorter_answers() {
    let rules = table("filter", ":OUTPUT ACCEPT", "-A OUTPUT -m length --length 48:52 -j DROP");
    let sysctl = format!("{SYSCTL}net.ipv4.tcp_timestamps = 0\n");
    let host = host(&[("iptables-save", &rules), ("sysctl", &sysctl)]);
    assert_eq!(host.path().reply.unwrap().verdict, Verdict::Dropped);
}

#[test]
fn a_rule_that_asks_for_an_unknown_identifier_branches() {
    let echo = Transport::Icmp { kind: 8, code: 0, id: None, quoted: None };
    assert!(drop_if("-m conntrack --ctorigsrcport 443:65535").with(packet(CLIENT, US, echo)).branches());
    assert!(!drop_if("-m conntrack --ctorigsrcport 443:65535").with(packet(CLIENT, US, ping())).is_dropped());
}

#[test]
fn no_error_is_made_about_icmp_types_that_may_be_errors() {
    for (kind, verdict) in
        [(8, Verdict::Rejected), (13, Verdict::Rejected), (9, Verdict::Dropped), (42, Verdict::Dropped)]
    {
        let message = Transport::Icmp { kind, code: 0, id: None, quoted: None };
        let path = filter("-A INPUT -p icmp -j REJECT").with(packet(CLIENT, US, message)).path();
        assert_eq!(path.forward.verdict, verdict, "{kind}");
    }
}

#[test]
fn a_udp_connection_may_become_assured() {
    let row = |from: &str, to: &str, ports: [u16; 2], more: &str| {
        let [sport, dport] = ports;
        format!(
            "ipv4     2 udp      17 20 src={from} dst={to} sport={sport} dport={dport} {more} src={to} dst={from} \
             sport={dport} dport={sport} mark=0 use=1\n"
        )
    };
    let ask = |row: &str, chain: &str| {
        let rule = format!("-A {chain} -m conntrack --ctstatus ASSURED -j DROP");
        let rules = table("filter", ":INPUT ACCEPT\n:OUTPUT ACCEPT", &rule);
        host(&[("iptables-save", &rules), ("conntrack", row)]).with(packet(CLIENT, US, udp(53)))
    };
    let there = |more| row(CLIENT, US, [40000, 53], more);
    assert!(ask(&there(""), "INPUT").branches());
    assert!(!ask(&there("[UNREPLIED]"), "INPUT").is_dropped());
    assert!(ask(&there("").replace("mark=0", "[ASSURED] mark=0"), "INPUT").is_dropped());
    // The packet is the first answer, and what is said to it the first that comes after one.
    let back = ask(&row(US, CLIENT, [53, 40000], "[UNREPLIED]"), "OUTPUT").answer();
    assert_eq!(back.paths.len(), 2);
    // A connection that the walk itself has opened is not old enough.
    assert_eq!(ask("", "OUTPUT").answer().paths.len(), 1);
}

#[test]
fn an_icmp_error_is_of_the_connection_of_what_it_quotes() {
    let row = format!(
        "ipv4     2 udp      17 20 src={CLIENT} dst={THEM} sport=40000 dport=53 src=198.51.100.8 dst=198.51.100.1 \
         sport=53 dport=40000 mark=0 use=1\n"
    );
    let quote = Packet { length: 60, ..packet("198.51.100.1", "198.51.100.8", udp(53)) };
    let error = |quoted| Transport::Icmp { kind: 3, code: 3, id: None, quoted };
    let ask = |quoted| {
        let rules = table("filter", ":FORWARD ACCEPT", "-A FORWARD -m conntrack --ctstate RELATED -j DROP");
        host(&[("iptables-save", &rules), ("conntrack", &row)]).with(packet(
            "198.51.100.8",
            "198.51.100.1",
            error(quoted),
        ))
    };
    assert!(ask(Some(Box::new(quote))).is_dropped());
    let answer = ask(None).answer();
    assert!(answer.gaps.iter().any(|gap| gap.what.contains("--payload")), "{:?}", answer.gaps);
}

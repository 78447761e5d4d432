//! Packets that come in pieces, which rules see whole only where something puts them together.

use super::*;

/// A packet of 3000 bytes, which comes in pieces of 1500, 1500 and 40.
fn large() -> Packet {
    Packet { length: 3000, ..packet(CLIENT, THEM, udp(53)) }
}

fn forward(rules: &str) -> Verdict {
    host(&[("iptables-save", &table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT", rules))])
        .with(large())
        .path()
        .forward
        .verdict
}

fn nft(rule: &str) -> Verdict {
    nft_host(rule).path().forward.verdict
}

#[test]
fn what_is_larger_than_the_device_has_come_in_pieces() {
    let pieces = |packet: Packet| {
        let path = host(&[]).with(packet).path();
        path.forward.steps.first().unwrap().packet.fragments.map(|pieces| (pieces.count, pieces.largest))
    };
    assert_eq!(pieces(large()), Some((3, 1500)));
    assert_eq!(pieces(Packet { length: 1500, ..large() }), None);
    let whole = Packet { length: 3000, ..packet(CLIENT, THEM, udp(53)) };
    assert_eq!(pieces(Packet { ip: Ip { df: true, ..whole.ip }, ..whole }), None);
}

#[test]
fn what_all_pieces_have_in_common_is_certain() {
    assert_eq!(forward("-A FORWARD -s 192.0.2.99 -j DROP"), Verdict::Dropped);
    assert_eq!(forward("-A FORWARD -m length --length 3000 -j DROP"), Verdict::Left);
    assert_eq!(forward("-A FORWARD -m length --length 40:1500 -j DROP"), Verdict::Dropped);
    assert_eq!(legacy("-A FORWARD -p udp -m udp --dport 54 -j DROP"), Verdict::Left);
    assert_eq!(forward("-A FORWARD -p udp -m multiport --dports 54 -j DROP"), Verdict::Left);
    assert_eq!(nft("ip saddr 192.0.2.99"), Verdict::Dropped);
    assert_eq!(nft("tcp dport 54"), Verdict::Left);
}

/// The same rules by iptables-legacy.
fn legacy(rules: &str) -> Verdict {
    let saved = table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT", rules).replace("(nf_tables) ", "");
    host(&[("iptables-save", EMPTY), ("iptables-legacy-save", &saved)]).with(large()).path().forward.verdict
}

#[test]
fn nf_tables_takes_what_a_later_piece_holds_for_a_header() {
    assert_eq!(forward("-A FORWARD -p udp -m udp --dport 54 -j DROP"), Verdict::Undetermined);
    for rule in ["udp dport 54", "th sport 7", "@th,16,16 54"] {
        assert_eq!(nft(rule), Verdict::Undetermined, "{rule}");
    }
}

#[test]
fn what_the_first_piece_alone_has_leaves_the_end_open() {
    for rule in ["-f", "! -f", "-m length --length 1500", "-p udp -m udp --dport 53", "-p udp -m multiport --ports 53"]
    {
        assert_eq!(forward(&format!("-A FORWARD {rule} -j DROP")), Verdict::Undetermined, "{rule}");
    }
    for rule in ["udp dport 53", "meta length 1500", "ip frag-off & 0x1fff != 0", "numgen random mod 2 < 1"] {
        let host = nft_host(rule);
        let answer = host.answer();
        assert!(answer.paths.iter().all(|path| path.forward.verdict == Verdict::Undetermined), "{rule}");
        assert!(answer.gaps.iter().any(|gap| gap.what.contains("pieces")), "{rule}: {:?}", answer.gaps);
    }
}

fn nft_host(rule: &str) -> Host {
    let hook = "type filter hook forward priority filter; policy accept;";
    let chain = format!("table inet t {{\n\tchain c {{\n\t\t{hook}\n\t\t{rule} drop\n\t}}\n}}\n");
    host(&[("nft.txt", &chain)]).with(large())
}

#[test]
fn connection_tracking_and_proxies_put_pieces_together() {
    let tracked = "-A INPUT -m conntrack --ctstate NEW -j ACCEPT";
    for whole in [tracked, "-A INPUT -m socket -j ACCEPT"] {
        assert_eq!(forward(&format!("{whole}\n-A FORWARD -m length --length 3000 -j DROP")), Verdict::Dropped);
        assert_eq!(forward(&format!("{whole}\n-A FORWARD -f -j DROP")), Verdict::Left);
        assert_eq!(forward(&format!("{whole}\n-A FORWARD -p udp -m udp --dport 53 -j DROP")), Verdict::Dropped);
    }
}

#[test]
fn what_is_delivered_is_whole_in_ipv4_before_the_hook_and_in_ipv6_after_it() {
    let four = table("filter", ":INPUT ACCEPT", "-A INPUT -m length --length 3000 -j DROP");
    let to_us = Packet { length: 3000, ..packet(CLIENT, US, udp(53)) };
    assert!(host(&[("iptables-save", &four)]).with(to_us).is_dropped());
    let six = Packet { length: 3000, ..packet("2001:db8:1::99", "2001:db8:1::10", udp(53)) };
    let port = table("filter", ":INPUT ACCEPT", "-A INPUT -p udp -m udp --dport 53 -j DROP");
    let verdict = host(&[("ip6tables-save", &port)]).with(six).path().forward.verdict;
    assert_eq!(verdict, Verdict::Undetermined);
}

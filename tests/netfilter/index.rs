//! The index of a chain never changes what matches.

use std::fmt::Write as _;

use super::*;
use proptest::prelude::*;

/// Options of which some are what a chain's index goes by, and some are not.
fn options() -> impl Strategy<Value = String> {
    let source = prop_oneof![
        3 => Just(""),
        1 => Just("-s 192.0.2.99/32"),
        1 => Just("! -s 192.0.2.99/32"),
        1 => Just("-s 192.0.2.98/32"),
        1 => Just("-s 192.0.2.0/24"),
    ];
    let destination = prop_oneof![
        3 => Just(""),
        2 => Just("-d 192.0.2.10/32"),
        1 => Just("! -d 192.0.2.10/32"),
        1 => Just("-d 192.0.2.11"),
        1 => Just("-d 192.0.2.10/255.255.255.0"),
    ];
    let ports = prop_oneof![
        3 => Just(""),
        1 => Just("-p tcp"),
        2 => Just("-p tcp -m tcp --dport 80"),
        1 => Just("-p tcp -m tcp --dport 81"),
        1 => Just("-p udp -m udp --dport 80"),
        1 => Just("-p tcp -m tcp ! --dport 80"),
        1 => Just("-p tcp -m tcp --dport 1:80"),
        1 => Just("! -p udp"),
        1 => Just("-p tcp -m tcp --sport 40000 --dport 80"),
    ];
    (source, destination, ports).prop_map(|(source, destination, ports)| format!("{source} {destination} {ports}"))
}

/// The places in a list of rules of those that match, with so many rules in a chain.
fn places(rules: &[String], in_a_chain: usize, packet: &Packet) -> Vec<usize> {
    let mut chains = ":INPUT ACCEPT".to_owned();
    let mut lines = String::new();
    for (chain, rules) in rules.chunks(in_a_chain).enumerate() {
        let _ = write!(chains, "\n:C{chain} - [0:0]");
        let _ = writeln!(lines, "-A INPUT -j C{chain}");
        lines.extend(rules.iter().map(|options| format!("-A C{chain} {options}\n")));
    }
    let host = host(&[("iptables-save", &table("filter", &chains, &lines))]).with(packet.clone());
    let place = |rule: String| {
        let (chain, index) = rule.strip_prefix('C')?.split_once(' ')?;
        Some(chain.parse::<usize>().unwrap() * in_a_chain + index.parse::<usize>().unwrap() - 1)
    };
    matched(&host.path().forward).into_iter().filter_map(place).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_indexed_chain_matches_like_a_scanned_one(
        rules in prop::collection::vec(options(), 17..80),
        port in prop_oneof![Just(80u16), Just(81)],
        is_udp in any::<bool>(),
    ) {
        let packet = packet(CLIENT, US, if is_udp { udp(port) } else { tcp(port) });
        prop_assert_eq!(places(&rules, 1000, &packet), places(&rules, 8, &packet));
    }
}

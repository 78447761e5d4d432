use proptest::prelude::*;

use super::super::check::{FILE, anywhere, clean, gappy, survives};
use super::*;
use crate::net::Protocol;

/// `ip rule show` of a namespace with one rule of each kind.
const TEXT: &str = "\
0:\tfrom all lookup local
100:\tfrom 10.0.0.0/8 to 192.0.2.0/24 fwmark 0x1/0xff iif eth0 lookup 100
101:\tnot from 10.1.2.3 tos 0x10 fwmark 0x20 lookup 12345
102:\tfrom all iif nodev [detached] oif nodev2 [detached] ipproto tcp sport 1-2 dport 80 lookup main suppress_prefixlength 0
103:\tfrom all goto 200 [unresolved]
104:\tfrom all goto 32766
105:\tfrom all blackhole
106:\tfrom 10.9.0.1 unreachable
107:\tfrom all to 10.0.0.0/8 prohibit
108:\tfrom all nop
109:\tfrom all uidrange 1000-2000 lookup 100 proto static
110:\tfrom all tun_id 55 lookup 100 realms 3/4
111:\tfrom all ipproto ipproto-222 lookup 100 suppress_ifgroup 5
113:\tfrom all to 0.0.0.0/1 lookup default
32766:\tfrom all lookup main
32767:\tfrom all lookup default
";

const JSON: &str = r#"[{"priority":0,"src":"all","table":"local"},{"priority":100,"src":"10.0.0.0","srclen":8,"dst":"192.0.2.0","dstlen":24,"fwmark":"0x1","fwmask":"0xff","iif":"eth0","table":"100"},{"priority":101,"not":null,"src":"10.1.2.3","tos":"0x10","fwmark":"0x20","table":"12345"},{"priority":102,"src":"all","iif":"nodev","iif_detached":null,"oif":"nodev2","oif_detached":null,"ipproto":"tcp","sport_start":1,"sport_end":2,"dport":80,"table":"main","suppress_prefixlen":0},{"priority":103,"src":"all","goto":200,"unresolved":null},{"priority":104,"src":"all","goto":32766},{"priority":105,"src":"all","action":"blackhole"},{"priority":106,"src":"10.9.0.1","action":"unreachable"},{"priority":107,"src":"all","dst":"10.0.0.0","dstlen":8,"action":"prohibit"},{"priority":108,"src":"all","nop":null},{"priority":109,"src":"all","uid_start":1000,"uid_end":2000,"table":"100","protocol":"static"},{"priority":110,"src":"all","tun_id":55,"table":"100","flow_from":"3","flow_to":"4"},{"priority":111,"src":"all","ipproto":"ipproto-222","table":"100","suppress_ifgroup":"5"},{"priority":113,"src":"all","dst":"0.0.0.0","dstlen":1,"table":"default"},{"priority":32766,"src":"all","table":"main"},{"priority":32767,"src":"all","table":"default"}]
"#;

fn read(text: &str) -> Vec<PolicyRule> {
    clean(|gaps| parse(FILE, text, Family::Inet, gaps))
}

#[test]
fn text_and_json_of_the_same_namespace_are_the_same_rows() {
    let text = read(TEXT);
    let (json, rows) = clean(|gaps| parse_json(FILE, JSON, Family::Inet, gaps));
    assert_eq!(anywhere(text), anywhere(json));
    let lines: Vec<_> = TEXT.lines().map(|line| line.replace('\t', " ")).collect();
    assert_eq!(rows, lines);
}

#[test]
fn selectors_and_actions_are_read() {
    let rules = read(TEXT);
    let rule = |priority| rules.iter().find(|rule| rule.priority == priority).unwrap();
    assert_eq!(rule(0).action, RuleAction::Lookup(TableId::LOCAL));
    assert_eq!(rule(100).fwmark, Some((1, 0xff)));
    assert_eq!(rule(100).from.unwrap().to_string(), "10.0.0.0/8");
    assert!(rule(101).not && rule(101).tos == 0x10 && rule(101).from.unwrap().prefix_len() == 32);
    assert_eq!((rule(102).sport, rule(102).dport), (range("1-2"), range("80")));
    assert_eq!((rule(102).iif.as_ref().unwrap().as_str(), rule(102).suppress_prefixlength), ("nodev", Some(0)));
    assert_eq!(rule(103).action, RuleAction::Goto(200));
    assert_eq!(
        [105, 106, 107, 108].map(|priority| rule(priority).action),
        [RuleAction::Blackhole, RuleAction::Unreachable, RuleAction::Prohibit, RuleAction::Nop]
    );
    assert_eq!(rule(109).uidrange, range("1000-2000"));
    assert_eq!(rule(110).unmodelled, ["tun_id 55"]);
    assert_eq!(
        (rule(111).ipproto, &rule(111).unmodelled[..]),
        (Some(Protocol(222)), &["suppress_ifgroup 5".to_owned()][..])
    );
    assert_eq!(rule(113).evidence, Evidence::line(FILE, 14));
}

#[test]
fn ipv6_rules_are_of_the_file_s_family() {
    let text = "100:\tfrom 2001:db8::/32 to 2001:db8:1::1 ipproto ipv6-icmp lookup 77\n101:\tnot from all tos CS1 iif lo lookup 77 ";
    let rules = clean(|gaps| parse(FILE, text, Family::Inet6, gaps));
    assert_eq!((rules[0].family, rules[0].ipproto), (Family::Inet6, Some(Protocol::ICMPV6)));
    assert_eq!((rules[1].not, rules[1].tos, rules[1].from), (true, 0x20, None));
}

#[test]
fn what_is_known_and_not_modelled_stays_with_the_rule() {
    let unmodelled = |text: &str| read(text)[0].unmodelled.clone();
    assert_eq!(unmodelled("1000:\tfrom all lookup [l3mdev-table]"), ["lookup [l3mdev-table]"]);
    assert_eq!(unmodelled("1:\tfrom all sport 0x50/0xff lookup main"), ["sport 0x50/0xff"]);
    assert_eq!(unmodelled("1:\tfrom all dscp CS1 lookup main"), ["dscp CS1"]);
    assert_eq!(unmodelled("1:\tfrom all map-to 10.0.0.1"), ["map-to 10.0.0.1"]);
}

#[test]
fn a_rule_that_cannot_be_read_keeps_its_place() {
    let text = "rules:\n5:\tfrom here lookup main\n6:\tfrom all look\n7:\tfrom all\n32766:\tfrom all lookup main\n-";
    let (rules, gaps) = gappy(|gaps| parse(FILE, text, Family::Inet, gaps));
    assert_eq!(rules.iter().map(|rule| rule.priority).collect::<Vec<_>>(), [5, 6, 7, 32766]);
    assert_eq!(rules[0].unmodelled, ["from here"]);
    assert_eq!(rules[1].unmodelled, ["look"]);
    assert_eq!(rules[2].unmodelled, ["(no action)"]);
    assert_eq!(gaps.iter().map(|gap| gap.0).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
}

#[test]
fn rule_and_route_of_a_named_table_meet() {
    let rules = read("1:\tfrom 10.0.0.1 lookup vpn");
    assert_eq!(rules[0].action, RuleAction::Lookup(TableId::named("vpn").unwrap()));
    assert_eq!(rules[0].to_string(), "1:\tfrom 10.0.0.1 lookup vpn");
}

#[test]
fn truncated_and_changed_files_never_panic() {
    survives(TEXT, |text| drop(parse(FILE, text, Family::Inet, &mut Vec::new())));
    survives(JSON, |text| drop(parse_json(FILE, text, Family::Inet, &mut Vec::new())));
}

fn any_prefix(family: Family) -> impl Strategy<Value = ipnet::IpNet> {
    (any::<u32>(), any::<u128>(), 0..=family.bits()).prop_map(move |(v4, v6, length)| {
        let address = match family {
            Family::Inet => std::net::IpAddr::V4(v4.into()),
            Family::Inet6 => std::net::IpAddr::V6(v6.into()),
        };
        ipnet::IpNet::new(address, length).unwrap().trunc()
    })
}

fn any_range(highest: u32) -> impl Strategy<Value = Option<IdRange>> {
    proptest::option::of((0..=highest, 0..=highest).prop_map(|(a, b)| IdRange { start: a.min(b), end: a.max(b) }))
}

prop_compose! {
    fn any_rule(family: Family)(
        priority in any::<u32>(), not in any::<bool>(), from in proptest::option::of(any_prefix(family)),
        to in proptest::option::of(any_prefix(family)), iif in proptest::option::of("[a-z][a-z0-9._-]{0,14}"),
        oif in proptest::option::of("[a-z][a-z0-9._-]{0,14}"), fwmark in proptest::option::of(any::<(u32, u32)>()),
        tos in any::<u8>(), ipproto in proptest::option::of(any::<u8>()), sport in any_range(65535),
        (dport, uidrange, action, table, suppress, odd) in
            (any_range(65535), any_range(u32::MAX), 0..6, "([0-9]{1,5}|main|vpn-[a-c])", proptest::option::of(0u32..128), any::<bool>()),
    ) -> PolicyRule {
        let action = match action {
            0 => RuleAction::Lookup(TableId::named(&table).unwrap()),
            1 => RuleAction::Goto(priority),
            2 => RuleAction::Blackhole,
            3 => RuleAction::Unreachable,
            4 => RuleAction::Prohibit,
            _ => RuleAction::Nop,
        };
        PolicyRule {
            not, from, to, iif: iif.map(|iif| IfName::new(&iif)), oif: oif.map(|oif| IfName::new(&oif)), fwmark, tos,
            ipproto: ipproto.map(Protocol), sport, dport, uidrange, action, suppress_prefixlength: suppress,
            realms: odd.then(|| "7".into()),
            unmodelled: if odd { vec!["tun_id 5".into()] } else { vec![] },
            ..PolicyRule::new(family, priority, Evidence::line(FILE, 1))
        }
    }
}

proptest! {
    #[test]
    fn a_printed_rule_reads_back(rule in prop_oneof![any_rule(Family::Inet), any_rule(Family::Inet6)]) {
        let printed = rule.to_string();
        let read = clean(|gaps| parse(FILE, &printed, rule.family, gaps));
        prop_assert_eq!(read, vec![rule], "{}", printed);
    }
}

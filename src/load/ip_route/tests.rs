use proptest::prelude::*;

use super::super::check::{FILE, anywhere, clean, gappy, survives};
use super::*;
use crate::net::IfName;
use crate::snapshot::RouteScope;

/// `ip -d route show table all` of a namespace with a bit of everything.
const TEXT: &str = "\
unicast 10.15.0.0/16 dev eth0 table 12345 proto bird scope link 
throw 10.5.0.0/16 table 100 proto boot scope global 
local 10.13.0.0/16 dev lo table 100 proto boot scope host 
unicast default via 192.0.2.1 dev eth0 table main proto static scope global metric 100 
unicast 10.1.0.0/16 table main proto boot scope global 
\tnexthop via 192.0.2.2 dev eth0 weight 2 
\tnexthop via 192.0.2.3 dev eth0 weight 1 onlink 
\tnexthop dev dum0 weight 1 
blackhole 10.2.0.0/16 table main proto boot scope global 
unreachable 10.3.0.0/16 table main proto boot scope global metric 5 
unicast 10.6.0.0/16 via 192.0.2.5 dev eth0 table main proto boot scope global realms 5/6 mtu lock 1400 window 1000 rtt 100ms advmss 1300 hoplimit 33 initcwnd 20 features ecn quickack 1 congctl cubic 
unicast 10.7.0.0/16 tos 0x10 dev eth0 table main proto boot scope link src 192.0.2.11 
unicast 10.8.0.0/16 via inet6 fe80::1 dev eth0 table main proto boot scope global 
unicast 10.10.0.0/16  encap ip id 100 src 0.0.0.0 dst 192.0.2.7 ttl 0 tos 0 dev eth0 table main proto boot scope link 
unicast 10.17.0.0/16 nhid 3 table main proto boot scope global 
\tnh_info id 3 group 1,3/2 scope global proto unspec 
\tnexthop via 192.0.2.2 dev eth0 weight 3 
\tnexthop via 192.0.2.3 dev eth0 weight 1 onlink 
blackhole 10.18.0.0/16 nhid 4 dev lo table main proto boot scope global 
\tnh_info id 4 scope global blackhole proto unspec 
unicast 10.244.2.0/24 via 10.244.2.0 dev flannel.1 table main proto boot scope global onlink 
multicast 239.0.0.0/8 dev eth0 table main proto boot scope link 
broadcast 10.9.8.255 dev dum0 table local proto kernel scope link src 10.9.8.1 
unicast 2001:db8:3::/64 from 2001:db8:4::/64 via 2001:db8:1::4 dev eth0 table main proto boot scope global metric 1024 pref medium
unicast 2001:db8:8::/64 dev dum0 table main proto boot scope global metric 1024 expires 475sec mtu 1300 pref high
unicast 2001:db8:2::/48 table main proto boot scope global metric 1024 pref medium
\tnexthop via 2001:db8:1::2 dev eth0 weight 3 
\tnexthop via 2001:db8:1::3 dev eth0 weight 1 
unreachable 2001:db8:5::/64 dev lo table main proto boot scope global metric 1024 error -113 pref medium
unicast default via 2001:db8:1::1 dev eth0 table main proto boot scope global metric 100 pref medium
anycast fe80:: dev eth0 table local proto kernel scope global metric 0 pref medium
multicast ff00::/8 dev eth0 table local proto kernel scope global metric 256 pref medium
";

/// `ip -j -d route show table all` of the same namespace.
const JSON: &str = r#"[{"type":"unicast","dst":"10.15.0.0/16","dev":"eth0","table":"12345","protocol":"bird","scope":"link","flags":[]},{"type":"throw","dst":"10.5.0.0/16","table":"100","protocol":"boot","scope":"global","flags":[]},{"type":"local","dst":"10.13.0.0/16","dev":"lo","table":"100","protocol":"boot","scope":"host","flags":[]},{"type":"unicast","dst":"default","gateway":"192.0.2.1","dev":"eth0","table":"main","protocol":"static","scope":"global","metric":100,"flags":[]},{"type":"unicast","dst":"10.1.0.0/16","table":"main","protocol":"boot","scope":"global","flags":[],"nexthops":[{"gateway":"192.0.2.2","dev":"eth0","weight":2,"flags":[]},{"gateway":"192.0.2.3","dev":"eth0","weight":1,"flags":["onlink"]},{"dev":"dum0","weight":1,"flags":[]}]},{"type":"blackhole","dst":"10.2.0.0/16","table":"main","protocol":"boot","scope":"global","flags":[]},{"type":"unreachable","dst":"10.3.0.0/16","table":"main","protocol":"boot","scope":"global","metric":5,"flags":[]},{"type":"unicast","dst":"10.6.0.0/16","gateway":"192.0.2.5","dev":"eth0","table":"main","protocol":"boot","scope":"global","flags":[],"flow":{"from":"5","to":"6"},"metrics":[{"mtu":1400,"window":1000,"rtt":100,"advmss":1300,"hoplimit":33,"initcwnd":20,"ecn":null,"quickack":1,"congestion":"cubic"}]},{"type":"unicast","dst":"10.7.0.0/16","tos":"0x10","dev":"eth0","table":"main","protocol":"boot","scope":"link","prefsrc":"192.0.2.11","flags":[]},{"type":"unicast","dst":"10.8.0.0/16","via":{"family":"inet6","host":"fe80::1"},"dev":"eth0","table":"main","protocol":"boot","scope":"global","flags":[]},{"type":"unicast","dst":"10.10.0.0/16","encap":"ip","id":100,"src":"0.0.0.0","dst":"192.0.2.7","ttl":0,"tos":0,"dev":"eth0","table":"main","protocol":"boot","scope":"link","flags":[]},{"type":"unicast","dst":"10.17.0.0/16","nhid":3,"table":"main","protocol":"boot","scope":"global","flags":[],"nh_info":{"id":3,"group":[{"id":1,"weight":3},{"id":2}],"scope":"global","protocol":"unspec","flags":[]},"nexthops":[{"gateway":"192.0.2.2","dev":"eth0","weight":3,"flags":[]},{"gateway":"192.0.2.3","dev":"eth0","weight":1,"flags":["onlink"]}]},{"type":"blackhole","dst":"10.18.0.0/16","nhid":4,"dev":"lo","table":"main","protocol":"boot","scope":"global","flags":[],"nh_info":{"id":4,"scope":"global","blackhole":null,"protocol":"unspec","flags":[]}},{"type":"unicast","dst":"10.244.2.0/24","gateway":"10.244.2.0","dev":"flannel.1","table":"main","protocol":"boot","scope":"global","flags":["onlink"]},{"type":"multicast","dst":"239.0.0.0/8","dev":"eth0","table":"main","protocol":"boot","scope":"link","flags":[]},{"type":"broadcast","dst":"10.9.8.255","dev":"dum0","table":"local","protocol":"kernel","scope":"link","prefsrc":"10.9.8.1","flags":[]},
{"type":"unicast","dst":"2001:db8:3::/64","from":"2001:db8:4::/64","gateway":"2001:db8:1::4","dev":"eth0","table":"main","protocol":"boot","scope":"global","metric":1024,"flags":[],"pref":"medium"},{"type":"unicast","dst":"2001:db8:8::/64","dev":"dum0","table":"main","protocol":"boot","scope":"global","metric":1024,"flags":[],"expires":474,"metrics":[{"mtu":1300}],"pref":"high"},{"type":"unicast","dst":"2001:db8:2::/48","table":"main","protocol":"boot","scope":"global","metric":1024,"flags":[],"pref":"medium","nexthops":[{"gateway":"2001:db8:1::2","dev":"eth0","weight":3,"flags":[]},{"gateway":"2001:db8:1::3","dev":"eth0","weight":1,"flags":[]}]},{"type":"unreachable","dst":"2001:db8:5::/64","dev":"lo","table":"main","protocol":"boot","scope":"global","metric":1024,"flags":[],"error":-113,"pref":"medium"},{"type":"unicast","dst":"default","gateway":"2001:db8:1::1","dev":"eth0","table":"main","protocol":"boot","scope":"global","metric":100,"flags":[],"pref":"medium"},{"type":"anycast","dst":"fe80::","dev":"eth0","table":"local","protocol":"kernel","scope":"global","metric":0,"flags":[],"pref":"medium"},{"type":"multicast","dst":"ff00::/8","dev":"eth0","table":"local","protocol":"kernel","scope":"global","metric":256,"flags":[],"pref":"medium"}]
"#;

fn read(text: &str) -> Vec<Route> {
    clean(|gaps| parse(FILE, text, Family::Inet, gaps)).rows
}

fn one(text: &str) -> Route {
    let [route] = <[Route; 1]>::try_from(read(text)).unwrap();
    route
}

#[test]
fn text_and_json_of_the_same_namespace_are_the_same_rows() {
    let text = clean(|gaps| parse(FILE, TEXT, Family::Inet, gaps));
    let (json, rows) = clean(|gaps| parse_json(FILE, JSON, Family::Inet, gaps));
    assert!(text.all_tables && json.all_tables);
    let mut text_rows = anywhere(text.rows);
    // iproute2's JSON doesn't say whether an MTU is locked.
    let locked = text_rows.iter_mut().map(|row| std::mem::take(&mut row.mtu_locked));
    assert_eq!(locked.filter(|locked| *locked).count(), 1);
    assert_eq!(text_rows, anywhere(json.rows.clone()));
    // Each object's row, read as text, is the same again.
    assert_eq!(rows.len(), json.rows.len());
    assert_eq!(anywhere(read(&rows.join("\n"))), anywhere(json.rows));
}

#[test]
fn one_line_form_is_the_same() {
    let joined = TEXT.replace(" \n\tnexthop", " \\\tnexthop");
    assert_eq!(anywhere(read(&joined)), anywhere(read(TEXT)));
}

#[test]
fn every_way_has_its_own_line() {
    let routes = read(TEXT);
    let multipath = routes.iter().find(|route| route.dst.to_string() == "10.1.0.0/16").unwrap();
    assert_eq!(multipath.evidence, Evidence::line(FILE, 5));
    let lines: Vec<_> = multipath.nexthops.iter().map(|way| (way.evidence.line, way.weight)).collect();
    assert_eq!(lines, [(6, 2), (7, 1), (8, 1)]);
    assert!(multipath.nexthops[1].onlink && !multipath.nexthops[0].onlink);
}

#[test]
fn json_rows_know_their_line_and_index() {
    let (file, _) = clean(|gaps| parse_json(FILE, JSON, Family::Inet, gaps));
    assert_eq!(file.rows[0].evidence, Evidence::object(FILE, 1, 0));
    assert_eq!(file.rows.last().unwrap().evidence, Evidence::object(FILE, 2, 22));
}

#[test]
fn old_two_space_rows_of_the_main_table_are_read() {
    let text = "default via 192.168.93.254 dev eno16777984  proto static  metric 100
10.0.0.0/16 dev flannel.1
10.0.14.0/24 dev cni0  proto kernel  scope link  src 10.0.14.1\r
192.168.93.0/24 dev eno16777984  proto kernel  scope link  src 192.168.93.212  metric 100";
    let file = clean(|gaps| parse(FILE, text, Family::Inet, gaps));
    assert!(!file.all_tables);
    let rows: Vec<_> = file.rows.iter().map(ToString::to_string).collect();
    assert_eq!(
        rows,
        [
            "default via 192.168.93.254 dev eno16777984 proto static metric 100",
            "10.0.0.0/16 dev flannel.1",
            "10.0.14.0/24 dev cni0 proto kernel scope link src 10.0.14.1",
            "192.168.93.0/24 dev eno16777984 proto kernel scope link src 192.168.93.212 metric 100",
        ]
    );
}

#[test]
fn a_default_is_of_the_family_that_its_row_tells() {
    let family = |text: &str, file| clean(|gaps| parse(FILE, text, file, gaps)).rows[0].family();
    assert_eq!(family("default via 192.0.2.1 dev eth0", Family::Inet6), Family::Inet);
    assert_eq!(family("default via fe80::1 dev eth0", Family::Inet), Family::Inet6);
    assert_eq!(family("default via inet6 fe80::1 dev eth0", Family::Inet), Family::Inet);
    assert_eq!(family("default dev eth0 metric 1024 pref medium", Family::Inet), Family::Inet6);
    assert_eq!(family("unreachable default dev lo metric 4294967295 error -101", Family::Inet), Family::Inet6);
    assert_eq!(family("default dev tun0 scope link", Family::Inet6), Family::Inet6);
    assert_eq!(family("default dev tun0 scope link", Family::Inet), Family::Inet);
}

#[test]
fn old_ipv6_rows_are_read() {
    let route = one("local ::1 via :: dev lo  table local  proto none  metric 0 ");
    assert_eq!((route.nexthops[0].via, route.metric), (None, 0));
    let route =
        one("unreachable default dev lo  table unspec  proto kernel  metric 4294967295  error -101 hoplimit 255");
    assert_eq!((route.table, route.kind, route.nexthops.len()), (TableId::UNSPEC, RouteType::Unreachable, 0));
    assert_eq!(one("2001:db8::/64 dev eth0").metric, 1024);
}

#[test]
fn short_ipv4_prefixes_are_read() {
    assert_eq!(one("10/8 dev eth0").dst.to_string(), "10.0.0.0/8");
    assert_eq!(one("172.16/12 dev eth0").dst.to_string(), "172.16.0.0/12");
    assert_eq!(one("0/1 dev eth0").dst.to_string(), "0.0.0.0/1");
    assert_eq!(gappy(|gaps| parse(FILE, "10/16 dev eth0", Family::Inet, gaps)).1.len(), 1);
}

#[test]
fn host_bits_are_said_and_ignored() {
    let (file, gaps) = gappy(|gaps| parse(FILE, "10.244.1.5/24 dev cni0", Family::Inet, gaps));
    assert_eq!(file.rows[0].dst.to_string(), "10.244.1.0/24");
    assert_eq!(gaps, [(1, "`10.244.1.5/24` has bits set behind its prefix length, which are ignored".to_owned())]);
}

#[test]
fn a_named_table_is_the_rule_s() {
    assert_eq!(one("10.0.0.0/8 dev eth0 table vpn").table, TableId::named("vpn").unwrap());
}

#[test]
fn unknown_words_are_a_gap_and_stay_with_the_route() {
    let (file, gaps) = gappy(|gaps| {
        parse(FILE, "10.0.0.0/8 via 10.0.0.1 frob 5 dev eth0\n10.1.0.0/16 via there dev eth0", Family::Inet, gaps)
    });
    assert_eq!(file.rows[0].unmodelled, ["frob 5"]);
    assert_eq!(file.rows[0].nexthops[0].dev, Some("eth0".into()));
    assert_eq!(file.rows[1].unmodelled, ["via there"]);
    assert_eq!(gaps, [(1, "`frob 5` is not understood".into()), (2, "`via there` is not understood".into())]);
}

#[test]
fn what_is_no_route_is_a_gap_and_the_next_goes_on() {
    let text =
        "$ ip route\n\tnexthop via 10.0.0.1 dev eth0 weight 1\n# a comment\n10.0.0.0/8 dev eth0\n10.1.0.0/16\n\x1b[0m";
    let (file, gaps) = gappy(|gaps| parse(FILE, text, Family::Inet, gaps));
    assert_eq!(file.rows.len(), 2);
    assert_eq!(gaps.iter().map(|gap| gap.0).collect::<Vec<_>>(), [1, 2, 6, 5]);
    assert!(gaps[2].1.ends_with(r"found `\u{1b}[0m`"), "{}", gaps[2].1);
    assert_eq!(gaps[3].1, "a route without a next hop");
}

#[test]
fn truncated_and_changed_files_never_panic() {
    survives(TEXT, |text| drop(parse(FILE, text, Family::Inet, &mut Vec::new())));
    survives(JSON, |text| drop(parse_json(FILE, text, Family::Inet, &mut Vec::new())));
}

#[test]
fn unmodelled_options_are_kept_without_a_gap() {
    assert_eq!(one("10.0.0.0/8 dev eth0 hoplimit 33").unmodelled, ["hoplimit 33"]);
    assert_eq!(one("2001:db8::/64 dev eth0 hoplimit 64 pref medium").unmodelled, [""; 0]);
    assert_eq!(
        one("10.0.0.0/8 encap mpls 100/200 via 192.0.2.1 dev eth0").nexthops[0].encap.as_deref(),
        Some("encap mpls 100/200")
    );
}

prop_compose! {
    fn any_way(family: Family, multipath: bool)(
        via in proptest::option::of(any_address(family)), other in any::<bool>(), dev in "[a-z][a-z0-9._@-]{0,14}",
        weight in 1u32..300, flags in any::<[bool; 3]>(), encap in proptest::option::of("encap mpls [1-9][0-9]{0,4}"),
    ) -> NextHop {
        let via = via.map(|via| if other && via.is_ipv4() { "fe80::1".parse().unwrap() } else { via });
        NextHop {
            via, dev: Some(IfName::new(&dev)), weight: if multipath { weight } else { 1 }, onlink: flags[0],
            dead: flags[1], linkdown: flags[2], encap: encap.map(Into::into), evidence: Evidence::line(FILE, 1),
        }
    }
}

fn any_address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Inet => (1u32..).prop_map(|bits| IpAddr::V4(bits.into())).boxed(),
        Family::Inet6 => (1u128..).prop_map(|bits| IpAddr::V6(bits.into())).boxed(),
    }
}

fn any_prefix(family: Family) -> impl Strategy<Value = IpNet> {
    (any_address(family), 0..=family.bits()).prop_map(|(address, length)| IpNet::new(address, length).unwrap().trunc())
}

prop_compose! {
    fn any_route(family: Family)(
        dst in any_prefix(family), from in proptest::option::of(any_prefix(family)), kind in 0usize..10,
        table in prop_oneof!["main", "local", "[0-9]{1,4}", "vpn-[a-c]"], metric in any::<u32>(), tos in any::<u8>(),
        (protocol, scope, prefsrc, mtu, nhid) in (
            proptest::option::of("(kernel|static|ra|[1-9][0-9]?)"), any::<u8>(),
            proptest::option::of(any_address(family)), proptest::option::of(68u32..65536), proptest::option::of(any::<u32>()),
        ),
        single in any_way(family, false), several in proptest::collection::vec(any_way(family, true), 2..4), ways in 0..3,
        odd in any::<bool>(),
    ) -> Route {
        let types = ["unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat"];
        let kind = route_type(types[kind]).unwrap();
        let nexthops = match ways {
            _ if ends_packets(kind) => vec![],
            0 => vec![single],
            1 => several,
            _ => vec![],
        };
        Route {
            table: TableId::named(&table).unwrap(), kind, dst,
            from: from.filter(|from| from.prefix_len() > 0), tos, metric, protocol: protocol.map(Into::into), scope: RouteScope(scope), prefsrc, mtu, mtu_locked: odd && mtu.is_some(),
            nhid: nhid.or(nexthops.is_empty().then_some(1)), nexthops: nexthops.into(),
            realms: odd.then(|| "5/6".into()),
            unmodelled: if odd { vec!["hoplimit 33".into()] } else { vec![] },
            evidence: Evidence::line(FILE, 1),
        }
    }
}

proptest! {
    #[test]
    fn a_printed_route_reads_back(route in prop_oneof![any_route(Family::Inet), any_route(Family::Inet6)]) {
        let printed = route.to_string();
        let read = clean(|gaps| parse(FILE, &printed, route.family(), gaps)).rows;
        prop_assert_eq!(read, vec![route], "{}", printed);
    }
}

//! Random rule sets for iptables, over the whole vocabulary, weighted toward combinations: marks that are set in one
//! chain and tested in another, nested chains and returns, translation behind mangling, sets, negations, ranges at
//! their ends.
#![allow(clippy::unnecessary_wraps, reason = "every condition is asked the same way")]

use std::collections::BTreeMap;

use super::super::rng::Rng;
use super::extensions::{self, KNOWN, OPEN};
use super::router::Rules;

/// Where a rule stands, which decides what it may say.
#[derive(Clone, Copy)]
pub struct At {
    pub table: &'static str,
    pub hook: &'static str,
    pub v6: bool,
    pub user: bool,
}

const PLACES: &[(&str, &str)] = &[
    ("raw", "PREROUTING"),
    ("raw", "OUTPUT"),
    ("mangle", "PREROUTING"),
    ("mangle", "INPUT"),
    ("mangle", "FORWARD"),
    ("mangle", "OUTPUT"),
    ("mangle", "POSTROUTING"),
    ("nat", "PREROUTING"),
    ("nat", "INPUT"),
    ("nat", "OUTPUT"),
    ("nat", "POSTROUTING"),
    ("filter", "INPUT"),
    ("filter", "FORWARD"),
    ("filter", "FORWARD"),
    ("filter", "OUTPUT"),
];

/// A rule set of both families.
pub fn rules(rng: &mut Rng) -> Rules {
    let mut rules = Rules { ipset: sets(rng), ..Rules::default() };
    for v6 in [false, true] {
        let tables = if v6 { &mut rules.v6 } else { &mut rules.v4 };
        fill(tables, v6, rng);
    }
    rules
}

fn fill(tables: &mut BTreeMap<&'static str, Vec<String>>, v6: bool, rng: &mut Rng) {
    for n in 0..rng.between(2, 9) {
        let (table, hook) = *rng.pick(PLACES);
        let at = At { table, hook, v6, user: false };
        let mut lines = Vec::new();
        if rng.percent(35) {
            chain(at, n, &mut lines, tables.entry(table).or_default(), rng);
        } else {
            lines.push(format!("-A {hook} {}", rule(at, rng)));
        }
        tables.entry(table).or_default().extend(lines);
    }
    if rng.percent(15) {
        let lines = sets_on_the_way(v6, rng);
        tables.entry("mangle").or_default().extend(lines);
    }
    let filter = tables.entry("filter").or_default();
    if rng.percent(15) {
        let chain = rng.word(&["INPUT", "FORWARD", "OUTPUT"]);
        filter.insert(0, format!(":{chain} DROP [0:0]"));
    }
}

/// A chain of its own, perhaps one below it, and the jump or goto that leads there.
fn chain(at: At, n: usize, lines: &mut Vec<String>, declared: &mut Vec<String>, rng: &mut Rng) {
    let inner = At { user: true, ..at };
    let name = format!("C{n}-{}", at.hook);
    let below = format!("{name}-B");
    declared.insert(0, format!(":{name} - [0:0]"));
    declared.insert(0, format!(":{below} - [0:0]"));
    for _ in 0..rng.between(0, 2) {
        lines.push(format!("-A {below} {}", rule(inner, rng)));
    }
    for _ in 0..rng.between(1, 2) {
        lines.push(format!("-A {name} {}", rule(inner, rng)));
    }
    if rng.percent(50) {
        lines.push(format!("-A {name} {} {below}", jump(inner, rng)));
        lines.push(format!("-A {name} {}", rule(inner, rng)));
    }
    lines.push(format!("-A {} {} {name}", at.hook, jump(at, rng)));
}

fn jump(at: At, rng: &mut Rng) -> String {
    let amount = rng.below(2);
    let how = if rng.percent(25) { "-g" } else { "-j" };
    format!("{} {how}", conditions(at, amount, rng)).trim_start().to_owned()
}

fn rule(at: At, rng: &mut Rng) -> String {
    let (target, needs) = target(at, rng);
    let amount = rng.below(4);
    let text = match needs {
        Some(needs) => {
            let more = conditions(at, amount, rng);
            let more = if more.contains("-p ") { String::new() } else { more };
            format!("{needs} {more}")
        }
        None => conditions(at, amount, rng),
    };
    let ends = target.starts_with("DROP") || target.starts_with("REJECT");
    let text = if text.trim().is_empty() && ends { "-p udp".to_owned() } else { text };
    format!("{} -j {target}", text.trim()).trim_start().to_owned()
}

/// So many conditions of different kinds; the protocol, which others build on, comes first.
fn conditions(at: At, amount: usize, rng: &mut Rng) -> String {
    let mut kinds: Vec<usize> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    for _ in 0..amount {
        // Rarer ones come less often, most of all those that leave the answer open.
        let rarer = KNOWN.len();
        let open = if rng.percent(8) { OPEN.len() } else { 0 };
        let kind = rng.below(CONDITIONS.len() + rarer + open);
        if kinds.contains(&kind) {
            continue;
        }
        kinds.push(kind);
        let condition = CONDITIONS.iter().chain(KNOWN).chain(OPEN).nth(kind);
        let Some(part) = condition.and_then(|condition| condition(at, rng)) else { continue };
        // The tools take `mark` and `connmark` in one rule for two of one kind.
        let marks = |part: &String| part.contains("mark ") && part.contains("--mark ");
        if marks(&part) && parts.iter().any(marks) {
            continue;
        }
        if part.contains("-p ") && parts.iter().any(|other| other.contains("-p ")) {
            continue;
        }
        parts.push(part);
    }
    parts.sort_by_key(|part| !part.contains("-p "));
    parts.join(" ")
}

/// What a rule may ask; none where it can't stand.
pub type Condition = fn(At, &mut Rng) -> Option<String>;

const CONDITIONS: &[Condition] = &[
    |at, rng| Some(format!("{}-s {}", rng.negation(25), net(at, rng))),
    |at, rng| Some(format!("{}-d {}", rng.negation(25), net(at, rng))),
    |at, rng| inward(at).then(|| format!("{}-i {}", rng.negation(25), device(rng))),
    |at, rng| outward(at).then(|| format!("{}-o {}", rng.negation(25), device(rng))),
    protocol,
    protocol,
    ports,
    ports,
    multiport,
    |_, rng| Some(format!("-m conntrack {}--ctstate {}", rng.negation(25), states(rng))),
    tuple,
    |_, rng| Some(format!("-m mark {}--mark {}", rng.negation(25), mark(rng))),
    |_, rng| Some(format!("-m mark {}--mark {}", rng.negation(25), mark(rng))),
    |_, rng| Some(format!("-m connmark {}--mark {}", rng.negation(25), mark(rng))),
    addrtype,
    set,
    set,
    |_, rng| {
        Some(format!("-m statistic --mode random {}--probability {}", rng.negation(25), rng.word(&["0.5", "0.25"])))
    },
    |_, rng| {
        let range =
            rng.word(&["28", "32", "20:60", "0:40", "100:65535", "120:140", "1000:1100", "1400:1500", "1501:65535"]);
        Some(format!("-m length {}--length {range}", rng.negation(25)))
    },
    |_, rng| {
        let value = rng.word(&["0x10/0x3f", "0x00/0xff", "0xb8/0xfc", "0x03/0x03"]);
        Some(format!("-m tos {}--tos {value}", rng.negation(25)))
    },
    |_, rng| Some(format!("-m dscp {}--dscp {}", rng.negation(25), rng.word(&["0x00", "0x2e", "0x04"]))),
    ttl,
    iprange,
    |at, rng| (!at.v6).then(|| format!("{}-f", rng.negation(50))),
    |at, rng| {
        let first = matches!(at.hook, "PREROUTING" | "INPUT" | "FORWARD");
        first.then(|| {
            format!("-m mac {}--mac-source {}", rng.negation(25), rng.word(&["02:00:00:00:00:99", "02:00:00:00:00:98"]))
        })
    },
    |_, rng| Some(format!("-m pkttype {}--pkt-type {}", rng.negation(25), rng.word(&["unicast", "broadcast"]))),
    |_, rng| Some(format!("-m comment --comment \"{}\"", rng.word(&["plain", "with \\\"quotes\\\"", "-j DROP"]))),
    |at, rng| {
        (at.table == "raw" || at.table == "mangle").then_some(()).filter(|()| at.hook == "PREROUTING").map(|()| {
            format!("-m rpfilter {}", rng.word(&["", "--loose", "--invert", "--loose --validmark"]))
                .trim_end()
                .to_owned()
        })
    },
    recent,
];

pub fn inward(at: At) -> bool {
    matches!(at.hook, "PREROUTING" | "INPUT" | "FORWARD")
}

pub fn outward(at: At) -> bool {
    matches!(at.hook, "FORWARD" | "OUTPUT" | "POSTROUTING")
}

fn address(at: At, rng: &mut Rng) -> &'static str {
    if at.v6 {
        rng.word(&[
            "2001:db8:1::99",
            "2001:db8:113::5",
            "2001:db8:2::7",
            "2001:db8:9::7",
            "2001:db8:1::10",
            "2001:db8:2::1",
        ])
    } else {
        rng.word(&["192.0.2.99", "203.0.113.5", "198.51.100.7", "10.9.8.7", "192.0.2.10", "198.51.100.1"])
    }
}

fn net(at: At, rng: &mut Rng) -> String {
    if rng.percent(50) {
        return address(at, rng).to_owned();
    }
    let nets: &[&str] = if at.v6 {
        &["2001:db8:1::/64", "2001:db8:2::/64", "2001:db8::/32", "2001:db8:1::98/127", "::/1"]
    } else {
        &["192.0.2.0/24", "198.51.100.0/24", "10.0.0.0/8", "192.0.2.98/31", "128.0.0.0/1", "192.0.0.99/255.255.0.255"]
    };
    rng.word(nets).to_owned()
}

fn device(rng: &mut Rng) -> &'static str {
    rng.word(&["eth0", "eth1", "eth+", "lo", "e+"])
}

fn protocol(at: At, rng: &mut Rng) -> Option<String> {
    let not = rng.negation(20);
    let icmp = if at.v6 { "ipv6-icmp" } else { "icmp" };
    Some(match rng.below(7) {
        0 => format!("{not}-p {icmp}"),
        1 => format!("{not}-p tcp"),
        2 => format!("{not}-p udp"),
        3 => format!("{not}-p {}", rng.word(&["sctp", "47", "253"])),
        4 if at.v6 => format!("-p ipv6-icmp -m icmp6 {not}--icmpv6-type {}", rng.word(&["128", "129", "1", "128/0"])),
        4 => format!("-p icmp -m icmp {not}--icmp-type {}", rng.word(&["8", "0", "13", "3", "3/3", "any"])),
        _ => {
            let flags = rng.word(&["SYN,RST,ACK,FIN SYN", "ALL NONE", "SYN,ACK SYN,ACK", "ALL FIN,PSH,URG", "RST RST"]);
            format!("-p tcp -m tcp {not}--tcp-flags {flags}")
        }
    })
}

fn ports(_: At, rng: &mut Rng) -> Option<String> {
    let proto = rng.word(&["tcp", "udp", "sctp"]);
    let side = if rng.percent(75) { "--dport" } else { "--sport" };
    let ports = rng.word(&["53", "80", "80:81", "1000:1001", ":1000", "1001:", "20000:20003", "65535", "0:65535"]);
    let ports = match proto {
        // sctp prints and takes whole ranges only.
        "sctp" if ports.starts_with(':') || ports.ends_with(':') => "1000:65535",
        _ => ports,
    };
    // Neither backend's iptables-save prints `! 0:65535`, which matches nothing.
    let not = if ports == "0:65535" { "" } else { rng.negation(25) };
    Some(format!("-p {proto} -m {proto} {not}{side} {ports}"))
}

fn multiport(_: At, rng: &mut Rng) -> Option<String> {
    let proto = rng.word(&["tcp", "udp", "sctp"]);
    let side = rng.word(&["--dports", "--sports", "--ports"]);
    let ports = rng.word(&["53,80,443", "80:443,8080", "1000,20000:20001", "65535", "0:52,54:65535"]);
    Some(format!("-p {proto} -m multiport {}{side} {ports}", rng.negation(25)))
}

fn states(rng: &mut Rng) -> &'static str {
    rng.word(&["NEW", "INVALID", "ESTABLISHED", "RELATED,ESTABLISHED", "UNTRACKED", "DNAT", "SNAT", "NEW,UNTRACKED"])
}

fn tuple(at: At, rng: &mut Rng) -> Option<String> {
    let not = rng.negation(25);
    Some(match rng.below(7) {
        0 => format!("-m conntrack {not}--ctorigdst {}", address(at, rng)),
        1 => format!("-m conntrack {not}--ctorigsrc {}", address(at, rng)),
        2 => format!("-m conntrack {not}--ctreplsrc {}", address(at, rng)),
        3 => format!("-m conntrack {not}--ctproto {}", rng.word(&["6", "17", "132"])),
        4 => format!("-m conntrack {not}--ctorigdstport {}", rng.word(&["80", "1000:1001"])),
        5 => format!("-m conntrack {not}--ctstatus {}", rng.word(&["NONE", "CONFIRMED", "EXPECTED,SEEN_REPLY"])),
        _ => format!("-m conntrack --ctdir {}", rng.word(&["ORIGINAL", "REPLY"])),
    })
}

fn mark(rng: &mut Rng) -> &'static str {
    rng.word(&["0x10/0x10", "0x1", "0x0", "0x11/0xff", "0x4000/0x4000"])
}

fn addrtype(at: At, rng: &mut Rng) -> Option<String> {
    let kinds: &[&str] = if at.v6 {
        &["LOCAL", "UNICAST", "LOCAL,UNICAST"]
    } else {
        &["LOCAL", "UNICAST", "BROADCAST", "LOCAL,MULTICAST"]
    };
    let side = rng.word(&["--dst-type", "--src-type"]);
    let limit = match at.hook {
        "PREROUTING" | "INPUT" if !at.v6 && !at.user && rng.percent(25) => " --limit-iface-in",
        "OUTPUT" | "POSTROUTING" if !at.v6 && !at.user && rng.percent(25) => " --limit-iface-out",
        _ => "",
    };
    Some(format!("-m addrtype {}{side} {}{limit}", rng.negation(25), rng.pick(kinds)))
}

fn set(at: At, rng: &mut Rng) -> Option<String> {
    let family = if at.v6 { 6 } else { 4 };
    let side = rng.word(&["src", "dst"]);
    let not = rng.negation(25);
    Some(match rng.below(9) {
        0 => format!("-m set {not}--match-set ips{family} {side}"),
        5 => format!("-m set {not}--match-set more{family} {side}"),
        7 => format!("-m set --match-set more{family} {side} {}", rng.word(COUNTED)),
        8 if !at.v6 && inward(at) => format!("-m set {not}--match-set macs4 {side},src"),
        1 => format!("-m set {not}--match-set nets{family} {side}"),
        2 => format!("-m set {not}--match-set nets{family} {side} --return-nomatch"),
        3 => format!("-m set {not}--match-set ports{family} {side},{}", rng.word(&["src", "dst"])),
        4 | 6 => format!("-m set {not}--match-set list{family} {side}"),
        _ => format!("-m set {not}--match-set ifaces{family} {side},{}", if inward(at) { "src" } else { "dst" }),
    })
}

/// Rules that change sets, and rules that ask them, in one chain.
fn sets_on_the_way(v6: bool, rng: &mut Rng) -> Vec<String> {
    let hook = rng.word(&["PREROUTING", "FORWARD", "OUTPUT", "POSTROUTING"]);
    let at = At { table: "mangle", hook, v6, user: false };
    let mut lines = Vec::new();
    for _ in 0..8 {
        let (target, needs) = change_set(at, rng);
        lines.push(format!("-A {hook} {} -j {target}", needs.unwrap_or("")));
        lines.extend((0..2).filter_map(|_| set(at, rng)).map(|condition| format!("-A {hook} {condition}")));
    }
    lines
}

/// What elements may have counted.
const COUNTED: &[&str] =
    &["--packets-gt 1", "! --packets-eq 1", "--packets-lt 3", "! --update-counters --packets-eq 1", "--bytes-gt 100"];

/// `SET`, for protocols that nobody but the case sends.
fn change_set(at: At, rng: &mut Rng) -> (String, Option<&'static str>) {
    let family = if at.v6 { 6 } else { 4 };
    let name = rng.word(&["ips", "more", "nets", "list", "ports", "ifaces"]);
    let side = rng.word(&["src", "dst"]);
    let sides = match name {
        "ports" => format!("{side},{}", rng.word(&["src", "dst"])),
        "ifaces" => format!("{side},{}", if inward(at) { "src" } else { "dst" }),
        _ => side.to_owned(),
    };
    let set = format!("{name}{family} {sides}");
    let target = match rng.below(6) {
        0 | 1 => format!("SET --add-set {set}"),
        2 => format!("SET --add-set {set} --exist"),
        3 | 4 => format!("SET --del-set {set}"),
        _ if at.table == "mangle" => format!("SET --map-set {set} --map-mark"),
        _ => format!("SET --add-set {set} --timeout 600"),
    };
    (target, Some(rng.word(&["-p tcp", "-p udp"])))
}

fn ttl(at: At, rng: &mut Rng) -> Option<String> {
    let (not, value) = (rng.negation(25), rng.word(&["64", "63", "1", "2"]));
    let (name, side) = (if at.v6 { "hl" } else { "ttl" }, rng.word(&["eq", "lt", "gt"]));
    Some(match side {
        "eq" => format!("-m {name} {not}--{name}-eq {value}"),
        _ => format!("-m {name} --{name}-{side} {value}"),
    })
}

fn iprange(at: At, rng: &mut Rng) -> Option<String> {
    let side = rng.word(&["--src-range", "--dst-range"]);
    let range = if at.v6 {
        rng.word(&["2001:db8:1::10-2001:db8:1::99", "2001:db8:2::7-2001:db8:2::7", "2001:db8::-2001:db8:9::7"])
    } else {
        rng.word(&[
            "192.0.2.10-192.0.2.98",
            "198.51.100.7-198.51.100.7",
            "10.0.0.0-192.0.2.99",
            "203.0.113.0-203.0.113.5",
        ])
    };
    Some(format!("-m iprange {}{side} {range}", rng.negation(25)))
}

fn recent(_: At, rng: &mut Rng) -> Option<String> {
    let (name, side, not) = (rng.word(&["one", "two"]), rng.word(&["--rsource", "--rdest"]), rng.negation(25));
    Some(match rng.below(4) {
        0 => format!("-m recent --set --name {name} {side}"),
        1 => format!("-m recent {not}--rcheck --name {name} {side}"),
        2 => format!("-m recent {not}--rcheck --seconds 60 --name {name} {side}"),
        _ => format!("-m recent {not}--update --seconds 60 --name {name} {side}"),
    })
}

fn sets(rng: &mut Rng) -> Vec<String> {
    let mut lines = Vec::new();
    for (family, v6, kind) in [(4, false, "inet"), (6, true, "inet6")] {
        let at = At { table: "filter", hook: "INPUT", v6, user: false };
        lines.push(format!("create ips{family} hash:ip family {kind}"));
        lines.push(format!("create nets{family} hash:net family {kind} skbinfo"));
        lines.push(format!("create more{family} hash:ip family {kind} counters skbinfo timeout 0"));
        lines.push(format!("create ports{family} hash:ip,port family {kind}"));
        lines.push(format!("create ifaces{family} hash:net,iface family {kind}"));
        lines.push(format!("create list{family} list:set size 8"));
        lines.push(format!("add -exist ips{family} {}", address(at, rng)));
        let mark = rng.word(&["", " skbmark 0x10/0xff", " skbmark 0x4000"]);
        lines.push(format!("add -exist nets{family} {}{mark}", if v6 { "2001:db8::/32" } else { "192.0.0.0/8" }));
        let counted = rng.word(&["", " packets 1 bytes 90", " packets 2 bytes 0"]);
        lines.push(format!("add -exist more{family} {}{counted} skbmark 0x1/0xf", address(at, rng)));
        lines.push(format!("add -exist nets{family} {} nomatch", address(at, rng)));
        for proto in ["tcp", "udp"] {
            lines.push(format!(
                "add -exist ports{family} {},{proto}:{}",
                address(at, rng),
                rng.word(&["80", "1000-1001"])
            ));
        }
        let ping = if v6 { "icmpv6:128/0" } else { "icmp:8/0" };
        lines.push(format!("add -exist ports{family} {},{ping}", address(at, rng)));
        lines.push(format!("add -exist ifaces{family} {},{}", address(at, rng), rng.word(&["eth0", "eth1"])));
        lines.push(format!("add list{family} ips{family}"));
        lines.push(format!("add list{family} nets{family}"));
        lines.push(format!("add list{family} more{family}"));
    }
    lines.push("create macs4 bitmap:ip,mac range 192.0.2.0/24".to_owned());
    lines.push(format!("add macs4 {}", rng.word(&["192.0.2.99", "192.0.2.98", "192.0.2.99,52:54:00:00:00:01"])));
    lines
}

/// A target, and the protocol that it must have been asked for.
fn target(at: At, rng: &mut Rng) -> (String, Option<&'static str>) {
    let plain = |text: &str| (text.to_owned(), None);
    if rng.percent(15) {
        return plain(rng.word(&["NFLOG --nflog-group 5", "ACCEPT", "RETURN"]));
    }
    if at.user && rng.percent(20) {
        return plain("RETURN");
    }
    match at.table {
        "raw" => plain(rng.word(&[
            "CT --notrack",
            "CT --zone 3",
            "CT --zone-orig 3",
            "CT --zone-reply 3",
            "CT --zone mark",
            "ACCEPT",
            "DROP",
            "RETURN",
        ])),
        "mangle" | "filter" if rng.percent(10) => change_set(at, rng),
        "mangle" => mangle(at, rng),
        "nat" => nat(at, rng),
        _ => filter(at, rng),
    }
}

fn mangle(at: At, rng: &mut Rng) -> (String, Option<&'static str>) {
    let rarer = if rng.percent(30) { extensions::mangles(at, rng) } else { None };
    if let Some(rarer) = rarer {
        return rarer;
    }
    let plain = |text: &str| (text.to_owned(), None);
    match rng.below(11) {
        0..4 => plain(rng.word(&[
            "MARK --set-xmark 0x10/0x10",
            "MARK --set-xmark 0x1/0xffffffff",
            "MARK --or-mark 0x4000",
            "MARK --xor-mark 0x11",
            "MARK --and-mark 0xff",
        ])),
        4 | 5 => plain(rng.word(&[
            "CONNMARK --save-mark",
            "CONNMARK --restore-mark",
            "CONNMARK --set-xmark 0x10/0x10",
            "CONNMARK --save-mark --nfmask 0xf0 --ctmask 0xff",
        ])),
        6 => plain(rng.word(&["TOS --set-tos 0x10/0x3f", "TOS --set-tos 0xb8/0xff", "DSCP --set-dscp 0x2e"])),
        7 if at.v6 => plain(rng.word(&["HL --hl-set 64", "HL --hl-dec 1", "HL --hl-inc 1"])),
        7 => plain(rng.word(&["TTL --ttl-set 64", "TTL --ttl-dec 1", "TTL --ttl-inc 1"])),
        8 if outward(at) => ("TCPMSS --clamp-mss-to-pmtu".to_owned(), Some("-p tcp -m tcp --tcp-flags SYN,RST SYN")),
        8 => ("TCPMSS --set-mss 1300".to_owned(), Some("-p tcp -m tcp --tcp-flags SYN,RST SYN")),
        9 => ("CHECKSUM --checksum-fill".to_owned(), Some("-p udp")),
        _ => plain(rng.word(&["ACCEPT", "DROP"])),
    }
}

fn nat(at: At, rng: &mut Rng) -> (String, Option<&'static str>) {
    let to = if at.v6 { "2001:db8:2::9" } else { "198.51.100.9" };
    let with_port = if at.v6 { format!("[{to}]:81") } else { format!("{to}:81") };
    let many = if at.v6 { "2001:db8:2::20-2001:db8:2::23" } else { "198.51.100.20-198.51.100.23" };
    let proto = Some(rng.word(&["-p tcp", "-p udp"]));
    match at.hook {
        "PREROUTING" | "OUTPUT" => match rng.below(7) {
            0 => (format!("DNAT --to-destination {to}"), None),
            1 => (format!("DNAT --to-destination {with_port}"), proto),
            2 => (format!("DNAT --to-destination {many}"), None),
            3 => (format!("DNAT --to-destination {many} --persistent"), None),
            4 => ("REDIRECT".to_owned(), None),
            5 => ("REDIRECT --to-ports 8080".to_owned(), proto),
            _ => (format!("NETMAP --to {}", if at.v6 { "2001:db8:2::/64" } else { "198.51.100.0/24" }), None),
        },
        "POSTROUTING" => match rng.below(7) {
            0 => ("MASQUERADE".to_owned(), None),
            1 => ("MASQUERADE --random-fully".to_owned(), None),
            2 => ("MASQUERADE --to-ports 20000-20001".to_owned(), proto),
            3 => (format!("SNAT --to-source {to}"), None),
            4 => (format!("SNAT --to-source {many}"), None),
            5 => (format!("SNAT --to-source {many} --persistent"), None),
            _ => (format!("SNAT --to-source {with_port}"), proto),
        },
        _ => (format!("SNAT --to-source {to}"), None),
    }
}

fn filter(at: At, rng: &mut Rng) -> (String, Option<&'static str>) {
    let rarer = if rng.percent(8) { extensions::filters(at, rng) } else { None };
    if let Some(rarer) = rarer {
        return rarer;
    }
    if rng.percent(55) {
        return (rng.word(&["ACCEPT", "ACCEPT", "DROP"]).to_owned(), None);
    }
    if rng.percent(25) {
        return ("REJECT --reject-with tcp-reset".to_owned(), Some("-p tcp"));
    }
    let kinds: &[&str] = if at.v6 {
        &["icmp6-port-unreachable", "icmp6-adm-prohibited", "icmp6-no-route", "icmp6-addr-unreachable"]
    } else {
        &[
            "icmp-port-unreachable",
            "icmp-host-prohibited",
            "icmp-net-unreachable",
            "icmp-admin-prohibited",
            "icmp-host-unreachable",
            "icmp-proto-unreachable",
            "icmp-net-prohibited",
        ]
    };
    (format!("REJECT --reject-with {}", rng.pick(kinds)), None)
}

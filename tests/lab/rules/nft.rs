//! Random rule sets of nft's own: base chains of any priority, verdict maps, sets with ranges and several fields, marks
//! set in one chain and tested in another, translation by maps.

use super::super::rng::Rng;
use super::router::Rules;

/// Where a rule stands, which decides what it may say.
#[derive(Clone, Copy)]
struct At {
    family: &'static str,
    kind: &'static str,
    hook: &'static str,
}

/// The base chains that a table may have.
const PLACES: &[(&str, &str)] = &[
    ("filter", "prerouting"),
    ("filter", "prerouting"),
    ("filter", "input"),
    ("filter", "forward"),
    ("filter", "forward"),
    ("filter", "output"),
    ("filter", "postrouting"),
    ("route", "output"),
    ("nat", "prerouting"),
    ("nat", "postrouting"),
    ("nat", "output"),
    ("nat", "input"),
];

/// A rule set: one to three tables.
pub fn rules(rng: &mut Rng) -> Rules {
    let mut text = String::new();
    for n in 0..rng.between(1, 3) {
        let family = rng.word(&["inet", "inet", "ip", "ip6"]);
        text.push_str(&table(n, family, rng));
    }
    Rules { nft: text, ..Rules::default() }
}

fn table(n: usize, family: &'static str, rng: &mut Rng) -> String {
    let mut text = format!("table {family} t{n} {{\n{}", sets(family));
    for m in 0..rng.between(1, 3) {
        let (kind, hook) = *rng.pick(PLACES);
        let at = At { family, kind, hook };
        text.push_str(&chain(m, at, rng));
    }
    text.push_str("}\n");
    text
}

/// The same sets in every table; those of the other family are empty of sense, not of elements.
fn sets(family: &str) -> String {
    let (addr, one, net, other) = if family == "ip6" {
        ("ipv6_addr", "2001:db8:2::7", "2001:db8:9::/64", "2001:db8:1::10-2001:db8:1::98")
    } else {
        ("ipv4_addr", "198.51.100.7", "192.0.2.0/26", "192.0.2.90-192.0.2.98")
    };
    format!(
        "  set ips {{ type {addr}; elements = {{ {one} }}; }}
  set nets {{ type {addr}; flags interval; elements = {{ {net}, {other} }}; }}
  set pairs {{ type {addr} . inet_service; flags interval; elements = {{ {one} . 53-80, {net} . 22 }}; }}
  set three {{ type {addr} . inet_proto . inet_service; elements = {{ {one} . tcp . 80, {one} . udp . 53 }}; }}
  set names {{ type ifname; flags interval; elements = {{ \"eth*\" }}; }}
  set seen {{ type {addr} . inet_service; flags dynamic,timeout; timeout 1h; }}
  map marks {{ type inet_service : mark; flags interval; elements = {{ 22-80 : 0x1, 443 : 0x10, * : 0x20 }}; }}
  map where {{ type {addr} . inet_proto . inet_service : verdict; elements = {{ {one} . tcp . 80 : accept, {one} . udp . 53 : drop }}; }}
  map ports {{ type inet_service : verdict; flags interval; elements = {{ 0-52 : continue, 53-100 : return, 1000 : drop }}; }}
"
    )
}

/// A base chain, the chain that it calls, and the one below that.
fn chain(m: usize, at: At, rng: &mut Rng) -> String {
    let mut text = String::new();
    let (user, below) = (format!("u{m}"), format!("b{m}"));
    for (name, next) in [(&below, None), (&user, Some(&below))] {
        text.push_str(&format!("  chain {name} {{\n"));
        for _ in 0..rng.between(0, 3) {
            text.push_str(&format!("    {}\n", rule(at, next.map(String::as_str), rng)));
        }
        text.push_str("  }\n");
    }
    let priority = match at.kind {
        "nat" => {
            i32::try_from(rng.between(0, 3)).unwrap_or(0)
                + if matches!(at.hook, "prerouting" | "output") { -100 } else { 100 }
        }
        // Before connection tracking, between the tables, where they are, and behind all of them. Where several hooks
        // have one priority, the one that was made last comes first.
        _ => {
            *rng.pick(&[-350, -310, -300, -190, -160, -150, -120, -20, 0, 0, 20, 50, 60, 90, 130, 250])
                + i32::try_from(m).unwrap_or(0)
        }
    };
    let policy = if at.kind != "nat" && rng.percent(10) { "drop" } else { "accept" };
    text.push_str(&format!(
        "  chain base{m} {{\n    type {} hook {} priority {priority}; policy {policy};\n",
        at.kind, at.hook
    ));
    for _ in 0..rng.between(1, 4) {
        text.push_str(&format!("    {}\n", rule(at, Some(&user), rng)));
    }
    text.push_str("  }\n");
    text
}

fn rule(at: At, next: Option<&str>, rng: &mut Rng) -> String {
    if rng.percent(4) {
        return connections_protocol(rng);
    }
    let mut parts: Vec<String> = Vec::new();
    for _ in 0..rng.between(0, 3) {
        let part = condition(at, rng);
        if !parts.last().is_some_and(|last| are_merged(last, &part)) {
            parts.push(part);
        }
    }
    let known = protocol_of(&parts);
    let action = action(at, next, known, parts.is_empty(), rng);
    if rng.percent(20) {
        let place = rng.between(0, 3).min(parts.len());
        parts.insert(place, aside(rng).to_owned());
    }
    parts.push(action);
    parts.join(" ")
}

/// A rule for connections of one protocol, without anything that needs it: nft 1.0.6 takes the equation for what that
/// needs, and leaves it out of its listing.
fn connections_protocol(rng: &mut Rng) -> String {
    let action = rng.word(&["accept", "drop", "counter", "meta mark set 0x1"]);
    format!("ct original protocol {} {action}", rng.word(&["tcp", "udp", "sctp", "icmp"]))
}

/// Whether nft prints two conditions as one, a range of the second one's field, whatever the first is about
/// (`expr_may_merge_range` in `src/netlink_delinearize.c` of nftables): the listing then doesn't tell the rule.
fn are_merged(first: &str, second: &str) -> bool {
    let has = |text: &str, bound: &str| text.split(' ').any(|word| word == bound);
    (has(first, ">=") && has(second, "<=")) || (has(first, "<") && has(second, ">"))
}

/// The one protocol that the conditions leave, and whether another may be named.
fn protocol_of(parts: &[String]) -> bool {
    parts
        .iter()
        .any(|part| part.starts_with("tcp ") || part.starts_with("udp ") || part.starts_with("meta l4proto tcp"))
}

/// What may stand anywhere in a rule: it is done though a condition behind it doesn't hold, and may end the rule itself.
fn aside(rng: &mut Rng) -> &'static str {
    rng.word(&[
        "meta mark set 0x1",
        "meta mark set meta mark ^ 0x10",
        "meta priority set 1:2",
        "meta priority set meta l4proto map { tcp : 1:2, icmp : 1:3 }",
        "ct label set 1",
        "tcp option maxseg size set 1200",
        "log level debug flags all",
        "quota over 1 mbytes",
        "quota 1 mbytes",
    ])
}

/// The family that a condition on addresses is about.
fn six(at: At, rng: &mut Rng) -> bool {
    match at.family {
        "ip" => false,
        "ip6" => true,
        _ => rng.percent(40),
    }
}

fn address(six: bool, rng: &mut Rng) -> &'static str {
    if six {
        rng.word(&[
            "2001:db8:2::7",
            "2001:db8:1::/64",
            "2001:db8:1::99",
            "2001:db8:1::10-2001:db8:1::98",
            "2001:db8:2::1",
        ])
    } else {
        rng.word(&["198.51.100.7", "192.0.2.0/24", "192.0.2.99", "192.0.2.10-192.0.2.98", "10.0.0.0/8", "198.51.100.1"])
    }
}

fn condition(at: At, rng: &mut Rng) -> String {
    match rng.below(10) {
        0..3 => addresses(at, rng),
        3 | 4 => ports(rng),
        5 => devices(at, rng),
        6 => marks(rng),
        7 => connection(at, rng),
        8 => header(at, rng),
        _ => rare(at, rng),
    }
}

fn addresses(at: At, rng: &mut Rng) -> String {
    let six = six(at, rng);
    let family = if six { "ip6" } else { "ip" };
    let side = rng.word(&["saddr", "daddr"]);
    let not = if rng.percent(25) { "!= " } else { "" };
    // The sets of a table of both families are of IPv4.
    let own = at.family != "inet" || !six;
    match rng.below(6) {
        0 if own => format!("{family} {side} {not}@ips"),
        1 if own => format!("{family} {side} {not}@nets"),
        2 if own => format!("meta l4proto {{ tcp, udp, sctp }} {family} {side} . th dport {not}@pairs"),
        3 if own => format!("meta l4proto {{ tcp, udp, sctp }} {family} {side} . meta l4proto . th dport {not}@three"),
        4 => format!("{family} {side} {not}{{ {} }}", address(six, rng)),
        _ => format!("{family} {side} {not}{}", address(six, rng)),
    }
}

fn ports(rng: &mut Rng) -> String {
    let protocol = rng.word(&["tcp", "udp", "sctp"]);
    let not = if rng.percent(25) { "!= " } else { "" };
    match rng.below(6) {
        0 => format!("{protocol} dport {not}{{ 22, 53-81, 65535 }}"),
        1 => format!("{protocol} dport {not}{}", rng.word(&["80", "53-443", "0-1000", "1000-65535"])),
        2 => format!("{protocol} sport {}", rng.word(&["20000-20003", "> 20004", "< 20002", ">= 20001", "<= 20005"])),
        3 => format!("meta l4proto {{ tcp, udp }} th dport {not}{}", rng.word(&["80", "53"])),
        4 => {
            format!("tcp flags {}", rng.word(&["syn", "syn,ack", "! ack", "== syn", "!= syn", "& (syn | ack) == syn"]))
        }
        _ => format!("tcp flags & (fin | syn | rst | ack) {}", rng.word(&["== syn", "!= syn", "== 0x0"])),
    }
}

fn devices(at: At, rng: &mut Rng) -> String {
    let incoming = matches!(at.hook, "prerouting" | "input" | "forward");
    let side = if incoming && (at.hook != "forward" || rng.percent(50)) { "iif" } else { "oif" };
    let not = if rng.percent(25) { "!= " } else { "" };
    match rng.below(5) {
        0 => format!("{side}name {not}\"eth*\""),
        1 => format!("{side}name {not}@names"),
        2 => format!("{side}name {not}{{ \"eth0\", \"lo\" }}"),
        3 => format!("{side} {not}\"eth1\""),
        _ => format!("{side}name {not}\"eth0\""),
    }
}

fn marks(rng: &mut Rng) -> String {
    rng.word(&[
        "meta mark 0x1",
        "meta mark != 0x10",
        "meta mark & 0x10 == 0x10",
        "meta mark & 0x11 != 0x0",
        "meta mark 0x1-0x10",
        "meta mark { 0x0, 0x20-0x30 }",
        "meta mark > 0x1",
    ])
    .to_owned()
}

fn connection(at: At, rng: &mut Rng) -> String {
    let four = at.family != "ip6";
    match rng.below(7) {
        0 => "ct state new".to_owned(),
        1 => format!(
            "ct state {}",
            rng.word(&["established,related", "invalid", "{ new, invalid }", "! invalid", "!= new"])
        ),
        2 => format!("ct mark {}", rng.word(&["0x0", "0x1", "!= 0x1", "& 0x10 == 0x10"])),
        3 => format!("ct status {}", rng.word(&["dnat", "snat,dnat", "! confirmed", "confirmed"])),
        4 => format!("ct direction {}", rng.word(&["original", "reply"])),
        5 if four => format!("ct original ip daddr {}", rng.word(&["198.51.100.7", "198.51.100.0/24"])),
        5 => "ct original ip6 saddr 2001:db8:1::/64".to_owned(),
        _ => "ct original protocol != udp".to_owned(),
    }
}

fn header(at: At, rng: &mut Rng) -> String {
    let six = six(at, rng);
    match (six, rng.below(6)) {
        (false, 0) => format!("ip ttl {}", rng.word(&["64", "< 64", "1-63", "{ 63, 64 }"])),
        (false, 1) => format!("ip dscp {}", rng.word(&["cs0", "ef", "!= cs0", "{ ef, 0x04 }"])),
        (false, 2) => format!("ip protocol {}", rng.word(&["tcp", "{ udp, icmp }", "!= sctp"])),
        (false, 3) => {
            format!("icmp type {}", rng.word(&["echo-request", "{ echo-request, echo-reply }", "!= echo-reply"]))
        }
        (false, 4) => rng.word(&["ip length < 100", "ip length > 1500", "ip frag-off & 0x1fff != 0"]).to_owned(),
        (false, _) => format!("ip saddr & {}", rng.word(&["0.0.0.1 == 0.0.0.1", "255.255.255.0 == 192.0.2.0"])),
        (true, 0) => format!("ip6 hoplimit {}", rng.word(&["64", "< 64", "1-63", "{ 63, 64 }"])),
        (true, 1) => format!("ip6 dscp {}", rng.word(&["cs0", "ef", "!= cs0"])),
        (true, 2) => format!("ip6 nexthdr {}", rng.word(&["tcp", "{ udp, icmpv6 }", "!= sctp"])),
        (true, _) => {
            format!("icmpv6 type {}", rng.word(&["echo-request", "{ echo-request, echo-reply }", "!= echo-reply"]))
        }
    }
}

fn rare(at: At, rng: &mut Rng) -> String {
    let inward = matches!(at.hook, "prerouting" | "input");
    match rng.below(14) {
        0 if matches!(at.hook, "prerouting" | "input" | "forward" | "output") => {
            format!("fib daddr type {}", rng.word(&["local", "unicast", "{ local, unicast }", "!= local"]))
        }
        1 if inward => format!("fib saddr . iif oif {}", rng.word(&["exists", "missing"])),
        2 if inward => "fib saddr oifname \"eth0\"".to_owned(),
        3 => format!("meta length {}", rng.word(&["40-100", "> 60", "!= 28"])),
        4 => format!("meta l4proto {}", rng.word(&["tcp", "{ tcp, udp }", "!= udp"])),
        5 => format!("meta pkttype {}", rng.word(&["host", "!= host"])),
        6 if at.family == "inet" => format!("meta nfproto {}", rng.word(&["ipv4", "ipv6"])),
        9 if at.family != "ip" && rng.percent(40) => rng
            .word(&[
                "frag frag-off 0",
                "frag more-fragments 1",
                "frag id 7",
                "dst nexthdr tcp",
                "dst hdrlength 0",
                "rt type 0",
                "rt seg-left 1",
                "rt seg-left != 0",
                "hbh nexthdr { tcp, udp, 60 }",
                "hbh hdrlength > 0",
                "ip6 nexthdr 0",
                "@nh,320,8 60",
                "@nh,336,8 5",
            ])
            .to_owned(),
        9 if at.family != "ip" => {
            let header = rng.word(&["frag", "hbh", "rt", "dst", "mh"]);
            format!("exthdr {header} {}", rng.word(&["exists", "missing"]))
        }
        9 => rng
            .word(&[
                "ip option rr exists",
                "ip option rr missing",
                "ip option rr ptr 4",
                "ip option rr ptr 8-40",
                "ip option rr length 7",
                "ip option rr addr 0.0.0.0",
                "ip option ra value 0",
                "ip option ra exists",
                "ip option lsrr exists",
                "ip option lsrr addr 198.51.100.7",
                "ip option ssrr exists",
                "ip hdrlength 5",
                "ip hdrlength 6-15",
                "ip frag-off 0",
                "@nh,160,8 148",
                "@nh,176,8 4",
            ])
            .to_owned(),
        // In a table of both families nft 1.0.6 prints neither this nor that the frame's type is asked for behind it, and
        // what the namespace itself sends has no frame.
        10 if rng.percent(25) && (inward || at.family != "inet") => "iiftype ether".to_owned(),
        10 => rng.word(&["meta oiftype != loopback", "meta iifgroup default", "meta oifkind \"veth\""]).to_owned(),
        11 if at.family != "ip6" => format!("rt ip nexthop {}", rng.word(&["198.51.100.7", "!= 198.51.100.7"])),
        11 => "rt classid 0".to_owned(),
        12 => rng
            .word(&["ct packets < 2", "ct original bytes > 60", "ct avgpkt < 100", "ct label 1", "ct reply packets 0"])
            .to_owned(),
        13 => format!(
            "meta l4proto {{ tcp, udp }} @th,{}",
            rng.word(&["0,32 & 0xffff == 53", "8,16 & 0xff == 0", "24,8 80", "16,16 < 81"])
        ),
        7 if rng.percent(50) => rng
            .word(&["tcp doff 5", "tcp doff > 5", "ct helper \"ftp\"", "meta priority 1:2", "meta priority != none"])
            .to_owned(),
        7 if matches!(at.hook, "input" | "forward") && rng.percent(30) => rng
            .word(&["meta sdifname != \"eth0\"", "meta sdif \"eth0\"", "meta sdifname { \"eth0\", \"eth1\" }"])
            .to_owned(),
        7 if inward && rng.percent(30) => "meta ipsec missing".to_owned(),
        7 if !inward && rng.percent(30) => "rt ipsec missing".to_owned(),
        7 => format!("numgen random mod 4 {}", rng.word(&["0", "< 2", "!= 3"])),
        _ => "meta l4proto { tcp, udp } @th,16,16 53".to_owned(),
    }
}

fn action(at: At, next: Option<&str>, transport: bool, bare: bool, rng: &mut Rng) -> String {
    if rng.percent(20)
        && let Some(next) = next
    {
        return format!("{} {next}", rng.word(&["jump", "jump", "goto"]));
    }
    if at.kind == "nat" && rng.percent(60) {
        return nat(at, transport, rng);
    }
    match rng.below(12) {
        0 if !bare => "drop".to_owned(),
        1 if !bare && matches!(at.hook, "input" | "forward" | "output") && at.kind == "filter" => reject(at, rng),
        2 => "accept".to_owned(),
        3 => "return".to_owned(),
        4 | 5 => format!(
            "meta mark set {}",
            rng.word(&["0x1", "meta mark | 0x10", "meta mark ^ 0x11", "ct mark", "meta mark & 0x10"])
        ),
        6 => format!("ct mark set {}", rng.word(&["meta mark", "0x1", "ct mark | 0x10"])),
        7 => maps(at, next, rng),
        8 => dynamic(at, rng),
        9 if at.kind == "filter" => change(at, rng),
        10 if at.kind == "filter" && at.hook == "prerouting" && rng.percent(50) => {
            let to = rng.word(&["", "ip ", "ip6 "]);
            let to = if at.family == "inet" { to } else { "" };
            format!("meta l4proto {{ tcp, udp }} tproxy {to}to :{}", rng.word(&["81", "50080"]))
        }
        10 if at.kind == "filter" && at.hook == "prerouting" => "notrack".to_owned(),
        10 if at.kind == "filter" && matches!(at.hook, "input" | "forward") && rng.percent(30) => {
            "synproxy mss 1460 wscale 7 sack-perm".to_owned()
        }
        11 if at.kind == "filter" && at.family != "inet" && rng.percent(40) => {
            let (near, far) =
                if at.family == "ip6" { ("2001:db8:1::98", "2001:db8:2::20") } else { ("192.0.2.98", "198.51.100.20") };
            format!("dup to {}{}", rng.word(&[near, far]), rng.word(&["", " device \"eth1\""]))
        }
        _ => rng.word(&["counter", "counter log prefix \"x\"", "continue", "counter accept"]).to_owned(),
    }
}

fn reject(at: At, rng: &mut Rng) -> String {
    let kind = match at.family {
        "ip" => rng.word(&["", " with icmp host-unreachable", " with icmp admin-prohibited"]),
        "ip6" => rng.word(&["", " with icmpv6 no-route", " with icmpv6 admin-prohibited"]),
        _ => rng.word(&["", " with icmpx host-unreachable", " with icmpx admin-prohibited", " with icmpx no-route"]),
    };
    format!("reject{kind}")
}

fn maps(at: At, next: Option<&str>, rng: &mut Rng) -> String {
    let family = if at.family == "ip6" { "ip6" } else { "ip" };
    let chain = next.map_or("return".to_owned(), |next| format!("jump {next}"));
    match rng.below(6) {
        0 => format!("meta l4proto {{ tcp, udp }} {family} daddr . meta l4proto . th dport vmap @where"),
        1 => "meta l4proto { tcp, udp } th dport vmap @ports".to_owned(),
        2 => format!("ct state vmap {{ new : {chain}, established : accept, invalid : continue }}"),
        3 => format!("numgen random mod 3 vmap {{ 0 : {chain}, 1 : accept, 2 : continue }}"),
        4 => "meta l4proto { tcp, udp } meta mark set th dport map @marks".to_owned(),
        _ => format!("meta l4proto vmap {{ tcp : {chain}, udp : return }}"),
    }
}

fn dynamic(at: At, rng: &mut Rng) -> String {
    let family = if at.family == "ip6" { "ip6" } else { "ip" };
    match rng.below(3) {
        // Each packet has a port of its own, so what one writes no other finds.
        0 => format!("meta l4proto {{ tcp, udp, sctp }} update @seen {{ {family} saddr . th sport }}"),
        1 => format!("meta l4proto {{ tcp, udp, sctp }} add @seen {{ {family} daddr . th sport timeout 1m }}"),
        _ => format!("meta l4proto {{ tcp, udp, sctp }} {family} saddr . th sport @seen"),
    }
}

/// What changes the header: `ip dscp set ef`.
fn change(at: At, rng: &mut Rng) -> String {
    if six(at, rng) {
        rng.word(&["ip6 dscp set ef", "ip6 hoplimit set 33"]).to_owned()
    } else {
        rng.word(&["ip dscp set ef", "ip ttl set 33", "ip dscp set cs1"]).to_owned()
    }
}

fn nat(at: At, transport: bool, rng: &mut Rng) -> String {
    let six = six(at, rng);
    let family = match (at.family, six) {
        ("inet", true) => "ip6 ",
        ("inet", false) => "ip ",
        _ => "",
    };
    let (far, near) = if six { ("2001:db8:2::7", "2001:db8:1::10") } else { ("198.51.100.7", "192.0.2.10") };
    let port = if transport { rng.word(&["", ":8080", ":443"]) } else { "" };
    let host = |addr: &str| if six && !port.is_empty() { format!("[{addr}]") } else { addr.to_owned() };
    let destination = matches!(at.hook, "prerouting" | "output");
    if !destination {
        return match rng.below(3) {
            0 if at.hook == "postrouting" => "masquerade".to_owned(),
            1 if at.hook == "postrouting" => "masquerade fully-random".to_owned(),
            _ => format!("snat {family}to {}{port}", host(near)),
        };
    }
    match rng.below(5) {
        0 if transport => "redirect to :8080".to_owned(),
        1 => "redirect".to_owned(),
        2 if !six => format!("dnat {family}to numgen random mod 2 map {{ 0 : 198.51.100.7, 1 : 198.51.100.8 }}"),
        3 if !six => format!("dnat {family}to ip daddr map {{ 198.51.100.7 : 10.9.8.7, 10.0.0.0/8 : 198.51.100.7 }}"),
        _ => format!("dnat {family}to {}{port}", host(far)),
    }
}

//! Random iptables rules over the vocabulary that flowtrace evaluates, whose values are those of the scenario.

use super::flannel::Cluster;
use super::node::Node;
use super::random::LISTEN;
use super::rng::Rng;
use super::scenario::{Rules, Scenario};

/// Addresses and devices that rules may name.
pub struct Words {
    addresses4: Vec<String>,
    addresses6: Vec<String>,
    pods4: Vec<String>,
    pods6: Vec<String>,
    veths: Vec<String>,
    devices: Vec<&'static str>,
}

impl Words {
    /// Those of a cluster.
    pub fn new(cluster: &Cluster) -> Self {
        let mut words = Self {
            addresses4: ["10.244.0.0/16", "203.0.113.0/24", "192.0.2.0/24", "10.96.0.0/16"].map(str::to_owned).to_vec(),
            addresses6: ["fd00:10:244::/48", "2001:db8:113::/48", "2001:db8:2::/64", "fd00:10:96::/64"]
                .map(str::to_owned)
                .to_vec(),
            pods4: Vec::new(),
            pods6: Vec::new(),
            veths: Vec::new(),
            devices: vec!["eth0", "cni0", "flannel.1", "flannel+", "eth+", "lo"],
        };
        for pod in &cluster.pods {
            words.pods4.push(pod.address4().to_string());
            words.pods6.push(pod.address6().to_string());
            words.veths.push(pod.veth());
        }
        for node in &cluster.nodes {
            words.addresses4.extend([node.address4().to_string(), node.pod_cidr4()]);
            words.addresses6.extend([node.address6().to_string(), node.pod_cidr6()]);
        }
        words.addresses4.extend(words.pods4.clone());
        words.addresses6.extend(words.pods6.clone());
        words
    }

    fn address(&self, family: u8, rng: &mut Rng) -> String {
        rng.pick(if family == 4 { &self.addresses4 } else { &self.addresses6 }).clone()
    }

    fn pod(&self, family: u8, rng: &mut Rng) -> String {
        rng.pick(if family == 4 { &self.pods4 } else { &self.pods6 }).clone()
    }
}

/// Where a rule stands, which decides what it may say.
#[derive(Clone, Copy)]
struct At<'a> {
    table: &'a str,
    /// The built-in chain that leads here.
    hook: &'a str,
    /// Whether the chain is one of the scenario's own.
    user: bool,
    family: u8,
}

/// Adds rules to a node's set of one family.
pub fn add_rules(scenario: &mut Scenario, node: &Node, family: u8, words: &Words, rng: &mut Rng) {
    let host = scenario.space(&node.name());
    let Some((sets, amount)) = rng.percent(75).then(|| (add_sets(family, words, rng), rng.between(1, 10))) else {
        return;
    };
    host.ipset.push_str(&sets);
    let rules = if family == 4 { host.rules4() } else { host.rules6() };
    // Few rules hit an echo of IPv6 and nothing else, and the table wants them dropped, too.
    if family == 6 && rng.percent(15) {
        rules.insert("filter", "FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j DROP");
    }
    for n in 0..amount {
        let (table, hook) = *rng.pick(PLACES);
        let at = At { table, hook, user: false, family };
        if rng.percent(30) {
            add_chain(rules, at, n, words, rng);
        } else {
            let rule = rule(at, words, rng);
            put(rules, at, hook, &rule, rng);
        }
    }
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

fn put(rules: &mut Rules, at: At<'_>, chain: &str, rule: &str, rng: &mut Rng) {
    let rule = format!("{chain} {rule}");
    if rng.percent(70) {
        rules.insert(at.table, rule);
    } else {
        rules.append(at.table, rule);
    }
}

/// A chain of its own, with a jump or a goto to it, and perhaps one below it.
fn add_chain(rules: &mut Rules, at: At<'_>, n: usize, words: &Words, rng: &mut Rng) {
    let name = format!("RND-{}-{}-{n}", at.table, at.hook);
    rules.chain(at.table, &name);
    let inner = At { user: true, ..at };
    for _ in 0..rng.between(1, 3) {
        let rule = rule(inner, words, rng);
        rules.append(at.table, format!("{name} {rule}"));
    }
    if rng.percent(40) {
        let below = format!("{name}-B");
        rules.chain(at.table, &below);
        for _ in 0..rng.between(1, 2) {
            let rule = rule(inner, words, rng);
            rules.append(at.table, format!("{below} {rule}"));
        }
        let jump = if rng.percent(50) { "-g" } else { "-j" };
        rules.append(at.table, format!("{name} {} {jump} {below}", conditions(inner, words, rng, 1).join(" ")));
        let rule = rule(inner, words, rng);
        rules.append(at.table, format!("{name} {rule}"));
    }
    let jump = if rng.percent(25) { "-g" } else { "-j" };
    let conditions = conditions(at, words, rng, 1).join(" ");
    put(rules, at, at.hook, &format!("{conditions} {jump} {name}"), rng);
}

/// Sets for `-m set`.
fn add_sets(family: u8, words: &Words, rng: &mut Rng) -> String {
    let kind = if family == 4 { "inet" } else { "inet6" };
    let pod = words.pod(family, rng);
    let net = words.address(family, rng);
    let port = rng.pick(&LISTEN);
    let mut text = format!("create ips{family} hash:ip family {kind}\nadd ips{family} {pod}\n");
    text.push_str(&format!("create nets{family} hash:net family {kind}\n"));
    if !net.ends_with("/0") {
        text.push_str(&format!("add nets{family} {net}\n"));
    }
    text.push_str(&format!("create ports{family} hash:ip,port family {kind}\nadd ports{family} {pod},udp:{port}\n"));
    text.push_str(&format!("add ports{family} {pod},tcp:{port}\n"));
    text
}

/// Matches and a target.
fn rule(at: At<'_>, words: &Words, rng: &mut Rng) -> String {
    let (target, needs) = target(at, words, rng);
    let amount = rng.between(0, 3);
    let mut parts = Vec::new();
    if let Some(needs) = needs {
        parts.push(needs.to_owned());
        parts.extend(conditions(at, words, rng, amount).into_iter().filter(|part| !part.contains("-p ")));
    } else {
        parts = conditions(at, words, rng, amount);
    }
    // A drop of everything would end most scenarios before they begin.
    if parts.is_empty() && (target.contains("DROP") || target.contains("REJECT") || target.contains("DNAT")) {
        parts.push(protocol(at.family, rng));
    }
    parts.push(format!("-j {target}"));
    parts.join(" ")
}

fn incoming(at: At<'_>) -> bool {
    matches!(at.hook, "PREROUTING" | "INPUT" | "FORWARD")
}

fn outgoing(at: At<'_>) -> bool {
    matches!(at.hook, "FORWARD" | "OUTPUT" | "POSTROUTING")
}

/// So many different conditions; the protocol, which others build on, comes first.
fn conditions(at: At<'_>, words: &Words, rng: &mut Rng, amount: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut kinds: Vec<usize> = Vec::new();
    for _ in 0..amount {
        let kind = rng.below(19);
        // Kinds 4 to 6 all name a protocol.
        let same = |known: &usize| *known == kind || ((4..=6).contains(known) && (4..=6).contains(&kind));
        if kinds.iter().any(same) {
            continue;
        }
        kinds.push(kind);
        parts.extend(condition(kind, at, words, rng));
    }
    parts.sort_by_key(|part| !part.contains("-p "));
    parts
}

fn condition(kind: usize, at: At<'_>, words: &Words, rng: &mut Rng) -> Option<String> {
    let not = rng.negation(25);
    Some(match kind {
        0 => format!("{not}-s {}", words.address(at.family, rng)),
        1 => format!("{not}-d {}", words.address(at.family, rng)),
        2 if incoming(at) => format!("{not}-i {}", rng.pick(&words.devices)),
        3 if outgoing(at) => format!("{not}-o {}", rng.pick(&words.devices)),
        4 => protocol(at.family, rng),
        5 => ports(rng),
        6 => multiport(rng),
        7 => format!("-m conntrack {not}--ctstate {}", states(rng)),
        8 => format!(
            "-m state {not}--state {}",
            rng.word(&["NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "NEW,UNTRACKED"])
        ),
        9 => addrtype(at, rng),
        10 => format!("-m mark {not}--mark {}", rng.word(&["0x10/0x10", "0x1", "0x4000/0x4000", "0x0", "0x10/0xff"])),
        11 => {
            format!("-m statistic --mode random {not}--probability {}", rng.word(&["0.5", "0.25", "0.75", "0.33333"]))
        }
        12 => set(at, words, rng),
        13 if at.family == 4 || rng.percent(50) => physdev(at, words, rng)?,
        14 => recent(rng),
        15 => format!("-m limit --limit {}/second --limit-burst {}", rng.between(50, 100), rng.between(50, 100)),
        16 => "-m comment --comment \"a rule of chance, with a \\\"quote\\\"\"".to_owned(),
        17 => conntrack_tuple(at, words, rng),
        18 => rarer(rng),
        _ => return None,
    })
}

fn protocol(family: u8, rng: &mut Rng) -> String {
    let icmp = if family == 4 { "icmp" } else { "ipv6-icmp" };
    let not = rng.negation(15);
    match rng.below(5) {
        0 => {
            let kinds: &[&str] =
                if family == 4 { &["8", "0", "3", "3/4", "11", "255"] } else { &["128", "129", "1", "2", "3"] };
            let (option, name) = if family == 4 { ("--icmp-type", "icmp") } else { ("--icmpv6-type", "icmp6") };
            format!("-p {icmp} -m {name} {not}{option} {}", rng.pick(kinds))
        }
        1 => format!("{not}-p {icmp}"),
        2 => format!("{not}-p tcp"),
        3 => format!("{not}-p udp"),
        _ => format!(
            "-p tcp -m tcp {not}--tcp-flags {}",
            rng.word(&["SYN,RST,ACK,FIN SYN", "SYN,ACK SYN,ACK", "RST RST", "ALL SYN"])
        ),
    }
}

fn ports(rng: &mut Rng) -> String {
    let (proto, not) = (rng.word(&["tcp", "udp"]), rng.negation(25));
    let side = if rng.percent(75) { "--dport" } else { "--sport" };
    let ports = rng.word(&["7000", "8080", "53", "7000:8080", "80", "40000:65535", "8472", ":1024"]);
    format!("-p {proto} -m {proto} {not}{side} {ports}")
}

fn multiport(rng: &mut Rng) -> String {
    let (proto, not) = (rng.word(&["tcp", "udp"]), rng.negation(25));
    let side = rng.word(&["--dports", "--sports", "--ports"]);
    format!(
        "-p {proto} -m multiport {not}{side} {}",
        rng.word(&["80,443,7000", "7000:7443,8080", "53,8472", "1024:65535"])
    )
}

fn states(rng: &mut Rng) -> &'static str {
    rng.word(&[
        "NEW",
        "ESTABLISHED",
        "RELATED,ESTABLISHED",
        "INVALID",
        "DNAT",
        "SNAT",
        "NEW,RELATED",
        "UNTRACKED",
        "INVALID,UNTRACKED",
    ])
}

fn addrtype(at: At<'_>, rng: &mut Rng) -> String {
    let kinds: &[&str] =
        if at.family == 4 { &["LOCAL", "UNICAST", "BROADCAST", "LOCAL,UNICAST"] } else { &["LOCAL", "UNICAST"] };
    let (kind, not) = (*rng.pick(kinds), rng.negation(25));
    let mut text = format!("-m addrtype {not}{} {kind}", rng.word(&["--dst-type", "--src-type"]));
    if at.family == 4 && rng.percent(20) {
        if matches!(at.hook, "PREROUTING" | "INPUT") {
            text.push_str(" --limit-iface-in");
        } else if matches!(at.hook, "OUTPUT" | "POSTROUTING") {
            text.push_str(" --limit-iface-out");
        }
    }
    text
}

fn set(at: At<'_>, _words: &Words, rng: &mut Rng) -> String {
    let (family, not) = (at.family, rng.negation(25));
    let side = rng.word(&["src", "dst"]);
    match rng.below(3) {
        0 => format!("-m set {not}--match-set ips{family} {side}"),
        1 => format!("-m set {not}--match-set nets{family} {side}"),
        _ => format!("-m set {not}--match-set ports{family} {side},{side}"),
    }
}

/// Which side a bridge port can be asked for depends on the chain (`physdev_mt_check` in net/netfilter/xt_physdev.c).
fn physdev(at: At<'_>, words: &Words, rng: &mut Rng) -> Option<String> {
    let (veth, not) = (rng.pick(&words.veths).clone(), rng.negation(25));
    let inward = matches!(at.hook, "PREROUTING" | "INPUT" | "FORWARD");
    Some(match (at.hook, rng.below(4)) {
        ("OUTPUT", _) => return None,
        (_, 0) if inward => format!("-m physdev {not}--physdev-in {veth}"),
        (_, 1) if inward => format!("-m physdev {not}--physdev-is-in"),
        ("FORWARD" | "POSTROUTING", 2) => format!("-m physdev {not}--physdev-is-bridged --physdev-out {veth}"),
        ("FORWARD" | "POSTROUTING", _) => format!("-m physdev {not}--physdev-is-bridged"),
        _ => return None,
    })
}

fn recent(rng: &mut Rng) -> String {
    let not = rng.negation(25);
    let name = rng.word(&["one", "two"]);
    let side = rng.word(&["--rsource", "--rdest"]);
    match rng.below(4) {
        0 => format!("-m recent --set --name {name} {side}"),
        1 => format!("-m recent {not}--rcheck --name {name} {side}"),
        2 => format!("-m recent {not}--rcheck --seconds 60 --name {name} {side}"),
        _ => format!("-m recent {not}--update --seconds 60 --name {name} {side}"),
    }
}

fn conntrack_tuple(at: At<'_>, words: &Words, rng: &mut Rng) -> String {
    let not = rng.negation(25);
    match rng.below(5) {
        0 => format!("-m conntrack {not}--ctorigdst {}", words.address(at.family, rng)),
        1 => format!("-m conntrack {not}--ctreplsrc {}", words.address(at.family, rng)),
        2 => format!("-m conntrack --ctdir {}", rng.word(&["ORIGINAL", "REPLY"])),
        3 => format!("-m conntrack {not}--ctproto {}", rng.word(&["6", "17"])),
        _ => format!("-m connmark {not}--mark {}", rng.word(&["0x10/0x10", "0x0", "0x1"])),
    }
}

fn rarer(rng: &mut Rng) -> String {
    let not = rng.negation(25);
    match rng.below(3) {
        0 => format!("-m length {not}--length {}", rng.word(&["60", "84", "0:100", "100:1500"])),
        1 => format!("-m tos {not}--tos {}", rng.word(&["0x10/0x3f", "0x00/0xff"])),
        _ => format!("-m pkttype {not}--pkt-type {}", rng.word(&["unicast", "broadcast"])),
    }
}

/// A target, and the protocol that it must have been asked for.
fn target(at: At<'_>, words: &Words, rng: &mut Rng) -> (String, Option<&'static str>) {
    let plain = |text: &str| (text.to_owned(), None);
    if rng.percent(18) {
        return plain(rng.word(&["LOG --log-prefix \"x \"", "NFLOG --nflog-group 5", "ACCEPT", "RETURN"]));
    }
    if at.user && rng.percent(20) {
        return plain("RETURN");
    }
    match at.table {
        "raw" => raw_target(rng),
        "mangle" => mangle_target(at, rng),
        "nat" => nat_target(at, words, rng),
        _ => filter_target(at, rng),
    }
}

fn raw_target(rng: &mut Rng) -> (String, Option<&'static str>) {
    (rng.word(&["NOTRACK", "CT --notrack", "ACCEPT", "DROP", "RETURN"]).to_owned(), None)
}

fn mangle_target(at: At<'_>, rng: &mut Rng) -> (String, Option<&'static str>) {
    let plain = |text: &str| (text.to_owned(), None);
    match rng.below(8) {
        0..3 => plain(rng.word(&[
            "MARK --set-xmark 0x10/0x10",
            "MARK --set-xmark 0x1/0xffffffff",
            "MARK --or-mark 0x4000",
            "MARK --xor-mark 0x11",
            "MARK --and-mark 0xff",
        ])),
        3 | 4 => {
            plain(rng.word(&["CONNMARK --save-mark", "CONNMARK --restore-mark", "CONNMARK --set-xmark 0x10/0x10"]))
        }
        5 if outgoing(at) => ("TCPMSS --clamp-mss-to-pmtu".to_owned(), Some("-p tcp -m tcp --tcp-flags SYN,RST SYN")),
        5 => ("TCPMSS --set-mss 1300".to_owned(), Some("-p tcp -m tcp --tcp-flags SYN,RST SYN")),
        6 => ("CHECKSUM --checksum-fill".to_owned(), Some("-p udp")),
        _ => plain(rng.word(&["ACCEPT", "DROP"])),
    }
}

fn nat_target(at: At<'_>, words: &Words, rng: &mut Rng) -> (String, Option<&'static str>) {
    let pod = words.pod(at.family, rng);
    let with_port =
        if at.family == 4 { format!("{pod}:{}", rng.pick(&LISTEN)) } else { format!("[{pod}]:{}", rng.pick(&LISTEN)) };
    // A tunnel packet that is led to another program would be answered by it, and nobody's snapshot holds programs. And
    // translation breaks the checksum of a tunnel packet whose inner one is still to be made
    // (`inet_proto_csum_replace4` in net/core/utils.c), which a veth pair forgives and a bridge doesn't.
    let proto = Some(rng.word(&["-p tcp", "-p udp -m multiport ! --dports 8472,8285"]));
    match at.hook {
        "PREROUTING" | "OUTPUT" => match rng.below(4) {
            0 => (format!("DNAT --to-destination {pod}"), proto),
            1 | 2 => (format!("DNAT --to-destination {with_port}"), proto),
            _ => (format!("REDIRECT --to-ports {}", rng.pick(&LISTEN)), proto),
        },
        "POSTROUTING" => match rng.below(4) {
            0 => ("MASQUERADE".to_owned(), None),
            1 => ("MASQUERADE --random-fully".to_owned(), None),
            2 => {
                let address = words.address(at.family, rng);
                let address = address.split('/').next().unwrap_or_default();
                // The world outside takes nothing from the cluster whose source is in its own network.
                let host = match address {
                    "203.0.113.0" => "198.51.100.77",
                    "2001:db8:113::" => "2001:db8:77::77",
                    other => other,
                };
                (format!("SNAT --to-source {host}"), None)
            }
            _ => ("MASQUERADE --to-ports 20000-20001".to_owned(), proto),
        },
        _ => (format!("SNAT --to-source {pod}"), None),
    }
}

fn filter_target(at: At<'_>, rng: &mut Rng) -> (String, Option<&'static str>) {
    if rng.percent(50) {
        return (rng.word(&["ACCEPT", "DROP"]).to_owned(), None);
    }
    if rng.percent(25) {
        return ("REJECT --reject-with tcp-reset".to_owned(), Some("-p tcp"));
    }
    let kinds: &[&str] = if at.family == 4 {
        &[
            "icmp-port-unreachable",
            "icmp-host-prohibited",
            "icmp-net-unreachable",
            "icmp-admin-prohibited",
            "icmp-host-unreachable",
        ]
    } else {
        &["icmp6-port-unreachable", "icmp6-adm-prohibited", "icmp6-no-route", "icmp6-addr-unreachable"]
    };
    (format!("REJECT --reject-with {}", rng.pick(kinds)), None)
}

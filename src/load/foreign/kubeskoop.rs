//! KubeSkoop's `collector.json`: what its pod collector dumps of one node (`NodeNetworkStackDump` of its
//! `pkg/skoop/k8s/node.go`), written as the tools would print it.
//!
//! It keeps neither link addresses nor what a tunnel device is set to, so that there is no table of devices; nor ways of
//! multipath routes.

mod xml;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Found, Table, layout::Slot};

/// What a word of Go's `[]byte` is in JSON.
type Base64 = String;

#[derive(Deserialize)]
struct Dump {
    netns: Vec<Netns>,
}

/// A namespace (`NetNSInfo`); the key is `namespace/pod`, and empty for the host.
#[derive(Deserialize)]
struct Netns {
    #[serde(rename = "k", default)]
    key: String,
    #[serde(rename = "if", default)]
    interfaces: Option<Vec<Interface>>,
    #[serde(rename = "s", default)]
    sysctls: Option<std::collections::BTreeMap<String, String>>,
    #[serde(rename = "r", default)]
    routes: Option<Vec<Route>>,
    #[serde(rename = "ru", default)]
    rules: Option<Vec<Rule>>,
    #[serde(rename = "it", default)]
    iptables: String,
}

#[derive(Deserialize)]
struct Interface {
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "i")]
    index: i64,
    #[serde(rename = "a", default)]
    addrs: Option<Vec<Net>>,
    #[serde(rename = "ne", default)]
    neighs: Option<Vec<Neigh>>,
    #[serde(rename = "f", default)]
    fdb: Option<Vec<Neigh>>,
    #[serde(rename = "mi", default)]
    master: i64,
}

/// Go's `net.IPNet`.
#[derive(Deserialize)]
struct Net {
    #[serde(rename = "IP")]
    ip: IpAddr,
    #[serde(rename = "Mask")]
    mask: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Neigh {
    state: u32,
    flags: u32,
    #[serde(rename = "IP")]
    ip: Option<String>,
    hardware_addr: Option<Base64>,
}

#[derive(Deserialize)]
struct Route {
    #[serde(rename = "o", default)]
    oif: String,
    #[serde(rename = "sc", default)]
    scope: u8,
    #[serde(rename = "d")]
    dst: Option<Net>,
    #[serde(rename = "s", default)]
    src: Option<String>,
    #[serde(rename = "g", default)]
    gateway: Option<String>,
    #[serde(rename = "p", default)]
    protocol: u32,
    #[serde(rename = "pr", default)]
    priority: i64,
    #[serde(rename = "tb", default)]
    table: u32,
    #[serde(rename = "t", default)]
    kind: u32,
    #[serde(default)]
    tos: u32,
    #[serde(rename = "fl", default)]
    flags: u32,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "p", default)]
    priority: i64,
    #[serde(rename = "tb", default)]
    table: i64,
    #[serde(rename = "m", default)]
    mark: i64,
    #[serde(rename = "ma", default)]
    mask: i64,
    #[serde(rename = "gt", default)]
    goto: i64,
    #[serde(rename = "s")]
    src: Option<Net>,
    #[serde(rename = "d")]
    dst: Option<Net>,
    #[serde(rename = "i", default)]
    iif: String,
    #[serde(rename = "o", default)]
    oif: String,
}

/// Reads the file of a node. What can't be understood is told.
pub(in crate::load) fn read(path: &str, text: &str, node: &str) -> Found {
    let dump: Dump = match serde_json::from_str(text) {
        Ok(dump) => dump,
        Err(err) => {
            let what = format!("{path} is not what KubeSkoop's collector writes: {err}");
            return Found { tables: Vec::new(), notes: vec![what] };
        }
    };
    let mut found = Found::default();
    found.notes.push(format!(
        "{path} is KubeSkoop's, taken for node {node}: of what decides it lacks ip -d link show, ip -6 route show and \
         nft list ruleset; lines are counted in what the tools would print of it"
    ));
    for netns in &dump.netns {
        let folder = match netns.key.split_once('/') {
            None => "host".to_owned(),
            Some((namespace, pod)) => format!("pods/{namespace}_{pod}"),
        };
        let slot = |table: &str| format!("nodes/{node}/{folder}/{table}");
        if Slot::of(&slot("addr.txt")).is_none() || folder.matches('/').count() > 1 {
            found.notes.push(format!("{path}: {:?} is no pod's name", netns.key));
            continue;
        }
        let mut add = |table: &str, text: Option<String>| {
            let Some(text) = text else { return };
            found.tables.push(Table { path: format!("{path}/{folder}/{table}"), slot: slot(table), text });
        };
        add("addr.txt", netns.interfaces.as_deref().map(addrs));
        add("neigh.txt", netns.interfaces.as_deref().map(neighs));
        add("fdb.txt", netns.interfaces.as_deref().map(fdb));
        add("route.txt", netns.routes.as_deref().map(routes));
        add("rule.txt", netns.rules.as_deref().map(rules));
        add(
            "sysctl",
            netns.sysctls.as_ref().map(|all| {
                all.iter().fold(String::new(), |mut text, (key, value)| {
                    let _ = writeln!(text, "{key} = {value}");
                    text
                })
            }),
        );
        match xml::saved(&netns.iptables) {
            Ok(text) => add("iptables-save", Some(text)),
            Err(why) => found.notes.push(format!("{path}: the rules of {folder} are no XML of iptables-xml: {why}")),
        }
    }
    found
}

/// As `ip -o addr show` prints them, which says nothing of the devices.
fn addrs(interfaces: &[Interface]) -> String {
    let mut text = String::new();
    for interface in interfaces {
        for addr in interface.addrs.iter().flatten() {
            let (word, scope) = match addr.ip {
                IpAddr::V4(ip) if ip.is_loopback() => ("inet", "host"),
                IpAddr::V4(_) => ("inet", "global"),
                IpAddr::V6(ip) if ip.is_loopback() => ("inet6", "host"),
                IpAddr::V6(ip) if ip.is_unicast_link_local() => ("inet6", "link"),
                IpAddr::V6(_) => ("inet6", "global"),
            };
            let Interface { index, name, .. } = interface;
            let _ = writeln!(text, "{index}: {name}    {word} {} scope {scope} {name}", addr.prefix());
        }
    }
    text
}

fn neighs(interfaces: &[Interface]) -> String {
    let mut text = String::new();
    for interface in interfaces {
        for neigh in interface.neighs.iter().flatten() {
            let Some(ip) = given(neigh.ip.as_deref()) else { continue };
            let lladdr = neigh.lladdr().map(|lladdr| format!(" lladdr {lladdr}")).unwrap_or_default();
            let _ = writeln!(text, "{ip} dev {}{lladdr} {}", interface.name, state(neigh.state));
        }
    }
    text
}

fn fdb(interfaces: &[Interface]) -> String {
    let mut text = String::new();
    for interface in interfaces {
        let master = interfaces.iter().find(|other| interface.master > 0 && other.index == interface.master);
        for entry in interface.fdb.iter().flatten() {
            let Some(lladdr) = entry.lladdr() else { continue };
            let _ = write!(text, "{lladdr} dev {}", interface.name);
            if let Some(ip) = given(entry.ip.as_deref()) {
                let _ = write!(text, " dst {ip}");
            }
            // NTF_SELF and NTF_MASTER of `linux/neighbour.h`.
            if entry.flags & 2 != 0 {
                text.push_str(" self");
            }
            if let Some(master) = master.filter(|_| entry.flags & 2 == 0) {
                let _ = write!(text, " master {}", master.name);
            }
            text.push_str(match entry.state {
                state if state & 0x80 != 0 => " permanent\n",
                state if state & 0x40 != 0 => " static\n",
                _ => "\n",
            });
        }
    }
    text
}

/// NUD_* of `linux/neighbour.h`.
fn state(state: u32) -> &'static str {
    match state {
        0x01 => "INCOMPLETE",
        0x02 => "REACHABLE",
        0x04 => "STALE",
        0x08 => "DELAY",
        0x10 => "PROBE",
        0x20 => "FAILED",
        0x40 => "NOARP",
        0x80 => "PERMANENT",
        _ => "NONE",
    }
}

fn routes(routes: &[Route]) -> String {
    let mut text = String::new();
    for route in routes {
        let dst = route.dst.as_ref().map_or_else(|| "default".to_owned(), Net::prefix);
        let dst = if dst == "0.0.0.0/0" { "default" } else { &dst };
        // RTN_* of `linux/rtnetlink.h`.
        text.push_str(match route.kind {
            2 => "local ",
            3 => "broadcast ",
            4 => "anycast ",
            5 => "multicast ",
            6 => "blackhole ",
            7 => "unreachable ",
            8 => "prohibit ",
            9 => "throw ",
            _ => "",
        });
        text.push_str(dst);
        let gateway = given(route.gateway.as_deref());
        if route.kind == 1 && gateway.is_none() && route.oif.is_empty() {
            // A row that can't be read leaves open what it decides.
            text.push_str(" of several ways, which KubeSkoop leaves out\n");
            continue;
        }
        if route.tos != 0 {
            let _ = write!(text, " tos {:#x}", route.tos);
        }
        if let Some(gateway) = gateway {
            let _ = write!(text, " via {gateway}");
        }
        if !route.oif.is_empty() {
            let _ = write!(text, " dev {}", route.oif);
        }
        match route.table {
            0 | 254 => {}
            255 => text.push_str(" table local"),
            253 => text.push_str(" table default"),
            table => drop(write!(text, " table {table}")),
        }
        match route.protocol {
            2 => text.push_str(" proto kernel"),
            3 => text.push_str(" proto boot"),
            4 => text.push_str(" proto static"),
            protocol => drop(write!(text, " proto {protocol}")),
        }
        match route.scope {
            253 => text.push_str(" scope link"),
            254 => text.push_str(" scope host"),
            _ => {}
        }
        if let Some(src) = given(route.src.as_deref()) {
            let _ = write!(text, " src {src}");
        }
        if route.priority > 0 {
            let _ = write!(text, " metric {}", route.priority);
        }
        // RTNH_F_ONLINK.
        text.push_str(if route.flags & 4 != 0 { " onlink\n" } else { "\n" });
    }
    text
}

/// What is -1 or 0 is not set (`NewRule` of vishvananda/netlink).
fn rules(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        let from = rule.src.as_ref().map_or_else(|| "all".to_owned(), Net::prefix);
        let _ = write!(text, "{}:\tfrom {from}", rule.priority.max(0));
        if let Some(dst) = &rule.dst {
            let _ = write!(text, " to {}", dst.prefix());
        }
        if rule.mark > 0 {
            let _ = write!(text, " fwmark {:#x}", rule.mark);
            if rule.mask > 0 && rule.mask != i64::from(u32::MAX) {
                let _ = write!(text, "/{:#x}", rule.mask);
            }
        }
        for (word, name) in [("iif", &rule.iif), ("oif", &rule.oif)] {
            if !name.is_empty() {
                let _ = write!(text, " {word} {name}");
            }
        }
        let _ = match (rule.goto > 0, rule.table) {
            (true, _) => writeln!(text, " goto {}", rule.goto),
            (false, 255) => writeln!(text, " lookup local"),
            (false, 254) => writeln!(text, " lookup main"),
            (false, 253) => writeln!(text, " lookup default"),
            (false, table) => writeln!(text, " lookup {table}"),
        };
    }
    text
}

/// An address that is one.
fn given(ip: Option<&str>) -> Option<IpAddr> {
    let ip: IpAddr = ip?.parse().ok()?;
    (!ip.is_unspecified()).then_some(ip)
}

impl Net {
    /// `10.244.1.0/24`.
    fn prefix(&self) -> String {
        let mask = STANDARD.decode(&self.mask).ok();
        let bits = mask.map(|mask| mask.iter().map(|byte| byte.count_ones()).sum::<u32>());
        // Go keeps IPv4 masks in 4 bytes, and sometimes in 16.
        let is_long = self.ip.is_ipv4() && bits.is_some_and(|bits| bits > Ipv4Addr::BITS);
        let bits = if is_long { bits.and_then(|bits| bits.checked_sub(96)) } else { bits };
        // A mask that is none makes a row that can't be read, and is told as one.
        bits.map_or_else(|| format!("{}/?", self.ip), |bits| format!("{}/{bits}", self.ip))
    }
}

impl Neigh {
    fn lladdr(&self) -> Option<String> {
        let bytes = STANDARD.decode(self.hardware_addr.as_deref()?).ok()?;
        let words: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        (words.len() == 6).then(|| words.join(":"))
    }
}

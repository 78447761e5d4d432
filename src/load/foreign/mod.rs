//! The bundles of other collectors: where each puts the output of which command, and what it is called in a snapshot.
//!
//! A file keeps its own path, so that evidence names what the person has. Where only some of its lines are a table, the
//! others are emptied, so that its lines keep their numbers too.

mod kubeskoop;
mod section;

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{self, Slot, is_node_name};

pub(super) use kubeskoop::read as kubeskoop;

/// A table of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The file's path.
    pub path: String,
    /// Its path in a snapshot.
    pub slot: String,
    /// Its text.
    pub text: String,
}

/// What was found in a bundle.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The tables.
    pub tables: Vec<Table>,
    /// What is to be said of it.
    pub notes: Vec<String>,
}

/// How a collector lays its bundle out.
struct Collector {
    /// What people call it.
    name: &'static str,
    /// Files of which one at least is in each bundle of it, and in no other's.
    marks: &'static [&'static str],
    /// Which file holds which table of the host, the best first.
    tables: &'static [(&'static str, &'static str, Part)],
    /// Where a machine's name stands.
    names: &'static [&'static str],
}

/// What of a file is the table.
#[derive(Clone, Copy)]
enum Part {
    /// All of it.
    Whole,
    /// What stands behind a command's line, up to the next command's.
    Command(&'static str),
    /// A setting's value alone: the setting's name.
    Setting(&'static str),
}

use Part::{Command, Setting, Whole};

/// sosreport's plugins `networking`, `firewall_tables`, `conntrack` and `kernel`, old and new.
const SOS: Collector = Collector {
    name: "sosreport",
    marks: &["sos_commands/networking/ip_route_show_table_all", "sos_commands/networking/ip_-d_address"],
    tables: &[
        ("sos_commands/networking/ip_-s_-d_link", "link.txt", Whole),
        ("sos_commands/networking/ip_-d_address", "addr.txt", Whole),
        ("sos_commands/networking/ip_route_show_table_all", "route.txt", Whole),
        ("sos_commands/networking/ip_-6_route_show_table_all", "route6.txt", Whole),
        ("sos_commands/networking/ip_-4_rule_list", "rule.txt", Whole),
        ("sos_commands/networking/ip_-4_rule", "rule.txt", Whole),
        ("sos_commands/networking/ip_-6_rule_list", "rule6.txt", Whole),
        ("sos_commands/networking/ip_-6_rule", "rule6.txt", Whole),
        ("sos_commands/networking/ip_-s_-s_neigh_show", "neigh.txt", Whole),
        ("sos_commands/networking/bridge_-s_-s_-d_link_show", "bridge-link.txt", Whole),
        ("sos_commands/networking/bridge_-s_-s_-d_-t_fdb_show", "fdb.txt", Whole),
        ("sos_commands/networking/bridge_-d_vlan_show", "bridge-vlan.txt", Whole),
        ("sos_commands/firewall_tables/nft_-a_list_ruleset", "nft.txt", Whole),
        ("sos_commands/networking/nft_-a_list_ruleset", "nft.txt", Whole),
        ("sos_commands/networking/nft_list_ruleset", "nft.txt", Whole),
        ("sos_commands/conntrack/conntrack_-L_-o_extended", "conntrack", Whole),
        ("sos_commands/kernel/sysctl_-a", "sysctl", Whole),
    ],
    names: &["sos_commands/host/hostname", "sos_commands/general/hostname", "hostname", "etc/hostname"],
};

/// The log collector of Rancher, RKE2 and k3s, and Rancher's supportability review.
const RANCHER: Collector = Collector {
    name: "Rancher log collector's bundle",
    marks: &["networking/iptablessave", "networking/ipaddrshow"],
    tables: &[
        ("networking/iplinkshow", "link.txt", Whole),
        ("networking/ipaddrshow", "addr.txt", Whole),
        ("networking/iproute", "route.txt", Whole),
        ("networking/ipv6route", "route6.txt", Whole),
        ("networking/iprule", "rule.txt", Whole),
        ("networking/ipv6rule", "rule6.txt", Whole),
        ("networking/ipneighbour", "neigh.txt", Whole),
        ("networking/iptablessave", "iptables-save", Whole),
        ("networking/ip6tablessave", "ip6tables-save", Whole),
        ("networking/nft_ruleset", "nft.txt", Whole),
        ("systeminfo/sysctla", "sysctl", Whole),
        ("networking/ipv4_ip_forward", "sysctl", Setting("net.ipv4.ip_forward")),
        ("networking/bridge-nf-call-iptables", "sysctl", Setting("net.bridge.bridge-nf-call-iptables")),
    ],
    names: &["systeminfo/hostname", "systeminfo/hostnamefqdn"],
};

/// The EKS log collector.
const EKS: Collector = Collector {
    name: "EKS log collector's bundle",
    marks: &["networking/iptables-save.txt"],
    tables: &[
        ("networking/iptables-save.txt", "iptables-save", Whole),
        ("networking/ip6tables-save.txt", "ip6tables-save", Whole),
        ("networking/iprule.txt", "rule.txt", Whole),
        ("networking/iproute.txt", "route.txt", Whole),
        ("sysctls/sysctl_all.txt", "sysctl", Whole),
    ],
    names: &["system/hostname.txt", "system/hostname"],
};

/// Retina's capture (`CollectMetadata` of its `network_capture_unix.go`).
const RETINA: Collector = Collector {
    name: "Retina capture",
    marks: &["ip-resources.txt"],
    tables: &[
        ("ip-resources.txt", "link.json", Command("ip -d -j addr show")),
        ("ip-resources.txt", "addr.json", Command("ip -d -j addr show")),
        ("ip-resources.txt", "neigh.json", Command("ip -d -j neighbor show")),
        ("ip-resources.txt", "rule.txt", Command("ip rule list")),
        ("ip-resources.txt", "route.txt", Command("ip route show table all")),
        ("iptables-rules.txt", "iptables-save", Command("iptables-nft-save")),
        ("iptables-rules.txt", "iptables-save", Command("iptables-legacy-save")),
        ("proc-net/nf_conntrack", "conntrack", Whole),
    ],
    names: &[],
};

const COLLECTORS: [Collector; 4] = [SOS, RANCHER, EKS, RETINA];

/// Where sosreport keeps the machine's name, too.
const UNAME: &str = "sos_commands/kernel/uname_-a";
/// Retina's copy of `/proc/sys/net`: a file for each setting.
const SETTINGS: &str = "proc-sys-net/";
/// Where sosreport keeps what it asked in each namespace of `ip netns`: `<namespace>/ip_netns_exec_<namespace>_<command>`.
const NAMESPACES: &str = "sos_commands/networking/namespaces/";
/// Which of its commands there print which table.
const IN_NAMESPACE: [(&str, &str); 8] = [
    ("ip_-s_-d_link", "link.txt"),
    ("ip_-d_address_show", "addr.txt"),
    ("ip_route_show_table_all", "route.txt"),
    ("ip_-6_route_show_table_all", "route6.txt"),
    ("ip_-4_rule_list", "rule.txt"),
    ("ip_-6_rule_list", "rule6.txt"),
    ("ip_-s_-s_neigh_show", "neigh.txt"),
    ("iptables-save", "iptables-save"),
];
/// Files without which many answers stay open: what they hold.
const WANTED: [(&str, &str); 8] = [
    ("link", "ip -d link show"),
    ("addr", "ip addr show"),
    ("route", "ip route show table all"),
    ("rule", "ip rule show"),
    ("neigh", "ip neigh show"),
    ("fdb", "bridge fdb show"),
    ("iptables-save", "iptables-save"),
    ("sysctl", "sysctl -a"),
];
/// What KubeSkoop's collector writes.
pub(super) const KUBESKOOP: &str = "collector.json";

/// Whether a file may be of such a bundle, wherever that begins.
pub(super) fn wants(path: &str) -> bool {
    places(path).any(|(_, inside)| is_known(inside))
}

/// Every way in which a path may be one of a bundle some folders down: the length of the leading folders, and the rest.
fn places(path: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1));
    starts.filter_map(move |start| Some((start, path.get(start..)?)))
}

fn is_known(path: &str) -> bool {
    let listed = |collector: &Collector| {
        collector.tables.iter().any(|(known, _, _)| *known == path) || collector.names.contains(&path)
    };
    path == KUBESKOOP
        || path == UNAME
        || path.starts_with(SETTINGS)
        || path.starts_with(NAMESPACES)
        || COLLECTORS.iter().any(listed)
}

/// The folders, with a `/` at the end, in which bundles begin, and whose they are. A bundle in another one is none.
fn roots<'p>(paths: impl Iterator<Item = &'p str>) -> BTreeMap<&'p str, &'static Collector> {
    let mut roots: BTreeMap<&str, &'static Collector> = BTreeMap::new();
    for path in paths {
        for (start, inside) in places(path) {
            let collector = COLLECTORS.iter().find(|collector| collector.marks.contains(&inside));
            let root = path.get(..start).unwrap_or_default();
            if let Some(collector) = collector.filter(|_| !roots.contains_key(root)) {
                roots.insert(root, collector);
            }
        }
    }
    let all: BTreeSet<&str> = roots.keys().copied().collect();
    roots.retain(|root, _| !all.iter().any(|other| other != root && root.starts_with(other)));
    roots
}

/// What bundles hold, each of which becomes a node; nothing where there is none.
pub(super) fn find(files: &BTreeMap<String, String>) -> Found {
    let mut found = Found::default();
    let mut nodes: BTreeSet<String> = BTreeSet::new();
    for (root, collector) in roots(files.keys().map(String::as_str)) {
        let node = unused(&nodes, node(root, collector, files));
        let bundle = Bundle { root, collector, files, node: &node };
        let tables = bundle.tables();
        found.notes.push(bundle.told(&tables));
        found.tables.extend(tables);
        nodes.insert(node);
    }
    for (path, text) in files.iter().filter(|(path, _)| places(path).any(|(_, inside)| inside == KUBESKOOP)) {
        let folder = path.rsplit('/').nth(1).filter(|folder| is_node_name(folder)).unwrap_or("node").to_owned();
        let node = unused(&nodes, folder);
        found.extend(kubeskoop(path, text, &node));
        nodes.insert(node);
    }
    found
}

impl Found {
    fn extend(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.notes.extend(other.notes);
    }
}

fn unused(nodes: &BTreeSet<String>, node: String) -> String {
    if !nodes.contains(&node) {
        return node;
    }
    let others = (2..).map(|number| format!("{node}.{number}"));
    others.into_iter().find(|other| !nodes.contains(other)).unwrap_or(node)
}

/// The machine's name: what the bundle says, or else what its folder is called.
fn node(root: &str, collector: &Collector, files: &BTreeMap<String, String>) -> String {
    let told = collector.names.iter().filter_map(|name| files.get(&format!("{root}{name}")));
    let told = told.filter_map(|text| text.split_whitespace().next());
    // `Linux web1 6.1.0 #1 SMP ...`
    let uname = files.get(&format!("{root}{UNAME}"));
    let told = told.chain(uname.and_then(|text| text.split_whitespace().nth(1)));
    let folder = root.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let folder = folder.strip_prefix("sosreport-").unwrap_or(folder);
    told.chain([folder]).find(|name| is_node_name(name)).unwrap_or("node").to_owned()
}

/// One bundle.
struct Bundle<'a> {
    root: &'a str,
    collector: &'static Collector,
    files: &'a BTreeMap<String, String>,
    node: &'a str,
}

impl Bundle<'_> {
    fn tables(&self) -> Vec<Table> {
        let mut tables: Vec<Table> = Vec::new();
        for (inside, table, part) in self.collector.tables {
            let path = format!("{}{inside}", self.root);
            let slot = format!("nodes/{}/host/{table}", self.node);
            let Some(text) = self.files.get(&path).and_then(|text| part.of(text)) else { continue };
            match tables.iter_mut().find(|known| known.slot == slot) {
                None => tables.push(Table { path, slot, text }),
                // Of settings each may have its own file.
                Some(known) if matches!(part, Setting(_)) && !known.path.ends_with("sysctla") => {
                    known.text.push_str(&text);
                }
                Some(_) => {}
            }
        }
        tables.extend(self.settings());
        tables.extend(self.namespaces());
        tables
    }

    /// The settings that stand in a file each, as lines.
    fn settings(&self) -> Option<Table> {
        let folder = format!("{}{SETTINGS}", self.root);
        let inside = self.files.range(folder.clone()..).take_while(|(path, _)| path.starts_with(&folder));
        let lines = inside.flat_map(|(path, text)| {
            let key = format!("net/{}", path.strip_prefix(&folder).unwrap_or_default());
            text.lines().map(move |line| format!("{key} = {line}\n")).collect::<Vec<_>>()
        });
        let text: String = lines.collect();
        let (path, slot) = (folder.trim_end_matches('/').to_owned(), format!("nodes/{}/host/sysctl", self.node));
        (!text.is_empty()).then_some(Table { path, slot, text })
    }

    /// What was asked in other namespaces. Whose they are is not said.
    fn namespaces(&self) -> Vec<Table> {
        let folder = format!("{}{NAMESPACES}", self.root);
        let inside = self.files.range(folder.clone()..).take_while(|(path, _)| path.starts_with(&folder));
        let table = |(path, text): (&String, &String)| {
            let (namespace, file) = path.strip_prefix(&folder)?.split_once('/')?;
            let command = file.strip_prefix(&format!("ip_netns_exec_{namespace}_"))?;
            let (_, table) = IN_NAMESPACE.iter().find(|(known, _)| *known == command)?;
            let slot = format!("nodes/{}/pods/netns_{namespace}/{table}", self.node);
            Slot::of(&slot).is_some().then(|| Table { path: path.clone(), slot, text: text.clone() })
        };
        inside.filter_map(table).collect()
    }

    /// Says what it is and what it lacks.
    fn told(&self, tables: &[Table]) -> String {
        let Self { root, collector, node, .. } = self;
        let host = format!("nodes/{node}/host/");
        let has = |stem: &str| {
            let names = tables.iter().filter_map(|table| table.slot.strip_prefix(&host));
            names.map(|name| name.split('.').next().unwrap_or(name)).any(|name| name == stem)
        };
        let lacks: Vec<&str> = WANTED.iter().filter(|(stem, _)| !has(stem)).map(|(_, command)| *command).collect();
        let place = if root.is_empty() { "this".to_owned() } else { root.trim_end_matches('/').to_owned() };
        let lacks = if lacks.is_empty() { "nothing".to_owned() } else { lacks.join(", ") };
        format!(
            "{place} is a {}, taken for node {node}: of what decides it lacks {lacks}; pods' namespaces are \
             mostly not in it",
            collector.name
        )
    }
}

impl Part {
    /// The table in a text, with every line at its number.
    fn of(self, text: &str) -> Option<String> {
        match self {
            Whole => Some(text.to_owned()),
            Command(command) => section::of(text, command),
            Setting(name) => text.lines().next().map(|value| format!("{name} = {value}\n")),
        }
    }
}

/// The namespaces' folders of tables.
pub(super) fn folders(tables: &[Table]) -> BTreeSet<String> {
    let folder = |table: &Table| table.slot.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let is_folder = |folder: &String| layout::slots(folder).next().is_some_and(|(_, slot)| slot.is_folder());
    tables.iter().filter_map(folder).filter(is_folder).collect()
}

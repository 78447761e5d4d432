//! The names of a snapshot's files and folders. Nothing else is ever read.

/// The tables of a namespace's folder.
const TABLES: [&str; 33] = [
    "addr.json",
    "addr.txt",
    "bridge-link.json",
    "bridge-link.txt",
    "bridge-vlan.json",
    "bridge-vlan.txt",
    "conntrack",
    "fdb.json",
    "fdb.txt",
    "ip6tables-legacy-save",
    "ip6tables-save",
    "ipset",
    "iptables-legacy-save",
    "iptables-save",
    "link.json",
    "link.txt",
    "neigh.json",
    "neigh.txt",
    "nexthop.json",
    "nexthop.txt",
    "nfacct",
    "nft.json",
    "nft.txt",
    "route.json",
    "route.txt",
    "route6.json",
    "route6.txt",
    "rule.json",
    "rule.txt",
    "rule6.json",
    "rule6.txt",
    "sysctl",
    "tuntap.json",
];
const TUNTAP: &str = "tuntap.txt";

/// The folder of the `recent` match's lists.
pub(super) const RECENT: &str = "recent";

/// The lists of Kubernetes objects.
pub(super) const CLUSTER: [&str; 5] =
    ["nodes.json", "pods.json", "services.json", "endpointslices.json", "networkpolicies.json"];

/// The largest of all files, which few questions need: in a folder it is not read before it is asked for.
pub(super) const LARGEST: &str = "cluster/endpointslices.json";

/// When, by what, and what failed.
pub(super) const META: &str = "snapshot.json";

/// What a path relative to the snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot<'a> {
    /// `snapshot.json`.
    Meta,
    /// One of `cluster/`.
    Cluster,
    /// The folder of a namespace: the node, and the pod's folder unless it is the host's.
    Folder { node: &'a str, pod: Option<&'a str> },
    /// A file of such a folder.
    Table { node: &'a str, pod: Option<&'a str>, name: &'a str },
    /// The folder of the `recent` match's lists, which may hold none.
    RecentFolder { node: &'a str, pod: Option<&'a str> },
    /// A list of the `recent` match.
    Recent { node: &'a str, pod: Option<&'a str>, list: &'a str },
}

impl<'a> Slot<'a> {
    /// Whether it is a folder, which counts even if it is empty.
    pub(super) fn is_folder(self) -> bool {
        matches!(self, Self::Folder { .. } | Self::RecentFolder { .. })
    }

    /// What a path relative to the snapshot's folder is; `None` for everything that isn't read.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        Self::of_parts(&parts)
    }

    fn of_parts(parts: &[&'a str]) -> Option<Self> {
        match *parts {
            [META] => Some(Self::Meta),
            ["cluster", name] => CLUSTER.contains(&name).then_some(Self::Cluster),
            ["nodes", node, "host", ref rest @ ..] => Self::inside(node, None, rest),
            ["nodes", node, "pods", pod, ref rest @ ..] => Self::inside(node, Some(pod), rest),
            _ => None,
        }
    }

    fn inside(node: &'a str, pod: Option<&'a str>, rest: &[&'a str]) -> Option<Self> {
        match *rest {
            [] => Some(Self::Folder { node, pod }),
            [RECENT] => Some(Self::RecentFolder { node, pod }),
            [RECENT, list] => Some(Self::Recent { node, pod, list }),
            [name] => is_table(name).then_some(Self::Table { node, pod, name }),
            _ => None,
        }
    }
}

/// Whether a namespace's folder may hold a file of this name.
pub(super) fn is_table(name: &str) -> bool {
    name == TUNTAP || TABLES.binary_search(&name).is_ok()
}

/// The table that a file was probably meant for which has no table's name: `routes.txt`, `ip-route.out`,
/// `iptables-save.txt`.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let typed = name.split('.').next().unwrap_or_default();
    let tables = || TABLES.iter().copied().chain([TUNTAP]).filter(|table| !is_json(table));
    let stem = |table: &'static str| table.split('.').next().unwrap_or(table);
    let whole = tables().filter(|table| typed.contains(stem(table))).max_by_key(|table| stem(table).len());
    let begun = |table: &&'static str| typed.len() > 4 && stem(table).starts_with(typed);
    whole.or_else(|| tables().filter(begun).min_by_key(|table| stem(table).len()))
}

fn is_json(table: &str) -> bool {
    table.rsplit_once('.').is_some_and(|(_, ending)| ending == "json")
}

/// Every way in which a path can be one of a snapshot that stands some folders down: the length of the leading
/// folders (with their `/`), and what the rest is.
pub(super) fn slots(path: &str) -> impl Iterator<Item = (usize, Slot<'_>)> {
    let starts = std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1));
    starts.filter_map(|start| Some((start, Slot::of(path.get(start..)?)?)))
}

/// Whether a name can be that of a node's folder: what Kubernetes allows, and a little more.
pub(crate) fn is_node_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&name.len()) && name.bytes().all(is_letter) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_name_is_one_folder() {
        assert!(is_node_name("n1") && is_node_name("ip-10-0-0-1.ec2.internal"));
        assert!(["", ".", "..", "a/b", "-w", "a b"].iter().all(|name| !is_node_name(name)));
    }

    #[test]
    fn table_names_are_sorted_for_the_search() {
        assert!(TABLES.is_sorted());
    }

    #[test]
    fn only_names_of_the_layout_are_slots() {
        assert_eq!(Slot::of("snapshot.json"), Some(Slot::Meta));
        assert_eq!(Slot::of("cluster/pods.json"), Some(Slot::Cluster));
        assert_eq!(Slot::of("cluster/secrets.json"), None);
        assert_eq!(Slot::of("nodes/n1/host/link.txt"), Some(Slot::Table { node: "n1", pod: None, name: "link.txt" }));
        assert_eq!(
            Slot::of("nodes/n1/pods/default_web/recent/KUBE"),
            Some(Slot::Recent { node: "n1", pod: Some("default_web"), list: "KUBE" })
        );
        assert_eq!(Slot::of("nodes/n1/host/passwd"), None);
        assert_eq!(Slot::of("nodes/n1/pods/default_web/tuntap.txt/x"), None);
        assert_eq!(Slot::of("nodes/n1"), None);
    }

    #[test]
    fn the_manual_names_every_table() {
        let page = include_str!("../../man/flowtrace-snapshot.5").replace("\\-", "-");
        let words: Vec<&str> = page.split(|letter: char| letter.is_whitespace() || "\",".contains(letter)).collect();
        let texts = TABLES.iter().chain([&TUNTAP]).filter(|name| name.strip_suffix(".json").is_none());
        let unnamed: Vec<_> = texts.filter(|name| !words.contains(*name)).collect();
        assert!(unnamed.is_empty(), "{unnamed:?}");
    }

    #[test]
    fn a_file_of_another_name_is_meant_for_a_table() {
        for (name, table) in [
            ("routes.txt", "route.txt"),
            ("IP_route6.out", "route6.txt"),
            ("ip-rule", "rule.txt"),
            ("iptables-save.txt", "iptables-save"),
            ("iptables.txt", "iptables-save"),
            ("ip6tables-legacy-save.log", "ip6tables-legacy-save"),
            ("neighbours", "neigh.txt"),
            ("bridge_link.txt", "bridge-link.txt"),
            ("tuntap", "tuntap.txt"),
        ] {
            assert_eq!(meant(name), Some(table), "{name}");
        }
        for name in ["README.md", "passwd", "", ".txt", "ip", "resolv.conf", "recent"] {
            assert_eq!(meant(name), None, "{name}");
        }
    }

    #[test]
    fn a_snapshot_some_folders_down_is_found() {
        let found: Vec<_> = slots("bundle/case/nodes/n1/host/link.txt").collect();
        assert_eq!(found, vec![(12, Slot::Table { node: "n1", pod: None, name: "link.txt" })]);
    }
}

//! From files to tables: each file goes to its reader, each folder becomes a namespace.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{FileId, Files, Gap, Text};
use crate::net::{Family, NetnsId, NetnsName, NodeName, PodName};
use crate::snapshot::{
    Conntrack, Netfilter, Netns, PolicyRule, RecentEntry, Route, Routes, Snapshot, TableFile, Topology, Unread,
    UnreadRow,
};

use super::forms::{self, Row};
use super::ip_route::RouteFile;
use super::layout::Slot;
use super::{
    Source, bridge_fdb, bridge_link, bridge_vlan, conntrack_list, derive, ip_addr, ip_link, ip_neigh, ip_nexthop,
    ip_route, ip_rule, ipset_save, kube, meta, netfilter, nfacct_list, recent, relay, sysctl, tuntap, unread,
};

/// Reads every file and puts the snapshot together. Files have a place in a snapshot, and the path that they are called
/// by. `folders` are namespaces even without files; `unread` are files
/// that are there and could not be read, and why.
pub(super) fn assemble(
    files: Vec<(String, String, Source)>,
    folders: &BTreeSet<String>,
    unread: &BTreeMap<String, String>,
    gaps: Vec<Gap>,
) -> Snapshot {
    let mut snapshot = Snapshot { gaps, ..Snapshot::default() };
    let mut tables: BTreeMap<String, Tables> = BTreeMap::new();
    for folder in folders {
        match folder.strip_suffix("/recent") {
            Some(above) => drop(tables.entry(above.to_owned()).or_default().recent.get_or_insert_default()),
            None => drop(tables.entry(folder.clone()).or_default()),
        }
    }
    let mut cluster = BTreeMap::new();
    let mut zones = meta::Zones::default();
    for (slot, path, source) in files {
        let place = place(&slot);
        let id = match source {
            Source::Text(text) => snapshot.files.add(path, text),
            Source::OnDisk(file) => snapshot.files.add_on_disk(path, file),
        };
        match place {
            Place::Meta => {
                let text = snapshot.files.get(id).map_or_else(|| Text::from(""), |file| file.text.clone());
                zones = meta::read(id, &text, &mut snapshot.gaps);
            }
            Place::Cluster(name) => {
                cluster.insert(name, id);
            }
            Place::Table(folder, name) => {
                tables.entry(folder).or_default().files.insert(name, id);
            }
            Place::Recent(folder, list) => {
                tables.entry(folder).or_default().recent.get_or_insert_default().insert(list, id);
            }
            Place::Other => {}
        }
    }
    snapshot.kube = kube::read(&mut snapshot.files, &cluster, &mut snapshot.gaps);
    for (folder, tables) in &tables {
        let Some((node, name)) = namespace(folder, &mut snapshot.gaps) else { continue };
        let netns =
            Reading { folder, files: &mut snapshot.files, tables, gaps: &mut snapshot.gaps, unread: Vec::new() }.netns(
                Netns {
                    unread: unread_files(folder, unread),
                    lists_in_utc: zones.is_utc(&node),
                    ..Netns::new(node, name, folder)
                },
            );
        add_namespace(&mut snapshot, netns);
    }
    relay::fill(&mut snapshot);
    let (topology, gaps) = Topology::build(&snapshot.namespaces, &snapshot.nodes, &snapshot.kube);
    snapshot.topology = topology;
    snapshot.gaps.extend(gaps);
    snapshot
}

/// The files of one namespace's folder.
#[derive(Default)]
struct Tables {
    files: BTreeMap<String, FileId>,
    /// The lists, `None` where their folder is absent.
    recent: Option<BTreeMap<String, FileId>>,
}

/// Where a file belongs.
enum Place {
    Meta,
    Cluster(String),
    Table(String, String),
    Recent(String, String),
    Other,
}

fn place(path: &str) -> Place {
    let up = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    match Slot::of(path) {
        Some(Slot::Cluster) => Place::Cluster(path.rsplit('/').next().unwrap_or(path).to_owned()),
        Some(Slot::Table { name, .. }) => Place::Table(up(path), name.to_owned()),
        Some(Slot::Recent { list, .. }) => Place::Recent(up(&up(path)), list.to_owned()),
        Some(Slot::Meta) => Place::Meta,
        Some(Slot::Folder { .. } | Slot::RecentFolder { .. }) | None => Place::Other,
    }
}

/// The node and the namespace that a folder stands for.
fn namespace(folder: &str, gaps: &mut Vec<Gap>) -> Option<(NodeName, NetnsName)> {
    let Some(Slot::Folder { node, pod }) = Slot::of(folder) else { return None };
    let name = match pod.map(|pod| (pod, pod.split_once('_'))) {
        None => NetnsName::Host,
        Some((_, Some((namespace, name)))) => NetnsName::Pod(PodName::new(namespace, name)),
        Some((pod, None)) => {
            gaps.push(Gap::new(format!("{folder} is not named <namespace>_<name>; taken for default/{pod}"), vec![]));
            NetnsName::Pod(PodName::new("default", pod))
        }
    };
    Some((NodeName::new(node), name))
}

/// The files of a folder that could not be read.
fn unread_files(folder: &str, all: &BTreeMap<String, String>) -> Unread {
    let inside = |path: &String| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
    let files = all.iter().filter_map(|(path, why)| Some((inside(path)?, why.clone())));
    Unread { files: files.collect(), rows: Vec::new() }
}

fn add_namespace(snapshot: &mut Snapshot, netns: Netns) {
    let id = NetnsId(u32::try_from(snapshot.namespaces.len()).unwrap_or(u32::MAX));
    let node = snapshot.nodes.entry(netns.node.clone()).or_default();
    match &netns.name {
        NetnsName::Host => node.host = Some(id),
        NetnsName::Pod(pod) => drop(node.pods.insert(pod.clone(), id)),
    }
    snapshot.namespaces.push(netns);
}

/// Says of routes that stand twice: somebody put the file together.
fn note_doubled(routes: &Routes, gaps: &mut Vec<Gap>) {
    const MOST: usize = 10;
    for (one, other) in routes.doubled().take(MOST) {
        let what = format!(
            "the table {} has two routes to {} of which the kernel holds one alone, and the first counts",
            one.table, one.dst
        );
        gaps.push(Gap::new(what, vec![one.evidence, other.evidence]));
    }
}

/// The reading of one folder.
struct Reading<'a> {
    folder: &'a str,
    files: &'a mut Files,
    tables: &'a Tables,
    gaps: &'a mut Vec<Gap>,
    /// The rows of the folder's tables that could not be read.
    unread: Vec<UnreadRow>,
}

impl Reading<'_> {
    fn netns(mut self, mut netns: Netns) -> Netns {
        netns.links = self.table("link", Some(TableFile::Link), ip_link::parse, ip_link::parse_json);
        netns.addrs = self.table("addr", Some(TableFile::Addr), ip_addr::parse, ip_addr::parse_json);
        self.forget_no_devices(&mut netns);
        (netns.routes, netns.routes6) = self.routes();
        netns.rules = self.rules("rule", Family::Inet);
        netns.rules6 = self.rules("rule6", Family::Inet6);
        netns.nexthops = self.table("nexthop", None, ip_nexthop::parse, ip_nexthop::parse_json);
        netns.neighs = self.table("neigh", Some(TableFile::Neigh), ip_neigh::parse, ip_neigh::parse_json);
        netns.fdb = self.table("fdb", Some(TableFile::Fdb), bridge_fdb::parse, bridge_fdb::parse_json);
        let vlans = Some(TableFile::BridgeVlan);
        netns.bridge_vlans = self.table("bridge-vlan", vlans, bridge_vlan::parse, bridge_vlan::parse_json);
        netns.tuns = self.table("tuntap", None, tuntap::parse, tuntap::parse_json);
        netns.conntrack = self.plain("conntrack", TableFile::Conntrack, conntrack_list::parse).map(Conntrack::new);
        netns.sysctls = self.plain("sysctl", TableFile::Sysctl, sysctl::parse);
        netns.netfilter = self.netfilter();
        netns.ipsets = self.plain("ipset", TableFile::Ipset, ipset_save::parse);
        netns.nfacct = self.plain("nfacct", TableFile::Nfacct, nfacct_list::parse);
        netns.recent = self.recent();
        let ports = self.table("bridge-link", None, bridge_link::parse, bridge_link::parse_json);
        netns.unread.rows = self.unread;
        derive::complete(&mut netns, ports, self.files, self.gaps);
        netns
    }

    /// A table that has a text form and a JSON form. The text counts where both stand and it says anything.
    fn table<T: Row>(
        &mut self,
        name: &str,
        table: Option<TableFile>,
        text: impl FnOnce(FileId, &str, &mut Vec<Gap>) -> Vec<T>,
        json: impl FnOnce(FileId, &str, &mut Vec<Gap>) -> (Vec<T>, Vec<String>),
    ) -> Option<Vec<T>> {
        let read = self.gaps.len();
        let by_text = self.file(&format!("{name}.txt"));
        let by_text = by_text.map(|(file, content)| text(file, unread::whole_lines(&content), self.gaps));
        if by_text.is_some() {
            self.note_unread(table, read);
            self.note_cut_off(table, &format!("{name}.txt"));
        }
        let read = self.gaps.len();
        let by_json = self.file(&format!("{name}.json")).map(|(file, content)| {
            let (rows, lines) = json(file, &content, self.gaps);
            self.files.set_rows(file, lines);
            rows
        });
        let by_text = by_text.filter(|rows| !(T::ALWAYS && rows.is_empty() && by_json.is_some()));
        if by_text.is_none() && self.tables.files.contains_key(&format!("{name}.txt")) {
            let what = format!("{}/{name}.txt shows nothing, and {name}.json counts", self.folder);
            self.gaps.push(Gap::new(what, Vec::new()));
        }
        if by_text.is_none() {
            self.note_unread(table, read);
        }
        if let (Some(text), Some(json)) = (&by_text, &by_json) {
            let (text, json): (Vec<&T>, Vec<&T>) = (text.iter().collect(), json.iter().collect());
            forms::compare(&format!("{}/{name}", self.folder), &text, &json, self.gaps);
        }
        by_text.or(by_json)
    }

    /// No namespace is without a device (`lo`): a link file that shows none shows nothing.
    fn forget_no_devices(&mut self, netns: &mut Netns) {
        netns.links = netns.links.take().filter(|links| !links.is_empty());
        if netns.links.is_some() {
            return;
        }
        let Some(name) = ["link.txt", "link.json"].into_iter().find(|name| self.tables.files.contains_key(*name))
        else {
            return;
        };
        let what = format!("{}/{name} shows no device, so that what `ip -d link show` prints is missing", self.folder);
        self.gaps.push(Gap::new(what.clone(), Vec::new()));
        netns.unread.files.insert(name.to_owned(), what);
    }

    /// Keeps the rows of a table that the gaps since a place say could not be read.
    fn note_unread(&mut self, table: Option<TableFile>, since: usize) {
        let gaps = self.gaps.get(since..).unwrap_or_default();
        self.unread.extend(table.map(|table| unread::rows(table, gaps, self.files)).unwrap_or_default());
    }

    /// Keeps that a table goes on behind the end of its file.
    fn note_cut_off(&mut self, table: Option<TableFile>, name: &str) {
        let Some((table, (file, text))) = table.zip(self.file(name)) else { return };
        self.unread.extend(unread::cut_off(table, file, &text));
    }

    /// A table that has one form.
    fn plain<T>(
        &mut self,
        name: &str,
        table: TableFile,
        parse: impl FnOnce(FileId, &str, &mut Vec<Gap>) -> T,
    ) -> Option<T> {
        let (file, content) = self.file(name)?;
        Some(self.whole(file, &content, table, parse))
    }

    /// What the whole lines of a file say. What could not be read is kept.
    fn whole<T>(
        &mut self,
        file: FileId,
        text: &str,
        table: TableFile,
        parse: impl FnOnce(FileId, &str, &mut Vec<Gap>) -> T,
    ) -> T {
        let read = self.gaps.len();
        let rows = parse(file, unread::whole_lines(text), self.gaps);
        self.note_unread(Some(table), read);
        self.unread.extend(unread::cut_off(table, file, text));
        rows
    }

    fn file(&self, name: &str) -> Option<(FileId, Text)> {
        let id = *self.tables.files.get(name)?;
        Some((id, self.files.get(id)?.text.clone()))
    }

    fn rules(&mut self, name: &str, family: Family) -> Option<Vec<PolicyRule>> {
        let text = |file, text: &str, gaps: &mut Vec<Gap>| ip_rule::parse(file, text, family, gaps);
        let json = |file, text: &str, gaps: &mut Vec<Gap>| ip_rule::parse_json(file, text, family, gaps);
        let mut rules = self.table(name, Some(TableFile::Rule(family)), text, json)?;
        rules.sort_by_key(|rule| rule.priority);
        Some(rules)
    }

    /// Routes of both families. `ip route show table all` prints IPv6 routes too; they count where `route6` is
    /// missing.
    fn routes(&mut self) -> (Option<Routes>, Option<Routes>) {
        let inet = self.route_file("route", Family::Inet);
        let inet6 = self.route_file("route6", Family::Inet6);
        let mut strays = Vec::new();
        let routes = inet.map(|RouteFile { mut rows, all_tables }| {
            strays = rows.extract_if(.., |route| route.family() != Family::Inet).collect();
            RouteFile { rows, all_tables }
        });
        let routes6 = match inet6 {
            Some(RouteFile { mut rows, all_tables }) => {
                rows.retain(|route| route.family() == Family::Inet6);
                Some(RouteFile { rows, all_tables })
            }
            None if strays.is_empty() => None,
            None => {
                let strange = unread::of_both_families(&self.unread);
                self.unread.extend(strange);
                Some(RouteFile { rows: strays, all_tables: true })
            }
        };
        let mut index = |file: RouteFile| {
            let routes = Routes::new(file.rows, file.all_tables);
            note_doubled(&routes, self.gaps);
            routes
        };
        (routes.map(&mut index), routes6.map(index))
    }

    fn route_file(&mut self, name: &str, family: Family) -> Option<RouteFile> {
        let read = self.gaps.len();
        let text = self.file(&format!("{name}.txt"));
        let by_text =
            text.map(|(file, content)| ip_route::parse(file, unread::whole_lines(&content), family, self.gaps));
        if by_text.is_some() {
            self.note_unread(Some(TableFile::Route(family)), read);
            self.note_cut_off(Some(TableFile::Route(family)), &format!("{name}.txt"));
        }
        let read = self.gaps.len();
        let by_json = self.file(&format!("{name}.json")).map(|(file, content)| {
            let (routes, lines) = ip_route::parse_json(file, &content, family, self.gaps);
            self.files.set_rows(file, lines);
            routes
        });
        if by_text.is_none() {
            self.note_unread(Some(TableFile::Route(family)), read);
        }
        if let (Some(text), Some(json)) = (&by_text, &by_json) {
            // One form may hold the other family's rows too.
            let [text, json] = [text, json].map(|file| {
                let rows: Vec<&Route> = file.rows.iter().filter(|route| route.family() == family).collect();
                rows
            });
            forms::compare(&format!("{}/{name}", self.folder), &text, &json, self.gaps);
        }
        by_text.or(by_json)
    }

    fn netfilter(&mut self) -> Netfilter {
        let file = |name: &str| self.tables.files.get(name).copied();
        let sources = netfilter::Sources {
            iptables: file("iptables-save"),
            ip6tables: file("ip6tables-save"),
            iptables_legacy: file("iptables-legacy-save"),
            ip6tables_legacy: file("ip6tables-legacy-save"),
            nft: file("nft.txt"),
            nft_json: file("nft.json"),
        };
        netfilter::parse(self.files, &sources, self.folder, self.gaps)
    }

    fn recent(&mut self) -> Option<BTreeMap<String, Vec<RecentEntry>>> {
        let mut lists = BTreeMap::new();
        let tables = self.tables;
        for (list, id) in tables.recent.as_ref()? {
            let Some(text) = self.files.get(*id).map(|file| file.text.clone()) else { continue };
            lists.insert(list.clone(), self.whole(*id, &text, TableFile::Recent, recent::parse));
        }
        Some(lists)
    }
}

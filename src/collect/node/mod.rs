//! Takes a snapshot of the node that the program runs on.
//!
//! Devices, addresses, routes, rules, neighbours and forwarding entries come from rtnetlink and are written in iproute2's
//! syntax ([`netlink`]); rule sets, sets and connections are what their tools print ([`ruleset`]). It reads only: where
//! asking would load a module or make a table, the kernel is not asked. What can't be taken costs its own file, and is
//! said in `snapshot.json`.

mod agent;
mod command;
mod find;
mod kernel;
mod meta;
mod netlink;
mod netns;
mod pods;
mod process;
mod ruleset;
mod space;
mod sysctl;
mod tool;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::collect::clock;
use crate::collect::sink::{Sink, Target};
use crate::collect::stop::Stop;
use crate::error::Error;
use crate::load::layout::is_node_name;
use crate::load::meta::SCHEMA;

use find::Found;
use meta::{Meta, Read};
use pods::Pods;
use space::{Ledger, Writer};
use tool::Tools;

pub use meta::Failed;
pub use netns::{Namespaces, Netns};

/// More workers than this would only wait for each other.
const MOST_WORKERS: usize = 8;

/// What came of it.
#[derive(Debug, Default)]
pub struct Taken {
    /// The node's name.
    pub node: String,
    /// How many namespaces were read.
    pub namespaces: usize,
    /// What could not be taken.
    pub failed: Vec<Failed>,
    /// The files that changed whenever they were read.
    pub changed: Vec<String>,
    /// What a person should know, and what to do about it.
    pub notes: Vec<String>,
    /// Whether the program could look at all namespaces.
    pub is_root: bool,
}

/// A namespace with the folder that it gets.
struct Space {
    found: Found,
    dir: String,
    named_by: &'static str,
}

/// Namespaces by the names that `ip netns` has for them.
type Names<'a> = [(&'a str, &'a File)];

/// Takes the snapshot. `node` is the node's name where the kubelet doesn't tell it; `tell` hears how many namespaces of
/// how many have been read. Where it fails, or `stop` asks to end, nothing is left of it.
pub fn collect(
    target: Target<'_>,
    node: Option<&str>,
    stop: &Stop,
    tell: &(dyn Fn(usize, usize) + Sync),
) -> Result<Taken, Error> {
    let taken = clock::now();
    let node = node_name(node)?;
    let mut notes = Vec::new();
    let spaces = spaces(&node, &mut notes)?;
    let sink = Sink::new(target, clock::seconds(), stop)?;
    let ledger = Ledger::default();
    let read = read_all(&spaces, &sink, &ledger, (stop, tell))?;
    let (failed, changed) = ledger.told();
    notes.extend(meta::lacking(&failed));
    let meta = Meta {
        schema: SCHEMA,
        taken: &taken,
        by: format!("flowtrace {}", env!("CARGO_PKG_VERSION")),
        node: &node,
        timezone: command::TIMEZONE,
        kernel: &meta::kernel(),
        namespaces: &read,
        changed: &changed,
        failed: &failed,
        notes: &notes,
    };
    sink.put("snapshot.json", &meta.text())?;
    stop.check()?;
    sink.finish()?;
    Ok(Taken { node, namespaces: read.len(), failed, changed, notes, is_root: is_root() })
}

/// The node's name, as typed or as the kubelet is told.
pub(crate) fn node_name(typed: Option<&str>) -> Result<String, Error> {
    match typed {
        Some(name) if !is_node_name(name) => {
            Err(Error::Usage(format!("--node {name:?}: a node's name is letters, digits, `-` and `.`")))
        }
        Some(name) => Ok(name.to_owned()),
        None => Ok(agent::name()),
    }
}

/// Every namespace of the node that is worth a folder, the host's own first.
fn spaces(node: &str, notes: &mut Vec<String>) -> Result<Vec<Space>, Error> {
    let host = find::host().map_err(|source| Error::Io { path: "/proc/self/ns/net".into(), source })?;
    let own = Space { dir: format!("nodes/{node}/host"), named_by: "host", found: host };
    if !is_root() {
        let what = "this is not root: the pods' namespaces and most rule sets can't be read; run it again with sudo";
        notes.push(what.to_owned());
        return Ok(vec![own]);
    }
    let pods = Pods::read();
    let mut named: BTreeMap<String, Space> = BTreeMap::new();
    let mut left_out = 0;
    let mut others = find::others(own.found.number);
    // Of two sandboxes of a pod, the one in which something runs gets the pod's name.
    others.sort_by_key(|found| found.processes.is_empty());
    for found in others {
        let Some((folder, named_by)) = name(&pods, &found) else {
            left_out += 1;
            continue;
        };
        let folder = unused(&named, folder, notes);
        let dir = format!("nodes/{node}/pods/{folder}");
        named.insert(folder, Space { found, dir, named_by });
    }
    if left_out > 0 {
        notes.push(format!("{left_out} namespaces with no device but lo, of no pod, are left out"));
    }
    Ok(std::iter::once(own).chain(named.into_values()).collect())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The folder of a namespace, and how it is known; `None` for one that no packet passes and that is no pod.
fn name(pods: &Pods, found: &Found) -> Option<(String, &'static str)> {
    if let Some((folder, by)) = pods.of(found) {
        return Some((folder.to_owned(), by));
    }
    let (addresses, has_device) = inside(found, || netlink::addresses().unwrap_or_default()).unwrap_or_default();
    if let Some(folder) = pods.with_address(&addresses) {
        return Some((folder.to_owned(), "cni"));
    }
    // `ip netns` knows what people called it; a runtime's names are random.
    let label = found.label.as_ref().filter(|label| is_node_name(label) && label.len() < 16 && !label.contains('_'));
    let global = |address: &&IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    let address = addresses.iter().find(global).map(|address| address.to_string().replace(':', "-"));
    has_device.then(|| match (label, address) {
        (Some(label), _) => (format!("netns_{label}"), "ip netns"),
        (None, Some(address)) => (format!("unnamed_{address}"), "address"),
        (None, None) => (format!("unnamed_{}", found.number), "number"),
    })
}

/// A folder that no other namespace has. A pod's old sandbox may still be there beside its new one.
fn unused(named: &BTreeMap<String, Space>, folder: String, notes: &mut Vec<String>) -> String {
    if !named.contains_key(&folder) {
        return folder;
    }
    let mut numbers = 2..;
    let other =
        numbers.find_map(|number| Some(format!("{folder}.{number}")).filter(|other| !named.contains_key(other)));
    let other = other.unwrap_or_default();
    notes
        .push(format!("there are two namespaces of {folder}: the other one is in {other}; delete the one that is old"));
    other
}

/// Runs something inside a namespace, in a thread of its own.
fn inside<T: Send>(found: &Found, work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| setns(&found.file, CloneFlags::CLONE_NEWNET).ok().map(|()| work()));
        worker.join().ok().flatten()
    })
}

/// Reads every namespace, several at a time.
fn read_all(
    spaces: &[Space],
    sink: &Sink,
    ledger: &Ledger,
    (stop, tell): (&Stop, &(dyn Fn(usize, usize) + Sync)),
) -> Result<Vec<Read>, Error> {
    let tools = Tools::look();
    let names = spaces.iter().filter_map(|space| Some((space.found.label.as_deref()?, &space.found.file)));
    let names: Vec<(&str, &File)> = names.collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let read: Mutex<Vec<Read>> = Mutex::default();
    let work = || -> Result<(), Error> {
        while let Some(space) = spaces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let writer = Writer { sink, dir: &space.dir, ledger, stop };
            let times = enter_and_read(space, &names, &tools, &writer)?;
            read.lock().unwrap_or_else(PoisonError::into_inner).extend(times);
            tell(done.fetch_add(1, Ordering::Relaxed) + 1, spaces.len());
        }
        Ok(())
    };
    tell(0, spaces.len());
    let workers = thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST_WORKERS);
    let results: Vec<Result<(), Error>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let died = || Error::Usage("a worker died".to_owned());
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(died()))).collect()
    });
    results.into_iter().collect::<Result<(), Error>>()?;
    let mut read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
    read.sort_by(|one, other| one.dir.cmp(&other.dir));
    Ok(read)
}

/// Reads a namespace in the calling thread, which stays in it; `None` where it can't be entered.
fn enter_and_read(space: &Space, names: &Names<'_>, tools: &Tools, writer: &Writer<'_>) -> Result<Option<Read>, Error> {
    let started = clock::now();
    if find::own() != Some(space.found.number)
        && let Err(errno) = setns(&space.found.file, CloneFlags::CLONE_NEWNET)
    {
        let why = format!("the namespace can't be entered ({}); that needs root", errno.desc());
        writer.ledger.fail(space.dir.clone(), why);
        return Ok(None);
    }
    writer.sink.make(&space.dir)?;
    match netlink::tables(space.found.number, names) {
        Ok(tables) => tables.into_iter().try_for_each(|table| write_table(table, writer))?,
        Err(err) => netlink::FILES.iter().for_each(|file| writer.fail(file, format!("rtnetlink: {err}"))),
    }
    ruleset::take(tools, writer)?;
    writer.put("sysctl", &sysctl::text())?;
    let Space { dir, named_by, found } = space;
    Ok(Some(Read { dir: dir.clone(), netns: found.number, named_by, started, ended: clock::now() }))
}

fn write_table(table: netlink::Table, writer: &Writer<'_>) -> Result<(), Error> {
    if table.changed {
        writer.changed(table.file);
    }
    match table.text {
        Ok(text) => writer.put(table.file, &text),
        Err(err) => {
            writer.fail(table.file, format!("rtnetlink: {err}"));
            Ok(())
        }
    }
}

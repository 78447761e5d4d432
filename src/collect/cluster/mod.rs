//! Takes a snapshot of a cluster through the user's own kubectl, so that contexts, logins and proxies just work.
//!
//! First the objects, then each node that is concerned, several at a time: through a privileged pod that is there
//! already, or through a short-lived one of our own, in which the node's own programs run the script of
//! [`SCRIPT`](crate::collect::SCRIPT); or a node's snapshot is given as a file. Own pods have a label and a deadline, and
//! are deleted whatever happens.

mod access;
mod frame;
mod interrupt;
mod kubectl;
mod meta;
mod objects;
mod own;
mod pods;
mod refusal;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::collect::clock;
use crate::collect::sink::{Sink, Target};
use crate::collect::stop::Stop;
use crate::error::Error;
use crate::load::{self, Raw};

use access::{Asked, Ways};
use interrupt::Interrupt;
use kubectl::{Kubectl, Until};
use meta::Meta;
use pods::Door;

pub use frame::sender;
pub use objects::Objects;

/// More nodes at a time would need more memory than they save time: each has a kubectl.
const MOST_WORKERS: usize = 8;
/// How long kubectl may take to read its own configuration.
const SHORT: Duration = Duration::from_secs(10);

/// Which ways onto a node may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The first that works.
    Auto,
    /// Only through privileged pods that are there already.
    Exec,
    /// Only through a short-lived pod of our own.
    Pod,
}

/// How a cluster is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub kubectl: PathBuf,
    /// kubectl's own flags (`--context` and so on), which every call gets.
    pub flags: Vec<OsString>,
    /// Which ways onto a node may be taken.
    pub access: Access,
    /// The image of own pods.
    pub image: String,
    /// The Kubernetes namespace of own pods.
    pub namespace: String,
    /// How long a node may take.
    pub patience: Duration,
    /// Nodes' snapshots that are there already.
    pub bundles: Vec<PathBuf>,
    /// Hears what kubectl says while it keeps everybody waiting, a line at a time: it may want somebody to log in.
    pub say: fn(&str),
}

/// A node that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub node: String,
    /// The folders (`NAMESPACE_NAME`) of the pods that are wanted; `None` is all of them.
    pub pods: Option<Vec<String>>,
}

/// What became of a node.
#[derive(Debug)]
pub struct Done {
    /// Its name.
    pub node: String,
    /// How many namespaces were read, and how it was reached; or why it was not.
    pub outcome: Result<(usize, String), String>,
    /// How long it took.
    pub took: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Taken {
    /// The nodes, in the order in which they were done.
    pub nodes: Vec<Done>,
    /// Files that could not be taken, objects and whole nodes too, with the tools' words.
    pub failed: Vec<(String, String)>,
    /// What of nodes' snapshots could not be read.
    pub gaps: Vec<String>,
    /// What a person should know of the nodes.
    pub notes: Vec<String>,
    /// Own pods that remain, or may: `NAMESPACE/NAME`.
    pub remaining: Vec<String>,
    /// Whether the end was asked for.
    pub interrupted: bool,
}

/// Hears of each node when it begins and when it is done.
pub trait Tell: Sync {
    /// A node is asked now.
    fn begins(&self, node: &str);
    /// A node is done.
    fn done(&self, done: &Done);
    /// The end was asked for, and own pods are being deleted.
    fn interrupted(&self);
}

/// A cluster that is asked. While it is there, Ctrl-C ends the asking, not the program.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    interrupt: Interrupt,
}

/// What the workers share.
struct Work<'a> {
    ways: Ways<'a>,
    doors: &'a [(String, Door)],
    sink: &'a Sink,
    meta: Mutex<Meta>,
    done: Mutex<Vec<Done>>,
    tell: &'a dyn Tell,
}

impl Cluster {
    /// Begins. Nothing is asked yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let interrupt =
            Interrupt::watch().map_err(|err| Error::Usage(format!("signals can't be waited for: {err}")))?;
        Ok(Self { settings, interrupt })
    }

    fn kubectl(&self) -> Kubectl<'_> {
        let Settings { kubectl, flags, say, .. } = &self.settings;
        Kubectl { program: kubectl.clone(), flags: flags.clone(), interrupt: &self.interrupt, say: *say }
    }

    /// The Kubernetes namespace of the context, where it names one.
    #[must_use]
    pub fn namespace(&self) -> Option<String> {
        let words = ["config", "view", "--minify", "-o", "jsonpath={..namespace}"];
        let told = self.kubectl().text(&words, "", Until::within(SHORT)).ok()?;
        let told = told.trim();
        (!told.is_empty()).then(|| told.to_owned())
    }

    /// Takes the objects. Fails where the cluster does not answer, or hides both its nodes and its pods.
    pub fn objects(&self) -> Result<Objects, Error> {
        objects::take(&self.kubectl(), self.settings.patience)
    }

    /// Takes the nodes, and writes them and the objects. A node that can't be read is told, and the rest goes on.
    pub fn take(
        &self,
        objects: &Objects,
        wanted: &[Wanted],
        target: Target<'_>,
        tell: &dyn Tell,
    ) -> Result<Taken, Error> {
        let mut meta = Meta::new(clock::now());
        let sink = Sink::new(target, clock::seconds(), &Stop::default())?;
        for (path, text) in &objects.files {
            sink.make("cluster")?;
            sink.put(path, text)?;
        }
        objects.failed.iter().for_each(|(file, why)| meta.fail(file, why));
        let given = match add_bundles(&sink, &self.settings.bundles, &mut meta) {
            Ok(given) => given,
            Err(err) => {
                drop(sink);
                return Err(err);
            }
        };
        for done in &given {
            tell.done(done);
        }
        let asked: Vec<&Wanted> =
            wanted.iter().filter(|wanted| !given.iter().any(|done| done.node == wanted.node)).collect();
        let (run, made, kubectl) = (run_name(), Mutex::default(), self.kubectl());
        let doors = if asked.is_empty() { Vec::new() } else { pods::doors(objects.list("pods")) };
        let work = Work {
            ways: Ways { kubectl: &kubectl, settings: &self.settings, run: &run, made: &made },
            doors: &doors,
            sink: &sink,
            meta: Mutex::new(meta),
            done: Mutex::new(given),
            tell,
        };
        let result = work.all(&asked);
        let interrupted = self.interrupt.is_asked();
        if interrupted {
            tell.interrupted();
        }
        let made = made.lock().unwrap_or_else(PoisonError::into_inner);
        let remaining = match made.as_slice() {
            [] => Vec::new(),
            made => own::delete(&kubectl, &self.settings.namespace, &run, made),
        };
        let Work { meta, done, .. } = work;
        let meta = meta.into_inner().unwrap_or_else(PoisonError::into_inner);
        let nodes = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let none = if interrupted { "interrupted" } else { "no node could be read" };
        let is_empty = !nodes.iter().any(|done| done.outcome.is_ok());
        let result = result.and_then(|()| if is_empty { Err(Error::Usage(none.to_owned())) } else { Ok(()) });
        if let Err(err) = result {
            drop(sink);
            return Err(with_remaining(err, &remaining));
        }
        let written = sink.put("snapshot.json", &meta.text()).and_then(|()| sink.finish());
        written.map_err(|err| with_remaining(err, &remaining))?;
        let told = meta.notes.iter().filter_map(|note| Some(note.as_str()?.to_owned()));
        Ok(Taken { nodes, failed: meta.failures(), notes: told.collect(), gaps: meta.gaps, remaining, interrupted })
    }

    /// Deletes the own pods of all runs that are left, in all Kubernetes namespaces, or in that of the settings where
    /// the user may not look into all. Those that were there, and those that remain.
    pub fn clean_up(&self) -> Result<(Vec<String>, Vec<String>), Error> {
        let kubectl = self.kubectl();
        let wrong = |refusal: refusal::Refusal| Error::Usage(refusal.to_string());
        let login = Until::login(self.settings.patience);
        let (mut place, mut found) = (vec!["-A"], own::list(&kubectl, &["-A"], own::LABEL, login));
        if matches!(&found, Err(refusal) if refusal.kind == refusal::Kind::Forbidden) {
            place = vec!["-n", &self.settings.namespace];
            found = own::list(&kubectl, &place, own::LABEL, Until::even_so(own::PATIENCE));
        }
        let found = found.map_err(wrong)?;
        let mut by_namespace: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (namespace, name) in &found {
            by_namespace.entry(namespace).or_default().push(name);
        }
        let mut refused = None;
        for (namespace, names) in &by_namespace {
            refused = own::delete_named(&kubectl, namespace, names).err().or(refused);
        }
        let whole = |(namespace, name): &(String, String)| format!("{namespace}/{name}");
        let until = Until::even_so(own::PATIENCE);
        let left = if found.is_empty() { Ok(Vec::new()) } else { own::list(&kubectl, &place, own::LABEL, until) };
        let left = left.map_err(wrong)?;
        if let (Some(refusal), false) = (refused, left.is_empty()) {
            let left: Vec<String> = left.iter().map(whole).collect();
            return Err(Error::Usage(format!("{refusal}; these pods remain: {}", left.join(", "))));
        }
        Ok((found.iter().map(whole).collect(), left.iter().map(whole).collect()))
    }
}

/// Whether a name is one that Kubernetes gives (RFC 1123): no path, and no option of kubectl's.
fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(is_letter) && !name.starts_with(['-', '.'])
}

/// A file without a name: nobody else can look into it, and however the program ends, nothing is left of it.
pub fn temporary() -> Result<File, Error> {
    tempfile::tempfile().map_err(|source| Error::Io { path: std::env::temp_dir(), source })
}

/// Names what remains behind an error that ends a run.
fn with_remaining(err: Error, remaining: &[String]) -> Error {
    if remaining.is_empty() {
        return err;
    }
    Error::Usage(format!("{err}; these pods remain: {}; `flowtrace cleanup` deletes them", remaining.join(", ")))
}

/// A name that no other run has: letters and digits.
fn run_name() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}{:x}", std::process::id(), time.as_secs() & 0xff_ffff, time.subsec_nanos())
}

impl Work<'_> {
    /// Reads every node, several at a time. Fails only where the snapshot can't be written.
    fn all(&self, wanted: &[&Wanted]) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Error> {
            while let Some(wanted) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.one(wanted)?;
            }
            Ok(())
        };
        let results: Vec<Result<(), Error>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..wanted.len().min(MOST_WORKERS)).map(|_| scope.spawn(work)).collect();
            let died = || Error::Usage("a worker died".to_owned());
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(died()))).collect()
        });
        results.into_iter().collect()
    }

    fn one(&self, wanted: &Wanted) -> Result<(), Error> {
        let begun = Instant::now();
        self.tell.begins(&wanted.node);
        let asked = self.ask(wanted);
        // One node at a time is unpacked: its files are in memory until they are in the snapshot.
        let mut meta = self.meta.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = asked.and_then(|(file, through)| {
            let name = Path::new("its archive");
            let raw = load::raw_archive(BufReader::with_capacity(1 << 16, file), name);
            Ok((raw.map_err(|err| format!("what the node sent is no snapshot: {err}"))?, through))
        });
        let outcome = match sent {
            Ok((raw, through)) => {
                meta.gaps.extend(raw.told.iter().map(|gap| format!("{}: {gap}", wanted.node)));
                Ok((add_node(self.sink, &raw, &wanted.node, &through, &mut meta)?, through))
            }
            Err(why) => {
                meta.fail(&format!("nodes/{}", wanted.node), &why);
                Err(why)
            }
        };
        drop(meta);
        let done = Done { node: wanted.node.clone(), outcome, took: begun.elapsed() };
        self.tell.done(&done);
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        Ok(())
    }

    /// What a node sends, and through what.
    fn ask(&self, wanted: &Wanted) -> Result<(File, String), String> {
        let Wanted { node, pods } = wanted;
        if !is_name(node) {
            return Err("no node can be called so".to_owned());
        }
        let words: Vec<String> = std::iter::once(node.clone()).chain(pods.iter().flatten().cloned()).collect();
        let none = pods.as_ref().is_some_and(Vec::is_empty);
        let words = if none { vec![node.clone(), "-".to_owned()] } else { words };
        let doors: Vec<Door> = self.doors.iter().filter(|(on, _)| on == node).map(|(_, door)| door.clone()).collect();
        let file = temporary().map_err(|err| err.to_string())?;
        let deadline = Instant::now() + self.ways.settings.patience;
        let asked = Asked { node, words: &words, doors: &doors, file: &file, deadline };
        let (_, through) = self.ways.take(asked).map_err(|blocked| blocked.to_string())?;
        Ok((file, through))
    }
}

/// Puts a node's files into the snapshot, and no other's: how many namespaces there are.
fn add_node(sink: &Sink, raw: &Raw, node: &str, through: &str, meta: &mut Meta) -> Result<usize, Error> {
    let inside = format!("nodes/{node}/");
    let mut folders: Vec<&String> = raw.folders.iter().filter(|folder| folder.starts_with(&inside)).collect();
    folders.sort();
    for folder in &folders {
        sink.make(folder)?;
    }
    let mut own_meta = "";
    for (path, text) in &raw.files {
        if path == "snapshot.json" {
            own_meta = text;
        } else if path.starts_with(&inside) {
            sink.put(path, text)?;
        }
    }
    meta.add(node, through.to_owned(), own_meta);
    Ok(folders.iter().filter(|folder| !folder.ends_with("/recent")).count())
}

/// Puts the nodes of the files that were given into the snapshot.
fn add_bundles(sink: &Sink, bundles: &[PathBuf], meta: &mut Meta) -> Result<Vec<Done>, Error> {
    let mut done = Vec::new();
    for path in bundles {
        let raw = load::raw(path)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        meta.gaps.extend(raw.told.iter().map(|gap| format!("{name}: {gap}")));
        let mut nodes: Vec<&str> = raw.folders.iter().filter_map(|folder| folder.split('/').nth(1)).collect();
        nodes.dedup();
        for node in nodes {
            let through = path.display().to_string();
            if meta.nodes.iter().any(|taken| taken.node == node) {
                return Err(Error::Usage(format!("--node-bundle {through}: node {node} is in another one too")));
            }
            let count = add_node(sink, &raw, node, &through, meta)?;
            done.push(Done { node: node.to_owned(), outcome: Ok((count, through)), took: Duration::ZERO });
        }
    }
    Ok(done)
}

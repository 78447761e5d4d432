//! A cluster as the source of a snapshot, and the pods that are left in one.

mod concern;
mod told;

use std::env;
use std::fs::File;
use std::io::Seek as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::collect::cluster::{Access, Cluster, Settings, Wanted, temporary};
use crate::collect::{Target, cluster::Taken};
use crate::error::Error;
use crate::load;
use crate::snapshot::Snapshot;

use super::args::{self, Cleanup, Collect, Explain, NodeAccess, Rules};
use super::kubectl::{self, Called};
use super::{Outcome, collect, exit, output, target};
use concern::Concern;
use told::Teller;

/// What a command wants of a cluster.
struct Asking<'a> {
    cluster: &'a args::Cluster,
    nodes: &'a args::Nodes,
    namespace: &'a mut Option<String>,
}

/// Which nodes and pods a question concerns.
type Concerns<'a> = dyn Fn(&Snapshot, Option<&str>) -> Result<Concern, Error> + 'a;

/// Takes the snapshot that a question needs where none was named: what holds it as long as it is needed.
pub(super) fn for_explain(typed: &mut Explain) -> Result<Option<File>, Error> {
    if !is_source(typed.snapshot.is_some(), typed.demo, &typed.cluster, &typed.nodes, typed.save.is_some())? {
        return Ok(None);
    }
    let (from, to) = (typed.from.clone(), typed.to.clone());
    let (at, proto, port, is_capture) = (typed.at.clone(), typed.packet.proto, typed.packet.port, typed.pcap.is_some());
    let concerns = move |objects: &Snapshot, namespace: Option<&str>| match (&from, &to) {
        (Some(from), Some(to)) if !is_capture => {
            let question = concern::Question { from, to, namespace, proto, port, at: at.as_deref() };
            question.concern(objects)
        }
        _ => Ok(Concern::all(objects)),
    };
    let asking = Asking { cluster: &typed.cluster, nodes: &typed.nodes, namespace: &mut typed.namespace };
    let (path, held) = keep(asking, &concerns, typed.save.as_deref())?;
    typed.snapshot = Some(path);
    Ok(held)
}

/// The same for a node's or a pod's rules.
pub(super) fn for_rules(typed: &mut Rules) -> Result<Option<File>, Error> {
    if !is_source(typed.snapshot.is_some(), typed.demo, &typed.cluster, &typed.nodes, typed.save.is_some())? {
        return Ok(None);
    }
    let name = typed.node.clone();
    let concerns = move |objects: &Snapshot, namespace: Option<&str>| concern::of_rules(&name, namespace, objects);
    let asking = Asking { cluster: &typed.cluster, nodes: &typed.nodes, namespace: &mut typed.namespace };
    let (path, held) = keep(asking, &concerns, typed.save.as_deref())?;
    typed.snapshot = Some(path);
    Ok(held)
}

/// Whether a command is about a cluster, for want of a snapshot.
fn is_source(
    has_snapshot: bool,
    is_demo: bool,
    cluster: &args::Cluster,
    nodes: &args::Nodes,
    saves: bool,
) -> Result<bool, Error> {
    let asked = cluster.asked().or_else(|| nodes.asked().map(str::to_owned)).or(saves.then(|| "--save".to_owned()));
    match asked {
        Some(flag) if has_snapshot || is_demo => {
            let other = if is_demo { "--demo" } else { "--snapshot" };
            Err(Error::Usage(format!(
                "{flag} is about a cluster that is asked, and {other} about a snapshot that is there"
            )))
        }
        Some(_) => Ok(true),
        None => Ok(!has_snapshot && !is_demo && has_cluster()),
    }
}

/// Whether kubectl would know a cluster without being told.
fn has_cluster() -> bool {
    let named = env::var_os("KUBECONFIG").is_some_and(|files| !files.is_empty());
    let at_home = || env::home_dir().is_some_and(|home| home.join(".kube/config").is_file());
    // k3s' own kubectl needs no other.
    let of_k3s = || File::open("/etc/rancher/k3s/k3s.yaml").is_ok();
    kubectl::called() == Called::Plugin || named || at_home() || of_k3s()
}

/// Whether `collect` is about a cluster.
pub(super) fn is_collected(typed: &Collect) -> bool {
    typed.from.is_some() || asked(typed).is_some() || kubectl::called() == Called::Plugin
}

/// The first option of `collect` that says that a cluster is meant.
pub(super) fn asked(typed: &Collect) -> Option<String> {
    let namespace = typed.namespace.is_some().then_some("--namespace");
    typed.cluster.asked().or_else(|| typed.nodes.asked().or(namespace).map(str::to_owned))
}

/// `flowtrace collect` of a cluster.
pub(super) fn collect(typed: &mut Collect) -> Result<Outcome, Error> {
    let path = typed.write.clone().ok_or_else(|| Error::Usage("-w PATH says where the snapshot goes".to_owned()))?;
    let target = target::target(&path, "-w")?;
    if typed.nodes.all && (typed.from.is_some() || !typed.node.is_empty())
        || typed.from.is_some() && !typed.node.is_empty()
    {
        let what =
            "--all-nodes, --node NAME, and the ends of a question each say which nodes are taken: give one of them";
        return Err(Error::Usage(what.to_owned()));
    }
    let (from, to, only) = (typed.from.clone(), typed.to.clone(), typed.node.clone());
    let concerns = move |objects: &Snapshot, namespace: Option<&str>| match (&from, &to) {
        (Some(from), Some(to)) => {
            concern::Question { from, to, namespace, proto: None, port: None, at: None }.concern(objects)
        }
        (Some(one), None) => concern::of_rules(one, namespace, objects),
        _ if !only.is_empty() => Concern::only(objects, &only),
        _ => Ok(Concern::all(objects)),
    };
    let asking = Asking { cluster: &typed.cluster, nodes: &typed.nodes, namespace: &mut typed.namespace };
    let taken = take(asking, &concerns, target)?;
    tell(&taken);
    let read = taken.nodes.iter().filter(|node| node.outcome.is_ok()).count();
    let shown = if path == Path::new("-") { "the standard output".to_owned() } else { path.display().to_string() };
    output::complain(&format!("{read} of {} nodes into {shown}", taken.nodes.len()));
    let lacks = [taken.failed.is_empty(), taken.gaps.is_empty(), taken.remaining.is_empty()].contains(&false);
    let is_whole = read == taken.nodes.len() && !lacks;
    Ok(Outcome { output: Vec::new(), file: None, code: if is_whole { exit::ARRIVES } else { exit::UNDETERMINED } })
}

/// Tells what the nodes' snapshots lack and what they say. Which objects and which whole nodes could not be taken has
/// been told when they were.
fn tell(taken: &Taken) {
    let is_of_node = |(file, _): &&(String, String)| file.split('/').count() > 2;
    let failed = taken.failed.iter().filter(is_of_node).map(|(file, why)| format!("not taken: {file}: {why}"));
    collect::tell(&failed.collect::<Vec<_>>());
    collect::tell(&taken.gaps.iter().map(|gap| format!("not read: {gap}")).collect::<Vec<_>>());
    collect::tell(&taken.notes.iter().map(|note| format!("note: {note}")).collect::<Vec<_>>());
}

/// What kubectl says while it keeps everybody waiting.
fn say(line: &str) {
    output::progress("");
    output::complain(&format!("kubectl: {line}"));
}

/// `flowtrace cleanup`.
pub(super) fn cleanup(typed: &Cleanup) -> Result<Outcome, Error> {
    let cluster = Cluster::new(settings(&typed.cluster, None, &typed.place))?;
    let (found, left) = cluster.clean_up()?;
    if !left.is_empty() {
        let what = "these pods are being deleted and are still there (is their node down?)";
        return Err(Error::Usage(format!(
            "{what}: {}; `kubectl delete pod --force` does not wait for the node",
            left.join(", ")
        )));
    }
    let told: Vec<u8> = found.iter().flat_map(|pod| format!("{pod} deleted\n").into_bytes()).collect();
    if found.is_empty() {
        output::complain("no pod is left");
    }
    Ok(Outcome { output: told, file: None, code: exit::ARRIVES })
}

/// Takes a snapshot into a file for a while, or to where it is saved: its path, and what holds it.
fn keep(asking: Asking<'_>, concerns: &Concerns<'_>, save: Option<&Path>) -> Result<(PathBuf, Option<File>), Error> {
    let (path, mut file) = match save {
        Some(path) if path == Path::new("-") => {
            return Err(Error::Usage("--save -: a file or a folder is wanted".to_owned()));
        }
        Some(path) => (path.to_owned(), None),
        None => {
            let file = temporary()?;
            (PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd())), Some(file))
        }
    };
    let io = |source| Error::Io { path: path.clone(), source };
    let target = match &file {
        Some(file) => Target::Stream(Box::new(file.try_clone().map_err(io)?)),
        None => target::target(&path, "--save")?,
    };
    let taken = take(asking, concerns, target)?;
    if taken.interrupted {
        return Err(Error::Usage("interrupted".to_owned()));
    }
    file.as_mut().map(File::rewind).transpose().map_err(io)?;
    Ok((path, file))
}

/// Asks the cluster, and tells what comes of it.
fn take(asking: Asking<'_>, concerns: &Concerns<'_>, target: Target<'_>) -> Result<Taken, Error> {
    let Asking { cluster, nodes, namespace } = asking;
    let asked = Cluster::new(settings(cluster, Some(nodes), &nodes.place))?;
    if namespace.is_none() {
        *namespace = asked.namespace();
    }
    output::progress("asking the cluster for its objects ...");
    let objects = asked.objects();
    output::progress("");
    let objects = objects?;
    for (file, why) in &objects.failed {
        output::complain(&format!("not taken: {file}: {why}"));
    }
    let texts = objects.files.iter().map(|(path, text)| (path.clone(), Arc::from(text.as_str())));
    let loaded = load::load_objects(texts);
    let concern = concerns(&loaded, namespace.as_deref())?;
    let wanted: Vec<Wanted> = if nodes.all { Concern::all(&loaded) } else { concern }.into_wanted();
    let teller = Teller::default();
    let taken = asked.take(&objects, &wanted, target, &teller);
    output::progress("");
    let taken = taken?;
    if !taken.remaining.is_empty() {
        output::complain(&format!(
            "these pods remain: {}; `{} cleanup` deletes them",
            taken.remaining.join(", "),
            kubectl::name()
        ));
    }
    Ok(taken)
}

/// The namespace of own pods: agents of nodes are there, so that it allows privileged pods nearly everywhere.
const NAMESPACE: &str = "kube-system";
/// A small image with a shell and chroot.
const IMAGE: &str = "busybox";
/// How long a node may take: an image may have to be pulled, and many rules to be read.
const PATIENCE: Duration = Duration::from_secs(300);

fn settings(cluster: &args::Cluster, nodes: Option<&args::Nodes>, place: &args::Place) -> Settings {
    Settings {
        kubectl: cluster.kubectl.clone().unwrap_or_else(|| PathBuf::from("kubectl")),
        flags: cluster.flags(),
        access: match nodes.and_then(|nodes| nodes.node_access) {
            Some(NodeAccess::Exec) => Access::Exec,
            Some(NodeAccess::Pod) => Access::Pod,
            None | Some(NodeAccess::Auto) => Access::Auto,
        },
        image: nodes.and_then(|nodes| nodes.image.clone()).unwrap_or_else(|| IMAGE.to_owned()),
        namespace: place.node_namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned()),
        patience: nodes.and_then(|nodes| nodes.timeout).unwrap_or(PATIENCE),
        bundles: nodes.map(|nodes| nodes.node_bundle.clone()).unwrap_or_default(),
        say,
    }
}

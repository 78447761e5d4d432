//! Finds the network namespaces of the node: its own, those that the container runtime and `ip netns` keep as files, and
//! those of processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::process::{self, Process};

/// Where namespaces are kept as files. `/var/run` is `/run` almost everywhere.
const FOLDERS: [&str; 4] = ["/run/netns", "/var/run/netns", "/run/docker/netns", "/var/run/docker/netns"];

/// Of so many processes of a namespace their control groups are read.
const MOST_PROCESSES: usize = 8;

/// A network namespace. It stays as long as its file is open.
#[derive(Debug)]
pub(super) struct Found {
    pub file: File,
    /// The number of its inode.
    pub number: u64,
    /// Some of the processes in it.
    pub processes: Vec<Process>,
    /// What `ip netns` calls it.
    pub label: Option<String>,
}

/// The node's own namespace: that of the first process, or of this one where that may not be asked.
pub(super) fn host() -> io::Result<Found> {
    let file = File::open("/proc/1/ns/net").or_else(|_| File::open("/proc/self/ns/net"))?;
    let number = file.metadata()?.ino();
    Ok(Found { file, number, processes: Vec::new(), label: None })
}

/// The namespace that the calling thread is in, by number.
pub(super) fn own() -> Option<u64> {
    fs::metadata("/proc/thread-self/ns/net").ok().map(|metadata| metadata.ino())
}

/// Every other namespace, by number.
pub(super) fn others(host: u64) -> Vec<Found> {
    let mut found: BTreeMap<u64, Found> = BTreeMap::new();
    let device = fs::metadata("/proc/self/ns/net").map_or(0, |metadata| metadata.dev());
    for folder in FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            if let Some(space) = open(&entry.path(), device) {
                let label = entry.file_name().into_string().ok().filter(|_| folder.ends_with("run/netns"));
                found.entry(space.number).or_insert(Found { label, ..space });
            }
        }
    }
    for process in process::all() {
        let Some(number) = process.netns().filter(|number| *number != host) else { continue };
        if !found.contains_key(&number)
            && let Some(space) = open(&process.path.join("ns/net"), device)
        {
            found.insert(space.number, space);
        }
        if let Some(space) = found.get_mut(&number).filter(|space| space.processes.len() < MOST_PROCESSES) {
            space.processes.push(process);
        }
    }
    found.remove(&host);
    found.into_values().collect()
}

/// Opens a namespace's file. Before a namespace is put there, and after it has gone, the file is an empty one on another
/// device, which is not even opened.
fn open(path: &Path, device: u64) -> Option<Found> {
    if fs::metadata(path).ok()?.dev() != device {
        return None;
    }
    let file = File::open(path).ok()?;
    let number = file.metadata().ok()?.ino();
    Some(Found { file, number, processes: Vec::new(), label: None })
}

//! The processes of the machine, as `/proc` shows them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// A process, which may end at any time.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Its number.
    pub id: u32,
    /// Its folder in `/proc`.
    pub path: PathBuf,
}

/// Every process that is there, by number.
pub(super) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let process =
        |entry: fs::DirEntry| Some(Process { id: entry.file_name().to_str()?.parse().ok()?, path: entry.path() });
    let mut processes: Vec<Process> = entries.filter_map(process).collect();
    processes.sort_by_key(|process| process.id);
    processes
}

impl Process {
    /// The number of the network namespace that it is in.
    pub fn netns(&self) -> Option<u64> {
        fs::metadata(self.path.join("ns/net")).ok().map(|metadata| metadata.ino())
    }

    /// What it is called.
    pub fn name(&self) -> String {
        let name = fs::read_to_string(self.path.join("comm")).unwrap_or_default();
        name.trim_end().chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
    }

    /// Its command line's words.
    pub fn words(&self) -> Vec<String> {
        let line = fs::read(self.path.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    /// The control groups that it is in, as `/proc/<pid>/cgroup` has them.
    pub fn cgroups(&self) -> String {
        fs::read_to_string(self.path.join("cgroup")).unwrap_or_default()
    }
}

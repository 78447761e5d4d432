//! The processes of the machine, as `/proc` shows them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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

/// The mount namespaces of the node itself and of this program: what runs in another one sees files of its own under
/// the same names.
pub(super) struct Mounts([Option<PathBuf>; 2]);

impl Mounts {
    /// Looks which they are.
    pub fn look() -> Self {
        Self(["/proc/1", "/proc/self"].map(|process| mounts(Path::new(process))))
    }
}

fn mounts(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/mnt")).ok()
}

impl Process {
    /// Whether it is root's and sees the node's files: what it says of itself can be believed.
    pub fn is_of_node(&self, Mounts(own): &Mounts) -> bool {
        let mounts = mounts(&self.path);
        mounts.is_some() && own.contains(&mounts) && fs::metadata(&self.path).is_ok_and(|metadata| metadata.uid() == 0)
    }

    /// The program that it runs.
    pub fn program(&self) -> Option<PathBuf> {
        fs::read_link(self.path.join("exe")).ok()
    }

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

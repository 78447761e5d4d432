//! The snapshot that a command is about.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::load;
use crate::snapshot::Snapshot;

use super::demo;

/// What to do where no snapshot was named and no cluster is known.
const NO_SNAPSHOT: &str = "\
give --snapshot PATH, or --demo for the one inside the program; with a kubeconfig (--kubeconfig FILE, or kubectl's own) \
the cluster is asked";

/// The snapshot that was named, or the one inside the program.
pub(super) fn open(path: Option<&Path>, demo: bool) -> Result<Snapshot, Error> {
    match path {
        Some(path) => load::load(path).map_err(|err| with_hint(err, path)),
        None if demo => demo::snapshot(),
        None => Err(Error::Usage(NO_SNAPSHOT.to_owned())),
    }
}

/// Whoever named a folder or a file inside a snapshot is told of the snapshot.
fn with_hint(err: Error, path: &Path) -> Error {
    match (err, enclosing(path)) {
        (Error::Snapshot { path, what }, Some(root)) => {
            Error::Snapshot { path, what: format!("{what}; did you mean --snapshot {}?", root.display()) }
        }
        (err, _) => err,
    }
}

/// The folder above a path that the path lies in `nodes/` or `cluster/` of, as it was typed where that says it.
fn enclosing(path: &Path) -> Option<PathBuf> {
    let whole = fs::canonicalize(path).ok()?;
    let inside = |root: &&Path| {
        let below = whole.strip_prefix(root).ok().and_then(|below| below.iter().next());
        below.is_some_and(|name| name == "nodes" || name == "cluster") && root.join("nodes").is_dir()
    };
    let root = whole.ancestors().skip(1).find(inside)?;
    let is_root = |typed: &&Path| fs::canonicalize(typed).is_ok_and(|typed| typed == root);
    Some(path.ancestors().find(is_root).unwrap_or(root).to_owned())
}

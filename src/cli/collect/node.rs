//! The snapshot of the machine itself.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use crate::collect::node::{Taken, Target, collect as take};
use crate::error::Error;

use super::super::{Outcome, exit, output};

/// So many failures are told each; `snapshot.json` has all of them.
const MOST_TOLD: usize = 20;

/// What a snapshot is not written as.
const OTHER_ENDINGS: [&str; 7] = [".tar", ".zip", ".gz", ".zst", ".xz", ".bz2", ".txz"];

/// Takes it, and says what is missing.
pub(super) fn collect(path: &Path, name: Option<&str>) -> Result<Outcome, Error> {
    let tell = |done: usize, all: usize| output::progress(&format!("{done} of {all} namespaces"));
    let taken = take(target(path)?, name, &tell);
    output::progress("");
    let taken = taken.map_err(|err| match err {
        Error::Io { path, source } => output::unwritten(&path, &source),
        err => err,
    })?;
    Ok(Outcome { output: Vec::new(), file: None, code: told(path, &taken) })
}

fn target(path: &Path) -> Result<Target<'_>, Error> {
    if path == Path::new("-") {
        if io::stdout().is_terminal() {
            let what = "-w -: a terminal can't show an archive; give a folder, a .tar.gz, or a pipe";
            return Err(Error::Usage(what.to_owned()));
        }
        return Ok(Target::Stream(Box::new(io::stdout())));
    }
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().to_ascii_lowercase());
    let ends = |ending: &&str| name.ends_with(*ending);
    if [".tar.gz", ".tgz"].iter().any(ends) {
        return Ok(Target::File(path));
    }
    match OTHER_ENDINGS.into_iter().find(|ending| ends(ending)) {
        None => Ok(Target::Folder(path)),
        Some(ending) => {
            let what = format!("a snapshot is written as a folder or as .tar.gz, not as {ending}");
            Err(Error::Usage(format!("-w {}: {what}", path.display())))
        }
    }
}

/// Says what was taken and what is missing; the exit code.
fn told(path: &Path, taken: &Taken) -> u8 {
    taken.notes.iter().for_each(|note| output::complain(&format!("note: {note}")));
    for failed in taken.failed.iter().take(MOST_TOLD) {
        output::complain(&format!("not taken: {}: {}", failed.file, failed.why));
    }
    if taken.failed.len() > MOST_TOLD {
        output::complain(&format!("and {} more, which snapshot.json names", taken.failed.len() - MOST_TOLD));
    }
    for file in &taken.changed {
        output::complain(&format!("{file} changed whenever it was read: it may be of no one moment"));
    }
    let shown = if path == Path::new("-") { "the standard output".to_owned() } else { path.display().to_string() };
    let count = if taken.namespaces == 1 { "namespace" } else { "namespaces" };
    output::complain(&format!("node {}: {} {count} into {shown}", taken.node, taken.namespaces));
    let is_whole = taken.failed.is_empty() && taken.is_root;
    if is_whole { exit::ARRIVES } else { exit::UNDETERMINED }
}

//! The snapshot of the machine itself.

use std::path::Path;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signalfd::SignalFd;

use crate::collect::node::{Taken, collect as take};
use crate::collect::{INTERRUPTED, Stop};
use crate::error::Error;
use crate::signals;

use super::super::{Outcome, exit, output, target};
use super::tell;

/// How long a signal may stay unnoticed, and how long the work has to end after it.
const NOTICE: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(2);

/// Takes it, and says what is missing.
pub(super) fn collect(path: &Path, name: Option<&str>) -> Result<Outcome, Error> {
    let tell = |done: usize, all: usize| output::progress(&format!("{done} of {all} namespaces"));
    let (target, stop) = (target::target(path, "-w")?, Stop::default());
    let signals = signals::descriptor()
        .map_err(|errno| Error::Usage(format!("signals can't be waited for: {}", errno.desc())))?;
    let taken = thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        let (signals, stop) = (&signals, &stop);
        scope.spawn(move || watch(signals, &waiting, stop));
        let taken = take(target, name, stop, &tell);
        drop(done);
        taken
    });
    output::progress("");
    let taken = taken.map_err(|err| match err {
        Error::Io { path, source } => output::unwritten(&path, &source),
        err => err,
    })?;
    Ok(Outcome { output: Vec::new(), file: None, code: told(path, &taken) })
}

/// Waits for a signal while the snapshot is taken, and hands it on. Whatever holds the work up then has to end, too: a
/// pipe that nobody reads, a tool that the kernel does not let go.
fn watch(signals: &SignalFd, waiting: &mpsc::Receiver<()>, stop: &Stop) {
    let mut asked: Option<Instant> = None;
    while waiting.recv_timeout(NOTICE) == Err(mpsc::RecvTimeoutError::Timeout) {
        let has_come = matches!(signals.read_signal(), Ok(Some(_)));
        if has_come {
            stop.ask();
        }
        match asked {
            None if has_come => asked = Some(Instant::now()),
            Some(since) if has_come || since.elapsed() > GRACE => {
                stop.remove_unfinished();
                output::progress("");
                output::complain(&format!("error: {INTERRUPTED}"));
                process::exit(exit::WRONG.into());
            }
            _ => {}
        }
    }
}

/// Says what was taken and what is missing; the exit code.
fn told(path: &Path, taken: &Taken) -> u8 {
    let failed = taken.failed.iter().map(|failed| format!("not taken: {}: {}", failed.file, failed.why));
    let changed =
        taken.changed.iter().map(|file| format!("{file} changed whenever it was read: it may be of no one moment"));
    tell(&taken.notes.iter().map(|note| format!("note: {note}")).collect::<Vec<_>>());
    tell(&failed.collect::<Vec<_>>());
    tell(&changed.collect::<Vec<_>>());
    let shown = if path == Path::new("-") { "the standard output".to_owned() } else { path.display().to_string() };
    let count = if taken.namespaces == 1 { "namespace" } else { "namespaces" };
    output::complain(&format!("node {}: {} {count} into {shown}", taken.node, taken.namespaces));
    let is_whole = taken.failed.is_empty() && taken.is_root;
    if is_whole { exit::ARRIVES } else { exit::UNDETERMINED }
}

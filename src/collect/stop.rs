//! Whether somebody has asked to end, and what is to be removed then.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(target_os = "linux")]
use crate::error::Error;

/// Asked to end from outside while a snapshot is taken. Copies of it are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    is_asked: AtomicBool,
    /// What there is of the snapshot, from the last to the first.
    unfinished: Mutex<Vec<PathBuf>>,
}

impl Stop {
    /// Asks to end: soon nothing is read any more, and [`super::node::collect`] fails.
    pub fn ask(&self) {
        self.0.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::Relaxed)
    }

    /// Removes what there is of a snapshot that is not finished.
    pub fn remove_unfinished(&self) {
        let unfinished = std::mem::take(&mut *self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner));
        for (place, path) in unfinished.iter().enumerate() {
            // The first is all the program's; behind it are folders that only the program has filled.
            let _ = match (place, path.is_dir()) {
                (0, true) => fs::remove_dir_all(path),
                (_, true) => fs::remove_dir(path),
                (_, false) => fs::remove_file(path),
            };
        }
    }

    pub(super) fn note(&self, unfinished: Vec<PathBuf>) {
        *self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner) = unfinished;
    }

    /// Fails where somebody has asked.
    #[cfg(target_os = "linux")]
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_asked() { Err(Error::Usage(INTERRUPTED.to_owned())) } else { Ok(()) }
    }
}

/// What is told then.
pub const INTERRUPTED: &str = "interrupted: nothing is kept of the snapshot";

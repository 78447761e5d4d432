//! The one error type: what makes a command impossible. Everything smaller is a [`crate::evidence::Gap`].

use std::path::PathBuf;

/// Why there is no answer at all (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The snapshot is not one.
    #[error("{path}: {what}", path = path.display())]
    Snapshot {
        /// The file or folder.
        path: PathBuf,
        /// What was expected and what is there.
        what: String,
    },
    /// The capture is none.
    #[error("{path}: {what}", path = path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The question can't be asked so.
    #[error("{0}")]
    Usage(String),
}

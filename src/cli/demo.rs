//! The snapshot inside the program, so that the first question needs no cluster.

use std::sync::Arc;

use crate::error::Error;
use crate::load;
use crate::snapshot::Snapshot;

/// Path and text of each file, listed by the build script.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/demo.rs"));

/// Loads it.
pub(super) fn snapshot() -> Result<Snapshot, Error> {
    load::load_files(FILES.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(*text))))
}

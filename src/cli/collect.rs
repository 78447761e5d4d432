//! `flowtrace collect`: a snapshot of the machine that the program runs on.

#[cfg(target_os = "linux")]
mod node;

use std::path::Path;

use crate::collect::SCRIPT;
use crate::error::Error;

use super::args::Collect;
use super::{Outcome, exit, open};

/// Takes a snapshot, or prints the script that does.
pub(super) fn collect(typed: &Collect) -> Result<Outcome, Error> {
    open::refuse_cluster(&typed.cluster)?;
    let path = typed.write.as_deref();
    if typed.print_script {
        let file = path.filter(|path| *path != Path::new("-")).map(Path::to_owned);
        return Ok(Outcome { output: SCRIPT.as_bytes().to_vec(), file, code: exit::ARRIVES });
    }
    take(path.unwrap_or(Path::new("-")), typed.node.as_deref())
}

#[cfg(target_os = "linux")]
use node::collect as take;

#[cfg(not(target_os = "linux"))]
fn take(_: &Path, _: Option<&str>) -> Result<Outcome, Error> {
    let what = "flowtrace collect: snapshots are of Linux nodes; --print-script prints a script to run on one";
    Err(Error::Usage(what.to_owned()))
}

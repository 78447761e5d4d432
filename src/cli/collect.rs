//! `flowtrace collect`: a snapshot of the machine that the program runs on, or of a cluster.

#[cfg(target_os = "linux")]
mod node;

use std::path::Path;

use crate::collect::SCRIPT;
use crate::error::Error;

use super::args::Collect;
#[cfg(unix)]
use super::cluster;
#[cfg(unix)]
use super::output;
use super::{Outcome, exit};

/// Takes a snapshot, or prints the script that does.
pub(super) fn collect(typed: &mut Collect) -> Result<Outcome, Error> {
    #[cfg(unix)]
    if !typed.print_script && cluster::is_collected(typed) {
        return cluster::collect(typed);
    }
    let path = typed.write.as_deref();
    if typed.print_script {
        #[cfg(unix)]
        if let Some(option) = cluster::asked(typed) {
            return Err(Error::Usage(format!("{option} is about a cluster, and --print-script about one node")));
        }
        let file = path.filter(|path| *path != Path::new("-")).map(Path::to_owned);
        return Ok(Outcome { output: SCRIPT.as_bytes().to_vec(), file, code: exit::ARRIVES });
    }
    match typed.node.as_slice() {
        [] | [_] => take(path.unwrap_or(Path::new("-")), typed.node.first().map(String::as_str)),
        several => Err(Error::Usage(format!("--node {}: this machine is one node", several.join(",")))),
    }
}

/// So many messages of a kind are told each; `snapshot.json` has all of them.
#[cfg(unix)]
const MOST_TOLD: usize = 20;

/// Tells what is missing, or what a person should know, as far as it can be taken in.
#[cfg(unix)]
pub(super) fn tell(messages: &[String]) {
    messages.iter().take(MOST_TOLD).for_each(|message| output::complain(message));
    if messages.len() > MOST_TOLD {
        output::complain(&format!("and {} more, which snapshot.json names", messages.len() - MOST_TOLD));
    }
}

#[cfg(target_os = "linux")]
use node::collect as take;

#[cfg(not(target_os = "linux"))]
fn take(_: &Path, _: Option<&str>) -> Result<Outcome, Error> {
    let what = "flowtrace collect: snapshots are of Linux nodes; --print-script prints a script to run on one";
    Err(Error::Usage(what.to_owned()))
}

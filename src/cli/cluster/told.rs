//! What is said while a cluster is read: a line for each node, and on a terminal which ones are being waited for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::collect::cluster::{Done, Tell};

use super::super::{kubectl, output};

/// Says it on the standard error.
#[derive(Debug, Default)]
pub(super) struct Teller {
    waiting: Mutex<BTreeSet<String>>,
}

impl Tell for Teller {
    fn begins(&self, node: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(node.to_owned());
        show(&waiting);
    }

    fn done(&self, done: &Done) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&done.node);
        output::progress("");
        let Done { node, outcome, took } = done;
        output::complain(&match outcome {
            Ok((count, through)) if took.is_zero() => format!("node {node}: {} from {through}", namespaces(*count)),
            Ok((count, through)) => {
                format!("node {node}: {} through {through}, {:.1} s", namespaces(*count), took.as_secs_f64())
            }
            Err(why) => format!("node {node}: not read: {why}"),
        });
        show(&waiting);
    }

    fn interrupted(&self) {
        output::progress("");
        output::complain(&format!(
            "interrupted: own pods are being deleted (Ctrl-C again leaves them for `{} cleanup`)",
            kubectl::name()
        ));
    }
}

fn namespaces(count: usize) -> String {
    format!("{count} {}", if count == 1 { "namespace" } else { "namespaces" })
}

fn show(waiting: &BTreeSet<String>) {
    let names: Vec<&str> = waiting.iter().map(String::as_str).collect();
    if !names.is_empty() {
        output::progress(&format!("reading {} ...", names.join(", ")));
    }
}

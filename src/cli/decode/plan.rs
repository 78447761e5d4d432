//! What is to be done, as it was typed.

use crate::render::decode::View;
use crate::wire::{Ports, Time};

/// What is shown of which packets, and how.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) view: View,
    pub(super) with_bytes: bool,
    pub(super) ports: Ports,
    pub(super) since: Option<Time>,
    pub(super) until: Option<Time>,
    pub(super) count: Option<u64>,
    pub(super) threads: usize,
    /// The files as they were typed.
    pub(super) files: Vec<String>,
    /// What stands in the place of an interface that has no name; nothing where there is one file only.
    pub(super) names: Vec<String>,
}

impl Plan {
    /// Whether packets of this moment are shown.
    #[inline]
    pub(super) fn wants(&self, time: Option<Time>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = time else { return false };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

//! Layer 3: judgement. What an answer means for whoever asked, beyond what the walk itself says.

mod service;

use crate::snapshot::Snapshot;
use crate::trace::{Answer, Finding};

/// What is worth knowing about an answer.
#[must_use]
pub fn findings(snapshot: &Snapshot, answer: &Answer) -> Vec<Finding> {
    service::not_rewritten(snapshot, answer)
}

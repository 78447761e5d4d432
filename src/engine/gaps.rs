//! What is missing on a way.

use std::collections::HashSet;

use crate::evidence::{Evidence, Gap};

/// Gaps, each of them once, in the order in which they were met. A rule set can have thousands.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    list: Vec<Gap>,
    met: HashSet<Gap, foldhash::quality::RandomState>,
}

impl Gaps {
    pub(super) fn add(&mut self, gap: Gap) {
        if !self.met.contains(&gap) {
            self.met.insert(gap.clone());
            self.list.push(gap);
        }
    }

    /// Whether one of them says the start of this about the same lines.
    pub(super) fn tells(&self, what: &str, evidence: &[Evidence]) -> bool {
        self.list.iter().any(|gap| what.starts_with(&gap.what) && gap.evidence == evidence)
    }

    pub(super) fn into_list(self) -> Vec<Gap> {
        self.list
    }
}

impl Extend<Gap> for Gaps {
    fn extend<T: IntoIterator<Item = Gap>>(&mut self, gaps: T) {
        gaps.into_iter().for_each(|gap| self.add(gap));
    }
}

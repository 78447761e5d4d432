//! What is missing on a way.

use std::collections::HashSet;

use crate::evidence::Gap;

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

    pub(super) fn into_list(self) -> Vec<Gap> {
        self.list
    }
}

impl Extend<Gap> for Gaps {
    fn extend<T: IntoIterator<Item = Gap>>(&mut self, gaps: T) {
        gaps.into_iter().for_each(|gap| self.add(gap));
    }
}

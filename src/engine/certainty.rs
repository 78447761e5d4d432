//! How surely a rule's answer is known before a packet comes.

use crate::snapshot::{Match, Rule, Target};

use super::matches::is_exact;

/// What flowtrace can say of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Whatever a packet is, the answer is the kernel's.
    Exact,
    /// It may depend on what no snapshot holds: chance, a rate, a payload, who sends. Then every way is walked.
    Branches,
    /// A part of it is not understood.
    NotModelled,
}

impl Certainty {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Branches => "branches",
            Self::NotModelled => "not-modelled",
        }
    }
}

/// Which of these a rule is.
#[must_use]
pub fn certainty(rule: &Rule) -> Certainty {
    if rule.refused().next().is_some() {
        return Certainty::NotModelled;
    }
    let open = |one: &Match| match one {
        Match::Nth(nth) => nth.value.every != 1,
        Match::Random(_) | Match::Owner(_) | Match::Recent(_) => true,
        Match::Other(options) => !is_exact(options),
        _ => false,
    };
    let decided_elsewhere = match &rule.target {
        Target::Queue(_) | Target::OldQueue => true,
        Target::Other(options) => matches!(options.name, "TPROXY" | "SYNPROXY" | "CLUSTERIP"),
        _ => false,
    };
    if decided_elsewhere || rule.matches.iter().any(open) { Certainty::Branches } else { Certainty::Exact }
}

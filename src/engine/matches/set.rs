//! `set`: whether an ipset holds what the packet shows (`set_match_v4` in `net/netfilter/xt_set.c`).

use crate::snapshot::SetMatch;

use super::super::ipset::{self, Query, Tested};
use super::super::netfilter::HookState;
use super::super::walk::Walk;
use super::Answer;

/// `set_match_v4`.
pub(super) fn set_match(walk: &mut Walk, state: &HookState, asked: &SetMatch) -> Answer {
    let query = Query {
        sides: &asked.sides,
        return_nomatch: asked.return_nomatch,
        counters: asked.counters.as_deref(),
        counts: !asked.keep_counters,
        counts_in_members: !asked.keep_subcounters,
        maps: false,
    };
    let answer = match ipset::test(walk, state, query, &asked.name) {
        Tested::No => Answer::No,
        Tested::Yes(lines, _) => Answer::Yes(lines),
        Tested::Unknown(what, true) => Answer::unknown(what),
        Tested::Unknown(what, false) => Answer::unknowable(what),
    };
    answer.inverted(asked.invert)
}

/// Whether asking changes what a later rule is answered.
pub(super) fn writes(walk: &Walk, asked: &SetMatch) -> bool {
    ipset::writes(walk, &asked.name)
}

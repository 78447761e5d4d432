//! The walk through one table. The rules are read but not evaluated yet: a table with rules ends the walk as not
//! modelled.

use crate::snapshot::{Ruleset, Table};
use crate::trace::Reason;

use super::netfilter::{HookState, NfVerdict};
use super::walk::{End, Stage, Walk};

/// Asks a table's base chain.
pub(super) fn ipt_do_table(_walk: &mut Walk, _ruleset: &Ruleset, table: &Table, state: &HookState) -> Stage<NfVerdict> {
    match table.base_chain(state.hook) {
        Some(chain) if !chain.is_empty() => {
            let what = format!("the rules of table {} are not evaluated yet", table.name);
            Err(End::undetermined(Reason::NotModelled, what).because([chain.evidence]))
        }
        _ => Ok(NfVerdict::Accept),
    }
}

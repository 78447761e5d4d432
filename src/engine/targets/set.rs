//! `SET`: adds what the packet shows to an ipset, deletes it, or takes a mark from it (`net/netfilter/xt_set.c`).

use crate::net::Mark;
use crate::snapshot::{Rule, SetPlace, SetTarget};
use crate::trace::RuleVerdict;

use super::super::end::Stage;
use super::super::ipset::{self, Query, Tested};
use super::super::iptables::{Change, Record};
use super::super::netfilter::HookState;
use super::super::walk::Walk;
use super::{Action, unsupported};

/// `set_target_v3`.
pub(super) fn set_target(
    walk: &mut Walk,
    state: &HookState,
    target: &SetTarget,
    rule: &Rule,
    record: &Record<'_, '_>,
) -> Stage<Action> {
    let changes = [(&target.add, ipset::Change::Add { exist: target.exist }), (&target.del, ipset::Change::Delete)];
    for (place, change) in changes {
        if let Some(SetPlace { name, sides }) = place {
            ipset::change(walk, state, (name, sides), change, rule.evidence);
        }
    }
    let mapped = target.map.as_ref().map(|place| ipset::test(walk, state, Query::map(&place.sides), &place.name));
    let mut change = Change::default();
    match mapped {
        Some(Tested::Yes(_, (value, mask))) if target.map_mark => {
            change.mark = Some(Mark((walk.packet().mark.0 & !mask) ^ value));
        }
        Some(Tested::Unknown(what, _)) if target.map_mark => {
            let what = format!("the mark that this gives is known if it is known that {what}");
            return unsupported(walk, (&what, None), rule, record);
        }
        // The priority and the queue lead no packet elsewhere.
        _ => {}
    }
    record.take(walk, RuleVerdict::Continue, change);
    Ok(Action::Continue)
}

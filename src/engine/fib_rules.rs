//! Policy rules: which of them a lookup meets.
//!
//! Follows `net/core/fib_rules.c`, `net/ipv4/fib_rules.c` and `net/ipv6/fib6_rules.c`.

use crate::net::TableId;
use crate::snapshot::{IdRange, PolicyRule, RuleAction};

use super::fib::{Flow, Unknown};

/// Whether only the kernel's own three rules stand, in which case IPv4 keeps `local` and `main` in one trie.
pub(super) fn has_default_rules(rules: &[PolicyRule]) -> bool {
    let expected = [(0, TableId::LOCAL), (32766, TableId::MAIN), (32767, TableId::DEFAULT)];
    rules.len() == expected.len()
        && rules.iter().zip(expected).all(|(rule, (priority, table))| {
            rule.priority == priority && rule.action == RuleAction::Lookup(table) && is_catch_all(rule)
        })
}

/// Whether a rule has no selector.
pub(super) fn is_catch_all(rule: &PolicyRule) -> bool {
    !rule.not
        && rule.from.is_none_or(|from| from.prefix_len() == 0)
        && rule.to.is_none()
        && rule.iif.is_none()
        && rule.oif.is_none()
        && rule.fwmark.is_none()
        && rule.tos == 0
        && rule.ipproto.is_none()
        && rule.sport.is_none()
        && rule.dport.is_none()
        && rule.uidrange.is_none()
        && rule.suppress_prefixlength.is_none()
        && rule.unmodelled.is_empty()
}

/// A rule that tests what nobody can know (a port drawn at random), or what is not modelled.
pub(super) fn undecided(rule: &PolicyRule) -> Unknown {
    let because = vec![rule.evidence];
    match rule.unmodelled.as_slice() {
        [] => {
            let what = format!("whether the policy rule with priority {} matches can't be known", rule.priority);
            Unknown::missing(what, because)
        }
        words => {
            let what = format!("the policy rule with priority {} is not modelled: {}", rule.priority, words.join(" "));
            Unknown::not_modelled(what, because)
        }
    }
}

/// Whether a rule's selectors hold (`fib_rule_match`, `fib4_rule_match`, `fib6_rule_match`); `None` where nobody can
/// know.
pub(super) fn fib_rule_match(rule: &PolicyRule, flow: &Flow) -> Option<bool> {
    let known = selectors(rule, flow);
    if known.contains(&Some(false)) {
        return Some(rule.not);
    }
    if known.contains(&None) || !rule.unmodelled.is_empty() {
        return None;
    }
    Some(!rule.not)
}

fn selectors(rule: &PolicyRule, flow: &Flow) -> [Option<bool>; 10] {
    let port = |range: Option<IdRange>, port: Option<u16>| match (range, port) {
        (None, _) => Some(true),
        (Some(_), None) if flow.protocol.is_some_and(|protocol| !protocol.has_ports()) => Some(false),
        (Some(_), None) if flow.protocol.is_none() => Some(false),
        (Some(_), None) => None,
        (Some(range), Some(port)) => Some(range.contains(u32::from(port))),
    };
    [
        Some(rule.from.is_none_or(|from| from.prefix_len() == 0 || from.contains(&flow.source))),
        Some(rule.to.is_none_or(|to| to.contains(&flow.destination))),
        Some(rule.iif.as_ref().is_none_or(|iif| *iif == flow.iif)),
        Some(rule.oif.as_ref().is_none_or(|oif| flow.oif.as_ref().or(flow.preferred_oif.as_ref()) == Some(oif))),
        Some(rule.fwmark.is_none_or(|(mark, mask)| (flow.mark.0 ^ mark) & mask == 0)),
        Some(rule.tos == 0 || rule.tos & 0xfc == flow.tos & 0xfc),
        Some(rule.ipproto.is_none_or(|protocol| flow.protocol == Some(protocol))),
        within_bounds(rule.sport, flow.sport, flow.sport_bounds).or_else(|| port(rule.sport, flow.sport)),
        within_bounds(rule.dport, flow.dport, flow.dport_bounds).or_else(|| port(rule.dport, flow.dport)),
        // Which user sends is no part of a question; forwarded packets belong to nobody and match no range but root's.
        rule.uidrange.map_or(Some(true), |_| None),
    ]
}

/// Whether an unknown port is in a range, as far as the bounds that it is between tell.
fn within_bounds(range: Option<IdRange>, port: Option<u16>, bounds: Option<(u16, u16)>) -> Option<bool> {
    let (Some(range), None, Some((low, high))) = (range, port, bounds) else { return None };
    let (low, high) = (u32::from(low), u32::from(high));
    if range.end < low || range.start > high {
        return Some(false);
    }
    (range.start <= low && high <= range.end).then_some(true)
}

//! Whether a rule matches a packet: `ip_packet_match` in `net/ipv4/netfilter/ip_tables.c`, then the rule's extensions.

mod addrtype;
mod bpf;
mod bytes;
mod connection;
mod device;
mod exthdr;
mod header;
mod ipsec;
mod kept;
mod other;
mod payload;
mod pieces;
mod rate;
pub(super) mod recent;
mod rpfilter;
mod set;
mod socket;
mod time;
mod u32;

pub(super) use bytes::Bytes;
pub(super) use header::{is_bare, link_destination, link_source};
pub(super) use other::{has, is_exact, masked, number, value};

use crate::evidence::Evidence;
use crate::net::IfName;
use crate::snapshot::{Backend, Match, Refused, Rule, Ruleset, Selector};

use super::iptables::protocol;
use super::netfilter::HookState;
use super::targets::has_no_effect;
use super::walk::{Walk, Why};

/// An extension's answer about a packet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// It matches; the lines beside the rule's that say so.
    Yes(Vec<Evidence>),
    /// It doesn't.
    No,
    /// With this probability it does.
    Chance(f64),
    /// Nobody can tell from the snapshot.
    Unknown(Doubt),
}

/// A condition that nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The condition in words.
    what: String,
    /// Whether the same words ask for the same fact, so that one answer serves a whole walk.
    fact: bool,
    /// Whether the rule matches where the condition doesn't hold.
    invert: bool,
    /// Where in the rule's line the trouble is.
    column: Option<u32>,
}

impl Answer {
    /// A fact that the snapshot should hold and doesn't.
    fn unknown(what: impl Into<String>) -> Self {
        Self::Unknown(Doubt { what: what.into(), fact: true, invert: false, column: None })
    }

    /// A condition that another rule with the same words would ask anew.
    fn unknowable(what: impl Into<String>) -> Self {
        Self::Unknown(Doubt { what: what.into(), fact: false, invert: false, column: None })
    }

    /// Whether both hold. What is known not to hold needs no second answer.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::No {
            return self;
        }
        let other = other();
        match (self, other) {
            (Self::Yes(mut lines), Self::Yes(more)) => {
                lines.extend(more);
                Self::Yes(lines)
            }
            (Self::Unknown(first), Self::Unknown(second)) => {
                Self::unknowable(format!("{}, and {}", first.written(), second.written()))
            }
            (Self::Yes(_), other) | (_, other @ Self::No) => other,
            (open, _) => open,
        }
    }

    /// The answer's opposite where the condition is negated.
    fn inverted(self, invert: bool) -> Self {
        match self {
            Self::Yes(_) if invert => Self::No,
            Self::No if invert => Self::from(true),
            Self::Chance(chance) if invert => Self::Chance(1.0 - chance),
            Self::Unknown(doubt) => Self::Unknown(Doubt { invert: doubt.invert != invert, ..doubt }),
            answer => answer,
        }
    }
}

impl Doubt {
    /// Whether a part of a rule matches that can't be read.
    fn refused(refused: &Refused) -> Self {
        let what = format!("`{refused}` matches, which is not understood: {}", refused.explained());
        Self { what, fact: false, invert: false, column: Some(refused.column) }
    }

    fn written(&self) -> String {
        let not = if self.invert { "it isn't so that " } else { "" };
        format!("{not}{}", self.what)
    }
}

impl From<bool> for Answer {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes(Vec::new()) } else { Self::No }
    }
}

/// Whether a rule matches: the lines that say so, or `None`. What can't be known is chosen, but only where everything
/// else in the rule matches.
pub(super) fn matches(walk: &mut Walk, ruleset: &Ruleset, state: &HookState, rule: &Rule) -> Option<Vec<Evidence>> {
    if !ip_packet_match(walk, state, &rule.selector) {
        return None;
    }
    let backend = ruleset.backend;
    let of_protocol = rule.selector.protocol.map(|test| test.of(test.value == protocol(walk, backend)));
    if walk.skb.in_pieces
        && walk.packet().hides_protocol()
        && of_protocol.is_some_and(|is| is || backend != Backend::Nft)
    {
        // To nf_tables a later piece has no protocol; `ip6_packet_match` in `ip6_tables.c` drops it.
        walk.part_pieces(rule.evidence);
    }
    if of_protocol == Some(false) {
        return None;
    }
    if walk.skb.in_pieces && pieces::part(walk, backend, state, rule) {
        walk.part_pieces(rule.evidence);
    }
    // The pieces of a packet are walked as its first one.
    if rule.selector.fragment.is_some_and(|test| !test.invert) {
        return None;
    }
    let because = extensions_match(walk, ruleset, state, rule);
    if because.is_none() {
        // No step follows.
        walk.set_certain(true);
    }
    because
}

/// The rule's extensions (`xt_ematch_foreach` in `ipt_do_table`).
fn extensions_match(walk: &mut Walk, ruleset: &Ruleset, state: &HookState, rule: &Rule) -> Option<Vec<Evidence>> {
    let mut because = vec![rule.evidence];
    let mut open = Vec::new();
    for one in &rule.matches {
        if writes(walk, one) && !open.drain(..).all(|answer| settle_before(walk, ruleset, rule, answer)) {
            // What a list keeps changes only if everything before it matched.
            return None;
        }
        match ask(walk, state, one) {
            Answer::Yes(lines) => because.extend(lines),
            Answer::No => return None,
            answer => open.push(answer),
        }
    }
    open.into_iter().all(|answer| settle(walk, ruleset, rule, answer)).then_some(because)
}

/// Whether asking changes what a later rule is answered.
fn writes(walk: &Walk, one: &Match) -> bool {
    match one {
        Match::Set(set) => set::writes(walk, set),
        Match::Recent(recent) => recent::writes(recent),
        Match::Other(options) => other::writes(options),
        _ => false,
    }
}

/// The part of a rule that `iptables` itself knows, but for the protocol.
fn ip_packet_match(walk: &Walk, state: &HookState, selector: &Selector) -> bool {
    let packet = walk.packet();
    let indev = state.indev.as_ref().map(IfName::as_str);
    let outdev = state.outdev.as_ref().map(IfName::as_str);
    !selector.other_family
        && selector.source.as_ref().is_none_or(|source| source.matches(packet.ip.source))
        && selector.destination.as_ref().is_none_or(|destination| destination.matches(packet.ip.destination))
        && selector.devices.as_ref().is_none_or(|devices| devices.match_names(indev, outdev))
}

/// Chooses where an answer leaves it open.
fn settle(walk: &mut Walk, ruleset: &Ruleset, rule: &Rule, answer: Answer) -> bool {
    match answer {
        Answer::Yes(_) => true,
        Answer::No => false,
        Answer::Chance(chance) if chance >= 1.0 => true,
        Answer::Chance(chance) if chance <= 0.0 => false,
        Answer::Chance(chance) => {
            let text = ruleset.rule_text(rule);
            let target = text.rfind(" -j ").and_then(|at| text.get(at + 1..)).unwrap_or(text);
            let why =
                Why { what: format!("{target} by chance"), evidence: Some(rule.evidence), gap: false, column: None };
            walk.choose(why, ways([Some(chance), Some(1.0 - chance)])) == 0
        }
        Answer::Unknown(doubt) => settle_doubt(walk, rule, doubt),
    }
}

/// The same where a later match of the rule has an effect of its own, whatever the rule does.
fn settle_before(walk: &mut Walk, ruleset: &Ruleset, rule: &Rule, answer: Answer) -> bool {
    match answer {
        Answer::Unknown(doubt) => known(walk, &doubt).unwrap_or_else(|| choose_doubt(walk, rule, doubt)),
        answer => settle(walk, ruleset, rule, answer),
    }
}

/// What this walk has already taken for the same fact.
fn known(walk: &Walk, doubt: &Doubt) -> Option<bool> {
    let holds = if doubt.fact { answered(walk, &doubt.what) } else { None };
    holds.map(|holds| holds != doubt.invert)
}

fn settle_doubt(walk: &mut Walk, rule: &Rule, doubt: Doubt) -> bool {
    if let Some(holds) = known(walk, &doubt) {
        return holds;
    }
    if has_no_effect(walk, &rule.target) && !doubt.fact {
        // Whether a rule that does nothing matched changes nothing, and one that is only limited matches as a rule.
        walk.gap(format!("a rule without effect matches if {}", doubt.what), [rule.evidence]);
        walk.set_certain(false);
        return true;
    }
    choose_doubt(walk, rule, doubt)
}

fn choose_doubt(walk: &mut Walk, rule: &Rule, doubt: Doubt) -> bool {
    let why = Why { what: doubt.what, evidence: Some(rule.evidence), gap: true, column: doubt.column };
    let holds = walk.choose(why, ways([None, None])) == 0;
    holds != doubt.invert
}

fn ways([yes, no]: [Option<f64>; 2]) -> Vec<(Option<f64>, String)> {
    vec![(yes, "yes".to_owned()), (no, "no".to_owned())]
}

/// The answer that this walk has already taken for the same fact.
fn answered(walk: &Walk, what: &str) -> Option<bool> {
    walk.choices.taken.iter().find(|choice| choice.why.what == what).map(|choice| choice.way == 0)
}

/// One extension's answer. Only `recent`, `connlabel` and `set` change anything, and that is no part of the packet.
fn ask(walk: &mut Walk, state: &HookState, one: &Match) -> Answer {
    match one {
        Match::Conntrack(conntrack) => connection::conntrack_mt(walk, conntrack),
        Match::Connmark(mark) => connection::connmark_mt(walk, *mark),
        Match::Addrtype(addrtype) => addrtype::addrtype_mt(walk, state, *addrtype),
        Match::Random(chance) => {
            let units = f64::from(chance.value) / f64::from(1u32 << 31);
            Answer::Chance(units).inverted(chance.invert)
        }
        Match::Nth(nth) if nth.value.every == 1 => Answer::from(!nth.invert),
        Match::Nth(nth) => {
            Answer::unknowable(format!("it is the turn of one packet in {}", nth.value.every)).inverted(nth.invert)
        }
        Match::Set(set) => set::set_match(walk, state, set),
        Match::Recent(recent) => recent::recent_mt(walk, state, recent),
        Match::Rpfilter(rpfilter) => rpfilter::rpfilter_mt(walk, state, *rpfilter),
        Match::Comment(_) => Answer::from(true),
        Match::Other(options) => other::ask(walk, state, options),
        Match::Unsupported(refused) => Answer::Unknown(Doubt::refused(refused)),
        _ => header::ask(walk, state, one),
    }
}

//! What the targets of rules do (`net/netfilter/xt_*.c` and `net/ipv4/netfilter/ipt_*.c` in capitals).

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Mark, Transport};
use crate::snapshot::{AddrMask, ChainId, ConnmarkTarget, CtTarget, NatRange, RejectWith, Rule, Target};
use crate::trace::{Hook, Reason, RuleVerdict, Verdict};

use super::iptables::{Change, Record};
use super::netfilter::HookState;
use super::walk::{End, ErrorReply, Stage, Walk, Why};
use super::{conntrack, nat};

/// How the walk through the chains goes on after a rule that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// With the next rule.
    Continue,
    /// The packet leaves the table.
    Accept,
    /// Back to the calling chain.
    Return,
    /// Into a chain, to come back.
    Jump(ChainId),
    /// Into a chain, not to come back here.
    Goto(ChainId),
}

/// Does what a rule's target says, and records the rule's step.
pub(super) fn apply(walk: &mut Walk, state: &HookState, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    let plain = |walk: &mut Walk, verdict, action| {
        record.take(walk, verdict, Change::default());
        Ok(action)
    };
    match &rule.target {
        Target::Continue => plain(walk, RuleVerdict::Continue, Action::Continue),
        Target::Accept => plain(walk, RuleVerdict::Accept, Action::Accept),
        Target::Return => plain(walk, RuleVerdict::Return, Action::Return),
        Target::Jump(id) => plain(walk, RuleVerdict::Jump, Action::Jump(*id)),
        Target::Goto(id) => plain(walk, RuleVerdict::Goto, Action::Goto(*id)),
        Target::Drop => {
            record.take(walk, RuleVerdict::Drop, Change::default());
            Err(End::dropped(Reason::Rule).because([rule.evidence]))
        }
        Target::Reject(with) => {
            record.take(walk, RuleVerdict::Reject, Change::default());
            reject(walk, *with, rule.evidence)
        }
        Target::Dnat(_) | Target::Snat(_) | Target::Masquerade(_) | Target::Redirect(_) | Target::Netmap(_) => {
            record.take(walk, RuleVerdict::Accept, Change::default());
            translate(walk, state, rule)?;
            Ok(Action::Accept)
        }
        Target::Queue { bypass } => queue(walk, *bypass, rule, record),
        Target::Unsupported(text) => unsupported(walk, text, rule, record),
        _ => {
            let change = change(walk, &rule.target);
            record.take(walk, RuleVerdict::Continue, change);
            side_effect(walk, &rule.target);
            Ok(Action::Continue)
        }
    }
}

/// `REJECT` (`ipt_REJECT.c`, `ip6t_REJECT.c`). About what no error is sent, the sender of errors knows.
fn reject(walk: &Walk, with: RejectWith, because: Evidence) -> Stage<Action> {
    let end = match with {
        RejectWith::Icmp { kind, code } => End::icmp(Reason::Rule, kind, code),
        RejectWith::TcpReset if matches!(walk.packet().transport, Transport::Tcp { .. }) => {
            let mut end = End::new(Verdict::Rejected, Reason::Rule);
            end.error = Some(ErrorReply::TcpReset);
            end
        }
        RejectWith::TcpReset => End::dropped(Reason::Rule),
    };
    Err(end.because([because]))
}

/// The targets of the nat table.
fn translate(walk: &mut Walk, state: &HookState, rule: &Rule) -> Stage<()> {
    let because = rule.evidence;
    match &rule.target {
        Target::Dnat(range) => nat::dnat(walk, range, because),
        Target::Snat(range) => nat::snat(walk, range, because),
        Target::Netmap(to) => netmap(walk, to, state.hook, because),
        Target::Redirect(range) => nat::redirect(walk, range, state, because)?,
        Target::Masquerade(range) => {
            let Some(outdev) = &state.outdev else {
                return Err(End::undetermined(Reason::NotModelled, "MASQUERADE without an outgoing device"));
            };
            nat::masquerade(walk, range, outdev, because)?;
        }
        _ => {}
    }
    Ok(())
}

/// `NETMAP`: the network part of the address is replaced (`xt_NETMAP.c`).
fn netmap(walk: &mut Walk, to: &AddrMask, hook: Hook, because: Evidence) {
    let of_source = matches!(hook, Hook::Postrouting | Hook::Input);
    let ip = walk.packet().ip;
    let addr = mapped(if of_source { ip.source } else { ip.destination }, to);
    let range = NatRange { addrs: Some((addr, addr)), ..NatRange::default() };
    if of_source {
        nat::snat(walk, &range, because);
    } else {
        nat::dnat(walk, &range, because);
    }
}

fn mapped(addr: IpAddr, to: &AddrMask) -> IpAddr {
    match (addr, to.addr, to.mask) {
        (IpAddr::V4(addr), IpAddr::V4(to), IpAddr::V4(mask)) => {
            let mask = mask.to_bits();
            IpAddr::from(((addr.to_bits() & !mask) | (to.to_bits() & mask)).to_be_bytes())
        }
        (IpAddr::V6(addr), IpAddr::V6(to), IpAddr::V6(mask)) => {
            let mask = mask.to_bits();
            IpAddr::from(((addr.to_bits() & !mask) | (to.to_bits() & mask)).to_be_bytes())
        }
        _ => addr,
    }
}

/// What a target changes in the packet.
fn change(walk: &Walk, target: &Target) -> Change {
    let packet = walk.packet();
    let mut change = Change::default();
    match target {
        Target::Mark(mark) => change.mark = Some(Mark(mark.apply(packet.mark.0))),
        Target::Connmark(ConnmarkTarget::Restore { nfmask, ctmask }) => {
            let connection = conntrack::entry(walk).map(|entry| entry.mark.0);
            change.mark = connection.map(|mark| Mark((packet.mark.0 & !nfmask) ^ (mark & ctmask)));
        }
        Target::Tos { mask, value } => change.tos = Some((packet.ip.tos & !mask) ^ value),
        Target::Ttl(ttl) => change.ttl = Some(ttl.apply(packet.ip.ttl)),
        _ => {}
    }
    change
}

/// What a target changes beside the packet.
fn side_effect(walk: &mut Walk, target: &Target) {
    match target {
        Target::Connmark(connmark) => save_mark(walk, *connmark),
        Target::Ct(CtTarget::Notrack) => conntrack::set_untracked(walk),
        Target::Ct(CtTarget::Template { zone }) => conntrack::set_template(walk, *zone),
        Target::Set(name) => {
            let netns = walk.netns_id();
            walk.tracker.changed_sets.push((netns, name.to_string()));
        }
        _ => {}
    }
}

/// `CONNMARK`'s half that changes the connection.
fn save_mark(walk: &mut Walk, connmark: ConnmarkTarget) {
    let Some(old) = conntrack::entry(walk).map(|entry| entry.mark.0) else { return };
    let new = match connmark {
        ConnmarkTarget::Set(change) => change.apply(old),
        ConnmarkTarget::Save { nfmask, ctmask } => (old & !ctmask) ^ (walk.packet().mark.0 & nfmask),
        ConnmarkTarget::Restore { .. } => return,
    };
    conntrack::set_mark(walk, Mark(new));
}

/// `NFQUEUE`: a program decides. With `--queue-bypass` the packet leaves the table where none listens.
fn queue(walk: &mut Walk, bypass: bool, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    record.take(walk, RuleVerdict::Queue, Change::default());
    if bypass && !walk.choose_unknown("a program listens on the queue", Some(rule.evidence)) {
        return Ok(Action::Accept);
    }
    let what = format!("a program decides on the packet: {}", record.text());
    Err(End::undetermined(Reason::NotModelled, what).because([rule.evidence]))
}

/// A target that flowtrace doesn't model may do anything, or nothing.
fn unsupported(walk: &mut Walk, text: &str, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    record.take(walk, RuleVerdict::Continue, Change::default());
    let why = Why { what: format!("what `{text}` does is not modelled"), evidence: Some(rule.evidence), gap: true };
    let ways = vec![(None, "it lets the packet go on".to_owned()), (None, "it decides on the packet".to_owned())];
    if walk.choose(why, ways) == 0 {
        return Ok(Action::Continue);
    }
    let what = format!("what `{text}` does at {} is not modelled", record.hook().as_str());
    Err(End::undetermined(Reason::NotModelled, what).because([rule.evidence]))
}

//! What the targets of rules do (`net/netfilter/xt_*.c` and `net/ipv4/netfilter/ipt_*.c` in capitals).

mod hmark;
mod npt;
mod set;
mod userspace;

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Mark, Packet, Protocol, Transport};
use crate::snapshot::{AddrMask, ChainId, ConnmarkAction, ConnmarkTarget, NatRange, Options, RejectWith, Rule, Target};
use crate::trace::{Hook, Reason, RuleVerdict, Verdict};

pub(super) use userspace::pass_program;

use super::beside;
use super::checksum;
use super::conntrack_zone::Zone;
use super::end::{End, ErrorReply, Stage};
use super::iptables::{Change, Record};
use super::netfilter::HookState;
use super::skb::Priority;
use super::walk::{Walk, Why};
use super::{conntrack, matches, nat, nft, options, tcp_options};

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

/// Targets that do nothing to the packet's own way: they tell of it, change what only later rules look at, or send a
/// copy.
const NO_EFFECT: &[&str] = &[
    "LOG",
    "NFLOG",
    "ULOG",
    "TRACE",
    "AUDIT",
    "CHECKSUM",
    "TCPOPTSTRIP",
    "CLASSIFY",
    "SECMARK",
    "CONNSECMARK",
    "LED",
    "RATEEST",
    "IDLETIMER",
    "TEE",
];

/// Whether it makes no difference to a packet's own way that a rule with this target matches.
pub(super) fn has_no_effect(walk: &Walk, target: &Target) -> bool {
    match target {
        Target::Continue => true,
        Target::Other(options) if options.name == "TCPMSS" => {
            tcp_options::is_given_mss(walk) == Some(false) && !has_no_room(walk, options)
        }
        Target::Other(options) => NO_EFFECT.contains(&options.name),
        _ => false,
    }
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
        Target::Queue(queue) => userspace::queue(walk, queue.bypass, rule, record),
        Target::OldQueue => userspace::queue(walk, false, rule, record),
        Target::Set(target) => set::set_target(walk, state, target, rule, record),
        Target::Other(options) if has_no_room(walk, options) => {
            record.take(walk, RuleVerdict::Drop, Change::default());
            let detail = "the path's MTU leaves a segment no room, and what cannot be clamped to it is dropped";
            Err(End::dropped(Reason::Rule).detail(detail).because([rule.evidence]))
        }
        Target::Other(options) if DECIDES.contains(&options.name) => decide(walk, options, rule, record),
        Target::Unsupported(refused) => {
            let what = format!("what `{refused}` does is not understood: {}", refused.explained());
            unsupported(walk, (&what, Some(refused.column)), rule, record)
        }
        target if !is_modelled(target) => {
            let what = format!("what `{}` does is not modelled", target_text(record));
            unsupported(walk, (&what, None), rule, record)
        }
        target => {
            if walk.skb.in_pieces && is_ecn_of_tcp(target) {
                // A later piece is taken for a segment of its own, and dropped where it is too short for one.
                walk.part_pieces(rule.evidence);
            }
            if let Target::Other(options) = target
                && options.name == "TEE"
            {
                tee(walk, options, state.hook, rule.evidence);
            }
            let mut change = change(walk, &rule.target);
            if let Target::Other(options) = &rule.target {
                change.length = write_beside(walk, options, rule.evidence);
            }
            record.take(walk, RuleVerdict::Continue, change);
            side_effect(walk, &rule.target);
            Ok(Action::Continue)
        }
    }
}

/// `TEE` (`tee_tg4` and `tee_tg6` in `net/netfilter/xt_TEE.c`): by any device where the one that it names is not there.
fn tee(walk: &mut Walk, options: &Options, hook: Hook, because: Evidence) {
    let Ok(gateway) = matches::value(options, "--gateway").parse() else { return };
    let oif = options.find("--oif").map(|option| IfName::new(&option.value));
    let oif = oif.filter(|oif| walk.netns().link(oif).is_some() || walk.netns().links.is_none());
    let (packet, certain) = (walk.packet().clone(), walk.is_certain());
    beside::copy_to_gateway(walk, packet, (gateway, oif), hook, certain, because);
}

/// Targets of which only the options are kept, and which do more than change a field of the header.
const DECIDES: &[&str] = &["TPROXY", "SYNPROXY", "CLUSTERIP", "HMARK", "SNPT", "DNPT"];

fn decide(walk: &mut Walk, options: &Options, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    match options.name {
        "TPROXY" => userspace::tproxy(walk, options, rule, record),
        "SYNPROXY" => userspace::synproxy(walk, options, rule, record),
        "CLUSTERIP" => userspace::clusterip(walk, options, rule, record),
        "HMARK" => hmark::hmark(walk, options, rule, record),
        _ => npt::npt(walk, options, rule, record),
    }
}

/// `REJECT` (`ipt_REJECT.c`, `ip6t_REJECT.c`). About what no error is sent, the sender of errors knows.
fn reject(walk: &mut Walk, with: RejectWith, because: Evidence) -> Stage<Action> {
    if walk.skb.in_pieces {
        // No error is sent about a later piece, and about the first only if its checksum is that of the piece.
        walk.part_pieces(because);
    }
    let end = match with {
        RejectWith::Icmp { .. } | RejectWith::Icmp6 { .. } if !sums_up(walk, because) => End::dropped(Reason::Rule),
        RejectWith::Icmp { kind, code } | RejectWith::Icmp6 { kind, code } => End::icmp(Reason::Rule, kind, code),
        RejectWith::TcpReset
            if matches!(walk.packet().transport, Transport::Tcp { .. }) && options::sums_up(walk, because) =>
        {
            let mut end = End::new(Verdict::Rejected, Reason::Rule);
            end.error = Some(ErrorReply::TcpReset);
            end
        }
        RejectWith::TcpReset => End::dropped(Reason::Rule),
    };
    Err(end.because([because]))
}

/// Whether a packet's checksum is right, without which `REJECT` doesn't answer. Of a protocol that has none, or that
/// nobody knows, the payload is summed up all the same (`nf_reject_verify_csum` in
/// `include/net/netfilter/nf_reject.h`).
pub(super) fn sums_up(walk: &mut Walk, because: Evidence) -> bool {
    let unknown = match walk.packet().transport {
        // GRE, ESP, AH, DCCP, UDP-Lite.
        Transport::Sctp { .. } | Transport::Other(Protocol(33 | 47 | 50 | 51 | 136)) => return true,
        Transport::Other(protocol) => Some(protocol),
        _ => None,
    };
    options::sums_up(walk, because)
        && unknown.is_none_or(|protocol| {
            let what = format!("the payload of protocol {} sums up to 0, without which no error is sent", protocol.0);
            walk.choose_unknown(what, Some(because))
        })
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
    match (addr, to.addr(), to.mask()) {
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
        Target::Connmark(ConnmarkTarget { action: ConnmarkAction::Restore { nfmask, ctmask }, shift }) => {
            let connection = conntrack::entry(walk).map(|entry| entry.mark.0 & ctmask);
            let shifted = connection.map(|mark| shift.map_or(mark, |shift| shift.apply(mark)));
            change.mark = shifted.map(|mark| Mark((packet.mark.0 & !nfmask) ^ mark));
        }
        Target::Tos { mask, value } => change.tos = Some((packet.ip.tos & !mask) ^ value),
        Target::Dscp(dscp) => change.tos = Some((packet.ip.tos & 0x03) | (dscp << 2)),
        Target::Other(options) if options.name == "ECN" => {
            change.tos = ecn(packet.ip.tos, options);
            change.flags = ecn_tcp(&packet.transport, options);
        }
        Target::Ttl(ttl) | Target::Hl(ttl) => change.ttl = Some(ttl.apply(packet.ip.ttl)),
        _ => {}
    }
    change
}

/// The two lowest bits of TOS, which `ECN` sets (`set_ect_ip` in `ipt_ECN.c`).
fn ecn(tos: u8, options: &Options) -> Option<u8> {
    let bits: u8 = options.find("--ecn-ip-ect")?.value.parse().ok()?;
    Some((tos & !0x03) | bits)
}

/// Whether a target changes TCP's header (`ecn_tg` in `ipt_ECN.c`).
fn is_ecn_of_tcp(target: &Target) -> bool {
    let of_tcp = |name: &str| name.starts_with("--ecn-tcp");
    matches!(target, Target::Other(options) if options.name == "ECN" && options.list.iter().any(|one| of_tcp(one.name)))
}

/// The flags ECE and CWR (`set_ect_tcp` in `ipt_ECN.c`).
fn ecn_tcp(transport: &Transport, options: &Options) -> Option<u8> {
    let Transport::Tcp { flags, .. } = *transport else { return None };
    let asked = |name: &str, bit: u8| match options.find(name) {
        Some(option) => (bit, if &*option.value == "1" { bit } else { 0 }),
        None => (0, 0),
    };
    let both = if options.find("--ecn-tcp-remove").is_some() { 0xc0 } else { 0 };
    let [ece, cwr] = [asked("--ecn-tcp-ece", 0x40), asked("--ecn-tcp-cwr", 0x80)];
    let mask = ece.0 | cwr.0 | both;
    (mask != 0).then_some((flags & !mask) | ece.1 | cwr.1)
}

/// What a target writes that only rules look at: options of TCP, and the priority (`xt_TCPMSS.c`, `xt_TCPOPTSTRIP.c`,
/// `xt_CLASSIFY.c`). The packet's new length, if it is another one.
fn write_beside(walk: &mut Walk, options: &Options, because: Evidence) -> Option<u32> {
    match options.name {
        "TCPMSS" if walk.is_certain() => {
            let set = matches::value(options, "--set-mss").parse().ok();
            let clamped = || u16::try_from(nft::path_mtu(walk)?.checked_sub(clamp_header(walk.packet()))?).ok();
            let size = set.or_else(clamped);
            return tcp_options::tcpmss(walk, size, because);
        }
        "TCPMSS" => tcp_options::doubt_mss(walk, true),
        "TCPOPTSTRIP" if matches!(walk.packet().transport, Transport::Tcp { .. }) => {
            let kinds = matches::value(options, "--strip-options").split(',');
            let strip = if walk.is_certain() { tcp_options::strip } else { tcp_options::doubt_there };
            kinds.filter_map(|kind| kind.parse().ok()).for_each(|kind| strip(walk, kind));
        }
        "CLASSIFY" => {
            let class = priority(matches::value(options, "--set-class"));
            walk.skb.priority = class.filter(|_| walk.is_certain()).map_or(Priority::Open, Priority::Known);
        }
        _ => {}
    }
    None
}

/// Whether `TCPMSS` is to clamp segments to a path whose MTU the headers alone take up (`tcpmss_mangle_packet`).
fn has_no_room(walk: &Walk, options: &Options) -> bool {
    options.name == "TCPMSS"
        && options.find("--set-mss").is_none()
        && matches!(walk.packet().transport, Transport::Tcp { .. })
        && nft::path_mtu(walk).is_some_and(|mtu| mtu <= clamp_header(walk.packet()))
}

/// How much of a path's MTU the headers take (`tcpmss_tg4` and `tcpmss_tg6` in `xt_TCPMSS.c`).
fn clamp_header(packet: &Packet) -> u32 {
    if packet.family() == Family::Inet { 40 } else { 60 }
}

/// `MAJOR:MINOR` in hexadecimal.
fn priority(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once(':')?;
    let half = |text: &str| u16::from_str_radix(text, 16).ok().map(u32::from);
    Some(half(major)? << 16 | half(minor)?)
}

/// What a target changes beside the packet.
fn side_effect(walk: &mut Walk, target: &Target) {
    match target {
        Target::Connmark(connmark) => save_mark(walk, *connmark),
        Target::Ct(ct) if ct.notrack => conntrack::set_untracked(walk),
        Target::Ct(ct) => conntrack::set_template(walk, Zone::of_target(ct)),
        Target::Other(options) if options.name == "CHECKSUM" => checksum::filled(walk),
        _ => {}
    }
}

/// `CONNMARK`'s half that changes the connection.
fn save_mark(walk: &mut Walk, connmark: ConnmarkTarget) {
    let Some(old) = conntrack::entry(walk).map(|entry| entry.mark.0) else { return };
    let shifted = |mark: u32| connmark.shift.map_or(mark, |shift| shift.apply(mark));
    let new = match connmark.action {
        ConnmarkAction::Set(change) => shifted(change.apply(old)),
        ConnmarkAction::Save { nfmask, ctmask } => (old & !ctmask) ^ shifted(walk.packet().mark.0 & nfmask),
        ConnmarkAction::Restore { .. } => return,
    };
    conntrack::set_mark(walk, Mark(new));
}

/// Whether what a target does is known.
fn is_modelled(target: &Target) -> bool {
    match target {
        Target::Other(options) => NO_EFFECT.contains(&options.name) || matches!(options.name, "ECN" | "TCPMSS"),
        _ => true,
    }
}

/// The target as written.
fn target_text<'r>(record: &'r Record<'_, '_>) -> &'r str {
    let text = record.text();
    text.rfind("-j ").and_then(|at| text.get(at..)).unwrap_or(text)
}

/// A target that flowtrace doesn't model may do anything, or nothing.
fn unsupported(
    walk: &mut Walk,
    (what, column): (&str, Option<u32>),
    rule: &Rule,
    record: &Record<'_, '_>,
) -> Stage<Action> {
    record.take(walk, RuleVerdict::Continue, Change::default());
    let why = Why { what: what.to_owned(), evidence: Some(rule.evidence), gap: true, column };
    let ways = vec![(None, "it lets the packet go on".to_owned()), (None, "it decides on the packet".to_owned())];
    if walk.choose(why, ways) == 0 {
        return Ok(Action::Continue);
    }
    let what = format!("{what} (at {})", record.hook().as_str());
    Err(End::undetermined(Reason::NotModelled, what).because([rule.evidence]))
}

//! Targets whose effect a program decides, or a connection that the kernel opens by itself.

use crate::evidence::Evidence;
use crate::net::{Mark, Transport};
use crate::snapshot::{Options, Rule};
use crate::trace::{Reason, RuleVerdict};

use super::super::end::{End, Stage};
use super::super::iptables::{Change, Record};
use super::super::matches::{has, masked, value};
use super::super::options;
use super::super::synproxy::{self, Offers};
use super::super::walk::{Walk, Why};
use super::Action;

/// `NFQUEUE` (`net/netfilter/xt_NFQUEUE.c`). A packet that is let go leaves the table.
pub(super) fn queue(walk: &mut Walk, bypass: bool, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    record.take(walk, RuleVerdict::Queue, Change::default());
    pass_program(walk, record.text(), bypass, rule.evidence)?;
    Ok(Action::Accept)
}

/// A program decides on the packet. Where none listens the packet is dropped, and goes on with a bypass
/// (`net/netfilter/nf_queue.c`).
pub(in super::super) fn pass_program(walk: &mut Walk, text: &str, bypass: bool, because: Evidence) -> Stage<()> {
    let none = |says: bool| if says { ", or none listens" } else { "" };
    let passes = format!("it lets it go on as it is{}", none(bypass));
    let drops = format!("it drops it{}", none(!bypass));
    let what = format!("a program decides on the packet: {text}");
    let why = Why { what, evidence: Some(because), gap: true, column: None };
    if walk.choose(why, vec![(None, passes), (None, drops)]) == 0 {
        return Ok(());
    }
    Err(End::dropped(Reason::Rule).because([because]))
}

/// `TPROXY` (`tproxy_tg4` in `net/netfilter/xt_TPROXY.c`): a packet for which there is no transparent socket is
/// dropped.
pub(super) fn tproxy(walk: &mut Walk, options: &Options, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    let packet = walk.packet();
    let port = |port: Option<u16>| port.map_or("?".to_owned(), |port| port.to_string());
    let on_port = match value(options, "--on-port") {
        "0" => port(packet.destination_port()),
        given => given.to_owned(),
    };
    let (ip, on_ip) = (packet.ip, value(options, "--on-ip"));
    let flow = format!("{}:{} > {}", ip.source, port(packet.source_port()), ip.destination);
    let dir = &walk.netns().dir;
    let what = format!(
        "a transparent socket of {dir} listens on port {on_port} at {on_ip}, or has the connection {flow} (no snapshot \
         holds sockets)"
    );
    if !walk.choose_unknown(what, Some(rule.evidence)) {
        record.take(walk, RuleVerdict::Drop, Change::default());
        return Err(End::dropped(Reason::Rule).because([rule.evidence]));
    }
    let (bits, cleared) = masked(value(options, "--tproxy-mark")).unwrap_or((0, 0));
    let mark = (walk.packet().mark.0 & !cleared) ^ bits;
    record.take(walk, RuleVerdict::Accept, Change { mark: Some(Mark(mark)), ..Change::default() });
    Ok(Action::Accept)
}

/// `SYNPROXY` (`synproxy_tg4` in `net/ipv4/netfilter/ipt_SYNPROXY.c`): the kernel answers in the server's place, and
/// opens a connection of its own to the server once the client has answered with the cookie.
pub(super) fn synproxy(walk: &mut Walk, options: &Options, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    let line = rule.evidence;
    let Transport::Tcp { flags, .. } = walk.packet().transport else {
        record.take(walk, RuleVerdict::Continue, Change::default());
        return Ok(Action::Continue);
    };
    let dropped = |walk: &mut Walk| {
        record.take(walk, RuleVerdict::Drop, Change::default());
        Err(End::dropped(Reason::Rule).because([line]))
    };
    if !options::sums_up(walk, line) {
        return dropped(walk);
    }
    match flags & 0x17 {
        0x02 => {
            record.take(walk, RuleVerdict::Stolen, Change::default());
            Err(synproxy::answer(walk, Offers::of_target(options), line))
        }
        0x10 if synproxy::has_cookie(walk, line) => {
            record.take(walk, RuleVerdict::Stolen, Change::default());
            Err(synproxy::open_to_server(walk, line))
        }
        0x10 => dropped(walk),
        _ => {
            record.take(walk, RuleVerdict::Continue, Change::default());
            Ok(Action::Continue)
        }
    }
}

/// `CLUSTERIP` (`clusterip_tg` in `net/ipv4/netfilter/ipt_CLUSTERIP.c`): whose turn a client is can be changed at any
/// time in `/proc/net/ipt_CLUSTERIP`, and what is another node's is dropped.
pub(super) fn clusterip(walk: &mut Walk, options: &Options, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    let ip = walk.packet().ip;
    let by = if has(options, "--hashmode") { value(options, "--hashmode") } else { "its hash" };
    let what =
        format!("{} answers {} by {by} (/proc/net/ipt_CLUSTERIP/{})", walk.place().node, ip.source, ip.destination);
    let ours = walk.choose_unknown(what, Some(rule.evidence));
    record.take(walk, if ours { RuleVerdict::Continue } else { RuleVerdict::Drop }, Change::default());
    if ours { Ok(Action::Continue) } else { Err(End::dropped(Reason::Rule).because([rule.evidence])) }
}

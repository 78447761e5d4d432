//! Extension headers of IPv6: what the stack makes of options for each hop, and of what is for the receiver.
//!
//! Follows `net/ipv6/exthdrs.c`, and `ip6_protocol_deliver_rcu` in `net/ipv6/ip6_input.c`.

use crate::net::{ExtHeader, Family};
use crate::trace::Reason;

use super::end::{End, Stage};
use super::options::say_router_alert;
use super::sysctl;
use super::walk::Walk;

/// Bytes of the IPv6 header itself.
const FIXED: usize = 40;
/// So many options a header may have where nobody has said otherwise (`IP6_DEFAULT_MAX_HBH_OPTS_CNT`,
/// `IP6_DEFAULT_MAX_DST_OPTS_CNT`).
const MOST_OPTIONS: i64 = 8;
/// So many bytes without meaning may stand side by side.
const MOST_PADDING: usize = 7;

const PAD1: u8 = 0;
const PADN: u8 = 1;
const ROUTER_ALERT: u8 = 5;
const CALIPSO: u8 = 7;
const IOAM: u8 = 49;
const JUMBO: u8 = 194;
const HOME_ADDRESS: u8 = 201;

/// Whom options are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Every hop.
    Hop,
    /// The receiver.
    Destination,
}

/// Options for each hop, which are read before any rule sees the packet (`ipv6_parse_hopopts`). The kernel looks for
/// them in the first header alone, and not once more where connection tracking takes a fragment header from before them.
pub(super) fn ipv6_parse_hopopts(walk: &mut Walk) -> Stage<()> {
    let first = first_hop(walk);
    walk.skb.has_hop_options = first.is_some();
    match first {
        Some(bytes) => ip6_parse_tlv(walk, &bytes, FIXED, Of::Hop),
        None => Ok(()),
    }
}

/// The first header, if it holds options for each hop.
fn first_hop(walk: &Walk) -> Option<Vec<u8>> {
    let first = walk.packet().extensions.list().first()?;
    (first.kind() == ExtHeader::HOP).then(|| first.bytes().to_vec())
}

/// A router alert goes to the programs that have asked for it (`ip6_forward`).
pub(super) fn note_router_alert(walk: &mut Walk) {
    if !walk.skb.has_hop_options || walk.packet().family() != Family::Inet6 {
        return;
    }
    let Some(bytes) = first_hop(walk) else { return };
    if options(&bytes).any(|(_, option)| option.first() == Some(&ROUTER_ALERT)) {
        say_router_alert(walk);
    }
}

/// The options of a header, each with its place there; what doesn't fit ends them.
fn options(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let length = match bytes.get(at)? {
            &PAD1 => 1,
            _ => usize::from(*bytes.get(at + 1)?) + 2,
        };
        let option = (at, bytes.get(at..at + length)?);
        at += length;
        Some(option)
    })
}

/// Reads the options of a header that starts at a place of the packet (`ip6_parse_tlv`).
fn ip6_parse_tlv(walk: &Walk, bytes: &[u8], start: usize, of: Of) -> Stage<()> {
    let (key, longest) = match of {
        Of::Hop => ("net.ipv6.max_hbh_opts_number", "net.ipv6.max_hbh_length"),
        Of::Destination => ("net.ipv6.max_dst_opts_number", "net.ipv6.max_dst_opts_length"),
    };
    if let Some((longest, line)) = sysctl::number(walk.netns(), longest)
        && i64::try_from(bytes.len()).is_ok_and(|length| length > longest)
    {
        return Err(bad(&format!("more than {longest} bytes")).because([line]));
    }
    let (most, line) =
        sysctl::number(walk.netns(), key).map_or((MOST_OPTIONS, None), |(most, line)| (most, Some(line)));
    let (mut count, mut padding, mut end) = (0, 0, 2);
    for (at, option) in options(bytes) {
        let kind = option.first().copied().unwrap_or(PAD1);
        end = at + option.len();
        if matches!(kind, PAD1 | PADN) {
            padding += option.len();
            if padding > MOST_PADDING || option.iter().skip(2).any(|byte| *byte != 0) {
                return Err(bad("padding that hides something"));
            }
            continue;
        }
        (padding, count) = (0, count + 1);
        if count > most.saturating_abs() {
            return Err(bad(&format!("more than {} options", most.saturating_abs())).because(line));
        }
        option_of(option, start + at, of, most < 0).map_err(|end| end.because(line.filter(|_| most < 0)))?;
    }
    if end == bytes.len() { Ok(()) } else { Err(bad("options that don't fill it")) }
}

fn bad(what: &str) -> Box<End> {
    End::dropped(Reason::BadHeader).detail(format!("a header of options has {what}"))
}

/// One option at a place of the packet.
fn option_of(option: &[u8], place: usize, of: Of, known_only: bool) -> Stage<()> {
    let kind = option.first().copied().unwrap_or(PAD1);
    match (of, kind) {
        (Of::Hop, ROUTER_ALERT) if option.len() == 4 => Ok(()),
        (Of::Hop, ROUTER_ALERT) => Err(bad("a router alert of another length than 2")),
        // No packet of a question is so large, or says that it has no length.
        (Of::Hop, JUMBO) if option.len() == 6 && place & 3 == 2 => Err(parameter_problem(0, "a jumbo payload")),
        (Of::Hop, JUMBO) => Err(bad("a jumbo payload at a wrong place")),
        (Of::Hop, CALIPSO | IOAM) | (Of::Destination, HOME_ADDRESS) => {
            let what = format!("what the kernel makes of IPv6's option {kind} is not modelled");
            Err(End::undetermined(Reason::NotModelled, what))
        }
        _ if known_only => Err(bad(&format!("the option {kind}, and only known ones are taken"))),
        _ => ip6_tlvopt_unknown(kind),
    }
}

/// The highest bits of an option that the kernel doesn't know say what to do about it (RFC 8200, section 4.2).
fn ip6_tlvopt_unknown(kind: u8) -> Stage<()> {
    match kind >> 6 {
        0 => Ok(()),
        1 => Err(bad(&format!("the option {kind}, which is not known"))),
        _ => Err(parameter_problem(2, &format!("the option {kind}, which is not known"))),
    }
}

fn parameter_problem(code: u8, what: &str) -> Box<End> {
    End::icmp(Reason::BadHeader, 4, code).detail(format!("a header of options has {what}"))
}

/// The headers of a packet for the namespace itself, in their order, up to what it carries
/// (`ip6_protocol_deliver_rcu`).
pub(super) fn deliver(walk: &Walk) -> Stage<()> {
    let list = walk.packet().extensions.clone();
    let mut start = FIXED;
    for (place, header) in list.list().iter().enumerate() {
        match header.kind() {
            ExtHeader::HOP if place > 0 || !walk.skb.has_hop_options => {
                let detail = "options for each hop stand behind another header";
                return Err(End::icmp(Reason::ProtocolUnreachable, 4, 1).detail(detail));
            }
            ExtHeader::DEST => ip6_parse_tlv(walk, header.bytes(), start, Of::Destination)?,
            ExtHeader::ROUTING => ipv6_rthdr_rcv(header)?,
            ExtHeader::AUTH => {
                let what = "the packet is authenticated, and no snapshot tells with which keys";
                return Err(End::undetermined(Reason::NotModelled, what));
            }
            // A fragment header that splits nothing is taken off, and options for each hop have been read.
            _ => {}
        }
        start += header.bytes().len();
    }
    Ok(())
}

/// A routing header that is used up is passed by; of the others the kernel knows those of segment routing, and of mobile
/// hosts where it is built so (`ipv6_rthdr_rcv`).
fn ipv6_rthdr_rcv(header: &ExtHeader) -> Stage<()> {
    let [_, _, kind, left, ..] = *header.bytes() else { return Ok(()) };
    match (kind, left) {
        (2..=4, _) => {
            let what = format!("what the kernel makes of a routing header of type {kind} is not modelled");
            Err(End::undetermined(Reason::NotModelled, what))
        }
        (_, 0) => Ok(()),
        _ => {
            let detail = format!("a routing header of type {kind}, which is not followed, has {left} segments left");
            Err(End::icmp(Reason::SourceRoute, 4, 0).detail(detail))
        }
    }
}

//! What the namespace sends: from a socket, from a tunnel, or as an error.
//!
//! Follows `net/ipv4/ip_output.c`, `net/ipv6/ip6_output.c` and `net/netfilter/utils.c`, `net/ipv4/netfilter.c`.

use crate::evidence::Evidence;
use crate::net::{Family, Packet, Protocol};
use crate::trace::{Decision, EndCause, Hook, Reason, Verdict};

use super::bridge::frame_length;
use super::end::{End, ErrorReply, Next, Stage};
use super::neigh::neigh_output;
use super::netfilter::nf_hook;
use super::route::{Dst, loopback};
use super::route_output::{ip_route_connect, ip_route_output, ip_route_output_again};
use super::walk::Walk;

/// A socket sends: the route gives the source, then the packet exists (`ip_queue_xmit`, `udp_sendmsg`, `raw_sendmsg`).
pub(super) fn send(walk: &mut Walk) -> Stage<Next> {
    walk.skb.own = true;
    walk.take(Decision::Send, None);
    let source = walk.packet().ip.source;
    if !source.is_unspecified()
        && !super::address::is_local_address(walk.netns(), source)
        && walk.netns().addrs.is_some()
    {
        let detail = format!("{source} is not an address of this namespace");
        return Err(End::errno(Reason::NoAddress, "EADDRNOTAVAIL").detail(detail));
    }
    let dst = ip_route_connect(walk)?;
    check_length(walk, &dst)?;
    walk.skb.dst = Some(dst);
    Ok(Next::LocalOut)
}

/// A socket that forbids splitting is refused what its first route can't carry, before any hook (`__ip_append_data`).
fn check_length(walk: &Walk, dst: &Dst) -> Stage<()> {
    let packet = walk.packet();
    let whole = packet.ip.df && packet.family() == Family::Inet && packet.protocol() != Protocol::TCP;
    match mtu(walk, dst) {
        Some((mtu, lines)) if whole && packet.length > mtu => {
            Err(message_too_long(packet, mtu).because(lines.iter().copied()))
        }
        _ => Ok(()),
    }
}

fn message_too_long(packet: &Packet, mtu: u32) -> Box<End> {
    let cause = EndCause::TooLong { length: packet.length, mtu };
    End::errno(Reason::FragmentationNeeded, "EMSGSIZE").cause(cause)
}

/// The kernel itself sends: a reset may carry an address that is not the namespace's own.
pub(super) fn send_kernel(walk: &mut Walk) -> Stage<Next> {
    walk.take(Decision::Send, None);
    let dst = ip_route_output(walk, None)?;
    walk.skb.dst = Some(dst);
    Ok(Next::LocalOut)
}

/// A packet that has its route leaves the stack (`__ip_local_out`).
pub(super) fn ip_local_out(walk: &mut Walk) -> Stage<Next> {
    let Some(dst) = walk.skb.dst.clone() else { return Err(no_dst()) };
    nf_hook(walk, Hook::Output, None, Some(&dst.dev))?;
    ip_output(walk)
}

/// Out by the device of its route (`ip_output`, `ip6_output`).
pub(super) fn ip_output(walk: &mut Walk) -> Stage<Next> {
    let Some(dst) = walk.skb.dst.clone() else { return Err(no_dst()) };
    let came_by = walk.skb.iif.clone().filter(|_| !walk.skb.own);
    let indev = walk.skb.copied_to.clone().or(came_by);
    nf_hook(walk, Hook::Postrouting, indev.as_ref(), Some(&dst.dev))?;
    ip_finish_output(walk)
}

/// Splits what is too large, then asks for the neighbour (`ip_finish_output`, `ip_fragment`, `ip6_fragment`).
fn ip_finish_output(walk: &mut Walk) -> Stage<Next> {
    // A nat or mangle rule after routing may have moved the packet to another route.
    let Some(dst) = walk.skb.dst.clone() else { return Err(no_dst()) };
    if let Some(mtu) = mtu(walk, &dst)
        // What came in pieces that fit goes on in pieces (`frag_max_size`).
        && frame_length(walk) > mtu.0
    {
        fragment(walk, mtu)?;
    }
    if dst.dev == loopback() && dst.local {
        // Loopback has no neighbours: the frame gets the device's own address, all zeroes.
        return Ok(Next::Xmit(dst.dev));
    }
    neigh_output(walk, &dst)
}

/// An MTU, and the lines that say it.
pub(super) type Mtu<'d> = (u32, &'d [Evidence]);

/// The MTU that a packet on a route must fit: the route's own or the device's, whichever is smaller
/// (`ip_dst_mtu_maybe_forward`).
pub(super) fn mtu<'d>(walk: &Walk<'d>, dst: &'d Dst) -> Option<Mtu<'d>> {
    let route = dst.mtu.map(|mtu| (mtu, dst.because.as_slice()));
    match (route, device_mtu(walk, dst)) {
        (Some(route), Some(device)) if route.0 > device.0 => Some(device),
        (route, device) => route.or(device),
    }
}

/// The MTU that a packet must fit before the forward hook. IPv6 looks at the route's own only where it is locked
/// (`ip6_dst_mtu_maybe_forward` in `include/net/ip6_route.h`), and comes to the rest of them when it sends.
pub(super) fn mtu_to_forward<'d>(walk: &Walk<'d>, dst: &'d Dst) -> Option<Mtu<'d>> {
    if walk.packet().family() == Family::Inet || dst.mtu_locked { mtu(walk, dst) } else { device_mtu(walk, dst) }
}

fn device_mtu<'d>(walk: &Walk<'d>, dst: &Dst) -> Option<Mtu<'d>> {
    let link = walk.netns().link(&dst.dev)?;
    Some((link.mtu?, std::slice::from_ref(&link.evidence)))
}

fn fragment(walk: &mut Walk, (mtu, lines): Mtu<'_>) -> Stage<()> {
    let packet = walk.packet();
    let own = walk.skb.own;
    let may_not = packet.ip.df && packet.family() == Family::Inet;
    if may_not && own && packet.inner.is_none() {
        return Err(message_too_long(packet, mtu).because(lines.iter().copied()));
    }
    if may_not {
        return Err(too_big(walk, (mtu, lines)));
    }
    // In IPv6 only the sender splits, and a tunnel's outer packet counts as sent by nobody.
    if packet.family() == Family::Inet6 && !own && !walk.skb.ignore_df {
        return Err(too_big(walk, (mtu, lines)));
    }
    let (count, largest) = pieces(packet, mtu);
    walk.take(Decision::Fragment { mtu, count, largest }, lines.iter().copied());
    Ok(())
}

/// The error about a packet that is too large: what `icmp_send` puts into it.
pub(super) fn too_big(walk: &Walk, (mtu, lines): Mtu<'_>) -> Box<End> {
    let packet = walk.packet();
    let (kind, code) = if packet.family() == Family::Inet { (3, 4) } else { (2, 0) };
    let mut end = End::icmp(Reason::FragmentationNeeded, kind, code);
    end.error = Some(ErrorReply::Icmp { kind, code, mtu: Some(mtu) });
    end.cause(EndCause::TooLong { length: packet.length, mtu }).because(lines.iter().copied())
}

/// How many pieces a packet makes, and how large the largest is: payloads of a multiple of 8 bytes.
pub(super) fn pieces(packet: &Packet, mtu: u32) -> (u32, u32) {
    let (header, extra) = packet.piece_headers();
    let room = (mtu.saturating_sub(header + extra) / 8 * 8).max(8);
    let payload = packet.length.saturating_sub(header);
    (payload.div_ceil(room), (room + header + extra).min(packet.length + extra))
}

/// Routes a packet of the namespace's own again, after a rule changed what routing looks at (`ip_route_me_harder`,
/// `ip6_route_me_harder`).
pub(super) fn ip_route_me_harder(walk: &mut Walk) -> Stage<()> {
    if walk.packet().ip.destination.is_multicast() {
        // A neighbour solicitation: its group is on every link.
        return Ok(());
    }
    let dst = ip_route_output_again(walk).map_err(|end| unheard_by_tcp(walk, end))?;
    walk.skb.dst = Some(dst);
    Ok(())
}

/// TCP, whose first route was fine, sends its segment again (`tcp_connect` looks at `ECONNREFUSED` alone).
fn unheard_by_tcp(walk: &Walk, mut end: Box<End>) -> Box<End> {
    if walk.packet().protocol() == Protocol::TCP && end.errno.take().is_some() {
        end.verdict = Verdict::Dropped;
    }
    end
}

fn no_dst() -> Box<End> {
    End::undetermined(Reason::NoRoute, "the packet has no route")
}

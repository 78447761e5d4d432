//! Network address translation: once for each connection and direction, and back for the answers.
//!
//! Follows `net/netfilter/nf_nat_core.c`, `nf_nat_proto.c`, `nf_nat_masquerade.c` and `nf_nat_redirect.c`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Packet, Protocol, Transport};
use crate::snapshot::{ConntrackTuple, NatRange, Netns, Route, RouteScope, RouteType};
use crate::trace::{CtState, Decision, EndCause, Hook, NatChange, Reason};

use super::address::select_source;
use super::checksum;
use super::conntrack::{self, CtEntry, CtId, Dir, Nfct, UnknownPort};
use super::conntrack_tuple::{destination_endpoint, invert, source_endpoint};
use super::end::{End, Stage};
use super::fib;
use super::jhash::{jhash, reciprocal_scale};
use super::nat_ports::{self, Left};
use super::netfilter::HookState;
use super::unread;
use super::walk::Walk;

/// Which half of a packet is rewritten (`enum nf_nat_manip_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manip {
    Src,
    Dst,
}

impl Manip {
    /// `HOOK2MANIP`: the source after routing and on the way in to the stack, the destination before routing.
    pub(super) fn at(hook: Hook) -> Self {
        match hook {
            Hook::Postrouting | Hook::Input => Self::Src,
            _ => Self::Dst,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Src => Self::Dst,
            Self::Dst => Self::Src,
        }
    }
}

/// `DNAT`.
pub(super) fn dnat(walk: &mut Walk, range: &NatRange, because: Evidence) {
    nf_nat_setup_info(walk, range, Manip::Dst, Some(because));
}

/// `SNAT`.
pub(super) fn snat(walk: &mut Walk, range: &NatRange, because: Evidence) {
    nf_nat_setup_info(walk, range, Manip::Src, Some(because));
}

/// `MASQUERADE`: the source that the outgoing device gives (`nf_nat_masquerade_ipv4`, `nf_nat_masquerade_ipv6`).
pub(super) fn masquerade(walk: &mut Walk, range: &NatRange, outdev: &IfName, because: Evidence) -> Stage<()> {
    let netns = walk.netns();
    if netns.addrs.is_none() {
        let what = format!("{}: the address to masquerade with is not known", netns.lacks("addr.txt"));
        return Err(End::undetermined(Reason::MissingTable, what).because([because]));
    }
    let destination = walk.packet().ip.destination;
    let via = walk.skb.dst.as_ref().and_then(|dst| dst.via).or(Some(destination));
    let source = select_source(netns, outdev, via, destination, RouteScope::GLOBAL);
    let Some(source) = source else {
        if let Some((address, line)) = unlisted_address(netns, outdev, Family::of(destination)) {
            let what = format!("{}/addr.txt lacks {address}, which a local route of {outdev} names", netns.dir);
            return Err(End::undetermined(Reason::MissingTable, what).because([line, because]));
        }
        let cause = EndCause::NoMasqueradeAddress(outdev.clone());
        return Err(End::dropped(Reason::NatFailed).cause(cause).because([because]));
    };
    unread::doubt_source(walk, netns, outdev, source);
    let range = NatRange { addrs: Some((source, source)), ..*range };
    if let Nfct::Entry(ct) = walk.skb.nfct
        && let Some(entry) = walk.tracker.entries.get_mut(ct.id)
    {
        entry.kept.masqueraded_for = Some(outdev.clone());
    }
    nf_nat_setup_info(walk, &range, Manip::Src, Some(because));
    Ok(())
}

/// A connection that was masqueraded for one device ends where its packets leave by another (`nf_nat_oif_changed` in
/// `nf_nat_core.c`).
pub(super) fn refuse_changed_device(walk: &mut Walk, state: &HookState) -> Stage<()> {
    let Nfct::Entry(ct) = walk.skb.nfct else { return Ok(()) };
    if state.hook != Hook::Postrouting || ct.dir != Dir::Original {
        return Ok(());
    }
    let Some(entry) = walk.tracker.entries.get(ct.id) else { return Ok(()) };
    let known = entry.kept.masqueraded_for.clone().filter(|dev| Some(dev) != state.outdev.as_ref());
    let Some(before) = known.or_else(|| masqueraded_before(walk, ct.id, state)) else { return Ok(()) };
    let Some(entry) = walk.tracker.entries.get_mut(ct.id) else { return Ok(()) };
    entry.dead = true;
    let because = entry.snat_because;
    let detail = format!("the connection was masqueraded for {before}, and ends where it leaves by another device");
    Err(End::dropped(Reason::NatFailed).detail(detail).because(because))
}

/// The device for which a listed connection may have been masqueraded, where this way takes it to be: it has that one's
/// address, and leaves by another that has some of its own. No snapshot tells it from one with `SNAT` to that address.
fn masqueraded_before(walk: &mut Walk, id: usize, state: &HookState) -> Option<IfName> {
    let (netns, entry) = (walk.netns(), walk.tracker.entries.get(id)?);
    let line = entry.evidence.filter(|_| entry.snat && entry.kept.masqueraded_for.is_none())?;
    let (source, outdev) = (entry.reply.destination, state.outdev.as_ref()?);
    let owner = netns.addr(source).map(|addr| addr.dev.clone()).filter(|owner| owner != outdev)?;
    netns.addrs_of(outdev).find(|addr| Family::of(addr.address) == Family::of(source))?;
    let what = format!("the connection was masqueraded for {owner} (and not only given its address {source})");
    walk.choose_unknown(what, Some(line)).then_some(owner)
}

/// An address of a device that its local route names and the list of addresses, which may be cut off, doesn't.
fn unlisted_address(netns: &Netns, dev: &IfName, family: Family) -> Option<(IpAddr, Evidence)> {
    let own = |route: &&Route| {
        let by_dev = route.nexthops.iter().any(|way| way.dev.as_ref() == Some(dev));
        route.kind == RouteType::Local && route.dst.prefix_len() == route.dst.max_prefix_len() && by_dev
    };
    let mut routes = fib::routes(netns, family)?.rows().iter().filter(own);
    routes.find(|route| netns.addr(route.dst.addr()).is_none()).map(|route| (route.dst.addr(), route.evidence))
}

/// `REDIRECT`: to the address of the device that the packet came in by, or to loopback (`nf_nat_redirect`).
pub(super) fn redirect(walk: &mut Walk, range: &NatRange, state: &HookState, because: Evidence) -> Stage<()> {
    let netns = walk.netns();
    let family = state.family;
    let of_family = |addr: &&crate::snapshot::Addr| Family::of(addr.address) == family && !addr.tentative;
    let address = match (state.hook, family) {
        (Hook::Output, Family::Inet) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (Hook::Output, Family::Inet6) => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => state.indev.as_ref().and_then(|dev| netns.addrs_of(dev).find(of_family)).map(|addr| addr.address),
    };
    let Some(address) = address else {
        let detail = "the device that the packet came in by has no address to redirect to";
        return Err(End::dropped(Reason::NatFailed).detail(detail).because([because]));
    };
    let range = NatRange { addrs: Some((address, address)), ..*range };
    nf_nat_setup_info(walk, &range, Manip::Dst, Some(because));
    Ok(())
}

/// Whether the nat rules for this half have been asked (`nf_nat_initialized`).
pub(super) fn is_initialized(walk: &Walk, manip: Manip) -> bool {
    conntrack::entry(walk).is_some_and(|entry| match manip {
        Manip::Src => entry.snat_done,
        Manip::Dst => entry.dnat_done,
    })
}

/// No rule matched: the connection keeps its address, and its port unless another one has it
/// (`nf_nat_alloc_null_binding`).
pub(super) fn null_binding(walk: &mut Walk, manip: Manip) {
    let Some(entry) = conntrack::entry(walk) else { return };
    let address = match manip {
        Manip::Src => entry.reply.destination,
        Manip::Dst => entry.reply.source,
    };
    let range = NatRange { addrs: Some((address, address)), ..NatRange::default() };
    nf_nat_setup_info(walk, &range, manip, None);
}

/// Chooses the connection's new tuple (`nf_nat_setup_info`).
fn nf_nat_setup_info(walk: &mut Walk, range: &NatRange, manip: Manip, because: Option<Evidence>) {
    let Nfct::Entry(ct) = walk.skb.nfct else { return };
    let Some(entry) = walk.tracker.entries.get(ct.id) else { return };
    if entry.confirmed || is_initialized(walk, manip) {
        return;
    }
    let protocol = entry.protocol;
    let Some(current) = invert(protocol, &entry.reply) else { return };
    let (wanted, drawn) = get_unique_tuple(walk, ct.id, protocol, &current, range, manip);
    let unknown = drawn.then(|| walk.tracker.draw_port());
    let Some(entry) = walk.tracker.entries.get_mut(ct.id) else { return };
    if (wanted != current || drawn)
        && let Some(reply) = invert(protocol, &wanted)
    {
        entry.reply = reply;
        entry.reply_unknown = unknown.unwrap_or(entry.reply_unknown);
        match manip {
            Manip::Src => (entry.snat, entry.snat_because) = (true, because),
            Manip::Dst => (entry.dnat, entry.dnat_because) = (true, because),
        }
    }
    match manip {
        Manip::Src => entry.snat_done = true,
        Manip::Dst => entry.dnat_done = true,
    }
    if let Some(ports) = range.ports.filter(|_| drawn) {
        note_ports_left(walk, ct.id, &wanted, ports, manip);
    }
}

/// Where no port of the range is left, the connection has one that another has too, and can't be confirmed.
fn note_ports_left(walk: &mut Walk, id: CtId, wanted: &ConntrackTuple, ports: (u16, u16), manip: Manip) {
    let left = nat_ports::left(walk, id, wanted, ports, manip);
    let Some(entry) = walk.tracker.entries.get_mut(id) else { return };
    entry.clashes = left == Left::None;
    let because = because(entry, manip, Dir::Original);
    if left == Left::Unknown {
        let (low, high) = ports;
        walk.doubt(format!("whether a port from {low} to {high} is left for a further connection"), because);
    }
}

/// The tuple within the range that no other connection has (`get_unique_tuple`), and whether its port was drawn at
/// random, in which case it is `None`.
fn get_unique_tuple(
    walk: &Walk,
    id: CtId,
    protocol: Protocol,
    original: &ConntrackTuple,
    range: &NatRange,
    manip: Manip,
) -> (ConntrackTuple, bool) {
    let used = |tuple: &ConntrackTuple| {
        invert(protocol, tuple).is_some_and(|reply| conntrack::is_used(walk, protocol, &reply, id))
    };
    let random = range.random || range.random_fully;
    if manip == Manip::Src && !random && in_range(original, range) && !used(original) {
        return (*original, false);
    }
    let zone = walk.tracker.entries.get(id).map_or(0, |entry| entry.zone.id);
    let mut tuple = *original;
    find_best_ips(&mut tuple, range, manip, zone);
    if !random {
        let port = port_of(protocol, &tuple, manip);
        let settled = match range.ports {
            Some((low, high)) => {
                range.base_port.is_none()
                    && port.is_some_and(|port| (low..=high).contains(&port))
                    && (low == high || !used(&tuple))
            }
            None => !used(&tuple),
        };
        if settled {
            return (tuple, false);
        }
    }
    unique_port(protocol, &mut tuple, range, manip);
    let drawn = has_port(protocol) && port_of(protocol, &tuple, manip).is_none() && moves_port(protocol, range, manip);
    (tuple, drawn)
}

/// Whether a tuple's source is already what the range asks for (`nf_in_range`).
fn in_range(tuple: &ConntrackTuple, range: &NatRange) -> bool {
    let address = range.addrs.is_none_or(|(low, high)| (low..=high).contains(&tuple.source));
    let port = range.ports.is_none_or(|(low, high)| tuple.source_port.is_some_and(|port| (low..=high).contains(&port)));
    address && port
}

/// Chooses the address (`find_best_ips_proto`): with several a hash of the source and destination, which needs no
/// secret.
fn find_best_ips(tuple: &mut ConntrackTuple, range: &NatRange, manip: Manip, zone: u16) {
    let Some((low, high)) = range.addrs else { return };
    let chosen = if low == high { low } else { hashed_address(tuple, (low, high), manip, range.persistent, zone) };
    match manip {
        Manip::Src => tuple.source = chosen,
        Manip::Dst => tuple.destination = chosen,
    }
}

fn hashed_address(
    tuple: &ConntrackTuple,
    (low, high): (IpAddr, IpAddr),
    manip: Manip,
    persistent: bool,
    zone: u16,
) -> IpAddr {
    let source = words(tuple.source);
    let destination = words(tuple.destination);
    let (min, max) = (words(low), words(high));
    let last = if low.is_ipv4() { 0 } else { 3 };
    // The kernel hashes the words as they lie in memory: network order read by a little-endian machine.
    let raw = |word: u32| word.swap_bytes();
    let key = source.map(u32::to_be_bytes).concat();
    let seed = if persistent { 0 } else { raw(destination.get(last).copied().unwrap_or(0)) ^ u32::from(zone) };
    let mut hash = jhash(&key, seed);
    let mut full_range = false;
    let mut chosen = [0u32; 4];
    for (place, slot) in chosen.iter_mut().enumerate().take(last + 1) {
        let at = |words: &[u32; 4]| words.get(place).copied().unwrap_or(0);
        let (base, distance) =
            if full_range { (0, u32::MAX) } else { (at(&min), at(&max).wrapping_sub(at(&min)).wrapping_add(1)) };
        *slot = base.wrapping_add(reciprocal_scale(hash, distance));
        full_range |= *slot != at(&max);
        if !persistent {
            // Of a destination that is being replaced the word is the new one already.
            hash ^= raw(if manip == Manip::Dst { *slot } else { at(&destination) });
        }
    }
    match low {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(chosen[0])),
        IpAddr::V6(_) => {
            let [a, b, c, d] = chosen.map(u128::from);
            IpAddr::V6(Ipv6Addr::from(a << 96 | b << 64 | c << 32 | d))
        }
    }
}

/// An address as four words in host order, as `union nf_inet_addr` lays it out.
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(v4) => [v4.to_bits(), 0, 0, 0],
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            [96, 64, 32, 0].map(|shift| u32::try_from(bits >> shift & u128::from(u32::MAX)).unwrap_or(0))
        }
    }
}

fn port_of(protocol: Protocol, tuple: &ConntrackTuple, manip: Manip) -> Option<u16> {
    match manip {
        Manip::Dst if !is_icmp(protocol) => tuple.destination_port,
        _ => tuple.source_port,
    }
}

fn is_icmp(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::ICMP | Protocol::ICMPV6)
}

/// A destination keeps its port unless a range of ports is given; an ICMP identifier is the same in both directions.
fn moves_port(protocol: Protocol, range: &NatRange, manip: Manip) -> bool {
    range.ports.is_some() || manip == Manip::Src || is_icmp(protocol)
}

fn has_port(protocol: Protocol) -> bool {
    protocol.has_ports() || is_icmp(protocol)
}

/// Maps the port into the range (`nf_nat_l4proto_unique_tuple`); more than one to choose from is unknown.
fn unique_port(protocol: Protocol, tuple: &mut ConntrackTuple, range: &NatRange, manip: Manip) {
    if !has_port(protocol) {
        return;
    }
    if !moves_port(protocol, range, manip) {
        return;
    }
    let port = match (range.ports, range.base_port, port_of(protocol, tuple, manip)) {
        (Some((low, high)), _, _) if low == high => Some(low),
        (Some((low, high)), Some(base), Some(port)) => {
            let size = u32::from(high.saturating_sub(low)) + 1;
            let offset = u32::from(port.wrapping_sub(base)) % size;
            u16::try_from(u32::from(low) + offset).ok()
        }
        _ => None,
    };
    if manip == Manip::Dst && !is_icmp(protocol) {
        tuple.destination_port = port;
    } else {
        tuple.source_port = port;
    }
}

/// Rewrites the packet as its connection says (`nf_nat_packet`).
pub(super) fn nf_nat_packet(walk: &mut Walk, manip: Manip) {
    let Nfct::Entry(ct) = walk.skb.nfct else { return };
    let Some(entry) = walk.tracker.entries.get(ct.id) else { return };
    if !status(entry, manip, ct.dir) {
        return;
    }
    let Some(target) = invert(entry.protocol, entry.tuple(ct.dir.other())) else { return };
    let because = because(entry, manip, ct.dir);
    let unknown = unknown_after(entry, ct.dir);
    let mut packet = walk.packet().clone();
    manip_packet(&mut packet, &target, manip);
    // One port that nobody knows in place of another: no field that is known changes, but the checksum does.
    if walk.skb.unknown_port != unknown && packet == *walk.packet() {
        checksum::translated(walk);
    }
    walk.skb.unknown_port = unknown;
    take_nat(walk, packet, manip, ct.dir, because);
}

/// Which unknown port a packet has after it was rewritten: that of its connection's other side.
fn unknown_after(entry: &CtEntry, dir: Dir) -> UnknownPort {
    match dir {
        Dir::Original => entry.reply_unknown,
        Dir::Reply => entry.original_unknown,
    }
}

/// Whether this half of the packet is rewritten: an answer's halves change places.
fn status(entry: &CtEntry, manip: Manip, dir: Dir) -> bool {
    match (manip, dir) {
        (Manip::Src, Dir::Original) | (Manip::Dst, Dir::Reply) => entry.snat,
        (Manip::Dst, Dir::Original) | (Manip::Src, Dir::Reply) => entry.dnat,
    }
}

fn because(entry: &CtEntry, manip: Manip, dir: Dir) -> Option<Evidence> {
    match (manip, dir) {
        (Manip::Src, Dir::Original) | (Manip::Dst, Dir::Reply) => entry.snat_because,
        (Manip::Dst, Dir::Original) | (Manip::Src, Dir::Reply) => entry.dnat_because,
    }
}

fn take_nat(walk: &mut Walk, packet: Packet, manip: Manip, dir: Dir, because: Option<Evidence>) {
    let endpoint = match manip {
        Manip::Src => source_endpoint,
        Manip::Dst => destination_endpoint,
    };
    let (from_endpoint, to_endpoint) = (endpoint(walk.packet()), endpoint(&packet));
    if packet == *walk.packet() {
        return;
    }
    let change = match (manip, dir) {
        (Manip::Src, Dir::Original) => NatChange::Snat,
        (Manip::Dst, Dir::Original) => NatChange::Dnat,
        (Manip::Dst, Dir::Reply) => NatChange::SnatReply,
        (Manip::Src, Dir::Reply) => NatChange::DnatReply,
    };
    walk.take(Decision::Nat { change, to: Box::new(packet), from_endpoint, to_endpoint }, because);
    checksum::translated(walk);
}

/// Writes one half of a tuple into a packet (`nf_nat_manip_pkt`).
fn manip_packet(packet: &mut Packet, target: &ConntrackTuple, manip: Manip) {
    match manip {
        Manip::Src => packet.ip.source = target.source,
        Manip::Dst => packet.ip.destination = target.destination,
    }
    match &mut packet.transport {
        Transport::Tcp { source, destination, .. }
        | Transport::Udp { source, destination }
        | Transport::Sctp { source, destination } => match manip {
            Manip::Src => *source = target.source_port,
            Manip::Dst => *destination = target.destination_port,
        },
        Transport::Icmp { id, quoted: None, .. } => *id = target.source_port,
        _ => {}
    }
}

/// An ICMP error about a connection: the packet that it quotes is rewritten back, then the error itself
/// (`nf_nat_icmp_reply_translation`). A redirect about a connection that is translated is dropped, since the two ends
/// would go on without the translation, and so is what quotes less than 8 bytes of the header that is to be rewritten
/// (`l4proto_manip_pkt` in `nf_nat_proto.c`): connection tracking needs no more than the ports. The error's own checksum is
/// looked at before (`nf_nat_icmpv6_reply_translation`).
pub(super) fn icmp_reply_translation(walk: &mut Walk, hook: Hook) -> Stage<()> {
    let manip = Manip::at(hook);
    let Nfct::Entry(ct) = walk.skb.nfct else { return Ok(()) };
    let Some(entry) = walk.tracker.entries.get(ct.id) else { return Ok(()) };
    if walk.skb.unfit_sum {
        let detail = "the error's checksum fits no longer";
        return Err(End::dropped(Reason::NatFailed).detail(detail).because(because(entry, manip, ct.dir)));
    }
    if is_redirect(walk.packet()) && (entry.snat || entry.dnat) {
        let detail = "a redirect is about a connection whose addresses are translated";
        return Err(End::dropped(Reason::Conntrack).detail(detail).because(because(entry, manip, ct.dir)));
    }
    if !status(entry, manip, ct.dir) {
        return Ok(());
    }
    let quoted = walk.packet().quoted_behind_ip().filter(|quoted| *quoted < 8);
    if let Some(quoted) = quoted.filter(|_| has_port(entry.protocol)) {
        let detail = format!("{quoted} bytes of the header that the error quotes are too few to be translated");
        return Err(End::dropped(Reason::NatFailed).detail(detail).because(because(entry, manip, ct.dir)));
    }
    let other = *entry.tuple(ct.dir.other());
    let Some(outer) = invert(entry.protocol, &other) else { return Ok(()) };
    let because = because(entry, manip, ct.dir);
    let unknown = unknown_after(entry, ct.dir);
    walk.skb.unknown_port = unknown;
    let mut packet = walk.packet().clone();
    if let Transport::Icmp { quoted: Some(quoted), .. } = &mut packet.transport {
        manip_packet(quoted, &other, manip.other());
    }
    match manip {
        Manip::Src => packet.ip.source = outer.source,
        Manip::Dst => packet.ip.destination = outer.destination,
    }
    take_nat(walk, packet, manip, ct.dir, because);
    Ok(())
}

/// `ICMP_REDIRECT`, `NDISC_REDIRECT`.
fn is_redirect(packet: &Packet) -> bool {
    let redirect = if packet.family() == Family::Inet { 5 } else { 137 };
    matches!(packet.transport, Transport::Icmp { kind, .. } if kind == redirect)
}

/// Whether a packet is an ICMP error that belongs to a connection.
pub(super) fn is_related_error(walk: &Walk) -> bool {
    conntrack::state(walk) == CtState::Related && walk.packet().is_icmp_error()
}

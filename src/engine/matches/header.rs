//! Extensions that look at the packet's headers, and at what the kernel keeps beside them.

use std::net::IpAddr;

use crate::net::{IfName, Link, MacAddr, Packet, Transport};
use crate::snapshot::{
    EcnMatch, IcmpType, IfPattern, IprangeMatch, LinkKind, Match, Multiport, MultiportSide, Options, OwnerMatch,
    PhysdevMatch, PktType, PortRange, Ports, TcpMatch, Test, TtlTest,
};
use crate::trace::Hook;

use super::super::netfilter::HookState;
use super::super::pkt_type;
use super::super::skb::Sender;
use super::super::tcp_options::{self, HasOption};
use super::super::walk::Walk;
use super::Answer;

pub(super) fn ask(walk: &Walk, state: &HookState, one: &Match) -> Answer {
    let packet = walk.packet();
    match one {
        Match::Udp(ports) => ports_match(packet, ports),
        Match::Tcp(tcp) => tcp_mt(walk, tcp),
        Match::Sctp(sctp) => ports_match(packet, &sctp.ports).and(|| {
            let chunks = sctp.chunks.as_ref();
            chunks.map_or(Answer::from(true), |chunks| {
                Answer::unknowable(format!("the packet's SCTP chunks are {}", chunks.value)).inverted(chunks.invert)
            })
        }),
        Match::Dccp(dccp) => ports_match(packet, &dccp.ports).and(|| {
            if dccp.types.is_none() && dccp.option.is_none() {
                return Answer::from(true);
            }
            Answer::unknowable(format!("the packet is what `{one}` asks for"))
        }),
        Match::Multiport(test) => multiport_mt(packet, &test.value).inverted(test.invert),
        Match::Icmp(test) | Match::Icmp6(test) => icmp_match(packet, *test),
        Match::Mark(test) => Answer::from(test.of(packet.mark.0 & test.value.mask == test.value.value)),
        Match::Length(test) => {
            let (low, high) = test.value;
            length_mt(walk, u32::from(low), u32::from(high)).inverted(test.invert)
        }
        Match::Ttl(how, ttl) | Match::Hl(how, ttl) => Answer::from(ttl_mt(*how, packet.ip.ttl, *ttl)),
        Match::Tos(test) => Answer::from(test.of(packet.ip.tos & test.value.mask == test.value.value)),
        Match::Dscp(test) => Answer::from(test.of(packet.ip.tos >> 2 == test.value)),
        Match::Ecn(ecn) => ecn_mt(packet, *ecn),
        Match::Iprange(iprange) => Answer::from(iprange_mt(packet, iprange)),
        Match::PktType(test) => Answer::from(test.of(pkt_type(walk) == test.value)),
        Match::MacSource(test) => match link_source(walk) {
            Ok(source) => Answer::from(source.is_some_and(|source| test.of(source == test.value))),
            Err(what) => Answer::unknown(what),
        },
        Match::Physdev(physdev) => Answer::from(physdev_mt(walk, physdev)),
        Match::Owner(owner) => owner_mt(walk, state, owner),
        _ => Answer::No,
    }
}

/// `length_mt` in `xt_length.c`.
fn length_mt(walk: &Walk, low: u32, high: u32) -> Answer {
    let (least, most) = if walk.skb.in_pieces {
        let [first, _] = walk.seen_lengths();
        (first, first)
    } else {
        walk.length_range()
    };
    if (low <= least && most <= high) || most < low || high < least {
        return Answer::from(low <= least && most <= high);
    }
    Answer::unknown(format!("the answer to the SYN, of {least} to {most} bytes, has {low} to {high}"))
}

/// `udp_mt` in `xt_tcpudp.c`, and the ports of the other protocols.
fn ports_match(packet: &Packet, ports: &Ports) -> Answer {
    let asked = |test: Option<Test<PortRange>>, side| {
        test.map_or(Answer::from(true), |test| port_match(packet, side, test.value).inverted(test.invert))
    };
    asked(ports.source, MultiportSide::Source).and(|| asked(ports.destination, MultiportSide::Destination))
}

/// `tcp_mt` in `xt_tcpudp.c`. The options of a segment no question gives.
fn tcp_mt(walk: &Walk, tcp: &TcpMatch) -> Answer {
    let packet = walk.packet();
    let Transport::Tcp { flags, .. } = packet.transport else { return Answer::No };
    if tcp.flags.is_some_and(|test| !test.of(flags & test.value.mask == test.value.set)) {
        return Answer::No;
    }
    ports_match(packet, &tcp.ports).and(|| {
        tcp.option.map_or(Answer::from(true), |test| {
            let what = || format!("the segment has the TCP option {}", test.value);
            match tcp_options::there(walk, packet, test.value) {
                HasOption::Yes => Answer::from(true),
                HasOption::No => Answer::No,
                HasOption::AsSent => Answer::unknown(what()),
                HasOption::Open => Answer::unknowable(what()),
            }
            .inverted(test.invert)
        })
    })
}

/// `tcpmss_mt` in `net/netfilter/xt_tcpmss.c`: a segment without the option matches a negation alone.
pub(super) fn tcpmss_mt(walk: &Walk, options: &Options) -> Answer {
    let asked = options.find("--mss");
    let (text, invert) = asked.map_or(("", false), |asked| (&*asked.value, asked.invert));
    let there = tcp_options::there(walk, walk.packet(), tcp_options::MSS);
    let ((least, most), _) = tcp_options::mss_range(walk);
    let (low, high) = text.split_once(':').unwrap_or((text, text));
    if there == HasOption::No {
        return Answer::from(invert);
    }
    if let (Ok(low), Ok(high)) = (low.parse::<u16>(), high.parse::<u16>()) {
        if most < low || high < least {
            return Answer::from(invert);
        }
        if there == HasOption::Yes && low <= least && most <= high {
            return Answer::from(!invert);
        }
    }
    Answer::unknowable(format!("the segment's maximum segment size is {text}")).inverted(invert)
}

/// `ecn_mt4` and `ecn_mt6` in `xt_ecn.c`.
fn ecn_mt(packet: &Packet, ecn: EcnMatch) -> Answer {
    if ecn.ect.is_some_and(|test| !test.of(packet.ip.tos & 0x03 == test.value)) {
        return Answer::No;
    }
    if ecn.ece.is_none() && ecn.cwr.is_none() {
        return Answer::from(true);
    }
    let Transport::Tcp { flags, .. } = packet.transport else { return Answer::No };
    let fits = |test: Option<Test<()>>, flag: u8| test.is_none_or(|test| test.of(flags & flag != 0));
    Answer::from(fits(ecn.ece, 0x40) && fits(ecn.cwr, 0x80))
}

/// One port against one range (`port_match` in `xt_tcpudp.c`).
fn port_match(packet: &Packet, side: MultiportSide, range: PortRange) -> Answer {
    multiport_mt(packet, &Multiport { side, ranges: Box::new([range]) })
}

/// `xt_multiport.c`.
fn multiport_mt(packet: &Packet, multiport: &Multiport) -> Answer {
    if !packet.protocol().has_ports() {
        return Answer::No;
    }
    let within = |port: Option<u16>| port.map(|port| multiport.ranges.iter().any(|range| range.contains(port)));
    let (source, destination) = (within(packet.source_port()), within(packet.destination_port()));
    let (answer, name) = match multiport.side {
        MultiportSide::Source => (source, "source port"),
        MultiportSide::Destination => (destination, "destination port"),
        MultiportSide::Either if source == Some(true) || destination == Some(true) => (Some(true), ""),
        MultiportSide::Either => (source.and(destination), "port"),
    };
    let Some(answer) = answer else {
        let ranges: Vec<String> = multiport.ranges.iter().map(|range| written(*range)).collect();
        let ip = packet.ip;
        return Answer::unknown(format!("the {name} of {} > {} is {}", ip.source, ip.destination, ranges.join(",")));
    };
    Answer::from(answer)
}

fn written(range: PortRange) -> String {
    if range.low == range.high { range.low.to_string() } else { format!("{}:{}", range.low, range.high) }
}

/// `icmp_type_code_match` in `xt_tcpudp.c` and its IPv6 twin.
fn icmp_match(packet: &Packet, test: Test<IcmpType>) -> Answer {
    let Transport::Icmp { kind, code, .. } = packet.transport else { return Answer::No };
    let (low, high) = test.value.codes;
    let same = test.value.kind.is_none_or(|wanted| wanted == kind && (low..=high).contains(&code));
    Answer::from(test.of(same))
}

/// `xt_hl.c`.
fn ttl_mt(how: TtlTest, ttl: u8, wanted: u8) -> bool {
    match how {
        TtlTest::Eq => ttl == wanted,
        TtlTest::Ne => ttl != wanted,
        TtlTest::Lt => ttl < wanted,
        TtlTest::Gt => ttl > wanted,
    }
}

/// `xt_iprange.c`.
fn iprange_mt(packet: &Packet, iprange: &IprangeMatch) -> bool {
    let within =
        |addr: IpAddr, low: IpAddr, high: IpAddr| addr.is_ipv4() == low.is_ipv4() && (low..=high).contains(&addr);
    let ip = packet.ip;
    iprange.source.is_none_or(|test| test.of(within(ip.source, test.value.0, test.value.1)))
        && iprange.destination.is_none_or(|test| test.of(within(ip.destination, test.value.0, test.value.1)))
}

/// `skb->pkt_type`, of a packet that the rules see: one for another host has been dropped, or is being bridged, which
/// makes it one for this host.
fn pkt_type(walk: &Walk) -> PktType {
    let by_address = || walk.packet().link.and_then(|link| pkt_type::PktType::of_group(link.destination));
    match walk.skb.pkt_type.or_else(by_address) {
        Some(pkt_type::PktType::Broadcast) => PktType::Broadcast,
        Some(pkt_type::PktType::Multicast) => PktType::Multicast,
        _ => PktType::Unicast,
    }
}

/// The source address of the frame (`mac_mt` in `xt_mac.c`): `None` where it has none, an error where it is unknown.
pub(in super::super) fn link_source(walk: &Walk) -> Result<Option<MacAddr>, String> {
    match (link(walk), walk.skb.sender) {
        (Err(_), Sender::Given(sender) | Sender::Neighbour(sender, ..)) => {
            walk.ask_sender();
            Ok(Some(sender))
        }
        (link, _) => link.map(|link| link.map(|link| link.source)),
    }
}

/// The destination address of the frame, the same way. Where the question doesn't give it, it is that of who takes the
/// frame: the device, or the bridge that it is a port of.
pub(in super::super) fn link_destination(walk: &Walk) -> Result<Option<MacAddr>, String> {
    let link = link(walk);
    match (&link, walk.own_destination()) {
        (Err(_), Some(own)) => {
            walk.skb.asked_destination.set(Some(own));
            Ok(Some(own.0))
        }
        _ => link.map(|link| link.map(|link| link.destination)),
    }
}

/// Whether a device's frames have no Ethernet header (`dev->type` in `xt_mac.c`): a tunnel's that carries packets, such as
/// WireGuard's, shows no link address.
pub(in super::super) fn is_bare(link: &crate::snapshot::Link) -> bool {
    match link.kind {
        LinkKind::Loopback | LinkKind::Tun { tap: false } => true,
        LinkKind::Other(_) => link.lladdr.is_none(),
        _ => false,
    }
}

/// The frame's addresses: `None` on devices that aren't Ethernet, an error where they are unknown.
fn link(walk: &Walk) -> Result<Option<Link>, String> {
    let Some(dev) = &walk.skb.iif else { return Ok(None) };
    if walk.netns().link(dev).is_some_and(is_bare) || dev.as_str() == "lo" {
        return Ok(None);
    }
    if let Some(link) = walk.packet().link {
        return Ok(Some(link));
    }
    match walk.skb.sender {
        Sender::Unknown => Err(format!(
            "the link addresses of what came in by {dev} are what the rule asks for (--mac gives the source)"
        )),
        _ => Err(format!("the link addresses of what came in by {dev} are what the rule asks for")),
    }
}

/// `xt_physdev.c`.
fn physdev_mt(walk: &Walk, physdev: &PhysdevMatch) -> bool {
    let only_inverted = |test: Option<bool>| test.is_none_or(|invert| invert);
    let Some(nf_bridge) = &walk.skb.nf_bridge else {
        return only_inverted(physdev.is_bridged.map(|test| test.invert))
            && only_inverted(physdev.is_in.map(|test| test.invert))
            && only_inverted(physdev.is_out.map(|test| test.invert))
            && only_inverted(physdev.input.as_ref().map(|pattern| pattern.invert))
            && only_inverted(physdev.output.as_ref().map(|pattern| pattern.invert));
    };
    let (indev, outdev) = (nf_bridge.physin.as_ref(), nf_bridge.physout.as_ref());
    let matches = |pattern: &IfPattern, dev: Option<&IfName>| pattern.matches(dev.map(IfName::as_str));
    physdev.is_bridged.is_none_or(|test| test.of(outdev.is_some()))
        && physdev.is_in.is_none_or(|test| test.of(indev.is_some()))
        && physdev.is_out.is_none_or(|test| test.of(outdev.is_some()))
        // An input port that isn't known matches whatever is asked.
        && physdev.input.as_ref().is_none_or(|pattern| indev.is_none() || matches(pattern, indev))
        && physdev.output.as_ref().is_none_or(|pattern| outdev.is_some() && matches(pattern, outdev))
}

/// `xt_owner.c`. Only what the namespace sends itself has a socket, and whose it is no snapshot says. The kernel's own
/// socket for ICMP errors is nobody's.
fn owner_mt(walk: &Walk, state: &HookState, owner: &OwnerMatch) -> Answer {
    let inverted = |test: Option<bool>| test.is_none_or(|invert| invert);
    let nobodys = inverted(owner.uid.map(|test| test.invert)) && inverted(owner.gid.map(|test| test.invert));
    let socket = owner.socket.map(|test| test.invert);
    let local = walk.skb.iif.is_none() && matches!(state.hook, Hook::Output | Hook::Postrouting);
    let icmp = matches!(walk.packet().transport, Transport::Icmp { .. });
    if !local || (!walk.skb.own && !icmp) {
        return Answer::from(nobodys && inverted(socket));
    }
    if socket == Some(true) {
        return Answer::No;
    }
    if !walk.skb.own || (owner.uid.is_none() && owner.gid.is_none()) {
        return Answer::from(nobodys);
    }
    let given = |name: &str| if name == "user" { walk.given.uid } else { walk.given.gid };
    let who = |name: &str, test: Test<(u32, u32)>| {
        let (low, high) = test.value;
        let within = given(name).filter(|_| walk.packet().inner.is_none()).map(|id| (low..=high).contains(&id));
        // Nobody says which supplementary groups the sender has.
        if let Some(within) = within.filter(|within| *within || name == "user" || !owner.suppl_groups) {
            return Answer::from(test.of(within));
        }
        let ids = if low == high { low.to_string() } else { format!("{low}-{high}") };
        let place = walk.place();
        Answer::unknown(format!("the sender on {} {} is of {name} {ids}", place.node, place.name)).inverted(test.invert)
    };
    match (owner.uid, owner.gid) {
        (Some(uid), None) => who("user", uid),
        (None, Some(gid)) => who("group", gid),
        (Some(uid), Some(gid)) => who("user", uid).and(|| who("group", gid)),
        (None, None) => Answer::from(nobodys),
    }
}

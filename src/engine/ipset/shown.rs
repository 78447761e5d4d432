//! What a packet shows to a set (`*_kadt` of the types in `net/netfilter/ipset/`).

use std::net::IpAddr;

use crate::engine::matches::{link_destination, link_source};
use crate::engine::netfilter::HookState;
use crate::engine::walk::Walk;
use crate::net::{IfName, MacAddr, Packet, Protocol, Transport};
use crate::snapshot::{IpSet, SetPart, SetProbe, SetSide};

/// What a packet shows to a set.
pub(super) struct Shown {
    pub(super) first: Option<IpAddr>,
    second: Option<IpAddr>,
    port: Option<(u8, u16)>,
    iface: Option<IfName>,
    pub(super) mac: Result<Option<MacAddr>, String>,
    mark: u32,
}

impl Shown {
    pub(super) fn probe(&self) -> SetProbe<'_> {
        SetProbe {
            first: self.first,
            port: self.port,
            second: self.second,
            iface: self.iface.as_ref().map(IfName::as_str),
            // iptables never asks for the bridge port (`IPSET_FLAG_PHYSDEV`), so such elements never match.
            physdev: None,
            mac: self.mac.as_ref().ok().copied().flatten(),
            mark: self.mark,
        }
    }
}

/// Takes from a packet what a set's elements consist of (`*_kadt`): `None` where it lacks a part, so that it doesn't
/// match; an error where a part is unknown.
pub(super) fn show(walk: &Walk, state: &HookState, set: &IpSet, sides: &[SetSide]) -> Result<Option<Shown>, String> {
    let packet = walk.packet();
    let mut shown = Shown { first: None, second: None, port: None, iface: None, mac: Ok(None), mark: packet.mark.0 };
    for (part, side) in set.parts.iter().flatten().zip(sides) {
        let is_source = *side == SetSide::Source;
        match part {
            SetPart::Ip | SetPart::Net => {
                let addr = if is_source { packet.ip.source } else { packet.ip.destination };
                let slot = if shown.first.is_none() { &mut shown.first } else { &mut shown.second };
                *slot = Some(addr);
            }
            SetPart::Port => match port(packet, *side, set.kind == "bitmap:port")? {
                Some(port) => shown.port = Some(port),
                None => return Ok(None),
            },
            SetPart::Iface => match if is_source { &state.indev } else { &state.outdev } {
                Some(dev) => shown.iface = Some(dev.clone()),
                None => return Ok(None),
            },
            SetPart::Mac => match if is_source { link_source(walk) } else { link_destination(walk) } {
                Ok(Some(mac)) => shown.mac = Ok(Some(mac)),
                Ok(None) => return Ok(None),
                Err(what) => shown.mac = Err(what),
            },
            SetPart::Mark | SetPart::Set => {}
        }
    }
    // `hash_ip4_kadt` refuses the address of all zeros.
    let zero = set.kind == "hash:ip" && shown.first.is_some_and(|addr| addr.is_unspecified());
    Ok((!zero).then_some(shown))
}

/// Protocol and port (`ip_set_get_ip4_port` in `ip_set_getport.c`, `ip_set_get_ip_port` in `ip_set_bitmap_port.c`).
fn port(packet: &Packet, side: SetSide, bitmap: bool) -> Result<Option<(u8, u16)>, String> {
    let protocol = packet.protocol();
    let port = match packet.transport {
        Transport::Icmp { kind, code, .. } => Some(u16::from_be_bytes([kind, code])),
        // UDP-Lite has ports, which the walk doesn't keep.
        Transport::Other(Protocol(136)) => None,
        Transport::Other(_) => Some(0),
        _ if side == SetSide::Source => packet.source_port(),
        _ => packet.destination_port(),
    };
    if bitmap && !matches!(protocol, Protocol::TCP | Protocol::UDP) {
        return Ok(None);
    }
    let port = port.ok_or("a port is not known")?;
    Ok(Some((if bitmap { 0 } else { protocol.0 }, port)))
}

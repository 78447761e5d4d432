//! Values of options.

use std::net::IpAddr;

use crate::net::Family;
use crate::snapshot::{
    AddrMask, AddrType, ConntrackStatus, CtStates, Direction, IfPattern, PktType, PortRange, SetSide,
};

use super::name;

/// `ADDR`, `ADDR/LENGTH` or `ADDR/MASK`.
pub(super) fn addr_mask(family: Family, text: &str, invert: bool) -> Option<AddrMask> {
    let (addr, mask) = text.split_once('/').map_or((text, None), |(addr, mask)| (addr, Some(mask)));
    let addr: IpAddr = addr.parse().ok()?;
    if Family::of(addr) != family {
        return None;
    }
    let mask = match mask {
        None => name::prefix_mask(family, family.bits())?,
        Some(mask) => match mask.parse() {
            Ok(length) => name::prefix_mask(family, length)?,
            Err(_) => mask.parse().ok().filter(|mask| Family::of(*mask) == family)?,
        },
    };
    Some(AddrMask { addr, mask, invert })
}

/// A device's name; a `+` at its end stands for anything.
pub(super) fn if_pattern(text: &str, invert: bool) -> IfPattern {
    match text.strip_suffix('+') {
        Some(start) => IfPattern { name: start.into(), prefix: true, invert },
        None => IfPattern { name: text.into(), prefix: false, invert },
    }
}

/// A number below 256.
pub(super) fn small(text: &str) -> Option<u8> {
    u8::try_from(name::number(text)?).ok()
}

/// `LOW:HIGH` with either end left out, or one value.
pub(super) fn range<T: Copy + Default>(
    text: &str,
    between: char,
    read: impl Fn(&str) -> Option<T>,
    highest: T,
) -> Option<(T, T)> {
    let Some((low, high)) = text.split_once(between) else {
        let value = read(text)?;
        return Some((value, value));
    };
    let low = if low.is_empty() { T::default() } else { read(low)? };
    let high = if high.is_empty() { highest } else { read(high)? };
    Some((low, high))
}

/// `LOW-HIGH`, or one value.
pub(super) fn ranged<T: Copy>(text: &str, between: char, read: impl Fn(&str) -> Option<T>) -> Option<(T, T)> {
    match text.split_once(between) {
        Some((low, high)) => Some((read(low)?, read(high)?)),
        None => read(text).map(|value| (value, value)),
    }
}

/// `PORT` or `LOW:HIGH`.
pub(super) fn port_range(text: &str) -> Option<PortRange> {
    range(text, ':', name::port, u16::MAX).map(|(low, high)| PortRange { low, high })
}

/// Names of TCP flags with commas between them.
pub(super) fn tcp_flags(text: &str) -> Option<u8> {
    let flag = |name: &str| match name.to_ascii_uppercase().as_str() {
        "FIN" => Some(0x01),
        "SYN" => Some(0x02),
        "RST" => Some(0x04),
        "PSH" => Some(0x08),
        "ACK" => Some(0x10),
        "URG" => Some(0x20),
        "ALL" => Some(0x3f),
        "NONE" => Some(0),
        _ => None,
    };
    text.split(',').try_fold(0, |flags, name| Some(flags | flag(name)?))
}

/// Address types with commas between them.
pub(super) fn addr_type(text: &str) -> Option<AddrType> {
    let kind = |name: &str| match name.to_ascii_uppercase().as_str() {
        "UNSPEC" => Some(AddrType::UNSPEC),
        "UNICAST" => Some(AddrType::UNICAST),
        "LOCAL" => Some(AddrType::LOCAL),
        "BROADCAST" => Some(AddrType::BROADCAST),
        "ANYCAST" => Some(AddrType::ANYCAST),
        "MULTICAST" => Some(AddrType::MULTICAST),
        "BLACKHOLE" => Some(AddrType::BLACKHOLE),
        "UNREACHABLE" => Some(AddrType::UNREACHABLE),
        "PROHIBIT" => Some(AddrType::PROHIBIT),
        "THROW" => Some(AddrType::THROW),
        "NAT" => Some(AddrType::NAT),
        "XRESOLVE" => Some(AddrType::XRESOLVE),
        _ => None,
    };
    text.split(',').try_fold(AddrType::default(), |kinds, name| Some(AddrType(kinds.0 | kind(name)?.0)))
}

/// Connection states with commas between them.
pub(super) fn ct_states(text: &str) -> Option<CtStates> {
    let state = |name: &str| match name.to_ascii_uppercase().as_str() {
        "INVALID" => Some(CtStates::INVALID),
        "NEW" => Some(CtStates::NEW),
        "ESTABLISHED" => Some(CtStates::ESTABLISHED),
        "RELATED" => Some(CtStates::RELATED),
        "UNTRACKED" => Some(CtStates::UNTRACKED),
        "SNAT" => Some(CtStates::SNAT),
        "DNAT" => Some(CtStates::DNAT),
        _ => None,
    };
    text.split(',').try_fold(CtStates::default(), |states, name| Some(CtStates(states.0 | state(name)?.0)))
}

/// Connection status bits with commas between them.
pub(super) fn ct_status(text: &str) -> Option<ConntrackStatus> {
    let bit = |name: &str| match name.to_ascii_uppercase().as_str() {
        "NONE" => Some(ConntrackStatus::default()),
        "EXPECTED" => Some(ConntrackStatus::EXPECTED),
        "SEEN_REPLY" => Some(ConntrackStatus::SEEN_REPLY),
        "ASSURED" => Some(ConntrackStatus::ASSURED),
        "CONFIRMED" => Some(ConntrackStatus::CONFIRMED),
        _ => None,
    };
    text.split(',').try_fold(ConntrackStatus::default(), |bits, name| Some(ConntrackStatus(bits.0 | bit(name)?.0)))
}

/// `ORIGINAL` or `REPLY`.
pub(super) fn direction(text: &str) -> Option<Direction> {
    match text.to_ascii_uppercase().as_str() {
        "ORIGINAL" => Some(Direction::Original),
        "REPLY" => Some(Direction::Reply),
        _ => None,
    }
}

/// `src,dst,…`.
pub(super) fn set_sides(text: &str) -> Option<Box<[SetSide]>> {
    let side = |name| match name {
        "src" => Some(SetSide::Source),
        "dst" => Some(SetSide::Destination),
        _ => None,
    };
    text.split(',').map(side).collect()
}

/// `--pkt-type`.
pub(super) fn pkt_type(text: &str) -> Option<PktType> {
    match text {
        "unicast" | "host" => Some(PktType::Unicast),
        "broadcast" => Some(PktType::Broadcast),
        "multicast" => Some(PktType::Multicast),
        _ => None,
    }
}

/// A chance in units of 2⁻³¹, rounded as iptables does (`lround`), so that what iptables printed comes out exact.
pub(super) fn probability(text: &str) -> Option<u32> {
    let chance: f64 = text.parse().ok().filter(|chance| (0.0..=1.0).contains(chance))?;
    let units = (chance * f64::from(1u32 << 31)).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^31")]
    Some(units as u32)
}

/// A port or a range of NAT: `PORT` or `LOW-HIGH`.
pub(super) fn nat_ports(text: &str) -> Option<(u16, u16)> {
    name::port(text).map(|port| (port, port)).or_else(|| ranged(text, '-', name::port))
}

//! Values of options.

use std::net::IpAddr;

use crate::net::Family;
use crate::snapshot::{ADDR_TYPES, AddrMask, AddrType, ConntrackStatus, CtStates, IfPattern, PortRange, SetSide};

use super::name;

/// What stands before and after a sign. Values are short, and there are very many of them.
pub(super) fn split(text: &str, sign: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(sign, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// An address of a family.
pub(super) fn address(text: &str, family: Family) -> Option<IpAddr> {
    match family {
        Family::Inet => text.parse().ok().map(IpAddr::V4),
        Family::Inet6 => text.parse().ok().map(IpAddr::V6),
    }
}

/// `ADDR`, `ADDR/LENGTH` or `ADDR/MASK`.
pub(super) fn addr_mask(family: Family, text: &str, invert: bool) -> Option<AddrMask> {
    let (addr, mask) = split(text, b'/').map_or((text, None), |(addr, mask)| (addr, Some(mask)));
    let addr = address(addr, family)?;
    let mask = match mask {
        None => name::prefix_mask(family, family.bits())?,
        Some(mask) => match mask.parse() {
            Ok(length) => name::prefix_mask(family, length)?,
            Err(_) => address(mask, family)?,
        },
    };
    AddrMask::new(addr, mask, invert)
}

/// The same, without the bits that don't count, as the kernel keeps it.
pub(super) fn masked_addr(family: Family, text: &str, invert: bool) -> Option<AddrMask> {
    let found = addr_mask(family, text, invert)?;
    let addr = match (found.addr(), found.mask()) {
        (IpAddr::V4(addr), IpAddr::V4(mask)) => IpAddr::V4(addr & mask),
        (IpAddr::V6(addr), IpAddr::V6(mask)) => IpAddr::V6(addr & mask),
        (addr, _) => addr,
    };
    AddrMask::new(addr, found.mask(), invert)
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
    between: u8,
    read: impl Fn(&str) -> Option<T>,
    highest: T,
) -> Option<(T, T)> {
    let Some((low, high)) = split(text, between) else {
        let value = read(text)?;
        return Some((value, value));
    };
    let low = if low.is_empty() { T::default() } else { read(low)? };
    let high = if high.is_empty() { highest } else { read(high)? };
    Some((low, high))
}

/// `LOW-HIGH`, or one value.
pub(super) fn ranged<T: Copy>(text: &str, between: u8, read: impl Fn(&str) -> Option<T>) -> Option<(T, T)> {
    match split(text, between) {
        Some((low, high)) => Some((read(low)?, read(high)?)),
        None => read(text).map(|value| (value, value)),
    }
}

/// `PORT` or `LOW:HIGH`.
pub(super) fn port_range(text: &str) -> Option<PortRange> {
    range(text, b':', name::port, u16::MAX).map(|(low, high)| PortRange { low, high })
}

/// Address types with commas between them.
pub(super) fn addr_type(text: &str) -> Option<AddrType> {
    text.split(',').try_fold(AddrType::default(), |kinds, name| {
        let (kind, _) = ADDR_TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name))?;
        Some(AddrType(kinds.0 | u16::try_from(*kind).ok()?))
    })
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

/// `src,dst,…`.
pub(super) fn set_sides(text: &str) -> Option<Box<[SetSide]>> {
    let side = |name| match name {
        "src" => Some(SetSide::Source),
        "dst" => Some(SetSide::Destination),
        _ => None,
    };
    text.split(',').map(side).collect()
}

/// A chance in units of 2⁻³¹, rounded as iptables does (`lround`), so that what iptables printed comes out exact.
pub(super) fn probability(text: &str) -> Option<u32> {
    let chance: f64 = text.parse().ok().filter(|chance| (0.0..=1.0).contains(chance))?;
    let units = (chance * f64::from(1u32 << 31)).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^31")]
    Some(units as u32)
}

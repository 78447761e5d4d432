//! How values of options are printed, for extensions of which only the options are kept.

use std::fmt::Display;
use std::net::IpAddr;

use crate::net::Family;
use crate::snapshot::{Quoted, SavedOption, Span};

use super::name;
use super::value::{addr_mask, range};

/// An option with what is printed as its value.
pub(super) fn saved(name: &'static str, invert: bool, value: impl Display) -> SavedOption {
    SavedOption { name, invert, value: value.to_string().into() }
}

/// A number up to a highest one.
pub(super) fn number<const MAX: u64>(text: &str, _: Family) -> Option<String> {
    name::number64(text).filter(|number| *number <= MAX).map(|number| number.to_string())
}

/// A number of 8 bits.
pub(super) const U8: super::grammar::Print = number::<0xff>;
/// A number of 16 bits.
pub(super) const U16: super::grammar::Print = number::<0xffff>;
/// A number of 32 bits.
pub(super) const U32: super::grammar::Print = number::<0xffff_ffff>;

/// A number of 32 bits, printed with so many hexadecimal digits.
pub(super) fn hex<const DIGITS: usize>(text: &str, _: Family) -> Option<String> {
    let most = 16u64.checked_pow(u32::try_from(DIGITS).ok()?).map_or(u64::MAX, |end| end - 1);
    let number = name::number64(text).filter(|number| *number <= most.max(u64::from(u32::MAX)))?;
    Some(format!("{number:#0width$x}", width = DIGITS + 2))
}

/// `LOW:HIGH` of 32 bits, or one number.
pub(super) fn span(text: &str, _: Family) -> Option<String> {
    let (low, high) = range(text, b':', name::number, u32::MAX)?;
    Some(Span(low, high).to_string())
}

/// A name, or other text that is printed as it stands.
pub(super) fn word(text: &str, _: Family) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Text, with quotes where it needs them.
pub(super) fn quoted(text: &str, _: Family) -> Option<String> {
    (!text.is_empty()).then(|| Quoted(text).to_string())
}

/// An address.
pub(super) fn address(text: &str, family: Family) -> Option<String> {
    let addr: IpAddr = text.parse().ok()?;
    (Family::of(addr) == family).then(|| addr.to_string())
}

/// An address, with a mask unless every bit counts.
pub(super) fn addresses(text: &str, family: Family) -> Option<String> {
    addr_mask(family, text, false).map(|addr| addr.to_string())
}

/// A port.
pub(super) fn port(text: &str, _: Family) -> Option<String> {
    name::port(text).map(|port| port.to_string())
}

/// A protocol, as a number.
pub(super) fn protocol(text: &str, _: Family) -> Option<String> {
    name::protocol(text).map(|protocol| protocol.0.to_string())
}

/// A mark with a mask, which is printed where it leaves bits out.
pub(super) fn value_mask(text: &str, _: Family) -> Option<String> {
    let (value, mask) = name::masked(text)?;
    Some(if mask == u32::MAX { format!("{value:#x}") } else { format!("{value:#x}/{mask:#x}") })
}

/// A mark with a mask.
pub(super) fn mark_mask(text: &str, _: Family) -> Option<String> {
    let (value, mask) = name::masked(text)?;
    Some(format!("{value:#x}/{mask:#x}"))
}

/// One of some words.
pub(super) fn exactly(text: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().find(|word| **word == text).copied()
}

/// One of some words, in any case; printed as it stands in the list.
pub(super) fn one_of(text: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied()
}

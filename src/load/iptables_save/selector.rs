//! What `iptables` itself asks: addresses, devices, the protocol (`do_parse` in `iptables/xshared.c`).

use crate::net::Family;
use crate::snapshot::{IfPattern, Selector, Test};

use super::grammar::Refusal;
use super::name;
use super::value::{if_pattern, masked_addr};
use super::words::Words;

/// The longest name of a device (`IFNAMSIZ` without its end).
const LONGEST_NAME: usize = 15;

/// Takes an option of `iptables` itself, with its value; false where it is none. Its own word has been taken.
pub(super) fn option(
    selector: &mut Selector,
    words: &mut Words<'_>,
    place: usize,
    (invert, family): (bool, Family),
) -> Result<bool, Refusal> {
    match words.get(place).unwrap_or("") {
        "-s" | "--source" | "--src" => {
            let (text, invert, at) = value(words, invert)?;
            let addr = masked_addr(family, text, invert).ok_or_else(|| no_address(at, family))?;
            once(selector.source.replace(addr).is_some(), place)?;
        }
        "-d" | "--destination" | "--dst" => {
            let (text, invert, at) = value(words, invert)?;
            let addr = masked_addr(family, text, invert).ok_or_else(|| no_address(at, family))?;
            once(selector.destination.replace(addr).is_some(), place)?;
        }
        "-i" | "--in-interface" => {
            let device = device(words, invert)?;
            once(selector.devices.get_or_insert_default().input.replace(device).is_some(), place)?;
        }
        "-o" | "--out-interface" => {
            let device = device(words, invert)?;
            once(selector.devices.get_or_insert_default().output.replace(device).is_some(), place)?;
        }
        "-p" | "--protocol" | "--proto" => protocol(selector, words, invert)?,
        "-f" | "--fragment" if family == Family::Inet => {
            once(selector.fragment.replace(Test { value: (), invert }).is_some(), place)?;
        }
        "-4" | "--ipv4" => selector.other_family |= family != Family::Inet,
        "-6" | "--ipv6" => selector.other_family |= family != Family::Inet6,
        "-c" | "--set-counters" => {
            words.pass();
            words.pass();
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The next word, and whether it is negated. Old iptables wrote the `!` after the option.
fn value<'w>(words: &'w mut Words<'_>, mut invert: bool) -> Result<(&'w str, bool, usize), Refusal> {
    if words.peek() == Some("!") {
        words.pass();
        invert = !invert;
    }
    let place = words.place();
    let missing = || Refusal { place, why: "a value is missing".to_owned() };
    Ok((words.next().ok_or_else(missing)?, invert, place))
}

fn once(twice: bool, place: usize) -> Result<(), Refusal> {
    if twice { Err(Refusal { place, why: "this can stand only once".to_owned() }) } else { Ok(()) }
}

fn no_address(place: usize, family: Family) -> Refusal {
    let family = if family == Family::Inet { "IPv4" } else { "IPv6" };
    Refusal { place, why: format!("this is no {family} address, with or without a mask") }
}

fn device(words: &mut Words<'_>, invert: bool) -> Result<IfPattern, Refusal> {
    let (name, invert, place) = value(words, invert)?;
    if name.len() > LONGEST_NAME {
        return Err(Refusal { place, why: format!("a device's name has {LONGEST_NAME} characters at most") });
    }
    Ok(if_pattern(name, invert))
}

/// `-p all` asks nothing, and can't be negated.
fn protocol(selector: &mut Selector, words: &mut Words<'_>, invert: bool) -> Result<(), Refusal> {
    let (text, invert, place) = value(words, invert)?;
    let unknown = || Refusal { place, why: "this is no protocol".to_owned() };
    let value = name::protocol(text).ok_or_else(unknown)?;
    if value.0 == 0 && invert {
        return Err(Refusal { place, why: "no packet is of no protocol at all".to_owned() });
    }
    once(selector.protocol.is_some(), place)?;
    selector.protocol = (value.0 != 0).then_some(Test { value, invert });
    Ok(())
}

//! The match `conntrack` in its third revision, and its alias `state` (`conntrack_dump` of `libxt_conntrack.c`).

use crate::net::Family;

use super::text::{Info, Line, address, short_mask};

/// The size of `struct xt_conntrack_mtinfo3`.
const SIZE: usize = 164;

const STATE: u16 = 1 << 0;
const PROTOCOL: u16 = 1 << 1;
const STATUS: u16 = 1 << 6;
const EXPIRES: u16 = 1 << 7;
const DIRECTION: u16 = 1 << 12;
const ALIAS: u16 = 1 << 13;

/// Addresses: their bit, where they and their masks stand, and their option.
const ADDRESSES: [(u16, usize, &str); 4] =
    [(1 << 2, 0, "--ctorigsrc"), (1 << 3, 32, "--ctorigdst"), (1 << 4, 64, "--ctreplsrc"), (1 << 5, 96, "--ctrepldst")];
/// Ports: their bit, where the first and the last one stand, and their option.
const PORTS: [(u16, usize, usize, &str); 4] = [
    (1 << 8, 138, 154, "--ctorigsrcport"),
    (1 << 9, 140, 156, "--ctorigdstport"),
    (1 << 10, 142, 158, "--ctreplsrcport"),
    (1 << 11, 144, 160, "--ctrepldstport"),
];
const STATES: [(u32, &str); 7] =
    [(1, "INVALID"), (8, "NEW"), (4, "RELATED"), (2, "ESTABLISHED"), (256, "UNTRACKED"), (64, "SNAT"), (128, "DNAT")];
const STATUSES: [(u32, &str); 4] = [(1, "EXPECTED"), (2, "SEEN_REPLY"), (4, "ASSURED"), (8, "CONFIRMED")];

/// Adds the match.
pub(super) fn write(line: &mut Line, bytes: &[u8], family: Family) -> Option<()> {
    let info = Info::of(bytes, SIZE)?;
    let (asked, inverted) = (info.u16(146)?, info.u16(148)?);
    let is_inverted = |bit: u16| inverted & bit != 0;
    if asked >> 14 != 0 {
        return None;
    }
    line.push(if asked & ALIAS == 0 { b" -m conntrack" } else { b" -m state" });
    if asked & STATE != 0 {
        line.option(is_inverted(STATE), if asked & ALIAS == 0 { "--ctstate " } else { "--state " });
        let states = u32::from(info.u16(150)?);
        line.flags((states != 0).then_some(states)?, &STATES)?;
    }
    if asked & PROTOCOL != 0 {
        line.option(is_inverted(PROTOCOL), "--ctproto");
        line.put(format_args!(" {}", info.u16(136)?));
    }
    let length = if family == Family::Inet { 4 } else { 16 };
    for (bit, at, option) in ADDRESSES.into_iter().filter(|(bit, ..)| asked & bit != 0) {
        line.option(is_inverted(bit), option);
        let (found, mask) = (info.bytes(at, length)?, info.bytes(at + 16, length)?);
        line.put(format_args!(" {}{}", address(found)?, short_mask(mask)?));
    }
    for (bit, first, last, option) in PORTS.into_iter().filter(|(bit, ..)| asked & bit != 0) {
        line.option(is_inverted(bit), option);
        let (first, last) = (info.u16(first)?, info.u16(last)?);
        line.put(format_args!(" {first}"));
        if last != 0 && last != first {
            line.put(format_args!(":{last}"));
        }
    }
    if asked & STATUS != 0 {
        line.option(is_inverted(STATUS), "--ctstatus ");
        let status = u32::from(info.u16(152)?);
        if status == 0 {
            line.push(b"NONE");
        }
        line.flags(status, &STATUSES)?;
    }
    if asked & EXPIRES != 0 {
        line.option(is_inverted(EXPIRES), "--ctexpire");
        let (least, most) = (info.u32(128)?, info.u32(132)?);
        line.put(format_args!(" {least}"));
        if least != most {
            line.put(format_args!(":{most}"));
        }
    }
    if asked & DIRECTION != 0 {
        line.push(if is_inverted(DIRECTION) { b" --ctdir REPLY" } else { b" --ctdir ORIGINAL" });
    }
    Some(())
}

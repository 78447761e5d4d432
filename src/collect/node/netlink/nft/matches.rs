//! iptables' matches as the kernel holds them, by name, revision and structure, in the words of their `save` functions
//! (`extensions/libxt_*.c`, `libipt_*.c` and `libip6t_*.c` of iptables 1.8.9 to 1.8.11). `None` for what is not known
//! byte for byte.

use crate::net::Family;

use super::conntrack;
use super::ports::{Ports, Transport};
use super::text::{Info, Line, address};

/// Adds a match. iptables writes each in the way of the newest revision that it and the kernel know, so that older ones
/// are not known here.
pub(super) fn write(line: &mut Line, name: &[u8], revision: u32, bytes: &[u8], family: Family) -> Option<()> {
    match (name, revision) {
        (b"conntrack", 3) => return conntrack::write(line, bytes, family),
        (b"icmp", 0) if family == Family::Inet6 => return None,
        (b"icmp6", 0) if family == Family::Inet => return None,
        (b"comment" | b"tcp" | b"udp" | b"statistic" | b"limit" | b"physdev" | b"rpfilter" | b"icmp" | b"icmp6", 0)
        | (b"mark" | b"connmark" | b"addrtype" | b"multiport" | b"recent", 1) => {}
        _ => return None,
    }
    line.push(b" -m ");
    line.push(name);
    match name {
        b"comment" => comment(line, Info::of(bytes, 256)?.text(0, 256)?),
        b"tcp" | b"udp" => transport(line, bytes, name == b"tcp"),
        b"statistic" => statistic(line, bytes),
        b"limit" => limit(line, bytes),
        b"physdev" => physdev(line, bytes),
        b"rpfilter" => rpfilter(line, bytes),
        b"mark" | b"connmark" => mark(line, bytes),
        b"addrtype" => addrtype(line, bytes),
        b"multiport" => multiport(line, bytes),
        b"recent" => recent(line, bytes, family),
        b"icmp" => icmp(line, bytes, "--icmp-type"),
        b"icmp6" => icmp(line, bytes, "--icmpv6-type"),
        _ => None,
    }
}

/// Adds a comment. It may be as long as the room for it, less its NUL.
pub(super) fn comment(line: &mut Line, text: &[u8]) -> Option<()> {
    (text.len() < 256).then_some(())?;
    line.push(b" --comment");
    line.quoted(text);
    Some(())
}

/// `struct xt_tcp`, `struct xt_udp`.
fn transport(line: &mut Line, bytes: &[u8], is_tcp: bool) -> Option<()> {
    let info = Info::of(bytes, if is_tcp { 12 } else { 10 })?;
    let inverted = info.u8(if is_tcp { 11 } else { 8 })?;
    (inverted < if is_tcp { 16 } else { 4 }).then_some(())?;
    let ports = |at: usize, bit: u8| {
        Some(Ports { first: info.u16(at)?, last: info.u16(at + 2)?, inverted: inverted & bit != 0 })
    };
    let mut found = Transport { source: Some(ports(0, 1)?), destination: Some(ports(4, 2)?), ..Transport::default() };
    if is_tcp {
        found.flags = Some((info.u8(9)?, info.u8(10)?, inverted & 4 != 0));
        found.option = Some((info.u8(8)?, inverted & 8 != 0));
    }
    found.write(line)
}

/// `struct xt_statistic_info`.
fn statistic(line: &mut Line, bytes: &[u8]) -> Option<()> {
    let info = Info::of(bytes, 24)?;
    let (mode, flags, first) = (info.u16(0)?, info.u16(2)?, info.u32(4)?);
    (flags < 2).then_some(())?;
    let not = if flags == 0 { "" } else { " !" };
    match mode {
        0 => line.put(format_args!(" --mode random{not} --probability {}", probability(first))),
        1 => {
            let every = first.checked_add(1)?;
            line.put(format_args!(" --mode nth{not} --every {every} --packet {}", info.u32(8)?));
        }
        _ => return None,
    }
    Some(())
}

/// A share of 2^31 as `%.11f` writes it: the nearest number of eleven digits, of two as near the even one.
fn probability(share: u32) -> String {
    const ONE: u128 = 100_000_000_000;
    let product = u128::from(share) * ONE;
    let (whole, rest) = (product >> 31, product & ((1 << 31) - 1));
    let up = rest > 1 << 30 || rest == 1 << 30 && whole % 2 == 1;
    let digits = whole + u128::from(up);
    format!("{}.{:011}", digits / ONE, digits % ONE)
}

/// `struct xt_rateinfo`.
fn limit(line: &mut Line, bytes: &[u8]) -> Option<()> {
    let info = Info::of(bytes, 32)?;
    rate(line, info.u32(0)?, info.u32(4)?)
}

/// Adds a rate by the ten thousandths of a second between two packets (`limit_save`, `print_rate`).
pub(super) fn rate(line: &mut Line, period: u32, burst: u32) -> Option<()> {
    const RATES: [(&str, u32); 4] = [("day", 864_000_000), ("hour", 36_000_000), ("min", 600_000), ("sec", 10_000)];
    let (mut unit, mut length) = *RATES.first()?;
    for (smaller, mult) in RATES.into_iter().skip(1) {
        if period > mult || mult.checked_div(period)? < mult.checked_rem(period)? {
            break;
        }
        (unit, length) = (smaller, mult);
    }
    line.put(format_args!(" --limit {}/{unit}", length.checked_div(period)?));
    if burst != 5 {
        line.put(format_args!(" --limit-burst {burst}"));
    }
    Some(())
}

/// `struct xt_physdev_info`.
fn physdev(line: &mut Line, bytes: &[u8]) -> Option<()> {
    let info = Info::of(bytes, 66)?;
    let (inverted, asked) = (info.u8(64)?, info.u8(65)?);
    (asked < 32).then_some(())?;
    let options = [
        (8, "--physdev-is-in", None),
        (1, "--physdev-in ", Some(0)),
        (16, "--physdev-is-out", None),
        (2, "--physdev-out ", Some(32)),
        (4, "--physdev-is-bridged", None),
    ];
    for (bit, option, name) in options.into_iter().filter(|(bit, ..)| asked & bit != 0) {
        line.option(inverted & bit != 0, option);
        if let Some(at) = name {
            line.push(info.text(at, 16)?);
        }
    }
    Some(())
}

/// `struct xt_rpfilter_info`.
fn rpfilter(line: &mut Line, bytes: &[u8]) -> Option<()> {
    let flags = Info::of(bytes, 1)?.u8(0)?;
    (flags < 16).then_some(())?;
    for (bit, option) in [(1, " --loose"), (2, " --validmark"), (4, " --accept-local"), (8, " --invert")] {
        if flags & bit != 0 {
            line.push(option.as_bytes());
        }
    }
    Some(())
}

/// `struct xt_mark_mtinfo1`, `struct xt_connmark_mtinfo1`.
fn mark(line: &mut Line, bytes: &[u8]) -> Option<()> {
    let info = Info::of(bytes, 12)?;
    write_mark(line, info.u32(0)?, info.u32(4)?, info.u8(8)? != 0);
    Some(())
}

/// Adds what mark is asked for.
pub(super) fn write_mark(line: &mut Line, value: u32, mask: u32, inverted: bool) {
    line.option(inverted, "--mark");
    line.mark(value, mask);
}

/// `struct xt_addrtype_info_v1`.
fn addrtype(line: &mut Line, bytes: &[u8]) -> Option<()> {
    const TYPES: [(u32, &str); 12] = [
        (1, "UNSPEC"),
        (2, "UNICAST"),
        (4, "LOCAL"),
        (8, "BROADCAST"),
        (16, "ANYCAST"),
        (32, "MULTICAST"),
        (64, "BLACKHOLE"),
        (128, "UNREACHABLE"),
        (256, "PROHIBIT"),
        (512, "THROW"),
        (1024, "NAT"),
        (2048, "XRESOLVE"),
    ];
    let info = Info::of(bytes, 8)?;
    let flags = info.u32(4)?;
    (flags < 16).then_some(())?;
    for (types, bit, option) in [(info.u16(0)?, 1, "--src-type "), (info.u16(2)?, 2, "--dst-type ")] {
        if types != 0 {
            line.option(flags & bit != 0, option);
            line.flags(u32::from(types), &TYPES)?;
        }
    }
    for (bit, option) in [(4, " --limit-iface-in"), (8, " --limit-iface-out")] {
        if flags & bit != 0 {
            line.push(option.as_bytes());
        }
    }
    Some(())
}

/// `struct xt_multiport_v1`.
fn multiport(line: &mut Line, bytes: &[u8]) -> Option<()> {
    let info = Info::of(bytes, 48)?;
    let option = *["--sports ", "--dports ", "--ports "].get(usize::from(info.u8(0)?))?;
    line.option(info.u8(47)? != 0, option);
    let count = usize::from(info.u8(1)?);
    (1..=15).contains(&count).then_some(())?;
    let mut at = 0;
    while at < count {
        line.push(if at > 0 { b"," } else { b"" });
        line.put(format_args!("{}", info.u16(2 + 2 * at)?));
        if info.u8(32 + at)? != 0 {
            at += 1;
            (at < count).then_some(())?;
            line.put(format_args!(":{}", info.u16(2 + 2 * at)?));
        }
        at += 1;
    }
    Some(())
}

/// `struct xt_recent_mtinfo_v1`.
fn recent(line: &mut Line, bytes: &[u8], family: Family) -> Option<()> {
    const TTL: u8 = 16;
    const REAP: u8 = 32;
    let info = Info::of(bytes, 228)?;
    let (seconds, hits, asked) = (info.u32(0)?, info.u32(4)?, info.u8(8)?);
    // Version 1.8.9 writes larger ones as numbers below zero.
    (asked < 64 && seconds.max(hits) <= i32::MAX.cast_unsigned()).then_some(())?;
    line.push(if info.u8(9)? == 0 { b"" } else { b" !" });
    for (bit, option) in [(2, " --set"), (1, " --rcheck"), (4, " --update"), (8, " --remove")] {
        line.push(if asked & bit == 0 { b"" } else { option.as_bytes() });
    }
    if seconds != 0 {
        line.put(format_args!(" --seconds {seconds}"));
    }
    line.push(if asked & REAP == 0 { b"" } else { b" --reap" });
    if hits != 0 {
        line.put(format_args!(" --hitcount {hits}"));
    }
    line.push(if asked & TTL == 0 { b"" } else { b" --rttl" });
    line.push(b" --name ");
    line.push(info.text(10, 200)?);
    let mask = info.bytes(212, if family == Family::Inet { 4 } else { 16 })?;
    line.put(format_args!(" --mask {}", address(mask)?));
    line.push(match info.u8(210)? {
        0 => b" --rsource",
        1 => b" --rdest",
        _ => return None,
    });
    Some(())
}

/// `struct ipt_icmp`, `struct ip6t_icmp`. Versions differ in what they write for any type with a code.
fn icmp(line: &mut Line, bytes: &[u8], option: &str) -> Option<()> {
    let info = Info::of(bytes, 4)?;
    let (kind, first, last, inverted) = (info.u8(0)?, info.u8(1)?, info.u8(2)?, info.u8(3)?);
    (inverted < 2).then_some(())?;
    icmp_type(line, option, (kind, first, last), inverted != 0)
}

/// Adds a type of ICMP and its codes, which are one or all.
pub(super) fn icmp_type(
    line: &mut Line,
    option: &str,
    (kind, first, last): (u8, u8, u8),
    inverted: bool,
) -> Option<()> {
    let all = (first, last) == (0, 255);
    line.option(inverted, option);
    if kind == 255 && option == "--icmp-type" {
        line.push(b" any");
        return all.then_some(());
    }
    line.put(format_args!(" {kind}"));
    if !all {
        line.put(format_args!("/{first}"));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_c_does_it() {
        let written = [1 << 30, 1 << 31, 0, 1, 715_827_883, 214_748_365, 1 << 19, 3 << 19].map(probability);
        let wanted = [
            "0.50000000000",
            "1.00000000000",
            "0.00000000000",
            "0.00000000047",
            "0.33333333349",
            "0.10000000009",
            "0.00024414062",
            "0.00073242188",
        ];
        assert_eq!(written, wanted);
    }
}

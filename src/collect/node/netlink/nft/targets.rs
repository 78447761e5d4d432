//! iptables' targets as the kernel holds them, by name, revision and structure, in the words of their `save` functions.
//! `None` for what is not known byte for byte.

use crate::net::Family;

use super::text::{Info, Line, address};

/// What an address or a port becomes (`struct nf_nat_range2`).
struct Range<'a> {
    flags: u32,
    addresses: [&'a [u8]; 2],
    ports: [u16; 2],
    base: u16,
}

const MAP_IPS: u32 = 1;
const PORTS: u32 = 2;
const RANDOM: u32 = 4;
const PERSISTENT: u32 = 8;
const RANDOM_FULLY: u32 = 16;
const OFFSET: u32 = 32;

/// Adds a target.
pub(super) fn write(line: &mut Line, name: &[u8], revision: u32, bytes: &[u8], family: Family) -> Option<()> {
    let words = |line: &mut Line| {
        line.push(b" -j ");
        line.push(name);
    };
    match (name, revision, family) {
        (b"DNAT", 2, _) => {
            words(line);
            let known = MAP_IPS | PORTS | RANDOM | PERSISTENT | RANDOM_FULLY | OFFSET;
            Range::second(bytes, family)?.write(line, "--to-destination ", known)
        }
        (b"SNAT", 0, Family::Inet) | (b"SNAT", 1, Family::Inet6) => {
            words(line);
            let known = MAP_IPS | PORTS | RANDOM | PERSISTENT | RANDOM_FULLY;
            Range::first(bytes, family)?.write(line, "--to-source ", known)
        }
        (b"MASQUERADE" | b"REDIRECT", 0, _) => {
            words(line);
            Range::first(bytes, family)?.write(line, "--to-ports ", PORTS | RANDOM | RANDOM_FULLY)
        }
        (b"MARK", 2, _) => {
            words(line);
            let info = Info::of(bytes, 8)?;
            line.put(format_args!(" --set-xmark 0x{:x}/0x{:x}", info.u32(0)?, info.u32(4)?));
            Some(())
        }
        (b"REJECT", 0, _) => {
            words(line);
            reject(line, bytes, family)
        }
        (b"LOG", 0, _) => {
            words(line);
            log(line, bytes)
        }
        (b"CT", 2, _) => ct(line, bytes),
        _ => None,
    }
}

impl<'a> Range<'a> {
    /// The first form, which is IPv4's `struct nf_nat_ipv4_multi_range_compat` and IPv6's `struct nf_nat_range`.
    fn first(bytes: &'a [u8], family: Family) -> Option<Self> {
        if family == Family::Inet6 {
            let info = Info::of(bytes, 40)?;
            return Self::of(info, 16, 0);
        }
        let info = Info::of(bytes, 20)?;
        (info.u32(0)? == 1).then_some(())?;
        Some(Self {
            flags: info.u32(4)?,
            addresses: [info.bytes(8, 4)?, info.bytes(12, 4)?],
            ports: [info.be16(16)?, info.be16(18)?],
            base: 0,
        })
    }

    /// `struct nf_nat_range2`.
    fn second(bytes: &'a [u8], family: Family) -> Option<Self> {
        let info = Info::of(bytes, 44)?;
        Self::of(info, if family == Family::Inet { 4 } else { 16 }, info.be16(40)?)
    }

    fn of(info: Info<'a>, length: usize, base: u16) -> Option<Self> {
        Some(Self {
            flags: info.u32(0)?,
            addresses: [info.bytes(4, length)?, info.bytes(20, length)?],
            ports: [info.be16(36)?, info.be16(38)?],
            base,
        })
    }

    /// Adds it (`__NAT_print` and `sprint_range` of `libxt_NAT.c`).
    fn write(&self, line: &mut Line, option: &str, known: u32) -> Option<()> {
        (self.flags & !known == 0).then_some(())?;
        let has = |flag: u32| self.flags & flag != 0;
        // Where only ports are told, they stand without the colon.
        let is_bare = option == "--to-ports ";
        if has(MAP_IPS) || has(PORTS) {
            line.put(format_args!(" {option}"));
        }
        let [first, last] = self.addresses;
        if has(MAP_IPS) {
            let brackets = first.len() == 16 && has(PORTS);
            line.push(if brackets { b"[" } else { b"" });
            line.push(address(first)?.as_bytes());
            if first != last {
                line.put(format_args!("-{}", address(last)?));
            }
            line.push(if brackets { b"]" } else { b"" });
        }
        if has(PORTS) {
            let [first, last] = self.ports;
            line.push(if is_bare { b"" } else { b":" });
            line.put(format_args!("{first}"));
            if first != last {
                line.put(format_args!("-{last}"));
            }
            if has(OFFSET) {
                line.put(format_args!("/{}", self.base));
            }
        }
        for (flag, option) in [(RANDOM, " --random"), (RANDOM_FULLY, " --random-fully"), (PERSISTENT, " --persistent")]
        {
            line.push(if has(flag) { option.as_bytes() } else { b"" });
        }
        // What moves ports has ports.
        (!has(OFFSET) || has(PORTS)).then_some(())
    }
}

/// `struct ipt_reject_info`, `struct ip6t_reject_info`.
fn reject(line: &mut Line, bytes: &[u8], family: Family) -> Option<()> {
    const FOUR: [&str; 9] = [
        "icmp-net-unreachable",
        "icmp-host-unreachable",
        "icmp-proto-unreachable",
        "icmp-port-unreachable",
        "",
        "icmp-net-prohibited",
        "icmp-host-prohibited",
        "tcp-reset",
        "icmp-admin-prohibited",
    ];
    const SIX: [&str; 9] = [
        "icmp6-no-route",
        "icmp6-adm-prohibited",
        "",
        "icmp6-addr-unreachable",
        "icmp6-port-unreachable",
        "",
        "tcp-reset",
        "icmp6-policy-fail",
        "icmp6-reject-route",
    ];
    let with = usize::try_from(Info::of(bytes, 4)?.u32(0)?).ok()?;
    let words = if family == Family::Inet { FOUR } else { SIX };
    let word = words.get(with).filter(|word| !word.is_empty())?;
    line.put(format_args!(" --reject-with {word}"));
    Some(())
}

/// `struct xt_log_info`.
fn log(line: &mut Line, bytes: &[u8]) -> Option<()> {
    let info = Info::of(bytes, 32)?;
    let (level, flags, prefix) = (info.u8(0)?, info.u8(1)?, info.text(2, 30)?);
    let options = [
        (1, " --log-tcp-sequence"),
        (2, " --log-tcp-options"),
        (4, " --log-ip-options"),
        (8, " --log-uid"),
        (32, " --log-macdecode"),
    ];
    (flags & !0x2f == 0).then_some(())?;
    if !prefix.is_empty() {
        line.push(b" --log-prefix");
        line.quoted(prefix);
    }
    if level != 4 {
        line.put(format_args!(" --log-level {level}"));
    }
    for (bit, option) in options {
        line.push(if flags & bit == 0 { b"" } else { option.as_bytes() });
    }
    Some(())
}

/// `struct xt_ct_target_info_v1` in its second revision, without events. Its alias is `NOTRACK`.
fn ct(line: &mut Line, bytes: &[u8]) -> Option<()> {
    const NOTRACK: u16 = 1;
    const ALIAS: u16 = 2;
    let info = Info::of(bytes, 72)?;
    let (flags, zone, events) = (info.u16(0)?, info.u16(2)?, (info.u32(4)?, info.u32(8)?));
    let (helper, timeout) = (info.text(12, 16)?, info.text(28, 32)?);
    if flags & ALIAS != 0 {
        line.push(b" -j NOTRACK");
        return (flags == ALIAS | NOTRACK).then_some(());
    }
    (flags & !NOTRACK == 0 && events == (0, 0)).then_some(())?;
    line.push(b" -j CT");
    line.push(if flags & NOTRACK == 0 { b"" } else { b" --notrack" });
    for (option, name) in [(" --helper ", helper), (" --timeout ", timeout)] {
        if !name.is_empty() {
            line.push(option.as_bytes());
            line.push(name);
        }
    }
    if zone != 0 {
        line.put(format_args!(" --zone {zone}"));
    }
    Some(())
}

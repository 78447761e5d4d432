//! The protocols with ports.

use crate::snapshot::{
    DCCP_TYPES, DccpMatch, DccpTypes, Match, Multiport, MultiportSide, PortRange, Ports, SctpMatch, TCP_FLAGS,
    TcpFlags, TcpMatch, Test,
};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::one_of;
use super::super::value::{port_range, small};

const SPORT: Opt = Opt::value("--sport", "a port, or two with a colon between them").or(&["--source-port"]).not();
const DPORT: Opt = Opt::value("--dport", "a port, or two with a colon between them").or(&["--destination-port"]).not();

pub(super) static TCP: Extension<Match> = Extension::new(
    "tcp",
    &[
        SPORT,
        DPORT,
        Opt::flag("--syn").not().excludes(&["--tcp-flags"]),
        Opt::pair("--tcp-flags", "two lists of FIN, SYN, RST, PSH, ACK, URG, ALL or NONE").not(),
        Opt::value("--tcp-option", "an option's number from 1 to 255").not(),
    ],
    tcp,
)
.protocols(&[6]);

pub(super) static UDP: Extension<Match> =
    Extension::new("udp", &[SPORT, DPORT], |given| Ok(Match::Udp(ports(given, port_range)?))).protocols(&[17]);

pub(super) static SCTP: Extension<Match> = Extension::new(
    "sctp",
    &[SPORT, DPORT, Opt::pair("--chunk-types", "`all`, `any` or `only`, and a list of chunk types").not()],
    sctp,
)
.protocols(&[132]);

pub(super) static DCCP: Extension<Match> = Extension::new(
    "dccp",
    &[
        SPORT,
        DPORT,
        Opt::value("--dccp-types", "a list of DCCP packet types").not(),
        Opt::value("--dccp-option", "an option's number from 1 to 255").not(),
    ],
    dccp,
)
.protocols(&[33]);

const PORTS: &str = "up to 15 ports, two of them for a range";

pub(super) static MULTIPORT: Extension<Match> = Extension::new(
    "multiport",
    &[
        Opt::value("--sports", PORTS).or(&["--source-ports"]).not().excludes(&["--dports", "--ports"]),
        Opt::value("--dports", PORTS).or(&["--destination-ports"]).not().excludes(&["--sports", "--ports"]),
        Opt::value("--ports", PORTS).not().excludes(&["--sports", "--dports"]),
    ],
    multiport,
)
.protocols(&[6, 17, 33, 132, 136]);

fn ports(given: &Given<'_, '_>, range: fn(&str) -> Option<PortRange>) -> Result<Ports, Refusal> {
    // Every port is no condition, and iptables prints none.
    let asked = |test: Option<Test<PortRange>>| test.filter(|test| test.invert || !test.value.is_any());
    Ok(Ports { source: asked(given.test("--sport", range)?), destination: asked(given.test("--dport", range)?) })
}

/// A range that iptables takes only where its ends are in order: of TCP and SCTP, and not of UDP and DCCP
/// (`parse_tcp_ports` in `extensions/libxt_tcp.c`, `parse_sctp_ports` in `extensions/libxt_sctp.c`).
fn ordered_range(text: &str) -> Option<PortRange> {
    port_range(text).filter(|ports| ports.low <= ports.high)
}

fn tcp(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let mut flags = None;
    for taken in given.all() {
        let value = match taken.name() {
            "--syn" => TcpFlags { mask: 0x17, set: 0x02 },
            "--tcp-flags" => {
                let mask = given.value_of(taken, tcp_flags)?;
                let set = tcp_flags(given.second_of(taken)).ok_or_else(|| given.unreadable(taken))?;
                TcpFlags { mask, set }
            }
            _ => continue,
        };
        flags = Some(Test { value, invert: taken.invert });
    }
    let option = given.test("--tcp-option", |text| small(text).filter(|option| *option > 0))?;
    Ok(Match::Tcp(TcpMatch { ports: ports(given, ordered_range)?, option, flags }))
}

/// Names of TCP flags with commas between them.
fn tcp_flags(text: &str) -> Option<u8> {
    let flag = |name: &str| match name {
        "ALL" => Some(0x3f),
        "NONE" => Some(0),
        _ => {
            let (flag, _) = TCP_FLAGS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name))?;
            u8::try_from(*flag).ok()
        }
    };
    text.split(',').try_fold(0, |flags, name| Some(flags | flag(&name.to_ascii_uppercase())?))
}

fn sctp(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let mut chunks = None;
    for taken in given.all().iter().filter(|taken| taken.name() == "--chunk-types") {
        let how = given.value_of(taken, |how| one_of(how, &["all", "any", "only"]))?;
        let types = chunk_types(given.second_of(taken)).ok_or_else(|| given.unreadable(taken))?;
        chunks = Some(Test { value: format!("{how} {types}").into(), invert: taken.invert });
    }
    Ok(Match::Sctp(Box::new(SctpMatch { ports: ports(given, ordered_range)?, chunks })))
}

/// SCTP's chunk types, and the flags that each has, the highest bit first.
const CHUNKS: &[(u8, &str, &str)] = &[
    (0, "DATA", "----IUBE"),
    (1, "INIT", ""),
    (2, "INIT_ACK", ""),
    (3, "SACK", ""),
    (4, "HEARTBEAT", ""),
    (5, "HEARTBEAT_ACK", ""),
    (6, "ABORT", "-------T"),
    (7, "SHUTDOWN", ""),
    (8, "SHUTDOWN_ACK", ""),
    (9, "ERROR", ""),
    (10, "COOKIE_ECHO", ""),
    (11, "COOKIE_ACK", ""),
    (12, "ECN_ECNE", ""),
    (13, "ECN_CWR", ""),
    (14, "SHUTDOWN_COMPLETE", "-------T"),
    (64, "I_DATA", "----IUBE"),
    (128, "ASCONF_ACK", ""),
    (130, "RE_CONFIG", ""),
    (132, "PAD", ""),
    (192, "FORWARD_TSN", ""),
    (193, "ASCONF", ""),
    (194, "I_FORWARD_TSN", ""),
];

/// A list of chunk types, by their numbers; a flag in capitals must be set, another must not.
fn chunk_types(text: &str) -> Option<String> {
    if let Some(all) = one_of(text, &["ALL", "NONE"]) {
        return Some(all.to_owned());
    }
    let mut found: Vec<(u8, String)> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, flags) = part.split_once(':').map_or((part, None), |(name, flags)| (name, Some(flags)));
        let (number, name, valid) = CHUNKS.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(name))?;
        let mut text = (*name).to_owned();
        if let Some(flags) = flags.filter(|flags| !flags.is_empty()) {
            text.push(':');
            text.push_str(&chunk_flags(flags, valid)?);
        }
        found.push((*number, text));
    }
    found.sort();
    found.dedup();
    let names: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// Flags in the order of their bits.
fn chunk_flags(flags: &str, valid: &str) -> Option<String> {
    let known = |flag: char| flag.is_ascii_alphabetic() && valid.contains(flag.to_ascii_uppercase());
    if !flags.chars().all(known) {
        return None;
    }
    let given = |bit: char| flags.chars().find(|flag| flag.to_ascii_uppercase() == bit);
    Some(valid.chars().filter_map(given).collect())
}

fn dccp(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let types = given.test("--dccp-types", |text| {
        text.split(',').try_fold(0u16, |types, name| {
            let (bit, _) = DCCP_TYPES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name))?;
            Some(types | u16::try_from(*bit).ok()?)
        })
    })?;
    let types = types.map(|test| Test { value: DccpTypes(test.value), invert: test.invert });
    let option = given.test("--dccp-option", |text| small(text).filter(|option| *option > 0))?;
    Ok(Match::Dccp(DccpMatch { ports: ports(given, port_range)?, types, option }))
}

fn multiport(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--sports", "--dports", "--ports"])?;
    let sides = [
        ("--sports", MultiportSide::Source),
        ("--dports", MultiportSide::Destination),
        ("--ports", MultiportSide::Either),
    ];
    for (name, side) in sides {
        if let Some(test) = given.test(name, port_list)? {
            let multiport = Test { value: Multiport { side, ranges: test.value }, invert: test.invert };
            return Ok(Match::Multiport(multiport.into()));
        }
    }
    Err(given.refuse_all("multiport needs an option"))
}

fn port_list(text: &str) -> Option<Box<[PortRange]>> {
    const MOST: usize = 15;
    let mut room = MOST;
    let mut port = |part: &str| {
        let (low, high) = part.split_once(':').unwrap_or((part, part));
        let range = PortRange { low: name::port(low)?, high: name::port(high)? };
        room = room.checked_sub(if part.contains(':') { 2 } else { 1 })?;
        (range.low <= range.high).then_some(range)
    };
    text.split(',').map(&mut port).collect()
}

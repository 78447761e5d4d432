//! Policy rules, as `ip rule show` prints them (`print_rule()` of iproute2's `ip/iprule.c`); the numbers are those of
//! `include/uapi/linux/fib_rules.h`.

use std::io;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Protocol, TableId};
use crate::snapshot::{IdRange, PolicyRule, RuleAction};

use super::attrs::{Attrs, Header as _};
use super::line::{Lines, hex};
use super::link::group;
use super::names;
use super::route::number;
use super::socket::Dump;

const DST: u16 = 1;
const SRC: u16 = 2;
const IIFNAME: u16 = 3;
const GOTO: u16 = 4;
const PRIORITY: u16 = 6;
const FWMARK: u16 = 10;
const FLOW: u16 = 11;
const TUN_ID: u16 = 12;
const SUPPRESS_IFGROUP: u16 = 13;
const SUPPRESS_PREFIXLEN: u16 = 14;
const TABLE: u16 = 15;
const FWMASK: u16 = 16;
const OIFNAME: u16 = 17;
const L3MDEV: u16 = 19;
const UID_RANGE: u16 = 20;
const PROTOCOL: u16 = 21;
const IP_PROTO: u16 = 22;
const SPORT_RANGE: u16 = 23;
const DPORT_RANGE: u16 = 24;
const DSCP: u16 = 25;
const FLOWLABEL: u16 = 26;
const FLOWLABEL_MASK: u16 = 27;
const SPORT_MASK: u16 = 28;
const DPORT_MASK: u16 = 29;
const DSCP_MASK: u16 = 30;

const INVERT: u32 = 2;
/// What the kernel sends for "none".
const NONE: u32 = u32::MAX;
/// `RTPROT_KERNEL`.
const KERNEL: u8 = 2;

/// The table `rule.txt` or `rule6.txt`.
pub(super) fn text(rules: &Dump, family: Family) -> io::Result<String> {
    let mut lines = Lines::default();
    for body in rules.messages().filter(|body| body.byte(0) == number(family)) {
        lines.row(rule(body, family)?);
    }
    Ok(lines.into_text())
}

fn rule(body: &[u8], family: Family) -> io::Result<PolicyRule> {
    let attrs = Attrs::behind(body, 12)?;
    let mut rule = PolicyRule::new(family, attrs.u32(PRIORITY).unwrap_or_default(), Evidence::NONE);
    rule.not = body.long(8) & INVERT != 0;
    rule.from = prefix(&attrs, SRC, body.byte(2), family)?;
    rule.to = prefix(&attrs, DST, body.byte(1), family)?;
    rule.tos = body.byte(3);
    let (mark, bits) = (attrs.u32(FWMARK), attrs.u32(FWMASK));
    rule.fwmark = (mark.is_some() || bits.is_some()).then(|| (mark.unwrap_or_default(), bits.unwrap_or(u32::MAX)));
    rule.iif = attrs.text(IIFNAME).map(|name| IfName::new(&name));
    rule.oif = attrs.text(OIFNAME).map(|name| IfName::new(&name));
    rule.uidrange = attrs.bytes(UID_RANGE).map(|range| IdRange { start: range.long(0), end: range.long(4) });
    rule.ipproto = attrs.u8(IP_PROTO).map(Protocol);
    let mut words = Vec::new();
    rule.sport = ports(&attrs, SPORT_RANGE, (SPORT_MASK, "sport"), &mut words);
    rule.dport = ports(&attrs, DPORT_RANGE, (DPORT_MASK, "dport"), &mut words);
    words.extend(attrs.be64(TUN_ID).map(|id| format!("tun_id {id}")));
    rule.realms = attrs.u32(FLOW).map(|flow| names::realms(flow).into());
    action(&mut rule, body, &attrs, &mut words);
    let protocol = attrs.u8(PROTOCOL).filter(|protocol| !matches!(*protocol, 0 | KERNEL));
    words.extend(protocol.map(|protocol| format!("proto {}", names::protocol(protocol))));
    words.extend(dscp(&attrs));
    words.extend(flow_label(&attrs));
    rule.unmodelled = words;
    Ok(rule)
}

fn prefix(attrs: &Attrs<'_>, kind: u16, length: u8, family: Family) -> io::Result<Option<IpNet>> {
    let address = match attrs.address(kind) {
        None if length == 0 => return Ok(None),
        address => address.unwrap_or(family.unspecified()),
    };
    IpNet::new(address, length).map(Some).map_err(|err| io::Error::other(format!("{address}/{length}: {err}")))
}

/// A range of ports; a port with a mask is none, and stands among the other words.
fn ports(attrs: &Attrs<'_>, kind: u16, (mask, word): (u16, &str), words: &mut Vec<String>) -> Option<IdRange> {
    let range = attrs.bytes(kind)?;
    let range = IdRange { start: range.word(0).into(), end: range.word(2).into() };
    match attrs.u16(mask).filter(|mask| *mask != u16::MAX && range.start == range.end) {
        Some(mask) => {
            words.push(format!("{word} {}/{}", hex(range.start.into()), hex(mask.into())));
            None
        }
        None => Some(range),
    }
}

fn action(rule: &mut PolicyRule, body: &[u8], attrs: &Attrs<'_>, words: &mut Vec<String>) {
    let is_l3mdev = attrs.u8(L3MDEV).is_some_and(|on| on != 0);
    let table = TableId(attrs.u32(TABLE).unwrap_or_else(|| body.byte(4).into()));
    rule.action = match body.byte(7) {
        1 if is_l3mdev => {
            words.push("lookup [l3mdev-table]".to_owned());
            RuleAction::Nop
        }
        1 => RuleAction::Lookup(table),
        2 => RuleAction::Goto(attrs.u32(GOTO).unwrap_or_default()),
        6 => RuleAction::Blackhole,
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        number => {
            // Beside other words the row would show no action.
            words.push(if number == 3 { "nop".to_owned() } else { number.to_string() });
            RuleAction::Nop
        }
    };
    if table != TableId::UNSPEC {
        rule.suppress_prefixlength = attrs.u32(SUPPRESS_PREFIXLEN).filter(|length| *length != NONE);
        let suppressed = attrs.u32(SUPPRESS_IFGROUP).filter(|group| *group != NONE);
        words.extend(suppressed.map(|number| format!("suppress_ifgroup {}", group(number))));
    }
}

fn dscp(attrs: &Attrs<'_>) -> Option<String> {
    let dscp = attrs.u8(DSCP)?;
    Some(match attrs.u8(DSCP_MASK).filter(|mask| *mask != 0x3f) {
        Some(mask) => format!("dscp {}/{}", hex(dscp.into()), hex(mask.into())),
        None => format!("dscp {dscp}"),
    })
}

fn flow_label(attrs: &Attrs<'_>) -> Option<String> {
    let (label, mask) = (attrs.be32(FLOWLABEL)?, attrs.be32(FLOWLABEL_MASK)?);
    let mask = if mask == 0xf_ffff { String::new() } else { format!("/{}", hex(mask.into())) };
    Some(format!("flowlabel {}{mask}", hex(label.into())))
}

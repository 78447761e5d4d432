//! One rule: what every packet is asked first, further matches, and the target.

use std::fmt::{self, Display, Formatter};

use smallvec::SmallVec;

use crate::evidence::Evidence;
use crate::net::Protocol;

use super::matching::device;
use super::saved::{flag, negation};
use super::{AddrMask, Chain, Match, Refused, Ruleset, Table, Target};

/// Reads one rule's line into a rule that asks and does nothing yet. [`crate::load`] puts it into the tables, so that a
/// chain is read when a packet first comes to it.
pub type ReadRule = fn(rule: &mut Rule, line: &str, place: RulePlace<'_>);

/// Where a rule stands.
#[derive(Clone, Copy, Debug)]
pub struct RulePlace<'r> {
    /// What its file holds.
    pub ruleset: &'r Ruleset,
    /// Its table.
    pub table: &'r Table,
    /// Its chain.
    pub chain: &'r Chain,
}

/// A rule of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place in the chain, from 1.
    pub index: u32,
    /// What `iptables` itself asks.
    pub selector: Selector,
    /// What its extensions ask, in order. Hardly any rule of a large cluster has more than two.
    pub matches: SmallVec<[Match; 2]>,
    /// What it does.
    pub target: Target,
    /// The line that says so.
    pub evidence: Evidence,
    /// The offset of its line in the file.
    pub(crate) start: u32,
}

impl Default for Rule {
    /// A rule that asks nothing and does nothing, of no line.
    fn default() -> Self {
        Self {
            index: 0,
            selector: Selector::default(),
            matches: SmallVec::new(),
            target: Target::Continue,
            evidence: Evidence::NONE,
            start: 0,
        }
    }
}

impl Rule {
    /// The rule as `iptables-save` prints it, without `-A CHAIN`.
    #[must_use]
    pub fn saved<'r>(&'r self, table: &'r Table) -> impl Display + 'r {
        SavedRule { rule: self, table }
    }

    /// Moves the places of what is not understood behind the blanks that the line begins with.
    pub(super) fn indent(&mut self, by: u32) {
        let columns = self.matches.iter_mut().filter_map(|one| match one {
            Match::Unsupported(refused) => Some(&mut refused.column),
            _ => None,
        });
        columns.for_each(|column| *column = column.saturating_add(by));
        if let Target::Unsupported(refused) = &mut self.target {
            refused.column = refused.column.saturating_add(by);
        }
    }

    /// What of it is not understood.
    pub fn refused(&self) -> impl Iterator<Item = &Refused> {
        let target = match &self.target {
            Target::Unsupported(refused) => Some(&**refused),
            _ => None,
        };
        let matches = self.matches.iter().filter_map(|one| match one {
            Match::Unsupported(refused) => Some(&**refused),
            _ => None,
        });
        matches.chain(target)
    }
}

struct SavedRule<'r> {
    rule: &'r Rule,
    table: &'r Table,
}

impl Display for SavedRule<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = self.rule.selector.to_string();
        for one in &self.rule.matches {
            let dash = if matches!(one, Match::Unsupported(_)) { " " } else { " -m " };
            text.push_str(dash);
            text.push_str(&one.to_string());
        }
        text.push(' ');
        text.push_str(&self.rule.target.saved(self.table).to_string());
        f.write_str(text.trim())
    }
}

/// A condition and whether it is negated (`!`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test<T> {
    /// The condition.
    pub value: T,
    /// Whether it must not hold.
    pub invert: bool,
}

impl<T> Test<T> {
    /// The answer, given whether the condition holds.
    #[must_use]
    pub fn of(&self, holds: bool) -> bool {
        holds != self.invert
    }
}

/// What `struct ipt_ip` holds (`ip_packet_match` in `net/ipv4/netfilter/ip_tables.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `-s`.
    pub source: Option<AddrMask>,
    /// `-d`.
    pub destination: Option<AddrMask>,
    /// `-i` and `-o`, which few rules of a large cluster have.
    pub devices: Option<Box<Devices>>,
    /// `-p`.
    pub protocol: Option<Test<Protocol>>,
    /// `-f`: second and further fragments. Holds whether it is negated.
    pub fragment: Option<Test<()>>,
    /// A rule for the other family (`-4` in a file of `ip6tables-save`): it is in no table of this one.
    pub other_family: bool,
}

/// The devices that a packet comes by and leaves by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// `-i`.
    pub input: Option<IfPattern>,
    /// `-o`.
    pub output: Option<IfPattern>,
}

impl Devices {
    /// Whether a packet's devices match. Where the hook lacks one, its name is empty.
    #[must_use]
    pub fn match_names(&self, input: Option<&str>, output: Option<&str>) -> bool {
        self.input.as_ref().is_none_or(|pattern| pattern.matches(input))
            && self.output.as_ref().is_none_or(|pattern| pattern.matches(output))
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        address(f, "-s", self.source.as_ref())?;
        address(f, "-d", self.destination.as_ref())?;
        if let Some(devices) = &self.devices {
            device(f, "-i", devices.input.as_ref())?;
            device(f, "-o", devices.output.as_ref())?;
        }
        if let Some(Test { value, invert }) = self.protocol {
            negation(f, invert)?;
            match protocol_name(value) {
                Some(name) => write!(f, " -p {name}"),
                None => write!(f, " -p {}", value.0),
            }?;
        }
        flag(f, "-f", self.fragment)
    }
}

/// `0.0.0.0/0` asks nothing, so it isn't printed.
fn address(f: &mut Formatter<'_>, name: &str, addr: Option<&AddrMask>) -> fmt::Result {
    let Some(addr) = addr.filter(|addr| addr.invert() || !addr.mask().is_unspecified()) else { return Ok(()) };
    negation(f, addr.invert())?;
    write!(f, " {name} {}", addr.full())
}

/// The names that `iptables-save` prints (`/etc/protocols`, `xtables_chain_protos`).
const PROTOCOLS: &[(u8, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (3, "ggp"),
    (4, "ipencap"),
    (5, "st"),
    (6, "tcp"),
    (8, "egp"),
    (9, "igp"),
    (12, "pup"),
    (17, "udp"),
    (20, "hmp"),
    (22, "xns-idp"),
    (27, "rdp"),
    (29, "iso-tp4"),
    (33, "dccp"),
    (36, "xtp"),
    (37, "ddp"),
    (38, "idpr-cmtp"),
    (41, "ipv6"),
    (43, "ipv6-route"),
    (44, "ipv6-frag"),
    (45, "idrp"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (57, "skip"),
    (58, "ipv6-icmp"),
    (59, "ipv6-nonxt"),
    (60, "ipv6-opts"),
    (73, "rspf"),
    (81, "vmtp"),
    (88, "eigrp"),
    (89, "ospf"),
    (93, "ax.25"),
    (94, "ipip"),
    (97, "etherip"),
    (98, "encap"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (124, "isis"),
    (132, "sctp"),
    (133, "fc"),
    (135, "mobility-header"),
    (136, "udplite"),
    (137, "mpls-in-ip"),
    (138, "manet"),
    (139, "hip"),
    (140, "shim6"),
    (141, "wesp"),
    (142, "rohc"),
    (143, "ethernet"),
];

/// A protocol's name.
#[must_use]
pub fn protocol_name(protocol: Protocol) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(number, _)| *number == protocol.0).map(|(_, name)| *name)
}

/// A device's name, or with `+` at its end the start of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfPattern {
    /// The name, without the `+`.
    pub name: Box<str>,
    /// Whether any name that starts so matches.
    pub prefix: bool,
    /// Whether it must not match.
    pub invert: bool,
}

impl IfPattern {
    /// Whether a device matches. Where the hook has none, its name is empty.
    #[must_use]
    pub fn matches(&self, device: Option<&str>) -> bool {
        let device = device.unwrap_or("");
        let same = if self.prefix { device.starts_with(&*self.name) } else { device == &*self.name };
        same != self.invert
    }
}

//! The rules of iptables-nft, asked of the kernel chain by chain, in the words of `iptables-nft-save -c`.
//!
//! That tool puts chains in order in a time that grows with the square of their number, and `nft` asks for all rules in
//! one dump, which the kernel begins anew for each part (`nf_tables_dump_rules` of `net/netfilter/nf_tables_api.c`).
//! What is written here is, byte for byte, what the tool prints. Where a table, a chain or a rule has anything that is
//! not known that well, nothing is written, and the tool is run.

mod conntrack;
mod matches;
mod objects;
mod ports;
mod rule;
mod targets;
mod text;

use std::io;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use crate::net::{Family, calendar};

use super::attrs::Attrs;
use super::route::number;
use super::socket::Netlink;
use objects::{KernelTable, TABLES, Table, policy};
use text::Line;

/// Messages of nf_tables (`NFNL_SUBSYS_NFTABLES`, `enum nf_tables_msg_types`).
const GETTABLE: u16 = 10 << 8 | 1;
const GETCHAIN: u16 = 10 << 8 | 4;
const GETRULE: u16 = 10 << 8 | 7;

/// So much text is kept before it is written.
const MOST_TEXT: usize = 1 << 20;

/// The versions of iptables whose words are known to be the same.
const VERSIONS: [&str; 3] = ["1.8.9", "1.8.10", "1.8.11"];

/// A tool whose words are known, as it calls itself: `iptables-nft-save v1.8.9 (nf_tables)`.
#[derive(Debug, Clone)]
pub(in super::super) struct Tool(String);

/// A table of nft.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct TableName {
    family: u8,
    name: Vec<u8>,
}

/// A table that was written.
#[derive(Debug)]
pub(in super::super) struct Written {
    pub name: TableName,
    /// Its base chains, in nft's syntax, where it has no more than what was written.
    pub listing: Option<String>,
    /// How many rules it has.
    pub rules: usize,
}

/// Why nothing was written.
#[derive(Debug)]
pub(in super::super) enum Fault {
    /// There is something that is not known, or the kernel doesn't tell.
    Unknown,
    /// The file can't be written.
    Unwritten(io::Error),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Unknown
    }
}

impl Tool {
    /// The tool, by what it says of its version.
    pub fn of(said: &str) -> Option<Self> {
        let (_, version) = said.trim_end().split_once(" v")?;
        let version = version.strip_suffix(" (nf_tables)")?;
        VERSIONS.contains(&version).then(|| Self(said.trim_end().to_owned()))
    }
}

impl TableName {
    /// The words by which nft is asked for it; `None` where its family or its name has none that are safe.
    pub fn words(&self) -> Option<[&str; 2]> {
        let families = [(1, "inet"), (2, "ip"), (3, "arp"), (5, "netdev"), (7, "bridge"), (10, "ip6")];
        let (_, family) = families.iter().find(|(number, _)| *number == self.family)?;
        let name = std::str::from_utf8(&self.name).ok()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        (starts && name.bytes().all(is_plain)).then_some([family, name])
    }
}

/// The tables of the calling thread's namespace, in the kernel's order, which is nft's.
pub(in super::super) fn tables() -> io::Result<Vec<TableName>> {
    let dump = Netlink::open(NETLINK_NETFILTER)?.dump(GETTABLE, &[0; 4])?;
    let tables = objects::tables(&dump)?;
    Ok(tables.into_iter().map(|KernelTable { family, name, .. }| TableName { family, name }).collect())
}

/// Writes the rules of a family in the calling thread's namespace, as a tool prints them at a moment, in seconds since
/// 1970. `write` takes the text, part by part.
pub(in super::super) fn save(
    family: Family,
    tool: &Tool,
    seconds: u64,
    write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Vec<Written>, Fault> {
    let mut netlink = Netlink::open(NETLINK_NETFILTER)?;
    let header = [number(family), 0, 0, 0];
    let tables = objects::tables(&whole(&mut netlink, GETTABLE, &header)?)?;
    let chains = objects::chains(&whole(&mut netlink, GETCHAIN, &header)?)?;
    let mut saver = Saver { netlink, family, header, text: Line::default(), write };
    let mut written = Vec::new();
    for (name, builtin) in TABLES {
        let Some(kernel) = tables.iter().find(|table| table.name == name.as_bytes()) else { continue };
        let table = Table::of((name, builtin), kernel, &chains, family).ok_or(Fault::Unknown)?;
        let rules = saver.table(&table, tool, seconds)?;
        let name = TableName { family: kernel.family, name: kernel.name.clone() };
        written.push(Written { name, listing: table.has_chains_alone.then_some(table.listing), rules });
    }
    saver.flush()?;
    Ok(written)
}

/// A dump that nothing changed meanwhile.
fn whole(netlink: &mut Netlink, kind: u16, body: &[u8]) -> Result<super::socket::Dump, Fault> {
    let dump = netlink.dump(kind, body)?;
    if dump.torn { Err(Fault::Unknown) } else { Ok(dump) }
}

/// Writes one family's tables.
struct Saver<'w> {
    netlink: Netlink,
    family: Family,
    header: [u8; 4],
    text: Line,
    write: &'w mut dyn FnMut(&[u8]) -> io::Result<()>,
}

impl Saver<'_> {
    /// Writes a table (`__do_output` of iptables' `xtables-save.c`), and tells how many rules it has.
    fn table(&mut self, table: &Table<'_>, tool: &Tool, seconds: u64) -> Result<usize, Fault> {
        let moment = ctime(seconds);
        self.text.put(format_args!("# Generated by {} on {moment}\n*{}\n", tool.0, table.name));
        for (name, base) in &table.bases {
            // A chain that nobody used yet is printed all the same.
            let (word, packets, bytes) = match base {
                Some(base) => (policy(base).ok_or(Fault::Unknown)?, base.packets, base.bytes),
                None => ("ACCEPT", 0, 0),
            };
            self.text.put(format_args!(":{name} {word} [{packets}:{bytes}]\n"));
        }
        for chain in &table.chains {
            self.text.push(b":");
            self.text.push(chain);
            self.text.push(b" - [0:0]\n");
        }
        let bases = table.bases.iter().filter(|(_, base)| base.is_some()).map(|(name, _)| name.as_bytes());
        let mut rules = 0;
        for chain in bases.chain(table.chains.iter().copied()) {
            rules += self.rules(table.name, chain)?;
        }
        self.text.put(format_args!("COMMIT\n# Completed on {moment}\n"));
        Ok(rules)
    }

    /// Writes a chain's rules, and tells how many there are.
    fn rules(&mut self, table: &str, chain: &[u8]) -> Result<usize, Fault> {
        let mut body = self.header.to_vec();
        push_text(&mut body, 1, table.as_bytes());
        push_text(&mut body, 2, chain);
        let dump = whole(&mut self.netlink, GETRULE, &body)?;
        let mut count = 0;
        for message in dump.messages() {
            let attrs = Attrs::behind(message, 4)?;
            let is = |kind: u16, name: &[u8]| attrs.bytes(kind).and_then(text::up_to_nul) == Some(name);
            // A kernel that filters no dumps by their chain tells of all of them.
            if !is(1, table.as_bytes()) || !is(2, chain) {
                return Err(Fault::Unknown);
            }
            rule::write(&mut self.text, chain, &attrs, self.family).ok_or(Fault::Unknown)?;
            count += 1;
        }
        if self.text.0.len() > MOST_TEXT {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        (self.write)(&self.text.0).map_err(Fault::Unwritten)?;
        self.text.0.clear();
        Ok(())
    }
}

/// Adds an attribute of a text.
fn push_text(body: &mut Vec<u8>, kind: u16, text: &[u8]) {
    let length = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(text);
    body.push(0);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// A moment in UTC as C's `ctime` writes it.
fn ctime(seconds: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = i64::try_from(seconds).unwrap_or_default();
    let (number, of_day) = (seconds.div_euclid(calendar::DAY), seconds.rem_euclid(calendar::DAY));
    let (year, month, day) = calendar::civil(number);
    let word = |words: &[&'static str], at: i64| {
        usize::try_from(at).ok().and_then(|at| words.get(at)).copied().unwrap_or_default()
    };
    let (weekday, month) = (word(&DAYS, number.rem_euclid(7)), word(&MONTHS, month - 1));
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
}

#[cfg(test)]
mod tests;

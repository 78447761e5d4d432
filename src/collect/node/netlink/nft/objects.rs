//! Tables and chains.

use std::io;

use crate::collect::node::netlink::attrs::{Attrs, Header as _};
use crate::collect::node::netlink::socket::{Dump, malformed};
use crate::net::Family;

use super::text::up_to_nul;

/// A base chain that iptables-nft has in a table: its name, hook, type and priority.
type Builtin = (&'static str, u32, &'static str, i32);

/// The tables of iptables-nft with their base chains, in its order (`xtables_ipv4` of iptables' `nft.c`,
/// `enum nft_table_type` of its `nft.h`).
pub(super) const TABLES: [(&str, &[Builtin]); 5] = [
    (
        "mangle",
        &[
            ("PREROUTING", 0, "filter", -150),
            ("INPUT", 1, "filter", -150),
            ("FORWARD", 2, "filter", -150),
            ("OUTPUT", 3, "route", -150),
            ("POSTROUTING", 4, "filter", -150),
        ],
    ),
    ("security", &[("INPUT", 1, "filter", 150), ("FORWARD", 2, "filter", 150), ("OUTPUT", 3, "filter", 150)]),
    ("raw", &[("PREROUTING", 0, "filter", -300), ("OUTPUT", 3, "filter", -300)]),
    ("filter", &[("INPUT", 1, "filter", 0), ("FORWARD", 2, "filter", 0), ("OUTPUT", 3, "filter", 0)]),
    (
        "nat",
        &[
            ("PREROUTING", 0, "nat", -100),
            ("INPUT", 1, "nat", 100),
            ("OUTPUT", 3, "nat", -100),
            ("POSTROUTING", 4, "nat", 100),
        ],
    ),
];

/// The words of the hooks.
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];

/// A table of the kernel's.
#[derive(Debug, Clone)]
pub(super) struct KernelTable {
    /// The family's number.
    pub family: u8,
    pub name: Vec<u8>,
    /// How many chains, sets, objects and flow tables it has.
    uses: u32,
    /// Whether nothing is told of it but what iptables-nft gives its tables.
    is_plain: bool,
}

/// A chain of the kernel's.
#[derive(Debug, Clone)]
pub(super) struct KernelChain {
    pub table: Vec<u8>,
    pub name: Vec<u8>,
    pub base: Option<Base>,
    /// Whether nothing is told of it that iptables-nft gives no chain.
    is_plain: bool,
}

/// Where a base chain is called.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub hook: u32,
    pub kind: Vec<u8>,
    pub priority: i32,
    pub policy: u32,
    pub packets: u64,
    pub bytes: u64,
}

/// A table of iptables-nft's, wholly known but for its rules.
#[derive(Debug)]
pub(super) struct Table<'k> {
    pub name: &'static str,
    /// Each base chain that it may have, with what the kernel has of it.
    pub bases: Vec<(&'static str, Option<&'k Base>)>,
    /// All other chains, by their names.
    pub chains: Vec<&'k [u8]>,
    /// Whether it has nothing but chains.
    pub has_chains_alone: bool,
    /// Its listing in nft's syntax, base chains alone, in the kernel's order.
    pub listing: String,
}

/// The tables of a dump.
pub(super) fn tables(dump: &Dump) -> io::Result<Vec<KernelTable>> {
    dump.messages().map(table).collect()
}

fn table(body: &[u8]) -> io::Result<KernelTable> {
    let attrs = Attrs::behind(body, 4)?;
    let name = name(&attrs, 1)?;
    // Name, flags, uses, handle and padding: one with a comment or an owner is not iptables'.
    let is_plain = attrs.iter().all(|(kind, _)| kind <= 5) && attrs.be32(2).unwrap_or(0) == 0;
    Ok(KernelTable { family: body.byte(0), name, uses: attrs.be32(3).unwrap_or(0), is_plain })
}

/// The chains of a dump.
pub(super) fn chains(dump: &Dump) -> io::Result<Vec<KernelChain>> {
    dump.messages().map(chain).collect()
}

fn chain(body: &[u8]) -> io::Result<KernelChain> {
    let attrs = Attrs::behind(body, 4)?;
    let (table, name) = (name(&attrs, 1)?, name(&attrs, 3)?);
    // `NFT_CHAIN_BASE` is the one flag.
    let is_plain = attrs.iter().all(|(kind, _)| kind <= 10) && attrs.be32(10).unwrap_or(0) & !1 == 0;
    let mut chain = KernelChain { table, name, base: None, is_plain };
    if attrs.bytes(4).is_some() {
        let (hook, counters) = (attrs.nested(4)?, attrs.nested(8)?);
        chain.is_plain &= hook.iter().all(|(kind, _)| kind <= 2);
        chain.base = base(&attrs, &hook, &counters);
        chain.is_plain &= chain.base.is_some();
    }
    Ok(chain)
}

fn base(attrs: &Attrs<'_>, hook: &Attrs<'_>, counters: &Attrs<'_>) -> Option<Base> {
    Some(Base {
        hook: hook.be32(1)?,
        priority: hook.be32(2)?.cast_signed(),
        kind: up_to_nul(attrs.bytes(7)?)?.to_owned(),
        policy: attrs.be32(5)?,
        bytes: counters.be64(1).unwrap_or(0),
        packets: counters.be64(2).unwrap_or(0),
    })
}

fn name(attrs: &Attrs<'_>, kind: u16) -> io::Result<Vec<u8>> {
    let name = attrs.bytes(kind).and_then(up_to_nul).ok_or_else(|| malformed("a name is missing"))?;
    Ok(name.to_owned())
}

impl<'k> Table<'k> {
    /// A table of iptables-nft's that the kernel has; `None` where it is not as iptables-nft makes it.
    pub fn of(
        (name, builtin): (&'static str, &[Builtin]),
        kernel: &KernelTable,
        chains: &'k [KernelChain],
        family: Family,
    ) -> Option<Self> {
        let word = if family == Family::Inet { "ip" } else { "ip6" };
        let mut table = Self {
            name,
            bases: builtin.iter().map(|(name, ..)| (*name, None)).collect(),
            chains: Vec::new(),
            has_chains_alone: false,
            listing: format!("table {word} {name} {{\n"),
        };
        let mut count = 0;
        for chain in chains.iter().filter(|chain| chain.table == name.as_bytes()) {
            count += 1;
            chain.is_plain.then_some(())?;
            let builtin = builtin.iter().find(|(name, ..)| name.as_bytes() == chain.name);
            match (&chain.base, builtin) {
                (Some(base), Some(builtin)) => table.add(builtin, base)?,
                // One that is called by no hook, and is named like one that is, is no chain of iptables'.
                (None, None) if !is_builtin(&chain.name) => table.chains.push(&chain.name),
                _ => return None,
            }
        }
        table.listing.push_str("}\n");
        table.chains.sort_unstable();
        table.has_chains_alone = kernel.uses == count;
        kernel.is_plain.then_some(table)
    }

    fn add(&mut self, builtin: &Builtin, base: &'k Base) -> Option<()> {
        let (name, hook, kind, priority) = builtin;
        let is_as_made = (base.hook, base.kind.as_slice(), base.priority) == (*hook, kind.as_bytes(), *priority);
        is_as_made.then_some(())?;
        let policy = policy(base)?.to_ascii_lowercase();
        let hook = HOOKS.get(usize::try_from(*hook).ok()?)?;
        let (_, place) = self.bases.iter_mut().find(|(other, _)| other == name)?;
        *place = Some(base);
        let listed = format!("type {kind} hook {hook} priority {priority}; policy {policy};");
        self.listing.extend(["\tchain ", name, " {\n\t\t", &listed, "\n\t}\n"]);
        Some(())
    }
}

/// The policy in iptables' words.
pub(super) fn policy(base: &Base) -> Option<&'static str> {
    match base.policy {
        0 => Some("DROP"),
        1 => Some("ACCEPT"),
        _ => None,
    }
}

fn is_builtin(name: &[u8]) -> bool {
    TABLES.iter().flat_map(|(_, chains)| *chains).any(|(builtin, ..)| builtin.as_bytes() == name)
}

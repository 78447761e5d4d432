//! What of a namespace's files could not be read. A row that could not be read is like a missing one: it may say
//! anything that its readable part allows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, MacAddr};

use super::Netns;

/// A table of a namespace, by the file that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFile {
    /// `link`.
    Link,
    /// `addr`.
    Addr,
    /// `route`, `route6`.
    Route(Family),
    /// `rule`, `rule6`.
    Rule(Family),
    /// `neigh`.
    Neigh,
    /// `fdb`.
    Fdb,
    /// `bridge-vlan`.
    BridgeVlan,
    /// `sysctl`.
    Sysctl,
    /// `conntrack`.
    Conntrack,
    /// `ipset`.
    Ipset,
    /// `nfacct`.
    Nfacct,
    /// A list of `recent/`.
    Recent,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRow {
    /// The table that it is a row of.
    pub table: TableFile,
    /// The address or prefix that it is about, where that much can be read.
    pub prefix: Option<IpNet>,
    /// The link-layer address that it is about, where that much can be read.
    pub lladdr: Option<MacAddr>,
    /// The device that it is about, where that much can be read.
    pub dev: Option<IfName>,
    /// Its line.
    pub evidence: Evidence,
}

/// What of one namespace could not be read.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    /// Rows of tables, in the order of their files.
    pub rows: Vec<UnreadRow>,
    /// Files that are there and were not read at all: their names, and why.
    pub files: BTreeMap<String, String>,
}

impl UnreadRow {
    /// Whether the row may be about an address.
    #[must_use]
    pub fn may_hold(&self, address: IpAddr) -> bool {
        self.prefix.is_none_or(|prefix| prefix.contains(&address))
    }

    /// Whether the row may be about a device.
    #[must_use]
    pub fn may_name(&self, dev: &IfName) -> bool {
        self.dev.as_ref().is_none_or(|own| own == dev)
    }

    /// Whether the row stands before a line of its own file.
    #[must_use]
    pub fn is_before(&self, line: Evidence) -> bool {
        let place = |row: Evidence| (row.line, row.index);
        self.evidence.file == line.file && place(self.evidence) < place(line)
    }
}

impl Netns {
    /// The rows of a table that could not be read.
    pub fn unread_rows(&self, table: TableFile) -> impl Iterator<Item = &UnreadRow> {
        self.unread.rows.iter().filter(move |row| row.table == table)
    }

    /// Says that a file is missing, or why it was not read.
    #[must_use]
    pub fn lacks(&self, file: &str) -> String {
        let json = file.replace(".txt", ".json");
        match self.unread.files.get(file).or_else(|| self.unread.files.get(&json)) {
            Some(why) => why.clone(),
            None => format!("{}/{file} is missing", self.dir),
        }
    }
}

//! Rows that could not be read, as tables: what is left of them restricts what they may say.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::{Evidence, FileId, Files, Gap};
use crate::net::{Family, IfName};
use crate::snapshot::{TableFile, UnreadRow};

use super::ip_route::destination;
use super::lines::open_end;

/// The rows that some gaps are about.
pub(super) fn rows(table: TableFile, gaps: &[Gap], files: &Files) -> Vec<UnreadRow> {
    let unread = gaps.iter().filter(|gap| gap.unread).flat_map(|gap| &gap.evidence);
    unread.map(|row| read(table, *row, files.text(*row))).collect()
}

/// The lines of a text that are there whole: no tool leaves its last line open.
pub(super) fn whole_lines(text: &str) -> &str {
    let end = text.rfind('\n').map_or(0, |at| at + 1);
    text.get(..end).unwrap_or("")
}

/// The line in which a text was cut off, and all that followed, as a row that may say anything.
pub(super) fn cut_off(table: TableFile, file: FileId, text: &str) -> Option<UnreadRow> {
    let row = |evidence| UnreadRow { table, prefix: None, lladdr: None, dev: None, evidence };
    open_end(file, text).map(row)
}

/// Reads as much of a row as stands at its right place.
fn read(table: TableFile, evidence: Evidence, text: &str) -> UnreadRow {
    let words: Vec<&str> = text.split_ascii_whitespace().take(64).collect();
    let word = |place: usize| words.get(place).copied().unwrap_or_default();
    let after = |name: &str| words.iter().skip_while(|word| **word != name).nth(1).copied();
    let mut row = UnreadRow { table, prefix: None, lladdr: None, dev: None, evidence };
    match table {
        TableFile::Route(family) => {
            // The type before the prefix may be what can't be read.
            let prefix = |place| destination(word(place), family).filter(|_| word(place) != "default");
            row.prefix = prefix(0).or_else(|| prefix(1)).map(|prefix| prefix.trunc());
        }
        TableFile::Neigh => row.prefix = single(word(0)),
        TableFile::Addr => {
            row.prefix = after("inet").or_else(|| after("inet6")).and_then(|net| single(net.split('/').next()?));
        }
        TableFile::Fdb => {
            row.lladdr = word(0).parse().ok();
            row.dev = after("dev").map(IfName::new);
        }
        TableFile::Link => {
            let name = word(1).strip_suffix(':').filter(|_| word(0).ends_with(':'));
            row.dev = name.map(|name| IfName::new(name.split('@').next().unwrap_or(name)));
        }
        TableFile::Rule(_)
        | TableFile::BridgeVlan
        | TableFile::Sysctl
        | TableFile::Conntrack
        | TableFile::Ipset
        | TableFile::Nfacct
        | TableFile::Recent => {}
    }
    row
}

/// One address.
fn single(word: &str) -> Option<IpNet> {
    word.parse::<IpAddr>().ok().map(IpNet::from)
}

/// Where `route` holds both families, a row of it may be of either.
pub(super) fn of_both_families(rows: &[UnreadRow]) -> Vec<UnreadRow> {
    let inet = rows.iter().filter(|row| row.table == TableFile::Route(Family::Inet));
    inet.map(|row| UnreadRow { table: TableFile::Route(Family::Inet6), ..row.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: TableFile, text: &str) -> UnreadRow {
        read(table, Evidence::line(FileId(0), 1), text)
    }

    #[test]
    fn what_is_left_of_a_row_says_what_it_is_about() {
        let prefix = |table, text| row(table, text).prefix.map(|prefix| prefix.to_string());
        let route = TableFile::Route(Family::Inet);
        assert_eq!(prefix(route, "unicXst 10.244.2.0/24 via 10.244.2.0 dev flannel.1").unwrap(), "10.244.2.0/24");
        assert_eq!(prefix(route, "10.244.2.x/24 via 10.244.2.0 dev flannel.1"), None);
        assert_eq!(prefix(route, "dXfault via 192.0.2.1 dev eth0"), None);
        assert_eq!(prefix(TableFile::Neigh, "10.244.2.0 dev flannel.1 lladdr 5a: PERMANENT").unwrap(), "10.244.2.0/32");
        assert_eq!(prefix(TableFile::Addr, "    inet 10.244.1.1/x24 scope global cni0").unwrap(), "10.244.1.1/32");
        assert_eq!(row(TableFile::Fdb, "5a:00:00:00:00:02 dXv flannel.1 dst 192.0.2.12").dev, None);
        assert_eq!(row(TableFile::Link, "3: cni0@if2: BROADCAST,UP> mtu 1450").dev, Some(IfName::new("cni0")));
    }
}

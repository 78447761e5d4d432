//! Routes, and the index that finds the longest prefix.

mod prefixes;
mod ways;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, RouteScope, RouteType, TableId};

use prefixes::Prefixes;
pub use ways::Ways;

/// A row of `ip -d route show table all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which table the route is in.
    pub table: TableId,
    /// What happens to packets that take it.
    pub kind: RouteType,
    /// The destinations that it is for.
    pub dst: IpNet,
    /// The source prefix of a source-specific IPv6 route (`from`).
    pub from: Option<IpNet>,
    /// Only packets with this TOS (IPv4); 0 is any.
    pub tos: u8,
    /// The metric, lowest first. In IPv6 the kernel's default is 1024.
    pub metric: u32,
    /// Who made it (`kernel`, `static`, `ra`, …), as printed.
    pub protocol: Option<Arc<str>>,
    /// How far the destination is.
    pub scope: RouteScope,
    /// The source address that local senders get (`src`).
    pub prefsrc: Option<IpAddr>,
    /// The MTU that the route gives, in bytes.
    pub mtu: Option<u32>,
    /// Whether that MTU is locked, so that IPv6 looks at it in what it forwards too.
    pub mtu_locked: bool,
    /// The realms, as written (`realm 5`, `realms 4/5`), which `-m realm` asks for.
    pub realms: Option<Box<str>>,
    /// Where the packet goes next; several for multipath, none for types that end the packet.
    pub nexthops: Ways,
    /// The nexthop object that stands in for `nexthops`.
    pub nhid: Option<u32>,
    /// Words that flowtrace doesn't model, or doesn't know, as written; a lookup that takes the route branches.
    pub unmodelled: Vec<String>,
    /// The line that says so.
    pub evidence: Evidence,
}

/// One way of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway, which may be of the other family (`via inet6 …`).
    pub via: Option<IpAddr>,
    /// The outgoing device.
    pub dev: Option<IfName>,
    /// The weight among the ways, from 1.
    pub weight: u32,
    /// `onlink`: the gateway is taken to be on the device's link.
    pub onlink: bool,
    /// `dead`: not used.
    pub dead: bool,
    /// `linkdown`: used unless `ignore_routes_with_linkdown` is set.
    pub linkdown: bool,
    /// An encapsulation that flowtrace doesn't model, as written (`encap mpls …`).
    pub encap: Option<Box<str>>,
    /// The line that says so.
    pub evidence: Evidence,
}

/// A row of `ip nexthop show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHopObject {
    /// Its number.
    pub id: u32,
    /// The single way, unless it is a group or a blackhole.
    pub way: Option<NextHop>,
    /// A group's members and their weights.
    pub group: Vec<(u32, u32)>,
    /// Packets that take it are dropped.
    pub blackhole: bool,
    /// Words that flowtrace doesn't model, as written (`type resilient`, `fdb`, …).
    pub unmodelled: Vec<String>,
    /// The line that says so.
    pub evidence: Evidence,
}

impl NextHop {
    /// Whether another way leads to the same place.
    fn leads_as(&self, other: &Self) -> bool {
        (self.via, &self.dev, self.onlink, &self.encap) == (other.via, &other.dev, other.onlink, &other.encap)
    }

    /// A way that says nothing yet.
    #[must_use]
    pub fn new(evidence: Evidence) -> Self {
        Self { via: None, dev: None, weight: 1, onlink: false, dead: false, linkdown: false, encap: None, evidence }
    }
}

/// The routes of one family in one namespace, by table and prefix.
#[derive(Debug, Default)]
pub struct Routes {
    rows: Vec<Route>,
    tables: BTreeMap<TableId, RouteTable>,
    /// Whether the file held `table all`, so that a table without rows is empty and not unknown.
    all_tables: bool,
    /// Whether somebody, and not the kernel, made a route of type `local`.
    custom_local: bool,
}

/// The index of one table.
#[derive(Debug)]
pub struct RouteTable {
    inet: Prefixes<u32>,
    inet6: Prefixes<u128>,
}

impl Routes {
    /// Indexes rows in the order of the file. `all_tables` says whether every table was listed.
    #[must_use]
    pub fn new(rows: Vec<Route>, all_tables: bool) -> Self {
        let mut places: BTreeMap<TableId, Vec<u32>> = BTreeMap::new();
        for (place, route) in (0u32..).zip(&rows) {
            places.entry(route.table).or_default().push(place);
        }
        let is_custom = |route: &Route| route.kind == RouteType::Local && route.protocol.as_deref() != Some("kernel");
        let custom_local = rows.iter().any(is_custom);
        let tables = places.into_iter().map(|(id, places)| (id, RouteTable::new(&rows, places))).collect();
        Self { rows, tables, all_tables, custom_local }
    }

    /// Every row, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> &[Route] {
        &self.rows
    }

    /// The rows without their index.
    #[must_use]
    pub fn into_rows(self) -> Vec<Route> {
        self.rows
    }

    /// Whether the file held every table.
    #[must_use]
    pub fn all_tables(&self) -> bool {
        self.all_tables
    }

    /// Whether somebody, and not the kernel, made a route of type `local`.
    #[must_use]
    pub fn has_custom_local(&self) -> bool {
        self.custom_local
    }

    /// The routes of a table whose prefix holds an address: longest prefix first, then lowest metric, then the order
    /// of the file, which is the kernel's.
    pub fn covering(&self, table: TableId, address: IpAddr) -> impl Iterator<Item = &Route> {
        let table = self.tables.get(&table).into_iter();
        table.flat_map(move |table| table.covering(address)).filter_map(|place| self.rows.get(place as usize))
    }

    /// Two rows of which the kernel holds only one, in the order of the file. It tells IPv4 routes of one prefix, TOS
    /// and metric apart by whatever else they say (`fib_table_insert`), IPv6 ones of one prefix and metric by where
    /// they lead (`rt6_duplicate_nexthop`).
    pub fn doubled(&self) -> impl Iterator<Item = (&Route, &Route)> {
        let pairs = self.tables.values().flat_map(|table| table.inet.pairs().chain(table.inet6.pairs()));
        let rows = pairs.filter_map(|(one, other)| self.rows.get(one as usize).zip(self.rows.get(other as usize)));
        rows.filter(|(one, other)| one.excludes(other))
    }

    /// The same as [`Self::covering`] by reading every row: what the index is tested against.
    #[must_use]
    pub fn covering_by_scan(&self, table: TableId, address: IpAddr) -> Vec<&Route> {
        let mut found: Vec<&Route> =
            self.rows.iter().filter(|route| route.table == table && route.dst.contains(&address)).collect();
        found.sort_by_key(|route| (Reverse(route.dst.prefix_len()), Reverse(route.tos), route.metric));
        found
    }
}

impl RouteTable {
    /// Indexes the rows at some places. Those of one prefix come in the kernel's order (`fib_insert_alias`): TOS
    /// descending, then metric, then the order of the file.
    fn new(rows: &[Route], mut places: Vec<u32>) -> Self {
        let row = |place: &u32| rows.get(*place as usize);
        places.sort_by_key(|place| row(place).map(|route| (Reverse(route.tos), route.metric)));
        let (mut inet, mut inet6) = (Vec::new(), Vec::new());
        for place in places {
            match row(&place).map(|route| route.dst) {
                Some(IpNet::V4(dst)) => inet.push((dst.network().to_bits(), dst.broadcast().to_bits(), place)),
                Some(IpNet::V6(dst)) => inet6.push((dst.network().to_bits(), dst.broadcast().to_bits(), place)),
                None => {}
            }
        }
        Self { inet: Prefixes::new(inet), inet6: Prefixes::new(inet6) }
    }

    fn covering(&self, address: IpAddr) -> impl Iterator<Item = u32> {
        let mut cursor = match address {
            IpAddr::V4(address) => self.inet.find(address.to_bits()),
            IpAddr::V6(address) => self.inet6.find(address.to_bits()),
        };
        std::iter::from_fn(move || match address {
            IpAddr::V4(address) => self.inet.next(&mut cursor, address.to_bits()),
            IpAddr::V6(address) => self.inet6.next(&mut cursor, address.to_bits()),
        })
    }
}

impl Route {
    /// A row that says nothing yet but for whom it is.
    #[must_use]
    pub fn new(dst: IpNet, kind: RouteType, evidence: Evidence) -> Self {
        Self {
            table: TableId::MAIN,
            kind,
            dst,
            from: None,
            tos: 0,
            metric: if dst.addr().is_ipv6() { 1024 } else { 0 },
            protocol: None,
            scope: RouteScope::GLOBAL,
            prefsrc: None,
            mtu: None,
            mtu_locked: false,
            nexthops: Ways::default(),
            nhid: None,
            realms: None,
            unmodelled: Vec::new(),
            evidence,
        }
    }

    /// Whether the kernel holds no such two routes of one table and prefix.
    fn excludes(&self, other: &Self) -> bool {
        let key = |route: &Self| (route.tos, route.metric, route.from, route.nhid);
        if key(self) != key(other) {
            return false;
        }
        let same = |one: &NextHop, other: &NextHop| one.leads_as(other);
        if self.family() == Family::Inet6 {
            let shared = |way: &NextHop| other.nexthops.iter().any(|other| same(way, other));
            return self.nexthops.iter().any(shared) || self.nexthops.is_empty() && other.nexthops.is_empty();
        }
        let attributes = |route: &Self| {
            (route.kind, route.protocol.clone(), route.scope, route.prefsrc, route.mtu, route.realms.clone())
        };
        let ways = self.nexthops.len() == other.nexthops.len()
            && self
                .nexthops
                .iter()
                .zip(&other.nexthops)
                .all(|(one, other)| same(one, other) && one.weight == other.weight);
        ways && attributes(self) == attributes(other) && self.unmodelled == other.unmodelled
    }

    /// The family, from the destination.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.dst.addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::FileId;
    use proptest::prelude::*;

    fn route(dst: IpNet, metric: u32, tos: u8) -> Route {
        Route {
            table: TableId::MAIN,
            kind: RouteType::Unicast,
            dst,
            from: None,
            tos,
            metric,
            protocol: None,
            scope: RouteScope::GLOBAL,
            prefsrc: None,
            mtu: None,
            mtu_locked: false,
            nexthops: Ways::default(),
            nhid: None,
            realms: None,
            unmodelled: Vec::new(),
            evidence: Evidence::line(FileId(0), 1),
        }
    }

    fn prefixes() -> impl Strategy<Value = IpNet> {
        (any::<u32>(), 0u8..=32, any::<bool>(), any::<u128>(), 0u8..=128).prop_map(|(v4, short, inet, v6, long)| {
            // Few distinct bits, so that prefixes nest.
            let v4 = IpAddr::from((v4 & 0xc0c0_c0c0).to_be_bytes());
            let v6 = IpAddr::from((v6 & 0xc000_c000_c000_c000_c000_c000_c000_c000).to_be_bytes());
            let (address, length) = if inet { (v4, short) } else { (v6, long) };
            IpNet::new(address, length).map(|net| net.trunc()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_scan_finds(
            rows in proptest::collection::vec((prefixes(), 0u32..3, 0u8..2), 0..200),
            address in prefixes(),
        ) {
            let rows: Vec<Route> = rows.into_iter().map(|(dst, metric, tos)| route(dst, metric, tos * 4)).collect();
            let routes = Routes::new(rows, true);
            let address = address.addr();
            let indexed: Vec<&Route> = routes.covering(TableId::MAIN, address).collect();
            prop_assert_eq!(indexed, routes.covering_by_scan(TableId::MAIN, address));
        }
    }
}

//! The kernel's tables through rtnetlink, in iproute2's own text syntax: what a load reads of them is what it reads of
//! the tools' output.

mod addr;
mod attrs;
mod bridge;
mod encap;
mod kind;
mod line;
mod link;
mod names;
mod neigh;
mod nexthop;
pub(super) mod nft;
mod route;
mod rule;
mod socket;
mod tuntap;
mod watch;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;

use rtnetlink::sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use crate::net::Family;

use link::Devices;
use socket::{Dump, Netlink};
use watch::Watch;

const GETLINK: u16 = 18;
const GETADDR: u16 = 22;
const GETROUTE: u16 = 26;
const GETNEIGH: u16 = 30;
const GETRULE: u16 = 34;
const GETNEXTHOP: u16 = 106;

const AF_BRIDGE: u8 = 7;
const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;

/// How often all tables are read where one of them changed meanwhile.
const ROUNDS: usize = 4;

/// The files that rtnetlink fills.
pub(super) const FILES: [&str; 12] = [
    "link.txt",
    "addr.txt",
    "route.txt",
    "route6.txt",
    "rule.txt",
    "rule6.txt",
    "nexthop.txt",
    "neigh.txt",
    "fdb.txt",
    "bridge-link.txt",
    "bridge-vlan.txt",
    "tuntap.txt",
];

/// A table of a namespace.
#[derive(Debug)]
pub(super) struct Table {
    /// Its file in the namespace's folder.
    pub file: &'static str,
    /// Its rows, or why there are none.
    pub text: io::Result<String>,
    /// Whether it changed whenever it was read.
    pub changed: bool,
}

/// The tables as the kernel told them.
struct Dumps {
    links: Dump,
    addrs: Dump,
    routes: [io::Result<Dump>; 2],
    rules: [io::Result<Dump>; 2],
    nexthops: io::Result<Dump>,
    neighs: io::Result<Dump>,
    fdb: io::Result<Dump>,
    ports: io::Result<Dump>,
    vlans: io::Result<Dump>,
}

/// Reads the tables of the calling thread's namespace, which has this number, all of them again where devices,
/// addresses, routes, rules or nexthop objects changed meanwhile. `names` are the namespaces that `ip netns` knows.
pub(super) fn tables(netns: u64, names: &[(&str, &File)]) -> io::Result<Vec<Table>> {
    let watch = Watch::open()?;
    let mut netlink = Netlink::open(NETLINK_ROUTE)?;
    let mut dumps = Dumps::read(&mut netlink)?;
    let mut changed = watch.changes();
    for _ in 1..ROUNDS {
        if changed.is_empty() {
            break;
        }
        dumps = Dumps::read(&mut netlink)?;
        changed = watch.changes();
    }
    dumps.tables(netns, &mut netlink, names, &changed)
}

/// The addresses of the calling thread's namespace but those of the loopback device, and whether it has any other one.
pub(super) fn addresses() -> io::Result<(Vec<IpAddr>, bool)> {
    let mut netlink = Netlink::open(NETLINK_ROUTE)?;
    let links = netlink.dump(GETLINK, &link_request(0, 0))?;
    let devices = Devices::new(&links)?;
    let is_loopback = |index: u32| devices.find(index).is_some_and(|device| device.link_type == 772);
    let addrs = addr::addresses(&netlink.dump(GETADDR, &[0; 8])?)?;
    let found = addrs.into_iter().filter(|(index, _)| !is_loopback(*index)).map(|(_, address)| address).collect();
    Ok((found, devices.all.iter().any(|device| device.link_type != 772)))
}

/// The number that nft's rule set has at this moment in the calling thread's namespace; another one after each change
/// (`NFT_MSG_GETGEN` of `net/netfilter/nf_tables_api.c`). To be asked only where the kernel has nft: it would load the
/// module.
pub(super) fn nft_generation() -> io::Result<Option<u32>> {
    const GETGEN: u16 = 10 << 8 | 16;
    let answer = Netlink::open(NETLINK_NETFILTER)?.get(GETGEN, &[0; 4])?;
    answer.messages().next().map_or(Ok(None), |body| Ok(attrs::Attrs::behind(body, 4)?.be32(1)))
}

impl Dumps {
    fn read(netlink: &mut Netlink) -> io::Result<Self> {
        let by_family = |netlink: &mut Netlink, kind: u16| {
            [Family::Inet, Family::Inet6].map(|family| {
                let mut body = [0; 12];
                body[0] = route::number(family);
                netlink.dump(kind, &body)
            })
        };
        // `RTEXT_FILTER_BRVLAN`.
        let (ports, vlans) = (link_request(AF_BRIDGE, 0), link_request(AF_BRIDGE, 2));
        let mut bridges = [0; 12];
        bridges[0] = AF_BRIDGE;
        Ok(Self {
            links: netlink.dump(GETLINK, &link_request(0, 0))?,
            addrs: netlink.dump(GETADDR, &[0; 8])?,
            routes: by_family(netlink, GETROUTE),
            rules: by_family(netlink, GETRULE),
            nexthops: netlink.dump(GETNEXTHOP, &[0; 8]),
            neighs: netlink.dump(GETNEIGH, &[0; 12]),
            fdb: netlink.dump(GETNEIGH, &bridges),
            ports: netlink.dump(GETLINK, &ports),
            vlans: netlink.dump(GETLINK, &vlans),
        })
    }

    fn tables(
        self,
        netns: u64,
        netlink: &mut Netlink,
        names: &[(&str, &File)],
        changed: &[&str],
    ) -> io::Result<Vec<Table>> {
        let mut devices = Devices::new(&self.links)?;
        if devices.has_peers_elsewhere() {
            devices.namespaces = numbers(netlink, names);
        }
        let devices = &devices;
        let [route, route6] = self.routes;
        let [rule, rule6] = self.rules;
        let mut found = Vec::new();
        let mut add = |file: &'static str, dump: io::Result<&Dump>, text: &dyn Fn(&Dump) -> io::Result<String>| {
            let changed = changed.contains(&file) || dump.as_ref().is_ok_and(|dump| dump.torn);
            found.push(Table { file, text: dump.and_then(text), changed });
        };
        add("link.txt", Ok(&self.links), &|_| devices.text());
        add("addr.txt", Ok(&self.addrs), &|dump| addr::text(devices, dump));
        add("route.txt", told(route).as_ref().map_err(copy), &|dump| route::text(devices, dump, Family::Inet));
        add("route6.txt", told(route6).as_ref().map_err(copy), &|dump| route::text(devices, dump, Family::Inet6));
        add("rule.txt", told(rule).as_ref().map_err(copy), &|dump| rule::text(dump, Family::Inet));
        add("rule6.txt", told(rule6).as_ref().map_err(copy), &|dump| rule::text(dump, Family::Inet6));
        add("nexthop.txt", told(self.nexthops).as_ref().map_err(copy), &|dump| nexthop::text(devices, dump));
        add("neigh.txt", self.neighs.as_ref().map_err(copy), &|dump| neigh::text(devices, dump));
        add("fdb.txt", self.fdb.as_ref().map_err(copy), &|dump| neigh::fdb(devices, dump));
        add("bridge-link.txt", self.ports.as_ref().map_err(copy), &|dump| bridge::links(devices, dump));
        add("bridge-vlan.txt", self.vlans.as_ref().map_err(copy), &|dump| bridge::vlans(devices, dump));
        add("tuntap.txt", Ok(&self.links), &|_| tuntap::text(devices, |name| tuntap::programs(name, netns)));
        Ok(found)
    }
}

/// The names of namespaces by the numbers that the calling thread's has for them. To ask gives none a number.
fn numbers(netlink: &mut Netlink, names: &[(&str, &File)]) -> HashMap<u32, String> {
    const GETNSID: u16 = 90;
    let mut found = HashMap::new();
    for (name, file) in names {
        let mut body = vec![0; 4];
        // `NETNSA_FD`.
        push_attr(&mut body, 3, file.as_raw_fd().to_ne_bytes());
        let Ok(answer) = netlink.get(GETNSID, &body) else { continue };
        // `NETNSA_NSID`, below zero where there is none.
        let number = answer.messages().next().and_then(|body| attrs::Attrs::behind(body, 4).ok()?.u32(1));
        found.extend(number.filter(|number| number.cast_signed() >= 0).map(|number| (number, (*name).to_owned())));
    }
    found
}

/// A kernel that doesn't know what is asked for has none of it: nexthop objects before Linux 5.3, IPv6 where it is left
/// out.
fn told(dump: io::Result<Dump>) -> io::Result<Dump> {
    match dump {
        Err(err) if matches!(err.raw_os_error(), Some(EOPNOTSUPP | EAFNOSUPPORT)) => Ok(Dump::default()),
        dump => dump,
    }
}

fn copy(err: &io::Error) -> io::Error {
    err.raw_os_error().map_or_else(|| io::Error::other(err.to_string()), io::Error::from_raw_os_error)
}

/// `struct ifinfomsg` of a family, and `IFLA_EXT_MASK` where more is wanted than usual.
fn link_request(family: u8, mask: u32) -> Vec<u8> {
    let mut body = vec![0; 16];
    body.splice(0..1, [family]);
    if mask != 0 {
        push_attr(&mut body, 29, mask.to_ne_bytes());
    }
    body
}

fn push_attr(body: &mut Vec<u8>, kind: u16, value: [u8; 4]) {
    body.extend_from_slice(&8u16.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(&value);
}

#[cfg(test)]
mod tests;

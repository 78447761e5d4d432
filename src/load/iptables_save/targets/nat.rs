//! Network address translation.

use std::net::IpAddr;

use crate::net::{Family, Hook};
use crate::snapshot::{AddrMask, NatRange, Target, prefix_length};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{U32, number, one_of};
use super::super::value::{addr_mask, address, masked_addr, ranged, split};

const TO: &str = "addresses, and ports after a colon (an IPv6 address with ports in brackets)";
/// The protocols that have ports to choose from (`xtables_main` in `libxt_NAT.c`).
const WITH_PORTS: &[u8] = &[6, 17, 132, 33, 1, 58];

pub(super) static DNAT: Extension<Target> = Extension::new(
    "DNAT",
    &[Opt::value("--to-destination", TO).must(), Opt::flag("--random"), Opt::flag("--persistent")],
    |given| Ok(Target::Dnat(range(given, "--to-destination", true)?.into())),
)
.tables(&["nat"])
.hooks(&[Hook::Prerouting, Hook::Output]);

pub(super) static SNAT: Extension<Target> = Extension::new(
    "SNAT",
    &[
        Opt::value("--to-source", TO).must(),
        Opt::flag("--random"),
        Opt::flag("--random-fully"),
        Opt::flag("--persistent"),
    ],
    |given| Ok(Target::Snat(range(given, "--to-source", false)?.into())),
)
.tables(&["nat"])
.hooks(&[Hook::Postrouting, Hook::Input]);

fn range(given: &Given<'_, '_>, name: &str, with_base: bool) -> Result<NatRange, Refusal> {
    let family = given.around.family;
    let (addrs, ports, base_port) =
        given.must(name, |text| nat_to(text, family).filter(|(_, _, base)| with_base || base.is_none()))?;
    if ports.is_some() && !given.around.is_protocol(WITH_PORTS) {
        return Err(given.refuse(name, "ports need -p tcp, udp, sctp, dccp or icmp"));
    }
    Ok(NatRange {
        addrs,
        ports,
        base_port,
        random: given.has("--random"),
        random_fully: given.has("--random-fully"),
        persistent: given.has("--persistent"),
    })
}

pub(in super::super) type NatTo = (Option<(IpAddr, IpAddr)>, Option<(u16, u16)>, Option<u16>);

/// `[ADDR[-ADDR]][:PORT[-PORT[/BASE]]]`, an IPv6 address in brackets where ports follow.
pub(in super::super) fn nat_to(text: &str, family: Family) -> Option<NatTo> {
    let (addrs, ports) = if let Some(rest) = text.strip_prefix('[').filter(|_| family == Family::Inet6) {
        let (addrs, after) = rest.split_once(']')?;
        (addrs, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        let parts = split(text, b':').filter(|(_, ports)| !ports.contains(':'));
        parts.map_or((text, None), |(addrs, ports)| (addrs, Some(ports)))
    };
    let addrs = if addrs.is_empty() { None } else { Some(ranged(addrs, b'-', |text| address(text, family))?) };
    let Some(ports) = ports else { return addrs.map(|addrs| (Some(addrs), None, None)) };
    let (ports, base) = split(ports, b'/').map_or((ports, None), |(ports, base)| (ports, Some(base)));
    let base = match base {
        Some(base) => Some(name::port(base).filter(|base| *base > 0)?),
        None => None,
    };
    let ports = dashed_ports(ports).filter(|(low, high)| low <= high)?;
    // Only a range has a first port that another one can stand for.
    let base = base.filter(|_| ports.0 != ports.1);
    Some((addrs, Some(ports), base))
}

pub(super) static MASQUERADE: Extension<Target> = Extension::new(
    "MASQUERADE",
    &[
        Opt::value("--to-ports", "a port, or two with a dash between them"),
        Opt::flag("--random"),
        Opt::flag("--random-fully"),
    ],
    |given| Ok(Target::Masquerade(own_address(given)?.into())),
)
.tables(&["nat"])
.hooks(&[Hook::Postrouting]);

pub(super) static REDIRECT: Extension<Target> = Extension::new(
    "REDIRECT",
    &[Opt::value("--to-ports", "a port, or two with a dash between them"), Opt::flag("--random")],
    |given| Ok(Target::Redirect(own_address(given)?.into())),
)
.tables(&["nat"])
.hooks(&[Hook::Prerouting, Hook::Output]);

fn own_address(given: &Given<'_, '_>) -> Result<NatRange, Refusal> {
    let ports = given.value("--to-ports", |text| dashed_ports(text).filter(|(low, high)| low <= high))?;
    if ports.is_some() && !given.around.is_protocol(WITH_PORTS) {
        return Err(given.refuse("--to-ports", "ports need -p tcp, udp, sctp, dccp or icmp"));
    }
    let (random, random_fully) = (given.has("--random"), given.has("--random-fully"));
    Ok(NatRange { ports, random, random_fully, ..NatRange::default() })
}

/// A port's name alone may have a dash in it; of a range both ends are numbers.
fn dashed_ports(text: &str) -> Option<(u16, u16)> {
    if let Some(port) = name::port(text) {
        return Some((port, port));
    }
    ranged(text, b'-', |port| u16::try_from(name::number(port)?).ok())
}

pub(super) static NETMAP: Extension<Target> =
    Extension::new("NETMAP", &[Opt::value("--to", "an address, with or without a prefix length").must()], |given| {
        let family = given.around.family;
        let whole = |found: &AddrMask| prefix_length(found.mask()).is_some();
        Ok(Target::Netmap(given.must("--to", |text| masked_addr(family, text, false).filter(whole))?.into()))
    })
    .tables(&["nat"])
    .hooks(&[Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting]);

const PREFIX: &str = "a network with its prefix length of 64 at most";

/// A network, without bits of a host.
fn network(text: &str, family: Family) -> Option<String> {
    let found = addr_mask(family, text, false)?;
    let length = prefix_length(found.mask()).filter(|length| *length <= 64)?;
    (masked_addr(family, text, false)? == found).then(|| format!("{}/{length}", found.addr()))
}

pub(super) static DNPT: Extension<Target> = Extension::kept(
    "DNPT",
    &[Opt::value("--src-pfx", PREFIX).must().prints(network), Opt::value("--dst-pfx", PREFIX).must().prints(network)],
)
.tables(&["mangle"])
.hooks(&[Hook::Prerouting, Hook::Output]);

pub(super) static SNPT: Extension<Target> = Extension::kept(
    "SNPT",
    &[Opt::value("--src-pfx", PREFIX).must().prints(network), Opt::value("--dst-pfx", PREFIX).must().prints(network)],
)
.tables(&["mangle"])
.hooks(&[Hook::Input, Hook::Postrouting]);

pub(super) static CLUSTERIP: Extension<Target> = Extension::new(
    "CLUSTERIP",
    &[
        Opt::flag("--new"),
        Opt::value("--hashmode", "sourceip, sourceip-sourceport or sourceip-sourceport-destport")
            .needs(&["--new"])
            .prints(|text, _| hash_mode(text)),
        Opt::value("--clustermac", "a link address of a group").needs(&["--new"]).prints(|text, _| group(text)),
        Opt::value("--total-nodes", "a number up to 16").needs(&["--new"]).prints(number::<16>),
        Opt::value("--local-node", "a number up to 16").needs(&["--new"]).prints(number::<16>),
        Opt::value("--hash-init", "a number of 32 bits").needs(&["--new"]).prints(U32),
    ],
    |given| {
        if given.is_empty() {
            return Ok(Target::from(given.options()?));
        }
        given.must("--hashmode", |_| Some(()))?;
        given.must("--clustermac", |_| Some(()))?;
        let total = given.must("--total-nodes", name::number)?;
        // The kernel counts nodes from 1 (`clusterip_tg_check` in `ipt_CLUSTERIP.c`).
        given.must("--local-node", |text| name::number(text).filter(|node| (1..=total).contains(node)))?;
        Ok(Target::from(given.options()?))
    },
)
.hooks(&[Hook::Input]);

fn hash_mode(text: &str) -> Option<String> {
    one_of(text, &["sourceip", "sourceip-sourceport", "sourceip-sourceport-destport"]).map(str::to_owned)
}

/// A group's link address, as iptables prints it here alone: in capitals.
fn group(text: &str) -> Option<String> {
    let mac: crate::net::MacAddr = text.parse().ok()?;
    mac.is_multicast().then(|| mac.to_string().to_ascii_uppercase())
}

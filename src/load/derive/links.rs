//! Devices: what `tuntap`, `bridge-link` and `fdb` add to a link file, above all to one taken without `-d`.

use std::collections::{HashMap, HashSet};

use crate::evidence::{Files, Gap};
use crate::net::IfName;
use crate::snapshot::{Bridge, Link, LinkKind, Netns};

/// Completes the devices' kinds and ports.
pub(super) fn complete(netns: &mut Netns, ports: Option<Vec<Link>>, files: &Files, gaps: &mut Vec<Gap>) {
    let Some(links) = &mut netns.links else { return };
    add_ports(links, ports.unwrap_or_default());
    for tun in netns.tuns.iter().flatten() {
        let link = links.iter_mut().find(|link| link.name == tun.dev && link.kind == LinkKind::Plain);
        if let Some(link) = link {
            link.kind = LinkKind::Tun { tap: tun.tap };
        }
    }
    if lacks_details(links, files) {
        let facing = netns.fdb.iter().flatten();
        let bridges: HashSet<&IfName> = facing.clone().filter_map(|row| row.master.as_ref()).collect();
        let tunnels: HashSet<&IfName> = facing.filter(|row| row.dst.is_some()).map(|row| &row.dev).collect();
        guess_kinds(links, &bridges, &tunnels);
        let what = format!(
            "{}/link.txt lacks the details of `ip -d link show`: what its devices are is told by the other tables, \
             and a bridge's settings are taken to be the default ones",
            netns.dir
        );
        gaps.push(Gap::new(what, links.iter().take(1).map(|link| link.evidence).collect()));
    }
}

/// The port settings of `bridge -d link show` where the link file has none, and the bridge itself.
fn add_ports(links: &mut [Link], ports: Vec<Link>) {
    let mut rows: HashMap<IfName, Link> = ports.into_iter().map(|port| (port.name.clone(), port)).collect();
    for link in links {
        let Some(row) = rows.remove(&link.name) else { continue };
        if link.port.is_none() {
            link.port = row.port;
        }
        if link.master.is_none() {
            link.master = row.master;
        }
    }
}

/// `-d` adds `promiscuity` to every device.
fn lacks_details(links: &[Link], files: &Files) -> bool {
    let real = links.iter().find(|link| link.kind != LinkKind::Loopback);
    let file = real.and_then(|link| files.get(link.evidence.file));
    file.is_some_and(|file| !file.text.contains("promiscuity"))
        && links.iter().all(|link| matches!(link.kind, LinkKind::Plain | LinkKind::Loopback | LinkKind::Tun { .. }))
}

fn guess_kinds(links: &mut [Link], bridges: &HashSet<&IfName>, tunnels: &HashSet<&IfName>) {
    let ported: HashSet<IfName> =
        links.iter().filter(|link| link.port.is_some()).filter_map(|link| link.master.clone()).collect();
    let masters: HashSet<IfName> = links.iter().filter_map(|link| link.master.clone()).collect();
    for link in links.iter_mut().filter(|link| link.kind == LinkKind::Plain) {
        if ported.contains(&link.name) || bridges.contains(&link.name) {
            link.kind = LinkKind::Bridge(Bridge::default());
        } else if tunnels.contains(&link.name) {
            link.kind = LinkKind::Undetailed(Link::TUNNEL);
        } else if masters.contains(&link.name) {
            link.kind = LinkKind::Undetailed("bridge, bond or VRF");
        } else if link.link_netnsid.is_some() || link.link_netns.is_some() {
            link.kind = LinkKind::Veth;
        } else if link.peer_name.is_some() {
            link.kind = LinkKind::Undetailed("device on another");
        }
    }
}

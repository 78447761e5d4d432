//! The UDP ports by which tunnels are known.

use crate::snapshot::{LinkKind, Snapshot};
use crate::wire::Ports;

/// The usual ones, and those of a snapshot's VXLAN devices and relays.
pub(super) fn of_snapshot(snapshot: &Snapshot) -> Ports {
    let mut ports = Ports::default();
    for netns in &snapshot.namespaces {
        for link in netns.links.iter().flatten() {
            if let LinkKind::Vxlan(settings) = &link.kind {
                add(&mut ports.vxlan, settings.port);
            }
        }
        netns.relays.iter().for_each(|relay| add(&mut ports.flannel_udp, relay.port));
    }
    ports
}

fn add(ports: &mut Vec<u16>, port: u16) {
    if !ports.contains(&port) {
        ports.push(port);
    }
}

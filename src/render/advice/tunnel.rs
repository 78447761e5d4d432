//! What to do about tunnels.

use crate::trace::Reason;

use super::At;

pub(super) fn tunnel_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, destination, .. } = at;
    let data = if at.is_v6 { "backend-v6-data" } else { "backend-data" };
    Some(match reason {
        Reason::FdbMiss => format!(
            "compare `bridge fdb show dev {device}` {place} with the peer's Node annotation flannel.alpha.coreos.com/\
             {data}; a restart of flanneld {place} writes both anew"
        ),
        Reason::VniMismatch => "give both nodes' tunnel devices the same VNI (`ip -d link show type vxlan`)".to_owned(),
        Reason::NoVtep if at.is_relayed => format!("see that flanneld runs {place}: nobody there takes its packets"),
        Reason::NoVtep => format!(
            "`ip -d link show type vxlan` on the node that owns {destination}: see that the tunnel is up, and that its \
             port is the sender's"
        ),
        Reason::NoRelay => format!("see that flanneld runs {place} and knows the peer's subnet"),
        Reason::TunnelLoop => {
            format!("give {destination} a route {place} that doesn't lead into the tunnel itself")
        }
        _ => return None,
    })
}

/// The tunnel that put the wrong checksum on, and where.
pub(super) fn checksum_advice(at: &At<'_>) -> String {
    let (device, place) = at.tunnel.as_ref().map_or(("DEVICE", &at.place), |(device, place)| (device.as_str(), place));
    format!(
        "leave the tunnel's own packets out of the address translation {place}, or switch the tunnel device's checksum \
         offload off there: `ethtool -K {device} tx-checksum-ip-generic off`"
    )
}

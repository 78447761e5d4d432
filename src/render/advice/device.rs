//! What to do about devices and links.

use crate::render::fault::{Device, State};
use crate::trace::{EndCause, Reason};

use super::{At, Case};

/// What the devices named by the evidence are to be changed to.
pub(super) fn device_advice(case: &Case<'_>, at: &At<'_>) -> Option<String> {
    let device = match case.reason {
        Reason::NeighborFailed | Reason::NoRoute => {
            if let Some(isolated) = isolated(case) {
                return Some(isolated);
            }
            case.devices.iter().find(|device| device.state != State::Up)?
        }
        _ => case.devices.first()?,
    };
    let Device { name, place, state } = device;
    let reason = case.reason;
    Some(match (reason, state) {
        (Reason::PortNotForwarding | Reason::NeighborFailed, State::Port(_)) => {
            format!("`bridge link set dev {name} state 3` {place}: that is \"forwarding\"")
        }
        (Reason::DeviceDown | Reason::NeighborFailed, State::NoCarrier) => format!(
            "`ip link show {name}` {place} says NO-CARRIER: bring up what it is joined to, the other end of a veth pair, \
             a bridge's port, or the switch"
        ),
        (Reason::DeviceDown | Reason::NeighborFailed | Reason::NoRoute, _) => {
            format!("`ip link set {name} up` {place}, and see that its other side is up too")
        }
        (Reason::TooBig, _) => {
            format!("set the same MTU on both sides of {name} {place}, or `--size` below {}", at.length)
        }
        (Reason::HairpinOff, _) => {
            format!("`bridge link set dev {name} hairpin on` {place}; CNI plugins do it with \"hairpinMode\": true")
        }
        (Reason::IsolatedPort, _) => {
            format!("`bridge link set dev {name} isolated off` {place}, for one of the two ports")
        }
        (Reason::NoReceiver, _) if matches!(at.cause, Some(EndCause::DummyDevice(_))) => format!(
            "`{} route get {}` {place}: it leads to {name}, a dummy device, behind which is nobody",
            at.ip, at.destination
        ),
        (Reason::NoSource, _) => format!(
            "`ip -d link show {name}` {place}: its local address is none of the namespace's; give it back (`ip addr \
             add`), or make the tunnel anew (restart flanneld)"
        ),
        _ => return None,
    })
}

/// Two isolated ports between which nobody is heard.
fn isolated(case: &Case<'_>) -> Option<String> {
    case.decided.iter().any(|line| line.contains(" isolated on")).then_some(())?;
    let port = case.devices.first()?;
    Some(format!("`bridge link set dev {} isolated off` {}, for one of the two ports", port.name, port.place))
}

pub(super) fn link_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, destination, ip, neighbor, .. } = at;
    Some(match reason {
        Reason::DeviceDown => format!("`ip link set {device} up` {place}, and see that its other side is up too"),
        Reason::NoDevice => format!("`ip link show` {place}: a table names a device that isn't there"),
        Reason::NeighborFailed => {
            format!("`{ip} neigh show` {place}, and see that the next hop towards {destination} is up on that link")
        }
        Reason::OtherHost => format!(
            "`{ip} neigh show` and `bridge fdb show` where the frame was sent: one of them does not lead to this \
             device ({device})"
        ),
        Reason::NoReceiver => match neighbor {
            Some(forget) => {
                format!("{forget}, so that it is asked for anew: nobody on this link has that link address")
            }
            None => format!("compare the next hop's address with the nodes' own: nobody {place} takes it"),
        },
        Reason::HairpinOff => format!("`bridge link` {place}: set `hairpin on` for the port that the pod is behind"),
        Reason::IsolatedPort => format!("`bridge link` {place}: set `isolated off` for one of the two ports"),
        Reason::PortNotForwarding => {
            format!("`bridge -d link show` {place}: see which port is not forwarding, and why")
        }
        _ => return None,
    })
}

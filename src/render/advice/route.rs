//! What to do about routes, and about settings of routing.

use crate::render::cycle;
use crate::trace::{Decision, EndCause, Reason, Step, Trace};

use super::{At, ip_word, sysctl_word, whereabouts};

pub(super) fn route_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, source, destination, ip, length, .. } = at;
    let key = sysctl_word(device);
    Some(match reason {
        Reason::NoRoute => format!("`{ip} route get {destination}` {place}; add the route that should answer"),
        Reason::Blackhole | Reason::Unreachable | Reason::Prohibit => {
            format!("find out who made this {reason} entry, and delete it {place} if {destination} is to be reached")
        }
        Reason::RpFilter => format!(
            "`sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{key}.rp_filter=2` {place}, or give {source} a \
             route back by {device}"
        ),
        Reason::MartianSource => format!("find out who sends from {source}: {place} no packet may come in with it"),
        Reason::MartianDestination => {
            format!("find out who sends to {destination}: {place} no packet may come in for it")
        }
        Reason::NotForwarding => {
            let family = if at.is_v6 { "ipv6" } else { "ipv4" };
            let own = if key == "all" { String::new() } else { format!(" net.{family}.conf.{key}.forwarding=1") };
            format!("`sysctl -w net.{family}.conf.all.forwarding=1{own}` {place}")
        }
        Reason::TtlExceeded => "ask with a larger `--ttl`: the way is longer than this one".to_owned(),
        Reason::FragmentationNeeded => format!(
            "`--size` with less than {length} bytes; then give the senders the smaller MTU, and let ICMP errors through"
        ),
        Reason::TooBig => format!("set the same MTU everywhere {place}, or `--size` below {length}"),
        Reason::Loop if matches!(at.cause, Some(EndCause::RelayToItself { .. })) => {
            format!("give {destination} a route {place} that doesn't lead into the tunnel itself")
        }
        Reason::Loop => format!("`{ip} route get {destination}` on each node of the loop; one of them points back"),
        Reason::NoAddress | Reason::NoSource => {
            format!("`{ip} addr show` {place}: the sending device has no usable address; add one, or `--source`")
        }
        _ => return None,
    })
}

/// The routes that keep a packet going round.
pub(super) fn cycle_advice(trace: &Trace) -> Option<String> {
    let cycle = cycle::cycle(trace)?;
    let routes: Vec<String> = cycle.routes(trace).into_iter().filter_map(deletion).collect();
    match routes.as_slice() {
        [] => None,
        [one] => Some(format!("change the route that sends the packet round, or take it away: {one}")),
        [one, other] => Some(format!("change one of the two routes, or take it away: {one}, or {other}")),
        several => Some(format!("change one of the routes, or take it away: {}", several.join(", or "))),
    }
}

/// The command that takes a route away, and where.
fn deletion(step: &Step) -> Option<String> {
    let Decision::Route { table, prefix: Some(prefix), via, device, .. } = &step.decision else { return None };
    let prefix = if prefix.prefix_len() == 0 { "default".to_owned() } else { prefix.to_string() };
    let via = via.map(|via| format!(" via {via}")).unwrap_or_default();
    let device = device.as_ref().map(|device| format!(" dev {device}")).unwrap_or_default();
    let table = table.map(|table| table.to_string()).filter(|table| table != "main");
    let table = table.map(|table| format!(" table {table}")).unwrap_or_default();
    let ip = ip_word(&step.packet);
    Some(format!("`{ip} route del {prefix}{via}{device}{table}` {}", whereabouts(&step.place)))
}

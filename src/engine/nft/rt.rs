//! What the packet's route says (`nft_rt.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::Family;
use crate::snapshot::nft::RtKey;
use crate::snapshot::{RouteType, Routes};

use super::super::fib::{Flow, Found, Lookup, fib_lookup};
use super::super::output;
use super::super::route::{Dst, loopback};
use super::super::walk::Walk;
use super::doubt::{Doubt, Field};
use super::field::bits;
use super::load::{Break, flow};
use super::statement::Run;

/// A key's value (`nft_rt_get_eval`): a packet without a route ends the rule.
pub(super) fn nft_rt_get(walk: &Walk, run: &Run<'_>, key: RtKey) -> Result<Field, Break> {
    let Some(dst) = &walk.skb.dst else { return Err(Break) };
    let packet = run.packet(walk);
    let four = packet.family() == Family::Inet;
    let what = match key {
        RtKey::Classid => return Ok(classid(walk, run)),
        RtKey::Nexthop4 if !four => return Err(Break),
        RtKey::Nexthop6 if four => return Err(Break),
        // A gateway of the other family is none that is asked for (`rt_nexthop`).
        RtKey::Nexthop4 | RtKey::Nexthop6 => {
            let via = dst.via.filter(|via| via.is_ipv4() == four);
            return Ok(Ok(bits(via.unwrap_or(packet.ip.destination))));
        }
        RtKey::Mtu => match mss(walk, dst, packet.ip.source) {
            Some(mss) => return Ok(Ok(u128::from(mss))),
            None => "mtu",
        },
        // No snapshot holds `ip xfrm`.
        RtKey::Ipsec => "ipsec",
    };
    Ok(Err(Doubt::fact(format!("rt {what} of {}", flow(packet)))))
}

/// A route's realm comes from the route, from the rule that led to it and from the route back (`fib_combine_itag` in
/// `net/ipv4/fib_rules.c`): where none of them names one, it is 0.
pub(super) fn classid(walk: &Walk, run: &Run<'_>) -> Field {
    let (netns, packet) = (walk.netns(), run.packet(walk));
    let of_routes = netns.routes.iter().flat_map(Routes::rows).any(|route| route.realms.is_some());
    let of_rules = netns.rules.iter().flatten().any(|rule| rule.realms.is_some());
    if netns.routes.is_some() && !of_routes && !of_rules {
        return Ok(0);
    }
    Err(Doubt::fact(format!("the realm of the route of {}", flow(packet))))
}

/// How large a segment may be there and back (`get_tcpmss`). What leaves by the device of a route back is not looked at
/// where there are several.
fn mss(walk: &Walk, dst: &Dst, source: IpAddr) -> Option<u32> {
    let (mtu, _) = output::mtu(walk, dst).filter(|_| !dst.local)?;
    let (header, nobody) = match source {
        IpAddr::V4(_) => (40, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        IpAddr::V6(_) => (60, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let mtu = match fib_lookup(walk.netns(), &Flow::bare(nobody, source, loopback())) {
        Lookup::Found(back) => mtu.min(back_mtu(walk, &back)?),
        Lookup::Failed(_) => mtu,
        Lookup::Unknown(..) => return None,
    };
    // `TCP_MSS_DEFAULT`.
    Some(if mtu <= header || mtu > 0xffff { 536 } else { mtu - header })
}

fn back_mtu(walk: &Walk, back: &Found<'_>) -> Option<u32> {
    let [hop] = &*back.route.nexthops else { return None };
    let link = walk.netns().link(hop.dev.as_ref()?)?;
    let usual = back.route.kind == RouteType::Unicast && back.route.unmodelled.is_empty();
    let device = link.mtu.filter(|_| usual)?;
    Some(back.route.mtu.map_or(device, |mtu| mtu.min(device)))
}

//! What the packet's route says (`nft_rt.c`).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::{Family, IfName};
use crate::snapshot::nft::RtKey;
use crate::snapshot::{NftFamily, RouteType, Routes};
use crate::trace::Hook;

use super::super::fib::{Flow, Found, Lookup, fib_lookup};
use super::super::output;
use super::super::route::{Dst, loopback};
use super::super::walk::Walk;
use super::doubt::{Doubt, Field};
use super::field::bits;
use super::load::{Break, flow};
use super::statement::Run;

/// The packet's route. A bridged frame has its bridge's own one, if no other.
fn skb_dst<'w>(walk: &'w Walk, run: &Run<'_>) -> Option<Cow<'w, Dst>> {
    let state = run.info.state;
    let bridge = state.outdev.as_ref().filter(|_| has_fake_route(walk, run));
    let fake = |dev: &IfName| Dst {
        local: false,
        dev: dev.clone(),
        via: None,
        mtu: None,
        mtu_locked: false,
        because: Vec::new(),
    };
    walk.skb.dst.as_ref().map(Cow::Borrowed).or_else(|| bridge.map(|dev| Cow::Owned(fake(dev))))
}

/// Whether the only route is the bridge's own. The stack has dropped it (`br_netif_receive_skb` in
/// `net/bridge/br_input.c`), and so have the ports (`br_dev_queue_push_xmit`).
fn has_fake_route(walk: &Walk, run: &Run<'_>) -> bool {
    let bridged =
        run.info.table.family == NftFamily::Bridge || matches!(run.info.state.hook, Hook::Forward | Hook::Postrouting);
    bridged && walk.skb.dst.is_none() && walk.skb.nf_bridge.as_ref().is_some_and(|nf_bridge| nf_bridge.fake_route)
}

/// `meta rtclassid`.
pub(super) fn rtclassid(walk: &Walk, run: &Run<'_>) -> Result<Field, Break> {
    if has_fake_route(walk, run) {
        return Ok(Ok(0));
    }
    if walk.skb.dst.is_none() { Err(Break) } else { Ok(classid(walk, run)) }
}

/// A key's value (`nft_rt_get_eval`): a packet without a route ends the rule.
pub(super) fn nft_rt_get(walk: &Walk, run: &Run<'_>, key: RtKey) -> Result<Field, Break> {
    let dst = &*skb_dst(walk, run).ok_or(Break)?;
    let packet = run.packet(walk);
    let four = packet.family() == Family::Inet;
    let what = match key {
        RtKey::Classid => return rtclassid(walk, run),
        RtKey::Nexthop4 if !four => return Err(Break),
        RtKey::Nexthop6 if four => return Err(Break),
        // The bridge's route is one of IPv4, and what lies where IPv6 looks for its gateway nobody knows.
        RtKey::Nexthop6 if has_fake_route(walk, run) => "nexthop",
        // A gateway of the other family is none that is asked for (`rt_nexthop`).
        RtKey::Nexthop4 | RtKey::Nexthop6 => {
            let via = dst.via.filter(|via| via.is_ipv4() == four);
            return Ok(Ok(bits(via.unwrap_or(packet.ip.destination))));
        }
        RtKey::Mtu => match back_and_forth(walk, dst, packet.ip.source) {
            Some(mtu) => return Ok(Ok(u128::from(mss(mtu, four)))),
            None => "mtu",
        },
        // No snapshot holds `ip xfrm`.
        RtKey::Ipsec => "ipsec",
    };
    Ok(Err(Doubt::fact(format!("rt {what} of {}", flow(packet)))))
}

/// A route's realm comes from the route, from the rule that led to it and from the route back (`fib_combine_itag` in
/// `net/ipv4/fib_rules.c`): where none of them names one, it is 0.
fn classid(walk: &Walk, run: &Run<'_>) -> Field {
    let (netns, packet) = (walk.netns(), run.packet(walk));
    let of_routes = netns.routes.iter().flat_map(Routes::rows).any(|route| route.realms.is_some());
    let of_rules = netns.rules.iter().flatten().any(|rule| rule.realms.is_some());
    if netns.routes.is_some() && !of_routes && !of_rules {
        return Ok(0);
    }
    Err(Doubt::fact(format!("the realm of the route of {}", flow(packet))))
}

/// How large a segment may be (`get_tcpmss`).
fn mss(mtu: u32, four: bool) -> u32 {
    let header = if four { 40 } else { 60 };
    // `TCP_MSS_DEFAULT`.
    if mtu <= header || mtu > 0xffff { 536 } else { mtu - header }
}

/// The smaller of the MTUs of a packet's route and of that back to its sender (`tcpmss_mangle_packet` in
/// `net/netfilter/xt_TCPMSS.c`).
pub(in super::super) fn path_mtu(walk: &Walk) -> Option<u32> {
    back_and_forth(walk, walk.skb.dst.as_ref()?, walk.packet().ip.source)
}

/// The same. What leaves by the device of a route back is not looked at where there are several.
fn back_and_forth(walk: &Walk, dst: &Dst, source: IpAddr) -> Option<u32> {
    let (mtu, _) = output::mtu(walk, dst).filter(|_| !dst.local)?;
    let nobody = match source {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Some(match fib_lookup(walk.netns(), &Flow::bare(nobody, source, loopback())) {
        Lookup::Found(back) => mtu.min(back_mtu(walk, &back)?),
        Lookup::Failed(_) => mtu,
        Lookup::Unknown(..) => return None,
    })
}

fn back_mtu(walk: &Walk, back: &Found<'_>) -> Option<u32> {
    let [hop] = &*back.route.nexthops else { return None };
    let link = walk.netns().link(hop.dev.as_ref()?)?;
    let usual = back.route.kind == RouteType::Unicast && back.route.unmodelled.is_empty();
    let device = link.mtu.filter(|_| usual)?;
    Some(back.route.mtu.map_or(device, |mtu| mtu.min(device)))
}

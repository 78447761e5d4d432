//! Who answers an ARP request, as `net/ipv4/arp.c` has it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, IfName};
use crate::snapshot::{ChainPolicy, Netns, NetnsId, Nft, NftChain, NftFamily, NftRule, RouteType};
use crate::trace::Reason;

use super::fib::{self, Flow, Lookup};
use super::route::{loopback, reverse_mode, validate_source};
use super::skb::DevRef;
use super::sysctl;
use super::walk::Walk;

/// Whether a namespace answers an ARP request for one of its addresses, or the lines that keep it from that: a request
/// is routed in like any packet (`arp_process` in `net/ipv4/arp.c` calls `ip_route_input_noref`).
pub(super) fn answers_arp(
    walk: &mut Walk,
    owner: &DevRef,
    sender: IpAddr,
    target: IpAddr,
) -> Result<(), Vec<Evidence>> {
    let netns = walk.snapshot.netns(owner.0);
    if let Some(link) = netns.link(&owner.1).filter(|link| link.noarp) {
        return Err(vec![link.evidence]);
    }
    if let Some(line) = ignores(netns, &owner.1, sender, target) {
        return Err(vec![line]);
    }
    let inward = Flow::bare(sender, target, owner.1.clone());
    match fib::fib_lookup_for(walk, netns, &inward) {
        Lookup::Found(found) if found.route.kind != RouteType::Local => return Err(found.because),
        Lookup::Failed(failure) => {
            let route = failure.route.map(|route| route.evidence);
            return Err(route.into_iter().chain(failure.rule.map(|rule| rule.evidence)).collect());
        }
        Lookup::Found(_) | Lookup::Unknown(_) => {}
    }
    let setting = sysctl::max_of_all(netns, &owner.1, "rp_filter");
    let mode = reverse_mode(setting.map_or(0, |(value, _)| value));
    let back = Flow::bare(target, sender, loopback());
    match validate_source(walk, netns, &owner.1, back, (mode, false)) {
        Ok(Some((Reason::RpFilter, _, lines))) => Err(setting.map(|(_, line)| line).into_iter().chain(lines).collect()),
        Ok(Some((_, _, lines))) => Err(lines),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Whether a namespace answers an ARP request for an address that it would forward to by another device
/// (`arp_fwd_proxy` in `net/ipv4/arp.c`).
pub(super) fn proxies_arp(walk: &mut Walk, by: &DevRef, sender: IpAddr, target: IpAddr) -> bool {
    let netns = walk.snapshot.netns(by.0);
    if !sysctl::any_of_all(netns, &by.1, "proxy_arp") {
        return false;
    }
    let forwarding = sysctl::device(netns, Family::Inet, &by.1, "forwarding");
    let forwarding = forwarding.or_else(|| sysctl::number(netns, "net.ipv4.ip_forward"));
    if forwarding.is_none_or(|(value, _)| value == 0) {
        return false;
    }
    let mode = reverse_mode(sysctl::max_of_all(netns, &by.1, "rp_filter").map_or(0, |(value, _)| value));
    let inward = Flow::bare(sender, target, by.1.clone());
    let Lookup::Found(found) = fib::fib_lookup_for(walk, netns, &inward) else { return false };
    let out = found.ways.first().and_then(|way| way.dev.clone());
    if found.route.kind != RouteType::Unicast || out.as_ref().is_none_or(|out| *out == by.1) {
        return false;
    }
    let back = Flow::bare(target, sender, out.unwrap_or_else(loopback));
    !matches!(validate_source(walk, netns, &by.1, back, (mode, false)), Ok(Some(_)))
}

/// The device's setting where it forbids an answer (`arp_ignore`).
fn ignores(netns: &Netns, dev: &IfName, sender: IpAddr, target: IpAddr) -> Option<Evidence> {
    let (value, line) = sysctl::max_of_all(netns, dev, "arp_ignore")?;
    let mut own = netns.addrs_of(dev).filter(|addr| addr.address == target);
    let forbids = match value {
        1 => own.next().is_none(),
        2 => !own.any(|addr| IpNet::new(addr.address, addr.prefix_len).is_ok_and(|net| net.contains(&sender))),
        8 => true,
        _ => false,
    };
    forbids.then_some(line)
}

/// Rules of nft for ARP itself, and of bridges that may be about it, are not walked: where there are some, whether a
/// request is heard is not known.
pub(super) fn doubt_rules(walk: &mut Walk, netns: NetnsId) {
    let Some(nft) = &walk.snapshot.netns(netns).netfilter.nft else { return };
    if let Some(because) = arp_rule(nft) {
        let dir = &walk.snapshot.netns(netns).dir;
        walk.doubt(format!("whether the nft rules of {dir} let ARP pass is not modelled"), Some(because));
    }
}

fn arp_rule(nft: &Nft) -> Option<Evidence> {
    let tables = nft.tables.iter().filter(|table| matches!(table.family, NftFamily::Arp | NftFamily::Bridge));
    let mut chains = tables.flat_map(|table| table.chains.iter().map(move |chain| (table.family, chain)));
    chains.find_map(|(family, chain)| {
        let may_matter = |rule: &&NftRule| family == NftFamily::Arp || may_see_arp(&nft.rule_text(rule));
        drops(chain).or_else(|| chain.rules.iter().find(may_matter).map(|rule| rule.evidence))
    })
}

/// Whether a rule of a bridge may stop ARP: one that asks for a field of IP matches nothing else
/// (`payload_gen_dependency` in nft's `src/payload.c`), and one that doesn't drop stops nothing. The rules of chains that
/// it leads to are asked for themselves.
fn may_see_arp(text: &str) -> bool {
    const FIELDS_OF_IP: [&str; 8] =
        ["ip saddr", "ip daddr", "ip protocol", "ip6 ", "tcp ", "udp ", "icmp", "ether type ip"];
    const STOPPING: [&str; 4] = ["drop", "reject", "queue", "vmap"];
    !FIELDS_OF_IP.iter().any(|field| text.contains(field)) && STOPPING.iter().any(|word| text.contains(word))
}

fn drops(chain: &NftChain) -> Option<Evidence> {
    chain.hook.as_ref().filter(|hook| hook.policy != ChainPolicy::Accept).map(|_| chain.evidence)
}

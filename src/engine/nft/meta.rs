//! What the kernel keeps beside a packet (`nft_meta.c`).

use crate::net::{Family, IfName, MacAddr};
use crate::snapshot::NftFamily;
use crate::snapshot::nft::MetaKey;
use crate::trace::Hook;

use super::super::walk::Walk;
use super::load::{Break, Doubt, Field, flow};
use super::statement::Run;

/// A key's value (`nft_meta_get_eval`).
pub(super) fn nft_meta_get(walk: &Walk, run: &Run<'_>, key: MetaKey) -> Result<Field, Break> {
    let packet = run.packet(walk);
    let state = run.info.state;
    let four = packet.family() == Family::Inet;
    let field = match key {
        MetaKey::Length => Ok(u128::from(packet.length)),
        MetaKey::Protocol => Ok(if four { 0x0800 } else { 0x86dd }),
        MetaKey::Mark => Ok(u128::from(packet.mark.0)),
        MetaKey::Iif | MetaKey::Iifname => Ok(device(state.indev.as_ref())),
        MetaKey::Oif | MetaKey::Oifname => Ok(device(state.outdev.as_ref())),
        MetaKey::Iiftype if state.indev.is_none() => return Err(Break),
        MetaKey::Oiftype if state.outdev.is_none() => return Err(Break),
        MetaKey::Nftrace => Ok(0),
        MetaKey::Nfproto => Ok(match run.info.table.family {
            NftFamily::Bridge => 7,
            NftFamily::Netdev => 5,
            _ if four => 2,
            _ => 10,
        }),
        MetaKey::L4proto => Ok(u128::from(packet.protocol().0)),
        MetaKey::Pkttype => pkttype(walk, run),
        MetaKey::Ibrname | MetaKey::Obrname => return bridge_name(walk, run, key),
        MetaKey::Skuid | MetaKey::Skgid => return socket(walk, run, key),
        MetaKey::Priority | MetaKey::Iiftype | MetaKey::Oiftype => {
            Err(Doubt::fact(format!("meta {} of {}", word(key), flow(packet))))
        }
        // Another packet, another draw: but the clock is the same for all rules.
        MetaKey::Other("random" | "cpu") => Err(Doubt::fresh(format!("meta {}", word(key)))),
        MetaKey::Other(_) => Err(Doubt::fact(format!("meta {} of {}", word(key), flow(packet)))),
    };
    Ok(field)
}

fn word(key: MetaKey) -> String {
    match key {
        MetaKey::Other(word) => word.to_owned(),
        key => format!("{key:?}").to_lowercase(),
    }
}

/// A device's name as a number; 0 where the hook has none.
pub(super) fn device(dev: Option<&IfName>) -> u128 {
    let mut bytes = [0u8; 16];
    let name = dev.map_or(&[][..], |dev| dev.as_str().as_bytes());
    bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(bytes)
}

/// `skb->pkt_type`. On a bridge a frame for another host is one, and whether it is the port's own address that it is
/// for is not asked here.
fn pkttype(walk: &Walk, run: &Run<'_>) -> Field {
    match run.packet(walk).link.map(|link| link.destination) {
        Some(MacAddr::BROADCAST) => Ok(1),
        Some(group) if group.is_multicast() => Ok(2),
        _ if matches!(run.info.table.family, NftFamily::Bridge | NftFamily::Netdev) => {
            Err(Doubt::fact(format!("meta pkttype of {}", flow(run.packet(walk)))))
        }
        _ => Ok(0),
    }
}

/// The bridge of the port that the frame came in by or leaves by (`nft_meta_bridge.c`).
fn bridge_name(walk: &Walk, run: &Run<'_>, key: MetaKey) -> Result<Field, Break> {
    let state = run.info.state;
    let dev = if key == MetaKey::Ibrname { &state.indev } else { &state.outdev };
    let dev = dev.as_ref().ok_or(Break)?;
    let master = walk.netns().link(dev).and_then(|link| link.master.as_ref());
    Ok(Ok(device(Some(master.ok_or(Break)?))))
}

/// Whose socket sends or receives. Only what the namespace sends itself has one for sure, and whose it is no snapshot
/// says.
fn socket(walk: &Walk, run: &Run<'_>, key: MetaKey) -> Result<Field, Break> {
    let what = if key == MetaKey::Skuid { "user" } else { "group" };
    let place = walk.place();
    let hook = run.info.state.hook;
    if walk.skb.own && matches!(hook, Hook::Output | Hook::Postrouting | Hook::Egress) {
        return Ok(Err(Doubt::fact(format!("the {what} of the sender on {} {}", place.node, place.name))));
    }
    if hook == Hook::Input && super::super::conntrack::state(walk) == crate::trace::CtState::Established {
        return Ok(Err(Doubt::fact(format!("the {what} of the receiver on {} {}", place.node, place.name))));
    }
    Err(Break)
}

//! `dup`, which sends a copy of the packet elsewhere (`net/ipv4/netfilter/nft_dup_ipv4.c`, its IPv6 twin,
//! `net/netfilter/nft_dup_netdev.c`).

use crate::snapshot::nft::{CopyTo, Expr, NftAside};
use crate::trace::Hook;

use super::super::beside;
use super::super::walk::Walk;
use super::field::address;
use super::fwd::{MOST_NESTED, device_name, is_gone};
use super::statement::Run;

impl<'a> Run<'a> {
    /// Sends the copy, of the packet as the rule has changed it so far. One for a device that is gone is none.
    pub(super) fn copy(&mut self, walk: &mut Walk, aside: &'a NftAside) {
        let Some(copy_to) = &aside.copy_to else { return };
        let (packet, line, certain) = (self.packet(walk).clone(), self.rule.evidence, self.certain);
        match copy_to {
            CopyTo::Gateway(gateway, device) => {
                let Some(gateway) = self.known(walk, gateway, aside) else { return };
                let oif = match device {
                    Some(device) => match self.known(walk, device, aside) {
                        Some(device) => Some(device_name(device)),
                        None => return,
                    },
                    None => None,
                };
                let gateway = address(gateway, packet.family());
                if oif.as_ref().is_none_or(|oif| !is_gone(walk, oif)) {
                    beside::copy_to_gateway(walk, packet, (gateway, oif), self.info.state.hook, certain, line);
                }
            }
            CopyTo::Device(device) => {
                let Some(device) = self.known(walk, device, aside).map(device_name) else { return };
                let nested = self.nested(walk);
                if nested < MOST_NESTED && !is_gone(walk, &device) {
                    beside::copy_to_device(walk, packet, device, nested + 1, certain, line);
                }
            }
        }
    }

    /// How often the frame has been sent on while it is being sent (`nf_get_nf_dup_skb_recursion`).
    fn nested(&self, walk: &Walk) -> u8 {
        if self.info.state.hook == Hook::Ingress { 0 } else { walk.skb.sent_on }
    }

    /// Where the copy goes, in bits.
    fn known(&mut self, walk: &mut Walk, expr: &'a Expr, aside: &NftAside) -> Option<u128> {
        let loaded = self.load(walk, expr).ok()?.into_iter().next();
        let Some(Ok(value)) = loaded else {
            walk.gap(format!("where `{}` sends a copy is not known", aside.text), [self.rule.evidence]);
            return None;
        };
        Some(value)
    }
}

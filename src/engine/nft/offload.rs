//! `flow add`: later packets of the connection go by a flowtable, past the hooks.

use crate::net::{Protocol, Transport};

use super::super::conntrack;
use super::super::conntrack_tcp::TcpState;
use super::super::walk::Walk;
use super::statement::{Flow, Run};

impl Run<'_> {
    /// `nft_flow_offload_eval` in `net/netfilter/nft_flow_offload.c`: a connection whose first packet is still on its way,
    /// one of TCP that is not established, and one that is in a flowtable already end the rule. Whether the kernel finds
    /// the way for another one no snapshot tells.
    pub(super) fn flow_add(&mut self, walk: &mut Walk, text: &str) -> Flow {
        let Some(entry) = conntrack::entry(walk).filter(|entry| entry.confirmed && !entry.offloaded) else {
            return Flow::Break;
        };
        let packet = self.packet(walk);
        let goes_on = match (entry.protocol, &packet.transport) {
            // `nft_flow_offload_skip`.
            _ if !packet.options.is_empty() => false,
            (Protocol::TCP, Transport::Tcp { flags, .. }) => {
                flags & 0x05 == 0 && entry.tcp_state == Some(TcpState::Established)
            }
            // An error is of the connection that it is about, whose protocol counts.
            (Protocol::TCP, _) => entry.tcp_state == Some(TcpState::Established),
            (protocol, _) => matches!(protocol, Protocol::UDP | Protocol(47)),
        };
        if !goes_on {
            return Flow::Break;
        }
        let (from, to) = (entry.original.source, entry.original.destination);
        let what = format!("the connection {from} > {to} gets into a flowtable by `{text}`, so that the rule goes on");
        self.ask(walk, what, false).unwrap_or(true).into()
    }
}

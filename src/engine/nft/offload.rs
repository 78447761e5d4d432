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
        let goes_on = match self.packet(walk).transport {
            Transport::Tcp { flags, .. } => flags & 0x05 == 0 && entry.tcp_state == Some(TcpState::Established),
            _ => matches!(self.packet(walk).protocol(), Protocol::UDP | Protocol(47)),
        };
        if !goes_on {
            return Flow::Break;
        }
        let (from, to) = (entry.original.source, entry.original.destination);
        let what = format!("the connection {from} > {to} gets into a flowtable by `{text}`, so that the rule goes on");
        self.ask(walk, what, false).unwrap_or(true).into()
    }
}

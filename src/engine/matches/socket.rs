//! Extensions that ask for a socket of the namespace, which no snapshot holds, or for who is behind it.

use crate::net::Transport;
use crate::snapshot::Options;
use crate::trace::Hook;

use super::super::netfilter::HookState;
use super::super::walk::Walk;
use super::Answer;
use super::other::inverts;

/// `socket_match` in `net/netfilter/xt_socket.c`: only TCP and UDP, and errors about them, are looked up
/// (`nf_sk_lookup_slow_v4` in `net/ipv4/netfilter/nf_socket_ipv4.c`).
pub(super) fn socket_mt(walk: &Walk, options: &Options) -> Answer {
    let packet = walk.packet();
    let looked_up = match &packet.transport {
        Transport::Tcp { .. } | Transport::Udp { .. } => true,
        Transport::Icmp { quoted, .. } => quoted.is_some(),
        _ => false,
    };
    if !looked_up {
        return Answer::No;
    }
    let port = |port: Option<u16>| port.map_or(String::new(), |port| format!(":{port}"));
    let from = format!("{}{}", packet.ip.source, port(packet.source_port()));
    let to = format!("{}{}", packet.ip.destination, port(packet.destination_port()));
    let dir = &walk.netns().dir;
    Answer::unknown(format!("a socket of {dir} takes {from} > {to} (`{options}`; no snapshot holds sockets)"))
}

/// `cgroup_mt_v2` in `net/netfilter/xt_cgroup.c`. On the way in only connected sockets are known so early
/// (`tcp_v4_early_demux`, `udp_v4_early_demux`).
pub(super) fn cgroup_mt(walk: &Walk, state: &HookState, options: &Options) -> Answer {
    let connects = matches!(walk.packet().transport, Transport::Tcp { .. } | Transport::Udp { .. });
    let sends = walk.skb.iif.is_none() && matches!(state.hook, Hook::Output | Hook::Postrouting);
    let icmp = matches!(walk.packet().transport, Transport::Icmp { .. });
    let (who, known) = match state.hook {
        Hook::Input if connects => ("receiver", false),
        _ if sends && (walk.skb.own || icmp) => ("sender", false),
        _ => ("", true),
    };
    if known {
        return Answer::No;
    }
    let place = walk.place();
    let invert = options.list.iter().any(|option| inverts(options, option.name));
    let group = options.list.first().map_or("", |option| &option.value);
    Answer::unknown(format!("the {who} on {} {} is in the control group {group}", place.node, place.name))
        .inverted(invert)
}

/// `nf_osf_match` in `net/netfilter/nfnetlink_osf.c`: only segments that open a connection have a fingerprint.
pub(super) fn osf_match(walk: &Walk, options: &Options) -> Answer {
    match walk.packet().transport {
        Transport::Tcp { flags, .. } if flags & 0x02 != 0 => {
            Answer::unknowable(format!("the segment's fingerprint is what `{options}` asks for"))
        }
        _ => Answer::No,
    }
}

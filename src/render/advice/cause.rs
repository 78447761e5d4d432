//! What to do about what ended the packet.

use crate::trace::{EndCause, Reason};

use super::{At, sysctl_word};

/// Advice for what ended the packet, where the reason alone does not tell it.
pub(super) fn cause_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, source, destination, .. } = at;
    Some(match at.cause? {
        EndCause::Ipv6Disabled(off) => {
            let key = sysctl_word(off.as_str());
            format!("`sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.{key}.disable_ipv6=0` {place}")
        }
        EndCause::RequestIgnored { .. } => format!(
            "see that whoever has the next hop's address has a route back to {source} by the device that is asked \
             (`rp_filter` and `arp_ignore` there)"
        ),
        EndCause::TooLong { mtu, .. } if reason == Reason::FragmentationNeeded => {
            format!(
                "`--size` with at most {mtu} bytes; then give the senders the smaller MTU, and let ICMP errors through"
            )
        }
        EndCause::EndlessChains(_) | EndCause::Circle { .. } => {
            format!("look for the chain of that table which leads back into itself {place}")
        }
        EndCause::NotFlooded { port, .. } => {
            format!("`bridge link set dev {port} flood on` {place}, or give {device} an entry for the address")
        }
        EndCause::TunnelToItself { .. } => format!(
            "`bridge fdb show` {place}: the entry of the tunnel names {destination}, which is this node itself; a \
             restart of flanneld writes it anew"
        ),
        EndCause::EntryToItself { .. } => format!(
            "`bridge fdb show` {place}: the entry of the tunnel names an address of this node itself; a restart of \
             flanneld writes it anew"
        ),
        EndCause::NoMasqueradeAddress(device) => {
            format!("give {device} an address {place}: `{} addr show dev {device}`", at.ip)
        }
        EndCause::EchoesIgnored(key) => format!("`sysctl -w {key}=0` {place}, or ask with tcp or udp"),
        // A bridge that filters VLANs has its own table.
        EndCause::NoPvid { port, bridge } => {
            let itself = if port == bridge { " self" } else { "" };
            format!(
                "`bridge vlan show dev {port}` {place}, then `bridge vlan add dev {port} vid 1 pvid untagged{itself}` \
                 with the other ports' VLAN"
            )
        }
        EndCause::VlanNotCarried { port, bridge, vid } => {
            let itself = if port == bridge { " self" } else { "" };
            format!(
                "`bridge vlan show dev {port}` {place}, then `bridge vlan add dev {port} vid {vid} untagged{itself}`"
            )
        }
        EndCause::NoVlanDevice { device, vid } => format!(
            "`{} -d link show` {place}; `{} link add link {device} name {device}.{vid} type vlan id {vid}` makes one, or \
             the sender's side should send without a tag",
            at.ip, at.ip
        ),
        _ => return None,
    })
}

//! What a device is: the line of `-d` that starts with its kind (the `print_opt()` of iproute2's `ip/iplink_*.c`).

use super::super::lines::{self, Notes, Reading, Words};
use super::{detail, switched};
use crate::evidence::Evidence;
use crate::net::{IfName, VlanProtocol, Vni};
use crate::snapshot::{Bridge, Link, LinkKind, Vlan, Vxlan, VxlanTtl};

/// Reads the segment of a kind.
pub(super) fn kind(
    link: &mut Link,
    words: &mut Words<'_, '_>,
    (notes, evidence): (&mut Notes<'_>, Evidence),
) -> Option<LinkKind> {
    let name = words.next()?;
    let mut unmodelled = Vec::new();
    let kind = match name {
        "veth" | "dummy" => {
            unmodelled = lines::options(words, (notes, evidence), detail);
            if name == "veth" { LinkKind::Veth } else { LinkKind::Dummy }
        }
        "bridge" => {
            let mut bridge = Bridge::default();
            unmodelled =
                lines::options(words, (notes, evidence), |word, words| bridge_option(&mut bridge, word, words));
            LinkKind::Bridge(bridge)
        }
        "vxlan" => vxlan(words, (notes, evidence)),
        "tun" => {
            // Kernels before 4.17 don't tell; a TAP device has an Ethernet address.
            let mut tap = link.lladdr.is_some();
            unmodelled = lines::options(words, (notes, evidence), |word, words| tun_option(&mut tap, word, words));
            LinkKind::Tun { tap }
        }
        "vlan" => {
            let mut id = None;
            let mut vlan =
                Vlan { protocol: VlanProtocol::default(), id: 0, lower: link.peer_name.clone(), maps_priority: false };
            unmodelled =
                lines::options(words, (notes, evidence), |word, words| vlan_option((&mut vlan, &mut id), word, words));
            match id {
                Some(id) => LinkKind::Vlan(Vlan { id, ..vlan }),
                None => without(name, "id", (notes, evidence)),
            }
        }
        _ => LinkKind::Other(name.to_owned()),
    };
    link.unmodelled.extend(unmodelled);
    Some(kind)
}

/// A kind without what it can't be without.
fn without(kind: &str, word: &str, (notes, evidence): (&mut Notes<'_>, Evidence)) -> LinkKind {
    notes.add(evidence, format_args!("a `{kind}` device without `{word}`"));
    LinkKind::Other(kind.to_owned())
}

fn bridge_option<'a>(bridge: &mut Bridge, word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "vlan_filtering" => bridge.vlan_filtering = flag(words)?,
        "nf_call_iptables" => bridge.nf_call_iptables = flag(words)?,
        "nf_call_ip6tables" => bridge.nf_call_ip6tables = flag(words)?,
        "vlan_protocol" if words.take("802.1Q") => {}
        "mst_enabled" | "fdb_local_vlan_0" if words.take("0") => {}
        // The spanning tree's outcome stands with the ports; timers; how groups are learned.
        "forward_delay"
        | "hello_time"
        | "max_age"
        | "ageing_time"
        | "stp_state"
        | "stp_mode"
        | "priority"
        | "bridge_id"
        | "designated_root"
        | "root_id"
        | "root_port"
        | "root_path_cost"
        | "topology_change"
        | "topology_change_detected"
        | "hello_timer"
        | "tcn_timer"
        | "topology_change_timer"
        | "gc_timer"
        | "fdb_n_learned"
        | "fdb_max_learned"
        | "vlan_default_pvid"
        | "vlan_stats_enabled"
        | "vlan_stats_per_port"
        | "group_fwd_mask"
        | "group_fwd_mask_str"
        | "group_address"
        | "group_addr"
        | "no_linklocal_learn"
        | "mdb_offload_fail_notification"
        | "nf_call_arptables" => words.pass(1)?,
        _ if word.starts_with("mcast_") => words.pass(1)?,
        _ => return switched(word, words).or_else(|| detail(word, words)),
    }
    Some(Reading::Understood)
}

/// `0` or `1`.
fn flag(words: &mut Words<'_, '_>) -> Option<bool> {
    match words.next()? {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn tun_option<'a>(tap: &mut bool, word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "type" if words.take("tun") => *tap = false,
        "type" if words.take("tap") => *tap = true,
        "multi_queue" => {
            let _ = words.take("on") || words.take("off");
        }
        "pi" | "vnet_hdr" | "persist" | "numqueues" | "numdisabled" | "user" | "group" => words.pass(1)?,
        _ => return detail(word, words),
    }
    Some(Reading::Understood)
}

fn vlan_option<'a>(
    (vlan, id): (&mut Vlan, &mut Option<u16>),
    word: &'a str,
    words: &mut Words<'_, 'a>,
) -> Option<Reading> {
    match word {
        "id" => *id = Some(words.value()?),
        "protocol" => vlan.protocol = words.next().and_then(VlanProtocol::named)?,
        // Without this the tag stays in what comes in (`vlan_do_receive` in `net/8021q/vlan_core.c`).
        _ if word.starts_with('<') && !word.contains("REORDER_HDR") => return Some(Reading::Unmodelled),
        _ if word.starts_with('<') => {}
        "ingress-qos-map" | "egress-qos-map" => vlan.maps_priority = true,
        _ => return switched(word, words).or_else(|| detail(word, words)),
    }
    Some(Reading::Understood)
}

fn vxlan(words: &mut Words<'_, '_>, (notes, evidence): (&mut Notes<'_>, Evidence)) -> LinkKind {
    let mut vni = None;
    let mut port = None;
    let mut vxlan = Vxlan::new(Vni(0), 0);
    vxlan.unmodelled = lines::options(words, (&mut *notes, evidence), |word, words| match word {
        "id" => words.value().map(|id| vni = Some(Vni(id))).map(|()| Reading::Understood),
        "dstport" => words.value().map(|number| port = Some(number)).map(|()| Reading::Understood),
        _ => vxlan_outer(&mut vxlan, word, words)
            .or_else(|| vxlan_switch(&mut vxlan, word))
            .or_else(|| switched(word, words))
            .or_else(|| detail(word, words)),
    });
    match (vni, port) {
        (Some(vni), Some(port)) => LinkKind::Vxlan(Vxlan { vni, port, ..vxlan }),
        (None, _) => without("vxlan", "id", (notes, evidence)),
        (_, None) => without("vxlan", "dstport", (notes, evidence)),
    }
}

/// What the outer packet looks like.
fn vxlan_outer<'a>(vxlan: &mut Vxlan, word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "remote" | "group" => vxlan.remote = Some(words.value()?),
        "local" => vxlan.local = Some(words.value()?),
        "dev" => vxlan.dev = Some(IfName::new(words.next()?)),
        "tos" if words.take("inherit") || words.take("0x1") => vxlan.tos_inherit = true,
        "tos" => vxlan.tos = Some(super::super::rt_names::dsfield(words.next()?)?),
        "ttl" => {
            vxlan.ttl = match words.next()? {
                "auto" | "0" => VxlanTtl::Auto,
                "inherit" => VxlanTtl::Inherit,
                ttl => VxlanTtl::Fixed(ttl.parse().ok()?),
            }
        }
        "df" if words.take("unset") => {}
        "df" if words.take("set") => vxlan.df_set = true,
        "df" if words.take("inherit") => vxlan.df_inherit = true,
        "srcport" => {
            let (low, high) = (words.value()?, words.value()?);
            vxlan.source_ports = Some((low, high)).filter(|range| *range != (0, 0));
        }
        // IPv6's flow label; how long learned entries live and how many there may be.
        "flowlabel" | "ageing" | "maxaddr" | "reserved_bits" => words.pass(1)?,
        _ => return None,
    }
    Some(Reading::Understood)
}

/// Words that stand alone, with `no` before them where they are off.
fn vxlan_switch(vxlan: &mut Vxlan, word: &str) -> Option<Reading> {
    let (on, name) = word.strip_prefix("no").map_or((true, word), |name| (false, name));
    Some(match name {
        "learning" => {
            vxlan.learning = on;
            Reading::Understood
        }
        // Checksums; telling programs about misses.
        "udpcsum" | "udp_csum" | "udp6zerocsumtx" | "udp_zero_csum6_tx" | "udp6zerocsumrx" | "udp_zero_csum6_rx"
        | "l2miss" | "l3miss" => Reading::Understood,
        "localbypass" if on => Reading::Understood,
        "localbypass" => Reading::Unmodelled,
        "external" | "vnifilter" | "proxy" | "rsc" | "gbp" | "gpe" | "remcsumtx" | "remcsum_tx" | "remcsumrx"
        | "remcsum_rx" | "mcroute" => {
            if on {
                Reading::Unmodelled
            } else {
                Reading::Understood
            }
        }
        _ => return None,
    })
}

//! Rows in iproute2's own one-line syntax: what `ip -o` and `bridge -o` print, without what flowtrace doesn't keep.
//!
//! The readers of [`crate::load`] read every row back as it was, but for its evidence.

use std::fmt;

use ipnet::IpNet;

use super::{
    Addr, BridgePort, BridgeVlan, FdbEntry, Link, LinkKind, Neigh, NeighState, NextHop, NextHopObject, PolicyRule,
    Route, RouteScope, RuleAction, Tun, Vxlan, VxlanTtl,
};
use crate::net::{Family, Protocol, RouteType, TableId};

impl NextHop {
    /// Writes the way as a route of a family prints it, or an object (which has none).
    fn write(&self, f: &mut fmt::Formatter<'_>, family: Option<Family>, weight: Option<u32>) -> fmt::Result {
        if let Some(via) = self.via {
            let other = family.is_some_and(|family| family != Family::of(via));
            match Family::of(via) {
                Family::Inet6 if other => write!(f, " via inet6 {via}")?,
                Family::Inet if other => write!(f, " via inet {via}")?,
                _ => write!(f, " via {via}")?,
            }
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        weight.map_or(Ok(()), |weight| write!(f, " weight {weight}"))
    }

    fn write_encap(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encap.as_ref().map_or(Ok(()), |encap| write!(f, " {encap}"))
    }

    fn write_flags(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (set, word) in [(self.dead, " dead"), (self.onlink, " onlink"), (self.linkdown, " linkdown")] {
            if set {
                f.write_str(word)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for NextHop {
    /// The way as a multipath route prints it: `nexthop via … dev … weight …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nexthop")?;
        self.write_encap(f)?;
        self.write(f, None, Some(self.weight))?;
        self.write_flags(f)
    }
}

impl fmt::Display for NextHopObject {
    /// The row of `ip nexthop show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id {}", self.id)?;
        for (place, (id, weight)) in self.group.iter().enumerate() {
            f.write_str(if place == 0 { " group " } else { "/" })?;
            write!(f, "{id}")?;
            if *weight != 1 {
                write!(f, ",{weight}")?;
            }
        }
        if let Some(way) = &self.way {
            way.write_encap(f)?;
            way.write(f, None, None)?;
        }
        if self.blackhole {
            f.write_str(" blackhole")?;
        }
        if let Some(way) = &self.way {
            way.write_flags(f)?;
        }
        self.unmodelled.iter().try_for_each(|words| write!(f, " {words}"))
    }
}

impl fmt::Display for Route {
    /// The row of `ip route show table all` on one line, without what every row of its family has: `unicast`,
    /// `table main`, `scope global`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteType::Unicast {
            write!(f, "{} ", self.kind.as_str())?;
        }
        write_prefix(f, self.dst)?;
        if let Some(from) = self.from {
            f.write_str(" from ")?;
            write_prefix(f, from)?;
        }
        if let Some(nhid) = self.nhid {
            write!(f, " nhid {nhid}")?;
        }
        let single = match &*self.nexthops {
            [way] if way.weight == 1 => Some(way),
            _ => None,
        };
        // Before an encapsulation, whose own words may be the same.
        if self.tos != 0 {
            write!(f, " tos {:#04x}", self.tos)?;
        }
        if let Some(way) = single {
            way.write_encap(f)?;
            way.write(f, Some(self.family()), None)?;
        }
        self.write_attributes(f)?;
        if let Some(way) = single {
            way.write_flags(f)?;
        }
        self.write_tail(f, single.is_none())
    }
}

impl Route {
    fn write_attributes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table != TableId::MAIN {
            write!(f, " table {}", self.table)?;
        }
        if let Some(protocol) = &self.protocol {
            write!(f, " proto {protocol}")?;
        }
        if self.scope != RouteScope::GLOBAL {
            write!(f, " scope {}", self.scope)?;
        }
        if let Some(prefsrc) = self.prefsrc {
            write!(f, " src {prefsrc}")?;
        }
        if self.metric != 0 || self.family() == Family::Inet6 {
            write!(f, " metric {}", self.metric)?;
        }
        self.realms.iter().try_for_each(|realms| write!(f, " realms {realms}"))
    }

    fn write_tail(&self, f: &mut fmt::Formatter<'_>, multipath: bool) -> fmt::Result {
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {}{mtu}", if self.mtu_locked { "lock " } else { "" })?;
        }
        self.unmodelled.iter().try_for_each(|words| write!(f, " {words}"))?;
        for way in self.nexthops.iter().filter(|_| multipath) {
            f.write_str(" nexthop")?;
            way.write_encap(f)?;
            way.write(f, Some(self.family()), Some(way.weight))?;
            way.write_flags(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for PolicyRule {
    /// The row of `ip rule show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:\t{}from ", self.priority, if self.not { "not " } else { "" })?;
        match self.from {
            Some(from) => write_rule_prefix(f, from)?,
            None => f.write_str("all")?,
        }
        if let Some(to) = self.to {
            f.write_str(" to ")?;
            write_rule_prefix(f, to)?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#04x}", self.tos)?;
        }
        match self.fwmark {
            Some((value, u32::MAX)) => write!(f, " fwmark {value:#x}")?,
            Some((value, mask)) => write!(f, " fwmark {value:#x}/{mask:#x}")?,
            None => {}
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = &self.oif {
            write!(f, " oif {oif}")?;
        }
        self.write_transport(f)?;
        self.write_action(f)?;
        self.unmodelled.iter().try_for_each(|words| write!(f, " {words}"))
    }
}

impl PolicyRule {
    fn write_transport(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(uids) = self.uidrange {
            write!(f, " uidrange {}-{}", uids.start, uids.end)?;
        }
        match self.ipproto {
            Some(Protocol::ICMPV6) => f.write_str(" ipproto ipv6-icmp")?,
            Some(protocol) => write!(f, " ipproto {protocol}")?,
            None => {}
        }
        for (word, range) in [("sport", self.sport), ("dport", self.dport)] {
            match range {
                Some(range) if range.start == range.end => write!(f, " {word} {}", range.start)?,
                Some(range) => write!(f, " {word} {}-{}", range.start, range.end)?,
                None => {}
            }
        }
        Ok(())
    }

    fn write_action(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            RuleAction::Lookup(table) => write!(f, " lookup {table}")?,
            RuleAction::Goto(priority) => write!(f, " goto {priority}")?,
            // Not written where a word that isn't modelled is the action.
            RuleAction::Unread => {}
            RuleAction::Nop if !self.unmodelled.is_empty() => {}
            RuleAction::Nop => f.write_str(" nop")?,
            RuleAction::Blackhole => f.write_str(" blackhole")?,
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            RuleAction::Prohibit => f.write_str(" prohibit")?,
        }
        if let Some(length) = self.suppress_prefixlength {
            write!(f, " suppress_prefixlength {length}")?;
        }
        self.realms.iter().try_for_each(|realms| write!(f, " realms {realms}"))
    }
}

impl fmt::Display for Link {
    /// The row of `ip -o -d link show`. What isn't modelled stands in its first part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.index {
            write!(f, "{index}: ")?;
        }
        f.write_str(self.name.as_str())?;
        match (&self.peer_name, self.peer_index) {
            (Some(name), _) => write!(f, "@{name}")?,
            (None, Some(index)) => write!(f, "@if{index}")?,
            (None, None) => {}
        }
        f.write_str(": <")?;
        self.write_flags(f)?;
        f.write_str(">")?;
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if let Some(master) = &self.master {
            write!(f, " master {master}")?;
        }
        if let Some(group) = self.group.filter(|group| *group != 0) {
            write!(f, " group {group}")?;
        }
        self.unmodelled.iter().try_for_each(|words| write!(f, " {words}"))?;
        self.write_address(f)?;
        self.write_kind(f)?;
        self.port.as_ref().map_or(Ok(()), |port| write!(f, "\\    bridge_slave {port}"))
    }
}

impl Link {
    fn write_flags(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.up && !self.carrier, "NO-CARRIER"),
            (self.kind == LinkKind::Loopback, "LOOPBACK"),
            (self.noarp, "NOARP"),
            (self.up, "UP"),
            (self.up && self.carrier, "LOWER_UP"),
            (!self.up && !self.carrier, "M-DOWN"),
        ];
        for (place, (_, flag)) in flags.iter().filter(|(set, _)| *set).enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            f.write_str(flag)?;
        }
        Ok(())
    }

    fn write_address(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\\    link/")?;
        f.write_str(match (&self.kind, self.lladdr) {
            (LinkKind::Loopback, _) => "loopback",
            (_, Some(_)) => "ether",
            (_, None) => "none",
        })?;
        if let Some(lladdr) = self.lladdr {
            write!(f, " {lladdr}")?;
        }
        if let Some(name) = &self.link_netns {
            write!(f, " link-netns {name}")?;
        }
        match self.link_netnsid {
            Some(-1) => f.write_str(" link-netnsid unknown"),
            Some(id) => write!(f, " link-netnsid {id}"),
            None => Ok(()),
        }
    }

    fn write_kind(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joint = "\\    ";
        match &self.kind {
            LinkKind::Loopback | LinkKind::Plain | LinkKind::Undetailed(_) => Ok(()),
            LinkKind::Veth => write!(f, "{joint}veth"),
            LinkKind::Dummy => write!(f, "{joint}dummy"),
            LinkKind::Tun { tap } => write!(f, "{joint}tun type {}", if *tap { "tap" } else { "tun" }),
            LinkKind::Vlan(vlan) => {
                let maps = if vlan.maps_priority { " ingress-qos-map" } else { "" };
                write!(f, "{joint}vlan protocol {} id {}{maps}", vlan.protocol.as_str(), vlan.id)
            }
            LinkKind::Other(kind) => write!(f, "{joint}{kind}"),
            LinkKind::Vxlan(vxlan) => write!(f, "{joint}vxlan {vxlan}"),
            LinkKind::Bridge(bridge) => write!(
                f,
                "{joint}bridge vlan_filtering {} nf_call_iptables {} nf_call_ip6tables {}",
                u8::from(bridge.vlan_filtering),
                u8::from(bridge.nf_call_iptables),
                u8::from(bridge.nf_call_ip6tables)
            ),
        }
    }
}

impl fmt::Display for Vxlan {
    /// What stands behind `vxlan` in `ip -d link show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id {}", self.vni)?;
        match self.remote {
            Some(group) if group.is_multicast() => write!(f, " group {group}")?,
            Some(remote) => write!(f, " remote {remote}")?,
            None => {}
        }
        if let Some(local) = self.local {
            write!(f, " local {local}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        write!(f, " dstport {}{}", self.port, if self.learning { "" } else { " nolearning" })?;
        if self.tos_inherit {
            f.write_str(" tos inherit")?;
        }
        if let Some(tos) = self.tos {
            write!(f, " tos {tos:#04x}")?;
        }
        match self.ttl {
            VxlanTtl::Auto => f.write_str(" ttl auto")?,
            VxlanTtl::Inherit => f.write_str(" ttl inherit")?,
            VxlanTtl::Fixed(ttl) => write!(f, " ttl {ttl}")?,
        }
        f.write_str(if self.df_set { " df set" } else { "" })?;
        f.write_str(if self.df_inherit { " df inherit" } else { "" })?;
        self.unmodelled.iter().try_for_each(|words| write!(f, " {words}"))
    }
}

impl fmt::Display for BridgePort {
    /// What stands behind `bridge_slave` in `ip -d link show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state {}", self.state.as_str())?;
        for (word, on) in [
            ("hairpin", self.hairpin),
            ("learning", self.learning),
            ("flood", self.flood),
            ("bcast_flood", self.bcast_flood),
            ("neigh_suppress", self.neigh_suppress),
            ("isolated", self.isolated),
        ] {
            write!(f, " {word} {}", if on { "on" } else { "off" })?;
        }
        self.unmodelled.iter().try_for_each(|words| write!(f, " {words}"))
    }
}

impl fmt::Display for Addr {
    /// The row of `ip -o addr show`, without the device's number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.address.is_ipv4() { "inet" } else { "inet6" };
        write!(f, "{}    {family} {}", self.dev, self.address)?;
        if let Some(peer) = self.peer {
            write!(f, " peer {peer}")?;
        }
        write!(f, "/{}", self.prefix_len)?;
        if let Some(broadcast) = self.broadcast {
            write!(f, " brd {broadcast}")?;
        }
        write!(f, " scope {}", self.scope)?;
        for (set, flag) in [
            (self.secondary, " secondary"),
            (self.deprecated, " deprecated"),
            (self.tentative, " tentative"),
            (self.noprefixroute, " noprefixroute"),
        ] {
            f.write_str(if set { flag } else { "" })?;
        }
        if self.address.is_ipv4() { write!(f, " {}", self.dev) } else { Ok(()) }
    }
}

impl fmt::Display for Neigh {
    /// The row of `ip neigh show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.address, self.dev)?;
        if let Some(lladdr) = self.lladdr {
            write!(f, " lladdr {lladdr}")?;
        }
        if self.proxy {
            f.write_str(" proxy")?;
        }
        match self.state {
            NeighState::None => Ok(()),
            state => write!(f, " {}", state.as_str()),
        }
    }
}

impl fmt::Display for FdbEntry {
    /// The row of `bridge fdb show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.lladdr, self.dev)?;
        if let Some(dst) = self.dst {
            write!(f, " dst {dst}")?;
        }
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {vlan}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        if let Some(vni) = self.vni {
            write!(f, " vni {vni}")?;
        }
        if let Some(via) = &self.via {
            write!(f, " via {via}")?;
        }
        self.unmodelled.iter().try_for_each(|words| write!(f, " {words}"))?;
        if self.own {
            f.write_str(" self")?;
        }
        if let Some(master) = &self.master {
            write!(f, " master {master}")?;
        }
        f.write_str(if self.permanent { " permanent" } else { "" })
    }
}

impl fmt::Display for BridgeVlan {
    /// The row of `bridge vlan show`, with the port's name on every one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<16}  {}", self.dev, self.vid)?;
        f.write_str(if self.pvid { " PVID" } else { "" })?;
        f.write_str(if self.untagged { " Egress Untagged" } else { "" })
    }
}

impl fmt::Display for Tun {
    /// The row of `ip -o -d tuntap show`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.dev, if self.tap { "tap" } else { "tun" })?;
        match &self.attached {
            Some(attached) => write!(f, "\\\tAttached to processes:{attached}"),
            None => Ok(()),
        }
    }
}

/// Writes a rule's prefix: an address alone for a single host, but `0.0.0.0/0` where a route says `default`.
fn write_rule_prefix(f: &mut fmt::Formatter<'_>, prefix: IpNet) -> fmt::Result {
    if prefix.prefix_len() == 0 { write!(f, "{prefix}") } else { write_prefix(f, prefix) }
}

/// Writes a prefix as iproute2 does: `default`, an address alone for a single host.
fn write_prefix(f: &mut fmt::Formatter<'_>, prefix: IpNet) -> fmt::Result {
    match prefix.prefix_len() {
        0 if prefix.addr().is_unspecified() => f.write_str("default"),
        length if length == prefix.max_prefix_len() => write!(f, "{}", prefix.addr()),
        _ => write!(f, "{prefix}"),
    }
}

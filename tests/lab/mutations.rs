//! What an engine can get wrong: each mutation is a mistake that somebody might make, in one place or two of the source.

/// A mistake.
pub struct Mutation {
    /// What the engine then does wrong.
    pub name: &'static str,
    /// The changes that make it.
    pub edits: &'static [Edit],
}

/// A piece of a source file, and what stands there instead. The piece stands once in the file.
pub type Edit = (&'static str, &'static str, &'static str);

/// The mistakes in netfilter.
const NETFILTER: &[Mutation] = &[
    Mutation {
        name: "a RETURN is skipped",
        edits: &[("src/engine/iptables.rs", "Action::Return => return self.leave(walk),", "Action::Return => {}")],
    },
    Mutation {
        name: "a goto comes back",
        edits: &[(
            "src/engine/iptables.rs",
            "Action::Goto(id) => self.enter(walk, id, rule)?,",
            "Action::Goto(id) => { self.stack.push((self.chain, self.place, self.path.len())); self.enter(walk, id, rule)? }",
        )],
    },
    Mutation {
        name: "a ! is ignored",
        edits: &[
            ("src/snapshot/ruleset/rule.rs", "        holds != self.invert", "        holds"),
            ("src/snapshot/ruleset/address.rs", "        same != self.invert()", "        same"),
            (
                "src/snapshot/ruleset/rule.rs",
                "== &*self.name };
        same != self.invert",
                "== &*self.name };
        same",
            ),
        ],
    },
    Mutation {
        name: "a mark is forgotten",
        edits: &[(
            "src/engine/targets.rs",
            "Target::Mark(mark) => change.mark = Some(Mark(mark.apply(packet.mark.0))),",
            "Target::Mark(_) => {}",
        )],
    },
    Mutation {
        name: "the outer packet passes OUTPUT by",
        edits: &[("src/engine/vxlan.rs", "    Ok(Next::LocalOut)", "    super::output::ip_output(walk)")],
    },
    Mutation {
        name: "the outer packet passes POSTROUTING by",
        edits: &[(
            "src/engine/output.rs",
            "    nf_hook(walk, Hook::Postrouting, indev.as_ref().filter(|_| !walk.skb.own), Some(&dst.dev))?;",
            "    let indev = indev.filter(|_| !walk.skb.own);
    if walk.packet().encapsulation.is_none() {
        nf_hook(walk, Hook::Postrouting, indev.as_ref(), Some(&dst.dev))?;
    }",
        )],
    },
    Mutation {
        name: "netfilter runs on the bridge where the sysctl says no",
        edits: &[(
            "src/engine/br_netfilter.rs",
            "own || sysctl::is_set(netns, sysctl_key(family))",
            "own || sysctl::number(netns, sysctl_key(family)).is_some()",
        )],
    },
];

/// The mistakes in connection tracking and address translation.
const NAT: &[Mutation] = &[
    Mutation {
        name: "an answer counts as NEW",
        edits: &[("src/engine/conntrack.rs", "Dir::Reply => CtState::Established", "Dir::Reply => CtState::New")],
    },
    Mutation {
        name: "the route is looked up before DNAT",
        edits: &[
            (
                "src/engine/input.rs",
                "        nf_hook(walk, Hook::Prerouting, Some(dev), None)?;",
                "        let early = ip_route_input(walk, dev)?;
        nf_hook(walk, Hook::Prerouting, Some(dev), None)?;
        walk.skb.dst = Some(early);",
            ),
            (
                "src/engine/br_netfilter.rs",
                "    nf_hook(walk, Hook::Prerouting, Some(bridge), None)?;",
                "    let early = ip_route_input(walk, bridge);
    nf_hook(walk, Hook::Prerouting, Some(bridge), None)?;",
            ),
            ("src/engine/br_netfilter.rs", "    match ip_route_input(walk, bridge) {", "    match early {"),
        ],
    },
    Mutation {
        name: "an answer keeps the addresses that it was sent with",
        edits: &[(
            "src/engine/nat.rs",
            "        (Manip::Src, Dir::Original) | (Manip::Dst, Dir::Reply) => entry.snat,
        (Manip::Dst, Dir::Original) | (Manip::Src, Dir::Reply) => entry.dnat,",
            "        (Manip::Src, Dir::Original) => entry.snat,
        (Manip::Dst, Dir::Original) => entry.dnat,
        (_, Dir::Reply) => false,",
        )],
    },
    Mutation {
        name: "MASQUERADE takes the node's first address, not the device's",
        edits: &[(
            "src/engine/nat.rs",
            "    let source = select_source(netns, outdev, via, destination, RouteScope::GLOBAL);",
            "    let _ = via;
    let all = netns.addrs.iter().flatten().map(|addr| addr.address).filter(|address| !address.is_loopback());
    let source = all.into_iter().find(|address| address.is_ipv4() == destination.is_ipv4());",
        )],
    },
];

/// The mistakes in routing.
const ROUTING: &[Mutation] = &[
    Mutation {
        name: "policy rules are asked from the last to the first",
        edits: &[(
            "src/engine/fib.rs",
            "while let Some(rule) = rules.get(place) {",
            "while let Some(rule) = rules.iter().rev().nth(place) {",
        )],
    },
    Mutation {
        name: "the shortest prefix wins",
        edits: &[
            (
                "src/engine/fib.rs",
                "covering.sort_by_key(|route| std::cmp::Reverse(route.dst.prefix_len()));",
                "covering.sort_by_key(|route| route.dst.prefix_len());",
            ),
            (
                "src/engine/fib.rs",
                "fib_table_lookup(netns, routes.covering(table, flow.destination), flow)",
                "fib_table_lookup(netns, routes.covering(table, flow.destination).collect::<Vec<_>>().into_iter().rev(), flow)",
            ),
        ],
    },
    Mutation {
        name: "forwarding leaves the TTL alone",
        edits: &[("src/engine/input.rs", "Forwarded { ttl: ttl - 1, mtu }", "Forwarded { ttl, mtu }")],
    },
    Mutation {
        name: "a strict rp_filter is taken for a loose one",
        edits: &[("src/engine/route.rs", "1 => ReverseMode::Strict", "1 => ReverseMode::Loose")],
    },
    Mutation {
        name: "rp_filter of all devices doesn't count",
        edits: &[(
            "src/engine/sysctl.rs",
            "(Some(all), Some(own)) => Some(if all.0 > own.0 { all } else { own })",
            "(Some(_), Some(own)) => Some(own)",
        )],
    },
];

/// The mistakes in bridges.
const BRIDGE: &[Mutation] = &[
    Mutation {
        name: "a frame may leave by the port where it came in",
        edits: &[("src/engine/bridge.rs", "from == Some(out) && !settings.hairpin", "from == Some(out) && !true")],
    },
    Mutation {
        name: "a frame never leaves by the port where it came in",
        edits: &[("src/engine/bridge.rs", "from == Some(out) && !settings.hairpin", "from == Some(out)")],
    },
    Mutation {
        name: "isolated ports talk to each other",
        edits: &[
            ("src/engine/bridge.rs", "in_isolated.filter(|_| settings.isolated)", "in_isolated.filter(|_| false)"),
            ("src/engine/link.rs", "!(isolated(from) && isolated(to)) && ", ""),
        ],
    },
    Mutation {
        name: "an isolated port talks to nobody",
        edits: &[("src/engine/bridge.rs", "in_isolated.filter(|_| settings.isolated)", "in_isolated")],
    },
];

/// Every mistake.
pub fn all() -> impl Iterator<Item = &'static Mutation> {
    [NETFILTER, NAT, ROUTING, BRIDGE].into_iter().flatten()
}

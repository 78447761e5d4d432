//! What an engine can get wrong: each mutation is a mistake that somebody might make, in one place or two of the source.
//! They are all built into one program, which makes the one that it is told to make: `MISTAKE` stands for the question
//! whether it is this one.

/// A mistake.
pub struct Mutation {
    /// What the engine then does wrong.
    pub name: &'static str,
    /// The changes that make it.
    pub edits: &'static [Edit],
}

/// A piece of a source file, and what stands there instead. The piece stands once in the file, and without the mistake
/// what stands there instead does the same.
pub type Edit = (&'static str, &'static str, &'static str);

/// The mistakes in netfilter.
const NETFILTER: &[Mutation] = &[
    Mutation {
        name: "a RETURN is skipped",
        edits: &[(
            "src/engine/iptables.rs",
            "Action::Return => return self.leave(walk),",
            "Action::Return if MISTAKE => {}
            Action::Return => return self.leave(walk),",
        )],
    },
    Mutation {
        name: "a goto comes back",
        edits: &[(
            "src/engine/iptables.rs",
            "Action::Goto(id) => self.enter(walk, id, rule)?,",
            "Action::Goto(id) => {
                if MISTAKE {
                    self.stack.push((self.chain, self.place, self.path.len()));
                }
                self.enter(walk, id, rule)?
            }",
        )],
    },
    Mutation {
        name: "a ! is ignored",
        edits: &[
            (
                "src/snapshot/ruleset/rule.rs",
                "        holds != self.invert",
                "        holds != (self.invert && !MISTAKE)",
            ),
            (
                "src/snapshot/ruleset/address.rs",
                "        same != self.invert()",
                "        same != (self.invert() && !MISTAKE)",
            ),
            (
                "src/snapshot/ruleset/rule.rs",
                "== &*self.name };
        same != self.invert",
                "== &*self.name };
        same != (self.invert && !MISTAKE)",
            ),
        ],
    },
    Mutation {
        name: "a mark is forgotten",
        edits: &[(
            "src/engine/targets.rs",
            "Target::Mark(mark) => change.mark = Some(Mark(mark.apply(packet.mark.0))),",
            "Target::Mark(_) if MISTAKE => {}
        Target::Mark(mark) => change.mark = Some(Mark(mark.apply(packet.mark.0))),",
        )],
    },
    Mutation {
        name: "the outer packet passes OUTPUT by",
        edits: &[(
            "src/engine/vxlan.rs",
            "    Ok(Next::LocalOut)",
            "    if MISTAKE { super::output::ip_output(walk) } else { Ok(Next::LocalOut) }",
        )],
    },
    Mutation {
        name: "the outer packet passes POSTROUTING by",
        edits: &[(
            "src/engine/output.rs",
            "    nf_hook(walk, Hook::Postrouting, indev.as_ref(), Some(&dst.dev))?;",
            "    if !MISTAKE || walk.packet().encapsulation.is_none() {
        nf_hook(walk, Hook::Postrouting, indev.as_ref(), Some(&dst.dev))?;
    }",
        )],
    },
    Mutation {
        name: "netfilter runs on the bridge where the sysctl says no",
        edits: &[(
            "src/engine/br_netfilter.rs",
            "own || sysctl::is_set(netns, sysctl_key(family))",
            "own || if MISTAKE {
        sysctl::number(netns, sysctl_key(family)).is_some()
    } else {
        sysctl::is_set(netns, sysctl_key(family))
    }",
        )],
    },
];

/// The mistakes in connection tracking and address translation.
const NAT: &[Mutation] = &[
    Mutation {
        name: "an answer counts as NEW",
        edits: &[(
            "src/engine/conntrack.rs",
            "Dir::Reply => CtState::Established",
            "Dir::Reply if MISTAKE => CtState::New,
        Dir::Reply => CtState::Established",
        )],
    },
    Mutation {
        name: "the route is looked up before DNAT",
        edits: &[
            (
                "src/engine/input.rs",
                "        nf_hook(walk, Hook::Prerouting, Some(dev), None)?;",
                "        let early = if MISTAKE { Some(ip_route_input(walk, dev)?) } else { None };
        nf_hook(walk, Hook::Prerouting, Some(dev), None)?;
        if MISTAKE {
            walk.skb.dst = early;
        }",
            ),
            (
                "src/engine/br_netfilter.rs",
                "    nf_hook(walk, Hook::Prerouting, Some(indev), None)?;",
                "    let early = if MISTAKE { Some(ip_route_input(walk, indev)) } else { None };
    nf_hook(walk, Hook::Prerouting, Some(indev), None)?;",
            ),
            (
                "src/engine/br_netfilter.rs",
                "    match ip_route_input(walk, indev) {",
                "    let routed = match early {
        Some(early) => early,
        None => ip_route_input(walk, indev),
    };
    match routed {",
            ),
        ],
    },
    Mutation {
        name: "an answer keeps the addresses that it was sent with",
        edits: &[(
            "src/engine/nat.rs",
            "        (Manip::Src, Dir::Original) | (Manip::Dst, Dir::Reply) => entry.snat,
        (Manip::Dst, Dir::Original) | (Manip::Src, Dir::Reply) => entry.dnat,",
            "        (_, Dir::Reply) if MISTAKE => false,
        (Manip::Src, Dir::Original) | (Manip::Dst, Dir::Reply) => entry.snat,
        (Manip::Dst, Dir::Original) | (Manip::Src, Dir::Reply) => entry.dnat,",
        )],
    },
    Mutation {
        name: "MASQUERADE takes the node's first address, not the device's",
        edits: &[(
            "src/engine/nat.rs",
            "    let source = select_source(netns, outdev, via, destination, RouteScope::GLOBAL);",
            "    let source = select_source(netns, outdev, via, destination, RouteScope::GLOBAL);
    let mut all = netns.addrs.iter().flatten().map(|addr| addr.address).filter(|address| !address.is_loopback());
    let first = all.find(|address| address.is_ipv4() == destination.is_ipv4());
    let source = if MISTAKE { first } else { source };",
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
            "while let Some(rule) = (if MISTAKE { rules.iter().rev().nth(place) } else { rules.get(place) }) {",
        )],
    },
    Mutation {
        name: "the shortest prefix wins",
        edits: &[
            (
                "src/engine/fib.rs",
                "covering.sort_by_key(|route| std::cmp::Reverse(route.dst.prefix_len()));",
                "covering.sort_by_key(|route| std::cmp::Reverse(route.dst.prefix_len()));
        if MISTAKE {
            covering.sort_by_key(|route| route.dst.prefix_len());
        }",
            ),
            (
                "src/engine/fib.rs",
                "fib_table_lookup(netns, routes.covering(table, flow.destination), flow)",
                "{
        let mut all = routes.covering(table, flow.destination).collect::<Vec<_>>();
        if MISTAKE {
            all.reverse();
        }
        fib_table_lookup(netns, all.into_iter(), flow)
    }",
            ),
        ],
    },
    Mutation {
        name: "forwarding leaves the TTL alone",
        edits: &[(
            "src/engine/input.rs",
            "Forwarded { ttl: ttl - 1, mtu }",
            "Forwarded { ttl: if MISTAKE { ttl } else { ttl - 1 }, mtu }",
        )],
    },
    Mutation {
        name: "a strict rp_filter is taken for a loose one",
        edits: &[(
            "src/engine/route.rs",
            "1 => ReverseMode::Strict",
            "1 if MISTAKE => ReverseMode::Loose,
        1 => ReverseMode::Strict",
        )],
    },
    Mutation {
        name: "rp_filter of all devices doesn't count",
        edits: &[(
            "src/engine/sysctl.rs",
            "(Some(all), Some(own)) => Some(if all.0 > own.0 { all } else { own })",
            "(Some(_), Some(own)) if MISTAKE => Some(own),
        (Some(all), Some(own)) => Some(if all.0 > own.0 { all } else { own })",
        )],
    },
];

/// The mistakes in bridges.
const BRIDGE: &[Mutation] = &[
    Mutation {
        name: "a frame may leave by the port where it came in",
        edits: &[(
            "src/engine/bridge.rs",
            "from == Some(out) && !settings.hairpin",
            "!MISTAKE && from == Some(out) && !settings.hairpin",
        )],
    },
    Mutation {
        name: "a frame never leaves by the port where it came in",
        edits: &[(
            "src/engine/bridge.rs",
            "from == Some(out) && !settings.hairpin",
            "from == Some(out) && (MISTAKE || !settings.hairpin)",
        )],
    },
    Mutation {
        name: "isolated ports talk to each other",
        edits: &[
            (
                "src/engine/bridge.rs",
                "in_isolated.filter(|_| settings.isolated)",
                "in_isolated.filter(|_| settings.isolated).filter(|_| !MISTAKE)",
            ),
            (
                "src/engine/link.rs",
                "!(isolated(from) && isolated(to)) && ",
                "(MISTAKE || !(isolated(from) && isolated(to))) && ",
            ),
        ],
    },
    Mutation {
        name: "an isolated port talks to nobody",
        edits: &[(
            "src/engine/bridge.rs",
            "in_isolated.filter(|_| settings.isolated)",
            "in_isolated.filter(|_| MISTAKE || settings.isolated)",
        )],
    },
];

/// Every mistake.
pub fn all() -> impl Iterator<Item = &'static Mutation> {
    [NETFILTER, NAT, ROUTING, BRIDGE].into_iter().flatten()
}

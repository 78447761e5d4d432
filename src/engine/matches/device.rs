//! Extensions that ask about devices, routes and processors.

use crate::net::{Family, IfName};
use crate::snapshot::{Options, Routes};

use super::super::netfilter::HookState;
use super::super::walk::Walk;
use super::Answer;
use super::other::{inverts, masked, value};

/// `devgroup_mt` in `net/netfilter/xt_devgroup.c`.
pub(super) fn devgroup_mt(walk: &Walk, state: &HookState, options: &Options) -> Answer {
    let asked = |name: &str, dev: Option<&IfName>| match options.find(name) {
        Some(option) => is_in_group(walk, dev, &option.value).inverted(option.invert),
        None => Answer::from(true),
    };
    asked("--src-group", state.indev.as_ref()).and(|| asked("--dst-group", state.outdev.as_ref()))
}

/// A packet without such a device is none that a rule could ask about: iptables refuses it in those chains.
fn is_in_group(walk: &Walk, dev: Option<&IfName>, asked: &str) -> Answer {
    let Some((wanted, mask)) = masked(asked) else {
        return Answer::unknown(format!("device group {asked} is the number of the packet's device's"));
    };
    let Some(dev) = dev else { return Answer::No };
    let link = walk.netns().link(dev);
    match link.and_then(|link| link.group.map(|group| (group, link))) {
        Some((group, link)) if (wanted ^ group) & mask == 0 => Answer::Yes(vec![link.evidence]),
        Some(_) => Answer::No,
        None => Answer::unknown(format!("{dev} of {} is in device group {asked}", walk.netns().dir)),
    }
}

/// `realm_mt` in `net/netfilter/xt_realm.c`. A route's realm comes from the route, from the rule that led to it and
/// from the route back (`fib_combine_itag` in `net/ipv4/fib_rules.c`): where none of them names one, it is 0.
pub(super) fn realm_mt(walk: &Walk, options: &Options) -> Answer {
    let (text, invert) = (value(options, "--realm"), inverts(options, "--realm"));
    let (netns, packet) = (walk.netns(), walk.packet());
    let of_routes = netns.routes.iter().flat_map(Routes::rows).any(|route| route.realms.is_some());
    let of_rules = netns.rules.iter().flatten().any(|rule| rule.realms.is_some());
    let known = netns.routes.is_some() && !of_routes && !of_rules && packet.family() == Family::Inet;
    match masked(text) {
        // The number is compared with what the mask leaves.
        Some((wanted, _)) if known => Answer::from((wanted == 0) != invert),
        _ => {
            let (from, to) = (packet.ip.source, packet.ip.destination);
            Answer::unknown(format!("the route of {from} > {to} in {} is of realm {text}", netns.dir)).inverted(invert)
        }
    }
}

/// `cpu_mt` in `net/netfilter/xt_cpu.c`.
pub(super) fn cpu_mt(options: &Options) -> Answer {
    let what = format!("processor {} handles the packet", value(options, "--cpu"));
    Answer::unknowable(what).inverted(inverts(options, "--cpu"))
}

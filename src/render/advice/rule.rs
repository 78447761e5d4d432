//! What to do about rules, and about what rules would have done.

use crate::trace::{EndCause, NotRewritten};

use super::{At, Case};

/// Rules that Kubernetes writes are changed by changing what they were made of.
pub(super) fn rule_advice(at: &At<'_>, rule: &str) -> String {
    let At { place, source, destination, .. } = at;
    if rule.contains("has no endpoints") || rule.contains("has no local endpoints") {
        "`kubectl get endpointslices,pods -A -o wide`: the service has no ready pod (on this node) behind it".to_owned()
    } else if ["KUBE-NWPLCY", "KUBE-POD-FW", "-A cali-"].iter().any(|chain| rule.contains(chain)) {
        format!("`kubectl get networkpolicies -A`: one that selects {source} or {destination} doesn't allow this")
    } else {
        format!("put a rule that accepts {source} to {destination} before this one {place}")
    }
}

/// A packet to a service's address that no rule rewrote: no route to that address is missing, none is meant to be.
pub(super) fn service_advice(at: &At<'_>, why: NotRewritten) -> String {
    let At { destination, save, .. } = at;
    match why {
        NotRewritten::NoPorts => {
            format!("ask for one of the service's ports, named above: {destination} is the address of no machine")
        }
        NotRewritten::OtherPort => {
            "ask for one of the service's ports, named above, or add this one to the service".to_owned()
        }
        NotRewritten::NoRule => format!(
            "`{save} -t nat` on the nodes: no rule for {destination}; see that kube-proxy runs there, and that the \
             service has endpoints"
        ),
    }
}

/// An answer to an address that whoever was asked can't reach.
pub(super) fn no_way_back(at: &At<'_>) -> String {
    let At { destination, save, .. } = at;
    format!(
        "masquerade the packet where it leaves the cluster, or give the network there a route back to {destination}: \
         `{save} -t nat` shows whether a MASQUERADE rule is missing"
    )
}

/// A message that asks for the neighbour, and that a rule stopped.
pub(super) fn stopped_message(case: &Case<'_>, at: &At<'_>) -> Option<String> {
    let is_rule = |line: &&str| line.starts_with("-A ") || line.starts_with('[');
    let stopped = matches!(at.cause, Some(EndCause::MessageStopped { .. }));
    let ends = stopped && case.decided.iter().any(is_rule);
    ends.then(|| {
        "put a rule before this one that accepts the messages which ask for neighbours: `-p ipv6-icmp --icmpv6-type \
         135 -j ACCEPT`, and the same with 136"
            .to_owned()
    })
}

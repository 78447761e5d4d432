//! What IPsec and IPVS do with a packet, of which no snapshot holds the tables.

use crate::net::Family;
use crate::snapshot::Options;

use super::super::netfilter::HookState;
use super::super::sysctl;
use super::super::walk::Walk;
use super::Answer;
use super::other::{inverts, value};

/// `policy_mt` in `net/netfilter/xt_policy.c`. The walk carries packets as if no policy stood anywhere; a rule that
/// asks for one is the only sign that there may be some.
pub(super) fn policy_mt(walk: &Walk, state: &HookState, options: &Options) -> Answer {
    let (dir, none) = (value(options, "--dir"), value(options, "--pol") == "none");
    if dir == "out" && is_exempt(walk, state) {
        return Answer::from(none);
    }
    let (place, ip) = (walk.place(), walk.packet().ip);
    let at = format!("{} > {} at {} {}", ip.source, ip.destination, place.node, place.name);
    let took = if dir == "in" { "has unpacked" } else { "will pack" };
    let elements = options.list.iter().any(|option| !matches!(option.name, "--dir" | "--pol"));
    let how = if elements { format!(" as `{options}` asks") } else { String::new() };
    Answer::unknown(format!("IPsec {took} {at}{how} (no snapshot holds `ip xfrm`)")).inverted(none)
}

/// Whether the outgoing device's routes know no policies (`DST_NOXFRM` in `net/ipv4/route.c`), as loopback's don't.
fn is_exempt(walk: &Walk, state: &HookState) -> bool {
    let Some(dev) = state.outdev.as_ref().filter(|_| state.family == Family::Inet) else { return false };
    let set = sysctl::device(walk.netns(), Family::Inet, dev, "disable_xfrm");
    set.map_or(dev.as_str() == "lo", |(value, _)| value != 0)
}

/// `ipvs_mt` in `net/netfilter/xt_ipvs.c`: a packet that IPVS hasn't handled matches `! --ipvs` alone.
pub(super) fn ipvs_mt(walk: &Walk, options: &Options) -> Answer {
    let (place, ip) = (walk.place(), walk.packet().ip);
    let at = format!("{} > {} at {} {}", ip.source, ip.destination, place.node, place.name);
    let alone = options.list.iter().all(|option| option.name == "--ipvs");
    let how = if alone { String::new() } else { format!(" as `{options}` asks") };
    let what = format!("IPVS has handled {at}{how} (no snapshot holds its tables)");
    Answer::unknown(what).inverted(alone && inverts(options, "--ipvs"))
}

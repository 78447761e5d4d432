//! Kernel settings as the stages ask for them.

use crate::evidence::Evidence;
use crate::net::{Family, IfName};
use crate::snapshot::{Netns, conf_key};

use super::walk::Walk;

/// A setting's value and line, where the file has it.
pub(super) fn number(netns: &Netns, key: &str) -> Option<(i64, Evidence)> {
    netns.sysctls.as_ref()?.number(key)
}

/// A setting that is 0 in a kernel nobody touched, and that rarely is anything else: absent means that.
pub(super) fn is_set(netns: &Netns, key: &str) -> bool {
    number(netns, key).is_some_and(|(value, _)| value != 0)
}

/// A per-device setting, by its last word: `net.ipv4.conf.<dev>.<word>`.
pub(super) fn device(netns: &Netns, family: Family, dev: &IfName, word: &str) -> Option<(i64, Evidence)> {
    netns.sysctls.as_ref()?.conf(family, dev, word)
}

/// The larger of a setting for all devices and for one (`IN_DEV_MAXCONF`), with the line that won.
pub(super) fn max_of_all(netns: &Netns, dev: &IfName, word: &str) -> Option<(i64, Evidence)> {
    let all = number(netns, &conf_key(Family::Inet, "all", word));
    let own = device(netns, Family::Inet, dev, word);
    match (all, own) {
        (Some(all), Some(own)) => Some(if all.0 > own.0 { all } else { own }),
        (all, own) => all.or(own),
    }
}

/// Whether a setting is on for all devices or for one (`IN_DEV_ORCONF`).
pub(super) fn any_of_all(netns: &Netns, dev: &IfName, word: &str) -> bool {
    max_of_all(netns, dev, word).is_some_and(|(value, _)| value != 0)
}

/// The ports that sockets get by themselves; the kernel's default where the file doesn't say.
pub(super) fn local_port_range(netns: &Netns) -> (u16, u16) {
    let range = netns.sysctls.as_ref().and_then(|sysctls| sysctls.get("net.ipv4.ip_local_port_range"));
    let mut ends = range.into_iter().flat_map(|range| range.value.split_whitespace()).map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(low)), Some(Ok(high))) => (low, high),
        _ => (32768, 60999),
    }
}

/// A setting that decides: where the snapshot lacks it, the walk goes on with `otherwise` and can't be sure any more.
pub(super) fn decisive(walk: &mut Walk, key: &str, otherwise: i64) -> (i64, Option<Evidence>) {
    let netns = walk.netns();
    if let Some((value, evidence)) = number(netns, key) {
        return (value, Some(evidence));
    }
    let what = match netns.sysctls {
        Some(_) => format!("{}/sysctl does not say {key}; {otherwise} is taken", netns.dir),
        None => format!("{}: {key} is not known; {otherwise} is taken", netns.lacks("sysctl")),
    };
    walk.doubt(what, None);
    (otherwise, None)
}

/// Whether packets that come in by a device may be forwarded (`IN_DEV_FORWARD` in `include/linux/inetdevice.h`; for
/// IPv6 the setting for all devices counts, and since Linux 6.17 the device's `force_forwarding`, see `ip6_forward` in
/// `net/ipv6/ip6_output.c`).
pub(super) fn forwarding(walk: &mut Walk, family: Family, dev: &IfName) -> (bool, Option<Evidence>) {
    if family == Family::Inet6 {
        if let Some((1.., line)) = device(walk.netns(), family, dev, "force_forwarding") {
            return (true, Some(line));
        }
        let (value, line) = decisive(walk, "net.ipv6.conf.all.forwarding", 1);
        return (value != 0, line);
    }
    if let Some((value, line)) = device(walk.netns(), family, dev, "forwarding") {
        return (value != 0, Some(line));
    }
    let (value, line) = decisive(walk, "net.ipv4.ip_forward", 1);
    (value != 0, line)
}

//! Extensions of which only the options are kept: which file knows what they ask, and how their values are read.

use crate::snapshot::Options;

use super::super::netfilter::HookState;
use super::super::walk::Walk;
use super::{Answer, device, exthdr, header, ipsec, kept, payload, rate, socket, time};

pub(super) fn ask(walk: &mut Walk, state: &HookState, options: &Options) -> Answer {
    match options.name {
        "limit" | "hashlimit" | "quota" | "rateest" | "connlimit" | "nfacct" => rate::ask(walk, options),
        "connbytes" => kept::connbytes_mt(walk, options),
        "connlabel" => kept::connlabel_mt(walk, options),
        "helper" => kept::helper_mt(walk, options),
        "cluster" => kept::cluster_mt(walk, options),
        "frag" | "rt" | "hbh" | "dst" | "srh" | "ipv6header" | "eui64" | "mh" | "ah" | "esp" | "ipcomp" => {
            exthdr::ask(walk, options)
        }
        "devgroup" => device::devgroup_mt(walk, state, options),
        "realm" => device::realm_mt(walk, options),
        "cpu" => device::cpu_mt(options),
        "policy" => ipsec::policy_mt(walk, state, options),
        "ipvs" => ipsec::ipvs_mt(walk, options),
        "socket" => socket::socket_mt(walk, options),
        "cgroup" => socket::cgroup_mt(walk, state, options),
        "osf" => socket::osf_match(walk, options),
        "tcpmss" => header::tcpmss_mt(walk, options),
        "string" => payload::string_mt(walk, options),
        "u32" => payload::u32_mt(walk, options),
        "bpf" => payload::bpf_mt(walk, options),
        "time" => time::time_mt(walk, options),
        _ => Answer::unknowable(format!("`-m {options}` matches, which no snapshot tells")),
    }
}

/// Whether what an extension asks is always known, whatever the packet is.
pub(in super::super) fn is_exact(options: &Options) -> bool {
    matches!(options.name, "frag" | "rt" | "hbh" | "dst" | "srh" | "ipv6header" | "eui64" | "devgroup" | "cluster")
}

/// Whether asking changes what a later rule is answered.
pub(super) fn writes(options: &Options) -> bool {
    options.name == "connlabel" && options.find("--set").is_some()
}

/// A number as `iptables-save` prints it, decimal or hexadecimal, or by the name that every system has for 0: of a
/// device's group, and of a realm.
pub(in super::super) fn number(text: &str) -> Option<u32> {
    let text = text.trim_matches('"');
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if matches!(text, "default" | "cosmos") => Some(0),
        None => text.parse().ok(),
    }
}

/// A number with a mask behind a slash, or without.
pub(in super::super) fn masked(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// The value of an option; nothing where it isn't given.
pub(in super::super) fn value<'o>(options: &'o Options, name: &str) -> &'o str {
    options.find(name).map_or("", |option| &option.value)
}

/// Whether an option is given, and not with `!` before it.
pub(in super::super) fn has(options: &Options, name: &str) -> bool {
    options.find(name).is_some_and(|option| !option.invert)
}

/// Whether an option stands there with `!` before it.
pub(super) fn inverts(options: &Options, name: &str) -> bool {
    options.find(name).is_some_and(|option| option.invert)
}

//! Extensions that ask what a connection keeps beside its tuples.

use std::net::IpAddr;

use crate::snapshot::Options;

use super::super::conntrack::{self, Nfct};
use super::super::conntrack_kept::Counters;
use super::super::jhash::{jhash, reciprocal_scale};
use super::super::walk::Walk;
use super::Answer;
use super::other::{has, inverts, number, value};

/// `connbytes_mt` in `net/netfilter/xt_connbytes.c`. A packet is counted before the first rule that can ask.
pub(super) fn connbytes_mt(walk: &Walk, options: &Options) -> Answer {
    let Some(entry) = conntrack::entry(walk) else { return Answer::No };
    let counters = match entry.kept.counters {
        Counters::Counted(counters) => counters,
        Counters::Off => return Answer::No,
        Counters::Unknown => {
            return Answer::unknowable(format!("the connection has carried what `{options}` asks for"));
        }
    };
    let [original, reply] = counters;
    let (packets, bytes) = match value(options, "--connbytes-dir") {
        "original" => original,
        "reply" => reply,
        _ => (original.0.saturating_add(reply.0), original.1.saturating_add(reply.1)),
    };
    let what = match value(options, "--connbytes-mode") {
        "packets" => packets,
        "bytes" => bytes,
        _ => bytes.checked_div(packets).unwrap_or(0),
    };
    let (low, high) = bounds(value(options, "--connbytes"));
    if value(options, "--connbytes") == "0" && !inverts(options, "--connbytes") && what > 0 {
        return Answer::unknown(format!("`{options}` has no upper bound: iptables-save prints 0:0 the same way"));
    }
    // The kernel is told of a negation by the bounds' order, which one number doesn't have.
    let invert = inverts(options, "--connbytes") && low != high;
    Answer::from((low..=high).contains(&what) != invert)
}

fn bounds(text: &str) -> (u64, u64) {
    let (low, high) = text.split_once(':').unwrap_or((text, ""));
    (low.parse().unwrap_or(0), high.parse().unwrap_or(u64::MAX))
}

/// `connlabel_mt` in `net/netfilter/xt_connlabel.c`.
pub(super) fn connlabel_mt(walk: &mut Walk, options: &Options) -> Answer {
    let invert = inverts(options, "--label");
    let Nfct::Entry(ct) = walk.skb.nfct else { return Answer::from(invert) };
    let bit = number(value(options, "--label")).and_then(|label| 1u128.checked_shl(label)).unwrap_or(0);
    let Some(entry) = walk.tracker.entries.get_mut(ct.id) else { return Answer::from(invert) };
    let Some(labels) = &mut entry.kept.labels else {
        let (from, to) = (entry.original.source, entry.original.destination);
        let set = if has(options, "--set") { ", or can have it set" } else { "" };
        let label = value(options, "--label");
        return Answer::unknown(format!("the connection {from} > {to} has the label {label}{set}")).inverted(invert);
    };
    if has(options, "--set") {
        *labels |= bit;
    }
    Answer::from((*labels & bit != 0) != invert)
}

/// `helper_mt` in `net/netfilter/xt_helper.c`: whether a connection was opened because another one said that it would
/// be. A connection that begins is not: where it were, tracking would call it related.
pub(super) fn helper_mt(walk: &Walk, options: &Options) -> Answer {
    let invert = inverts(options, "--helper");
    let entry = conntrack::entry(walk).filter(|entry| entry.expected || entry.evidence.is_some());
    let Some(entry) = entry else { return Answer::from(invert) };
    let (from, to) = (entry.original.source, entry.original.destination);
    let name = value(options, "--helper");
    Answer::unknown(format!("the connection {from} > {to} was announced to the helper {name}")).inverted(invert)
}

/// `xt_cluster_mt` in `net/netfilter/xt_cluster.c`: which node's turn a connection is, by a hash of who opened it; of
/// an IPv6 address the first four octets, since `xt_cluster_hash_ipv6` divides a number of words by the size of one.
pub(super) fn cluster_mt(walk: &Walk, options: &Options) -> Answer {
    let Some(entry) = conntrack::entry(walk) else { return Answer::No };
    let asked = |name: &str| number(value(options, name)).unwrap_or(0);
    let seed = asked("--cluster-hash-seed");
    let hash = match entry.original.source {
        IpAddr::V4(source) => jhash(&source.octets(), seed),
        IpAddr::V6(source) => jhash(source.octets().first_chunk::<4>().map_or(&[], |start| &start[..]), seed),
    };
    let node = reciprocal_scale(hash, asked("--cluster-total-nodes"));
    let ours = asked("--cluster-local-nodemask") & 1u32.checked_shl(node).unwrap_or(0) != 0;
    Answer::from(ours != inverts(options, "--cluster-local-nodemask"))
}

//! Rates and counts that the kernel keeps for a rule and no snapshot holds.

use crate::snapshot::{Options, TableFile};

use super::super::walk::Walk;
use super::Answer;
use super::other::{has, inverts, number, value};

pub(super) fn ask(walk: &Walk, options: &Options) -> Answer {
    match options.name {
        "limit" => limit_mt(options),
        "hashlimit" => hashlimit_mt(walk, options),
        "quota" => quota_mt(walk, options),
        "connlimit" => connlimit_mt(walk, options),
        "nfacct" => nfacct_mt(walk, options),
        _ => rateest_mt(options),
    }
}

/// `limit_mt` in `net/netfilter/xt_limit.c`: a bucket that fills with time.
fn limit_mt(options: &Options) -> Answer {
    Answer::unknowable(format!("the bucket of `{options}` has a packet left"))
}

/// `hashlimit_mt` in `net/netfilter/xt_hashlimit.c`: a bucket for each key that `--hashlimit-mode` names.
fn hashlimit_mt(walk: &Walk, options: &Options) -> Answer {
    let packet = walk.packet();
    let port = |port: Option<u16>| port.map_or("?".to_owned(), |port| port.to_string());
    let shown = |mode: &str| match mode {
        "srcip" => packet.ip.source.to_string(),
        "dstip" => packet.ip.destination.to_string(),
        "srcport" => port(packet.source_port()),
        _ => port(packet.destination_port()),
    };
    let modes = value(options, "--hashlimit-mode").split(',').filter(|mode| !mode.is_empty());
    let key: Vec<String> = modes.map(|mode| format!("{mode} {}", shown(mode))).collect();
    let key = if key.is_empty() { String::new() } else { format!(" for {}", key.join(", ")) };
    let (above, name) = (has(options, "--hashlimit-above"), value(options, "--hashlimit-name"));
    let rate = value(options, if above { "--hashlimit-above" } else { "--hashlimit-upto" });
    Answer::unknowable(format!("hashlimit table {name} has seen at most {rate}{key}")).inverted(above)
}

/// `quota_mt` in `net/netfilter/xt_quota.c`. A rule set shows the quota as it was at first, and it only gets less.
fn quota_mt(walk: &Walk, options: &Options) -> Answer {
    let (quota, invert) = (value(options, "--quota"), inverts(options, "--quota"));
    let length = walk.packet().length;
    if quota.parse().is_ok_and(|quota: u64| quota < u64::from(length)) {
        return Answer::No.inverted(invert);
    }
    Answer::unknowable(format!("{length} bytes of the rule's quota of {quota} are left")).inverted(invert)
}

/// `connlimit_mt` in `net/netfilter/xt_connlimit.c`: how many of the connections that the rule has seen are still
/// there, with the packet's own. That one is there for sure; of the others the table of connections tells too little,
/// since the kernel forgets those that are over only a few at a time (`__nf_conncount_add`).
fn connlimit_mt(walk: &Walk, options: &Options) -> Answer {
    let upto = has(options, "--connlimit-upto");
    let most = value(options, if upto { "--connlimit-upto" } else { "--connlimit-above" });
    if number(most) == Some(0) {
        return Answer::from(!upto);
    }
    let (ip, daddr) = (walk.packet().ip, has(options, "--connlimit-daddr"));
    let (side, addr) = if daddr { ("to", ip.destination) } else { ("from", ip.source) };
    let mask = value(options, "--connlimit-mask");
    let what = format!("more than {most} connections {side} {addr}/{mask} have passed this rule and are still open");
    Answer::unknowable(what).inverted(upto)
}

/// `nfacct_mt` in `net/netfilter/xt_nfacct.c`: only an object with a quota that isn't used up doesn't match.
fn nfacct_mt(walk: &Walk, options: &Options) -> Answer {
    let name = value(options, "--nfacct-name").trim_matches('"');
    let netns = walk.netns();
    let known = netns.nfacct.as_ref().map_or(Ok(None), |objects| objects.get(name).map(Some).ok_or(()));
    let what = format!("the accounting object {name} has no quota, or has used it up");
    let object = match known {
        Ok(None) => return Answer::unknown(format!("{what} ({})", netns.lacks("nfacct"))),
        Err(()) => return Answer::unknown(format!("{what} ({}/nfacct doesn't hold it)", netns.dir)),
        Ok(Some(object)) => object,
    };
    let (least, most) = walk.length_range();
    match netns.unread_rows(TableFile::Nfacct).next() {
        None if object.matches(1, least) => Answer::Yes(vec![object.evidence]),
        None if !object.matches(MOST_OWN, most) => Answer::No,
        _ => Answer::unknown(what),
    }
}

/// So many packets a walk may have an object count, with answers and what passes a rule several times.
const MOST_OWN: u32 = 64;

/// `xt_rateest_mt` in `net/netfilter/xt_rateest.c`.
fn rateest_mt(options: &Options) -> Answer {
    Answer::unknowable(format!("the estimated rates are what `{options}` asks for"))
}

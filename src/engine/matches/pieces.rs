//! Rules that see each piece of a packet for itself.

use crate::snapshot::{Backend, Match, Rule};

use super::super::netfilter::HookState;
use super::super::walk::Walk;
use super::{Answer, ask};

/// Whether a rule may match one piece of the packet and not another: nothing that it asks is answered no for all.
pub(super) fn part(walk: &mut Walk, backend: Backend, state: &HookState, rule: &Rule) -> bool {
    let mut may_differ = rule.selector.fragment.is_some();
    for one in &rule.matches {
        // iptables-nft makes native expressions of these (`nft_add_tcpudp` in `iptables/nft-shared.c`), for which the
        // kernel reads ports and flags out of whatever a later piece holds (`nft_payload_fast_eval` in
        // `nf_tables_core.c`).
        let native = backend == Backend::Nft && matches!(one, Match::Tcp(_) | Match::Udp(_));
        match of_all(walk, state, one).filter(|_| !native) {
            Some(false) => return false,
            Some(true) => {}
            None => may_differ = true,
        }
    }
    may_differ
}

/// What all pieces are answered; `None` where the answers may differ.
fn of_all(walk: &mut Walk, state: &HookState, one: &Match) -> Option<bool> {
    match one {
        // A later piece, which has no such header, never matches, negated or not (`par->fragoff` in `tcp_mt`, `udp_mt`
        // and their kin).
        Match::Tcp(_)
        | Match::Udp(_)
        | Match::Sctp(_)
        | Match::Dccp(_)
        | Match::Multiport(_)
        | Match::Icmp(_)
        | Match::Icmp6(_) => known(&ask(walk, state, one)).filter(|matches| !matches),
        Match::Length(test) => {
            let (low, high) = test.value;
            let [first, last] =
                walk.seen_lengths().map(|length| test.of((u32::from(low)..=u32::from(high)).contains(&length)));
            (first == last).then_some(first)
        }
        Match::Ecn(ecn) if ecn.ece.is_some() || ecn.cwr.is_some() => None,
        Match::Mark(_)
        | Match::Ttl(..)
        | Match::Hl(..)
        | Match::Tos(_)
        | Match::Dscp(_)
        | Match::Ecn(_)
        | Match::Iprange(_)
        | Match::PktType(_)
        | Match::MacSource(_)
        | Match::Physdev(_)
        | Match::Addrtype(_)
        | Match::Rpfilter(_)
        | Match::Comment(_) => known(&ask(walk, state, one)),
        Match::Other(options) if matches!(options.name, "devgroup" | "realm" | "eui64") => {
            known(&ask(walk, state, one))
        }
        _ => None,
    }
}

fn known(answer: &Answer) -> Option<bool> {
    match answer {
        Answer::Yes(_) => Some(true),
        Answer::No => Some(false),
        Answer::Chance(_) | Answer::Unknown(_) => None,
    }
}

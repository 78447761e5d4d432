//! `SNPT` and `DNPT`: one prefix of IPv6 in place of another, so that checksums stay as they are
//! (`net/ipv6/netfilter/ip6t_NPT.c`, RFC 6296).

use std::net::{IpAddr, Ipv6Addr};

use crate::net::{Packet, Transport};
use crate::snapshot::{Options, Rule};
use crate::trace::{Decision, NatChange, Reason, RuleVerdict};

use super::super::end::{End, Stage};
use super::super::iptables::{Change, Record};
use super::super::matches::value;
use super::super::walk::Walk;
use super::Action;

/// A prefix of IPv6.
type Prefix = (Ipv6Addr, u8);

/// What `struct ip6t_npt_tginfo` holds.
struct Npt {
    src: Prefix,
    dst: Prefix,
    adjustment: u16,
}

/// `ip6t_snpt_tg` and `ip6t_dnpt_tg`.
pub(super) fn npt(walk: &mut Walk, options: &Options, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    let npt = prefix(value(options, "--src-pfx")).zip(prefix(value(options, "--dst-pfx"))).map(Npt::new);
    let change = if options.name == "SNPT" { NatChange::Snat } else { NatChange::Dnat };
    let ip = walk.packet().ip;
    let (IpAddr::V6(addr), Some(npt)) = (if change == NatChange::Snat { ip.source } else { ip.destination }, npt)
    else {
        record.take(walk, RuleVerdict::Continue, Change::default());
        return Ok(Action::Continue);
    };
    let Some(mapped) = npt.map(addr) else {
        record.take(walk, RuleVerdict::Drop, Change::default());
        // `icmpv6_send(skb, ICMPV6_PARAMPROB, ICMPV6_HDR_FIELD, …)`.
        return Err(End::icmp(Reason::Rule, 4, 0).because([rule.evidence]));
    };
    record.take(walk, RuleVerdict::Continue, Change::default());
    let sums = [addr, mapped].map(|addr| fold(sum(addr)) % 0xffff);
    let is_summed =
        matches!(walk.packet().transport, Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Icmp { .. });
    if is_summed && sums.first() != sums.last() {
        let what = format!(
            "{} puts {mapped} in place of {addr}, which is not in its --src-pfx: the packet's checksum fits no longer, and \
             whether somebody checks it is not known",
            options.name
        );
        walk.doubt(what, Some(rule.evidence));
        walk.skb.unfit_sum = true;
    }
    rewrite(walk, rule, change, (addr, mapped), &npt);
    Ok(Action::Continue)
}

fn rewrite(walk: &mut Walk, rule: &Rule, change: NatChange, (from, to): (Ipv6Addr, Ipv6Addr), npt: &Npt) {
    let mut packet = walk.packet().clone();
    let snat = change == NatChange::Snat;
    *(if snat { &mut packet.ip.source } else { &mut packet.ip.destination }) = IpAddr::V6(to);
    let port = if snat { packet.source_port() } else { packet.destination_port() };
    if let Transport::Icmp { quoted: Some(quoted), .. } = &mut packet.transport {
        npt.map_quoted(quoted, change);
    }
    if packet == *walk.packet() {
        return;
    }
    let decision = Decision::Nat {
        change,
        to: Box::new(packet),
        from_endpoint: (IpAddr::V6(from), port),
        to_endpoint: (IpAddr::V6(to), port),
    };
    walk.take(decision, [rule.evidence]);
}

fn prefix(text: &str) -> Option<Prefix> {
    let (addr, length) = text.split_once('/')?;
    Some((addr.parse().ok()?, length.parse().ok().filter(|length| *length <= 64)?))
}

impl Npt {
    fn new((src, dst): (Prefix, Prefix)) -> Self {
        // `csum_sub`: what the new prefix adds less than the old one.
        let adjustment = fold(sum(src.0) + (0xffff - u32::from(fold(sum(dst.0)))));
        Self { src, dst, adjustment }
    }

    /// `ip6t_npt_map_pfx`.
    fn map(&self, addr: Ipv6Addr) -> Option<Ipv6Addr> {
        let length = self.src.1.max(self.dst.1);
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        let mut words = Ipv6Addr::from_bits((addr.to_bits() & !mask) | (self.dst.0.to_bits() & mask)).segments();
        let place = if length <= 48 { Some(3) } else { (4..8).find(|place| words.get(*place) != Some(&0xffff)) };
        let word = words.get_mut(place?)?;
        *word = match fold(u32::from(*word) + u32::from(self.adjustment)) {
            0xffff => 0,
            sum => sum,
        };
        Some(Ipv6Addr::from(words))
    }

    /// The packet that an error is about was sent to, or came from, where the prefix was mapped from.
    fn map_quoted(&self, quoted: &mut Packet, change: NatChange) {
        let end = if change == NatChange::Snat { &mut quoted.ip.destination } else { &mut quoted.ip.source };
        let IpAddr::V6(addr) = *end else { return };
        let mask = u128::MAX.checked_shl(128 - u32::from(self.src.1)).unwrap_or(0);
        if addr.to_bits() & mask == self.src.0.to_bits() {
            *end = IpAddr::V6(self.map(addr).unwrap_or(addr));
        }
    }
}

/// The words' sum.
fn sum(addr: Ipv6Addr) -> u32 {
    addr.segments().iter().map(|word| u32::from(*word)).sum()
}

/// A sum in one's complement.
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(src: &str, dst: &str, addr: &str) -> Option<String> {
        let npt = Npt::new((prefix(src).unwrap(), prefix(dst).unwrap()));
        npt.map(addr.parse().unwrap()).map(|addr| addr.to_string())
    }

    #[test]
    fn the_prefix_is_replaced_and_a_word_makes_up_for_it() {
        // The example of RFC 6296, section 3.1.
        let mapped = map("fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:1::1234");
        assert_eq!(mapped.unwrap(), "2001:db8:1:d550::1234");
        let back = map("2001:db8:1::/48", "fd01:203:405::/48", "2001:db8:1:d550::1234");
        assert_eq!(back.unwrap(), "fd01:203:405:1::1234");
    }

    #[test]
    fn a_longer_prefix_leaves_the_word_after_it() {
        let mapped = map("2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:1::99");
        assert_eq!(mapped.unwrap(), "2001:db8:2:0:fffe::99");
        // As the kernel does it.
        assert_eq!(map("2001:db8::/32", "2001:db8:2::/64", "2001:db8:9::7").unwrap(), "2001:db8:2:0:fffd::7");
        assert_eq!(map("2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:1:0:ffff:ffff:ffff:ffff"), None);
    }
}

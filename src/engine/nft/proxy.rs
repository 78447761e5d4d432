//! `tproxy` and `synproxy`, after which a socket or the kernel itself has the packet.

use crate::net::{Family, Protocol, Transport};
use crate::snapshot::nft::{Data, Expr, NftOffer, NftSynproxy};
use crate::trace::{Reason, RuleVerdict};

use super::super::end::{End, Stage};
use super::super::options;
use super::super::skb::Asked;
use super::super::synproxy::{self, Offers};
use super::super::walk::Walk;
use super::doubt::Holds;
use super::load::Break;
use super::statement::{Flow, Run};

impl<'a> Run<'a> {
    /// `nft_tproxy_eval` in `net/netfilter/nft_tproxy.c`: without a transparent socket the rule doesn't match.
    pub(super) fn tproxy(&mut self, walk: &mut Walk, family: Option<Family>, text: &str) -> Flow {
        let packet = self.packet(walk);
        let fits = family.is_none_or(|family| family == packet.family());
        if !fits || !matches!(packet.nft_protocol(), Protocol::TCP | Protocol::UDP) {
            return Flow::Break;
        }
        walk.ask_piece(Asked::First);
        let dir = &walk.netns().dir;
        let what = format!("a transparent socket of {dir} is there for `{text}` (no snapshot holds sockets)");
        walk.choose_unknown(what, Some(self.rule.evidence)).into()
    }

    /// `nft_synproxy_do_eval` in `net/netfilter/nft_synproxy.c`: the kernel answers whatever has SYN, and takes what else
    /// has ACK for an answer to its cookie.
    pub(super) fn synproxy(&mut self, walk: &mut Walk, offer: &'a NftOffer) -> Stage<Flow> {
        let Ok(offered) = self.offered(walk, offer) else { return Ok(Flow::Break) };
        let Transport::Tcp { flags, .. } = self.packet(walk).transport else { return Ok(Flow::Break) };
        if self.packet(walk).nft_protocol() != Protocol::TCP {
            return Ok(Flow::Break);
        }
        self.checksum(walk)?;
        let (opens, answers) = (flags & 0x02 != 0, flags & 0x10 != 0);
        let line = self.rule.evidence;
        if opens {
            self.record(walk, RuleVerdict::Stolen);
            Err(synproxy::answer(walk, Offers::of_statement(offered), line))
        } else if !answers {
            Ok(Flow::Next)
        } else if synproxy::has_cookie(walk, line) {
            self.record(walk, RuleVerdict::Stolen);
            Err(synproxy::open_to_server(walk, line))
        } else {
            self.record(walk, RuleVerdict::Drop);
            Err(End::dropped(Reason::Rule).because([line]))
        }
    }

    /// What is offered, where anybody knows. A map that has no object for the packet ends the rule (`nft_objref_map_eval` in
    /// `net/netfilter/nft_objref.c`).
    fn offered(&mut self, walk: &mut Walk, offer: &'a NftOffer) -> Result<Option<NftSynproxy>, Break> {
        let table = self.info.table;
        let of = |name: &str| table.synproxies.iter().find(|(own, _)| **own == *name).map(|(_, offered)| *offered);
        match offer {
            NftOffer::Rule(offered) => Ok(Some(*offered)),
            NftOffer::Object(name) => Ok(of(name)),
            NftOffer::Map(Expr::Map(key, set)) => match self.lookup(walk, key, set)? {
                Ok(Data::Opaque(name)) => Ok(of(&name)),
                Ok(_) => Ok(None),
                Err(doubt) => self.settle(walk, Holds::Unknown(doubt)).then_some(None).ok_or(Break),
            },
            NftOffer::Map(_) => Ok(None),
        }
    }

    /// The checksum of IPv6 is summed up as if it were IPv4's (`nf_ip_checksum`), which drops every segment whose device
    /// has not checked it before.
    fn checksum(&mut self, walk: &mut Walk) -> Stage<()> {
        let line = self.rule.evidence;
        let what = "a device has checked the segment's checksum, which synproxy takes for one of IPv4";
        let is_right = match self.packet(walk).family() {
            Family::Inet => options::sums_up(walk, line),
            Family::Inet6 => walk.choose_unknown(what, Some(line)),
        };
        if is_right {
            return Ok(());
        }
        self.record(walk, RuleVerdict::Drop);
        Err(End::dropped(Reason::Rule).because([line]))
    }
}

//! Runs one rule's statements over a packet, as `nft_do_chain` runs its expressions.

use crate::evidence::Evidence;
use crate::net::{Mark, Packet, Protocol, Transport};
use crate::snapshot::Direction;
use crate::snapshot::nft::{
    Data, Expr, Header, HeaderField, MetaKey, NftAside, NftReject, NftVerdict, SetRef, Statement,
};
use crate::snapshot::{LinkKind, NftChain, NftFamily, NftRule};
use crate::trace::{Decision, Reason, RuleVerdict, Verdict};

use super::super::conntrack;
use super::super::conntrack_tuple::{destination_endpoint, source_endpoint};
use super::super::conntrack_zone::Zone;
use super::super::end::{End, ErrorReply, Stage, Straight};
use super::super::options;
use super::super::skb::Asked;
use super::super::targets::{pass_program, sums_up};
use super::super::walk::{Walk, Why};
use super::Pktinfo;
use super::doubt::{Doubt, Holds, May};
use super::field::has_header;

/// How a rule goes on after a statement.
pub(super) enum Flow {
    /// With the next statement.
    Next,
    /// The rule doesn't match (`NFT_BREAK`).
    Break,
    /// It has a verdict.
    Verdict(NftVerdict),
    /// It has a verdict, and its step is recorded.
    Done(NftVerdict),
}

impl From<bool> for Flow {
    fn from(holds: bool) -> Self {
        if holds { Self::Next } else { Self::Break }
    }
}

/// One rule on one packet.
pub(super) struct Run<'a> {
    pub info: Pktinfo<'a>,
    pub chain: &'a NftChain,
    pub rule: &'a NftRule,
    /// The statement that runs, from 0.
    place: usize,
    /// The elements and other lines that decided.
    pub because: Vec<Evidence>,
    /// The packet as the rule has changed it so far.
    changed: Option<Packet>,
    /// Whether the rule surely matches, as far as it has run.
    pub certain: bool,
    /// A condition is being asked.
    pub matching: bool,
    /// Without this the condition that is being asked doesn't hold, whatever its answer is.
    pub may_lack: Option<Doubt>,
}

impl<'a> Run<'a> {
    pub(super) fn new(info: Pktinfo<'a>, chain: &'a NftChain, rule: &'a NftRule) -> Self {
        Self {
            info,
            chain,
            rule,
            place: 0,
            because: Vec::new(),
            changed: None,
            certain: true,
            matching: false,
            may_lack: None,
        }
    }

    /// The rule's verdict; `None` where it doesn't match.
    pub(super) fn run(mut self, walk: &mut Walk) -> Stage<Option<NftVerdict>> {
        let rule = self.rule;
        for (place, statement) in rule.statements.iter().enumerate() {
            self.place = place;
            match self.statement(walk, statement)? {
                Flow::Next => {}
                Flow::Break => {
                    self.keep_changes(walk);
                    return Ok(None);
                }
                Flow::Verdict(verdict) => return self.finish(walk, verdict).map(Some),
                Flow::Done(verdict) => return Ok(Some(verdict)),
            }
        }
        self.finish(walk, NftVerdict::Continue).map(Some)
    }

    /// The packet as the rule sees it.
    pub(super) fn packet<'w>(&'w self, walk: &'w Walk) -> &'w Packet {
        self.changed.as_ref().unwrap_or(walk.packet())
    }

    pub(super) fn packet_mut(&mut self, walk: &Walk) -> &mut Packet {
        self.changed.get_or_insert_with(|| walk.packet().clone())
    }

    /// Whether a condition of the rule says which header the frame has for the network.
    pub(super) fn tells_network(&self) -> bool {
        self.rule.statements.iter().any(|statement| match statement {
            Statement::Match(relation) => matches!(
                relation.left,
                Expr::Payload(Header::Ip | Header::Ip6 | Header::Vlan, _)
                    | Expr::Payload(Header::Ether, HeaderField::Type)
                    | Expr::Meta(MetaKey::Protocol)
            ),
            _ => false,
        })
    }

    /// How many of the rule's conditions are about a header's field.
    pub(super) fn asks(&self, header: Header, field: HeaderField) -> usize {
        let is_it = |statement: &&Statement| matches!(statement, Statement::Match(relation) if relation.left == Expr::Payload(header, field));
        self.rule.statements.iter().filter(is_it).count()
    }

    /// The rule as written.
    pub(super) fn text(&self) -> String {
        self.info.nft.rule_text(self.rule)
    }

    /// Runs a statement. Where the rule sees a piece of the packet, the others may take another way from here on.
    fn statement(&mut self, walk: &mut Walk, statement: &'a Statement) -> Stage<Flow> {
        let flow = self.evaluate(walk, statement)?;
        let part = match walk.skb.asked.take() {
            Asked::Common => false,
            Asked::First => !matches!(flow, Flow::Break),
            Asked::Each => true,
        };
        if part {
            walk.part_pieces(self.rule.evidence);
        }
        Ok(flow)
    }

    fn evaluate(&mut self, walk: &mut Walk, statement: &'a Statement) -> Stage<Flow> {
        Ok(match statement {
            Statement::Match(relation) => {
                self.matching = true;
                let holds = self.relation(walk, relation);
                self.matching = false;
                match (holds, self.may_lack.take()) {
                    (Ok(Holds::Yes), Some(lacking)) => self.settle_doubt(walk, &lacking).into(),
                    (Ok(holds), _) => self.settle(walk, holds).into(),
                    (Err(_), _) => Flow::Break,
                }
            }
            Statement::Verdict(NftVerdict::Continue) | Statement::Harmless(_) | Statement::Refused(_) => Flow::Next,
            Statement::Verdict(verdict) => Flow::Verdict(*verdict),
            Statement::Vmap(map) => return self.vmap(walk, &map.0, &map.1),
            Statement::Reject(with) => return self.reject(walk, *with),
            Statement::Nat(nat) => return self.nat(walk, nat),
            Statement::SetMark(value) => return self.set_mark(walk, value),
            Statement::SetCtMark(value) => return self.set_ct_mark(walk, value),
            Statement::SetCtZone(side, value) => return self.set_ct_zone(walk, *side, value),
            Statement::SetCtLabel(value) => return Ok(self.set_ct_label(walk, value)),
            Statement::SetRaw(base, offset, length, value) => {
                return self.set_raw(walk, (*base, *offset, *length), value);
            }
            Statement::SetPayload(header, field, value) => return self.set_payload(walk, *header, *field, value),
            Statement::SetPkttype(value) => return self.set_pkttype(walk, value),
            Statement::SetBroute(value) => return self.set_broute(walk, value),
            Statement::RedirectFrame { has_verdict } => return self.redirect_frame(walk, *has_verdict),
            Statement::Notrack => {
                conntrack::set_untracked(walk);
                Flow::Next
            }
            Statement::Limit(limit) => self.limit(walk, limit).into(),
            Statement::Unknowable(text) => self.unknowable(walk, text).into(),
            Statement::Quota(quota) => self.quota(walk, quota).into(),
            Statement::Dynset(dynset) => self.dynset(walk, dynset).into(),
            Statement::Aside(aside) => self.aside(walk, aside).into(),
            Statement::Tproxy { family, text } => self.tproxy(walk, *family, text),
            Statement::Synproxy(offer) => return self.synproxy(walk, offer),
            Statement::Fwd(fwd) => return self.fwd(walk, fwd),
            Statement::FlowAdd(text) => self.flow_add(walk, text),
            Statement::Unmodelled(text) | Statement::Unread(text) => return self.unmodelled(walk, text),
        })
    }

    /// Whether nothing but counting and logging comes after this statement.
    fn rest_is_harmless(&self) -> bool {
        self.rule.statements.iter().skip(self.place + 1).all(Statement::is_harmless)
    }

    /// Chooses where a condition leaves it open.
    pub(super) fn settle(&mut self, walk: &mut Walk, holds: Holds) -> bool {
        match holds {
            Holds::Yes => true,
            Holds::No => false,
            Holds::Unknown(doubt) => self.settle_doubt(walk, &doubt),
        }
    }

    fn settle_doubt(&mut self, walk: &mut Walk, doubt: &Doubt) -> bool {
        if let May::Holds { invert } = doubt.may {
            return self.ask(walk, doubt.what.clone(), doubt.fact).is_none_or(|so| so != invert);
        }
        let part = if self.place == 0 { String::new() } else { format!("part {} of ", self.place + 1) };
        let what = format!("{} is what {part}`{}` asks for", doubt.what, self.text());
        self.ask(walk, what, doubt.fact).unwrap_or(true)
    }

    /// Whether something is so that nobody can know. `None` where it changes nothing: whether a rule that does nothing
    /// matched, which is marked where its step is recorded.
    pub(super) fn ask(&mut self, walk: &mut Walk, what: String, fact: bool) -> Option<bool> {
        if fact && let Some(known) = answered(walk, &what) {
            return Some(known == 0);
        }
        if self.rest_is_harmless() {
            self.certain = false;
            walk.gap(format!("a rule without effect matches if {what}"), [self.rule.evidence]);
            return None;
        }
        Some(walk.choose_unknown(what, Some(self.rule.evidence)))
    }

    /// A limit and its kin: whether they let the packet through, no snapshot says.
    pub(super) fn unknowable(&mut self, walk: &mut Walk, text: &str) -> bool {
        walk.ask_piece(Asked::Each);
        self.ask(walk, format!("`{text}` matches, which no snapshot tells"), false).unwrap_or(true)
    }

    /// A statement without effect, which ends the rule where the packet lacks what it needs (`NFT_BREAK`). Whether the
    /// rule goes on.
    fn aside(&mut self, walk: &mut Walk, aside: &'a NftAside) -> bool {
        if aside.header.is_some_and(|header| !has_header(self.packet(walk), header)) {
            return false;
        }
        if aside.header.is_some() {
            walk.ask_piece(Asked::First);
        }
        for value in &aside.values {
            let holds = match value {
                Expr::Map(key, set) => match self.lookup(walk, key, set) {
                    Err(_) => Holds::No,
                    Ok(Ok(_)) => Holds::Yes,
                    Ok(Err(doubt)) => Holds::Unknown(doubt),
                },
                // Which number it is changes nothing.
                Expr::Numgen { .. } | Expr::Jhash { .. } | Expr::Symhash { .. } => Holds::Yes,
                value => self.load(walk, value).is_ok().into(),
            };
            if !self.settle(walk, holds) {
                return false;
            }
        }
        self.write_beside(walk, aside);
        self.copy(walk, aside);
        true
    }

    fn vmap(&mut self, walk: &mut Walk, key: &'a Expr, set: &'a SetRef) -> Stage<Flow> {
        match self.lookup(walk, key, set) {
            Err(_) => Ok(Flow::Break),
            Ok(Ok(Data::Verdict(NftVerdict::Continue))) => Ok(Flow::Next),
            Ok(Ok(Data::Verdict(verdict))) => Ok(Flow::Verdict(verdict)),
            Ok(Ok(_)) => Err(self.undetermined(walk, "what a verdict map holds is not modelled")),
            Ok(Err(doubt)) => {
                let what = format!("{} decides which verdict `{}` gives", doubt.what, self.text());
                Err(self.undetermined(walk, &what))
            }
        }
    }

    fn set_mark(&mut self, walk: &mut Walk, value: &'a Expr) -> Stage<Flow> {
        let Some(mark) = self.value(walk, value)? else { return Ok(Flow::Break) };
        self.packet_mut(walk).mark = Mark(low_bits(mark));
        Ok(Flow::Next)
    }

    fn set_ct_mark(&mut self, walk: &mut Walk, value: &'a Expr) -> Stage<Flow> {
        let Some(mark) = self.value(walk, value)? else { return Ok(Flow::Break) };
        conntrack::set_mark(walk, Mark(low_bits(mark)));
        Ok(Flow::Next)
    }

    fn set_ct_zone(&mut self, walk: &mut Walk, side: Option<Direction>, value: &'a Expr) -> Stage<Flow> {
        let Some(zone) = self.value(walk, value)? else { return Ok(Flow::Break) };
        conntrack::set_template(walk, Zone::of_side(u16::try_from(zone & 0xffff).unwrap_or(0), side));
        Ok(Flow::Next)
    }

    /// Labels are added to those that are there (`nf_connlabels_replace`).
    fn set_ct_label(&mut self, walk: &mut Walk, value: &'a Expr) -> Flow {
        let Ok(fields) = self.load(walk, value) else { return Flow::Break };
        conntrack::set_labels(walk, fields.into_iter().next().and_then(Result::ok));
        Flow::Next
    }

    /// A value that something is set to; `None` where the rule breaks off.
    pub(super) fn value(&mut self, walk: &mut Walk, expr: &'a Expr) -> Stage<Option<u128>> {
        let Ok(fields) = self.load(walk, expr) else { return Ok(None) };
        match fields.into_iter().next() {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(doubt)) => {
                let what = format!("{}, which `{}` uses, is not known", doubt.what, self.text());
                Err(self.undetermined(walk, &what))
            }
            None => Ok(None),
        }
    }

    /// The end where what comes next can't be told.
    pub(super) fn undetermined(&self, walk: &mut Walk, what: &str) -> Box<End> {
        self.record(walk, RuleVerdict::Continue);
        End::undetermined(Reason::NotModelled, what).because([self.rule.evidence])
    }

    /// A statement that flowtrace doesn't model may do anything, or nothing.
    pub(super) fn unmodelled(&self, walk: &mut Walk, text: &str) -> Stage<Flow> {
        let why = Why {
            what: format!("what `{text}` does is not modelled"),
            evidence: Some(self.rule.evidence),
            gap: true,
            column: None,
        };
        let ways = vec![(None, "it lets the packet go on".to_owned()), (None, "it decides on the packet".to_owned())];
        if walk.choose(why, ways) == 0 {
            return Ok(Flow::Next);
        }
        let what = format!("what `{text}` does at {} is not modelled", self.info.state.hook.as_str());
        Err(self.undetermined(walk, &what))
    }

    /// `reject` (`nft_reject_ipv4.c`, `nft_reject_ipv6.c`, `nft_reject_inet.c`, and those of frames).
    fn reject(&mut self, walk: &mut Walk, with: NftReject) -> Stage<Flow> {
        let four = self.packet(walk).ip.destination.is_ipv4();
        let tcp = self.packet(walk).nft_protocol() == Protocol::TCP;
        let end = match with {
            NftReject::TcpReset if !tcp => return Ok(Flow::Break),
            NftReject::Icmp(..) if !four => return Ok(Flow::Break),
            NftReject::Icmpv6(..) if four => return Ok(Flow::Break),
            NftReject::Icmp(kind, code) | NftReject::Icmpv6(kind, code) => End::icmp(Reason::Rule, kind, code),
            NftReject::Icmpx(code) => {
                let (kind, code) = icmpx(code, four);
                End::icmp(Reason::Rule, kind, code)
            }
            NftReject::TcpReset => {
                let mut end = End::new(Verdict::Rejected, Reason::Rule);
                end.error = Some(ErrorReply::TcpReset);
                end
            }
        };
        self.record(walk, RuleVerdict::Reject);
        let sums_up = match end.error {
            Some(ErrorReply::TcpReset) => options::sums_up(walk, self.rule.evidence),
            _ => sums_up(walk, self.rule.evidence),
        };
        let mut end = if sums_up && self.is_answered(walk) { end } else { End::dropped(Reason::Rule) };
        end.straight = self.straight();
        if walk.skb.in_pieces {
            // No error is sent about a later piece, and about the first only if its checksum is that of the piece.
            walk.part_pieces(self.rule.evidence);
        }
        Err(end.because([self.rule.evidence]))
    }

    /// Where the families of frames send the error (`nft_reject_netdev.c`, `nft_reject_bridge.c`).
    fn straight(&self) -> Option<Straight> {
        let indev = self.info.state.indev.clone()?;
        match self.info.table.family {
            NftFamily::Netdev => Some(Straight::Device(indev)),
            NftFamily::Bridge => Some(Straight::Port(indev)),
            _ => None,
        }
    }

    /// Whether the families of frames make an error of this one: it is addressed to one host, and has an Ethernet header
    /// that tells its protocol. Newer kernels make none about one that tells of a destination out of reach itself
    /// (`nf_skb_is_icmp_unreach`, `nf_skb_is_icmp6_unreach`).
    fn is_answered(&self, walk: &mut Walk) -> bool {
        let Some(Straight::Device(dev) | Straight::Port(dev)) = self.straight() else { return true };
        let to_group = self.packet(walk).link.is_some_and(|frame| frame.destination.is_multicast());
        let bare = walk.netns().link(&dev).is_some_and(|link| matches!(link.kind, LinkKind::Tun { tap: false }));
        let unreachable = if self.packet(walk).ip.destination.is_ipv4() { 3 } else { 1 };
        let is_error = matches!(self.packet(walk).transport, Transport::Icmp { kind, .. } if kind == unreachable);
        let what = "the kernel is one whose devices and bridges answer no 'unreachable' with another";
        !(to_group || bare || is_error && walk.choose_unknown(what, Some(self.rule.evidence)))
    }

    /// Records that the rule matched, and what it decides.
    fn finish(&mut self, walk: &mut Walk, verdict: NftVerdict) -> Stage<NftVerdict> {
        let word = match verdict {
            NftVerdict::Accept => RuleVerdict::Accept,
            NftVerdict::Drop => RuleVerdict::Drop,
            NftVerdict::Continue => RuleVerdict::Continue,
            NftVerdict::Return => RuleVerdict::Return,
            NftVerdict::Queue(_) => RuleVerdict::Queue,
            NftVerdict::Jump(_) => RuleVerdict::Jump,
            NftVerdict::Goto(_) => RuleVerdict::Goto,
        };
        self.record(walk, word);
        match verdict {
            NftVerdict::Drop => Err(End::dropped(Reason::Rule).because([self.rule.evidence])),
            NftVerdict::Queue(bypass) => {
                pass_program(walk, &self.text(), bypass, self.rule.evidence)?;
                Ok(NftVerdict::Accept)
            }
            verdict => Ok(verdict),
        }
    }

    /// The rule's step, and those of the addresses that it rewrote.
    pub(super) fn record(&self, walk: &mut Walk, verdict: RuleVerdict) {
        let after = self.packet(walk).clone();
        let mut because = vec![self.rule.evidence];
        because.extend(self.because.iter().filter(|line| **line != self.rule.evidence));
        walk.set_certain(self.certain);
        walk.take(self.decision(walk, verdict), because);
        walk.set_link(after.link);
        self.rewrite(walk, &after);
    }

    /// What a rule did before it turned out not to match is done, though nft's trace doesn't list it
    /// (`nft_trace_packet` in `nft_do_chain` comes after the last expression).
    fn keep_changes(&self, walk: &mut Walk) {
        let Some(after) = self.changed.clone() else { return };
        walk.take_unlisted(&self.decision(walk, RuleVerdict::Continue), self.rule.evidence);
        walk.set_link(after.link);
        self.rewrite(walk, &after);
    }

    fn decision(&self, walk: &Walk, verdict: RuleVerdict) -> Decision {
        let (before, after) = (walk.packet(), self.packet(walk));
        let flags = |packet: &Packet| match packet.transport {
            Transport::Tcp { flags, .. } => Some(flags),
            _ => None,
        };
        Decision::Rule {
            hook: self.info.state.hook,
            family: self.info.table.family.as_str(),
            backend: "nft",
            table: self.info.table.name.clone(),
            chain: self.chain.name.to_string(),
            index: self.rule.index,
            text: self.text(),
            verdict,
            mark: (before.mark != after.mark).then_some(after.mark),
            tos: (before.ip.tos != after.ip.tos).then_some(after.ip.tos),
            ttl: (before.ip.ttl != after.ip.ttl).then_some(after.ip.ttl),
            flags: flags(after).filter(|after| flags(before) != Some(*after)),
            length: None,
        }
    }

    /// Addresses and ports that a rule wrote into the packet (`nft_payload_set_eval`).
    fn rewrite(&self, walk: &mut Walk, after: &Packet) {
        use crate::trace::NatChange;
        let halves = [
            (NatChange::Dnat, destination_endpoint as fn(&Packet) -> _),
            (NatChange::Snat, source_endpoint as fn(&Packet) -> _),
        ];
        for (change, endpoint) in halves {
            let (from, to) = (endpoint(walk.packet()), endpoint(after));
            if from != to {
                let mut packet = walk.packet().clone();
                if change == NatChange::Snat {
                    packet.clone_from(after);
                } else {
                    packet.ip.destination = after.ip.destination;
                    super::write::set_destination_port(&mut packet, after.destination_port());
                }
                let decision = Decision::Nat { change, to: Box::new(packet), from_endpoint: from, to_endpoint: to };
                walk.take(decision, [self.rule.evidence]);
            }
        }
    }
}

/// The answer that this walk has already taken for the same fact.
pub(super) fn answered(walk: &Walk, what: &str) -> Option<usize> {
    walk.choices.taken.iter().find(|choice| choice.why.what == what).map(|choice| choice.way)
}

/// `nft_reject_icmp_code`, `nft_reject_icmpv6_code`.
fn icmpx(code: u8, four: bool) -> (u8, u8) {
    match (four, code) {
        (true, 0) => (3, 0),
        (true, 1) => (3, 3),
        (true, 2) => (3, 1),
        (true, _) => (3, 13),
        (false, 0) => (1, 0),
        (false, 1) => (1, 4),
        (false, 2) => (1, 3),
        (false, _) => (1, 1),
    }
}

fn low_bits(value: u128) -> u32 {
    u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0)
}

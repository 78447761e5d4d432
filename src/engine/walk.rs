//! The walking packet. Its headers and its place are private to this file: the only way to change either is
//! [`Walk::take`], which records a step and applies it, so that the trace can't differ from the walk.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::evidence::{Evidence, Gap};
use crate::net::{ExtHeader, ExtHeaders, Family, IfName, IpOptions, Link, MacAddr, Packet, VlanTag};
use crate::snapshot::{LinkKind, Netns, NetnsId, Snapshot};
use crate::trace::{Beside, Decision, Place, Step};

use super::Given;
use super::beside;
use super::conntrack::Tracker;
use super::gaps::Gaps;
use super::skb::{Asked, Sender, Skb};

/// The most steps that one direction may have before the walk gives up: TTL ends a routing loop long before.
const MAX_STEPS: usize = 20_000;

/// Why a walk has to choose, and how that is to be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Why {
    /// The choice in words.
    pub what: String,
    /// The line that chooses.
    pub evidence: Option<Evidence>,
    /// Whether the choice is there because the snapshot or the model lacks something.
    pub gap: bool,
    /// Where in its line the trouble is.
    pub column: Option<u32>,
}

/// A choice that was made on one walk.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub why: Why,
    pub weights: Vec<Option<f64>>,
    pub labels: Vec<String>,
    pub way: usize,
}

/// The choices of one walk: those that the driver prescribes first, then the first way of each new one.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    script: Vec<usize>,
    pub taken: Vec<Choice>,
}

impl Choices {
    pub(super) fn new(script: Vec<usize>) -> Self {
        Self { script, taken: Vec::new() }
    }

    /// The same choices so far, and then those of another script.
    pub(super) fn with_script(&self, script: Vec<usize>) -> Self {
        Self { script, taken: self.taken.clone() }
    }
}

/// Something that may decide, and is missing or could not be read.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub what: String,
    pub row: Option<Evidence>,
}

/// What a walk leaves behind.
pub(super) struct Finished {
    pub steps: Vec<Step>,
    pub tracker: Tracker,
    pub choices: Choices,
    pub gaps: Gaps,
}

/// A packet on its way through a snapshot.
#[derive(Clone)]
pub(super) struct Walk<'s> {
    pub snapshot: &'s Snapshot,
    packet: Packet,
    place: Place,
    steps: Vec<Step>,
    pub skb: Skb,
    pub tracker: Tracker,
    pub choices: Choices,
    pub gaps: Gaps,
    pub verbose: bool,
    /// What the question says beside the packet, as far as it is about this direction.
    pub given: Given,
    /// Between which lengths the packet is, where nobody knows its own. It is a SYN's answer, which has options.
    pub lengths: Option<(u32, u32)>,
    /// What is missing or could not be read and may have decided: with any of these no end but an undetermined one is
    /// certain.
    pub doubts: Vec<Doubt>,
    /// Addresses outside the snapshot that are there because the question says so.
    pub outside: Vec<IpAddr>,
    /// What the kernel has sent beside the packet, how many walks this one is itself beside, and how many steps what is sent
    /// beside may have in all.
    pub beside: Vec<Beside>,
    pub nested: usize,
    pub steps_beside: usize,
    /// Where the packet has been received, and how it looked: the same again is a loop that nothing ends.
    seen: HashSet<(NetnsId, IfName, String)>,
    /// Rules tried since the last step, in a verbose walk.
    tried: Vec<Evidence>,
    /// Lines that changed the packet since the last step without a step of their own.
    unlisted: Vec<Evidence>,
    /// Nobody can tell whether the rule that is about to be recorded matches.
    uncertain: bool,
}

impl<'s> Walk<'s> {
    /// A packet that is about to start in a namespace.
    pub(super) fn new(
        snapshot: &'s Snapshot,
        netns: NetnsId,
        packet: Packet,
        tracker: Tracker,
        choices: Choices,
        verbose: bool,
    ) -> Self {
        Self {
            snapshot,
            packet,
            place: place(snapshot, netns, None),
            steps: Vec::with_capacity(64),
            skb: Skb::default(),
            tracker,
            choices,
            gaps: Gaps::default(),
            verbose,
            given: Given::default(),
            lengths: None,
            doubts: Vec::new(),
            outside: Vec::new(),
            beside: Vec::new(),
            nested: 0,
            steps_beside: beside::MOST_STEPS,
            seen: HashSet::new(),
            tried: Vec::new(),
            unlisted: Vec::new(),
            uncertain: false,
        }
    }

    /// The start of a walk of its own, from here on and by the choices that were made so far.
    pub(super) fn branch_off(&self) -> Self {
        Self {
            packet: self.packet.clone(),
            place: self.place.clone(),
            skb: self.skb.clone(),
            given: self.given.clone(),
            lengths: self.lengths,
            doubts: self.doubts.clone(),
            outside: self.outside.clone(),
            nested: self.nested + 1,
            ..Self::new(
                self.snapshot,
                self.place.netns,
                self.packet.clone(),
                self.tracker.clone(),
                self.choices.clone(),
                self.verbose,
            )
        }
    }

    /// The packet as it is now.
    pub(super) fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Between which lengths the packet is: that of a SYN's answer, in a tunnel too, is not quite known.
    pub(super) fn length_range(&self) -> (u32, u32) {
        let open = self.lengths.map_or(0, |(least, most)| most.saturating_sub(least));
        (self.packet.length.saturating_sub(open), self.packet.length)
    }

    /// Where it is now.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The namespace that it is in.
    pub(super) fn netns(&self) -> &'s Netns {
        self.snapshot.netns(self.place.netns)
    }

    /// The namespace that it is in.
    pub(super) fn netns_id(&self) -> NetnsId {
        self.place.netns
    }

    /// The steps so far.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Records a step and applies it.
    pub(super) fn take(&mut self, decision: Decision, because: impl IntoIterator<Item = Evidence>) {
        self.apply(&decision);
        let unlisted = std::mem::take(&mut self.unlisted);
        self.steps.push(Step {
            place: self.place.clone(),
            decision,
            // A row that was derived from nothing stands on no line.
            because: because.into_iter().chain(unlisted).filter(|evidence| evidence.line > 0).collect(),
            packet: self.packet.clone(),
            certain: !std::mem::take(&mut self.uncertain),
            tried: std::mem::take(&mut self.tried),
        });
    }

    /// Applies what the kernel's own trace doesn't list. The next step shows it, and has the line that did it.
    pub(super) fn take_unlisted(&mut self, decision: &Decision, because: Evidence) {
        self.apply(decision);
        self.unlisted.push(because);
    }

    /// The frame has other VLAN tags from here on: the next step shows it, and has the line that says so.
    pub(super) fn retag(&mut self, tags: Vec<VlanTag>, because: Option<Evidence>) {
        if self.packet.tags != tags {
            self.packet.tags = tags;
            self.unlisted.extend(because);
        }
    }

    /// The lines of the routing decision that stands.
    pub(super) fn lines_of_route(&self) -> Vec<Evidence> {
        let routed = self.steps.iter().rev().find(|step| matches!(step.decision, Decision::Route { .. }));
        routed.map(|step| step.because.clone()).unwrap_or_default()
    }

    /// A device hands the packet up: the one step that changes the namespace. At a bridge's port it says whether bridge
    /// netfilter is on.
    pub(super) fn receive(
        &mut self,
        netns: NetnsId,
        device: &IfName,
        bridge_netfilter: Option<bool>,
        because: impl IntoIterator<Item = Evidence>,
    ) {
        if netns != self.place.netns {
            // `skb_scrub_packet`: a mark doesn't leave its namespace.
            self.packet.mark = crate::net::Mark(0);
        }
        if self.is_reassembled() {
            self.packet.fragments = None;
            self.skb.ignore_df = self.packet.family() == Family::Inet6;
        }
        self.place = place(self.snapshot, netns, Some(device.clone()));
        self.take(Decision::Receive { device: device.clone(), bridge_netfilter }, because);
    }

    /// Connection tracking on the bridge has put the pieces together, and `ip_rcv_core` and `ip6_rcv_core` forget how
    /// large they were.
    fn is_reassembled(&self) -> bool {
        let from_bridge = self.skb.nf_bridge.as_ref().is_some_and(|nf_bridge| nf_bridge.sabotage);
        from_bridge && self.packet.fragments.is_some() && self.netns().netfilter.needs_conntrack(self.packet.family())
    }

    /// The stack reads the packet's IPv4 options, and writes into them: the next step shows it.
    pub(super) fn write_options(&mut self, options: IpOptions) {
        self.packet.options = options;
    }

    /// The frame has these addresses from here on: those before a neighbour was asked for, or of who sends it on.
    pub(super) fn set_link(&mut self, link: Option<Link>) {
        self.packet.link = link;
    }

    /// Connection tracking takes a whole packet's fragment header off (`nf_ct_frag6_reasm` in
    /// `net/ipv6/netfilter/nf_conntrack_reasm.c`): the next step shows it.
    pub(super) fn take_fragment_header(&mut self) {
        let headers = self.packet.extensions.list();
        let kept: Vec<ExtHeader> = headers.iter().filter(|one| one.kind() != ExtHeader::FRAGMENT).cloned().collect();
        let before = self.packet.extensions.length();
        self.packet.extensions = ExtHeaders::new(kept);
        self.packet.length -= before - self.packet.extensions.length();
    }

    /// Whether the packet has come so far that it must be going round: a straight way has fewer steps.
    pub(super) fn goes_round(&self) -> bool {
        const STRAIGHT: usize = 600;
        self.steps.len() > STRAIGHT
    }

    /// Whether the packet has been at this device before and looked the same.
    pub(super) fn is_loop(&mut self, netns: NetnsId, device: &IfName) -> bool {
        // Until then nothing is worth remembering.
        self.goes_round() && !self.seen.insert((netns, device.clone(), format!("{:?}", self.packet)))
    }

    /// The lengths that rules see: the packet's or, where they see pieces, that of the first piece, which is the one
    /// that is walked, and that of the last.
    pub(super) fn seen_lengths(&self) -> [u32; 2] {
        match (self.packet.fragments, self.packet.last_piece()) {
            (Some(pieces), Some(last)) if self.skb.in_pieces => [pieces.largest, last],
            _ => [self.packet.length; 2],
        }
    }

    /// Notes what a rule asks that sees a piece.
    pub(super) fn ask_piece(&self, asked: Asked) {
        if self.skb.in_pieces {
            self.skb.asked.set(self.skb.asked.get().max(asked));
        }
    }

    /// Notes that a rule asks who sent the frame.
    pub(super) fn ask_sender(&self) {
        self.skb.asked_sender.set(true);
    }

    /// Whom a frame of the question's packet is for, where it doesn't say: what a device takes is for it, or for the bridge
    /// that it is a port of.
    pub(super) fn own_destination(&self) -> Option<(MacAddr, Evidence)> {
        let netns = self.netns();
        let link = netns.link(self.skb.iif.as_ref().filter(|_| self.skb.sender != Sender::NotAsked)?)?;
        let master = link.master.as_ref().and_then(|master| netns.link(master));
        let taker = master.filter(|master| matches!(master.kind, LinkKind::Bridge(_))).unwrap_or(link);
        Some((taker.lladdr?, taker.lladdr_evidence))
    }

    /// Says on what a rule's answer stands that has asked who sent the frame. The next one is of another sender.
    pub(super) fn tell_sender(&mut self) {
        let sender = std::mem::take(&mut self.skb.sender);
        if let (Sender::Neighbour(mac, source, row), true) = (sender, self.skb.asked_sender.take()) {
            let what = format!(
                "the frame is taken to come from {mac}, which {} has for {source} in its neighbour table; where a router \
                 sends it, --mac gives that one's address",
                self.place.node
            );
            self.gap(what, [row]);
        }
        if let Some((mac, row)) = self.skb.asked_destination.take() {
            let node = &self.place.node;
            let what =
                format!("the frame is taken to be for {mac}, who takes it on {node}; one for many has another address");
            self.gap(what, [row]);
        }
    }

    /// The pieces of the packet part ways, or may: a line asks each of them for what only the first one has, or what is
    /// another one's each time. The walk goes on as the first piece does.
    pub(super) fn part_pieces(&mut self, row: Evidence) {
        let what = format!(
            "nothing on {} {} puts the packet's pieces together, and a rule there asks each of them for what they \
             don't have in common: the walk goes on as the first piece does",
            self.place.node, self.place.name
        );
        self.doubt(what, Some(row));
    }

    /// Records that something which may decide is missing or could not be read, once. The walk goes on without it.
    pub(super) fn doubt(&mut self, what: String, row: Option<Evidence>) {
        if !self.doubts.iter().any(|doubt| doubt.what == what) {
            self.gap(what.clone(), row);
            self.doubts.push(Doubt { what, row });
        }
    }

    /// Notes that a rule was tried and did not match; kept in verbose walks only.
    pub(super) fn tried(&mut self, rule: Evidence) {
        if self.verbose {
            self.tried.push(rule);
        }
    }

    /// Notes whether the rule that is asked surely matches, where its step is recorded all the same.
    pub(super) fn set_certain(&mut self, certain: bool) {
        self.uncertain = !certain;
    }

    /// Whether the rule that is asked surely matches.
    pub(super) fn is_certain(&self) -> bool {
        !self.uncertain
    }

    /// The one way to branch: the way that this walk takes, out of as many as there are weights. A weight of `None`
    /// can't be known. A way of weight 0 is never taken.
    pub(super) fn choose(&mut self, why: Why, ways: Vec<(Option<f64>, String)>) -> usize {
        let (weights, labels): (Vec<_>, Vec<_>) = ways.into_iter().unzip();
        let first = weights.iter().position(|weight| *weight != Some(0.0)).unwrap_or(0);
        let way = self.choices.script.get(self.choices.taken.len()).copied().unwrap_or(first);
        if why.gap {
            let column = why.column.or_else(|| self.told_column(why.evidence));
            self.gaps.add(Gap::new(why.what.clone(), why.evidence.into_iter().collect()).at(column));
        }
        self.choices.taken.push(Choice { why, weights, labels, way });
        way
    }

    /// Whether a condition holds that nobody can know: both ways are walked.
    pub(super) fn choose_unknown(&mut self, what: impl Into<String>, evidence: Option<Evidence>) -> bool {
        let why = Why { what: what.into(), evidence, gap: true, column: None };
        self.choose(why, vec![(None, "yes".to_owned()), (None, "no".to_owned())]) == 0
    }

    /// Records that something is missing, once.
    pub(super) fn gap(&mut self, what: impl Into<String>, evidence: impl IntoIterator<Item = Evidence>) {
        let evidence: Vec<Evidence> = evidence.into_iter().collect();
        let column = self.told_column(evidence.first().copied());
        self.gaps.add(Gap::new(what, evidence).at(column));
    }

    /// The column in which the reader of a line did not understand it; none where that is the line's first, which stands
    /// for all of it.
    fn told_column(&self, line: Option<Evidence>) -> Option<u32> {
        let line = line?;
        self.snapshot
            .gaps
            .iter()
            .find(|gap| gap.evidence.first() == Some(&line))
            .and_then(|gap| gap.column)
            .filter(|column| *column > 1)
    }

    /// Records that something is missing, with its place in the line, once.
    pub(super) fn add_gap(&mut self, gap: Gap) {
        self.gaps.add(gap);
    }

    /// Notes what ends the walk, unless it is a branch that has been noted with the same line.
    pub(super) fn end_gap(&mut self, what: String, evidence: &[Evidence]) {
        if !self.gaps.tells(&what, evidence) {
            self.gap(what, evidence.iter().copied());
        }
    }

    /// Whether the walk has grown beyond reason.
    pub(super) fn too_long(&self) -> bool {
        self.steps.len() >= MAX_STEPS
    }

    /// The walk's record and what the answer's walk goes on with.
    pub(super) fn finish(mut self) -> Finished {
        self.complete_send();
        Finished { steps: self.steps, tracker: self.tracker, choices: self.choices, gaps: self.gaps }
    }

    /// A socket's packet has no source until its first route gives it one; the step that sends it shows it so.
    fn complete_send(&mut self) {
        let chosen = self.steps.iter().find_map(|step| match step.decision {
            Decision::Route { source: Some(source), .. } => Some(source),
            _ => None,
        });
        if let (Some(source), Some(first)) = (chosen, self.steps.first_mut())
            && first.packet.ip.source.is_unspecified()
        {
            first.packet.ip.source = source;
        }
    }

    fn apply(&mut self, decision: &Decision) {
        match decision {
            Decision::Receive { device, .. } | Decision::Transmit { device } => {
                self.place.device = Some(device.clone());
            }
            Decision::SendOwn { packet } => {
                self.packet = (**packet).clone();
                self.place.device = None;
            }
            Decision::Route { source: Some(source), .. } => self.packet.ip.source = *source,
            Decision::SourceRoute { destination } => self.packet.ip.destination = *destination,
            Decision::Forward(forwarded) => self.packet.ip.ttl = forwarded.ttl,
            Decision::Rule { mark, tos, ttl, flags, length, .. } => {
                self.packet.mark = mark.unwrap_or(self.packet.mark);
                self.packet.ip.tos = tos.unwrap_or(self.packet.ip.tos);
                self.packet.ip.ttl = ttl.unwrap_or(self.packet.ip.ttl);
                self.packet.length = length.unwrap_or(self.packet.length);
                if let (crate::net::Transport::Tcp { flags: old, .. }, Some(new)) = (&mut self.packet.transport, flags)
                {
                    *old = *new;
                }
            }
            Decision::Nat { to, .. } => {
                self.packet.ip = to.ip;
                self.packet.transport = to.transport.clone();
            }
            Decision::Neighbor { lladdr: Some(destination), source, .. } => {
                let source = source.unwrap_or(crate::net::MacAddr::ZERO);
                self.packet.link = Some(Link { source, destination: *destination });
                self.skb.new_source = false;
            }
            Decision::Neighbor { assumed: true, .. } => self.packet.link = None,
            Decision::Encapsulate { packet, .. } => self.packet = (**packet).clone(),
            Decision::Decapsulate { .. } => {
                // A program writes a new packet; a tunnel device takes the outer headers off the old one.
                let relayed = self.packet.encapsulation == Some(crate::net::Encapsulation::Relay);
                if let Some(inner) = self.packet.inner.take() {
                    let mark = if relayed { inner.mark } else { self.packet.mark };
                    self.packet = *inner;
                    self.packet.mark = mark;
                }
            }
            Decision::Userspace { ttl_cost, .. } => {
                self.packet.ip.ttl = self.packet.ip.ttl.saturating_sub(*ttl_cost);
            }
            Decision::Underlay { assumed, routers, .. } => {
                self.packet.ip.ttl = self.packet.ip.ttl.saturating_sub(*routers);
                if *assumed {
                    // The last router's frame is not the sender's, and nobody knows its addresses.
                    self.packet.link = None;
                }
            }
            Decision::Fragment { count, largest, .. } => {
                self.packet.fragments = Some(crate::net::Fragments { count: *count, largest: *largest });
            }
            _ => {}
        }
    }
}

fn place(snapshot: &Snapshot, netns: NetnsId, device: Option<IfName>) -> Place {
    let names = snapshot.netns(netns);
    Place { netns, node: names.node.clone(), name: names.name.clone(), device }
}

//! The second of two passes: packets are followed through a window of time, in the order of corrected times.

use super::alike::{Bond, REWRITTEN, bond_among, is_weak};
use super::carried::{Carried, Carrying};
use super::flow::Flows;
use super::identity::{Form, Identity};
use super::journey::{End, Journey, Seen};
use super::lanes::{LaneId, Lanes};
use super::onward::Onward;
use super::open::{Open, Packet, Slot};
use super::segment::{is_one_burst, overlap};
use super::sight::{NodeId, PointId, Sight};
use super::survey::Learned;

/// How long after its first sight a packet is still waited for, in nanoseconds.
pub const WIDTH: i64 = 2_000_000_000;
/// How many sights of packets under way are kept at most: beyond, the oldest packets are waited for no longer.
const MOST_SIGHTS: usize = 1 << 20;
/// For how many sights of a packet room is made at once, at most.
const MOST_USUAL: usize = 16;
/// How long after another sight with the very same headers, `ip.id` included, a sight is still of that packet, in
/// nanoseconds: a cooked capture has it once for each device.
const AGAIN: i64 = 1_000_000;
/// How long after each other packets that look the same are sent at once, in nanoseconds.
const BURST: i64 = 1_000_000;

/// Packets under way, and what those before them have shown.
#[derive(Debug)]
pub struct Window {
    learned: Learned,
    width: i64,
    open: Open,
    flows: Flows,
    carried: Carried,
    /// The number of the last packet.
    count: u64,
    /// How many packets were lost.
    lost: u64,
    /// How many packets were waited for shorter than the window is.
    pub hurried: u64,
    found: Vec<Slot>,
    todo: Vec<(u32, u32)>,
}

/// What the captures have shown in the end.
#[derive(Debug)]
pub struct Summary {
    /// All lanes.
    pub lanes: Lanes,
    /// All flows.
    pub flows: Flows,
    /// Where packets go on.
    pub onward: Onward,
    /// The node of each point.
    pub nodes: Vec<NodeId>,
    /// How many packets there were.
    pub packets: u64,
    /// How many of them were lost, as their ends say.
    pub lost: u64,
    /// How many of them were waited for shorter than the window is, because there were too many at once.
    pub hurried: u64,
}

impl Window {
    /// Nothing under way. Packets are waited for so many nanoseconds.
    #[must_use]
    pub fn new(learned: Learned, width: i64) -> Self {
        // A packet passes most points once.
        let usual = learned.nodes.len().min(MOST_USUAL);
        Self {
            learned,
            width,
            open: Open::new(usual),
            flows: Flows::default(),
            carried: Carried::default(),
            count: 0,
            lost: 0,
            hurried: 0,
            found: Vec::new(),
            todo: Vec::new(),
        }
    }

    /// A moment of a point's clock, by the reference's: sights are to be pushed in this order.
    #[must_use]
    pub fn correct(&self, point: PointId, time: i64) -> i64 {
        self.learned.correct(point, time)
    }

    /// A sight. Packets that are waited for no longer are handed on.
    pub fn push(&mut self, sight: &Sight, each: &mut impl FnMut(&Journey<'_>, &Lanes)) {
        let time = self.correct(sight.lane.point, sight.time);
        self.expire(time, each);
        let lane = self.learned.lanes.intern(&sight.lane);
        let Identity { key, id, form, datagram } = sight.identity;
        let range = if let Form::Segment(from, to) = form { (from, to) } else { (0, 0) };
        let (file, number, length, ttl) = (sight.file, sight.number, sight.length, sight.ttl);
        let (stamp, is_wanted) = (sight.time, sight.is_wanted);
        let seen = Seen {
            time,
            stamp,
            is_wanted,
            number,
            lane,
            range,
            id,
            length,
            file,
            ttl,
            flags: sight.flags,
            is_part: form == Form::Tail,
            in_pieces: datagram.is_some(),
            is_vague: sight.vague.is_some(),
        };
        match form {
            Form::Segment(..) => self.segment(key, seen, datagram),
            Form::Whole => {
                let slot = self.whole(key, seen, datagram);
                if let Some(datagram) = datagram {
                    self.belongs(datagram, slot);
                }
            }
            Form::Tail => self.tail(key, seen, datagram),
        }
    }

    /// All packets are handed on, and what they have shown.
    #[must_use]
    pub fn finish(mut self, each: &mut impl FnMut(&Journey<'_>, &Lanes)) -> Summary {
        while let Some(slot) = self.open.queue.pop_front() {
            self.close(slot, each);
        }
        let Self { learned, flows, count, lost, hurried, .. } = self;
        let Learned { lanes, onward, nodes, .. } = learned;
        Summary { lanes, flows, onward, nodes, packets: count, lost, hurried }
    }

    /// Hands on what is waited for no longer at a moment by the reference's clock, where no sight comes that would.
    pub fn pass(&mut self, now: i64, each: &mut impl FnMut(&Journey<'_>, &Lanes)) {
        self.expire(now, each);
    }

    fn expire(&mut self, now: i64, each: &mut impl FnMut(&Journey<'_>, &Lanes)) {
        while let Some(slot) = self.open.queue.front().copied() {
            let first = self.open.get(slot).map_or(i64::MIN, |packet| packet.first);
            let is_old = now.saturating_sub(first) > self.width;
            if !is_old && self.open.sights <= MOST_SIGHTS {
                return;
            }
            self.hurried += u64::from(!is_old);
            self.open.queue.pop_front();
            self.close(slot, each);
        }
    }

    /// A packet that is seen whole, wherever it is seen, or its first fragment.
    fn whole(&mut self, key: u64, seen: Seen, datagram: Option<u64>) -> Slot {
        let mut found = std::mem::take(&mut self.found);
        self.open.alike(key, seen.range, &mut found);
        let known =
            found.iter().copied().find(|slot| self.open.get(*slot).is_some_and(|packet| packet.has_record(&seen)));
        let slot = if known.is_some() { None } else { self.likeliest(&found, &seen) };
        self.found = found;
        if let Some(slot) = slot {
            self.open.append(slot, seen);
        }
        if let Some(slot) = known.or(slot) {
            return slot;
        }
        // Its later fragments may have come first.
        let parts = datagram.and_then(|datagram| self.open.parts.get(&datagram).copied());
        match parts.filter(|slot| self.open.get(*slot).is_some_and(|packet| !packet.is_chained)) {
            Some(slot) => {
                if let Some(packet) = self.open.get_mut(slot) {
                    (packet.key, packet.is_chained) = (key, true);
                }
                self.open.link(key, seen.range.0, slot);
                self.open.append(slot, seen);
                slot
            }
            None => self.open.begin(key, seen, seen.range, true),
        }
    }

    /// Of the packets that a sight may be of, the one that is due: its last sight is as long ago as it takes from there,
    /// or where nobody knows that, the latest.
    fn likeliest(&self, found: &[Slot], seen: &Seen) -> Option<Slot> {
        let takes = |slot: &Slot| self.open.get(*slot).is_some_and(|packet| takes(packet, seen));
        let mut possible = found.iter().copied().filter(takes);
        let first = possible.next()?;
        let protocol = self.learned.lanes.get(seen.lane).map(|lane| lane.protocol);
        if protocol.is_some_and(|protocol| is_weak(protocol, seen.id)) {
            let bonds = [first].into_iter().chain(possible).map(|slot| (self.bond(slot, seen), slot));
            let bonds: Vec<(Bond, Slot)> = bonds.filter(|(bond, _)| *bond != Bond::Apart).collect();
            let closest = bonds.iter().map(|(bond, _)| *bond).max()?;
            let all = bonds.into_iter().filter(|(bond, _)| *bond == closest).map(|(_, slot)| slot);
            return self.most_due(all, seen);
        }
        self.most_due([first].into_iter().chain(possible), seen)
    }

    /// How a sight of what has no number goes together with a packet.
    fn bond(&self, slot: Slot, seen: &Seen) -> Bond {
        let Learned { lanes, nodes, .. } = &self.learned;
        let Some(packet) = self.open.get(slot) else { return Bond::Apart };
        let sights = packet.seen.iter().filter(|other| !other.is_part);
        let mut all = Bond::Loose;
        for other in sights {
            match bond_among(other, seen, lanes, nodes) {
                Bond::Apart => return Bond::Apart,
                bond => all = all.max(bond),
            }
        }
        // Both ends are rewritten at once: on one node, right then, and no router gives TTL back.
        let node = |lane: LaneId| nodes.get(lanes.point(lane).index());
        let is_rewritten = |last: &Seen| {
            node(last.lane) == node(seen.lane)
                && seen.time.saturating_sub(last.time) <= REWRITTEN
                && seen.ttl <= last.ttl
        };
        match all {
            Bond::Loose if !packet.seen.last().is_some_and(is_rewritten) => Bond::Apart,
            bond => bond,
        }
    }

    /// Of packets that a sight may be of, the one that is due.
    fn most_due(&self, mut possible: impl Iterator<Item = Slot>, seen: &Seen) -> Option<Slot> {
        let first = possible.next()?;
        let Some(second) = possible.next() else { return Some(first) };
        let off = |slot: Slot| {
            let last = self.open.get(slot).and_then(|packet| packet.seen.last());
            let usual = last.map(|last| (last.time, self.learned.onward.usual(last.lane, seen.lane)));
            let Some((time, Some(usual))) = usual else { return u64::MAX };
            seen.time.saturating_sub(time).saturating_sub(usual).unsigned_abs()
        };
        let all: Vec<Slot> = [first, second].into_iter().chain(possible).collect();
        let due = all.iter().copied().min_by_key(|slot| off(*slot))?;
        if off(due) != u64::MAX {
            return Some(due);
        }
        // Nobody knows how long it takes: the first of those that were sent at once comes first.
        let since = |slot: Slot| self.open.get(slot).map_or(0, |packet| packet.first);
        let of_burst = all.windows(2).take_while(|pair| match pair {
            [later, earlier] => since(*later).saturating_sub(since(*earlier)) < BURST,
            _ => false,
        });
        all.get(of_burst.count()).copied()
    }

    /// A segment with data: a sight of every piece that it has in common with a frame seen elsewhere, and the first one of
    /// the rest.
    fn segment(&mut self, key: u64, seen: Seen, datagram: Option<u64>) {
        let mut found = std::mem::take(&mut self.found);
        let mut todo = std::mem::take(&mut self.todo);
        self.open.alike(key, seen.range, &mut found);
        todo.clear();
        todo.push(seen.range);
        let mut next = 0;
        // Pieces that are split off on the way are looked at, too.
        while let Some(slot) = found.get(next).copied() {
            next += 1;
            let Some(packet) = self.open.get(slot) else { continue };
            let Some(place) = todo.iter().position(|range| overlap(*range, packet.range).is_some()) else { continue };
            if packet.has_record(&seen) {
                todo.swap_remove(place);
                continue;
            }
            if !takes(packet, &seen) {
                continue;
            }
            let range = todo.swap_remove(place);
            let Some(common) = overlap(range, packet.range) else { continue };
            let piece = self.open.carve(slot, common, &mut found);
            self.open.append(piece, seen);
            self.belongs_where(datagram, piece);
            todo.extend([(range.0, common.0), (common.1, range.1)].into_iter().filter(|(from, to)| from != to));
        }
        for range in todo.drain(..) {
            let piece = self.open.begin(key, seen, range, true);
            self.belongs_where(datagram, piece);
        }
        (self.found, self.todo) = (found, todo);
    }

    fn belongs_where(&mut self, datagram: Option<u64>, slot: Slot) {
        if let Some(datagram) = datagram {
            self.belongs(datagram, slot);
        }
    }

    /// A later fragment: of the packet whose first fragment was seen here, or whose same fragment was seen elsewhere.
    fn tail(&mut self, key: u64, seen: Seen, datagram: Option<u64>) {
        let here = datagram.and_then(|datagram| self.open.parts.get(&datagram).copied());
        let slot = match here.or_else(|| self.open.parts.get(&key).copied()) {
            Some(slot) => {
                if !self.open.get(slot).is_some_and(|packet| packet.has_record(&seen)) {
                    self.open.append(slot, seen);
                }
                slot
            }
            None => self.open.begin(key, seen, (0, 0), false),
        };
        self.belongs(key, slot);
        self.belongs_where(datagram, slot);
    }

    /// What stands for a fragmented packet, or for a fragment, belongs to a packet. What had been taken for another one
    /// joins it.
    fn belongs(&mut self, part: u64, slot: Slot) {
        let before = self.open.parts.insert(part, slot);
        if before == Some(slot) {
            return;
        }
        if let Some(packet) = self.open.get_mut(slot) {
            packet.parts.push(part);
        }
        let is_orphan = |packet: &Packet| !packet.is_chained && !packet.seen.is_empty();
        let orphan = before.filter(|before| self.open.get(*before).is_some_and(is_orphan));
        let Some(orphan) = orphan else { return };
        let Some(packet) = self.open.get_mut(orphan) else { return };
        let (seen, parts) = (std::mem::take(&mut packet.seen), std::mem::take(&mut packet.parts));
        if let Some(packet) = self.open.get_mut(slot) {
            packet.seen.extend(seen);
            packet.parts.extend(&parts);
        }
        for part in parts {
            self.open.parts.insert(part, slot);
        }
    }

    fn close(&mut self, slot: Slot, each: &mut impl FnMut(&Journey<'_>, &Lanes)) {
        let mut next = Some(slot);
        while let Some(Packet { mut seen, range, next: behind, .. }) = next.and_then(|slot| self.open.take(slot)) {
            next = behind;
            if !seen.is_empty() {
                self.tell(&mut seen, range, each);
            }
            self.open.give_back(seen);
        }
    }

    /// Hands a packet on that is waited for no longer.
    fn tell(&mut self, seen: &mut [Seen], range: (u32, u32), each: &mut impl FnMut(&Journey<'_>, &Lanes)) {
        let (sights, parts) = whole_and_parts(seen);
        let Learned { lanes, onward, order, .. } = &mut self.learned;
        order.arrange(sights, lanes);
        let mut missed = Vec::new();
        let is_vague = sights.iter().any(|seen| seen.is_vague);
        for pair in sights.windows(2).filter(|_| !is_vague) {
            let [one, other] = pair else { continue };
            let (lead, to) = (lanes.lead(one.lane), lanes.point(other.lane));
            // A bridge's copy of it is where it was itself, or goes elsewhere.
            if lead == lanes.lead(other.lane) || lanes.is_beside(one, other) {
                continue;
            }
            missed.extend(onward.missed(lead, to));
            onward.went(one.lane, other.lane, lanes);
            lanes.goes_on(one.lane);
        }
        let (Some(first), Some(last)) = (sights.first(), sights.last()) else { return };
        if !sights.iter().chain(parts.iter()).any(|seen| seen.is_wanted) {
            return;
        }
        self.count += 1;
        let flow = self.flows.of(first.lane, lanes);
        let is_syn = first.flags & SYN != 0;
        let retransmission_of = flow
            .filter(|_| range.0 != range.1)
            .and_then(|flow| self.carried.again(flow, Carrying { range, is_syn, packet: self.count }));
        let heir = self.heir(last);
        let in_part = lost_in_part(sights, parts, &self.learned.lanes);
        let next = self.learned.onward.next(last.lane, &self.learned.lanes).or(heir).filter(|_| !is_vague);
        let end = match in_part {
            Some(whole) => End::Lost(self.learned.lanes.point(whole.lane)),
            None => self.end(sights, last, next),
        };
        let is_early = in_part.is_none() && next.is_none() && !is_vague;
        let ended_in = in_part.unwrap_or(last).lane;
        let unreached = heir.filter(|_| in_part.is_none() && matches!(end, End::Lost(_)));
        self.lost += u64::from(matches!(end, End::Lost(_)));
        let was_seen = |point: PointId| sights.iter().any(|seen| self.learned.lanes.point(seen.lane) == point);
        missed.retain(|point| !was_seen(*point) && self.is_capturing(*point, first.time));
        let missed = missed.as_slice();
        let bytes = {
            let at = self.learned.lanes.point(first.lane);
            let here = parts.iter().filter(|part| self.learned.lanes.point(part.lane) == at);
            u64::from(first.length) + here.map(|part| u64::from(part.length)).sum::<u64>()
        };
        let id = self.count;
        let (sights, parts) = (&*sights, &*parts);
        let journey =
            Journey { id, flow, sights, parts, bytes, end, is_early, ended_in, unreached, retransmission_of, missed };
        self.flows.add(&journey);
        each(&journey, &self.learned.lanes);
    }

    /// How the path of a packet ends that was last seen so, where others that have to go the same way went on to a point.
    fn end(&self, sights: &[Seen], last: &Seen, next: Option<PointId>) -> End {
        let (lane, lanes) = (last.lane, &self.learned.lanes);
        let point = lanes.point(lane);
        match next {
            None => End::LastSeen(point),
            Some(next) if self.has_passed(sights, last, next) => End::LastSeen(point),
            Some(next) if !self.is_capturing(next, last.time) => End::Outside(point, next),
            Some(_) if lanes.may_end(lane) => End::LastSeen(point),
            Some(next) if lanes.get(lane).is_some_and(|lane| self.learned.may_have_seen(next, lane)) => {
                End::LastSeen(point)
            }
            Some(_) => End::Lost(point),
        }
    }

    /// Whether a packet was seen at a point before its last sight, on the same way: the last one is of a copy that a bridge
    /// hands up while it is captured, behind or beside the packet itself, or the stamps of both don't tell them apart.
    fn has_passed(&self, sights: &[Seen], last: &Seen, at: PointId) -> bool {
        let Some((_, before)) = sights.split_last() else { return false };
        let way = |seen: &Seen| {
            let lane = self.learned.lanes.get(seen.lane)?;
            Some((lane.leading(), lane.tunnel.is_some(), lane.link.map(|link| link.destination)))
        };
        let is_there = |seen: &&Seen| self.learned.lanes.point(seen.lane) == at && seen.ttl <= last.ttl;
        before.iter().filter(is_there).any(|seen| way(seen) == way(last))
    }

    /// The point that a packet was for by its link address, where no other was seen to go on.
    fn heir(&self, last: &Seen) -> Option<PointId> {
        let Learned { lanes, onward, owners, .. } = &self.learned;
        if onward.next(last.lane, lanes).is_some() {
            return None;
        }
        owners.heir(lanes.get(last.lane)?)
    }

    /// Whether a point's capture had begun and not ended, as far as its packets tell.
    fn is_capturing(&self, point: PointId, time: i64) -> bool {
        let period = self.learned.periods.get(point.index()).copied().flatten();
        period.is_some_and(|period| (period.first..=period.last).contains(&time))
    }
}

/// Whether a sight can be one of a packet. At one point the same packet comes a second time only with something
/// changed (TTL, an address, a link address); without, it is another one like it.
fn takes(packet: &Packet, seen: &Seen) -> bool {
    let fits = |other: &Seen| {
        let is_again = other.lane == seen.lane && other.ttl == seen.ttl && !other.is_part;
        let is_same = seen.id != 0 && other.id == seen.id && seen.time.saturating_sub(other.time) < AGAIN;
        (!is_again || is_same) && is_one_burst(other, seen)
    };
    packet.seen.iter().filter(|other| !other.is_part).all(fits)
}

/// The sight behind which fragments were lost: the next one has fewer bytes of the packet, in fragments too. Where a tunnel is
/// put on or taken off in between, bytes of fragments of the tunnel's own packet are not compared with those of the packet.
/// What passes a point twice is not looked at: whose its fragments are is not known.
fn lost_in_part<'s>(sights: &'s [Seen], parts: &[Seen], lanes: &Lanes) -> Option<&'s Seen> {
    if !sights.iter().any(|seen| seen.in_pieces) {
        return None;
    }
    let point = |seen: &Seen| lanes.point(seen.lane);
    let is_once = |at: PointId| sights.iter().filter(|seen| point(seen) == at).count() == 1;
    let is_outer = |seen: &Seen| lanes.get(seen.lane).is_some_and(|lane| lane.tunnel.is_some());
    let is_cut_inside = |seen: &Seen| {
        let mut here = parts.iter().filter(|part| point(part) == point(seen));
        here.all(|part| is_outer(part) == is_outer(seen))
    };
    let bytes = |at: PointId| -> u32 {
        let here = sights.iter().chain(parts).filter(|seen| point(seen) == at);
        here.map(|seen| seen.length.saturating_sub(FRAGMENT_HEADERS)).fold(0, u32::saturating_add)
    };
    sights.windows(2).find_map(|pair| {
        let [one, other] = pair else { return None };
        let (at, next) = (point(one), point(other));
        let is_comparable = one.in_pieces
            && other.in_pieces
            && (is_outer(one) == is_outer(other) || is_cut_inside(one) && is_cut_inside(other));
        let is_less = || bytes(next).saturating_add(FRAGMENT_HEADERS) < bytes(at);
        (is_comparable && is_once(at) && is_once(next) && is_less()).then_some(one)
    })
}

/// TCP's flag of a segment that opens a connection.
const SYN: u8 = 0x02;

/// About how many bytes of a fragment are headers: where a packet is cut anew, their number is another one.
const FRAGMENT_HEADERS: u32 = 20;

/// What was seen of a packet as a whole, and its later fragments. Where only those were seen, they stand for it.
fn whole_and_parts(seen: &mut [Seen]) -> (&mut [Seen], &mut [Seen]) {
    seen.sort_by_key(|seen| seen.is_part);
    let count = seen.iter().filter(|seen| !seen.is_part).count();
    let (whole, parts) = seen.split_at_mut(count);
    if whole.is_empty() { (parts, whole) } else { (whole, parts) }
}

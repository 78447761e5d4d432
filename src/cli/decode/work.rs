//! What is done with one batch of packets.

use std::net::IpAddr;

use super::legs::Legs;
use super::packets::Packets;
use super::plan::{Form, Plan};
use crate::capture::batch::Batch;
use crate::capture::{Direction, Point, Reception};
use crate::render::decode::{Buffer, Painter, Shown, View};
use crate::trace::Way;
use crate::wire::{Checked, Checksum, Decoded, Dissector, Frame, Gathering, Kind, Reassembler, Whole};

/// One that decodes and shows batches; each thread has one.
pub(super) struct Worker<'a> {
    plan: &'a Plan<'a>,
    dissector: Dissector,
    reassembler: Option<Reassembler>,
    pen: Pen<'a>,
    left: Option<u64>,
    /// Whether packets of usual headers are shown after one look at these.
    hurries: bool,
}

/// How packets are shown.
struct Pen<'a> {
    plan: &'a Plan<'a>,
    form: Shape,
    legs: Option<Legs<'a>>,
    /// Whether nothing is shown but what a packet has itself.
    is_plain: bool,
    checked: Vec<Checked>,
    remarks: Vec<String>,
}

/// What comes out.
enum Shape {
    Text { painter: Painter, out: Buffer },
    Packets { packets: Packets, out: Vec<u8> },
}

/// A packet where it was found.
#[derive(Clone, Copy)]
struct Found<'b> {
    batch: &'b Batch,
    place: usize,
    frame: Frame<'b>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(plan: &'a Plan<'a>) -> Self {
        let form = match &plan.form {
            Form::Text(view) => Shape::Text { painter: Painter::new(view.clone(), plan.extra), out: Buffer::default() },
            Form::Packets { decapsulate, annotate } => {
                Shape::Packets { packets: Packets::new(*decapsulate, *annotate), out: Vec::new() }
            }
        };
        let legs = plan.snapshot.as_ref().map(|(snapshot, points)| Legs::new(snapshot, points));
        let is_read = matches!(plan.form, Form::Text(View::Line | View::Tree));
        let asked = plan.extra.checksums || plan.extra.fragments || legs.is_some();
        let is_plain = !is_read && !asked && matches!(form, Shape::Text { .. });
        let is_quick = matches!(&form, Shape::Text { painter, .. } if painter.is_quick());
        let pen = Pen { plan, form, legs, is_plain, checked: Vec::new(), remarks: Vec::new() };
        let reassembler = plan.extra.fragments.then(Reassembler::default);
        let hurries = is_plain && is_quick && plan.inner.is_none();
        Self { plan, dissector: Dissector::new(plan.ports.clone()), reassembler, pen, left: plan.count, hurries }
    }

    /// Shows the packets of a batch; false where no more are wanted.
    pub(super) fn show(&mut self, batch: &Batch) -> bool {
        self.pen.begin();
        let is_choosy = !self.plan.wants_all();
        for (place, frame) in batch.frames().enumerate() {
            if is_choosy && !self.plan.wants(&frame) {
                continue;
            }
            let is_shown = self.hurries && self.usual(&frame) || self.packet(Found { batch, place, frame });
            if is_shown && let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    self.pen.end();
                    return false;
                }
            }
        }
        self.pen.end();
        true
    }

    /// What was shown of the last batch.
    pub(super) fn out(&self) -> &[u8] {
        match &self.pen.form {
            Shape::Text { out, .. } => out.text(),
            Shape::Packets { out, .. } => out,
        }
    }

    /// What a file of packets still needs that has none of these points' packets.
    pub(super) fn finish(&mut self, points: &[Point]) -> &[u8] {
        match &mut self.pen.form {
            Shape::Text { .. } => &[],
            Shape::Packets { packets, out } => {
                packets.finish(points, out);
                out
            }
        }
    }

    /// What could not be shown, or told.
    pub(super) fn notes(&mut self) -> Vec<String> {
        let mut notes = self.pen.legs.as_mut().map(Legs::notes).unwrap_or_default();
        if let Shape::Packets { packets, .. } = &self.pen.form {
            notes.extend(packets.notes());
        }
        notes
    }

    /// Shows a packet of usual headers after one look at these; false where it takes more.
    #[inline]
    fn usual(&mut self, frame: &Frame<'_>) -> bool {
        let Shape::Text { painter, out } = &mut self.pen.form else { return false };
        self.dissector.glance(frame).is_some_and(|glance| painter.usual(frame, &glance, out))
    }

    /// Shows a packet; false where it is not wanted.
    fn packet(&mut self, found: Found<'_>) -> bool {
        let frame = found.frame;
        let decoded = self.dissector.decode(frame.link_type, frame.bytes, frame.length);
        if let Some(reassembler) = &mut self.reassembler {
            if self.pen.gathers(&decoded)
                && let Some(gathered) = reassembler.add(frame.interface, frame.number, &decoded)
            {
                return self.gathered(found, gathered);
            }
            if !self.plan.passes(&frame) {
                return false;
            }
        }
        if !self.plan.wants_inner(&frame, &decoded) {
            return false;
        }
        self.pen.put(found, &decoded, None);
        true
    }

    /// Shows a fragment, or the packet that it makes whole. That may be a fragment itself, inside a tunnel.
    #[cold]
    fn gathered(&mut self, found: Found<'_>, mut gathered: Gathering) -> bool {
        let mut last: Option<Whole> = None;
        self.pen.remarks.clear();
        loop {
            match gathered {
                Gathering::Waits if last.is_none() && self.pen.waits() => return false,
                Gathering::Waits => break,
                Gathering::Dropped(why) => {
                    self.pen.remarks.push(format!("not put together: {why}"));
                    break;
                }
                Gathering::Whole(whole) => {
                    let decoded = decode_whole(&mut self.dissector, &found.frame, &whole);
                    let next = self
                        .reassembler
                        .as_mut()
                        .and_then(|all| all.add(found.frame.interface, found.frame.number, &decoded));
                    self.pen.is_whole(&whole);
                    last = Some(whole);
                    match next {
                        Some(next) if self.pen.goes_on() => gathered = next,
                        _ => break,
                    }
                }
            }
        }
        let frame = found.frame;
        let (inside, decoded) = match &last {
            Some(whole) => {
                let length = u32::try_from(whole.bytes.len()).unwrap_or(u32::MAX);
                let inside = Frame { bytes: &whole.bytes, length, ..frame };
                (inside, decode_whole(&mut self.dissector, &frame, whole))
            }
            None => (frame, self.dissector.decode(frame.link_type, frame.bytes, frame.length)),
        };
        if !self.plan.passes(&inside) || !self.plan.wants_inner(&inside, &decoded) {
            return false;
        }
        self.pen.put(found, &decoded, last.as_ref());
        self.pen.remarks.clear();
        true
    }
}

fn decode_whole<'d>(dissector: &'d mut Dissector, frame: &Frame<'_>, whole: &'d Whole) -> Decoded<'d> {
    let length = u32::try_from(whole.bytes.len()).unwrap_or(u32::MAX);
    dissector.decode_within(frame.link_type, &whole.bytes, length, whole.start)
}

impl Pen<'_> {
    fn begin(&mut self) {
        if let Shape::Text { out, .. } = &mut self.form {
            out.clear();
        }
    }

    fn end(&mut self) {
        if let Shape::Packets { packets, out } = &mut self.form {
            packets.take(out);
        }
    }

    /// Whether fragments of this packet are put together: a packet in a tunnel can be written whole only without that.
    fn gathers(&self, decoded: &Decoded<'_>) -> bool {
        let is_outermost = || decoded.packets().next().is_some_and(|packet| packet.fragment().is_some());
        self.goes_on() || is_outermost()
    }

    /// Whether what a packet carries is put together, too.
    fn goes_on(&self) -> bool {
        match &self.form {
            Shape::Text { .. } => true,
            Shape::Packets { packets, .. } => packets.decapsulates(),
        }
    }

    /// A fragment waits for others; whether it is not shown, because the whole packet will be.
    fn waits(&mut self) -> bool {
        match &mut self.form {
            Shape::Text { .. } => false,
            Shape::Packets { packets, .. } => {
                packets.waits();
                true
            }
        }
    }

    fn is_whole(&mut self, whole: &Whole) {
        if let Shape::Packets { packets, .. } = &mut self.form {
            packets.is_whole(whole.numbers.len());
        }
    }

    /// Shows a packet, and the fragments that it was put together of.
    #[inline]
    fn put(&mut self, found: Found<'_>, decoded: &Decoded<'_>, whole: Option<&Whole>) {
        if !self.is_plain {
            return self.put_all(found, decoded, whole);
        }
        let Found { batch, frame, .. } = found;
        let (interface, label) = self.plan.interface(frame.interface, batch.points());
        if let Shape::Text { painter, out } = &mut self.form {
            let (told, checksums, fragments) = (None, None, None);
            let shown = Shown { frame: &frame, decoded, interface, label, remarks: &[], told, checksums, fragments };
            painter.packet(&shown, out);
        }
    }

    /// The same, with all that was asked for.
    #[inline(never)]
    fn put_all(&mut self, found: Found<'_>, decoded: &Decoded<'_>, whole: Option<&Whole>) {
        let Found { batch, place, frame } = found;
        let extra = self.plan.extra;
        if let Some(legs) = &mut self.legs {
            let fragments = whole.map(|whole| (whole.start, whole.fragments));
            legs.look(&frame, decoded, way(batch, place), batch.points(), fragments);
        }
        if extra.checksums {
            self.checked = decoded.checksums();
            // What stands around fragments has a checksum of one of them alone.
            for checked in self.checked.iter_mut().filter(|one| whole.is_some_and(|whole| is_around(one, whole))) {
                checked.checksum = Checksum::Unknown;
            }
        }
        let is_read = matches!(self.plan.form, Form::Text(View::Line | View::Tree));
        let remarks = if is_read {
            [remarks(batch, place), names(batch, decoded), self.remarks.clone()].concat()
        } else {
            Vec::new()
        };
        let (interface, label) = self.plan.interface(frame.interface, batch.points());
        let shown = Shown {
            frame: &frame,
            decoded,
            interface,
            label,
            remarks: &remarks,
            told: self.legs.as_ref().map(Legs::told),
            checksums: extra.checksums.then_some(self.checked.as_slice()),
            fragments: extra.fragments.then(|| whole.map_or(&[][..], |whole| &whole.numbers)),
        };
        match &mut self.form {
            Shape::Text { painter, out } => painter.packet(&shown, out),
            Shape::Packets { packets, .. } => {
                for address in addresses(decoded) {
                    let told = shown.told.and_then(|told| told.names.get(address));
                    batch.name(address).or(told).into_iter().for_each(|name| packets.name(address, name));
                }
                packets.packet(&shown, batch.options(place), batch.points());
            }
        }
    }
}

impl Plan<'_> {
    /// What an interface is called, here and by tshark, which reads one file only.
    #[inline]
    fn interface<'p>(&'p self, interface: u32, points: &'p [Point]) -> (Option<&'p str>, Option<&'p str>) {
        let Some(point) = points.get(interface as usize) else { return (None, None) };
        let name = point.name.as_deref().or_else(|| self.names.get(point.file).map(String::as_str));
        (name, if self.names.is_empty() { point.label.as_deref() } else { name })
    }
}

/// Whether a checksum is about what stands around a packet that was put together, and about that.
fn is_around(checked: &Checked, whole: &Whole) -> bool {
    checked.layer.start < whole.start && checked.layer.kind != Kind::Ipv4 && checked.checksum != Checksum::Absent
}

/// Which way a packet went, where its capture says so.
fn way(batch: &Batch, place: usize) -> Option<Way> {
    match batch.options(place).direction()? {
        Direction::In(_) => Some(Way::In),
        Direction::Out => Some(Way::Out),
    }
}

/// What a pcapng file calls the packet's addresses.
fn names(batch: &Batch, decoded: &Decoded<'_>) -> Vec<String> {
    if !batch.has_names() {
        return Vec::new();
    }
    let named = addresses(decoded).into_iter().filter_map(|address| Some((address, batch.name(address)?)));
    named.map(|(address, name)| format!("the file calls {address} {name}")).collect()
}

/// The packet's addresses, outside and inside.
fn addresses(decoded: &Decoded<'_>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for packet in decoded.outermost().into_iter().chain(decoded.innermost()).chain(decoded.cut_packet()) {
        let ends = packet.source().into_iter().chain(packet.destination());
        ends.for_each(|address| {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        });
    }
    addresses
}

/// What a pcapng file says of a packet beside its bytes.
fn remarks(batch: &Batch, place: usize) -> Vec<String> {
    let options = batch.options(place);
    let direction = options.clone().direction().map(|direction| match direction {
        Direction::Out => "out",
        Direction::In(Reception::Unicast) => "in",
        Direction::In(Reception::Multicast) => "in as multicast",
        Direction::In(Reception::Broadcast) => "in as broadcast",
        Direction::In(Reception::Promiscuous) => "for another host",
    });
    direction.map(str::to_owned).into_iter().chain(options.comments()).collect()
}

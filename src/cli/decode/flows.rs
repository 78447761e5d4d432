//! `--flows`: what two ends have sent to each other.

use std::io;

use crate::capture::batch::Batch;
use crate::capture::several::Several;
use crate::cli::packed::Packed;
use crate::render::decode::{AddressNames, Buffer, FlowPainter, FlowView};
use crate::wire::{Dissector, Flows, Frame};

use super::legs::name_of;
use super::plan::Plan;
use super::run::{Progress, notes};

/// So much text is written at once.
const PIECE: usize = 64 << 10;

/// Shows all conversations, and gives what was wrong with the files. Fails where writing does.
pub(super) fn run(
    mut several: Several,
    plan: &Plan<'_>,
    view: FlowView,
    out: Packed,
    progress: Progress,
    unread: Vec<String>,
) -> io::Result<Vec<String>> {
    let (mut flows, has_points) = gather(&mut several, plan, &mut progress.unseen());
    let mut notes = notes(&mut several, plan, unread);
    match flows.others {
        0 => {}
        1 => notes.push("1 packet has no IP header, and is in no conversation".to_owned()),
        count => notes.push(format!("{count} packets have no IP header, and are in no conversation")),
    }
    if has_points {
        let what = "packets of several capture points: one that passes several of them is counted at each, and again as a \
                    retransmission; `flowtrace correlate` tells which are one";
        notes.push(what.to_owned());
    }
    show(&mut flows, plan, view, out, &notes)?;
    Ok(notes)
}

/// The conversations, and whether their packets are of several capture points.
fn gather(several: &mut Several, plan: &Plan<'_>, progress: &mut Progress) -> (Flows, bool) {
    let mut dissector = Dissector::new(plan.ports.clone());
    let (mut flows, mut batch) = (Flows::default(), Batch::default());
    let (mut least, mut most) = (u32::MAX, 0);
    while several.fill(&mut batch) {
        let points = add_all(&batch, &mut dissector, plan, &mut flows);
        (least, most) = (least.min(points.0), most.max(points.1));
        progress.tell();
    }
    (flows, least < most)
}

/// Takes the packets of a batch into account that are wanted, and gives the least and the greatest of their capture points. It
/// is called, so that the loop has the processor's registers to itself.
#[inline(never)]
fn add_all(batch: &Batch, dissector: &mut Dissector, plan: &Plan<'_>, flows: &mut Flows) -> (u32, u32) {
    let (mut least, mut most) = (u32::MAX, 0);
    let has_several = batch.points().len() > 1;
    let is_plain = plan.inner.is_none();
    let wants_all = is_plain && plan.wants_all();
    for frame in batch.frames() {
        // What is handed over is a copy: only that one needs an address, and the frame can be in registers.
        if wants_all || plan.wants(&{ frame }) && (is_plain || wants_inner(frame, plan, dissector)) {
            flows.take(frame, dissector);
            if has_several {
                (least, most) = (least.min(frame.interface), most.max(frame.interface));
            } else {
                least = 0;
            }
        }
    }
    (least, most)
}

/// Whether a packet is wanted, by its innermost one.
fn wants_inner(frame: Frame<'_>, plan: &Plan<'_>, dissector: &mut Dissector) -> bool {
    plan.wants_inner(&frame, &dissector.decode(frame.link_type, frame.bytes, frame.length))
}

fn show(flows: &mut Flows, plan: &Plan<'_>, view: FlowView, mut sink: Packed, notes: &[String]) -> io::Result<()> {
    let mut painter = FlowPainter::new(view);
    let mut names = plan.snapshot.as_ref().map(|_| AddressNames::default());
    let mut out = Buffer::default();
    painter.head(names.is_some(), &mut out);
    sink.put(out.text())?;
    out.clear();
    let mut separator = painter.separator();
    for flow in flows.iter() {
        if let (Some(names), Some((snapshot, _))) = (&mut names, &plan.snapshot) {
            names.learn(flow.source, |address| name_of(snapshot, address));
            names.learn(flow.destination, |address| name_of(snapshot, address));
        }
        painter.flow(&flow, names.as_ref(), &mut out);
        if out.len() > PIECE {
            sink.put(out.text().get(separator..).unwrap_or_default())?;
            separator = 0;
            out.clear();
        }
    }
    if !out.is_empty() {
        sink.put(out.text().get(separator..).unwrap_or_default())?;
    }
    out.clear();
    painter.tail(notes, &mut out);
    sink.put(out.text())?;
    sink.finish()
}

//! `--flows`: what two ends have sent to each other.

use std::io::{self, Write as _};

use super::plan::Plan;
use super::run::{Progress, notes, write};
use crate::capture::batch::Batch;
use crate::capture::several::Several;
use crate::render::decode::{Buffer, FlowPainter, FlowView};
use crate::wire::{Dissector, Flows};

/// So much text is written at once.
const PIECE: usize = 64 << 10;

/// Shows all conversations on the standard output, and gives what was wrong with the files. Fails where writing does.
pub(super) fn run(
    mut several: Several,
    plan: &Plan,
    view: FlowView,
    progress: Progress,
    unread: Vec<String>,
) -> io::Result<Vec<String>> {
    let flows = gather(&mut several, plan, &mut progress.unseen());
    let mut notes = notes(&mut several, plan, unread);
    match flows.others {
        0 => {}
        1 => notes.push("1 packet has no IP header, and is in no conversation".to_owned()),
        count => notes.push(format!("{count} packets have no IP header, and are in no conversation")),
    }
    show(&flows, view, &notes)?;
    Ok(notes)
}

fn gather(several: &mut Several, plan: &Plan, progress: &mut Progress) -> Flows {
    let mut dissector = Dissector::new(plan.ports.clone());
    let (mut flows, mut batch) = (Flows::default(), Batch::default());
    while several.fill(&mut batch) {
        for frame in batch.frames().filter(|frame| plan.wants(frame)) {
            let decoded = dissector.decode(frame.link_type, frame.bytes, frame.length);
            if plan.wants_inner(&frame, &decoded) {
                flows.add(&frame, &decoded);
            }
        }
        progress.tell();
    }
    flows
}

fn show(flows: &Flows, view: FlowView, notes: &[String]) -> io::Result<()> {
    let mut painter = FlowPainter::new(view);
    let mut out = Buffer::default();
    painter.head(&mut out);
    write(&out)?;
    out.clear();
    let mut separator = painter.separator();
    for flow in flows.iter() {
        painter.flow(&flow, &mut out);
        if out.len() > PIECE {
            io::stdout().write_all(out.text().get(separator..).unwrap_or_default())?;
            separator = 0;
            out.clear();
        }
    }
    if !out.is_empty() {
        io::stdout().write_all(out.text().get(separator..).unwrap_or_default())?;
    }
    out.clear();
    painter.tail(notes, &mut out);
    write(&out)?;
    io::stdout().flush()
}

//! What is done with one batch of packets.

use super::plan::Plan;
use crate::capture::batch::Batch;
use crate::capture::{Direction, Point, Reception};
use crate::render::decode::{Buffer, Painter, Shown, View};
use crate::wire::{Dissector, Frame};

/// One that decodes and shows batches; each thread has one.
pub(super) struct Worker<'a> {
    plan: &'a Plan,
    dissector: Dissector,
    painter: Painter,
    /// What was shown of the last batch.
    pub(super) out: Buffer,
    left: Option<u64>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let painter = Painter::new(plan.view.clone(), plan.with_bytes);
        Self { plan, dissector: Dissector::new(plan.ports.clone()), painter, out: Buffer::default(), left: plan.count }
    }

    /// Shows the packets of a batch; false where no more are wanted.
    pub(super) fn show(&mut self, batch: &Batch) -> bool {
        self.out.clear();
        let has_remarks = matches!(self.plan.view, View::Line | View::Tree);
        for (place, frame) in batch.frames().enumerate() {
            if !self.plan.wants(&frame) {
                continue;
            }
            let remarks = if has_remarks { remarks(batch, place) } else { Vec::new() };
            if !self.packet(frame, batch.points(), &remarks) {
                continue;
            }
            if let Some(left) = &mut self.left {
                *left -= 1;
                if *left == 0 {
                    return false;
                }
            }
        }
        true
    }

    /// Shows a packet; false where it is not wanted.
    #[inline]
    fn packet(&mut self, frame: Frame<'_>, points: &[Point], remarks: &[String]) -> bool {
        let decoded = self.dissector.decode(frame.link_type, frame.bytes, frame.length);
        if !self.plan.wants_inner(&frame, &decoded) {
            return false;
        }
        let interface = points
            .get(frame.interface as usize)
            .and_then(|point| point.name.as_deref().or_else(|| self.plan.names.get(point.file).map(String::as_str)));
        self.painter.packet(&Shown { frame: &frame, decoded: &decoded, interface, remarks }, &mut self.out);
        true
    }
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

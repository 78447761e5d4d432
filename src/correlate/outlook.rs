//! What a snapshot says of each flow, counted over its packets.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::evidence::Evidence;

use super::journey::{End, Journey};
use super::lanes::FlowId;
use super::predict::Predicted;
use super::sight::PointId;

/// How many different results a flow has, at most, that are told apart.
const MOST: usize = 16;

/// What the packets of flows showed against what is predicted for them.
#[derive(Debug, Default)]
pub struct Outlook {
    flows: BTreeMap<FlowId, Vec<Told>>,
    /// By the lines that end packets where some were lost: how many.
    pub causes: BTreeMap<Vec<Evidence>, u64>,
    /// Packets that were lost by the model alone: no others like them went on.
    pub silent: u64,
    /// Packets that were lost where nothing in the snapshot ends them.
    pub unexplained: u64,
}

/// Packets of a flow of which the same is to be told.
#[derive(Clone, Debug)]
pub struct Told {
    /// What.
    pub predicted: Rc<Predicted>,
    /// How many.
    pub packets: u64,
    /// Behind which point they were lost.
    pub lost_after: Option<PointId>,
    /// How many of them were lost by the model alone.
    pub silent: u64,
}

impl Outlook {
    /// Counts a packet, which was lost behind a point or not.
    pub fn add(&mut self, journey: &Journey<'_>, predicted: Option<&Rc<Predicted>>, lost_after: Option<PointId>) {
        let silent = u64::from(lost_after.is_some() && !matches!(journey.end, End::Lost(_)));
        self.silent += silent;
        if lost_after.is_some() {
            self.add_loss(predicted);
        }
        let (Some(flow), Some(predicted)) = (journey.flow, predicted) else { return };
        let told = self.flows.entry(flow).or_default();
        let is_same = |one: &&mut Told| one.lost_after == lost_after && *one.predicted == **predicted;
        if let Some(same) = told.iter_mut().find(is_same) {
            (same.packets, same.silent) = (same.packets + 1, same.silent + silent);
        } else if told.len() < MOST {
            told.push(Told { predicted: Rc::clone(predicted), packets: 1, lost_after, silent });
        }
    }

    fn add_loss(&mut self, predicted: Option<&Rc<Predicted>>) {
        match predicted.map(|predicted| predicted.because()).filter(|because| !because.is_empty()) {
            Some(because) => *self.causes.entry(because).or_default() += 1,
            None => self.unexplained += 1,
        }
    }

    /// Behind which points packets of a flow were lost by the model alone, and how many.
    #[must_use]
    pub fn silent_of(&self, flow: FlowId) -> Vec<(PointId, u64)> {
        let told = self.flows.get(&flow).into_iter().flatten().filter(|told| told.silent > 0);
        told.filter_map(|told| Some((told.lost_after?, told.silent))).collect()
    }

    /// What there is to tell of a flow, that of most packets first.
    #[must_use]
    pub fn of(&self, flow: FlowId) -> Vec<&Told> {
        let mut told: Vec<&Told> = self.flows.get(&flow).into_iter().flatten().collect();
        told.sort_by_key(|told| std::cmp::Reverse(told.packets));
        told
    }
}

//! The tunnels that conversations are carried by: few, but each conversation may be carried by several.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::wire::{Decoded, Tunnel};

/// What is remembered of tunnels within tunnels.
const DEEPEST: usize = 4;
/// So many nests are named of a conversation.
const MOST: usize = 8;

/// The set of a conversation that has none yet.
pub(super) const NO_SET: u16 = 0;
/// The set of all conversations for whose tunnels there is no number left.
const OTHERS: u16 = u16::MAX;

/// Tunnels within each other, outermost first.
type Nest = [Option<Tunnel>; DEEPEST];

/// Every set of nests that a conversation has, once.
#[derive(Debug, Default)]
pub(super) struct Nests {
    /// The sets, from 1, each in the order in which its nests were met.
    sets: Vec<Vec<Nest>>,
    places: HashMap<Vec<Nest>, u16, RandomState>,
    /// The last packet's nest, and its set.
    last: Option<(Nest, u16)>,
}

impl Nests {
    /// The set of a packet's own nest.
    pub(super) fn of(&mut self, decoded: &Decoded<'_>) -> u16 {
        let mut nest = [None; DEEPEST];
        nest.iter_mut().zip(decoded.tunnels()).for_each(|(place, tunnel)| *place = Some(tunnel));
        match self.last {
            Some((last, set)) if last == nest => set,
            _ => {
                let set = self.set(vec![nest]);
                self.last = Some((nest, set));
                set
            }
        }
    }

    fn set(&mut self, set: Vec<Nest>) -> u16 {
        if let Some(place) = self.places.get(&set) {
            return *place;
        }
        let place = u16::try_from(self.sets.len() + 1).unwrap_or(OTHERS);
        if place != OTHERS {
            self.sets.push(set.clone());
            self.places.insert(set, place);
        }
        place
    }

    /// The set of two sets' nests.
    pub(super) fn both(&mut self, before: u16, more: u16) -> u16 {
        match (self.list(before), self.list(more)) {
            _ if before == NO_SET => more,
            (Some(old), Some(new)) => {
                let unknown = new.iter().filter(|nest| !old.contains(nest));
                let set: Vec<Nest> = old.iter().chain(unknown).take(MOST).copied().collect();
                if set.len() == old.len() { before } else { self.set(set) }
            }
            _ => OTHERS,
        }
    }

    fn list(&self, set: u16) -> Option<&[Nest]> {
        self.sets.get(usize::from(set).checked_sub(1)?).map(Vec::as_slice)
    }

    /// What a set holds.
    pub(super) fn tunnels(&self, set: u16) -> Vec<Vec<Tunnel>> {
        match self.list(set) {
            Some(nests) => nests.iter().map(|nest| nest.iter().flatten().copied().collect()).collect(),
            None => vec![vec![Tunnel { name: "others", vni: None }]],
        }
    }
}

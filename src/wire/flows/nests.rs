//! The tunnels that conversations are carried by: few, but each conversation may be carried by several.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::wire::{Decoded, Kind, Layer, Tunnel, u32_at};

fn header(bytes: &[u8], layer: Layer) -> Header {
    let vni = match layer.kind {
        Kind::Vxlan | Kind::Geneve => u32_at(bytes, layer.start as usize + 4).unwrap_or(0),
        _ => 0,
    };
    (layer.kind, vni)
}

/// What is remembered of tunnels within tunnels.
const DEEPEST: usize = 4;
/// So many nests are named of a conversation.
const MOST: usize = 8;

/// So many VNIs have their sets at hand.
const USUAL: usize = 16;

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
    /// What that packet's headers were, and what they say of tunnels.
    headers: Vec<Header>,
    /// The sets of packets in one VXLAN tunnel: by the VNI from 1 on, or 0 without a tunnel, at the place of its last digits.
    usual: [(u32, u16); USUAL],
    /// What two sets came to together, at the place of their last digits.
    joined: [(u16, u16, u16); USUAL],
}

/// A header as far as it tells of a tunnel: what it is, and its VNI.
type Header = (Kind, u32);

impl Nests {
    /// The set of a packet that is in one VXLAN tunnel, of which one more than the VNI is given, or in no tunnel, for which
    /// that is 0.
    #[inline]
    pub(super) fn of_vxlan(&mut self, number: u32) -> u16 {
        match self.usual.get(number as usize % USUAL) {
            Some((known, set)) if *known == number && *set != NO_SET => *set,
            _ => self.learn(number),
        }
    }

    #[cold]
    fn learn(&mut self, number: u32) -> u16 {
        let tunnel = number.checked_sub(1).map(|vni| Tunnel { name: Kind::Vxlan.name(), vni: Some(vni) });
        let set = self.set(vec![[tunnel, None, None, None]]);
        self.usual.get_mut(number as usize % USUAL).into_iter().for_each(|known| *known = (number, set));
        set
    }

    /// The set of a packet's own nest.
    pub(super) fn of(&mut self, decoded: &Decoded<'_>) -> u16 {
        let headers = decoded.layers.iter().map(|layer| header(decoded.bytes, *layer));
        // The next packet is most often in the same tunnel.
        if let Some((_, set)) = self.last
            && decoded.layers.len() == self.headers.len()
            && headers.clone().eq(self.headers.iter().copied())
        {
            return set;
        }
        self.headers.clear();
        self.headers.extend(headers);
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
    #[inline]
    pub(super) fn both(&mut self, before: u16, more: u16) -> u16 {
        if before == NO_SET {
            return more;
        }
        let place = usize::from(before.wrapping_mul(5) ^ more) % USUAL;
        match self.joined.get(place) {
            Some((one, other, set)) if (*one, *other) == (before, more) => *set,
            _ => {
                let set = self.join(before, more);
                self.joined.get_mut(place).into_iter().for_each(|known| *known = (before, more, set));
                set
            }
        }
    }

    fn join(&mut self, before: u16, more: u16) -> u16 {
        match (self.list(before), self.list(more)) {
            (Some(old), Some(new)) => {
                let mut unknown = new.iter().filter(|nest| !old.contains(nest)).peekable();
                if unknown.peek().is_none() || old.len() >= MOST {
                    return before;
                }
                let set = old.iter().chain(unknown).take(MOST).copied().collect();
                self.set(set)
            }
            _ => OTHERS,
        }
    }

    fn list(&self, set: u16) -> Option<&[Nest]> {
        self.sets.get(usize::from(set).checked_sub(1)?).map(Vec::as_slice)
    }

    /// What each set holds.
    pub(super) fn told(&self) -> Told {
        let nest = |nest: &Nest| nest.iter().flatten().copied().collect();
        let sets = self.sets.iter().map(|nests| nests.iter().map(nest).collect()).collect();
        Told { sets, ..Told::default() }
    }
}

/// The tunnels of every set.
#[derive(Debug)]
pub(super) struct Told {
    sets: Vec<Vec<Vec<Tunnel>>>,
    others: [Vec<Tunnel>; 1],
}

impl Default for Told {
    fn default() -> Self {
        Self { sets: Vec::new(), others: [vec![Tunnel { name: "others", vni: None }]] }
    }
}

impl Told {
    #[inline]
    pub(super) fn of(&self, set: u16) -> &[Vec<Tunnel>] {
        let set = usize::from(set).checked_sub(1).and_then(|place| self.sets.get(place));
        set.map_or(&self.others, Vec::as_slice)
    }
}

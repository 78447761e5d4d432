//! Whose link addresses are whose: a device that is no bridge sees frames that it sends and frames that are for it, so that
//! its own address stands in each of them. Where a frame goes to the address of a captured device, that device has to see it.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use crate::net::MacAddr;

use super::sight::{Lane, NodeId, PointId};

/// So many destinations of a point are remembered.
const MOST: usize = 4096;

/// What a point's frames have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    /// The addresses that stand in every frame so far; `None` before the first.
    macs: Option<Vec<MacAddr>>,
    /// Whom its packets were for.
    destinations: HashSet<IpAddr>,
}

impl Common {
    /// One more frame.
    pub(super) fn add(&mut self, lane: &Lane) {
        let ends = lane.link.map_or([None; 2], |link| [Some(link.source), Some(link.destination)]);
        match &mut self.macs {
            Some(macs) if macs.is_empty() => {}
            Some(macs) => macs.retain(|mac| ends.contains(&Some(*mac))),
            None => self.macs = Some(ends.into_iter().flatten().collect()),
        }
        if self.destinations.len() < MOST {
            self.destinations.insert(lane.leading());
        }
    }
}

/// The points that link addresses belong to.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    nodes: Vec<NodeId>,
    points: BTreeMap<MacAddr, PointId>,
    destinations: Vec<HashSet<IpAddr>>,
}

impl Owners {
    /// What the points' frames tell. What can be the address of several points is no one's.
    pub(super) fn new(nodes: &[NodeId], common: Vec<Common>) -> Self {
        let (mut left, destinations): (Vec<Vec<MacAddr>>, Vec<_>) =
            common.into_iter().map(|common| (common.macs.unwrap_or_default(), common.destinations)).unzip();
        let mut points: BTreeMap<MacAddr, PointId> = BTreeMap::new();
        // Of two devices that see each other's frames only, one is known once the other one is.
        loop {
            let sole = |macs: &Vec<MacAddr>| if let [mac] = macs.as_slice() { Some(*mac) } else { None };
            let found = left.iter().position(|macs| sole(macs).is_some());
            let Some((place, mac)) = found.and_then(|place| Some((place, sole(left.get(place)?)?))) else { break };
            let is_shared = left.iter().enumerate().any(|(other, macs)| other != place && sole(macs) == Some(mac));
            for macs in &mut left {
                macs.retain(|other| *other != mac);
            }
            if let (false, Ok(point)) = (is_shared, u16::try_from(place)) {
                points.insert(mac, PointId(point));
            }
        }
        Self { nodes: nodes.to_vec(), points, destinations }
    }

    /// The point on another node that packets of a lane go to, by its link address; it has seen others that were for the same
    /// address, so that its capture is not of something else.
    pub(super) fn heir(&self, lane: &Lane) -> Option<PointId> {
        let point = *self.points.get(&lane.link?.destination)?;
        let sees = self.destinations.get(point.index()).is_some_and(|seen| seen.contains(&lane.leading()));
        let node = |point: PointId| self.nodes.get(point.index());
        (sees && node(point) != node(lane.point)).then_some(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Link, Protocol};

    fn lane(point: u16, from: u8, to: u8) -> Lane {
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        Lane {
            point: PointId(point),
            device: 0,
            way: None,
            protocol: Protocol::UDP,
            source: IpAddr::from([192, 0, 2, from]),
            destination: IpAddr::from([192, 0, 2, to]),
            ports: None,
            link: Some(Link { source: mac(from), destination: mac(to) }),
            tunnel: None,
        }
    }

    fn owners(frames: &[Vec<(u8, u8)>]) -> Owners {
        let common = (0..).zip(frames).map(|(point, frames)| {
            let mut common = Common::default();
            for (from, to) in frames {
                common.add(&lane(point, *from, *to));
            }
            common
        });
        let nodes: Vec<NodeId> = (0..frames.len()).map(|node| NodeId(u16::try_from(node).unwrap())).collect();
        Owners::new(&nodes, common.collect())
    }

    #[test]
    fn an_address_in_every_frame_is_the_devices_own() {
        let known = owners(&[vec![(1, 2)], vec![(3, 2), (2, 4)]]);
        assert_eq!(known.heir(&lane(0, 1, 2)), Some(PointId(1)));
        assert_eq!(known.heir(&lane(1, 2, 1)), None, "the first has seen nothing that was for it");
        assert_eq!(known.heir(&lane(1, 3, 2)), None, "it is there already");
    }

    #[test]
    fn what_may_be_anybodys_is_no_ones() {
        let known = owners(&[vec![(1, 2)], vec![(1, 2)]]);
        assert_eq!(known.heir(&lane(0, 1, 2)), None);
        let known = owners(&[vec![(1, 2), (3, 2)], vec![(1, 2), (4, 2)], vec![(5, 6)]]);
        assert_eq!(known.heir(&lane(2, 5, 2)), None);
    }
}

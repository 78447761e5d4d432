//! Which capture point a packet is from: `--at`, the capture's own word, or the file's name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::capture;
use crate::correlate::{Named, NodeId, Point, PointId, Survey};
use crate::error::Error;
use crate::net::{IfName, NodeName};
use crate::snapshot::Snapshot;
use crate::wire::LinkType;

use super::super::point;

/// All capture points, in the order in which they were met.
#[derive(Debug)]
pub(super) struct Points<'s> {
    /// What tells the devices of cooked captures by their indexes.
    snapshot: Option<&'s Snapshot>,
    /// By file: what its name, or `--at`, says.
    named: Vec<(PathBuf, Option<Named>)>,
    pub(super) list: Vec<Point>,
    pub(super) nodes: Vec<NodeName>,
    /// The place of each point in the list.
    known: HashMap<Point, PointId>,
    /// By file and interface.
    places: BTreeMap<(usize, u32), PointId>,
    /// By file, interface and the device's index, of captures of all devices.
    devices: BTreeMap<(usize, u32, u32), (PointId, bool)>,
}

impl<'s> Points<'s> {
    /// The files' names are understood; nothing is opened. Fails where `--at` says nothing that can be understood, or is
    /// about no file of the list.
    pub(super) fn new(files: &[PathBuf], at: &[String], snapshot: Option<&'s Snapshot>) -> Result<Self, Error> {
        let nodes: Vec<NodeName> = snapshot.iter().flat_map(|snapshot| snapshot.nodes.keys().cloned()).collect();
        let mut typed = at.iter().map(|at| given(at)).collect::<Result<BTreeMap<_, _>, _>>()?;
        let mut named = Vec::new();
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let given = typed.remove(file.as_path()).or_else(|| typed.remove(Path::new(name)));
            let by_name = || Named::of_file(name, &nodes).filter(|_| file.as_path() != Path::new("-"));
            named.push((file.clone(), given.or_else(by_name)));
        }
        match typed.into_keys().next() {
            Some(file) => Err(Error::Usage(format!("--at {}=...: no such file is read", file.display()))),
            None => Ok(Self {
                snapshot,
                named,
                list: Vec::new(),
                nodes: Vec::new(),
                known: HashMap::new(),
                places: BTreeMap::new(),
                devices: BTreeMap::new(),
            }),
        }
    }

    /// The points of the interfaces that a file has described, and of nothing else of it yet. An interface that stands
    /// for all devices is none of its own where a snapshot tells the devices.
    pub(super) fn describe(
        &mut self,
        file: usize,
        described: &[capture::Point],
        survey: &mut Survey,
    ) -> Result<(), Error> {
        for (interface, one) in (0..).zip(described) {
            if self.snapshot.is_none() || one.link_type != LinkType::LINUX_SLL2 {
                self.meet(file, interface, one, survey)?;
            }
        }
        Ok(())
    }

    /// The point of a packet, by its interface and, of a capture of all devices, by its device's index; and whether it is
    /// that one device.
    pub(super) fn of_packet(
        &mut self,
        file: usize,
        (interface, index): (u32, Option<u32>),
        described: &[capture::Point],
        survey: &mut Survey,
    ) -> Result<Option<(PointId, bool)>, Error> {
        let Some(one) = described.get(interface as usize) else { return Ok(None) };
        let Some((snapshot, index)) = self.snapshot.zip(index) else {
            return Ok(Some((self.meet(file, interface, one, survey)?, false)));
        };
        if let Some(known) = self.devices.get(&(file, interface, index)) {
            return Ok(Some(*known));
        }
        let place = match self.device(file, one, snapshot, index)? {
            Some(device) => (self.place(device, survey)?, true),
            None => (self.meet(file, interface, one, survey)?, false),
        };
        self.devices.insert((file, interface, index), place);
        Ok(Some(place))
    }

    /// The device that a cooked packet names by its index.
    fn device(
        &self,
        file: usize,
        described: &capture::Point,
        snapshot: &Snapshot,
        index: u32,
    ) -> Result<Option<Point>, Error> {
        let all = self.named(file, described)?;
        let Some(netns) = snapshot.find_netns(&all.node, &all.netns) else { return Ok(None) };
        let device = point::device_at(snapshot.netns(netns), index);
        Ok(device.map(|device| Point { device, ..all }))
    }

    /// The point of an interface of a file.
    fn meet(
        &mut self,
        file: usize,
        interface: u32,
        described: &capture::Point,
        survey: &mut Survey,
    ) -> Result<PointId, Error> {
        if let Some(point) = self.places.get(&(file, interface)) {
            return Ok(*point);
        }
        let named = self.named(file, described)?;
        let point = self.place(named, survey)?;
        self.places.insert((file, interface), point);
        Ok(point)
    }

    /// A point's place in the list, which is a new one to the survey where nobody has met it.
    fn place(&mut self, named: Point, survey: &mut Survey) -> Result<PointId, Error> {
        if let Some(place) = self.known.get(&named) {
            return Ok(*place);
        }
        if self.list.len() >= usize::from(u16::MAX) {
            return Err(Error::Usage(format!("more than {} capture points", u16::MAX)));
        }
        let node = self.node(&named.node);
        let point = survey.add_point(node);
        self.known.insert(named.clone(), point);
        self.list.push(named);
        Ok(point)
    }

    /// The point of a packet that has been met, and whether it is one device of a capture of all.
    pub(super) fn get(&self, file: usize, interface: u32, index: Option<u32>) -> Option<(PointId, bool)> {
        let by_device = index.and_then(|index| self.devices.get(&(file, interface, index))).copied();
        by_device.or_else(|| Some((*self.places.get(&(file, interface))?, false)))
    }

    fn node(&mut self, name: &NodeName) -> NodeId {
        let place = self.nodes.iter().position(|node| node == name).unwrap_or_else(|| {
            self.nodes.push(name.clone());
            self.nodes.len() - 1
        });
        NodeId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    fn named(&self, file: usize, described: &capture::Point) -> Result<Point, Error> {
        let unknown = |path: &Path| {
            Err(Error::Usage(format!(
                "{}: neither its name nor the capture says at which point it was taken; give --at {}=NODE/DEVICE",
                path.display(),
                path.display()
            )))
        };
        let Some((path, named)) = self.named.get(file) else { return unknown(Path::new("?")) };
        // An interface that is called like a point is one.
        let full = described.name.as_deref().filter(|name| name.contains('/')).and_then(Named::typed);
        let (Some(named), device) = (full.as_ref().or(named.as_ref()), described.name.as_deref()) else {
            return unknown(path);
        };
        let device = match (&full, device) {
            (None, Some(device)) => Some(IfName::new(device)),
            _ => named.device.clone(),
        };
        match device.or_else(|| named.device.clone()) {
            Some(device) => Ok(Point { node: named.node.clone(), netns: named.netns.clone(), device }),
            None => unknown(path),
        }
    }
}

/// `FILE=NODE/DEVICE`.
fn given(at: &str) -> Result<(PathBuf, Named), Error> {
    let parts = at.rsplit_once('=').and_then(|(file, point)| Some((PathBuf::from(file), Named::typed(point)?)));
    parts.ok_or_else(|| {
        let wanted =
            "FILE=NODE/DEVICE is wanted, such as a.pcap=n1/eth0, or a.pcap=n1/default_pod1/eth0 for a pod's device";
        Error::Usage(format!("--at {at}: {wanted}"))
    })
}

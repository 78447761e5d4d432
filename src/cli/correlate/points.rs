//! Which capture point a packet is from: `--at`, the capture's own word, or the file's name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::capture;
use crate::correlate::{Named, NodeId, Point, PointId, Survey};
use crate::error::Error;
use crate::net::{IfName, NodeName};

/// All capture points, in the order in which they were met.
#[derive(Debug)]
pub(super) struct Points {
    /// By file: what its name, or `--at`, says.
    named: Vec<(PathBuf, Option<Named>)>,
    pub(super) list: Vec<Point>,
    pub(super) nodes: Vec<NodeName>,
    /// By file and interface.
    places: BTreeMap<(usize, u32), PointId>,
}

impl Points {
    /// The files' names are understood; nothing is opened. Fails where `--at` says nothing that can be understood, or is
    /// about no file of the list.
    pub(super) fn new(files: &[PathBuf], at: &[String], nodes: &[NodeName]) -> Result<Self, Error> {
        let mut typed = at.iter().map(|at| given(at)).collect::<Result<BTreeMap<_, _>, _>>()?;
        let mut named = Vec::new();
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let given = typed.remove(file.as_path()).or_else(|| typed.remove(Path::new(name)));
            named.push((file.clone(), given.or_else(|| Named::of_file(name, nodes))));
        }
        match typed.into_keys().next() {
            Some(file) => Err(Error::Usage(format!("--at {}=...: no such file is read", file.display()))),
            None => Ok(Self { named, list: Vec::new(), nodes: Vec::new(), places: BTreeMap::new() }),
        }
    }

    /// The point of an interface of a file, which is a new one to the survey where nobody has met it.
    pub(super) fn meet(
        &mut self,
        file: usize,
        interface: u32,
        described: &capture::Point,
        survey: &mut Survey,
    ) -> Result<PointId, Error> {
        if let Some(point) = self.get(file, interface) {
            return Ok(point);
        }
        let named = self.named(file, described)?;
        let place = self.list.iter().position(|point| *point == named);
        let point = match place {
            Some(place) => PointId(u16::try_from(place).unwrap_or(u16::MAX)),
            None if self.list.len() >= usize::from(u16::MAX) => {
                return Err(Error::Usage(format!("more than {} capture points", u16::MAX)));
            }
            None => {
                let node = self.node(&named.node);
                self.list.push(named);
                survey.add_point(node)
            }
        };
        self.places.insert((file, interface), point);
        Ok(point)
    }

    /// The point of an interface that has been met.
    pub(super) fn get(&self, file: usize, interface: u32) -> Option<PointId> {
        self.places.get(&(file, interface)).copied()
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

//! Packets through a snapshot that is loaded already.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use flowtrace::engine::{self, Origin, Question};
use flowtrace::load;
use flowtrace::net::{Ip, NetnsName, NodeName, Packet, PodName, Transport};
use flowtrace::snapshot::{NetnsId, Snapshot};
use flowtrace::trace::{Answer, Decision, Verdict};

use super::cluster::Cluster;
use super::dump::Service;
use super::process::{Cost, within};

/// What packets cost.
#[derive(Clone, Copy, Debug)]
pub struct Walks {
    /// A packet to each of several services that nobody has asked for before, all of them together.
    pub new: Cost,
    /// The same packets again.
    pub again: Cost,
    /// How many packets that are.
    pub packets: u32,
    /// How many paths they take together.
    pub paths: u32,
    /// How often a device receives or transmits on them, replies included.
    pub hops: u32,
}

/// A loaded snapshot.
pub struct Loaded {
    snapshot: Snapshot,
    from: NetnsId,
    /// What loading cost.
    pub cost: Cost,
}

impl Loaded {
    /// Loads a snapshot.
    pub fn load(cluster: &Cluster) -> Result<Self, String> {
        let (cost, snapshot) = within(|| load::load(&cluster.dir));
        let snapshot = snapshot.map_err(|err| err.to_string())?;
        let pod = NetnsName::Pod(PodName::new("default", "pod1"));
        let from = snapshot.find_netns(&NodeName::new("n1"), &pod).ok_or("the snapshot has no default/pod1 on n1")?;
        Ok(Self { snapshot, from, cost })
    }

    /// Sends packets to the services 1 to `packets`, after a first one to the service 0.
    pub fn walk(&self, cluster: &Cluster, packets: u32) -> Result<Walks, String> {
        let service = |number| Service::of(cluster.size, number).cluster_ip();
        check(&self.explain(service(0)))?;
        let all = || (1..=packets).map(|number| self.explain(service(number))).collect::<Vec<_>>();
        let (new, answers) = within(all);
        answers.iter().try_for_each(check)?;
        let again = within(all).0;
        let paths = answers.iter().map(|answer| answer.paths.len()).sum::<usize>();
        let hops = answers.iter().map(hops).sum::<usize>();
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Walks { new, again, packets, paths: count(paths), hops: count(hops) })
    }

    fn explain(&self, service: Ipv4Addr) -> Answer {
        let ip = Ip {
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            destination: IpAddr::V4(service),
            ttl: 64,
            tos: 0,
            df: false,
        };
        let transport = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 2 };
        let question = Question {
            packet: Packet::new(ip, transport, 60),
            from: Origin::Socket { netns: self.from },
            reply: true,
            max_paths: 64,
            verbose: false,
            established: false,
        };
        engine::explain(&self.snapshot, &question)
    }
}

/// A walk that ends early would be cheap for the wrong reason.
fn check(answer: &Answer) -> Result<(), String> {
    let arrives = |path: &flowtrace::trace::Path| {
        path.forward.verdict == Verdict::Delivered && path.reply.as_ref().is_some_and(|reply| reply.arrived())
    };
    match answer.paths.iter().position(|path| !arrives(path)) {
        None => Ok(()),
        Some(place) => Err(format!("path {} to {} is not delivered", place + 1, answer.request.ip.destination)),
    }
}

fn hops(answer: &Answer) -> usize {
    let traces = answer.paths.iter().flat_map(|path| [Some(&path.forward), path.reply.as_ref()]).flatten();
    let hop = |decision: &Decision| matches!(decision, Decision::Receive { .. } | Decision::Transmit { .. });
    traces.flat_map(|trace| &trace.steps).filter(|step| hop(&step.decision)).count()
}

impl Walks {
    /// The time of one path of 20 hops, when the packets are sent again.
    pub fn twenty_hops(&self) -> Duration {
        self.again.cpu * 20 / self.hops.max(1)
    }
}

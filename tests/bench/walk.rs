//! Packets through a snapshot that is loaded already.

use std::net::{IpAddr, Ipv4Addr};

use flowtrace::engine::{self, Given, Origin, Question};
use flowtrace::load;
use flowtrace::net::{Ip, NetnsName, NodeName, Packet, PodName, Transport};
use flowtrace::snapshot::{NetnsId, Snapshot};
use flowtrace::trace::{Answer, Decision, Path, Trace, Verdict};

use super::cluster::Cluster;
use super::dump::Service;
use super::goal::Goal;
use super::process::{Cost, Rounds, within};

const ROUNDS: usize = 5;
const RATIO: (f64, &str) = (1.5, "");
/// "About 100 µs": the kernel's own walk is no part of this run, so that there is no ratio to be had.
const HOPS: (f64, &str) = (120.0, " µs");

/// What packets cost.
#[derive(Clone, Copy, Debug)]
struct Walks {
    /// Loading the snapshot.
    load: Cost,
    /// A packet to each of several services that nobody has asked for before, all of them together.
    new: Cost,
    /// The same packets again.
    again: Cost,
    /// How many packets that are.
    packets: u32,
    /// How many paths they take together.
    paths: u32,
    /// How often a device receives or transmits on them, replies included.
    hops: u32,
}

/// Compares packets on a large snapshot with packets on a small one.
pub fn goals(large: &Cluster, small: &Cluster) -> Vec<Goal> {
    let packets = small.size.services - 1;
    let rounds = || (0..ROUNDS).map(|_| Ok((walk(large, packets)?, walk(small, packets)?))).collect();
    let (many, few): (Vec<Walks>, Vec<Walks>) = match rounds() {
        Ok::<Vec<_>, String>(rounds) => rounds.into_iter().unzip(),
        Err(why) => return vec![Goal::untried(format!("{}: further packets", large.name), RATIO, why)],
    };
    let name = large.name;
    vec![
        ratio(format!("{name}: a packet to a new one, against one of 50"), &many, &few, |walks| walks.new),
        ratio(format!("{name}: the same packet again, against one of 50"), &many, &few, |walks| walks.again),
        twenty_hops(name, &many),
    ]
}

fn ratio(what: String, many: &[Walks], few: &[Walks], cost: fn(&Walks) -> Cost) -> Goal {
    let packets = many.first().map_or(1, |walks| walks.packets);
    let (many, few) = (Rounds::new(many.iter().map(cost)), Rounds::new(few.iter().map(cost)));
    let each = |seconds: f64| seconds * 1e6 / f64::from(packets);
    let (ours, theirs, medians) = (each(many.min()), each(few.min()), many.median() / few.median());
    let numbers = format!("{ours:.0} µs a packet against {theirs:.0}; by medians {medians:.3}");
    Goal::at_most(what, RATIO, many.min() / few.min(), numbers)
}

fn twenty_hops(name: &str, many: &[Walks]) -> Goal {
    let Some(Walks { packets, paths, hops, .. }) = many.first() else {
        return Goal::untried(format!("{name}: a path of 20 hops"), HOPS, "no round was run");
    };
    let again = Rounds::new(many.iter().map(|walks| walks.again));
    let load = Rounds::new(many.iter().map(|walks| walks.load)).min() * 1e3;
    let numbers =
        format!("{packets} packets, {paths} paths, {hops} hops, replies included; loading takes {load:.1} ms");
    let twenty = again.min() * 1e6 * 20.0 / f64::from(*hops);
    Goal::at_most(format!("{name}: a path of 20 hops, about 100 µs of CPU"), HOPS, twenty, numbers)
}

/// A loaded snapshot, and the pod that sends.
struct Sender {
    snapshot: Snapshot,
    netns: NetnsId,
}

/// Sends packets to the services 1 to `packets`, after a first one to the service 0.
fn walk(cluster: &Cluster, packets: u32) -> Result<Walks, String> {
    let (load, snapshot) = within(|| load::load(&cluster.dir));
    let sender = Sender::new(snapshot.map_err(|err| err.to_string())?)?;
    let service = |number| Service::of(cluster.size, number).cluster_ip();
    check(&sender.explain(service(0)))?;
    let all = || (1..=packets).map(|number| sender.explain(service(number))).collect::<Vec<_>>();
    let (new, answers) = within(all);
    answers.iter().try_for_each(check)?;
    let (again, _) = within(all);
    let paths = answers.iter().map(|answer| answer.paths.len()).sum::<usize>();
    let hops = answers.iter().map(hops).sum::<usize>();
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Walks { load, new, again, packets, paths: count(paths), hops: count(hops) })
}

impl Sender {
    fn new(snapshot: Snapshot) -> Result<Self, String> {
        let pod = NetnsName::Pod(PodName::new("default", "pod1"));
        let netns = snapshot.find_netns(&NodeName::new("n1"), &pod).ok_or("the snapshot has no default/pod1 on n1")?;
        Ok(Self { snapshot, netns })
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
            from: Origin::Socket { netns: self.netns },
            reply: true,
            max_paths: 64,
            verbose: false,
            established: false,
            opened_by: None,
            given: Given::default(),
        };
        engine::explain(&self.snapshot, &question)
    }
}

/// A walk that ends early would be cheap for the wrong reason.
fn check(answer: &Answer) -> Result<(), String> {
    let arrives =
        |path: &Path| path.forward.verdict == Verdict::Delivered && path.reply.as_ref().is_some_and(Trace::arrived);
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

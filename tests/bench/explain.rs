//! The whole program, from its start to its output, against `iptables-nft-restore --test` on the same dump.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::cluster::Cluster;
use super::dump::Service;
use super::goal::Goal;
use super::process::{self, Rounds, run, succeeded};

const ROUNDS: usize = 5;
const SHARE: (f64, &str) = (0.125, "");
const PEAK: (f64, &str) = (200.0, " MiB");

/// Compares the two. `network` says whether this program is in a network of its own.
pub fn goals(flowtrace: &Path, cluster: &Cluster, network: Result<(), String>) -> Vec<Goal> {
    let name = cluster.name;
    let time = format!("{name}: explain's share of iptables-nft-restore's CPU time");
    let memory = format!("{name}: explain's peak memory");
    let mut command = question(flowtrace, cluster);
    let peak = process::peak(&command).map(|peak| Goal::at_most(&memory, PEAK, peak / 1024.0, size(cluster)));
    let share = network.and_then(|()| compare(&mut command, cluster)).map(|(ours, theirs)| {
        let numbers = format!(
            "{}; {}; by medians {:.3}",
            in_words("explain", &ours),
            in_words("iptables-nft-restore --test", &theirs),
            ours.median() / theirs.median()
        );
        Goal::at_most(&time, SHARE, ours.min() / theirs.min(), numbers)
    });
    vec![
        share.unwrap_or_else(|why| Goal::untried(&time, SHARE, why)),
        peak.unwrap_or_else(|why| Goal::untried(&memory, PEAK, why)),
    ]
}

fn question(flowtrace: &Path, cluster: &Cluster) -> Command {
    let ip = Service::of(cluster.size, cluster.size.services - 1).cluster_ip();
    let mut command = Command::new(flowtrace);
    command.args(["explain", "default/pod1", &format!("{ip}:80"), "-o", "json", "--snapshot"]).arg(&cluster.dir);
    command
}

fn compare(command: &mut Command, cluster: &Cluster) -> Result<(Rounds, Rounds), String> {
    let mut restore = Command::new("iptables-nft-restore");
    restore.arg("--test").arg(cluster.dump());
    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        let (cost, output) = run(command)?;
        succeeded("explain", &output)?;
        ours.push(cost);
        let (cost, output) = run(&mut restore)?;
        succeeded("iptables-nft-restore", &output)?;
        theirs.push(cost);
    }
    Ok((ours, theirs))
}

fn in_words(name: &str, rounds: &Rounds) -> String {
    let (min, median, wall) = (rounds.min() * 1e3, rounds.median() * 1e3, rounds.wall() * 1e3);
    format!("{name} {min:.0} ms CPU (median {median:.0}, by the clock {wall:.0})")
}

fn size(cluster: &Cluster) -> String {
    let dump = fs::metadata(cluster.dump()).map_or(0, |metadata| metadata.len()) >> 20;
    let rules = cluster.size.rules();
    format!("the dump has {dump} MiB and {rules} rules, the snapshot {} MiB", total(&cluster.dir) >> 20)
}

fn total(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |path: &Path| if path.is_dir() { total(path) } else { path.metadata().map_or(0, |file| file.len()) };
    entries.map(|entry| size(&entry.path())).sum()
}

//! A large dump of rules, every one of them read into what a walk asks, against the tool that loads the same dump.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowtrace::load;
use flowtrace::net::Family;

use super::cluster::{Cluster, Enlarge};
use super::dump::{self, Size};
use super::goal::Goal;
use super::nft_dump;
use super::process::{self, Rounds, run, succeeded};

/// The word by which this program is told to read a snapshot's rules and to print how many there are: a process of its
/// own has no memory of anything else.
pub const WHOLE: &str = "whole";

const TINY: Size = Size { services: 1, endpoints: 1 };

/// One kind of dump.
struct Dump {
    name: &'static str,
    file: (&'static str, Enlarge),
    /// The program that reads it without loading it, and its options.
    rival: &'static [&'static str],
    /// What this program may take of the other one's CPU time.
    share: f64,
    /// How often both read it: the slower the other one is, the surer is what one round tells.
    rounds: u32,
    /// How many times the dump's size its rules may take up; nothing where no goal is set.
    memory: Option<f64>,
}

const DUMPS: [Dump; 2] = [
    Dump {
        name: "5,000 services",
        file: ("nodes/n1/host/iptables-save", dump::write),
        rival: &["iptables-nft-restore", "--test"],
        share: 1.0 / 15.0,
        rounds: 5,
        memory: Some(4.0),
    },
    Dump {
        name: "5,000 services in nftables",
        file: ("nodes/n1/host/nft.txt", nft_dump::write_table),
        rival: &["nft", "-c", "-f"],
        share: 0.1,
        rounds: 2,
        memory: None,
    },
];

/// Tries both kinds. `network` says whether this program is in a network of its own.
pub fn goals(size: Size, network: &Result<(), String>) -> Vec<Goal> {
    DUMPS.iter().flat_map(|dump| dump.goals(size, network)).collect()
}

impl Dump {
    fn goals(&self, size: Size, network: &Result<(), String>) -> Vec<Goal> {
        let time = format!("{}: every rule read, share of {}", self.name, self.rival.join(" "));
        let limit = ((self.share * 1e4).round() / 1e4, "");
        let written = Cluster::alone(self.name, size, self.file).map_err(|err| err.to_string());
        let share = network.clone().and_then(|()| self.compare(written.as_ref().map_err(Clone::clone)?));
        let mut goals = vec![match share {
            Ok((share, numbers)) => Goal::at_most(time, limit, share, numbers),
            Err(why) => Goal::untried(time, limit, why),
        }];
        if let Some(most) = self.memory {
            let memory = format!("{}: every rule read, memory by the dump's size", self.name);
            goals.push(match written.and_then(|written| self.growth(&written)) {
                Ok((growth, numbers)) => Goal::at_most(memory, (most, ""), growth, numbers),
                Err(why) => Goal::untried(memory, (most, ""), why),
            });
        }
        goals
    }

    fn compare(&self, (cluster, file): &(Cluster, PathBuf)) -> Result<(f64, String), String> {
        let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
        let name = self.rival.join(" ");
        let (program, options) = self.rival.split_first().ok_or("no program to compare with")?;
        let mut rules = String::new();
        for _ in 0..self.rounds {
            let (cost, output) = run(&mut command(&cluster.dir)?)?;
            succeeded(WHOLE, &output)?;
            ours.push(cost);
            String::from_utf8_lossy(&output.stdout).trim().clone_into(&mut rules);
            let (cost, output) = run(Command::new(program).args(options).arg(file))?;
            succeeded(&name, &output)?;
            theirs.push(cost);
        }
        let [own, own_median, their, their_median] =
            [ours.min(), ours.median(), theirs.min(), theirs.median()].map(|seconds| seconds * 1e3);
        let numbers = format!(
            "{rules} rules in {own:.0} ms CPU (median {own_median:.0}); {name} {their:.0} ms (median {their_median:.0})"
        );
        Ok((own / their, numbers))
    }

    fn growth(&self, (cluster, file): &(Cluster, PathBuf)) -> Result<(f64, String), String> {
        let (tiny, _) = Cluster::alone("one service", TINY, self.file).map_err(|err| err.to_string())?;
        let peak = |cluster: &Cluster| process::peak(&command(&cluster.dir)?);
        let (most, least) = (peak(cluster)? / 1024.0, peak(&tiny)? / 1024.0);
        let bytes = fs::metadata(file).map_err(|err| err.to_string())?.len();
        #[expect(clippy::cast_precision_loss, reason = "no dump has so many bytes")]
        let size = bytes as f64 / f64::from(1 << 20);
        let numbers = format!("{most:.0} MiB, {least:.0} MiB of them for any dump; the dump has {size:.1} MiB");
        Ok(((most - least) / size, numbers))
    }
}

/// This program, told to read a snapshot's rules.
fn command(dir: &Path) -> Result<Command, String> {
    let me: PathBuf = std::env::current_exe().map_err(|err| err.to_string())?;
    let mut command = Command::new(me);
    command.arg(WHOLE).arg(dir);
    Ok(command)
}

/// Reads every rule of a snapshot, and gives how many there are.
pub fn whole(dir: &Path) -> Result<usize, String> {
    let snapshot = load::load(dir).map_err(|err| err.to_string())?;
    if let Some(gap) = snapshot.gaps.iter().find(|gap| !gap.evidence.is_empty()) {
        return Err(gap.what.clone());
    }
    let mut rules = 0;
    for (_, netns) in snapshot.netns_ids() {
        let families = [Family::Inet, Family::Inet6].into_iter();
        for ruleset in families.flat_map(|family| netns.netfilter.rulesets(family)) {
            for table in &ruleset.tables {
                let chains = table.chains.iter();
                rules += chains.map(|chain| ruleset.rules(table, chain).all().len()).sum::<usize>();
            }
        }
        let tables = netns.netfilter.nft.iter().flat_map(|nft| &nft.tables);
        rules += tables.flat_map(|table| &table.chains).map(|chain| chain.rules.len()).sum::<usize>();
    }
    // A program that ends needs not give its memory back piece by piece.
    std::mem::forget(snapshot);
    Ok(rules)
}

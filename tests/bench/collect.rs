//! `flowtrace collect` on a node of 250 pods and kube-proxy's rules for many services, against the plain commands by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster::Cluster;
use super::goal::Goal;
use super::process::{Cost, run, succeeded};

const PODS: u32 = 250;
/// What whole reading of a node without pods may take of the time of the tools that print its rules.
const RULES: (f64, &str) = (0.2, "");
const SHARE: (f64, &str) = (1.0, "");
const PEAK: (f64, &str) = (200.0, " MB");

/// Compares the two. `network` says whether this program is in a network of its own.
pub fn goals(flowtrace: &Path, cluster: &Cluster, network: &Result<(), String>) -> Vec<Goal> {
    let cpu = format!("{PODS} pods, {}: collect's share of the plain commands' CPU time", cluster.name);
    let wall = format!("{PODS} pods, {}: the same by the clock", cluster.name);
    let memory = format!("{PODS} pods, {}: collect's peak memory", cluster.name);
    match network.clone().and_then(|()| compare(flowtrace, cluster)) {
        Ok([nothing, hand, ours, (_, peak)]) => {
            let less = |cost: &Cost| Cost {
                cpu: cost.cpu.saturating_sub(nothing.0.cpu),
                wall: cost.wall.saturating_sub(nothing.0.wall),
            };
            let (hand, ours) = (less(&hand.0), less(&ours.0));
            let numbers = |ours: f64, hand: f64| format!("collect {ours:.2} s, by hand {hand:.2} s");
            let [a, b] = [ours.cpu, hand.cpu].map(|time| time.as_secs_f64());
            let [c, d] = [ours.wall, hand.wall].map(|time| time.as_secs_f64());
            vec![
                Goal::at_most(cpu, SHARE, a / b, numbers(a, b)),
                Goal::at_most(wall, SHARE, c / d, numbers(c, d)),
                Goal::at_most(memory, PEAK, peak * 1024.0 / 1e6, "of the program itself, without its tools".to_owned()),
            ]
        }
        Err(why) => {
            vec![Goal::untried(cpu, SHARE, &why), Goal::untried(wall, SHARE, &why), Goal::untried(memory, PEAK, why)]
        }
    }
}

/// Compares reading a node that has nothing but rules with the commands that print these. `network` says whether this
/// program is in a network of its own.
pub fn rules(flowtrace: &Path, cluster: &Cluster, network: &Result<(), String>) -> Vec<Goal> {
    let what = format!("no pods, {}: collect's share of the rules' commands' CPU time", cluster.name);
    let by_clock = format!("no pods, {}: the same by the clock", cluster.name);
    let measured = network.clone().and_then(|()| {
        let folder = Scratch::new("rules")?;
        let measure = |mode: &str| folder.measure(mode, 0, flowtrace, cluster);
        Ok([measure("nothing")?.0, measure("rules")?.0, measure("collect")?.0])
    });
    match measured {
        Ok([nothing, rules, ours]) => {
            let share = |of: &dyn Fn(&Cost) -> f64| {
                let (rules, ours) = (of(&rules) - of(&nothing), of(&ours) - of(&nothing));
                (ours / rules, format!("collect {ours:.2} s, the commands {rules:.2} s"))
            };
            let (cpu, wall) = (share(&|cost| cost.cpu.as_secs_f64()), share(&|cost| cost.wall.as_secs_f64()));
            vec![Goal::at_most(what, RULES, cpu.0, cpu.1), Goal::at_most(by_clock, RULES, wall.0, wall.1)]
        }
        Err(why) => vec![Goal::untried(what, RULES, &why), Goal::untried(by_clock, RULES, why)],
    }
}

/// A folder of one comparison, with the script that makes nodes.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("flowtrace-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|err| err.to_string())?;
        fs::write(folder.join("node.sh"), include_str!("node.sh")).map_err(|err| err.to_string())?;
        Ok(Self(folder))
    }

    /// What a node in a mode costs, and the program's memory on it.
    fn measure(&self, mode: &str, pods: u32, flowtrace: &Path, cluster: &Cluster) -> Result<(Cost, f64), String> {
        // A network of its own for each, so that nothing of the one before is left.
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh"]).arg(self.0.join("node.sh")).arg(pods.to_string());
        command.arg(cluster.dump()).arg(mode).arg(self.0.join(mode)).arg(flowtrace);
        let (cost, output) = run(&mut command)?;
        succeeded(mode, &output)?;
        let printed = String::from_utf8_lossy(&output.stdout);
        Ok((cost, printed.trim().parse().unwrap_or(f64::NAN)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What building the node costs, and that together with the commands, and with the program; and the program's memory.
fn compare(flowtrace: &Path, cluster: &Cluster) -> Result<[(Cost, f64); 4], String> {
    let folder = Scratch::new("node")?;
    let measure = |mode: &str| folder.measure(mode, PODS, flowtrace, cluster);
    let [nothing, hand, collect] = [measure("nothing")?, measure("hand")?, measure("collect")?];
    Ok([nothing, hand, collect, collect])
}

//! Whether the lab notices a wrong engine: what the kernel did is recorded once, and held against the program with one
//! mistake after the other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;

use nix::errno::Errno;

use super::flannel::{Cluster, FlannelBackend};
use super::kube_proxy::Service;
use super::mutations::{Edit, Mutation, all};
use super::probe::{Probe, Proto};
use super::recording::{Recording, record, wrong};
use super::scenario::Scenario;

/// The random scenarios that are recorded.
const SEEDS: Range<u64> = 0..50;
/// What the program is called where it has no mistake.
pub const UNCHANGED: &str = "the engine as it is";

/// What the kernel did: in random scenarios, and in corners that those seldom come to.
pub struct Recorded {
    random: Vec<Recording>,
    corners: Vec<Recording>,
}

impl Recorded {
    /// Asks the kernel.
    pub fn new(jobs: usize) -> Result<Self, String> {
        let random: Vec<Scenario> = SEEDS.map(super::random::scenario).collect();
        Ok(Self { random: record(&random, jobs)?, corners: record(&[corners()], 1)? })
    }

    fn told(&self, name: &'static str, program: Option<&Path>, jobs: usize) -> Told {
        let wrong = |recordings: &[Recording]| wrong(recordings, program, jobs);
        Told { name, random: wrong(&self.random), corners: wrong(&self.corners) }
    }

    /// How many packets were sent.
    pub fn packets(&self) -> usize {
        self.random.iter().chain(&self.corners).map(Recording::packets).sum()
    }
}

/// How wrong a program is.
pub struct Told {
    /// Its mistake.
    pub name: &'static str,
    /// About which packets of the random scenarios, and how.
    pub random: Vec<String>,
    /// About which packets in the corners, and how.
    pub corners: Vec<String>,
}

impl Told {
    /// About how many packets.
    pub fn wrong(&self) -> usize {
        self.random.len() + self.corners.len()
    }
}

/// Bridge ports that are isolated, a pod that is the only endpoint of the service that it asks, behind a port with hairpin
/// mode and without, and a source that a strict `rp_filter` of all devices refuses.
fn corners() -> Scenario {
    let mut cluster = Cluster::new("corners", FlannelBackend::Vxlan, 1);
    let pods = ["default/open", "default/shut-a", "default/shut-b", "default/stray", "shop/web", "shop/bare"];
    for (host, name) in (2..).zip(pods) {
        cluster = cluster.pod(name, 1, host);
    }
    for (host, name) in (20..).zip(["shop/web", "shop/bare"]) {
        let service = Service::new(name, host).port("http", "tcp", 80, 8080).endpoints(&[name]);
        cluster = cluster.service(service);
    }
    let mut scenario = cluster.scenario();
    let port = |name: &str| cluster.pod_named(name).veth();
    let n1 = scenario.space("n1").sysctl("ipv4/conf/all/rp_filter", 1);
    n1.late_bridge = vec![
        format!("link set dev {} isolated on", port("default/shut-a")),
        format!("link set dev {} isolated on", port("default/shut-b")),
        format!("link set dev {} hairpin off", port("shop/bare")),
    ];
    let stray = scenario.space("default/stray").ip("addr add 198.18.0.1/32 dev lo");
    // The node wouldn't answer an ARP request from there either.
    let bridge = cluster.nodes[0].bridge_mac();
    stray.ip(format!("neigh replace 10.244.1.1 lladdr {bridge} dev eth0 nud permanent"));
    corner_questions(&mut scenario);
    scenario
}

fn corner_questions(scenario: &mut Scenario) {
    let shut = |to: &str, address: &str| Probe::ask("default/shut-a", to, Proto::Udp, address, 7000);
    scenario.probe(shut("default/open", "10.244.1.2").answered_by("default/open"));
    scenario.probe(shut("default/shut-b", "10.244.1.4").error(Errno::EHOSTUNREACH));
    let own =
        |name: &str, address: &str| Probe::ask(name, &format!("svc/{name}"), Proto::Tcp, address, 80).listening(8080);
    scenario.probe(own("shop/web", "10.96.0.20").answered_by("shop/web"));
    scenario.probe(own("shop/bare", "10.96.0.21").silent());
    let stray = |proto: Proto| Probe::ask("default/stray", "node/n1", proto, "192.0.2.11", 7000);
    scenario.probe(stray(Proto::Udp).source("198.18.0.1").silent());
    scenario.probe(stray(Proto::Tcp).answered_by("n1"));
}

/// Holds the program as it is, and with each mistake, against what was recorded; `hear` is told of each. The next
/// program is built meanwhile.
pub fn judge_mutations(recorded: &Recorded, jobs: usize, mut hear: impl FnMut(&Told)) -> Result<(), String> {
    let source = Source::copy()?;
    std::thread::scope(|scope| {
        let (sender, built) = sync_channel(1);
        scope.spawn(move || {
            for mutation in all() {
                let program = source.build(mutation);
                if sender.send((mutation.name, program)).is_err() {
                    return;
                }
            }
        });
        hear(&recorded.told(UNCHANGED, None, jobs));
        for (name, program) in built {
            let program = program?;
            hear(&recorded.told(name, Some(&program), jobs));
            let _ = std::fs::remove_file(program);
        }
        Ok(())
    })
}

/// What a piece of source is replaced by, if the piece stands there once.
pub fn edited(text: &str, (file, from, to): &Edit) -> Result<String, String> {
    match text.matches(from).count() {
        1 => Ok(text.replace(from, to)),
        times => Err(format!("{file} has {times} times, not once:\n{from}")),
    }
}

/// A copy of the crate's source, in which mistakes are made.
struct Source {
    dir: PathBuf,
}

impl Source {
    fn copy() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let me = std::env::current_exe().map_err(|error| error.to_string())?;
        // TARGET/debug/deps/TEST, TARGET/debug/examples/lab
        let target = me.ancestors().nth(3).ok_or("this program is not in cargo's target folder")?;
        let dir = target.join("mutations");
        let script = "rm -rf \"$2/source\" && mkdir -p \"$2/source\" && cd \"$1\" \
                      && cp -rp Cargo.toml Cargo.lock README.md man src tests testdata \"$2/source/\"";
        let output = Command::new("sh").args(["-c", script, "sh"]).arg(root).arg(&dir).output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self { dir })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Builds the program with a mistake, and takes the mistake out of the source again.
    fn build(&self, mutation: &Mutation) -> Result<PathBuf, String> {
        let mut before = Vec::new();
        let mut done = Ok(());
        for edit in mutation.edits {
            done = done.and_then(|()| self.edit(edit, &mut before));
        }
        let built = done.and_then(|()| self.cargo_build());
        for (file, text) in before.into_iter().rev() {
            std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        built.map_err(|error| format!("{}: {error}", mutation.name))
    }

    fn edit(&self, edit: &Edit, before: &mut Vec<(PathBuf, String)>) -> Result<(), String> {
        let file = self.dir.join("source").join(edit.0);
        let wrong = |error: std::io::Error| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(&file).map_err(wrong)?;
        let changed = edited(&text, edit)?;
        before.push((file.clone(), text));
        std::fs::write(&file, changed).map_err(wrong)
    }

    /// Builds what the source says now. The program gets a name of its own, since the next one is built while it runs.
    fn cargo_build(&self) -> Result<PathBuf, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--offline", "--bin", "flowtrace", "--target-dir"])
            .arg(self.dir.join("target"));
        cargo.current_dir(self.dir.join("source"));
        // A mistake may leave something unused, whatever the caller thinks of warnings.
        cargo.env("RUSTFLAGS", "-Awarnings").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "1");
        let output = cargo.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let program = self.dir.join(format!("flowtrace-{number}"));
        let built = self.dir.join("target/debug/flowtrace");
        std::fs::copy(&built, &program).map_err(|error| format!("{}: {error}", built.display()))?;
        Ok(program)
    }
}

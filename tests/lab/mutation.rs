//! Whether the lab notices a wrong engine: what the kernel did is recorded once, and held against a program that makes one
//! mistake after the other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use super::explain::Mistaken;
use super::flannel::{Cluster, FlannelBackend};
use super::kube_proxy::Service;
use super::mutations::{Edit, all};
use super::probe::{Probe, Proto};
use super::recording::{Recording, record, wrong};
use super::scenario::Scenario;

/// The random scenarios that are recorded.
const SEEDS: Range<u64> = 0..50;
/// What the program is called where it has no mistake.
pub const UNCHANGED: &str = "the engine as it is";

/// The number of no mistake.
const NONE: usize = usize::MAX;
/// What the edited source asks which mistake to make.
const MISTAKEN: &str = r#"
pub(crate) fn mistaken(number: usize) -> bool {
    static ASKED: std::sync::LazyLock<Option<usize>> =
        std::sync::LazyLock::new(|| std::env::var("FLOWTRACE_MISTAKE").ok()?.parse().ok());
    *ASKED == Some(number)
}
"#;

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

    fn told(&self, name: &'static str, program: Mistaken, jobs: usize, enough: usize) -> Told {
        let random = wrong(&self.random, program, jobs, enough);
        let corners = wrong(&self.corners, program, jobs, enough.saturating_sub(random.len()));
        Told { name, random, corners }
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

/// Holds the program without a mistake, and with each, against what the kernel did; `hear` is told of each, with
/// about `enough` wrong packets. The program is built while the kernel is asked, which is mostly waiting. Answers how many
/// packets were sent.
pub fn judge_mutations(jobs: usize, enough: usize, mut hear: impl FnMut(&Told)) -> Result<usize, String> {
    std::thread::scope(|scope| {
        let built = scope.spawn(|| Source::copy()?.build());
        let recorded = Recorded::new(jobs)?;
        let program = built.join().map_err(|_| "the thread that builds the program died")??;
        let mutations = all().enumerate().map(|(number, mutation)| (mutation.name, number));
        // What makes none of its mistakes must be right, or what is noticed would not be the mistake.
        for (name, mistake) in std::iter::once((UNCHANGED, NONE)).chain(mutations) {
            hear(&recorded.told(name, Mistaken { program: &program, mistake }, jobs, enough));
        }
        Ok(recorded.packets())
    })
}

/// What a piece of source is replaced by, if the piece stands there once.
pub fn edited(text: &str, (file, from, to): &Edit) -> Result<String, String> {
    match text.matches(from).count() {
        1 => Ok(text.replace(from, to)),
        times => Err(format!("{file} has {times} times, not once:\n{from}")),
    }
}

/// A copy of the crate's source, which gets every mistake, each behind the question whether it is to be made.
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

    /// Builds the program with every mistake in it.
    fn build(&self) -> Result<PathBuf, String> {
        for (number, mutation) in all().enumerate() {
            for edit in mutation.edits {
                self.edit(number, edit).map_err(|error| format!("{}: {error}", mutation.name))?;
            }
        }
        let lib = self.dir.join("source/src/lib.rs");
        let with = std::fs::read_to_string(&lib).map(|text| text + MISTAKEN);
        with.and_then(|text| std::fs::write(&lib, text)).map_err(|error| format!("{}: {error}", lib.display()))?;
        self.cargo_build()
    }

    fn edit(&self, number: usize, edit: &Edit) -> Result<(), String> {
        let file = self.dir.join("source").join(edit.0);
        let wrong = |error: std::io::Error| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(&file).map_err(wrong)?;
        let changed = edited(&text, edit)?.replace("MISTAKE", &format!("crate::mistaken({number})"));
        std::fs::write(&file, changed).map_err(wrong)
    }

    fn cargo_build(&self) -> Result<PathBuf, String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--offline", "--bin", "flowtrace", "--target-dir"])
            .arg(self.dir.join("target"));
        cargo.current_dir(self.dir.join("source"));
        cargo.env("RUSTFLAGS", "-Awarnings").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
        let output = cargo.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(self.dir.join("target/debug/flowtrace"))
    }
}

//! Whether the lab notices a wrong engine: each mutation changes one place of the source, and must be caught.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::Lab;
use super::explain::set_program;
use super::judge::{Folder, hold_against, packets};
use super::observe::{Observation, Observer};
use super::scenario::{Probe, Scenario};
use super::snapshot::Form;

/// A change of one place in the source.
pub struct Mutation {
    /// What the engine then does wrong.
    pub name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

/// The mutations.
pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "a RETURN is skipped",
        file: "src/engine/iptables.rs",
        from: "Action::Return => return self.leave(walk),",
        to: "Action::Return => {}",
    },
    Mutation {
        name: "a ! is ignored",
        file: "src/snapshot/ruleset/rule.rs",
        from: "holds != self.invert",
        to: "holds",
    },
    Mutation {
        name: "a mark is forgotten",
        file: "src/engine/targets.rs",
        from: "change.mark = Some(Mark(mark.apply(packet.mark.0)))",
        to: "change.mark = Some(Mark(mark.apply(packet.mark.0) & 0))",
    },
    Mutation {
        name: "a local packet, the tunnel's too, passes OUTPUT by",
        file: "src/engine/output.rs",
        from: "    nf_hook(walk, Hook::Output, None, Some(&dst.dev))?;\n    ip_output(walk)",
        to: "    let _ = (&dst, Hook::Output);\n    ip_output(walk)",
    },
    Mutation {
        name: "a packet is routed before it is translated",
        file: "src/engine/input.rs",
        from: "        nf_hook(walk, Hook::Prerouting, Some(dev), None)?;",
        to: "        let _ = Hook::Prerouting;",
    },
    Mutation {
        name: "forwarding leaves TTL alone",
        file: "src/engine/input.rs",
        from: "Forwarded { ttl: ttl - 1, mtu }",
        to: "Forwarded { ttl, mtu }",
    },
    Mutation {
        name: "hairpin mode is read the wrong way round",
        file: "src/engine/bridge.rs",
        from: "from == Some(out) && !settings.hairpin",
        to: "from == Some(out) && settings.hairpin",
    },
    Mutation {
        name: "isolated ports talk to each other",
        file: "src/engine/bridge.rs",
        from: "in_isolated.filter(|_| settings.isolated)",
        to: "in_isolated.filter(|_| settings.isolated && settings.hairpin && !settings.hairpin)",
    },
    Mutation {
        name: "the reverse path is never checked",
        file: "src/engine/route.rs",
        from: "        1 => ReverseMode::Strict,\n        _ => ReverseMode::Loose,",
        to: "        1 => ReverseMode::Off,\n        _ => ReverseMode::Off,",
    },
    Mutation {
        name: "another machine's frame is taken in",
        file: "src/engine/input.rs",
        from: "    if is_other_host(walk, dev) {",
        to: "    if is_other_host(walk, dev) && walk.packet().ip.ttl == 0 {",
    },
    Mutation {
        name: "every network identifier is one's own",
        file: "src/engine/vxlan.rs",
        from: "settings.vni == vni",
        to: "settings.vni == settings.vni || vni == settings.vni",
    },
];

/// What the kernel did in a scenario, kept to be held against many programs.
pub struct Recording {
    scenario: Scenario,
    snapshot: Folder,
    seen: Vec<(Probe, Observation)>,
}

impl Recording {
    /// Sends every packet of a scenario.
    pub fn of(scenario: Scenario) -> Result<Self, String> {
        let lab = Lab::build(&scenario)?;
        let snapshot = Folder::new(&scenario.name);
        lab.snapshot(&snapshot.path, Form::Text)?;
        let mut observer = Observer::open(&lab)?;
        let seen = packets(&scenario).map(|probe| (probe.clone(), observer.ask(&probe))).collect();
        Ok(Self { scenario, snapshot, seen })
    }

    /// How many packets the program under test gets wrong.
    pub fn wrong(&self) -> usize {
        let agree = |(probe, seen): &&(Probe, Observation)| {
            hold_against(&self.scenario, probe, seen, &self.snapshot.path).is_ok()
        };
        self.seen.len() - self.seen.iter().filter(agree).count()
    }
}

/// Builds each mutated program, and says how many packets of the recordings it gets wrong; the unchanged one comes
/// first, under no name.
pub fn judge_mutations(recordings: &[Recording]) -> Result<Vec<(&'static str, usize)>, String> {
    let wrong = || recordings.iter().map(Recording::wrong).sum();
    let mut told = vec![("", wrong())];
    for mutation in MUTATIONS {
        set_program(Some(mutated(mutation)?));
        told.push((mutation.name, wrong()));
    }
    set_program(None);
    Ok(told)
}

/// The mutated program, built from a copy of the source.
fn mutated(mutation: &Mutation) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = root.join("target/mutations/source");
    let wrong = |error: std::io::Error| format!("{}: {error}", copy.display());
    std::fs::create_dir_all(&copy).map_err(wrong)?;
    let parts = ["Cargo.toml", "Cargo.lock", "build.rs", "src", "tests", "testdata", "README.md"];
    let script = format!(
        "cd \"$1\" && for part in {}; do [ ! -e \"$part\" ] || cp -rp \"$part\" \"$2/\"; done",
        parts.join(" ")
    );
    let status = Command::new("sh").args(["-c", &script, "sh"]).arg(root).arg(&copy).status().map_err(wrong)?;
    if !status.success() {
        return Err(format!("the source can't be copied to {}", copy.display()));
    }
    let file = copy.join(mutation.file);
    let text = std::fs::read_to_string(&file).map_err(wrong)?;
    if text.matches(mutation.from).count() != 1 {
        return Err(format!("{:?} stands not once in {}", mutation.from, mutation.file));
    }
    std::fs::write(&file, text.replace(mutation.from, mutation.to)).map_err(wrong)?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--bin", "flowtrace", "--manifest-path"]).arg(copy.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(root.join("target/mutations/target")).env("RUSTFLAGS", "-Awarnings");
    let output = cargo.output().map_err(wrong)?;
    // The next mutation starts from the true source.
    std::fs::write(&file, text).map_err(wrong)?;
    if output.status.success() {
        return Ok(root.join("target/mutations/target/debug/flowtrace"));
    }
    Err(format!("{}: {}", mutation.name, String::from_utf8_lossy(&output.stderr)))
}

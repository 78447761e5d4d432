//! Makes a scenario's namespaces in the kernel.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use super::netns::{Netns, must, run};
use super::relay::Relay;
use super::scenario::{Backend, Scenario, Space};
use super::snapshot::track_afresh;

/// How long the lab's machines wait for a neighbour's answer before they ask again.
const RETRANS_MS: u32 = 60;

/// A scenario that stands in the kernel; dropped, it is gone.
pub struct Lab {
    /// What it was made from.
    pub scenario: Scenario,
    /// The namespaces by their name.
    pub spaces: BTreeMap<String, Netns>,
    relays: Vec<Relay>,
}

impl Lab {
    /// Builds every namespace, and waits until the links are up.
    pub fn build(scenario: &Scenario) -> Result<Self, String> {
        let mut spaces = BTreeMap::new();
        for space in &scenario.spaces {
            spaces.insert(space.name.clone(), Netns::new(&space.name)?);
        }
        let mut lab = Self { scenario: scenario.clone(), spaces, relays: Vec::new() };
        for space in &scenario.spaces {
            lab.netns(&space.name).enter(|| write_sysctls(&space.defaults))?;
        }
        lab.add_wires()?;
        for program in &scenario.relays {
            lab.relays.push(Relay::start(lab.netns(&program.space), program)?);
        }
        for space in &scenario.spaces {
            lab.netns(&space.name)
                .enter(|| furnish(space))
                .map_err(|error| format!("namespace {}: {error}", space.name))?;
        }
        lab.relays.iter_mut().try_for_each(Relay::bind)?;
        lab.wait_for_links()?;
        for space in &scenario.spaces {
            lab.netns(&space.name)
                .enter(|| hasten().and_then(|()| furnish_late(space)))
                .map_err(|error| format!("namespace {}: {error}", space.name))?;
        }
        Ok(lab)
    }

    /// A namespace by its name.
    pub fn netns(&self, name: &str) -> &Netns {
        self.spaces.get(name).unwrap_or_else(|| panic!("the scenario has no namespace {name:?}"))
    }

    /// Whether a program behind a TUN device is at work.
    pub fn relays_busy(&self) -> bool {
        self.relays.iter().any(Relay::is_busy)
    }

    fn add_wires(&self) -> Result<(), String> {
        let mut batch = String::new();
        for wire in &self.scenario.wires {
            let end = |plug: &super::scenario::Plug| {
                let netns = self.netns(&plug.space).path();
                format!("netns {netns} name {} index {} address {} mtu {}", plug.dev, plug.index, plug.mac, wire.mtu)
            };
            let _ = writeln!(batch, "link add {} type veth peer {}", end(&wire.a), end(&wire.b));
        }
        must("ip", &["-batch", "-"], &batch).map(drop)
    }

    /// Every bridge port with carrier must forward before a packet is sent.
    fn wait_for_links(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        for space in &self.scenario.spaces {
            loop {
                let ports = self.netns(&space.name).enter(|| must("bridge", &["link", "show"], ""))?;
                let waiting =
                    ports.lines().find(|line| line.contains("LOWER_UP") && !line.contains("state forwarding"));
                let Some(line) = waiting else { break };
                if Instant::now() > deadline {
                    return Err(format!("namespace {}: a port never forwards: {line}", space.name));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }
}

fn furnish(space: &Space) -> Result<(), String> {
    batch("ip", &space.ip)?;
    batch("bridge", &space.bridge)?;
    write_sysctls(&space.sysctls)?;
    if !space.ipset.is_empty() {
        must("ipset", &["restore"], &space.ipset)?;
    }
    for (backend, rules) in &space.rules {
        let program = match backend {
            Backend::Nft4 => "iptables-nft-restore",
            Backend::Nft6 => "ip6tables-nft-restore",
            Backend::Legacy4 => "iptables-legacy-restore",
            Backend::Legacy6 => "ip6tables-legacy-restore",
        };
        must(program, &[], &rules.render())?;
    }
    if !space.nft.is_empty() {
        must("nft", &["-f", "-"], &space.nft)?;
    }
    if !space.ebtables.is_empty() {
        must("ebtables-nft-restore", &[], &space.ebtables)?;
    }
    Ok(())
}

/// Lets a neighbour that doesn't answer fail after a fifth of a second: three questions, as with the default of one a
/// second. Who answers for an anycast address waits up to 0.8 seconds, by chance, which is too long then (`ndisc_recv_ns`
/// in net/ipv6/ndisc.c). And a listener sends its SYN-ACK once only, since nobody completes the handshake.
fn hasten() -> Result<(), String> {
    write_sysctls(&[("ipv4/tcp_synack_retries".to_owned(), "0".to_owned())])?;
    for family in ["ipv4", "ipv6"] {
        for entry in fs::read_dir(format!("/proc/sys/net/{family}/neigh")).into_iter().flatten().flatten() {
            let device = entry.file_name().to_string_lossy().into_owned();
            let parameter = |name: &str| format!("{family}/neigh/{device}/{name}");
            write_sysctls(&[
                (parameter("retrans_time_ms"), RETRANS_MS.to_string()),
                (parameter("proxy_delay"), "0".to_owned()),
            ])?;
        }
    }
    Ok(())
}

fn furnish_late(space: &Space) -> Result<(), String> {
    for (family, option) in [(4, "-4"), (6, "-6")] {
        let lines = space.attempts.iter().filter(|(of, _)| *of == family).map(|(_, line)| format!("{line}\n"));
        let lines: String = lines.collect();
        if !lines.is_empty() {
            run("ip", &[option, "-force", "-batch", "-"], &lines)?;
        }
    }
    batch("ip", &space.late)?;
    batch("bridge", &space.late_bridge)?;
    track_afresh(space)
}

fn batch(program: &str, lines: &[String]) -> Result<(), String> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut text = lines.join("\n");
    text.push('\n');
    must(program, &["-batch", "-"], &text).map(drop)
}

/// Writes sysctls of the calling thread's namespace.
pub fn write_sysctls(sysctls: &[(String, String)]) -> Result<(), String> {
    for (name, value) in sysctls {
        fs::write(format!("/proc/sys/net/{name}"), value).map_err(|error| format!("sysctl {name}={value}: {error}"))?;
    }
    Ok(())
}

//! What a scenario is: data that says which namespaces there are, what is in them, and what is asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::Value;

use super::probe::Probe;

/// Namespaces, what joins them, and the questions about them.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// A short name, also of the snapshot's folder.
    pub name: String,
    /// Which kinds of situation it is, for the table of what was covered.
    pub kinds: Vec<&'static str>,
    /// What it is about, in words.
    pub words: Vec<String>,
    /// The namespaces.
    pub spaces: Vec<Space>,
    /// The veth pairs between them.
    pub wires: Vec<Wire>,
    /// The programs behind TUN devices.
    pub relays: Vec<RelayProgram>,
    /// The Kubernetes objects.
    pub objects: Objects,
    /// The questions, asked one after the other.
    pub probes: Vec<Probe>,
}

impl Scenario {
    /// A namespace by its name.
    pub fn space(&mut self, name: &str) -> &mut Space {
        let known = self.spaces.iter_mut().find(|space| space.name == name);
        known.unwrap_or_else(|| panic!("the scenario has no namespace {name:?}"))
    }

    /// Adds a question.
    pub fn probe(&mut self, probe: Probe) -> &mut Self {
        self.probes.push(probe);
        self
    }

    /// Says what the questions added since the last call are about.
    pub fn about(&mut self, part: &'static str) -> &mut Self {
        for probe in self.probes.iter_mut().filter(|probe| probe.about.is_empty()) {
            probe.about = part;
        }
        self
    }

    /// Takes every line for `ip -batch` that holds a text out of a namespace.
    pub fn without_ip(&mut self, space: &str, part: &str) -> &mut Self {
        let space = self.space(space);
        let before = space.ip.len();
        space.ip.retain(|line| !line.contains(part));
        assert!(space.ip.len() < before, "no line of {} holds {part:?}", space.name);
        self
    }
}

/// Whose namespace it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A node's own.
    Host {
        /// The node.
        node: String,
    },
    /// A pod's.
    Pod {
        /// The pod's node.
        node: String,
        /// The pod's Kubernetes namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
    },
    /// One that the snapshot doesn't hold: switches, routers, the world outside.
    Hidden,
}

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Space {
    /// Its name in the lab.
    pub name: String,
    /// Whose it is.
    pub place: Place,
    /// Sysctls written before any device exists (`net.` left out, `/` between the words).
    pub defaults: Vec<(String, String)>,
    /// Lines for `ip -batch`.
    pub ip: Vec<String>,
    /// Lines for `bridge -batch`.
    pub bridge: Vec<String>,
    /// Sysctls written once the devices exist.
    pub sysctls: Vec<(String, String)>,
    /// Text for `ipset restore`.
    pub ipset: String,
    /// Rules by backend and family.
    pub rules: BTreeMap<Backend, Rules>,
    /// Text for `nft -f`.
    pub nft: String,
    /// Text for `ebtables-nft-restore`.
    pub ebtables: String,
    /// Lines for `ip -batch` after all of that: where faults are made.
    pub late: Vec<String>,
    /// Lines for `ip -batch` of an address family that the kernel may refuse.
    pub attempts: Vec<(u8, String)>,
    /// Lines for `bridge -batch` after all of that.
    pub late_bridge: Vec<String>,
    /// What `conntrack` is asked to add: connections that are there before the packet.
    pub conntrack: Vec<String>,
    /// Clients in the lists of `recent` rules: a list's name, an address.
    pub recent: Vec<(String, String)>,
}

/// Which iptables program loads a rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// `iptables-nft`.
    Nft4,
    /// `ip6tables-nft`.
    Nft6,
    /// `iptables-legacy`.
    Legacy4,
    /// `ip6tables-legacy`.
    Legacy6,
}

impl Space {
    /// An empty namespace.
    pub fn new(name: impl Into<String>, place: Place) -> Self {
        Self {
            name: name.into(),
            place,
            defaults: Vec::new(),
            ip: vec!["link set lo up".to_owned()],
            bridge: Vec::new(),
            sysctls: Vec::new(),
            ipset: String::new(),
            rules: BTreeMap::new(),
            nft: String::new(),
            ebtables: String::new(),
            late: Vec::new(),
            attempts: Vec::new(),
            late_bridge: Vec::new(),
            conntrack: Vec::new(),
            recent: Vec::new(),
        }
    }

    /// Adds a line for `ip -batch`.
    pub fn ip(&mut self, line: impl Into<String>) -> &mut Self {
        self.ip.push(line.into());
        self
    }

    /// Adds a line for `ip -batch` that runs last.
    pub fn late(&mut self, line: impl Into<String>) -> &mut Self {
        self.late.push(line.into());
        self
    }

    /// Sets a sysctl, named with `/` (`ipv4/ip_forward`).
    pub fn sysctl(&mut self, name: impl Into<String>, value: u8) -> &mut Self {
        let name = name.into();
        self.sysctls.retain(|(known, _)| *known != name);
        self.sysctls.push((name, value.to_string()));
        self
    }

    /// The rules of IPv4 in nft's backend.
    pub fn rules4(&mut self) -> &mut Rules {
        self.rules.entry(Backend::Nft4).or_default()
    }

    /// The rules of IPv6 in nft's backend.
    pub fn rules6(&mut self) -> &mut Rules {
        self.rules.entry(Backend::Nft6).or_default()
    }

    /// The folder in the snapshot, `None` for a hidden one.
    pub fn folder(&self) -> Option<String> {
        match &self.place {
            Place::Host { node } => Some(format!("nodes/{node}/host")),
            Place::Pod { node, namespace, pod } => Some(format!("nodes/{node}/pods/{namespace}_{pod}")),
            Place::Hidden => None,
        }
    }

    /// The node and the word for the namespace that `explain` uses.
    pub fn node_and_netns(&self) -> Option<(String, String)> {
        match &self.place {
            Place::Host { node } => Some((node.clone(), "host".to_owned())),
            Place::Pod { node, namespace, pod } => Some((node.clone(), format!("pod:{namespace}/{pod}"))),
            Place::Hidden => None,
        }
    }
}

/// A rule set as `iptables-restore` reads it.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    tables: BTreeMap<String, TableRules>,
}

#[derive(Clone, Debug, Default)]
struct TableRules {
    chains: Vec<(String, String)>,
    rules: Vec<String>,
}

impl Rules {
    /// Declares a chain.
    pub fn chain(&mut self, table: &str, chain: &str) -> &mut Self {
        let known = self.tables.entry(table.to_owned()).or_default();
        if !known.chains.iter().any(|(name, _)| name == chain) {
            known.chains.push((chain.to_owned(), "-".to_owned()));
        }
        self
    }

    /// Sets a built-in chain's policy.
    pub fn policy(&mut self, table: &str, chain: &str, policy: &str) -> &mut Self {
        let known = self.tables.entry(table.to_owned()).or_default();
        known.chains.retain(|(name, _)| name != chain);
        known.chains.push((chain.to_owned(), policy.to_owned()));
        self
    }

    /// Appends a rule (`FORWARD -s 10.0.0.0/8 -j ACCEPT`).
    pub fn append(&mut self, table: &str, rule: impl AsRef<str>) -> &mut Self {
        let known = self.tables.entry(table.to_owned()).or_default();
        known.rules.push(format!("-A {}", rule.as_ref()));
        self
    }

    /// Puts a rule before all others of its chain.
    pub fn insert(&mut self, table: &str, rule: impl AsRef<str>) -> &mut Self {
        let known = self.tables.entry(table.to_owned()).or_default();
        known.rules.insert(0, format!("-A {}", rule.as_ref()));
        self
    }

    /// Takes the rules out whose text holds `part`; how many went.
    pub fn remove(&mut self, table: &str, part: &str) -> usize {
        let Some(known) = self.tables.get_mut(table) else { return 0 };
        let before = known.rules.len();
        known.rules.retain(|rule| !rule.contains(part));
        before - known.rules.len()
    }

    /// Replaces text in the rules of a table.
    pub fn replace(&mut self, table: &str, part: &str, with: &str) {
        for rule in self.tables.get_mut(table).into_iter().flat_map(|known| &mut known.rules) {
            *rule = rule.replace(part, with);
        }
    }

    /// The text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (table, known) in &self.tables {
            let _ = writeln!(text, "*{table}");
            for (chain, policy) in &known.chains {
                let _ = writeln!(text, ":{chain} {policy} [0:0]");
            }
            for rule in &known.rules {
                let _ = writeln!(text, "{rule}");
            }
            text.push_str("COMMIT\n");
        }
        text
    }
}

/// A veth pair between two namespaces.
#[derive(Clone, Debug)]
pub struct Wire {
    /// One end.
    pub a: Plug,
    /// The other.
    pub b: Plug,
    /// Both ends' MTU.
    pub mtu: u32,
}

/// A device's place, name, number and link address.
#[derive(Clone, Debug)]
pub struct Plug {
    /// The namespace.
    pub space: String,
    /// The device.
    pub dev: String,
    /// `ifindex`: the two ends of a wire must differ, or the kernel takes up to a second to notice the carrier
    /// (`linkwatch_urgent_event` in net/core/link_watch.c).
    pub index: u32,
    /// The link address.
    pub mac: String,
}

/// A program behind a TUN device, as flannel's udp backend has one.
#[derive(Clone, Debug)]
pub struct RelayProgram {
    /// The namespace that it runs in.
    pub space: String,
    /// The TUN device.
    pub dev: String,
    /// The address and port that its socket is bound to.
    pub local: (IpAddr, u16),
    /// Which prefix goes to which peer.
    pub routes: Vec<(String, IpAddr)>,
}

/// The Kubernetes objects, each a list of items.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// `nodes.json`.
    pub nodes: Vec<Value>,
    /// `pods.json`.
    pub pods: Vec<Value>,
    /// `services.json`.
    pub services: Vec<Value>,
    /// `endpointslices.json`.
    pub slices: Vec<Value>,
}

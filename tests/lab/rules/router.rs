//! The stage: a client, a router, a server, and the router's rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtrace::net::Link;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, send, sendto, setsockopt, socket,
    sockopt,
};
use nix::unistd::Pid;

use super::super::netns::{Netns, must, run};
use super::super::ruletrace::{RuleHit, RuleTrace};
use super::super::scenario::{Place, Space};
use super::super::snapshot::{Form, write_space};
use super::super::tap::{Sighting, Tap};
use super::super::wire::Header;
use super::craft::{Crafted, Payload};

const CLIENT_MAC: &str = "02:00:00:00:00:99";
/// The router's, where the client is.
pub const NEAR_MAC: &str = "02:00:00:00:00:10";
const FAR_MAC: &str = "02:00:00:00:00:11";
/// The server's.
pub const SERVER_MAC: &str = "02:00:00:00:00:77";
/// The destination of what tells that all before it has come.
const MARKER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200));
/// Nobody's: a frame to it is seen by taps and goes no further.
const MARKER_MAC: &str = "02:00:00:00:00:ee";

/// The table that traces packets and swallows what arrived at the router itself, before anything answers.
const TABLE: &str = "table inet lab_trace {
  chain pre { type filter hook prerouting priority -399; meta nftrace set 1; }
  chain out { type filter hook output priority -399; meta nftrace set 1; }
  chain end { type filter hook input priority 2147483640; drop; }
}
";

/// How a bridge may be set ([`Router::bridged`]). With bridge netfilter a frame is bridged only where the bridge's module is
/// asked: in its namespace.
pub const BRIDGE_SETTINGS: [[u8; 2]; 3] = [[0, 0], [1, 0], [1, 1]];

/// The bridge's, where the router is one.
pub const BRIDGE_MAC: &str = "02:00:00:00:00:b0";

/// The link header of what the client sends.
pub fn link(packet: &Crafted) -> Link {
    let address = |text: &str| text.parse().expect("a link address");
    Link { source: address(CLIENT_MAC), destination: address(packet.to) }
}

/// The same, and what is for the router itself is answered by its stack.
const ANSWERING: &str = "table inet lab_trace {
  chain pre { type filter hook prerouting priority -399; meta nftrace set 1; }
  chain out { type filter hook output priority -399; meta nftrace set 1; }
}
";

/// The rules of one case.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `ipset restore`.
    pub ipset: Vec<String>,
    /// Lines of `iptables-restore`, by table: chains, then rules.
    pub v4: BTreeMap<&'static str, Vec<String>>,
    pub v6: BTreeMap<&'static str, Vec<String>>,
    /// `nft -f`.
    pub nft: String,
    /// Whether nft's rules are loaded before those of iptables.
    pub nft_first: bool,
    /// Whether iptables-legacy loads the lines instead of iptables-nft.
    pub legacy: bool,
}

/// A rule of iptables-legacy: 4 or 6, its table, its chain, and its number there.
pub type LegacyRule = (u8, String, String, u32);

/// What the kernel did with one packet.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What passed the router's devices, in order.
    pub sightings: Vec<Sighting>,
    /// The rules that matched, in order; none for iptables-legacy, which doesn't tell.
    pub hits: Vec<RuleHit>,
    /// For iptables-legacy: how often each rule matched, by table, chain and number.
    pub counts: BTreeMap<LegacyRule, u64>,
    /// Whether it arrived at the router itself.
    pub delivered: bool,
    /// Whether it came in pieces that the rules treated each in its own way.
    pub parted: bool,
}

/// The stage, alive as long as the value.
pub struct Router {
    _client: Netns,
    netns: Netns,
    _server: Netns,
    wire: OwnedFd,
    raw4: OwnedFd,
    raw6: OwnedFd,
    tap: Tap,
    trace: Option<RuleTrace>,
    /// The parts of the snapshot that no rule changes.
    fixed: Vec<(String, Arc<str>)>,
    marker: u16,
    /// Whether a connection stands that the packets to come shall find.
    connected: bool,
    legacy: bool,
    /// Whether its devices are ports of a bridge.
    bridges: bool,
    /// The sets that packets change, as they were loaded.
    sets: Vec<String>,
}

impl Router {
    /// Builds it. The calling thread is bound to one processor, whose queue keeps packets in order.
    pub fn new(number: usize) -> Result<Self, String> {
        let mut cpus = nix::sched::CpuSet::new();
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        cpus.set(number % all).map_err(|error| format!("processors: {error}"))?;
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus)
            .map_err(|error| format!("sched_setaffinity: {error}"))?;
        let (client, router, server) = (Netns::new("client")?, Netns::new("router")?, Netns::new("server")?);
        join(&client, "c0", CLIENT_MAC, &router, "eth0", NEAR_MAC)?;
        join(&server, "s0", SERVER_MAC, &router, "eth1", FAR_MAC)?;
        client.enter(|| must("ip", &["link", "set", "c0", "up"], ""))?;
        server.enter(|| must("ip", &["link", "set", "s0", "up"], ""))?;
        router.enter(|| furnish().and_then(|()| settled()))?;
        let raw = |family, protocol| {
            router.enter(|| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)).map_err(text)
        };
        let raw4 = raw(AddressFamily::Inet, SockProtocol::Raw)?;
        let raw6 = raw(AddressFamily::Inet6, SockProtocol::Raw)?;
        let wire = client.enter(packet_socket)?;
        let fixed = snapshot(&router)?;
        let tap = Tap::open(&router)?;
        Ok(Self {
            _client: client,
            netns: router,
            _server: server,
            wire,
            raw4,
            raw6,
            tap,
            trace: None,
            fixed,
            marker: 0,
            connected: false,
            legacy: false,
            bridges: false,
            sets: Vec::new(),
        })
    }

    /// Loads a case's rules in place of the last one's. An error is one of the tools': they refuse a line.
    pub fn load(&mut self, rules: &Rules) -> Result<(), String> {
        (self.trace, self.connected) = (None, false);
        let mut lines = rules.v4.values().chain(rules.v6.values()).flatten();
        // Asking a set that counts, itself or by the list that it is in, counts; one with link addresses learns.
        let asks = |line: &str| ["macs", "more", "list"].iter().any(|set| line.contains(&format!("--match-set {set}")));
        let changes = lines.any(|line| line.contains("-j SET") || asks(line));
        self.sets = if changes { rules.ipset.clone() } else { Vec::new() };
        let legacy = std::mem::replace(&mut self.legacy, rules.legacy) || rules.legacy;
        let names =
            if rules.legacy { ["iptables-legacy", "ip6tables-legacy"] } else { ["iptables-nft", "ip6tables-nft"] };
        self.netns.enter(|| {
            must("nft", &["flush", "ruleset"], "")?;
            if legacy {
                // A table that no case names would keep what it has, and a chain its policy.
                let policies = |table: &str| if table == "filter" { ACCEPTING } else { "" };
                let empty: String = joined(&TABLES.map(|table| format!("*{table}\n{}COMMIT", policies(table))));
                must("iptables-legacy-restore", &[], &empty)?;
                must("ip6tables-legacy-restore", &[], &empty)?;
            }
            destroy_sets()?;
            if !rules.ipset.is_empty() {
                must("ipset", &["restore"], &joined(&rules.ipset))?;
            }
            let own = || if rules.nft.is_empty() { Ok(String::new()) } else { must("nft", &["-f", "-"], &rules.nft) };
            if rules.nft_first {
                own()?;
            }
            for (program, tables) in names.iter().zip([&rules.v4, &rules.v6]) {
                let parts: Vec<String> =
                    tables.iter().map(|(table, lines)| format!("*{table}\n{}COMMIT", joined(lines))).collect();
                let lines = joined(&parts);
                if !lines.is_empty() {
                    must(&format!("{program}-restore"), &[], &lines)?;
                }
            }
            if !rules.nft_first {
                own()?;
            }
            Ok::<(), String>(())
        })
    }

    /// The snapshot with the rules that stand, as the tools print them.
    pub fn snapshot(&self) -> Result<Vec<(String, Arc<str>)>, String> {
        let mut files = self.fixed.clone();
        let mut add = |name: &str, text: String| files.push((format!("nodes/router/host/{name}"), Arc::from(text)));
        self.netns.enter(|| {
            add("iptables-save", must("iptables-nft-save", &["-c"], "")?);
            add("ip6tables-save", must("ip6tables-nft-save", &["-c"], "")?);
            if self.legacy {
                add("iptables-legacy-save", must("iptables-legacy-save", &["-c"], "")?);
                add("ip6tables-legacy-save", must("ip6tables-legacy-save", &["-c"], "")?);
            }
            add("ipset", must("ipset", &["save"], "")?);
            add("nft.txt", must("nft", &["list", "ruleset"], "")?);
            let connections =
                if self.connected { must("conntrack", &["-L", "-o", "extended"], "")? } else { String::new() };
            add("conntrack", connections);
            Ok::<(), String>(())
        })?;
        Ok(files)
    }

    /// Starts to trace; after the snapshot, since it takes a table of its own.
    pub fn watch(&mut self) -> Result<(), String> {
        self.trace = Some(RuleTrace::with_table(&self.netns, TABLE)?);
        Ok(())
    }

    /// Stops to trace, and takes its table away.
    pub fn unwatch(&mut self) -> Result<(), String> {
        match self.trace.take() {
            Some(_) => self.netns.enter(|| must("nft", &["delete", "table", "inet", "lab_trace"], "").map(drop)),
            None => Ok(()),
        }
    }

    /// Starts to trace, and lets the router's own stack have what is for it.
    pub fn watch_answering(&mut self) -> Result<(), String> {
        self.trace = Some(RuleTrace::with_table(&self.netns, ANSWERING)?);
        Ok(())
    }

    /// Loads rules one step after the other: `nft` or `iptables-legacy`, and what it reads.
    pub fn load_steps(&mut self, steps: &[(&str, &str)]) -> Result<(), String> {
        (self.trace, self.connected) = (None, false);
        self.legacy = steps.iter().any(|(program, _)| *program == "iptables-legacy");
        self.netns.enter(|| {
            steps.iter().try_for_each(|(program, text)| match *program {
                "nft" => must("nft", &["-f", "-"], text).map(drop),
                program => must(&format!("{program}-restore"), &["--noflush"], text).map(drop),
            })
        })
    }

    /// Sends a packet whose connection stays for those that come after it, and is in the snapshots.
    pub fn connect(&mut self, packet: &Crafted) -> Result<(), String> {
        self.send_frame(packet, &packet.bytes())?;
        self.wait()?;
        self.connected = true;
        Ok(())
    }

    /// Changes a setting, in the snapshots to come too.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.netns.enter(|| {
            std::fs::write(format!("/proc/sys/net/{key}"), value).map_err(|error| format!("{key}: {error}"))
        })?;
        self.fixed = snapshot(&self.netns)?;
        Ok(())
    }

    /// One that is a bridge: whether IP's hooks see what is bridged, and whether also with a tag.
    pub fn bridged([netfilter, tagged]: [u8; 2]) -> Result<Self, String> {
        let mut router = Self::new(0)?;
        router.bridge()?;
        let [netfilter, tagged] = [netfilter, tagged].map(|on| on.to_string());
        router.set("bridge/bridge-nf-call-iptables", &netfilter)?;
        router.set("bridge/bridge-nf-call-ip6tables", &netfilter)?;
        router.set("bridge/bridge-nf-filter-vlan-tagged", &tagged)?;
        Ok(router)
    }

    /// Makes a bridge of its devices, which gets their IPv4 address on the client's side.
    pub fn bridge(&mut self) -> Result<(), String> {
        let off = |key: &str, value: &str| {
            std::fs::write(format!("/proc/sys/net/{key}"), value).map_err(|error| format!("{key}: {error}"))
        };
        self.netns.enter(|| {
            off("ipv6/conf/default/addr_gen_mode", "1")?;
            must("ip", &["-batch", "-"], BRIDGE)?;
            must("bridge", &["fdb", "replace", SERVER_MAC, "dev", "eth1", "master", "static"], "")
        })?;
        self.tap = Tap::open(&self.netns)?;
        self.fixed = snapshot(&self.netns)?;
        self.bridges = true;
        Ok(())
    }

    /// Takes the parts of the snapshot anew that no rule changes.
    pub fn refresh(&mut self) -> Result<(), String> {
        self.fixed = snapshot(&self.netns)?;
        Ok(())
    }

    /// Runs something in the router's namespace.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.netns.enter(run)
    }

    /// Sends a packet and sees what becomes of it.
    pub fn send(&mut self, packet: &Crafted) -> Result<Seen, String> {
        for _ in 0..5 {
            let (seen, alone) = self.send_once(packet)?;
            // The counters of iptables-legacy don't tell whose packet they counted.
            if alone || !self.legacy {
                return Ok(seen);
            }
        }
        Err("the router kept sending packets of its own".to_owned())
    }

    /// Sends a packet; whether nothing else passed the router's devices in the meantime.
    fn send_once(&mut self, packet: &Crafted) -> Result<(Seen, bool), String> {
        let (legacy, sets) = (self.legacy, &self.sets);
        self.netns.enter(|| restore_sets(sets))?;
        self.drain();
        self.netns.enter(|| {
            if !self.connected {
                let _ = run("conntrack", &["-F"], "");
            }
            forget_recent();
            if legacy { zero() } else { Ok(()) }
        })?;
        let (mut runs, mut noise) = (Vec::new(), Vec::new());
        for frame in packet.frames() {
            // Moved to another processor in between, the sender would have the marker overtake the packet.
            let before = stay().map_err(|error| format!("the sender's processor: {error}"))?;
            let sent = if packet.local { self.send_local(packet) } else { self.send_frame(packet, &frame) };
            let seen = sent.and_then(|()| self.see(packet, &mut noise));
            sched_setaffinity(Pid::from_raw(0), &before)
                .map_err(|error| format!("the sender's processors: {error}"))?;
            runs.push(seen?);
        }
        self.tap.read(&mut noise, &mut Vec::new());
        Ok((put_together(runs), noise.is_empty()))
    }

    /// What becomes of a packet that has been sent, or of a piece of it.
    fn see(&mut self, packet: &Crafted, noise: &mut Vec<Sighting>) -> Result<Seen, String> {
        let bridges = self.bridges;
        let is_noise = |seen: &Sighting| is_noise(seen) || seen.other_host && !bridges;
        let (others, sightings): (Vec<_>, Vec<_>) = self.wait()?.into_iter().partition(is_noise);
        noise.extend(others);
        let hits = self.trace.as_mut().map_or_else(Vec::new, |trace| {
            trace.read();
            trace.take()
        });
        let end = |hit: &RuleHit| hit.table == "lab_trace";
        let answers = |hit: &RuleHit| {
            hit.header.as_ref().is_some_and(|header| {
                // A segment with ACK is answered by a reset without it; a reset isn't answered, and may be from the router
                // to itself.
                let asked =
                    !matches!(packet.payload, Payload::Tcp { flags, .. } | Payload::Segment { flags, .. } if flags & 4 != 0);
                let back = asked && header.source == packet.destination && header.destination == packet.source;
                let reset = header.tcp_flags.is_some_and(|flags| flags & 0x14 == 0x14 || back && flags & 4 == 4);
                header.is_icmp_error() || reset
            })
        };
        let delivered = hits.iter().any(|hit| end(hit) && !answers(hit));
        let counts = if self.legacy { self.netns.enter(counts)? } else { BTreeMap::new() };
        // The marker, and what the kernel says by itself: which groups it listens to.
        let of_others = |hit: &RuleHit| {
            hit.header.as_ref().is_some_and(|header| {
                header.destination == MARKER || header.destination.is_multicast() && !packet.destination.is_multicast()
            })
        };
        let hits = hits.into_iter().filter(|hit| !end(hit) && !of_others(hit)).collect();
        Ok(Seen { sightings, hits, counts, delivered, parted: false })
    }

    fn drain(&mut self) {
        self.tap.read(&mut Vec::new(), &mut Vec::new());
        if let Some(trace) = &mut self.trace {
            trace.read();
            trace.take();
        }
    }

    fn send_frame(&self, packet: &Crafted, bytes: &[u8]) -> Result<(), String> {
        let mut frame = [mac(packet.to), mac(CLIENT_MAC)].concat();
        frame.extend(packet.ether_type());
        frame.extend(bytes);
        send(self.wire.as_raw_fd(), &frame, MsgFlags::empty()).map(drop).map_err(|error| format!("send: {error}"))
    }

    fn send_local(&self, packet: &Crafted) -> Result<(), String> {
        let to = SockaddrStorage::from(SocketAddr::new(packet.destination, 0));
        let raw = if packet.source.is_ipv4() { &self.raw4 } else { &self.raw6 };
        setsockopt(raw, sockopt::Mark, &packet.mark).map_err(|error| format!("SO_MARK: {error}"))?;
        // A rule that drops makes the call fail.
        let _ = sendto(raw.as_raw_fd(), &packet.bytes(), &to, MsgFlags::empty());
        Ok(())
    }

    /// Everything up to the marker.
    fn wait(&mut self) -> Result<Vec<Sighting>, String> {
        self.marker = self.marker.wrapping_add(1);
        let marker = Crafted {
            destination: MARKER,
            payload: Payload::Udp { source: self.marker, destination: 9 },
            ttl: 1,
            data: 0,
            to: MARKER_MAC,
            ..Crafted::datagram()
        };
        self.send_frame(&marker, &marker.bytes())?;
        let (mut sightings, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(5));
        loop {
            let mut found = Vec::new();
            self.tap.read(&mut found, &mut Vec::new());
            let own = |seen: &Sighting| seen.other_host && seen.header.source_port == Some(self.marker);
            let done = found.iter().any(own);
            // A bridge floods it.
            sightings.extend(found.into_iter().filter(|seen| seen.header.destination != MARKER));
            if done {
                return Ok(sightings);
            }
            if Instant::now() > deadline {
                return Err("the marker never came".to_owned());
            }
            let mut fds = [PollFd::new(self.tap.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(50u8)).map_err(|error| format!("poll: {error}"))?;
        }
    }
}

/// What became of a packet whose pieces were sent one after the other. Where the rules saw the pieces, all but the last
/// must have met the same rules; that one may meet more of them, once it has made the packet whole.
fn put_together(mut runs: Vec<Seen>) -> Seen {
    let Some(mut seen) = runs.pop() else { return Seen::default() };
    // The counters of iptables-legacy count on.
    for n in (1..runs.len()).rev() {
        runs[n].counts = since(&runs[n].counts, &runs[n - 1].counts);
    }
    let before = runs.iter().fold(BTreeMap::new(), |mut sum: BTreeMap<LegacyRule, u64>, run| {
        run.counts.iter().for_each(|(rule, count)| *sum.entry(rule.clone()).or_default() += count);
        sum
    });
    seen.counts = since(&seen.counts, &before);
    // IPv4 sends errors about the first piece alone.
    let own = |hit: &&RuleHit| !hit.header.as_ref().is_some_and(Header::is_icmp_error);
    let words = |seen: &Seen| {
        let hits = seen.hits.iter().filter(own);
        hits.map(|hit| (hit.chain.clone(), hit.index, hit.verdict.clone())).collect::<Vec<_>>()
    };
    let (all, last) = (words(&seen), seen.counts.clone());
    let met_others = |run: &Seen| {
        !all.starts_with(&words(run)) || run.counts.iter().any(|(rule, count)| last.get(rule) != Some(count))
    };
    seen.parted = runs.iter().any(met_others);
    if let Some(first) = runs.first()
        && (seen.parted || first.hits.len() > seen.hits.len())
    {
        (seen.hits, seen.counts) = (first.hits.clone(), first.counts.clone());
    }
    seen.delivered |= runs.iter().any(|run| run.delivered);
    let mut sightings: Vec<Sighting> = Vec::new();
    for run in runs.into_iter().map(|run| run.sightings).chain([std::mem::take(&mut seen.sightings)]) {
        // Of the errors that IPv6 sends about each piece, one is the packet's.
        let known: Vec<_> = sightings.iter().filter_map(error).collect();
        sightings.extend(run.into_iter().filter(|seen| error(seen).is_none_or(|error| !known.contains(&error))));
    }
    seen.sightings = whole(sightings.into_iter());
    seen
}

/// An ICMP error in words, whatever it quotes.
fn error(seen: &Sighting) -> Option<String> {
    let (header, device) = (&seen.header, &seen.device);
    let ways = format!("{:?} {device} {} > {} {:?}", seen.direction, header.source, header.destination, header.icmp);
    header.is_icmp_error().then_some(ways)
}

/// What was counted after an earlier count.
fn since(counts: &BTreeMap<LegacyRule, u64>, before: &BTreeMap<LegacyRule, u64>) -> BTreeMap<LegacyRule, u64> {
    let left = counts.iter().map(|(rule, count)| (rule.clone(), count - before.get(rule).copied().unwrap_or(0)));
    left.filter(|(_, count)| *count > 0).collect()
}

/// The packets that passed devices, each with all its pieces.
fn whole(sightings: impl Iterator<Item = Sighting>) -> Vec<Sighting> {
    let mut all: Vec<Sighting> = Vec::new();
    for seen in sightings {
        let Some((_, offset)) = seen.header.fragment.filter(|(_, offset)| *offset > 0) else {
            all.push(seen);
            continue;
        };
        // Nothing else is on its way in pieces. The addresses of the last one may be those of the packet that the
        // kernel has made of it since.
        let head = |first: &&mut Sighting| {
            first.header.fragment.is_some() && (first.direction, &first.device) == (seen.direction, &seen.device)
        };
        match all.iter_mut().find(head) {
            Some(first) => {
                let end = seen.header.length + offset;
                first.header.length = first.header.length.max(end);
            }
            None => all.push(seen),
        }
    }
    for seen in &mut all {
        // The fragment header is no part of the packet.
        if seen.header.fragment.is_some() && seen.header.source.is_ipv6() {
            seen.header.length -= 8;
        }
    }
    all
}

const ACCEPTING: &str = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";

const TABLES: [&str; 4] = ["raw", "mangle", "nat", "filter"];

/// Removes every ipset, once the rules of the last case, which the kernel frees a little later, have let them go.
fn destroy_sets() -> Result<(), String> {
    // A list holds its members.
    must("ipset", &["flush"], "")?;
    let mut last = Ok(());
    for _ in 0..500 {
        last = must("ipset", &["destroy"], "").map(drop);
        if last.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    last
}

/// What the kernel says by itself.
fn is_noise(seen: &Sighting) -> bool {
    let neighbour = matches!(seen.header.icmp, Some((130..=137 | 143, _))) && seen.header.protocol == 58;
    neighbour || seen.header.destination.is_multicast()
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn text(error: nix::Error) -> String {
    error.to_string()
}

fn mac(text: &str) -> [u8; 6] {
    let mut bytes = [0; 6];
    for (byte, word) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(word, 16).expect("a link address");
    }
    bytes
}

/// A packet socket that only sends.
fn packet_socket() -> Result<OwnedFd, String> {
    // An interface's own link address names it, and no protocol, so that nothing is received.
    let mut interfaces = nix::ifaddrs::getifaddrs().map_err(text)?;
    let own = interfaces
        .find_map(|interface| interface.address?.as_link_addr().copied().filter(|_| interface.interface_name == "c0"));
    let own = own.ok_or("c0 has no link address")?;
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map_err(text)?;
    bind(fd.as_raw_fd(), &own).map_err(text)?;
    Ok(fd)
}

fn join(near: &Netns, dev: &str, lladdr: &str, far: &Netns, far_dev: &str, far_lladdr: &str) -> Result<(), String> {
    let line = format!(
        "link add {dev} address {lladdr} type veth peer name {far_dev} address {far_lladdr} netns {}\n",
        far.path()
    );
    near.enter(|| {
        // A host without an address answers nothing.
        for key in ["net/ipv6/conf/default/disable_ipv6", "net/ipv6/conf/all/disable_ipv6"] {
            std::fs::write(format!("/proc/sys/{key}"), "1").map_err(|error| format!("{key}: {error}"))?;
        }
        must("ip", &["-batch", "-"], &line).map(drop)
    })
}

const BRIDGE: &str = "link add br0 address 02:00:00:00:00:b0 type bridge mcast_snooping 0 forward_delay 0
addr flush dev eth0
addr flush dev eth1
link set eth0 master br0
link set eth1 master br0
link set br0 up
addr add 192.0.2.10/24 dev br0
route add default via 192.0.2.99
neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev br0 nud permanent
";

const ADDRESSES: &str = "link set lo up
link set eth0 up
link set eth1 up group 7
addr add 192.0.2.10/24 dev eth0
addr add 198.51.100.1/24 dev eth1
addr add 2001:db8:1::10/64 dev eth0 nodad
addr add 2001:db8:2::1/64 dev eth1 nodad
route add 203.0.113.0/24 via 192.0.2.99
route add default via 198.51.100.7
route add 2001:db8:113::/48 via 2001:db8:1::99
route add default via 2001:db8:2::7
";

fn furnish() -> Result<(), String> {
    let write = |key: &str, value: &str| {
        std::fs::write(format!("/proc/sys/net/{key}"), value).map_err(|error| format!("{key}: {error}"))
    };
    for dev in ["all", "default", "eth0", "eth1"] {
        write(&format!("ipv4/conf/{dev}/rp_filter"), "0")?;
        write(&format!("ipv4/conf/{dev}/send_redirects"), "0")?;
        write(&format!("ipv4/conf/{dev}/accept_source_route"), "1")?;
        write(&format!("ipv6/conf/{dev}/accept_ra"), "0")?;
    }
    for dev in ["eth0", "eth1"] {
        // No link-local addresses: nothing is said before a packet is sent.
        write(&format!("ipv6/conf/{dev}/addr_gen_mode"), "1")?;
        // Rules would count the reports of the multicast groups, which an address joins, up to seconds later.
        write(&format!("ipv6/conf/{dev}/mldv1_unsolicited_report_interval"), "1")?;
        write(&format!("ipv6/conf/{dev}/mldv2_unsolicited_report_interval"), "1")?;
    }
    for (key, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv4/icmp_msgs_per_sec", "100000"),
        ("ipv6/icmp/ratelimit", "0"),
    ] {
        let _ = write(key, value);
    }
    must("ip", &["-batch", "-"], ADDRESSES)?;
    let mut lines = String::new();
    for (net, dev, mac) in [("192.0.2", "eth0", CLIENT_MAC), ("198.51.100", "eth1", SERVER_MAC)] {
        for host in [5, 7, 8, 9, 10, 20, 21, 22, 23, 98, 99] {
            lines.push_str(&format!("neigh add {net}.{host} lladdr {mac} dev {dev} nud permanent\n"));
        }
    }
    for (net, dev, mac) in [("2001:db8:1::", "eth0", CLIENT_MAC), ("2001:db8:2::", "eth1", SERVER_MAC)] {
        for host in ["5", "7", "8", "9", "10", "20", "21", "22", "23", "98", "99"] {
            lines.push_str(&format!("neigh add {net}{host} lladdr {mac} dev {dev} nud permanent\n"));
        }
    }
    must("ip", &["-batch", "-"], &lines).map(drop)
}

/// Waits until IPv6 has made its routes, which it does a little after an address comes to a device.
fn settled() -> Result<(), String> {
    for _ in 0..500 {
        let routes = must("ip", &["-6", "route", "show", "table", "all"], "")?;
        let own = ["local 2001:db8:1::10 ", "local 2001:db8:2::1 ", "2001:db8:1::/64 ", "2001:db8:2::/64 "];
        if own.iter().all(|route| routes.contains(route)) && !routes.contains("linkdown") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("the router's IPv6 routes never came".to_owned())
}

/// Everything but the rules.
fn snapshot(router: &Netns) -> Result<Vec<(String, Arc<str>)>, String> {
    let folder = std::env::temp_dir().join(format!("flowtrace-rules-{}-{:p}", std::process::id(), router));
    let space = Space::new("router", Place::Host { node: "router".to_owned() });
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let read = router.enter(|| write_space(&space, &folder, Form::Text)).and_then(|()| read_folder(&folder));
    let _ = std::fs::remove_dir_all(&folder);
    let mut files = read?;
    let settings = router.enter(header_settings)?;
    for (_, text) in files.iter_mut().filter(|(name, _)| name.ends_with("/sysctl")) {
        *text = format!("{text}{settings}").into();
    }
    Ok(files)
}

/// The settings for options and extension headers, which the other labs' snapshots leave out.
fn header_settings() -> Result<String, String> {
    let line = |key: String| {
        let value =
            std::fs::read_to_string(format!("/proc/sys/net/{key}")).map_err(|error| format!("{key}: {error}"))?;
        Ok(format!("net.{} = {value}", key.replace('/', ".")))
    };
    let sources = ["all", "lo", "eth0", "eth1"].map(|dev| format!("ipv4/conf/{dev}/accept_source_route"));
    let limits = ["max_hbh_opts_number", "max_hbh_length", "max_dst_opts_number", "max_dst_opts_length"];
    sources.into_iter().chain(limits.map(|key| format!("ipv6/{key}"))).map(line).collect()
}

fn read_folder(folder: &Path) -> Result<Vec<(String, Arc<str>)>, String> {
    let rules = ["iptables-save", "ip6tables-save", "ipset", "nft.txt", "conntrack"];
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if rules.contains(&name.as_str()) || entry.path().is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).map_err(|error| format!("{name}: {error}"))?;
        files.push((format!("nodes/router/host/{name}"), Arc::from(text)));
    }
    Ok(files)
}

/// Puts the sets back as they were before any packet.
fn restore_sets(sets: &[String]) -> Result<(), String> {
    if sets.is_empty() {
        return Ok(());
    }
    must("ipset", &["flush"], "")?;
    must("ipset", &["-exist", "restore"], &joined(sets)).map(drop)
}

/// Empties the lists of `recent` rules.
fn forget_recent() {
    for family in ["xt_recent", "ip6t_recent"] {
        for list in std::fs::read_dir(format!("/proc/thread-self/net/{family}")).into_iter().flatten().flatten() {
            let _ = std::fs::write(list.path(), "/");
        }
    }
}

/// Sets the counters of iptables-legacy to zero.
fn zero() -> Result<(), String> {
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        for table in TABLES {
            must(program, &["-t", table, "-Z"], "")?;
        }
    }
    Ok(())
}

/// How often each rule of iptables-legacy matched.
fn counts() -> Result<BTreeMap<LegacyRule, u64>, String> {
    let mut counts = BTreeMap::new();
    for (family, program) in [(4, "iptables-legacy-save"), (6, "ip6tables-legacy-save")] {
        let (mut table, mut numbers) = (String::new(), BTreeMap::<String, u32>::new());
        for line in must(program, &["-c"], "")?.lines() {
            if let Some(name) = line.strip_prefix('*') {
                name.clone_into(&mut table);
                numbers.clear();
            }
            let Some((count, rule)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] -A ")) else {
                continue;
            };
            let chain = rule.split(' ').next().unwrap_or_default().to_owned();
            let number = numbers.entry(chain.clone()).or_default();
            *number += 1;
            let packets: u64 = count.split(':').next().and_then(|count| count.parse().ok()).unwrap_or(0);
            if packets > 0 {
                counts.insert((family, table.clone(), chain, *number), packets);
            }
        }
    }
    Ok(counts)
}

/// Keeps this thread on the processor where it is; gives those that it may go to.
fn stay() -> nix::Result<CpuSet> {
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let mut one = CpuSet::new();
    one.set(sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &one)?;
    Ok(all)
}

//! Sends a probe and sees what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::answer::Server;
use super::build::{Lab, write_sysctls};
use super::client::{Client, Outcome};
use super::netns::{must, run};
use super::probe::{Probe, Proto};
use super::ruletrace::{RuleHit, RuleTrace, TRACE_TABLE};
use super::scenario::Backend;
use super::snapshot::track_afresh;
use super::tap::{Direction, Resolution, Sighting, Tap};
use super::wire::{Header, Identity, RELAY_PORT};

/// How long nothing must happen before a packet counts as lost.
const QUIET: Duration = Duration::from_millis(150);
/// The same while a neighbour is being asked for, which happens every 60 ms in the lab.
const QUIET_UNRESOLVED: Duration = Duration::from_millis(350);
/// The same where a program carries packets on, which has to get its turn first.
const QUIET_RELAYED: Duration = Duration::from_millis(400);
/// The port of flannel's VXLAN devices.
const VXLAN_PORT: u16 = 8472;
/// How long to look on once the answer is there.
const GRACE: Duration = Duration::from_millis(4);

/// Everything that was seen of one probe.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Packets at devices, in their order.
    pub sightings: Vec<Sighting>,
    /// Rules that matched, in the order of each namespace.
    pub hits: Vec<RuleHit>,
    /// The namespace whose program, or whose kernel, answered.
    pub receiver: Option<String>,
    /// How it ended for the sender.
    pub outcome: Outcome,
}

/// Taps, rule traces and servers in every namespace of a lab.
pub struct Observer<'lab> {
    lab: &'lab Lab,
    taps: Vec<Tap>,
    traces: Vec<RuleTrace>,
    servers: Vec<Server>,
    asked: bool,
}

impl<'lab> Observer<'lab> {
    /// Opens them all. The snapshot comes first: the rule traces need a table of their own.
    pub fn open(lab: &'lab Lab) -> Result<Self, String> {
        let mut observer = Self { lab, taps: Vec::new(), traces: Vec::new(), servers: Vec::new(), asked: false };
        let mut ports: Vec<u16> = lab.scenario.probes.iter().flat_map(|probe| &probe.listen).copied().collect();
        ports.extend(lab.scenario.probes.iter().filter(|probe| probe.proto != Proto::Icmp).map(|probe| probe.port));
        ports.sort_unstable();
        ports.dedup();
        for space in &lab.scenario.spaces {
            let netns = lab.netns(&space.name);
            netns.enter(without_limits)?;
            for &port in &ports {
                observer.servers.extend(Server::open(netns, port)?);
            }
            let nft = space.rules.keys().any(|backend| matches!(backend, Backend::Nft4 | Backend::Nft6));
            let sends_tcp =
                lab.scenario.probes.iter().any(|probe| probe.proto == Proto::Tcp && probe.space == space.name);
            if nft || !space.nft.is_empty() {
                observer.traces.push(RuleTrace::open(netns)?);
            } else if sends_tcp {
                netns.enter(|| must("nft", &["-f", "-"], TRACE_TABLE))?;
            }
            observer.taps.push(Tap::open(netns)?);
        }
        Ok(observer)
    }

    /// Sends one probe.
    pub fn ask(&mut self, probe: &Probe) -> Observation {
        self.forget(probe);
        self.drain();
        let before = self.delivered(probe);
        let mut seen = Seen::default();
        let (mut client, mut outcome) = match Client::send(self.lab.netns(&probe.space), probe) {
            Ok(client) => (Some(client), None),
            Err(outcome) => (None, Some(outcome)),
        };
        let mut last = Instant::now();
        loop {
            let quiet = self.quiet(outcome.is_some(), seen.unresolved());
            let mut waiting = if outcome.is_none() { client.as_mut() } else { None };
            let (busy, client_ready) = self.wait(waiting.as_deref(), quiet);
            if client_ready {
                outcome = outcome.or_else(|| waiting.as_mut().and_then(|client| client.look()));
            }
            let before = seen.amount();
            self.read(&mut seen);
            if busy && seen.amount() > before || client_ready {
                last = Instant::now();
            } else if last.elapsed() >= quiet {
                if outcome.is_some() {
                    break;
                }
                let resolving = self.still_resolving();
                // What happened while the neighbours were looked at.
                self.read(&mut seen);
                if !resolving && seen.amount() == before {
                    break;
                }
                last = Instant::now();
            }
        }
        seen.hits = self.traces.iter_mut().flat_map(RuleTrace::take).collect();
        let mut seen = seen.finish(probe, outcome.unwrap_or(Outcome::Silence));
        if seen.receiver.is_none() && seen.outcome == Outcome::Silence {
            seen.receiver = self.silent_receiver(probe, &seen, &before);
        }
        seen
    }

    /// How long nothing must happen.
    fn quiet(&self, ended: bool, unresolved: bool) -> Duration {
        match (ended, unresolved) {
            (true, _) => GRACE,
            (false, _) if !self.lab.scenario.relays.is_empty() => QUIET_RELAYED,
            (false, true) => QUIET_UNRESOLVED,
            (false, false) => QUIET,
        }
    }

    /// Whether a program carries something, or a neighbour is being asked for on a device that carries nothing, where no
    /// tap sees the question.
    fn still_resolving(&self) -> bool {
        if self.lab.relays_busy() {
            return true;
        }
        let visible = self.lab.scenario.spaces.iter().filter(|space| space.folder().is_some());
        let mut waiting = visible
            .map(|space| self.lab.netns(&space.name).enter(|| must("ip", &["neigh", "show", "nud", "incomplete"], "")));
        waiting.any(|neighbours| neighbours.is_ok_and(|text| !text.is_empty()))
    }

    /// How many packets of the probe's protocol each namespace's stack has taken in.
    fn delivered(&self, probe: &Probe) -> BTreeMap<String, u64> {
        let spaces = self.lab.scenario.spaces.iter();
        spaces.map(|space| (space.name.clone(), self.lab.netns(&space.name).enter(|| taken_in(probe)))).collect()
    }

    /// Who received a packet without being able to answer: the last place that it came to, if the stack there took it.
    fn silent_receiver(&self, probe: &Probe, seen: &Observation, before: &BTreeMap<String, u64>) -> Option<String> {
        let last = seen.sightings.iter().rfind(|sighting| !sighting.header.innermost().is_icmp_error())?;
        if last.direction == Direction::Transmit {
            return None;
        }
        let reset = last.header.innermost().tcp_flags.is_some_and(|flags| flags & 4 != 0);
        if reset || last.space == probe.space && last.device != "lo" {
            return None;
        }
        let now = self.lab.netns(&last.space).enter(|| taken_in(probe));
        (now > *before.get(&last.space)?).then(|| last.space.clone())
    }

    /// The kernel must know as little as the snapshot says: connections, neighbours and `recent` lists that
    /// earlier probes left behind go.
    fn forget(&mut self, probe: &Probe) {
        if !std::mem::replace(&mut self.asked, true) {
            return;
        }
        if probe.fixed_sport.is_some() {
            let _ =
                self.lab.netns(&probe.space).enter(|| run("nft", &["flush", "set", "inet", "lab_trace", "sent"], ""));
        }
        for trace in &self.traces {
            let space = self.lab.scenario.spaces.iter().find(|space| space.name == trace.space());
            self.lab.netns(trace.space()).enter(|| {
                let _ = space.map(track_afresh);
            });
        }
        for space in self.lab.scenario.spaces.iter().filter(|space| space.folder().is_some()) {
            // What errors have said about MTUs is kept as routes of their own.
            self.lab.netns(&space.name).enter(|| {
                for words in [["neigh", "flush", "all"], ["route", "flush", "cache"]] {
                    let _ = run("ip", &words, "");
                }
                let _ = run("ip", &["-6", "route", "flush", "cache"], "");
            });
        }
    }

    fn drain(&mut self) {
        let mut seen = Seen::default();
        self.read(&mut seen);
        self.traces.iter_mut().for_each(|trace| drop(trace.take()));
    }

    /// Waits for anything at all; whether something came, and whether it came at the sender.
    fn wait(&self, client: Option<&Client>, quiet: Duration) -> (bool, bool) {
        let mut fds: Vec<(BorrowedFd<'_>, PollFlags)> = Vec::new();
        if let Some(client) = client {
            let flags = if client.waits_to_write() { PollFlags::POLLOUT } else { PollFlags::POLLIN };
            fds.push((client.as_fd(), flags));
        }
        fds.extend(self.taps.iter().map(|tap| (tap.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.traces.iter().map(|trace| (trace.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.servers.iter().map(|server| (server.as_fd(), PollFlags::POLLIN)));
        let mut fds: Vec<PollFd<'_>> = fds.into_iter().map(|(fd, flags)| PollFd::new(fd, flags)).collect();
        let timeout = PollTimeout::try_from(quiet.as_millis() as i32).unwrap_or(PollTimeout::ZERO);
        let busy = poll(&mut fds, timeout).unwrap_or(0) > 0;
        (busy, client.is_some() && fds[0].any().unwrap_or(false))
    }

    fn read(&mut self, seen: &mut Seen) {
        for server in &self.servers {
            if server.answer() {
                seen.receiver.get_or_insert_with(|| server.space.clone());
            }
        }
        for tap in &mut self.taps {
            tap.read(&mut seen.sightings, &mut seen.resolutions);
        }
        for trace in &mut self.traces {
            trace.read();
            seen.events += trace.events();
        }
    }
}

impl Drop for Observer<'_> {
    /// Closing a packet socket waits for every processor, so the sockets are closed side by side and behind our back.
    fn drop(&mut self) {
        for tap in self.taps.drain(..) {
            std::thread::spawn(move || drop(tap));
        }
    }
}

/// Each question stands for itself: none may use up what the kernel allows of errors. A redirect counts too, and bars
/// the errors of routes for a second (`ip_rt_send_redirect` and `ip_error` in net/ipv4/route.c).
fn without_limits() -> Result<(), String> {
    let mut limits: Vec<(String, String)> = ["ipv4/icmp_ratelimit", "ipv4/icmp_ratemask", "ipv6/icmp/ratelimit"]
        .map(|name| (name.to_owned(), "0".to_owned()))
        .to_vec();
    for entry in std::fs::read_dir("/proc/sys/net/ipv4/conf").into_iter().flatten().flatten() {
        let device = entry.file_name().to_string_lossy().into_owned();
        limits.push((format!("ipv4/conf/{device}/send_redirects"), "0".to_owned()));
    }
    write_sysctls(&limits)
}

/// Packets that the calling thread's namespace has handed to the receiver of a probe: echo requests and TCP segments.
/// (A datagram is noticed by the program that answers.)
fn taken_in(probe: &Probe) -> u64 {
    let count = |file: &str, prefix: &str, name: &str| {
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        let at = lines.next()?.split(' ').position(|known| known == name)?;
        lines.next()?.split(' ').nth(at)?.parse::<u64>().ok()
    };
    let counted = match (probe.proto, probe.destination.is_ipv4()) {
        (Proto::Tcp, _) => count("snmp", "Tcp: ", "InSegs"),
        (Proto::Icmp, true) => count("snmp", "Icmp: ", "InEchos"),
        (Proto::Icmp, false) => std::fs::read_to_string("/proc/thread-self/net/snmp6")
            .ok()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("Icmp6InEchos")?.trim().parse().ok())),
        (Proto::Udp, _) => None,
    };
    counted.unwrap_or(0)
}

#[derive(Default)]
struct Seen {
    sightings: Vec<Sighting>,
    resolutions: Vec<Resolution>,
    hits: Vec<RuleHit>,
    events: usize,
    receiver: Option<String>,
}

impl Seen {
    fn amount(&self) -> usize {
        self.sightings.len() + self.resolutions.len() + self.events
    }

    /// Whether some neighbour was asked for and has not answered.
    fn unresolved(&self) -> bool {
        self.resolutions.iter().any(|asked| {
            asked.asks && !self.resolutions.iter().any(|answer| !answer.asks && answer.target == asked.target)
        })
    }

    /// An error that no tap sees shows little of what it is about, but who gets it: whoever answered.
    fn drop_errors_about_answers(&mut self, probe: &Probe) {
        let headers = self.hits.iter().filter_map(|hit| hit.header.as_ref());
        let headers = headers.chain(self.sightings.iter().map(|sighting| sighting.header.innermost()));
        let (mut asks, mut answers) = (BTreeSet::new(), BTreeSet::new());
        let tunnels: BTreeSet<_> =
            headers.clone().filter(|header| is_tunnel(header)).map(|header| header.source).collect();
        // Who sends a tunnel packet neither asks nor answers: what is inside may be either.
        let plain = |header: &&Header| !header.is_icmp_error() && !header.is_background() && !is_tunnel(header);
        for header in headers.filter(plain) {
            // The reset that a rule sends is one, too.
            if is_answer(probe, header) || header.tcp_flags.is_some_and(|flags| flags & 4 != 0) {
                answers.insert(header.source);
            } else {
                asks.insert(header.source);
            }
        }
        let seen: BTreeSet<_> = self.sightings.iter().map(|sighting| sighting.header.identity()).collect();
        self.hits.retain(|hit| {
            let Some(header) = hit.header.as_ref().filter(|header| header.is_icmp_error()) else { return true };
            // An answer that address translation kept from the sender's socket comes from nobody in sight. An error that
            // a tunnel gets is about what it sent.
            let unheard = hit.space == probe.space && matches!(header.icmp, Some((3, 3) | (1, 4)));
            let unheard = unheard && probe.proto != Proto::Icmp && !tunnels.contains(&header.destination);
            let about_answer =
                (unheard || answers.contains(&header.destination)) && !asks.contains(&header.destination);
            // A neighbour's question or answer, quoted whole, has this length.
            let about_neighbour = header.protocol == 58 && header.length == 120;
            seen.contains(&header.identity()) || !(about_answer || about_neighbour)
        });
    }

    fn finish(mut self, probe: &Probe, outcome: Outcome) -> Observation {
        self.sightings = merged(self.sightings);
        // A rule trace shows of a tunnelled packet only the outside, so the taps must say what else came by.
        let wanted = |header: &Header| is_of_probe(probe, header) && !header.is_later_fragment();
        let (of_probe, others): (Vec<_>, Vec<_>) = self.sightings.iter().partition(|sighting| wanted(&sighting.header));
        let (of_probe, others) = (Known::of(&of_probe), Known::of(&others));
        self.hits.retain(|hit| {
            let Some(header) = &hit.header else { return true };
            wanted(header) && of_probe.closeness(hit, header) >= others.closeness(hit, header)
        });
        self.drop_errors_about_answers(probe);
        self.sightings.retain(|sighting| is_of_probe(probe, &sighting.header));
        let answered = self.receiver.clone().or_else(|| {
            let sighting = self.sightings.iter().find(|sighting| {
                sighting.direction == Direction::Transmit && is_answer(probe, sighting.header.innermost())
            });
            let hit = self
                .hits
                .iter()
                .find(|hit| hit.header.as_ref().is_some_and(|header| is_answer(probe, header.innermost())));
            // An answer that a rule stops in OUTPUT is seen at no device.
            match (sighting, hit) {
                (Some(sighting), _) => Some(sighting.space.clone()),
                (None, hit) => hit.map(|hit| hit.space.clone()),
            }
        });
        Observation { sightings: self.sightings, hits: self.hits, receiver: answered, outcome }
    }
}

/// Packets that the taps saw.
struct Known {
    identities: BTreeSet<Identity>,
    translated: BTreeSet<(IpAddr, Option<u16>, u16, u32)>,
    tunnelled: BTreeSet<(String, u32)>,
}

impl Known {
    fn of(sightings: &[&Sighting]) -> Self {
        let headers = || sightings.iter().map(|sighting| &sighting.header);
        let tunnelled = sightings.iter().filter(|seen| seen.device.starts_with("flannel"));
        Self {
            identities: headers().map(Header::identity).collect(),
            translated: headers().filter(|header| header.inner.is_some()).map(untranslated).collect(),
            tunnelled: tunnelled.map(|seen| (seen.space.clone(), seen.header.length)).collect(),
        }
    }

    /// How well a packet that a rule saw is known: as it is, or as a tunnel packet whose source was still to be
    /// translated, or as one that no device saw and whose content has this length, or not at all.
    fn closeness(&self, hit: &RuleHit, header: &Header) -> u8 {
        let relayed = header.destination_port == Some(RELAY_PORT);
        let overhead = match (relayed, header.source.is_ipv4()) {
            (true, _) => 28,
            (false, true) => 50,
            (false, false) => 70,
        };
        let content = (hit.space.clone(), header.length.saturating_sub(overhead));
        let tunnel = header.protocol == 17 && (relayed || header.destination_port == Some(VXLAN_PORT));
        if self.identities.contains(&header.identity()) {
            return 3;
        }
        if self.translated.contains(&untranslated(header)) {
            return 2;
        }
        u8::from(tunnel && self.tunnelled.contains(&content))
    }
}

/// Whether a packet is a VXLAN device's.
fn is_tunnel(header: &Header) -> bool {
    header.protocol == 17 && header.destination_port == Some(VXLAN_PORT)
}

/// What source address translation leaves of a packet's identity.
fn untranslated(header: &Header) -> (IpAddr, Option<u16>, u16, u32) {
    (header.destination, header.destination_port, header.id, header.length)
}

/// Whether a packet comes of the probe: not of the kernel's own housekeeping, and not of what follows the first
/// packet and its answer.
fn is_of_probe(probe: &Probe, header: &Header) -> bool {
    let inner = header.innermost();
    if inner.is_background() {
        return false;
    }
    if let Some(quoted) = &inner.quoted {
        let (about, udp) = (quoted.innermost(), probe.proto == Proto::Udp && quoted.innermost().protocol == 17);
        // Errors about the answer or a rule's reset, about neighbour discovery, about a tunnel packet that carries an error, and a further
        // error for each further fragment.
        let reset = about.tcp_flags.is_some_and(|flags| flags & 4 != 0);
        let answer = reset || is_answer(probe, about) || udp && about.destination_port == Some(probe.sport);
        if answer || about.is_background() || about.is_icmp_error() || quoted.is_later_fragment() {
            return false;
        }
    }
    match inner.tcp_flags {
        // The handshake's last packet, and the reset with which a stack answers a SYN-ACK that it didn't ask for.
        Some(flags) => matches!(flags & 0x17, 0x02 | 0x12 | 0x14),
        None => true,
    }
}

/// Whether a packet is the receiver's answer to the probe.
pub fn is_answer(probe: &Probe, header: &Header) -> bool {
    match probe.proto {
        Proto::Icmp => matches!((header.protocol, header.icmp), (1, Some((0, _))) | (58, Some((129, _)))),
        Proto::Tcp => header.tcp_flags.is_some_and(|flags| flags & 0x12 == 0x12),
        Proto::Udp => {
            let ports = |port: Option<u16>| port.is_some_and(|port| port == probe.port || probe.listen.contains(&port));
            // A port that masquerading has drawn may happen to be one of the others.
            let told = (header.source_port == Some(probe.port)) != (header.destination_port == Some(probe.port));
            let answers = if told {
                header.source_port == Some(probe.port)
            } else {
                ports(header.source_port) && !ports(header.destination_port)
            };
            header.protocol == 17 && answers
        }
    }
}

/// One order of all namespaces: each one's own order is kept, time decides between them.
fn merged(mut sightings: Vec<Sighting>) -> Vec<Sighting> {
    // Sorting is stable, and within a namespace time never runs backwards.
    sightings.sort_by_key(|sighting| sighting.time);
    sightings
}

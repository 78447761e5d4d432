//! A case: a rule set and the packets that are sent through it.

use std::net::IpAddr;

use super::super::rng::Rng;
use super::between;
use super::craft::{Crafted, Payload};
use super::router::Rules;
use super::{iptables, nft};

/// What loads the rules of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// iptables-nft.
    Nft,
    /// iptables-legacy.
    Legacy,
    /// nft's own tables.
    Native,
    /// nft's own tables beside those of iptables-nft.
    Mixed,
}

impl Backend {
    /// Every mode of the lab.
    pub const ALL: [Self; 4] = [Self::Nft, Self::Legacy, Self::Native, Self::Mixed];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "iptables-nft",
            Self::Legacy => "iptables-legacy",
            Self::Native => "nft",
            Self::Mixed => "nft beside iptables-nft",
        }
    }
}

/// A rule set and packets.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub rules: Rules,
    pub packets: Vec<Crafted>,
}

/// The case of a seed.
pub fn case(seed: u64, backend: Backend) -> Case {
    let mut rng = Rng::new(seed);
    let mut rules = if backend == Backend::Native { nft::rules(&mut rng) } else { iptables::rules(&mut rng) };
    if backend == Backend::Mixed {
        rules.nft = nft::rules(&mut rng).nft;
        rules.nft_first = rng.percent(50);
    }
    rules.legacy = backend == Backend::Legacy;
    let packets = (0..PACKETS).map(|n| packet(n, &mut rng)).collect();
    if rng.percent(20) {
        forget_connections(&mut rules);
    }
    Case { seed, rules, packets }
}

/// Leaves out every rule that makes the kernel track connections, without which nobody puts pieces together.
fn forget_connections(rules: &mut Rules) {
    let words = ["conntrack", "connmark", "connbytes", "connlabel", "connlimit", "helper", "cluster", "socket"];
    let targets = ["CONNMARK", "SYNPROXY", "CT", "TPROXY"];
    let tracks = |line: &str| line.split(' ').any(|word| words.contains(&word) || targets.contains(&word));
    for tables in [&mut rules.v4, &mut rules.v6] {
        tables.remove("nat");
        for lines in tables.values_mut() {
            lines.retain(|line| !tracks(line));
        }
    }
    let own = ["ct", "dnat", "snat", "masquerade", "redirect"];
    let kept = rules.nft.lines().filter(|line| !line.split(' ').any(|word| own.contains(&word)));
    rules.nft = kept.flat_map(|line| [line, "\n"]).collect();
}

/// How many packets a rule set gets.
pub const PACKETS: u16 = 8;

fn packet(n: u16, rng: &mut Rng) -> Crafted {
    let v6 = rng.percent(35);
    let local = rng.percent(25);
    let near: &[&str] = if v6 {
        &["2001:db8:1::99", "2001:db8:1::98", "2001:db8:113::5"]
    } else {
        &["192.0.2.99", "192.0.2.98", "203.0.113.5"]
    };
    let own: &[&str] = if v6 { &["2001:db8:1::10", "2001:db8:2::1"] } else { &["192.0.2.10", "198.51.100.1"] };
    let far: &[&str] = if v6 { &["2001:db8:2::7", "2001:db8:9::7"] } else { &["198.51.100.7", "10.9.8.7"] };
    let source = if local { rng.pick(own) } else { rng.pick(near) };
    let destination = match rng.below(10) {
        0..6 => rng.pick(far),
        6..8 => rng.pick(own),
        _ => rng.pick(near),
    };
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    // A packet of its own connection each.
    let sport = 20_000 + n;
    let port = *rng.pick(&[22, 53, 80, 81, 443, 1000, 1001, 8080, 65_535]);
    let payload = match rng.below(20) {
        0..4 if v6 => Payload::Icmp { kind: *rng.pick(&[128, 128, 128, 129]), code: 0, id: sport },
        0..4 => Payload::Icmp { kind: *rng.pick(&[8, 8, 8, 0, 13]), code: 0, id: sport },
        4..10 => Payload::Tcp {
            source: sport,
            destination: port,
            flags: *rng.pick(&[2, 2, 2, 0x12, 0x10, 0x11, 4, 0, 0x29, 0xc2, 0xd0]),
        },
        10..17 => Payload::Udp { source: sport, destination: port },
        17..19 => Payload::Sctp { source: sport, destination: port },
        _ => Payload::Other(*rng.pick(&[47, 253])),
    };
    // Only what comes over the wire comes in pieces, and nothing that must not be split.
    let pieces = !local && rng.percent(12);
    let data = if pieces { *rng.pick(&[1472, 1500, 3000, 4400]) } else { *rng.pick(&[0, 0, 4, 100, 1000]) };
    Crafted {
        local,
        source: address(source),
        destination: address(destination),
        payload,
        ttl: *rng.pick(&[64, 64, 64, 63, 2, 1, 255]),
        tos: *rng.pick(&[0, 0, 0, 0x10, 0xb8, 0x03]),
        df: rng.percent(50) && !pieces,
        data,
        mss: rng.percent(80),
        mark: if local { *rng.pick(&[0, 0, 1, 0x10]) } else { 0 },
        options: if v6 { &[] } else { between::options(rng) },
        extensions: if v6 { between::extensions(pieces, rng) } else { &[] },
        ..Crafted::datagram()
    }
}

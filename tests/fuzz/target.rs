//! The readers under test, and what they are fed.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};

use flowtrace::capture::filter::Filter;
use flowtrace::engine::{certainty, nft_certainty, nft_unmodelled};
use flowtrace::load::load_files;
use flowtrace::net::Family;
use flowtrace::snapshot::{SetProbe, Snapshot};

use crate::capture;
use crate::sights;

/// A reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// That of `iptables-save`.
    Iptables,
    /// That of `nft list ruleset`.
    Nft,
    /// That of `nft -j list ruleset`.
    NftJson,
    /// That of `ipset save`.
    Ipset,
    /// That of filters, which are then asked about packets.
    Filter,
    /// That of pcap files, and what is made of their packets.
    Pcap,
    /// The same of pcapng files.
    Pcapng,
    /// The decoder alone, of every link layer.
    Packet,
    /// What finds packets at several points, on frames.
    Correlate,
    /// What finds captured packets' paths, on frames.
    Retrace,
}

/// Values at the ends of what fits, and what splits or joins words.
const ODD: [&str; 48] = [
    "-1",
    "0",
    "255",
    "256",
    "65535",
    "65536",
    "65537",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "0x",
    "0xffffffffffffffffffffffffffffffffff",
    "1e9",
    "0.00000000001",
    "/",
    "/0",
    "/33",
    "/129",
    "-",
    "--",
    "!",
    "! !",
    ":",
    "::",
    "::/0",
    "10.0.0.9-10.0.0.1",
    "0.0.0.0-255.255.255.255",
    "1-65535",
    "+",
    ",",
    ",,",
    ".",
    "*",
    "\"",
    "\\\"",
    "\\",
    "\"\"",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "é\u{a0}\u{2028}",
    "\0",
    "\r",
    "\t",
];

impl Target {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Iptables,
        Self::Nft,
        Self::NftJson,
        Self::Ipset,
        Self::Filter,
        Self::Pcap,
        Self::Pcapng,
        Self::Packet,
        Self::Correlate,
        Self::Retrace,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nft => "nft",
            Self::NftJson => "nft-json",
            Self::Ipset => "ipset",
            Self::Filter => "filter",
            Self::Pcap => "pcap",
            Self::Pcapng => "pcapng",
            Self::Packet => "packet",
            Self::Correlate => "correlate",
            Self::Retrace => "retrace",
        }
    }

    /// The file of a snapshot that it reads; filters, captures and frames are in none.
    fn file(self) -> &'static str {
        match self {
            Self::Iptables => "iptables-save",
            Self::Nft => "nft.txt",
            Self::NftJson => "nft.json",
            Self::Ipset => "ipset",
            Self::Filter => "filter",
            Self::Pcap | Self::Pcapng | Self::Packet => "packets",
            Self::Correlate | Self::Retrace => "frames",
        }
    }

    /// What stands before and behind the lines of a small input, so that they are read as rules.
    pub fn frame(self) -> (&'static str, &'static str) {
        match self {
            Self::Iptables => {
                ("*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:USER - [0:0]\n", "COMMIT\n")
            }
            Self::Nft => ("table inet t {\n\tset v4 {\n\t\ttype ipv4_addr\n\t}\n\tchain c {\n", "\t}\n}\n"),
            Self::NftJson => (
                "{\"nftables\": [{\"table\": {\"family\": \"inet\", \"name\": \"fw\"}},\n\
                 {\"chain\": {\"family\": \"inet\", \"table\": \"fw\", \"name\": \"in\"}},\n",
                "{\"metainfo\": {}}]}\n",
            ),
            Self::Ipset => ("create a hash:ip family inet\ncreate p hash:ip,port\n", ""),
            Self::Filter => ("tcp or ", ""),
            Self::Pcap => (capture::PCAP, ""),
            Self::Pcapng => (capture::PCAPNG, ""),
            Self::Packet | Self::Correlate | Self::Retrace => ("", ""),
        }
    }

    /// Words that are no part of any seed.
    pub fn odd() -> &'static [&'static str] {
        &ODD
    }

    /// What its inputs are made of: the bundled files, and for each reader a file with many words.
    pub fn seeds(self) -> io::Result<Vec<String>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut seeds = Vec::new();
        if self == Self::Filter {
            return Ok(vec![fs::read_to_string(root.join("tests/filter/filters.txt"))?]);
        }
        if matches!(self, Self::Pcap | Self::Pcapng | Self::Packet) {
            let packets = fs::read_to_string(root.join("tests/fuzz/seeds/packets"))?;
            return Ok(vec![match self {
                Self::Pcap => capture::records(&packets),
                Self::Pcapng => capture::blocks(&packets),
                _ => packets,
            }]);
        }
        if self == Self::Iptables {
            seeds.push(rules_of_extensions(&fs::read_to_string(root.join("tests/extensions/cases.txt"))?));
        } else {
            seeds.push(fs::read_to_string(root.join("tests/fuzz/seeds").join(self.file()))?);
        }
        for path in files(&root.join("testdata"))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name == self.file() || self == Self::Iptables && name == "ip6tables-save" {
                seeds.push(fs::read_to_string(path)?);
            }
        }
        Ok(seeds)
    }

    /// Reads an input, and asks for all that is read only once it is asked for.
    pub fn read(self, input: &str) {
        match self {
            Self::Filter => return filter(input),
            Self::Pcap | Self::Pcapng => return capture::read(capture::bytes(input)),
            Self::Packet => return capture::packet(&capture::bytes(input)),
            Self::Correlate => return sights::correlate(input),
            Self::Retrace => return sights::retrace(input),
            _ => {}
        }
        let snapshot = load_files([(format!("nodes/n1/host/{}", self.file()), input.into())]);
        snapshot.iter().for_each(read_all);
    }

    /// How many times longer than other readers it may take for an input: a line is a packet that is walked.
    pub fn patience(self) -> u32 {
        if self == Self::Retrace { 100 } else { 1 }
    }

    /// How many times its size an input may take in memory.
    pub fn growth(self) -> usize {
        // In a filter, which is no longer than a command line, every second sign may be a test or more.
        if self == Self::Filter { 512 } else { 10 }
    }

    /// What an input may take beside, in bytes: the snapshot around it, the gaps that say what is wrong with it, of which
    /// a hundred are kept, and the first thousand rules of a chain, however little they say.
    pub fn beside(self, input: &str) -> usize {
        match self {
            // A word such as `port` stands for two dozen tests of each link layer that is asked about.
            Self::Filter => (8 << 10) * input.bytes().filter(|byte| b"\n;,{ ".contains(byte)).count() + (96 << 10),
            // The ranges of a file may stand for some thousand elements.
            Self::Ipset => 2 << 20,
            // An object is a node of a tree while its row is read.
            Self::NftJson => 384 << 10,
            Self::Iptables | Self::Nft => 256 << 10,
            // A window of the file is read at once, what is left of it is kept, and text grows by doubling.
            // Frames are looked for at several points.
            Self::Pcap | Self::Pcapng | Self::Packet | Self::Correlate => 1 << 20,
            // Their paths are walked, which are as long as rules are many.
            Self::Retrace => (4 << 20) + (1 << 20) * input.bytes().filter(|byte| *byte == b'\n').count(),
        }
    }
}

/// Reads a filter, and asks it about packets of two link layers, which are made of the filter's own text: more than one
/// would only do the same again.
fn filter(input: &str) {
    match Filter::parse(input) {
        Ok(filter) => {
            let mut frame = [&[0; 12][..], &[8, 0, 0x45], input.as_bytes()].concat();
            frame.resize(200, 6);
            for length in [0, 13, 14, 40, 60, 200] {
                let whole = frame.get(..length).unwrap_or_default();
                let inner = frame.get(14.min(length)..length).unwrap_or_default();
                black_box((filter.matches(1, whole, 200), filter.matches(101, inner, 60)));
            }
        }
        Err(refusal) => {
            assert!(input.get(refusal.at.clone()).is_some(), "{refusal:?}");
            let marked = refusal.marked(input);
            assert!(!marked.chars().any(|c| c != '\n' && c.is_control()), "{marked:?}");
        }
    }
}

/// Every rule of the table of iptables' extensions, in a chain.
fn rules_of_extensions(table: &str) -> String {
    let rules = table.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
    rules.fold(String::new(), |mut text, rule| {
        let rule = rule.split(" => ").next().unwrap_or(rule).trim_start_matches("!! ");
        let _ = writeln!(text, "-A PREROUTING {}", rule.split(" ^^").next().unwrap_or(rule));
        text
    })
}

/// Every file in a folder and below it.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<PathBuf>> = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect();
    let mut found = Vec::new();
    for path in entries? {
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Asks a snapshot for all that is read only once it is asked for: each rule, how it is printed, and what a set holds.
fn read_all(snapshot: &Snapshot) {
    for (_, netns) in snapshot.netns_ids() {
        for ruleset in [Family::Inet, Family::Inet6].into_iter().flat_map(|family| netns.netfilter.rulesets(family)) {
            for table in &ruleset.tables {
                for rule in table.chains.iter().flat_map(|chain| ruleset.rules(table, chain).all()) {
                    black_box((certainty(rule), ruleset.rule_text(rule), rule.saved(table).to_string()));
                }
            }
        }
        if let Some(nft) = &netns.netfilter.nft {
            for rule in nft.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules) {
                black_box((nft_certainty(rule), nft_unmodelled(rule), nft.rule_text(rule)));
            }
        }
        for set in netns.ipsets.iter().flat_map(|sets| sets.values()) {
            let address = std::net::IpAddr::from([10, 0, 0, 1]);
            let probe =
                SetProbe { first: Some(address), port: Some((6, 80)), second: Some(address), ..SetProbe::default() };
            black_box(set.lookup(&probe));
        }
    }
}

//! Tracked connections: `conntrack -L -o extended` (or `/proc/net/nf_conntrack`, which reads the same).
//!
//! `ipv4     2 tcp      6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=… [ASSURED] mark=0
//! use=1`: the l3 protocol's name and number (absent without `-o extended`), the l4 protocol's, the seconds left (absent
//! for offloaded connections), the state of TCP and SCTP, then both directions (`ct_seq_show` of
//! `net/netfilter/nf_conntrack_standalone.c`).

use std::net::IpAddr;

use super::lines::{Notes, lines};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::{Mark, Protocol};
use crate::snapshot::{ConntrackEntry, ConntrackTuple};

/// Reads the lines. The closing `conntrack v1.4.7 (conntrack-tools): 12 flow entries have been shown.` goes to stderr
/// and is left out where it was caught too.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<ConntrackEntry> {
    let mut notes = Notes::new(file, "`conntrack -L`", gaps);
    let mut entries = Vec::new();
    for (number, line) in lines(text).filter(|(_, line)| !line.starts_with("conntrack v")) {
        let evidence = notes.line(number);
        match Row::of(line).and_then(|row| row.entry(evidence)) {
            Some(entry) => entries.push(entry),
            None => notes.expected(evidence, "a connection with both its directions", line),
        }
    }
    entries
}

/// One line, its words sorted into what they say.
#[derive(Default)]
struct Row<'a> {
    protocol: Option<Protocol>,
    state: Option<&'a str>,
    tuples: Vec<Tuple>,
    assured: bool,
    unreplied: bool,
    offloaded: bool,
    mark: u32,
    zone: [u16; 2],
    helped: bool,
}

/// One direction, as far as it was read.
#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    icmp: [Option<u8>; 2],
    packets: Option<u64>,
    bytes: Option<u64>,
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut row = Self::default();
        let mut words = line.split_whitespace().peekable();
        if matches!(*words.peek()?, "ipv4" | "ipv6") {
            words.next()?;
            words.next()?.parse::<u8>().ok()?;
        }
        words.next()?;
        row.protocol = Some(Protocol(words.next()?.parse().ok()?));
        words.next_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        row.state = words.next_if(|word| is_state(word));
        for word in words {
            row.read(word)?;
        }
        Some(row)
    }

    /// Reads a word after the state; `None` for one that is cut off or makes no sense.
    fn read(&mut self, word: &str) -> Option<()> {
        match word.split_once('=') {
            Some((key, value)) => self.set(key, value),
            None => self.flag(word),
        }
    }

    fn flag(&mut self, word: &str) -> Option<()> {
        match word {
            "[ASSURED]" => self.assured = true,
            "[UNREPLIED]" => self.unreplied = true,
            "[OFFLOAD]" | "[HW_OFFLOAD]" => self.offloaded = true,
            // Says how long the entry stays.
            "[FIXED]" => {}
            _ => return None,
        }
        Some(())
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        if key == "src" {
            self.tuples.push(Tuple::default());
        }
        match key {
            "mark" => self.mark = number(value)?,
            "zone" => self.zone = [u16::try_from(number(value)?).ok()?; 2],
            "zone-orig" => self.zone[0] = u16::try_from(number(value)?).ok()?,
            "zone-reply" => self.zone[1] = u16::try_from(number(value)?).ok()?,
            "helper" => self.helped = !value.is_empty(),
            // Names and times decide nothing.
            "use" | "secctx" | "delta-time" | "labels" | "[start" | "[stop" => {}
            _ => self.tuples.last_mut()?.set(key, value)?,
        }
        Some(())
    }

    fn entry(self, evidence: Evidence) -> Option<ConntrackEntry> {
        let [original, reply] = <[Tuple; 2]>::try_from(self.tuples).ok()?;
        let counters = original.counted().zip(reply.counted()).map(|(original, reply)| [original, reply]);
        Some(ConntrackEntry {
            protocol: self.protocol?,
            state: self.state.map(str::to_owned),
            original: original.finish()?,
            reply: reply.finish()?,
            assured: self.assured,
            unreplied: self.unreplied,
            offloaded: self.offloaded,
            mark: Mark(self.mark),
            zone: self.zone[0],
            reply_zone: self.zone[1],
            helped: self.helped,
            counters,
            evidence,
        })
    }
}

impl Tuple {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        let port = || number(value).and_then(|port| u16::try_from(port).ok());
        match key {
            "src" => self.source = Some(value.parse().ok()?),
            "dst" => self.destination = Some(value.parse().ok()?),
            "sport" | "srckey" => self.source_port = Some(port()?),
            // An echo's identifier; elsewhere the number that `-o id` gives the connection.
            "id" if self.icmp[0].is_some() && self.source_port.is_none() => self.source_port = Some(port()?),
            "id" => {}
            "dport" | "dstkey" => self.destination_port = Some(port()?),
            "type" => self.icmp[0] = Some(value.parse().ok()?),
            "code" => self.icmp[1] = Some(value.parse().ok()?),
            "packets" => self.packets = Some(value.parse().ok()?),
            "bytes" => self.bytes = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    fn counted(&self) -> Option<(u64, u64)> {
        self.packets.zip(self.bytes)
    }

    fn finish(self) -> Option<ConntrackTuple> {
        let icmp = match self.icmp {
            [Some(kind), Some(code)] => Some(u16::from_be_bytes([kind, code])),
            [None, None] => None,
            _ => return None,
        };
        Some(ConntrackTuple {
            source: self.source?,
            destination: self.destination?,
            source_port: self.source_port,
            destination_port: self.destination_port.or(icmp),
        })
    }
}

/// `ESTABLISHED`, `SYN_SENT2`, …
fn is_state(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_uppercase())
        && bytes.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A decimal or hexadecimal number.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "ipv4     2 tcp      6 431999 ESTABLISHED src=10.244.1.5 dst=10.96.0.1 sport=40000 dport=443 \
                       packets=5 bytes=900 src=192.0.2.11 dst=10.244.1.5 sport=6443 dport=40000 packets=4 bytes=800 \
                       [ASSURED] mark=0x4000 zone=3 use=1";

    fn read(text: &str) -> (Vec<ConntrackEntry>, Vec<Gap>) {
        let mut gaps = Vec::new();
        (parse(FileId(0), text, &mut gaps), gaps)
    }

    fn one(line: &str) -> ConntrackEntry {
        let (mut entries, gaps) = read(line);
        assert_eq!(gaps, vec![], "{line}");
        assert_eq!(entries.len(), 1, "{line}");
        entries.remove(0)
    }

    #[test]
    fn a_natted_connection_has_both_directions() {
        let entry = one(TCP);
        assert_eq!(entry.protocol, Protocol::TCP);
        assert_eq!(entry.state.as_deref(), Some("ESTABLISHED"));
        assert_eq!(entry.original.destination, "10.96.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(entry.reply.source, "192.0.2.11".parse::<IpAddr>().unwrap());
        assert_eq!((entry.reply.source_port, entry.reply.destination_port), (Some(6443), Some(40000)));
        assert!(entry.assured && !entry.unreplied);
        assert_eq!(entry.counters, Some([(5, 900), (4, 800)]));
        assert_eq!((entry.mark, entry.zone, entry.reply_zone), (Mark(0x4000), 3, 3));
    }

    #[test]
    fn icmp_keeps_identifier_type_and_code() {
        let entry = one("ipv6     10 icmpv6   58 99 src=1::1 dst=2::2 type=128 code=0 id=77 [UNREPLIED] src=2::2 \
                         dst=1::1 type=129 code=0 id=77 mark=0 use=1");
        assert_eq!(entry.protocol, Protocol::ICMPV6);
        assert_eq!((entry.original.source_port, entry.original.destination_port), (Some(77), Some(128 << 8)));
        assert_eq!(entry.reply.destination_port, Some(129 << 8));
        assert!(entry.unreplied);
    }

    #[test]
    fn unknown_protocols_have_no_ports_and_gre_has_keys() {
        let entry =
            one("ipv4     2 unknown  99 99 src=1.1.1.1 dst=2.2.2.2 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 mark=0 use=1");
        assert_eq!((entry.protocol, entry.original.source_port), (Protocol(99), None));
        let entry = one("ipv4     2 gre      47 99 src=1.1.1.1 dst=2.2.2.2 srckey=0x1 dstkey=0x2 [UNREPLIED] \
                         src=2.2.2.2 dst=1.1.1.1 srckey=0x2 dstkey=0x1 mark=0 use=1");
        assert_eq!((entry.original.source_port, entry.original.destination_port), (Some(1), Some(2)));
    }

    #[test]
    fn a_zone_can_be_one_direction_s() {
        let entry = one("ipv4     2 udp      17 99 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 zone-orig=4 [UNREPLIED] \
                         src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 mark=0 use=1");
        assert_eq!((entry.zone, entry.reply_zone), (4, 0));
    }

    #[test]
    fn short_and_offloaded_lines_are_read() {
        assert_eq!(
            one("udp      17 20 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 use=1")
                .mark,
            Mark(0)
        );
        let entry =
            one("ipv4     2 tcp      6 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 src=2.2.2.2 dst=1.1.1.1 sport=2 \
                         dport=1 [OFFLOAD] mark=0 zone=0 use=3");
        assert_eq!((entry.state, entry.offloaded), (None, true));
    }

    #[test]
    fn the_closing_line_is_no_connection() {
        let (entries, gaps) = read("conntrack v1.4.7 (conntrack-tools): 0 flow entries have been shown.\n");
        assert_eq!((entries, gaps), (vec![], vec![]));
    }

    #[test]
    fn every_cut_of_a_line_is_read_or_a_gap() {
        for end in 1..TCP.len() {
            let (entries, gaps) = read(&TCP[..end]);
            assert_eq!(entries.len() + gaps.len(), 1, "{}", &TCP[..end]);
        }
    }
}

//! `flowtrace decode`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::net::calendar;
use crate::render::decode::{Field, field_list};
use crate::wire::Time;

use super::Written;

/// `flowtrace decode`.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub(in crate::cli) struct Decode {
    /// The captures: pcap or pcapng, as they are or packed with gzip or zstd; `-` is the standard input. Several are merged by time
    #[arg(required = true, value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,

    /// Only packets that pass this filter, as tcpdump has it: "host 10.244.1.2 and udp port 53"
    #[arg(short, long, value_name = "EXPRESSION", allow_hyphen_values = true, help_heading = "Packets")]
    pub(in crate::cli) filter: Option<String>,
    /// Only packets whose innermost packet passes this filter
    #[arg(long, value_name = "EXPRESSION", allow_hyphen_values = true, help_heading = "Packets")]
    pub(in crate::cli) inner: Option<String>,
    /// Only packets from this moment on: 2026-11-23T07:15:59.5Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, help_heading = "Packets")]
    pub(in crate::cli) since: Option<Time>,
    /// Only packets before this moment
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, help_heading = "Packets")]
    pub(in crate::cli) until: Option<Time>,
    /// End after so many packets were shown
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Packets")]
    pub(in crate::cli) count: Option<u64>,

    /// A UDP port that is VXLAN's, beside 8472 and 4789
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..), help_heading = "Decoding")]
    pub(in crate::cli) vxlan_port: Vec<u16>,

    /// Put the fragments of packets together: in place of the last one that comes stands the whole packet
    #[arg(long, conflicts_with = "flows", help_heading = "Decoding")]
    pub(in crate::cli) reassemble: bool,
    /// Verify the checksums of IP, TCP, UDP, ICMP, SCTP and GRE, and tell those that are left to the device from wrong ones
    #[arg(long, conflicts_with_all = ["flows"], help_heading = "Decoding")]
    pub(in crate::cli) checksums: bool,

    /// Name addresses by this snapshot (folder, archive), and say which hop of its path each packet was captured at
    #[arg(long, value_name = "PATH", help_heading = "Snapshot")]
    pub(in crate::cli) snapshot: Option<PathBuf>,
    /// The same by the snapshot inside the program
    #[arg(long, conflicts_with = "snapshot", help_heading = "Snapshot")]
    pub(in crate::cli) demo: bool,
    /// Where a file was captured: NODE/DEVICE or NODE/NAMESPACE_POD/DEVICE, of one file FILE=NODE/DEVICE [default: what its
    /// interfaces or its name say]
    #[arg(long, value_name = "[FILE=]POINT", help_heading = "Snapshot")]
    pub(in crate::cli) at: Vec<String>,

    /// A line for each header instead of one for each packet
    // Twice says no more than once.
    #[arg(short, long, overrides_with = "verbose", conflicts_with = "fields", help_heading = "Output")]
    pub(in crate::cli) verbose: bool,
    /// The packet's bytes below it
    #[arg(short = 'x', long = "hex", conflicts_with = "fields", help_heading = "Output")]
    pub(in crate::cli) bytes: bool,
    /// What two ends have sent to each other, in place of the packets, by the innermost IP header that is whole
    #[arg(long, conflicts_with_all = ["fields", "verbose", "bytes", "count"], help_heading = "Output")]
    pub(in crate::cli) flows: bool,
    /// Only these fields, joined by commas; they are listed below
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = field, help_heading = "Output")]
    pub(in crate::cli) fields: Vec<Field>,
    /// The output's format [default: what -w's name says, else text]
    #[arg(short, long, value_enum, ignore_case = true, value_name = "FORMAT", help_heading = "Output")]
    pub(in crate::cli) output: Option<DecodeFormat>,
    #[command(flatten)]
    pub(in crate::cli) written: Written,
    /// With -o pcapng: the innermost frames instead of those around them
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) decapsulate: bool,
    /// With -o pcapng: what is known of each packet as comments on it, which Wireshark shows
    #[arg(long, help_heading = "Output")]
    pub(in crate::cli) annotate: bool,
    /// How many threads share the work [default: as many as there are processors, up to 4; 1 for small files]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "Output")]
    pub(in crate::cli) threads: Option<u8>,
}

/// `-o` of `decode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum DecodeFormat {
    /// For people
    #[default]
    Text,
    /// One object
    Json,
    /// An object a line
    Jsonl,
    /// Comma-separated values, names in the first row
    Csv,
    /// The packets themselves
    Pcapng,
}

/// What stands below the options: every field's name too.
fn help() -> String {
    let mut names = String::new();
    let mut line = String::from(" ");
    for name in field_list() {
        if line.len() + name.len() > 98 {
            names.push_str(&line);
            names.push('\n');
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(name);
    }
    format!(
        "\
    Times are UTC. What can't be decoded is shown with the offset of its byte and the reason, and the next packet goes on. \
What is wrong with a file is told on stderr.

Fields are those of records, as -o jsonl and -o csv have them, and those of headers by tshark's names. A header that stands \
    several times in a packet has several values, outermost first, joined by commas; columns are joined by tabs, and by commas \
with -o csv. `tshark -n -d udp.port==8472,vxlan -T fields` prints the same.
{names}{line}

The name of -w's FILE says the format: .pcapng, .jsonl, .json or .csv, and with .gz or .zst behind it it is packed. -o pcapng writes the packets that were asked for as they were captured, with the comments that they had.

A conversation of --flows is one of the innermost packets: what both ends have sent, with all headers, from whom sent first. \
Of TCP it counts resets, and segments that carried only what had been sent before and filled no gap. \
Connections that have the same ports one after the other are one conversation.

Examples:
  flowtrace decode case.pcapng
  flowtrace decode eth0.pcap.gz cni0.pcap.zst --since 2026-11-23T07:15:00Z -v
  tcpdump -i eth0 -w - udp port 8472 | flowtrace decode -
  flowtrace decode case.pcap -w case.jsonl.zst
  flowtrace decode case.pcap --filter \"vxlan 1\" --inner \"host 10.244.1.2 and tcp port 80\"
  flowtrace decode case.pcap --flows
  flowtrace decode case.pcap --inner \"udp port 53\" --decapsulate -w dns.pcapng
  flowtrace decode n1.eth0.pcap --snapshot case/ --annotate -w annotated.pcapng
  flowtrace decode case.pcap --fields frame.time_epoch,ip.src,ip.dst,vxlan.vni"
    )
}

fn field(name: &str) -> Result<Field, String> {
    let name = name.trim();
    if name.is_empty() {
        return Err("a field's name is missing; `flowtrace decode --help` lists them".to_owned());
    }
    Field::of(name).map_err(|fault| match fault.near {
        Some(near) => {
            format!("no field is called {}; there is {near}, and `flowtrace decode --help` lists all", fault.name)
        }
        None => format!("no field is called {}; `flowtrace decode --help` lists them", fault.name),
    })
}

/// A moment as RFC 3339 writes it, or seconds since 1970, with or without a fraction.
fn moment(text: &str) -> Result<Time, String> {
    const WANTED: &str = "a date and a time are wanted, such as 2026-11-23T07:15:59.5Z, or seconds since 1970";
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, rest)) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, zone) = rest.split_at(end);
            (format!("{whole}{zone}"), digits)
        }
        None => (text.to_owned(), ""),
    };
    let seconds = whole.parse().ok().or_else(|| calendar::moment(&whole)).ok_or(WANTED)?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds = digits.parse().map_err(|_| WANTED)?;
    Ok(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_fractions() {
        let time = |seconds, nanoseconds| Ok(Time { seconds, nanoseconds });
        assert_eq!(moment("1700000000"), time(1_700_000_000, 0));
        assert_eq!(moment("1700000000.5"), time(1_700_000_000, 500_000_000));
        assert_eq!(moment("2023-11-14T22:13:20.000000001Z"), time(1_700_000_000, 1));
        assert_eq!(moment("2023-11-14T23:13:20.1234567899+01:00"), time(1_700_000_000, 123_456_789));
        for wrong in ["", ".", "now", "1.x", "2023-11-14"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_field_leads_to_a_known_one() {
        assert!(field("ip.src").is_ok());
        assert!(field("ip.sorce").unwrap_err().contains("there is ip.src"));
        assert!(field("nonsense").unwrap_err().contains("--help"));
    }
}

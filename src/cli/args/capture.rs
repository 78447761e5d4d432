//! `flowtrace capture`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Color, Proto, seconds};
use crate::capture::live;
use crate::cli::kubectl::spoken;

/// `flowtrace capture`.
#[derive(Debug, Args)]
#[command(after_help = spoken(CAPTURE_HELP), override_usage = spoken(CAPTURE_USAGE))]
pub(in super::super) struct Capture {
    /// The devices of this network namespace, joined by commas; `any` is all of them
    #[arg(short, long, value_name = "DEVICE", value_delimiter = ',', required_unless_present_any = ["along", "pod"])]
    pub(in super::super) interface: Vec<String>,
    /// Devices of pods of this node: NAMESPACE/POD for all that are up, or NAMESPACE/POD/DEVICE
    #[arg(long, value_name = "POD", value_delimiter = ',')]
    pub(in super::super) pod: Vec<String>,
    /// Only packets that pass this filter, as tcpdump has it: "udp port 8472"
    #[arg(short, long, value_name = "EXPRESSION")]
    pub(in super::super) filter: Option<String>,
    /// The pcapng file to write; `-` is the standard output
    #[arg(short, long = "write", value_name = "FILE", required_unless_present = "along")]
    pub(in super::super) write: Option<PathBuf>,
    /// End after so many packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in super::super) count: Option<u64>,
    /// End after so much time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(in super::super) duration: Option<Duration>,
    /// Keep so much of each packet
    #[arg(short, long, value_name = "BYTES", default_value_t = live::MOST_SNAP_LENGTH)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(live::MOST_SNAP_LENGTH)))]
    pub(in super::super) snapshot_length: u32,
    /// Begin a new file where one would grow over so many million bytes
    #[arg(short = 'C', long, value_name = "MEGABYTES", requires = "write", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in super::super) file_size: Option<u64>,
    /// Keep so many files of -C, and then write the first one anew
    #[arg(short = 'W', long, value_name = "N", requires = "file_size", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in super::super) files: Option<u32>,
    /// The node's name, which is then in the names of the file's interfaces; with --pod and --along it is there without
    /// [default: the kubelet's, or else the machine's]
    #[arg(long, value_name = "NAME")]
    pub(in super::super) node: Option<String>,
    /// The Kubernetes namespace of names without one
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(in super::super) namespace: Option<String>,

    #[command(flatten)]
    pub(in super::super) flow: Flow,
}

/// The flow of `--along`.
#[derive(Debug, Args)]
#[command(next_help_heading = "A flow's path")]
#[group(id = "flow", multiple = true, conflicts_with_all = ["interface", "pod", "filter"])]
pub(in super::super) struct Flow {
    /// Capture one flow at every hop of its path on this node, and show its packets as they come; the ends are those of
    /// `flowtrace explain`
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"])]
    pub(in super::super) along: Vec<String>,
    /// The snapshot that predicts the path [default: one that is taken of this node now]
    #[arg(long, value_name = "PATH")]
    pub(in super::super) snapshot: Option<PathBuf>,
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    pub(in super::super) ipv4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    pub(in super::super) ipv6: bool,
    /// The protocol [default: the service's; tcp where TO has a port; else an ICMP echo]
    #[arg(long, value_enum, ignore_case = true)]
    pub(in super::super) proto: Option<Proto>,
    /// The destination port, as in TO:PORT
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(in super::super) port: Option<u16>,
    /// The source port [default: any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(in super::super) sport: Option<u16>,
    /// What is shown of the packets
    #[arg(short, long, value_enum, default_value_t, ignore_case = true, value_name = "FORMAT")]
    pub(in super::super) output: AlongFormat,
    /// When to colour the text
    #[arg(long, value_enum, default_value_t, ignore_case = true, value_name = "WHEN")]
    pub(in super::super) color: Color,
    /// Print ASCII only
    #[arg(long)]
    pub(in super::super) ascii: bool,
}

/// `-o` of `capture --along`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum AlongFormat {
    /// Packets and, in the end, flows, for people
    #[default]
    Text,
    /// A line for each packet, as `correlate` has it
    Jsonl,
}

const CAPTURE_USAGE: &str = "\
flowtrace capture [OPTIONS] -i DEVICE[,DEVICE...] -w FILE
       flowtrace capture [OPTIONS] --pod NAMESPACE/POD [-i DEVICE[,DEVICE...]] -w FILE
       flowtrace capture [OPTIONS] --along FROM TO [-w FILE]";

const CAPTURE_HELP: &str = "\
Needs root, or the capability CAP_NET_RAW, and root for pods. Ctrl-C ends it, and leaves the file whole. The packets \
of all devices are in the order of their times. With -C the files are called FILE, FILE1, FILE2, and with -W too \
FILE0 to the last one. Once the devices are open, all capabilities are given up, and root becomes the owner of the \
folder that -C writes into, or else nobody.

With --node, --pod and --along the file's interfaces are called NODE/DEVICE and NODE/NAMESPACE_POD/DEVICE, which is what \
`flowtrace correlate` and `explain --pcap` read. With --along each device has a filter for exactly this flow, as \
it is there before and after each rewrite, and its answer; the exit code is 1 where a packet was lost, else 0.

Examples:
  flowtrace capture -i cni0,flannel.1,eth0 -w case.pcapng
  flowtrace capture -i any -f \"udp port 53\" -c 20 -w dns.pcapng
  flowtrace capture -i eth0 -f \"udp port 8472\" -C 100 -W 5 -w ring.pcapng
  flowtrace capture -i cni0 --duration 10 -w - | tcpdump -n -r -
  flowtrace capture -i cni0,eth0 --pod shop/web-0 -w case.pcapng
  flowtrace capture --along shop/web-0 10.96.0.10:53 --proto udp
  flowtrace capture --snapshot case/ --along shop/client svc/shop/web -w case.pcapng";

//! What was typed. Nothing here looks into a snapshot.

#[cfg(all(feature = "capture", target_os = "linux"))]
mod capture;
mod cluster;
mod decode;
mod packet;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::kubectl::spoken;
#[cfg(all(feature = "capture", target_os = "linux"))]
pub(super) use capture::{AlongFormat, Capture};

pub(super) use cluster::{Cleanup, Cluster, NodeAccess, Nodes, Place};
pub(super) use decode::{Decode, DecodeFormat};
pub(super) use packet::{PacketOptions, Proto};

/// What happened to this packet, and why: walks packets through a snapshot of a flannel Kubernetes cluster as Linux
/// would.
#[derive(Debug, Parser)]
#[command(name = "flowtrace", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(disable_help_subcommand = true, after_help = after_help())]
pub(super) struct Typed {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What is not built yet, and what an exit code means.
fn after_help() -> String {
    let capture = if cfg!(all(feature = "capture", target_os = "linux")) {
        ""
    } else {
        " `flowtrace capture` is in builds with libpcap."
    };
    let told = format!(
        "\
Not built yet: check, explain -o html.{capture}

Exit codes: 0 everything arrives, 1 something does not, 2 the question or the snapshot is wrong, 3 undetermined: the \
snapshot does not hold, or flowtrace does not know, what decides, or --max-paths cut ways off that were not walked.

Try: flowtrace explain --demo default/pod1 default/pod2"
    );
    spoken(&told)
}

/// The commands of the contract.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Rebuild the path of one packet, hop by hop, there and back
    Explain(Box<Explain>),
    /// Print the JSON Schema of the JSON output
    Schema(Schema),
    /// Print the packets of pcap and pcapng files, tunnels opened
    Decode(Box<Decode>),
    /// Find the same packet at several capture points, and say where it went and where it was lost
    Correlate(Box<Correlate>),
    /// Take a snapshot of this node, or of a cluster through kubectl
    Collect(Box<Collect>),
    /// Delete pods that read nodes and are left in a cluster
    #[cfg(unix)]
    Cleanup(Box<Cleanup>),
    /// Capture packets of several devices, of pods, or of a flow at every hop of its path, into one pcapng file
    #[cfg(all(feature = "capture", target_os = "linux"))]
    Capture(Box<Capture>),
    #[cfg(not(all(feature = "capture", target_os = "linux")))]
    #[command(hide = true)]
    Capture(Later),
    /// Print a node's rule sets as loaded, numbered, what is not modelled marked
    Rules(Box<Rules>),
    #[command(hide = true)]
    Check(Later),
    /// Print the completions of a shell
    Completions(Completions),
    /// Write the manual pages into a folder
    Man(Manual),
}

/// `flowtrace completions`.
#[derive(Debug, Args)]
#[command(after_help = spoken(COMPLETIONS_HELP))]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum, ignore_case = true)]
    pub(super) shell: Shell,
    #[command(flatten)]
    pub(super) written: Written,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  flowtrace completions bash > /etc/bash_completion.d/flowtrace
  flowtrace completions zsh > ~/.zfunc/_flowtrace
  flowtrace completions fish > ~/.config/fish/completions/flowtrace.fish";

/// `flowtrace man`.
#[derive(Debug, Args)]
#[command(after_help = spoken(MANUAL_HELP))]
pub(super) struct Manual {
    /// The folder, which is made where it is missing
    pub(super) dir: PathBuf,
}

const MANUAL_HELP: &str = "\
Examples:
  flowtrace man /usr/local/share/man/man1
  flowtrace man pages && man pages/flowtrace-explain.1";

/// `flowtrace schema`.
#[derive(Debug, Args)]
pub(super) struct Schema {
    #[command(flatten)]
    pub(super) written: Written,
}

/// Where the output goes.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Written {
    /// Write to this file instead of the standard output, which `-` stands for
    #[arg(short, long = "write", value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
}

impl Written {
    /// The file, where it is not the standard output.
    pub(super) fn file(&self) -> Option<&Path> {
        self.write.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// `flowtrace collect`.
#[derive(Debug, Args)]
#[command(after_help = spoken(COLLECT_HELP), override_usage = spoken(COLLECT_USAGE))]
pub(super) struct Collect {
    /// Of a cluster, only what a question from here concerns: NAMESPACE/POD, POD, node/NAME, an address, or external
    #[arg(conflicts_with = "print_script")]
    pub(super) from: Option<String>,
    /// Where the question goes to, as `explain` has it
    pub(super) to: Option<String>,
    /// The snapshot to write: a folder, or a .tar.gz; `-` is a .tar.gz on the standard output
    #[arg(short, long = "write", value_name = "PATH", required_unless_present = "print_script")]
    pub(super) write: Option<PathBuf>,
    /// The node's name [default: the kubelet's, or else the machine's]; of a cluster, the nodes to take, joined by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) node: Vec<String>,
    /// Print a shell script that takes the same snapshot with iproute2 and iptables alone
    #[arg(long, conflicts_with = "node")]
    pub(super) print_script: bool,
    /// The Kubernetes namespace of names without one [default: the context's]
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(super) namespace: Option<String>,
    #[command(flatten, next_help_heading = "Cluster")]
    pub(super) nodes: Nodes,
    #[command(flatten, next_help_heading = "Cluster (kubectl's own flags)")]
    pub(super) cluster: Cluster,
}

const COLLECT_USAGE: &str = "\
flowtrace collect [OPTIONS] -w FOLDER|FILE.tar.gz
       flowtrace collect [OPTIONS] --context NAME|--all-nodes|FROM TO -w FOLDER|FILE.tar.gz";

const COLLECT_HELP: &str = "\
On a node, it needs root, and changes nothing. Of a cluster, which is asked where a context, FROM and TO or --all-nodes \
say so, and always as kubectl flowtrace, it takes Kubernetes' objects and each node that the question concerns: through \
a privileged pod that is there, or one that is made in --node-namespace and deleted again. What can't be taken costs its \
own file or node, and snapshot.json says why. \
Exit codes: 0 all of it was taken, 3 the snapshot lacks what the messages name, 2 there is none.

Examples:
  flowtrace collect -w n1.tar.gz
  flowtrace collect --node n1 -w case/
  flowtrace collect --print-script | ssh n1 sudo sh -s -- - > n1.tar.gz
  flowtrace collect --context prod shop/client svc/shop/web -w case/
  flowtrace collect --all-nodes -w case.tar.gz
  flowtrace collect --all-nodes --node-bundle n3.tar.gz -w case/";

/// `flowtrace rules`.
#[derive(Debug, Args)]
#[command(after_help = spoken(RULES_HELP))]
pub(super) struct Rules {
    /// The node, or a pod as NAMESPACE/POD
    pub(super) node: String,
    /// The snapshot: a folder, or a .tar, .tar.gz or .tar.zst of one
    #[arg(long, value_name = "PATH")]
    pub(super) snapshot: Option<PathBuf>,
    /// Use the snapshot inside the program
    #[arg(long, conflicts_with = "snapshot")]
    pub(super) demo: bool,
    /// The Kubernetes namespace of names without one
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// Only this table
    #[arg(long, value_name = "TABLE")]
    pub(super) table: Option<String>,
    /// Only this chain
    #[arg(long, value_name = "CHAIN")]
    pub(super) chain: Option<String>,
    /// The output's format
    #[arg(short, long, value_enum, default_value_t, ignore_case = true, value_name = "FORMAT")]
    pub(super) output: ListFormat,
    #[command(flatten)]
    pub(super) written: Written,
    /// When to colour the text
    #[arg(long, value_enum, default_value_t, ignore_case = true, value_name = "WHEN")]
    pub(super) color: Color,
    /// Print ASCII only
    #[arg(long)]
    pub(super) ascii: bool,
    /// Keep the snapshot that is taken of the cluster: a folder, or a .tar.gz
    #[arg(long, value_name = "PATH", help_heading = "Cluster")]
    pub(super) save: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Cluster")]
    pub(super) nodes: Nodes,
    #[command(flatten, next_help_heading = "Cluster (kubectl's own flags)")]
    pub(super) cluster: Cluster,
}

const RULES_HELP: &str = "\
Each rule stands behind its line in the file and its number in its chain. `~` marks one whose answer may depend on \
what no snapshot holds (chance, rates, payloads), `?` one that is not modelled.

Examples:
  flowtrace rules --demo n1
  flowtrace rules n1 --snapshot case.tar.gz --table nat --chain KUBE-SERVICES
  flowtrace rules shop/web-0 --snapshot case/ -o json
  flowtrace rules n1 --context prod";

/// `-o` of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// A command that is not built yet takes anything, so that its refusal is the one message.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

/// `flowtrace correlate`.
#[derive(Debug, Args)]
#[command(after_help = spoken(CORRELATE_HELP))]
pub(super) struct Correlate {
    /// The captures: pcap or pcapng, packed with gzip or zstd or not; - for the standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// At which point a capture was taken, where neither its name nor the capture says so
    #[arg(long, value_name = "FILE=NODE/DEVICE", allow_hyphen_values = true)]
    pub(super) at: Vec<String>,
    /// Only packets of which some point shows one that passes, as it is or inside its tunnels: "host 10.244.1.2 and tcp"
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(super) flow: Option<String>,
    /// A further UDP port of VXLAN, beside 8472, 4789 and those of the snapshot's devices
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub(super) vxlan_port: Vec<u16>,
    /// The snapshot that the packets are held against: a folder, or a .tar, .tar.gz or .tar.zst of one
    #[arg(long, value_name = "PATH")]
    pub(super) snapshot: Option<PathBuf>,
    /// A snapshot from before the captures, whose counters are compared with those of --after
    #[arg(long, value_name = "PATH", requires = "after")]
    pub(super) before: Option<PathBuf>,
    /// A snapshot from after the captures; the packets are held against it where --snapshot names no other one
    #[arg(long, value_name = "PATH", requires = "before", conflicts_with = "snapshot")]
    pub(super) after: Option<PathBuf>,
    /// Show every packet, and then the flows
    // Twice says no more than once.
    #[arg(short, long, overrides_with = "verbose")]
    pub(super) verbose: bool,
    /// How long a packet may take from its first sight to its last
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = nanoseconds)]
    pub(super) window: i64,
    /// The output's format
    #[arg(short, long, value_enum, default_value_t, ignore_case = true, value_name = "FORMAT")]
    pub(super) output: CorrelateFormat,
    #[command(flatten)]
    pub(super) written: Written,
    /// When to colour the text
    #[arg(long, value_enum, default_value_t, ignore_case = true, value_name = "WHEN")]
    pub(super) color: Color,
    /// Print ASCII only
    #[arg(long)]
    pub(super) ascii: bool,
}

const CORRELATE_HELP: &str = "\
A capture's point is what --at says, else what the capture says of its interface, else what the file is called: \
NODE.DEVICE.pcap, or NODE.NAMESPACE_POD.DEVICE.pcap for a device of a pod. Packets of `-i any` name their devices by \
index (LINUX_SLL2), which a snapshot tells. Points of one node share a clock; what the \
clocks of nodes differ by is found from packets that go both ways.

With a snapshot, the path that it predicts for each flow is shown, and what of it the captures show.

The exit code is 0 where no packet was lost between two points, and 1 where one was.

Examples:
  flowtrace correlate n1.cni0.pcap n1.eth0.pcap n2.eth0.pcap n2.cni0.pcap
  flowtrace correlate n1.default_pod1.eth0.pcap n1.eth0.pcap -o jsonl -w packets.jsonl
  flowtrace correlate --snapshot case/ n1.*.pcap n2.*.pcap
  flowtrace correlate --before before/ --after after/ n1.*.pcap n2.*.pcap
  flowtrace correlate a.pcap b.pcap --at a.pcap=n1/eth0 --at b.pcap=n2/eth0
  ssh n1 tcpdump -i eth0 -c 1000 -w - | flowtrace correlate - n2.eth0.pcap --at -=n1/eth0";

/// `-o` of `correlate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CorrelateFormat {
    /// Flows and their hops, for people
    #[default]
    Text,
    /// The same for programs
    Json,
    /// A line for each packet
    Jsonl,
}

/// `flowtrace explain`.
#[derive(Debug, Args)]
#[command(after_help = spoken(EXPLAIN_HELP), override_usage = spoken(EXPLAIN_USAGE))]
pub(super) struct Explain {
    /// Who sends: NAMESPACE/POD, POD, node/NAME, an IP address, or external
    #[arg(required_unless_present = "pcap")]
    pub(super) from: Option<String>,
    /// Where to: as FROM, with :PORT where it applies, svc/NAMESPACE/NAME[:PORT|:PORTNAME], or a cluster DNS name
    #[arg(required_unless_present = "pcap")]
    pub(super) to: Option<String>,

    /// The snapshot: a folder, or a .tar, .tar.gz or .tar.zst of one
    #[arg(long, value_name = "PATH", help_heading = "Snapshot")]
    pub(super) snapshot: Option<PathBuf>,
    /// Use the snapshot inside the program
    #[arg(long, conflicts_with = "snapshot", help_heading = "Snapshot")]
    pub(super) demo: bool,
    /// The Kubernetes namespace of names without one
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Snapshot")]
    pub(super) namespace: Option<String>,
    /// Explain the packets of a capture of one point instead of FROM and TO; FILE#N is its Nth packet
    #[arg(long, value_name = "FILE[#N]", help_heading = "Capture")]
    pub(super) pcap: Option<PathBuf>,
    /// One answer for each flow, or for each packet
    #[arg(long, value_enum, default_value_t, ignore_case = true, requires = "pcap", help_heading = "Capture")]
    pub(super) per: Per,
    /// Only packets that contradict the snapshot
    #[arg(long, requires = "pcap", help_heading = "Capture")]
    pub(super) only_odd: bool,

    #[command(flatten)]
    pub(super) packet: PacketOptions,

    /// Where the packet comes in, instead of where FROM is; with --pcap, where it was captured
    #[arg(long, value_name = "NODE/DEVICE", help_heading = "Walk")]
    pub(super) at: Option<String>,
    /// Whether the connection has seen packets both ways
    #[arg(long, value_enum, default_value_t, ignore_case = true, help_heading = "Walk")]
    pub(super) state: State,
    /// Leave the reply out
    #[arg(long, help_heading = "Walk")]
    pub(super) no_reply: bool,
    /// Walk at most this many of the ways that a packet can take; what is cut off leaves the answer open (exit code 3)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Walk")]
    pub(super) max_paths: u32,

    /// Show every step, and the rules that were tried
    // Twice says no more than once.
    #[arg(short, long, overrides_with = "verbose", help_heading = "Output")]
    pub(super) verbose: bool,
    /// The output's format
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        ignore_case = true,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    pub(super) output: Format,
    #[command(flatten, next_help_heading = "Output")]
    pub(super) written: Written,
    /// When to colour the text
    #[arg(long, value_enum, default_value_t, ignore_case = true, value_name = "WHEN", help_heading = "Output")]
    pub(super) color: Color,
    /// Print ASCII only
    #[arg(long, help_heading = "Output")]
    pub(super) ascii: bool,

    /// Keep the snapshot that is taken of the cluster: a folder, or a .tar.gz
    #[arg(long, value_name = "PATH", help_heading = "Cluster")]
    pub(super) save: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Cluster")]
    pub(super) nodes: Nodes,
    #[command(flatten, next_help_heading = "Cluster (kubectl's own flags)")]
    pub(super) cluster: Cluster,
}

const EXPLAIN_USAGE: &str =
    "flowtrace explain [OPTIONS] FROM TO\n       flowtrace explain [OPTIONS] --pcap FILE[#N] [--at NODE/DEVICE]";

const EXPLAIN_HELP: &str = "\
Without --snapshot, on a machine with a kubeconfig, the cluster is asked first (see flowtrace-collect(1)): its objects, \
and the nodes and pods that the question concerns.

Examples:
  flowtrace explain --demo default/pod1 default/pod2
  flowtrace explain --snapshot case/ shop/client svc/shop/web:80
  flowtrace explain --snapshot case.tar.gz pod1 kube-dns.kube-system.svc:53
  flowtrace explain --snapshot case/ 203.0.113.9 192.0.2.11:30080 -o json
  flowtrace explain --snapshot case/ node/n1 10.244.2.7 --size 1500 --df -v
  flowtrace explain --snapshot case/ pod1 10.244.2.7:53 --proto udp --ip-options ra,rr:3
  flowtrace explain --snapshot case/ -6 pod1 pod2:80 --ext-headers hop:ra,dst
  flowtrace explain --snapshot case/ --pcap cni0.pcap --at n1/cni0 --only-odd
  flowtrace explain --snapshot case/ --pcap n1.eth0.pcapng#12
  flowtrace explain --context prod -n shop client svc/web:80 --save case/";

// Their brackets would be links in comments.
/// `--per`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Per {
    /// Packets that go the same way are counted
    #[default]
    Flow,
    /// Every packet by itself
    Packet,
}

/// `--state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// The first packet of a connection
    #[default]
    New,
    /// A later one
    Established,
}

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs; `flowtrace schema` describes it
    Json,
    /// The same, an answer a line (with --pcap)
    Jsonl,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    #[value(hide = true)]
    Html,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

/// How long something may take, in seconds: at most a day.
fn time_limit(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "seconds are wanted, from 1 to 86400".to_owned())
}

/// A time of some seconds, more than none.
#[cfg(all(feature = "capture", target_os = "linux"))]
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(|| "seconds are wanted, such as 10 or 0.5".to_owned())
}

/// A time of some seconds, more than none and at most an hour, in nanoseconds.
fn nanoseconds(text: &str) -> Result<i64, String> {
    let seconds = text.parse().ok().and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    let nanoseconds = seconds.and_then(|seconds| i64::try_from(seconds.as_nanos()).ok());
    let possible = nanoseconds.filter(|amount| (1..=3_600_000_000_000).contains(amount));
    possible.ok_or_else(|| "seconds are wanted, such as 2 or 0.5, at most 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Typed::command().debug_assert();
    }
}

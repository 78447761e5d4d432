//! `decode` against `tshark` and `tcpdump` on the same capture, and against a program that only goes from one record's
//! header to the next.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use super::goal::Goal;
use super::process::{self, Cost, Rounds, run, succeeded};
use super::traffic::Traffic;

/// Each program runs so often; fewer times where one that it is held against is slow.
const ROUNDS: usize = 9;
const SLOW_ROUNDS: usize = 3;

const FIELDS: (f64, &str) = (1.0 / 250.0, "");
const TCPDUMP: (f64, &str) = (1.0 / 30.0, "");
const RECORDS: (f64, &str) = (1.0 / 0.35, "");
const THREADS: (f64, &str) = (1.0 / 1.6, "");
const FLOWS: (f64, &str) = (1.0 / 150.0, "");
const SMALL: (f64, &str) = (1.0 / 50.0, "");
const MEMORY: (f64, &str) = (32.0, " MB");
const FLOW: (f64, &str) = (150.0, " bytes");

/// The fields for which both print the same.
const NAMES: [&str; 15] = [
    "frame.number",
    "frame.time_epoch",
    "frame.len",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.ttl",
    "udp.srcport",
    "udp.dstport",
    "tcp.srcport",
    "tcp.dstport",
    "vxlan.vni",
    "tcp.flags",
    "icmp.type",
    "dns.qry.name",
];

/// The word by which this program is told to go through a file's records.
pub const WALK: &str = "records";

/// How much is read at once.
const WINDOW: usize = 256 << 10;

/// Counts the records of a little-endian pcap file, by their headers alone.
pub fn records(path: &Path) -> Result<u64, String> {
    let failed = |err: std::io::Error| format!("{}: {err}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    file.read_exact(&mut [0; 24]).map_err(failed)?;
    let mut window = vec![0; WINDOW];
    let (mut filled, mut count) = (0, 0);
    loop {
        let read = file.read(window.get_mut(filled..).unwrap_or_default()).map_err(failed)?;
        filled += read;
        let mut at = 0;
        while let Some(header) = window.get(at..filled).and_then(<[u8]>::first_chunk::<16>) {
            let [.., c1, c2, c3, c4, _, _, _, _] = *header;
            let end = at + 16 + u32::from_le_bytes([c1, c2, c3, c4]) as usize;
            if end > filled {
                break;
            }
            count += 1;
            at = end;
        }
        if read == 0 {
            return Ok(count);
        }
        window.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Every goal on captures of so many packets, and of a hundred.
pub fn goals(flowtrace: &Path, packets: u32) -> Vec<Goal> {
    let (traffic, small) = match (Traffic::write(packets), Traffic::write(100)) {
        (Ok(traffic), Ok(small)) => (traffic, small),
        (Err(err), _) | (_, Err(err)) => {
            return vec![Goal::untried("decode", FIELDS, format!("the capture can't be written: {err}"))];
        }
    };
    let bench = Bench { flowtrace, traffic: &traffic };
    let small = Bench { flowtrace, traffic: &small };
    vec![
        bench.ratio("15 fields, against tshark's", FIELDS, &bench.fields("1"), &bench.tshark_fields(), SLOW_ROUNDS),
        bench.equal(),
        bench.ratio("15 fields, against tcpdump -nn", TCPDUMP, &bench.fields("1"), &bench.tcpdump(), SLOW_ROUNDS),
        bench.ratio("15 fields, against a walk over the records", RECORDS, &bench.fields("1"), &bench.walk(), ROUNDS),
        bench.threads(),
        bench.ratio("--flows, against tshark's conv", FLOWS, &bench.flows(), &bench.tshark_flows(), SLOW_ROUNDS),
        small.ratio("15 fields, against tshark's", SMALL, &small.fields("1"), &small.tshark_fields(), ROUNDS),
        bench.memory(),
        bench.memory_of_many(),
        bench.memory_of_flows(),
    ]
}

/// The programs, on one capture.
struct Bench<'a> {
    flowtrace: &'a Path,
    traffic: &'a Traffic,
}

/// A program and its arguments.
type Line = Vec<String>;

fn line(words: &[&str]) -> Line {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn command(line: &Line) -> Command {
    let mut words = line.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words).stdout(Stdio::null());
    command
}

fn round(line: &Line) -> Result<Cost, String> {
    let (cost, output) = run(&mut command(line))?;
    succeeded(line.first().map_or("", String::as_str), &output)?;
    Ok(cost)
}

/// The rounds of two programs, which take turns: what else the machine does disturbs both.
fn rounds(ours: &Line, theirs: &Line, count: usize) -> Result<(Rounds, Rounds), String> {
    let (mut first, mut second) = (Rounds::default(), Rounds::default());
    for _ in 0..count {
        first.push(round(ours)?);
        second.push(round(theirs)?);
    }
    Ok((first, second))
}

impl Bench<'_> {
    fn file(&self) -> String {
        self.traffic.path.to_string_lossy().into_owned()
    }

    fn what(&self, what: &str) -> String {
        format!("{} packets: {what}", self.traffic.packets)
    }

    fn flowtrace(&self, words: &[&str]) -> Line {
        let program = self.flowtrace.to_string_lossy();
        [line(&[&program, "decode", &self.file()]), line(words)].concat()
    }

    fn fields(&self, threads: &str) -> Line {
        self.flowtrace(&["--threads", threads, "--fields", &NAMES.join(",")])
    }

    fn flows(&self) -> Line {
        self.flowtrace(&["--flows"])
    }

    fn tshark(&self, words: &[&str]) -> Line {
        [line(&["tshark", "-n", "-r", &self.file(), "-d", "udp.port==8472,vxlan"]), line(words)].concat()
    }

    fn tshark_fields(&self) -> Line {
        let fields = NAMES.iter().flat_map(|name| ["-e", name]);
        self.tshark(&["-T", "fields"].into_iter().chain(fields).collect::<Vec<_>>())
    }

    fn tshark_flows(&self) -> Line {
        self.tshark(&["-q", "-z", "conv,tcp", "-z", "conv,udp"])
    }

    fn tcpdump(&self) -> Line {
        line(&["tcpdump", "-nn", "-r", &self.file()])
    }

    fn walk(&self) -> Line {
        let me = std::env::current_exe().unwrap_or_default();
        line(&[&me.to_string_lossy(), WALK, &self.file()])
    }

    /// One program's CPU time against another's.
    fn ratio(&self, what: &str, limit: (f64, &'static str), ours: &Line, theirs: &Line, count: usize) -> Goal {
        let what = self.what(what);
        match rounds(ours, theirs, count) {
            Ok((ours, theirs)) => {
                let (min, other) = (ours.min(), theirs.min());
                let numbers = format!(
                    "{:.1} ms against {:.1} ms of CPU time, 1/{:.1}; by medians 1/{:.1}",
                    min * 1e3,
                    other * 1e3,
                    other / min,
                    theirs.median() / ours.median()
                );
                Goal::at_most(what, limit, min / other, numbers)
            }
            Err(why) => Goal::untried(what, limit, why),
        }
    }

    /// What both print is the same, to the byte.
    fn equal(&self) -> Goal {
        const NONE: (f64, &str) = (0.0, " lines");
        let what = self.what("15 fields, lines that differ from tshark's");
        let printed = |line: &Line| {
            let (_, output) = run(command(line).stdout(Stdio::piped()))?;
            succeeded(line.first().map_or("", String::as_str), &output)?;
            Ok::<_, String>(output.stdout)
        };
        match (printed(&self.fields("2")), printed(&self.tshark_fields())) {
            (Ok(ours), Ok(theirs)) => {
                let split = |text: &[u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
                let (ours, theirs) = (split(&ours), split(&theirs));
                let differ = ours.iter().zip(&theirs).filter(|(one, other)| one != other).count();
                let more = ours.len().abs_diff(theirs.len());
                let numbers = format!("{} lines against {}", ours.len(), theirs.len());
                Goal::at_most(what, NONE, (differ + more) as f64, numbers)
            }
            (Err(why), _) | (_, Err(why)) => Goal::untried(what, NONE, why),
        }
    }

    /// Two threads against one, by the clock.
    fn threads(&self) -> Goal {
        let what = self.what("15 fields, two threads against one, by the clock");
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            return Goal::untried(what, THREADS, "there is one processor");
        }
        match rounds(&self.fields("2"), &self.fields("1"), ROUNDS) {
            Ok((two, one)) => {
                let numbers = format!("{:.1} ms against {:.1} ms", two.fastest() * 1e3, one.fastest() * 1e3);
                Goal::at_most(what, THREADS, two.fastest() / one.fastest(), numbers)
            }
            Err(why) => Goal::untried(what, THREADS, why),
        }
    }

    fn memory(&self) -> Goal {
        let what = self.what("the most memory at any time");
        match process::peak(&command(&self.fields("2"))) {
            Ok(kib) => Goal::at_most(what, MEMORY, kib * 1024.0 / 1e6, format!("{kib:.0} KiB")),
            Err(why) => Goal::untried(what, MEMORY, why),
        }
    }

    /// Many files read together, of each of which something has to be at hand.
    fn memory_of_many(&self) -> Goal {
        let what = self.what("200 files together, the most memory at any time");
        let files = vec![self.file(); 200];
        let line = [self.flowtrace(&["--fields", &NAMES.join(","), "-c", "100000"]), files].concat();
        match process::peak(&command(&line)) {
            Ok(kib) => Goal::at_most(what, MEMORY, kib * 1024.0 / 1e6, format!("{kib:.0} KiB")),
            Err(why) => Goal::untried(what, MEMORY, why),
        }
    }

    /// What a flow costs: the memory with all of them, less that with none.
    fn memory_of_flows(&self) -> Goal {
        let what = self.what("--flows, memory for each flow");
        let none = self.flowtrace(&["--flows", "--until", "0"]);
        let counted = run(command(&self.flowtrace(&["--flows", "-o", "jsonl"])).stdout(Stdio::piped()));
        match (counted, process::peak(&command(&self.flows())), process::peak(&command(&none))) {
            (Ok((_, output)), Ok(all), Ok(none)) => {
                let flows = output.stdout.iter().filter(|byte| **byte == b'\n').count();
                let each = (all - none) * 1024.0 / flows.max(1) as f64;
                Goal::at_most(what, FLOW, each, format!("{all:.0} KiB with {flows} flows, {none:.0} KiB with none"))
            }
            (Err(why), _, _) | (_, Err(why), _) | (_, _, Err(why)) => Goal::untried(what, FLOW, why),
        }
    }
}

//! Files of hundreds of megabytes: read in bounded time and memory, or refused.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bundled::{Files, Form, Temporary, gzip};

const SIZE: u64 = 200 << 20;
/// What the program may have at most for a file of [`SIZE`], in MiB.
const MEMORY: u64 = 1500;
/// How long it may compute, whatever else the machine does; and how long anybody waits for that.
const TIME: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs the program on a snapshot; gives its exit code and its most memory, in MiB.
fn explain(snapshot: &Path) -> (Option<i32>, u64) {
    explain_as(&["-o", "json"], snapshot)
}

/// The same, with other options.
fn explain_as(options: &[&str], snapshot: &Path) -> (Option<i32>, u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .args(["explain", "default/pod1", "default/pod2"])
        .args(options)
        .arg("--snapshot")
        .arg(snapshot)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
    let start = Instant::now();
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(peak_of(child.id()).unwrap_or(0));
        let time = cpu_of(child.id()).unwrap_or_default();
        if time > TIME || start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("no end after {time:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    reader.join().unwrap().unwrap();
    (status.code(), peak)
}

fn peak_of(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}

/// The CPU time that a process has used, its own and the kernel's for it (`proc_pid_stat(5)`, in ticks of 10 ms).
fn cpu_of(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = |field: usize| rest.split_whitespace().nth(field - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(14)? + ticks(15)?)))
}

/// A snapshot folder with one huge file in it.
fn with_huge(path: &str, write: impl FnOnce(&mut BufWriter<File>)) -> Temporary {
    let there = Files::bundled("vxlan").write(Form::Folder);
    let mut file = BufWriter::new(File::create(there.path.join(path)).unwrap());
    write(&mut file);
    file.flush().unwrap();
    there
}

/// Writes a line as often as it fits into so many bytes.
fn repeat(file: &mut BufWriter<File>, line: &str, bytes: u64) {
    let lines = line.repeat(10_000);
    for _ in 0..bytes / lines.len() as u64 {
        file.write_all(lines.as_bytes()).unwrap();
    }
}

/// The program neither dies nor takes too much.
fn bounded(path: &str, write: impl FnOnce(&mut BufWriter<File>)) {
    let there = with_huge(path, write);
    let (code, peak) = explain(&there.path);
    assert!(matches!(code, Some(0..=3)), "{path}: {code:?}");
    assert!(peak < MEMORY, "{path}: {peak} MiB");
}

#[test]
fn a_file_of_zeros_is_bounded() {
    bounded("nodes/n1/host/iptables-save", |file| {
        file.seek(SeekFrom::Start(SIZE - 1)).unwrap();
        file.write_all(b"\0").unwrap();
    });
}

#[test]
fn a_line_of_200_megabytes_is_bounded() {
    bounded("nodes/n1/host/route.txt", |file| repeat(file, "10.244.2.0/24 via 10.244.2.0 dev flannel.1 ", SIZE));
}

#[test]
fn rows_of_200_megabytes_take_a_small_multiple_of_the_file() {
    let rows = |path: &str, row: fn([u8; 4]) -> String, most: u64| {
        let there = with_huge(path, |file| {
            let mut size = 0;
            let rows = (0u32..).map(|number| row(number.to_be_bytes()));
            for row in rows.take_while(|row| {
                size += row.len() as u64;
                size < SIZE
            }) {
                file.write_all(row.as_bytes()).unwrap();
            }
        });
        let (code, peak) = explain(&there.path);
        assert!(matches!(code, Some(0..=3)) && peak < most * (SIZE >> 20), "{path}: {code:?}, {peak} MiB");
    };
    let route = |[_, a, b, c]: [u8; 4]| {
        format!("unicast 100.{a}.{b}.{c} via 192.0.2.1 dev eth0 table main proto static scope global \n")
    };
    rows("nodes/n1/host/route.txt", route, 5);
    let neigh =
        |[_, a, b, c]: [u8; 4]| format!("10.{a}.{b}.{c} dev eth0 lladdr 52:54:00:{a:02x}:{b:02x}:{c:02x} STALE \n");
    rows("nodes/n1/host/neigh.txt", neigh, 4);
}

#[test]
fn a_rule_set_of_200_megabytes_is_bounded() {
    bounded("nodes/n1/host/iptables-save", |file| {
        let rule = "-s 198.51.100.7/32 -p tcp -m comment --comment \"one of very many\" -m tcp --dport 80 -j DROP";
        file.write_all(b"*filter\n:FORWARD ACCEPT [0:0]\n:ASKED - [0:0]\n:LEFT - [0:0]\n-A FORWARD -j ASKED\n")
            .unwrap();
        repeat(file, &format!("-A ASKED {rule}\n"), SIZE / 20);
        repeat(file, &format!("-A LEFT {rule}\n"), SIZE - SIZE / 20);
        file.write_all(b"COMMIT\n").unwrap();
    });
}

/// Each table is just large enough to be taken for a large cluster's.
#[test]
fn a_rule_set_of_many_large_tables_is_bounded() {
    bounded("nodes/n1/host/iptables-save", |file| {
        let chains: Vec<String> = (0..1001).map(|n| format!(":C{n} - [0:0]\n")).collect();
        let table = format!("*filter\n{}COMMIT\n", chains.concat());
        for _ in 0..SIZE / 2 / table.len() as u64 {
            file.write_all(table.as_bytes()).unwrap();
        }
    });
}

#[test]
fn a_range_of_endless_dashes_is_bounded() {
    bounded("nodes/n1/host/nft.txt", |file| {
        file.write_all(b"table inet own {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy accept;\n")
            .unwrap();
        let half = 1 << 20;
        writeln!(file, "\t\ttcp dport {}{} accept\n\t}}\n}}", "0".repeat(half), "-".repeat(half)).unwrap();
    });
}

#[test]
fn every_rule_of_a_long_chain_is_told_in_bounded_time() {
    let there = with_huge("nodes/n1/host/nft.txt", |file| {
        file.write_all(b"table inet own {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy accept;\n")
            .unwrap();
        repeat(file, "\t\tip daddr 203.0.113.9 drop\n", 2 << 20);
        file.write_all(b"\t}\n}\n").unwrap();
    });
    let (code, _) = explain_as(&["-v"], &there.path);
    assert_eq!(code, Some(0));
}

#[test]
fn junk_of_200_megabytes_is_bounded() {
    bounded("nodes/n1/host/link.txt", |file| repeat(file, &format!("what {} is this\n", "x".repeat(60)), SIZE));
}

#[test]
fn a_file_beyond_the_limit_is_a_gap() {
    let there = with_huge("nodes/n1/host/iptables-save", |file| file.get_ref().set_len(3 << 30).unwrap());
    let (code, peak) = explain(&there.path);
    assert_eq!(code, Some(3), "the rules decide, and nobody has read them");
    assert!(peak < 100, "{peak} MiB");
}

#[test]
fn an_archive_that_promises_gigabytes_is_refused() {
    let there = Temporary::new();
    let mut header = tar::Header::new_gnu();
    header.set_size(8 << 30);
    header.set_path("nodes/n1/host/route.txt").unwrap();
    header.set_cksum();
    // gzip's parts can be put one after the other.
    let zeros = gzip(&vec![0; 1 << 20]);
    fs::write(&there.path, [gzip(header.as_bytes()), zeros.repeat(64)].concat()).unwrap();
    let (code, peak) = explain(&there.path);
    assert_eq!(code, Some(2));
    assert!(peak < 100, "{peak} MiB");
}

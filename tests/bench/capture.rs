//! `flowtrace capture -w` of a veth that small packets come by as fast as they can be sent, against `tcpdump -w`.

use std::fs;
use std::io::{BufRead as _, BufReader, IoSlice, Read as _};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use nix::unistd::Pid;

use super::goal::Goal;
use super::process::{self, Cost, Rounds};

const ROUNDS: usize = 3;
/// How many packets are sent in a round.
pub const PACKETS: u32 = 2_000_000;
/// Packets that are lost, of a thousand that are sent; or as many as tcpdump loses, where that is more.
const LOST: f64 = 1.0;
const SHARE: (f64, &str) = (1.0, "");
/// How many packets are handed to the kernel at once.
const BATCH: usize = 128;

/// What a capture came to.
struct Captured {
    packets: u64,
    cost: Cost,
}

/// Compares the two. `network` says whether this program is in a network of its own.
pub fn goals(flowtrace: &Path, packets: u32, network: &Result<(), String>) -> Vec<Goal> {
    let lost = "capture: packets lost of a thousand, at most 1 or as many as tcpdump -w";
    let share = "capture: share of tcpdump -w's CPU time for each packet";
    match network.clone().and_then(|()| compare(flowtrace, packets)) {
        Ok(measured) => {
            let [ours, theirs] = measured.lost;
            let numbers = format!(
                "{packets} packets of 60 bytes, {:.0} a second; flowtrace loses {ours:.2}, tcpdump {theirs:.2} of a thousand",
                measured.rate
            );
            let cpu = measured.cpu.map(|rounds| rounds.min() * 1e9);
            let each = format!("{:.0} ns and {:.0} ns for each packet", cpu[0], cpu[1]);
            vec![
                Goal::at_most(lost, (LOST.max(theirs), ""), ours, numbers),
                Goal::at_most(share, SHARE, cpu[0] / cpu[1], each),
            ]
        }
        Err(why) => vec![Goal::untried(lost, (LOST, ""), &why), Goal::untried(share, SHARE, why)],
    }
}

struct Measured {
    /// Of a thousand packets, in the best round: ours, and tcpdump's.
    lost: [f64; 2],
    /// For each packet.
    cpu: [Rounds; 2],
    /// Packets a second, in the quickest round.
    rate: f64,
}

fn compare(flowtrace: &Path, packets: u32) -> Result<Measured, String> {
    build()?;
    let file = |name: &str| std::env::temp_dir().join(format!("flowtrace-bench-{}-{name}", std::process::id()));
    let (ours, theirs) = (file("ours.pcapng"), file("theirs.pcap"));
    let mut measured = Measured { lost: [f64::INFINITY; 2], cpu: [Rounds::default(), Rounds::default()], rate: 0.0 };
    for _ in 0..ROUNDS {
        for (place, path) in [&ours, &theirs].into_iter().enumerate() {
            let mut command = if place == 0 { capture(flowtrace, path) } else { tcpdump(path) };
            let (captured, took) = round(&mut command, packets)?;
            fs::remove_file(path).map_err(|err| err.to_string())?;
            let lost = f64::from(packets) - captured.packets as f64;
            measured.lost[place] = measured.lost[place].min(lost * 1000.0 / f64::from(packets));
            let each = captured.cost.cpu.div_f64((captured.packets as f64).max(1.0));
            measured.cpu[place].push(Cost { cpu: each, wall: took });
            measured.rate = measured.rate.max(f64::from(packets) / took.as_secs_f64());
        }
    }
    Ok(measured)
}

fn capture(flowtrace: &Path, file: &PathBuf) -> Command {
    let mut command = Command::new(flowtrace);
    command.args(["capture", "-i", "two", "-f", "udp port 7000", "-w"]).arg(file);
    command
}

fn tcpdump(file: &PathBuf) -> Command {
    let mut command = Command::new("tcpdump");
    command.args(["-n", "-Z", "root", "-i", "two", "-w"]).arg(file).arg("udp port 7000");
    command
}

/// A veth pair, `one` to send by and `two` to capture on; whoever gets the packets drops them first of all.
fn build() -> Result<(), String> {
    let script = "ip link add one address 02:00:00:00:00:01 type veth peer name two address 02:00:00:00:00:02
        sysctl -qw net.ipv6.conf.one.disable_ipv6=1 net.ipv6.conf.two.disable_ipv6=1
        ip link set one up && ip link set two up && ip addr add 10.9.0.1/24 dev one
        ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev one";
    let output = Command::new("sh").args(["-ec", script]).output().map_err(|err| format!("sh: {err}"))?;
    process::succeeded("the veth pair", &output)
}

/// Captures what is sent.
fn round(command: &mut Command, packets: u32) -> Result<(Captured, Duration), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |err: std::io::Error| format!("{name}: {err}");
    let before = process::children_cpu()?;
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let mut errors = BufReader::new(child.stderr.take().ok_or("no stderr")?);
    let mut told = String::new();
    // Both say when they have begun.
    while !told.contains("capturing on") && !told.contains("listening on") {
        if errors.read_line(&mut told).map_err(failed)? == 0 {
            return Err(format!("{name}: {told}"));
        }
    }
    let start = Instant::now();
    send(packets)?;
    let took = start.elapsed();
    std::thread::sleep(Duration::from_millis(500));
    let id = i32::try_from(child.id()).map_err(|err| err.to_string())?;
    kill(Pid::from_raw(id), Signal::SIGINT).map_err(|err| err.to_string())?;
    errors.read_to_string(&mut told).map_err(failed)?;
    child.wait().map_err(failed)?;
    let cpu = process::children_cpu()?.saturating_sub(before);
    let words: Vec<&str> = told.split_whitespace().collect();
    let count = words.windows(3).find(|three| three[1] == "packets" && three[2].starts_with("captured"));
    let packets = count.and_then(|three| three[0].parse().ok()).ok_or_else(|| format!("{name}: {told}"))?;
    Ok((Captured { packets, cost: Cost { cpu, wall: took } }, took))
}

/// Sends datagrams of 18 bytes, which is the smallest frame, as fast as the kernel takes them.
fn send(packets: u32) -> Result<(), String> {
    let socket = UdpSocket::bind("10.9.0.1:0").map_err(|err| err.to_string())?;
    let to = SockaddrIn::from("10.9.0.2:7000".parse::<SocketAddrV4>().map_err(|err| err.to_string())?);
    let payload = [0_u8; 18];
    let slices = vec![[IoSlice::new(&payload)]; BATCH];
    let addresses = vec![Some(to); BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut left = packets as usize;
    while left > 0 {
        let now = left.min(BATCH);
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices[..now],
            &addresses[..now],
            [] as [nix::sys::socket::ControlMessage<'_>; 0],
            MsgFlags::empty(),
        );
        left -= sent.map_err(|errno| errno.to_string())?.count();
    }
    Ok(())
}

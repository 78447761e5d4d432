//! How a capture ends, and what it leaves.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::file::File;
use crate::pair::{Datagram, Pair, ip, send};
use crate::program::{Running, command, folder};

const FILTER: [&str; 2] = ["-f", "udp dst port 7000"];

#[test]
fn a_count_ends_it_after_the_first_packets_of_all_devices() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-count").join("a.pcapng");
    let args = [&["-i", "two,one", "-c", "5", "-w", path.to_str().unwrap()], &FILTER[..]].concat();
    let running = Running::start(&pair.left, &args);
    let sent: Vec<Datagram> = (0..20).map(|number| Datagram::new(number, (number % 2) as u8)).collect();
    pair.send(&sent);
    running.wait().told("two: 2 packets captured, ");
    let numbers: Vec<u64> = File::whole(&path).sent().into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
}

#[test]
fn a_duration_ends_it_by_itself_and_the_last_packets_are_there() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-duration").join("a.pcapng");
    let args = [&["-i", "one,two", "--duration", "1.5", "-w", path.to_str().unwrap()], &FILTER[..]].concat();
    let running = Running::start(&pair.left, &args);
    let began = Instant::now();
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| pair.left.enter(|| trickle(&stop)));
        running.wait().told("one: ");
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
    let file = File::whole(&path);
    let seen = file.sent_on("one");
    assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>());
    assert!(seen.len() > 5 && (seen.len() as u64) < sent, "{} of {sent}", seen.len());
    let last = file.packets.last().unwrap().time - file.packets[0].time;
    assert!((1_000_000_000..=1_600_000_000).contains(&last), "{last} ns from the first to the last");
}

/// Sends a packet now and then until it is told to stop; how many there were.
fn trickle(stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        send(&[Datagram::new(sent, 0)]);
        sent += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    sent
}

#[test]
fn a_signal_in_the_middle_of_many_packets_leaves_a_whole_file() {
    let Some(pair) = Pair::new() else { return };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let path = folder("capture-signal").join("a.pcapng");
        let args = [&["-i", "one,two", "-w", path.to_str().unwrap()], &FILTER[..]].concat();
        let running = Running::start(&pair.left, &args);
        let stop = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            scope.spawn(|| pair.left.enter(|| stream(&stop)));
            std::thread::sleep(Duration::from_millis(500));
            running.signal(signal);
            let done = running.wait();
            stop.store(true, Ordering::Relaxed);
            done
        });
        done.told("one: ");
        let file = File::whole(&path);
        for (place, name) in ["one", "two"].iter().enumerate() {
            let seen = file.sent_on(name);
            let [received, dropped, captured] = file.statistics[place];
            assert!(seen.len() > 100 && captured == seen.len() as u64 && received >= captured, "{done:?}");
            if dropped == 0 {
                assert!(seen.windows(2).all(|two| two[1] == two[0] + 2), "{name}: a packet is missing");
            }
        }
    }
}

/// Sends as fast as it goes until it is told to stop.
fn stream(stop: &AtomicBool) {
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let burst: Vec<Datagram> = (next..next + 100).map(|number| Datagram::new(number, (number % 2) as u8)).collect();
        send(&burst);
        next += 100;
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_of_a_ring_are_bounded_whole_and_follow_each_other() {
    let Some(pair) = Pair::new() else { return };
    let folder = folder("capture-ring");
    let path = folder.join("a.pcapng");
    let args = [&["-i", "one", "-C", "1", "-W", "3", "-w", path.to_str().unwrap()], &FILTER[..]].concat();
    let running = Running::start(&pair.left, &args);
    // Four and a half files, so that the ring comes round.
    for burst in 0..45_u64 {
        let sent: Vec<Datagram> =
            (burst * 100..burst * 100 + 100).map(|number| Datagram { size: 900, ..Datagram::new(number, 0) }).collect();
        pair.send(&sent);
    }
    running.interrupt().told("one: 4500 packets captured, 4500 received by filter, 0 dropped by kernel");
    assert_eq!(names(&folder), ["a.pcapng0", "a.pcapng1", "a.pcapng2"]);
    let mut files: Vec<Vec<u64>> = Vec::new();
    for name in names(&folder) {
        let size = fs::metadata(folder.join(&name)).unwrap().len();
        assert!(size <= 1_000_000, "{name} has {size} bytes");
        files.push(File::whole(&folder.join(&name)).sent_on("one"));
    }
    files.sort();
    let kept = files.concat();
    assert_eq!(kept, (kept[0]..4500).collect::<Vec<_>>());
    assert!(kept.len() > 2000, "{} packets are kept", kept.len());
}

#[test]
fn without_a_bound_on_their_number_no_file_is_written_anew() {
    let Some(pair) = Pair::new() else { return };
    let folder = folder("capture-files");
    let path = folder.join("a");
    let args = [&["-i", "one", "-C", "1", "-c", "2500", "-w", path.to_str().unwrap()], &FILTER[..]].concat();
    let running = Running::start(&pair.left, &args);
    let sent: Vec<Datagram> = (0..2500).map(|number| Datagram { size: 900, ..Datagram::new(number, 0) }).collect();
    sent.chunks(100).for_each(|burst| pair.send(burst));
    running.wait().told("one: 2500 packets captured");
    assert_eq!(names(&folder), ["a", "a1", "a2"]);
    let kept: Vec<u64> =
        names(&folder).iter().flat_map(|name| File::whole(&folder.join(name)).sent_on("one")).collect();
    assert_eq!(kept, (0..2500).collect::<Vec<_>>());
}

#[test]
fn a_pipe_gets_the_packets_while_they_come() {
    let Some(pair) = Pair::new() else { return };
    let args = [&["-i", "one", "-c", "2", "-w", "-"], &FILTER[..]].concat();
    let mut running = Running::spawn(&pair.left, command(&args).stdout(Stdio::piped()));
    let mut stdout = running.stdout();
    let mut bytes = vec![0; 28];
    stdout.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes[..4], b"\n\r\r\n", "the header is there before any packet");
    pair.send(&[Datagram::new(0, 0), Datagram::new(1, 0)]);
    stdout.read_to_end(&mut bytes).unwrap();
    running.wait().told("one: 2 packets captured");
    assert_eq!(File::parse(&bytes).sent_on("one"), [0, 1]);
}

#[test]
fn what_the_kernel_had_no_room_for_is_counted_and_told() {
    const SENT: u64 = 60_000;
    let Some(pair) = Pair::new() else { return };
    let args = [&["-i", "one", "-w", "-"], &FILTER[..]].concat();
    let mut running = Running::spawn(&pair.left, command(&args).stdout(Stdio::piped()));
    // Nobody reads, and more comes than libpcap's ring, the program's blocks and the pipe hold.
    let sent: Vec<Datagram> = (0..SENT).map(|number| Datagram { size: 1000, ..Datagram::new(number, 0) }).collect();
    pair.send(&sent);
    let mut stdout = running.stdout();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        File::parse(&bytes)
    });
    let done = running.interrupt();
    let file = reader.join().unwrap();
    let [received, dropped, captured] = file.statistics[0];
    assert_eq!((received, captured), (SENT, file.sent_on("one").len() as u64), "{done:?}");
    assert!(dropped > 0 && captured + dropped == SENT, "{done:?}");
    done.told(&format!(
        "one: {captured} packets captured, {received} received by filter, {dropped} dropped by kernel\n"
    ));
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let Some(pair) = Pair::new() else { return };
    let args = [&["-i", "one", "-w", "-"], &FILTER[..]].concat();
    let mut running = Running::spawn(&pair.left, command(&args).stdout(Stdio::piped()));
    drop(running.stdout());
    pair.send(&[Datagram::new(0, 0)]);
    let done = running.wait();
    assert_eq!((done.code, done.errors.as_str()), (Some(0), ""));
}

#[test]
fn devices_that_go_away_end_it_only_when_none_is_left() {
    let Some(pair) = Pair::new() else { return };
    let path = folder("capture-gone").join("a.pcapng");
    let args = [&["-i", "one,two", "-w", path.to_str().unwrap()], &FILTER[..]].concat();
    let running = Running::start(&pair.left, &args);
    pair.send(&[Datagram::new(0, 0), Datagram::new(1, 1)]);
    // What the kernel still holds back is lost with the device.
    std::thread::sleep(Duration::from_millis(400));
    pair.left.enter(|| ip("link del one"));
    pair.send(&[Datagram::new(2, 1)]);
    std::thread::sleep(Duration::from_millis(400));
    pair.left.enter(|| ip("link del two"));
    let done = running.wait();
    assert_eq!(done.code, Some(2), "{}", done.errors);
    assert!(
        done.errors.contains("one: nothing is captured here any more: ") && done.errors.contains("no device is left")
    );
    let file = File::whole(&path);
    assert_eq!((file.sent_on("one"), file.sent_on("two")), (vec![0], vec![1, 2]));
}

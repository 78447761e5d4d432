//! tcpdump, and how its answers are held against those of the library.

use std::io::Write as _;
use std::process::{Command, Stdio};

use flowtrace::capture::filter::Filter;

use crate::capture::Capture;

/// Whether tcpdump can run here; says loudly where it can't.
pub fn is_ready(test: &str) -> bool {
    if Command::new("tcpdump").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let why = "tcpdump is needed";
    eprintln!("SKIPPED: {why}");
    if let Some(path) = std::env::var_os("FLOWTRACE_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("FLOWTRACE_SKIPS opens");
        writeln!(file, "{test}: {why}").expect("FLOWTRACE_SKIPS can be written");
    }
    false
}

/// What tcpdump prints into its output for some input, or what it complains of.
pub fn tcpdump(args: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let mut child = Command::new("tcpdump")
        .args(["-r", "-", "-w", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let output = std::thread::scope(|scope| {
        // It may refuse the filter before it has read anything.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().map_err(|error| error.to_string())
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(words.lines().last().unwrap_or_default().to_owned())
}

/// The places of the packets that pass a filter, or why there are none.
type Answer = Result<Vec<usize>, String>;

/// tcpdump's answer. Times tell the packets apart: each has its place as its second.
fn theirs(capture: &Capture, args: &[&str]) -> Answer {
    let output = match tcpdump(args, &capture.file()) {
        // The optimizer has found out, which is an answer.
        Err(words) if words.ends_with("expression rejects all packets") => return Ok(Vec::new()),
        output => output?,
    };
    let (_, packets) = Capture::read(&output).ok_or("what tcpdump writes is no capture")?;
    Ok(packets.iter().map(|(second, _)| *second as usize).collect())
}

fn ours(capture: &Capture, filter: &str) -> Answer {
    let filter = Filter::parse(filter).map_err(|refusal| refusal.what)?;
    if let Some(refusal) = filter.refusal(capture.link_type) {
        return Err(refusal.what.clone());
    }
    let passes = |place: &usize| {
        let packet = &capture.packets[*place];
        filter.matches(capture.link_type, &packet.bytes, packet.length)
    };
    Ok((0..capture.packets.len()).filter(passes).collect())
}

/// How the answers about a filter compare.
#[derive(Debug)]
pub enum Verdict {
    /// The same packets pass, so many.
    Same(usize),
    /// Both refuse it, or one does for a reason that is known.
    Refused,
    /// The same packets pass as without libpcap's optimizer, and others with it: it moves tests about, and a test that
    /// reads too far may come earlier or later.
    Unoptimized,
    /// They differ.
    Differ(String),
}

/// Asks both.
pub fn judge(capture: &Capture, filter: &str) -> Verdict {
    let ours = ours(capture, filter);
    let theirs_first = theirs(capture, &["--", filter]);
    match (&ours, &theirs_first) {
        (Ok(ours), Ok(theirs)) if ours == theirs => Verdict::Same(ours.len()),
        (Err(_), Err(_)) => Verdict::Refused,
        (Ok(found), Ok(other)) => {
            if theirs(capture, &["-O", "--", filter]).as_ref() == Ok(found) {
                return Verdict::Unoptimized;
            }
            let only = |first: &[usize], second: &[usize]| -> Vec<usize> {
                first.iter().filter(|place| !second.contains(place)).take(5).copied().collect()
            };
            let (ours, theirs) = (only(found, other), only(other, found));
            let example = ours.first().or(theirs.first()).map(|place| &capture.packets[*place]);
            let example = example.map(|packet| format!("{:02x?} of {}", packet.bytes, packet.length));
            Verdict::Differ(format!(
                "{}: {filter:?}: only ours passes {ours:?}, only theirs {theirs:?}, as {}",
                capture.name,
                example.unwrap_or_default()
            ))
        }
        // The optimizer at times refuses what it has made itself.
        (Ok(_), Err(_)) if theirs(capture, &["-O", "--", filter]) == ours => Verdict::Unoptimized,
        // libpcap takes the first number of a sum for its result: in `8 / ip[0]` it divides by 0.
        (Ok(_), Err(words)) if ["by zero", "more than 31 bits"].iter().any(|end| words.ends_with(end)) => {
            Verdict::Refused
        }
        // What it finds only in the optimizer, and not where that has dropped the sum before.
        (Err(words), Ok(_)) if words.contains("by 0") || words.contains("by 31 at most") => Verdict::Refused,
        // libpcap's next version refuses numbers that no packet can have, as we do.
        (Err(words), Ok(_)) if words.ends_with(" is the last") => Verdict::Refused,
        (Ok(_), Err(words)) => Verdict::Differ(format!("{}: {filter:?}: tcpdump refuses it: {words}", capture.name)),
        (Err(words), Ok(_)) => Verdict::Differ(format!("{}: {filter:?}: we refuse it: {words}", capture.name)),
    }
}

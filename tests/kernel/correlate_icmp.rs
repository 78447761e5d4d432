//! `flowtrace correlate` on ICMP, against the kernel: echoes there and back, and the errors about what nobody listens for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};
use serde_json::Value;
use std::os::fd::AsRawFd as _;

use super::correlate::{Case, all_arrive, captured, datagrams, none_is_lost};
use crate::lab::build::Lab;
use crate::lab::dump::{self, cell};
use crate::lab::flannel::INTERNET4;
use crate::lab::judge::Folder;
use crate::lab::netns::must;
use crate::lab::situations::POD1;
use crate::lab::snapshot::Form;
use crate::lab::traffic::{BACK, Datagrams};

const COUNT: u32 = 100;
const PACE: Duration = Duration::from_millis(2);

/// An echo request that carries cells of one kind.
fn request(id: u16, tag: u32, number: u32) -> Vec<u8> {
    let sequence = u16::try_from(number).expect("few");
    let mut message =
        [&[8, 0, 0, 0][..], &id.to_be_bytes(), &sequence.to_be_bytes(), &cell(tag, number).repeat(4)].concat();
    let sum: u32 = message.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("16 bits");
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// Sends echo requests from pod1.
fn echo(lab: &Lab, to: &str, id: u16, tag: u32) -> Result<(), String> {
    let to: std::net::Ipv4Addr = to.parse().map_err(|error| format!("{to}: {error}"))?;
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(to, 0));
    let failed = |error: nix::Error| format!("an echo: {error}");
    lab.netns(POD1).enter(|| {
        let socket =
            socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp).map_err(failed)?;
        for number in 0..COUNT {
            sendto(socket.as_raw_fd(), &request(id, tag, number), &to, MsgFlags::empty()).map_err(failed)?;
            std::thread::sleep(PACE);
        }
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    })
}

/// Marks what goes back as such: a reply, which has the request's bytes, and an error, which quotes its packet. `answer`
/// finds both by the bytes in front of the first cell.
fn tell_answers(case: &mut Case, answer: impl Fn(&[u8]) -> bool) {
    for file in &case.files {
        for (number, (_, frame)) in (1..).zip(dump::packets(file).expect("a capture")) {
            let at = frame.windows(8).position(|window| window == dump::MARK);
            let carries = case.truth.get_mut(&(file.display().to_string(), number));
            if let (Some(at), Some(carries)) = (at, carries)
                && answer(&frame[..at])
            {
                carries.tag |= BACK;
            }
        }
    }
}

/// Behind the type, code, checksum, identifier and sequence number of an echo stands the data.
fn is_reply(before: &[u8]) -> bool {
    before[before.len() - 8] == 0
}

/// Behind an error's own eight bytes stand the IP and UDP headers of what it is about, and then that packet's data.
fn is_error(before: &[u8]) -> bool {
    let at = before.len() - 8 - 20 - 8;
    before[at..].starts_with(&[3, 3]) && before[at + 8] == 0x45
}

#[test]
fn echoes_and_their_replies_are_found_at_every_point() {
    let send = |lab: &Lab| {
        echo(lab, "10.244.2.2", 7, 0x71)?;
        // The same identifier and numbers again, to another one: those are other packets.
        echo(lab, INTERNET4, 7, 0x72)
    };
    let Some((mut case, ())) = captured("correlate-echo", send) else { return };
    tell_answers(&mut case, is_reply);
    all_arrive(&case, 0x71, COUNT as usize);
    all_arrive(&case, 0x72, COUNT as usize);
    let text = case.run(&[]);
    assert!(text.contains("icmp"), "{text}");
}

/// Which captures show what goes back of a kind.
fn shown(case: &Case, tag: u32) -> BTreeSet<String> {
    case.truth.iter().filter(|(_, carries)| carries.tag == tag | BACK).map(|((file, _), _)| name(file)).collect()
}

fn name(file: &str) -> String {
    file.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The capture of the device at which a step is, if it is one at a device.
fn capture_of(step: &Value) -> Option<String> {
    let device = step["device"].as_str().filter(|_| step["kind"] == "receive" || step["kind"] == "transmit")?;
    let pod = step["netns"].as_str()?.strip_prefix("pod:").map(|pod| format!("{}.", pod.replace('/', "_")));
    Some(format!("{}.{}{device}.pcap", step["node"].as_str()?, pod.unwrap_or_default()))
}

/// Holds what `explain --pcap` says of each captured error against where the kernel showed it.
fn explain_errors(case: &Case, snapshot: &Path, tags: &[u32]) {
    for file in &case.files {
        let path = file.display().to_string();
        for tag in tags {
            let here = case.truth.iter().filter(|((of, _), carries)| *of == path && carries.tag == tag | BACK);
            for ((_, number), _) in here.take(EXPLAINED) {
                let mut explain = Command::new(env!("CARGO_BIN_EXE_flowtrace"));
                explain.args(["explain", "-o", "jsonl", "--snapshot"]).arg(snapshot);
                let output = explain.args(["--pcap", &format!("{path}#{number}")]).output().expect("flowtrace runs");
                let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
                assert_eq!(answer["capture"]["odd"], Value::Array(vec![]), "{path}#{number}");
                let mut walked = Vec::new();
                for way in answer["paths"].as_array().expect("paths") {
                    let end = if *tag == OUTSIDE { "left" } else { "rejected" };
                    let told = (&way["forward"]["verdict"], &way["reply"]["verdict"]);
                    assert_eq!(told, (&end.into(), &"delivered".into()), "{path}#{number}");
                    let steps = way["reply"]["steps"].as_array().expect("steps");
                    walked.push(steps.iter().filter_map(capture_of).collect::<BTreeSet<String>>());
                }
                // Before the pod's address is put back, the node itself may have asked as well as its pod.
                let is_open = *tag == OUTSIDE && path.ends_with("/n1.eth0.pcap");
                let shown = shown(case, *tag);
                assert!(walked.contains(&shown), "{path}#{number}: {walked:?}, and the kernel has {shown:?}");
                assert!(is_open || walked.iter().all(|way| *way == shown), "{path}#{number}: {walked:?}");
            }
        }
    }
}

/// Of so many errors at each device all is asked.
const EXPLAINED: usize = 3;
/// The kind of datagrams that go out of the cluster.
const OUTSIDE: u32 = 0x75;

#[test]
fn errors_about_datagrams_are_found_at_every_point_through_nat() {
    let send = |lab: &Lab| {
        let taken = Folder::new("errors-snapshot");
        lab.snapshot(&taken.path, Form::Text)?;
        for pod in ["default/pod2", "kube-system/coredns", "world"] {
            lab.netns(pod).enter(|| must("sysctl", &["-qw", "net.ipv4.icmp_ratelimit=0"], ""))?;
        }
        // The server listens at another port than the one that is asked.
        let few = |to: &str, server, tag| -> Result<(), String> {
            let few = Datagrams {
                to: to.parse().map_err(|error| format!("{to}: {error}"))?,
                count: COUNT,
                pace: PACE,
                ..datagrams("10.244.2.2:1", server, 7999, tag)
            };
            few.send(lab).map(drop)
        };
        few("10.244.2.2:7", "default/pod2", 0x73)?;
        few("10.96.0.10:53", "kube-system/coredns", 0x74)?;
        few(&format!("{INTERNET4}:7"), "world", OUTSIDE)?;
        Ok(taken)
    };
    let Some((mut case, taken)) = captured("correlate-errors", send) else { return };
    tell_answers(&mut case, is_error);
    explain_errors(&case, &taken.path, &[0x73, 0x74, OUTSIDE]);
    for tag in [0x73, 0x74, OUTSIDE] {
        // A socket that has just been told of an error hands that out instead of the next datagram.
        let count = none_is_lost(&case, tag);
        assert!(count > COUNT as usize / 3, "{count}");
    }
}

//! Questions that can't be asked.

use crate::file::{PcapFile, folder};
use crate::{Run, explain, explain_named, syn};

fn refused(run: &Run, words: &str) {
    let said = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{said}");
    assert!(said.contains(words), "{words:?} is missing in {said:?}");
}

#[test]
fn what_a_capture_has_itself_is_refused_beside_it() {
    let capture = PcapFile::new().add(&syn()).write(&folder("beside").join("n1.cni0.pcap"));
    refused(&explain(&capture, &["default/pod1", "default/pod2"]), "leave FROM and TO out");
    refused(&explain(&capture, &["--port", "80"]), "--port: the packets of --pcap say this themselves");
    refused(&explain(&capture, &["--state", "established"]), "say this themselves");
    refused(&explain(&capture, &["-o", "dot"]), "--pcap FILE#N");
}

#[test]
fn a_point_that_is_not_there_is_refused_with_what_is() {
    let folder = folder("point");
    let capture = PcapFile::new().add(&syn()).write(&folder.join("a.pcap"));
    refused(&explain(&capture, &[]), "--at NODE/DEVICE says it");
    refused(&explain(&capture, &["--at", "n1/cni1"]), "did you mean cni0");
    refused(&explain(&capture, &["--at", "n3/cni0"]), "did you mean n1 or n2?");
    refused(&explain(&capture, &["--at", "n1/default_pod9/eth0"]), "did you mean default_pod1");
    refused(&explain(&capture, &["--at", "n1"]), "NODE/DEVICE is wanted");
}

#[test]
fn a_capture_of_nothing_that_can_be_walked_is_refused() {
    let folder = folder("nothing");
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]].concat();
    let capture = PcapFile::new().add_bytes(&arp).write(&folder.join("n1.cni0.pcap"));
    refused(&explain(&capture, &[]), "none of its packets can be walked: 1 arp without IP");
    refused(&explain_named(&format!("{}#1", capture.display()), &[]), "it is not walked: arp without IP");
    refused(&explain_named(&format!("{}#2", capture.display()), &[]), "the capture has 1 packet");
    let empty = PcapFile::new().write(&folder.join("n1.eth0.pcap"));
    refused(&explain(&empty, &[]), "it has no packets");
    std::fs::write(folder.join("n1.lo.pcap"), "nothing at all, and long enough").unwrap();
    refused(&explain(&folder.join("n1.lo.pcap"), &[]), "neither a pcap nor a pcapng file");
    refused(&explain(&folder.join("missing.pcap"), &[]), "missing.pcap");
}

#[test]
fn what_only_captures_have_is_refused_without_one() {
    let run = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_flowtrace")).args(args).output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    };
    refused(
        &run(&["explain", "--demo", "default/pod1", "default/pod2", "-o", "jsonl"]),
        "-o jsonl is for the packets of --pcap",
    );
    refused(&run(&["explain", "--demo", "default/pod1", "default/pod2", "--only-odd"]), "--pcap");
}

#[test]
fn a_truncated_capture_is_read_to_its_last_whole_packet() {
    let folder = folder("truncated");
    let whole = PcapFile::new().add(&syn()).add(&syn()).write(&folder.join("n1.cni0.pcap"));
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&whole, &bytes[..bytes.len() - 5]).unwrap();
    let run = explain(&whole, &[]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("1 packet; 1 flow shown"), "{}", run.out);
    assert!(run.err.contains("note:"), "{}", run.err);
}

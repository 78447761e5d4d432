//! What is refused, and captures that are damaged.

use std::fs;
use std::path::Path;

use super::{Folder, correlate, frame, paths, service};

fn refused(files: &[&Path], more: &[&str], words: &[&str]) {
    let run = correlate(files, more);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{}", run.err);
    let said = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in {said:?}");
    }
}

#[test]
fn what_cannot_be_read_or_placed_is_refused() {
    let folder = Folder::new();
    let files = service(&folder);
    let one: &Path = &files[0];
    refused(&[], &[], &["required"]);
    refused(&[&folder.0.join("n1.none.pcap")], &[], &["n1.none.pcap", "No such file"]);
    refused(&[Path::new("-")], &[], &["-", "read twice"]);
    refused(&[one], &["--at", "n1/eth0"], &["--at n1/eth0", "FILE=NODE/DEVICE"]);
    refused(&[one], &["--at", "other.pcap=n1/eth0"], &["other.pcap", "no such file is read"]);
    refused(&[one], &["--window", "0"], &["--window", "seconds are wanted"]);
    refused(&[one], &["--before", "x"], &["--after"]);
    refused(&[one], &["--snapshot", "/none"], &["/none"]);
    let unnamed = folder.capture("n1.pcap", &[]);
    refused(&[&unnamed], &[], &["n1.pcap", "--at"]);
    let text = folder.write("n1.text.pcap", b"a text that is no capture at all");
    refused(&[&text], &[], &["n1.text.pcap", "neither a pcap nor a pcapng file"]);
}

#[test]
fn an_empty_capture_has_nothing_to_tell() {
    let folder = Folder::new();
    let empty = folder.capture("n1.eth0.pcap", &[]);
    let run = correlate(&[&empty], &[]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("0 packets of 0 flows, 1 point, 1 node"), "{}", run.out);
    assert_eq!(correlate(&[&empty], &["-o", "jsonl"]).out, "");
}

#[test]
fn a_capture_that_was_cut_off_is_read_up_to_there() {
    let folder = Folder::new();
    let files = service(&folder);
    let bytes = fs::read(&files[1]).unwrap();
    fs::write(&files[1], &bytes[..bytes.len() - 3]).unwrap();
    let run = correlate(&paths(&files), &[]);
    assert!(run.out.contains("39 packets of 2 flows"), "{}", run.out);
    assert!(run.err.contains("n1.cni0.pcap: the file ends within a packet"), "{}", run.err);
    assert_eq!(run.err.matches("the file ends").count(), 1, "told once: {}", run.err);
}

#[test]
fn names_of_captures_do_nothing_to_a_terminal() {
    let folder = Folder::new();
    let frames = frame::read(&fs::read(&service(&folder)[0]).unwrap());
    let hostile = folder.capture("n1\u{1b}[31m.eth0\u{202e}.pcap", &frames);
    for format in ["text", "json", "jsonl"] {
        let run = correlate(&[&hostile], &["-o", format]);
        assert!(!run.out.contains('\u{1b}') && !run.out.contains('\u{202e}'), "{format}: {}", run.out);
    }
}

#[test]
fn every_byte_of_a_capture_may_be_wrong() {
    let folder = Folder::new();
    let files = service(&folder);
    let bytes = fs::read(&files[3]).unwrap();
    for at in (24..bytes.len()).step_by(bytes.len() / 120) {
        let mut broken = bytes.clone();
        broken[at] ^= 0xff;
        fs::write(&files[3], &broken).unwrap();
        let run = correlate(&paths(&files), &["-o", "jsonl"]);
        assert!(run.code < 2 && !run.err.contains("panicked"), "byte {at}: {}", run.err);
    }
}

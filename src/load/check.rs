//! What the tests of all readers share.

use crate::evidence::{Evidence, FileId, Gap};
use crate::snapshot::{Addr, BridgeVlan, FdbEntry, Link, Neigh, NextHopObject, PolicyRule, Route, Tun};

pub(super) const FILE: FileId = FileId(7);
const NOWHERE: Evidence = Evidence { file: FILE, line: 0, index: None };

/// A row without its evidence, to compare rows of different files.
pub(super) trait Anywhere {
    fn anywhere(self) -> Self;
}

macro_rules! anywhere {
    ($($row:ty),*) => {
        $(impl Anywhere for $row {
            fn anywhere(mut self) -> Self {
                self.evidence = NOWHERE;
                self
            }
        })*
    };
}

anywhere!(Addr, BridgeVlan, FdbEntry, Neigh, PolicyRule, Tun);

impl Anywhere for Route {
    fn anywhere(mut self) -> Self {
        self.evidence = NOWHERE;
        self.nexthops.iter_mut().for_each(|way| way.evidence = NOWHERE);
        self
    }
}

impl Anywhere for NextHopObject {
    fn anywhere(mut self) -> Self {
        self.evidence = NOWHERE;
        self.way.iter_mut().for_each(|way| way.evidence = NOWHERE);
        self
    }
}

impl Anywhere for Link {
    fn anywhere(mut self) -> Self {
        (self.evidence, self.lladdr_evidence, self.kind_evidence) = (NOWHERE, NOWHERE, NOWHERE);
        self.port.iter_mut().for_each(|port| port.evidence = NOWHERE);
        self
    }
}

pub(super) fn anywhere<R: Anywhere>(rows: Vec<R>) -> Vec<R> {
    rows.into_iter().map(Anywhere::anywhere).collect()
}

/// What the reader answers, and that it has nothing to say about the file.
pub(super) fn clean<T>(read: impl FnOnce(&mut Vec<Gap>) -> T) -> T {
    let mut gaps = Vec::new();
    let rows = read(&mut gaps);
    assert_eq!(gaps, [], "nothing in the file is unknown");
    rows
}

/// What the reader answers, and what it says about the file: the line of each gap and the words after the tool's name.
pub(super) fn gappy<T>(read: impl FnOnce(&mut Vec<Gap>) -> T) -> (T, Vec<(u32, String)>) {
    let mut gaps = Vec::new();
    let rows = read(&mut gaps);
    let said = gaps.iter().map(|gap| {
        let what = gap.what.split_once(": ").map_or("", |(_, what)| what);
        (gap.evidence.first().map_or(0, |evidence| evidence.line), what.to_owned())
    });
    (rows, said.collect())
}

/// Reads every prefix of a file, and the file with its bytes changed in many ways: nothing of it may panic.
pub(super) fn survives(text: &str, read: impl Fn(&str)) {
    let text = &text[..text.floor_char_boundary(1500)];
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        read(&text[..end]);
    }
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap() % below.max(1)
    };
    for _ in 0..300 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(4) {
                0 => drop(bytes.remove(at)),
                1 => bytes[at] = b" \n\t\r\\\"{}[]:,/0-9\x1b\0\xff"[random(19)],
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let piece: Vec<u8> = bytes[at..(at + random(40)).min(bytes.len())].to_vec();
                    let to = random(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        read(&String::from_utf8_lossy(&bytes));
    }
}

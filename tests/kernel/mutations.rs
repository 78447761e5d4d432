//! Whether the lab would notice a wrong engine: a program makes one mistake after the other, each of which real packets
//! must give away.

use std::path::Path;

use crate::lab::mutation::{UNCHANGED, edited, judge_mutations};
use crate::lab::mutations::all;

/// How many scenarios are recorded or judged at a time.
const JOBS: usize = 2;

#[test]
fn every_mutation_has_its_place_in_the_source() {
    for edit in all().flat_map(|mutation| mutation.edits) {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(edit.0)).unwrap();
        edited(&text, edit).unwrap();
    }
}

#[test]
fn every_mutation_of_the_engine_is_noticed() {
    if !crate::lab::ready::ready() {
        return;
    }
    let _machine = crate::lab::ready::alone();
    let mut unnoticed = Vec::new();
    let mut noticed_at_random = 0;
    let packets = judge_mutations(JOBS, 1, |told| {
        println!("{} {}", if told.wrong() == 0 { "right about every packet:" } else { "wrong:" }, told.name);
        if told.name == UNCHANGED {
            let wrong = [told.random.join("\n\n"), told.corners.join("\n\n")].concat();
            assert!(wrong.is_empty(), "the engine as it is disagrees with the kernel\n{wrong}");
        } else if told.wrong() == 0 {
            unnoticed.push(told.name);
        }
        noticed_at_random += usize::from(!told.random.is_empty());
    })
    .unwrap();
    assert!(unnoticed.is_empty(), "unnoticed among {packets} packets: {}", unnoticed.join(", "));
    assert!(noticed_at_random >= 10, "random scenarios alone notice no more than {noticed_at_random} mutations");
}

//! Scenarios from seeds: random clusters, faults, routes and rules, in which the kernel and `explain` must agree.
//!
//! `FLOWTRACE_SEEDS=0..2000 cargo test --test kernel random` runs more of them, `FLOWTRACE_JOBS` several at a time.

use crate::lab::coverage::{ENOUGH, LEAST};
use crate::lab::judge::{run_seeds, seeds};

#[test]
fn random_scenarios_agree_with_the_kernel() {
    if !crate::lab::ready::ready() {
        return;
    }
    let _machine = crate::lab::ready::alone();
    let wanted = std::env::var("FLOWTRACE_SEEDS").unwrap_or_else(|_| "0..100".to_owned());
    let jobs = std::env::var("FLOWTRACE_JOBS").ok().and_then(|jobs| jobs.parse().ok());
    // Most of a scenario's time goes by waiting for packets that don't come.
    let jobs = jobs.unwrap_or(3);
    let wanted = seeds(&wanted).expect("FLOWTRACE_SEEDS says FROM..TO");
    let run = run_seeds(wanted.clone(), jobs, |_, _| {});
    println!("seeds {wanted:?}\n{}", run.coverage.table());
    let wrong: Vec<String> = run.wrong.iter().map(|(seed, wrong)| format!("seed {seed}: {wrong}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    if wanted.end - wanted.start >= ENOUGH {
        let rare = run.coverage.rare(LEAST);
        assert!(rare.is_empty(), "met less than {LEAST} times: {}", rare.join("; "));
    }
}

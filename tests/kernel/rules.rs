//! Random rule sets on one router, and packets of every kind through them: the kernel's way of each must be one that the
//! engine finds.
//!
//! A case is one packet through one rule set. The usual run has at least 1,500 of them, and says how many of each mode;
//! `FLOWTRACE_RULE_SEEDS=0..1300 cargo test --test kernel rules` has more than 10,000 of each.

use crate::lab::rules::case::Backend;
use crate::lab::rules::judge::run;

/// Judges the cases of a mode, of which the usual seeds have so many at least.
fn must_agree(backend: Backend, usual: &str, least: usize) {
    if !crate::lab::ready::ready() {
        return;
    }
    let chosen = std::env::var("FLOWTRACE_RULE_SEEDS").ok();
    let least = if chosen.is_some() { 0 } else { least };
    let seeds = chosen.unwrap_or_else(|| usual.to_owned());
    let seeds = crate::lab::judge::seeds(&seeds).expect("FLOWTRACE_RULE_SEEDS says FROM..TO");
    let run = run(seeds.clone(), backend, 1);
    let (packets, certain) = (run.packets, run.certain);
    println!(
        "seeds {seeds:?}, {}: {packets} cases, {certain} of them with one certain way\n{:#?}",
        backend.name(),
        run.hit
    );
    assert!(run.refused.is_empty(), "rules that the tools refuse: {}", run.refused.join("\n"));
    assert!(run.wrong.is_empty(), "{}", run.wrong.join("\n\n"));
    assert!(packets >= least, "{packets} cases, and not {least}");
    assert!(certain * 10 > packets * 7, "flowtrace knew one certain way for {certain} of {packets} packets");
}

#[test]
fn packets_pass_the_rules_of_iptables_nft_as_in_the_kernel() {
    must_agree(Backend::Nft, "0..60", 450);
}

#[test]
fn packets_pass_the_rules_of_iptables_legacy_as_in_the_kernel() {
    must_agree(Backend::Legacy, "0..30", 225);
}

#[test]
fn packets_pass_the_rules_of_nft_as_in_the_kernel() {
    must_agree(Backend::Native, "0..70", 525);
}

#[test]
fn packets_pass_the_rules_of_nft_beside_those_of_iptables_as_in_the_kernel() {
    must_agree(Backend::Mixed, "0..40", 300);
}

//! Random rule sets on one router, and packets of every kind through them: the kernel's way of each must be one that the
//! engine finds.
//!
//! `FLOWTRACE_RULE_SEEDS=0..1300 cargo test --test kernel rules` sends more than 10,000 packets.

use crate::lab::rules::case::Backend;
use crate::lab::rules::judge::run;

fn must_agree(backend: Backend, usual: &str) {
    if !crate::lab::ready::ready() {
        return;
    }
    let seeds = std::env::var("FLOWTRACE_RULE_SEEDS").unwrap_or_else(|_| usual.to_owned());
    let seeds = crate::lab::judge::seeds(&seeds).expect("FLOWTRACE_RULE_SEEDS says FROM..TO");
    let run = run(seeds.clone(), backend, 1);
    let (packets, certain) = (run.packets, run.certain);
    println!(
        "seeds {seeds:?}, {}: {packets} packets, {certain} of them with one certain way\n{:#?}",
        backend.name(),
        run.hit
    );
    assert!(run.refused.is_empty(), "rules that the tools refuse: {}", run.refused.join("\n"));
    assert!(run.wrong.is_empty(), "{}", run.wrong.join("\n\n"));
    assert!(certain * 10 > packets * 7, "flowtrace knew one certain way for {certain} of {packets} packets");
}

#[test]
fn packets_pass_the_rules_of_iptables_nft_as_in_the_kernel() {
    must_agree(Backend::Nft, "0..50");
}

#[test]
fn packets_pass_the_rules_of_iptables_legacy_as_in_the_kernel() {
    must_agree(Backend::Legacy, "0..20");
}

#[test]
fn packets_pass_the_rules_of_nft_as_in_the_kernel() {
    must_agree(Backend::Native, "0..60");
}

#[test]
fn packets_pass_the_rules_of_nft_beside_those_of_iptables_as_in_the_kernel() {
    must_agree(Backend::Mixed, "0..20");
}

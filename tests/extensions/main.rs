//! Every extension of iptables: what is taken, how it is printed, and what is refused at which place. The kernel and
//! iptables say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

mod case;
mod judge;
mod rule;

use case::{Case, Expected, cases};
use rule::{Outcome, read};

#[test]
fn every_rule_is_taken_and_printed_or_refused_at_its_place() {
    let wrong: Vec<String> = cases().iter().filter_map(disagreement).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the reading of a rule.
fn disagreement(case: &Case) -> Option<String> {
    let outcome = read(case.place, &[case.rule]).pop().expect("one rule");
    let agrees = match (&case.expected, &outcome) {
        (Expected::Printed(expected), Outcome::Printed(printed)) => expected == printed,
        (Expected::RefusedAt(column), Outcome::Refused(found, _)) => column == found,
        _ => false,
    };
    (!agrees).then(|| {
        format!("line {}: {}\n    expected {:?}\n    found    {outcome:?}", case.line, case.rule, case.expected)
    })
}

#[test]
fn what_is_printed_is_read_again_as_the_same() {
    for case in cases() {
        let Expected::Printed(printed) = &case.expected else { continue };
        assert_eq!(
            read(case.place, &[printed]).pop().unwrap(),
            Outcome::Printed((*printed).to_owned()),
            "{}",
            case.rule
        );
    }
}

#[test]
fn no_part_of_a_rule_makes_the_reader_panic() {
    for case in cases() {
        let ends = case.rule.char_indices().map(|(at, _)| at);
        let parts: Vec<&str> = ends.filter_map(|end| case.rule.get(..end)).collect();
        assert_eq!(read(case.place, &parts).len(), parts.len(), "{}", case.rule);
    }
}

#[test]
fn iptables_prints_and_refuses_the_same() {
    if judge::ready() {
        judge::judge(&cases());
    }
}

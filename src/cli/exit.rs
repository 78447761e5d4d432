//! Exit codes: part of the contract, and decided nowhere else.

use crate::trace::{Answer, Path, Trace, Verdict};

/// Everything arrives.
pub(super) const ARRIVES: u8 = 0;
/// Something does not.
pub(super) const FAILS: u8 = 1;
/// The command, the snapshot or the capture is wrong.
pub(super) const WRONG: u8 = 2;
/// Not known.
pub(super) const UNDETERMINED: u8 = 3;

/// What each says, for the manual.
pub(super) const MEANINGS: &[(u8, &str)] = &[
    (ARRIVES, "Everything arrives, and so does every reply that was asked for."),
    (FAILS, "Something does not."),
    (WRONG, "The command, the snapshot or the capture is wrong: one message on the standard error."),
    (UNDETERMINED, "The snapshot does not hold, or flowtrace does not know, what decides; the output names it."),
];

/// The code for an answer: 1 where any way fails, else 3 where any is unknown or was not walked, else 0.
pub(super) fn code(answer: &Answer) -> u8 {
    let codes: Vec<u8> = answer.paths.iter().map(path).collect();
    if codes.contains(&FAILS) {
        FAILS
    } else if codes.is_empty() || answer.unexplored.is_some() || codes.contains(&UNDETERMINED) {
        UNDETERMINED
    } else {
        ARRIVES
    }
}

fn path(path: &Path) -> u8 {
    match (trace(&path.forward), path.reply.as_ref().map(trace)) {
        (FAILS, _) | (_, Some(FAILS)) => FAILS,
        (UNDETERMINED, _) | (_, Some(UNDETERMINED)) => UNDETERMINED,
        _ => ARRIVES,
    }
}

fn trace(trace: &Trace) -> u8 {
    match trace.verdict {
        Verdict::Delivered | Verdict::Left => ARRIVES,
        Verdict::Undetermined | Verdict::Mixed => UNDETERMINED,
        Verdict::Dropped | Verdict::Rejected | Verdict::Lost | Verdict::Looped => FAILS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Ip, Packet, Transport};

    fn answer(paths: &[(Verdict, Option<Verdict>)]) -> Answer {
        let ip = Ip { source: [10, 0, 0, 1].into(), destination: [10, 0, 0, 2].into(), ttl: 64, tos: 0, df: false };
        let request = Packet::new(ip, Transport::Udp { source: Some(1), destination: Some(2) }, 60);
        let trace = |verdict| Trace { steps: Vec::new(), verdict, reason: None, beside: Vec::new() };
        let path = |&(forward, reply): &(Verdict, Option<Verdict>)| Path {
            probability: None,
            why: Vec::new(),
            forward: trace(forward),
            reply: reply.map(trace),
            error_delivered: None,
        };
        Answer { request, paths: paths.iter().map(path).collect(), unexplored: None, gaps: Vec::new() }
    }

    #[test]
    fn a_failure_weighs_more_than_ignorance_and_both_more_than_success() {
        use Verdict::{Delivered, Dropped, Left, Looped, Lost, Rejected, Undetermined};
        for (paths, wanted) in [
            (&[(Delivered, Some(Delivered))][..], ARRIVES),
            (&[(Left, Some(Delivered))], ARRIVES),
            (&[(Delivered, Some(Left))], ARRIVES),
            (&[(Delivered, None)], ARRIVES),
            (&[(Delivered, Some(Dropped))], FAILS),
            (&[(Delivered, Some(Undetermined))], UNDETERMINED),
            (&[(Rejected, Some(Delivered))], FAILS),
            (&[(Undetermined, None), (Delivered, Some(Delivered))], UNDETERMINED),
            (&[(Undetermined, None), (Lost, None)], FAILS),
            (&[(Looped, None)], FAILS),
            (&[], UNDETERMINED),
        ] {
            assert_eq!(code(&answer(paths)), wanted, "{paths:?}");
        }
        let cut = |paths| Answer { unexplored: Some(0.5), ..answer(paths) };
        assert_eq!(code(&cut(&[(Delivered, None)])), UNDETERMINED);
        assert_eq!(code(&cut(&[(Lost, None)])), FAILS);
    }
}

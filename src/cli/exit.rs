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

/// The code for an answer: 1 where any way fails, else 3 where any is unknown, else 0.
pub(super) fn code(answer: &Answer) -> u8 {
    let codes: Vec<u8> = answer.paths.iter().map(path).collect();
    if codes.contains(&FAILS) {
        FAILS
    } else if codes.is_empty() || codes.contains(&UNDETERMINED) {
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

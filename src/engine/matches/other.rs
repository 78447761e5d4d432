//! Extensions of which only the options are kept: the answer is in what no snapshot holds, or in the headers.

use crate::net::Protocol;
use crate::snapshot::Options;

use super::super::walk::Walk;
use super::Answer;

pub(super) fn ask(walk: &Walk, options: &Options) -> Answer {
    let protocol = walk.packet().protocol();
    match options.name {
        // No packet of a walk has header extensions of IPv6.
        "frag" | "rt" | "hbh" | "dst" | "srh" => Answer::No,
        "mh" => of_header(protocol == Protocol(135), options),
        "ah" => of_header(protocol == Protocol(51), options),
        "esp" => of_header(protocol == Protocol(50), options),
        "ipcomp" => of_header(protocol == Protocol(108), options),
        _ => Answer::unknowable(format!("`-m {options}` matches, which no snapshot tells")),
    }
}

/// What asks for fields of a header that no question gives: the header alone is known.
fn of_header(there: bool, options: &Options) -> Answer {
    if there && !options.list.is_empty() {
        return Answer::unknowable(format!("the header is what `-m {options}` asks for"));
    }
    Answer::from(there)
}

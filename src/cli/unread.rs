//! What of the snapshot could not be read where an answer depends on it.

use std::collections::BTreeSet;

use crate::evidence::Gap;
use crate::snapshot::{Netns, Snapshot};
use crate::trace::{Answer, Trace};

/// The gaps that loading left in the folders that the packet went through, and in the cluster's objects.
pub(super) fn on_the_way(snapshot: &Snapshot, answer: &Answer) -> Vec<Gap> {
    let traces = answer.paths.iter().flat_map(|path| [Some(&path.forward), path.reply.as_ref()]).flatten();
    let places = traces.flat_map(|trace: &Trace| &trace.steps).map(|step| step.place.netns);
    let places: BTreeSet<_> = places.map(|netns| netns.0).collect();
    let passed = |text: &str| {
        let named = |netns: &Netns| text.contains(&format!("{}/", netns.dir));
        let mut owners = snapshot.namespaces.iter().zip(0..).filter(|(netns, _)| named(netns)).peekable();
        // What belongs to no namespace that was read may be one that the packet should have gone through.
        !text.contains("nodes/") || owners.peek().is_none() || owners.any(|(_, place)| places.contains(&place))
    };
    let concerns = |gap: &&Gap| match gap.evidence.first() {
        Some(first) => passed(snapshot.files.path(*first)),
        None => passed(&gap.what),
    };
    // The walk says it in words of its own where it met the gap.
    let subject = |gap: &Gap| gap.what.split(':').next().map(str::to_owned);
    let told = |gap: &Gap, known: &Gap| {
        gap.what.ends_with(&known.what) || (gap.evidence.is_empty() && subject(gap) == subject(known))
    };
    let new = |gap: &&Gap| !answer.gaps.iter().any(|known| told(gap, known));
    snapshot.gaps.iter().filter(concerns).filter(new).cloned().collect()
}

/// Why a name may be missing from a file: the file's first place that could not be read. Empty where it was read whole.
pub(super) fn of_file(snapshot: &Snapshot, file: &str) -> String {
    first_of(snapshot, &snapshot.gaps, file)
}

/// The same of some gaps.
pub(super) fn first_of(snapshot: &Snapshot, gaps: &[Gap], file: &str) -> String {
    let place = |gap: &Gap| gap.evidence.iter().copied().find(|row| snapshot.files.path(*row) == file);
    let found = gaps.iter().find_map(|gap| Some((gap, place(gap)?)));
    found.map_or(String::new(), |(gap, row)| format!("; {file}:{} could not be read whole: {}", row.line, gap.what))
}

//! Bridge ports: `bridge -d link show`.

use crate::evidence::{FileId, Gap};
use crate::snapshot::Link;

/// Reads the text form. Each row is a device of kind [`Plain`](crate::snapshot::LinkKind::Plain) with its `port`.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Link> {
    let _ = (file, text);
    gaps.push(Gap::new("`bridge -d link show` is not read yet", vec![]));
    Vec::new()
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Link>, Vec<String>) {
    (parse(file, text, gaps), Vec::new())
}

//! Nexthop objects: `ip nexthop show`.

use crate::evidence::{FileId, Gap};
use crate::snapshot::NextHopObject;

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<NextHopObject> {
    let _ = (file, text);
    gaps.push(Gap::new("`ip nexthop show` is not read yet", vec![]));
    Vec::new()
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<NextHopObject>, Vec<String>) {
    (parse(file, text, gaps), Vec::new())
}

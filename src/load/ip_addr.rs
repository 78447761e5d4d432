//! Addresses: `ip addr show`.

use crate::evidence::{FileId, Gap};
use crate::snapshot::Addr;

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Addr> {
    let _ = (file, text);
    gaps.push(Gap::new("`ip addr show` is not read yet", vec![]));
    Vec::new()
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Addr>, Vec<String>) {
    (parse(file, text, gaps), Vec::new())
}

//! Policy rules: `ip rule show` and `ip -6 rule show`.

use crate::evidence::{FileId, Gap};
use crate::net::Family;
use crate::snapshot::PolicyRule;

/// Reads the text form. The rows don't say which family they are for: the file does.
#[must_use]
pub fn parse(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> Vec<PolicyRule> {
    let _ = (file, text, family);
    gaps.push(Gap::new("`ip rule show` is not read yet", vec![]));
    Vec::new()
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> (Vec<PolicyRule>, Vec<String>) {
    (parse(file, text, family, gaps), Vec::new())
}

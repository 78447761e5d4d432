//! VLANs of bridge ports: `bridge vlan show`.

use crate::evidence::{FileId, Gap};
use crate::snapshot::BridgeVlan;

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<BridgeVlan> {
    let _ = (file, text);
    gaps.push(Gap::new("`bridge vlan show` is not read yet", vec![]));
    Vec::new()
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<BridgeVlan>, Vec<String>) {
    (parse(file, text, gaps), Vec::new())
}

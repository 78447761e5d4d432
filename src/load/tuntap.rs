//! TUN and TAP devices: `ip -d tuntap show`.

use crate::evidence::{FileId, Gap};
use crate::snapshot::Tun;

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Tun> {
    let _ = (file, text);
    gaps.push(Gap::new("`ip -d tuntap show` is not read yet", vec![]));
    Vec::new()
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Tun>, Vec<String>) {
    (parse(file, text, gaps), Vec::new())
}

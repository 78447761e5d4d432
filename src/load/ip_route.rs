//! Routes: `ip -d route show table all` and its shorter forms.

use crate::evidence::{FileId, Gap};
use crate::net::Family;
use crate::snapshot::Route;

/// What a file of routes holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFile {
    /// Every row, of both families: `ip route show table all` prints IPv6 routes too.
    pub rows: Vec<Route>,
    /// Whether a table other than `main` is named, so that the file is that of `table all`.
    pub all_tables: bool,
}

/// Reads the text form. `family` is what a `default` is of that nothing else on its row tells.
#[must_use]
pub fn parse(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> RouteFile {
    let _ = (file, text, family);
    gaps.push(Gap::new("`ip route show` is not read yet", vec![]));
    RouteFile::default()
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> (RouteFile, Vec<String>) {
    (parse(file, text, family, gaps), Vec::new())
}

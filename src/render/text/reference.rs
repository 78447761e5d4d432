//! Evidence as `file:line`.

use crate::evidence::{Evidence, Files};

use super::Style;

/// The places of the lines, one entry a file: the path without `nodes/`, and the numbers joined by commas.
pub(in crate::render) fn references(lines: &[Evidence], style: Style, files: &Files) -> Vec<String> {
    let mut by_file: Vec<(&str, Vec<String>)> = Vec::new();
    for &line in lines {
        let path = files.path(line);
        let place = match line.index {
            Some(index) => format!("{}[{index}]", line.line),
            None => line.line.to_string(),
        };
        match by_file.iter_mut().find(|(known, _)| *known == path) {
            Some((_, places)) if places.contains(&place) => {}
            Some((_, places)) => places.push(place),
            None => by_file.push((path, vec![place])),
        }
    }
    by_file.into_iter().map(|(path, places)| format!("{}:{}", short_path(path, style), places.join(","))).collect()
}

/// A file's path without the folder that all of them are in.
fn short_path(path: &str, style: Style) -> String {
    style.clean(path.strip_prefix("nodes/").unwrap_or(path))
}

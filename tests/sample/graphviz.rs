//! Graphviz as a judge of what `-o dot` prints.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Whether Graphviz is there. It fails the test where it is and doesn't like the graph.
pub fn draws(graph: &str) -> bool {
    let mut dot = Command::new("dot");
    let dot = dot.arg("-Tsvg").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = dot.spawn() else { return false };
    child.stdin.take().unwrap().write_all(graph.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !complaint.contains("rror"), "{complaint}\n{graph}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("</svg>"));
    true
}

/// Says aloud, and in the file that CI looks at, that a test could not run.
pub fn skip(test: &str) {
    let what = format!("{test}: `dot` of Graphviz is not installed");
    eprintln!("SKIPPED {what}");
    if let Some(path) = std::env::var_os("FLOWTRACE_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{what}").unwrap();
    }
}

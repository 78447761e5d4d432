//! Holds the layers of the crate (the table in `src/lib.rs`) against what the source files use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules with their layer. A module uses only modules of lower layers, and itself.
const LAYERS: &[(&str, u8)] = &[
    ("net", 0),
    ("evidence", 0),
    ("snapshot", 1),
    ("trace", 1),
    ("wire", 1),
    ("unpack", 1),
    ("load", 2),
    ("capture", 2),
    ("engine", 2),
    ("diagnose", 3),
    ("correlate", 3),
    ("retrace", 3),
    ("render", 4),
    ("collect", 5),
    ("cli", 6),
    ("main", 7),
];

/// Layer 0 has no layer beneath it, so what it may use of itself is said by name.
const WITHIN: &[(&str, &str)] = &[("evidence", "net")];

/// Beside all layers.
const EVERYWHERE: &[&str] = &["error", "pages", "signals"];

/// What a view sees.
const RENDER_SEES: &[&str] = &["net", "evidence", "trace", "wire", "correlate"];

/// Modules that touch files, the environment, the clock or the terminal.
const IMPURE: &[&str] = &["cli", "main", "collect", "capture", "signals"];

/// What a pure module does not contain.
const IMPURITIES: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
    "std::os",
    "fs::read",
    "File::open",
    "env::var",
    "SystemTime",
    "Instant::now",
    "TcpStream",
    "UdpSocket",
    "io::stdin",
    "io::stdout",
    "io::stderr",
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "dbg!",
];

/// A source file without comments, texts and tests.
struct Source {
    path: String,
    /// The modules from the crate's root down to the file.
    modules: Vec<String>,
    code: String,
}

impl Source {
    fn top(&self) -> &str {
        self.modules.first().map_or("lib", String::as_str)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    list(&root, &mut files);
    assert!(files.len() > 20, "the sources are not where they should be");
    files.iter().map(|file| source(&root, file)).collect()
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The build script is no part of the program.
        if path.ends_with("src/build") {
            continue;
        }
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn source(root: &Path, file: &Path) -> Source {
    let path = file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    let mut modules: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(modules.last().map(String::as_str), Some("mod" | "lib")) {
        modules.pop();
    }
    let text = fs::read_to_string(file).unwrap();
    Source { path, modules, code: without_tests(&strip(&text)) }
}

/// Takes out what stands behind `#[cfg(test)]`: one item, to its `;` or its closing brace. Texts are out already.
fn without_tests(code: &str) -> String {
    let mut parts = code.split("#[cfg(test)]");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + after_item(part))
}

/// What follows the first item of a text.
fn after_item(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, '}' | ';') {
            return &text[at + 1..];
        }
    }
    ""
}

/// Takes comments and the insides of string literals out.
fn strip(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let next = &rest[c.len_utf8()..];
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            rest = raw.split_once("\"#").map_or("", |(_, after)| after);
        } else if c == '\'' && next.starts_with(['{', '}']) && next[1..].starts_with('\'') {
            // A brace that is a character opens and closes nothing.
            rest = &next[2..];
        } else if c == '\'' && next.starts_with(['"', '\\']) {
            rest = next.get(1..).and_then(|next| next.split_once('\'')).map_or("", |(_, after)| after);
        } else if c == '"' {
            rest = after_literal(next);
        } else {
            out.push(c);
            rest = next;
        }
    }
    out
}

fn after_literal(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return &text[at + 1..],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

/// The top modules that a file names, by `crate::…` or by `super::…` that leads up to the root.
fn uses(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        let before = source.code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            found.extend(heads(&source.code[at + "crate::".len()..]));
        }
    }
    let up = "super::".repeat(source.modules.len());
    if !source.modules.is_empty() {
        for (at, _) in source.code.match_indices(&up) {
            let before = &source.code[..at];
            if !before.ends_with("super::") {
                found.extend(heads(&source.code[at + up.len()..]));
            }
        }
    }
    found
}

/// The first name of a path, or of each path of a `{…}` group.
fn heads(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        return vec![name];
    };
    let mut names = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            c if depth == 0 && !c.is_whitespace() => names.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    names.iter().map(|name| name.split("::").next().unwrap().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

#[test]
fn a_module_uses_only_layers_beneath_it() {
    let mut wrong = Vec::new();
    for source in sources() {
        let top = source.top().to_owned();
        if top == "lib" {
            continue;
        }
        let used = uses(&source);
        let known = layer(&top);
        for name in used {
            let within = WITHIN.contains(&(top.as_str(), name.as_str()));
            if name == top || EVERYWHERE.contains(&name.as_str()) || within {
                continue;
            }
            let Some(beneath) = layer(&name) else {
                wrong.push(format!("{} uses {name}, which is in no layer", source.path));
                continue;
            };
            // `error` stands beside the layers because it uses none.
            if known.is_none_or(|layer| beneath >= layer) {
                wrong.push(format!("{} uses {name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_a_layer() {
    for source in sources() {
        let top = source.top();
        assert!(
            top == "lib" || EVERYWHERE.contains(&top) || layer(top).is_some(),
            "{} is in no layer of the table",
            source.path
        );
    }
}

#[test]
fn a_view_sees_neither_snapshot_nor_walk() {
    for source in sources().iter().filter(|source| source.top() == "render") {
        for name in uses(source) {
            assert!(name == "render" || RENDER_SEES.contains(&name.as_str()), "{} uses {name}", source.path);
        }
    }
}

#[test]
fn only_the_shell_and_the_loader_touch_the_world() {
    let mut wrong = Vec::new();
    for source in sources() {
        if IMPURE.contains(&source.top()) || source.path == "load/mod.rs" {
            continue;
        }
        let found = IMPURITIES.iter().filter(|word| contains(&source.code, word));
        wrong.extend(found.map(|word| format!("{}: {word}", source.path)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a word stands in the code, not as the end of a longer one.
fn contains(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn only_the_shell_picks_an_exit_code() {
    for source in sources() {
        let picks = ["ExitCode", "process::exit"].iter().any(|word| source.code.contains(word));
        assert!(!picks || matches!(source.top(), "cli" | "main"), "{} picks an exit code", source.path);
    }
}

#[test]
fn the_walk_knows_no_kubernetes_and_no_flannel() {
    for source in sources().iter().filter(|source| source.top() == "engine") {
        let code = source.code.to_ascii_lowercase();
        for word in ["kube", "flannel", "calico", "k3s"] {
            assert!(!code.contains(word), "{} says {word:?}", source.path);
        }
    }
}

#[test]
fn tables_are_neither_parsed_nor_printed_by_themselves() {
    for source in sources().iter().filter(|source| source.top() == "snapshot") {
        for word in ["Serialize", "serde", "FromStr"] {
            assert!(!source.code.contains(word), "{} says {word:?}", source.path);
        }
    }
}

#[test]
fn the_checks_see_what_they_are_for() {
    let code = "use crate::{net::{A, B}, snapshot::C};\n// crate::cli\nlet x = \"crate::load\"; crate::engine::y(); super::super::trace::Z";
    let source =
        Source { path: "render/x.rs".to_owned(), modules: vec!["render".into(), "x".into()], code: strip(code) };
    assert_eq!(uses(&source), ["net", "snapshot", "engine", "trace"]);
    let tested = "a;\n#[cfg(test)]\nmod check;\nuse b;\n#[cfg(test)]\nmod tests { fn c() { d('{'); } }\nuse e;";
    assert_eq!(without_tests(&strip(tested)), "a;\n\nuse b;\n\nuse e;");
    assert!(sources().iter().any(|source| source.path == "load/mod.rs" && source.code.contains("fs::read")));
    assert!(contains("  println!(x)", "println!"));
    assert!(!contains("eprintln!(x)", "println!"));
}

//! iptables itself, in a namespace of its own.

use std::io::Write;
use std::process::{Command, Stdio};

use flowtrace::net::Family;

use crate::case::{Case, Expected};
use crate::rule::Place;

/// Whether iptables can run here; says loudly what is missing otherwise.
pub fn ready() -> bool {
    let loads = |tool: &str| call(tool, "*filter\nCOMMIT\n").is_ok();
    if loads("iptables-nft") && loads("iptables-legacy") && is_known_version() {
        return true;
    }
    let why = "iptables 1.8.9 with both backends, root and network namespaces are needed";
    eprintln!("SKIPPED: {why}");
    if let Some(file) = std::env::var_os("FLOWTRACE_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).expect("FLOWTRACE_SKIPS opens");
        writeln!(file, "iptables_prints_and_refuses_the_same: {why}").expect("FLOWTRACE_SKIPS can be written");
    }
    false
}

/// Other versions print some rules in another form.
fn is_known_version() -> bool {
    let output = Command::new("iptables").arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).starts_with("iptables v1.8.9"))
}

/// Loads rules into a new namespace, and gives what is then printed, or why they were not loaded.
fn call(tool: &str, rules: &str) -> Result<String, String> {
    let script = format!("{tool}-restore && {tool}-save");
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(rules.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() && written.is_some_and(|written| written.is_ok()) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Asks both backends about every rule.
pub fn judge(cases: &[Case]) {
    let mut wrong = Vec::new();
    let mut judged = 0;
    for backend in ["legacy", "nft"] {
        for case in cases.iter().filter(|case| backend == "legacy" || !case.legacy_only) {
            match asked(case, backend) {
                Some(Ok(())) => judged += 1,
                Some(Err(why)) => wrong.push(format!("line {}, {backend}: {}\n    {why}", case.line, case.rule)),
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What a kernel was built without can't be judged.
    assert!(judged > cases.len(), "only {judged} of {} answers could be judged", 2 * cases.len());
}

/// One backend's answer; none where the kernel lacks the extension.
fn asked(case: &Case, backend: &str) -> Option<Result<(), String>> {
    let Place { family, table, chain } = case.place;
    let tool = format!("{}-{backend}", if family == Family::Inet { "iptables" } else { "ip6tables" });
    let rules = format!("*{table}\n:USER - [0:0]\n-A {chain} {}\nCOMMIT\n", case.rule);
    match (&case.expected, call(&tool, &rules)) {
        (Expected::Printed(expected), Ok(saved)) => {
            let start = format!("-A {chain}");
            let printed = saved.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("nothing").trim();
            Some(if printed == *expected { Ok(()) } else { Err(format!("is printed as {printed}")) })
        }
        (Expected::RefusedAt(_), Err(_)) => Some(Ok(())),
        (Expected::RefusedAt(_), Ok(_)) => Some(Err("is taken".to_owned())),
        (Expected::Printed(_), Err(why)) => {
            let absent = ["No such file", "missing kernel module", "not supported", "No chain/target/match"];
            let absent = absent.iter().any(|known| why.contains(known)) || why.contains("RULE_APPEND failed");
            if absent { None } else { Some(Err(format!("is refused: {why}"))) }
        }
    }
}

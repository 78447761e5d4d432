//! Whether the lab can run here.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::netns::Netns;

/// What the lab calls.
const TOOLS: &[&str] = &[
    "ip",
    "bridge",
    "iptables-nft-restore",
    "iptables-nft-save",
    "ip6tables-nft-restore",
    "ip6tables-nft-save",
    "iptables-legacy-restore",
    "nft",
    "ipset",
    "conntrack",
    "unshare",
    "python3",
];

/// Whether there is root, a kernel with namespaces, and every tool; says loudly what is missing otherwise.
pub fn ready() -> bool {
    static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
    let Some(why) = WHY_NOT.get_or_init(why_not) else { return true };
    skip(why);
    false
}

/// Says loudly that a test can't run, and why.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    if let Some(file) = std::env::var_os("FLOWTRACE_SKIPS") {
        let name = std::thread::current().name().unwrap_or("a kernel test").to_owned();
        let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{name}: {why}")) {
            panic!("SKIPPED ({why}), and FLOWTRACE_SKIPS can't be written: {error}");
        }
    }
}

static MACHINE: RwLock<()> = RwLock::new(());

/// The machine for a test that keeps all of it busy: packets on which others wait would come late.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// The machine for a test that runs beside others of its kind.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

fn why_not() -> Option<String> {
    let absent = |tool: &&&str| {
        let call = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).stdout(Stdio::null()).status();
        !call.is_ok_and(|status| status.success())
    };
    let absent: Vec<&str> = TOOLS.iter().filter(absent).copied().collect();
    if !absent.is_empty() {
        return Some(format!("the kernel lab needs {}", absent.join(", ")));
    }
    Netns::new("test").err().map(|error| format!("the kernel lab needs root and network namespaces: {error}"))
}

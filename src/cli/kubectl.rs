//! kubectl's plugin rule: `kubectl flowtrace ...` runs a program called `kubectl-flowtrace` with what follows, and asks
//! `kubectl_complete-flowtrace` for completions. Both are this program, by other names.

mod complete;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::LazyLock;

use clap::{Arg, Command};

pub(super) use complete::complete;

/// What this program is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// By its own name.
    Flowtrace,
    /// By kubectl.
    Plugin,
    /// By kubectl, for completions.
    Completion,
}

/// The words behind which a name is a call of the program.
const CALLS: [&str; 12] = [
    "explain ",
    "decode ",
    "correlate ",
    "collect ",
    "capture ",
    "rules ",
    "schema ",
    "check ",
    "cleanup",
    "completions ",
    "man ",
    "[OPTIONS]",
];

/// What the program was called.
pub(super) fn called() -> Called {
    static CALLED: LazyLock<Called> = LazyLock::new(|| of_name(std::env::args_os().next().as_deref()));
    *CALLED
}

fn of_name(name: Option<&OsStr>) -> Called {
    let name = name.and_then(|name| Path::new(name).file_stem()).unwrap_or_default();
    match name.to_str() {
        Some("kubectl-flowtrace") => Called::Plugin,
        Some("kubectl_complete-flowtrace") => Called::Completion,
        _ => Called::Flowtrace,
    }
}

/// The name that people type.
pub(super) fn name() -> &'static str {
    if called() == Called::Flowtrace { "flowtrace" } else { "kubectl flowtrace" }
}

/// A text with the name that people type.
pub(in crate::cli) fn spoken(text: &str) -> String {
    if called() == Called::Flowtrace { text.to_owned() } else { as_plugin(text) }
}

fn as_plugin(text: &str) -> String {
    let mut parts = text.split("flowtrace ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| {
        let is_call = CALLS.iter().any(|call| part.starts_with(call));
        told + if is_call { "kubectl flowtrace " } else { "flowtrace " } + part
    })
}

/// Puts flags that stand before the command behind it, as in `kubectl flowtrace -n shop explain a b`.
pub(super) fn in_order(args: Vec<OsString>, commands: &Command) -> Vec<OsString> {
    let mut args = args.into_iter();
    let program: Vec<OsString> = args.next().into_iter().collect();
    let (mut flags, mut rest) = (Vec::new(), Vec::new());
    while let Some(word) = args.next() {
        match word.to_str() {
            Some("--help" | "-h" | "--version" | "-V") => rest.push(word),
            Some(text) if text.starts_with('-') && rest.is_empty() => {
                let has_value = takes_value(commands, text);
                flags.push(word);
                flags.extend(has_value.then(|| args.next()).flatten());
            }
            _ => {
                rest.push(word);
                rest.extend(args.by_ref());
            }
        }
    }
    let at = rest.len().min(1);
    let behind = rest.split_off(at);
    [program, rest, flags, behind].concat()
}

/// Whether the word behind a flag is its value. `-nshop` and `--namespace=shop` have it in them, and what no command
/// knows has none.
fn takes_value(commands: &Command, flag: &str) -> bool {
    let is_it = |arg: &&Arg| {
        let long = arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long));
        let short = arg.get_short().is_some_and(|short| flag.strip_prefix('-') == Some(short.to_string().as_str()));
        long || short
    };
    let mut found = commands.get_subcommands().flat_map(|command| command.get_arguments().filter(is_it));
    found.any(complete::takes_value)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::args::Typed;
    use super::*;

    #[test]
    fn the_name_tells_who_calls() {
        let of = |name: &str| of_name(Some(OsStr::new(name)));
        assert_eq!(of("/usr/bin/kubectl-flowtrace"), Called::Plugin);
        assert_eq!(of("kubectl_complete-flowtrace"), Called::Completion);
        assert_eq!(of("./flowtrace"), Called::Flowtrace);
        assert_eq!(of_name(None), Called::Flowtrace);
    }

    #[test]
    fn only_calls_get_kubectls_name() {
        let text = "flowtrace explain a b\nflowtrace does not know; flowtrace [OPTIONS]; flowtrace-json(5)";
        let spoken =
            "kubectl flowtrace explain a b\nflowtrace does not know; kubectl flowtrace [OPTIONS]; flowtrace-json(5)";
        assert_eq!(as_plugin(text), spoken);
    }

    #[test]
    fn flags_before_the_command_stand_behind_it() {
        let order = |line: &str| {
            let words = in_order(line.split(' ').map(OsString::from).collect(), &Typed::command());
            words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order("k -n shop explain a b -v"), "k explain -n shop a b -v");
        assert_eq!(order("k --context=x explain a -n y"), "k explain --context=x a -n y");
        assert_eq!(order("k -nshop explain a b"), "k explain -nshop a b");
        assert_eq!(order("k explain a b"), "k explain a b");
        assert_eq!(order("k --demo explain a b"), "k explain --demo a b");
        assert_eq!(order("k --insecure-skip-tls-verify -4 explain a b"), "k explain --insecure-skip-tls-verify -4 a b");
        assert_eq!(
            order("k --as-uid 7 --match-server-version rules n1"),
            "k rules --as-uid 7 --match-server-version n1"
        );
        assert_eq!(order("k --nonsense explain a b"), "k explain --nonsense a b");
        assert_eq!(order("k --help"), "k --help");
        assert_eq!(order("k"), "k");
    }
}

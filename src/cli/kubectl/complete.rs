//! `kubectl_complete-flowtrace`: kubectl hands over the words that were typed, the last of them unfinished, and wants a
//! candidate a line (with its meaning behind a tab), and at the end what to do with them, as cobra's `__complete` says it.

use clap::{Arg, ArgAction, Command};

/// Only the candidates.
const NO_FILES: u8 = 4;
/// Files, where there is no candidate.
const FILES: u8 = 0;

/// What is printed for words.
pub(in super::super) fn complete(program: &Command, words: &[String]) -> String {
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let (mut candidates, directive) = candidates(program, before, last);
    candidates.retain(|(name, _)| name.starts_with(last));
    let line = |(name, meaning): &(String, String)| match meaning.as_str() {
        "" => format!("{name}\n"),
        meaning => format!("{name}\t{meaning}\n"),
    };
    candidates.iter().map(line).collect::<String>() + &format!(":{directive}\n")
}

/// What may stand there.
fn candidates(program: &Command, before: &[String], last: &str) -> (Vec<(String, String)>, u8) {
    let command = before.iter().find_map(|word| program.find_subcommand(word)).filter(|command| !command.is_hide_set());
    let Some(command) = command else {
        let shown = program.get_subcommands().filter(|command| !command.is_hide_set());
        return (shown.map(|command| named(command.get_name(), command.get_about())).collect(), NO_FILES);
    };
    let option = |word: &str| {
        let long = |arg: &&Arg| arg.get_long().is_some_and(|long| word == format!("--{long}"));
        let short = |arg: &&Arg| arg.get_short().is_some_and(|short| word == format!("-{short}"));
        command.get_arguments().find(|arg| long(arg) || short(arg))
    };
    if let Some(arg) = before.last().and_then(|word| option(word)).filter(|arg| takes_value(arg)) {
        return values(arg, "");
    }
    if let Some((arg, start)) = last.split_once('=').and_then(|(word, _)| Some((option(word)?, word))) {
        return values(arg, &format!("{start}="));
    }
    if last.starts_with('-') {
        let options = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let long = options.filter_map(|arg| Some(named(&format!("--{}", arg.get_long()?), arg.get_help())));
        return (long.collect(), NO_FILES);
    }
    let positional = command.get_positionals().next();
    positional.map_or((Vec::new(), FILES), |arg| values(arg, ""))
}

pub(super) fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// The values of an option; files, where it has none of its own.
fn values(arg: &Arg, start: &str) -> (Vec<(String, String)>, u8) {
    let values = arg.get_possible_values();
    let shown = values.iter().filter(|value| !value.is_hide_set());
    let named = shown.map(|value| named(&format!("{start}{}", value.get_name()), value.get_help()));
    let directive = if values.is_empty() { FILES } else { NO_FILES };
    (named.collect(), directive)
}

/// A name and the first line of its meaning.
fn named(name: &str, meaning: Option<&clap::builder::StyledStr>) -> (String, String) {
    let meaning = meaning.map(ToString::to_string).unwrap_or_default();
    (name.to_owned(), meaning.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::super::args::Typed;
    use super::*;

    fn completed(line: &str) -> String {
        complete(&Typed::command(), &line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn commands_options_and_values_are_completed() {
        assert_eq!(completed("expl"), "explain\tRebuild the path of one packet, hop by hop, there and back\n:4\n");
        assert!(completed("").contains("cleanup\t") && !completed("").contains("check"));
        assert!(completed("explain --no").contains("--no-reply\tLeave the reply out\n"));
        assert!(completed("explain --proto ").contains("udp\n") && completed("explain --proto ").ends_with(":4\n"));
        assert_eq!(completed("explain --proto=ud"), "--proto=udp\n:4\n");
        assert_eq!(completed("explain --snapshot ca"), ":0\n");
        assert!(completed("completions ").contains("fish\n"));
        assert_eq!(completed("explain nothing-"), ":0\n");
    }
}

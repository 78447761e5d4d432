//! `flowtrace completions` and `flowtrace man`: what packagers install beside the program.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{Completions, Manual, Typed};
use super::{Outcome, exit};
use crate::error::Error;

/// The pages that are written by hand.
const BY_HAND: [(&str, &str); 2] = [
    ("flowtrace-snapshot.5", include_str!("../../man/flowtrace-snapshot.5")),
    ("flowtrace-json.5", include_str!("../../man/flowtrace-json.5")),
];

/// What introduces the examples of a help text.
const EXAMPLES: &str = "Examples:";

/// Prints the completions of a shell.
pub(super) fn completions(typed: &Completions) -> Outcome {
    let mut output = Vec::new();
    clap_complete::generate(typed.shell, &mut Typed::command(), "flowtrace", &mut output);
    Outcome { output, file: typed.written.file().map(Path::to_owned), code: exit::ARRIVES }
}

/// Writes the manual pages into a folder, which is made where it is missing.
pub(super) fn man(typed: &Manual) -> Result<Outcome, Error> {
    let wrong = |path: &Path, err: &io::Error| Error::Usage(format!("{}: {err}", path.display()));
    fs::create_dir_all(&typed.dir).map_err(|err| wrong(&typed.dir, &err))?;
    for (name, page) in pages().map_err(|err| Error::Usage(err.to_string()))? {
        let path = typed.dir.join(name);
        fs::write(&path, page).map_err(|err| wrong(&path, &err))?;
    }
    Ok(Outcome { output: Vec::new(), file: None, code: exit::ARRIVES })
}

/// Every page: of the program, of each command, and those of the file formats.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = Typed::command();
    program.build();
    let mut pages = vec![("flowtrace.1".to_owned(), page(&program, None)?)];
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        pages.push((format!("flowtrace-{name}.1"), page(command, Some(name))?));
    }
    pages.extend(BY_HAND.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
    Ok(pages)
}

/// The page of the program or of one command.
fn page(command: &clap::Command, name: Option<&str>) -> io::Result<Vec<u8>> {
    let title = name.map_or("flowtrace".to_owned(), |name| format!("flowtrace-{name}"));
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // mangen calls a command by its last word, and would put the help's end into a section `EXTRA`.
    let command = command.clone().display_name(title.clone()).after_help("");
    let man =
        Man::new(command).title(title).manual("flowtrace").source(concat!("flowtrace ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if name.is_none() {
        man.render_subcommands_section(&mut page)?;
    }
    closing(&help, name).to_writer(&mut page)?;
    Ok(page)
}

/// What the help text says at its end, and what to read next.
fn closing(help: &str, name: Option<&str>) -> Roff {
    let mut roff = Roff::new();
    let (notes, examples) = help.split_once(EXAMPLES).unwrap_or((help, ""));
    let notes = notes.split("\n\n").map(str::trim).filter(|text| !text.is_empty());
    for (at, text) in notes.enumerate() {
        roff.control(if at == 0 { "SH" } else { "PP" }, (at == 0).then_some("NOTES"));
        text.lines().for_each(|line| _ = roff.text([roman(line)]));
    }
    if !examples.trim().is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        examples.lines().filter(|line| !line.is_empty()).for_each(|line| _ = roff.text([roman(line)]));
        roff.control("fi", []);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in exit::MEANINGS {
        roff.control("TP", []);
        roff.text([bold(code.to_string())]);
        roff.text([roman(*meaning)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let program = name.map(|_| "flowtrace(1), ").unwrap_or_default();
    roff.text([roman(format!("{program}flowtrace-snapshot(5), flowtrace-json(5)"))]);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_that_is_shown_has_a_page_that_names_its_options() {
        let pages = pages().unwrap();
        let text = |name: &str| {
            let (_, page) = pages.iter().find(|(page, _)| page == name).unwrap();
            String::from_utf8(page.clone()).unwrap()
        };
        for command in Typed::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = text(&format!("flowtrace-{}.1", command.get_name()));
            let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
            for long in shown.filter_map(clap::Arg::get_long) {
                assert!(
                    page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))),
                    "{}: {long}",
                    command.get_name()
                );
            }
            assert!(page.contains(".SH \"EXIT STATUS\""), "{page}");
        }
        assert!(text("flowtrace-explain.1").contains(".SH EXAMPLES"));
    }
}

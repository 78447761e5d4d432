//! What is inside the packet.

use crate::snapshot::{Match, Options, Span, Test};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{one_of, saved, span, word};
use super::super::value::range;

pub(super) static STRING: Extension<Match> = Extension::new(
    "string",
    &[
        Opt::value("--string", "a text of 128 bytes at most").not().excludes(&["--hex-string"]),
        Opt::value("--hex-string", "a text of 128 bytes at most, with |hexadecimal| parts")
            .not()
            .excludes(&["--string"]),
        Opt::value("--algo", "bm or kmp").must(),
        Opt::value("--from", "a number of 16 bits"),
        Opt::value("--to", "a number of 16 bits"),
        Opt::flag("--icase"),
    ],
    string,
);

/// The longest pattern (`XT_STRING_MAX_PATTERN_SIZE`).
const LONGEST: usize = 128;

fn string(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--string", "--hex-string"])?;
    let short = |pattern: Vec<u8>| (pattern.len() <= LONGEST).then_some(pattern);
    let plain = given.test("--string", |text| short(text.as_bytes().to_vec()))?;
    let hex = given.test("--hex-string", |text| hex_pattern(text).and_then(short))?;
    let Some(Test { value: pattern, invert }) = plain.or(hex) else {
        return Err(given.refuse_all("string needs a pattern"));
    };
    let mut list = vec![printed_pattern(&pattern, invert)];
    list.push(saved("--algo", false, given.must("--algo", |text| one_of(text, &["bm", "kmp"]))?));
    let offset = |text: &str| u16::try_from(name::number(text)?).ok();
    let (from, to) = (given.value("--from", offset)?, given.value("--to", offset)?);
    list.extend(from.filter(|from| *from != 0).map(|from| saved("--from", false, from)));
    list.extend(to.filter(|to| *to != u16::MAX).map(|to| saved("--to", false, to)));
    list.extend(given.has("--icase").then(|| saved("--icase", false, "")));
    Ok(Match::from(Options { name: "string", list: list.into() }))
}

/// A pattern is printed in hexadecimal where it has anything but printable characters, or ends in a blank.
fn printed_pattern(pattern: &[u8], invert: bool) -> crate::snapshot::SavedOption {
    let plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let hex = !pattern.iter().all(plain) || pattern.last() == Some(&b' ');
    let mut text = String::from("\"");
    if hex {
        text.push('|');
        text.extend(pattern.iter().map(|byte| format!("{byte:02x}")));
        text.push('|');
    } else {
        for byte in pattern {
            text.push_str(if matches!(byte, b'"' | b'\\') { "\\" } else { "" });
            text.push(char::from(*byte));
        }
    }
    text.push('"');
    saved(if hex { "--hex-string" } else { "--string" }, invert, text)
}

/// Text with parts in hexadecimal between bars.
fn hex_pattern(text: &str) -> Option<Vec<u8>> {
    let mut pattern = Vec::new();
    let mut bytes = text.bytes().peekable();
    let mut hex = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'|' => hex = !hex,
            b' ' if hex => {}
            _ if hex => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(byte)? * 16 + digit(bytes.next()?)?;
                pattern.push(u8::try_from(value).ok()?);
            }
            b'\\' => pattern.push(bytes.next()?),
            _ => pattern.push(byte),
        }
    }
    (!hex && !pattern.is_empty()).then_some(pattern)
}

pub(super) static BPF: Extension<Match> = Extension::new(
    "bpf",
    &[
        Opt::value("--bytecode", "a program's length and its instructions, with commas between them")
            .excludes(&["--object-pinned"])
            .prints(|text, _| program(text)),
        Opt::value("--object-pinned", "a path").excludes(&["--bytecode"]).prints(word),
    ],
    |given| {
        given.some_of(&["--bytecode", "--object-pinned"])?;
        given.options().map(Match::from)
    },
);

/// `LENGTH,CODE JT JF K,…`, of 64 instructions at most (`XT_BPF_MAX_NUM_INSTR`).
fn program(text: &str) -> Option<String> {
    let (length, instructions) = text.split_once(',')?;
    let length: usize = length.trim().parse().ok().filter(|length| (1..=64).contains(length))?;
    let instruction = |text: &str| {
        let mut words = text.split_ascii_whitespace();
        let code: u16 = words.next()?.parse().ok()?;
        let (jt, jf): (u8, u8) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let k: u32 = words.next()?.parse().ok()?;
        words.next().is_none().then(|| format!("{code} {jt} {jf} {k}"))
    };
    let list: Vec<String> = instructions.trim_end_matches(',').split(',').map(instruction).collect::<Option<_>>()?;
    (list.len() == length).then(|| format!("\"{length},{}\"", list.join(",")))
}

pub(super) static TCPMSS: Extension<Match> = Extension::kept(
    "tcpmss",
    &[Opt::value("--mss", "a number of 16 bits, or two with a colon between them").not().must().prints(|text, _| {
        let number = |text: &str| u16::try_from(name::number(text)?).ok();
        let (low, high) = range(text, b':', number, u16::MAX)?;
        (low <= high).then(|| Span(low, high).to_string())
    })],
)
.protocols(&[6]);

const SPI: &str = "a number of 32 bits, or two with a colon between them";

/// Every number is no condition, and iptables prints none.
fn without_any(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let mut options = given.options()?;
    options.list = options.list.into_iter().filter(|option| &*option.value != "0:4294967295").collect();
    Ok(Match::from(options))
}

pub(super) static AH: Extension<Match> =
    Extension::new("ah", &[Opt::value("--ahspi", SPI).not().prints(span)], without_any).protocols(&[51]);

pub(super) static ESP: Extension<Match> =
    Extension::new("esp", &[Opt::value("--espspi", SPI).not().prints(span)], without_any).protocols(&[50]);

pub(super) static IPCOMP: Extension<Match> =
    Extension::new("ipcomp", &[Opt::value("--ipcompspi", SPI).not().prints(span), Opt::flag("--compres")], without_any)
        .protocols(&[108]);

//! What is inside the packet: `string`, `u32` and `bpf`.

use crate::snapshot::Options;

use super::super::walk::Walk;
use super::bytes::Bytes;
use super::other::{has, inverts, value};
use super::{Answer, bpf, u32};

/// `u32_mt` in `net/netfilter/xt_u32.c`.
pub(super) fn u32_mt(walk: &Walk, options: &Options) -> Answer {
    let tests = value(options, "--u32");
    let answer = u32::u32_match_it(tests, &Bytes::of(walk));
    decided(walk, answer, &format!("the packet is what u32 {tests} asks for")).inverted(inverts(options, "--u32"))
}

/// `bpf_mt` in `net/netfilter/xt_bpf.c`. A program under `/sys/fs/bpf` no snapshot holds.
pub(super) fn bpf_mt(walk: &Walk, options: &Options) -> Answer {
    if let Some(path) = options.find("--object-pinned") {
        return Answer::unknowable(format!("the program {} takes the packet (no snapshot holds it)", path.value));
    }
    let program = value(options, "--bytecode");
    decided(walk, bpf::run(program, &Bytes::of(walk)), &format!("the program {program} takes the packet"))
}

/// `string_mt` in `net/netfilter/xt_string.c`, `skb_find_text` in `net/core/skbuff.c`: the pattern has to stand between
/// the two places, the end included.
pub(super) fn string_mt(walk: &Walk, options: &Options) -> Answer {
    let hex = options.find("--hex-string");
    let Some(asked) = hex.or(options.find("--string")) else { return Answer::No };
    let pattern = if hex.is_some() { hex_pattern(&asked.value) } else { plain_pattern(&asked.value) };
    let place = |name: &str, default: usize| value(options, name).parse().unwrap_or(default);
    let (from, to) = (place("--from", 0), place("--to", usize::from(u16::MAX)));
    let bytes = Bytes::of(walk);
    let range = bytes.all().get(from..to.min(bytes.all().len())).unwrap_or(&[]);
    let mut found = Some(false);
    for window in range.windows(pattern.len().max(1)) {
        match stands(window, &pattern, has(options, "--icase")) {
            Some(true) => return Answer::from(!asked.invert),
            Some(false) => {}
            None => found = None,
        }
    }
    let what = format!("the packet has {} in it between {from} and {to}", asked.value);
    decided(walk, found, &what).inverted(asked.invert)
}

/// Whether a pattern stands there, byte by byte.
fn stands(window: &[Option<u8>], pattern: &[u8], icase: bool) -> Option<bool> {
    let same = |byte: u8, wanted: u8| if icase { byte.eq_ignore_ascii_case(&wanted) } else { byte == wanted };
    let mut known = Some(true);
    for (byte, wanted) in window.iter().zip(pattern) {
        match byte {
            Some(byte) if !same(*byte, *wanted) => return Some(false),
            Some(_) => {}
            None => known = None,
        }
    }
    known
}

/// The answer, or that the packet's content decides, which `--payload` gives.
fn decided(walk: &Walk, answer: Option<bool>, what: &str) -> Answer {
    match answer {
        Some(answer) => Answer::from(answer),
        None if walk.given.payload.is_some() => Answer::unknown(what),
        None => Answer::unknown(format!("{what} (--payload gives what it carries)")),
    }
}

/// Text in quotes, with backslashes before quotes and backslashes.
fn plain_pattern(text: &str) -> Vec<u8> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let mut pattern = Vec::with_capacity(inner.len());
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        pattern.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    pattern
}

/// `"|6162|"`.
fn hex_pattern(text: &str) -> Vec<u8> {
    let digits = text.trim_matches('"').trim_matches('|');
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..digits.len()).step_by(2).filter_map(pair).collect()
}

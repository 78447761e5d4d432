//! `u32`: comparisons of four bytes of the packet.

use std::fmt::Write as _;

use crate::snapshot::Match;

use super::super::grammar::{Extension, Opt};

pub(super) static U32: Extension<Match> = Extension::kept(
    "u32",
    &[Opt::value("--u32", "LOCATION=VALUE, several with `&&` between them").not().must().prints(|text, _| tests(text))],
);

/// How many of each a test can have (`XT_U32_MAXSIZE`).
const MOST: usize = 10;

/// The tests as they are printed: every number in hexadecimal.
fn tests(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text };
    let mut printed = String::from("\"");
    for count in 1.. {
        reader.location(&mut printed)?;
        reader.values(&mut printed)?;
        if count > MOST {
            return None;
        }
        if reader.rest.trim_start().is_empty() {
            break;
        }
        reader.take("&&").then(|| printed.push_str("&&"))?;
    }
    printed.push('"');
    Some(printed)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn take(&mut self, what: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(what);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn number(&mut self) -> Option<u32> {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (digits, rest) = text.split_at_checked(end)?;
        self.rest = rest;
        super::super::name::number(digits).filter(|_| !digits.is_empty())
    }

    /// A place, and what is done to reach the next one, up to `=`.
    fn location(&mut self, printed: &mut String) -> Option<()> {
        write!(printed, "{:#x}", self.number()?).ok()?;
        for _ in 1..MOST {
            if self.take("=") {
                printed.push('=');
                return Some(());
            }
            let operator = ["&", "<<", ">>", "@"].into_iter().find(|operator| self.take(operator))?;
            printed.push_str(operator);
            write!(printed, "{:#x}", self.number()?).ok()?;
        }
        self.take("=").then(|| printed.push('='))
    }

    /// Values and ranges with commas between them.
    fn values(&mut self, printed: &mut String) -> Option<()> {
        for _ in 0..MOST {
            let low = self.number()?;
            write!(printed, "{low:#x}").ok()?;
            if self.take(":") {
                let high = self.number()?;
                if high != low {
                    write!(printed, ":{high:#x}").ok()?;
                }
            }
            if !self.take(",") {
                return Some(());
            }
            printed.push(',');
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::tests;

    #[test]
    fn numbers_are_printed_in_hexadecimal() {
        assert_eq!(tests("6&0xFF=1").unwrap(), "\"0x6&0xff=0x1\"");
        assert_eq!(
            tests("0>>22&0x3C@12 >> 26 & 0x3C @ 0 = 5:7,9 && 4 & 0x3fff = 0").unwrap(),
            "\"0x0>>0x16&0x3c@0xc>>0x1a&0x3c@0x0=0x5:0x7,0x9&&0x4&0x3fff=0x0\""
        );
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for text in ["", "6", "6&", "6=", "=1", "6=1&&", "6=1,", "6=1:", "6!1=2", "6=1 7=2", "99999999999=1"] {
            assert_eq!(tests(text), None, "{text}");
        }
    }
}

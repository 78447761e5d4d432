//! How `iptables-save` writes things: options with their negation, text in quotes, ranges and masks.

use std::fmt::{self, Display, Formatter, Write as _};
use std::net::IpAddr;

use super::{AddrMask, Test};

/// An option as `iptables-save` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedOption {
    /// Its name, with the dashes.
    pub name: &'static str,
    /// Whether `!` stands before it.
    pub invert: bool,
    /// Its value as printed, with quotes if it has any; empty where the option takes none.
    pub value: Box<str>,
}

/// An extension of which only the options are kept, as `iptables-save` prints them: what it asks no packet and no
/// snapshot tells, or what it does changes no packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The extension's name.
    pub name: &'static str,
    /// The options that were given, in the order in which they are printed.
    pub list: Box<[SavedOption]>,
}

impl Options {
    /// The option with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&SavedOption> {
        self.list.iter().find(|option| option.name == name)
    }
}

impl Display for Options {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.list.iter().try_for_each(|one| {
            f.write_str(if one.invert { " ! " } else { " " })?;
            f.write_str(one.name)?;
            if one.value.is_empty() { Ok(()) } else { write!(f, " {}", one.value) }
        })
    }
}

/// A part of a rule that can't be read, or that iptables and the kernel would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The part as written.
    pub text: Box<str>,
    /// Where in the line the trouble is, in characters from 1.
    pub column: u32,
    /// What is wrong.
    pub why: Box<str>,
}

impl Refused {
    /// What is wrong, and where.
    #[must_use]
    pub fn explained(&self) -> String {
        format!("{} (column {})", self.why, self.column)
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Writes ` --name value` with its negation, where there is such a condition.
pub(super) fn option<T: Display>(f: &mut Formatter<'_>, name: &str, test: Option<&Test<T>>) -> fmt::Result {
    let Some(test) = test else { return Ok(()) };
    negation(f, test.invert)?;
    write!(f, " {name} {}", test.value)
}

/// Writes ` --name` with its negation, where it was given.
pub(super) fn flag(f: &mut Formatter<'_>, name: &str, test: Option<Test<()>>) -> fmt::Result {
    let Some(test) = test else { return Ok(()) };
    negation(f, test.invert)?;
    write!(f, " {name}")
}

/// Writes ` !` before what is negated.
pub(super) fn negation(f: &mut Formatter<'_>, invert: bool) -> fmt::Result {
    if invert { f.write_str(" !") } else { Ok(()) }
}

/// Writes ` --name` where it is set.
pub(super) fn when(f: &mut Formatter<'_>, set: impl Into<bool>, name: &str) -> fmt::Result {
    if set.into() { write!(f, " {name}") } else { Ok(()) }
}

/// Writes ` --name value` where there is one.
pub(super) fn some<T: Display>(f: &mut Formatter<'_>, name: &str, value: Option<T>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {name} {value}"))
}

/// Text, in quotes where it isn't a plain word (`xtables_save_string`).
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'t>(pub &'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\' | '\'') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

/// `LOW:HIGH`, or one number where both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<T>(pub T, pub T);

impl<T: Display + PartialEq> Display for Span<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}:{}", self.0, self.1) }
    }
}

/// Writes words with commas between them.
pub(super) fn list<T: Display>(f: &mut Formatter<'_>, words: impl IntoIterator<Item = T>) -> fmt::Result {
    let mut words = words.into_iter();
    words.next().map_or(Ok(()), |first| write!(f, "{first}"))?;
    words.try_for_each(|word| write!(f, ",{word}"))
}

/// Writes the names of the bits that are set, in the order of the table.
pub(super) fn bits(f: &mut Formatter<'_>, set: u32, names: &[(u32, &str)]) -> fmt::Result {
    list(f, names.iter().filter(|(bit, _)| set & bit == *bit).map(|(_, name)| name))
}

/// How many bits a mask leaves, if they stand together at its start.
#[must_use]
pub fn prefix_length(mask: IpAddr) -> Option<u32> {
    let (bits, width) = match mask {
        IpAddr::V4(mask) => (u128::from(mask.to_bits()) << 96, 32),
        IpAddr::V6(mask) => (mask.to_bits(), 128),
    };
    let length = bits.leading_ones();
    (length == 128 || bits << length == 0).then_some(length.min(width))
}

impl AddrMask {
    /// The mask as a prefix length, or as an address where it is no prefix.
    fn written_mask(&self) -> String {
        prefix_length(self.mask()).map_or_else(|| self.mask().to_string(), |length| length.to_string())
    }

    /// `ADDR/MASK`, with the mask in any case.
    pub(super) fn full(&self) -> String {
        format!("{}/{}", self.addr(), self.written_mask())
    }
}

/// `ADDR`, with `/MASK` where not every bit counts.
impl Display for AddrMask {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = if self.addr().is_ipv4() { 32 } else { 128 };
        if prefix_length(self.mask()) == Some(width) {
            return write!(f, "{}", self.addr());
        }
        write!(f, "{}/{}", self.addr(), self.written_mask())
    }
}

#[cfg(test)]
mod tests {
    use super::{Quoted, prefix_length};

    #[test]
    fn only_plain_words_go_without_quotes() {
        assert_eq!(Quoted("kube-proxy_1").to_string(), "kube-proxy_1");
        assert_eq!(Quoted("a b").to_string(), r#""a b""#);
        assert_eq!(Quoted("").to_string(), r#""""#);
        assert_eq!(Quoted(r#"it's "x" \ y"#).to_string(), r#""it\'s \"x\" \\ y""#);
    }

    #[test]
    fn a_mask_with_a_hole_has_no_length() {
        assert_eq!(prefix_length("255.255.0.0".parse().unwrap()), Some(16));
        assert_eq!(prefix_length("0.0.0.0".parse().unwrap()), Some(0));
        assert_eq!(prefix_length("255.255.255.255".parse().unwrap()), Some(32));
        assert_eq!(prefix_length("255.0.255.0".parse().unwrap()), None);
        assert_eq!(prefix_length("ffff::".parse().unwrap()), Some(16));
        assert_eq!(prefix_length("::ffff".parse().unwrap()), None);
    }
}

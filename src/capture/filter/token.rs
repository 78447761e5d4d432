//! The words of a filter, as libpcap's scanner.l cuts them: the longest piece that is a word of some kind.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::name;
use super::refusal::{Quoted, Refusal};

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word of the language.
    Word(&'a str),
    /// Any other word, or one behind a backslash: the name of a host, a service or a protocol, or a range of ports.
    Name(&'a str),
    /// A number, or one that has a name (`tcp-syn`).
    Number(u32),
    /// Two to four numbers with dots between them.
    Dotted(&'a str),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// An Ethernet address.
    Mac([u8; 6]),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// A word and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Piece<'a> {
    pub(super) token: Token<'a>,
    /// Bytes of the text.
    pub(super) at: Range<usize>,
}

/// Operators and brackets, longer ones first. Those of one meaning have one spelling behind.
const SIGNS: &[(&str, &str)] = &[
    ("&&", "and"),
    ("||", "or"),
    (">=", ">="),
    ("<=", "<="),
    ("!=", "!="),
    ("==", "="),
    ("<<", "<<"),
    (">>", ">>"),
    ("+", "+"),
    ("-", "-"),
    ("*", "*"),
    ("/", "/"),
    ("%", "%"),
    (":", ":"),
    ("[", "["),
    ("]", "]"),
    ("!", "not"),
    ("<", "<"),
    (">", ">"),
    ("(", "("),
    (")", ")"),
    ("&", "&"),
    ("|", "|"),
    ("^", "^"),
    ("=", "="),
];

/// Cuts a filter into its words.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Refusal> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let rest = rest.trim_start_matches([' ', '\r', '\n', '\t']);
        at = text.len() - rest.len();
        if rest.is_empty() {
            break;
        }
        let (token, length) = first(rest).map_err(|(what, length)| Refusal::new(at..at + length, what))?;
        found.push(Piece { token, at: at..at + length });
        at += length;
    }
    Ok(found)
}

/// What is wrong with a word, and its length.
type Unknown = (String, usize);

/// The first word of a text that begins with no blank, and its length.
fn first(text: &str) -> Result<(Token<'_>, usize), Unknown> {
    if let Some(name) = text.strip_prefix('\\') {
        let end = name.find([' ', '!', '(', ')', '\n', '\t']).unwrap_or(name.len());
        return match name.get(..end) {
            Some(name) if !name.is_empty() => Ok((Token::Name(name), end + 1)),
            _ => Err(("a backslash stands before a name, as in `ip proto \\tcp`".to_owned(), 1)),
        };
    }
    let plain = plain(text);
    if let Some(found) = address(text).filter(|(_, length)| *length > plain.len()) {
        return Ok(found);
    }
    if plain.is_empty() {
        return sign(text);
    }
    word(plain).map(|token| (token, plain.len())).map_err(|what| (what, plain.len()))
}

/// The longest beginning of letters, digits, dots, and dashes and underscores that do not end it.
fn plain(text: &str) -> &str {
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return "";
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')).unwrap_or(text.len());
    text.get(..end).unwrap_or("").trim_end_matches(['-', '_'])
}

fn sign(text: &str) -> Result<(Token<'_>, usize), Unknown> {
    if let Some((sign, meaning)) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign)) {
        let token = if matches!(*meaning, "and" | "or" | "not") { Token::Word(meaning) } else { Token::Sign(meaning) };
        return Ok((token, sign.len()));
    }
    let length = text.chars().next().map_or(1, char::len_utf8);
    let shown = Quoted(text.get(..length).unwrap_or(""));
    Err((format!("{shown} is no part of the filter language: see pcap-filter(7)"), length))
}

/// What a word of letters, digits, dots, dashes and underscores is.
fn word(text: &str) -> Result<Token<'_>, String> {
    if let Some(word) = name::reserved(text) {
        return Ok(Token::Word(word));
    }
    if let Some(mac) = mac(text) {
        return Ok(Token::Mac(mac));
    }
    if is_number(text) {
        return number(text).map(Token::Number);
    }
    if matches!(text.split('.').count(), 2..=4) && text.split('.').all(is_number) {
        return Ok(Token::Dotted(text));
    }
    Ok(name::constant(text).map_or(Token::Name(text), Token::Number))
}

fn is_number(text: &str) -> bool {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match hex {
        Some(hex) => !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// A number in C's notation: decimal, with `0` before it octal, with `0x` hexadecimal.
fn number(text: &str) -> Result<u32, String> {
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if base == 8 && digits.contains(['8', '9']) {
        return Err(format!("{} begins with 0, so it is octal, and has no digits 8 and 9", Quoted(text)));
    }
    u32::from_str_radix(digits, base).map_err(|_| format!("{} is more than 4294967295 (32 bits)", Quoted(text)))
}

/// An address with colons at the beginning of a text, the longest that is one.
fn address(text: &str) -> Option<(Token<'_>, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = text.bytes().take(LONGEST_ADDRESS).take_while(is_part).count();
    let run = text.get(..length).filter(|run| run.contains(':'))?;
    let run = run.find(":::").and_then(|end| run.get(..end + 2)).unwrap_or(run);
    (2..=run.len()).rev().find_map(|end| {
        let text = run.get(..end)?;
        let token = mac(text).map(Token::Mac).or_else(|| text.parse().map(Token::V6).ok())?;
        Some((token, end))
    })
}

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
const LONGEST_ADDRESS: usize = 45;

/// An Ethernet address in one of libpcap's forms: `1:2:3:4:5:6`, also with dots or dashes, `0102.0304.0506` and
/// `010203040506`.
fn mac(text: &str) -> Option<[u8; 6]> {
    if text.len() > 17 || text.len() < 11 {
        return None;
    }
    let mut octets = [0; 6];
    if let Some(separator) = [':', '-', '.'].into_iter().find(|separator| text.split(*separator).count() == 6) {
        for (octet, digits) in octets.iter_mut().zip(text.split(separator)) {
            *octet = hex(digits).filter(|_| matches!(digits.len(), 1 | 2))?;
        }
        return Some(octets);
    }
    let words = text.split('.').count();
    if !(words == 3 && text.split('.').all(|word| word.len() == 4) || words == 1 && text.len() == 12) {
        return None;
    }
    let digits: String = text.split('.').collect();
    for (octet, at) in octets.iter_mut().zip((0..12).step_by(2)) {
        *octet = hex(digits.get(at..at + 2)?)?;
    }
    Some(octets)
}

fn hex(digits: &str) -> Option<u8> {
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        pieces(text).unwrap().into_iter().map(|piece| piece.token).collect()
    }

    #[test]
    fn the_longest_word_counts() {
        use Token::{Dotted, Mac, Name, Number, Sign, Word};
        assert_eq!(tokens("port 80-90"), [Word("port"), Name("80-90")]);
        assert_eq!(tokens("80 -90"), [Number(80), Sign("-"), Number(90)]);
        assert_eq!(tokens("tcp[13]&2!=0")[4..], [Sign("&"), Number(2), Sign("!="), Number(0)]);
        assert_eq!(tokens("tcpx tcp-syn tcp-x"), [Name("tcpx"), Number(2), Name("tcp-x")]);
        assert_eq!(tokens("10.1 10.1.2.3 10.1.2.3.4"), [Dotted("10.1"), Dotted("10.1.2.3"), Name("10.1.2.3.4")]);
        assert_eq!(tokens("0x1F 017 \\tcp"), [Number(31), Number(15), Name("tcp")]);
        let mac = Mac([1, 2, 3, 4, 5, 0xab]);
        assert_eq!(tokens("1:2:3:4:5:ab 01-02-03-04-05-AB 0102.0304.05ab 0102030405ab"), [mac; 4]);
        assert_eq!(tokens("!a&&b||not"), [Word("not"), Name("a"), Word("and"), Name("b"), Word("or"), Word("not")]);
    }

    #[test]
    fn an_address_of_ipv6_is_one_word() {
        let v6 = |text: &str| Token::V6(text.parse().unwrap());
        assert_eq!(tokens("fd00::1"), [v6("fd00::1")]);
        assert_eq!(tokens("::"), [v6("::")]);
        assert_eq!(tokens("::ffff:10.0.0.1/96"), [v6("::ffff:10.0.0.1"), Token::Sign("/"), Token::Number(96)]);
        assert_eq!(tokens("1:2:3:4:5:6:7:8"), [v6("1:2:3:4:5:6:7:8")]);
        assert_eq!(tokens("tcp[0:2]")[2..], [Token::Number(0), Token::Sign(":"), Token::Number(2), Token::Sign("]")]);
    }

    #[test]
    fn what_is_no_word_is_pointed_at() {
        let refused = |text: &str| pieces(text).unwrap_err();
        assert_eq!(refused("host a_ or b").at, 6..7);
        assert_eq!(refused("port 089").at, 5..8);
        assert_eq!(refused("port 4294967296").what, "`4294967296` is more than 4294967295 (32 bits)");
        assert_eq!(refused("port é").at, 5..7);
        assert_eq!(refused("proto \\").at, 6..7);
    }
}

//! Text that comes from a snapshot is somebody else's: it must not move the cursor, colour the screen or turn the
//! reading direction.

use std::fmt::Write as _;

/// Whether a character would do something to a terminal, or can't be seen: controls (C0, DEL, C1), the bidirectional
/// controls of Unicode (UAX #9), line separators and what has no width.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every hostile character written as an escape (`\x1b`, `\u{202e}`), tabs as spaces; with
/// [`Charset::Ascii`] everything beyond ASCII too.
#[must_use]
pub fn clean(text: &str, charset: Charset) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_clean(&mut out, c, charset);
    }
    out
}

fn push_clean(out: &mut String, c: char, charset: Charset) {
    // Writing to a string can't fail.
    let _ = match c {
        '\t' => out.write_char(' '),
        c if !is_hostile(c) && (c.is_ascii() || charset == Charset::Unicode) => out.write_char(c),
        c if u32::from(c) < 0x100 => write!(out, "\\x{:02x}", u32::from(c)),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)),
    };
}

/// Which characters may be printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charset {
    /// Letters of every script, arrows and check marks.
    #[default]
    Unicode,
    /// Only ASCII.
    Ascii,
}

/// JSON text with the hostile characters that JSON itself allows inside strings written as `\uXXXX`. The value that it
/// stands for stays the same.
pub(crate) fn clean_json(text: &str) -> String {
    let is_plain = |byte: u8| byte == b'\n' || matches!(byte, b' '..=b'~');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Nearly all of it is ASCII.
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        let (plain, other) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = other.chars();
        chars.by_ref().take(1).for_each(|c| push_json(&mut out, c));
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

fn push_json(out: &mut String, c: char) {
    if !is_hostile(c) {
        return out.push(c);
    }
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_spelt_out() {
        assert_eq!(clean("a\x1b[31mb\u{9b}c", Charset::Unicode), "a\\x1b[31mb\\x9bc");
        assert_eq!(clean("x\u{202e}y", Charset::Unicode), "x\\u{202e}y");
        assert_eq!(clean("é\tz", Charset::Unicode), "é z");
        assert_eq!(clean("é→", Charset::Ascii), "\\xe9\\u{2192}");
    }

    #[test]
    fn json_keeps_its_value_without_terminal_escapes() {
        let name = "a\x1b\u{9b}\u{202e}\u{e0041}é plain ü\u{7f}";
        let json = clean_json(&serde_json::to_string(name).unwrap());
        assert!(!json.chars().any(is_hostile), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }
}

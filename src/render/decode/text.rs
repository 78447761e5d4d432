//! Bytes that come from a packet, or from a file, as text.

use super::{Buffer, Columns};
use crate::render::escape::{clean_json, is_hostile};
use crate::render::{Charset, clean};

/// The labels of a name with dots between them. What is not printable ASCII is written as `\xNN`.
pub(super) fn label(label: &[u8], out: &mut Buffer) {
    let mut rest = label;
    // Nearly all names are plain.
    while let Some((chunk, behind)) = rest.split_first_chunk()
        && specials(u64::from_le_bytes(*chunk)) == 0
    {
        out.words(chunk);
        rest = behind;
    }
    for byte in rest {
        match byte {
            b'\\' => out.words(b"\\\\"),
            b'!'..=b'~' => out.byte(*byte),
            _ => {
                out.words(b"\\x");
                out.hex(*byte);
            }
        }
    }
}

/// Which of eight characters are not printable ASCII, or are backslashes: each a bit, the lowest one of the first. One that
/// stands behind such a character may be taken for one, too.
#[inline]
pub(super) fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const UPPER: u64 = 0x80 * ONES;
    // Of characters below 0x80 the upper bit is set behind that where they are below `!`, backslashes, or DEL.
    let below = word.wrapping_sub(0x21 * ONES);
    let backslash = (word ^ (0x5c * ONES)).wrapping_sub(ONES);
    let marked = (word | word.wrapping_add(ONES) | below | backslash) & UPPER;
    // Each mark moves to where its number is the character's place.
    (marked >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// A string of JSON.
pub(super) fn json_string(text: &str, out: &mut Buffer) {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
    if is_plain {
        out.byte(b'"');
        out.str(text);
        return out.byte(b'"');
    }
    // Serializing a string can't fail.
    out.str(&clean_json(&serde_json::to_string(text).unwrap_or_default()));
}

/// A value of CSV (RFC 4180): in quotes where it has to be.
pub(super) fn csv_value(text: &str, out: &mut Buffer) {
    if !text.contains([',', '"', '\n', '\r']) && !text.contains(is_hostile) {
        return out.str(text);
    }
    out.byte(b'"');
    let cleaned = clean(text, Charset::Unicode);
    out.str(&cleaned.replace('"', "\"\""));
    out.byte(b'"');
}

/// A value of a column: with tabs between columns nothing has quotes.
pub(super) fn text_value(text: &str, columns: Columns, out: &mut Buffer) {
    match columns {
        Columns::Tabs => out.str(&clean(text, Charset::Unicode)),
        Columns::Commas => csv_value(text, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_printable() {
        for byte in 0..=255_u8 {
            for place in 0..12 {
                let mut bytes = *b"service-name";
                bytes[place] = byte;
                let mut out = Buffer::default();
                label(&bytes, &mut out);
                let text = String::from_utf8(out.text().to_vec()).unwrap();
                assert!(text.bytes().all(|byte| matches!(byte, b'!'..=b'~')), "{text}");
                let is_plain = matches!(byte, b'!'..=b'~') && byte != b'\\';
                assert_eq!(text.as_bytes() == bytes, is_plain, "{text}");
            }
        }
    }
}

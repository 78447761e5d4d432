//! Bytes that come from a packet, or from a file, as text.

use super::Buffer;
use crate::render::escape::{clean_json, is_hostile};

/// The labels of a name with dots between them. What is not printable ASCII is written as `\xNN`.
pub(super) fn label(label: &[u8], out: &mut Buffer) {
    let mut rest = label;
    // Nearly all names are plain.
    while let Some((chunk, behind)) = rest.split_first_chunk()
        && is_plain(u64::from_le_bytes(*chunk), 8)
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

/// Whether the first characters of eight are printable ASCII and no backslashes.
#[inline]
pub(super) fn is_plain(word: u64, count: u32) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const UPPER: u64 = 0x80 * ONES;
    // A byte's upper bit is set where it is below another number, as long as both are below 0x80.
    let below = |word: u64, number: u64| word.wrapping_sub(number * ONES) & !word;
    let is = |number: u64| below(word ^ (number * ONES), 1);
    // The others are taken for letters.
    let kept = u64::MAX.checked_shr(64 - 8 * count).unwrap_or(0);
    let word = word & kept | (u64::from(b'a') * ONES) & !kept;
    (word | below(word, 0x21) | is(0x7f) | is(0x5c)) & UPPER == 0
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
    let cleaned = crate::render::clean(text, crate::render::Charset::Unicode);
    out.str(&cleaned.replace('"', "\"\""));
    out.byte(b'"');
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

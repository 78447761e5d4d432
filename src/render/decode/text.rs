//! Bytes that come from a packet, or from a file, as text.

use super::Buffer;
use crate::render::escape::{clean_json, is_hostile};

/// The labels of a name with dots between them. What is not printable ASCII is written as `\xNN`.
pub(super) fn label(label: &[u8], out: &mut Buffer) {
    for byte in label {
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

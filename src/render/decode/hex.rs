//! A packet's bytes, sixteen a line.

use super::Buffer;

/// Offset, bytes, and what of them is printable ASCII.
pub(super) fn dump(bytes: &[u8], out: &mut Buffer) {
    for (line, chunk) in (0_u32..).zip(bytes.chunks(16)) {
        out.format(format_args!("        {:06x} ", line * 16));
        for place in 0..16 {
            if place % 8 == 0 {
                out.byte(b' ');
            }
            match chunk.get(place) {
                Some(octet) => {
                    out.hex(*octet);
                    out.byte(b' ');
                }
                None => out.words(b"   "),
            }
        }
        out.byte(b' ');
        for octet in chunk {
            out.byte(if matches!(octet, b' '..=b'~') { *octet } else { b'.' });
        }
        out.byte(b'\n');
    }
}

//! `--payload`: what the packet carries.

use std::io::Read as _;
use std::sync::Arc;

use crate::error::Error;

/// The most that a packet carries.
const MOST: usize = 65_535;

/// Reads `HEX` or `@FILE`.
pub(super) fn read(typed: &str) -> Result<Arc<[u8]>, Error> {
    let payload = match typed.strip_prefix('@') {
        Some(path) => file(path)?,
        None => hex(typed).ok_or_else(|| {
            Error::Usage("--payload: bytes in hexadecimal are wanted, such as 474554, or @FILE".to_owned())
        })?,
    };
    if payload.len() > MOST {
        return Err(Error::Usage(format!("--payload: no packet carries more than {MOST} bytes")));
    }
    Ok(payload.into())
}

fn file(path: &str) -> Result<Vec<u8>, Error> {
    let wrong = |error: std::io::Error| Error::Usage(format!("--payload: {path}: {error}"));
    let file = std::fs::File::open(path).map_err(wrong)?;
    let mut bytes = Vec::new();
    file.take(MOST as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}

/// Pairs of digits, with blanks or colons between them or without.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !matches!(c, ' ' | ':')).map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    let whole = pairs.remainder().is_empty();
    let byte = |pair: &[u32]| u8::try_from(pair.iter().fold(0, |byte, digit| byte << 4 | digit)).ok();
    pairs.map(byte).collect::<Option<_>>().filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::{hex, read};

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(hex("474554"), Some(b"GET".to_vec()));
        assert_eq!(hex("00:ff 0A"), Some(vec![0, 255, 10]));
        assert_eq!(hex(""), Some(Vec::new()));
        for wrong in ["4", "4745 5", "GET", "0x47", "\u{ff11}1"] {
            assert_eq!(hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_refused() {
        assert!(read("@/nowhere/at/all").is_err());
    }
}

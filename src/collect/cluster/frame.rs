//! What a node sends: an archive in base64 between marks, with its length and checksum, so that a log that was rotated, a
//! connection that was cut and bytes that were damaged are seen, and not loaded.

use std::io::{self, BufRead, Read as _, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::collect::SCRIPT;

/// What stands before the words of a mark.
const MARK: &str = "flowtrace-frame-1 ";
/// No line of base64, and no word of a tool, is longer.
const MOST_LINE: u64 = 64 << 10;
/// No node's archive is larger; loading takes less.
const MOST_BYTES: u64 = 512 << 20;
/// So many lines of what is no frame are kept, and of what the script said.
const MOST_SAID: usize = 200;
/// Of what a node says without a frame, the last lines tell why.
const MOST_NOISE: usize = 3;

/// The shell script that takes a node's snapshot and sends it: its arguments are the node's name and the pods that are
/// wanted, as [`SCRIPT`] has them.
#[must_use]
pub fn sender() -> String {
    include_str!("frame.sh").replace("@SCRIPT@\n", SCRIPT)
}

/// What arrived beside the archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    /// How long the archive is, in bytes.
    pub length: u64,
    /// The script's exit code.
    pub code: u8,
    /// What the script said.
    pub said: Vec<String>,
}

/// Why a frame is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Torn {
    #[error("{}", nothing(.0))]
    Nothing(Vec<String>),
    #[error(
        "the beginning of what the node sent is missing: its log was rotated (the kubelet's containerLogMaxSize is too \
         small for it)"
    )]
    Beginning,
    #[error("what the node sent ends in the middle: the connection or its log was cut")]
    End,
    #[error("what the node sent was damaged on its way: {0}")]
    Damaged(String),
    #[error("more than 512 MiB came, which is no snapshot of a node")]
    Oversize,
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn nothing(noise: &[String]) -> String {
    match noise {
        [] => "the node sent nothing".to_owned(),
        noise => noise.join("; "),
    }
}

/// Reads a frame; the archive goes to `output`, and is whole only where this succeeds.
pub(super) fn read(input: impl BufRead, output: &mut dyn Write) -> Result<Arrived, Torn> {
    let mut lines = Lines { input, line: Vec::new() };
    let mut noise = Vec::new();
    loop {
        let Some(line) = lines.next()? else { return Err(Torn::Nothing(noise)) };
        match line.strip_prefix(MARK) {
            Some("begin") => break,
            Some(_) => return Err(Torn::Beginning),
            None if line.trim().is_empty() => {}
            None => {
                noise.push(line.to_owned());
                if noise.len() > MOST_NOISE {
                    noise.remove(0);
                }
            }
        }
    }
    let (length, sum, words) = archive(&mut lines, output)?;
    let code = match words.as_slice() {
        [told, bytes, code] => {
            let same = told.parse() == Ok(sum) && bytes.parse() == Ok(length);
            same.then(|| code.parse().ok()).flatten()
        }
        _ => None,
    };
    let damaged = || Torn::Damaged(format!("{length} bytes with checksum {sum} came, and not {}", words.join(" ")));
    let code = code.ok_or_else(damaged)?;
    let mut said = Vec::new();
    loop {
        match lines.next()?.map(|line| line.strip_prefix(MARK)) {
            None => return Err(Torn::End),
            Some(Some("end")) => return Ok(Arrived { length, code, said }),
            Some(Some(line)) if said.len() < MOST_SAID => {
                said.extend(line.strip_prefix("said ").map(str::to_owned));
            }
            Some(_) => {}
        }
    }
}

/// The archive's bytes: how many, their checksum, and the words of the mark behind them.
fn archive<R: BufRead>(lines: &mut Lines<R>, output: &mut dyn Write) -> Result<(u64, u32, Vec<String>), Torn> {
    let (mut decoder, mut sum, mut length) = (Base64::default(), Sum::default(), 0u64);
    let mut bytes = Vec::new();
    loop {
        let Some(line) = lines.next()? else { return Err(Torn::End) };
        if let Some(words) = line.strip_prefix(MARK) {
            let words = words.strip_prefix("data ").ok_or_else(|| Torn::Damaged("a mark is missing".to_owned()))?;
            return Ok((length, sum.of(length), words.split(' ').map(str::to_owned).collect()));
        }
        bytes.clear();
        decoder.decode(line, &mut bytes).map_err(|what| Torn::Damaged(what.to_owned()))?;
        length += bytes.len() as u64;
        if length > MOST_BYTES {
            return Err(Torn::Oversize);
        }
        sum.add(&bytes);
        output.write_all(&bytes)?;
    }
}

/// Lines of bounded length.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end; one that is no UTF-8 is none of a frame, and empty.
    fn next(&mut self) -> io::Result<Option<&str>> {
        self.line.clear();
        if (&mut self.input).take(MOST_LINE).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        Ok(Some(str::from_utf8(&self.line).unwrap_or("").trim_end_matches(['\n', '\r'])))
    }
}

/// Base64 (RFC 4648, section 4) that comes in pieces.
#[derive(Default)]
struct Base64 {
    /// What is no group of four yet.
    rest: Vec<u8>,
    /// The padding has come, behind which nothing comes.
    ended: bool,
}

impl Base64 {
    fn decode(&mut self, text: &str, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.ended && !text.is_empty() {
            return Err("its base64 goes on behind its end");
        }
        self.rest.extend_from_slice(text.as_bytes());
        let left = self.rest.split_off(self.rest.len() / 4 * 4);
        STANDARD.decode_vec(&self.rest, bytes).map_err(|_| "there is something else among its base64")?;
        self.ended = self.rest.ends_with(b"=");
        self.rest = left;
        Ok(())
    }
}

/// The checksum of POSIX's `cksum`: the CRC of ISO 8802-3 over the bytes and then their number.
#[derive(Default)]
struct Sum(u32);

/// What each byte adds.
const TABLE: [u32; 256] = table();

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "it is computed when this is compiled")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut sum = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000_0000 == 0 { sum << 1 } else { sum << 1 ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let [first, ..] = self.0.to_be_bytes();
            let added = TABLE.get(usize::from(first ^ byte)).copied().unwrap_or_default();
            self.0 = self.0 << 8 ^ added;
        }
    }

    /// The checksum of so many bytes.
    fn of(self, length: u64) -> u32 {
        let bytes = length.to_le_bytes();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let mut whole = self;
        whole.add(bytes.get(..used).unwrap_or_default());
        !whole.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checksum and length are those of `printf 'hello world\n' | cksum`.
    const FRAME: &str = "flowtrace-frame-1 begin\naGVsbG8gd29ybGQK\nflowtrace-frame-1 data 3733384285 12 3\n\
                         flowtrace-frame-1 said not taken: x\nflowtrace-frame-1 end\n";

    fn frame(text: &str) -> (Result<Arrived, Torn>, Vec<u8>) {
        let mut bytes = Vec::new();
        (read(text.as_bytes(), &mut bytes), bytes)
    }

    #[test]
    fn a_whole_frame_is_read_with_what_was_said() {
        for text in [
            FRAME.to_owned(),
            FRAME.replace('\n', "\r\n"),
            format!("a banner\n{FRAME}"),
            FRAME.replace("aGVs", "aG\nVs"),
        ] {
            let (arrived, bytes) = frame(&text);
            let wanted = Arrived { length: 12, code: 3, said: vec!["not taken: x".to_owned()] };
            assert_eq!(arrived.unwrap(), wanted, "{text}");
            assert_eq!(bytes, b"hello world\n");
        }
    }

    #[test]
    fn wherever_it_is_cut_it_is_seen() {
        for end in 0..FRAME.len() - 1 {
            let whole = frame(&FRAME[..end]).0;
            assert!(whole.is_err(), "{}", &FRAME[..end]);
        }
        for start in 1..FRAME.len() {
            assert!(frame(&FRAME[start..]).0.is_err(), "{}", &FRAME[start..]);
        }
        let rotated = FRAME.split_once('\n').unwrap().1;
        assert!(matches!(frame(rotated).0, Err(Torn::Beginning)));
        assert!(matches!(frame(&FRAME[..FRAME.len() - 5]).0, Err(Torn::End)));
    }

    #[test]
    fn a_changed_byte_is_seen() {
        for (one, other) in
            [("aGVs", "aGVt"), ("3733384285", "3733384286"), (" 12 ", " 13 "), ("aGVs", "aG s"), ("\naGVs", "\n")]
        {
            assert!(matches!(frame(&FRAME.replace(one, other)).0, Err(Torn::Damaged(_))), "{other}");
        }
    }

    #[test]
    fn what_is_no_frame_is_told_in_its_own_words() {
        let said = frame("one\ntwo\n\nthree\nchroot: can't execute 'sh': No such file or directory\n")
            .0
            .unwrap_err()
            .to_string();
        assert!(
            said.ends_with("chroot: can't execute 'sh': No such file or directory") && !said.contains("one"),
            "{said}"
        );
        assert_eq!(frame("").0.unwrap_err().to_string(), "the node sent nothing");
    }

    #[test]
    fn an_empty_archive_has_its_checksum_too() {
        let text = "flowtrace-frame-1 begin\nflowtrace-frame-1 data 4294967295 0 2\nflowtrace-frame-1 said collect: no\nflowtrace-frame-1 end\n";
        assert_eq!(frame(text).0.unwrap(), Arrived { length: 0, code: 2, said: vec!["collect: no".to_owned()] });
    }
}

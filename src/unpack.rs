//! Layer 1: streams that are packed with gzip or zstd, recognised by how they begin.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How a stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

impl Packing {
    /// What the first bytes of a stream say.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // The second one is a frame that is to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The stream's content, unpacked where it is packed. Fails where the stream can't be read.
pub fn unpacked<R: BufRead + Send + 'static>(mut input: R) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    // A pipe may hand over a byte at a time.
    (&mut input).take(4).read_to_end(&mut head)?;
    let packing = Packing::of(&head);
    let input = io::Cursor::new(head).chain(input);
    Ok(match packing {
        None => Box::new(input),
        Some(Packing::Gzip) => Box::new(MultiGzDecoder::new(input)),
        Some(Packing::Zstd) => Box::new(Zstd::new(input)),
    })
}

/// A last block without content, and a checksum.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Every frame of a zstd stream, one after the other, skippable ones passed over. Of a frame that is cut or damaged there is
/// what stands before that, and then the error.
pub struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
    /// What is wrong with the frame, of which something is still to be handed over.
    failed: Option<io::Error>,
}

impl<R: BufRead> Zstd<R> {
    /// Unpacks a stream.
    pub fn new(input: R) -> Self {
        Self { input, decoder: FrameDecoder::new(), in_frame: false, failed: None }
    }

    /// Starts the next frame that holds data; false at the end of the input.
    fn start_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            // One that has decoded a frame would at once take the memory that the next one says it needs.
            self.decoder = FrameDecoder::new();
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.input).take(length), &mut io::sink())? != length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(err) => return Err(told(&err)),
            }
        }
        Ok(false)
    }

    /// Unpacks a block more. After one that can't be unpacked the frame is taken to end: what stands before is held back for
    /// blocks that refer to it.
    fn go_on(&mut self) {
        let one = || BlockDecodingStrategy::UptoBlocks(1);
        if let Err(err) = self.decoder.decode_blocks(&mut self.input, one()) {
            self.failed = Some(told(&err));
            if !self.decoder.is_finished() && self.decoder.decode_blocks(LAST_BLOCK.as_slice(), one()).is_err() {
                self.in_frame = false;
            }
        }
    }

    fn check_frame(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(sum)) if stored != sum => Err(io::Error::other("a zstd frame's checksum is wrong")),
            _ => Ok(()),
        }
    }
}

/// What is wrong with a frame, in words.
fn told(err: &FrameDecoderError) -> io::Error {
    let mut causes = std::iter::successors(Some(err as &dyn std::error::Error), |err| err.source());
    let cause = causes.find_map(|cause| cause.downcast_ref::<io::Error>());
    let words = match (err, cause) {
        (_, Some(cause)) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            return io::Error::new(cause.kind(), cause.to_string());
        }
        (_, Some(_)) => "it ends within a zstd frame".to_owned(),
        (FrameDecoderError::WindowSizeTooBig { requested, max }, _) => {
            format!("a zstd frame needs {} MB at once; at most {} are given", requested >> 20, max >> 20)
        }
        (FrameDecoderError::DictNotProvided { .. }, _) => {
            "a zstd frame needs a dictionary, which is not here".to_owned()
        }
        (FrameDecoderError::ReadFrameHeaderError(_) | FrameDecoderError::FailedToInitialize(_), _) => {
            "a zstd frame should begin, and what stands there is none".to_owned()
        }
        _ => "a zstd frame is damaged".to_owned(),
    };
    io::Error::new(io::ErrorKind::InvalidData, words)
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if let Some(err) = self.failed.take() {
                    return Err(err);
                }
                self.in_frame = self.start_frame()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            if self.decoder.is_finished() {
                self.in_frame = false;
                if self.failed.is_none() {
                    self.check_frame()?;
                }
            } else {
                self.go_on();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    /// What can be unpacked, and the error behind it.
    fn unpack(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
        let mut whole = Vec::new();
        let end = Zstd::new(bytes).read_to_end(&mut whole);
        (whole, end.err().map(|err| err.to_string()))
    }

    #[test]
    fn a_frame_that_is_cut_or_damaged_is_unpacked_up_to_there() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(|number| (number / 3).to_le_bytes()).collect();
        let packed = compress_to_vec(plain.as_slice(), CompressionLevel::Fastest);
        assert_eq!(unpack(&packed), (plain.clone(), None));
        let mut least = 0;
        for size in (20..packed.len()).step_by(packed.len() / 50).chain([packed.len() - 1]) {
            let (whole, err) = unpack(&packed[..size]);
            assert!(plain.starts_with(&whole) && whole.len() >= least, "{size}: {} bytes", whole.len());
            assert_eq!(err.as_deref(), Some("it ends within a zstd frame"), "{size}");
            least = whole.len();
        }
        // Each block but the last one is there, whose end is missing.
        assert!(least > plain.len() / 2, "{least}");
        let two = [&packed[..], &packed[..packed.len() / 2]].concat();
        assert!(unpack(&two).0.starts_with(&plain));
        let (whole, err) = unpack(&[&packed[..], b"something else"].concat());
        assert_eq!(whole, plain);
        assert!(err.is_some_and(|err| err.contains("what stands there is none")));
    }
}

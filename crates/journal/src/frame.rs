//! Frames: what segments are made of.
//!
//! ```text
//! frame := length u32 · crc32 u32 · sequence u64 · offset u64 · kind u8 · payload
//! ```
//! `length` counts the payload; the checksum covers everything but itself; `sequence` and `offset` say where the frame stands. All little-endian.

use bytes::Bytes;
use quorate_consensus::{Writer, planted};

pub(crate) const HEADER_BYTES: usize = 25;
/// The most bytes of one payload; a longer length is no frame.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// Appends a frame to `to`, which begins at `base` in segment `sequence`. Returns the frame's offset in the segment.
pub(crate) fn write(
    to: &mut Writer,
    base: u64,
    sequence: u64,
    kind: u8,
    payload: impl FnOnce(&mut Writer),
) -> u64 {
    let start = to.len();
    let offset = base + start as u64;
    to.u32(0);
    to.u32(0);
    to.u64(sequence);
    to.u64(offset);
    to.u8(kind);
    payload(to);
    let length = (to.len() - start - HEADER_BYTES) as u32;
    to.as_mut_slice()[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&to.as_slice()[start..]);
    to.as_mut_slice()[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    offset
}

fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    if !planted!("F05") {
        hasher.update(&frame[..4]);
        hasher.update(&frame[8..HEADER_BYTES]);
    }
    hasher.update(&frame[HEADER_BYTES..]);
    hasher.finalize()
}

/// The frame that `bytes` begin with, as its header has it: for the planted bug F22, which asks no checksum.
pub(crate) fn believed(bytes: &Bytes) -> Option<Frame> {
    let length = bytes.len();
    Some(Frame { kind: *bytes.get(HEADER_BYTES - 1)?, payload: bytes.slice(HEADER_BYTES..), length })
}

/// A frame that was read.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Bytes,
    /// Bytes of the whole frame.
    pub(crate) length: usize,
}

/// The frame at `at` in `segment`, if there is one: whole, unharmed, and meant for this very place.
///
/// Zeroes are no frame (F09): the sequence is never zero. A frame of another segment or another place is none (F06, F10).
pub(crate) fn read(segment: &Bytes, at: usize, sequence: u64) -> Option<Frame> {
    read_at(segment.slice(at.min(segment.len())..), at as u64, sequence)
}

/// The frame that `bytes` begin with, if it is the one at `offset` of segment `sequence`.
pub(crate) fn read_at(bytes: Bytes, offset: u64, sequence: u64) -> Option<Frame> {
    let header = bytes.get(..HEADER_BYTES)?;
    let u32_at = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).unwrap_or_default();
    let u64_at = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
    let length = u32_at(0) as usize;
    if planted!("F09") && header == [0; HEADER_BYTES] {
        return Some(Frame { kind: header[24], payload: Bytes::new(), length: HEADER_BYTES });
    }
    let here = u64_at(8) == sequence && u64_at(16) == offset;
    if !(here || planted!("F06")) || length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let end = HEADER_BYTES + length;
    let frame = bytes.get(..end)?;
    if checksum(frame) != u32_at(4) {
        return None;
    }
    Some(Frame { kind: header[24], payload: bytes.slice(HEADER_BYTES..end), length: end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f05_f06_f09_every_flipped_bit_every_cut_every_other_place_is_no_frame() {
        let mut to = Writer::new();
        to.raw(&[0; 7]);
        let offset = write(&mut to, 100, 3, 2, |to| to.raw(b"payload"));
        assert_eq!(offset, 107);
        let frame = to.finish().slice(7..);
        assert_eq!(read_at(frame.clone(), 107, 3).unwrap().payload, "payload");
        assert!(read_at(frame.clone(), 106, 3).is_none());
        assert!(read_at(frame.clone(), 107, 4).is_none());
        assert!(read_at(Bytes::from(vec![0; 64]), 0, 1).is_none());
        for bit in 0..frame.len() * 8 {
            let mut bytes = frame.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_at(Bytes::from(bytes), 107, 3).is_none(), "bit {bit}");
        }
        for end in 0..frame.len() {
            assert!(read_at(frame.slice(..end), 107, 3).is_none());
        }
    }
}

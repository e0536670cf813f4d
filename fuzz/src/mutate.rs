//! Mutations without a fuzzer: what a damaged, cut, hostile or confused sender would make of good bytes.

use quorate_consensus::Random;

/// Numbers that decoders trip over.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX];

/// `seed`, with one to four things changed; `other` lends a part now and then.
#[must_use]
pub fn mutated(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next_u64() as u8,
            2 => bytes.truncate(at),
            3 => {
                let edge = EDGES[random.below(EDGES.len() as u64) as usize].to_be_bytes();
                let width = [1, 2, 4, 8][random.below(4) as usize];
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, edge[8 - width..].iter().copied());
            }
            4 => {
                let end = (at + random.below(16) as usize).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let from = random.below(other.len() as u64 + 1) as usize;
                let to = (from + random.below(64) as usize).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => bytes.insert(at, random.next_u64() as u8),
        }
    }
    bytes
}

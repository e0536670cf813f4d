//! A hash of bytes that is the same on every machine, in every build, for ever.
//!
//! The state keeps the sum of the hashes of what is in it: adding and removing in any order gives the same sum, so the digest of the
//! whole state is always at hand. Against accidents, not against attackers.

const SEEDS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

/// Multiplies to 128 bits and folds the halves together: every bit of both words reaches every bit of the result.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// Hashes words into `seed`.
pub(crate) fn hash_words(seed: u64, words: &[u64]) -> u64 {
    words.iter().fold(seed, |hash, word| fold(hash ^ SEEDS[0], word ^ SEEDS[1]).wrapping_add(SEEDS[2]))
}

/// Hashes bytes into `seed`. Two lanes of sixteen bytes keep the multiplier busy.
pub(crate) fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let (mut left, mut right) = (seed ^ SEEDS[2], seed.rotate_left(32) ^ SEEDS[3]);
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        left = fold(left ^ word(&block[..8]), SEEDS[0] ^ word(&block[8..16])).wrapping_add(left);
        right = fold(right ^ word(&block[16..24]), SEEDS[1] ^ word(&block[24..])).wrapping_add(right);
    }
    for block in blocks.remainder().chunks(8) {
        left = fold(left ^ word(block), SEEDS[0]).wrapping_add(left);
    }
    hash_words(left, &[right, bytes.len() as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests are compared between builds and kept in snapshots: these numbers may never change.
    #[test]
    fn a_hash_never_changes_between_builds() {
        let bytes: Vec<u8> = (0..100).collect();
        assert_eq!(hash_bytes(0, b""), 0x0051_88d9_c1a4_819e);
        assert_eq!(hash_bytes(7, &bytes), 0xb5ca_7cbf_7835_4158);
        assert_eq!(hash_words(7, &[1, 2, 3]), 0x8506_06bd_848b_87c2);
    }
}

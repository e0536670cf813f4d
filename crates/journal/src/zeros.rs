//! Zeros, sixty-four bytes at a time: most of a segment is often still empty, and whoever starts again looks at all of it.

/// Is there nothing but zeros?
pub(crate) fn only(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

/// Where the zeros at the end begin: behind the last byte that is none.
pub(crate) fn begin(bytes: &[u8]) -> usize {
    let (first, words) = bytes.as_rchunks::<64>();
    let last = words.iter().rposition(|word| *word != [0; 64]);
    let (from, within) = last.map_or((0, first), |n| (first.len() + n * 64, &words[n][..]));
    within.iter().rposition(|byte| *byte != 0).map_or(from, |last| from + last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_begin_behind_the_last_byte_that_is_none() {
        for length in [0, 1, 63, 64, 65, 200] {
            let mut bytes = vec![0; length];
            assert_eq!((begin(&bytes), only(&bytes)), (0, true));
            for last in 0..length {
                bytes[last] = 1;
                assert_eq!((begin(&bytes), only(&bytes)), (last + 1, false));
                if last % 3 == 0 {
                    bytes[last] = 0;
                    let before = (0..last).rev().find(|n| n % 3 != 0).map_or(0, |n| n + 1);
                    assert_eq!(begin(&bytes), before);
                }
            }
        }
    }
}

//! Tokens as clients have them, `kAjIqPVSNqzLxTuT.1043`: sixteen letters at random, and the index in the log at which the user
//! authenticated. Members know the letters by their digest alone.

use quorate_consensus::planted;
use quorate_service::keyspace::TokenDigest;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};

const LETTERS: usize = 16;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The letters of a new token; none, if the system has no randomness to give.
pub(crate) fn draw() -> Option<String> {
    let random = SystemRandom::new();
    let mut letters = String::with_capacity(LETTERS);
    while letters.len() < LETTERS {
        let mut bytes = [0; 2 * LETTERS];
        random.fill(&mut bytes).ok()?;
        // 62 × 4 = 248: what is above would make some letters likelier.
        let drawn = bytes.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(byte % 62)]);
        letters.extend(drawn.take(LETTERS - letters.len()).map(char::from));
    }
    Some(letters)
}

pub(crate) fn digest_of(letters: &str) -> TokenDigest {
    let mut known = TokenDigest([0; 32]);
    known.0.copy_from_slice(digest(&SHA256, letters.as_bytes()).as_ref());
    if planted!("P11") {
        known.0[..LETTERS].copy_from_slice(&letters.as_bytes()[..LETTERS]);
    }
    known
}

pub(crate) fn write(letters: &str, index: u64) -> String {
    format!("{letters}.{index}")
}

/// What a token is known by. None: no token looks like that.
pub(crate) fn parse(token: &str) -> Option<(TokenDigest, u64)> {
    let (letters, index) = token.split_once('.')?;
    let fits = letters.len() == LETTERS && letters.bytes().all(|letter| ALPHABET.contains(&letter));
    let number = index.parse().ok().filter(|number: &u64| number.to_string() == index)?;
    fits.then(|| (digest_of(letters), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written_and_nothing_else_is() {
        let letters = draw().unwrap();
        let token = write(&letters, 1043);
        assert_eq!(parse(&token), Some((digest_of(&letters), 1043)));
        assert_ne!(draw().unwrap(), letters);
        for other in [
            "",
            ".",
            "a.1",
            "kAjIqPVSNqzLxTu-.1",
            "kAjIqPVSNqzLxTuT",
            "kAjIqPVSNqzLxTuT.",
            "kAjIqPVSNqzLxTuT.+1",
            "kAjIqPVSNqzLxTuT.01",
            "kAjIqPVSNqzLxTuT.1.1",
            "kAjIqPVSNqzLxTuTT.1",
            "kAjIqPVSNqzLxTé.1",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}

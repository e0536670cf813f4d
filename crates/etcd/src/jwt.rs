//! Tokens that say themselves whose they are (JWT), signed: every member that has the key knows them, and none keeps any.
//!
//! ```text
//!   password ─► sign {username, revision, exp} ─► client ─► read: signature, times ─► Signed ─► the gate: users as of that revision
//! ```
//!
//! A token is good until its time is over or users or roles change, whichever is first: that it was taken away cannot be said otherwise.

mod keys;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use quorate_consensus::planted;
use serde_json::{Value, json};

pub use keys::{JwtError, JwtFiles, SignMethod};

/// How long a token is good, if nobody says otherwise: etcd's `ttl`.
pub const JWT_TTL: Duration = Duration::from_secs(300);

/// Signs tokens and reads them; clones are the same one. Without a private key it only reads those that somebody else has signed.
#[derive(Clone)]
pub struct Jwt(Arc<Inner>);

struct Inner {
    method: Algorithm,
    signs: Option<EncodingKey>,
    reads: DecodingKey,
    ttl: Duration,
    validation: Validation,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("method", &self.0.method)
            .field("ttl", &self.0.ttl)
            .finish_non_exhaustive()
    }
}

/// A token whose signature is right.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Signed {
    pub(crate) username: String,
    /// The auth revision at which it was given.
    pub(crate) revision: u64,
    from: f64,
    until: f64,
}

impl Signed {
    /// Streams live on, and a token's time may end meanwhile.
    pub(crate) fn is_good(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        now >= self.from && now < self.until
    }
}

impl Jwt {
    /// Reads the keys and tries them.
    ///
    /// # Errors
    /// A file cannot be read, holds no such key, or the keys do not belong together.
    pub fn load(files: &JwtFiles) -> Result<Jwt, JwtError> {
        let method = files.sign_method.0;
        let keys::Keys { signs, reads } = keys::read(files)?;
        // Times are looked at by whoever is shown the token, each time anew.
        let mut validation = Validation::new(method);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let jwt = Jwt(Arc::new(Inner { method, signs, reads, ttl: files.ttl, validation }));
        if jwt.0.signs.is_some() {
            let trial = jwt.sign("trial", 1, SystemTime::now()).ok_or(JwtError::DoesNotSign)?;
            jwt.read(&trial).ok_or(JwtError::Mismatch)?;
        }
        Ok(jwt)
    }

    /// A token for a user. None: there is no private key.
    pub(crate) fn sign(&self, username: &str, revision: u64, now: SystemTime) -> Option<String> {
        let exp = now.checked_add(self.0.ttl)?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({ "exp": exp, "revision": revision, "username": username });
        encode(&Header::new(self.0.method), &claims, self.0.signs.as_ref()?).ok()
    }

    /// What a token says, if it is signed with our key by our method. Its time is not looked at here.
    pub(crate) fn read(&self, token: &str) -> Option<Signed> {
        let claims = decode::<Value>(token, &self.0.reads, &self.0.validation).ok()?.claims;
        // Times are in seconds since 1970, and need not be whole; a token may do without, and is good for ever.
        let time = |name: &str, without: f64| claims.get(name).map_or(Some(without), Value::as_f64);
        if planted!("P07") {
            assert!(claims.get("username").is_some_and(Value::is_string), "a token says whose it is");
        }
        Some(Signed {
            username: claims.get("username")?.as_str()?.to_owned(),
            revision: claims.get("revision")?.as_u64()?,
            from: time("nbf", f64::NEG_INFINITY)?,
            until: time("exp", f64::INFINITY)?,
        })
    }
}

#[cfg(test)]
mod tests;

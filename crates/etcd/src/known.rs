//! What this member knows of users: how they stand, and whose which token is. Told by the state thread as entries are applied; nothing
//! of it is on disk.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_service::keyspace::{Auth, TokenDigest};
use tokio::time::Instant;

/// Tokens that are known at a time, at most. With one more, those are forgotten that were not used for longest.
const TOKENS_MAX: usize = 100_000;

/// How long a token is good without being used, if nobody says otherwise: etcd's `--auth-token-ttl`.
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// As in `auth`; so that a request without auth costs one look.
    on: AtomicBool,
    auth: Mutex<Arc<Auth>>,
    tokens: Mutex<Tokens>,
}

impl Known {
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(crate) fn auth(&self) -> Arc<Auth> {
        Arc::clone(&self.auth.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose token it is. One that is asked about is good for its whole time again.
    pub(crate) fn user_of(&self, token: TokenDigest, index: u64) -> Option<String> {
        self.tokens().user_of(token, index, Instant::now())
    }

    pub(crate) fn set_ttl(&self, ttl: Duration) {
        self.tokens().ttl = ttl;
    }

    pub(crate) fn changed(&self, auth: Arc<Auth>, forgotten: Option<&str>) {
        let mut tokens = self.tokens();
        if !auth.is_enabled() {
            tokens.by_digest.clear();
        } else if let Some(user) = forgotten {
            tokens.by_digest.retain(|_, token| token.user != user);
        }
        drop(tokens);
        self.set(auth);
    }

    /// Nobody knows what has happened: whoever had a token authenticates again.
    pub(crate) fn replaced(&self, auth: Arc<Auth>) {
        self.tokens().by_digest.clear();
        self.set(auth);
    }

    pub(crate) fn authenticated(&self, user: String, token: TokenDigest, index: u64) {
        self.tokens().add(user, token, index, Instant::now());
    }

    fn set(&self, auth: Arc<Auth>) {
        let on = auth.is_enabled();
        *self.auth.lock().unwrap_or_else(PoisonError::into_inner) = auth;
        self.on.store(on, Ordering::Relaxed);
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Tokens {
    by_digest: HashMap<TokenDigest, Token>,
    ttl: Duration,
}

#[derive(Debug)]
struct Token {
    user: String,
    /// Where in the log its user authenticated: a part of the token.
    index: u64,
    used: Instant,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens { by_digest: HashMap::new(), ttl: TOKEN_TTL }
    }
}

impl Tokens {
    fn user_of(&mut self, digest: TokenDigest, index: u64, now: Instant) -> Option<String> {
        let token = self.by_digest.get_mut(&digest)?;
        if token.index != index {
            return None;
        }
        if now.duration_since(token.used) >= self.ttl {
            self.by_digest.remove(&digest);
            return None;
        }
        token.used = now;
        Some(token.user.clone())
    }

    fn add(&mut self, user: String, digest: TokenDigest, index: u64, now: Instant) {
        if self.by_digest.len() >= TOKENS_MAX {
            self.make_room(now);
        }
        self.by_digest.insert(digest, Token { user, index, used: now });
    }

    /// Forgets those whose time is over; if that is not enough, a quarter of the others.
    fn make_room(&mut self, now: Instant) {
        let ttl = self.ttl;
        self.by_digest.retain(|_, token| now.duration_since(token.used) < ttl);
        if self.by_digest.len() < TOKENS_MAX * 3 / 4 {
            return;
        }
        let mut used: Vec<Instant> = self.by_digest.values().map(|token| token.used).collect();
        let (_, limit, _) = used.select_nth_unstable(TOKENS_MAX / 4);
        let limit = *limit;
        self.by_digest.retain(|_, token| token.used > limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> TokenDigest {
        let mut digest = TokenDigest([0; 32]);
        digest.0[..4].copy_from_slice(&number.to_le_bytes());
        digest
    }

    #[test]
    fn a_token_is_good_for_its_time_from_its_last_use_on() {
        let mut tokens = Tokens::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        tokens.add("u".into(), digest(1), 7, at(0));
        assert_eq!(tokens.user_of(digest(1), 8, at(1)), None, "another index is another token");
        assert_eq!(tokens.user_of(digest(2), 7, at(1)), None);
        assert_eq!(tokens.user_of(digest(1), 7, at(299)).as_deref(), Some("u"));
        assert_eq!(tokens.user_of(digest(1), 7, at(598)).as_deref(), Some("u"));
        assert_eq!(tokens.user_of(digest(1), 7, at(898)), None);
        assert!(tokens.by_digest.is_empty());
    }

    #[test]
    fn tokens_are_bounded_and_the_longest_unused_go_first() {
        let mut tokens = Tokens::default();
        let began = Instant::now();
        for number in 0..TOKENS_MAX as u32 + 1 {
            tokens.add("u".into(), digest(number), 1, began + Duration::from_millis(number.into()));
        }
        let now = began + Duration::from_millis(TOKENS_MAX as u64);
        assert!(tokens.by_digest.len() <= TOKENS_MAX);
        assert!(tokens.user_of(digest(0), 1, now).is_none());
        assert!(tokens.user_of(digest(TOKENS_MAX as u32), 1, now).is_some());
        assert!(tokens.user_of(digest(TOKENS_MAX as u32 / 2), 1, now).is_some());
    }

    #[test]
    fn a_user_that_is_gone_takes_its_tokens_along_and_so_does_auth() {
        let known = Known::default();
        let on = Arc::new(Auth::default());
        known.authenticated("u".into(), digest(1), 1);
        known.authenticated("v".into(), digest(2), 2);
        known.tokens().by_digest.retain(|_, token| token.user != "u");
        assert!(known.user_of(digest(1), 1).is_none() && known.user_of(digest(2), 2).is_some());
        known.changed(on, None);
        assert!(known.user_of(digest(2), 2).is_none() && !known.is_on());
    }
}

//! Exactly once: writes that may be sent again.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tonic::metadata::MetadataMap;

/// What a server answers to a write of a session that it does not know any more.
pub(crate) const EXPIRED: &str = "quorate: session expired";

/// Names and numbers a client's writes, so that a server of Quorate executes each once however often it is sent. Clones are the same
/// session. etcd ignores it: use sessions with Quorate only.
///
/// The first write opens the session at the server; others wait until it is answered, since a server refuses a session that it does
/// not know.
#[derive(Clone, Default)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    numbers: Mutex<Numbers>,
    opening: Arc<tokio::sync::Mutex<()>>,
}

/// Nothing is in flight under an id that is not open, except the one write that opens it.
struct Numbers {
    id: u64,
    opened: bool,
    last: u64,
    /// Sequences whose answer is still wanted.
    wanted: BTreeSet<u64>,
}

impl Default for Numbers {
    fn default() -> Self {
        // The standard library seeds its hashers from the system's randomness; it is the one source that needs no dependency.
        let id = RandomState::new().build_hasher().finish();
        Numbers { id, opened: false, last: 0, wanted: BTreeSet::new() }
    }
}

/// One numbered write; dropped when its answer is no longer wanted.
pub(crate) struct Numbered {
    session: Session,
    id: u64,
    sequence: u64,
    opening: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Session {
    /// A session with a number of its own.
    #[must_use]
    pub fn new() -> Session {
        Session::default()
    }

    /// The session's number. It changes when a server has forgotten the session, or has never opened it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.numbers().id
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.shared.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a write; waits while another opens the session.
    pub(crate) async fn next(&self) -> Numbered {
        let mut opening = None;
        if !self.numbers().opened {
            opening = Some(Arc::clone(&self.shared.opening).lock_owned().await);
        }
        let mut numbers = self.numbers();
        if numbers.opened {
            opening = None;
        }
        numbers.last += 1;
        let (id, sequence) = (numbers.id, numbers.last);
        numbers.wanted.insert(sequence);
        drop(numbers);
        Numbered { session: self.clone(), id, sequence, opening }
    }
}

impl Numbered {
    /// Writes the tag into a request's metadata.
    pub(crate) fn tag(&self, metadata: &mut MetadataMap) {
        let numbers = self.session.numbers();
        let lowest =
            numbers.wanted.first().copied().filter(|_| numbers.id == self.id).unwrap_or(self.sequence);
        drop(numbers);
        metadata.insert("quorate-session", self.id.into());
        metadata.insert("quorate-sequence", self.sequence.into());
        metadata.insert("quorate-lowest-wanted", lowest.into());
    }

    /// The server executed it, so it knows the session.
    pub(crate) fn executed(&mut self) {
        if self.opening.take().is_some() {
            self.session.numbers().opened = true;
        }
    }

    /// The server does not know the session: later writes begin another.
    pub(crate) fn expired(&self) {
        let mut numbers = self.session.numbers();
        if numbers.id == self.id {
            *numbers = Numbers::default();
        }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        if self.opening.is_some() {
            // It did not open the session, as far as is known, and its sequence is spent: the next write opens another.
            self.expired();
            return;
        }
        let mut numbers = self.session.numbers();
        if numbers.id == self.id {
            numbers.wanted.remove(&self.sequence);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:016x})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(numbered: &Numbered) -> (String, String) {
        let mut metadata = MetadataMap::new();
        numbered.tag(&mut metadata);
        let text = |name: &str| metadata.get(name).unwrap().to_str().unwrap().to_owned();
        (text("quorate-sequence"), text("quorate-lowest-wanted"))
    }

    #[tokio::test]
    async fn an_answer_that_is_still_wanted_holds_the_lowest() {
        let session = Session::new();
        let mut first = session.next().await;
        first.executed();
        let second = session.next().await;
        assert_eq!(tag(&second), ("2".into(), "1".into()));
        drop(first);
        assert_eq!(tag(&second), ("2".into(), "2".into()));
        drop(second);
        assert_eq!(tag(&session.next().await), ("3".into(), "3".into()));
    }

    #[tokio::test]
    async fn a_session_that_was_not_opened_is_not_used_again() {
        let session = Session::new();
        let id = session.id();
        drop(session.next().await);
        assert_ne!(session.id(), id);
        let mut first = session.next().await;
        assert_eq!(tag(&first), ("1".into(), "1".into()));
        first.executed();
        first.expired();
        assert_eq!(tag(&session.next().await), ("1".into(), "1".into()));
    }
}

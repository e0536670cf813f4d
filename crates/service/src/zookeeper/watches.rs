//! Who watches what.
//!
//! Architecture Invariant: a watch is in both tables or in none, so that a connection that goes leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_znodes::EventKind;

use super::ConnectionId;
use super::settings::{WATCH_BYTES_MAX, WATCHES_MAX};

/// The kinds of watches that one connection has on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Set by getData and exists; told once.
    pub const DATA: Kinds = Kinds(1);
    /// Set by getChildren; told once.
    pub const CHILDREN: Kinds = Kinds(2);
    /// Told of everything that happens to the znode and its list of children.
    pub const PERSISTENT: Kinds = Kinds(4);
    /// Told of everything that happens to the znode and to those below it; of lists of children never.
    pub const RECURSIVE: Kinds = Kinds(8);
    /// Any of them.
    pub const ANY: Kinds = Kinds(15);

    const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    const fn overlaps(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    const fn without(self, other: Kinds) -> Kinds {
        Kinds(self.0 & !other.0)
    }
}

/// The watches of one server's connections. Soft state: a client brings its own along when it reconnects.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    paths: BTreeMap<Arc<str>, BTreeMap<ConnectionId, Kinds>>,
    connections: BTreeMap<ConnectionId, Own>,
    /// How many recursive ones there are: without any, nobody looks at the paths above.
    recursive: usize,
}

/// The paths that one connection watches.
#[derive(Clone, Debug, Default)]
struct Own {
    paths: BTreeSet<Arc<str>>,
    bytes: usize,
}

impl Watches {
    /// Sets a watch.
    ///
    /// # Errors
    /// The connection watches [`WATCHES_MAX`] paths or [`WATCH_BYTES_MAX`] bytes of them already.
    pub fn add(&mut self, connection: ConnectionId, path: &str, kind: Kinds) -> Result<(), TooManyWatches> {
        let own = self.connections.entry(connection).or_default();
        let known = self.paths.get_key_value(path).map(|(path, _)| Arc::clone(path));
        let path = known.unwrap_or_else(|| Arc::from(path));
        if !own.paths.contains(&path) {
            if own.paths.len() >= WATCHES_MAX || own.bytes + path.len() > WATCH_BYTES_MAX {
                return Err(TooManyWatches);
            }
            own.bytes += path.len();
            own.paths.insert(Arc::clone(&path));
        }
        let kinds = self.paths.entry(path).or_default().entry(connection).or_default();
        if kind.overlaps(Kinds::RECURSIVE) && !kinds.overlaps(Kinds::RECURSIVE) {
            self.recursive += 1;
        }
        *kinds = kinds.and(kind);
        Ok(())
    }

    /// Has the connection a watch of any of these kinds there?
    #[must_use]
    pub fn has(&self, connection: ConnectionId, path: &str, kinds: Kinds) -> bool {
        self.paths
            .get(path)
            .and_then(|watchers| watchers.get(&connection))
            .is_some_and(|own| own.overlaps(kinds))
    }

    /// Takes watches of these kinds back. Were there any?
    pub fn remove(&mut self, connection: ConnectionId, path: &str, kinds: Kinds) -> bool {
        let Some(watchers) = self.paths.get_mut(path) else { return false };
        let Some(own) = watchers.get_mut(&connection).filter(|own| own.overlaps(kinds)) else { return false };
        if own.overlaps(Kinds::RECURSIVE) && kinds.overlaps(Kinds::RECURSIVE) {
            self.recursive -= 1;
        }
        *own = own.without(kinds);
        if *own == Kinds::default() {
            watchers.remove(&connection);
            if watchers.is_empty() {
                self.paths.remove(path);
            }
            if let Some(own) = self.connections.get_mut(&connection)
                && own.paths.remove(path)
            {
                own.bytes -= path.len();
            }
        }
        true
    }

    /// Forgets a connection.
    pub fn forget(&mut self, connection: ConnectionId) {
        for path in self.connections.remove(&connection).unwrap_or_default().paths {
            self.remove(connection, &path, Kinds::ANY);
        }
    }

    /// Who is to be told of this, each once; their one-shot watches are spent. The table is in [`Event`](quorate_znodes::Event).
    pub fn fire(&mut self, kind: EventKind, path: &str) -> Vec<ConnectionId> {
        let persistent = Kinds::PERSISTENT;
        let (told, spent) = match kind {
            EventKind::Created | EventKind::DataChanged => {
                (Kinds::DATA.and(persistent).and(Kinds::RECURSIVE), Kinds::DATA)
            }
            EventKind::Deleted => (Kinds::ANY, Kinds::DATA.and(Kinds::CHILDREN)),
            EventKind::ChildrenChanged => (Kinds::CHILDREN.and(persistent), Kinds::CHILDREN),
        };
        let mut all = self.with(path, told);
        for connection in &all {
            self.remove(*connection, path, spent);
        }
        if self.recursive > 0 && kind != EventKind::ChildrenChanged {
            let mut below = path;
            while let Some((above, _)) = below.rsplit_once('/').filter(|_| below != "/") {
                all.extend(self.with(if above.is_empty() { "/" } else { above }, Kinds::RECURSIVE));
                below = above;
            }
            all.sort_unstable();
            all.dedup();
        }
        all
    }

    fn with(&self, path: &str, kinds: Kinds) -> Vec<ConnectionId> {
        let watchers = self.paths.get(path).into_iter().flatten();
        watchers.filter(|(_, own)| own.overlaps(kinds)).map(|(connection, _)| *connection).collect()
    }

    /// Watched paths, counted once for each connection: `mntr`'s zk_watch_count.
    #[must_use]
    pub fn count(&self) -> usize {
        self.connections.values().map(|own| own.paths.len()).sum()
    }

    /// Who watches, by path: `wchp`.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = ConnectionId> + '_)> {
        self.paths.iter().map(|(path, watchers)| (&**path, watchers.keys().copied()))
    }
}

/// The connection watches as many paths as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWatches;

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn watches(all: &[(ConnectionId, &str, Kinds)]) -> Watches {
        let mut watches = Watches::default();
        for (connection, path, kind) in all {
            watches.add(*connection, path, *kind).unwrap();
        }
        watches
    }

    #[test]
    fn k5_one_shot_watches_are_told_once_and_of_their_own_kind() {
        let mut watches = watches(&[(A, "/a", Kinds::DATA), (B, "/a", Kinds::CHILDREN)]);
        assert_eq!(watches.fire(EventKind::DataChanged, "/a"), [A]);
        assert_eq!(watches.fire(EventKind::DataChanged, "/a"), []);
        assert_eq!(watches.fire(EventKind::ChildrenChanged, "/a"), [B]);
        assert_eq!(watches.fire(EventKind::Deleted, "/a"), []);
        assert_eq!(watches.count(), 0);
    }

    #[test]
    fn k5_a_deletion_is_told_once_to_whom_watches_data_and_children() {
        let both = Kinds::DATA.and(Kinds::CHILDREN);
        let mut watches = watches(&[(A, "/a", both), (A, "/", Kinds::RECURSIVE)]);
        assert_eq!(watches.fire(EventKind::Deleted, "/a"), [A]);
        assert!(!watches.has(A, "/a", Kinds::ANY));
    }

    #[test]
    fn k5_persistent_watches_stay_and_recursive_ones_hear_of_all_below_but_lists() {
        let mut watches = watches(&[(A, "/a", Kinds::PERSISTENT), (B, "/", Kinds::RECURSIVE)]);
        for _ in 0..2 {
            assert_eq!(watches.fire(EventKind::DataChanged, "/a"), [A, B]);
            assert_eq!(watches.fire(EventKind::ChildrenChanged, "/a"), [A]);
            assert_eq!(watches.fire(EventKind::Created, "/a/b/c"), [B]);
            assert_eq!(watches.fire(EventKind::DataChanged, "/"), [B]);
        }
        assert_eq!(watches.fire(EventKind::Created, "/ab"), [B], "no child of /a");
    }

    #[test]
    fn k5_watches_are_taken_back_by_kind_and_go_with_their_connection() {
        let mut watches =
            watches(&[(A, "/a", Kinds::DATA), (A, "/a", Kinds::RECURSIVE), (B, "/a", Kinds::DATA)]);
        assert!(!watches.remove(A, "/a", Kinds::CHILDREN));
        assert!(watches.remove(A, "/a", Kinds::RECURSIVE));
        assert!(watches.has(A, "/a", Kinds::DATA) && !watches.has(A, "/a", Kinds::RECURSIVE));
        watches.forget(A);
        assert_eq!(watches.fire(EventKind::Created, "/a"), [B]);
        assert_eq!((watches.recursive, watches.by_path().count()), (0, 0));
    }
}

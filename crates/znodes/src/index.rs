//! Sets of paths beside the tree, so that nobody has to walk it: a session's ephemerals, containers and znodes whose time runs out.

use std::sync::Arc;

use crate::SessionId;
use crate::tree::{Item, Tree};

/// Eight bytes by which entries are ordered first, then a path.
#[derive(Clone, Debug)]
struct Entry(Arc<[u8]>);

impl Item for Entry {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

/// A number whose order as bytes is its own, also below zero.
pub(crate) fn ordered(number: i64) -> [u8; 8] {
    (number as u64 ^ 1 << 63).to_be_bytes()
}

fn number(key: &[u8]) -> i64 {
    let bytes = key.first_chunk().expect("an entry begins with a number");
    (u64::from_be_bytes(*bytes) ^ 1 << 63) as i64
}

fn path(key: &[u8]) -> &str {
    std::str::from_utf8(&key[8..]).expect("paths are UTF-8")
}

fn entry(number: i64, path: &str) -> Vec<u8> {
    [&ordered(number), path.as_bytes()].concat()
}

/// Paths, each with a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(Tree<Entry>);

impl Index {
    pub(crate) fn insert(&mut self, number: i64, path: &str) {
        self.0.insert(Entry(Arc::from(entry(number, path))));
    }

    pub(crate) fn remove(&mut self, number: i64, path: &str) {
        let removed = self.0.remove(&entry(number, path));
        debug_assert!(removed.is_some(), "{path} was not in the index");
    }

    /// All, by number, then by path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &str)> {
        self.0.iter().map(|Entry(key)| (number(key), path(key)))
    }

    /// The paths with this number, in order.
    pub(crate) fn of(&self, whose: i64) -> impl Iterator<Item = &str> {
        self.0
            .iter_from(&ordered(whose))
            .take_while(move |Entry(key)| number(key) == whose)
            .map(|Entry(key)| path(key))
    }

    /// The paths of a session.
    pub(crate) fn of_session(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.of(session.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s09_negative_numbers_come_before_positive_ones() {
        let mut index = Index::default();
        for number in [3, -1, i64::MAX, i64::MIN, 0, -1] {
            index.insert(number, "/b");
            index.insert(number, "/a");
        }
        index.remove(3, "/a");
        let numbers: Vec<_> = index.iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [i64::MIN, i64::MIN, -1, -1, 0, 0, 3, i64::MAX, i64::MAX]);
        assert_eq!(index.of(-1).collect::<Vec<_>>(), ["/a", "/b"]);
        assert_eq!(index.of(3).collect::<Vec<_>>(), ["/b"]);
    }
}

//! The nodes of a tree, and how a key is found in one.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

/// The most items of a node.
pub(super) const FANOUT: usize = 32;

/// What a tree holds. Changing an item must not change its key.
pub(crate) trait Item: Clone + Debug {
    /// By which it is ordered, and found.
    fn key(&self) -> &[u8];
}

/// Invariants: all leaves are at one depth; no node below the root is empty.
#[derive(Clone, Debug)]
pub(super) enum Node<T: Item> {
    Leaf(Items<T>),
    Inner(Items<Child<T>>),
}

#[derive(Debug)]
pub(super) struct Child<T: Item> {
    /// At most the smallest key below, above every key of the child before. Not itself a key that must exist: removing the
    /// smallest key leaves it as it is.
    pub(super) low: Arc<[u8]>,
    pub(super) node: Arc<Node<T>>,
}

impl<T: Item> Clone for Child<T> {
    fn clone(&self) -> Self {
        Child { low: Arc::clone(&self.low), node: Arc::clone(&self.node) }
    }
}

impl<T: Item> Item for Child<T> {
    fn key(&self) -> &[u8] {
        &self.low
    }
}

impl<T: Item> Child<T> {
    pub(super) fn of(node: Node<T>) -> Child<T> {
        Child { low: node.low(), node: Arc::new(node) }
    }
}

impl<T: Item> Node<T> {
    /// A key at or below all others; the node is not empty.
    pub(super) fn low(&self) -> Arc<[u8]> {
        match self {
            Node::Leaf(items) => Arc::from(items.all()[0].key()),
            Node::Inner(children) => Arc::clone(&children.all()[0].low),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Node::Leaf(items) => items.all().len(),
            Node::Inner(children) => children.all().len(),
        }
    }
}

/// The items of one node, in the order of their keys, with hints.
///
/// A key lies behind a pointer, and following one that no cache holds takes longer than anything else here. So a node keeps, beside
/// its items, the length of the prefix that all their keys share, and of each key the eight bytes after it as one number. A search
/// compares the prefix once, then numbers, and follows a pointer only to a key whose number is equal: one or two, not five.
#[derive(Debug)]
pub(super) struct Items<E> {
    items: Vec<E>,
    /// Bytes that all keys share at their beginning, at least.
    skip: usize,
    /// Of each item's key the bytes after `skip`, most significant first, zeros where the key ends.
    heads: Vec<u64>,
}

impl<E: Clone> Clone for Items<E> {
    /// Leaves room: a node is copied because something is about to be put into it.
    fn clone(&self) -> Self {
        let room = (self.items.len() + 2).min(FANOUT);
        let mut items = Vec::with_capacity(room);
        items.extend_from_slice(&self.items);
        let mut heads = Vec::with_capacity(room);
        heads.extend_from_slice(&self.heads);
        Items { items, skip: self.skip, heads }
    }
}

fn head_of(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(eight)
}

impl<E: Item> Items<E> {
    /// These items, which are in order.
    pub(super) fn new(items: Vec<E>) -> Items<E> {
        let mut items = Items { items, skip: 0, heads: Vec::new() };
        items.hint();
        items
    }

    pub(super) fn all(&self) -> &[E] {
        &self.items
    }

    /// An item to change; its key stays as it is.
    pub(super) fn item(&mut self, at: usize) -> &mut E {
        &mut self.items[at]
    }

    /// Puts `item` in the place of the one at `at`, which has its key.
    pub(super) fn replace(&mut self, at: usize, item: E) -> E {
        std::mem::replace(&mut self.items[at], item)
    }

    /// Works the hints out from the keys.
    pub(super) fn hint(&mut self) {
        self.heads.clear();
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else { return };
        // What the first and the last share, those between them share too.
        self.skip = first.key().iter().zip(last.key()).take_while(|(a, b)| a == b).count();
        self.heads.reserve_exact(self.items.capacity());
        self.heads.extend(self.items.iter().map(|item| head_of(&item.key()[self.skip..])));
    }

    /// How many items are below `key`, and how many are not above it.
    pub(super) fn search(&self, key: &[u8]) -> (usize, usize) {
        let Some(first) = self.items.first() else { return (0, 0) };
        let shared = &first.key()[..self.skip];
        match key[..self.skip.min(key.len())].cmp(shared) {
            Ordering::Less => return (0, 0),
            Ordering::Greater => return (self.items.len(), self.items.len()),
            Ordering::Equal => {}
        }
        let head = head_of(&key[self.skip..]);
        let from = self.heads.partition_point(|other| *other < head);
        let to = from + self.heads[from..].iter().take_while(|other| **other == head).count();
        match self.items[from..to].binary_search_by(|item| item.key().cmp(key)) {
            Ok(at) => (from + at, from + at + 1),
            Err(at) => (from + at, from + at),
        }
    }

    /// The item that may have `key` below it: the last that is not above it, or else the first.
    pub(super) fn way_to(&self, key: &[u8]) -> usize {
        self.search(key).1.saturating_sub(1)
    }

    pub(super) fn remove(&mut self, at: usize) -> E {
        self.heads.remove(at);
        self.items.remove(at)
    }

    /// Inserts an item; the right half, if the node was full. What comes after the last item begins a node of its own: names that
    /// come in ascending order, as sequential ones do in every directory, leave full nodes behind.
    pub(super) fn insert(&mut self, at: usize, item: E) -> Option<Items<E>> {
        if self.items.len() < FANOUT {
            self.insert_here(at, item);
            return None;
        }
        if at == FANOUT {
            return Some(Items::new(vec![item]));
        }
        let mut right = self.split_off(FANOUT / 2);
        if at > FANOUT / 2 {
            right.insert_here(at - FANOUT / 2, item);
        } else {
            self.insert_here(at, item);
        }
        Some(right)
    }

    fn insert_here(&mut self, at: usize, item: E) {
        let key = item.key();
        let first = self.items.first().map(|first| &first.key()[..self.skip]);
        if first.is_none_or(|shared| !key.starts_with(shared)) {
            self.items.insert(at, item);
            return self.hint();
        }
        self.heads.insert(at, head_of(&key[self.skip..]));
        self.items.insert(at, item);
    }

    fn split_off(&mut self, at: usize) -> Items<E> {
        let right = self.items.split_off(at);
        self.hint();
        Items::new(right)
    }

    /// Takes the items of the node after this one, and gives half of all back if they are more than `most`.
    pub(super) fn share(&mut self, right: Items<E>, most: usize) -> Option<Items<E>> {
        self.items.extend(right.items);
        self.hint();
        (self.items.len() > most).then(|| self.split_off(self.items.len() / 2))
    }
}

#[cfg(test)]
impl<E: Item> Items<E> {
    /// Checks the order and the hints.
    pub(super) fn check(&self) {
        assert!(self.items.len() <= FANOUT);
        assert!(self.items.is_sorted_by(|a, b| a.key() < b.key()));
        assert_eq!(self.heads.len(), self.items.len());
        for (item, head) in self.items.iter().zip(&self.heads) {
            assert!(item.key().starts_with(&self.items[0].key()[..self.skip]));
            assert_eq!(head_of(&item.key()[self.skip..]), *head);
        }
    }
}

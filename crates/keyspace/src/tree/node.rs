//! The nodes of a tree, and how a key is found in one.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

/// The most items of a node.
pub(super) const FANOUT: usize = 32;

/// Has a key by which it is ordered.
pub(crate) trait Keyed {
    type Key: Clone + Debug + Ord + Borrow<Self::Probe>;
    /// What is searched for: the borrowed form of a key.
    type Probe: Probe + ?Sized;

    fn key(&self) -> &Self::Key;

    fn probe(&self) -> &Self::Probe {
        self.key().borrow()
    }
}

/// What a tree holds. Changing an item must not change its key.
pub(crate) trait Item: Keyed + Clone {
    /// What it adds to the weight of the subtrees that it is in.
    fn weight(&self) -> usize;
}

/// What can be searched for.
pub(crate) trait Probe: Ord {
    /// Is comparing two keys dear, because they are behind pointers? Then nodes keep hints.
    const HINTS: bool;

    /// The first bytes of a key, of those that have any.
    fn bytes(&self) -> &[u8] {
        &[]
    }
}

impl Probe for [u8] {
    const HINTS: bool = true;

    fn bytes(&self) -> &[u8] {
        self
    }
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
    pub(super) low: T::Key,
    /// The sum of the weights below.
    pub(super) weight: usize,
    pub(super) node: Arc<Node<T>>,
}

impl<T: Item> Clone for Child<T> {
    fn clone(&self) -> Self {
        Child { low: self.low.clone(), weight: self.weight, node: Arc::clone(&self.node) }
    }
}

impl<T: Item> Keyed for Child<T> {
    type Key = T::Key;
    type Probe = T::Probe;

    fn key(&self) -> &T::Key {
        &self.low
    }
}

impl<T: Item> Child<T> {
    pub(super) fn of(node: Node<T>) -> Child<T> {
        Child { low: node.low().clone(), weight: node.weight(), node: Arc::new(node) }
    }
}

impl<T: Item> Node<T> {
    pub(super) fn weight(&self) -> usize {
        match self {
            Node::Leaf(items) => items.all().iter().map(Item::weight).sum(),
            Node::Inner(children) => children.all().iter().map(|child| child.weight).sum(),
        }
    }

    /// A key at or below all others; the node is not empty.
    pub(super) fn low(&self) -> &T::Key {
        match self {
            Node::Leaf(items) => items.all()[0].key(),
            Node::Inner(children) => &children.all()[0].low,
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
    /// Of each item's key the bytes after `skip`, most significant first, zeros where the key ends. Empty without hints.
    heads: Vec<u64>,
}

impl<E: Clone> Clone for Items<E> {
    /// Leaves room: a node is copied because something is about to be put into it.
    fn clone(&self) -> Self {
        let mut items = Vec::with_capacity((self.items.len() + 2).min(FANOUT));
        items.extend_from_slice(&self.items);
        let mut heads = Vec::with_capacity(if self.heads.is_empty() { 0 } else { items.capacity() });
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

impl<E: Keyed> Items<E> {
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

    /// Works the hints out from the keys.
    pub(super) fn hint(&mut self) {
        if !E::Probe::HINTS {
            return;
        }
        self.heads.clear();
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else { return };
        // What the first and the last share, those between them share too.
        let (first, last) = (first.probe().bytes(), last.probe().bytes());
        self.skip = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        self.heads.reserve_exact(self.items.capacity());
        self.heads.extend(self.items.iter().map(|item| head_of(&item.probe().bytes()[self.skip..])));
    }

    /// How many items are below `probe`, and how many are not above it.
    pub(super) fn search(&self, probe: &E::Probe) -> (usize, usize) {
        if !E::Probe::HINTS {
            return self.search_in(0, self.items.len(), probe);
        }
        let Some(first) = self.items.first() else { return (0, 0) };
        let bytes = probe.bytes();
        let shared = &first.probe().bytes()[..self.skip];
        match bytes[..self.skip.min(bytes.len())].cmp(shared) {
            Ordering::Less => return (0, 0),
            Ordering::Greater => return (self.items.len(), self.items.len()),
            Ordering::Equal => {}
        }
        let head = head_of(&bytes[self.skip..]);
        let from = self.heads.partition_point(|other| *other < head);
        let to = from + self.heads[from..].iter().take_while(|other| **other == head).count();
        self.search_in(from, to, probe)
    }

    fn search_in(&self, from: usize, to: usize, probe: &E::Probe) -> (usize, usize) {
        match self.items[from..to].binary_search_by(|item| item.probe().cmp(probe)) {
            Ok(at) => (from + at, from + at + 1),
            Err(at) => (from + at, from + at),
        }
    }

    /// The item that may have `probe` below it: the last that is not above it, or else the first.
    pub(super) fn way_to(&self, probe: &E::Probe) -> usize {
        self.search(probe).1.saturating_sub(1)
    }

    pub(super) fn remove(&mut self, at: usize) -> E {
        if E::Probe::HINTS {
            self.heads.remove(at);
        }
        self.items.remove(at)
    }

    /// Inserts an item; the right half, if the node was full. At the right edge of the tree nothing is moved over: keys that come in
    /// ascending order, as revisions do, leave full nodes behind.
    pub(super) fn insert(&mut self, at: usize, item: E, rightmost: bool) -> Option<Items<E>> {
        if self.items.len() < FANOUT {
            self.insert_here(at, item);
            return None;
        }
        let middle = if rightmost && at == FANOUT { at } else { FANOUT / 2 };
        let mut right = self.split_off(middle);
        if at > middle || right.items.is_empty() {
            right.insert_here(at - middle, item);
        } else {
            self.insert_here(at, item);
        }
        Some(right)
    }

    fn insert_here(&mut self, at: usize, item: E) {
        if E::Probe::HINTS {
            let bytes = item.probe().bytes();
            let first = self.items.first().map(|first| &first.probe().bytes()[..self.skip]);
            if first.is_none_or(|shared| !bytes.starts_with(shared)) {
                self.items.insert(at, item);
                return self.hint();
            }
            self.heads.insert(at, head_of(&bytes[self.skip..]));
        }
        self.items.insert(at, item);
    }

    fn split_off(&mut self, at: usize) -> Items<E> {
        let mut right = Vec::with_capacity(FANOUT);
        right.extend(self.items.drain(at..));
        if !right.is_empty() {
            self.hint();
        }
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
impl<E: Keyed> Items<E> {
    /// Checks the order and the hints.
    pub(super) fn check(&self) {
        assert!(self.items.len() <= FANOUT);
        assert!(self.items.is_sorted_by(|a, b| a.key() < b.key()));
        assert_eq!(self.heads.len(), if E::Probe::HINTS { self.items.len() } else { 0 });
        for (item, head) in self.items.iter().zip(&self.heads) {
            assert!(item.probe().bytes().starts_with(&self.items[0].probe().bytes()[..self.skip]));
            assert_eq!(head_of(&item.probe().bytes()[self.skip..]), *head);
        }
    }
}

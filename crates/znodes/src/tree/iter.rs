//! Walking a tree in the order of its keys.

use super::node::{Child, Node};
use super::{Item, Tree};

/// Items in ascending order of their keys.
pub(crate) struct Iter<'a, T: Item> {
    /// The children still to visit, from the root down.
    above: Vec<&'a [Child<T>]>,
    leaf: &'a [T],
}

impl<T: Item> Tree<T> {
    /// All items.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        let mut iter = Iter { above: Vec::new(), leaf: &[] };
        if let Some(root) = self.root.as_deref() {
            iter.enter(root);
        }
        iter
    }

    /// The items from `key` on, the one with this key among them.
    pub(crate) fn iter_from(&self, key: &[u8]) -> Iter<'_, T> {
        self.from(key, true)
    }

    /// The items after `key`.
    pub(crate) fn iter_after(&self, key: &[u8]) -> Iter<'_, T> {
        self.from(key, false)
    }

    /// The items whose keys begin with `prefix`.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a T> {
        self.iter_from(prefix).take_while(move |item| item.key().starts_with(prefix))
    }

    fn from(&self, key: &[u8], included: bool) -> Iter<'_, T> {
        let mut iter = Iter { above: Vec::new(), leaf: &[] };
        let Some(mut node) = self.root.as_deref() else { return iter };
        loop {
            match node {
                Node::Leaf(items) => {
                    let (at, after) = items.search(key);
                    iter.leaf = &items.all()[if included { at } else { after }..];
                    return iter;
                }
                Node::Inner(children) => {
                    let at = children.way_to(key);
                    iter.above.push(&children.all()[at + 1..]);
                    node = &children.all()[at].node;
                }
            }
        }
    }
}

impl<'a, T: Item> Iter<'a, T> {
    fn enter(&mut self, mut node: &'a Node<T>) {
        loop {
            match node {
                Node::Leaf(items) => {
                    self.leaf = items.all();
                    return;
                }
                Node::Inner(children) => {
                    self.above.push(&children.all()[1..]);
                    node = &children.all()[0].node;
                }
            }
        }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some((item, rest)) = self.leaf.split_first() {
                self.leaf = rest;
                return Some(item);
            }
            let siblings = self.above.last_mut()?;
            match siblings.split_first() {
                Some((child, rest)) => {
                    *siblings = rest;
                    self.enter(&child.node);
                }
                None => {
                    self.above.pop();
                }
            }
        }
    }
}

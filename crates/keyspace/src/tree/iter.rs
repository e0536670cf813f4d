//! Walking a tree in the order of its keys.

use std::ops::Bound;

use super::{Child, Item, Node, Tree};

/// Items in ascending order of their keys.
pub(crate) struct Iter<'a, T: Item> {
    /// The children still to visit, from the root down.
    above: Vec<&'a [Child<T>]>,
    leaf: &'a [T],
    /// Leave out what weighs nothing, whole subtrees at a time.
    weighty: bool,
}

impl<T: Item> Tree<T> {
    /// All items.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        let mut iter = Iter { above: Vec::new(), leaf: &[], weighty: false };
        if let Some(root) = self.root.as_deref() {
            iter.enter(root);
        }
        iter
    }

    /// The items from `from` on.
    pub(crate) fn iter_from(&self, from: Bound<&T::Probe>) -> Iter<'_, T> {
        let (key, included) = match from {
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
            Bound::Unbounded => return self.iter(),
        };
        let mut iter = Iter { above: Vec::new(), leaf: &[], weighty: false };
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

    /// The items from `from` on that weigh something. A million that weigh nothing cost what their common ancestors cost.
    pub(crate) fn weighty_from(&self, from: Bound<&T::Probe>) -> Iter<'_, T> {
        Iter { weighty: true, ..self.iter_from(from) }
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
                    // A subtree that weighs something may begin with children that do not.
                    let children = children.all();
                    let from = if self.weighty {
                        children.iter().position(|child| child.weight > 0).unwrap_or(0)
                    } else {
                        0
                    };
                    self.above.push(&children[from + 1..]);
                    node = &children[from].node;
                }
            }
        }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            while let Some((item, rest)) = self.leaf.split_first() {
                self.leaf = rest;
                if !self.weighty || item.weight() > 0 {
                    return Some(item);
                }
            }
            let next = loop {
                let siblings = self.above.last_mut()?;
                let Some((child, rest)) = siblings.split_first() else {
                    self.above.pop();
                    continue;
                };
                *siblings = rest;
                if !self.weighty || child.weight > 0 {
                    break child;
                }
            };
            self.enter(&next.node);
        }
    }
}

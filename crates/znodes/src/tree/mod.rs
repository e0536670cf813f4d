//! An ordered map that can be copied in constant time: a B+tree whose nodes are shared and copied on write.
//!
//! A clone shares every node with its original. Whoever writes then copies the nodes on the path to what it changes and no others
//! (`Arc::make_mut`); while nothing else holds a node, it is changed in place. So a writer without readers pays for an ordinary B+tree,
//! and a reader keeps its own picture for as long as it likes without holding anybody up.
//!
//! Items carry their keys, which are bytes.

mod iter;
mod node;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use node::Item;
use node::{Child, FANOUT, Items, Node};

/// A node with fewer items, the root apart, is merged with a neighbour when something is removed from it.
const SPARSE: usize = FANOUT / 4;

/// Two neighbours are merged only if the result leaves room, else their items are shared out: a tree at the edge between the two
/// would merge and split with every other write.
const MERGED_MAX: usize = FANOUT * 3 / 4;

/// The map.
#[derive(Debug)]
pub(crate) struct Tree<T: Item> {
    root: Option<Arc<Node<T>>>,
}

impl<T: Item> Clone for Tree<T> {
    fn clone(&self) -> Self {
        Tree { root: self.root.clone() }
    }
}

impl<T: Item> Default for Tree<T> {
    fn default() -> Self {
        Tree { root: None }
    }
}

impl<T: Item> Tree<T> {
    /// The item with this key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&T> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(items) => {
                    let (at, after) = items.search(key);
                    return items.all()[at..after].first();
                }
                Node::Inner(children) => node = &children.all()[children.way_to(key)].node,
            }
        }
    }

    /// Adds an item in the place of the one with its key; that one, if there was one.
    pub(crate) fn insert(&mut self, item: T) -> Option<T> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(Items::new(vec![item]))));
            return None;
        };
        let (replaced, split) = insert_into(root, item);
        if let Some(right) = split {
            let left = Arc::clone(root);
            let left = Child { low: left.low(), node: left };
            *root = Arc::new(Node::Inner(Items::new(vec![left, right])));
        }
        replaced
    }

    /// Changes the item with `key`, which must be there, but not its key.
    pub(crate) fn alter<R>(&mut self, key: &[u8], change: impl FnOnce(&mut T) -> R) -> R {
        let mut node = self.root.as_mut().expect("what is altered is there");
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(items) => {
                    let (at, after) = items.search(key);
                    assert!(at < after, "what is altered is there");
                    return change(items.item(at));
                }
                Node::Inner(children) => {
                    let at = children.way_to(key);
                    node = &mut children.item(at).node;
                }
            }
        }
    }

    /// Takes the item with `key` out. Looks first, so that a shared path is not copied for nothing.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<T> {
        self.get(key)?;
        let removed = remove_from(self.root.as_mut()?, key);
        // What is left at the top may be nothing, or a chain of nodes with one child each.
        while let Some(root) = self.root.as_deref() {
            self.root = match root {
                Node::Leaf(items) if items.all().is_empty() => None,
                Node::Inner(children) if children.all().len() < 2 => {
                    children.all().first().map(|only| Arc::clone(&only.node))
                }
                Node::Leaf(_) | Node::Inner(_) => break,
            };
        }
        removed
    }
}

/// The item that was replaced, and the right half if the node was full.
fn insert_into<T: Item>(node: &mut Arc<Node<T>>, item: T) -> (Option<T>, Option<Child<T>>) {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let (at, after) = items.search(item.key());
            if at < after {
                return (Some(items.replace(at, item)), None);
            }
            (None, items.insert(at, item).map(|right| Child::of(Node::Leaf(right))))
        }
        Node::Inner(children) => {
            let (_, after) = children.search(item.key());
            let at = after.saturating_sub(1);
            let (replaced, split) = insert_into(&mut children.item(at).node, item);
            if after == 0 {
                // A key below all: the first child's `low` comes down to it. Nobody looks at it there, but a merge may move it.
                let child = children.item(at);
                child.low = child.node.low();
                children.hint();
            }
            let split = split.and_then(|right| children.insert(at + 1, right));
            (replaced, split.map(|right| Child::of(Node::Inner(right))))
        }
    }
}

/// Takes `key` out of the tree below `node`; the node may be left sparse or empty, which the caller repairs.
fn remove_from<T: Item>(node: &mut Arc<Node<T>>, key: &[u8]) -> Option<T> {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let (at, after) = items.search(key);
            (at < after).then(|| items.remove(at))
        }
        Node::Inner(children) => {
            let at = children.way_to(key);
            let child = children.item(at);
            let removed = remove_from(&mut child.node, key)?;
            let left = child.node.len();
            if children.all().len() > 1 {
                if left < SPARSE {
                    even_out(children, at.saturating_sub(1));
                }
            } else if left == 0 {
                // An only child, as splits at the end leave them; this node is empty now, and the one above sees to that.
                children.remove(at);
            }
            Some(removed)
        }
    }
}

/// Merges the children at `at` and after it if they fit into one with room to spare, else gives both half.
fn even_out<T: Item>(children: &mut Items<Child<T>>, at: usize) {
    let right = children.remove(at + 1);
    let right_node = Arc::try_unwrap(right.node).unwrap_or_else(|shared| (*shared).clone());
    let left = children.item(at);
    let rest = match (Arc::make_mut(&mut left.node), right_node) {
        (Node::Leaf(left), Node::Leaf(right)) => left.share(right, MERGED_MAX).map(Node::Leaf),
        (Node::Inner(left), Node::Inner(right)) => left.share(right, MERGED_MAX).map(Node::Inner),
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => {
            unreachable!("all leaves of a tree are at one depth")
        }
    };
    if let Some(rest) = rest {
        let split = children.insert(at + 1, Child::of(rest));
        debug_assert!(split.is_none(), "one was taken out before");
    }
}

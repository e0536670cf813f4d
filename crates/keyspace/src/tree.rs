//! An ordered map that can be copied in constant time: a B+tree whose nodes are shared and copied on write.
//!
//! A clone shares every node with its original. Whoever writes then copies the nodes on the path to what it changes and no others
//! (`Arc::make_mut`); while nothing else holds a node, it is changed in place. So a writer without readers pays for an ordinary B+tree,
//! and a reader keeps its own picture for as long as it likes without holding anybody up.
//!
//! Items carry their keys. Every child carries the sum of its items' [weights](Item::weight), so the weight below a key is known in
//! O(log n), and an iterator can leave out subtrees that weigh nothing. The keyspace weighs a living key 1 and a deleted one 0.

mod iter;
mod node;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use iter::Iter;
use node::{Child, FANOUT, Items, Node};
pub(crate) use node::{Item, Keyed, Probe};

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
    pub(crate) fn get(&self, key: &T::Probe) -> Option<&T> {
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

    /// The last item that is not above `key`.
    pub(crate) fn floor(&self, key: &T::Probe) -> Option<&T> {
        floor_of(self.root.as_deref()?, key)
    }

    /// The first item.
    pub(crate) fn first(&self) -> Option<&T> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Leaf(items) => return items.all().first(),
                Node::Inner(children) => node = &children.all().first()?.node,
            }
        }
    }

    /// The weight of all items.
    pub(crate) fn weight(&self) -> usize {
        self.root.as_deref().map_or(0, Node::weight)
    }

    /// The weight of the items below `key`, in O(log n).
    pub(crate) fn weight_below(&self, key: &T::Probe) -> usize {
        let Some(mut node) = self.root.as_deref() else { return 0 };
        let mut weight = 0;
        loop {
            match node {
                Node::Leaf(items) => {
                    let (at, _) = items.search(key);
                    return weight + items.all()[..at].iter().map(Item::weight).sum::<usize>();
                }
                Node::Inner(children) => {
                    let at = children.way_to(key);
                    weight += children.all()[..at].iter().map(|child| child.weight).sum::<usize>();
                    node = &children.all()[at].node;
                }
            }
        }
    }

    /// Adds an item in the place of the one with its key; that one, if there was one.
    pub(crate) fn insert(&mut self, item: T) -> Option<T> {
        let key = item.key().clone();
        self.alter(std::borrow::Borrow::borrow(&key), |old| match old {
            Some(old) => (None, Some(std::mem::replace(old, item))),
            None => (Some(item), None),
        })
    }

    /// One descent for "change what is there, or put something there": `change` sees the item with `key` if there is one; if there is
    /// none, the item that it returns, which must have that key, is added.
    pub(crate) fn alter<R>(
        &mut self,
        key: &T::Probe,
        change: impl FnOnce(Option<&mut T>) -> (Option<T>, R),
    ) -> R {
        let Some(root) = &mut self.root else {
            let (new, result) = change(None);
            self.root = new.map(|item| Arc::new(Node::Leaf(Items::new(vec![item]))));
            return result;
        };
        let altered = alter_node(root, key, true, change);
        if let Some(right) = altered.split {
            let left = Arc::clone(root);
            let left = Child { low: left.low().clone(), weight: left.weight(), node: left };
            *root = Arc::new(Node::Inner(Items::new(vec![left, right])));
        }
        altered.result
    }

    /// Takes the item with `key` out. Looks first, so that a shared path is not copied for nothing.
    pub(crate) fn remove(&mut self, key: &T::Probe) -> Option<T> {
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

fn floor_of<'a, T: Item>(node: &'a Node<T>, key: &T::Probe) -> Option<&'a T> {
    match node {
        Node::Leaf(items) => items.all()[..items.search(key).1].last(),
        Node::Inner(children) => {
            let (at, before) = children.all()[..children.search(key).1].split_last()?;
            // `low` may be below the smallest key of its child: {5: [7, 9]} has nothing at or below 6, so the answer is next door.
            floor_of(&at.node, key).or_else(|| last_of(&before.last()?.node))
        }
    }
}

fn last_of<T: Item>(mut node: &Node<T>) -> Option<&T> {
    loop {
        match node {
            Node::Leaf(items) => return items.all().last(),
            Node::Inner(children) => node = &children.all().last()?.node,
        }
    }
}

struct Altered<T: Item, R> {
    result: R,
    /// By how much the weight of the node, with `split` counted in, grew; it wraps when it fell.
    grown: usize,
    /// The right half, if the node was full.
    split: Option<Child<T>>,
}

fn alter_node<T: Item, R>(
    node: &mut Arc<Node<T>>,
    key: &T::Probe,
    rightmost: bool,
    change: impl FnOnce(Option<&mut T>) -> (Option<T>, R),
) -> Altered<T, R> {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let (at, after) = items.search(key);
            if at < after {
                let item = items.item(at);
                let before = item.weight();
                let (_, result) = change(Some(item));
                return Altered { result, grown: item.weight().wrapping_sub(before), split: None };
            }
            let (new, result) = change(None);
            let Some(new) = new else { return Altered { result, grown: 0, split: None } };
            let grown = new.weight();
            let split = items.insert(at, new, rightmost).map(|right| Child::of(Node::Leaf(right)));
            Altered { result, grown, split }
        }
        Node::Inner(children) => {
            let (_, after) = children.search(key);
            let at = after.saturating_sub(1);
            let rightmost = rightmost && at + 1 == children.all().len();
            let child = children.item(at);
            let altered = alter_node(&mut child.node, key, rightmost, change);
            child.weight = child.weight.wrapping_add(altered.grown);
            if let Some(right) = &altered.split {
                child.weight -= right.weight;
            }
            if after == 0 {
                // A key below all: the first child's `low` comes down to it. Nobody looks at it there, but a merge may move it.
                child.low = child.node.low().clone();
                children.hint();
            }
            let split = altered.split.and_then(|right| children.insert(at + 1, right, rightmost));
            Altered {
                result: altered.result,
                grown: altered.grown,
                split: split.map(|right| Child::of(Node::Inner(right))),
            }
        }
    }
}

/// Takes `key` out of the tree below `node`; the node may be left sparse or empty, which the caller repairs.
fn remove_from<T: Item>(node: &mut Arc<Node<T>>, key: &T::Probe) -> Option<T> {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let (at, after) = items.search(key);
            (at < after).then(|| items.remove(at))
        }
        Node::Inner(children) => {
            let at = children.way_to(key);
            let child = children.item(at);
            let removed = remove_from(&mut child.node, key)?;
            child.weight -= removed.weight();
            let left = child.node.len();
            if children.all().len() > 1 {
                if left < SPARSE {
                    even_out(children, at.saturating_sub(1));
                }
            } else if left == 0 {
                // An only child, as the right edge has them; this node is empty now, and the one above sees to that.
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
    left.weight += right.weight;
    if let Some(rest) = rest {
        let rest = Child::of(rest);
        left.weight -= rest.weight;
        let split = children.insert(at + 1, rest, false);
        debug_assert!(split.is_none(), "one was taken out before");
    }
}

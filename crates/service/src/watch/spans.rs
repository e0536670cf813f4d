//! Ranges of keys, and which of them a key is in: a treap in the order of their starts, in which every node knows the last end below it.
//!
//! Watches share few ranges in practice, but a client may bring a hundred thousand different ones, nested in each other if it likes: finding those
//! that a key is in takes O(log n) and as much as there is to find, whatever they are.

use std::cmp::Ordering;

use bytes::Bytes;
use quorate_consensus::Random;

use super::index::{Listeners, Slot};
use super::span::End;

/// A node's place in the arena.
type Link = Option<u32>;

#[derive(Debug)]
pub(super) struct Spans {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: Link,
    /// Draws priorities: any sequence that clients do not choose will do.
    random: Random,
}

#[derive(Debug)]
struct Node {
    start: Bytes,
    end: End,
    /// The greatest end of this node and all below it.
    last: End,
    priority: u64,
    left: Link,
    right: Link,
    listeners: Listeners,
}

impl Default for Spans {
    fn default() -> Spans {
        Spans { nodes: Vec::new(), free: Vec::new(), root: None, random: Random::new(0) }
    }
}

impl Spans {
    /// Adds a listener; its place among those of the same range.
    pub(super) fn add(&mut self, start: &Bytes, end: &End, slot: Slot) -> usize {
        let at = self.find(start, end).unwrap_or_else(|| self.grow(start.clone(), end.clone()));
        self.node_mut(at).listeners.add(slot)
    }

    /// Removes the listener at that place; the one that has its place now, if another has.
    pub(super) fn remove(&mut self, start: &Bytes, end: &End, place: usize) -> Option<Slot> {
        let at = self.find(start, end)?;
        let listeners = &mut self.node_mut(at).listeners;
        let moved = listeners.remove(place);
        if listeners.is_empty() {
            self.root = self.cut(self.root, start, end);
            self.free.push(at);
        }
        moved
    }

    /// Adds those who listen to `key`.
    pub(super) fn matching(&self, key: &[u8], into: &mut Vec<Slot>) {
        self.stab(self.root, key, into);
    }

    fn stab(&self, link: Link, key: &[u8], into: &mut Vec<Slot>) {
        let Some(at) = link else { return };
        let node = self.node(at);
        // Nothing here or below reaches as far as the key.
        if !node.last.is_after(key) {
            return;
        }
        self.stab(node.left, key, into);
        // What starts after the key has all that starts even later on its right.
        if &node.start[..] <= key {
            if node.end.is_after(key) {
                node.listeners.tell(into);
            }
            self.stab(node.right, key, into);
        }
    }

    fn find(&self, start: &Bytes, end: &End) -> Link {
        let mut link = self.root;
        while let Some(at) = link {
            let node = self.node(at);
            link = match order(start, end, node) {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => return Some(at),
            };
        }
        None
    }

    fn grow(&mut self, start: Bytes, end: End) -> u32 {
        let priority = self.random.next_u64();
        let last = end.clone();
        let node =
            Node { start, end, last, priority, left: None, right: None, listeners: Listeners::default() };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("watches are limited to far fewer")
            }
        };
        self.root = Some(self.put(self.root, at));
        at
    }

    /// Puts a new node below `link`; what stands there then.
    fn put(&mut self, link: Link, new: u32) -> u32 {
        let Some(at) = link else { return new };
        let (start, end) = (self.node(new).start.clone(), self.node(new).end.clone());
        if self.node(new).priority > self.node(at).priority {
            let (left, right) = self.split(link, &start, &end);
            let node = self.node_mut(new);
            (node.left, node.right) = (left, right);
            self.fix(new);
            return new;
        }
        if order(&start, &end, self.node(at)) == Ordering::Less {
            let below = self.put(self.node(at).left, new);
            self.node_mut(at).left = Some(below);
        } else {
            let below = self.put(self.node(at).right, new);
            self.node_mut(at).right = Some(below);
        }
        self.fix(at);
        at
    }

    /// What is below `link`, parted into what comes before the range and what comes after.
    fn split(&mut self, link: Link, start: &Bytes, end: &End) -> (Link, Link) {
        let Some(at) = link else { return (None, None) };
        if order(start, end, self.node(at)) == Ordering::Less {
            let (before, after) = self.split(self.node(at).left, start, end);
            self.node_mut(at).left = after;
            self.fix(at);
            (before, Some(at))
        } else {
            let (before, after) = self.split(self.node(at).right, start, end);
            self.node_mut(at).right = before;
            self.fix(at);
            (Some(at), after)
        }
    }

    /// Takes the range out from below `link`; what stands there then.
    fn cut(&mut self, link: Link, start: &Bytes, end: &End) -> Link {
        let at = link?;
        match order(start, end, self.node(at)) {
            Ordering::Less => {
                let below = self.cut(self.node(at).left, start, end);
                self.node_mut(at).left = below;
            }
            Ordering::Greater => {
                let below = self.cut(self.node(at).right, start, end);
                self.node_mut(at).right = below;
            }
            Ordering::Equal => return self.join(self.node(at).left, self.node(at).right),
        }
        self.fix(at);
        Some(at)
    }

    /// One tree of two, of which the first comes before the second.
    fn join(&mut self, left: Link, right: Link) -> Link {
        let (Some(a), Some(b)) = (left, right) else { return left.or(right) };
        if self.node(a).priority > self.node(b).priority {
            let below = self.join(self.node(a).right, right);
            self.node_mut(a).right = below;
            self.fix(a);
            Some(a)
        } else {
            let below = self.join(left, self.node(b).left);
            self.node_mut(b).left = below;
            self.fix(b);
            Some(b)
        }
    }

    fn fix(&mut self, at: u32) {
        let node = self.node(at);
        let mut last = &node.end;
        for below in [node.left, node.right].into_iter().flatten() {
            last = last.max(&self.node(below).last);
        }
        let last = last.clone();
        self.node_mut(at).last = last;
    }

    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }
}

fn order(start: &Bytes, end: &End, node: &Node) -> Ordering {
    start.cmp(&node.start).then_with(|| end.cmp(&node.end))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn range(random: &mut Random) -> (Bytes, End) {
        let key = |random: &mut Random| {
            Bytes::from(vec![b'a' + random.below(6) as u8; 1 + random.below(3) as usize])
        };
        let start = key(random);
        let end = if random.below(5) == 0 {
            End::Never
        } else {
            End::Before([&start[..], &key(random)].concat().into())
        };
        (start, end)
    }

    #[test]
    fn a_key_finds_the_ranges_that_it_is_in_and_no_others() {
        let mut random = Random::new(7);
        let mut spans = Spans::default();
        // (range, slot): slots of one range are in the order of their places, as long as nothing is removed but the last.
        let mut model: Vec<((Bytes, End), Slot)> = Vec::new();
        for step in 0..4_000u32 {
            if random.below(5) < 3 || model.is_empty() {
                let (start, end) = range(&mut random);
                let place = spans.add(&start, &end, Slot(step));
                let here = model.iter().filter(|(at, _)| *at == (start.clone(), end.clone())).count();
                assert_eq!(place, here);
                model.push(((start, end), Slot(step)));
            } else {
                let (at, _) = model[random.below(model.len() as u64) as usize].clone();
                let last = model.iter().rposition(|(other, _)| *other == at).unwrap();
                let place = model.iter().filter(|(other, _)| *other == at).count() - 1;
                assert_eq!(spans.remove(&at.0, &at.1, place), None);
                model.remove(last);
            }
            let (key, _) = range(&mut random);
            let mut found = Vec::new();
            spans.matching(&key, &mut found);
            let wanted: BTreeSet<Slot> = model
                .iter()
                .filter(|((start, end), _)| *start <= key && end.is_after(&key))
                .map(|(_, slot)| *slot)
                .collect();
            assert_eq!(found.len(), wanted.len(), "nobody twice");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
        }
    }

    #[test]
    fn ranges_in_order_do_not_make_a_list_of_the_tree() {
        let mut spans = Spans::default();
        for slot in 0..10_000u32 {
            spans.add(&Bytes::copy_from_slice(&slot.to_be_bytes()), &End::Never, Slot(slot));
        }
        let depth = |spans: &Spans| {
            let mut deepest = 0;
            let mut stack: Vec<(Link, usize)> = vec![(spans.root, 0)];
            while let Some((link, depth)) = stack.pop() {
                deepest = deepest.max(depth);
                let Some(at) = link else { continue };
                let node = spans.node(at);
                stack.extend([(node.left, depth + 1), (node.right, depth + 1)]);
            }
            deepest
        };
        assert!(depth(&spans) < 60, "{} deep", depth(&spans));
        for slot in 0..10_000u32 {
            spans.remove(&Bytes::copy_from_slice(&slot.to_be_bytes()), &End::Never, 0);
        }
        assert_eq!(spans.root, None);
        assert_eq!(spans.free.len(), spans.nodes.len());
    }
}

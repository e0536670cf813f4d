use std::collections::BTreeMap;

use proptest::prelude::*;

use super::node::Node;
use super::{Item, Tree};

#[derive(Clone, Debug, PartialEq)]
struct Entry(Vec<u8>, u32);

impl Item for Entry {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

/// In the order of the numbers; of many lengths, with zero bytes at the ends, and with beginnings in common for stretches of
/// eight, sixty-four, …
fn key(number: u16) -> Vec<u8> {
    let mut key = Vec::new();
    for digit in (0..6).rev().map(|place| number >> (3 * place) & 7) {
        key.extend(std::iter::repeat_n(digit as u8 + 1, 4));
    }
    key.push(b'/');
    [&key[..], &[0u8; 3][..usize::from(number % 4)]].concat()
}

/// Checks the invariants of the nodes; the depth.
fn check(node: &Node<Entry>, low: Option<&[u8]>, high: Option<&[u8]>) -> usize {
    assert!(node.len() > 0);
    match node {
        Node::Leaf(items) => {
            items.check();
            assert!(items.all().iter().all(|entry| low.is_none_or(|low| low <= entry.key())));
            assert!(items.all().iter().all(|entry| high.is_none_or(|high| entry.key() < high)));
            0
        }
        Node::Inner(children) => {
            children.check();
            let children = children.all();
            let depth = |at: usize| {
                let low = if at == 0 { low } else { Some(&*children[at].low) };
                check(&children[at].node, low, children.get(at + 1).map(|child| &*child.low).or(high))
            };
            let depths: Vec<usize> = (0..children.len()).map(depth).collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            depths[0] + 1
        }
    }
}

fn same(tree: &Tree<Entry>, map: &BTreeMap<Vec<u8>, u32>, at: &[u8]) {
    if let Some(root) = tree.root.as_deref() {
        check(root, None, None);
    }
    let pairs = |iter: &mut dyn Iterator<Item = &Entry>| {
        iter.map(|Entry(key, value)| (key.clone(), *value)).collect::<Vec<_>>()
    };
    let expected = |from: &mut dyn Iterator<Item = (&Vec<u8>, &u32)>| {
        from.map(|(key, value)| (key.clone(), *value)).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&mut tree.iter()), expected(&mut map.iter()));
    assert_eq!(pairs(&mut tree.iter_from(at)), expected(&mut map.range(at.to_vec()..)));
    assert_eq!(tree.iter_after(at).next().map(|entry| &entry.0), {
        map.range((std::ops::Bound::Excluded(at.to_vec()), std::ops::Bound::Unbounded))
            .next()
            .map(|(key, _)| key)
    });
    let prefix = &at[..at.len().min(8)];
    assert_eq!(
        pairs(&mut tree.with_prefix(prefix)),
        expected(&mut map.iter().filter(|(key, _)| key.starts_with(prefix)))
    );
    assert_eq!(tree.get(at).map(|entry| entry.1), map.get(at).copied());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Runs of keys are added and taken away, upwards and downwards, so that nodes split, merge and lend; copies are held meanwhile.
    #[test]
    fn a_tree_is_an_ordered_map_and_a_copy_of_it_never_changes(
        steps in prop::collection::vec((any::<u16>(), 1..200u16, any::<bool>(), any::<bool>()), 1..30),
    ) {
        let (mut tree, mut map) = (Tree::default(), BTreeMap::new());
        let mut copies = Vec::new();
        for (step, (from, count, down, remove)) in steps.into_iter().enumerate() {
            for offset in 0..count {
                let key = key(from.wrapping_add(if down { count - offset } else { offset }) % 2000);
                if remove {
                    prop_assert_eq!(tree.remove(&key).map(|entry: Entry| entry.1), map.remove(&key));
                } else {
                    let replaced = tree.insert(Entry(key.clone(), step as u32));
                    prop_assert_eq!(replaced.map(|entry| entry.1), map.insert(key, step as u32));
                }
            }
            if let Some(value) = map.get_mut(&key(from % 2000)) {
                *value += 1000;
                tree.alter(&key(from % 2000), |entry| entry.1 += 1000);
            }
            same(&tree, &map, &key(from % 2000));
            if step % 5 == 0 {
                copies.push((tree.clone(), map.clone()));
            }
        }
        for (tree, map) in copies {
            same(&tree, &map, &key(77));
        }
    }
}

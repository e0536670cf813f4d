use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;

use super::{FANOUT, Item, Keyed, Node, Probe, Tree};

/// Keys with hints and keys without: bytes with long shared beginnings, and numbers.
trait TestKey: Clone + Ord + Debug + std::borrow::Borrow<Self::Probe> {
    type Probe: Probe + ?Sized;
    fn of(number: u16) -> Self;
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u16);

impl Probe for Number {
    const HINTS: bool = false;
}

impl TestKey for Number {
    type Probe = Number;
    fn of(number: u16) -> Number {
        Number(number)
    }
}

impl TestKey for Bytes {
    type Probe = [u8];

    /// In the order of the numbers; of many lengths, with zero bytes at the ends, and with beginnings in common for stretches of
    /// eight, sixty-four, …
    fn of(number: u16) -> Bytes {
        let mut key = Vec::new();
        for digit in (0..6).rev().map(|place| number >> (3 * place) & 7) {
            key.extend(std::iter::repeat_n(digit as u8 + 1, 4));
        }
        key.push(b'/');
        Bytes::from([&key[..], &[0u8; 3][..usize::from(number % 4)]].concat())
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Entry<K>(K, u32);

impl<K: TestKey> Keyed for Entry<K> {
    type Key = K;
    type Probe = K::Probe;
    fn key(&self) -> &K {
        &self.0
    }
}

impl<K: TestKey> Item for Entry<K> {
    fn weight(&self) -> usize {
        weight(self.1)
    }
}

/// Mostly nothing, so that whole nodes weigh nothing, or 1.
fn weight(value: u32) -> usize {
    (value % 64).saturating_sub(61) as usize
}

/// Checks the invariants of the nodes; the depth.
fn check<K: TestKey>(node: &Node<Entry<K>>, low: Option<&K>, high: Option<&K>) -> usize {
    assert!(node.len() > 0);
    match node {
        Node::Leaf(items) => {
            items.check();
            assert!(items.all().iter().all(|Entry(key, _)| low.is_none_or(|low| low <= key)));
            assert!(items.all().iter().all(|Entry(key, _)| high.is_none_or(|high| key < high)));
            0
        }
        Node::Inner(children) => {
            children.check();
            let children = children.all();
            let depths: Vec<usize> = (0..children.len())
                .map(|at| {
                    assert_eq!(children[at].weight, children[at].node.weight());
                    check(
                        &children[at].node,
                        Some(&children[at].low),
                        children.get(at + 1).map(|child| &child.low).or(high),
                    )
                })
                .collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            depths[0] + 1
        }
    }
}

type Model<K> = BTreeMap<K, u32>;

fn entry<K: Clone>((key, value): (&K, &u32)) -> Entry<K> {
    Entry(key.clone(), *value)
}

fn same<K: TestKey>(tree: &Tree<Entry<K>>, model: &Model<K>, asked: impl Iterator<Item = u16>) {
    if let Some(root) = tree.root.as_deref() {
        check(root, None, None);
    }
    assert!(tree.iter().cloned().eq(model.iter().map(entry)));
    assert_eq!(tree.first().cloned(), model.first_key_value().map(entry));
    assert_eq!(tree.weight(), model.values().map(|value| weight(*value)).sum::<usize>());
    for key in asked.map(K::of) {
        let probe = key.borrow();
        assert_eq!(tree.get(probe).cloned(), model.get_key_value::<K>(&key).map(entry));
        assert_eq!(tree.floor(probe).cloned(), model.range::<K, _>(..=&key).next_back().map(entry));
        let below = model.range::<K, _>(..&key).map(|entry| weight(*entry.1)).sum::<usize>();
        assert_eq!(tree.weight_below(probe), below);
        assert!(
            tree.iter_from(Bound::Included(probe))
                .take(40)
                .cloned()
                .eq(model.range::<K, _>(&key..).take(40).map(entry))
        );
        let after = model.range::<K, _>((Bound::Excluded(&key), Bound::Unbounded));
        assert!(tree.iter_from(Bound::Excluded(probe)).take(40).cloned().eq(after.take(40).map(entry)));
        let weighty = model.range::<K, _>(&key..).filter(|entry| weight(*entry.1) > 0);
        assert!(tree.weighty_from(Bound::Included(probe)).take(40).cloned().eq(weighty.take(40).map(entry)));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16, u32),
    Append(u16),
    Remove(u16),
    /// Stretches, so that nodes run empty.
    RemoveFrom(u16, u16),
    Alter(u16, u32),
    Ask(u16),
    Keep,
}

fn op(keys: u16) -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..keys, any::<u32>()).prop_map(|(key, value)| Op::Insert(key, value)),
        1 => (1..120u16).prop_map(Op::Append),
        5 => (0..keys).prop_map(Op::Remove),
        1 => (0..keys, 1..80u16).prop_map(|(key, count)| Op::RemoveFrom(key, count)),
        1 => (1..80u16).prop_map(|count| Op::RemoveFrom(0, count)),
        2 => (0..keys, any::<u32>()).prop_map(|(key, value)| Op::Alter(key, value)),
        3 => (0..keys).prop_map(Op::Ask),
        1 => Just(Op::Keep),
    ]
}

/// Begins with every `stride`th key, so that trees of three levels and more are among those that are changed.
fn run<K: TestKey>(ops: Vec<Op>, keys: u16, stride: usize) {
    let mut tree: Tree<Entry<K>> = Tree::default();
    let mut model: Model<K> = Model::new();
    for key in (0..keys).step_by(stride) {
        tree.insert(Entry(K::of(key), u32::from(key)));
        model.insert(K::of(key), u32::from(key));
    }
    let mut kept = Vec::new();
    let mut appended = keys;
    for op in ops {
        match op {
            Op::Insert(key, value) => {
                let old = tree.insert(Entry(K::of(key), value)).map(|old| old.1);
                assert_eq!(old, model.insert(K::of(key), value));
            }
            Op::Append(count) => {
                for key in appended..appended + count {
                    tree.insert(Entry(K::of(key), u32::from(key)));
                    model.insert(K::of(key), u32::from(key));
                }
                appended += count;
            }
            Op::Remove(key) => {
                let old = tree.remove(K::of(key).borrow()).map(|old| old.1);
                assert_eq!(old, model.remove::<K>(&K::of(key)));
            }
            Op::RemoveFrom(from, count) => {
                for _ in 0..count {
                    let next = tree.iter_from(Bound::Included(K::of(from).borrow())).next().cloned();
                    assert_eq!(next, model.range::<K, _>(K::of(from)..).next().map(entry));
                    let Some(Entry(key, value)) = next else { break };
                    assert_eq!(tree.remove(key.borrow()), Some(Entry(key.clone(), value)));
                    model.remove::<K>(&key);
                }
            }
            Op::Alter(key, value) => {
                let seen = tree.alter(K::of(key).borrow(), |old| {
                    let seen = old.as_deref().cloned();
                    if let Some(old) = old {
                        old.1 = value;
                    }
                    (None, seen)
                });
                assert_eq!(seen, model.get_key_value::<K>(&K::of(key)).map(entry));
                model.entry(K::of(key)).and_modify(|old| *old = value);
            }
            Op::Ask(key) => same(&tree, &model, std::iter::once(key)),
            Op::Keep if kept.len() < 4 => kept.push((tree.clone(), model.clone())),
            Op::Keep => {}
        }
    }
    same(&tree, &model, (0..keys).step_by(7));
    for (tree, model) in &kept {
        same(tree, model, (0..keys).step_by(31));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_an_ordered_map_and_a_copy_of_it_never_changes(
        few in prop::collection::vec(op(80), 0..400),
        many in prop::collection::vec(op(8000), 0..1500),
        stride in 2..12usize,
    ) {
        run::<Number>(few.clone(), 80, stride);
        run::<Bytes>(few, 80, stride);
        run::<Number>(many.clone(), 8000, stride);
        run::<Bytes>(many, 8000, stride);
    }

    /// Keys whose first bytes are equal, also where one ends and the other goes on with zeros, are told apart.
    #[test]
    fn any_bytes_are_keys(keys in prop::collection::vec(prop::collection::vec(0..3u8, 0..14), 0..300)) {
        #[derive(Clone, Debug, PartialEq)]
        struct Any(Bytes);
        impl Keyed for Any {
            type Key = Bytes;
            type Probe = [u8];
            fn key(&self) -> &Bytes { &self.0 }
        }
        impl Item for Any {
            fn weight(&self) -> usize { 1 }
        }
        let (mut tree, mut model) = (Tree::default(), std::collections::BTreeSet::new());
        for (index, key) in keys.into_iter().map(Bytes::from).enumerate() {
            prop_assert_eq!(tree.weight_below(&key[..]), model.range(..key.clone()).count());
            prop_assert_eq!(tree.floor(&key[..]).map(|item: &Any| &item.0), model.range(..=key.clone()).next_back());
            if index % 3 == 2 {
                prop_assert_eq!(tree.remove(&key[..]).is_some(), model.remove(&key));
            } else {
                prop_assert_eq!(tree.insert(Any(key.clone())).is_none(), model.insert(key));
            }
            prop_assert!(tree.iter().map(|item| &item.0).eq(model.iter()));
        }
    }
}

#[test]
fn keys_in_ascending_order_leave_full_nodes_behind() {
    let mut tree = Tree::default();
    for key in 0..10_000u16 {
        tree.insert(Entry(Number(key), 0));
    }
    fn leaves(node: &Node<Entry<Number>>) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(children) => children.all().iter().map(|child| leaves(&child.node)).sum(),
        }
    }
    assert_eq!(leaves(tree.root.as_deref().unwrap()), 10_000usize.div_ceil(FANOUT));
}

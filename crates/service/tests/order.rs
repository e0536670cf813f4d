//! What the order over shards keeps of the keys that there were before it, and of shards that are split and merged.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use quorate_consensus::{EngineKind, Membership, NodeId, Position, ShardId, StateMachine};
use quorate_order::{Command as OrderCommand, Mark, Outcome, Part, TxnId};
use quorate_service::{
    Founding, founding_entry,
    keyspace::{Command, Keyspace, Put, Range},
    placement::shards::Command as MapCommand,
    shards::{Keys, KeysResponse, Kind, Order, Undone, handover_entry, merge_at, order_entry, split_at},
};

struct Log {
    keys: Keys,
    index: u64,
}

impl Log {
    fn apply(&mut self, entry: &Bytes) -> KeysResponse {
        self.index += 1;
        let effect = self.keys.evaluate(Position::new(1, self.index), entry);
        let number = self.keys.number() + u64::from(Keys::changes(&effect));
        self.keys.place(effect, number).response
    }

    /// The same behind a snapshot.
    fn begins_anew(&mut self) {
        let restored = Keys::restore(&mut self.keys.snapshot()).unwrap();
        assert_eq!(restored.digest(), self.keys.digest());
        self.keys = restored;
    }

    /// Both shards have come to the transaction.
    fn decides(&mut self, txn: TxnId, shards: [ShardId; 2]) {
        let barriers = shards.map(|shard| (shard, self.read().orderer().placed(shard).unwrap())).to_vec();
        let outcome = Outcome::Done { branch: true, changes: false, barriers };
        self.order(OrderCommand::Decide { txn, outcome });
    }

    /// Of each of these shards, how many transactions its log may still have to hold.
    fn barriers(&self, shards: [ShardId; 3]) -> [usize; 3] {
        shards.map(|shard| self.read().barriers(shard, TxnId::default()).count())
    }

    fn order(&mut self, command: OrderCommand) {
        self.apply(&order_entry(&command));
    }

    fn read(&self) -> &Order {
        self.keys.order().expect("its shards are founded")
    }

    /// How many keys each shard begins with, by this order and by the one that its snapshot describes.
    fn births(&self) -> Vec<usize> {
        let all = Range { key: "k".into(), range_end: "l".into(), ..Range::default() };
        let of = |order: &Order| -> Vec<usize> {
            order.births().values().map(|born| born.view().range(&all).unwrap().kvs.len()).collect()
        };
        let restored = Keys::restore(&mut self.keys.snapshot()).unwrap();
        assert_eq!(restored.digest(), self.keys.digest());
        assert_eq!(of(restored.order().unwrap()), of(self.read()));
        of(self.read())
    }
}

#[test]
fn what_shards_begin_with_is_kept_until_every_member_has_a_snapshot_of_each() {
    let mut log = Log { keys: Keys::Alone(Keyspace::new()), index: 0 };
    for place in 0..100 {
        let put = Put { key: format!("k{place}").into(), value: "v".into(), ..Put::default() };
        log.apply(&Command::Put(put).encode());
    }
    let members = Membership::new([1, 2, 3].map(NodeId), []);
    let founding = Founding { shards: 2, engine: EngineKind::Raft };
    log.apply(&founding_entry(founding, &members));
    assert_eq!(log.read().orderer().revision(), 101, "it goes on from where the keys were");
    let born = log.births();
    assert_eq!((born.len(), born.iter().sum::<usize>()), (2, 100));
    assert!(born.iter().all(|keys| *keys > 20), "{born:?}");
    let size = log.keys.size_bytes();

    let [one, two] = [ShardId(1), ShardId(2)];
    let mark = Mark { turns: 1, changes: 1 };
    log.order(OrderCommand::Cut(vec![(one, mark), (two, mark)]));
    log.order(OrderCommand::Forget { shard: one, slices: 1 });
    assert_eq!(log.births(), born, "somebody may be sent the log of the second from its beginning");
    log.order(OrderCommand::Forget { shard: two, slices: 1 });
    assert_eq!(log.births(), [0, 0]);
    assert!(log.keys.size_bytes() < size / 10, "and it is small again");
    assert_eq!(log.read().orderer().revision(), 103);

    // It is founded once.
    log.apply(&founding_entry(Founding { shards: 4, engine: EngineKind::Raft }, &members));
    assert_eq!(log.read().map().shards().len(), 2);
}

/// A log of one keyspace that is founded as three shards.
fn of_three() -> Log {
    let mut log = Log { keys: Keys::Alone(Keyspace::new()), index: 0 };
    for place in 0..30 {
        let put = Put { key: format!("k{place}").into(), value: "v".into(), ..Put::default() };
        log.apply(&Command::Put(put).encode());
    }
    let members = Membership::new([1, 2, 3].map(NodeId), []);
    log.apply(&founding_entry(Founding { shards: 3, engine: EngineKind::Raft }, &members));
    log
}

#[test]
fn shards_are_merged_as_the_log_of_the_order_says() {
    let mut log = of_three();
    let all @ [one, two, three] = [1, 2, 3].map(ShardId);
    let three_of_them = log.read().map().clone();
    let (merge, _) = merge_at(&three_of_them, one, None).unwrap();
    let (late, _) = merge_at(&three_of_them, two, None).unwrap();
    assert_eq!(log.apply(&merge), KeysResponse::Begun(TxnId(1)));
    // What begins behind it is divided by its map; what began before it, by that of before.
    assert_eq!((log.read().map().shards().len(), log.read().map().vacancies().count()), (2, 1));
    assert_eq!(log.read().map_behind(TxnId(0)), &three_of_them);
    assert_eq!(log.apply(&merge), KeysResponse::Undone(Undone::Busy), "one at a time");
    let members = Membership::new([1, 2, 3].map(NodeId), []);
    let (split, _) = split_at(log.read().map(), three, None, &members).unwrap();
    assert_eq!(log.apply(&split), KeysResponse::Undone(Undone::Busy));
    log.begins_anew();
    assert_eq!(log.barriers(all), [1, 1, 0]);
    // It is never void.
    log.order(OrderCommand::Decide { txn: TxnId(1), outcome: Outcome::Void });
    assert_eq!(log.read().orderer().part(one, TxnId(1)), Part::Open);
    let revision = log.read().orderer().revision();
    log.decides(TxnId(1), [one, two]);
    assert_eq!(log.read().orderer().part(two, TxnId(1)), Part::Done { branch: true });
    assert_eq!(log.read().orderer().revision(), revision, "it takes no revision");

    // Whoever knew less is refused; so is what merges no neighbours, or is nothing.
    let version = |shard| log.read().map().get(shard).unwrap().range_version;
    let backwards = MapCommand::BeginMerge {
        left: three,
        right: one,
        left_version: version(three),
        right_version: version(one),
    };
    for entry in
        [merge, late, handover_entry(&[backwards]), handover_entry(&[]), Bytes::from_static(&[0xC0, 3, 9])]
    {
        assert_eq!(log.apply(&entry), KeysResponse::Undone(Undone::Unfit));
    }

    // The vacant one is the order's still, and gets keys again; in the log of one alone there was nothing to do since.
    let known: Vec<ShardId> = log.read().orderer().shards().collect();
    log.order(OrderCommand::Cut(vec![(two, Mark { turns: 5, changes: 0 })]));
    assert_eq!(log.apply(&split), KeysResponse::Begun(TxnId(2)));
    let (_, handover) = log.read().handovers().last().unwrap();
    assert_eq!((handover.kind, handover.giver, handover.taker), (Kind::Split, three, two));
    assert_eq!(log.read().orderer().shards().collect::<Vec<_>>(), known);
    log.begins_anew();
    assert_eq!(log.barriers(all), [1, 2, 1]);
    log.decides(TxnId(2), [two, three]);
    assert_eq!(log.read().map().shards().len(), 3);
}

/// A merge is remembered until both have forgotten it, and what a node that begins has to open is in what is left.
#[test]
fn a_merge_is_forgotten_when_both_of_its_shards_have() {
    let mut log = of_three();
    let all @ [one, two, three] = [1, 2, 3].map(ShardId);
    let born = log.births();
    let (merge, _) = merge_at(log.read().map(), one, None).unwrap();
    log.apply(&merge);
    log.decides(TxnId(1), [one, two]);
    log.order(OrderCommand::Cut(vec![(three, Mark { turns: 1, changes: 1 })]));
    let slices = |log: &Log, shard| log.read().orderer().slices(shard).unwrap().end();
    for (shard, kept) in [(one, true), (three, true), (two, false)] {
        let slices = slices(&log, shard);
        log.order(OrderCommand::Forget { shard, slices });
        log.begins_anew();
        assert_eq!(log.read().is_handover(TxnId(1)), kept, "{shard}");
        let births = if kept { born.clone() } else { vec![0, 0] };
        assert_eq!(log.births(), births, "{shard}: the right one may still be asked for what it began with");
    }
    assert_eq!(log.barriers(all), [0, 0, 0]);
    let map = log.read().map_behind(TxnId(0));
    assert_eq!((map.shards().len(), map.vacancies().next().unwrap().shard), (2, two));
    assert_eq!(slices(&log, two), 1, "and what comes into its log is numbered on from there");
}

/// {the first shard were not the leftmost one}: it could be merged away, and it tells of what concerns no key.
#[test]
fn the_first_shard_is_the_leftmost_one() {
    let mut log = Log { keys: Keys::Alone(Keyspace::new()), index: 0 };
    let members = Membership::new([1, 2, 3].map(NodeId), []);
    let entry = founding_entry(Founding { shards: 2, engine: EngineKind::Raft }, &members);
    let MapCommand::Found { rule, mut shards } = MapCommand::decode(&entry.slice(2..)).unwrap() else {
        unreachable!()
    };
    let [one, other] = &mut shards[..] else { unreachable!() };
    std::mem::swap(&mut one.from, &mut other.from);
    shards.reverse();
    log.apply(&quorate_service::shards::found_entry(&MapCommand::Found { rule, shards }));
    assert!(log.keys.order().is_none());
    log.apply(&entry);
    assert!(log.keys.order().is_some());
}

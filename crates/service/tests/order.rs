//! What the order over shards keeps of the keys that there were before it.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use quorate_consensus::{EngineKind, Membership, NodeId, Position, ShardId, StateMachine};
use quorate_order::{Command as OrderCommand, Mark};
use quorate_service::{
    Founding, founding_entry,
    keyspace::{Command, Keyspace, Put, Range},
    shards::{Keys, Order, order_entry},
};

struct Log {
    keys: Keys,
    index: u64,
}

impl Log {
    fn apply(&mut self, entry: &Bytes) {
        self.index += 1;
        let effect = self.keys.evaluate(Position::new(1, self.index), entry);
        let number = self.keys.number() + u64::from(Keys::changes(&effect));
        self.keys.place(effect, number);
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

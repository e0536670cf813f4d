//! Logs written by hand, and the sequence that they come to.

use quorate_consensus::EngineKind;
use quorate_service::{Founding, founding_entry, keyspace::Put, shards::order_entry};

use super::*;

const A: ShardId = ShardId(1);
const B: ShardId = ShardId(2);
const T: TxnId = TxnId(1);

fn at(index: u64) -> Position {
    Position::new(1, index)
}

fn founded() -> Placed {
    let members = Membership::new([NodeId(1)], []);
    let founding = Founding { shards: 2, engine: EngineKind::Raft };
    let entry = founding_entry(founding, &members);
    assert!(
        Placed::found(&entry, 1, &Membership::new([NodeId(2)], [])).is_none(),
        "who has the keys has the shards"
    );
    assert!(is_of_order(&entry) && !is_of_order(&put("k")));
    let mut placed = Placed::found(&entry, 1, &members).expect("it founds two");
    assert_eq!(placed.take_born().len(), 2);
    placed
}

fn put(key: &str) -> Bytes {
    Command::Put(Put { key: key.to_owned().into(), ..Put::default() }).encode()
}

fn turn(index: u64) -> Item {
    Item::Turn { at: at(index), origin: None, command: put("k") }
}

fn mark(turns: u64, changes: u64) -> Mark {
    Mark { turns, changes }
}

fn order(placed: &mut Placed, command: &OrderCommand) {
    placed.take(at(9), None, &order_entry(command), &Membership::default());
}

/// Executes all that is due, as if each turn changed something; who it was.
fn run(placed: &mut Placed) -> Vec<(Option<ShardId>, Position)> {
    let mut done = Vec::new();
    while let Some(due) = placed.next() {
        match due {
            Due::Turn { shard, at, .. } => {
                placed.changed(shard);
                done.push((Some(shard), at));
            }
            Due::Txn { at, .. } => done.push((None, at)),
            Due::Change | Due::Refused { .. } => {}
        }
    }
    done
}

fn begun(placed: &mut Placed) {
    let all = Command::LeaseRevoke { id: quorate_service::keyspace::LeaseId(1) };
    placed.take(at(7), None, &all.encode(), &Membership::default());
}

fn done(barriers: [(ShardId, Mark); 2]) -> OrderCommand {
    let outcome = Outcome::Done { branch: true, changes: false, barriers: barriers.to_vec() };
    OrderCommand::Decide { txn: T, outcome }
}

fn ids(placed: &mut Placed) -> Vec<&'static str> {
    placed.take_wrong().iter().map(|wrong| wrong.id).collect()
}

#[test]
fn turns_come_cut_by_cut_and_shard_by_shard_whenever_their_logs_are_known() {
    let mut placed = founded();
    placed.take_items(GroupId(17), vec![turn(3)]);
    order(&mut placed, &OrderCommand::Cut(vec![(A, mark(1, 1)), (B, mark(1, 1))]));
    assert_eq!(run(&mut placed), [], "A comes before B, and its log is not known");
    assert!(!placed.is_done());
    placed.take_items(GroupId(16), vec![turn(1), turn(2)]);
    assert_eq!(run(&mut placed), [(Some(A), at(1)), (Some(B), at(3))]);
    assert_eq!((placed.is_done(), placed.revision(), ids(&mut placed)), (true, 3, vec![]));
}

#[test]
fn p1_a_cut_that_counts_another_number_of_changes_is_found() {
    let mut placed = founded();
    placed.take_items(GroupId(16), vec![turn(1)]);
    order(&mut placed, &OrderCommand::Cut(vec![(A, mark(1, 0))]));
    run(&mut placed);
    assert_eq!(ids(&mut placed), ["P1"]);
}

#[test]
fn p2_a_transaction_that_does_not_stand_where_the_order_has_it_is_found() {
    let mut placed = founded();
    begun(&mut placed);
    placed.take_items(GroupId(16), vec![Item::Barrier(T)]);
    placed.take_items(GroupId(17), vec![turn(1), Item::Barrier(T)]);
    order(&mut placed, &done([(A, mark(0, 0)), (B, mark(0, 0))]));
    assert_eq!((run(&mut placed), ids(&mut placed)), (vec![], vec!["P2"]));

    let mut placed = founded();
    begun(&mut placed);
    placed.take_items(GroupId(16), vec![Item::Barrier(T), turn(1)]);
    order(&mut placed, &OrderCommand::Cut(vec![(A, mark(1, 1))]));
    run(&mut placed);
    assert_eq!(ids(&mut placed), ["P2"], "a turn behind a barrier whose transaction is open");
}

#[test]
fn a_transaction_comes_behind_the_turns_before_its_barriers_and_one_that_is_void_nowhere() {
    let mut placed = founded();
    begun(&mut placed);
    placed.take_items(GroupId(16), vec![Item::Barrier(T), Item::Barrier(T), turn(2)]);
    placed.take_items(GroupId(17), vec![turn(1), Item::Barrier(T)]);
    order(&mut placed, &done([(A, mark(0, 0)), (B, mark(1, 1))]));
    order(&mut placed, &OrderCommand::Cut(vec![(A, mark(1, 1))]));
    assert_eq!(run(&mut placed), [(Some(B), at(1)), (None, at(7)), (Some(A), at(2))]);
    assert_eq!(ids(&mut placed), [] as [&str; 0]);

    let mut placed = founded();
    placed.take(at(7), Some((NodeId(1), 1, 5)), &put("k"), &Membership::default());
    placed.take_items(GroupId(16), vec![Item::Barrier(T), turn(2)]);
    placed.take_items(GroupId(17), vec![Item::Barrier(T), turn(2)]);
    order(&mut placed, &OrderCommand::Decide { txn: T, outcome: Outcome::Void });
    order(&mut placed, &OrderCommand::Cut(vec![(A, mark(1, 1)), (B, mark(1, 1))]));
    assert_eq!(run(&mut placed), [(Some(A), at(2)), (Some(B), at(2))]);
    assert!(placed.void.contains(&(NodeId(1), 1, 5)));
}

#[test]
fn a_shard_owns_a_command_if_all_of_its_keys_are_there() {
    let placed = founded();
    let map = &placed.map;
    let key = |shard| {
        (0..).map(|number| format!("k{number}")).find(|key| map.locate(key.as_bytes()).shard == shard)
    };
    let (a, b) = (key(A).expect("one of them"), key(B).expect("one of them"));
    assert!(owns(A, map, &put(&a)) && !owns(B, map, &put(&a)) && owns(B, map, &put(&b)));
    let both = [&a, &b].map(|key| Operation::Put(Put { key: key.clone().into(), ..Put::default() }));
    let txn = quorate_service::keyspace::Txn { failure: both.to_vec(), ..Default::default() };
    assert!(!owns(A, map, &Command::Txn(txn).encode()), "also in the branch that may not be taken");
    let all =
        quorate_service::keyspace::DeleteRange { key: "k".into(), range_end: "l".into(), prev_kv: false };
    assert!(!owns(A, map, &Command::DeleteRange(all).encode()));
}

//! What the order promises, one rule a test.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use quorate_consensus::{Duration, Instant, Reader, Writer};
use quorate_order::{
    Command, Lane, LaneEntry, Mark, OrderError, Orderer, Outcome, Part, Place, Placement, Placer, Report,
    SLICES_MAX, Scribe, ScribeConfig, ShardId, Step, Turn, TxnId, Verdict,
};

const A: ShardId = ShardId(1);
const B: ShardId = ShardId(2);
const T: TxnId = TxnId(1);
const U: TxnId = TxnId(2);

fn mark(turns: u64, changes: u64) -> Mark {
    Mark { turns, changes }
}

fn done(txn: TxnId, barriers: &[(ShardId, Mark)]) -> Command {
    let outcome = Outcome::Done { branch: true, changes: true, barriers: barriers.to_vec() };
    Command::Decide { txn, outcome }
}

fn void(txn: TxnId) -> Command {
    Command::Decide { txn, outcome: Outcome::Void }
}

/// A replica that has evaluated turns with these changes, and follows the order from its beginning.
fn placed(order: &Orderer, shard: ShardId, changes: &[bool]) -> Vec<Placement> {
    let mut placer = Placer::new(shard, order.slices(shard).unwrap().clone());
    changes.iter().for_each(|changes| placer.evaluated(Turn { changes: *changes }));
    std::iter::from_fn(|| placer.place()).collect()
}

fn turn(turn: u64, revision: u64, changes: bool) -> Placement {
    Placement::Turn { turn, revision, changes }
}

/// The worked example of the design: the store stands at revision 1.
#[test]
fn the_worked_example_comes_out_as_it_was_worked() {
    let mut order = Orderer::new(1, [A, B]);
    order.apply(&Command::Cut(vec![(A, mark(2, 2)), (B, mark(1, 1))])).unwrap();
    order.apply(&Command::Cut(vec![(A, mark(3, 2)), (B, mark(2, 2))])).unwrap();
    assert_eq!(order.apply(&Command::Begin(vec![A, B])).unwrap(), Some(T));
    order.apply(&done(T, &[(A, mark(3, 2)), (B, mark(2, 2))])).unwrap();
    let t = Placement::Txn { txn: T, branch: true, revision: 6, changes: true };
    assert_eq!(
        placed(&order, A, &[true, true, false]),
        [turn(1, 2, true), turn(2, 3, true), turn(3, 4, false), t]
    );
    assert_eq!(placed(&order, B, &[true, true]), [turn(1, 4, true), turn(2, 5, true), t]);
    assert_eq!(order.revision(), 6);
}

#[test]
fn a_replica_that_lags_numbers_its_turns_as_those_that_did_not() {
    let mut order = Orderer::new(1, [A, B]);
    let mut follows = Placer::new(A, order.slices(A).unwrap().clone());
    let mut early = Vec::new();
    for cut in 1..=10 {
        follows.evaluated(Turn { changes: cut % 3 != 0 });
        let changes = cut - cut / 3;
        order.apply(&Command::Cut(vec![(A, mark(cut, changes)), (B, mark(cut, cut))])).unwrap();
        assert!(follows.follow(order.slices(A).unwrap()));
        early.extend(std::iter::from_fn(|| follows.place()));
    }
    let changes: Vec<bool> = (1..=10).map(|cut| cut % 3 != 0).collect();
    assert_eq!(placed(&order, A, &changes), early);
    assert_eq!(early.len(), 10);
}

#[test]
fn barriers_are_taken_in_one_order_in_every_shard() {
    let mut order = Orderer::new(1, [A, B]);
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    order.apply(&Command::Begin(vec![B, A])).unwrap();
    let behind = OrderError::Behind { txn: U, shard: A, first: T };
    assert_eq!(order.apply(&done(U, &[(A, mark(0, 0)), (B, mark(0, 0))])), Err(behind));
    order.apply(&done(T, &[(A, mark(0, 0)), (B, mark(0, 0))])).unwrap();
    order.apply(&done(U, &[(A, mark(0, 0)), (B, mark(0, 0))])).unwrap();
    assert_eq!(order.revision(), 3);
    // A leader that logs them the other way round is not followed: what is older than a barrier that was taken is void, or is logged twice.
    let (mut lane, mut steps) = (Lane::<Bytes>::default(), Vec::new());
    for entry in [LaneEntry::Barrier(U, Bytes::new()), LaneEntry::Barrier(T, Bytes::new())] {
        lane.take(entry, &mut steps);
    }
    lane.take(LaneEntry::Branch(U, Some(true)), &mut steps);
    assert_eq!(steps, [Step::Ask(U, Bytes::new()), Step::Branch(U, true)]);
}

#[test]
fn what_stands_behind_a_barrier_takes_its_turn_behind_the_transaction() {
    let (mut lane, mut steps) = (Lane::<Bytes>::default(), Vec::new());
    let command = |name: &'static str| LaneEntry::Command(Bytes::from_static(name.as_bytes()));
    let step = |name: &'static str| Step::Turn(Bytes::from_static(name.as_bytes()));
    for entry in [command("a"), LaneEntry::Barrier(T, Bytes::new()), command("b"), command("c")] {
        lane.take(entry, &mut steps);
    }
    assert_eq!((steps.as_slice(), lane.waiting()), ([step("a"), Step::Ask(T, Bytes::new())].as_slice(), 2));
    steps.clear();
    // The next barrier waits as well, and stops the lane again.
    lane.take(LaneEntry::Barrier(U, Bytes::new()), &mut steps);
    lane.take(command("d"), &mut steps);
    assert_eq!(lane.newest(), U);
    lane.take(LaneEntry::Branch(T, Some(false)), &mut steps);
    assert_eq!(steps, [Step::Branch(T, false), step("b"), step("c"), Step::Ask(U, Bytes::new())]);
    steps.clear();
    // A second leader has logged T's branch once more; then U comes to nothing.
    lane.take(LaneEntry::Branch(T, Some(false)), &mut steps);
    lane.take(LaneEntry::Branch(U, None), &mut steps);
    assert_eq!(steps, [Step::Void(U), step("d")]);
}

#[test]
fn a_lane_does_not_stop_for_what_is_void_by_its_log() {
    const V: TxnId = TxnId(3);
    let (mut lane, mut steps) = (Lane::<Bytes>::default(), Vec::new());
    let barrier = |txn| LaneEntry::Barrier(txn, Bytes::new());
    let turn = |name: &'static str| LaneEntry::Command(Bytes::from_static(name.as_bytes()));
    for entry in [barrier(T), barrier(U), turn("a"), barrier(V)] {
        lane.take(entry, &mut steps);
    }
    assert_eq!(lane.next_barriers().collect::<Vec<_>>(), [U, V]);
    // What is to be done is known of none that was not asked: such a word is no leader's of ours, and says nothing.
    lane.take(LaneEntry::Branch(V, Some(true)), &mut steps);
    lane.take(LaneEntry::Branch(U, None), &mut steps);
    assert_eq!(lane.next_barriers().collect::<Vec<_>>(), [V]);
    let mut bytes = Writer::new();
    lane.encode(&mut bytes, |command, to| to.bytes(command));
    let mut from = Reader::new(bytes.finish());
    assert_eq!(Lane::decode(&mut from, Reader::bytes), Ok(lane.clone()));
    steps.clear();
    lane.take(LaneEntry::Branch(T, Some(true)), &mut steps);
    let a = Step::Turn(Bytes::from_static(b"a"));
    let none = Bytes::new();
    let expected = [Step::Branch(T, true), Step::Ask(U, none.clone()), Step::Void(U), a, Step::Ask(V, none)];
    assert_eq!(steps, expected);
    assert_eq!((lane.stands_at(), lane.next_barriers().next()), (Some(V), None));
    // The word about U comes once more, from another leader.
    lane.take(LaneEntry::Branch(U, None), &mut steps);
    lane.take(LaneEntry::Branch(V, None), &mut steps);
    assert_eq!((lane.stands_at(), steps.last()), (None, Some(&Step::Void(V))));
}

#[test]
fn what_has_a_verdict_waits_for_what_is_older_in_its_shards() {
    let mut order = Orderer::new(1, [A, B]);
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    order.apply(&Command::Begin(vec![A])).unwrap();
    let config = ScribeConfig::default();
    let begun = Instant::START;
    let mut scribe = Scribe::new(config, begun);
    let holds = Verdict { txn: U, holds: true, changes: [Some(true); 2] };
    scribe.report(Report { shard: A, upto: mark(0, 0), verdict: Some(holds) });
    assert!(scribe.has_passed(U, A) && scribe.has_passed(T, A) && !scribe.has_passed(T, B));
    assert_eq!(scribe.due(begun, &order), [], "A has taken U's barrier, and T's never will be");
    let late = begun + config.void_after;
    assert_eq!(scribe.due(late, &order), [void(T)]);
    order.apply(&void(T)).unwrap();
    scribe.settled(&void(T));
    assert_eq!(scribe.due(late, &order), [done(U, &[(A, mark(0, 0))])]);
}

#[test]
fn how_long_a_transaction_has_waited_is_not_forgotten_with_a_leader() {
    let mut order = Orderer::new(1, [A]);
    order.apply(&Command::Begin(vec![A])).unwrap();
    let config = ScribeConfig::default();
    let now = Instant::START + config.void_after * 3;
    let mut scribe = Scribe::new(config, now);
    scribe.seen(T, Instant::START);
    assert_eq!(scribe.due(now, &order), [], "whoever has just begun waits a little for what it is told");
    assert_eq!(scribe.poll_timeout(&order), Some(now + config.grace));
    assert_eq!(scribe.due(now + config.grace, &order), [void(T)]);
}

#[test]
fn the_first_word_about_a_transaction_counts() {
    let mut order = Orderer::new(1, [A, B]);
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    order.apply(&void(T)).unwrap();
    assert_eq!(
        order.apply(&done(T, &[(A, mark(0, 0)), (B, mark(0, 0))])),
        Err(OrderError::NotOpen(T)),
        "a verdict that comes too late"
    );
    assert_eq!((order.part(A, T), order.revision()), (Part::Void, 1));
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    order.apply(&done(U, &[(A, mark(0, 0)), (B, mark(0, 0))])).unwrap();
    assert_eq!(order.apply(&void(U)), Err(OrderError::NotOpen(U)));
    assert_eq!(order.part(B, U), Part::Done { branch: true });
}

#[test]
fn a_shard_without_a_quorum_holds_up_nobody_else() {
    let (mut order, config) = (Orderer::new(1, [A, B]), ScribeConfig::default());
    let mut scribe = Scribe::new(config, Instant::START);
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    let verdict = Verdict { txn: T, holds: true, changes: [Some(true), Some(false)] };
    scribe.report(Report { shard: A, upto: mark(1, 1), verdict: Some(verdict) });
    let cut = Command::Cut(vec![(A, mark(1, 1))]);
    assert_eq!(
        scribe.due(Instant::START, &order),
        std::slice::from_ref(&cut),
        "B is silent, and A's turn is placed"
    );
    order.apply(&cut).unwrap();
    scribe.settled(&cut);
    let limit = Instant::START + config.void_after;
    assert_eq!(scribe.poll_timeout(&order), Some(limit));
    assert_eq!(scribe.due(limit, &order), [void(T)]);
    assert!(scribe.due(limit, &order).is_empty(), "proposed once, as long as nobody knows what became of it");
}

/// {T puts into A and B, and B knows no lease of that number}: A, which would have put, does not; the branch that nobody takes may be refused.
#[test]
fn a_branch_that_one_shard_refuses_is_taken_nowhere() {
    for (holds, outcome) in [
        (true, Outcome::Void),
        (
            false,
            Outcome::Done { branch: false, changes: false, barriers: vec![(A, mark(1, 1)), (B, mark(0, 0))] },
        ),
    ] {
        let mut order = Orderer::new(1, [A, B]);
        let mut scribe = Scribe::new(ScribeConfig::default(), Instant::START);
        order.apply(&Command::Begin(vec![A, B])).unwrap();
        for (shard, upto, changes) in
            [(A, mark(1, 1), [Some(true), Some(false)]), (B, mark(0, 0), [None, Some(false)])]
        {
            scribe.report(Report { shard, upto, verdict: Some(Verdict { txn: T, holds, changes }) });
        }
        assert_eq!(scribe.due(Instant::START, &order).remove(0), Command::Decide { txn: T, outcome });
    }
}

#[test]
fn a_transaction_is_decided_once_all_have_spoken_and_takes_one_revision() {
    let mut order = Orderer::new(1, [A, B]);
    let mut scribe = Scribe::new(ScribeConfig::default(), Instant::START);
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    let says = |shard, upto, holds, changes| Report {
        shard,
        upto,
        verdict: Some(Verdict { txn: T, holds, changes }),
    };
    scribe.report(says(A, mark(2, 1), true, [Some(true), Some(false)]));
    scribe.report(says(B, mark(3, 3), false, [Some(true), Some(false)]));
    let decided = scribe.due(Instant::START, &order).remove(0);
    let barriers = vec![(A, mark(2, 1)), (B, mark(3, 3))];
    let outcome = Outcome::Done { branch: false, changes: false, barriers };
    assert_eq!(
        decided,
        Command::Decide { txn: T, outcome },
        "one compare fails, and the other branch changes nothing"
    );
    order.apply(&decided).unwrap();
    let t = Placement::Txn { txn: T, branch: false, revision: 5, changes: false };
    assert_eq!(placed(&order, A, &[true, false]), [turn(1, 2, true), turn(2, 2, false), t]);
    assert_eq!(order.revision(), 5, "four turns, and a transaction that changes nothing");
}

#[test]
fn reports_that_are_old_or_come_twice_move_nothing() {
    let mut order = Orderer::new(1, [A]);
    let mut scribe = Scribe::new(ScribeConfig::default(), Instant::START);
    for turns in [3, 1, 3, 2] {
        scribe.report(Report { shard: A, upto: mark(turns, turns), verdict: None });
    }
    let cut = Command::Cut(vec![(A, mark(3, 3))]);
    assert_eq!(scribe.due(Instant::START, &order), std::slice::from_ref(&cut));
    order.apply(&cut).unwrap();
    scribe.settled(&cut);
    let before = order.clone();
    order.apply(&Command::Cut(vec![(A, mark(2, 2))])).unwrap();
    order.apply(&cut).unwrap();
    assert_eq!(order, before);
    assert!(scribe.due(Instant::START + Duration::from_secs(1), &order).is_empty());
}

#[test]
fn a_cut_waits_for_its_interval_and_for_the_one_before() {
    let (mut order, config) = (Orderer::new(1, [A]), ScribeConfig::default());
    let mut scribe = Scribe::new(config, Instant::START);
    let report = |turns| Report { shard: A, upto: mark(turns, turns), verdict: None };
    scribe.report(report(1));
    let first = scribe.due(Instant::START, &order).remove(0);
    scribe.report(report(2));
    let later = Instant::START + config.cut_interval;
    assert_eq!(scribe.due(later, &order), [], "the first is not in the order log yet");
    order.apply(&first).unwrap();
    scribe.settled(&first);
    assert_eq!(scribe.poll_timeout(&order), Some(later));
    assert_eq!(scribe.due(Instant::START, &order), []);
    assert_eq!(scribe.due(later, &order), [Command::Cut(vec![(A, mark(2, 2))])]);
}

#[test]
fn what_cannot_be_is_refused_whole() {
    let mut order = Orderer::new(1, [A, B]);
    order.apply(&Command::Cut(vec![(A, mark(4, 3))])).unwrap();
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    let before = order.clone();
    let impossible = |reported| OrderError::Impossible { shard: A, placed: mark(4, 3), reported };
    for (command, error) in [
        (Command::Cut(vec![(B, mark(1, 1)), (A, mark(5, 2))]), impossible(mark(5, 2))),
        (Command::Cut(vec![(A, mark(5, 5))]), impossible(mark(5, 5))),
        (Command::Cut(vec![(A, mark(4, 4))]), impossible(mark(4, 4))),
        (Command::Cut(vec![(ShardId(9), mark(1, 1))]), OrderError::UnknownShard(ShardId(9))),
        (done(T, &[(A, mark(4, 3))]), OrderError::OtherShards(T)),
        (done(T, &[(A, mark(3, 3)), (B, mark(0, 0))]), impossible(mark(3, 3))),
        (done(U, &[(A, mark(4, 3))]), OrderError::NotOpen(U)),
        (Command::Begin(vec![]), OrderError::Shards),
        (Command::Begin(vec![A, A]), OrderError::Shards),
        (Command::Begin(vec![A, ShardId(9)]), OrderError::UnknownShard(ShardId(9))),
        (Command::Forget { shard: ShardId(9), slices: 1 }, OrderError::UnknownShard(ShardId(9))),
        (Command::Admit(A), OrderError::KnownShard(A)),
        (Command::Cut(vec![(B, mark(u64::MAX, u64::MAX))]), OrderError::Exhausted),
    ] {
        assert_eq!(order.apply(&command), Err(error), "{command:?}");
        assert_eq!(order, before, "{command:?}: {error}");
    }
}

#[test]
fn what_a_shard_has_compacted_away_is_forgotten_and_nothing_else() {
    let mut order = Orderer::new(1, [A, B]);
    for turns in 1..=3 {
        order.apply(&Command::Cut(vec![(A, mark(turns, turns))])).unwrap();
    }
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    order.apply(&done(T, &[(A, mark(3, 3)), (B, mark(0, 0))])).unwrap();
    order.apply(&Command::Cut(vec![(A, mark(4, 4))])).unwrap();
    let mut lags = Placer::new(A, Orderer::new(1, [A]).slices(A).unwrap().clone());
    order.apply(&Command::Forget { shard: A, slices: 3 }).unwrap();
    assert_eq!(
        (order.slices(A).unwrap().from(), order.slices(A).unwrap().len()),
        (mark(3, 3), 2),
        "T is behind the third turn"
    );
    assert!(!lags.follow(order.slices(A).unwrap()), "it needs a snapshot");
    assert_eq!(order.part(A, T), Part::Done { branch: true });
    let t = Placement::Txn { txn: T, branch: true, revision: 5, changes: true };
    assert_eq!(placed(&order, A, &[true]), [t, turn(4, 6, true)]);
    order.apply(&Command::Forget { shard: A, slices: 5 }).unwrap();
    assert!(order.slices(A).unwrap().is_empty());
}

#[test]
fn a_shard_that_does_not_compact_waits_and_nobody_else_does() {
    let (mut order, config) = (Orderer::new(1, [A, B]), ScribeConfig::default());
    for turns in 1..=SLICES_MAX as u64 {
        order.apply(&Command::Cut(vec![(A, mark(turns, 0))])).unwrap();
    }
    let full = SLICES_MAX as u64;
    assert!(!order.has_room(A) && order.has_room(B));
    order.apply(&Command::Cut(vec![(A, mark(full + 1, 1)), (B, mark(1, 1))])).unwrap();
    assert_eq!((order.placed(A), order.placed(B)), (Some(mark(full, 0)), Some(mark(1, 1))));
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    let barriers = [(A, mark(full, 0)), (B, mark(1, 1))];
    assert_eq!(order.apply(&done(T, &barriers)), Err(OrderError::TooManySlices(A)));
    // Its leader neither asks for what would be refused, again and again, nor waits for ever.
    let mut scribe = Scribe::new(config, Instant::START);
    for (shard, upto) in barriers {
        let verdict = Verdict { txn: T, holds: true, changes: [Some(true); 2] };
        scribe.report(Report { shard, upto, verdict: Some(verdict) });
    }
    assert_eq!(scribe.due(Instant::START, &order), []);
    assert_eq!(scribe.due(Instant::START + config.void_after, &order), [void(T)]);
    order.apply(&Command::Forget { shard: A, slices: full }).unwrap();
    order.apply(&done(T, &barriers)).unwrap();
}

#[test]
fn a_shard_that_is_admitted_later_begins_without_a_turn() {
    let mut order = Orderer::new(7, [A]);
    order.apply(&Command::Admit(B)).unwrap();
    order.apply(&Command::Cut(vec![(B, mark(1, 1))])).unwrap();
    assert_eq!(placed(&order, B, &[true]), [turn(1, 8, true)]);
}

#[test]
fn bytes_that_are_no_command_are_refused() {
    let whole = done(T, &[(A, mark(3, 2)), (B, mark(0, 0))]).encode();
    for end in 0..whole.len() {
        Command::decode(&whole.slice(..end)).unwrap_err();
    }
    for bytes in [&[2, 5, 1][..], &[1, 9], &[1, 5, 1, 0], &[1, 1, 2, 2, 0, 0, 1, 0, 0], &[1, 1, 1, 1, 1, 2]] {
        Command::decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
    }
}

#[test]
fn a_replica_that_is_restored_goes_on_where_its_snapshot_stands() {
    let mut order = Orderer::new(1, [A, B]);
    order.apply(&Command::Cut(vec![(A, mark(3, 2)), (B, mark(1, 1))])).unwrap();
    order.apply(&Command::Begin(vec![A, B])).unwrap();
    order.apply(&done(T, &[(A, mark(4, 3)), (B, mark(1, 1))])).unwrap();
    order.apply(&Command::Cut(vec![(A, mark(6, 4))])).unwrap();
    let turns = [true, false, true, true, false, true];
    let whole = placed(&order, A, &turns);
    for stop in 0..=whole.len() {
        let mut first = Placer::new(A, order.slices(A).unwrap().clone());
        turns.iter().for_each(|changes| first.evaluated(Turn { changes: *changes }));
        let mut out: Vec<Placement> = (0..stop).map(|_| first.place().unwrap()).collect();
        let place: Place = first.place_now();
        let mut next = Placer::resumed(A, place);
        assert_eq!(next.placed(), first.placed());
        for changes in &turns[place.placed.turns as usize..] {
            next.evaluated(Turn { changes: *changes });
        }
        // What it has placed may be forgotten.
        let mut later = order.clone();
        later.apply(&Command::Forget { shard: A, slices: place.slice }).unwrap();
        assert!(next.follow(later.slices(A).unwrap()), "after {stop}");
        assert_eq!(next.reached(), first.reached(), "after {stop}");
        out.extend(std::iter::from_fn(|| next.place()));
        assert_eq!(out, whole, "after {stop}");
    }
}

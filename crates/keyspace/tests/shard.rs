//! A shard that evaluates ahead of the order comes to what one does that is told each revision at once, and that to what a keyspace does which is alone.

mod common;

use bytes::Bytes;
use common::{generate, shell};
use proptest::prelude::*;
use quorate_consensus::{Placed, Position, StateMachine};
use quorate_keyspace::*;

fn bytes(command: &Command) -> Bytes {
    command.encode()
}

fn at(turn: usize) -> Position {
    Position::new(1, turn as u64 + 1)
}

fn mod_is(key: &'static str, revision: i64) -> Compare {
    shell::compare(key, CompareResult::Equal, CompareTarget::Mod(revision))
}

fn put(key: &'static str) -> Command {
    Command::Put(shell::put(key, "v"))
}

fn when(compare: Compare, then: &'static str) -> Command {
    let success = vec![Operation::Put(shell::put(then, "v"))];
    Command::Txn(Txn { compare: vec![compare], success, failure: vec![] })
}

/// Evaluates one more turn.
fn evaluate(shard: &mut Shard, command: &Command) -> Option<bool> {
    shard.evaluate(at(0), &bytes(command))
}

#[test]
fn the_worked_example_of_the_order() {
    let (mut a, mut b) = (Shard::new(Keyspace::new()), Shard::new(Keyspace::new()));
    assert_eq!(evaluate(&mut a, &put("a")), Some(true));
    let create = shell::compare("b", CompareResult::Equal, CompareTarget::Create(0));
    assert_eq!(evaluate(&mut a, &when(create, "b")), Some(true));
    assert_eq!(
        evaluate(&mut a, &when(mod_is("a", 1), "a")),
        Some(false),
        "a's revision is open, 1 is placed"
    );
    assert_eq!(evaluate(&mut b, &put("p")), Some(true));
    assert_eq!(evaluate(&mut b, &put("q")), Some(true));
    // Cut 1: A(2, 2) B(1, 1). Cut 2: A(3, 2) B(2, 2).
    assert_eq!([a.place(2), a.place(3)].map(|placed| placed.response.revision), [2, 3]);
    assert_eq!(b.place(4).response.revision, 4);
    assert_eq!(a.place(4).response.revision, 4, "what changes nothing is told of the last change before it");
    assert_eq!(b.place(5).response.revision, 5);
    // T: if mod(a) = 2 then put c, put r.
    let part =
        |key| Txn { compare: vec![], success: vec![Operation::Put(shell::put(key, "t"))], failure: vec![] };
    let t_a = Command::Txn(Txn { compare: vec![mod_is("a", 2)], ..part("c") });
    let said = Weight { holds: true, changes: [Ok(true), Ok(false)] };
    assert_eq!(a.weigh(at(3), &bytes(&t_a), 5), Some(said));
    assert_eq!(b.weigh(at(2), &bytes(&Command::Txn(part("r"))), 5), Some(said));
    for shard in [&mut a, &mut b] {
        shard.decide(Some(true));
        assert_eq!(shard.place(6).response.revision, 6);
    }
    assert_eq!(a.view(6).get(b"c").unwrap().mod_revision, 6);
    assert_eq!(b.view(6).get(b"r").unwrap().mod_revision, 6);
}

#[test]
fn a_compare_that_an_open_revision_decides_goes_on_and_one_that_it_does_not_waits() {
    let mut shard = Shard::new(Keyspace::new());
    evaluate(&mut shard, &put("a"));
    shard.place(57);
    evaluate(&mut shard, &put("a"));
    let compare = |result, revision| when(shell::compare("a", result, CompareTarget::Mod(revision)), "x");
    assert_eq!(evaluate(&mut shard, &compare(CompareResult::Equal, 57)), Some(false));
    assert_eq!(evaluate(&mut shard, &compare(CompareResult::NotEqual, 57)), Some(true));
    assert_eq!(evaluate(&mut shard, &compare(CompareResult::Greater, 56)), Some(true));
    for result in [CompareResult::Equal, CompareResult::NotEqual, CompareResult::Greater, CompareResult::Less]
    {
        assert_eq!(evaluate(&mut shard, &compare(result, 60)), None, "{result:?}");
    }
    // One that is false is enough, whatever the other will be.
    let mut both = compare(CompareResult::Equal, 60);
    if let Command::Txn(txn) = &mut both {
        txn.compare.push(shell::compare("a", CompareResult::Equal, CompareTarget::Version(9)));
    }
    assert_eq!(evaluate(&mut shard, &both), Some(false));
    for revision in [60, 60, 61, 62, 62] {
        shard.place(revision);
    }
    assert_eq!(evaluate(&mut shard, &compare(CompareResult::Equal, 60)), Some(true), "a stands at 60");
}

#[test]
fn what_is_open_counts_against_the_quota_as_if_it_were_placed() {
    let quota = |puts: u64| {
        let mut keyspace = Keyspace::new();
        // A put of one byte under a key of one takes 258.
        let bytes = (puts * 258 + 1) as i64;
        keyspace.apply(at(0), &bytes_of_quota(bytes));
        Shard::new(keyspace)
    };
    for placed_first in 0..=3 {
        let (mut shard, mut answers) = (quota(3), vec![]);
        for turn in 0..5 {
            if turn == placed_first {
                (0..turn).for_each(|turn| _ = shard.place(2 + turn));
            }
            answers.push(evaluate(&mut shard, &put("k")));
        }
        let expected = [true, true, true, false, false].map(Some);
        assert_eq!(answers, expected, "with {placed_first} placed before the next is evaluated");
    }
}

fn bytes_of_quota(quota: i64) -> Bytes {
    bytes(&Command::SetQuota(SetQuota { bytes: quota }))
}

#[test]
fn a_put_that_keeps_its_value_finds_a_key_that_is_open() {
    let mut shard = Shard::new(Keyspace::new());
    let keeps = Command::Put(Put { key: "k".into(), ignore_value: true, ..Put::default() });
    let leased = Command::Put(Put { lease: LeaseId(7), ..shell::put("k", "v") });
    assert_eq!(evaluate(&mut shard, &keeps), Some(false), "there is no key");
    assert_eq!(evaluate(&mut shard, &put("k")), Some(true));
    assert_eq!(evaluate(&mut shard, &keeps), Some(true));
    assert_eq!(evaluate(&mut shard, &leased), Some(false), "there is no lease");
    let results: Vec<_> = [1, 2, 3, 3].map(|revision| shard.place(revision).response.result.is_ok()).into();
    assert_eq!(results, [false, true, true, false]);
}

#[test]
fn a_branch_that_one_shard_refuses_is_taken_nowhere() {
    let mut shard = Shard::new(Keyspace::new());
    let hang = Operation::Put(shell::hang("a", 7));
    let part = Command::Txn(Txn { compare: vec![], success: vec![hang], failure: vec![] });
    let missing = KeyspaceError::LeaseNotFound(LeaseId(7));
    let weight = shard.weigh(at(0), &bytes(&part), 1);
    assert_eq!(weight, Some(Weight { holds: true, changes: [Err(missing), Ok(false)] }));
    shard.decide(None);
    assert_eq!(shard.open(), 0, "nothing waits for a revision");
}

#[test]
fn a_view_is_of_the_revision_up_to_which_all_shards_are_placed() {
    let mut shard = Shard::new(Keyspace::new());
    evaluate(&mut shard, &put("a"));
    evaluate(&mut shard, &put("b"));
    shard.place(5);
    let view = shard.view(9);
    assert_eq!((view.revision(), view.key_count()), (9, 1), "what is open is not seen");
    assert!(view.range(&Range { revision: 8, ..shell::range("a", "") }).is_ok());
}

/// An entry of a shard's log.
#[derive(Clone, Debug)]
enum Entry {
    Turn(Command),
    /// Its part of a transaction over several; what the others say, and how it ends.
    Barrier {
        part: Txn,
        others_hold: bool,
        others_change: bool,
        end: End,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Decided,
    Void,
}

/// What one entry came to.
#[derive(Clone, Debug, PartialEq)]
enum Came {
    Placed(Response, Vec<News>),
    Nowhere(Option<KeyspaceError>),
}

/// A transaction over shards, or a quota that is soon reached: what may still be put shows whether sizes are the same.
fn entry() -> impl Strategy<Value = Entry> {
    let quota = (1_000..9_000i64).prop_map(|bytes| Entry::Turn(Command::SetQuota(SetQuota { bytes })));
    prop_oneof![3 => barrier(), 1 => quota]
}

fn barrier() -> impl Strategy<Value = Entry> {
    let end = prop_oneof![6 => Just(End::Decided), 1 => Just(End::Void)];
    (generate::txn(), any::<bool>(), any::<bool>(), end).prop_map(
        |(part, others_hold, others_change, end)| Entry::Barrier { part, others_hold, others_change, end },
    )
}

/// A log, and how many changes of other shards come before each entry.
fn log(gaps: std::ops::Range<u64>) -> impl Strategy<Value = Vec<(u64, Entry)>> {
    let turns = generate::log().prop_map(|log| log.into_iter().map(Entry::Turn).collect::<Vec<_>>());
    (turns, prop::collection::vec((any::<prop::sample::Index>(), entry()), 0..6)).prop_flat_map(
        move |(mut log, barriers)| {
            for (place, barrier) in barriers {
                log.insert(place.index(log.len() + 1), barrier);
            }
            let gap = prop_oneof![2 => Just(0), 1 => gaps.clone()];
            let length = log.len();
            prop::collection::vec(gap, length)
                .prop_map(move |gaps| gaps.into_iter().zip(log.clone()).collect())
        },
    )
}

/// The branch, and what the order would say of the transaction, by what this shard says.
fn outcome(weight: Weight, others_hold: bool, end: End) -> (bool, Option<bool>) {
    let branch = weight.holds && others_hold;
    let done = end == End::Decided && weight.changes[usize::from(!branch)].is_ok();
    (branch, done.then_some(branch))
}

/// The log with its revisions, as a shard comes to them that is told each at once.
struct Told {
    /// A compaction names a revision that was placed when it was asked for.
    log: Vec<Entry>,
    /// Where the store stands before each entry.
    known: Vec<u64>,
    /// The revision that each entry is placed with.
    revisions: Vec<u64>,
    came: Vec<Came>,
    /// After each entry.
    digests: Vec<u64>,
}

fn placed(placed: Placed<Response, News>) -> Came {
    Came::Placed(placed.response, placed.events)
}

fn tell(log: Vec<(u64, Entry)>) -> Told {
    let mut shard = Shard::new(Keyspace::new());
    let mut told = Told { log: vec![], known: vec![], revisions: vec![], came: vec![], digests: vec![] };
    let mut revision = 1;
    for (turn, (gap, mut entry)) in log.into_iter().enumerate() {
        revision += gap;
        told.known.push(revision);
        if let Entry::Turn(Command::Compact(compact)) = &mut entry {
            compact.revision = compact.revision.min(revision as i64);
        }
        let came = match &entry {
            Entry::Turn(command) => {
                let changes = shard.evaluate(at(turn), &bytes(command)).expect("nothing is open");
                revision += u64::from(changes);
                placed(shard.place(revision))
            }
            Entry::Barrier { part, others_hold, others_change, end } => {
                let weight = shard
                    .weigh(at(turn), &bytes(&Command::Txn(part.clone())), revision)
                    .expect("nothing is open");
                let (branch, decided) = outcome(weight, *others_hold, *end);
                shard.decide(decided);
                match decided {
                    Some(_) => {
                        let here = weight.changes[usize::from(!branch)].expect("it is not refused");
                        revision += u64::from(here || *others_change);
                        placed(shard.place(revision))
                    }
                    None => Came::Nowhere(weight.changes[usize::from(!branch)].err()),
                }
            }
        };
        told.log.push(entry);
        told.revisions.push(revision);
        told.came.push(came);
        told.digests.push(shard.placed().digest());
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// However far it evaluates ahead, wherever it begins anew from a snapshot: answers, news and digests are those of the one that is told each revision at once.
    #[test]
    fn what_a_command_comes_to_does_not_depend_on_when_revisions_become_known(
        log in log(1..6),
        paces in prop::collection::vec(0..9usize, 1..60),
        restarts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let told = tell(log);
        let mut shard = Shard::new(Keyspace::new());
        // Entries evaluated, and done with. Entries between them are open.
        let (mut evaluated, mut done) = (0, 0);
        let mut restarts: Vec<usize> = restarts.iter().map(|at| at.index(told.log.len() + 1)).collect();
        let mut paces = paces.iter().cycle();
        while done < told.log.len() {
            let mut ahead = (*paces.next().unwrap()).max(usize::from(done == evaluated));
            while evaluated < told.log.len() && ahead > 0 {
                let entry = &told.log[evaluated];
                match entry {
                    Entry::Turn(command) => {
                        let Some(_) = shard.evaluate(at(evaluated), &bytes(command)) else { break };
                    }
                    Entry::Barrier { part, others_hold, end, .. } => {
                        let Some(weight) = shard.weigh(at(evaluated), &bytes(&Command::Txn(part.clone())), told.known[evaluated]) else { break };
                        let (branch, decided) = outcome(weight, *others_hold, *end);
                        shard.decide(decided);
                        if decided.is_none() {
                            let answer = weight.changes[usize::from(!branch)].err();
                            prop_assert_eq!(&Came::Nowhere(answer), &told.came[evaluated]);
                        }
                    }
                }
                evaluated += 1;
                ahead -= 1;
            }
            // One more becomes known.
            if done < evaluated {
                if let Came::Placed(..) = &told.came[done] {
                    let came = placed(shard.place(told.revisions[done]));
                    prop_assert_eq!(&came, &told.came[done], "entry {}: {:?}", done, told.log[done]);
                    prop_assert_eq!(shard.placed().digest(), told.digests[done]);
                }
                done += 1;
            }
            if let Some(here) = restarts.iter().position(|at| *at == done) {
                restarts.remove(here);
                shard = Shard::restore(&mut shard.snapshot()).expect("a snapshot");
                evaluated = done;
            }
        }
        prop_assert_eq!(shard.open(), 0);
    }

    /// With no other shard, it is the keyspace that it would be alone.
    #[test]
    fn alone_it_is_a_keyspace(log in log(0..1)) {
        let told = tell(log);
        let mut alone = Keyspace::new();
        for (turn, entry) in told.log.iter().enumerate() {
            let command = match entry {
                Entry::Turn(command) => command.clone(),
                Entry::Barrier { end: End::Void, .. } => continue,
                Entry::Barrier { others_change: true, .. } => return Ok(()),
                Entry::Barrier { part, others_hold, .. } => {
                    let mut whole = part.clone();
                    if !others_hold {
                        whole.compare.push(shell::compare("no", CompareResult::Greater, CompareTarget::Version(0)));
                    }
                    Command::Txn(whole)
                }
            };
            // What is placed nowhere does not sweep either.
            let mut copy = Keyspace::restore(&mut alone.snapshot()).expect("a snapshot");
            let nowhere = matches!(told.came[turn], Came::Nowhere(_));
            let whole = if nowhere { &mut copy } else { &mut alone }.apply(at(turn), &bytes(&command));
            match (&told.came[turn], entry) {
                (Came::Nowhere(error), _) => prop_assert_eq!(whole.response.result.err(), *error),
                (Came::Placed(response, news), Entry::Turn(_)) => {
                    prop_assert_eq!(response, &whole.response);
                    prop_assert_eq!(news, &whole.events);
                }
                (Came::Placed(response, news), Entry::Barrier { .. }) => {
                    let replies = |response: &Response| match &response.result {
                        Ok(Reply::Txn(reply)) => reply.responses.clone(),
                        other => panic!("{other:?}"),
                    };
                    prop_assert_eq!(replies(response), replies(&whole.response));
                    prop_assert_eq!(news, &whole.events);
                }
            }
            prop_assert_eq!(told.digests[turn], alone.digest());
        }
    }
}

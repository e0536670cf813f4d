//! Whatever clients were told, one keyspace would have told them.

use std::{collections::BTreeMap, sync::Arc};

use quorate_consensus::{Position, StateMachine as _};
use quorate_service::{
    keyspace::{self, Command, Event, Keyspace, KeyspaceError, LeaseId, Range, Response, View},
    shards::Undone,
};

use crate::world::{Asked, NODES, Told, World};

/// The state after each revision; more than one, where something happened that takes none.
struct Oracle {
    states: BTreeMap<u64, Vec<View>>,
}

fn evaluate(view: &View, command: &Command) -> (Response, View) {
    let mut state = Keyspace::restore(&mut view.snapshot()).unwrap();
    let placed = state.apply(Position::new(1, 1), &command.encode());
    (placed.response, state.view())
}

/// Leases remember the entry that granted them, which is another one here.
fn alike(one: &Response, other: &Response) -> bool {
    let plain = |response: &Response| {
        let mut plain = response.clone();
        match &mut plain.result {
            Ok(keyspace::Reply::LeaseGrant(lease)) => lease.granted = 0,
            // Of two leases that are missing, in two shards, either is named.
            Err(KeyspaceError::LeaseNotFound(lease)) => *lease = LeaseId(0),
            _ => {}
        }
        plain
    };
    plain(one) == plain(other)
}

fn takes_a_revision(before: &View, response: &Response, command: &Command) -> bool {
    let (said, after) = evaluate(before, command);
    after.revision() > before.revision() && alike(&said, response)
}

/// Has each answer follow from the states that the answers before it made, and says what they were.
fn replay(world: &World) -> Oracle {
    let mut done: Vec<(&Command, &Response)> = Vec::new();
    let mut refused: Vec<(u64, &Command, &Response)> = Vec::new();
    for request in &world.requests {
        if let (Some(command), Some(Told::Done(response))) = (&request.command, &request.told) {
            assert!(response.revision >= request.seen, "asked after {} was seen: {response:?}", request.seen);
            match &response.result {
                // Nothing was done; a front end asks once more.
                Err(KeyspaceError::Moved) => {}
                Ok(_) => done.push((command, response)),
                Err(_) => refused.push((request.seen, command, response)),
            }
        }
    }
    let last = done.iter().map(|(_, response)| response.revision).max().unwrap_or(1);
    let mut states = BTreeMap::from([(1, vec![Keyspace::new().view()])]);
    for revision in 1..=last {
        if revision > 1 {
            let at = states[&(revision - 1)].clone();
            let here = |(command, response): &(&Command, &Response)| {
                response.revision == revision
                    && at.iter().any(|before| takes_a_revision(before, response, command))
            };
            let mut places: Vec<usize> = (0..done.len()).filter(|place| here(&done[*place])).collect();
            // {a lease's last key is deleted, and the lease revoked}: the answers do not say which of the two took the revision, but that was the deletion.
            if places.len() > 1 {
                places.retain(|place| !matches!(done[*place].0, Command::LeaseRevoke { .. }));
            }
            let [place] = places[..] else {
                let candidates: Vec<_> = done.iter().filter(|(_, r)| r.revision == revision).collect();
                panic!("revision {revision} was given to {}: {candidates:#?}", places.len());
            };
            let (command, response) = done.remove(place);
            // Of states that differ in nothing that has a revision, the last one that comes to this.
            let before = at.iter().rfind(|before| takes_a_revision(before, response, command)).unwrap();
            states.insert(revision, vec![evaluate(before, command).1]);
        }
        // What changed nothing that has a revision may have changed leases; some order of them explains all of it.
        let mut rest: Vec<(&Command, &Response)> = Vec::new();
        done.retain(|told| {
            let here = told.1.revision == revision;
            if here {
                rest.push(*told);
            }
            !here
        });
        while !rest.is_empty() {
            let now = states[&revision].last().unwrap().clone();
            let fits = |view: &View, (command, response): &(&Command, &Response)| {
                let (said, after) = evaluate(view, command);
                after.revision() == revision && alike(&said, response)
            };
            let changes =
                |(command, _): &(&Command, &Response)| evaluate(&now, command).1.digest() != now.digest();
            let before = rest.len();
            rest.retain(|told| !fits(&now, told) || changes(told));
            if rest.len() == before {
                let place = rest.iter().position(|told| fits(&now, told));
                let Some(place) = place else { panic!("at {revision} nothing explains {rest:#?}") };
                let (command, _) = rest.remove(place);
                states.get_mut(&revision).unwrap().push(evaluate(&now, command).1);
            }
        }
    }
    // A refusal changes nothing, and may be told some time after it was found out; or, by a shard that weighed it with what is evaluated and not placed, before all of
    // that is placed where it is told. No client is told a revision with it.
    for (seen, command, response) in refused {
        let explained = states.range(seen..).flat_map(|(_, views)| views).any(|view| {
            let (said, _) = evaluate(view, command);
            alike(&Response { revision: response.revision, ..said }, response)
        });
        assert!(explained, "nothing explains why {command:?} is refused: {response:?}, asked after {seen}");
    }
    Oracle { states }
}

fn all(view: &View, revision: u64) -> Vec<keyspace::KeyValue> {
    let range =
        Range { key: "k".into(), range_end: "\0".into(), revision: revision as i64, ..Range::default() };
    view.range(&range).unwrap().kvs
}

/// The events of each revision, by key: their order within it is the shards'.
fn by_revision(events: &[Event], since: u64) -> BTreeMap<u64, Vec<(bytes::Bytes, u64)>> {
    let mut told: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    let mut last = (0, 0);
    for event in events {
        assert!(
            (event.kv.mod_revision, event.sub) > last,
            "since {since}: {:?}",
            events.iter().map(|e| (e.kv.mod_revision, e.sub)).collect::<Vec<_>>()
        );
        last = (event.kv.mod_revision, event.sub);
        if event.kv.mod_revision > since {
            told.entry(event.kv.mod_revision).or_default().push((event.kv.key.clone(), event.kv.version));
        }
    }
    told.values_mut().for_each(|events| events.sort());
    told
}

/// What happened in some runs.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) silent: usize,
    pub(crate) views: usize,
    pub(crate) restored: usize,
    pub(crate) moved: usize,
    pub(crate) shards: usize,
    pub(crate) merged: usize,
    /// Vacant shards that got keys again.
    pub(crate) taken: usize,
}

/// Is all that anybody was told, and all that nodes have come to, what one keyspace would have come to?
pub(crate) fn judge(seed: u64, world: &World, counts: &mut Counts) {
    let oracle = replay(world);
    let last = *oracle.states.last_key_value().unwrap().0;
    for request in &world.requests {
        let Some(told) = &request.told else {
            assert!(
                world.has_begun_anew(request.node),
                "seed {seed}: {:?} is never answered",
                request.command
            );
            continue;
        };
        match told {
            Told::Done(Response { result: Err(KeyspaceError::Moved), .. }) => counts.moved += 1,
            Told::Done(_) => counts.done += 1,
            Told::Undone(Undone::Silent | Undone::Busy | Undone::Undivided(_) | Undone::Unfit) => {
                counts.silent += 1
            }
            Told::Undone(Undone::Unknown) => panic!("nobody jumped on node {}", request.node),
            Told::View(view) => {
                counts.views += 1;
                assert!(view.revision() >= request.seen, "{} {}", view.revision(), request.seen);
                let missing = request.granted.iter().find(|lease| view.lease(**lease).is_none());
                assert_eq!(missing, None, "seed {seed}: a lease that had been granted");
                let there = oracle.states[&view.revision()].last().unwrap();
                assert_eq!(all(view, 0), all(there, 0), "seed {seed} at {}", view.revision());
            }
        }
    }
    let end = oracle.states[&last].last().unwrap();
    let map = world.nodes[0].heard.lock().unwrap().map.clone().unwrap();
    counts.shards += world.carried_out(Asked::Split) + world.carried_out(Asked::SplitIntoVacant);
    counts.merged += world.carried_out(Asked::Merge);
    counts.taken += world.carried_out(Asked::SplitIntoVacant);
    let whole = by_revision(&world.nodes[0].heard.lock().unwrap().events, 1);
    for node in 0..NODES {
        let heard = world.nodes[node].heard.lock().unwrap();
        assert_eq!(heard.revision, last, "seed {seed}: node {node}");
        assert_eq!(heard.map, Some(Arc::clone(&map)), "seed {seed}: node {node}");
        let mut expected = whole.clone();
        expected.retain(|revision, _| *revision > heard.since);
        assert_eq!(by_revision(&heard.events, heard.since), expected, "seed {seed}: node {node}");
        counts.restored += usize::from(heard.since > 1);
        let view = world.nodes[node].state.shards().unwrap().view();
        assert_eq!((all(&view, 0), view.revision()), (all(end, 0), last), "seed {seed}: node {node}");
        assert_eq!(view.compacted(), end.compacted(), "seed {seed}: node {node}");
        let leases = |view: &View| -> Vec<_> {
            view.leases().map(|l| (l.id, view.lease_keys(l.id).collect::<Vec<_>>())).collect()
        };
        assert_eq!(leases(&view), leases(end), "seed {seed}: node {node}");
    }
    // And at every revision of before, whichever shard had the keys then.
    let view = world.nodes[0].state.shards().unwrap().view();
    for revision in view.compacted().max(1)..=last {
        let there = oracle.states[&revision].last().unwrap();
        assert_eq!(all(&view, revision), all(there, 0), "seed {seed} at {revision}, by {:?}", map.version());
    }
}

//! Clients that pipeline at random, entries that are applied in batches, answers that come before or after: K2, K3 and K5 hold whatever happens.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::{Position, Random, StateMachine};
use quorate_service::wire::zookeeper::*;
use quorate_service::znodes::Event;
use quorate_service::zookeeper::*;

use crate::common::*;

/// What a client expects.
#[derive(Default)]
struct Expects {
    /// Requests without an answer: xid, kind, and for a read of its own znode the value it must see.
    waiting: VecDeque<(i32, OpCode, Option<String>)>,
    /// What it last wrote, or will have, to its own znode.
    own: String,
    last_zxid: i64,
    /// The zxid under which it last set a watch on the shared znode that has not fired.
    armed: Option<i64>,
    answers: u64,
    events: u64,
}

struct Storm {
    random: Random,
    world: World,
    ids: Vec<ConnectionId>,
    expects: BTreeMap<ConnectionId, Expects>,
    /// Events that were applied and that the hub was not told of.
    untold: Vec<Event>,
    /// Answers that were not handed over.
    late: Vec<(ConnectionId, Input)>,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut world = World::new();
        let ids: Vec<ConnectionId> = (0..4).map(|_| world.client()).collect();
        world.call(ids[0], create("/shared")).unwrap();
        for id in &ids {
            world.call(*id, create(&own_path(*id))).unwrap();
        }
        let expects = |id: &ConnectionId| (*id, Expects { own: "x".to_owned(), ..Expects::default() });
        let expects = ids.iter().map(expects).collect();
        let random = Random::new(seed);
        Storm { random, world, ids, expects, untold: Vec::new(), late: Vec::new() }
    }

    fn request(&mut self, id: ConnectionId, number: u64) {
        let expects = self.expects.get_mut(&id).unwrap();
        let (request, value) = match self.random.below(8) {
            0 | 1 => {
                expects.own = number.to_string();
                let data = Some(expects.own.clone().into());
                let version = -1;
                (Request::SetData(SetDataRequest { path: own_path(id), data, version }), None)
            }
            2 | 3 => (get(&own_path(id), false), Some(expects.own.clone())),
            4 => (set("/shared", "y"), None),
            5 => (get("/shared", true), None),
            6 => (Request::Ping(()), None),
            _ => (Request::Sync(SyncRequest { path: "/".into() }), None),
        };
        let op = request.op();
        let xid = self.world.send(id, request);
        self.expects.get_mut(&id).unwrap().waiting.push_back((xid, op, value));
    }

    /// Applies what the client wants first, and tells nobody yet.
    fn apply_one(&mut self, id: ConnectionId) {
        let input = match self.world.of(id).wants.pop_front() {
            None => return,
            Some(Output::Propose { request, command }) => {
                let placed = self.world.tree.apply(Position::new(1, 1), &command.encode());
                self.untold.extend(placed.events);
                Input::Answered { request, response: placed.response }
            }
            Some(Output::Sync { request }) => Input::Synced { request, zxid: self.world.tree.number() },
            Some(Output::Send(_) | Output::Close(_)) => unreachable!("not kept"),
        };
        self.late.push((id, input));
    }

    fn tell_hub(&mut self) {
        let events = std::mem::take(&mut self.untold);
        let woken = self.world.hub.applied(self.world.tree.view(), &events);
        for id in woken {
            // Some are not woken in time, and ask before.
            if self.random.chance(2, 3) {
                self.world.step(id, Input::Wake);
            } else {
                self.late.push((id, Input::Wake));
            }
        }
    }

    fn hand_over(&mut self) {
        if !self.late.is_empty() {
            let at = self.random.below(self.late.len() as u64) as usize;
            let (id, input) = self.late.swap_remove(at);
            self.world.step(id, input);
        }
    }

    fn check(&mut self, id: ConnectionId) {
        while let Some(got) = self.world.next(id) {
            let expects = self.expects.get_mut(&id).unwrap();
            if got.xid == XID_NOTIFICATION {
                assert!(
                    got.zxid > expects.last_zxid,
                    "K5: told of {} after an answer that shows it",
                    got.zxid
                );
                assert!(
                    expects.armed.take().is_some_and(|zxid| zxid < got.zxid),
                    "K5: told without a watch, or twice"
                );
                expects.events += 1;
                continue;
            }
            let (xid, op, value) = expects.waiting.pop_front().expect("K2: an answer to nothing");
            assert_eq!((got.xid, got.error), (xid, 0), "K2: in the order of requests");
            assert!(got.zxid >= expects.last_zxid, "K3: never back");
            expects.last_zxid = got.zxid;
            expects.answers += 1;
            if op == OpCode::GetData {
                let read = data(Response::decode(op, got.rest).map_err(|_| 0));
                match value {
                    Some(value) => assert_eq!(read, value, "K2: the writes before it and none after it"),
                    None => expects.armed = Some(got.zxid),
                }
            }
        }
    }

    fn run(&mut self) {
        for number in 0..400 {
            let id = self.ids[self.random.below(self.ids.len() as u64) as usize];
            match self.random.below(10) {
                0..=4 => self.request(id, number),
                5 | 6 => self.apply_one(id),
                7 => self.tell_hub(),
                _ => self.hand_over(),
            }
            self.check(id);
        }
        let all_answered = |storm: &Storm| storm.expects.values().all(|expects| expects.waiting.is_empty());
        for _ in 0..10_000 {
            for id in self.ids.clone() {
                self.apply_one(id);
                self.hand_over();
                self.tell_hub();
                self.check(id);
            }
            if all_answered(self) && self.late.is_empty() {
                break;
            }
        }
        assert!(all_answered(self), "everything is answered");
        self.tell_hub();
        for id in self.ids.clone() {
            self.world.step(id, Input::Wake);
            self.check(id);
        }
    }
}

fn own_path(id: ConnectionId) -> String {
    format!("/own{}", id.0)
}

#[test]
fn k2_k3_k5_hold_whatever_comes_first() {
    let (mut answers, mut events) = (0, 0);
    for seed in 0..200 {
        let mut storm = Storm::new(seed);
        storm.run();
        let changed = storm.world.tree.view().look("/shared").unwrap().0.mzxid as i64;
        for (id, expects) in &storm.expects {
            assert_eq!(storm.world.of(*id).closed, None);
            assert!(expects.armed.is_none_or(|zxid| zxid >= changed), "K5: seed {seed}, {id:?} was not told");
            answers += expects.answers;
            events += expects.events;
        }
    }
    assert!(answers > 30_000 && events > 1_000, "{answers} answers, {events} events");
}

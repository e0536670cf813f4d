//! What one command costs in the engines alone: three of them in one process, disks and network at no cost.
//!
//! `cargo run --release -p quorate-raft --example step_cost`
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a measurement needs the real clock")]

use std::collections::VecDeque;

use quorate_consensus::{
    Effects, Engine, GroupStart, Index, Input, Instant, Membership, NodeId, Position, Proposal, ProposalId,
    Role, SnapshotMeta,
};
use quorate_raft::{Config, HardState, Message, Raft};

struct Three {
    engines: Vec<Raft>,
    inbox: VecDeque<(usize, Input<Message>)>,
    out: Effects<Message, HardState>,
    now: Instant,
}

impl Three {
    fn new() -> Three {
        let nodes = [1, 2, 3].map(NodeId);
        let snapshot = SnapshotMeta {
            position: Position::ZERO,
            membership: Membership::new(nodes, []),
            membership_at: Index::ZERO,
            size_bytes: 0,
            digest: 0,
        };
        let engines = nodes.map(|node| {
            let start = GroupStart {
                node,
                hard_state: None,
                snapshot: snapshot.clone(),
                compacted: Position::ZERO,
                last: Position::ZERO,
                epochs: vec![],
                memberships: vec![],
            };
            Raft::new(Config { seed: node.0, ..Config::default() }, start, Instant::START)
                .expect("a configuration")
        });
        Three {
            engines: engines.into(),
            inbox: VecDeque::new(),
            out: Effects::default(),
            now: Instant::START,
        }
    }

    fn run(&mut self, at: usize, input: Input<Message>) {
        self.inbox.push_back((at, input));
        while let Some((at, input)) = self.inbox.pop_front() {
            self.engines[at].step(self.now, input, &mut self.out);
            // Durable at once: messages follow in their order.
            if let Some(token) = self.out.persist.drain(..).next_back().map(|write| write.token) {
                self.inbox.push_back((at, Input::Persisted { token }));
            }
            let from = NodeId(at as u64 + 1);
            for sent in self.out.send.drain(..) {
                self.inbox
                    .push_back((sent.to.0 as usize - 1, Input::Message { from, message: sent.message }));
            }
            self.out.accepted.clear();
        }
    }
}

fn main() {
    let mut three = Three::new();
    three.now = three.engines[0].poll_timeout().expect("a timer");
    three.run(0, Input::Wake);
    assert_eq!(three.engines[0].status().role, Role::Leader);
    for batch in [1u64, 16, 256] {
        let rounds = 400_000 / batch;
        let started = std::time::Instant::now();
        for round in 0..rounds {
            let command = bytes::Bytes::from_static(&[7; 256]);
            let proposal =
                |n| Proposal { id: ProposalId(round * batch + n), command: command.clone(), forward: false };
            three.run(0, Input::Propose((0..batch).map(proposal).collect()));
        }
        let each = started.elapsed().as_nanos() / u128::from(rounds * batch);
        assert_eq!(three.engines[0].status().commit, three.engines[2].status().last.index);
        println!(
            "batches of {batch}: {each} ns per command, proposed, on three logs, committed on all three"
        );
    }
}

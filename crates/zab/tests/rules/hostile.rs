//! Whatever a peer says.

use quorate_consensus::{
    Effects, Engine, Entry, Epoch, Index, Input, NodeId, Payload, Position, ReadId, SnapshotMeta,
};
use quorate_zab::{Ended, HardState, History, LinkId, Message, Packet, State, Vote};

use crate::{
    played::*,
    support::{Cluster, birth},
};

/// Whatever a peer says, however absurd, is refused or ignored; and nothing committed changes.
#[test]
fn hostile_messages_never_panic() {
    for victim in [1, 3] {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        assert_eq!(cluster.elect(), 3);
        cluster.propose(3, "a");
        cluster.settle();
        let (link, _) = {
            cluster.timeout(3);
            ping_of(&cluster, 1)
        };
        let mut random = quorate_consensus::Random::new(11);
        for _ in 0..100_000 {
            let message = hostile(&mut random, link);
            let mut effects: Effects<Message, HardState> = Effects::default();
            let from = NodeId(random.below(4) + 1);
            let engine = &mut cluster.nodes.get_mut(&NodeId(victim)).unwrap().engine;
            let before = engine.status();
            engine.step(cluster.now, Input::Message { from, message }, &mut effects);
            engine.step(cluster.now, Input::Wake, &mut effects);
            let after = engine.status();
            assert!(after.commit >= before.commit && after.epoch >= before.epoch);
        }
    }
}

fn hostile(random: &mut quorate_consensus::Random, link: LinkId) -> Message {
    let odd = [0, 1, 2, 3, 5, 7, 1 << 33, u64::MAX - 1, u64::MAX];
    let mut pick = || odd[random.below(odd.len() as u64) as usize];
    let (epoch, at, other) = (Epoch(pick()), Position::new(pick(), pick()), pick());
    let (index, sequence) = (Index(pick()), pick());
    let link = if pick() < 9 { link } else { LinkId { life: pick(), attempt: pick() } };
    let entries = vec![Entry::new(Epoch(pick()), Index(pick()), Payload::Noop)];
    let history =
        History { current: epoch, last: at, compacted: at, epochs: vec![(Epoch(pick()), Index(pick()))] };
    let meta = SnapshotMeta { position: at, membership_at: index, ..birth(&[1, 9]) };
    let packet = match pick() % 9 {
        0 => Packet::NewEpoch(epoch),
        1 => Packet::Diff(at),
        2 => Packet::Trunc(at),
        3 if at.index.0 < 1 << 40 => Packet::Snap(meta),
        5 => Packet::Propose { entries, commit: index },
        6 => Packet::Inform(entries),
        7 => Packet::NewLeader { epoch, last: at },
        _ => Packet::UpToDate(index),
    };
    let vote = Some(Vote { epoch, last: at, voter: at.index.0 > 2, leader: NodeId(other) });
    match random.below(15) {
        0 => Message::Notification { round: other, state: State::Looking, vote },
        1 => Message::Notification { round: other, state: State::Leading(Some(epoch)), vote },
        2 => Message::Stream { link, sequence, packet },
        3 => Message::AckEpoch { link, epoch, promised: true, history },
        4 => Message::AckNewLeader { link, epoch, durable: index },
        5 => Message::Ack { link, durable: index },
        6 => Message::Commit { link, commit: index },
        7 => Message::Ping { link, sent: other, round: other, commit: index },
        8 => Message::Pong { link, round: other, acknowledged: true, durable: index },
        9 => Message::TakeOver { link },
        10 => Message::Close { link, why: Ended::Successor(NodeId(other)) },
        11 => Message::Forward { epoch, nonce: other, sequence, proposals: vec![] },
        12 => Message::FollowerInfo { link, accepted: epoch },
        13 => Message::ReadIndex { epoch, nonce: other, id: ReadId(other) },
        _ => Message::ReadIndexReply { nonce: other, id: ReadId(other), index: Some(index) },
    }
}

//! Every message and hard state reads back; bytes that nobody wrote are refused without a panic, and what is read is written the same.

use quorate_consensus::{
    Engine, Entry, Epoch, Index, Membership, MembershipChange, NodeId, Payload, Position, ProposalId, Random,
    ReadId, Reader, SnapshotMeta, Writer,
};
use quorate_zab::{Ended, HardState, History, LinkId, Message, Packet, State, Vote, Zab};

fn number(random: &mut Random) -> u64 {
    random.next_u64() >> random.below(64)
}

fn position(random: &mut Random) -> Position {
    Position::new(number(random), number(random))
}

fn membership(random: &mut Random) -> Membership {
    let voters: Vec<NodeId> = (0..1 + random.below(4)).map(|_| NodeId(number(random))).collect();
    let learners: Vec<NodeId> = (0..random.below(3)).map(|_| NodeId(number(random))).collect();
    let from = Membership::new(voters, learners);
    let joint = from.begin(&MembershipChange::AddVoter(NodeId(number(random))));
    joint.unwrap_or(from)
}

fn bytes(random: &mut Random) -> bytes::Bytes {
    (0..random.below(40)).map(|_| random.next_u64() as u8).collect::<Vec<u8>>().into()
}

fn entry(random: &mut Random) -> Entry {
    let payload = match random.below(3) {
        0 => Payload::Noop,
        1 => Payload::Command(bytes(random)),
        _ => Payload::Membership(membership(random)),
    };
    let at = position(random);
    Entry::new(at.epoch, at.index, payload)
}

fn link(random: &mut Random) -> LinkId {
    LinkId { life: random.next_u64(), attempt: number(random) }
}

fn history(random: &mut Random) -> History {
    let mut at = (0, 0);
    let epochs = (0..random.below(5)).map(|_| {
        at = (at.0 + 1 + random.below(3), at.1 + 1 + random.below(1_000));
        (Epoch(at.0), Index(at.1))
    });
    let epochs = epochs.collect();
    History { current: Epoch(number(random)), last: position(random), compacted: position(random), epochs }
}

fn meta(random: &mut Random) -> SnapshotMeta {
    SnapshotMeta {
        position: position(random),
        membership: membership(random),
        membership_at: Index(number(random)),
        size_bytes: number(random),
        digest: number(random),
    }
}

fn packet(random: &mut Random) -> Packet {
    let (epoch, index) = (Epoch(number(random)), Index(number(random)));
    let entries = (0..random.below(5)).map(|_| entry(random)).collect();
    match random.below(8) {
        0 => Packet::NewEpoch(epoch),
        1 => Packet::Diff(position(random)),
        2 => Packet::Trunc(position(random)),
        3 => Packet::Snap(meta(random)),
        4 => Packet::Propose { entries, commit: index },
        5 => Packet::Inform(entries),
        6 => Packet::NewLeader { epoch, last: position(random) },
        _ => Packet::UpToDate(index),
    }
}

fn notification(random: &mut Random) -> Message {
    let (epoch, leader) = (Epoch(number(random)), NodeId(number(random)));
    let state = match random.below(4) {
        0 => State::Looking,
        1 => State::Following,
        2 => State::Leading(None),
        _ => State::Leading(Some(epoch)),
    };
    let vote = random.chance(3, 4).then(|| Vote {
        epoch,
        last: position(random),
        voter: leader.0.is_multiple_of(2),
        leader,
    });
    Message::Notification { round: number(random), state, vote }
}

fn message(random: &mut Random) -> Message {
    let (epoch, link) = (Epoch(number(random)), link(random));
    let (index, other, yes) = (Index(number(random)), number(random), random.chance(1, 2));
    let ids = || (0..5).map(ProposalId);
    let why = [Ended::Broken, Ended::NotLeading, Ended::Successor(NodeId(other))];
    match random.below(15) {
        0 => notification(random),
        1 => Message::FollowerInfo { link, accepted: epoch },
        2 => Message::Stream { link, sequence: other, packet: packet(random) },
        3 => Message::AckEpoch { link, epoch, promised: yes, history: history(random) },
        4 => Message::AckNewLeader { link, epoch, durable: index },
        5 => Message::Ack { link, durable: index },
        6 => Message::Commit { link, commit: index },
        7 => Message::Ping { link, sent: other, round: number(random), commit: index },
        8 => Message::Pong { link, round: other, acknowledged: yes, durable: index },
        9 => Message::TakeOver { link },
        10 => Message::Close { link, why: why[random.below(3) as usize] },
        11 => {
            let proposals = ids().map(|id| (id, bytes(random))).collect();
            Message::Forward { epoch, nonce: other, sequence: index.0, proposals }
        }
        12 => Message::ForwardRefused { nonce: other, ids: ids().collect() },
        13 => Message::ReadIndex { epoch, nonce: other, id: ReadId(index.0) },
        _ => Message::ReadIndexReply { nonce: other, id: ReadId(other), index: yes.then_some(index) },
    }
}

fn encoded(message: &Message) -> bytes::Bytes {
    let mut to = Writer::new();
    Zab::encode_message(message, &mut to);
    to.finish()
}

#[test]
fn every_message_reads_back_and_every_cut_is_refused() {
    let mut random = Random::new(1);
    for _ in 0..3_000 {
        let message = message(&mut random);
        let bytes = encoded(&message);
        let mut from = Reader::new(bytes.clone());
        assert_eq!(Zab::decode_message(&mut from), Ok(message.clone()));
        assert_eq!(from.finish(), Ok(()), "nothing is left over: {message:?}");
        for end in 0..bytes.len() {
            assert!(
                Zab::decode_message(&mut Reader::new(bytes.slice(..end))).is_err(),
                "{end} of {message:?}"
            );
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_read_as_a_message_of_its_own() {
    let mut random = Random::new(2);
    for _ in 0..300 {
        let bytes = encoded(&message(&mut random));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = Zab::decode_message(&mut Reader::new(flipped.into())) {
                // What was understood means one thing: written and read again it is the same.
                assert_eq!(Zab::decode_message(&mut Reader::new(encoded(&read))), Ok(read));
            }
        }
    }
}

#[test]
fn noise_is_refused_or_understood_but_never_a_panic_nor_a_great_allocation() {
    let mut random = Random::new(3);
    for round in 0..200_000u64 {
        let mut noise: Vec<u8> = (0..random.below(48)).map(|_| random.next_u64() as u8).collect();
        if round % 2 == 0 && noise.len() > 1 {
            noise[0] = 1;
            noise[1] %= 16;
        }
        let _ = Zab::decode_message(&mut Reader::new(noise.clone().into()));
        let _ = Zab::decode_hard_state(&mut Reader::new(noise.into()));
    }
}

#[test]
fn z05_a_hard_state_reads_back_and_one_that_cannot_be_is_refused() {
    let mut random = Random::new(4);
    let encoded = |state: &HardState| {
        let mut to = Writer::new();
        Zab::encode_hard_state(state, &mut to);
        to.finish()
    };
    for _ in 0..1_000 {
        let promised_to = random.chance(1, 2).then(|| NodeId(number(&mut random).max(1)));
        let (a, b) = (number(&mut random), number(&mut random));
        let (accepted, current) = (Epoch(a.max(b)), Epoch(a.min(b)));
        let state = HardState { accepted, promised_to, current, commit: Index(number(&mut random)) };
        let bytes = encoded(&state);
        assert_eq!(Zab::decode_hard_state(&mut Reader::new(bytes.clone())), Ok(state));
        for end in 0..bytes.len() {
            assert!(Zab::decode_hard_state(&mut Reader::new(bytes.slice(..end))).is_err());
        }
    }
    let cannot_be = HardState { accepted: Epoch(1), current: Epoch(2), ..HardState::default() };
    assert!(Zab::decode_hard_state(&mut Reader::new(encoded(&cannot_be))).is_err());
}

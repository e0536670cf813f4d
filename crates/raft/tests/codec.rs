//! Every message and hard state reads back; bytes that nobody wrote are refused without a panic, and what is read is written the same.

use quorate_consensus::{
    Engine, Entry, Epoch, Index, Membership, MembershipChange, NodeId, Payload, Position, ProposalId, Random,
    ReadId, Reader, SnapshotMeta, Writer,
};
use quorate_raft::{HardState, Message, Raft};

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

fn message(random: &mut Random) -> Message {
    let term = Epoch(number(random));
    let (index, other, yes) = (Index(number(random)), number(random), random.chance(1, 2));
    let ids = || (0..5).map(ProposalId);
    match random.below(16) {
        0 => Message::PreVote { term, last: position(random), round: other },
        1 => Message::PreVoteReply { term, round: other, granted: yes },
        2 => Message::RequestVote { term, last: position(random), transfer: yes },
        3 => Message::VoteReply { term, granted: yes },
        4 => {
            let entries = (0..random.below(5)).map(|_| entry(random)).collect();
            Message::AppendEntries { term, prev: position(random), commit: index, entries }
        }
        5 => Message::AppendAccepted { term, matched: index },
        6 => Message::AppendRejected { term, prev: index, hint: position(random) },
        7 => Message::Heartbeat { term, commit: index, round: other },
        8 => Message::HeartbeatReply { term, round: other, verified: index },
        9 => Message::Commit { term, commit: index },
        10 => {
            let meta = SnapshotMeta {
                position: position(random),
                membership: membership(random),
                membership_at: index,
                size_bytes: other,
                digest: number(random),
            };
            Message::InstallSnapshot { term, meta }
        }
        11 => Message::TimeoutNow { term },
        12 => {
            let proposals = ids().map(|id| (id, bytes(random))).collect();
            Message::Forward { term, nonce: other, sequence: index.0, proposals }
        }
        13 => Message::ForwardRefused { term, nonce: other, ids: ids().collect() },
        14 => Message::ReadIndex { term, nonce: other, id: ReadId(index.0) },
        _ => Message::ReadIndexReply { term, nonce: other, id: ReadId(other), index: yes.then_some(index) },
    }
}

fn encoded(message: &Message) -> bytes::Bytes {
    let mut to = Writer::new();
    Raft::encode_message(message, &mut to);
    to.finish()
}

#[test]
fn r10_every_message_reads_back_and_every_cut_is_refused() {
    let mut random = Random::new(1);
    for _ in 0..3_000 {
        let message = message(&mut random);
        let bytes = encoded(&message);
        let mut from = Reader::new(bytes.clone());
        assert_eq!(Raft::decode_message(&mut from), Ok(message.clone()));
        assert_eq!(from.finish(), Ok(()), "nothing is left over: {message:?}");
        for end in 0..bytes.len() {
            assert!(
                Raft::decode_message(&mut Reader::new(bytes.slice(..end))).is_err(),
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
            if let Ok(read) = Raft::decode_message(&mut Reader::new(flipped.into())) {
                // What was understood means one thing: written and read again it is the same.
                assert_eq!(Raft::decode_message(&mut Reader::new(encoded(&read))), Ok(read));
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
            noise[1] %= 17;
        }
        let _ = Raft::decode_message(&mut Reader::new(noise.clone().into()));
        let _ = Raft::decode_hard_state(&mut Reader::new(noise.into()));
    }
}

#[test]
fn r05_r07_a_hard_state_reads_back() {
    let mut random = Random::new(4);
    for _ in 0..1_000 {
        let vote = random.chance(1, 2).then(|| NodeId(number(&mut random).max(1)));
        let state = HardState { term: Epoch(number(&mut random)), vote, commit: Index(number(&mut random)) };
        let mut to = Writer::new();
        Raft::encode_hard_state(&state, &mut to);
        let bytes = to.finish();
        assert_eq!(Raft::decode_hard_state(&mut Reader::new(bytes.clone())), Ok(state));
        for end in 0..bytes.len() {
            assert!(Raft::decode_hard_state(&mut Reader::new(bytes.slice(..end))).is_err());
        }
    }
}

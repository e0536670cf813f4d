//! What a frame claims as it leaves: terms, votes and acknowledgements, each of which must be durable on its sender by then (I15).

use quorate_consensus::{Engine, Position, Reader};
use quorate_node::{Frame, PeerMessage};
use quorate_raft::{Message, Raft};

use crate::{
    host::Host,
    invariants::{Checker, epoch_of, vote_of},
    marks::{Mark, Marks},
};

fn messages(bytes: &bytes::Bytes) -> Vec<PeerMessage> {
    let parsed = Frame::parse(bytes.clone()).ok().and_then(|frame| frame.messages().ok());
    parsed.unwrap_or_default().into_iter().map(|(_, message)| message).collect()
}

fn engine(bytes: &bytes::Bytes) -> Option<Message> {
    Raft::decode_message(&mut Reader::new(bytes.clone())).ok()
}

/// A frame in words.
pub(crate) fn words(bytes: &bytes::Bytes) -> String {
    let words = messages(bytes).into_iter().map(|message| match &message {
        PeerMessage::Engine(bytes) => engine(bytes).map_or_else(|| "?".to_owned(), |message| brief(&message)),
        PeerMessage::Chunk(chunk) => {
            format!("Chunk {} of {} last {}", chunk.number, chunk.position, chunk.last)
        }
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join("; ")
}

fn brief(message: &Message) -> String {
    match message {
        Message::AppendEntries { term, prev, commit, entries } => {
            let positions: Vec<String> = entries.iter().map(|entry| entry.position.to_string()).collect();
            format!("AppendEntries term {term} prev {prev} commit {commit} [{}]", positions.join(" "))
        }
        Message::Forward { term, sequence, proposals, .. } => {
            format!("Forward term {term} sequence {sequence} × {}", proposals.len())
        }
        other => format!("{other:?}"),
    }
}

/// Checks a frame as it leaves `host`. True if it makes a promise.
pub(crate) fn check(
    host: usize,
    bytes: &bytes::Bytes,
    hosts: &[Host],
    checker: &mut Checker,
    marks: &mut Marks,
) -> bool {
    let mut promises = false;
    for message in messages(bytes) {
        match message {
            PeerMessage::Engine(bytes) => {
                let Some(message) = engine(&bytes) else { continue };
                if let Message::AppendEntries { entries, .. } = &message {
                    checker.fed(host, entries);
                }
                promises |= check_message(host, &message, hosts, checker);
            }
            PeerMessage::Chunk(chunk) => {
                if chunk.number > 0 {
                    marks.hit(Mark::SnapshotInManyChunks);
                }
                checker.chunk_sent(host, chunk.position, chunk.number, marks);
            }
            PeerMessage::ChunkAck(_) | PeerMessage::Refused(_) => {}
        }
    }
    promises
}

fn check_message(host: usize, message: &Message, hosts: &[Host], checker: &mut Checker) -> bool {
    if matches!(message, Message::RequestVote { .. } | Message::PreVote { .. })
        && !checker.status(host).membership.is_voter(hosts[host].id)
        && !checker.was_voter(hosts[host].id)
    {
        // Learners do not campaign (A13). A voter that its newest membership leaves out may still be needed (thesis §4.2.2).
        checker.fail("I12", Some(host), format!("{message:?} from one who does not vote"));
    }
    let promises = match message {
        Message::VoteReply { granted, .. } => *granted,
        Message::RequestVote { .. } | Message::AppendAccepted { .. } => true,
        Message::PreVote { .. } | Message::PreVoteReply { .. } => return false,
        _ => false,
    };
    let id = hosts[host].id;
    let term = message.term();
    let durable = checker.durable(host, hosts);
    let durable_term = epoch_of(durable);
    let vote = durable.hard_state.as_ref().and_then(vote_of);
    if durable_term < term {
        let what = format!("{message:?} claims term {term}; durable is {durable_term}");
        checker.fail("I15", Some(host), what);
        return promises;
    }
    if durable_term > term {
        // A later promise became durable in the same sync; the earlier one was durable before it.
        return promises;
    }
    match message {
        Message::VoteReply { granted: true, .. } if vote.is_none() || vote == Some(id) => {
            checker.fail("I15", Some(host), format!("{message:?} while the durable vote is {vote:?}"));
        }
        Message::RequestVote { .. } if vote != Some(id) => {
            checker.fail("I15", Some(host), format!("{message:?} while the durable vote is {vote:?}"));
        }
        Message::AppendAccepted { matched, .. } => {
            let epoch = checker.epoch_in_log(host, *matched);
            let moved_on = checker.status(host).epoch > term;
            let durable = checker.durable(host, hosts);
            let held = match epoch {
                // The log in memory has gone on to a later term; the promise is about what was there in this one.
                _ if moved_on => {
                    matched.0 <= durable.snapshot_index().0
                        || durable.epoch_at(*matched).is_some_and(|e| e <= term)
                }
                Some(epoch) => durable.holds(*matched, epoch),
                None => *matched <= durable.snapshot_index() || *matched == durable.compacted.index,
            };
            if !held {
                let end = durable.last;
                let has = durable.epoch_at(*matched);
                let what = format!("{message:?} of {epoch:?}; durable is up to {end}, with {has:?} there");
                checker.fail("I15", Some(host), what);
            }
        }
        _ => {}
    }
    promises
}

/// Where a chunk's snapshot stands, for the note of resumed transfers.
pub(crate) type ChunkNote = (Position, u64);

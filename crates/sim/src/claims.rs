//! What a frame claims as it leaves: terms, votes and acknowledgements, each of which must be durable on its sender by then (I15).

use quorate_consensus::{Engine, GroupId, Index, Position, Reader};
use quorate_node::{Frame, PeerMessage};
use quorate_raft::{Message, Raft};

use crate::{
    host::Host,
    invariants::{Checker, Disks, Findings, Oracle},
    marks::{Mark, Marks},
};

fn messages(bytes: &bytes::Bytes) -> Vec<(GroupId, PeerMessage)> {
    Frame::parse(bytes.clone()).ok().and_then(|frame| frame.messages().ok()).unwrap_or_default()
}

fn engine(bytes: &bytes::Bytes) -> Option<Message> {
    Raft::decode_message(&mut Reader::new(bytes.clone())).ok()
}

/// A frame in words.
pub(crate) fn words(bytes: &bytes::Bytes) -> String {
    let words = messages(bytes).into_iter().map(|(group, message)| {
        let words = match &message {
            PeerMessage::Engine(bytes) => {
                engine(bytes).map_or_else(|| "?".to_owned(), |message| brief(&message))
            }
            PeerMessage::Chunk(chunk) => {
                format!("Chunk {} of {} last {}", chunk.number, chunk.position, chunk.last)
            }
            other => format!("{other:?}"),
        };
        format!("{group} {words}")
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
    for (group, message) in messages(bytes) {
        let Some((oracle, disks, findings)) = checker.parts(group) else { continue };
        match message {
            PeerMessage::Engine(bytes) => {
                let Some(message) = engine(&bytes) else { continue };
                if let Message::AppendEntries { entries, .. } = &message {
                    entries.iter().for_each(|entry| oracle.learn(host, entry, findings));
                }
                promises |= Claim { host, group, hosts, oracle, disks, findings }.check(&message);
            }
            PeerMessage::Chunk(chunk) => {
                if chunk.number > 0 {
                    marks.hit(Mark::SnapshotInManyChunks);
                }
                oracle.chunk_sent(host, chunk.position, chunk.number, marks);
            }
            PeerMessage::ChunkAck(_)
            | PeerMessage::Refused(_)
            | PeerMessage::Desired(_)
            | PeerMessage::Hello => {}
        }
    }
    promises
}

/// What a message claims, and before whom.
struct Claim<'a> {
    host: usize,
    group: GroupId,
    hosts: &'a [Host],
    oracle: &'a Oracle,
    disks: &'a mut Disks,
    findings: &'a mut Findings,
}

impl Claim<'_> {
    fn fail(&mut self, id: &'static str, what: String) {
        self.findings.add(id, Some(self.host), format!("{}: {what}", self.group));
    }

    /// True if it is a promise.
    fn check(mut self, message: &Message) -> bool {
        let id = self.hosts[self.host].id;
        if matches!(message, Message::RequestVote { .. } | Message::PreVote { .. })
            && !self.oracle.status(self.host).membership.is_voter(id)
            && !self.oracle.was_voter(id)
        {
            // Learners do not campaign (A13). A voter that its newest membership leaves out may still be needed (thesis §4.2.2).
            self.fail("I12", format!("{message:?} from one who does not vote"));
        }
        let promises = match message {
            Message::VoteReply { granted, .. } => *granted,
            Message::RequestVote { .. } | Message::AppendAccepted { .. } => true,
            Message::PreVote { .. } | Message::PreVoteReply { .. } => return false,
            _ => false,
        };
        let term = message.term();
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        let (durable_term, vote) = (durable.term(self.group), durable.vote(self.group));
        if durable_term < term {
            self.fail("I15", format!("{message:?} claims term {term}; durable is {durable_term}"));
            return promises;
        }
        if durable_term > term {
            // A later promise became durable in the same sync; the earlier one was durable before it.
            return promises;
        }
        match message {
            Message::VoteReply { granted: true, .. } if vote.is_none() || vote == Some(id) => {
                self.fail("I15", format!("{message:?} while the durable vote is {vote:?}"));
            }
            Message::RequestVote { .. } if vote != Some(id) => {
                self.fail("I15", format!("{message:?} while the durable vote is {vote:?}"));
            }
            Message::AppendAccepted { matched, .. } => self.accepted(message, *matched),
            _ => {}
        }
        promises
    }

    fn accepted(&mut self, message: &Message, matched: Index) {
        let group = self.group;
        let epoch = self.oracle.epoch_in_log(self.host, matched);
        let moved_on = self.oracle.status(self.host).epoch > message.term();
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        let held = match epoch {
            // The log in memory has gone on to a later term; the promise is about what was there in this one.
            _ if moved_on => {
                matched <= durable.snapshot_index(group)
                    || durable.epoch_at(group, matched).is_some_and(|epoch| epoch <= message.term())
            }
            Some(epoch) => durable.holds(group, matched, epoch),
            None => matched <= durable.snapshot_index(group) || matched == durable.compacted(group).index,
        };
        if !held {
            let (end, has) = (durable.last(group), durable.epoch_at(group, matched));
            self.fail("I15", format!("{message:?} of {epoch:?}; durable is up to {end}, with {has:?} there"));
        }
    }
}

/// Where a chunk's snapshot stands, for the note of resumed transfers.
pub(crate) type ChunkNote = (Position, u64);

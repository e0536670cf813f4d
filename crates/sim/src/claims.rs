//! What a frame claims as it leaves: terms, votes and acknowledgements, each of which must be durable on its sender by then (I15).

mod raft;
mod zab;

use quorate_consensus::{Engine, Entry, GroupId, Position, Reader};
use quorate_node::{EngineMessage, Frame, GroupEngine, PeerMessage};
use quorate_raft::Message as Raft;
use quorate_zab::{Message as Zab, Packet};

use crate::{
    host::Host,
    invariants::{Checker, Disks, Findings, Oracle},
    marks::{Mark, Marks},
};

fn messages(bytes: &bytes::Bytes) -> Vec<(GroupId, PeerMessage)> {
    Frame::parse(bytes.clone()).ok().and_then(|frame| frame.messages().ok()).unwrap_or_default()
}

fn engine(bytes: &bytes::Bytes) -> Option<EngineMessage> {
    GroupEngine::decode_message(&mut Reader::new(bytes.clone())).ok()
}

/// A frame in words.
pub(crate) fn words(bytes: &bytes::Bytes) -> String {
    let words =
        messages(bytes).into_iter().map(|(group, message)| format!("{group} {}", message_words(&message)));
    words.collect::<Vec<_>>().join("; ")
}

/// A message in words.
pub(crate) fn message_words(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Engine(bytes) => engine(bytes).map_or_else(|| "?".to_owned(), |message| brief(&message)),
        PeerMessage::Chunk(chunk) => {
            format!("Chunk {} of {} last {}", chunk.number, chunk.position, chunk.last)
        }
        other => format!("{other:?}"),
    }
}

fn brief(message: &EngineMessage) -> String {
    let positions = |entries: &[Entry]| {
        entries.iter().map(|entry| entry.position.to_string()).collect::<Vec<_>>().join(" ")
    };
    match message {
        EngineMessage::Raft(Raft::AppendEntries { term, prev, commit, entries }) => {
            format!("AppendEntries term {term} prev {prev} commit {commit} [{}]", positions(entries))
        }
        EngineMessage::Raft(Raft::Forward { term, sequence, proposals, .. }) => {
            format!("Forward term {term} sequence {sequence} × {}", proposals.len())
        }
        EngineMessage::Raft(other) => format!("{other:?}"),
        EngineMessage::Zab(Zab::Stream { sequence, packet: Packet::Propose { entries, commit }, .. }) => {
            format!("Stream {sequence} Propose commit {commit} [{}]", positions(entries))
        }
        EngineMessage::Zab(Zab::Stream { sequence, packet: Packet::Inform(entries), .. }) => {
            format!("Stream {sequence} Inform [{}]", positions(entries))
        }
        EngineMessage::Zab(Zab::Forward { epoch, sequence, proposals, .. }) => {
            format!("Forward epoch {epoch} sequence {sequence} × {}", proposals.len())
        }
        EngineMessage::Zab(other) => format!("{other:?}"),
    }
}

/// The entries that it carries.
pub(crate) fn entries(message: &EngineMessage) -> &[Entry] {
    match message {
        EngineMessage::Raft(Raft::AppendEntries { entries, .. })
        | EngineMessage::Zab(Zab::Stream {
            packet: Packet::Propose { entries, .. } | Packet::Inform(entries),
            ..
        }) => entries,
        EngineMessage::Raft(_) | EngineMessage::Zab(_) => &[],
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
                entries(&message).iter().for_each(|entry| oracle.learn(host, entry, findings));
                oracle.proposed(hosts[host].id, entries(&message));
                match &message {
                    EngineMessage::Zab(Zab::AckNewLeader { epoch, durable, .. }) => {
                        oracle.learner_entered(host, *epoch);
                        oracle.acknowledged(hosts[host].id, *epoch, *durable);
                    }
                    EngineMessage::Zab(Zab::Stream { packet: Packet::NewEpoch(epoch), .. })
                    | EngineMessage::Raft(Raft::RequestVote { term: epoch, .. }) => {
                        oracle.asks(host, hosts[host].id, *epoch);
                    }
                    EngineMessage::Raft(Raft::AppendAccepted { term, matched }) => {
                        oracle.acknowledged(hosts[host].id, *term, *matched);
                    }
                    EngineMessage::Zab(
                        Zab::Ack { durable, .. } | Zab::Pong { acknowledged: true, durable, .. },
                    ) => {
                        let node =
                            hosts[host].process.as_ref().and_then(|process| process.node.status(group));
                        let epoch = node.map(|status| status.engine.epoch).unwrap_or_default();
                        oracle.acknowledged(hosts[host].id, epoch, *durable);
                    }
                    EngineMessage::Raft(_) | EngineMessage::Zab(_) => {}
                }
                let claim = Claim { host, group, hosts, oracle, disks, findings };
                promises |= match &message {
                    EngineMessage::Raft(message) => claim.raft(message),
                    EngineMessage::Zab(message) => claim.zab(message),
                };
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
            | PeerMessage::Hello
            | PeerMessage::Relay(_) => {}
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
}

/// Where a chunk's snapshot stands, for the note of resumed transfers.
pub(crate) type ChunkNote = (Position, u64);

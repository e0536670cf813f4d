//! The bytes of messages: format version, kind, fields in order.

use quorate_consensus::{
    DecodeError, Entry, Epoch, Index, NodeId, Position, ProposalId, ReadId, Reader, SnapshotMeta, Writer,
};

use crate::message::{Ended, History, LinkId, Message, Packet, State, Vote};

const VERSION: u8 = 1;

fn write_position(to: &mut Writer, position: &Position) {
    to.varint(position.epoch.0);
    to.varint(position.index.0);
}

fn read_position(from: &mut Reader) -> Result<Position, DecodeError> {
    Ok(Position { epoch: Epoch(from.varint()?), index: Index(from.varint()?) })
}

fn write_link(to: &mut Writer, link: &LinkId) {
    to.u64(link.life);
    to.varint(link.attempt);
}

fn read_link(from: &mut Reader) -> Result<LinkId, DecodeError> {
    Ok(LinkId { life: from.u64()?, attempt: from.varint()? })
}

fn write_entries(to: &mut Writer, entries: &[Entry]) {
    to.varint(entries.len() as u64);
    for entry in entries {
        entry.encode(to);
    }
}

fn read_entries(from: &mut Reader) -> Result<Vec<Entry>, DecodeError> {
    let count = from.count(3)?;
    (0..count).map(|_| Entry::decode(from)).collect()
}

fn unknown<T>(what: &'static str, value: u8) -> Result<T, DecodeError> {
    Err(DecodeError::Unknown { what, value: u64::from(value) })
}

fn write_state(to: &mut Writer, state: State) {
    match state {
        State::Looking => to.u8(0),
        State::Following => to.u8(1),
        State::Leading(None) => to.u8(2),
        State::Leading(Some(epoch)) => {
            to.u8(3);
            to.varint(epoch.0);
        }
    }
}

fn read_state(from: &mut Reader) -> Result<State, DecodeError> {
    Ok(match from.u8()? {
        0 => State::Looking,
        1 => State::Following,
        2 => State::Leading(None),
        3 => State::Leading(Some(Epoch(from.varint()?))),
        other => return unknown("state", other),
    })
}

fn write_vote(to: &mut Writer, vote: &Option<Vote>) {
    to.bool(vote.is_some());
    if let Some(vote) = vote {
        to.varint(vote.epoch.0);
        write_position(to, &vote.last);
        to.bool(vote.voter);
        to.u64(vote.leader.0);
    }
}

fn read_vote(from: &mut Reader) -> Result<Option<Vote>, DecodeError> {
    if !from.bool()? {
        return Ok(None);
    }
    let epoch = Epoch(from.varint()?);
    let last = read_position(from)?;
    Ok(Some(Vote { epoch, last, voter: from.bool()?, leader: NodeId(from.u64()?) }))
}

fn write_ended(to: &mut Writer, why: Ended) {
    match why {
        Ended::Broken => to.u8(0),
        Ended::NotLeading => to.u8(1),
        Ended::Successor(node) => {
            to.u8(2);
            to.u64(node.0);
        }
    }
}

fn read_ended(from: &mut Reader) -> Result<Ended, DecodeError> {
    Ok(match from.u8()? {
        0 => Ended::Broken,
        1 => Ended::NotLeading,
        2 => Ended::Successor(NodeId(from.u64()?)),
        other => return unknown("end of a link", other),
    })
}

impl History {
    fn encode(&self, to: &mut Writer) {
        to.varint(self.current.0);
        write_position(to, &self.last);
        write_position(to, &self.compacted);
        to.varint(self.epochs.len() as u64);
        for (epoch, first) in &self.epochs {
            to.varint(epoch.0);
            to.varint(first.0);
        }
    }

    fn decode(from: &mut Reader) -> Result<History, DecodeError> {
        let current = Epoch(from.varint()?);
        let (last, compacted) = (read_position(from)?, read_position(from)?);
        let count = from.count(2)?;
        if count > History::EPOCHS_MAX {
            return Err(DecodeError::Invalid { what: "history: too many epochs" });
        }
        let epochs = (0..count)
            .map(|_| Ok((Epoch(from.varint()?), Index(from.varint()?))))
            .collect::<Result<Vec<_>, DecodeError>>()?;
        if epochs.windows(2).any(|pair| pair[0].0 >= pair[1].0 || pair[0].1 >= pair[1].1) {
            return Err(DecodeError::Invalid { what: "history: out of order" });
        }
        Ok(History { current, last, compacted, epochs })
    }
}

impl Packet {
    fn encode(&self, to: &mut Writer) {
        match self {
            Packet::NewEpoch(epoch) => {
                to.u8(0);
                to.varint(epoch.0);
            }
            Packet::Diff(at) => {
                to.u8(1);
                write_position(to, at);
            }
            Packet::Trunc(at) => {
                to.u8(2);
                write_position(to, at);
            }
            Packet::Snap(meta) => {
                to.u8(3);
                meta.encode(to);
            }
            Packet::Propose { entries, commit } => {
                to.u8(4);
                to.varint(commit.0);
                write_entries(to, entries);
            }
            Packet::Inform(entries) => {
                to.u8(5);
                write_entries(to, entries);
            }
            Packet::NewLeader { epoch, last } => {
                to.u8(6);
                to.varint(epoch.0);
                write_position(to, last);
            }
            Packet::UpToDate(commit) => {
                to.u8(7);
                to.varint(commit.0);
            }
        }
    }

    fn decode(from: &mut Reader) -> Result<Packet, DecodeError> {
        Ok(match from.u8()? {
            0 => Packet::NewEpoch(Epoch(from.varint()?)),
            1 => Packet::Diff(read_position(from)?),
            2 => Packet::Trunc(read_position(from)?),
            3 => Packet::Snap(SnapshotMeta::decode(from)?),
            4 => {
                let commit = Index(from.varint()?);
                Packet::Propose { entries: read_entries(from)?, commit }
            }
            5 => Packet::Inform(read_entries(from)?),
            6 => Packet::NewLeader { epoch: Epoch(from.varint()?), last: read_position(from)? },
            7 => Packet::UpToDate(Index(from.varint()?)),
            other => return unknown("packet", other),
        })
    }
}

impl Message {
    pub(crate) fn encode(&self, to: &mut Writer) {
        to.u8(VERSION);
        match self {
            Message::Notification { round, state, vote } => {
                to.u8(1);
                to.varint(*round);
                write_state(to, *state);
                write_vote(to, vote);
            }
            Message::Forward { epoch, nonce, sequence, proposals } => {
                to.u8(2);
                to.varint(epoch.0);
                to.u64(*nonce);
                to.varint(*sequence);
                to.varint(proposals.len() as u64);
                for (id, command) in proposals {
                    to.varint(id.0);
                    to.bytes(command);
                }
            }
            Message::ForwardRefused { nonce, ids } => {
                to.u8(3);
                to.u64(*nonce);
                to.varint(ids.len() as u64);
                for id in ids {
                    to.varint(id.0);
                }
            }
            Message::ReadIndex { epoch, nonce, id } => {
                to.u8(4);
                to.varint(epoch.0);
                to.u64(*nonce);
                to.varint(id.0);
            }
            Message::ReadIndexReply { nonce, id, index } => {
                to.u8(5);
                to.u64(*nonce);
                to.varint(id.0);
                to.bool(index.is_some());
                if let Some(index) = index {
                    to.varint(index.0);
                }
            }
            on_link => on_link.encode_on_link(to),
        }
    }

    /// The messages of a link: kind, link, fields.
    fn encode_on_link(&self, to: &mut Writer) {
        let head = |to: &mut Writer, kind: u8, link: &LinkId| {
            to.u8(kind);
            write_link(to, link);
        };
        match self {
            Message::FollowerInfo { link, accepted } => {
                head(to, 6, link);
                to.varint(accepted.0);
            }
            Message::Stream { link, sequence, packet } => {
                head(to, 7, link);
                to.varint(*sequence);
                packet.encode(to);
            }
            Message::AckEpoch { link, epoch, promised, history } => {
                head(to, 8, link);
                to.varint(epoch.0);
                to.bool(*promised);
                history.encode(to);
            }
            Message::AckNewLeader { link, epoch, durable } => {
                head(to, 9, link);
                to.varint(epoch.0);
                to.varint(durable.0);
            }
            Message::Ack { link, durable } => {
                head(to, 10, link);
                to.varint(durable.0);
            }
            Message::Commit { link, commit } => {
                head(to, 11, link);
                to.varint(commit.0);
            }
            Message::Ping { link, sent, round, commit } => {
                head(to, 12, link);
                to.varint(*sent);
                to.varint(*round);
                to.varint(commit.0);
            }
            Message::Pong { link, round, acknowledged, durable } => {
                head(to, 13, link);
                to.varint(*round);
                to.bool(*acknowledged);
                to.varint(durable.0);
            }
            Message::TakeOver { link } => head(to, 14, link),
            Message::Close { link, why } => {
                head(to, 15, link);
                write_ended(to, *why);
            }
            Message::Notification { .. }
            | Message::Forward { .. }
            | Message::ForwardRefused { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. } => {}
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Message, DecodeError> {
        let version = from.u8()?;
        if version != VERSION {
            return unknown("message version", version);
        }
        let kind = from.u8()?;
        match kind {
            1 => Ok(Message::Notification {
                round: from.varint()?,
                state: read_state(from)?,
                vote: read_vote(from)?,
            }),
            2 => {
                let (epoch, nonce, sequence) = (Epoch(from.varint()?), from.u64()?, from.varint()?);
                let count = from.count(2)?;
                let proposals = (0..count)
                    .map(|_| Ok((ProposalId(from.varint()?), from.bytes()?)))
                    .collect::<Result<_, DecodeError>>()?;
                Ok(Message::Forward { epoch, nonce, sequence, proposals })
            }
            3 => {
                let nonce = from.u64()?;
                let count = from.count(1)?;
                let ids = (0..count).map(|_| from.varint().map(ProposalId)).collect::<Result<_, _>>()?;
                Ok(Message::ForwardRefused { nonce, ids })
            }
            4 => Ok(Message::ReadIndex {
                epoch: Epoch(from.varint()?),
                nonce: from.u64()?,
                id: ReadId(from.varint()?),
            }),
            5 => {
                let (nonce, id) = (from.u64()?, ReadId(from.varint()?));
                let index = if from.bool()? { Some(Index(from.varint()?)) } else { None };
                Ok(Message::ReadIndexReply { nonce, id, index })
            }
            6..=15 => {
                let link = read_link(from)?;
                Message::decode_on_link(kind, link, from)
            }
            kind => unknown("message kind", kind),
        }
    }

    fn decode_on_link(kind: u8, link: LinkId, from: &mut Reader) -> Result<Message, DecodeError> {
        Ok(match kind {
            6 => Message::FollowerInfo { link, accepted: Epoch(from.varint()?) },
            7 => Message::Stream { link, sequence: from.varint()?, packet: Packet::decode(from)? },
            8 => Message::AckEpoch {
                link,
                epoch: Epoch(from.varint()?),
                promised: from.bool()?,
                history: History::decode(from)?,
            },
            9 => Message::AckNewLeader { link, epoch: Epoch(from.varint()?), durable: Index(from.varint()?) },
            10 => Message::Ack { link, durable: Index(from.varint()?) },
            11 => Message::Commit { link, commit: Index(from.varint()?) },
            12 => Message::Ping {
                link,
                sent: from.varint()?,
                round: from.varint()?,
                commit: Index(from.varint()?),
            },
            13 => Message::Pong {
                link,
                round: from.varint()?,
                acknowledged: from.bool()?,
                durable: Index(from.varint()?),
            },
            14 => Message::TakeOver { link },
            _ => Message::Close { link, why: read_ended(from)? },
        })
    }
}

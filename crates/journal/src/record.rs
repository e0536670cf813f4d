//! What frames say.

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DecodeError, Entry, Epoch, GroupId, Incarnation, Index, Membership, NodeId, Payload, Position,
    Reader, SnapshotMeta, Writer, planted,
};

use crate::{GroupState, GroupWrite, Identity, frame::Frame};

/// The segment format that this build writes, and the only one it reads.
pub(crate) const FORMAT_VERSION: u64 = 1;

pub(crate) const HEADER: u8 = 1;
pub(crate) const CHECKPOINT: u8 = 2;
pub(crate) const WRITE: u8 = 3;
pub(crate) const MARK: u8 = 4;
pub(crate) const COMPACT: u8 = 5;
pub(crate) const SNAPSHOT: u8 = 6;
pub(crate) const DROP: u8 = 7;
pub(crate) const MOVED: u8 = 8;
pub(crate) const SEAL: u8 = 9;

/// Indices from here on are not believed: adding to one must not overflow (CVE-2020-15112).
const INDEX_END: u64 = 1 << 60;

/// The beginning of every segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    /// The segments that the log still needs, with their final lengths.
    pub(crate) before: Vec<(u64, u64)>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, to: &mut Writer) {
        to.varint(FORMAT_VERSION);
        to.u64(self.identity.cluster.0);
        to.u64(self.identity.node.0);
        to.u64(self.identity.incarnation.0);
        to.varint(self.before.len() as u64);
        for (sequence, length) in &self.before {
            to.varint(*sequence);
            to.varint(*length);
        }
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<SegmentHeader, DecodeError> {
        let mut from = Reader::new(bytes);
        let version = from.varint()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown { what: "journal format version", value: version });
        }
        let identity = Identity {
            cluster: ClusterId(from.u64()?),
            node: NodeId(from.u64()?),
            incarnation: Incarnation(from.u64()?),
        };
        let count = from.count(2)?;
        let before =
            (0..count).map(|_| Ok((from.varint()?, from.varint()?))).collect::<Result<_, DecodeError>>()?;
        from.finish()?;
        Ok(SegmentHeader { identity, before })
    }
}

/// All that is known of every group, but for the entries.
pub(crate) fn encode_checkpoint<'a>(
    groups: impl ExactSizeIterator<Item = (&'a GroupId, &'a GroupState)>,
    to: &mut Writer,
) {
    to.varint(groups.len() as u64);
    for (id, group) in groups {
        to.varint(id.0);
        let hard_state = group.hard_state.as_ref().filter(|_| !planted!("F24"));
        to.bool(hard_state.is_some());
        if let Some(hard_state) = hard_state {
            to.bytes(hard_state);
        }
        position(group.compacted, to);
        position(group.last, to);
        to.varint(group.epochs.len() as u64);
        for (epoch, first) in &group.epochs {
            to.varint(epoch.0);
            to.varint(first.0);
        }
        to.varint(group.memberships.len() as u64);
        for (index, membership) in &group.memberships {
            to.varint(index.0);
            membership.encode(to);
        }
        to.bool(group.snapshot.is_some());
        if let Some(meta) = &group.snapshot {
            meta.encode(to);
        }
    }
}

pub(crate) fn decode_checkpoint(bytes: Bytes) -> Result<Vec<(GroupId, GroupState)>, DecodeError> {
    let mut from = Reader::new(bytes);
    let count = from.count(8)?;
    let mut groups = Vec::new();
    for _ in 0..count {
        let id = GroupId(from.varint()?);
        let hard_state = read_hard_state(&mut from)?;
        let (compacted, last) = (read_position(&mut from)?, read_position(&mut from)?);
        if compacted.index > last.index {
            return Err(DecodeError::Invalid { what: "checkpoint: a log that ends before it begins" });
        }
        let epochs = from.count(2)?;
        let epochs = (0..epochs)
            .map(|_| Ok((Epoch(from.varint()?), read_index(&mut from)?)))
            .collect::<Result<_, DecodeError>>()?;
        let memberships = from.count(4)?;
        let memberships = (0..memberships)
            .map(|_| Ok((read_index(&mut from)?, Membership::decode(&mut from)?)))
            .collect::<Result<_, DecodeError>>()?;
        let snapshot = if from.bool()? { Some(read_meta(&mut from)?) } else { None };
        let mut group = GroupState::default();
        group.hard_state = hard_state;
        group.compacted = compacted;
        group.last = last;
        group.epochs = epochs;
        group.memberships = memberships;
        group.snapshot = snapshot;
        groups.push((id, group));
    }
    from.finish()?;
    Ok(groups)
}

/// One group's write: all of it in one frame, so all of it or none survives (B07).
pub(crate) fn encode_write(group: GroupId, write: &GroupWrite, to: &mut Writer) {
    to.varint(group.0);
    to.bool(write.hard_state.is_some());
    if let Some(hard_state) = &write.hard_state {
        to.bytes(hard_state);
    }
    to.varint(write.truncate_from.map_or(0, |index| index.0));
    encode_entries(&write.entries, to);
}

pub(crate) fn decode_write(bytes: Bytes) -> Result<(GroupId, GroupWrite), DecodeError> {
    let mut from = Reader::new(bytes);
    let group = GroupId(from.varint()?);
    let hard_state = read_hard_state(&mut from)?;
    let truncate_from = Some(read_index(&mut from)?).filter(|index| *index > Index::ZERO);
    let entries = decode_entries(&mut from)?;
    from.finish()?;
    Ok((group, GroupWrite { hard_state, truncate_from, entries }))
}

/// Entries of a group, written again further on so that an old segment can go.
pub(crate) fn encode_moved(group: GroupId, entries: &[Entry], to: &mut Writer) {
    to.varint(group.0);
    encode_entries(entries, to);
}

pub(crate) fn decode_moved(bytes: Bytes) -> Result<(GroupId, Vec<Entry>), DecodeError> {
    let mut from = Reader::new(bytes);
    let group = GroupId(from.varint()?);
    let entries = decode_entries(&mut from)?;
    from.finish()?;
    Ok((group, entries))
}

/// The entries of a frame that holds some.
pub(crate) fn entries_of(frame: Frame) -> Option<Vec<Entry>> {
    match frame.kind {
        WRITE => decode_write(frame.payload).ok().map(|(_, write)| write.entries),
        MOVED => decode_moved(frame.payload).ok().map(|(_, entries)| entries),
        _ => None,
    }
}

fn encode_entries(entries: &[Entry], to: &mut Writer) {
    to.varint(entries.len() as u64);
    for entry in entries {
        entry.encode(to);
    }
}

fn decode_entries(from: &mut Reader) -> Result<Vec<Entry>, DecodeError> {
    let count = from.count(3)?;
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..count {
        let entry = Entry::decode(from)?;
        let index = entry.position.index;
        let follows = entries.last().is_none_or(|last| last.position.index.next() == index);
        if !follows || index == Index::ZERO || index.0 >= INDEX_END {
            return Err(DecodeError::Invalid { what: "entries: index" });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// A copy: what is kept must not keep the whole segment that it was read from in memory.
fn read_hard_state(from: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    if from.bool()? { Ok(Some(Bytes::copy_from_slice(&from.bytes()?))) } else { Ok(None) }
}

fn read_index(from: &mut Reader) -> Result<Index, DecodeError> {
    match from.varint()? {
        index if index < INDEX_END => Ok(Index(index)),
        _ => Err(DecodeError::Invalid { what: "index" }),
    }
}

fn read_meta(from: &mut Reader) -> Result<SnapshotMeta, DecodeError> {
    let meta = SnapshotMeta::decode(from)?;
    if meta.position.index.0 >= INDEX_END {
        return Err(DecodeError::Invalid { what: "snapshot: index" });
    }
    Ok(meta)
}

/// A group's log up to here is not needed any more.
pub(crate) fn encode_compact(group: GroupId, to_position: Position, to: &mut Writer) {
    to.varint(group.0);
    position(to_position, to);
}

pub(crate) fn decode_compact(bytes: Bytes) -> Result<(GroupId, Position), DecodeError> {
    let mut from = Reader::new(bytes);
    let read = (GroupId(from.varint()?), read_position(&mut from)?);
    from.finish()?;
    Ok(read)
}

/// A snapshot becomes a group's current one: of its own state (`install` false), or a leader's, which replaces the log as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRecord {
    pub(crate) group: GroupId,
    pub(crate) meta: SnapshotMeta,
    pub(crate) install: bool,
    pub(crate) keep_log_after: bool,
}

impl SnapshotRecord {
    pub(crate) fn encode(&self, to: &mut Writer) {
        to.varint(self.group.0);
        self.meta.encode(to);
        to.bool(self.install);
        to.bool(self.keep_log_after);
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<SnapshotRecord, DecodeError> {
        let mut from = Reader::new(bytes);
        let record = SnapshotRecord {
            group: GroupId(from.varint()?),
            meta: read_meta(&mut from)?,
            install: from.bool()?,
            keep_log_after: from.bool()?,
        };
        from.finish()?;
        Ok(record)
    }
}

pub(crate) fn decode_number(bytes: Bytes) -> Result<u64, DecodeError> {
    let mut from = Reader::new(bytes);
    let number = from.varint()?;
    from.finish()?;
    Ok(number)
}

fn position(position: Position, to: &mut Writer) {
    to.varint(position.epoch.0);
    to.varint(position.index.0);
}

fn read_position(from: &mut Reader) -> Result<Position, DecodeError> {
    Ok(Position { epoch: Epoch(from.varint()?), index: read_index(from)? })
}

/// The memberships that entries bring.
pub(crate) fn memberships(entries: &[Entry]) -> impl Iterator<Item = (Index, Membership)> + '_ {
    entries.iter().filter_map(|entry| match &entry.payload {
        Payload::Membership(membership) => Some((entry.position.index, membership.clone())),
        Payload::Noop | Payload::Command(_) => None,
    })
}

//! The state as chunks, and back.
//!
//! ```text
//! chunks = header · records, as many in each chunk as fit; no record is cut in two
//! header = version (1 or 2) · initialised · [cluster (u64)] · number of the last change
//!          · how many members · how many removed · how many groups · in version 2: how many births
//! records = members · removed ids (u64) · groups · births (id, membership), each in order of id
//! ```
//!
//! Version 2 is written only once a group was added while the cluster ran. Until then a build that knows no births reads what this one writes, so that members
//! can be upgraded one by one, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DecodeError, GroupId, Membership, NodeId, Reader, RestoreError, StateMachine, Writer,
};

use crate::member::bounded;
use crate::state::{State, sum_of};
use crate::{GROUPS_MAX, GroupPlace, MEMBER_IDS_MAX, MEMBERS_MAX, Member, Placement};

/// The first number of a snapshot in which every group is as old as the cluster.
const VERSION: u64 = 1;
/// And of one in which some are not.
const VERSION_WITH_BIRTHS: u64 = 2;

const CHUNK_BYTES_MAX: usize = <Placement as StateMachine>::CHUNK_BYTES_MAX;
const HEADER_BYTES_MAX: usize = 10 + 1 + 8 + 5 * 10;
const BIRTH_BYTES_MAX: usize = 10 + 3 * 10 + 8 * MEMBERS_MAX;
const _: () = assert!(HEADER_BYTES_MAX + Member::BYTES_MAX <= CHUNK_BYTES_MAX);

/// A snapshot being written out: chunks are made as they are asked for.
#[derive(Clone, Debug)]
pub struct Snapshot {
    state: Arc<State>,
    next: Next,
}

/// What is to be written next, if there is any left of it.
#[derive(Clone, Copy, Debug)]
enum Next {
    Header,
    Members(Bound<NodeId>),
    Removed(Bound<NodeId>),
    Groups(Bound<GroupId>),
    Births(Bound<GroupId>),
    End,
}

impl Snapshot {
    pub(crate) fn new(state: Arc<State>) -> Snapshot {
        Snapshot { state, next: Next::Header }
    }

    /// Writes one record, if it is sure to fit; false if the chunk is full or the snapshot is at its end.
    fn write_next(&mut self, to: &mut Writer) -> bool {
        let fits = |bytes_max: usize| to.len() + bytes_max <= CHUNK_BYTES_MAX;
        match self.next {
            Next::Header => {
                self.write_header(to);
                self.next = Next::Members(Bound::Unbounded);
            }
            Next::Members(from) => match self.state.members.range((from, Bound::Unbounded)).next() {
                Some(_) if !fits(Member::BYTES_MAX) => return false,
                Some((id, member)) => {
                    member.encode(to);
                    self.next = Next::Members(Bound::Excluded(*id));
                }
                None => self.next = Next::Removed(Bound::Unbounded),
            },
            Next::Removed(from) => match self.state.removed.range((from, Bound::Unbounded)).next() {
                Some(_) if !fits(8) => return false,
                Some(id) => {
                    to.u64(id.0);
                    self.next = Next::Removed(Bound::Excluded(*id));
                }
                None => self.next = Next::Groups(Bound::Unbounded),
            },
            Next::Groups(from) => match self.state.groups.range((from, Bound::Unbounded)).next() {
                Some(_) if !fits(GroupPlace::BYTES_MAX) => return false,
                Some((id, place)) => {
                    place.encode(*id, to);
                    self.next = Next::Groups(Bound::Excluded(*id));
                }
                None => self.next = Next::Births(Bound::Unbounded),
            },
            Next::Births(from) => match self.state.births.range((from, Bound::Unbounded)).next() {
                Some(_) if !fits(BIRTH_BYTES_MAX) => return false,
                Some((id, birth)) => {
                    to.varint(id.0);
                    birth.encode(to);
                    self.next = Next::Births(Bound::Excluded(*id));
                }
                None => self.next = Next::End,
            },
            Next::End => return false,
        }
        true
    }

    fn write_header(&self, to: &mut Writer) {
        let births = self.state.births.len() as u64;
        to.varint(if births == 0 { VERSION } else { VERSION_WITH_BIRTHS });
        to.bool(self.state.cluster.is_some());
        if let Some(cluster) = self.state.cluster {
            to.u64(cluster.0);
        }
        to.varint(self.state.version);
        to.varint(self.state.members.len() as u64);
        to.varint(self.state.removed.len() as u64);
        to.varint(self.state.groups.len() as u64);
        if births > 0 {
            to.varint(births);
        }
    }
}

impl Iterator for Snapshot {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut chunk = Writer::new();
        while self.write_next(&mut chunk) {}
        if chunk.is_empty() { None } else { Some(chunk.finish()) }
    }
}

/// Reads what [`Snapshot`] wrote.
pub(crate) fn read(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<State, RestoreError> {
    let mut from = Chunks { reader: Reader::new(Bytes::new()), chunks };
    let header = from.record()?;
    let format = header.varint()?;
    if !matches!(format, VERSION | VERSION_WITH_BIRTHS) {
        return Err(RestoreError::Version(format));
    }
    let cluster = if header.bool()? { Some(ClusterId(header.u64()?)) } else { None };
    let version = header.varint()?;
    let members_count = count(header, MEMBERS_MAX, "number of members")?;
    let removed_count = count(header, MEMBER_IDS_MAX, "number of removed members")?;
    let groups_count = count(header, GROUPS_MAX, "number of groups")?;
    let births_count = if format == VERSION { 0 } else { count(header, GROUPS_MAX, "number of births")? };
    // One state has one snapshot.
    if format != VERSION && births_count == 0 {
        return Err(DecodeError::Invalid { what: "version of a snapshot" }.into());
    }

    let mut members = BTreeMap::new();
    for _ in 0..members_count {
        let member = Member::decode(from.record()?)?;
        ascending(members.last_key_value().map(|(id, _)| *id), member.id)?;
        members.insert(member.id, member);
    }
    let mut removed = BTreeSet::new();
    for _ in 0..removed_count {
        let id = NodeId(from.record()?.u64()?);
        ascending(removed.last().copied(), id)?;
        removed.insert(id);
    }
    let mut groups = BTreeMap::new();
    for _ in 0..groups_count {
        let (id, place) = GroupPlace::decode(from.record()?)?;
        ascending(groups.last_key_value().map(|(id, _)| *id), id)?;
        groups.insert(id, place);
    }
    let mut births = BTreeMap::new();
    for _ in 0..births_count {
        let record = from.record()?;
        let (id, birth) = (GroupId(record.varint()?), Membership::decode(record)?);
        ascending(births.last_key_value().map(|(id, _)| *id), id)?;
        births.insert(id, birth);
    }
    from.end()?;

    let sum = sum_of(&removed, &groups, &births);
    let (removed, groups, births) = (Arc::new(removed), Arc::new(groups), Arc::new(births));
    let state = State { cluster, version, members, removed, groups, births, sum };
    if state.is_sound() { Ok(state) } else { Err(DecodeError::Invalid { what: "state of placement" }.into()) }
}

struct Chunks<'a> {
    reader: Reader,
    chunks: &'a mut dyn Iterator<Item = Bytes>,
}

impl Chunks<'_> {
    /// Where the next record begins: in this chunk or at the start of the next.
    fn record(&mut self) -> Result<&mut Reader, RestoreError> {
        if self.reader.remaining() == 0 {
            self.reader = Reader::new(self.chunks.next().ok_or(RestoreError::Incomplete)?);
        }
        Ok(&mut self.reader)
    }

    fn end(self) -> Result<(), RestoreError> {
        self.reader.finish()?;
        match self.chunks.next() {
            Some(more) => Err(DecodeError::Trailing { bytes: more.len() }.into()),
            None => Ok(()),
        }
    }
}

/// Nothing is allocated by a count, so it need not be held against the bytes that are left: they are in chunks to come.
fn count(from: &mut Reader, max: usize, what: &'static str) -> Result<usize, DecodeError> {
    bounded(usize::try_from(from.varint()?).unwrap_or(usize::MAX), max, what)
}

fn ascending<T: Ord>(last: Option<T>, id: T) -> Result<(), DecodeError> {
    if last.is_some_and(|last| last >= id) {
        Err(DecodeError::Invalid { what: "order of ids" })
    } else {
        Ok(())
    }
}

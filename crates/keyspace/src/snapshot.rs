//! The state as bytes: written from a copy while applying goes on, read back on another node.
//!
//! ```text
//! snapshot = version · revision · compacted · sweep (main, sub) · quota (0 | 1, bytes) · alarms · auth · leases · records · 0 · digest (u64)
//! auth     = bytes                                        see `auth/codec.rs`; none if nobody ever changed it
//! leases   = count · (id · time to live · granted · remaining)…        ids ascending
//! record   = 1 · key · body  (a key's oldest version)  |  2 · body  (the same key's next)      keys ascending, versions ascending
//! body     = main · sub · version · [create · lease · value  if version > 0]
//! ```
//!
//! What a compaction has still to remove is in it: a restored replica must go on with the same size, quota and digest as those that
//! never stopped. The log of changes is not, nor what hangs on which lease; they follow from the records.
//!
//! Version 2 has no auth, and version 1 no leases either, not even their count. Both are still read.
//!
//! The bytes are cut into chunks of at most 64 KiB without regard to what they mean.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{DecodeError, RestoreError, StateMachine, Writer, planted};

use crate::auth::Auth;
use crate::codec::write_signed;
use crate::lease::{Attachment, Lease};
use crate::record::{Dated, Record, Rev, Versions};
use crate::response::{alarm_kind, write_alarm, write_lease};
use crate::store::Store;
use crate::tree::{Keyed, Tree};
use crate::{ALARMS_MAX, AlarmMember, Keyspace, LeaseId};

/// The first number of every snapshot.
const VERSION: u64 = 3;

/// The version before there were users.
const VERSION_WITHOUT_AUTH: u64 = 2;

/// The version before there were leases.
const VERSION_WITHOUT_LEASES: u64 = 1;

const CHUNK_BYTES_MAX: usize = Keyspace::CHUNK_BYTES_MAX;

/// A snapshot being written out.
#[derive(Debug)]
pub struct Snapshot {
    /// Empty once all are written.
    leases: Tree<Lease>,
    /// The lease that was written last.
    lease_after: Option<LeaseId>,
    keys: Tree<Versions>,
    digest: u64,
    /// The record that was written last.
    after: Option<(Bytes, Rev)>,
    /// Are all records written?
    complete: bool,
    /// Written and not yet handed out.
    ready: Bytes,
}

impl Snapshot {
    pub(crate) fn of(store: &Store) -> Snapshot {
        let mut head = Writer::new();
        head.varint(VERSION);
        head.varint(if planted!("D15") { store.revision.saturating_sub(1) } else { store.revision });
        head.varint(store.compacted);
        head.varint(store.sweep_at.main);
        head.varint(store.sweep_at.sub.into());
        head.bool(store.quota_bytes.is_some());
        if let Some(bytes) = store.quota_bytes {
            head.varint(bytes);
        }
        head.varint(store.alarms.len() as u64);
        for alarm in store.alarms.iter() {
            write_alarm(*alarm, &mut head);
        }
        head.bytes(&store.auth.encoded());
        head.varint(store.leases.weight() as u64);
        Snapshot {
            leases: store.leases.clone(),
            lease_after: None,
            keys: store.keys.clone(),
            digest: store.digest(),
            after: None,
            complete: false,
            ready: head.finish(),
        }
    }

    /// Writes on until there is a chunk's worth.
    fn fill(&mut self) {
        let mut to = Writer::with_capacity(CHUNK_BYTES_MAX + 1024);
        to.raw(&self.ready);
        self.fill_leases(&mut to);
        if to.len() < CHUNK_BYTES_MAX {
            self.fill_records(&mut to);
        }
        self.ready = to.finish();
    }

    /// Leases come before the records, so that whoever reads the records knows which leases there are.
    fn fill_leases(&mut self, to: &mut Writer) {
        let from = self.lease_after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for lease in self.leases.iter_from(from) {
            if to.len() >= CHUNK_BYTES_MAX {
                self.lease_after = last;
                return;
            }
            write_lease(lease, to);
            last = Some(lease.id);
        }
        self.leases = Tree::default();
    }

    fn fill_records(&mut self, to: &mut Writer) {
        let from = self.after.as_ref().map_or(Bound::Unbounded, |(key, _)| Bound::Included(&key[..]));
        let mut last = None;
        'full: for versions in self.keys.iter_from(from) {
            let key = versions.key();
            let mut begun = None;
            if let Some((after, rev)) = &self.after
                && after == key
            {
                begun = Some(*rev);
            }
            let older = versions.older.iter_from(begun.as_ref().map_or(Bound::Unbounded, Bound::Excluded));
            let newest = Some(&versions.newest).filter(|newest| begun.is_none_or(|begun| begun < newest.rev));
            for record in older.map(|dated| &dated.record).chain(newest) {
                if to.len() >= CHUNK_BYTES_MAX {
                    break 'full;
                }
                if begun.is_none() {
                    to.u8(1);
                    to.bytes(key);
                } else {
                    to.u8(2);
                }
                write_record(record, to);
                begun = Some(record.rev);
                last = Some(record);
            }
        }
        if let Some(last) = last {
            self.after = Some((last.key.clone(), last.rev));
        }
        if to.len() < CHUNK_BYTES_MAX {
            to.u8(0);
            to.u64(self.digest);
            self.complete = true;
            self.keys = Tree::default();
        }
    }
}

impl Iterator for Snapshot {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ready.len() < CHUNK_BYTES_MAX && !self.complete {
            self.fill();
        }
        let bytes = self.ready.len().min(CHUNK_BYTES_MAX);
        (bytes > 0).then(|| self.ready.split_to(bytes))
    }
}

fn write_record(record: &Record, to: &mut Writer) {
    to.varint(record.rev.main);
    to.varint(record.rev.sub.into());
    to.varint(record.version);
    if record.is_live() {
        to.varint(record.create);
        write_signed(to, record.lease.0);
        to.bytes(&record.value);
    }
}

/// Reads a snapshot back.
pub(crate) fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Store, RestoreError> {
    let mut from = Source { chunks, chunk: Bytes::new() };
    let store = read(&mut from)?;
    from.finish()?;
    Ok(store)
}

/// The same, if something else follows in the next chunk.
pub(crate) fn restore_next(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Store, RestoreError> {
    let mut from = Source { chunks, chunk: Bytes::new() };
    let store = read(&mut from)?;
    if from.chunk.is_empty() {
        Ok(store)
    } else {
        Err(RestoreError::Malformed(DecodeError::Trailing { bytes: from.chunk.len() }))
    }
}

fn read(from: &mut Source<'_>) -> Result<Store, RestoreError> {
    let version = from.varint()?;
    if !(VERSION_WITHOUT_LEASES..=VERSION).contains(&version) {
        return Err(RestoreError::Version(version));
    }
    let mut store = Store::new();
    store.revision = from.varint()?;
    store.compacted = from.varint()?;
    store.sweep_at = Rev { main: from.varint()?, sub: from.sub()? };
    if store.revision > i64::MAX as u64 || store.compacted > store.revision {
        return Err(invalid("revision of a snapshot"));
    }
    store.quota_bytes = if from.bool()? { Some(from.varint()?) } else { None };
    let mut alarms = BTreeSet::new();
    for _ in 0..from.varint()? {
        alarms.insert(AlarmMember { member: from.varint()?, kind: alarm_kind(from.u8()?)? });
        if alarms.len() > ALARMS_MAX {
            return Err(invalid("number of alarms"));
        }
    }
    store.alarms = Arc::new(alarms);
    if version > VERSION_WITHOUT_AUTH {
        store.auth = Arc::new(Auth::decode(from.bytes()?)?);
    }
    if version != VERSION_WITHOUT_LEASES {
        read_leases(from, &mut store)?;
    }

    let mut changes = Vec::new();
    let mut attachments = Vec::new();
    let mut current: Option<Versions> = None;
    loop {
        let key = match (from.u8()?, &current) {
            (0, _) => break,
            (1, before) => {
                let key = from.bytes()?;
                if before.as_ref().is_some_and(|before| *before.key() >= key) {
                    return Err(invalid("order of keys"));
                }
                key
            }
            (2, Some(versions)) => versions.key().clone(),
            (_, _) => return Err(invalid("tag of a record")),
        };
        let record = Arc::new(read_record(from, key.clone())?);
        if record.rev.main > store.revision
            || record.version > record.rev.main
            || record.create > record.rev.main
        {
            return Err(invalid("revision of a record"));
        }
        store.sum = store.sum.wrapping_add(record.hash);
        store.size_bytes += record.size_bytes();
        if record.rev >= store.log_start() {
            changes.push(Arc::clone(&record));
        }
        match &mut current {
            Some(versions) if *versions.key() == key => {
                if versions.newest.rev >= record.rev {
                    return Err(invalid("order of versions"));
                }
                versions.push(record);
            }
            Some(_) | None => {
                if let Some(versions) = current.replace(Versions::new(record)) {
                    add_key(&mut store, versions, &mut attachments)?;
                }
            }
        }
    }
    if let Some(versions) = current {
        add_key(&mut store, versions, &mut attachments)?;
    }
    changes.sort_unstable_by_key(|record| record.rev);
    for record in changes {
        store.log.insert(Dated::new(record));
    }
    attachments.sort_unstable();
    for attachment in attachments {
        store.attachments.insert(attachment);
    }

    let expected = from.u64()?;
    let found = store.digest();
    if planted!("D17") {
        store.revision = store.log.iter_from(Bound::Unbounded).map(|dated| dated.rev.main).max().unwrap_or(1);
    }
    if found == expected { Ok(store) } else { Err(RestoreError::Digest { expected, found }) }
}

fn read_leases(from: &mut Source<'_>, store: &mut Store) -> Result<(), RestoreError> {
    let mut before = None;
    for _ in 0..from.varint()? {
        let lease = Lease {
            id: LeaseId(from.signed()?),
            ttl_s: from.signed()?,
            granted: from.varint()?,
            remaining_s: from.signed()?,
        };
        if before.is_some_and(|before| before >= lease.id) {
            return Err(invalid("order of leases"));
        }
        if !lease.is_possible() {
            return Err(invalid("lease"));
        }
        before = Some(lease.id);
        store.set_lease(lease);
    }
    Ok(())
}

/// Adds a key whose versions are all there. If it lives and names a lease, that lease must be there: what hangs on nothing would never
/// be deleted. Older versions may well name leases that have ended since.
fn add_key(
    store: &mut Store,
    versions: Versions,
    attachments: &mut Vec<Attachment>,
) -> Result<(), RestoreError> {
    let newest = &versions.newest;
    if newest.lease != LeaseId::NONE {
        store.check_lease(newest.lease).map_err(|_| invalid("lease of a key"))?;
        attachments.push(Attachment { lease: newest.lease, key: newest.key.clone() });
    }
    store.keys.insert(versions);
    Ok(())
}

fn read_record(from: &mut Source<'_>, key: Bytes) -> Result<Record, RestoreError> {
    let rev = Rev { main: from.varint()?, sub: from.sub()? };
    let version = from.varint()?;
    if version == 0 {
        return Ok(Record::tombstone(key, rev));
    }
    let create = from.varint()?;
    let lease = LeaseId(from.signed()?);
    let value = from.bytes()?;
    Ok(Record::put(key, value, rev, create, version, lease))
}

fn invalid(what: &'static str) -> RestoreError {
    RestoreError::Malformed(DecodeError::Invalid { what })
}

/// Reads across chunks. Whatever is kept gets memory of its own, so that no chunk outlives the restoring.
struct Source<'a> {
    chunks: &'a mut dyn Iterator<Item = Bytes>,
    chunk: Bytes,
}

impl Source<'_> {
    /// Makes sure that there is a byte.
    fn more(&mut self) -> Result<(), RestoreError> {
        while self.chunk.is_empty() {
            self.chunk = self.chunks.next().ok_or(RestoreError::Incomplete)?;
        }
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, RestoreError> {
        self.more()?;
        Ok(self.chunk.split_to(1)[0])
    }

    fn bool(&mut self) -> Result<bool, RestoreError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(invalid("bool")),
        }
    }

    fn u64(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0;
        for shift in (0..64).step_by(8) {
            value |= u64::from(self.u8()?) << shift;
        }
        Ok(value)
    }

    fn varint(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(invalid("varint")) } else { Ok(value) };
            }
        }
        Err(invalid("varint"))
    }

    fn signed(&mut self) -> Result<i64, RestoreError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn sub(&mut self) -> Result<u32, RestoreError> {
        let sub = u32::try_from(self.varint()?).ok().filter(|sub| *sub < u32::MAX);
        sub.ok_or_else(|| invalid("place within a revision"))
    }

    fn bytes(&mut self) -> Result<Bytes, RestoreError> {
        let length = usize::try_from(self.varint()?).map_err(|_| invalid("length"))?;
        if length <= self.chunk.len() {
            return Ok(Bytes::copy_from_slice(&self.chunk.split_to(length)));
        }
        // The length is only a claim: memory is taken as the bytes come.
        let mut bytes = Vec::new();
        while bytes.len() < length {
            self.more()?;
            let part = self.chunk.split_to(self.chunk.len().min(length - bytes.len()));
            bytes.extend_from_slice(&part);
        }
        bytes.shrink_to_fit();
        Ok(Bytes::from(bytes))
    }

    /// Says that nothing may be left.
    fn finish(mut self) -> Result<(), RestoreError> {
        match self.more() {
            Err(RestoreError::Incomplete) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(RestoreError::Malformed(DecodeError::Trailing { bytes: self.chunk.len() })),
        }
    }
}

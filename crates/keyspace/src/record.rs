//! One version of one key, and all versions of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::digest::{hash_bytes, hash_words};
use crate::tree::{Item, Keyed, Probe, Tree};
use crate::{Event, EventKind, KeyValue, LeaseId, RECORD_BYTES};

/// A change's place: its revision, and which change of that revision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rev {
    pub(crate) main: u64,
    pub(crate) sub: u32,
}

impl Rev {
    /// The first change of `main`.
    pub(crate) fn first_of(main: u64) -> Rev {
        Rev { main, sub: 0 }
    }

    /// Not before any change of `main`.
    pub(crate) fn last_of(main: u64) -> Rev {
        Rev { main, sub: u32::MAX }
    }
}

/// One version of one key; never changed once made. A version of zero is a tombstone: the key was deleted.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) rev: Rev,
    pub(crate) create: u64,
    pub(crate) version: u64,
    pub(crate) lease: LeaseId,
    /// Of all of the above.
    pub(crate) hash: u64,
}

impl Record {
    pub(crate) fn put(
        key: Bytes,
        value: Bytes,
        rev: Rev,
        create: u64,
        version: u64,
        lease: LeaseId,
    ) -> Record {
        let words = [rev.main, u64::from(rev.sub), create, version, lease.0 as u64];
        let hash = hash_bytes(hash_bytes(hash_words(0, &words), &key), &value);
        Record { key, value, rev, create, version, lease, hash }
    }

    pub(crate) fn tombstone(key: Bytes, rev: Rev) -> Record {
        Record::put(key, Bytes::new(), rev, 0, 0, LeaseId::NONE)
    }

    /// The same under another number within its revision.
    pub(crate) fn numbered(record: &Arc<Record>, sub: u32) -> Arc<Record> {
        if record.rev.sub == sub {
            return Arc::clone(record);
        }
        let Record { key, value, rev, create, version, lease, .. } = &**record;
        let rev = Rev { sub, ..*rev };
        Arc::new(Record::put(key.clone(), value.clone(), rev, *create, *version, *lease))
    }

    pub(crate) fn is_live(&self) -> bool {
        self.version > 0
    }

    /// What this version counts against the quota.
    pub(crate) fn size_bytes(&self) -> u64 {
        RECORD_BYTES + self.key.len() as u64 + self.value.len() as u64
    }

    pub(crate) fn key_value(&self) -> KeyValue {
        KeyValue {
            key: self.key.clone(),
            value: self.value.clone(),
            create_revision: self.create,
            mod_revision: self.rev.main,
            version: self.version,
            lease: self.lease,
        }
    }

    /// The change that made this version. The event of a deletion shows the key and the revision, nothing else (as etcd's does).
    pub(crate) fn event(&self, before: Option<&Record>) -> Event {
        let kind = if self.is_live() { EventKind::Put } else { EventKind::Delete };
        let created = self.is_live() && self.create == self.rev.main;
        let prev = before.filter(|_| !created).map(Record::key_value);
        Event { kind, sub: self.rev.sub, kv: self.key_value(), prev }
    }
}

/// The versions of one key that no compaction has removed.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// The last one, a tombstone perhaps.
    pub(crate) newest: Arc<Record>,
    /// All before it. A tree of its own, so that a key with a million versions is written and read like any other.
    pub(crate) older: Tree<Dated>,
}

/// A record in its place in time; the place stands beside the pointer, so that a search need not follow it.
#[derive(Clone, Debug)]
pub(crate) struct Dated {
    pub(crate) rev: Rev,
    pub(crate) record: Arc<Record>,
}

impl Dated {
    pub(crate) fn new(record: Arc<Record>) -> Dated {
        Dated { rev: record.rev, record }
    }
}

impl Versions {
    pub(crate) fn new(record: Arc<Record>) -> Versions {
        Versions { newest: record, older: Tree::default() }
    }

    /// Adds a version; the one that was the newest.
    pub(crate) fn push(&mut self, record: Arc<Record>) -> Arc<Record> {
        let old = std::mem::replace(&mut self.newest, record);
        self.older.insert(Dated::new(Arc::clone(&old)));
        old
    }

    /// The last version at or below `revision`, living or not.
    pub(crate) fn last_at(&self, revision: u64) -> Option<&Arc<Record>> {
        if self.newest.rev.main <= revision {
            Some(&self.newest)
        } else {
            self.older.floor(&Rev::last_of(revision)).map(|dated| &dated.record)
        }
    }

    /// The version that `revision` shows, if the key lives there.
    pub(crate) fn live_at(&self, revision: u64) -> Option<&Arc<Record>> {
        self.last_at(revision).filter(|record| record.is_live())
    }
}

impl Keyed for Versions {
    type Key = Bytes;
    type Probe = [u8];

    fn key(&self) -> &Bytes {
        &self.newest.key
    }
}

/// A key weighs 1 while it lives, so that the weight of a span of keys is its count.
impl Item for Versions {
    fn weight(&self) -> usize {
        usize::from(self.newest.is_live())
    }
}

impl Probe for Rev {
    const HINTS: bool = false;
}

impl Keyed for Dated {
    type Key = Rev;
    type Probe = Rev;

    fn key(&self) -> &Rev {
        &self.rev
    }
}

impl Item for Dated {
    fn weight(&self) -> usize {
        1
    }
}

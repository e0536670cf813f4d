//! The state as bytes: written from a copy while applying goes on, read back on another node.
//!
//! ```text
//! snapshot = version · zxid · last directory number · last ACL number · items · 0 · digest (u64)
//! item     = 1 · number · list  (an ACL)  |  2 · session  |  3 · record  (a znode)       each length-prefixed, in this order
//! ```
//!
//! ACLs by number, sessions by id, znodes by key, so that a parent comes before its children and every number is known when it is
//! used. Counters of uses, the indexes and the sums are not in it; they follow from the rest. Numbers that no longer mean anything
//! to anybody (a directory's that is gone) still are: a restored replica goes on giving the same numbers as those that never stopped.
//!
//! The bytes are cut into chunks of at most 64 KiB without regard to what they mean.

use bytes::Bytes;
use quorate_consensus::{RestoreError, StateMachine, Writer};

use crate::index::ordered;
use crate::restore;
use crate::store::Store;
use crate::tree::Item;
use crate::{SessionId, Znodes};

/// The first number of every snapshot.
pub(crate) const VERSION: u64 = 2;

pub(crate) const END: u8 = 0;
pub(crate) const ACL: u8 = 1;
pub(crate) const SESSION: u8 = 2;
pub(crate) const ZNODE: u8 = 3;

const CHUNK_BYTES_MAX: usize = Znodes::CHUNK_BYTES_MAX;

/// A snapshot being written out.
#[derive(Debug)]
pub struct Snapshot {
    store: Store,
    next: Next,
    /// Written and not yet handed out.
    ready: Bytes,
}

/// After what to go on.
#[derive(Debug)]
enum Next {
    Acls(u64),
    Sessions(Option<SessionId>),
    Znodes(Vec<u8>),
    Nothing,
}

impl Snapshot {
    pub(crate) fn of(store: &Store) -> Snapshot {
        let mut head = Writer::new();
        head.varint(VERSION);
        head.varint(store.zxid);
        head.varint(store.directories);
        head.varint(store.acls.last);
        Snapshot { store: store.clone(), next: Next::Acls(0), ready: head.finish() }
    }

    /// Writes on until there is a chunk's worth.
    fn fill(&mut self) {
        let mut to = Writer::with_capacity(CHUNK_BYTES_MAX + 1024);
        to.raw(&self.ready);
        while to.len() < CHUNK_BYTES_MAX {
            self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Acls(after) => write_acls(&self.store, after, &mut to),
                Next::Sessions(after) => write_sessions(&self.store, after, &mut to),
                Next::Znodes(after) => write_znodes(&self.store, after, &mut to),
                Next::Nothing => break,
            };
            if let Next::Nothing = self.next {
                to.u8(END);
                to.u64(self.store.digest());
                self.store = Store::empty();
                break;
            }
        }
        self.ready = to.finish();
    }
}

fn write_item(tag: u8, bytes: &[u8], to: &mut Writer) {
    to.u8(tag);
    to.bytes(bytes);
}

fn write_acls(store: &Store, after: u64, to: &mut Writer) -> Next {
    for interned in store.acls.after(after) {
        let mut item = Writer::new();
        item.varint(interned.id);
        item.raw(&interned.bytes);
        write_item(ACL, item.as_slice(), to);
        if to.len() >= CHUNK_BYTES_MAX {
            return Next::Acls(interned.id);
        }
    }
    Next::Sessions(None)
}

fn write_sessions(store: &Store, after: Option<SessionId>, to: &mut Writer) -> Next {
    let sessions = match after {
        Some(id) => store.sessions.iter_after(&ordered(id.0)),
        None => store.sessions.iter(),
    };
    for session in sessions {
        let mut item = Writer::new();
        session.encode(&mut item);
        write_item(SESSION, item.as_slice(), to);
        if to.len() >= CHUNK_BYTES_MAX {
            return Next::Sessions(Some(session.id));
        }
    }
    Next::Znodes(Vec::new())
}

fn write_znodes(store: &Store, after: Vec<u8>, to: &mut Writer) -> Next {
    for record in store.nodes.iter_after(&after) {
        write_item(ZNODE, record.bytes(), to);
        if to.len() >= CHUNK_BYTES_MAX {
            return Next::Znodes(record.key().to_vec());
        }
    }
    Next::Nothing
}

impl Iterator for Snapshot {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ready.len() < CHUNK_BYTES_MAX {
            self.fill();
        }
        let bytes = self.ready.len().min(CHUNK_BYTES_MAX);
        (bytes > 0).then(|| self.ready.split_to(bytes))
    }
}

/// Reads a snapshot back.
pub(crate) fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Store, RestoreError> {
    restore::read(chunks)
}

//! The table of ACLs: every list that some znode has, once.
//!
//! Lists are few and znodes are many. A znode keeps the number of its list; the list lives as long as somebody keeps its number.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, Writer};

use crate::codec::{read_acl, write_acl};
use crate::digest::hash_bytes;
use crate::tree::{Item, Tree};
use crate::{Acl, Permissions};

/// The number of the list that lets everyone do everything. It is not counted and never goes: most znodes have it.
pub(crate) const OPEN: u64 = 0;

/// One list.
#[derive(Clone, Debug)]
pub(crate) struct Interned {
    key: [u8; 8],
    pub(crate) id: u64,
    pub(crate) acl: Arc<[Acl]>,
    /// The list as bytes.
    pub(crate) bytes: Bytes,
    /// Of the bytes.
    pub(crate) hash: u64,
    /// How many znodes have it.
    pub(crate) uses: u64,
}

impl Item for Arc<Interned> {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Interned {
    fn new(id: u64, acl: Arc<[Acl]>, bytes: Bytes) -> Interned {
        let hash = hash_bytes(0xac1, &bytes);
        Interned { key: id.to_be_bytes(), id, acl, bytes, hash, uses: 0 }
    }
}

/// A list's bytes, and its number.
#[derive(Clone, Debug)]
struct Known(Bytes, u64);

impl Item for Known {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

fn bytes_of(acl: &[Acl]) -> Bytes {
    let mut to = Writer::new();
    write_acl(acl, &mut to);
    to.finish()
}

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Acls {
    open: Arc<Interned>,
    by_id: Tree<Arc<Interned>>,
    by_bytes: Tree<Known>,
    /// The last number that was given.
    pub(crate) last: u64,
}

impl Acls {
    pub(crate) fn new() -> Acls {
        let open: Arc<[Acl]> = Arc::from([Acl::world(Permissions::ALL)]);
        let bytes = bytes_of(&open);
        let open = Arc::new(Interned::new(OPEN, open, bytes));
        Acls { open, by_id: Tree::default(), by_bytes: Tree::default(), last: OPEN }
    }

    /// The list with this number, which somebody has.
    pub(crate) fn get(&self, id: u64) -> &Arc<Interned> {
        self.find(id).expect("a znode's ACL is in the table")
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Arc<Interned>> {
        if id == OPEN { Some(&self.open) } else { self.by_id.get(&id.to_be_bytes()) }
    }

    /// The number of this list for one more znode.
    pub(crate) fn take(&mut self, acl: &[Acl]) -> u64 {
        if *acl == *self.open.acl {
            return OPEN;
        }
        let bytes = bytes_of(acl);
        let id = match self.by_bytes.get(&bytes) {
            Some(Known(_, id)) => *id,
            None => {
                self.last += 1;
                self.add(Interned::new(self.last, Arc::from(acl), bytes));
                self.last
            }
        };
        self.count(id, 1);
        id
    }

    fn add(&mut self, interned: Interned) {
        self.by_bytes.insert(Known(interned.bytes.clone(), interned.id));
        self.by_id.insert(Arc::new(interned));
    }

    /// One znode less has this list.
    pub(crate) fn release(&mut self, id: u64) {
        self.count(id, -1);
    }

    /// More, or fewer, znodes have this list. The last one takes it along.
    pub(crate) fn count(&mut self, id: u64, change: i64) {
        if id == OPEN {
            return;
        }
        let mut interned = Interned::clone(self.get(id));
        interned.uses =
            interned.uses.checked_add_signed(change).expect("a list is released as often as it was taken");
        if interned.uses == 0 {
            self.by_bytes.remove(&interned.bytes);
            self.by_id.remove(&interned.key);
        } else {
            self.by_id.insert(Arc::new(interned));
        }
    }

    /// All but the open one, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Interned>> {
        self.by_id.iter()
    }

    /// Those after `id`, by number.
    pub(crate) fn after(&self, id: u64) -> impl Iterator<Item = &Arc<Interned>> {
        self.by_id.iter_after(&id.to_be_bytes())
    }

    /// Takes a list of a snapshot; nobody has it yet. Lists come in the order of their numbers, each once.
    pub(crate) fn restore(&mut self, id: u64, bytes: Bytes) -> Result<(), DecodeError> {
        let mut from = Reader::new(bytes.clone());
        let acl = read_acl(&mut from)?;
        from.finish()?;
        let stored = !acl.is_empty() && crate::acl::check_size(&acl).is_ok();
        if !stored || id <= self.last || *acl == *self.open.acl || self.by_bytes.get(&bytes).is_some() {
            return Err(DecodeError::Invalid { what: "ACL of a snapshot" });
        }
        self.last = id;
        self.add(Interned::new(id, Arc::from(acl), bytes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s11_a_list_lives_as_long_as_a_znode_has_it() {
        let mut acls = Acls::new();
        let read = [Acl::world(Permissions::READ)];
        assert_eq!(acls.take(&[Acl::world(Permissions::ALL)]), OPEN);
        let id = acls.take(&read);
        assert_eq!(acls.take(&read), id);
        acls.release(id);
        assert_eq!(*acls.get(id).acl, read);
        acls.release(id);
        assert!(acls.find(id).is_none());
        assert_ne!(acls.take(&read), id, "numbers are never used twice");
        assert_eq!(acls.iter().count(), 1);
    }
}

//! Carrying out what was prepared. Nothing here can fail.

use std::sync::Arc;

use crate::check::Prepared;
use crate::record::{Meta, Owner};
use crate::store::Store;
use crate::{Acl, Event, EventKind, OperationReply, SessionId, path};

/// One command being carried out: where, under which zxid, and what watchers will be told.
pub(crate) struct Writing<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) zxid: u64,
    pub(crate) events: Vec<Event>,
}

impl<'a> Writing<'a> {
    pub(crate) fn new(store: &'a mut Store, zxid: u64) -> Writing<'a> {
        Writing { store, zxid, events: Vec::new() }
    }

    pub(crate) fn carry_out(&mut self, prepared: &Prepared) -> OperationReply {
        match prepared {
            Prepared::Create { path, data, acl, owner, time_ms } => {
                self.create(path, data.as_deref(), acl, *owner, *time_ms)
            }
            Prepared::Delete { path } => {
                self.delete(path);
                OperationReply::Deleted
            }
            Prepared::SetData { path, data, version, time_ms } => {
                self.set_data(path, data.as_deref(), *version, *time_ms)
            }
            Prepared::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Prepared::Check => OperationReply::Checked,
        }
    }

    fn event(&mut self, kind: EventKind, path: &str, acl: u64) {
        let acl = Arc::clone(&self.store.acls.get(acl).acl);
        self.events.push(Event { zxid: self.zxid, kind, path: Arc::from(path), acl });
    }

    fn create(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        owner: Owner,
        time_ms: i64,
    ) -> OperationReply {
        let zxid = self.zxid;
        let (above, parent) = self.store.find(path::parent(path)).expect("prepared: the parent exists");
        let parent_acl = parent.meta().acl;
        let directory = self.store.adopt(above, |parent| {
            parent.children += 1;
            // Past the largest number it goes on with the smallest: names stay unique for as long again.
            parent.created = parent.created.wrapping_add(1);
            parent.pzxid = zxid;
        });
        let acl = self.store.acls.take(acl);
        let meta = Meta::new(zxid, time_ms, owner, acl);
        self.store.add(self.store.child(above, directory, path), &meta, data);
        let bytes = data.map_or(0, <[u8]>::len);
        self.store.quota_created(path, bytes);
        self.event(EventKind::Created, path, acl);
        self.event(EventKind::ChildrenChanged, path::parent(path), parent_acl);
        OperationReply::Created { path: path.to_owned(), stat: meta.stat(bytes) }
    }

    /// Deletes a znode that has no children. The parent's count of creations stays: sequential names never come again.
    pub(crate) fn delete(&mut self, path: &str) {
        let zxid = self.zxid;
        let (place, record) = self.store.find(path).expect("prepared: the znode exists");
        let acl = Arc::clone(self.store.acl(&record.meta()));
        let record = self.store.remove(place);
        let (above, _) = self.store.find(path::parent(path)).expect("a znode has a parent");
        let parent = self.store.change(above, |parent| {
            parent.children -= 1;
            parent.pzxid = zxid;
        });
        self.store.quota_deleted(path, record.data_bytes());
        self.events.push(Event { zxid, kind: EventKind::Deleted, path: Arc::from(path), acl });
        self.event(EventKind::ChildrenChanged, path::parent(path), parent.acl);
    }

    fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32, time_ms: i64) -> OperationReply {
        let zxid = self.zxid;
        let (place, _) = self.store.find(path).expect("prepared: the znode exists");
        let before = self.store.set_data(place, data);
        let meta = self.store.change(place, |meta| {
            meta.mzxid = zxid;
            meta.mtime = time_ms;
            meta.version = version;
        });
        let bytes = data.map_or(0, <[u8]>::len);
        self.store.quota_used(path, 0, bytes as i64 - before as i64);
        self.event(EventKind::DataChanged, path, meta.acl);
        OperationReply::DataSet(meta.stat(bytes))
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> OperationReply {
        let (place, record) = self.store.find(path).expect("prepared: the znode exists");
        let (before, bytes) = (record.meta().acl, record.data_bytes());
        let acl = self.store.acls.take(acl);
        let meta = self.store.change(place, |meta| {
            meta.acl = acl;
            meta.aversion = version;
        });
        self.store.acls.release(before);
        OperationReply::AclSet(meta.stat(bytes))
    }

    /// Ends a session: its ephemerals go in the order of their paths, all in this one entry (rule K6).
    pub(crate) fn close_session(&mut self, session: SessionId) {
        let mut paths: Vec<String> = self.store.ephemerals.of_session(session).map(str::to_owned).collect();
        if quorate_consensus::planted!("S01") {
            paths.pop();
        }
        for path in paths {
            self.delete(&path);
        }
        self.store.remove_session(session);
    }
}

//! Carrying out what was prepared. Nothing here can fail.

use std::sync::Arc;

use crate::check::Prepared;
use crate::meta::Meta;
use crate::store::{Place, Spot, Store};
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
            Prepared::Create { parent, path, data, acl, owner, time_ms } => {
                let acl = self.store.acls.take(acl);
                let meta = Meta::new(self.zxid, *time_ms, *owner, acl);
                self.create(*parent, path, &meta, data.as_deref())
            }
            Prepared::Delete { parent, spot, path } => {
                self.delete(*parent, *spot, path);
                OperationReply::Deleted
            }
            Prepared::SetData { spot, path, data, version, time_ms } => {
                self.set_data(Place { spot: *spot, path }, data.as_deref(), *version, *time_ms)
            }
            Prepared::SetAcl { spot, path, acl, version } => {
                self.set_acl(Place { spot: *spot, path }, acl, *version)
            }
            Prepared::Check => OperationReply::Checked,
        }
    }

    fn event(&mut self, kind: EventKind, path: &str, acl: u64) {
        let acl = Arc::clone(&self.store.acls.get(acl).acl);
        self.events.push(Event { zxid: self.zxid, kind, path: Arc::from(path), acl });
    }

    /// Creates a znode. Its ACL has been taken for it.
    fn create(&mut self, parent: Spot, path: &str, meta: &Meta, data: Option<&[u8]>) -> OperationReply {
        let zxid = self.zxid;
        let above = path::parent(path);
        let (directory, parent_meta) = self.store.adopt(Place { spot: parent, path: above }, |parent| {
            parent.children += 1;
            // Past the largest number it goes on with the smallest: names stay unique for as long again.
            let end = parent.created == i32::MAX && quorate_consensus::planted!("S08b");
            parent.created = parent.created.wrapping_add(i32::from(!end));
            parent.pzxid = zxid;
        });
        let spot = parent.child(directory, path::name(path));
        self.store.add(Place { spot, path }, meta, data);
        let bytes = data.map_or(0, <[u8]>::len);
        self.store.quota_created(path, bytes);
        self.event(EventKind::Created, path, meta.acl);
        self.event(EventKind::ChildrenChanged, above, parent_meta.acl);
        OperationReply::Created { path: path.to_owned(), stat: meta.stat(bytes) }
    }

    /// Deletes a znode that has no children. The parent's count of creations stays: sequential names never come again.
    fn delete(&mut self, parent: Spot, spot: Spot, path: &str) {
        let zxid = self.zxid;
        let (record, acl) = self.store.remove(Place { spot, path });
        let above = path::parent(path);
        let (_, parent) = self.store.change(Place { spot: parent, path: above }, |parent| {
            parent.children -= 1;
            parent.pzxid = zxid;
        });
        self.store.quota_deleted(path, record.data_bytes());
        self.events.push(Event { zxid, kind: EventKind::Deleted, path: Arc::from(path), acl });
        self.event(EventKind::ChildrenChanged, above, parent.acl);
    }

    /// Deletes a znode that exists and has no children.
    pub(crate) fn delete_found(&mut self, path: &str) {
        let (place, _) = self.store.find(path).expect("what is deleted exists");
        let (above, _) = self.store.find(path::parent(path)).expect("a znode has a parent");
        let (parent, spot) = (above.spot, place.spot);
        self.delete(parent, spot, path);
    }

    fn set_data(
        &mut self,
        place: Place<'_>,
        data: Option<&[u8]>,
        version: i32,
        time_ms: i64,
    ) -> OperationReply {
        let zxid = self.zxid;
        let (meta, before) = self.store.set_data(place, data, |meta| {
            meta.mzxid = zxid;
            meta.mtime = time_ms;
            meta.version = version;
        });
        let bytes = data.map_or(0, <[u8]>::len);
        self.store.quota_used(place.path, 0, bytes as i64 - before as i64);
        self.event(EventKind::DataChanged, place.path, meta.acl);
        OperationReply::DataSet(meta.stat(bytes))
    }

    fn set_acl(&mut self, place: Place<'_>, acl: &[Acl], version: i32) -> OperationReply {
        let acl = self.store.acls.take(acl);
        let (before, _) = self.store.change(place, |meta| {
            meta.acl = acl;
            meta.aversion = version;
        });
        self.store.acls.release(before.acl);
        let (_, record) = self.store.find(place.path).expect("prepared: the znode exists");
        OperationReply::AclSet(record.stat())
    }

    /// Ends a session: its ephemerals go in the order of their paths, all in this one entry (rule K6).
    pub(crate) fn close_session(&mut self, session: SessionId) {
        let mut paths: Vec<String> = self.store.ephemerals.of_session(session).map(str::to_owned).collect();
        if quorate_consensus::planted!("S01") {
            paths.pop();
        }
        for path in paths {
            self.delete_found(&path);
        }
        self.store.remove_session(session);
    }
}

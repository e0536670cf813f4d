//! The state, how a znode is found in it, and how one is put there, changed and taken out.
//!
//! ```text
//! nodes       (directory number of the parent, name) → record          one look-up for each name of a path
//! acls        number → list                                            each list once
//! sessions    id → session
//! ephemerals  (session, path)      containers  path, of those without children
//! ttls        (when its time is over, path), of those without children
//! ```
//!
//! All of it is persistent trees and small numbers, so a copy costs a few counters, and a copy is what a view is, and a snapshot, and
//! the scratch paper on which a multi is tried.

use std::sync::Arc;

use crate::acls::Acls;
use crate::digest::{hash_bytes, hash_words};
use crate::index::{Index, ordered};
use crate::meta::{Meta, Owner, data_hash};
use crate::record::{Record, write_directory};
use crate::tree::{Item, Tree};
use crate::{Acl, Permissions, SESSION_BYTES, Session, SessionId, ZNODE_BYTES, path};

/// The state of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) nodes: Tree<Record>,
    pub(crate) acls: Acls,
    pub(crate) sessions: Tree<Arc<Session>>,
    pub(crate) ephemerals: Index,
    /// Containers without children.
    pub(crate) containers: Index,
    /// Znodes with a time to live and without children, by when it is over.
    pub(crate) ttls: Index,
    /// The zxid of the last change.
    pub(crate) zxid: u64,
    /// The last directory number that was given.
    pub(crate) directories: u64,
    pub(crate) node_count: u64,
    pub(crate) session_count: u64,
    pub(crate) ephemeral_count: u64,
    /// How many quotas are set: limits that stand where limits belong.
    pub(crate) quotas: u64,
    /// Bytes of all paths and all data.
    pub(crate) data_bytes: u64,
    /// The sum of the hashes of all znodes and sessions.
    pub(crate) sum: u64,
}

/// Where a znode is, or would be, beside its name. Stays the same as long as the znode's parent exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The parent's directory number; zero for the root.
    pub(crate) directory: u64,
    /// Of the path, from the root down.
    pub(crate) hash: u64,
}

/// Where a znode is, or would be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'p> {
    pub(crate) spot: Spot,
    pub(crate) path: &'p str,
}

/// The root's directory number: it is the first to have a child, and always has one.
pub(crate) const ROOT_DIRECTORY: u64 = 1;

impl Spot {
    const ROOT: Spot = Spot { directory: 0, hash: 0x2007 };

    /// Where the child with this name is, below the znode that is here and has this directory number.
    pub(crate) fn child(self, directory: u64, name: &str) -> Spot {
        Spot { directory, hash: hash_bytes(self.hash, name.as_bytes()) }
    }
}

impl<'p> Place<'p> {
    pub(crate) const ROOT: Place<'static> = Place { spot: Spot::ROOT, path: "/" };

    fn key(&self) -> Vec<u8> {
        key(self.spot.directory, path::name(self.path))
    }
}

pub(crate) fn key(directory: u64, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + name.len());
    write_directory(directory, &mut key);
    key.extend_from_slice(name.as_bytes());
    key
}

impl Store {
    /// The tree as it is born: the root, `/zookeeper` and what belongs there, made by nobody at zxid 0.
    pub(crate) fn new() -> Store {
        let mut store = Store::empty();
        store.add(Place::ROOT, &Meta::new(0, 0, Owner::Nobody, 0), Some(b""));
        for path in ["/zookeeper", "/zookeeper/config", "/zookeeper/quota"] {
            store.add_born(path);
        }
        store
    }

    /// Without even a root.
    pub(crate) fn empty() -> Store {
        Store {
            nodes: Tree::default(),
            acls: Acls::new(),
            sessions: Tree::default(),
            ephemerals: Index::default(),
            containers: Index::default(),
            ttls: Index::default(),
            zxid: 0,
            directories: 0,
            node_count: 0,
            session_count: 0,
            ephemeral_count: 0,
            quotas: 0,
            data_bytes: 0,
            sum: 0,
        }
    }

    /// The parent counts these children, but not their creation: ZooKeeper's root starts with cversion −1.
    fn add_born(&mut self, path: &str) {
        let mut meta = Meta::new(0, 0, Owner::Nobody, 0);
        if path == "/zookeeper/config" {
            // Who may write it is for the administrator to say. ZooKeeper sets this ACL "to version −1", and so it shows.
            meta.acl = self.acls.take(&[Acl::world(Permissions::READ)]);
            meta.aversion = -1;
        }
        let (above, _) = self.find(path::parent(path)).expect("parents come first");
        let (directory, _) = self.adopt(above, |parent| parent.children += 1);
        self.add(Place { spot: above.spot.child(directory, path::name(path)), path }, &meta, Some(b""));
    }

    /// The znode at `path`, which may be any string.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<(Place<'p>, &Record)> {
        if path.is_empty() || path == "/" {
            return Some((Place::ROOT, self.nodes.get(&Place::ROOT.key())?));
        }
        let (mut spot, mut directory, mut found) = (Spot::ROOT, Some(ROOT_DIRECTORY), None);
        let mut key = Vec::with_capacity(64);
        for name in path.strip_prefix('/')?.split('/') {
            if let Some(record) = found {
                directory = Record::meta(record).directory;
            }
            let number = directory?;
            spot = spot.child(number, name);
            key.clear();
            write_directory(number, &mut key);
            key.extend_from_slice(name.as_bytes());
            found = Some(self.nodes.get(&key)?);
        }
        found.map(|record| (Place { spot, path }, record))
    }

    /// The child with this name of the znode with this directory number.
    pub(crate) fn child(&self, directory: Option<u64>, name: &str) -> Option<&Record> {
        self.nodes.get(&key(directory?, name))
    }

    /// The children of a znode, by name.
    pub(crate) fn children(&self, directory: Option<u64>) -> impl Iterator<Item = &Record> {
        directory.into_iter().flat_map(|directory| {
            let prefix = key(directory, "");
            let from = self.nodes.iter_from(&prefix);
            from.take_while(move |record| record.key().starts_with(&prefix))
        })
    }

    pub(crate) fn acl(&self, meta: &Meta) -> &Arc<[Acl]> {
        &self.acls.get(meta.acl).acl
    }

    fn hash(&self, place: Place<'_>, meta: &Meta) -> u64 {
        meta.hash(place.spot.hash, self.acls.get(meta.acl).hash)
    }

    /// Puts a new znode in. Its ACL has been taken for it.
    pub(crate) fn add(&mut self, place: Place<'_>, meta: &Meta, data: Option<&[u8]>) {
        let replaced = self.nodes.insert(Record::new(&place.key(), meta, data));
        debug_assert!(replaced.is_none(), "{} exists", place.path);
        self.count_in(place, meta, data);
    }

    /// Counts a znode that is in the tree, and enters it where those of its kind are listed.
    pub(crate) fn count_in(&mut self, place: Place<'_>, meta: &Meta, data: Option<&[u8]>) {
        self.sum =
            self.sum.wrapping_add(self.hash(place, meta)).wrapping_add(data_hash(place.spot.hash, data));
        self.node_count += 1;
        self.data_bytes += (place.path.len() + data.map_or(0, <[u8]>::len)) as u64;
        if let Owner::Session(session) = meta.owner {
            self.ephemerals.insert(session.0, place.path);
            self.ephemeral_count += 1;
            self.count_ephemeral(session, 1);
        }
        self.list(place.path, meta);
    }

    /// Takes a znode out; what it was, and its ACL.
    pub(crate) fn remove(&mut self, place: Place<'_>) -> (Record, Arc<[Acl]>) {
        let record = self.nodes.remove(&place.key()).expect("what is removed exists");
        let (meta, data) = record.open();
        self.sum =
            self.sum.wrapping_sub(self.hash(place, &meta)).wrapping_sub(data_hash(place.spot.hash, data));
        self.node_count -= 1;
        self.data_bytes -= (place.path.len() + data.map_or(0, <[u8]>::len)) as u64;
        if let Owner::Session(session) = meta.owner {
            self.ephemerals.remove(session.0, place.path);
            self.ephemeral_count -= 1;
            self.count_ephemeral(session, -1);
        }
        self.unlist(place.path, &meta);
        let acl = Arc::clone(self.acl(&meta));
        self.acls.release(meta.acl);
        (record, acl)
    }

    /// Changes a znode, but not its data; what it was, and what it is then.
    pub(crate) fn change(&mut self, place: Place<'_>, change: impl FnOnce(&mut Meta)) -> (Meta, Meta) {
        let key = place.key();
        let (before, meta) = self.nodes.alter(&key, |record| {
            let (before, data) = record.open();
            let mut meta = before;
            change(&mut meta);
            *record = Record::new(&key, &meta, data);
            (before, meta)
        });
        self.recount(place, &before, &meta);
        (before, meta)
    }

    /// Changes a znode that is to have a child: it gets a directory number if it has none. The number, and what it is then.
    pub(crate) fn adopt(&mut self, place: Place<'_>, change: impl FnOnce(&mut Meta)) -> (u64, Meta) {
        let next = self.directories + 1;
        let (_, meta) = self.change(place, |meta| {
            meta.directory.get_or_insert(next);
            change(meta);
        });
        let directory = meta.directory.expect("it was given one");
        self.directories = self.directories.max(directory);
        (directory, meta)
    }

    /// Sets the data of a znode, and changes the rest; what it is then, and how many bytes of data it had.
    pub(crate) fn set_data(
        &mut self,
        place: Place<'_>,
        data: Option<&[u8]>,
        change: impl FnOnce(&mut Meta),
    ) -> (Meta, usize) {
        let key = place.key();
        let (before, meta, bytes, hash) = self.nodes.alter(&key, |record| {
            let (before, old) = record.open();
            let mut meta = before;
            change(&mut meta);
            let result = (before, meta, old.map_or(0, <[u8]>::len), data_hash(place.spot.hash, old));
            *record = Record::new(&key, &meta, data);
            result
        });
        self.sum = self.sum.wrapping_sub(hash).wrapping_add(data_hash(place.spot.hash, data));
        self.data_bytes = self.data_bytes - bytes as u64 + data.map_or(0, <[u8]>::len) as u64;
        self.recount(place, &before, &meta);
        (meta, bytes)
    }

    /// A znode has changed.
    fn recount(&mut self, place: Place<'_>, before: &Meta, meta: &Meta) {
        self.sum = self.sum.wrapping_sub(self.hash(place, before)).wrapping_add(self.hash(place, meta));
        if before != meta && !matches!(meta.owner, Owner::Nobody | Owner::Session(_)) {
            self.unlist(place.path, before);
            self.list(place.path, meta);
        }
    }

    /// Enters a znode that may be reaped where the steward looks.
    fn list(&mut self, path: &str, meta: &Meta) {
        match meta.owner {
            Owner::Container if meta.children == 0 => self.containers.insert(0, path),
            Owner::Ttl(ms) if meta.children == 0 => self.ttls.insert(meta.mtime.saturating_add(ms), path),
            Owner::Container | Owner::Ttl(_) | Owner::Nobody | Owner::Session(_) => {}
        }
    }

    fn unlist(&mut self, path: &str, meta: &Meta) {
        match meta.owner {
            Owner::Container if meta.children == 0 => self.containers.remove(0, path),
            Owner::Ttl(ms) if meta.children == 0 => self.ttls.remove(meta.mtime.saturating_add(ms), path),
            Owner::Container | Owner::Ttl(_) | Owner::Nobody | Owner::Session(_) => {}
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.sessions.get(&ordered(id.0))
    }

    /// Puts a session in, or changes it.
    pub(crate) fn put_session(&mut self, session: Session) {
        self.sum = self.sum.wrapping_add(session.hash());
        match self.sessions.insert(Arc::new(session)) {
            Some(replaced) => self.sum = self.sum.wrapping_sub(replaced.hash()),
            None => self.session_count += 1,
        }
    }

    pub(crate) fn remove_session(&mut self, id: SessionId) {
        if let Some(removed) = self.sessions.remove(&ordered(id.0)) {
            self.sum = self.sum.wrapping_sub(removed.hash());
            self.session_count -= 1;
        }
    }

    /// A write of the session's owner has come in its turn.
    pub(crate) fn advance(&mut self, id: SessionId) {
        if self.session(id).is_some() {
            let change = self.sessions.alter(&ordered(id.0), |session| Arc::make_mut(session).advance());
            self.sum = self.sum.wrapping_add(change);
        }
    }

    fn count_ephemeral(&mut self, id: SessionId, change: i32) {
        if let Some(session) = self.session(id) {
            let mut session = Session::clone(session);
            session.ephemerals = session.ephemerals.wrapping_add_signed(change);
            self.sessions.insert(Arc::new(session));
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        hash_words(0x200, &[self.sum, self.zxid, self.node_count, self.session_count])
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.data_bytes + self.node_count * ZNODE_BYTES + self.session_count * SESSION_BYTES
    }
}

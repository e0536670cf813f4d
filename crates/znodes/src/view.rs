//! A stable picture of the tree, for readers.

use std::sync::Arc;

use bytes::Bytes;

use crate::meta::Meta;
use crate::record::Record;
use crate::store::Store;
use crate::{
    Acl, EventKind, Identity, Permissions, Quota, Session, SessionId, Stat, WatchKind, ZnodeError, acl,
    allows,
};

/// The tree as it stood when the view was taken. Cheap to copy, safe to keep, readable from any thread; the writer never waits for it.
/// An old view keeps what has been changed since in memory.
///
/// Whoever reads brings the identities of its connection. Paths may be any strings; what is no path is not found.
#[derive(Clone, Debug)]
pub struct View(Arc<Store>);

/// A container without children, for the steward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptyContainer<'a> {
    /// Where it is.
    pub path: &'a str,
    /// Has it ever had a child? Then it may go.
    pub used: bool,
    /// When it was last written, in milliseconds: one that was never used goes some time after that.
    pub mtime: i64,
}

impl View {
    pub(crate) fn new(store: Store) -> View {
        View(Arc::new(store))
    }

    /// The zxid of the last change.
    #[must_use]
    pub fn zxid(&self) -> u64 {
        self.0.zxid
    }

    /// May a client that has seen this zxid be served from here? Not if it has seen more than is here (rule K3): it would go back
    /// in time. ZooKeeper closes the connection without an answer, and the client tries the next server.
    #[must_use]
    pub fn admits(&self, last_zxid_seen: i64) -> bool {
        last_zxid_seen <= self.0.zxid as i64 || quorate_consensus::planted!("S05")
    }

    /// The stat of a znode.
    ///
    /// # Errors
    /// [`BadArguments`](ZnodeError::BadArguments) for a NUL, [`NoNode`](ZnodeError::NoNode), [`NoAuth`](ZnodeError::NoAuth) without READ.
    pub fn exists(&self, path: &str, identities: &[Identity]) -> Result<Stat, ZnodeError> {
        if path.contains('\0') {
            return Err(ZnodeError::BadArguments);
        }
        self.open(path, Permissions::READ, identities).map(Record::stat)
    }

    /// The data and the stat of a znode.
    ///
    /// # Errors
    /// [`NoNode`](ZnodeError::NoNode), [`NoAuth`](ZnodeError::NoAuth) without READ.
    pub fn get_data(&self, path: &str, identities: &[Identity]) -> Result<(Option<Bytes>, Stat), ZnodeError> {
        let record = self.open(path, Permissions::READ, identities)?;
        Ok((record.data(), record.stat()))
    }

    /// The names of a znode's children, in order, and its stat.
    ///
    /// # Errors
    /// [`NoNode`](ZnodeError::NoNode), [`NoAuth`](ZnodeError::NoAuth) without READ.
    pub fn get_children(
        &self,
        path: &str,
        identities: &[Identity],
    ) -> Result<(Vec<String>, Stat), ZnodeError> {
        let record = self.open(path, Permissions::READ, identities)?;
        let names = self.0.children(record.meta().directory).map(|child| child.name().to_owned()).collect();
        Ok((names, record.stat()))
    }

    /// The ACL of a znode and its stat. Who may read but not set it sees no hashes of passwords.
    ///
    /// # Errors
    /// [`NoNode`](ZnodeError::NoNode), [`NoAuth`](ZnodeError::NoAuth) with neither READ nor ADMIN.
    pub fn get_acl(&self, path: &str, identities: &[Identity]) -> Result<(Vec<Acl>, Stat), ZnodeError> {
        let either = Permissions(Permissions::READ.0 | Permissions::ADMIN.0);
        let record = self.open(path, either, identities)?;
        let list = self.0.acl(&record.meta());
        let list =
            if allows(list, Permissions::ADMIN, identities) { list.to_vec() } else { acl::masked(list) };
        Ok((list, record.stat()))
    }

    /// A session's ephemerals whose paths begin with `prefix`, in order. A blank prefix, or `/`, is that of all.
    #[must_use]
    pub fn get_ephemerals(&self, session: SessionId, prefix: &str) -> Vec<String> {
        // What Java's `trim` takes off: blanks and every control character before them.
        let all = matches!(prefix.trim_matches(|c| c <= ' '), "" | "/");
        let paths = self.0.ephemerals.of_session(session);
        paths.filter(|path| all || path.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// How many znodes there are below this one. Takes as long as they are many.
    ///
    /// # Errors
    /// [`NoNode`](ZnodeError::NoNode), [`NoAuth`](ZnodeError::NoAuth) without READ.
    pub fn get_all_children_number(&self, path: &str, identities: &[Identity]) -> Result<u64, ZnodeError> {
        let record = self.open(path, Permissions::READ, identities)?;
        if path == "/" {
            return Ok(self.0.node_count - 1);
        }
        // The empty string is the root, too; below it ZooKeeper counts the root that is called "/".
        let (mut count, mut open) = (u64::from(path.is_empty()), vec![record.meta().directory]);
        while let Some(directory) = open.pop() {
            for child in self.0.children(directory) {
                count += 1;
                let meta = child.meta();
                if meta.children > 0 {
                    open.push(meta.directory);
                }
            }
        }
        Ok(count)
    }

    fn open(&self, path: &str, wanted: Permissions, identities: &[Identity]) -> Result<&Record, ZnodeError> {
        let (_, record) = self.0.find(path).ok_or(ZnodeError::NoNode)?;
        let meta: Meta = record.meta();
        if allows(self.0.acl(&meta), wanted, identities) { Ok(record) } else { Err(ZnodeError::NoAuth) }
    }

    /// The stat and the ACL of a znode, whoever asks: for the front end itself.
    #[must_use]
    pub fn look(&self, path: &str) -> Option<(Stat, Arc<[Acl]>)> {
        let (_, record) = self.0.find(path)?;
        Some((record.stat(), Arc::clone(self.0.acl(&record.meta()))))
    }

    /// What a watch would have been told since `relative_zxid`, if anything (rule K5): a client that reconnects names the watches it
    /// had, and what it missed. None: the watch is set again. Who may not read the znode is told nothing; see [`View::look`].
    #[must_use]
    pub fn missed(&self, kind: WatchKind, path: &str, relative_zxid: i64) -> Option<EventKind> {
        let stat = self.0.find(path).map(|(_, record)| record.stat());
        let is_newer = |zxid: u64| zxid as i64 > relative_zxid;
        // ZOOKEEPER-3145: a znode's pzxid that is not what it was.
        let pzxid = |stat: &Stat| if quorate_consensus::planted!("S03") { stat.czxid } else { stat.pzxid };
        match (kind, stat) {
            (WatchKind::Data | WatchKind::Children, None) => Some(EventKind::Deleted),
            (WatchKind::Data, Some(stat)) => is_newer(stat.mzxid).then_some(EventKind::DataChanged),
            (WatchKind::Children, Some(stat)) => is_newer(pzxid(&stat)).then_some(EventKind::ChildrenChanged),
            (WatchKind::Exists, Some(_)) => Some(EventKind::Created),
            (WatchKind::Exists, None) => None,
        }
    }

    /// A session.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.0.session(id).map(|session| &**session)
    }

    /// All sessions, by id: what a steward that begins has to watch.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.0.sessions.iter().map(|session| &**session)
    }

    /// All ephemerals, by session and path.
    pub fn ephemerals(&self) -> impl Iterator<Item = (SessionId, &str)> {
        self.0.ephemerals.iter().map(|(session, path)| (SessionId(session), path))
    }

    /// The containers without children, by path: those that the steward may have to remove.
    pub fn empty_containers(&self) -> impl Iterator<Item = EmptyContainer<'_>> {
        self.0.containers.iter().filter_map(|(_, path)| {
            let (used, mtime) = self.0.find(path)?.1.container_state();
            Some(EmptyContainer { path, used, mtime })
        })
    }

    /// The znodes without children whose time to live is over at `now_ms`, the longest over first. Takes as long as they are many,
    /// however many others there are.
    pub fn due_ttls(&self, now_ms: i64) -> impl Iterator<Item = &str> {
        self.0.ttls.iter().take_while(move |(over_ms, _)| *over_ms < now_ms).map(|(_, path)| path)
    }

    /// When the next time to live is over, in milliseconds, of those without children.
    #[must_use]
    pub fn next_ttl_ms(&self) -> Option<i64> {
        self.0.ttls.iter().next().map(|(over_ms, _)| over_ms)
    }

    /// The quota that counts for `path`, and what is used of it.
    #[must_use]
    pub fn quota(&self, path: &str) -> Option<Quota> {
        self.0.quota(path)
    }

    /// How many znodes there are, the root counted once. ZooKeeper's own count has it twice.
    #[must_use]
    pub fn znode_count(&self) -> u64 {
        self.0.node_count
    }

    /// How many of them are ephemeral.
    #[must_use]
    pub fn ephemeral_count(&self) -> u64 {
        self.0.ephemeral_count
    }

    /// How many sessions there are.
    #[must_use]
    pub fn session_count(&self) -> u64 {
        self.0.session_count
    }

    /// Bytes of all paths and all data: ZooKeeper's "approximate data size".
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.0.data_bytes
    }

    /// How many different ACLs the znodes have, the open one counted.
    #[must_use]
    pub fn acl_count(&self) -> u64 {
        self.0.acls.iter().count() as u64 + 1
    }

    /// The digest of the whole state, as [`StateMachine::digest`](quorate_consensus::StateMachine::digest).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.digest()
    }
}

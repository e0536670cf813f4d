//! What changes, for those who watch.

use std::sync::Arc;

use crate::{Acl, Identity, Permissions, allows};

/// One thing that happened to one path. Which watches it fires:
///
/// | event | one-shot watches set by exists, getData | by getChildren | persistent | recursive, here or above |
/// |---|---|---|---|---|
/// | Created | fired | – | told | told |
/// | Deleted | fired | fired; a connection with both is told once | told once | told |
/// | DataChanged | fired | – | told | told |
/// | ChildrenChanged | – | fired | told | – |
///
/// The events of one command come in the order in which ZooKeeper makes them: a creation is Created, then ChildrenChanged of the
/// parent; a deletion Deleted, then ChildrenChanged. Setting an ACL, and the book-keeping of quotas, are no events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The change's zxid.
    pub zxid: u64,
    /// What happened.
    pub kind: EventKind,
    /// To which path.
    pub path: Arc<str>,
    /// The ACL that the znode had then; a deleted one's last.
    pub acl: Arc<[Acl]>,
}

impl Event {
    /// May somebody with these identities be told? Who may not read the znode is not.
    #[must_use]
    pub fn readable_by(&self, identities: &[Identity]) -> bool {
        allows(&self.acl, Permissions::READ, identities)
    }
}

/// What happened to a path. The numbers are those of ZooKeeper's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// The znode was created.
    Created = 1,
    /// The znode was deleted: by a client, with its session, or by the steward.
    Deleted = 2,
    /// Its data was set.
    DataChanged = 3,
    /// A child was created or deleted.
    ChildrenChanged = 4,
}

/// A one-shot watch that a client brings along when it reconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// Set by getData, or by exists on a znode that was there.
    Data,
    /// Set by exists on a znode that was not there.
    Exists,
    /// Set by getChildren.
    Children,
}

//! What is refused, in ZooKeeper's order, and what a request becomes that is not.
//!
//! | operation | is checked for, in this order |
//! |---|---|
//! | create | time to live · session · path · ACL · parent · CREATE on it · path with number · exists · parent ephemeral · quota's data · quota · limits |
//! | delete | session · path · parent · DELETE on it · znode · version · children |
//! | set data | session · path · znode · WRITE · quota's data · quota · version |
//! | set ACL | session · path · ACL · znode · ADMIN · version |
//! | check | session · path · znode · READ · version |

use bytes::Bytes;

use crate::limits::{CHILDREN_MAX, EPHEMERALS_MAX, PATH_BYTES_MAX, TTL_MS_MAX};
use crate::meta::{Meta, Owner};
use crate::path::{check_path, is_reserved, sequence, split};
use crate::record::Record;
use crate::store::{Spot, Store};
use crate::{
    Acl, Caller, Create, CreateMode, LimitKind, Operation, Permissions, Reap, ZnodeError, acl, allows, quota,
};

/// A request that will be carried out: what depends on the state has been found out, and nothing can fail any more.
#[derive(Debug)]
pub(crate) enum Prepared {
    Create { parent: Spot, path: String, data: Option<Bytes>, acl: Vec<Acl>, owner: Owner, time_ms: i64 },
    Delete { parent: Spot, spot: Spot, path: String },
    SetData { spot: Spot, path: String, data: Option<Bytes>, version: i32, time_ms: i64 },
    SetAcl { spot: Spot, path: String, acl: Vec<Acl>, version: i32 },
    Check,
}

impl Prepared {
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, Prepared::Check)
    }
}

/// The version after this one, if it is the one expected. Never −1, which nobody could ask for (ZOOKEEPER-4743).
fn next_version(current: i32, expected: i32) -> Result<i32, ZnodeError> {
    if expected != -1 && expected != current {
        return Err(ZnodeError::BadVersion);
    }
    match current.wrapping_add(1) {
        -1 if !quorate_consensus::planted!("S08") => Ok(0),
        next => Ok(next),
    }
}

impl Store {
    /// What this operation does now.
    pub(crate) fn prepare(&self, caller: &Caller, operation: Operation) -> Result<Prepared, ZnodeError> {
        match operation {
            Operation::Create(create) => self.prepare_create(caller, create),
            Operation::Delete { path, version } => self.prepare_delete(caller, path, version),
            Operation::SetData { path, data, version } => self.prepare_set_data(caller, path, data, version),
            Operation::SetAcl { path, acl, version } => {
                self.check_session(caller)?;
                check_path(&path)?;
                let acl = acl::settle(&acl, &caller.identities)?;
                let (spot, meta, _) = self.open(&path)?;
                self.check_acl(caller, &meta, Permissions::ADMIN)?;
                let version = next_version(meta.aversion, version)?;
                Ok(Prepared::SetAcl { spot, path, acl, version })
            }
            Operation::Check { path, version } => {
                self.check_session(caller)?;
                check_path(&path)?;
                let (_, meta, _) = self.open(&path)?;
                self.check_acl(caller, &meta, Permissions::READ)?;
                next_version(meta.version, version)?;
                Ok(Prepared::Check)
            }
            Operation::Refused(error) => Err(error),
        }
    }

    fn check_session(&self, caller: &Caller) -> Result<(), ZnodeError> {
        match self.session(caller.session) {
            None => Err(ZnodeError::SessionExpired),
            Some(session) if session.owner != caller.owner => Err(ZnodeError::SessionMoved),
            Some(_) => Ok(()),
        }
    }

    /// Where a znode is, what it is, and how many bytes of data it has.
    fn open(&self, path: &str) -> Result<(Spot, Meta, usize), ZnodeError> {
        let (place, record) = self.find(path).ok_or(ZnodeError::NoNode)?;
        let (meta, data) = record.open();
        Ok((place.spot, meta, data.map_or(0, <[u8]>::len)))
    }

    fn check_acl(&self, caller: &Caller, meta: &Meta, wanted: Permissions) -> Result<(), ZnodeError> {
        if allows(self.acl(meta), wanted, &caller.identities) { Ok(()) } else { Err(ZnodeError::NoAuth) }
    }

    fn prepare_create(&self, caller: &Caller, create: Create) -> Result<Prepared, ZnodeError> {
        let Create { mut path, data, acl, mode, ttl_ms } = create;
        let ttl_fits = if mode.has_ttl() { (1..=TTL_MS_MAX).contains(&ttl_ms) } else { ttl_ms < 0 };
        if !ttl_fits {
            return Err(ZnodeError::BadArguments);
        }
        self.check_session(caller)?;
        let (above, _) = split(&path)?;
        let acl = acl::settle(&acl, &caller.identities)?;
        let above = above.len();
        let (parent, meta, _) = self.open(&path[..above])?;
        self.check_acl(caller, &meta, Permissions::CREATE)?;
        if mode.is_sequential() {
            // As if the children that there are were all that there ever were: names would come again.
            let next = if quorate_consensus::planted!("S17") { meta.children as i32 } else { meta.created };
            path.push_str(&sequence(next));
        }
        check_path(&path)?;
        // The root is the child of nothing, with no name.
        if path == "/" || self.child(meta.directory, &path[above + 1..]).is_some() {
            return Err(ZnodeError::NodeExists);
        }
        if let Owner::Session(_) = meta.owner {
            return Err(ZnodeError::NoChildrenForEphemerals);
        }
        quota::check_data(&path, data.as_deref())?;
        if caller.enforce_quota {
            self.check_quota(&path, 1, data.as_ref().map_or(0, Bytes::len) as i64)?;
        }
        self.check_limits(caller, mode, &path, &meta)?;
        let owner = match mode {
            CreateMode::Persistent | CreateMode::PersistentSequential => Owner::Nobody,
            CreateMode::Ephemeral | CreateMode::EphemeralSequential => Owner::Session(caller.session),
            CreateMode::Container | CreateMode::ContainerSequential => Owner::Container,
            CreateMode::Ttl | CreateMode::TtlSequential => Owner::Ttl(ttl_ms),
        };
        Ok(Prepared::Create { parent, path, data, acl, owner, time_ms: caller.time_ms })
    }

    /// Our own limits come last: what ZooKeeper refuses is refused as ZooKeeper does.
    fn check_limits(
        &self,
        caller: &Caller,
        mode: CreateMode,
        path: &str,
        parent: &Meta,
    ) -> Result<(), ZnodeError> {
        let ephemerals = self.session(caller.session).map_or(0, |session| session.ephemerals);
        let limit = if path.len() > PATH_BYTES_MAX {
            LimitKind::Path
        } else if parent.children >= CHILDREN_MAX {
            LimitKind::Children
        } else if mode.is_ephemeral() && ephemerals >= EPHEMERALS_MAX {
            LimitKind::Ephemerals
        } else {
            return Ok(());
        };
        Err(ZnodeError::Limit(limit))
    }

    fn prepare_delete(&self, caller: &Caller, path: String, version: i32) -> Result<Prepared, ZnodeError> {
        self.check_session(caller)?;
        let (above, _) = split(&path)?;
        if is_reserved(&path) {
            return Err(ZnodeError::BadArguments);
        }
        let (parent, above, _) = self.open(above)?;
        self.check_acl(caller, &above, Permissions::DELETE)?;
        let (spot, meta, _) = self.open(&path)?;
        next_version(meta.version, version)?;
        if meta.children > 0 {
            return Err(ZnodeError::NotEmpty);
        }
        Ok(Prepared::Delete { parent, spot, path })
    }

    fn prepare_set_data(
        &self,
        caller: &Caller,
        path: String,
        data: Option<Bytes>,
        version: i32,
    ) -> Result<Prepared, ZnodeError> {
        self.check_session(caller)?;
        check_path(&path)?;
        let (spot, meta, bytes) = self.open(&path)?;
        self.check_acl(caller, &meta, Permissions::WRITE)?;
        quota::check_data(&path, data.as_deref())?;
        if caller.enforce_quota {
            self.check_quota(&path, 0, data.as_ref().map_or(0, Bytes::len) as i64 - bytes as i64)?;
        }
        let version = next_version(meta.version, version)?;
        Ok(Prepared::SetData { spot, path, data, version, time_ms: caller.time_ms })
    }

    /// May the steward remove this znode? It looked some time ago; what it saw may have changed.
    pub(crate) fn check_reap(&self, reap: &Reap) -> Result<(), ZnodeError> {
        split(&reap.path)?;
        if is_reserved(&reap.path) {
            return Err(ZnodeError::BadArguments);
        }
        let (_, meta, _) = self.open(&reap.path)?;
        if meta.children > 0 {
            return Err(ZnodeError::NotEmpty);
        }
        if is_due(&meta, reap.time_ms, reap.unused_ms) { Ok(()) } else { Err(ZnodeError::NotDue) }
    }
}

fn is_due(meta: &Meta, time_ms: i64, unused_ms: i64) -> bool {
    let idle_ms = time_ms.saturating_sub(meta.mtime);
    match meta.owner {
        Owner::Container => meta.created != 0 || unused_ms >= 0 && idle_ms > unused_ms,
        Owner::Ttl(ms) => idle_ms > ms,
        Owner::Nobody | Owner::Session(_) => false,
    }
}

impl Record {
    /// A container that the steward may look at: has it ever had a child, and when was it last written?
    pub(crate) fn container_state(&self) -> (bool, i64) {
        let meta = self.meta();
        (meta.created != 0, meta.mtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s08_no_version_is_the_one_that_means_any() {
        assert_eq!(next_version(0, -1), Ok(1));
        assert_eq!(next_version(7, 7), Ok(8));
        assert_eq!(next_version(7, 6), Err(ZnodeError::BadVersion));
        assert_eq!(next_version(i32::MAX, -1), Ok(i32::MIN));
        assert_eq!(next_version(-2, -1), Ok(0));
        assert_eq!(next_version(-1, -1), Ok(0), "an aversion may start there");
        assert_eq!(next_version(i32::MIN, i32::MIN), Ok(i32::MIN + 1));
    }

    #[test]
    fn z10_what_may_be_reaped_follows_from_kind_use_and_time() {
        let meta = |owner, created| Meta { created, ..Meta::new(1, 100, owner, 0) };
        assert!(is_due(&meta(Owner::Container, 1), 0, -1));
        assert!(is_due(&meta(Owner::Container, i32::MIN), 0, -1), "after an overflow too");
        assert!(!is_due(&meta(Owner::Container, 0), i64::MAX, -1));
        assert!(is_due(&meta(Owner::Container, 0), 151, 50) && !is_due(&meta(Owner::Container, 0), 150, 50));
        assert!(is_due(&meta(Owner::Ttl(10), 0), 111, -1) && !is_due(&meta(Owner::Ttl(10), 0), 110, -1));
        assert!(!is_due(&meta(Owner::Ttl(10), 0), i64::MIN, -1), "a clock that went back");
    }
}

//! The oracle's leases: a map, and for the keys of a lease a look at every key there is.

use bytes::Bytes;
use quorate_consensus::Position;
use quorate_keyspace::*;

use super::{Answer, Model, Work, delete_now};

impl Model {
    /// The keys that hang on a lease, in order.
    pub fn lease_keys(&self, id: LeaseId) -> Vec<Bytes> {
        let now = self.states.last().unwrap();
        now.values().filter(|kv| id.0 != 0 && kv.lease == id).map(|kv| kv.key.clone()).collect()
    }

    pub(super) fn run_lease(&mut self, at: Position, command: &Command, work: &mut Work) -> Answer<Reply> {
        match command {
            Command::LeaseGrant { id, ttl_s } => {
                if *ttl_s > 9_000_000_000 {
                    return Err(KeyspaceError::LeaseTtlTooLarge);
                }
                if id.0 == 0 || *ttl_s < 1 {
                    return Err(KeyspaceError::Malformed);
                }
                if self.leases.contains_key(id) {
                    return Err(KeyspaceError::LeaseExists);
                }
                let lease = Lease { id: *id, ttl_s: *ttl_s, granted: at.index.0, remaining_s: 0 };
                self.leases.insert(*id, lease);
                work.news.push(News::Granted(lease));
                Ok(Reply::LeaseGrant(lease))
            }
            Command::LeaseRevoke { id } => {
                if !self.leases.contains_key(id) {
                    return Err(KeyspaceError::LeaseNotFound(*id));
                }
                self.end(*id, work);
                Ok(Reply::LeaseRevoke)
            }
            Command::LeaseExpire { epoch, leases } => {
                if *epoch != at.epoch.0 {
                    return Err(KeyspaceError::StaleSteward);
                }
                let mut ended = 0;
                for (id, granted) in leases {
                    if self.leases.get(id).is_some_and(|lease| lease.granted == *granted) {
                        self.end(*id, work);
                        ended += 1;
                    }
                }
                Ok(Reply::LeaseExpire(ended))
            }
            Command::LeaseCheckpoint { epoch, checkpoints } => {
                if checkpoints.iter().any(|(_, _, remaining_s)| *remaining_s < 0) {
                    return Err(KeyspaceError::Malformed);
                }
                if *epoch != at.epoch.0 {
                    return Err(KeyspaceError::StaleSteward);
                }
                for (id, granted, remaining_s) in checkpoints {
                    let Some(lease) = self.leases.get_mut(id) else { continue };
                    if lease.granted == *granted {
                        lease.remaining_s = if *remaining_s >= lease.ttl_s { 0 } else { *remaining_s };
                        work.news.push(News::Checkpointed(*lease));
                    }
                }
                Ok(Reply::LeaseCheckpoint)
            }
            _ => unreachable!(),
        }
    }

    fn end(&mut self, id: LeaseId, work: &mut Work) {
        for kv in work.now.clone().into_values().filter(|kv| kv.lease == id) {
            delete_now(work, &DeleteRange { key: kv.key, ..DeleteRange::default() });
        }
        let granted = self.leases.remove(&id).unwrap().granted;
        work.news.push(News::Ended { id, granted });
    }
}

//! What the state says of the keys, on its way to the front end of its host: as `quorate_etcd`'s feed keeps it, with less room.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{NodeId, Role, RoleChange};
use quorate_service::{
    KeysNews,
    keyspace::{Event, News},
    placement::shards::ShardMap,
};

/// What those are told who deal with leases.
#[derive(Debug)]
pub(super) enum OfLeases {
    News(News),
    /// More happened than could be kept.
    Lost,
    Role(RoleChange),
    Word(NodeId, Bytes),
}

/// What one batch of entries did.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) before: u64,
    pub(super) revision: u64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug)]
pub(super) struct Feed {
    /// Changes, and news of leases, that may wait.
    waiting_max: usize,
    /// The revision of the store by now.
    pub(super) newest: u64,
    /// How the keys are divided, once they are.
    pub(super) map: Option<Arc<ShardMap>>,
    /// Somebody watches.
    watched: bool,
    events: usize,
    changes: Vec<Change>,
    leads: bool,
    of_leases: VecDeque<OfLeases>,
    /// How often something was lost since this was last looked at.
    pub(super) lost: u64,
    /// How often a snapshot took the place of keys that somebody watched.
    pub(super) replaced: u64,
}

impl Feed {
    pub(super) fn new(waiting_max: usize) -> Feed {
        Feed {
            waiting_max,
            newest: 0,
            map: None,
            watched: false,
            events: 0,
            changes: Vec::new(),
            leads: false,
            of_leases: VecDeque::new(),
            lost: 0,
            replaced: 0,
        }
    }

    pub(super) fn hear(&mut self, news: KeysNews) {
        match news {
            KeysNews::Applied { before, revision, news } => {
                let mut events = Vec::new();
                for news in news {
                    match news {
                        News::Changed(event) => events.push(event),
                        // Nobody has users in here.
                        News::AuthChanged { .. } | News::Authenticated { .. } => {}
                        news => self.tell(OfLeases::News(news)),
                    }
                }
                self.newest = revision;
                if self.watched && self.events < self.waiting_max {
                    self.events += events.len();
                    self.changes.push(Change { before, revision, events });
                } else if self.watched {
                    self.lost += 1;
                }
            }
            KeysNews::Replaced { revision, .. } => {
                self.tell(OfLeases::Lost);
                self.replaced += u64::from(self.watched);
                self.newest = revision;
            }
            KeysNews::Role(change) => {
                self.leads = change.role == Role::Leader;
                self.tell(OfLeases::Role(change));
            }
            KeysNews::Word { from, bytes } => self.tell(OfLeases::Word(from, bytes)),
            KeysNews::Divided(map) => self.map = Some(map),
            // There is always room here.
            KeysNews::Room(_) => {}
        }
    }

    fn tell(&mut self, told: OfLeases) {
        let full = self.of_leases.len() >= self.waiting_max;
        match told {
            OfLeases::News(_) if !self.leads => {}
            OfLeases::Word(..) if full => self.lost += 1,
            OfLeases::News(_) if full => {
                self.lost += 1;
                if !matches!(self.of_leases.back(), Some(OfLeases::Lost)) {
                    self.of_leases.push_back(OfLeases::Lost);
                }
            }
            told => self.of_leases.push_back(told),
        }
    }

    /// From now on changes are kept; the revision of the store by now.
    pub(super) fn watch(&mut self) -> u64 {
        self.watched = true;
        self.newest
    }

    /// What has waited. `watched`: is there still anybody to be told?
    pub(super) fn take(&mut self, watched: bool) -> Vec<Change> {
        (self.watched, self.events) = (watched, 0);
        std::mem::take(&mut self.changes)
    }

    pub(super) fn take_of_leases(&mut self) -> VecDeque<OfLeases> {
        std::mem::take(&mut self.of_leases)
    }
}

//! What the records hold, and what a command may do to them.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{ClusterId, GroupId, Incarnation, Membership, NodeId};

use crate::{Command, PlacementError, check_url};

/// The most members of a cluster, learners included.
pub const MEMBERS_MAX: usize = 32;
/// The most learners at a time.
pub const LEARNERS_MAX: usize = 8;
/// The most addresses of one member.
pub const URLS_MAX: usize = 8;
/// The most bytes of one address.
pub const URL_BYTES_MAX: usize = 1024;
/// The most bytes of a member's name.
pub const NAME_BYTES_MAX: usize = 256;

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its name; empty until it has announced itself.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has announced itself.
    pub client_urls: Vec<String>,
    /// It receives the log and does not vote.
    pub learner: bool,
    /// The disk that it is known by, registered once.
    pub incarnation: Option<Incarnation>,
}

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// The cluster's own records.
    Meta,
    /// etcd's keys.
    Keys,
    /// ZooKeeper's tree.
    Tree,
    /// The order over shards.
    Order,
}

/// Which protocol drives a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Raft.
    Raft,
    /// ZAB.
    Zab,
}

/// A group of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupPlace {
    /// Its id.
    pub id: GroupId,
    /// What it is for.
    pub kind: GroupKind,
    /// What drives it.
    pub engine: EngineKind,
}

/// The records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Records {
    /// The cluster; `None` until the first leader has initialised the records.
    pub cluster: Option<ClusterId>,
    /// Members by id.
    pub members: BTreeMap<NodeId, Member>,
    /// Ids of members that were removed; none is ever used again.
    pub removed: BTreeSet<NodeId>,
    /// Groups by id.
    pub groups: BTreeMap<GroupId, GroupPlace>,
    /// The number of the last change.
    pub version: u64,
}

impl Records {
    /// The members that every group should have.
    #[must_use]
    pub fn desired_membership(&self) -> Membership {
        let ids = |learner: bool| self.members.values().filter(move |m| m.learner == learner).map(|m| m.id);
        Membership::new(ids(false), ids(true))
    }

    /// What the command makes of the records: `None` if it changes nothing.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn after(&self, command: &Command) -> Result<Option<Records>, PlacementError> {
        if let Command::Initialise { cluster, members, groups } = command {
            return self.initialised(*cluster, members, groups);
        }
        if self.cluster.is_none() {
            return Err(PlacementError::NotInitialised);
        }
        let mut next = self.clone();
        match command {
            Command::Initialise { .. } => {}
            Command::AddMember { id, peer_urls, learner } => next.add(*id, peer_urls, *learner)?,
            Command::RemoveMember { id } => next.remove(*id)?,
            Command::UpdateMember { id, peer_urls } => {
                self.check_urls(*id, peer_urls)?;
                next.member(*id)?.peer_urls.clone_from(peer_urls);
            }
            Command::PromoteMember { id } => {
                let member = next.member(*id)?;
                if !member.learner {
                    return Err(PlacementError::NotLearner);
                }
                member.learner = false;
            }
            Command::ReplaceMember { old, new, peer_urls } => {
                let learner = next.member(*old)?.learner;
                next.members.remove(old);
                next.removed.insert(*old);
                next.add(*new, peer_urls, learner)?;
            }
            Command::Publish { id, name, client_urls } => {
                if name.len() > NAME_BYTES_MAX || client_urls.len() > URLS_MAX {
                    return Err(PlacementError::BadUrl);
                }
                let member = next.member(*id)?;
                member.name.clone_from(name);
                member.client_urls.clone_from(client_urls);
            }
            Command::RegisterDisk { id, incarnation } => {
                let known = next.member(*id)?.incarnation.get_or_insert(*incarnation);
                if known != incarnation {
                    return Err(PlacementError::OtherDisk);
                }
            }
        }
        Ok(if next == *self { None } else { Some(next) })
    }

    fn initialised(
        &self,
        cluster: ClusterId,
        members: &[Member],
        groups: &[GroupPlace],
    ) -> Result<Option<Records>, PlacementError> {
        if self.cluster.is_some() {
            return Ok(None);
        }
        let members = members.iter().map(|member| (member.id, member.clone())).collect();
        let groups = groups.iter().map(|group| (group.id, *group)).collect();
        Ok(Some(Records { cluster: Some(cluster), members, groups, ..self.clone() }))
    }

    /// Adding again what is there already in just this form is the repetition of an answered command: it changes nothing (C17).
    fn add(&mut self, id: NodeId, peer_urls: &[String], learner: bool) -> Result<(), PlacementError> {
        if self.removed.contains(&id) {
            return Err(PlacementError::Removed);
        }
        if let Some(member) = self.members.get(&id) {
            let same = member.peer_urls == peer_urls && member.learner == learner;
            return if same { Ok(()) } else { Err(PlacementError::MemberIdExists) };
        }
        self.check_urls(id, peer_urls)?;
        if self.members.len() >= MEMBERS_MAX {
            return Err(PlacementError::TooManyMembers);
        }
        if learner && self.members.values().filter(|member| member.learner).count() >= LEARNERS_MAX {
            return Err(PlacementError::TooManyLearners);
        }
        let peer_urls = peer_urls.to_vec();
        let member = Member {
            id,
            name: String::new(),
            peer_urls,
            client_urls: Vec::new(),
            learner,
            incarnation: None,
        };
        self.members.insert(id, member);
        Ok(())
    }

    fn remove(&mut self, id: NodeId) -> Result<(), PlacementError> {
        let learner = self.member(id)?.learner;
        if !learner && self.members.values().filter(|member| !member.learner).count() == 1 {
            return Err(PlacementError::LastVoter);
        }
        self.members.remove(&id);
        self.removed.insert(id);
        Ok(())
    }

    fn member(&mut self, id: NodeId) -> Result<&mut Member, PlacementError> {
        if self.removed.contains(&id) {
            return Err(PlacementError::Removed);
        }
        self.members.get_mut(&id).ok_or(PlacementError::NotMember)
    }

    fn check_urls(&self, id: NodeId, urls: &[String]) -> Result<(), PlacementError> {
        if urls.is_empty() {
            return Err(PlacementError::NoUrls);
        }
        if urls.len() > URLS_MAX || urls.iter().any(|url| check_url(url).is_err()) {
            return Err(PlacementError::BadUrl);
        }
        let others = self.members.values().filter(|member| member.id != id);
        if others.flat_map(|member| &member.peer_urls).any(|url| urls.contains(url)) {
            return Err(PlacementError::PeerUrlExists);
        }
        Ok(())
    }
}

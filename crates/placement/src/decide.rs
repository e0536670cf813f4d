//! What a command does to a state. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{ClusterId, GroupId, Incarnation, NodeId};

use crate::command::check_groups;
use crate::state::State;
use crate::url::normal;
use crate::{Command, GroupPlace, LEARNERS_MAX, MEMBER_IDS_MAX, MEMBERS_MAX, Member, PlacementError};

/// What changes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Initialise {
        cluster: ClusterId,
        members: Vec<Member>,
        groups: BTreeMap<GroupId, GroupPlace>,
    },
    /// This member, new or in place of what was known of it.
    Put(Member),
    Remove(NodeId),
    Replace {
        old: NodeId,
        new: Member,
    },
    /// This group, born with the members of this moment.
    AddGroup(GroupId, GroupPlace),
}

/// What comes of a command that was not refused.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Change(Change),
    /// It is so already.
    Holds,
    AlreadyInitialised(ClusterId),
}

impl State {
    /// What `command` does here.
    pub(crate) fn decide(&self, command: Command) -> Result<Outcome, PlacementError> {
        let Some(cluster) = self.cluster else { return begin(command) };
        // A later leader's wish to initialise is ignored, whatever it says.
        if !matches!(command, Command::Initialise { .. }) {
            command.check()?;
        }
        match command {
            Command::Initialise { .. } => Ok(Outcome::AlreadyInitialised(cluster)),
            Command::AddMember { id, peer_urls, learner, learners_max, strict } => {
                self.strictly(strict, self.add(Member::new(id, normal(peer_urls), learner), learners_max)?)
            }
            Command::RemoveMember { id, strict } => self.strictly(strict, self.remove_member(id)?),
            Command::UpdateMember { id, peer_urls } => self.update(id, normal(peer_urls)),
            Command::PromoteMember { id, strict } => self.strictly(strict, self.promote(id)?),
            Command::ReplaceMember { old, new, peer_urls, strict } => {
                self.strictly(strict, self.replace(old, new, normal(peer_urls))?)
            }
            Command::Publish { id, name, client_urls } => {
                let client_urls = normal(client_urls);
                self.put(id, |member| Member { name, client_urls, ..member })
            }
            Command::RegisterDisk { id, incarnation } => self.register_disk(id, incarnation),
            Command::AddGroup { id, place, members } => self.add_group(id, place, &members),
        }
    }

    /// A change of who votes must leave a majority that has ever started: the others may never come up, and nothing would be committed without them.
    ///
    /// The only voter may take in a second one: that is how a cluster is rebuilt after a disaster.
    fn strictly(&self, strict: bool, outcome: Outcome) -> Result<Outcome, PlacementError> {
        let mut after: BTreeMap<NodeId, &Member> =
            self.members.iter().map(|(id, member)| (*id, member)).collect();
        match &outcome {
            Outcome::Change(Change::Put(member)) => {
                after.insert(member.id, member);
            }
            Outcome::Change(Change::Remove(id)) => {
                after.remove(id);
            }
            Outcome::Change(Change::Replace { old, new }) => {
                after.remove(old);
                after.insert(new.id, new);
            }
            Outcome::Change(Change::Initialise { .. } | Change::AddGroup(..))
            | Outcome::Holds
            | Outcome::AlreadyInitialised(_) => {}
        }
        let voted = |id: NodeId| self.members.get(&id).is_some_and(|member| !member.learner);
        let before = self.members.keys().filter(|id| voted(**id)).count();
        let voters = || after.values().filter(|member| !member.learner);
        // A learner that is promoted has a log, whether its name is known yet or not.
        let started = |member: &&&Member| {
            !member.name.is_empty() || (self.members.contains_key(&member.id) && !voted(member.id))
        };
        let (all, started) = (voters().count(), voters().filter(started).count());
        let same = all == before && voters().all(|member| voted(member.id));
        let rebuilt = before == 1 && all == 2;
        if !strict || same || rebuilt || started > all / 2 {
            return Ok(outcome);
        }
        Err(PlacementError::NotEnoughStarted { started: started as u8, voters: all as u8 })
    }

    fn add(&self, member: Member, learners_max: u8) -> Result<Outcome, PlacementError> {
        self.check_new(member.id)?;
        self.check_peer_urls(&member.peer_urls, member.id)?;
        if self.members.len() >= MEMBERS_MAX {
            return Err(PlacementError::TooManyMembers);
        }
        let learners_max = learners_max.min(LEARNERS_MAX as u8);
        let learners = self.members.values().filter(|member| member.learner).count();
        if member.learner && learners >= usize::from(learners_max) {
            return Err(PlacementError::TooManyLearners { learners_max });
        }
        Ok(Outcome::Change(Change::Put(member)))
    }

    fn remove_member(&self, id: NodeId) -> Result<Outcome, PlacementError> {
        let member = self.member(id)?;
        let voters = self.members.values().filter(|member| !member.learner).count();
        if !member.learner && voters == 1 {
            return Err(PlacementError::LastVoter);
        }
        Ok(Outcome::Change(Change::Remove(id)))
    }

    fn update(&self, id: NodeId, peer_urls: Vec<String>) -> Result<Outcome, PlacementError> {
        self.member(id)?;
        self.check_peer_urls(&peer_urls, id)?;
        self.put(id, |member| Member { peer_urls, ..member })
    }

    fn promote(&self, id: NodeId) -> Result<Outcome, PlacementError> {
        if !self.member(id)?.learner {
            return Err(PlacementError::NotLearner(id));
        }
        self.put(id, |member| Member { learner: false, ..member })
    }

    /// Even the last voter can be replaced: the joint membership {old} → {new} is left only when the new one holds the log.
    fn replace(&self, old: NodeId, new: NodeId, peer_urls: Vec<String>) -> Result<Outcome, PlacementError> {
        let learner = self.member(old)?.learner;
        self.check_new(new)?;
        self.check_peer_urls(&peer_urls, old)?;
        Ok(Outcome::Change(Change::Replace { old, new: Member::new(new, peer_urls, learner) }))
    }

    /// A member has one disk in its life (C14).
    ///
    /// Members 1, 2 and 3: 1 and 2 hold a committed entry, 3 sleeps. The disk of 2 is lost, and 2 comes back empty under its id. If it
    /// could register its new disk, it would give its vote to 3, and the entry would be gone.
    fn register_disk(&self, id: NodeId, incarnation: Incarnation) -> Result<Outcome, PlacementError> {
        match self.member(id)?.incarnation {
            None => self.put(id, |member| Member { incarnation: Some(incarnation), ..member }),
            Some(registered) if registered == incarnation => Ok(Outcome::Holds),
            Some(registered) => Err(PlacementError::OtherDisk { registered }),
        }
    }

    /// A group is added once, by members all of whom know how.
    ///
    /// {1, 2 and 3 were asked, and know the command; 4, of an older build, joins before it is executed}: 4 would pass it over, number all later changes by
    /// one less, and take for followed what is not. Refused, it is asked for again, of all four.
    fn add_group(
        &self,
        id: GroupId,
        place: GroupPlace,
        members: &BTreeSet<NodeId>,
    ) -> Result<Outcome, PlacementError> {
        if let Some(found) = self.groups.get(&id) {
            return if found.kind == place.kind {
                Ok(Outcome::Holds)
            } else {
                Err(PlacementError::BadGroups)
            };
        }
        if !self.members.keys().eq(members) {
            return Err(PlacementError::OtherMembers);
        }
        let mut groups = BTreeMap::clone(&self.groups);
        groups.insert(id, place);
        check_groups(&groups)?;
        Ok(Outcome::Change(Change::AddGroup(id, place)))
    }

    fn put(&self, id: NodeId, with: impl FnOnce(Member) -> Member) -> Result<Outcome, PlacementError> {
        let before = self.member(id)?;
        let after = with(before.clone());
        Ok(if after == *before { Outcome::Holds } else { Outcome::Change(Change::Put(after)) })
    }

    fn member(&self, id: NodeId) -> Result<&Member, PlacementError> {
        match self.members.get(&id) {
            Some(member) => Ok(member),
            None if self.removed.contains(&id) => Err(PlacementError::Removed(id)),
            None => Err(PlacementError::NotMember(id)),
        }
    }

    /// May `id` be given to a new member?
    fn check_new(&self, id: NodeId) -> Result<(), PlacementError> {
        if self.removed.contains(&id) {
            return Err(PlacementError::Removed(id));
        }
        if self.members.contains_key(&id) {
            return Err(PlacementError::MemberIdExists(id));
        }
        // Here and not where members are removed: to be rid of a member must always be possible.
        if self.members.len() + self.removed.len() >= MEMBER_IDS_MAX {
            return Err(PlacementError::TooManyMemberIds);
        }
        Ok(())
    }

    /// Is none of these another member's? `but` is whoever may have them.
    fn check_peer_urls(&self, urls: &[String], but: NodeId) -> Result<(), PlacementError> {
        let clashes =
            |member: &&Member| member.id != but && member.peer_urls.iter().any(|url| urls.contains(url));
        match self.members.values().find(clashes) {
            Some(member) => Err(PlacementError::PeerUrlExists { member: member.id }),
            None => Ok(()),
        }
    }
}

/// Before there is a cluster only one command makes sense.
fn begin(command: Command) -> Result<Outcome, PlacementError> {
    command.check()?;
    let Command::Initialise { cluster, members, groups } = command else {
        return Err(PlacementError::NotInitialised);
    };
    let members = members.into_iter().map(normal_member).collect();
    Ok(Outcome::Change(Change::Initialise { cluster, members, groups }))
}

fn normal_member(member: Member) -> Member {
    let (peer_urls, client_urls) = (normal(member.peer_urls), normal(member.client_urls));
    Member { peer_urls, client_urls, ..member }
}

//! The state, and pictures of it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::sync::Arc;

use quorate_consensus::{ClusterId, Fingerprint, GroupId, Membership, NodeId, Writer};

use crate::command::{check_groups, check_members};
use crate::decide::Change;
use crate::url::normal;
use crate::{GroupPlace, LEARNERS_MAX, MEMBER_IDS_MAX, MEMBERS_MAX, Member};

/// The whole state. What can be large, and changes seldom, is shared: a change of members copies the members alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Set by the first [`Command::Initialise`](crate::Command::Initialise), for ever. Until then everything else is empty.
    pub(crate) cluster: Option<ClusterId>,
    /// Number of the last change.
    pub(crate) version: u64,
    /// At least one of them votes, once there is a cluster. Peer URLs are one member's each.
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// Disjoint from `members`; never shrinks.
    pub(crate) removed: Arc<BTreeSet<NodeId>>,
    pub(crate) groups: Arc<BTreeMap<GroupId, GroupPlace>>,
    /// What each group was born with that was added while the cluster ran. The others are as old as the cluster, and were born with its founders.
    pub(crate) births: Arc<BTreeMap<GroupId, Membership>>,
    /// The sum of the fingerprints of all in `removed`, `groups` and `births`, so that a digest need not walk them.
    pub(crate) sum: u64,
}

impl State {
    pub(crate) fn apply(&mut self, change: Change, number: u64) {
        self.version = number;
        match change {
            Change::Initialise { cluster, members, groups } => {
                assert!(self.cluster.is_none(), "a cluster is initialised once");
                self.cluster = Some(cluster);
                self.members = members.into_iter().map(|member| (member.id, member)).collect();
                self.sum = sum_of(&self.removed, &groups, &self.births);
                self.groups = Arc::new(groups);
            }
            Change::Put(member) => {
                assert!(!self.removed.contains(&member.id), "an id that was removed is never given again");
                self.members.insert(member.id, member);
            }
            Change::Remove(id) => self.remove(id),
            Change::Replace { old, new } => {
                self.remove(old);
                self.apply(Change::Put(new), number);
            }
            Change::AddGroup(id, place) => {
                let birth = self.desired_membership();
                self.sum =
                    self.sum.wrapping_add(group_print(id, place)).wrapping_add(birth_print(id, &birth));
                Arc::make_mut(&mut self.groups).insert(id, place);
                Arc::make_mut(&mut self.births).insert(id, birth);
            }
        }
    }

    fn remove(&mut self, id: NodeId) {
        let member = self.members.remove(&id);
        assert!(member.is_some(), "only members are removed");
        Arc::make_mut(&mut self.removed).insert(id);
        self.sum = self.sum.wrapping_add(removed_print(id));
    }

    /// See [`Placement::go_on_alone`](crate::Placement::go_on_alone).
    pub(crate) fn go_on_alone(&mut self, cluster: ClusterId, node: NodeId) {
        let others: Vec<NodeId> = self.members.keys().copied().filter(|id| *id != node).collect();
        others.into_iter().for_each(|id| self.remove(id));
        for member in self.members.values_mut() {
            (member.learner, member.incarnation) = (false, None);
        }
        self.cluster = Some(cluster);
        self.version += 1;
        // Whoever joins later must not take the lost ones for those that a group is born with.
        for birth in Arc::make_mut(&mut self.births).values_mut() {
            *birth = Membership::new([node], []);
        }
        self.sum = sum_of(&self.removed, &self.groups, &self.births);
    }

    pub(crate) fn desired_membership(&self) -> Membership {
        let ids = |learner: bool| {
            self.members.values().filter(move |member| member.learner == learner).map(|member| member.id)
        };
        Membership::new(ids(false), ids(true))
    }

    /// Over all of it: the canonical bytes of what is small, and the running sum of what may be large.
    pub(crate) fn digest(&self) -> u64 {
        let mut bytes = Writer::new();
        bytes.u64(self.cluster.map_or(0, |cluster| cluster.0));
        bytes.u64(self.version);
        for member in self.members.values() {
            member.encode(&mut bytes);
        }
        let mut hasher = Fingerprint::default();
        hasher.write(bytes.as_slice());
        hasher.write_u64(self.sum);
        hasher.finish()
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        32 + self.members.values().map(Member::size_bytes).sum::<u64>()
            + self.removed.len() as u64 * 8
            + self.groups.len() as u64 * GroupPlace::BYTES_MAX as u64
            + self.births.values().map(|birth| 8 * birth.members().count() as u64).sum::<u64>()
    }

    /// Could this state have come out of a log? What a snapshot brings is not trusted to.
    pub(crate) fn is_sound(&self) -> bool {
        let Some(cluster) = self.cluster else {
            return *self == State::default();
        };
        let members: Vec<Member> = self.members.values().cloned().collect();
        cluster.0 != 0
            && self.version > 0
            && check_members(&members).is_ok()
            && members.iter().all(is_normal)
            && check_groups(&self.groups).is_ok()
            && !self.removed.contains(&NodeId(0))
            && self.members.len() + self.removed.len() <= MEMBER_IDS_MAX
            && self.members.keys().all(|id| !self.removed.contains(id))
            && self.births.keys().all(|id| self.groups.contains_key(id))
            && self.births.values().all(is_birth)
            && self.sum == sum_of(&self.removed, &self.groups, &self.births)
    }
}

/// Are the member's lists in their one form?
fn is_normal(member: &Member) -> bool {
    normal(member.peer_urls.clone()) == member.peer_urls
        && normal(member.client_urls.clone()) == member.client_urls
}

/// Could a group be born with it? With voters, and of members that there could have been at one time.
fn is_birth(birth: &Membership) -> bool {
    !birth.is_joint()
        && !birth.voters().is_empty()
        && !birth.contains(NodeId(0))
        && birth.learners().len() <= LEARNERS_MAX
        && birth.members().count() <= MEMBERS_MAX
}

/// What [`State::sum`] is for these.
pub(crate) fn sum_of(
    removed: &BTreeSet<NodeId>,
    groups: &BTreeMap<GroupId, GroupPlace>,
    births: &BTreeMap<GroupId, Membership>,
) -> u64 {
    let removed = removed.iter().map(|id| removed_print(*id));
    let groups = groups.iter().map(|(id, place)| group_print(*id, *place));
    let births = births.iter().map(|(id, birth)| birth_print(*id, birth));
    removed.chain(groups).chain(births).fold(0, u64::wrapping_add)
}

fn birth_print(id: GroupId, birth: &Membership) -> u64 {
    let mut bytes = Writer::new();
    bytes.u64(2);
    bytes.u64(id.0);
    birth.encode(&mut bytes);
    let mut hasher = Fingerprint::default();
    hasher.write(bytes.as_slice());
    hasher.finish()
}

fn removed_print(id: NodeId) -> u64 {
    print_of(1, id.0)
}

fn group_print(id: GroupId, place: GroupPlace) -> u64 {
    let (kind, engine) = place.tags();
    print_of(0x100 + (u64::from(kind) << 16) + (u64::from(engine) << 24), id.0)
}

fn print_of(what: u64, value: u64) -> u64 {
    let mut hasher = Fingerprint::default();
    hasher.write_u64(what);
    hasher.write_u64(value);
    hasher.finish()
}

/// A picture of the state. Cheap to clone; stays as it is whatever comes after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub(crate) state: Arc<State>,
}

impl View {
    /// Has the first leader brought the members?
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.state.cluster.is_some()
    }

    /// The cluster; none until it is initialised.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.state.cluster
    }

    /// Number of the last change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// All members, by id.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.state.members
    }

    /// The member `id`.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.state.members.get(&id)
    }

    /// Was `id` a member once and is none any more? Such a node is told to stop.
    #[must_use]
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.state.removed.contains(&id)
    }

    /// All ids that were removed.
    #[must_use]
    pub fn removed(&self) -> &BTreeSet<NodeId> {
        &self.state.removed
    }

    /// All groups, by id.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<GroupId, GroupPlace> {
        &self.state.groups
    }

    /// The voters and learners that every group should have; empty until the cluster is initialised.
    #[must_use]
    pub fn desired_membership(&self) -> Membership {
        self.state.desired_membership()
    }

    /// What a group was born with that was added while the cluster ran. None for the others: they are as old as the cluster, and were born with its
    /// founders, whom the records do not keep.
    #[must_use]
    pub fn birth(&self, group: GroupId) -> Option<&Membership> {
        self.state.births.get(&group)
    }
}

//! What the log of `meta` says, and its bytes.
//!
//! ```text
//! command    = version (1) · tag · fields
//! initialise = cluster (u64) · members · groups          each a count, then so many; groups in order of id
//! add group  = group · ids of members (u64)              a count, then so many, in order
//! ```
//!
//! Every command has one encoding. Decoding is bounded by the input and by the limits of this crate.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::{ClusterId, DecodeError, GroupId, Incarnation, NodeId, Reader, Writer};

use crate::member::{bounded, read_name, read_urls, write_urls};
use crate::{
    EngineKind, GROUPS_MAX, GroupKind, GroupPlace, MEMBERS_MAX, Member, NAME_BYTES_MAX, PlacementError,
    URLS_MAX, check_url,
};

/// The first byte of every command.
const VERSION: u8 = 1;

/// A change of who is in the cluster, or what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Brings the initial members and groups. Every first leader proposes it; the first one in the log counts, later ones are
    /// answered with [`Response::AlreadyInitialised`](crate::Response::AlreadyInitialised).
    Initialise {
        /// The cluster, never zero: [`cluster_id`](crate::cluster_id) of its members.
        cluster: ClusterId,
        /// Its members, at least one voter among them.
        members: Vec<Member>,
        /// Its groups.
        groups: BTreeMap<GroupId, GroupPlace>,
    },
    /// A new member.
    AddMember {
        /// Its id, never given before.
        id: NodeId,
        /// Where its peers will reach it.
        peer_urls: Vec<String>,
        /// Does it begin as a learner?
        learner: bool,
        /// How many learners the operator allows at a time, this one counted in (etcd's `--max-learners`, 1 by default). Never more
        /// than [`LEARNERS_MAX`](crate::LEARNERS_MAX). In the command, so that replicas with other settings decide alike.
        learners_max: u8,
        /// Only if a majority of the voters there will then be has ever started; see [`Command::RemoveMember`].
        strict: bool,
    },
    /// A member leaves for good.
    RemoveMember {
        /// Who.
        id: NodeId,
        /// Only if a majority of the voters there will then be has ever started (etcd's `--strict-reconfig-check`). Decided where the command is executed and
        /// not before it is proposed: two changes that leave enough started voters each can leave too few together.
        strict: bool,
    },
    /// A member is reached at other URLs.
    UpdateMember {
        /// Who.
        id: NodeId,
        /// Where from now on.
        peer_urls: Vec<String>,
    },
    /// A learner becomes a voter. Whether it has caught up is for the leaders of the groups to find out first.
    PromoteMember {
        /// Who.
        id: NodeId,
        /// Only if a majority of the voters there will then be has ever started, this one counted in.
        strict: bool,
    },
    /// A new member takes another's place and role in one change. It may have the other's URLs: a machine with a new disk.
    ReplaceMember {
        /// Leaves for good.
        old: NodeId,
        /// Comes; an id never given before.
        new: NodeId,
        /// Where its peers will reach it.
        peer_urls: Vec<String>,
        /// Only if a majority of the voters there will then be has ever started.
        strict: bool,
    },
    /// A node has come up and says who it is.
    Publish {
        /// Which.
        id: NodeId,
        /// Its name.
        name: String,
        /// Where clients reach it.
        client_urls: Vec<String>,
    },
    /// A node has come up and says which disk it has. The first one counts for the member's whole life.
    RegisterDisk {
        /// Which.
        id: NodeId,
        /// Its disk's identity.
        incarnation: Incarnation,
    },
    /// The cluster gets one more group, born with the members that the records want where this is executed. Only if they are the very ones that were asked
    /// whether they know this command: an older build passes it over, and its records would be others from here on.
    ///
    /// A group that is there already stays as it is, and that is answered with success.
    AddGroup {
        /// Its id.
        id: GroupId,
        /// What it is.
        place: GroupPlace,
        /// All members, voters and learners.
        members: BTreeSet<NodeId>,
    },
}

impl Command {
    /// Does the command make sense by itself, whatever the state is? To be asked before it is proposed, for an answer that says what
    /// is wrong; what exceeds a limit of sizes and is proposed all the same is only [`Malformed`](PlacementError::Malformed).
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self) -> Result<(), PlacementError> {
        match self {
            Command::Initialise { cluster, members, groups } => {
                if cluster.0 == 0 {
                    return Err(PlacementError::Malformed);
                }
                check_members(members)?;
                check_groups(groups)
            }
            Command::AddMember { id, peer_urls, .. } | Command::ReplaceMember { new: id, peer_urls, .. } => {
                check_new_id(*id)?;
                check_peer_urls(peer_urls)
            }
            Command::UpdateMember { peer_urls, .. } => check_peer_urls(peer_urls),
            Command::Publish { name, client_urls, .. } => {
                check_name(name)?;
                check_urls(client_urls)
            }
            Command::AddGroup { members, .. } if members.len() > MEMBERS_MAX => {
                Err(PlacementError::TooManyMembers)
            }
            Command::RemoveMember { .. }
            | Command::PromoteMember { .. }
            | Command::RegisterDisk { .. }
            | Command::AddGroup { .. } => Ok(()),
        }
    }

    /// The bytes of this command, for the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        let to = &mut writer;
        to.u8(VERSION);
        match self {
            Command::Initialise { cluster, members, groups } => {
                to.u8(1);
                to.u64(cluster.0);
                to.varint(members.len() as u64);
                for member in members {
                    member.encode(to);
                }
                to.varint(groups.len() as u64);
                for (id, place) in groups {
                    place.encode(*id, to);
                }
            }
            Command::AddMember { id, peer_urls, learner, learners_max, strict } => {
                to.u8(2);
                to.u64(id.0);
                write_urls(peer_urls, to);
                to.bool(*learner);
                to.u8(*learners_max);
                to.bool(*strict);
            }
            Command::RemoveMember { id, strict } => {
                to.u8(3);
                to.u64(id.0);
                to.bool(*strict);
            }
            Command::UpdateMember { id, peer_urls } => {
                to.u8(4);
                to.u64(id.0);
                write_urls(peer_urls, to);
            }
            Command::PromoteMember { id, strict } => {
                to.u8(5);
                to.u64(id.0);
                to.bool(*strict);
            }
            Command::ReplaceMember { old, new, peer_urls, strict } => {
                to.u8(6);
                to.u64(old.0);
                to.u64(new.0);
                write_urls(peer_urls, to);
                to.bool(*strict);
            }
            Command::Publish { id, name, client_urls } => {
                to.u8(7);
                to.u64(id.0);
                to.bytes(name.as_bytes());
                write_urls(client_urls, to);
            }
            Command::RegisterDisk { id, incarnation } => {
                to.u8(8);
                to.u64(id.0);
                to.u64(incarnation.0);
            }
            Command::AddGroup { id, place, members } => {
                to.u8(9);
                place.encode(*id, to);
                to.varint(members.len() as u64);
                members.iter().for_each(|member| to.u64(member.0));
            }
        }
        writer.finish()
    }

    /// Reads what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input, another version, or more than the limits allow.
    pub fn decode(bytes: &Bytes) -> Result<Command, DecodeError> {
        let from = &mut Reader::new(bytes.clone());
        match from.u8()? {
            VERSION => {}
            value => return Err(DecodeError::Unknown { what: "version of a command", value: value.into() }),
        }
        let command = match from.u8()? {
            1 => {
                let cluster = ClusterId(from.u64()?);
                let count = bounded(from.count(Member::BYTES_MIN)?, MEMBERS_MAX, "number of members")?;
                let members = (0..count).map(|_| Member::decode(from)).collect::<Result<_, _>>()?;
                let count = bounded(from.count(GroupPlace::BYTES_MIN)?, GROUPS_MAX, "number of groups")?;
                let mut groups = BTreeMap::new();
                for _ in 0..count {
                    let (id, place) = GroupPlace::decode(from)?;
                    if groups.last_key_value().is_some_and(|(last, _)| *last >= id) {
                        return Err(DecodeError::Invalid { what: "order of groups" });
                    }
                    groups.insert(id, place);
                }
                Command::Initialise { cluster, members, groups }
            }
            2 => Command::AddMember {
                id: NodeId(from.u64()?),
                peer_urls: read_urls(from)?,
                learner: from.bool()?,
                learners_max: from.u8()?,
                strict: from.bool()?,
            },
            3 => Command::RemoveMember { id: NodeId(from.u64()?), strict: from.bool()? },
            4 => Command::UpdateMember { id: NodeId(from.u64()?), peer_urls: read_urls(from)? },
            5 => Command::PromoteMember { id: NodeId(from.u64()?), strict: from.bool()? },
            6 => Command::ReplaceMember {
                old: NodeId(from.u64()?),
                new: NodeId(from.u64()?),
                peer_urls: read_urls(from)?,
                strict: from.bool()?,
            },
            7 => Command::Publish {
                id: NodeId(from.u64()?),
                name: read_name(from)?,
                client_urls: read_urls(from)?,
            },
            8 => Command::RegisterDisk { id: NodeId(from.u64()?), incarnation: Incarnation(from.u64()?) },
            9 => {
                let (id, place) = GroupPlace::decode(from)?;
                let count = bounded(from.count(8)?, MEMBERS_MAX, "number of members")?;
                let mut members = BTreeSet::new();
                for _ in 0..count {
                    let member = NodeId(from.u64()?);
                    if members.last().is_some_and(|last| *last >= member) {
                        return Err(DecodeError::Invalid { what: "order of members" });
                    }
                    members.insert(member);
                }
                Command::AddGroup { id, place, members }
            }
            value => return Err(DecodeError::Unknown { what: "command", value: value.into() }),
        };
        from.clone().finish()?;
        Ok(command)
    }
}

/// What holds of members whatever the state: also what a snapshot's members must fulfil.
pub(crate) fn check_members(members: &[Member]) -> Result<(), PlacementError> {
    if members.len() > MEMBERS_MAX {
        return Err(PlacementError::TooManyMembers);
    }
    let mut ids = BTreeSet::new();
    let mut owners = BTreeMap::new();
    for member in members {
        check_new_id(member.id)?;
        check_name(&member.name)?;
        check_peer_urls(&member.peer_urls)?;
        check_urls(&member.client_urls)?;
        if !ids.insert(member.id) {
            return Err(PlacementError::MemberIdExists(member.id));
        }
        for url in &member.peer_urls {
            let owner = *owners.entry(url).or_insert(member.id);
            if owner != member.id {
                return Err(PlacementError::PeerUrlExists { member: owner });
            }
        }
    }
    let learners = members.iter().filter(|member| member.learner).count();
    if learners > crate::LEARNERS_MAX {
        return Err(PlacementError::TooManyLearners { learners_max: crate::LEARNERS_MAX as u8 });
    }
    if learners == members.len() { Err(PlacementError::LastVoter) } else { Ok(()) }
}

pub(crate) fn check_groups(groups: &BTreeMap<GroupId, GroupPlace>) -> Result<(), PlacementError> {
    let mut single = BTreeSet::new();
    let fits = |place: &GroupPlace| match place.kind {
        GroupKind::Meta | GroupKind::Order => single.insert(place.kind) && place.engine == EngineKind::Raft,
        GroupKind::Tree => single.insert(place.kind),
        GroupKind::Keys => true,
    };
    if groups.len() <= GROUPS_MAX && groups.values().all(fits) {
        Ok(())
    } else {
        Err(PlacementError::BadGroups)
    }
}

fn check_new_id(id: NodeId) -> Result<(), PlacementError> {
    if id.0 == 0 { Err(PlacementError::Malformed) } else { Ok(()) }
}

fn check_name(name: &str) -> Result<(), PlacementError> {
    if name.len() > NAME_BYTES_MAX { Err(PlacementError::NameTooLong) } else { Ok(()) }
}

fn check_peer_urls(urls: &[String]) -> Result<(), PlacementError> {
    if urls.is_empty() { Err(PlacementError::NoUrls) } else { check_urls(urls) }
}

fn check_urls(urls: &[String]) -> Result<(), PlacementError> {
    if urls.len() > URLS_MAX {
        return Err(PlacementError::TooManyUrls);
    }
    urls.iter().try_for_each(|url| Ok(check_url(url)?))
}

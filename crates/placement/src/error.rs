//! Why placement says no. The service maps these to etcd's table of codes and texts.

use std::fmt;

use quorate_consensus::{DecodeError, Incarnation, NodeId, Reader, Writer};

use crate::{GROUPS_MAX, LEARNERS_MAX, MEMBER_IDS_MAX, MEMBERS_MAX, NAME_BYTES_MAX, URLS_MAX, UrlError};

/// Why a command was refused. A refused command changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementError {
    /// No members yet: the first leader has still to bring them.
    NotInitialised,
    /// A member has this id already.
    MemberIdExists(NodeId),
    /// Another member is reached at one of these peer URLs.
    PeerUrlExists {
        /// That member.
        member: NodeId,
    },
    /// Nobody has this id.
    NotMember(NodeId),
    /// The member with this id was removed; the id is never given again.
    Removed(NodeId),
    /// Only learners are promoted, and this member votes.
    NotLearner(NodeId),
    /// No more learners at a time.
    TooManyLearners {
        /// The limit in force.
        learners_max: u8,
    },
    /// No more members at a time than [`MEMBERS_MAX`].
    TooManyMembers,
    /// [`MEMBER_IDS_MAX`] ids were given, to members that are and members that were.
    TooManyMemberIds,
    /// Nobody would be left to vote.
    LastVoter,
    /// Fewer than a majority of the voters that there would be have ever started.
    NotEnoughStarted {
        /// So many have.
        started: u8,
        /// Of so many.
        voters: u8,
    },
    /// A member needs a peer URL.
    NoUrls,
    /// More than [`URLS_MAX`] URLs.
    TooManyUrls,
    /// A URL that is none.
    BadUrl(UrlError),
    /// The name has more than [`NAME_BYTES_MAX`] bytes.
    NameTooLong,
    /// The member is known by another disk: it has lost the one on which it gave its promises (amnesia, C14).
    OtherDisk {
        /// The disk it is known by.
        registered: Incarnation,
    },
    /// More groups than [`GROUPS_MAX`], a second one of `meta`, `tree` or `order`, or an engine that a group cannot have.
    BadGroups,
    /// The entry in the log is not a command, or a new id is zero.
    Malformed,
    /// The members are not the ones that were asked whether they know how to run the group.
    OtherMembers,
}

impl PlacementError {
    pub(crate) fn encode(self, to: &mut Writer) {
        match self {
            PlacementError::NotInitialised => to.u8(1),
            PlacementError::MemberIdExists(id) => {
                to.u8(2);
                to.u64(id.0);
            }
            PlacementError::PeerUrlExists { member } => {
                to.u8(3);
                to.u64(member.0);
            }
            PlacementError::NotMember(id) => {
                to.u8(4);
                to.u64(id.0);
            }
            PlacementError::Removed(id) => {
                to.u8(5);
                to.u64(id.0);
            }
            PlacementError::NotLearner(id) => {
                to.u8(6);
                to.u64(id.0);
            }
            PlacementError::TooManyLearners { learners_max } => {
                to.u8(7);
                to.u8(learners_max);
            }
            PlacementError::TooManyMembers => to.u8(8),
            PlacementError::TooManyMemberIds => to.u8(9),
            PlacementError::LastVoter => to.u8(10),
            PlacementError::NoUrls => to.u8(11),
            PlacementError::TooManyUrls => to.u8(12),
            PlacementError::BadUrl(why) => {
                to.u8(13);
                to.u8(why.tag());
            }
            PlacementError::NameTooLong => to.u8(14),
            PlacementError::OtherDisk { registered } => {
                to.u8(15);
                to.u64(registered.0);
            }
            PlacementError::BadGroups => to.u8(16),
            PlacementError::Malformed => to.u8(17),
            PlacementError::NotEnoughStarted { started, voters } => {
                to.u8(18);
                to.u8(started);
                to.u8(voters);
            }
            PlacementError::OtherMembers => to.u8(19),
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<PlacementError, DecodeError> {
        Ok(match from.u8()? {
            1 => PlacementError::NotInitialised,
            2 => PlacementError::MemberIdExists(NodeId(from.u64()?)),
            3 => PlacementError::PeerUrlExists { member: NodeId(from.u64()?) },
            4 => PlacementError::NotMember(NodeId(from.u64()?)),
            5 => PlacementError::Removed(NodeId(from.u64()?)),
            6 => PlacementError::NotLearner(NodeId(from.u64()?)),
            7 => PlacementError::TooManyLearners { learners_max: from.u8()? },
            8 => PlacementError::TooManyMembers,
            9 => PlacementError::TooManyMemberIds,
            10 => PlacementError::LastVoter,
            11 => PlacementError::NoUrls,
            12 => PlacementError::TooManyUrls,
            13 => PlacementError::BadUrl(UrlError::from_tag(from.u8()?)?),
            14 => PlacementError::NameTooLong,
            15 => PlacementError::OtherDisk { registered: Incarnation(from.u64()?) },
            16 => PlacementError::BadGroups,
            17 => PlacementError::Malformed,
            18 => PlacementError::NotEnoughStarted { started: from.u8()?, voters: from.u8()? },
            19 => PlacementError::OtherMembers,
            value => return Err(DecodeError::Unknown { what: "placement error", value: value.into() }),
        })
    }
}

impl From<UrlError> for PlacementError {
    fn from(error: UrlError) -> Self {
        PlacementError::BadUrl(error)
    }
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlacementError::NotInitialised => {
                write!(
                    f,
                    "the cluster has no members yet; try again when its first leader has written them down"
                )
            }
            PlacementError::MemberIdExists(id) => write!(f, "a member has the id {id} already"),
            PlacementError::PeerUrlExists { member } => {
                write!(f, "member {member} has one of these peer URLs; remove or replace it first")
            }
            PlacementError::NotMember(id) => write!(f, "no member has the id {id}; list the members"),
            PlacementError::Removed(id) => {
                write!(f, "member {id} was removed, and ids are never given again; add it as a new member")
            }
            PlacementError::NotLearner(id) => {
                write!(f, "member {id} votes already, and only learners are promoted")
            }
            PlacementError::TooManyLearners { learners_max } => write!(
                f,
                "there may be {learners_max} learners at a time (never more than {LEARNERS_MAX}); promote or remove one"
            ),
            PlacementError::NotEnoughStarted { started, voters } => write!(
                f,
                "only {started} of the {voters} voters that there would be have ever started, and a majority is needed; start the others first"
            ),
            PlacementError::TooManyMembers => {
                write!(f, "a cluster has at most {MEMBERS_MAX} members; remove one first")
            }
            PlacementError::TooManyMemberIds => {
                write!(f, "the cluster has used all of its {MEMBER_IDS_MAX} member ids; nobody can be added")
            }
            PlacementError::LastVoter => {
                write!(f, "no voter would be left; add or promote another member first, or replace this one")
            }
            PlacementError::NoUrls => write!(f, "a member needs at least one peer URL"),
            PlacementError::TooManyUrls => write!(f, "a member has at most {URLS_MAX} URLs of a kind"),
            PlacementError::BadUrl(why) => write!(f, "a URL is refused: {why}"),
            PlacementError::NameTooLong => write!(f, "a name has at most {NAME_BYTES_MAX} bytes"),
            PlacementError::OtherDisk { registered } => write!(
                f,
                "the member is known by disk {registered} and came with another, so its promises are lost; replace it under a new id"
            ),
            PlacementError::BadGroups => write!(
                f,
                "at most {GROUPS_MAX} groups, one each of meta, tree and order, and meta and order run Raft"
            ),
            PlacementError::Malformed => write!(f, "the entry in the log is not a command of placement"),
            PlacementError::OtherMembers => {
                write!(
                    f,
                    "the members have changed since they were asked whether they can run the group; ask again"
                )
            }
        }
    }
}

impl std::error::Error for PlacementError {}

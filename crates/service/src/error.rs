//! From what the floors below say to etcd's table of errors: one place, total.

use quorate_consensus::{ChangeRefusal, Refusal};
use quorate_keyspace::{AuthError, KeyspaceError};
use quorate_node::Answer;
use quorate_placement::PlacementError;
use quorate_wire::{ApiError, Code, EtcdError, OtherError};

use crate::shards::Undone;

/// What the keyspace says against a request.
#[must_use]
pub fn keyspace_error(error: KeyspaceError) -> ApiError {
    match error {
        KeyspaceError::EmptyKey => EtcdError::EmptyKey.into(),
        KeyspaceError::ValueProvided => EtcdError::ValueProvided.into(),
        KeyspaceError::LeaseProvided => EtcdError::LeaseProvided.into(),
        KeyspaceError::TooManyOperations => EtcdError::TooManyOps.into(),
        KeyspaceError::DuplicateKey => EtcdError::DuplicateKey.into(),
        KeyspaceError::InvalidSortOption => EtcdError::InvalidSortOption.into(),
        KeyspaceError::KeyNotFound => EtcdError::KeyNotFound.into(),
        KeyspaceError::LeaseExists => EtcdError::LeaseExists.into(),
        KeyspaceError::LeaseTtlTooLarge => EtcdError::LeaseTtlTooLarge.into(),
        KeyspaceError::LeaseNotFound(_) => EtcdError::LeaseNotFound.into(),
        KeyspaceError::Compacted { .. } => EtcdError::Compacted.into(),
        KeyspaceError::FutureRevision { .. } => EtcdError::FutureRevision.into(),
        KeyspaceError::NoSpace => EtcdError::NoSpace.into(),
        KeyspaceError::Corrupt => EtcdError::Corrupt.into(),
        KeyspaceError::Auth(error) => auth_error(error),
        KeyspaceError::TooManyAlarms
        | KeyspaceError::NotReadOnly
        | KeyspaceError::StaleSteward
        | KeyspaceError::Malformed
        | KeyspaceError::Moved => ApiError::Other(OtherError::unmapped(error.to_string())),
    }
}

/// Why a command on divided keys was not done.
#[must_use]
pub fn undone_error(undone: Undone) -> ApiError {
    let unavailable = |text: &str| ApiError::Other(OtherError::new(Code::Unavailable, text.to_owned()));
    match undone {
        Undone::Undivided(why) => {
            ApiError::Other(OtherError::new(Code::InvalidArgument, format!("quorate: {why}")))
        }
        Undone::Busy => EtcdError::TooManyRequests.into(),
        Undone::Silent => unavailable(
            "quorate: a shard that this concerns has no leader, or did not answer in time; nothing was done, and it may be asked again",
        ),
        Undone::Unfit => ApiError::Other(OtherError::new(
            Code::FailedPrecondition,
            "quorate: the shards are divided otherwise by now; look at them again".to_owned(),
        )),
        Undone::Unknown => EtcdError::Timeout.into(),
    }
}

/// What users and roles say against a request, or its caller.
#[must_use]
pub fn auth_error(error: AuthError) -> ApiError {
    match error {
        AuthError::UserEmpty => EtcdError::UserEmpty.into(),
        AuthError::RoleEmpty => EtcdError::RoleEmpty.into(),
        AuthError::AuthFailed => EtcdError::AuthFailed.into(),
        AuthError::InvalidAuthManagement => EtcdError::InvalidAuthManagement.into(),
        AuthError::AuthOldRevision => EtcdError::AuthOldRevision.into(),
        AuthError::RootUserNotExist => EtcdError::RootUserNotExist.into(),
        AuthError::RootRoleNotExist => EtcdError::RootRoleNotExist.into(),
        AuthError::UserExists => EtcdError::UserAlreadyExists.into(),
        AuthError::UserNotFound => EtcdError::UserNotFound.into(),
        AuthError::RoleExists => EtcdError::RoleAlreadyExists.into(),
        AuthError::RoleNotFound => EtcdError::RoleNotFound.into(),
        AuthError::RoleNotGranted => EtcdError::RoleNotGranted.into(),
        AuthError::PermissionNotGranted => EtcdError::PermissionNotGranted.into(),
        AuthError::AuthNotEnabled => EtcdError::AuthNotEnabled.into(),
        AuthError::PermissionDenied => EtcdError::PermissionDenied.into(),
        AuthError::InvalidAuthToken => EtcdError::InvalidAuthToken.into(),
        AuthError::TooLarge => {
            ApiError::Other(OtherError::new(Code::ResourceExhausted, format!("quorate: {error}")))
        }
    }
}

/// What the core says to one who waits, where the state half never will.
#[must_use]
pub fn answer_error(answer: &Answer) -> ApiError {
    match answer {
        Answer::Refused(refusal) => refusal_error(refusal),
        Answer::DiskFull => EtcdError::NoSpace.into(),
        Answer::Busy => EtcdError::TooManyRequests.into(),
        Answer::Unknown => EtcdError::TimeoutDueToLeaderFail.into(),
        Answer::Stopped => EtcdError::Stopped.into(),
        Answer::Accepted(_) => {
            ApiError::Other(OtherError::unmapped("the change was accepted where an answer was expected"))
        }
    }
}

fn refusal_error(refusal: &Refusal) -> ApiError {
    match refusal {
        Refusal::NotLeader { leader: None } => EtcdError::NoLeader.into(),
        Refusal::NotLeader { leader: Some(_) } => EtcdError::NotLeader.into(),
        Refusal::TransferInProgress => EtcdError::LeaderChanged.into(),
        Refusal::Overloaded { .. } => EtcdError::TooManyRequests.into(),
        Refusal::TooLarge { .. } => EtcdError::RequestTooLarge.into(),
        Refusal::Change(change) => match change {
            ChangeRefusal::AlreadyMember(_) => EtcdError::MemberExists.into(),
            ChangeRefusal::NotMember(_) => EtcdError::MemberNotFound.into(),
            ChangeRefusal::NotLearner(_) => EtcdError::MemberNotLearner.into(),
            ChangeRefusal::NotCaughtUp(_) => EtcdError::LearnerNotReady.into(),
            ChangeRefusal::NoVoters => EtcdError::NotEnoughStartedMembers.into(),
            ChangeRefusal::Pending | ChangeRefusal::NotYet | ChangeRefusal::TooMany { .. } => {
                ApiError::Other(OtherError::unmapped(change.to_string()))
            }
        },
    }
}

/// What the cluster's records say against a change of members.
#[must_use]
pub fn placement_error(error: &PlacementError) -> ApiError {
    match error {
        PlacementError::MemberIdExists(_) => EtcdError::MemberExists.into(),
        PlacementError::PeerUrlExists { .. } => EtcdError::PeerUrlExists.into(),
        PlacementError::NotMember(_) | PlacementError::Removed(_) => EtcdError::MemberNotFound.into(),
        PlacementError::NotLearner(_) => EtcdError::MemberNotLearner.into(),
        PlacementError::TooManyLearners { .. } => EtcdError::TooManyLearners.into(),
        PlacementError::LastVoter | PlacementError::NotEnoughStarted { .. } => {
            EtcdError::NotEnoughStartedMembers.into()
        }
        PlacementError::BadUrl(_) | PlacementError::NoUrls | PlacementError::TooManyUrls => {
            EtcdError::MemberBadUrls.into()
        }
        other => ApiError::Other(OtherError::unmapped(other.to_string())),
    }
}

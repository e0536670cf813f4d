//! From what the floors below say to etcd's table of errors: one place, total.

use quorate_consensus::{ChangeRefusal, Refusal};
use quorate_keyspace::KeyspaceError;
use quorate_node::Answer;
use quorate_placement::PlacementError;
use quorate_wire::{ApiError, EtcdError, OtherError};

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
        KeyspaceError::TooManyAlarms
        | KeyspaceError::NotReadOnly
        | KeyspaceError::StaleSteward
        | KeyspaceError::Malformed => ApiError::Other(OtherError::unmapped(error.to_string())),
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

//! etcd's Cluster service: requests to changes of the cluster's records, and the records to responses.

use quorate_consensus::NodeId;
use quorate_placement::{Command, Member};
use quorate_wire::{ApiError, EtcdError, etcdserverpb as pb};

use crate::HeaderBase;

/// Learners at a time; etcd's default is one, but a cluster that replaces members can use two.
pub const LEARNERS_MAX_DEFAULT: u8 = 2;

/// What a MemberAdd wants. `salt` makes the id of a member that is added again another one: ids are never used twice. `strict`, here and below: only if a
/// majority of the voters has then ever started.
///
/// # Errors
/// URLs that cannot be used.
pub fn add(
    request: pb::MemberAddRequest,
    cluster_token: &str,
    salt: u64,
    strict: bool,
) -> Result<(NodeId, Command), ApiError> {
    let urls = checked(request.peer_urls)?;
    let id = quorate_placement::member_id(&urls, cluster_token, salt);
    Ok((
        id,
        Command::AddMember {
            id,
            peer_urls: urls,
            learner: request.is_learner,
            learners_max: LEARNERS_MAX_DEFAULT,
            strict,
        },
    ))
}

/// What a MemberRemove wants.
#[must_use]
pub fn remove(request: &pb::MemberRemoveRequest, strict: bool) -> Command {
    Command::RemoveMember { id: NodeId(request.id), strict }
}

/// What a MemberUpdate wants.
///
/// # Errors
/// URLs that cannot be used.
pub fn update(request: pb::MemberUpdateRequest) -> Result<Command, ApiError> {
    Ok(Command::UpdateMember { id: NodeId(request.id), peer_urls: checked(request.peer_urls)? })
}

/// What a MemberPromote wants.
#[must_use]
pub fn promote(request: &pb::MemberPromoteRequest, strict: bool) -> Command {
    Command::PromoteMember { id: NodeId(request.id), strict }
}

/// Is a learner so close to the leader that it may be promoted? etcd's rule: at least nine tenths of the leader's log.
#[must_use]
pub fn in_sync(learner_matched: u64, leader_matched: u64) -> bool {
    u128::from(learner_matched) * 10 >= u128::from(leader_matched) * 9
}

fn checked(mut urls: Vec<String>) -> Result<Vec<String>, ApiError> {
    if urls.is_empty() || urls.iter().any(|url| quorate_placement::check_url(url).is_err()) {
        return Err(EtcdError::MemberBadUrls.into());
    }
    urls.sort_unstable();
    urls.dedup();
    Ok(urls)
}

/// A member as the API shows it.
#[must_use]
pub fn member(member: &Member) -> pb::Member {
    pb::Member {
        id: member.id.0,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.learner,
    }
}

/// The header of a cluster call: without a revision, as in etcd.
#[must_use]
pub fn header(header: &HeaderBase) -> pb::ResponseHeader {
    header.at(0)
}

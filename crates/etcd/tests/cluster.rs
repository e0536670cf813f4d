//! The services Cluster and Maintenance, and what is not there yet.

use std::time::Duration;

use crate::support::{Cluster, assert_error, delete, peer_urls, put, range};
use quorate_client::{tonic::Code, wire::etcdserverpb as pb};
use quorate_consensus::NodeId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_is_added_catches_up_is_promoted_and_removed() {
    use Code::{FailedPrecondition, InvalidArgument, NotFound};
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client();
    client.put("before", "1").await.unwrap();
    let mut members = cluster.members(0);

    let listed =
        members.member_list(pb::MemberListRequest { linearizable: true }).await.unwrap().into_inner();
    assert_eq!(listed.members.len(), 3);
    let header = listed.header.unwrap();
    assert_eq!((header.revision, header.cluster_id), (0, cluster.cluster.0));
    assert!(listed.members.iter().all(|member| member.client_urls.len() == 1 && !member.is_learner));

    let add = |urls: Vec<String>, is_learner| pb::MemberAddRequest { peer_urls: urls, is_learner };
    let bad = "etcdserver: given member URLs are invalid";
    assert_error("no URL", members.member_add(add(vec![], true)).await, InvalidArgument, bad);
    assert_error(
        "bad URL",
        members.member_add(add(vec!["nonsense".into()], true)).await,
        InvalidArgument,
        bad,
    );
    let exists = "etcdserver: Peer URLs already exists";
    assert_error("known URL", members.member_add(add(peer_urls(0), true)).await, FailedPrecondition, exists);
    let unknown = "etcdserver: member not found";
    assert_error("remove", members.member_remove(pb::MemberRemoveRequest { id: 7 }).await, NotFound, unknown);
    let update = pb::MemberUpdateRequest { id: 7, peer_urls: peer_urls(9) };
    assert_error("update", members.member_update(update).await, NotFound, unknown);
    assert_error(
        "promote",
        members.member_promote(pb::MemberPromoteRequest { id: 7 }).await,
        NotFound,
        unknown,
    );
    let voter = pb::MemberPromoteRequest { id: cluster.nodes[0].id.0 };
    let text = "etcdserver: can only promote a learner member";
    assert_error("voter", members.member_promote(voter).await, FailedPrecondition, text);

    let added = members.member_add(add(peer_urls(3), true)).await.unwrap().into_inner();
    let learner = added.member.unwrap();
    assert!(learner.is_learner);
    assert_eq!(added.members.len(), 4);
    let promote = pb::MemberPromoteRequest { id: learner.id };
    let text = "etcdserver: can only promote a learner member which is in sync with leader";
    for node in 0..3 {
        // On whichever member it comes in: the others relay it to the leader.
        assert_error("behind", cluster.members(node).member_promote(promote).await, FailedPrecondition, text);
    }

    cluster.add_node(NodeId(learner.id), None).await;
    let learners_own = cluster.kv(3);
    let refused = "etcdserver: rpc not supported for learner";
    let mut caught_up = false;
    for _ in 0..500 {
        let request = pb::RangeRequest { serializable: true, ..range("before", "") };
        if learners_own.clone().range(request).await.is_ok_and(|response| response.get_ref().count == 1) {
            caught_up = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(caught_up, "a learner serves serializable reads of what it has received");
    assert_error("range", learners_own.clone().range(range("a", "")).await, FailedPrecondition, refused);
    assert_error("put", learners_own.clone().put(put("a", "")).await, FailedPrecondition, refused);
    assert_error(
        "delete",
        learners_own.clone().delete_range(delete("a", "")).await,
        FailedPrecondition,
        refused,
    );
    let list = cluster.members(3).member_list(pb::MemberListRequest::default()).await;
    assert_error("members", list, FailedPrecondition, refused);
    let status = cluster.maintenance(3).status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert!(status.is_learner);

    let follower = (cluster.leader().await + 1) % 3;
    // It has the keys; the leaders of the other groups may still have to hear that it has theirs, and say "behind" until then, as etcd does.
    let mut promoted = cluster.members(follower).member_promote(promote).await;
    for _ in 0..500 {
        if !promoted.as_ref().is_err_and(|status| status.message() == text) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        promoted = cluster.members(follower).member_promote(promote).await;
    }
    let promoted = promoted.unwrap().into_inner();
    assert!(promoted.members.iter().all(|member| !member.is_learner));
    cluster.kv(3).put(put("by the new voter", "1")).await.unwrap();

    let updated = pb::MemberUpdateRequest { id: learner.id, peer_urls: peer_urls(8) };
    let updated = members.member_update(updated).await.unwrap().into_inner();
    assert_eq!(
        updated.members.iter().find(|member| member.id == learner.id).unwrap().peer_urls,
        peer_urls(8)
    );
    let removed =
        members.member_remove(pb::MemberRemoveRequest { id: learner.id }).await.unwrap().into_inner();
    assert_eq!(removed.members.len(), 3);
    client.put("after", "1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_would_leave_too_few_started_members_is_refused() {
    let cluster = Cluster::start(1).await;
    let mut members = cluster.members(0);
    let text = "etcdserver: re-configuration failed due to not enough started members";
    let last = pb::MemberRemoveRequest { id: cluster.nodes[0].id.0 };
    assert_error("the last", members.member_remove(last).await, Code::FailedPrecondition, text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_etcdctl_shows() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    client.put("a", "1").await.unwrap();
    // Each member tells of what it has applied; by now it has applied this.
    for number in 0..3 {
        assert_eq!(cluster.kv(number).range(range("a", "")).await.unwrap().get_ref().count, 1);
    }
    let leader = cluster.nodes[cluster.leader().await].id.0;
    for (_, status) in client.statuses().await {
        let status = status.unwrap();
        assert_eq!((status.version.as_str(), status.storage_version.as_str()), ("3.6.6", "3.6.0"));
        assert_eq!((status.leader, status.is_learner), (leader, false));
        assert!(status.raft_term > 0 && status.raft_index > 0 && status.raft_applied_index > 0);
        assert!(status.db_size > 0 && status.db_size_in_use > 0);
        assert_eq!(status.db_size_quota, 2 << 30);
        assert_eq!(status.downgrade_info, Some(pb::DowngradeInfo::default()));
        assert!(status.errors.is_empty(), "{:?}", status.errors);
    }
    let hashes: Vec<u32> = {
        let mut hashes = Vec::new();
        for node in 0..3 {
            // A linearizable read first, so that all have the same.
            cluster.kv(node).range(range("a", "")).await.unwrap();
            let hash = cluster.maintenance(node).hash_kv(pb::HashKvRequest { revision: 0 }).await.unwrap();
            hashes.push(hash.into_inner().hash);
        }
        hashes
    };
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_where_it_is_sent() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (next, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let to = |node: usize| pb::MoveLeaderRequest { target_id: cluster.nodes[node].id.0 };
    let refused = cluster.maintenance(other).move_leader(to(next)).await;
    assert_error("follower", refused, Code::FailedPrecondition, "etcdserver: not leader");
    let stranger = cluster.maintenance(leader).move_leader(pb::MoveLeaderRequest { target_id: 7 }).await;
    assert_error("stranger", stranger, Code::FailedPrecondition, "etcdserver: bad leader transferee");
    let moved = cluster.maintenance(leader).move_leader(to(next)).await.unwrap().into_inner();
    assert_eq!(moved.header, None);
    cluster.client().put("a", "1").await.unwrap();
    cluster.client().move_leader(cluster.nodes[other].id.0).await.unwrap();
    assert_eq!(cluster.client().status(other).await.unwrap().leader, cluster.nodes[other].id.0);
}

/// The messages count down to the hash, and together are a backup of what was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_sent_whole_with_its_hash_at_the_end() {
    let cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(0);
    for key in 0..200 {
        kv.put(put(&format!("k{key}"), &"v".repeat(1_000))).await.unwrap();
    }
    // A backup is what this very member has applied; a read through the leader makes it that of all that was answered.
    assert_eq!(cluster.kv(1).range(range("k199", "")).await.unwrap().get_ref().count, 1);
    let mut told = cluster.maintenance(1).snapshot(pb::SnapshotRequest {}).await.unwrap().into_inner();
    let (mut file, mut remaining) = (Vec::new(), u64::MAX);
    while let Some(message) = told.message().await.unwrap() {
        assert!(message.header.is_none() && message.blob.len() <= 32 * 1024);
        assert!(message.remaining_bytes < remaining || message.blob.len() == 32);
        remaining = message.remaining_bytes;
        file.extend_from_slice(&message.blob);
    }
    assert_eq!((remaining, file.len() % 512), (0, 32));
    let (about, chunks) = quorate_service::backup::read(&file.into()).unwrap();
    assert_eq!((about.cluster_id, about.keys), (cluster.cluster.0, 200));
    assert!(about.index >= 200 && chunks.len() > 3);
}

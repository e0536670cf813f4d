//! What is asked: one call of etcd's, with members named by what they are in either system.

use quorate_client::wire::{etcdserverpb as pb, v3electionpb, v3lockpb};

/// A member, as a call names it. The systems' own ids differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// Id 0.
    Nobody,
    /// The first one, whoever leads.
    First,
    /// The member that leads.
    Leader,
    /// An id that no member has.
    Stranger,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Range(pb::RangeRequest),
    RangeStream(pb::RangeRequest),
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    LeaseGrant(pb::LeaseGrantRequest),
    LeaseRevoke(pb::LeaseRevokeRequest),
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    LeaseLeases,
    /// One stream, these leases one after another.
    LeaseKeepAlive(Vec<i64>),
    Lock(v3lockpb::LockRequest),
    Unlock(v3lockpb::UnlockRequest),
    Campaign(v3electionpb::CampaignRequest),
    Proclaim(v3electionpb::ProclaimRequest),
    Leader(v3electionpb::LeaderRequest),
    /// The first that the stream says.
    Observe(v3electionpb::LeaderRequest),
    Resign(v3electionpb::ResignRequest),
    Alarm {
        action: i32,
        whom: Whom,
        alarm: i32,
    },
    Status,
    Hash,
    HashKv(pb::HashKvRequest),
    Defragment,
    /// Asked of the leader.
    MoveLeader(Whom),
    Downgrade(pb::DowngradeRequest),
    MemberList {
        linearizable: bool,
    },
    /// A new stream of watches, through a member drawn for it.
    Open,
    Watch {
        stream: usize,
        create: pb::WatchCreateRequest,
    },
    Cancel {
        stream: usize,
        id: i64,
    },
    Progress {
        stream: usize,
    },
    /// The client goes.
    Close {
        stream: usize,
    },
}

impl Call {
    /// Is it answered from what one member has, however old? Then that member is brought up to date before.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Call::Range(range) | Call::RangeStream(range) => range.serializable,
            Call::Txn(_)
            | Call::LeaseLeases
            | Call::LeaseKeepAlive(_)
            | Call::Status
            | Call::Hash
            | Call::HashKv(_)
            | Call::MemberList { .. }
            | Call::Watch { .. } => true,
            _ => false,
        }
    }

    /// Must all watchers have been told of what was before? What it does to them depends on how far they are.
    pub(super) fn needs_quiet(&self) -> bool {
        matches!(self, Call::Compact(_) | Call::Cancel { .. } | Call::Progress { .. } | Call::Close { .. })
    }
}

//! The service Maintenance.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::stream;
use quorate_consensus::NodeId;
use quorate_service::{
    KEYS,
    backup::Backup,
    keyspace::{
        Alarm, AlarmAction, AlarmKind, AlarmMember, Ask, Command, QUOTA_BYTES_DEFAULT, Reply as KeysReply,
        View,
    },
    keyspace_error,
};
use quorate_wire::{EtcdError, OtherError, etcdserverpb as pb};
use tokio::time::Instant;
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::{
    Backend,
    front::{OnLearner, Serving, call_error, status, table, wrong_reply},
    rpc::etcdserverpb::maintenance_server::Maintenance,
};

/// How long leadership may take to move.
const MOVE_TIMEOUT: Duration = Duration::from_secs(7);
/// Bytes of a message of a backup, as in etcd.
const BLOB_BYTES: usize = 32 * 1024;
/// How often is looked whether it has.
const MOVE_POLL: Duration = Duration::from_millis(5);

#[tonic::async_trait]
impl<B: Backend> Maintenance for Serving<B> {
    type SnapshotStream = BoxStream<pb::SnapshotResponse>;

    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let pb::AlarmRequest { action, member_id, alarm } = request.into_inner();
        let kind = kind_of(alarm);
        let action = match pb::alarm_request::AlarmAction::try_from(action) {
            Ok(pb::alarm_request::AlarmAction::Get) => {
                let view = self.ask(&shown, Ask::AlarmList, false).await?;
                let wanted =
                    |raised: &AlarmMember| alarm == pb::AlarmType::None as i32 || kind == Some(raised.kind);
                let alarms = view.alarms().filter(wanted).map(on_the_wire).collect();
                return Ok(Response::new(pb::AlarmResponse { header: self.header_at(&view), alarms }));
            }
            Ok(pb::alarm_request::AlarmAction::Activate) => AlarmAction::Activate,
            Ok(pb::alarm_request::AlarmAction::Deactivate) => AlarmAction::Deactivate,
            Err(_) => {
                return Err(Status::invalid_argument(
                    "quorate: no such alarm action: 0 lists, 1 raises, 2 lowers",
                ));
            }
        };
        let Some(kind) = kind else {
            // No alarm is named: nothing is done, as in etcd.
            let view = self.ask(&shown, Ask::Operate, false).await?;
            return Ok(Response::new(pb::AlarmResponse {
                header: self.header_at(&view),
                alarms: Vec::new(),
            }));
        };
        let command = Command::Alarm(Alarm { action, alarm: AlarmMember { member: member_id, kind } });
        let (reply, revision) = self.write(&shown, command, None).await?;
        let KeysReply::Alarm(alarm) = reply else { return Err(wrong_reply()) };
        let header = Some(self.header().at(revision));
        Ok(Response::new(pb::AlarmResponse { header, alarms: alarm.map(on_the_wire).into_iter().collect() }))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Served)?;
        let view = self.ask(&shown, Ask::Status, true).await?;
        let keys = self.backend().status(KEYS).await.map_err(|error| call_error(&error))?;
        let Some(keys) = keys else { return Err(table(EtcdError::NoLeader)) };
        let member = NodeId(self.0.front.member_id);
        let mut errors: Vec<String> = view.alarms().map(alarm_text).collect();
        if keys.engine.leader.is_none() {
            errors.push(EtcdError::NoLeader.message().to_owned());
        }
        let bytes = i64::try_from(view.size_bytes()).unwrap_or(i64::MAX);
        let quota = view.quota_bytes().unwrap_or(QUOTA_BYTES_DEFAULT);
        let version = &self.0.front.version;
        Ok(Response::new(pb::StatusResponse {
            header: Some(
                quorate_service::HeaderBase { raft_term: keys.engine.epoch.0, ..self.header() }
                    .at(view.revision()),
            ),
            version: version.clone(),
            db_size: bytes,
            leader: keys.engine.leader.map_or(0, |leader| leader.0),
            raft_index: keys.engine.commit.0,
            raft_term: keys.engine.epoch.0,
            raft_applied_index: keys.applied.index.0,
            errors,
            db_size_in_use: bytes,
            is_learner: keys.engine.membership.learners().contains(&member),
            storage_version: storage_version(version),
            db_size_quota: i64::try_from(quota).unwrap_or(i64::MAX),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }))
    }

    /// Nothing to do and nothing that would have to stop: what a compaction removes is free at once, and the log's old segments are deleted as they
    /// are. Without a header, as in etcd.
    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, true).await?;
        Ok(Response::new(pb::DefragmentResponse { header: None }))
    }

    /// A hash of this member's whole state. Not etcd's function: compare members of one cluster, at equal applied indices.
    async fn hash(&self, request: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let view = self.ask(&shown, Ask::Operate, true).await?;
        let digest = view.digest();
        let hash = (digest ^ (digest >> 32)) as u32;
        Ok(Response::new(pb::HashResponse { header: self.header_at(&view), hash }))
    }

    /// A hash of this member's keys up to a revision. Not etcd's function: compare members of one cluster.
    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        let view = self.ask(&shown, Ask::Operate, true).await?;
        let header = self.header_at(&view);
        let revision = request.get_ref().revision;
        let hashed = tokio::task::spawn_blocking(move || view.hash_kv(revision)).await;
        let Ok(hashed) = hashed else {
            return Err(Status::internal("quorate: hashing did not finish; please report this"));
        };
        let hashed = hashed.map_err(|error| status(&keyspace_error(error)))?;
        let signed = |revision| i64::try_from(revision).unwrap_or(i64::MAX);
        Ok(Response::new(pb::HashKvResponse {
            header,
            hash: hashed.hash,
            compact_revision: signed(hashed.compact_revision),
            hash_revision: signed(hashed.hash_revision),
        }))
    }

    /// A backup of this member's keys: ours, not a file of etcd's, with the hash that etcdctl looks for at its end. A learner gives one, too.
    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let shown = self.admit(&request, OnLearner::Served)?;
        let view = self.ask(&shown, Ask::Operate, true).await?;
        // Nothing is applied that is not committed, and this is asked for after the view was taken: so it is not below what the view has.
        let keys = self.backend().status(KEYS).await.map_err(|error| call_error(&error))?;
        let index = keys.map_or(0, |keys| keys.engine.commit.0);
        let blobs = Blobs::new(view, self.0.front.cluster_id, index, storage_version(&self.0.front.version));
        // The client is told how much there is before it is sent any of it.
        let blobs = tokio::task::spawn_blocking(|| blobs.counted()).await;
        let Ok(blobs) = blobs else {
            return Err(Status::internal("quorate: the backup was not begun; please report this"));
        };
        let told = stream::unfold(blobs, |mut blobs| async move {
            let next = blobs.next()?;
            // Others want to run as well.
            tokio::task::yield_now().await;
            Some((Ok(next), blobs))
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, true).await?;
        if !self.leads() {
            return Err(table(EtcdError::NotLeader));
        }
        let to = NodeId(request.get_ref().target_id);
        let leader = async || {
            let keys = self.backend().status(KEYS).await.map_err(|error| call_error(&error))?;
            keys.ok_or_else(|| table(EtcdError::NoLeader))
        };
        if !leader().await?.engine.membership.voters().contains(&to) {
            return Err(table(EtcdError::BadLeaderTransferee));
        }
        if to.0 != self.0.front.member_id {
            self.backend().transfer_leadership(KEYS, to).map_err(|error| call_error(&error))?;
            let deadline = Instant::now() + MOVE_TIMEOUT;
            while leader().await?.engine.leader != Some(to) {
                if Instant::now() >= deadline {
                    let text = "etcdserver: request timed out, leader transfer took too long";
                    return Err(status(&OtherError::unmapped(text).into()));
                }
                tokio::time::sleep(MOVE_POLL).await;
            }
        }
        // Without a header, as in etcd.
        Ok(Response::new(pb::MoveLeaderResponse { header: None }))
    }

    /// There is nothing that this server could be downgraded to: a valid target passes the validation as it does in etcd, and is refused then.
    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        use pb::downgrade_request::DowngradeAction;
        let shown = self.admit(&request, OnLearner::Refused)?;
        self.permit(&shown, Ask::Operate, true).await?;
        let version = &self.0.front.version;
        match request.get_ref().action() {
            DowngradeAction::Validate => {}
            DowngradeAction::Enable => {
                check_downgrade(&request.get_ref().version, version)?;
                return Err(Status::failed_precondition(
                    "quorate: the members run one release of quorate, and none is older in the way that a downgrade prepares for; nothing was changed",
                ));
            }
            DowngradeAction::Cancel => return Err(table(EtcdError::NoInflightDowngrade)),
        }
        check_downgrade(&request.get_ref().version, version)?;
        let view = self.keys(false).await?;
        Ok(Response::new(pb::DowngradeResponse {
            header: self.header_at(&view),
            version: storage_version(version),
        }))
    }
}

/// The target is a version, and the one minor release below.
fn check_downgrade(target: &str, version: &str) -> Result<(), Status> {
    let numbers = |text: &str| -> Option<(u64, u64)> {
        let mut parts = text.split('.').map(|part| part.parse::<u64>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        // A patch may follow, and nothing after it.
        (parts.next().is_none_or(|patch| patch.is_some()) && parts.next().is_none()).then_some((major, minor))
    };
    let target = numbers(target).ok_or_else(|| table(EtcdError::WrongDowngradeVersionFormat))?;
    match numbers(version) {
        Some((major, minor)) if minor > 0 && target == (major, minor - 1) => Ok(()),
        _ => Err(table(EtcdError::InvalidDowngradeTargetVersion)),
    }
}

/// A backup on its way, in messages of [`BLOB_BYTES`]; the hash is one of its own.
struct Blobs {
    view: View,
    cluster_id: u64,
    index: u64,
    version: String,
    backup: Backup,
    /// Of all that is left, the hash too.
    left: usize,
    ready: BytesMut,
}

impl Blobs {
    fn new(view: View, cluster_id: u64, index: u64, version: String) -> Blobs {
        let backup = Backup::of(&view, cluster_id, index);
        Blobs { view, cluster_id, index, version, backup, left: 0, ready: BytesMut::new() }
    }

    /// Takes as long as reading all keys does.
    fn counted(mut self) -> Blobs {
        self.left = Backup::of(&self.view, self.cluster_id, self.index).map(|piece| piece.len()).sum();
        self
    }

    fn next(&mut self) -> Option<pb::SnapshotResponse> {
        const HASH_BYTES: usize = 32;
        while self.ready.len() < BLOB_BYTES {
            let Some(piece) = self.backup.next() else { break };
            self.ready.extend_from_slice(&piece);
        }
        let before_hash = self.left.checked_sub(HASH_BYTES)?;
        let length = match before_hash {
            0 => self.ready.len(),
            more => BLOB_BYTES.min(more).min(self.ready.len()),
        };
        if length == 0 {
            return None;
        }
        let blob = self.ready.split_to(length).freeze();
        self.left -= length;
        // As etcd counts it: without the hash.
        let remaining_bytes = self.left.saturating_sub(HASH_BYTES) as u64;
        // Chunks carry no header, whatever the comment in the protocol says: so it is in etcd.
        Some(pb::SnapshotResponse { header: None, remaining_bytes, blob, version: self.version.clone() })
    }
}

fn kind_of(alarm: i32) -> Option<AlarmKind> {
    match pb::AlarmType::try_from(alarm) {
        Ok(pb::AlarmType::Nospace) => Some(AlarmKind::NoSpace),
        Ok(pb::AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
        Ok(pb::AlarmType::None) | Err(_) => None,
    }
}

fn on_the_wire(alarm: AlarmMember) -> pb::AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember { member_id: alarm.member, alarm: kind.into() }
}

/// An alarm as Go prints the message, trailing space included; scripts look for it.
fn alarm_text(alarm: AlarmMember) -> String {
    let name = alarm_name(alarm.kind);
    if alarm.member == 0 {
        format!("alarm:{name} ")
    } else {
        format!("memberID:{} alarm:{name} ", alarm.member)
    }
}

pub(crate) fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// `3.6.6` stores as `3.6.0`.
pub(crate) fn storage_version(version: &str) -> String {
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => format!("{major}.{minor}.0"),
        _ => version.to_owned(),
    }
}

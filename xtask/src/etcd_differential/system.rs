//! One side: real servers, asked through generated stubs; answers made plain.

use std::{fmt::Debug, time::Duration};

use quorate_client::{
    Client, Options,
    rpc::{ElectionClient, KvClient, LeaseClient, LockClient, MaintenanceClient},
    tonic::{Response, Status, codegen::tokio_stream as streams, transport::Channel},
    wire::etcdserverpb as pb,
};

use super::{
    call::{Call, Whom},
    watches::Stream,
};
use crate::Fallible;

/// Longer than any call takes that does not wait for anybody.
const PATIENCE: Duration = Duration::from_secs(20);
/// A TTL counts as the granted one for so many seconds: longer than a run takes.
const TTL_SLACK_S: i64 = 3_000;
/// Answers may be larger than what a client takes by default.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// No member's id.
const STRANGER: u64 = 0x1234_5678;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The message, a field a line, and the revision in its header.
    Said { text: String, revision: Option<i64> },
    /// An error.
    Refused { code: i32, text: String },
}

impl Answer {
    fn said(message: &impl Debug, header: Option<&pb::ResponseHeader>) -> Answer {
        Answer::Said { text: format!("{message:#?}"), revision: header.map(|header| header.revision) }
    }

    pub(super) fn is_refusal(&self, code: i32) -> bool {
        matches!(self, Answer::Refused { code: refused, .. } if *refused == code)
    }

    pub(super) fn is_refused_with(&self, wanted: &str) -> bool {
        matches!(self, Answer::Refused { text, .. } if text == wanted)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Answer::Said { text, .. } => text.lines().map(str::to_owned).collect(),
            Answer::Refused { code, text } => vec![format!("refused, code {code}: {text}")],
        }
    }
}

/// The servers of one side.
pub(super) struct System {
    members: Vec<Member>,
    cluster: u64,
    pub(super) streams: Vec<Option<Stream>>,
}

struct Member {
    id: u64,
    channel: Channel,
}

impl System {
    pub(super) async fn connect(endpoints: &[String]) -> Fallible<System> {
        let options = Options { answer_bytes_max: ANSWER_BYTES_MAX, ..Options::default() };
        let (mut members, mut cluster) = (Vec::new(), 0);
        for endpoint in endpoints {
            let client = Client::connect([endpoint], options.clone())?;
            let channel = client.channel(0).ok_or("no channel")?;
            let status = MaintenanceClient::new(channel.clone()).status(pb::StatusRequest {}).await?;
            let header = status.into_inner().header.ok_or("a status without a header")?;
            cluster = header.cluster_id;
            members.push(Member { id: header.member_id, channel });
        }
        Ok(System { members, cluster, streams: Vec::new() })
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    async fn leader(&self) -> usize {
        for (at, member) in self.members.iter().enumerate() {
            let status = MaintenanceClient::new(member.channel.clone()).status(pb::StatusRequest {}).await;
            if status.is_ok_and(|status| status.get_ref().leader == member.id) {
                return at;
            }
        }
        0
    }

    async fn id_of(&self, whom: Whom) -> u64 {
        match whom {
            Whom::Nobody => 0,
            Whom::First => self.members[0].id,
            Whom::Leader => self.members[self.leader().await].id,
            Whom::Stranger => STRANGER,
        }
    }

    /// Asks, through that member where the call does not say which.
    pub(super) async fn ask(&mut self, call: &Call, at: usize) -> Answer {
        let mut at = at % self.members.len();
        if let Call::Watch { stream, .. } = call
            && let Some(Some(stream)) = self.streams.get(*stream)
        {
            at = stream.at;
        }
        if matches!(call, Call::MoveLeader(_)) {
            at = self.leader().await;
        }
        if call.is_local() {
            let barrier = pb::RangeRequest { key: "barrier".into(), ..Default::default() };
            let _ = KvClient::new(self.members[at].channel.clone()).range(barrier).await;
        }
        match tokio::time::timeout(PATIENCE, self.answer(call, at)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Refused { code: -1, text: format!("nothing within {PATIENCE:?}") },
        }
    }

    async fn answer(&mut self, call: &Call, at: usize) -> Answer {
        let channel = self.members[at].channel.clone();
        match call {
            Call::Range(_)
            | Call::RangeStream(_)
            | Call::Put(_)
            | Call::DeleteRange(_)
            | Call::Txn(_)
            | Call::Compact(_) => {
                self.kv(KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX), call, at).await
            }
            Call::LeaseGrant(_)
            | Call::LeaseRevoke(_)
            | Call::LeaseTimeToLive(_)
            | Call::LeaseLeases
            | Call::LeaseKeepAlive(_) => self.leases(LeaseClient::new(channel), call, at).await,
            Call::Lock(_)
            | Call::Unlock(_)
            | Call::Campaign(_)
            | Call::Proclaim(_)
            | Call::Leader(_)
            | Call::Observe(_)
            | Call::Resign(_) => self.recipes(channel, call, at).await,
            Call::Open
            | Call::Watch { .. }
            | Call::Cancel { .. }
            | Call::Progress { .. }
            | Call::Close { .. } => self.watch(channel, call, at).await,
            _ => self.maintenance(channel, call, at).await,
        }
    }

    async fn kv(&self, mut kv: KvClient<Channel>, call: &Call, at: usize) -> Answer {
        match call {
            Call::Range(request) => self.plain(kv.range(request.clone()).await, at, |m| &mut m.header),
            Call::Put(request) => self.plain(kv.put(request.clone()).await, at, |m| &mut m.header),
            Call::DeleteRange(request) => {
                self.plain(kv.delete_range(request.clone()).await, at, |m| &mut m.header)
            }
            Call::Txn(request) => self.plain(kv.txn(request.clone()).await, at, |m| &mut m.header),
            Call::Compact(request) => self.plain(kv.compact(*request).await, at, |m| &mut m.header),
            Call::RangeStream(request) => match kv.range_stream(request.clone()).await {
                Err(status) => refused(&status),
                Ok(chunks) => first(chunks.into_inner().message().await, |chunk| Answer::Said {
                    text: format!("{:?}", chunk.range_response.is_some()),
                    revision: None,
                }),
            },
            _ => unexpected(),
        }
    }

    async fn leases(&self, mut lease: LeaseClient<Channel>, call: &Call, at: usize) -> Answer {
        match call {
            Call::LeaseGrant(request) => self.plain(lease.lease_grant(*request).await, at, |m| &mut m.header),
            Call::LeaseRevoke(request) => {
                self.plain(lease.lease_revoke(*request).await, at, |m| &mut m.header)
            }
            Call::LeaseTimeToLive(request) => {
                let told = lease.lease_time_to_live(*request).await.map(|mut told| {
                    let message = told.get_mut();
                    if (message.granted_ttl - TTL_SLACK_S..message.granted_ttl).contains(&message.ttl) {
                        message.ttl = message.granted_ttl;
                    }
                    // In no order.
                    message.keys.sort_unstable();
                    told
                });
                self.plain(told, at, |m| &mut m.header)
            }
            Call::LeaseLeases => {
                let told = lease.lease_leases(pb::LeaseLeasesRequest {}).await.map(|mut told| {
                    // By the time that is left to them; which is a matter of milliseconds.
                    told.get_mut().leases.sort_unstable_by_key(|lease| lease.id);
                    told
                });
                self.plain(told, at, |m| &mut m.header)
            }
            Call::LeaseKeepAlive(ids) => {
                let asked = ids.iter().map(|id| pb::LeaseKeepAliveRequest { id: *id }).collect::<Vec<_>>();
                let mut told = match lease.lease_keep_alive(streams::iter(asked)).await {
                    Err(status) => return refused(&status),
                    Ok(told) => told.into_inner(),
                };
                let mut lines = String::new();
                loop {
                    match told.message().await {
                        Ok(Some(mut answer)) => {
                            self.header(&mut answer.header, at);
                            lines.push_str(&format!("{answer:#?}\n"));
                        }
                        Ok(None) => return Answer::Said { text: lines, revision: None },
                        Err(status) => return refused(&status),
                    }
                }
            }
            _ => unexpected(),
        }
    }

    async fn recipes(&self, channel: Channel, call: &Call, at: usize) -> Answer {
        let (mut lock, mut election) = (LockClient::new(channel.clone()), ElectionClient::new(channel));
        match call {
            Call::Lock(request) => self.plain(lock.lock(request.clone()).await, at, |m| &mut m.header),
            Call::Unlock(request) => self.plain(lock.unlock(request.clone()).await, at, |m| &mut m.header),
            Call::Campaign(request) => {
                self.plain(election.campaign(request.clone()).await, at, |m| &mut m.header)
            }
            Call::Proclaim(request) => {
                self.plain(election.proclaim(request.clone()).await, at, |m| &mut m.header)
            }
            Call::Leader(request) => {
                self.plain(election.leader(request.clone()).await, at, |m| &mut m.header)
            }
            Call::Resign(request) => {
                self.plain(election.resign(request.clone()).await, at, |m| &mut m.header)
            }
            Call::Observe(request) => match election.observe(request.clone()).await {
                Err(status) => refused(&status),
                Ok(told) => first(told.into_inner().message().await, |mut message| {
                    self.header(&mut message.header, at);
                    Answer::said(&message, message.header.as_ref())
                }),
            },
            _ => unexpected(),
        }
    }

    async fn maintenance(&self, channel: Channel, call: &Call, at: usize) -> Answer {
        let mut maintenance = MaintenanceClient::new(channel.clone());
        match call {
            Call::Alarm { action, whom, alarm } => {
                let request =
                    pb::AlarmRequest { action: *action, member_id: self.id_of(*whom).await, alarm: *alarm };
                let first = self.members[0].id;
                let told = maintenance.alarm(request).await.map(|mut told| {
                    for alarm in &mut told.get_mut().alarms {
                        alarm.member_id = u64::from(alarm.member_id == first);
                    }
                    // They come in no order; and 3.4 has no header here.
                    told.get_mut().alarms.sort_unstable_by_key(|alarm| (alarm.alarm, alarm.member_id));
                    told.get_mut().header = None;
                    told
                });
                self.plain(told, at, |m| &mut m.header)
            }
            Call::Status => {
                let told = maintenance.status(pb::StatusRequest {}).await.map(|mut told| {
                    shape_of_status(told.get_mut(), &self.members);
                    told
                });
                self.plain(told, at, |m| &mut m.header)
            }
            Call::Hash => {
                let told = maintenance.hash(pb::HashRequest {}).await.map(|mut told| {
                    told.get_mut().hash = 0;
                    told
                });
                self.plain(told, at, |m| &mut m.header)
            }
            Call::HashKv(request) => {
                let told = maintenance.hash_kv(*request).await.map(|mut told| {
                    (told.get_mut().hash, told.get_mut().hash_revision) = (0, 0);
                    told
                });
                self.plain(told, at, |m| &mut m.header)
            }
            Call::Defragment => {
                self.plain(maintenance.defragment(pb::DefragmentRequest {}).await, at, |m| &mut m.header)
            }
            Call::MoveLeader(whom) => {
                let request = pb::MoveLeaderRequest { target_id: self.id_of(*whom).await };
                self.plain(maintenance.move_leader(request).await, at, |m| &mut m.header)
            }
            Call::Downgrade(request) => {
                self.plain(maintenance.downgrade(request.clone()).await, at, |m| &mut m.header)
            }
            Call::MemberList { linearizable } => {
                let request = pb::MemberListRequest { linearizable: *linearizable };
                let mut cluster = quorate_client::rpc::ClusterClient::new(channel);
                let told = cluster.member_list(request).await.map(|mut told| {
                    // Each cluster has its own; what is common is what a member looks like.
                    let members = &mut told.get_mut().members;
                    let complete = members.iter().all(|member| {
                        member.id != 0 && !member.name.is_empty() && member.client_urls.len() == 1
                    });
                    *members = if complete { Vec::new() } else { members.clone() };
                    told
                });
                self.plain(told, at, |m| &mut m.header)
            }
            _ => unexpected(),
        }
    }

    async fn watch(&mut self, channel: Channel, call: &Call, at: usize) -> Answer {
        let done = Answer::Said { text: String::new(), revision: None };
        if let Call::Open = call {
            let stream = Stream::open(channel, at, self.members[at].id, self.cluster);
            self.streams.push(Some(stream));
            return done;
        }
        let stream = match call {
            Call::Watch { stream, .. }
            | Call::Cancel { stream, .. }
            | Call::Progress { stream }
            | Call::Close { stream } => *stream,
            _ => return unexpected(),
        };
        let Some(open) = self.streams.get_mut(stream) else { return unexpected() };
        match (call, open) {
            (Call::Watch { create, .. }, Some(open)) => open.create(create.clone()).await,
            (Call::Cancel { id, .. }, Some(open)) => open.cancel(*id).await,
            (Call::Progress { .. }, Some(open)) => open.progress().await,
            (_, open) => *open = None,
        }
        done
    }

    fn plain<T: Debug>(
        &self,
        told: Result<Response<T>, Status>,
        at: usize,
        header: impl Fn(&mut T) -> &mut Option<pb::ResponseHeader>,
    ) -> Answer {
        match told {
            Err(status) => refused(&status),
            Ok(told) => {
                let mut message = told.into_inner();
                self.header(header(&mut message), at);
                let header = *header(&mut message);
                Answer::said(&message, header.as_ref())
            }
        }
    }

    fn header(&self, header: &mut Option<pb::ResponseHeader>, at: usize) {
        plain_header(header, self.cluster, self.members[at].id);
    }
}

/// Ids and terms differ; whether they are there, and whose they are, must not: 1 stands for the right one, 2 for another.
pub(super) fn plain_header(header: &mut Option<pb::ResponseHeader>, cluster: u64, member: u64) {
    let Some(header) = header else { return };
    let plain = |id: u64, right: u64| match id {
        0 => 0,
        id if id == right => 1,
        _ => 2,
    };
    header.cluster_id = plain(header.cluster_id, cluster);
    header.member_id = plain(header.member_id, member);
    header.raft_term = header.raft_term.min(1);
}

fn shape_of_status(status: &mut pb::StatusResponse, members: &[Member]) {
    status.leader = u64::from(members.iter().any(|member| member.id == status.leader));
    // Sizes and indices: there, or not.
    for number in [&mut status.db_size, &mut status.db_size_in_use] {
        *number = (*number).signum();
    }
    for number in [&mut status.raft_index, &mut status.raft_term, &mut status.raft_applied_index] {
        *number = (*number).min(1);
    }
    for error in &mut status.errors {
        if let Some((_, alarm)) = error.split_once("alarm:") {
            *error = format!("memberID:… alarm:{alarm}");
        }
    }
    // What later versions say, too; see the table of what is known.
    (status.db_size_quota, status.downgrade_info) = (0, None);
    (status.version, status.storage_version) = (String::new(), String::new());
}

fn refused(status: &Status) -> Answer {
    Answer::Refused { code: status.code() as i32, text: status.message().to_owned() }
}

fn first<T>(told: Result<Option<T>, Status>, plain: impl FnOnce(T) -> Answer) -> Answer {
    match told {
        Ok(Some(message)) => plain(message),
        Ok(None) => Answer::Refused { code: -1, text: "the stream ended without a word".to_owned() },
        Err(status) => refused(&status),
    }
}

fn unexpected() -> Answer {
    Answer::Refused { code: -2, text: "the differential has no such call here".to_owned() }
}

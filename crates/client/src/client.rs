//! Calls, endpoints and tries.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_wire::{ApiError, Code, etcdserverpb as pb, mvccpb, quoratepb as own};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    Error, Executed, Options, Session, endpoint,
    error::{Verdict, verdict},
    rpc::{ClusterClient, KvClient, MaintenanceClient, ShardsClient},
    session::{EXPIRED, Numbered},
};

/// A client of a cluster. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
    session: Option<Session>,
}

#[derive(Debug)]
struct Shared {
    members: Vec<Member>,
    /// Which of `members` answered last.
    current: AtomicUsize,
    options: Options,
}

#[derive(Debug)]
struct Member {
    url: String,
    channel: Channel,
}

/// What another try may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing: a read, or a numbered write.
    Repeatable,
    /// Execute it twice.
    Once,
}

impl Client {
    /// A client of the cluster with members at `endpoints`. Connections come about with the first calls; this must run within tokio.
    ///
    /// # Errors
    /// [`Error::NoEndpoints`], [`Error::Endpoint`].
    pub fn connect(
        endpoints: impl IntoIterator<Item = impl Into<String>>,
        options: Options,
    ) -> Result<Client, Error> {
        let members = endpoints
            .into_iter()
            .map(|url| {
                let url = url.into();
                let channel = endpoint(&url, &options)?.connect_lazy();
                Ok(Member { url, channel })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        if members.is_empty() {
            return Err(Error::NoEndpoints);
        }
        Ok(Client {
            shared: Arc::new(Shared { members, current: AtomicUsize::new(0), options }),
            session: None,
        })
    }

    /// The same client, whose puts, deletions and transactions belong to `session`: each is executed once, however often it is sent.
    #[must_use]
    pub fn in_session(&self, session: Session) -> Client {
        Client { shared: Arc::clone(&self.shared), session: Some(session) }
    }

    /// The endpoints, as given.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.shared.members.iter().map(|member| member.url.as_str())
    }

    /// The connection to the endpoint of this number, for the generated clients in [`rpc`](crate::rpc).
    #[must_use]
    pub fn channel(&self, endpoint: usize) -> Option<Channel> {
        self.shared.members.get(endpoint).map(|member| member.channel.clone())
    }

    /// The bare generated client of the endpoint of this number: no retries, no deadline.
    #[must_use]
    pub fn fast(&self, endpoint: usize) -> Option<KvClient<Channel>> {
        self.channel(endpoint).map(|channel| kv(channel, &self.shared.options))
    }

    // ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Reads. Linearizable, unless the request says otherwise.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        let options = &self.shared.options;
        self.call(Kind::Repeatable, None, request, |channel, request| async move {
            kv(channel, options).range(request).await
        })
        .await
    }

    /// The key-value of `key`, if there is one. Linearizable.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<mvccpb::KeyValue>, Error> {
        let response = self.range(pb::RangeRequest { key: key.into(), ..Default::default() }).await?;
        Ok(response.kvs.into_iter().next())
    }

    /// The key-values of all keys that begin with `prefix`, in order. An empty prefix: all keys.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn get_prefix(&self, prefix: impl Into<Bytes>) -> Result<pb::RangeResponse, Error> {
        let (key, range_end) = prefix_range(prefix.into());
        self.range(pb::RangeRequest { key, range_end, ..Default::default() }).await
    }

    /// Sets a key.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<pb::PutResponse, Error> {
        self.put_request(pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() }).await
    }

    /// Sets a key as the request says.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn put_request(&self, request: pb::PutRequest) -> Result<pb::PutResponse, Error> {
        let options = &self.shared.options;
        self.write(request, |channel, request| async move { kv(channel, options).put(request).await }).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<pb::DeleteRangeResponse, Error> {
        self.delete_range(pb::DeleteRangeRequest { key: key.into(), ..Default::default() }).await
    }

    /// Deletes all keys that begin with `prefix`. An empty prefix: all keys.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn delete_prefix(&self, prefix: impl Into<Bytes>) -> Result<pb::DeleteRangeResponse, Error> {
        let (key, range_end) = prefix_range(prefix.into());
        self.delete_range(pb::DeleteRangeRequest { key, range_end, ..Default::default() }).await
    }

    /// Deletes as the request says.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Error> {
        let options = &self.shared.options;
        self.write(
            request,
            |channel, request| async move { kv(channel, options).delete_range(request).await },
        )
        .await
    }

    /// Compares, then one of two lists of operations, as one revision.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        let options = &self.shared.options;
        self.write(request, |channel, request| async move { kv(channel, options).txn(request).await }).await
    }

    /// Makes what is older than `revision` unreadable.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn compact(&self, revision: i64, physical: bool) -> Result<pb::CompactionResponse, Error> {
        let options = &self.shared.options;
        let request = pb::CompactionRequest { revision, physical };
        self.write(request, |channel, request| async move { kv(channel, options).compact(request).await })
            .await
    }

    // ── members ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The members. Linearizable, or as the member that answers knows them.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn member_list(&self, linearizable: bool) -> Result<pb::MemberListResponse, Error> {
        let request = pb::MemberListRequest { linearizable };
        self.call(Kind::Repeatable, None, request, |channel, request| async move {
            ClusterClient::new(channel).member_list(request).await
        })
        .await
    }

    /// Adds a member.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn member_add(
        &self,
        peer_urls: impl IntoIterator<Item = impl Into<String>>,
        learner: bool,
    ) -> Result<pb::MemberAddResponse, Error> {
        let peer_urls = peer_urls.into_iter().map(Into::into).collect();
        let request = pb::MemberAddRequest { peer_urls, is_learner: learner };
        self.once(
            request,
            |channel, request| async move { ClusterClient::new(channel).member_add(request).await },
        )
        .await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn member_remove(&self, id: u64) -> Result<pb::MemberRemoveResponse, Error> {
        let request = pb::MemberRemoveRequest { id };
        self.once(request, |channel, request| async move {
            ClusterClient::new(channel).member_remove(request).await
        })
        .await
    }

    /// Tells where a member's peers reach it from now on.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn member_update(
        &self,
        id: u64,
        peer_urls: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<pb::MemberUpdateResponse, Error> {
        let request =
            pb::MemberUpdateRequest { id, peer_urls: peer_urls.into_iter().map(Into::into).collect() };
        self.once(request, |channel, request| async move {
            ClusterClient::new(channel).member_update(request).await
        })
        .await
    }

    /// Makes a learner a voter.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn member_promote(&self, id: u64) -> Result<pb::MemberPromoteResponse, Error> {
        let request = pb::MemberPromoteRequest { id };
        self.once(request, |channel, request| async move {
            ClusterClient::new(channel).member_promote(request).await
        })
        .await
    }

    // ── maintenance ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// What the member at the endpoint of this number says of itself. Asks that one only, once.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn status(&self, endpoint: usize) -> Result<pb::StatusResponse, Error> {
        self.at(endpoint, |channel| async move {
            MaintenanceClient::new(channel).status(pb::StatusRequest {}).await
        })
        .await
    }

    /// The status of every endpoint, in their order, all asked at once.
    pub async fn statuses(&self) -> Vec<(String, Result<pb::StatusResponse, Error>)> {
        let asked: Vec<_> = (0..self.shared.members.len())
            .map(|number| {
                let client = self.clone();
                tokio::spawn(async move { client.status(number).await })
            })
            .collect();
        let mut all = Vec::with_capacity(asked.len());
        for (member, answer) in self.shared.members.iter().zip(asked) {
            let answer = answer
                .await
                .unwrap_or(Err(Error::Answer { missing: "the status: the task that asked for it died" }));
            all.push((member.url.clone(), answer));
        }
        all
    }

    /// Raises, lowers or lists alarms.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Error> {
        // Raising or lowering an alarm twice is the same as once.
        self.call(Kind::Repeatable, None, request, |channel, request| async move {
            MaintenanceClient::new(channel).alarm(request).await
        })
        .await
    }

    // ── shards ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// How the keys are divided among groups. Quorate only.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn shards(&self) -> Result<own::ShardListResponse, Error> {
        self.call(Kind::Repeatable, None, own::ShardListRequest {}, |channel, request| async move {
            ShardsClient::new(channel).list(request).await
        })
        .await
    }

    /// Which shard has a key, and why. Quorate only.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn explain(&self, key: impl Into<Bytes>) -> Result<own::ShardExplainResponse, Error> {
        let request = own::ShardExplainRequest { key: key.into() };
        self.call(Kind::Repeatable, None, request, |channel, request| async move {
            ShardsClient::new(channel).explain(request).await
        })
        .await
    }

    /// Divides the keys of a cluster that has one group of them among so many. Quorate only.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn divide(
        &self,
        shards: u32,
        engine: impl Into<String>,
    ) -> Result<own::ShardDivideResponse, Error> {
        let request = own::ShardDivideRequest { shards, engine: engine.into() };
        self.call(Kind::Once, None, request, |channel, request| async move {
            ShardsClient::new(channel).divide(request).await
        })
        .await
    }

    /// Splits a shard at a token, or in the middle of its hashes. Quorate only.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn split(&self, shard: u32, at: impl Into<Bytes>) -> Result<own::ShardSplitResponse, Error> {
        let request = own::ShardSplitRequest { shard, at: at.into() };
        self.call(Kind::Once, None, request, |channel, request| async move {
            ShardsClient::new(channel).split(request).await
        })
        .await
    }

    /// Merges the right neighbour of a shard into it; `right` says which one that is believed to be. Quorate only.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn merge(&self, left: u32, right: Option<u32>) -> Result<own::ShardMergeResponse, Error> {
        let request = own::ShardMergeRequest { left, right: right.unwrap_or_default() };
        self.call(Kind::Once, None, request, |channel, request| async move {
            ShardsClient::new(channel).merge(request).await
        })
        .await
    }

    /// Makes the member `to` lead; finds the one that leads now and asks it.
    ///
    /// # Errors
    /// As [`Error`].
    pub async fn move_leader(&self, to: u64) -> Result<(), Error> {
        let statuses = self.statuses().await;
        let leader = statuses.iter().position(|(_, status)| {
            status.as_ref().is_ok_and(|status| {
                status
                    .header
                    .as_ref()
                    .is_some_and(|header| header.member_id == status.leader && status.leader != 0)
            })
        });
        let number = leader.unwrap_or_else(|| self.shared.current.load(Ordering::Relaxed));
        self.at(number, |channel| async move {
            MaintenanceClient::new(channel).move_leader(pb::MoveLeaderRequest { target_id: to }).await
        })
        .await
        .map(|_: pb::MoveLeaderResponse| ())
    }

    // ── tries ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async fn at<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        number: usize,
        send: impl FnOnce(Channel) -> F,
    ) -> Result<T, Error> {
        let member = self.shared.members.get(number).ok_or(Error::NoEndpoints)?;
        let after = self.shared.options.call_timeout;
        match tokio::time::timeout(after, send(member.channel.clone())).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(error(&member.url, status, Executed::Unknown)),
            Err(_) => {
                Err(Error::Deadline { endpoint: member.url.clone(), after, executed: Executed::Unknown })
            }
        }
    }

    async fn write<Q: Clone, T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        request: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<T, Error> {
        let Some(session) = &self.session else { return self.once(request, send).await };
        let number = session.next().await;
        self.call(Kind::Repeatable, Some(number), request, send).await
    }

    async fn once<Q: Clone, T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        request: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<T, Error> {
        self.call(Kind::Once, None, request, send).await
    }

    async fn call<Q: Clone, T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        kind: Kind,
        mut number: Option<Numbered>,
        body: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<T, Error> {
        let Shared { members, current, options } = &*self.shared;
        let began = Instant::now();
        // Doubt stays: what a later try finds out says nothing of an earlier one. A numbered write is in doubt too if no try answers.
        let mut doubt = Executed::No;
        let mut tries = 0;
        loop {
            let at = current.load(Ordering::Relaxed) % members.len();
            let member = &members[at];
            let left = options.call_timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                let after = options.call_timeout;
                return Err(Error::Deadline { endpoint: member.url.clone(), after, executed: doubt });
            }
            let mut request = Request::new(body.clone());
            if let Some(number) = &number {
                number.tag(request.metadata_mut());
            }
            let patience = if kind == Kind::Repeatable { left.min(options.try_timeout) } else { left };
            let tried = tokio::time::timeout(patience, send(member.channel.clone(), request)).await;
            tries += 1;
            let failed = match tried {
                Ok(Ok(response)) => {
                    if let Some(number) = &mut number {
                        number.executed();
                    }
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => Some(status),
                Err(_) => None,
            };
            let verdict = failed.as_ref().map_or(Verdict::Doubtful, verdict);
            if let Some(number) = &number
                && failed.as_ref().is_some_and(|status| status.message() == EXPIRED)
            {
                number.expired();
            }
            let again = match verdict {
                Verdict::Final => false,
                Verdict::FinalInDoubt => {
                    doubt = Executed::Unknown;
                    false
                }
                Verdict::NotExecuted => true,
                Verdict::Doubtful => {
                    doubt = Executed::Unknown;
                    kind == Kind::Repeatable
                }
            };
            let left = options.call_timeout.saturating_sub(began.elapsed());
            let pause = if tries % members.len() == 0 { options.retry_pause } else { Duration::ZERO };
            if !again || left <= pause {
                return Err(match failed {
                    Some(status) => error(&member.url, status, doubt),
                    None => Error::Deadline {
                        endpoint: member.url.clone(),
                        after: began.elapsed(),
                        executed: doubt,
                    },
                });
            }
            // Another call may have moved on already; then both go to where it went.
            let next = (at + 1) % members.len();
            let _ = current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn kv(channel: Channel, options: &Options) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(options.answer_bytes_max)
}

fn error(endpoint: &str, status: Status, executed: Executed) -> Error {
    let endpoint = endpoint.to_owned();
    if crate::error::is_transport(&status) {
        return Error::Unreachable { endpoint, status: Box::new(status), executed };
    }
    let error = ApiError::from_status(Code::from_number(status.code() as i32), status.message());
    Error::Refused { endpoint, error, executed }
}

/// The range of all keys that begin with `prefix`, as a request says it.
fn prefix_range(prefix: Bytes) -> (Bytes, Bytes) {
    const ZERO: Bytes = Bytes::from_static(b"\0");
    if prefix.is_empty() {
        return (ZERO, ZERO);
    }
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return (prefix, end.into());
        }
    }
    (prefix, ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let check = |prefix: &'static [u8], key: &[u8], end: &[u8]| {
            assert_eq!(
                prefix_range(prefix.into()),
                (Bytes::copy_from_slice(key), Bytes::copy_from_slice(end))
            );
        };
        check(b"a", b"a", b"b");
        check(b"a\xff", b"a\xff", b"b");
        check(b"\xff\xff", b"\xff\xff", b"\0");
        check(b"", b"\0", b"\0");
    }
}

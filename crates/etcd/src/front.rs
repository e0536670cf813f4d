//! What all services share: who answers, what may be called, and how errors go out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_consensus::{Epoch, GroupId, NodeId, Role, RoleChange};
use quorate_server::{CallError, Handle};
use quorate_service::{
    HeaderBase, KEYS, META, Reply, answer_error, cluster,
    keyspace::View as KeysView,
    node::{Outcome, SessionTag},
    placement::{View as MetaView, shards::ShardMap},
    watch,
};
use quorate_tls::Tls;
use quorate_wire::{ApiError, Code, EtcdError, Limits, OtherError, etcdserverpb as pb};
use tonic::{Status, metadata::MetadataMap};

use crate::{
    Backend, Feed, Tuning,
    counts::{Count, Counts},
    jwt::Jwt,
    known::{Known, TOKEN_TTL},
    leasing::Leasing,
    passwords,
    progress::Progress,
    watching::Watching,
};

/// The text of the answer to a write of a session that is not known any more, with code FailedPrecondition.
pub const SESSION_EXPIRED: &str = "quorate: session expired";

/// A node's front end, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Front<B = Handle<Reply>> {
    /// The node.
    pub backend: B,
    /// The cluster's id, for headers.
    pub cluster_id: u64,
    /// The node's id, for headers.
    pub member_id: u64,
    /// The cluster's name (etcd's `--initial-cluster-token`), from which ids of new members are made.
    pub cluster_token: String,
    /// What requests may take.
    pub limits: Limits,
    /// The version of etcd that clients are told. Default `3.6.6`.
    pub version: String,
    /// Learners at a time, at most (etcd's `--max-learners`, 1 by default there). Default 2.
    pub learners_max: u8,
    /// Refuse changes of members that would leave too few started ones (etcd's `--strict-reconfig-check`). Default true.
    pub strict_reconfiguration: bool,
    /// Should this member be a learner, it has itself promoted as soon as it has caught up. Default false.
    pub auto_promote: bool,
    /// What connections may take.
    pub tuning: Tuning,
    /// What happens to the keys. Without the sink of this feed in the node's state, watches are told nothing.
    pub feed: Feed,
    /// What watches may take.
    pub watches: watch::Settings,
    /// Streams whose clients want a leader (`hasleader`) end when none has been known for so long. Default 3 s: three election timeouts of etcd's.
    pub no_leader_after: Duration,
    /// The shortest time that a lease is granted for, in seconds, at least 1; shorter ones are raised to it. Default 2: etcd's, one and a half election
    /// timeouts rounded up.
    pub lease_ttl_min_s: i64,
    /// With it, clients come through TLS alone; [`PROTOCOLS`](crate::PROTOCOLS) are spoken inside. Default none.
    pub tls: Option<Tls>,
    /// Of these (common names, hosts) a client's certificate must have one; empty, the default: any will do.
    pub client_names: Vec<String>,
    /// How long a token is good without being used (etcd's `--auth-token-ttl`). Default 300 s.
    pub auth_token_ttl: Duration,
    /// With it, tokens are signed ones (etcd's `--auth-token=jwt,…`), good for the time that it says. Default none. Alike on each member.
    pub jwt: Option<Jwt>,
    /// What it costs to compare a password: each step doubles it (etcd's `--bcrypt-cost`). 4 to 31, default 10.
    pub bcrypt_cost: u32,
    /// Which life of the process this is: answers to questions of another are not for it. Default 0; a node's handle knows it.
    pub life: u64,
}

impl<B: Backend> Front<B> {
    /// A front end with etcd's defaults.
    #[must_use]
    pub fn new(backend: B, cluster_id: u64, member_id: u64, cluster_token: impl Into<String>) -> Front<B> {
        Front {
            backend,
            cluster_id,
            member_id,
            cluster_token: cluster_token.into(),
            limits: Limits::default(),
            version: "3.6.6".to_owned(),
            learners_max: cluster::LEARNERS_MAX_DEFAULT,
            strict_reconfiguration: true,
            auto_promote: false,
            tuning: Tuning::default(),
            feed: Feed::default(),
            watches: watch::Settings::default(),
            no_leader_after: Duration::from_secs(3),
            lease_ttl_min_s: 2,
            tls: None,
            client_names: Vec::new(),
            auth_token_ttl: TOKEN_TTL,
            jwt: None,
            bcrypt_cost: passwords::COST,
            life: 0,
        }
    }
}

/// A front end at work; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Serving<B>(pub(crate) Arc<Inner<B>>);

#[derive(Debug)]
pub(crate) struct Inner<B> {
    pub(crate) front: Front<B>,
    watching: Watching,
    leasing: Leasing,
    progress: Progress,
    counts: Arc<Counts>,
    /// The term of `keys`, followed by a task, so that no request takes a lock for its header.
    term: AtomicU64,
    standing: AtomicU8,
    /// The leader that was last known and its term, and how often another began.
    leader: Mutex<Option<(NodeId, Epoch)>>,
    leader_changes: Count,
}

const LEADER_KNOWN: u8 = 1;
const LEARNER: u8 = 2;
const LEADS: u8 = 4;

/// May a learner answer this call?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnLearner {
    Served,
    Refused,
}

impl<B: Backend> Serving<B> {
    pub(crate) fn new(front: Front<B>) -> Serving<B> {
        front.feed.known().set_ttl(front.auth_token_ttl);
        let roles = front.backend.role_changes();
        let watching = Watching::new(front.feed.clone(), front.watches);
        let leasing = Leasing::new(front.feed.clone(), front.life);
        let progress = Progress::new(front.life);
        let counts = Arc::new(Counts::new());
        let (term, standing) = (AtomicU64::new(0), AtomicU8::new(0));
        let (leader, leader_changes) = (Mutex::default(), Count::default());
        let inner =
            Inner { front, watching, leasing, progress, counts, term, standing, leader, leader_changes };
        inner.saw(&roles.borrow());
        Serving(Arc::new(inner))
    }

    /// Keeps term and standing up to date; ends with the node.
    pub(crate) async fn follow_roles(self) {
        let mut roles = self.0.front.backend.role_changes();
        loop {
            self.0.saw(&roles.borrow_and_update());
            if roles.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn backend(&self) -> &B {
        &self.0.front.backend
    }

    pub(crate) fn watching(&self) -> &Watching {
        &self.0.watching
    }

    pub(crate) fn known(&self) -> &Known {
        self.0.front.feed.known()
    }

    pub(crate) fn jwt(&self) -> Option<&Jwt> {
        self.0.front.jwt.as_ref()
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.0.progress
    }

    pub(crate) fn leasing(&self) -> &Leasing {
        &self.0.leasing
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.0.counts
    }

    pub(crate) fn lease_ttl_min_s(&self) -> i64 {
        self.0.front.lease_ttl_min_s
    }

    /// The store's revision, as far as anybody was told of it here.
    pub(crate) fn revision(&self) -> u64 {
        self.0.front.feed.revision()
    }

    /// How the keys are divided into shards, once they are.
    pub(crate) fn shard_map(&self) -> Option<Arc<ShardMap>> {
        self.0.front.feed.shard_map()
    }

    pub(crate) fn no_leader_after(&self) -> Duration {
        self.0.front.no_leader_after
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.front.limits
    }

    pub(crate) fn header(&self) -> HeaderBase {
        HeaderBase {
            cluster_id: self.0.front.cluster_id,
            member_id: self.0.front.member_id,
            raft_term: self.0.term.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn leader_known(&self) -> bool {
        self.0.is(LEADER_KNOWN)
    }

    pub(crate) fn leader_changes(&self) -> u64 {
        self.0.leader_changes.get()
    }

    pub(crate) fn is_learner(&self) -> bool {
        self.0.is(LEARNER)
    }

    pub(crate) fn leads(&self) -> bool {
        self.0.is(LEADS)
    }

    /// What etcd's interceptor looks at before every call, in its order. Who asks is found out in `gate.rs`.
    pub(crate) fn check_metadata(&self, metadata: &MetadataMap, on_learner: OnLearner) -> Result<(), Status> {
        if on_learner == OnLearner::Refused && self.0.is(LEARNER) {
            return Err(table(EtcdError::NotSupportedForLearner));
        }
        if let Some(version) = metadata.get("client-api-version")
            && version.to_str().is_err()
        {
            return Err(table(EtcdError::InvalidClientApiVersion));
        }
        if metadata.get("hasleader").is_some_and(|wanted| wanted == "true") && !self.leader_known() {
            return Err(table(EtcdError::NoLeader));
        }
        Ok(())
    }

    // ── what the node is asked ──────────────────────────────────────────────────────────────────────────────────────────

    /// A view that nobody may be shown anything of: for what this member needs itself. For a client there is [`Serving::ask`].
    pub(crate) async fn keys(&self, serializable: bool) -> Result<KeysView, Status> {
        let backend = self.backend();
        let reply = if serializable { backend.read_local(KEYS).await } else { backend.read(KEYS).await };
        match reply.map_err(|error| call_error(&error))? {
            Reply::KeysView(view) => Ok(view),
            Reply::Keys(_)
            | Reply::Undone(_)
            | Reply::Meta(_)
            | Reply::MetaView(_)
            | Reply::Tree(_)
            | Reply::TreeView(_) => Err(wrong_reply()),
        }
    }

    pub(crate) async fn records(&self, serializable: bool) -> Result<MetaView, Status> {
        let backend = self.backend();
        let reply = if serializable { backend.read_local(META).await } else { backend.read(META).await };
        match reply.map_err(|error| call_error(&error))? {
            Reply::MetaView(view) => Ok(view),
            Reply::Keys(_)
            | Reply::Undone(_)
            | Reply::Meta(_)
            | Reply::KeysView(_)
            | Reply::Tree(_)
            | Reply::TreeView(_) => Err(wrong_reply()),
        }
    }

    /// A header at the keyspace's revision as this member has it.
    pub(crate) fn header_at(&self, view: &KeysView) -> Option<pb::ResponseHeader> {
        Some(self.header().at(view.revision()))
    }
}

impl<B> Inner<B> {
    fn is(&self, what: u8) -> bool {
        self.standing.load(Ordering::Relaxed) & what != 0
    }

    fn saw(&self, roles: &BTreeMap<GroupId, RoleChange>) {
        let Some(keys) = roles.get(&KEYS) else { return };
        // By its term: one may lead, stop and lead again between two looks.
        if let Some(leads) = keys.leader.map(|leader| (leader, keys.epoch)) {
            let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
            self.leader_changes.add((*leader != Some(leads)).into());
            *leader = Some(leads);
        }
        let mut standing = 0;
        if keys.leader.is_some() {
            standing |= LEADER_KNOWN;
        }
        match keys.role {
            Role::Learner => standing |= LEARNER,
            Role::Leader => standing |= LEADS,
            Role::Follower | Role::PreCandidate | Role::Candidate => {}
        }
        self.term.store(keys.epoch.0, Ordering::Relaxed);
        self.standing.store(standing, Ordering::Relaxed);
    }
}

/// The tag that makes a write safe to repeat, if the client sent one.
pub(crate) fn session(metadata: &MetadataMap) -> Result<Option<SessionTag>, Status> {
    const SESSION: &str = "quorate-session";
    const SEQUENCE: &str = "quorate-sequence";
    const LOWEST_WANTED: &str = "quorate-lowest-wanted";
    let number = |name: &'static str| -> Result<Option<u64>, Status> {
        let Some(value) = metadata.get(name) else { return Ok(None) };
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| {
            Status::invalid_argument(format!("quorate: metadata {name} must be a decimal number"))
        })
    };
    let Some(session) = number(SESSION)? else { return Ok(None) };
    let Some(sequence) = number(SEQUENCE)?.filter(|sequence| *sequence > 0) else {
        let text = format!(
            "quorate: metadata {SESSION} comes with {SEQUENCE}, which counts the session's writes from 1"
        );
        return Err(Status::invalid_argument(text));
    };
    // Nothing may be forgotten, unless the client says so.
    let lowest_wanted = number(LOWEST_WANTED)?.unwrap_or(1);
    Ok(Some(SessionTag { session, sequence, lowest_wanted }))
}

pub(crate) fn done<R>(outcome: Outcome<R>) -> Result<R, Status> {
    match outcome {
        Outcome::Done(response) => Ok(response),
        Outcome::SessionExpired => {
            Err(status(&OtherError::new(Code::FailedPrecondition, SESSION_EXPIRED).into()))
        }
        Outcome::Malformed(error) => {
            Err(Status::internal(format!("quorate: the command's entry cannot be read: {error}")))
        }
    }
}

pub(crate) fn wrong_reply() -> Status {
    Status::internal("quorate: the node answered another question than was asked; please report this")
}

pub(crate) fn call_error(error: &CallError) -> Status {
    match error {
        CallError::Answer(answer) => status(&answer_error(answer)),
        CallError::TimedOut => table(EtcdError::Timeout),
        CallError::Stopped => table(EtcdError::Stopped),
        CallError::TooManyRequests => table(EtcdError::TooManyRequests),
    }
}

pub(crate) fn table(error: EtcdError) -> Status {
    status(&error.into())
}

pub(crate) fn status(error: &ApiError) -> Status {
    Status::new(tonic::Code::from_i32(error.code().number()), error.message())
}

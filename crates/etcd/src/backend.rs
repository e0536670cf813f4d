//! What the front end asks of the node.

use std::{collections::BTreeMap, future::Future};

use bytes::Bytes;
use quorate_consensus::{GroupId, NodeId, RoleChange, Writer};
use quorate_server::{CallError, Counters, Handle};
use quorate_service::{
    KEYS, Reply,
    node::{GroupStatus, NodeInput, SessionTag},
};
use tokio::sync::watch;

/// What the front end asks of the node: a [`Handle`], or whatever a test puts in its place.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Through the log of `group`; answered when this node's own replica has applied it.
    fn propose<F: FnOnce(&mut Writer) + Send>(
        &self,
        group: GroupId,
        session: Option<SessionTag>,
        encode: F,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// A view that has everything committed before the call.
    fn read(&self, group: GroupId) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// A view of what this node has.
    fn read_local(&self, group: GroupId) -> impl Future<Output = Result<Reply, CallError>> + Send;

    /// How a group stands here; `None` if it does not (yet).
    fn status(&self, group: GroupId) -> impl Future<Output = Result<Option<GroupStatus>, CallError>> + Send;

    /// Asks that `to` lead.
    ///
    /// # Errors
    /// The node takes no more inputs.
    fn transfer_leadership(&self, group: GroupId, to: NodeId) -> Result<(), CallError>;

    /// A word for the front end of another member, or of whoever leads the keys; it may be lost.
    fn relay(&self, to: Option<NodeId>, word: Bytes);

    /// What the node counts, if it counts anything.
    fn counters(&self) -> Option<&Counters> {
        None
    }

    /// Role, epoch and leader of each group, now and whenever they change.
    fn role_changes(&self) -> watch::Receiver<BTreeMap<GroupId, RoleChange>>;
}

impl Backend for Handle<Reply> {
    fn propose<F: FnOnce(&mut Writer) + Send>(
        &self,
        group: GroupId,
        session: Option<SessionTag>,
        encode: F,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send {
        Handle::propose(self, group, session, encode)
    }

    fn read(&self, group: GroupId) -> impl Future<Output = Result<Reply, CallError>> + Send {
        Handle::read(self, group)
    }

    fn read_local(&self, group: GroupId) -> impl Future<Output = Result<Reply, CallError>> + Send {
        Handle::read_local(self, group)
    }

    fn status(&self, group: GroupId) -> impl Future<Output = Result<Option<GroupStatus>, CallError>> + Send {
        Handle::status(self, group)
    }

    fn transfer_leadership(&self, group: GroupId, to: NodeId) -> Result<(), CallError> {
        Handle::transfer_leadership(self, group, Some(to))
    }

    fn relay(&self, to: Option<NodeId>, word: Bytes) {
        // A node that takes no more inputs has no more words to say either.
        let _ = self.input(NodeInput::Relay { group: KEYS, to, bytes: word });
    }

    fn counters(&self) -> Option<&Counters> {
        Some(Handle::counters(self))
    }

    fn role_changes(&self) -> watch::Receiver<BTreeMap<GroupId, RoleChange>> {
        Handle::role_changes(self)
    }
}

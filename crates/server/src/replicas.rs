//! The state half of whoever embeds a state machine of their own: a replica of it per group.

use std::{collections::BTreeMap, fmt};

use quorate_consensus::{GroupId, StateMachine};
use quorate_node::{
    Applied, Config, FromState, NodeInput, Outcome, Replica, StateHalf, StateOutputs, ToState,
};

/// What a caller is told.
pub enum Reply<S: StateMachine> {
    /// What the command came to.
    Done(Outcome<S::Response>),
    /// The state, as the read may see it.
    View(S::View),
}

impl<S: StateMachine> fmt::Debug for Reply<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reply::Done(_) => "Done(..)",
            Reply::View(_) => "View(..)",
        })
    }
}

impl<S: StateMachine> Reply<S> {
    /// The command's response, if it is one and the command was executed.
    pub fn response(self) -> Option<S::Response> {
        match self {
            Reply::Done(Outcome::Done(response)) => Some(response),
            Reply::Done(Outcome::SessionExpired | Outcome::Malformed(_)) | Reply::View(_) => None,
        }
    }

    /// The view, if it is one.
    pub fn view(self) -> Option<S::View> {
        match self {
            Reply::View(view) => Some(view),
            Reply::Done(_) => None,
        }
    }
}

/// Hears of what changed: the group, the change's number, the events. Called in the state thread; must not wait.
pub type EventSink<S> = Box<dyn FnMut(GroupId, u64, Vec<<S as StateMachine>::Event>) + Send>;

/// A replica per group; give it to [`crate::start`].
pub struct Replicas<S: StateMachine> {
    replicas: BTreeMap<GroupId, Replica<S>>,
    applied: Applied<S>,
    on_events: Option<EventSink<S>>,
}

impl<S: StateMachine> fmt::Debug for Replicas<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("groups", &self.replicas.len()).finish_non_exhaustive()
    }
}

impl<S: StateMachine> Replicas<S> {
    /// The state before the first entry of every group that `config` names.
    pub fn new(config: &Config, mut birth: impl FnMut(GroupId) -> S) -> Replicas<S> {
        let replica = |group: &quorate_node::GroupConfig, machine| {
            (group.id, Replica::new(machine, group.birth.clone(), config.node, config.life))
        };
        let replicas = config.groups.iter().map(|group| replica(group, birth(group.id))).collect();
        Replicas { replicas, applied: Applied::default(), on_events: None }
    }

    /// Tells `sink` what changes.
    #[must_use]
    pub fn with_events(mut self, sink: EventSink<S>) -> Replicas<S> {
        self.on_events = Some(sink);
        self
    }

    /// Tells those who wait what `applied` has for them. A view is made once for all reads of a batch.
    fn tell(
        group: GroupId,
        replica: &Replica<S>,
        applied: &mut Applied<S>,
        on_events: &mut Option<EventSink<S>>,
        out: &mut StateOutputs<Reply<S>>,
    ) {
        let replies = applied.replies.drain(..).map(|(ticket, outcome)| (ticket, Reply::Done(outcome)));
        out.replies.extend(replies);
        if !applied.reads.is_empty() {
            let view = replica.machine().view();
            out.replies.extend(applied.reads.drain(..).map(|ticket| (ticket, Reply::View(view.clone()))));
        }
        for (number, events) in applied.events.drain(..) {
            if let Some(sink) = on_events {
                sink(group, number, events);
            }
        }
    }
}

impl<S: StateMachine> StateHalf for Replicas<S> {
    type Reply = Reply<S>;

    fn handle(&mut self, input: ToState, out: &mut StateOutputs<Reply<S>>) {
        let Replicas { replicas, applied, on_events } = self;
        let group = match &input {
            ToState::Entries { group, .. }
            | ToState::Restore { group, .. }
            | ToState::ReadSafe { group, .. }
            | ToState::ReadLocal { group, .. }
            | ToState::SnapshotDue { group }
            | ToState::Role { group, .. }
            | ToState::Relayed { group, .. }
            | ToState::Confirm { group }
            | ToState::Kept { group, .. }
            | ToState::Membership { group, .. } => *group,
        };
        // A group that is not here has nobody who waits for it.
        let Some(replica) = replicas.get_mut(&group) else { return };
        let mut report = None;
        match input {
            ToState::Entries { entries, .. } => {
                for entry in entries {
                    replica.apply(entry, applied);
                }
                replica.release_reads(applied);
                report = Some(false);
            }
            ToState::Restore { meta, chunks, .. } => match replica.restore(&meta, chunks) {
                Ok(()) => {
                    replica.release_reads(applied);
                    report = Some(true);
                }
                Err(error) => {
                    let why = error.to_string();
                    out.core.push(NodeInput::State(FromState::RestoreFailed { group, why }));
                }
            },
            ToState::ReadSafe { tickets, index, .. } => {
                for ticket in tickets {
                    replica.read_at(index, ticket, applied);
                }
            }
            ToState::ReadLocal { ticket, .. } => applied.reads.push(ticket),
            ToState::SnapshotDue { .. } => {
                let (meta, chunks) = replica.snapshot();
                let chunks = Box::new(chunks);
                out.core.push(NodeInput::State(FromState::Snapshot { group, meta, chunks }));
            }
            ToState::Role { .. }
            | ToState::Relayed { .. }
            | ToState::Confirm { .. }
            | ToState::Kept { .. }
            | ToState::Membership { .. } => {}
        }
        Self::tell(group, replica, applied, on_events, out);
        if let Some(jumped) = report {
            let own = std::mem::take(&mut applied.own);
            out.core.push(NodeInput::State(replica.report(group, own, jumped)));
        }
    }
}

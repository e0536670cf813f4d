//! The state half of a simulated host: the replica of the keys, with a note of its digest after every entry.

use quorate_consensus::{GroupId, Position, StateMachine};
use quorate_keyspace::{Keyspace, Response, View};
use quorate_node::{Applied, FromState, NodeInput, Outcome, Replica, StateHalf, StateOutputs, ToState};

/// The group of the keys, as in the service.
pub(crate) const KEYS: GroupId = GroupId(2);

/// What those who wait are told.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Done(Outcome<Response>),
    View(View),
}

/// A state after an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After {
    pub(crate) position: Position,
    pub(crate) digest: u64,
    pub(crate) revision: u64,
    /// By a snapshot, not entry by entry.
    pub(crate) restored: bool,
}

#[derive(Debug)]
pub(crate) struct Half {
    replica: Replica<Keyspace>,
    applied: Applied<Keyspace>,
    /// For the checker, which takes them out.
    pub(crate) after: Vec<After>,
}

impl Half {
    pub(crate) fn new(replica: Replica<Keyspace>) -> Half {
        Half { replica, applied: Applied::default(), after: Vec::new() }
    }

    pub(crate) fn replica(&self) -> &Replica<Keyspace> {
        &self.replica
    }

    fn note(&mut self, restored: bool) {
        self.after.push(After {
            position: self.replica.applied(),
            digest: self.replica.digest(),
            revision: self.replica.machine().number(),
            restored,
        });
    }

    fn done(&mut self, jumped: bool, out: &mut StateOutputs<Reply>) {
        self.replica.release_reads(&mut self.applied);
        out.replies
            .extend(self.applied.replies.drain(..).map(|(ticket, outcome)| (ticket, Reply::Done(outcome))));
        self.applied.events.clear();
        let own = std::mem::take(&mut self.applied.own);
        self.serve(out);
        out.core.push(NodeInput::State(FromState::Applied {
            group: KEYS,
            position: self.replica.applied(),
            own,
            state_bytes: self.replica.machine().size_bytes().min(1),
            jumped,
        }));
    }

    fn serve(&mut self, out: &mut StateOutputs<Reply>) {
        if !self.applied.reads.is_empty() {
            let view = self.replica.machine().view();
            out.replies
                .extend(self.applied.reads.drain(..).map(|ticket| (ticket, Reply::View(view.clone()))));
        }
    }
}

impl StateHalf for Half {
    type Reply = Reply;

    fn handle(&mut self, input: ToState, out: &mut StateOutputs<Reply>) {
        match input {
            ToState::Entries { entries, .. } => {
                for entry in entries {
                    self.replica.apply(entry, &mut self.applied);
                    self.note(false);
                }
                self.done(false, out);
            }
            ToState::Restore { group, meta, chunks } => match self.replica.restore(&meta, chunks) {
                Ok(()) => {
                    self.note(true);
                    self.done(true, out);
                }
                Err(error) => {
                    let why = error.to_string();
                    out.core.push(NodeInput::State(FromState::RestoreFailed { group, why }));
                }
            },
            ToState::ReadSafe { tickets, index, .. } => {
                for ticket in tickets {
                    self.replica.read_at(index, ticket, &mut self.applied);
                }
                self.serve(out);
            }
            ToState::ReadLocal { ticket, .. } => {
                out.replies.push((ticket, Reply::View(self.replica.machine().view())));
            }
            ToState::SnapshotDue { group } => {
                let (meta, chunks) = self.replica.snapshot();
                out.core.push(NodeInput::State(FromState::Snapshot {
                    group,
                    meta,
                    chunks: Box::new(chunks),
                }));
            }
            ToState::Role { .. } | ToState::Membership { .. } => {}
        }
    }
}

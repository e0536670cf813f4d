//! The state half of a simulated host: the real service's, with a note of the state's digest after every entry.

use quorate_consensus::{GroupId, Position, StateMachine};
use quorate_node::{FromState, NodeInput, Replica, StateOutputs, ToState};
use quorate_service::{META, Reply, State, TREE, znodes::View};

use crate::{
    etcd::{self, Sums},
    shards::is_shard,
    zoo::News,
};

/// By how much a state's size is divided in what the policy of snapshots hears of it.
const STATE_COUNTS_FOR: u64 = 8;

/// A group's state after an entry.
#[derive(Clone, Debug)]
pub(crate) struct After {
    pub(crate) group: GroupId,
    pub(crate) position: Position,
    pub(crate) digest: u64,
    /// The revision of the keys, the version of the records, or the zxid of the tree.
    pub(crate) number: u64,
    /// By a snapshot, not entry by entry.
    pub(crate) restored: bool,
    /// Of the tree: all of it.
    pub(crate) view: Option<View>,
    /// Of the keys, in a run that has watches and leases: all of it, in a few numbers.
    pub(crate) keys: Option<Sums>,
}

impl After {
    fn note(state: &State, group: GroupId, restored: bool, keys: bool) -> After {
        fn of<S: StateMachine>(replica: &Replica<S>, group: GroupId, restored: bool) -> After {
            let (position, digest) = (replica.applied(), replica.digest());
            After {
                group,
                position,
                digest,
                number: replica.machine().number(),
                restored,
                view: None,
                keys: None,
            }
        }
        match (group, state.tree()) {
            (META, _) => of(state.meta(), group, restored),
            (TREE, Some(tree)) => After { view: Some(tree.machine().view()), ..of(tree, group, restored) },
            // What is shown of divided keys is no matter of the order's log alone.
            _ => {
                let alone = keys && state.keys().machine().alone().is_ok();
                let sums = alone.then(|| Sums::of(&state.keys().machine().view()));
                After { keys: sums, ..of(state.keys(), group, restored) }
            }
        }
    }
}

/// The service's state half, watched.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) state: State,
    /// For the checker, which takes them out.
    pub(crate) after: Vec<After>,
    /// And what it shows of divided keys.
    pub(crate) shown: Vec<(u64, Sums)>,
    /// What is said of the tree, in a run that has one.
    pub(crate) news: Option<News>,
    /// What is said of the keys, in a run that has watches and leases.
    pub(crate) keys_news: Option<etcd::News>,
}

impl Half {
    pub(crate) fn new(state: State, news: Option<News>, keys_news: Option<etcd::News>) -> Half {
        Half { state, after: Vec::new(), shown: Vec::new(), news, keys_news }
    }

    /// Gives the service its input as it is, in the batches in which it came.
    pub(crate) fn handle(&mut self, input: ToState, out: &mut StateOutputs<Reply>) {
        let restored = match &input {
            ToState::Restore { group, .. } if !is_shard(*group) => Some(*group),
            ToState::Restore { .. }
            | ToState::SnapshotDue { .. }
            | ToState::Entries { .. }
            | ToState::ReadSafe { .. }
            | ToState::ReadLocal { .. }
            | ToState::Role { .. }
            | ToState::Relayed { .. }
            | ToState::Confirm { .. }
            | ToState::Kept { .. }
            | ToState::Membership { .. } => None,
        };
        let places = matches!(input, ToState::Entries { .. } | ToState::Restore { .. });
        let said = out.core.len();
        let keys = self.keys_news.is_some();
        let after = &mut self.after;
        self.state
            .handle_observed(input, out, |state, group| after.push(After::note(state, group, false, keys)));
        let failed = |input: &NodeInput| matches!(input, NodeInput::State(FromState::RestoreFailed { .. }));
        if let Some(group) = restored
            && !out.core[said..].iter().any(failed)
        {
            self.after.push(After::note(&self.state, group, true, keys));
        }
        if places && let Some(shards) = self.state.shards().filter(|shards| shards.is_whole()) {
            self.shown.push((shards.revision(), Sums::of(&shards.view())));
        }
        // A snapshot is due when the log outgrows the state, and a state that keeps its history grows for as long as the run does. Here it counts for a
        // part of its size, so that snapshots stay frequent to the end of a run.
        for input in &mut out.core[said..] {
            if let NodeInput::State(FromState::Applied { state_bytes, .. }) = input {
                *state_bytes /= STATE_COUNTS_FOR;
            }
        }
    }
}

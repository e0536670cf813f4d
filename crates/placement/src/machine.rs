//! The state machine of the `meta` group.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DecodeError, NodeId, Placed, Position, Reader, RestoreError, StateMachine, Writer,
};

use crate::decide::Outcome;
use crate::state::State;
use crate::{Command, Event, PlacementError, Response, Snapshot, View};

/// Who is in the cluster and which groups it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    state: Arc<State>,
}

impl Placement {
    /// The state before the first entry: no cluster yet.
    #[must_use]
    pub fn new() -> Placement {
        Placement::default()
    }

    /// The cluster's other members are lost for good: it goes on as another cluster, with `node` as its only member, which votes and has another disk than it
    /// had. All the others count as removed, so that their ids are never given again. The groups stay.
    ///
    /// Not for a log that anybody else holds: it is a change that no command says.
    ///
    /// # Errors
    /// There are no records yet, or `node` is not among the members.
    pub fn go_on_alone(&mut self, cluster: ClusterId, node: NodeId) -> Result<(), PlacementError> {
        if self.state.cluster.is_none() {
            return Err(PlacementError::NotInitialised);
        }
        if !self.state.members.contains_key(&node) {
            let removed = self.state.removed.contains(&node);
            return Err(if removed {
                PlacementError::Removed(node)
            } else {
                PlacementError::NotMember(node)
            });
        }
        Arc::make_mut(&mut self.state).go_on_alone(cluster, node);
        Ok(())
    }
}

/// What an evaluated command will do. `meta` numbers its changes itself, so an effect is placed before the next command is
/// evaluated.
#[derive(Clone, Debug)]
pub struct Effect {
    /// Number of the last change when the command was evaluated; the effect belongs to that state and no other.
    base: u64,
    outcome: Result<Outcome, PlacementError>,
}

impl StateMachine for Placement {
    type Effect = Effect;
    type Response = Response;
    type Event = Event;
    type View = View;
    type Snapshot = Snapshot;

    fn evaluate(&mut self, _at: Position, command: &Bytes) -> Effect {
        let outcome = Command::decode(command)
            .map_err(|_| PlacementError::Malformed)
            .and_then(|command| self.state.decide(command));
        Effect { base: self.state.version, outcome }
    }

    fn changes(effect: &Effect) -> bool {
        matches!(effect.outcome, Ok(Outcome::Change(_)))
    }

    fn number(&self) -> u64 {
        self.state.version
    }

    fn place(&mut self, effect: Effect, number: u64) -> Placed<Response, Event> {
        assert_eq!(
            effect.base, self.state.version,
            "an effect is placed before the next command is evaluated"
        );
        let refused = |error| Response::Refused { version: number, error };
        match effect.outcome {
            Ok(Outcome::Change(change)) => {
                assert!(number > self.state.version, "a change has a number of its own");
                Arc::make_mut(&mut self.state).apply(change, number);
                Placed {
                    response: self.done(number),
                    events: vec![Event::MembersChanged { version: number }],
                }
            }
            Ok(Outcome::Holds) => Placed { response: self.done(number), events: Vec::new() },
            Ok(Outcome::AlreadyInitialised(cluster)) => Placed {
                response: Response::AlreadyInitialised { version: number, cluster },
                events: Vec::new(),
            },
            Err(error) => Placed { response: refused(error), events: Vec::new() },
        }
    }

    fn view(&self) -> View {
        View { state: self.state.clone() }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.state.clone())
    }

    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Placement, RestoreError> {
        Ok(Placement { state: Arc::new(crate::snapshot::read(chunks)?) })
    }

    fn digest(&self) -> u64 {
        self.state.digest()
    }

    fn size_bytes(&self) -> u64 {
        self.state.size_bytes()
    }

    fn encode_response(response: &Response, to: &mut Writer) {
        response.encode(to);
    }

    fn decode_response(from: &mut Reader) -> Result<Response, DecodeError> {
        Response::decode(from)
    }
}

impl Placement {
    fn done(&self, version: u64) -> Response {
        Response::Done { version, members: self.state.members.values().cloned().collect() }
    }
}

//! The replica of the keys, compared with those of the other members; see [`crate::agreement`].

use bytes::Bytes;
use quorate_consensus::{Index, NodeId, StateMachine as _};
use quorate_keyspace::{Alarm, AlarmAction, AlarmKind, AlarmMember, Command};
use quorate_node::{FromState, NodeInput, StateOutputs};

use super::{Reply, State};
use crate::{
    KEYS,
    agreement::{Judgement, Word, judge},
};

/// The alarm's member when replicas differ and nobody can say which is wrong, as in etcd.
const NOBODY: NodeId = NodeId(0);

impl State {
    /// The keys have come to another index: is their digest wanted here?
    pub(super) fn keys_reached(&mut self, out: &mut StateOutputs<Reply>) {
        let at = self.keys.applied().index;
        if let Some(by) = self.agreement.reached(at) {
            out.core.push(Word::Report(at, self.keys.digest()).to(Some(by)));
        }
    }

    pub(super) fn hear_of_agreement(&mut self, from: NodeId, bytes: Bytes, out: &mut StateOutputs<Reply>) {
        let Ok(word) = Word::decode(bytes) else { return };
        let (own, leader) = (self.identity.node, self.agreement.leader);
        let leads = leader == Some(own);
        match word {
            Word::Tick(begin) if from == own => {
                if leads && (begin || !self.agreement.settled) {
                    self.ask_for_digests(out);
                } else if !leads && !self.agreement.settled {
                    out.core.push(Word::Wish.to(None));
                }
            }
            Word::Wish if leads => self.ask_for_digests(out),
            // Whoever thinks that it leads may ask: a digest says nothing but the truth.
            Word::Ask(at) => {
                self.agreement.want(at, from, self.keys.applied().index);
                self.keys_reached(out);
            }
            Word::Report(index, digest) if leads => self.compare(from, index, digest, out),
            Word::Verdict(agrees) if leader == Some(from) => {
                // Only at the beginning: one that runs is for its operator to replace, whom the alarm tells.
                if !agrees && !self.agreement.settled {
                    out.core.push(NodeInput::State(FromState::Differs { group: KEYS }));
                }
                self.agreement.settled |= agrees;
            }
            Word::Tick(_) | Word::Wish | Word::Report(..) | Word::Verdict(_) => {}
        }
    }

    fn ask_for_digests(&mut self, out: &mut StateOutputs<Reply>) {
        let word = self.agreement.ask(self.keys.applied().index);
        for member in self.keys.membership().members() {
            out.core.push(word.to(Some(member)));
        }
    }

    fn compare(&mut self, from: NodeId, index: Index, digest: u64, out: &mut StateOutputs<Reply>) {
        // What was not asked for in this lead is not collected.
        let Some(asked) = self.agreement.asked.get_mut(&index) else { return };
        asked.digests.insert(from, digest);
        let wrong = match judge(self.keys.membership(), &asked.digests) {
            Judgement::Open => return,
            Judgement::Quorum { agree, differ } => {
                let verdicts = agree.into_iter().map(|node| (node, true));
                for (node, agrees) in verdicts.chain(differ.iter().map(|node| (*node, false))) {
                    out.core.push(Word::Verdict(agrees).to(Some(node)));
                }
                differ
            }
            Judgement::Split => vec![NOBODY],
        };
        if wrong.is_empty() || std::mem::replace(&mut asked.raised, true) {
            return;
        }
        let view = self.keys.machine().view();
        for node in wrong {
            let alarm = AlarmMember { member: node.0, kind: AlarmKind::Corrupt };
            if !view.alarms().any(|raised| raised == alarm) {
                let command = Command::Alarm(Alarm { action: AlarmAction::Activate, alarm });
                self.propose_own(KEYS, &view.auth().as_root(command).encode(), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{
        ClusterId, Entry, Epoch, Incarnation, Membership, Payload, Position, Role, RoleChange,
    };
    use quorate_keyspace::Put;
    use quorate_node::{StateHalf as _, TaggedCommand, ToState};
    use quorate_placement::Command as Records;

    use super::*;
    use crate::{Bootstrap, Identity, agreement_tick};

    const LEADER: NodeId = NodeId(1);

    /// Three members, which have applied a put: of this value each.
    fn members(values: [&'static str; 3]) -> Vec<State> {
        let ids = [1, 2, 3].map(NodeId);
        let nothing = Records::RemoveMember { id: NodeId(9), strict: false };
        values
            .into_iter()
            .zip(ids)
            .map(|(value, node)| {
                let identity = Identity {
                    cluster: ClusterId(1),
                    node,
                    incarnation: Incarnation(1),
                    life: 1,
                    name: String::new(),
                    client_urls: Vec::new(),
                };
                let birth = Membership::new(ids, []);
                let mut state = State::new(identity, Some(Bootstrap { initialise: nothing.clone(), birth }));
                let role = if node == LEADER { Role::Leader } else { Role::Follower };
                let change = RoleChange { role, epoch: Epoch(1), leader: Some(LEADER) };
                let mut out = StateOutputs::default();
                state.handle(ToState::Role { group: KEYS, change }, &mut out);
                put(&mut state, 1, value);
                state
            })
            .collect()
    }

    fn put(state: &mut State, index: u64, value: &'static str) {
        let put = Put { key: "k".into(), value: value.into(), ..Put::default() };
        let command = TaggedCommand::encode(None, None, |to| to.raw(&Command::Put(put).encode()));
        let entry = Entry { position: Position::new(1, index), payload: Payload::Command(command) };
        state.handle(ToState::Entries { group: KEYS, entries: vec![entry] }, &mut StateOutputs::default());
    }

    /// What comes of a second that passes for a member, once everything has been said: who was called different at once, and the alarms that are asked for.
    fn tick(states: &mut [State], node: NodeId) -> (Vec<NodeId>, usize) {
        let mut inputs = vec![(node, agreement_tick(node, false))];
        let (mut stopped, mut alarms) = (Vec::new(), 0);
        while let Some((from, input)) = inputs.pop() {
            match input {
                NodeInput::Relay { group, to, bytes } => {
                    let to = to.unwrap_or(LEADER);
                    let mut out = StateOutputs::default();
                    let state = &mut states[to.0 as usize - 1];
                    state.handle(ToState::Relayed { group, from, bytes }, &mut out);
                    inputs.extend(out.core.into_iter().map(|input| (to, input)));
                }
                NodeInput::State(FromState::Differs { group: KEYS }) => stopped.push(from),
                NodeInput::Propose { group: KEYS, .. } => alarms += 1,
                other => panic!("{other:?}"),
            }
        }
        (stopped, alarms)
    }

    #[test]
    fn replicas_that_agree_are_settled_and_never_ask_again_by_themselves() {
        let mut states = members(["a", "a", "a"]);
        assert_eq!(tick(&mut states, NodeId(2)), (vec![], 0));
        assert!(states.iter().all(|state| state.agreement.settled));
        assert!(states[0].agreement.asked.len() == 2);
        assert_eq!(tick(&mut states, NodeId(3)), (vec![], 0));
    }

    #[test]
    fn whoever_starts_with_other_data_than_a_quorum_has_is_stopped_and_the_alarm_is_raised_once() {
        let mut states = members(["a", "a", "b"]);
        assert_eq!(tick(&mut states, NodeId(3)), (vec![NodeId(3)], 1));
        // The leader itself may be wrong.
        let mut states = members(["b", "a", "a"]);
        assert_eq!(tick(&mut states, NodeId(2)), (vec![LEADER], 1));
        // Nobody knows who is wrong: nobody is stopped, and the alarm is nobody's.
        let mut states = members(["a", "b", "c"]);
        assert_eq!(tick(&mut states, NodeId(2)), (vec![], 1));
    }

    #[test]
    fn a_replica_that_becomes_another_while_it_runs_is_not_stopped() {
        let mut states = members(["a", "a", "a"]);
        tick(&mut states, LEADER);
        for (state, value) in states.iter_mut().zip(["x", "x", "y"]) {
            put(state, 2, value);
        }
        states[0].agreement.settled = false;
        assert_eq!(tick(&mut states, LEADER), (vec![], 1));
    }

    #[test]
    fn who_is_behind_is_not_different() {
        let mut states = members(["a", "a", "a"]);
        put(&mut states[0], 2, "b");
        put(&mut states[1], 2, "b");
        assert_eq!(tick(&mut states, NodeId(3)), (vec![], 0));
        assert!(states[1].agreement.settled && !states[2].agreement.settled);
        // Its word comes when it has applied as much, and then it agrees.
        put(&mut states[2], 2, "b");
        assert_eq!(tick(&mut states, NodeId(3)), (vec![], 0));
        assert!(states[2].agreement.settled);
    }
}

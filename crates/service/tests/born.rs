//! What the order over shards and the state half that has it do when members and leaders change.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, EngineKind, Entry, Epoch, GroupId, Incarnation, Membership, MembershipChange, NodeId, Payload,
    Position, Role, RoleChange, ShardId, StateMachine,
};
use quorate_order::{Command as OrderCommand, Mark, Outcome, Part, TxnId};
use quorate_service::{
    Bootstrap, Founding, Identity, KEYS, Reply, State, founding_entry,
    keyspace::{Command, Keyspace, LeaseId},
    node::{NodeInput, Origin, StateHalf, StateOutputs, TaggedCommand, Ticket, ToState},
    placement::{Command as Records, Member, cluster_id},
    shards::{Keys, Order, Undone, order_entry, split_at},
    shards_tick,
};

const FOUNDING: Founding = Founding { shards: 2, engine: EngineKind::Raft };

fn members<const N: usize>(ids: [u64; N]) -> Membership {
    Membership::new(ids.map(NodeId), [])
}

struct Log {
    keys: Keys,
    epoch: u64,
    index: u64,
}

impl Log {
    fn new() -> Log {
        Log { keys: Keys::Alone(Keyspace::new()), epoch: 1, index: 0 }
    }

    fn apply(&mut self, entry: &Bytes) {
        self.index += 1;
        let effect = self.keys.evaluate(Position::new(self.epoch, self.index), entry);
        let number = self.keys.number() + u64::from(Keys::changes(&effect));
        self.keys.place(effect, number);
    }

    fn order(&mut self, command: OrderCommand) {
        self.apply(&order_entry(&command));
    }

    fn read(&self) -> &Order {
        self.keys.order().expect("its shards are founded")
    }
}

#[test]
fn what_a_steward_of_leases_has_begun_counts_in_its_own_epoch_alone() {
    let mut log = Log::new();
    log.apply(&founding_entry(FOUNDING, &members([1, 2, 3])));
    let barriers = || [ShardId(1), ShardId(2)].map(|shard| (shard, Mark::default())).to_vec();
    let decides = |txn| {
        let outcome = Outcome::Done { branch: true, changes: false, barriers: barriers() };
        OrderCommand::Decide { txn: TxnId(txn), outcome }
    };
    let of_epoch = |epoch| {
        let (lease, granted) = (LeaseId(7), 3);
        let checkpoint = Command::LeaseCheckpoint { epoch, checkpoints: vec![(lease, granted, 5)] };
        [Command::LeaseExpire { epoch, leases: vec![(lease, granted)] }, checkpoint]
    };
    for command in of_epoch(1) {
        log.apply(&command.encode());
    }
    log.order(decides(1));
    assert_eq!(log.read().orderer().part(ShardId(1), TxnId(1)), Part::Done { branch: true });
    // {the steward of epoch 2 has looked at what there is, and promised a client its lease}
    log.epoch = 2;
    log.order(decides(2));
    for shard in [ShardId(1), ShardId(2)] {
        assert_eq!(log.read().orderer().part(shard, TxnId(2)), Part::Void);
    }
    // Whatever is no steward's counts in any epoch.
    log.apply(&Command::LeaseRevoke { id: LeaseId(7) }.encode());
    log.epoch = 3;
    log.order(decides(3));
    assert_eq!(log.read().orderer().part(ShardId(1), TxnId(3)), Part::Done { branch: true });
}

/// A state half of node 1, a founder; or one that joins, and does not know with whom the cluster began.
fn state(founders: Option<[u64; 2]>) -> State {
    let bootstrap = founders.map(|ids| {
        let ids = ids.map(NodeId);
        let member = |id: &NodeId| Member::new(*id, vec![format!("http://n{}:1", id.0)], false);
        let initialise = Records::Initialise {
            cluster: cluster_id(ids),
            members: ids.iter().map(member).collect(),
            groups: std::collections::BTreeMap::new(),
        };
        Bootstrap { initialise, birth: Membership::new(ids, []) }
    });
    let identity = Identity {
        cluster: ClusterId(1),
        node: NodeId(1),
        incarnation: Incarnation(1),
        life: 1,
        name: "n1".to_owned(),
        client_urls: Vec::new(),
    };
    State::new(identity, bootstrap)
}

/// Applies the next entry of the keys; what whoever proposed it is told.
fn apply(state: &mut State, index: u64, payload: Payload) -> (Vec<Reply>, Vec<NodeInput>) {
    let mut out = StateOutputs::default();
    let entries = vec![Entry { position: Position::new(1, index), payload }];
    state.handle(ToState::Entries { group: KEYS, entries }, &mut out);
    (out.replies.into_iter().map(|(_, reply)| reply).collect(), out.core)
}

fn proposed(entry: &Bytes) -> Payload {
    let origin = Some(Origin { node: NodeId(1), life: 1, ticket: Ticket(5) });
    Payload::Command(TaggedCommand::encode(origin, None, |to| to.raw(entry)))
}

#[test]
fn groups_are_born_with_the_members_that_the_keys_have_there_or_not_at_all() {
    for joins in [false, true] {
        let mut state = state((!joins).then_some([1, 8]));
        let change = MembershipChange::Set { voters: vec![NodeId(1)], learners: Vec::new() };
        let joint = members([1, 8]).begin(&change).unwrap();
        apply(&mut state, 1, Payload::Membership(joint));
        apply(&mut state, 2, proposed(&founding_entry(FOUNDING, &members([1, 8]))));
        assert!(
            state.shards().is_none(),
            "8 is on its way out, and would be needed in groups that it does not hear of"
        );
        apply(&mut state, 3, Payload::Membership(members([1])));
        apply(&mut state, 4, proposed(&founding_entry(FOUNDING, &members([1, 8]))));
        assert!(state.shards().is_none());
        apply(&mut state, 5, proposed(&founding_entry(FOUNDING, &members([1]))));
        let map = state.shard_map().expect("founded").clone();
        let split = |ids: &Membership| split_at(&map, ShardId(1), None, ids).unwrap().0;
        let (told, _) = apply(&mut state, 6, proposed(&split(&members([1, 8]))));
        assert!(matches!(told[..], [Reply::Undone(Undone::Unfit)]), "{told:?}");
        let (_, core) = apply(&mut state, 7, proposed(&split(&members([1]))));
        assert!(core.iter().any(|input| matches!(input, NodeInput::Open(_))), "{core:?}");
        assert_eq!(state.shard_map().unwrap().shards().len(), 3);
    }
}

#[test]
fn before_the_first_change_of_members_a_newcomer_takes_a_founding_as_the_founders_do() {
    for joins in [false, true] {
        let mut state = state((!joins).then_some([1, 8]));
        apply(&mut state, 1, proposed(&founding_entry(FOUNDING, &members([1, 8]))));
        assert!(state.shards().is_some());
    }
}

#[test]
fn a_node_that_hears_of_no_leader_of_the_order_leads_no_shard_for_long() {
    let mut state = state(Some([1, 8]));
    apply(&mut state, 1, proposed(&founding_entry(FOUNDING, &members([1, 8]))));
    let mut give = |input| {
        let mut out = StateOutputs::default();
        state.handle(input, &mut out);
        let transfers = out.core.into_iter().filter_map(|input| match input {
            NodeInput::TransferLeadership { group, to } => Some((group, to)),
            _ => None,
        });
        transfers.collect::<Vec<_>>()
    };
    let role = |group, leader: Option<u64>| {
        let leader = leader.map(NodeId);
        let role = if leader == Some(NodeId(1)) { Role::Leader } else { Role::Follower };
        ToState::Role { group, change: RoleChange { role, epoch: Epoch(1), leader } }
    };
    let NodeInput::Relay { bytes, .. } = shards_tick(NodeId(1)) else { unreachable!("a tick is a word") };
    let tick = || ToState::Relayed { group: KEYS, from: NodeId(1), bytes: bytes.clone() };
    let [led, followed] = [GroupId(16), GroupId(17)];
    give(role(led, Some(1)));
    give(role(followed, Some(8)));
    give(role(KEYS, Some(8)));
    assert!((0..40).all(|_| give(tick()).is_empty()));
    give(role(KEYS, None));
    let asked: Vec<_> = (0..30).flat_map(|_| give(tick())).collect();
    assert_eq!(asked, [(led, None), (led, None)], "and again, if nobody could take it");
    // {the order elects somebody in time}: it is led on.
    give(role(KEYS, Some(8)));
    give(role(KEYS, None));
    assert!((0..10).all(|_| give(tick()).is_empty()));
    give(role(KEYS, Some(8)));
    assert!((0..40).all(|_| give(tick()).is_empty()));
}

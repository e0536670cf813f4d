//! The bytes are a schedule: which of all that may happen to three engines and their disks does, one thing after the other. What they promise must hold.
//!
//! The world is that of the exhaustive search (`quorate-explore`), in which a fuzzer goes far where the search goes everywhere. A schedule may also hold
//! messages that no engine wrote. From the first on only panics and memory count: members trust each other, so a lie may well make them disagree.

use quorate_consensus::{Engine, NodeId, Reader, Writer};
use quorate_explore::{Action, Begin, Budget, Change, Explored, Scenario, World};
use quorate_raft::Raft;
use quorate_zab::Zab;

use crate::script::{Script, write_piece};

/// Steps of a schedule; what comes after is not read.
const STEPS_MAX: usize = 2_000;
/// Instead of the number of something that may happen: a message is invented.
const INVENT: u8 = u8::MAX;

/// Three founders, and one who comes and takes a place; nothing runs out within a schedule.
const SCENARIO: Scenario = Scenario {
    name: "fuzz",
    voters: 3,
    members: 4,
    begin: Begin::Founded,
    slow_disks: true,
    messages_max: 60,
    budget: Budget {
        wakes: 255,
        proposals: 255,
        reads: 255,
        crashes: 255,
        doubles: 255,
        snapshots: 255,
        transfers: 255,
        changes: 3,
    },
    changes: &[Change::Learn(4), Change::Promote(4), Change::Remove(1)],
};

pub(crate) fn raft(bytes: &[u8]) {
    run::<Raft>(bytes);
}

pub(crate) fn zab(bytes: &[u8]) {
    run::<Zab>(bytes);
}

fn run<E: Explored>(bytes: &[u8]) {
    let (mut script, mut actions) = (Script::new(bytes), Vec::new());
    let mut world = World::<E>::new(&SCENARIO).expect("nothing has happened");
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            return;
        }
        match script.byte() {
            INVENT => invent(&mut world, &mut script),
            which => {
                actions.clear();
                world.actions(&SCENARIO, &mut actions);
                if let Some(action) = actions.get(usize::from(which) % actions.len().max(1)) {
                    let outcome = world.act(*action, &SCENARIO);
                    outcome.unwrap_or_else(|broken| panic!("{}: {}", broken.invariant, broken.text));
                }
            }
        }
    }
}

fn invent<E: Explored>(world: &mut World<E>, script: &mut Script<'_>) {
    let (to, from) = (script.below(3) as u8, NodeId(script.below(4) as u64 + 1));
    if let Ok(message) = E::decode_message(&mut Reader::new(script.piece())) {
        world.invent(to, from, message, &SCENARIO);
    }
}

/// An orderly life in which all kinds of things happen, long and short; and every message of it, invented.
pub(crate) fn raft_seeds() -> Vec<Vec<u8>> {
    seeds::<Raft>()
}

/// The same.
pub(crate) fn zab_seeds() -> Vec<Vec<u8>> {
    seeds::<Zab>()
}

fn seeds<E: Explored>() -> Vec<Vec<u8>> {
    let (whole, messages) = life::<E>(600);
    let mut invented = Vec::new();
    for message in messages.iter().take(200) {
        let mut to = Writer::new();
        E::encode_message(message, &mut to);
        invented.extend([INVENT, 0, 1]);
        write_piece(&mut invented, &to.finish());
    }
    let elected_and_lied_to = [&whole[..120], &invented[..invented.len().min(2_000)]].concat();
    vec![whole[..60].to_vec(), whole[..200].to_vec(), whole, invented, elected_and_lied_to]
}

/// The choices of so many steps, and the messages that were first in line.
fn life<E: Explored>(steps: usize) -> (Vec<u8>, Vec<<E as Engine>::Message>) {
    let mut world = World::<E>::new(&SCENARIO).expect("nothing has happened");
    let (mut choices, mut messages, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        actions.clear();
        world.actions(&SCENARIO, &mut actions);
        let which = orderly(&actions, step).min(254);
        choices.push(which as u8);
        messages.extend(world.messages().next().cloned());
        world
            .act(actions[which], &SCENARIO)
            .unwrap_or_else(|broken| panic!("{}: {}", broken.invariant, broken.text));
    }
    (choices, messages)
}

/// What is under way is finished first; then something new, each kind in its turn.
fn orderly(actions: &[Action], step: usize) -> usize {
    let place = |wanted: &dyn Fn(&Action) -> bool| actions.iter().position(wanted);
    let new = match step % 9 {
        0 => place(&|action| matches!(action, Action::Propose(_))),
        1 => place(&|action| matches!(action, Action::Read(_))),
        2 if step > 150 => place(&|action| matches!(action, Action::Snapshot(_))),
        3 if step > 250 => place(&|action| matches!(action, Action::Change(_))),
        4 if step > 400 => place(&|action| matches!(action, Action::Crash(_))),
        5 if step > 500 => place(&|action| matches!(action, Action::Transfer(..))),
        _ => None,
    };
    let under_way = || {
        place(&|action| matches!(action, Action::Sync(_)))
            .or_else(|| place(&|action| matches!(action, Action::Deliver(_))))
    };
    let wake = || place(&|action| matches!(action, Action::Wake(n) if usize::from(*n) == step % 3));
    new.or_else(under_way).or_else(wake).unwrap_or_default()
}

//! What the cluster's records want of a group, and the word that they were followed.

mod support;

use quorate_consensus::{Duration, Membership, NodeId, Payload, Position};
use quorate_node::{FromState, NodeInput, TaggedCommand, ToState};
use support::{Disk, GROUP, World};

/// A node alone that leads, and whose state half applies what it is given.
struct Alone {
    world: World,
    applied: Position,
    followed: u64,
}

impl Alone {
    fn new() -> Alone {
        let mut alone = Alone { world: World::new(Disk::default()), applied: Position::ZERO, followed: 0 };
        (0..3).for_each(|_| alone.settle());
        assert!(alone.world.leads());
        alone
    }

    fn settle(&mut self) {
        self.world.settle(Duration::from_millis(400));
        for input in std::mem::take(&mut self.world.out.state) {
            let ToState::Entries { entries, .. } = input else { continue };
            for entry in entries {
                self.applied = entry.position;
                if let Payload::Command(bytes) = entry.payload {
                    let tagged = TaggedCommand::decode(bytes).unwrap();
                    self.followed = self.followed.max(tagged.followed.unwrap_or_default());
                }
            }
        }
        let (position, followed) = (self.applied, self.followed);
        let (own, jumped) = (Vec::new(), false);
        let report = FromState::Applied { group: GROUP, position, own, state_bytes: 0, jumped, followed };
        self.world.node.handle(self.world.now, NodeInput::State(report), &mut self.world.out);
        self.world.settle(Duration::from_millis(1));
    }

    fn wants(&mut self, version: u64, voters: &[u64]) {
        let membership = Membership::new(voters.iter().copied().map(NodeId), []);
        let desired = NodeInput::Desired { group: GROUP, version, membership, more: false };
        self.world.node.handle(self.world.now, desired, &mut self.world.out);
        self.settle();
        self.settle();
    }

    fn membership(&self) -> Membership {
        self.world.node.status(GROUP).unwrap().engine.membership
    }
}

#[test]
fn a_group_that_is_as_the_records_want_it_says_so_in_its_log() {
    let mut alone = Alone::new();
    alone.wants(2, &[1]);
    assert_eq!(alone.followed, 2);
}

/// {1 takes in 2, which is removed at once; that is said to be done, and 2 stops; then the older wish arrives}: a joint membership would need 2 for ever.
#[test]
fn nobody_goes_back_behind_what_was_said_to_have_been_followed() {
    let mut alone = Alone::new();
    alone.wants(3, &[1]);
    assert_eq!(alone.followed, 3);
    alone.wants(2, &[1, 2]);
    assert_eq!(alone.membership(), Membership::new([NodeId(1)], []));
    alone.wants(3, &[1, 2]);
    assert_eq!(alone.membership(), Membership::new([NodeId(1)], []));
    alone.wants(4, &[1, 2]);
    assert!(alone.membership().is_joint());
    // It is not there yet, and will not be before 2 has come up.
    assert_eq!(alone.followed, 3);
}

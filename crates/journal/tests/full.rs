//! F13: a full disk is an answer. Whatever operation it begins at and however long it lasts, nothing is fatal, nothing that was acknowledged is lost,
//! votes go on, and once there is room again everything goes on.

mod support;

use bytes::Bytes;
use quorate_consensus::{Entry, Epoch, GroupId, Index, Membership, NodeId, Payload};
use quorate_journal::{GroupWrite, WriteToken};
use support::{
    disk::{Crash, Disk},
    world::{World, config},
};

const ONE: GroupId = GroupId(1);
const TWO: GroupId = GroupId(2);

/// What an owner does: while the disk is full it takes no commands, and looks again now and then.
struct Script {
    world: World,
    votes: u64,
    /// An entry that is longer than a segment.
    long: WriteToken,
}

impl Script {
    fn new(seed: u64, full_while: std::ops::Range<u64>, full_renames: bool) -> Script {
        let mut disk = Disk::new(seed);
        disk.orderly = true;
        (disk.full_while, disk.full_renames) = (full_while, full_renames);
        let mut script = Script { world: World::on(disk, seed, config()), votes: 0, long: WriteToken(0) };
        script.start();
        script.world.check();
        script
    }

    /// A node without any log needs room for its first segment; with one it always starts.
    fn start(&mut self) {
        self.world.recover();
        if self.world.failed {
            let files = self.world.disk.files();
            let begun = |content: &Vec<u8>| content.iter().any(|byte| *byte != 0);
            assert!(!files.values().any(begun), "a log is there, and the node does not start");
            self.world.disk.full_while = 0..0;
            self.world.restart();
            self.world.recover();
        }
        assert!(self.world.recovered && self.world.damaged.is_none());
    }

    fn rest(&mut self) {
        if self.world.full {
            self.world.journal.retry_reserve();
        }
        self.world.journal.flush();
        self.world.settle();
        assert!(!self.world.failed, "fatal: {}", self.world.disk.last);
        assert_eq!(self.world.damaged, None);
    }

    /// A vote is durable at once, whatever room the disk has. (Where not even a name finds room, it may wait behind an entry for the next segment: a
    /// directory that is one block short, of a file system that is full to the last one. The other such entry is one longer than a segment.)
    fn vote(&mut self, group: GroupId) {
        self.votes += 1;
        let hard_state = Some(Bytes::from(self.votes.to_le_bytes().to_vec()));
        let token = self.world.write(group, GroupWrite { hard_state, ..GroupWrite::default() });
        self.rest();
        assert!(
            self.world.durable >= token || self.world.disk.full_renames || self.long > self.world.durable,
            "vote {} waits",
            self.votes
        );
    }

    fn entry(&mut self, group: GroupId, payload: Payload) {
        let size = Entry::new(Epoch(1), Index(1), payload.clone()).size_bytes() + 200;
        if self.world.journal.has_room_for(size) {
            let last = self.world.now.get(&group).map(|model| model.last().index).unwrap_or_default();
            let entries = vec![Entry::new(Epoch(self.world.epoch), last.next(), payload)];
            let token = self.world.write(group, GroupWrite { entries, ..GroupWrite::default() });
            if size > config().segment_bytes {
                self.long = token;
            }
        }
        self.rest();
    }

    fn fill(&mut self, group: GroupId, count: usize) {
        for _ in 0..count {
            self.entry(group, Payload::Command(Bytes::from(vec![7; 700])));
        }
    }

    /// A snapshot of what is durable; the log goes up to it, if it succeeds.
    fn snapshot(&mut self, group: GroupId) {
        let at = self.world.durable_state().get(&group).map(|model| model.last()).unwrap_or_default();
        let before = self.world.snapshots_durable.get(&group).copied().unwrap_or_default();
        if at.index <= before {
            return;
        }
        self.world.snapshot(group, at);
        self.rest();
        if self.world.snapshots_durable.get(&group) == Some(&at.index) {
            self.world.compact(group, at);
            self.rest();
        }
    }

    fn crash(&mut self, how: Crash) {
        self.world.disk.submit(self.world.journal.operations());
        self.world.disk.crash(how);
        self.world.restart();
        self.long = WriteToken(0);
        self.start();
        self.world.check();
        self.rest();
    }

    fn run(&mut self) {
        self.vote(ONE);
        self.fill(ONE, 12);
        self.vote(TWO);
        self.entry(TWO, Payload::Noop);
        self.snapshot(ONE);
        self.fill(ONE, 8);
        self.crash(Crash::Process);
        self.vote(ONE);
        self.entry(ONE, Payload::Membership(Membership::new([NodeId(1), NodeId(2)], [])));
        self.fill(TWO, 6);
        self.entry(ONE, Payload::Command(Bytes::from(vec![8; 9_000])));
        self.snapshot(TWO);
        self.vote(TWO);
        self.crash(Crash::Power);
        self.vote(TWO);
        self.fill(ONE, 8);
        self.crash(Crash::Process);
        self.crash(Crash::Process);
        self.snapshot(ONE);
        self.vote(ONE);
    }

    /// There is room again: what waited is durable, and the next write is.
    fn end(&mut self) {
        self.world.disk.full_while = 0..0;
        self.rest();
        self.rest();
        assert!(
            !self.world.full && self.world.journal.has_reserve(),
            "the space is back, and nobody says so"
        );
        self.fill(ONE, 12);
        let newest = self.world.write(TWO, GroupWrite::default());
        self.rest();
        assert!(self.world.durable >= newest);
        self.world.crash_and_check(Crash::Power);
        let files = self.world.disk.files();
        assert!(files.len() < 20, "{:?}", files.keys());
    }
}

fn one(seed: u64, full_while: std::ops::Range<u64>, full_renames: bool) -> (u64, bool) {
    let mut script = Script::new(seed, full_while, full_renames);
    script.run();
    let (operations, full) = (script.world.disk.executed, script.world.full);
    script.end();
    (operations, full)
}

#[test]
fn f13_a_disk_that_is_full_from_any_operation_to_any_other_is_never_fatal() {
    let (operations, _) = one(1, 0..0, false);
    assert!(operations > 200, "{operations}");
    let mut ended_full = 0;
    for from in 0..operations {
        for length in [1usize, 2, 3, 4, 6, 9, 14, 30, 81, 10_000] {
            for full_renames in [false, true].into_iter().take(1 + length % 2) {
                let at = from..from + length as u64;
                let run = std::panic::catch_unwind(|| one(1 + from, at.clone(), full_renames));
                match run {
                    Ok((_, full)) => ended_full += u64::from(full),
                    Err(_) => panic!("full while {at:?}, renames refused: {full_renames}"),
                }
            }
        }
    }
    assert!(ended_full > 100, "{ended_full}");
}

/// Completions in any order: "no such file" of the second operation may come before "full" of the first.
#[test]
fn f13_a_disk_that_is_full_for_a_while_is_never_fatal_in_whatever_order_it_answers() {
    let mut full = 0;
    for seed in 0..600 {
        let mut world = World::new(seed);
        world.recover();
        for life in 0..6 {
            let from = world.disk.executed + world.random.below(120);
            world.disk.full_while = from..from + world.random.below(300);
            world.disk.full_renames = life % 2 == 0;
            for _ in 0..world.random.between(1, 500) {
                match world.random.below(20) {
                    0..5 if !world.full => world.act(),
                    5 => world.journal.retry_reserve(),
                    _ => world.step(),
                }
                full += u32::from(world.full);
                assert!(!world.failed, "seed {seed}, life {life}: {}", world.disk.last);
            }
            let how = if world.random.chance(1, 2) { Crash::Process } else { Crash::Power };
            world.crash_and_check(how);
        }
        world.disk.full_while = 0..0;
        world.settle();
        world.journal.retry_reserve();
        world.settle();
        world.journal.retry_reserve();
        world.settle();
        assert!(!world.full, "seed {seed}: the space is back, and nobody says so");
        let newest = world.write(ONE, GroupWrite::default());
        world.journal.flush();
        world.settle();
        assert!(world.durable >= newest, "seed {seed}");
    }
    assert!(full > 1_000, "{full}");
}

/// A full disk and no reserve: as often as the node is started, it starts, votes, and takes no new byte of the disk.
#[test]
fn f13_a_node_starts_on_a_full_disk_as_often_as_it_must() {
    let mut script = Script::new(1, 0..0, false);
    script.fill(ONE, 4);
    script.world.disk.full_while = script.world.disk.executed..u64::MAX;
    // The first start takes the reserve, every later one goes on in what the first began.
    script.crash(Crash::Power);
    let bytes = |script: &Script| script.world.disk.files().values().map(Vec::len).sum::<usize>();
    let before = bytes(&script);
    for start in 0..20 {
        script.crash(if start % 2 == 0 { Crash::Process } else { Crash::Power });
        assert!(script.world.full, "start {start}");
        script.vote(ONE);
        assert!(bytes(&script) <= before);
    }
    assert_eq!(script.world.journal.group(ONE).unwrap().last.index, Index(4));
    script.end();
}

/// {A and B in one batch, A torn; the next life writes A' of the same length in A's place}: B must not follow A' in the life after that.
#[test]
fn f10_what_is_torn_off_does_not_come_back_when_the_log_goes_on_in_its_place() {
    let mut torn = 0;
    for seed in 0..600 {
        let mut script = Script::new(seed, 0..0, false);
        script.world.disk.full_while = script.world.disk.executed..u64::MAX;
        script.crash(Crash::Process);
        let write = |script: &mut Script| {
            let last = script.world.now.get(&ONE).map(|model| model.last().index).unwrap_or_default();
            let payload = Payload::Command(Bytes::from(vec![script.world.random.next_u64() as u8; 600]));
            let entries = vec![Entry::new(Epoch(script.world.epoch), last.next(), payload)];
            script.world.write(ONE, GroupWrite { entries, ..GroupWrite::default() });
        };
        for _ in 0..2 {
            write(&mut script);
            write(&mut script);
            // Written, and not synced.
            script.world.journal.flush();
            script.world.step();
            let before = script.world.counts.get("lost a suffix").copied();
            script.crash(Crash::Power);
            torn += u64::from(script.world.counts.get("lost a suffix").copied() != before);
            write(&mut script);
            script.world.journal.flush();
            script.world.step();
            script.crash(Crash::Process);
        }
        script.end();
    }
    assert!(torn > 200, "{torn}");
}

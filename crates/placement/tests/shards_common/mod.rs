//! What the tests of shards share: short ways to write commands, and histories in which most commands make sense and some do not.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part")]

use proptest::prelude::*;
use quorate_consensus::{EngineKind, GroupId, Membership, NodeId, ShardId};
use quorate_placement::shards::{
    Command, Entry, Founder, Phase, Rule, ShardError, ShardMap, Shards, Token, Vacancy,
};

pub(crate) fn voters(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().copied().map(NodeId), [])
}

/// Shard 1 in group 1, on nodes 1, 2 and 3.
pub(crate) fn one() -> Shards {
    Shards::new(GroupId(1), voters(&[1, 2, 3]), EngineKind::Raft).expect("three voters")
}

/// The keys a–z by range, cut at these letters: shards 1, 2, 3 … in order.
pub(crate) fn cut_at(cuts: &[&str]) -> Shards {
    let mut shards = one();
    for (at, cut) in cuts.iter().enumerate() {
        let (parent, child) = (at as u32 + 1, at as u32 + 2);
        let version = shards.map().get(ShardId(parent)).expect("cut before").range_version;
        changed(&mut shards, &begin_split(parent, version, cut, child));
        changed(&mut shards, &end_split(parent, version, child));
    }
    shards
}

pub(crate) fn begin_split(shard: u32, range_version: u64, at: &str, child: u32) -> Command {
    let (shard, child, group) = (ShardId(shard), ShardId(child), GroupId(u64::from(child) + 100));
    Command::BeginSplit { shard, range_version, at: Token::from(at), child, group }
}

pub(crate) fn end_split(shard: u32, range_version: u64, child: u32) -> Command {
    Command::EndSplit { shard: ShardId(shard), child: ShardId(child), range_version }
}

pub(crate) fn abort_split(shard: u32, range_version: u64, child: u32) -> Command {
    Command::AbortSplit { shard: ShardId(shard), child: ShardId(child), range_version }
}

pub(crate) fn begin_merge(left: u32, left_version: u64, right: u32, right_version: u64) -> Command {
    Command::BeginMerge { left: ShardId(left), right: ShardId(right), left_version, right_version }
}

pub(crate) fn end_merge(left: u32, left_version: u64, right: u32) -> Command {
    Command::EndMerge { left: ShardId(left), right: ShardId(right), left_version }
}

pub(crate) fn abort_merge(left: u32, left_version: u64, right: u32) -> Command {
    Command::AbortMerge { left: ShardId(left), right: ShardId(right), left_version }
}

pub(crate) fn move_to(shard: u32, config_version: u64, members: &[u64]) -> Command {
    Command::Move { shard: ShardId(shard), config_version, members: voters(members) }
}

pub(crate) fn moved(shard: u32, config_version: u64, members: &[u64]) -> Command {
    Command::Moved { shard: ShardId(shard), config_version, members: voters(members) }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    Changed,
    Holds,
    Refused(ShardError),
}

/// Evaluates and applies as the group of `meta` does, from the bytes in its log. Whatever does not change anything takes no version.
pub(crate) fn run(shards: &mut Shards, command: &Command) -> Became {
    let before = shards.clone();
    if let Ok(read) = Command::decode(&command.encode()) {
        assert_eq!(read, *command);
    } else {
        assert!(command.check().is_err() || has_zero(command), "what makes sense can be read: {command:?}");
    }
    match shards.evaluate(command) {
        Err(error) => {
            assert_eq!(*shards, before);
            Became::Refused(error)
        }
        Ok(effect) => {
            let changes = effect.changes();
            let version = shards.apply(effect);
            assert_eq!(version, before.map().version() + u64::from(changes));
            assert_eq!(version, shards.map().version());
            assert_eq!(changes, *shards != before);
            assert_eq!(changes, shards.digest() != before.digest());
            if changes { Became::Changed } else { Became::Holds }
        }
    }
}

/// A version 0, which no log has.
fn has_zero(command: &Command) -> bool {
    match command {
        Command::BeginSplit { range_version, .. } | Command::SetRule { range_version, .. } => {
            *range_version == 0
        }
        Command::BeginMerge { left_version, right_version, .. } => *left_version == 0 || *right_version == 0,
        Command::EndMerge { left_version, .. } | Command::AbortMerge { left_version, .. } => {
            *left_version == 0
        }
        Command::EndSplit { range_version, .. } | Command::AbortSplit { range_version, .. } => {
            *range_version == 0
        }
        Command::Move { config_version, .. } | Command::Moved { config_version, .. } => *config_version == 0,
        _ => false,
    }
}

pub(crate) fn changed(shards: &mut Shards, command: &Command) {
    assert_eq!(run(shards, command), Became::Changed, "{command:?}");
}

pub(crate) fn holds(shards: &mut Shards, command: &Command) {
    assert_eq!(run(shards, command), Became::Holds, "{command:?}");
}

pub(crate) fn refused(shards: &mut Shards, command: &Command) -> ShardError {
    match run(shards, command) {
        Became::Refused(error) => error,
        other => panic!("{command:?} is not refused: {other:?}"),
    }
}

/// 64 keys: four kinds of things with two namespaces each, some not under a prefix of three parts at all. None has
/// eight bytes, and could be taken for a hash.
pub(crate) fn keys() -> Vec<Vec<u8>> {
    let kinds = ["/registry/pods", "/registry/nodes", "/b/cc", "z"];
    let key = |at: usize| format!("{}/{}/{}", kinds[at / 16], ["d", "k"][at / 8 % 2], at % 8).into_bytes();
    (0..64).map(key).collect()
}

pub(crate) const RULES: [Rule; 3] = [Rule::Range, Rule::Prefix { delimiter: b'/', parts: 3 }, Rule::Hash];

/// What somebody wants to do next; which command that is depends on how things stand by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intent {
    kind: u8,
    one: usize,
    two: usize,
    /// Below 6 in most draws: an honest command. From there on, something about it is wrong.
    twist: u8,
}

pub(crate) fn intents(count: usize) -> impl Strategy<Value = Vec<Intent>> {
    let twist = prop_oneof![8 => 0u8..6, 3 => 6u8..12];
    let intent = (0u8..30, any::<usize>(), any::<usize>(), twist);
    prop::collection::vec(
        intent.prop_map(|(kind, one, two, twist)| Intent { kind, one, two, twist }),
        0..count,
    )
}

impl Intent {
    pub(crate) fn command(self, map: &ShardMap, past: &[Command]) -> Command {
        let entries = map.shards();
        let wrong = |twist: u8| self.twist == twist;
        let at = self.one % entries.len();
        let of_phase = |is: fn(&Phase) -> bool| {
            let such: Vec<&Entry> = entries.iter().filter(|entry| is(&entry.phase)).collect();
            if such.is_empty() || wrong(6) { &entries[at] } else { such[self.one % such.len()] }
        };
        let off = |version: u64| match self.twist {
            7 => version + 1,
            8 => version.saturating_sub(1),
            _ => version,
        };
        let shard = |id: ShardId| if wrong(9) { ShardId(1 + self.two as u32 % 9) } else { id };
        match self.kind {
            0..=6 => self.begin_split(map, &entries[at], off),
            7..=10 => {
                let entry = of_phase(|phase| matches!(phase, Phase::Splitting { .. }));
                let child = match entry.phase {
                    Phase::Splitting { child, .. } => child,
                    _ => ShardId(1 + self.two as u32 % 9),
                };
                let (shard, child, range_version) = (entry.shard, shard(child), off(entry.range_version));
                if self.kind == 10 {
                    Command::AbortSplit { shard, child, range_version }
                } else {
                    Command::EndSplit { shard, child, range_version }
                }
            }
            11..=14 => {
                let right =
                    if wrong(10) { self.two % entries.len() } else { (at + 1).min(entries.len() - 1) };
                let (left, right) = (&entries[at], &entries[right]);
                Command::BeginMerge {
                    left: left.shard,
                    right: shard(right.shard),
                    left_version: off(left.range_version),
                    right_version: right.range_version,
                }
            }
            15..=18 => {
                let entry = of_phase(|phase| matches!(phase, Phase::Merging { survives: true, .. }));
                let with = match entry.phase {
                    Phase::Merging { with, .. } => with,
                    _ => ShardId(1 + self.two as u32 % 9),
                };
                let (left, right, left_version) = (entry.shard, shard(with), off(entry.range_version));
                if self.kind == 18 {
                    Command::AbortMerge { left, right, left_version }
                } else {
                    Command::EndMerge { left, right, left_version }
                }
            }
            19..=21 => Command::Move {
                shard: shard(entries[at].shard),
                config_version: off(entries[at].config_version),
                members: if wrong(10) { voters(&[]) } else { trios(self.two) },
            },
            22..=24 => {
                let entry = of_phase(|phase| matches!(phase, Phase::Moving { .. }));
                let members = match &entry.phase {
                    Phase::Moving { to } if !wrong(10) => to.clone(),
                    _ => trios(self.two),
                };
                Command::Moved { shard: entry.shard, config_version: off(entry.config_version), members }
            }
            25 => {
                let version = off(entries[0].range_version);
                let rule =
                    if wrong(10) { Rule::Prefix { delimiter: 0, parts: 0 } } else { RULES[self.two % 3] };
                Command::SetRule { rule, range_version: version }
            }
            26 => Command::SetLimit { changes_at_once: [8, 8, 3, 1, 0, 2000][self.two % 6] },
            27 => self.found(map),
            _ if past.is_empty() => Command::SetLimit { changes_at_once: 8 },
            _ => past[self.one % past.len()].clone(),
        }
    }

    fn begin_split(self, map: &ShardMap, entry: &Entry, off: impl Fn(u64) -> u64) -> Command {
        let mut tokens: Vec<Token> = keys().iter().map(|key| map.rule().token(key)).collect();
        if self.twist != 10 {
            tokens.retain(|token| entry.holds(token));
        }
        let at = match self.twist {
            11 => Token::new(keys()[self.two % 64].clone()),
            _ if tokens.is_empty() => Token::least(),
            _ => tokens[self.two % tokens.len()].clone(),
        };
        let (mut child, mut group) =
            (map.next_shard(), GroupId(map.last_group().0 + 1 + self.two as u64 % 3));
        let vacancies: Vec<&Vacancy> = map.vacancies().collect();
        if !vacancies.is_empty() && !self.two.is_multiple_of(3) {
            let like: Vec<&&Vacancy> =
                vacancies.iter().filter(|vacancy| vacancy.engine == entry.engine).collect();
            let vacancy = match like[..] {
                [] => vacancies[self.two % vacancies.len()],
                ref like => like[self.two % like.len()],
            };
            (child, group) = (vacancy.shard, vacancy.group);
        }
        match self.twist {
            6 => child = ShardId(1 + self.two as u32 % 9),
            9 => group = GroupId(self.two as u64 % 12),
            _ => {}
        }
        Command::BeginSplit { shard: entry.shard, range_version: off(entry.range_version), at, child, group }
    }

    fn found(self, map: &ShardMap) -> Command {
        let rule = RULES[self.one % 3];
        let mut tokens: Vec<Token> = keys().iter().skip(1).map(|key| rule.token(key)).collect();
        tokens.sort();
        tokens.dedup();
        let count = (self.two % 4 + usize::from(self.twist != 7)).min(tokens.len());
        let step = tokens.len() / (count + 1);
        let froms = (0..count).map(|at| tokens[at * step].clone());
        let froms = [Token::least()].into_iter().chain(froms);
        let first = &map.shards()[0];
        let founder = |(at, from): (usize, Token)| {
            // Shard 1 need not be the leftmost one.
            let shard = ShardId(1 + ((at + self.two) % (count + 1)) as u32);
            let is_first = shard == ShardId(1);
            let other =
                if self.twist == 8 { GroupId(7) } else { GroupId(map.last_group().0 + u64::from(shard.0)) };
            Founder {
                shard: if self.twist == 9 { ShardId(shard.0 + 1) } else { shard },
                group: if is_first { first.group } else { other },
                from,
                members: if is_first && self.twist != 10 { first.members.clone() } else { trios(at) },
                engine: if is_first { first.engine } else { [EngineKind::Raft, EngineKind::Zab][at % 2] },
            }
        };
        Command::Found { rule, shards: froms.enumerate().map(founder).collect() }
    }
}

/// One of four sets of members, so that neighbours have the same ones often enough.
fn trios(which: usize) -> Membership {
    [voters(&[1, 2, 3]), voters(&[1, 2, 3]), voters(&[2, 3, 4]), voters(&[4, 5, 6])][which % 4].clone()
}

/// The state after each command that changed it, the first one included, and all commands with what became of them.
pub(crate) fn history(intents: &[Intent]) -> (Vec<Shards>, Vec<(Command, Became)>) {
    let mut states = vec![one()];
    let (mut past, mut done) = (Vec::new(), Vec::new());
    for intent in intents {
        let mut shards = states.last().expect("the first").clone();
        let command = intent.command(shards.map(), &past);
        let became = run(&mut shards, &command);
        if became == Became::Changed {
            states.push(shards);
        }
        past.push(command.clone());
        done.push((command, became));
    }
    (states, done)
}

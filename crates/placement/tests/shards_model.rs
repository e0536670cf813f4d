//! Shards against a model so plain that it is seen to be right: who holds each of 64 keys, and what is under way.

mod shards_common;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_consensus::{EngineKind, GroupId, Membership, Reader, ShardId, Writer};
use quorate_placement::shards::{
    Believed, CHANGES_AT_ONCE_MAX, Command, Entry, Rule, ShardError, ShardMap, Shards, Stale, Token, Vacancy,
    check,
};
use shards_common::{Became, Intent, history, intents, keys, one, run, voters};

#[derive(Clone, Debug, PartialEq)]
enum Doing {
    Nothing,
    Split {
        at: Token,
        child: u32,
        group: u64,
    },
    /// Into the other, or the other into it.
    Merge {
        left: u32,
        right: u32,
    },
    Move(Membership),
}

#[derive(Clone, Debug, PartialEq)]
struct Shard {
    group: u64,
    members: Membership,
    engine: EngineKind,
    range_version: u64,
    config_version: u64,
    doing: Doing,
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    rule: Rule,
    limit: usize,
    /// Who holds each token that one of the keys has, and the least one.
    owners: BTreeMap<Token, u32>,
    shards: BTreeMap<u32, Shard>,
    /// What was merged into others, as it was.
    vacant: BTreeMap<u32, Shard>,
    /// Every number that was ever given.
    numbers: BTreeSet<u32>,
    groups: BTreeSet<u64>,
}

impl Model {
    fn new() -> Model {
        let shard = Shard {
            group: 1,
            members: voters(&[1, 2, 3]),
            engine: EngineKind::Raft,
            range_version: 1,
            config_version: 1,
            doing: Doing::Nothing,
        };
        let (shards, numbers, groups) = ([(1, shard)].into(), [1].into(), [1].into());
        let mut model = Model {
            rule: Rule::Range,
            limit: 8,
            owners: BTreeMap::new(),
            shards,
            vacant: BTreeMap::new(),
            numbers,
            groups,
        };
        model.all_belong_to(1);
        model
    }

    fn all_belong_to(&mut self, shard: u32) {
        let tokens = keys().into_iter().map(|key| self.rule.token(&key)).chain([Token::least()]);
        self.owners = tokens.map(|token| (token, shard)).collect();
    }

    fn first_token(&self, shard: u32) -> Token {
        let mut tokens =
            self.owners.iter().filter(|(_, owner)| **owner == shard).map(|(token, _)| token.clone());
        tokens.next().expect("every shard holds a token")
    }

    fn is_busy(&self) -> bool {
        let mut under_way: Vec<String> = Vec::new();
        for (id, shard) in &self.shards {
            match &shard.doing {
                Doing::Nothing => {}
                Doing::Merge { left, right } => under_way.push(format!("merge {left} {right}")),
                Doing::Split { .. } | Doing::Move(_) => under_way.push(format!("{id}")),
            }
        }
        under_way.sort();
        under_way.dedup();
        under_way.len() >= self.limit
    }

    /// What the command changes, or nothing; whether that is a refusal is the rules' to say.
    fn step(&mut self, command: &Command) -> Option<()> {
        match command {
            Command::Found { rule, shards } => {
                if self.numbers.len() > 1 || shards.len() < 2 || self.shards[&1].doing != Doing::Nothing {
                    return None;
                }
                let first = self.shards[&1].clone();
                let ids: BTreeSet<u32> = shards.iter().map(|founder| founder.shard.0).collect();
                if ids != (1..=shards.len() as u32).collect() {
                    return None;
                }
                self.rule = *rule;
                self.all_belong_to(0);
                for founder in shards {
                    let is_first = founder.shard.0 == 1;
                    let same = founder.group.0 == first.group
                        && founder.members == first.members
                        && founder.engine == first.engine;
                    if is_first != (founder.group.0 == first.group) || (is_first && !same) {
                        return None;
                    }
                    self.owners
                        .range_mut(founder.from.clone()..)
                        .for_each(|(_, owner)| *owner = founder.shard.0);
                    let shard = Shard {
                        group: founder.group.0,
                        members: founder.members.clone(),
                        engine: founder.engine,
                        range_version: first.range_version + 1,
                        config_version: if is_first { first.config_version } else { 1 },
                        doing: Doing::Nothing,
                    };
                    self.shards.insert(founder.shard.0, shard);
                    self.numbers.insert(founder.shard.0);
                    if !is_first && !self.groups.insert(founder.group.0) {
                        return None;
                    }
                }
            }
            Command::SetRule { rule, range_version } => {
                let (id, only) = self.shards.first_key_value().map(|(id, shard)| (*id, shard.clone()))?;
                let idle = only.doing == Doing::Nothing && only.range_version == *range_version;
                if *rule == self.rule || self.shards.len() > 1 || !idle || rule.check().is_err() {
                    return None;
                }
                self.rule = *rule;
                self.all_belong_to(id);
                self.shards.get_mut(&id)?.range_version += 1;
            }
            Command::SetLimit { changes_at_once } => {
                if *changes_at_once > CHANGES_AT_ONCE_MAX || usize::from(*changes_at_once) == self.limit {
                    return None;
                }
                self.limit = usize::from(*changes_at_once);
            }
            Command::BeginSplit { shard, range_version, at, child, group } => {
                let coming =
                    |shard: &Shard| matches!(shard.doing, Doing::Split { child: of, .. } if of == child.0);
                let engine = self.shards.get(&shard.0)?.engine;
                let may_come = match self.vacant.get(&child.0) {
                    Some(was) => {
                        (was.group, was.engine) == (group.0, engine) && !self.shards.values().any(coming)
                    }
                    None => *child == ShardId(self.numbers.last()? + 1) && group.0 > *self.groups.last()?,
                };
                let inside = self.owners.get(at) == Some(&shard.0) && self.first_token(shard.0) != *at;
                let busy = self.is_busy();
                let found = self.shards.get_mut(&shard.0)?;
                let idle = found.doing == Doing::Nothing && found.range_version == *range_version;
                if !may_come || !inside || busy || !idle {
                    return None;
                }
                found.doing = Doing::Split { at: at.clone(), child: child.0, group: group.0 };
                self.numbers.insert(child.0);
                self.groups.insert(group.0);
            }
            Command::EndSplit { shard, child, range_version } => {
                let parent = self.shards.get_mut(&shard.0)?;
                let Doing::Split { at, child: coming, group } = parent.doing.clone() else { return None };
                if coming != child.0 || parent.range_version != *range_version {
                    return None;
                }
                parent.doing = Doing::Nothing;
                parent.range_version += 1;
                let born = match self.vacant.remove(&coming) {
                    Some(was) => {
                        Shard { range_version: parent.range_version.max(was.range_version + 1), ..was }
                    }
                    None => Shard { group, ..parent.clone() },
                };
                self.shards.insert(coming, born);
                for (_, owner) in self.owners.range_mut(at..).filter(|(_, owner)| **owner == shard.0) {
                    *owner = coming;
                }
            }
            Command::AbortSplit { shard, child, range_version } => {
                let parent = self.shards.get_mut(&shard.0)?;
                match parent.doing {
                    Doing::Split { child: coming, .. }
                        if coming == child.0 && parent.range_version == *range_version =>
                    {
                        parent.doing = Doing::Nothing;
                        parent.range_version += u64::from(self.vacant.contains_key(&coming));
                    }
                    _ => return None,
                }
            }
            Command::BeginMerge { left, right, left_version, right_version } => {
                let (one, other) = (self.shards.get(&left.0)?, self.shards.get(&right.0)?);
                let idle = one.doing == Doing::Nothing && other.doing == Doing::Nothing;
                let alike = one.members == other.members && one.engine == other.engine;
                let known = one.range_version == *left_version && other.range_version == *right_version;
                let before = self.owners.range(..self.first_token(right.0)).next_back()?.1;
                if !idle || !alike || !known || *before != left.0 || self.is_busy() {
                    return None;
                }
                for id in [left.0, right.0] {
                    self.shards.get_mut(&id)?.doing = Doing::Merge { left: left.0, right: right.0 };
                }
            }
            Command::EndMerge { left, right, left_version } => {
                let (one, other) = (self.shards.get(&left.0)?.clone(), self.shards.get(&right.0)?.clone());
                if one.doing != (Doing::Merge { left: left.0, right: right.0 })
                    || one.range_version != *left_version
                {
                    return None;
                }
                self.shards.remove(&right.0);
                self.vacant.insert(right.0, Shard { doing: Doing::Nothing, ..other.clone() });
                let merged = Shard {
                    range_version: one.range_version.max(other.range_version) + 1,
                    config_version: one.config_version.max(other.config_version),
                    doing: Doing::Nothing,
                    ..one
                };
                self.shards.insert(left.0, merged);
                self.owners.values_mut().filter(|owner| **owner == right.0).for_each(|owner| *owner = left.0);
            }
            Command::AbortMerge { left, right, left_version } => {
                let one = self.shards.get(&left.0)?;
                if one.doing != (Doing::Merge { left: left.0, right: right.0 })
                    || one.range_version != *left_version
                {
                    return None;
                }
                for id in [left.0, right.0] {
                    let shard = self.shards.get_mut(&id)?;
                    shard.doing = Doing::Nothing;
                    shard.range_version += 1;
                }
            }
            Command::Move { shard, config_version, members } => {
                let busy = self.is_busy();
                let found = self.shards.get_mut(&shard.0)?;
                if found.config_version != *config_version || members.voters().is_empty() {
                    return None;
                }
                match &found.doing {
                    Doing::Nothing if found.members == *members || busy => return None,
                    Doing::Nothing => {}
                    Doing::Move(to) if to == members => return None,
                    Doing::Move(_) => found.config_version += 1,
                    Doing::Split { .. } | Doing::Merge { .. } => return None,
                }
                found.doing = Doing::Move(members.clone());
            }
            Command::Moved { shard, config_version, members } => {
                let found = self.shards.get_mut(&shard.0)?;
                if found.config_version != *config_version || found.doing != Doing::Move(members.clone()) {
                    return None;
                }
                found.doing = Doing::Nothing;
                found.members = members.clone();
                found.config_version += 1;
            }
        }
        Some(())
    }

    /// Does the map say of every key, and of every shard, what the model says?
    fn assert_same(&self, map: &ShardMap) {
        assert_eq!((map.rule(), usize::from(map.changes_at_once())), (self.rule, self.limit));
        for key in keys() {
            let owner = self.owners[&self.rule.token(&key)];
            assert_eq!(map.locate(&key).shard.0, owner, "{}", key.escape_ascii());
            let holders = map.shards().iter().filter(|entry| entry.holds(&self.rule.token(&key)));
            assert_eq!(holders.map(|entry| entry.shard.0).collect::<Vec<_>>(), [owner]);
        }
        assert_eq!(map.shards().len(), self.shards.len());
        for entry in map.shards() {
            let shard = &self.shards[&entry.shard.0];
            assert_eq!(entry.from, self.first_token(entry.shard.0));
            assert_eq!(
                (entry.group, entry.engine, &entry.members),
                (GroupId(shard.group), shard.engine, &shard.members)
            );
            let versions = (entry.range_version, entry.config_version);
            assert_eq!(versions, (shard.range_version, shard.config_version), "{}", entry.shard);
            assert_eq!(entry.is_whole(), shard.doing == Doing::Nothing);
            assert_eq!(map.get(entry.shard), Some(entry));
            assert_eq!(map.vacancy(entry.shard), None);
        }
        let vacant = map.vacancies().map(|vacancy| {
            let Vacancy { shard, group, range_version, config_version, members, engine } = vacancy.clone();
            assert_eq!((map.vacancy(shard), map.get(shard)), (Some(vacancy), None));
            let doing = Doing::Nothing;
            (shard.0, Shard { group: group.0, members, engine, range_version, config_version, doing })
        });
        assert_eq!(vacant.collect::<BTreeMap<_, _>>(), self.vacant);
    }
}

/// Sorted, no gap, no overlap, from the least token on and without an end.
fn assert_partition(map: &ShardMap) {
    let mut next = Some(Token::least());
    for entry in map.shards() {
        assert_eq!(Some(&entry.from), next.as_ref());
        assert!(entry.to.as_ref().is_none_or(|to| *to > entry.from));
        next.clone_from(&entry.to);
    }
    assert_eq!(next, None);
    let groups: BTreeSet<GroupId> = map.shards().iter().map(|entry| entry.group).collect();
    assert_eq!(groups.len(), map.shards().len());
}

/// For every token: if it has another holder, or its holder another range, the range version has grown; it never falls.
fn assert_versions_grow(before: &ShardMap, after: &ShardMap) {
    for key in keys() {
        let (old, new) = (before.locate(&key), after.locate(&key));
        let same = (old.shard, &old.from, &old.to) == (new.shard, &new.from, &new.to)
            && before.rule() == after.rule();
        assert!(if same {
            new.range_version >= old.range_version
        } else {
            new.range_version > old.range_version
        });
        if old.shard == new.shard {
            let config = new.config_version > old.config_version;
            assert!(config || (new.members == old.members && new.config_version == old.config_version));
        }
    }
}

proptest! {
    #[test]
    fn every_command_does_what_the_model_says(intents in intents(90)) {
        let (mut shards, mut model, mut past) = (one(), Model::new(), Vec::new());
        for intent in &intents {
            let command = intent.command(shards.map(), &past);
            let (before, mut expected) = (shards.clone(), model.clone());
            let changes = expected.step(&command).is_some();
            let became = run(&mut shards, &command);
            prop_assert_eq!(became == Became::Changed, changes, "{:?}: {:?} at {:#?}", command, became, before.map());
            if changes {
                model = expected;
            }
            model.assert_same(shards.map());
            assert_partition(shards.map());
            assert_versions_grow(before.map(), shards.map());
            let limit = usize::from(shards.map().changes_at_once()).max(before.map().changes_under_way());
            prop_assert!(shards.map().changes_under_way() <= limit);
            prop_assert_eq!(Shards::decode(&shards.encode()), Ok(shards.clone()));
            if let Became::Refused(error) = &became {
                prop_assert!(error.to_string().contains([';', ':']), "what to do next: {}", error);
                let mut to = Writer::new();
                error.encode(&mut to);
                prop_assert_eq!(ShardError::decode(&mut Reader::new(to.finish())), Ok(error.clone()));
            }
            past.push(command);
        }
    }

    /// C17: an answer was lost, and the command is proposed again at once.
    #[test]
    fn c17_a_command_proposed_again_changes_nothing(intents in intents(60)) {
        let (mut shards, mut past) = (one(), Vec::new());
        for intent in &intents {
            let command = intent.command(shards.map(), &past);
            run(&mut shards, &command);
            let again = run(&mut shards, &command);
            prop_assert_ne!(again, Became::Changed, "{:?}", command);
            past.push(command);
        }
    }

    /// C17: an answer was lost, and the command is proposed again much later.
    #[test]
    fn c17_no_change_is_ever_done_twice(intents in intents(90)) {
        let (states, done) = history(&intents);
        let mut shards = states.last().expect("the first").clone();
        for (command, became) in done {
            if became == Became::Changed && !matches!(command, Command::SetLimit { .. }) {
                prop_assert_ne!(run(&mut shards, &command), Became::Changed, "{:?}", command);
            }
        }
    }

    /// A number names one shard and one group for ever; whoever is not a shard any more is vacant; and what comes back has a range version that it never had.
    #[test]
    fn numbers_are_given_once(intents in intents(90)) {
        let (states, _) = history(&intents);
        let (mut groups, mut versions) = (BTreeMap::new(), BTreeMap::new());
        for pair in states.windows(2) {
            let (old, new) = (pair[0].map(), pair[1].map());
            for entry in old.shards() {
                prop_assert!(new.get(entry.shard).is_some() || new.vacancy(entry.shard).is_some());
                let highest = versions.entry(entry.shard).or_insert(0);
                *highest = entry.range_version.max(*highest);
            }
            for entry in new.shards() {
                prop_assert_eq!(*groups.entry(entry.group).or_insert(entry.shard), entry.shard);
                if old.get(entry.shard).is_none() {
                    prop_assert!(entry.range_version > versions.get(&entry.shard).copied().unwrap_or(0));
                }
            }
        }
    }

    #[test]
    fn a_state_that_was_read_back_goes_on_the_same(intents in intents(60), at in 0usize..60) {
        let (states, _) = history(&intents);
        let state = &states[at % states.len()];
        let mut read = Shards::decode(&state.encode()).expect("ours");
        prop_assert_eq!(read.digest(), state.digest());
        let mut own = state.clone();
        for (command, _) in history(&intents).1 {
            prop_assert_eq!(run(&mut read, &command), run(&mut own, &command));
        }
        prop_assert_eq!(read, own);
    }

    #[test]
    fn whatever_bytes_come_they_are_refused_or_read_as_what_they_are(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        read_anything(&Bytes::from(bytes.clone()))?;
        // Behind a version that is known, and a tag that may be.
        read_anything(&Bytes::from([&[1, bytes.first().copied().unwrap_or(0) % 13], &bytes[..]].concat()))?;
    }

    /// One byte of a true map, command or refusal is another.
    #[test]
    fn a_broken_byte_does_no_harm(intents in intents(40), at in any::<usize>(), byte in any::<u8>()) {
        let (states, done) = history(&intents);
        let map = states.last().expect("the first").map();
        let mut to = Writer::new();
        if let Err(stale) = check(map, &Believed::default(), &map.rule().covers(b"", None)) {
            stale.encode(&mut to);
            prop_assert_eq!(Stale::decode(&mut Reader::new(to.clone().finish())), Ok(stale));
        }
        let commands = done.into_iter().map(|(command, _)| command.encode());
        for bytes in commands.chain([map.encode(), to.finish()]) {
            let mut bytes = bytes.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            read_anything(&bytes.into())?;
        }
    }
}

/// Reads the bytes as everything that there is. What is read is written as it was.
fn read_anything(bytes: &Bytes) -> Result<(), TestCaseError> {
    if let Ok(command) = Command::decode(bytes) {
        prop_assert_eq!(&command.encode(), bytes);
        let _ = one().evaluate(&command);
    }
    if let Ok(map) = ShardMap::decode(bytes) {
        prop_assert_eq!(&map.encode(), bytes);
        assert_partition(&map);
        let _ = map.explain(b"/a/b/c").to_string();
    }
    let reader = || Reader::new(bytes.clone());
    let _ = (Entry::decode(&mut reader()), Believed::decode(&mut reader()));
    let _ = (Stale::decode(&mut reader()), ShardError::decode(&mut reader()));
    Ok(())
}

/// The histories that the tests above draw are worth their time: all kinds of commands are carried out in them, and all are refused.
#[test]
fn the_histories_reach_everything() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    let mut back = [0; 2];
    for _ in 0..300 {
        let drawn: Vec<Intent> = intents(90).new_tree(&mut runner).expect("drawn").current();
        let (states, commands) = history(&drawn);
        for pair in states.windows(2) {
            let had = |shards: &Shards| shards.map().vacancies().count();
            back[usize::from(had(&pair[1]) < had(&pair[0]))] += had(&pair[0]).abs_diff(had(&pair[1]));
        }
        for (command, became) in commands {
            let what = match became {
                Became::Changed => "changed",
                Became::Holds => "holds",
                Became::Refused(_) => "refused",
            };
            *seen.entry((command.encode()[1], what)).or_default() += 1;
        }
    }
    assert!(back[0] > 50 && back[1] > 20, "vacated, and taken again: {back:?}");
    for tag in 1..=11 {
        for what in ["changed", "holds", "refused"] {
            assert!(seen.contains_key(&(tag, what)), "command {tag} is never {what}: {seen:?}");
        }
    }
}

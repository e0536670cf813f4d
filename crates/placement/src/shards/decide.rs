//! What becomes of a command: decided once, in the order of the log, from the map and nothing else.

use quorate_consensus::{GroupId, Membership, ShardId};

use super::machine::Outcome;
use super::map::{Edit, Heads};
use super::{
    Command, Entry, Founder, GROUP_STEP_MAX, Phase, Rule, SHARDS_MAX, ShardError, ShardMap, Token, Vacancy,
};

impl ShardMap {
    pub(super) fn decide(&self, command: &Command) -> Result<Outcome, ShardError> {
        match command {
            Command::Found { rule, shards } => self.found(*rule, shards),
            Command::SetRule { rule, range_version } => self.set_rule(*rule, *range_version),
            Command::SetLimit { changes_at_once } => self.set_limit(*changes_at_once),
            Command::BeginSplit { shard, range_version, at, child, group } => {
                self.begin_split(*shard, *range_version, at, *child, *group)
            }
            Command::EndSplit { shard, child, range_version } => {
                self.end_split(*shard, *child, *range_version)
            }
            Command::AbortSplit { shard, child, range_version } => {
                self.abort_split(*shard, *child, *range_version)
            }
            Command::BeginMerge { left, right, left_version, right_version } => {
                self.begin_merge((*left, *left_version), (*right, *right_version))
            }
            Command::EndMerge { left, right, left_version } => self.end_merge(*left, *right, *left_version),
            Command::AbortMerge { left, right, left_version } => {
                self.abort_merge(*left, *right, *left_version)
            }
            Command::Move { shard, config_version, members } => {
                self.begin_move(*shard, *config_version, members)
            }
            Command::Moved { shard, config_version, members } => {
                self.end_move(*shard, *config_version, members)
            }
        }
    }

    fn found(&self, rule: Rule, shards: &[Founder]) -> Result<Outcome, ShardError> {
        if self.next_shard() != ShardId(2) {
            let same = |(entry, founder): (&Entry, &Founder)| {
                (entry.shard, entry.group, entry.engine) == (founder.shard, founder.group, founder.engine)
                    && (&entry.from, &entry.members) == (&founder.from, &founder.members)
            };
            let so = rule == self.rule() && self.shards().len() == shards.len();
            let so = so && self.shards().iter().zip(shards).all(same);
            return if so { Ok(Outcome::Holds) } else { Err(ShardError::AlreadyFounded) };
        }
        let first = &self.shards()[0];
        idle(first)?;
        check_founding(first, rule, shards)?;
        let ends = shards[1..].iter().map(|next| Some(next.from.clone())).chain([None]);
        let put = shards.iter().zip(ends).map(|(founder, to)| Entry {
            shard: founder.shard,
            group: founder.group,
            from: founder.from.clone(),
            to,
            range_version: first.range_version + 1,
            config_version: if founder.shard == first.shard { first.config_version } else { 1 },
            members: founder.members.clone(),
            engine: founder.engine,
            phase: Phase::Whole,
        });
        let put: Vec<Entry> = put.collect();
        let last_group = put.iter().map(|entry| entry.group).fold(self.last_group(), GroupId::max);
        let next_shard = ShardId(put.len() as u32 + 1);
        let heads = Heads { rule, next_shard, last_group, ..self.heads };
        Ok(Outcome::Change(Edit { heads, vacated: Vec::new(), put }))
    }

    /// The shard's range version grows with the rule: whoever still knows the old one counts its tokens otherwise, and is told.
    fn set_rule(&self, rule: Rule, range_version: u64) -> Result<Outcome, ShardError> {
        if rule == self.rule() {
            return Ok(Outcome::Holds);
        }
        let [only] = self.shards() else { return Err(ShardError::AlreadyFounded) };
        same_version(only, only.range_version, range_version)?;
        idle(only)?;
        let put = vec![Entry { range_version: only.range_version + 1, ..only.clone() }];
        Ok(Outcome::Change(Edit { heads: Heads { rule, ..self.heads }, vacated: Vec::new(), put }))
    }

    fn set_limit(&self, changes_at_once: u16) -> Result<Outcome, ShardError> {
        if changes_at_once == self.changes_at_once() {
            return Ok(Outcome::Holds);
        }
        let heads = Heads { changes_at_once, ..self.heads };
        Ok(Outcome::Change(Edit { heads, vacated: Vec::new(), put: Vec::new() }))
    }

    fn begin_split(
        &self,
        shard: ShardId,
        range_version: u64,
        at: &Token,
        child: ShardId,
        group: GroupId,
    ) -> Result<Outcome, ShardError> {
        let entry = self.entry(shard)?;
        let phase = Phase::Splitting { at: at.clone(), child, group };
        if entry.phase == phase {
            return Ok(Outcome::Holds);
        }
        same_version(entry, entry.range_version, range_version)?;
        idle(entry)?;
        if !self.rule().is_cut(at) {
            return Err(ShardError::NotCut);
        }
        if !entry.holds(at) || *at == entry.from {
            return Err(ShardError::Outside { fresh: Box::new(entry.clone()) });
        }
        let heads = match self.vacancy(child) {
            Some(vacancy) => self.comes_back(vacancy, entry, group)?,
            None => self.comes_new(child, group)?,
        };
        self.room()?;
        let put = vec![Entry { phase, ..entry.clone() }];
        Ok(Outcome::Change(Edit { heads, vacated: Vec::new(), put }))
    }

    /// May a vacant shard be the child of this one? As what it was, and of one split at a time.
    fn comes_back(&self, vacancy: &Vacancy, parent: &Entry, group: GroupId) -> Result<Heads, ShardError> {
        let like = vacancy.group == group && vacancy.engine == parent.engine;
        if like && !self.is_coming(vacancy.shard) {
            return Ok(self.heads);
        }
        Err(ShardError::Vacant { shard: vacancy.shard, group: vacancy.group })
    }

    /// May there be a new shard of this number?
    fn comes_new(&self, child: ShardId, group: GroupId) -> Result<Heads, ShardError> {
        let is_new = |entry: &&Entry| match entry.phase {
            Phase::Splitting { child, .. } => self.vacancy(child).is_none(),
            Phase::Whole | Phase::Merging { .. } | Phase::Moving { .. } => false,
        };
        let coming = self.shards().iter().filter(is_new).count();
        if self.shards().len() + self.vacancies().count() + coming >= SHARDS_MAX {
            return Err(ShardError::TooManyShards);
        }
        if child != self.next_shard() {
            return Err(ShardError::ShardNumber { next: self.next_shard() });
        }
        check_group(self.last_group(), group)?;
        let next_shard = child.0.checked_add(1).map(ShardId).ok_or(ShardError::Exhausted)?;
        Ok(Heads { next_shard, last_group: group, ..self.heads })
    }

    fn end_split(&self, shard: ShardId, child: ShardId, range_version: u64) -> Result<Outcome, ShardError> {
        let entry = match (self.get(shard), self.get(child)) {
            (_, Some(_)) if shard != child && shard < self.next_shard() => return Ok(Outcome::Holds),
            (Some(entry), _) => entry,
            (None, _) => return Err(ShardError::NoShard(shard)),
        };
        let (at, group) = match &entry.phase {
            Phase::Splitting { at, child: under_way, group } if *under_way == child => (at, *group),
            _ => return Err(ShardError::NotUnderWay { fresh: Box::new(entry.clone()) }),
        };
        same_version(entry, entry.range_version, range_version)?;
        let both = Entry { range_version: entry.range_version + 1, phase: Phase::Whole, ..entry.clone() };
        let left = Entry { to: Some(at.clone()), ..both.clone() };
        let right = match self.vacancy(child) {
            Some(vacancy) => vacancy.taken(entry, at.clone()),
            None => Entry { shard: child, group, from: at.clone(), ..both },
        };
        Ok(self.put(vec![left, right]))
    }

    /// Where the child is a vacant shard, which keeps its number, the range version grows: {s5 is vacant, to be s1's child, and given up; the first BeginSplit comes again}: it
    /// would begin again.
    fn abort_split(&self, shard: ShardId, child: ShardId, range_version: u64) -> Result<Outcome, ShardError> {
        if let Some(child) = self.get(child) {
            return Err(ShardError::AlreadySplit { fresh: Box::new(child.clone()) });
        }
        let entry = self.entry(shard)?;
        match &entry.phase {
            Phase::Splitting { child: under_way, .. } if *under_way == child => {
                same_version(entry, entry.range_version, range_version)?;
                let range_version = range_version + u64::from(self.vacancy(child).is_some());
                Ok(self.put(vec![Entry { range_version, phase: Phase::Whole, ..entry.clone() }]))
            }
            // It was given up before.
            _ if child < self.next_shard() && !self.is_coming(child) => Ok(Outcome::Holds),
            _ => Err(ShardError::NotUnderWay { fresh: Box::new(entry.clone()) }),
        }
    }

    fn begin_merge(
        &self,
        (left, left_version): (ShardId, u64),
        (right, right_version): (ShardId, u64),
    ) -> Result<Outcome, ShardError> {
        let (left, right) = (self.entry(left)?, self.entry(right)?);
        let neighbours = left.to.as_ref() == Some(&right.from);
        same_version(left, left.range_version, left_version)?;
        same_version(right, right.range_version, right_version)?;
        if merging(left, right) {
            return Ok(Outcome::Holds);
        }
        idle(left)?;
        idle(right)?;
        if !neighbours {
            return Err(ShardError::NotNeighbours { fresh: Box::new(left.clone()) });
        }
        if left.engine != right.engine {
            return Err(ShardError::OtherEngine);
        }
        if left.members != right.members {
            return Err(ShardError::OtherMembers { fresh: Box::new(left.clone()) });
        }
        self.room()?;
        let survivor = Phase::Merging { with: right.shard, survives: true };
        let other = Phase::Merging { with: left.shard, survives: false };
        Ok(self.put(vec![Entry { phase: survivor, ..left.clone() }, Entry { phase: other, ..right.clone() }]))
    }

    /// The versions of the one that survives are above those of both: {left at 5, right at 9}: at 6, its entry would look older than
    /// the right one's to whoever has kept that.
    fn end_merge(&self, left: ShardId, right: ShardId, left_version: u64) -> Result<Outcome, ShardError> {
        let entry = self.entry(left)?;
        let Some(other) = self.get(right) else {
            let was = right < self.next_shard() && !self.is_coming(right);
            return if was { Ok(Outcome::Holds) } else { Err(ShardError::NoShard(right)) };
        };
        if !merging(entry, other) {
            return Err(ShardError::NotUnderWay { fresh: Box::new(entry.clone()) });
        }
        same_version(entry, entry.range_version, left_version)?;
        let merged = Entry {
            to: other.to.clone(),
            range_version: entry.range_version.max(other.range_version) + 1,
            config_version: entry.config_version.max(other.config_version),
            phase: Phase::Whole,
            ..entry.clone()
        };
        let vacated = vec![Vacancy::of(other)];
        Ok(Outcome::Change(Edit { heads: self.heads, vacated, put: vec![merged] }))
    }

    fn abort_merge(&self, left: ShardId, right: ShardId, left_version: u64) -> Result<Outcome, ShardError> {
        let (left, right) = (self.entry(left)?, self.entry(right)?);
        if !merging(left, right) {
            return Ok(Outcome::Holds);
        }
        same_version(left, left.range_version, left_version)?;
        let back = |entry: &Entry| Entry {
            range_version: entry.range_version + 1,
            phase: Phase::Whole,
            ..entry.clone()
        };
        Ok(self.put(vec![back(left), back(right)]))
    }

    /// {s1 moves to 4 5 6; node 6 is lost; it is told to move to 4 5 7; the first command comes again}: the config version has grown
    /// with the new goal, so the first one is stale, and does not send it to 6 again.
    fn begin_move(
        &self,
        shard: ShardId,
        config_version: u64,
        members: &Membership,
    ) -> Result<Outcome, ShardError> {
        let entry = self.entry(shard)?;
        let to = Phase::Moving { to: members.clone() };
        if entry.phase == to || (entry.is_whole() && entry.members == *members) {
            return Ok(Outcome::Holds);
        }
        same_version(entry, entry.config_version, config_version)?;
        if matches!(entry.phase, Phase::Moving { .. }) {
            let config_version = entry.config_version + 1;
            return Ok(self.put(vec![Entry { config_version, phase: to, ..entry.clone() }]));
        }
        idle(entry)?;
        self.room()?;
        Ok(self.put(vec![Entry { phase: to, ..entry.clone() }]))
    }

    fn end_move(
        &self,
        shard: ShardId,
        config_version: u64,
        members: &Membership,
    ) -> Result<Outcome, ShardError> {
        let entry = self.entry(shard)?;
        let done = config_version.checked_add(1) == Some(entry.config_version);
        if done && entry.members == *members && !matches!(entry.phase, Phase::Moving { .. }) {
            return Ok(Outcome::Holds);
        }
        same_version(entry, entry.config_version, config_version)?;
        match &entry.phase {
            Phase::Moving { to } if to == members => {
                let config_version = entry.config_version + 1;
                let members = members.clone();
                Ok(self.put(vec![Entry { config_version, members, phase: Phase::Whole, ..entry.clone() }]))
            }
            _ => Err(ShardError::NotUnderWay { fresh: Box::new(entry.clone()) }),
        }
    }

    fn put(&self, put: Vec<Entry>) -> Outcome {
        Outcome::Change(Edit { heads: self.heads, vacated: Vec::new(), put })
    }

    fn entry(&self, shard: ShardId) -> Result<&Entry, ShardError> {
        self.get(shard).ok_or(ShardError::NoShard(shard))
    }

    /// Is it the child of a split that is under way?
    fn is_coming(&self, shard: ShardId) -> bool {
        let child = |entry: &Entry| matches!(entry.phase, Phase::Splitting { child, .. } if child == shard);
        self.shards().iter().any(child)
    }

    /// May one more change begin?
    fn room(&self) -> Result<(), ShardError> {
        let changes_at_once = self.changes_at_once();
        let room = self.changes_under_way() < usize::from(changes_at_once);
        if room { Ok(()) } else { Err(ShardError::TooManyChanges { changes_at_once }) }
    }
}

fn same_version(entry: &Entry, is: u64, believed: u64) -> Result<(), ShardError> {
    if is == believed { Ok(()) } else { Err(ShardError::Stale { fresh: Box::new(entry.clone()) }) }
}

fn idle(entry: &Entry) -> Result<(), ShardError> {
    if entry.is_whole() { Ok(()) } else { Err(ShardError::Busy { fresh: Box::new(entry.clone()) }) }
}

/// Are the two being merged, this one to survive?
fn merging(left: &Entry, right: &Entry) -> bool {
    left.phase == Phase::Merging { with: right.shard, survives: true }
        && right.phase == Phase::Merging { with: left.shard, survives: false }
}

fn check_group(last: GroupId, group: GroupId) -> Result<(), ShardError> {
    let step = group.0.saturating_sub(last.0);
    if (1..=GROUP_STEP_MAX).contains(&step) { Ok(()) } else { Err(ShardError::GroupNumber { last }) }
}

fn check_founding(first: &Entry, rule: Rule, shards: &[Founder]) -> Result<(), ShardError> {
    let mut ids: Vec<u32> = shards.iter().map(|founder| founder.shard.0).collect();
    ids.sort_unstable();
    let numbered = ids.iter().copied().eq(1..=shards.len() as u32);
    let begins = shards.first().is_some_and(|founder| founder.from == Token::least());
    let ordered = shards.windows(2).all(|pair| pair[0].from < pair[1].from);
    let stays = shards.iter().filter(|founder| founder.shard == first.shard).all(|founder| {
        (founder.group, founder.engine, &founder.members) == (first.group, first.engine, &first.members)
    });
    if shards.len() < 2 || !numbered || !begins || !ordered || !stays {
        return Err(ShardError::BadFounding);
    }
    if !shards[1..].iter().all(|founder| rule.is_cut(&founder.from)) {
        return Err(ShardError::NotCut);
    }
    let others = || shards.iter().filter(|founder| founder.shard != first.shard).map(|founder| founder.group);
    let mut groups: Vec<GroupId> = others().collect();
    groups.sort_unstable();
    if groups.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ShardError::GroupNumber { last: first.group });
    }
    groups.into_iter().try_for_each(|group| check_group(first.group, group))
}

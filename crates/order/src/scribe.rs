//! Where the order group is led: gathers what shards report, and says when what is to be proposed.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{Duration, Instant};

use crate::{Command, Mark, Orderer, Outcome, ShardId, TxnId};

/// What a shard's leader reports: a fact about entries that are committed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which shard.
    pub shard: ShardId,
    /// How far it is evaluated; at a barrier, up to there.
    pub upto: Mark,
    /// It stands at a barrier, and this is what the transaction comes to here.
    pub verdict: Option<Verdict>,
}

/// What a transaction comes to in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which transaction.
    pub txn: TxnId,
    /// Do all of its compares in this shard hold?
    pub holds: bool,
    /// Would its branches change anything here? The one that is taken if all hold, then the other. None: it is refused here, and so everywhere.
    pub changes: [Option<bool>; 2],
}

/// How often, how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScribeConfig {
    /// Between two cuts, at least: the longer, the more turns share one.
    pub cut_interval: Duration,
    /// How long a transaction may wait for a shard's verdict before it is void.
    pub void_after: Duration,
    /// How long a leader that has just begun waits for verdicts at least, however old the transaction is.
    pub grace: Duration,
}

impl Default for ScribeConfig {
    /// A cut each millisecond, at most; transactions are void after two seconds, and not before a leader has led for half of one.
    fn default() -> ScribeConfig {
        ScribeConfig {
            cut_interval: Duration::from_millis(1),
            void_after: Duration::from_secs(2),
            grace: Duration::from_millis(500),
        }
    }
}

/// The order group's leader, as far as the order is concerned. Nothing in it has to survive: who leads next is told the same facts again.
#[derive(Clone, Debug)]
pub struct Scribe {
    config: ScribeConfig,
    newest: BTreeMap<ShardId, Mark>,
    /// Where each shard stood that gave its verdict.
    verdicts: BTreeMap<(TxnId, ShardId), (Mark, Verdict)>,
    /// When this node first saw each open transaction.
    since: BTreeMap<TxnId, Instant>,
    /// Nothing is void before, for want of verdicts.
    patient_until: Instant,
    /// What was proposed and not applied yet.
    deciding: BTreeSet<TxnId>,
    cutting: bool,
    cut_at: Instant,
}

impl Scribe {
    /// Of a leader that has just begun.
    #[must_use]
    pub fn new(config: ScribeConfig, now: Instant) -> Scribe {
        Scribe {
            config,
            newest: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            since: BTreeMap::new(),
            patient_until: now + config.grace,
            deciding: BTreeSet::new(),
            cutting: false,
            cut_at: now,
        }
    }

    /// This node has seen the open transaction since then, before it led.
    ///
    /// {the leader changes each second, and a shard has no quorum}: were it counted from the beginning of each lead, nothing would ever be void, and whatever stands behind
    /// it would wait for ever. Found by the simulator.
    pub fn seen(&mut self, txn: TxnId, since: Instant) {
        self.since.insert(txn, since);
    }

    /// Takes a report, whichever it is: old ones and repeated ones say nothing new.
    pub fn report(&mut self, report: Report) {
        let newest = self.newest.entry(report.shard).or_default();
        *newest = (*newest).max(report.upto);
        if let Some(verdict) = report.verdict {
            self.verdicts.insert((verdict.txn, report.shard), (report.upto, verdict));
        }
    }

    /// Has the shard said what the transaction comes to there, or a later one: {its barrier was lost, and the shard stands at the next}: it never will.
    #[must_use]
    pub fn has_passed(&self, txn: TxnId, shard: ShardId) -> bool {
        self.verdicts.range((txn, ShardId(0))..).any(|((_, of), _)| *of == shard)
    }

    /// An entry of the order log that this leader proposed was applied, or is certain never to be.
    pub fn settled(&mut self, command: &Command) {
        match command {
            Command::Cut(_) => self.cutting = false,
            Command::Decide { txn, .. } => _ = self.deciding.remove(txn),
            Command::Begin(_) | Command::Forget { .. } | Command::Admit(_) => {}
        }
    }

    /// When [`due`](Self::due) may have something though nothing is reported before.
    #[must_use]
    pub fn poll_timeout(&self, order: &Orderer) -> Option<Instant> {
        let cut = (!self.cutting && !self.news(order).is_empty()).then_some(self.cut_at);
        let void = self.since.iter().filter(|(txn, _)| !self.deciding.contains(txn));
        void.map(|(_, since)| self.void_at(*since)).chain(cut).min()
    }

    /// The marks beyond what is placed, of the shards of which more may be.
    fn news(&self, order: &Orderer) -> Vec<(ShardId, Mark)> {
        let newest = self.newest.iter().map(|(shard, mark)| (*shard, *mark));
        let is_news = |shard, mark| order.placed(shard).is_some_and(|placed| mark > placed);
        newest.filter(|(shard, mark)| order.has_room(*shard) && is_news(*shard, *mark)).collect()
    }

    fn void_at(&self, since: Instant) -> Instant {
        (since + self.config.void_after).max(self.patient_until)
    }

    /// What is to be proposed now.
    pub fn due(&mut self, now: Instant, order: &Orderer) -> Vec<Command> {
        let mut commands = Vec::new();
        self.since.retain(|txn, _| order.waits_for(*txn));
        self.verdicts.retain(|(txn, _), _| order.waits_for(*txn));
        // Shards of transactions that are open and older.
        let mut awaited: BTreeSet<ShardId> = BTreeSet::new();
        for (txn, open) in order.open() {
            let since = *self.since.entry(txn).or_insert(now);
            // {the barriers of T1 are lost on their way, those of T2 are not; the shards say what T2 comes to}: T2 would be refused, and proposed again at once and for
            // ever, until T1 is void. Found by the simulator: the log was full of it, and of little else.
            let is_behind = open.shards().iter().any(|shard| awaited.contains(shard));
            awaited.extend(open.shards());
            if self.deciding.contains(&txn) {
                continue;
            }
            let may_end = open.shards().iter().all(|shard| order.has_room(*shard));
            let outcome = match self.outcome(txn, open.shards()).filter(|_| may_end) {
                Some(Outcome::Done { .. }) if is_behind => continue,
                Some(outcome) => outcome,
                None if now >= self.void_at(since) => Outcome::Void,
                None => continue,
            };
            self.deciding.insert(txn);
            commands.push(Command::Decide { txn, outcome });
        }
        if !self.cutting && now >= self.cut_at {
            let news = self.news(order);
            if !news.is_empty() {
                commands.push(Command::Cut(news));
                (self.cutting, self.cut_at) = (true, now + self.config.cut_interval);
            }
        }
        commands
    }

    /// What the transaction comes to, once all have said it.
    ///
    /// {T puts into A and B, and B knows no lease of that number}: T is void, and A, which would have put, does not.
    fn outcome(&self, txn: TxnId, shards: &BTreeSet<ShardId>) -> Option<Outcome> {
        let said: Option<Vec<_>> = shards
            .iter()
            .map(|shard| self.verdicts.get(&(txn, *shard)).map(|said| (*shard, *said)))
            .collect();
        let said = said?;
        let branch = said.iter().all(|(_, (_, verdict))| verdict.holds);
        let changes = said.iter().map(|(_, (_, verdict))| verdict.changes[usize::from(!branch)]);
        // One that refuses is enough, and nothing is done in any.
        let Some(changes) = changes.collect::<Option<Vec<bool>>>() else { return Some(Outcome::Void) };
        let changes = changes.contains(&true);
        let barriers = said.iter().map(|(shard, (at, _))| (*shard, *at)).collect();
        Some(Outcome::Done { branch, changes, barriers })
    }
}

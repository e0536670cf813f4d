//! The steward of leases: how long each lives, and which are over. Runs beside the leader of the keys.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::{Duration, Epoch, Instant, NodeId};
use quorate_keyspace::{Command, LEASES_PER_COMMAND_MAX, Lease, LeaseId, News, View};

use super::{Asker, BARRIER_AGAIN, END_AGAIN, Question, Remaining};

/// Commands that one look ends leases with; the rest is for the next look, which may follow at once.
///
/// Few: {100,000 leases end together}, and a put that comes in between waits until those before it in the log are gone on every replica that answers. With
/// sixteen a look, puts waited for a quarter of a second.
pub const EXPIRE_COMMANDS_MAX: usize = 2;

/// A checkpoint is written when half of what was left has gone, and after this long at the latest.
const CHECKPOINT_AFTER_MAX: Duration = Duration::from_secs(300);

/// The time of all leases, as the leader of one epoch counts it.
///
/// Nothing is answered and nothing ends before a barrier: the caller reads the keys linearizably, and hands over the view. That read confirms that this
/// node still led when it was asked for, and the view has whatever was committed before, so that a lease that somebody was granted is known.
#[derive(Debug)]
pub struct Steward {
    epoch: Epoch,
    held: BTreeMap<LeaseId, Held>,
    /// When each is over, or its end is to be proposed again.
    ends: BTreeSet<(Instant, LeaseId)>,
    /// When a checkpoint is due.
    checkpoints: BTreeSet<(Instant, LeaseId)>,
    /// Questions that wait for the next barrier.
    questions: Vec<(Asker, Vec<Question>)>,
    /// Those that the barrier under way is for; none is, if there is none.
    barrier: Option<Vec<(Asker, Vec<Question>)>>,
    /// No barrier is begun before: one has just failed.
    rests_until: Instant,
    /// The next barrier's view shows leases that this table has not heard of, or lacks some that it has.
    look: bool,
    /// Answers that wait for an entry: for the end of a lease, or for its checkpoint to be taken back. Of each member the newest number.
    waiting: BTreeMap<LeaseId, BTreeMap<NodeId, u64>>,
    answers: Vec<(Asker, (Question, Remaining))>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    granted: u64,
    ttl: Duration,
    /// When it is over.
    deadline: Instant,
    standing: Standing,
    /// In `ends` and in `checkpoints`.
    end_at: Instant,
    checkpoint_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It lives, and the log says nothing of what is left of it.
    Whole,
    /// It lives. The log says, or an entry on its way will, that less than all of its time is left.
    Checkpointed,
    /// It was kept alive, and an entry on its way says so.
    Renewing,
    /// Its end is on its way.
    Ending,
}

impl Steward {
    /// The steward of a leader that begins an epoch. It knows no lease before the first barrier.
    #[must_use]
    pub fn new(epoch: Epoch) -> Steward {
        Steward {
            epoch,
            held: BTreeMap::new(),
            ends: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            questions: Vec::new(),
            barrier: None,
            rests_until: Instant::START,
            look: true,
            waiting: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// The epoch in which alone it counts.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many leases it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Does it know none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A member asks.
    pub fn asked(&mut self, asker: Asker, questions: Vec<Question>) {
        self.questions.push((asker, questions));
    }

    /// Entries were applied.
    pub fn hear(&mut self, news: &News, now: Instant) {
        match news {
            News::Changed(_) | News::AuthChanged { .. } | News::Authenticated { .. } => {}
            News::Granted(lease) => self.begin(lease, now),
            News::Ended { id, granted } => self.ended(*id, *granted),
            News::Checkpointed(lease) => self.checkpointed(lease, now),
        }
    }

    /// Something happened that it was not told of.
    pub fn lost_count(&mut self) {
        self.look = true;
    }

    /// Is a barrier wanted now, and none under way? To be asked whenever something was told, and at [`Steward::poll_timeout`]. The caller begins a
    /// linearizable read then, and hands over what comes of it.
    pub fn wants_barrier(&mut self, now: Instant) -> bool {
        if quorate_consensus::planted!("E12") {
            self.answer_unconfirmed();
        }
        let due = |set: &BTreeSet<(Instant, LeaseId)>| set.first().is_some_and(|(at, _)| *at <= now);
        let wanted = self.look || !self.questions.is_empty() || due(&self.ends) || due(&self.checkpoints);
        if !wanted || self.barrier.is_some() || now < self.rests_until {
            return false;
        }
        self.barrier = Some(std::mem::take(&mut self.questions));
        true
    }

    /// The barrier failed. Whoever asked asks again. The next one waits a little: a node that refuses reads because it has too many must not be asked for
    /// another at once, and again.
    pub fn barrier_failed(&mut self, now: Instant) {
        self.barrier = None;
        self.rests_until = now + BARRIER_AGAIN;
    }

    /// The barrier is done, and this is the state behind it. Returns what is to be proposed.
    pub fn barrier_done(&mut self, view: &View, now: Instant) -> Vec<Command> {
        let Some(questions) = self.barrier.take() else { return Vec::new() };
        if std::mem::take(&mut self.look) {
            self.look_at(view, now);
        }
        let mut commands = Vec::new();
        let mut checkpoints = BTreeMap::new();
        for (asker, questions) in questions {
            for question in questions {
                self.answer(asker, question, view, now, &mut checkpoints);
            }
        }
        self.checkpoint_due(now, &mut checkpoints);
        let checkpoints: Vec<(LeaseId, u64, i64)> =
            checkpoints.into_iter().map(|(id, (granted, left))| (id, granted, left)).collect();
        for some in checkpoints.chunks(LEASES_PER_COMMAND_MAX) {
            commands.push(Command::LeaseCheckpoint { epoch: self.epoch.0, checkpoints: some.to_vec() });
        }
        self.end_due(now, &mut commands);
        commands
    }

    /// Answers by now, gathered by asker.
    pub fn take_answers(&mut self) -> BTreeMap<Asker, Vec<(Question, Remaining)>> {
        let mut by_asker: BTreeMap<Asker, Vec<(Question, Remaining)>> = BTreeMap::new();
        for (asker, answer) in self.answers.drain(..) {
            by_asker.entry(asker).or_default().push(answer);
        }
        by_asker
    }

    /// When a barrier will be [wanted](Steward::wants_barrier) if nothing is told before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.barrier.is_some() {
            return None;
        }
        // Wanted already, and only the rest is waited for.
        if self.look || !self.questions.is_empty() {
            return Some(self.rests_until);
        }
        let next = |set: &BTreeSet<(Instant, LeaseId)>| set.first().map(|(at, _)| *at);
        let due = next(&self.ends).into_iter().chain(next(&self.checkpoints)).min();
        due.map(|at| at.max(self.rests_until))
    }

    fn answer(
        &mut self,
        asker: Asker,
        question: Question,
        view: &View,
        now: Instant,
        checkpoints: &mut Checkpoints,
    ) {
        let id = question.lease();
        let Some(lease) = view.lease(id) else {
            return self.answers.push((asker, (question, None)));
        };
        if self.held.get(&id).is_none_or(|held| held.granted != lease.granted) {
            // The news of it is still on the way; the view is newer.
            self.begin(&lease, now);
        }
        let Some(mut held) = self.held.get(&id).copied() else { return };
        match (question, held.standing) {
            (Question::TimeToLive(_), _) => {
                let left = held.deadline.since(now).as_secs();
                self.answers.push((asker, (question, Some(i64::try_from(left).unwrap_or(i64::MAX)))));
            }
            // Over, and the end is on its way: whoever asks now learns of it when it has come, and not before it is certain.
            (Question::KeepAlive(_), Standing::Ending) if !quorate_consensus::planted!("E11") => {
                self.waiting.entry(id).or_default().insert(asker.member, asker.number);
            }
            (Question::KeepAlive(_), standing) => {
                held.deadline = now + held.ttl;
                // The log says less than is promised now. A successor would believe the log: so first the log.
                let in_log = !matches!(standing, Standing::Whole | Standing::Ending)
                    && !quorate_consensus::planted!("E21");
                if in_log {
                    // Again, if it is on its way already: an entry may be lost, and whoever is not answered asks again.
                    checkpoints.insert(id, (held.granted, 0));
                    held.standing = Standing::Renewing;
                    self.waiting.entry(id).or_default().insert(asker.member, asker.number);
                } else {
                    self.answers.push((asker, (question, Some(lease.ttl_s))));
                }
                let (end_at, checkpoint_at) = (held.deadline, checkpoint_at(&held, now));
                self.set(id, held, end_at, checkpoint_at);
            }
        }
    }

    /// E12: keeps leases alive without asking whether this node still leads.
    fn answer_unconfirmed(&mut self) {
        for (asker, questions) in &self.questions {
            for question in questions {
                let held = self.held.get(&question.lease());
                if let Some(held) = held.filter(|held| held.standing == Standing::Whole) {
                    let ttl_s = i64::try_from(held.ttl.as_secs()).unwrap_or(i64::MAX);
                    self.answers.push((*asker, (*question, Some(ttl_s))));
                }
            }
        }
    }

    /// Notes in the log what is left of those that nobody has kept alive for long: a successor goes on from there.
    fn checkpoint_due(&mut self, now: Instant, checkpoints: &mut Checkpoints) {
        while let Some((_, id)) = self.checkpoints.first().copied().filter(|(at, _)| *at <= now) {
            let Some(mut held) = self.held.get(&id).copied() else { break };
            // In seconds, rounded up: the log never says less than is left.
            let left = held.deadline.since(now);
            let left_s = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            let is_less = Duration::from_secs(left_s) < held.ttl && left_s > 0;
            if is_less && matches!(held.standing, Standing::Whole | Standing::Checkpointed) {
                held.standing = Standing::Checkpointed;
                checkpoints.insert(id, (held.granted, i64::try_from(left_s).unwrap_or(i64::MAX)));
            }
            let (end_at, checkpoint_at) = (held.end_at, checkpoint_at(&held, now));
            self.set(id, held, end_at, checkpoint_at);
        }
    }

    fn end_due(&mut self, now: Instant, commands: &mut Vec<Command>) {
        // Somebody asked before the end was decided: the next barrier answers, and this is looked at again then.
        let asked_for: BTreeSet<LeaseId> = self
            .questions
            .iter()
            .flat_map(|(_, questions)| questions)
            .map(|question| question.lease())
            .collect();
        let most = EXPIRE_COMMANDS_MAX * LEASES_PER_COMMAND_MAX;
        let due = self.ends.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id);
        let due: Vec<LeaseId> = due.filter(|id| !asked_for.contains(id)).take(most).collect();
        for some in due.chunks(LEASES_PER_COMMAND_MAX) {
            let mut leases = Vec::with_capacity(some.len());
            for id in some {
                let Some(mut held) = self.held.get(id).copied() else { continue };
                leases.push((*id, held.granted));
                held.standing = Standing::Ending;
                self.set(*id, held, now + END_AGAIN, FAR);
            }
            commands.push(Command::LeaseExpire { epoch: self.epoch.0, leases });
        }
    }

    /// The table becomes what the view shows.
    fn look_at(&mut self, view: &View, now: Instant) {
        let gone: Vec<(LeaseId, u64)> = self
            .held
            .iter()
            .filter(|(id, held)| view.lease(**id).is_none_or(|lease| lease.granted != held.granted))
            .map(|(id, held)| (*id, held.granted))
            .collect();
        for (id, granted) in gone {
            self.ended(id, granted);
        }
        for lease in view.leases() {
            match self.held.get(&lease.id).map(|held| held.standing) {
                None => self.begin(&lease, now),
                // The entry that it waits for may have been applied unheard.
                Some(Standing::Renewing) if lease.remaining_s == 0 => self.checkpointed(&lease, now),
                Some(_) => {}
            }
        }
    }

    /// A lease begins, or is first heard of: what is left of it is counted from now. Later than it began, and so never too short.
    fn begin(&mut self, lease: &Lease, now: Instant) {
        if self.held.get(&lease.id).is_some_and(|held| held.granted == lease.granted) {
            return;
        }
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        let ttl = seconds(lease.ttl_s);
        let (left, standing) = match lease.remaining_s {
            _ if quorate_consensus::planted!("E13") => (ttl, Standing::Whole),
            0 => (ttl, Standing::Whole),
            remaining => (seconds(remaining), Standing::Checkpointed),
        };
        let deadline = now + left;
        let held = Held {
            granted: lease.granted,
            ttl,
            deadline,
            standing,
            end_at: deadline,
            checkpoint_at: deadline,
        };
        let checkpoint_at = checkpoint_at(&held, now);
        self.set(lease.id, held, deadline, checkpoint_at);
        // Whoever waits for the end of one that had this id before asks again, and is told of this one.
        self.waiting.remove(&lease.id);
    }

    fn ended(&mut self, id: LeaseId, granted: u64) {
        if self.held.get(&id).is_none_or(|held| held.granted != granted) {
            return;
        }
        if let Some(held) = self.held.remove(&id) {
            self.ends.remove(&(held.end_at, id));
            self.checkpoints.remove(&(held.checkpoint_at, id));
        }
        self.answer_waiting(id, None);
    }

    fn answer_waiting(&mut self, id: LeaseId, remaining: Remaining) {
        for (member, number) in self.waiting.remove(&id).unwrap_or_default() {
            self.answers.push((Asker { member, number }, (Question::KeepAlive(id), remaining)));
        }
    }

    /// The log says something new of what is left.
    fn checkpointed(&mut self, lease: &Lease, now: Instant) {
        let Some(mut held) = self.held.get(&lease.id).copied().filter(|held| held.granted == lease.granted)
        else {
            return;
        };
        // Of an earlier checkpoint, which the one that is on its way takes back.
        if held.standing != Standing::Renewing || lease.remaining_s != 0 {
            return;
        }
        held.standing = Standing::Whole;
        let (end_at, checkpoint_at) = (held.end_at, checkpoint_at(&held, now));
        self.set(lease.id, held, end_at, checkpoint_at);
        self.answer_waiting(lease.id, Some(lease.ttl_s));
    }

    fn set(&mut self, id: LeaseId, held: Held, end_at: Instant, checkpoint_at: Instant) {
        let held = Held { end_at, checkpoint_at, ..held };
        if let Some(before) = self.held.insert(id, held) {
            self.ends.remove(&(before.end_at, id));
            self.checkpoints.remove(&(before.checkpoint_at, id));
        }
        self.ends.insert((end_at, id));
        if checkpoint_at < FAR {
            self.checkpoints.insert((checkpoint_at, id));
        }
    }
}

/// What is to be noted of leases: the index of the grant, and the seconds that are left, zero for all.
type Checkpoints = BTreeMap<LeaseId, (u64, i64)>;

/// Never.
const FAR: Instant = Instant::END;

/// When half of what is left will have gone. Of the last two seconds nothing is worth noting.
fn checkpoint_at(held: &Held, now: Instant) -> Instant {
    let left = held.deadline.since(now);
    if left <= Duration::from_secs(2) { FAR } else { now + (left / 2).min(CHECKPOINT_AFTER_MAX) }
}

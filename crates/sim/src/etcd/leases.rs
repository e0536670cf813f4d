//! E5: no lease ends before its time, none lives on for ever, and nobody is told that one lives which has ended.

use std::collections::BTreeMap;

use quorate_consensus::Duration;
use quorate_service::{
    keyspace::{Command, Lease, LeaseId},
    lease::{Question, Remaining},
};

use super::{
    Ledger, Wrong,
    clocks::Moment,
    ledger::{Fate, Happened},
    stage::Calm,
};
use crate::{
    marks::{Mark, Marks},
    schedule::{MILLIS, SECONDS, Time},
};

/// By how much later than it should a lease may end in calm weather: barriers, an entry, and questions that wait.
const SLACK: Time = 1_500 * MILLIS;

/// For so long a question may be on its way, or wait at a host for whoever leads next: [`front`](super::front) lets go of it after 7 s of its own clock.
const QUESTION_WAITS: Time = 8 * SECONDS;

/// A lease, from its grant on.
#[derive(Debug)]
struct Grant {
    lease: Lease,
    began: Moment,
    /// When the client asked, whose keep-alive was acknowledged: of those the last.
    kept: Option<Moment>,
    /// The epoch by then.
    kept_in: u64,
    /// When anybody last asked that it live on, or was answered.
    asked: Time,
    /// When those asked who have no answer so far.
    open: Vec<Time>,
    ended: Option<Ended>,
}

#[derive(Debug)]
struct Ended {
    /// When the log said so, or soon after.
    at: Time,
    /// The decision of the steward: where, and when. None: its client wanted it.
    decided: Option<(usize, Moment)>,
    /// The log said that not all of its time was left: the counting went from host to host.
    noted: bool,
}

/// The steward of an epoch.
#[derive(Debug)]
struct Lead {
    began: Time,
    /// What the log said was left of leases then, in seconds.
    left: BTreeMap<(LeaseId, u64), i64>,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    grants: BTreeMap<LeaseId, Vec<Grant>>,
    /// By lease, grant and epoch: who decided that it ends, and when first.
    decided: BTreeMap<(LeaseId, u64, u64), (usize, Moment)>,
    leads: BTreeMap<u64, Lead>,
    /// How much of what happened was looked at.
    followed: usize,
}

fn wrong<T>(what: String) -> Result<T, Wrong> {
    Err(Wrong::new("E5", what))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

impl Leases {
    /// A steward begins on a host, and then once more: when it has seen the leases of before behind its first barrier. It counts from there: {the disks of two
    /// of three are full for two seconds, and no barrier is answered}.
    pub(super) fn begins(&mut self, epoch: u64, ledger: &Ledger, now: Time) {
        let noted = ledger.leases.values().filter(|lease| lease.remaining_s > 0);
        let left = noted.map(|lease| ((lease.id, lease.granted), lease.remaining_s)).collect();
        self.leads.insert(epoch, Lead { began: now, left });
    }

    /// The steward of a host has decided something.
    pub(super) fn decides(&mut self, host: usize, command: &Command, moment: &Moment) {
        if let Command::LeaseExpire { epoch, leases } = command {
            for (id, granted) in leases {
                self.decided.entry((*id, *granted, *epoch)).or_insert_with(|| (host, moment.clone()));
            }
        }
    }

    /// A client asks that a lease live on.
    pub(super) fn asked(&mut self, id: LeaseId, now: Time) {
        for grant in self.grants.get_mut(&id).into_iter().flatten() {
            grant.asked = now;
            grant.open.retain(|asked| asked + QUESTION_WAITS > now);
            grant.open.push(now);
        }
    }

    /// It has the answer to what it asked then.
    pub(super) fn heard(&mut self, id: LeaseId, asked: Time, now: Time) {
        for grant in self.grants.get_mut(&id).into_iter().flatten() {
            grant.asked = now;
            if let Some(place) = grant.open.iter().position(|open| *open == asked) {
                grant.open.swap_remove(place);
            }
        }
    }

    /// Looks at what has been committed since the last time. `calm`: if faults have been over for a while.
    pub(super) fn follow(
        &mut self,
        ledger: &Ledger,
        moment: &Moment,
        calm: Option<Calm>,
        marks: &mut Marks,
    ) -> Result<(), Wrong> {
        let happened = ledger.happened(self.followed);
        self.followed += happened.len();
        for Happened { fate, lease, keys } in happened.iter().copied() {
            match fate {
                Fate::Granted => {
                    marks.hit(Mark::LeaseGranted);
                    let grant = Grant {
                        lease,
                        began: moment.clone(),
                        kept: None,
                        kept_in: 0,
                        asked: moment.at,
                        open: Vec::new(),
                        ended: None,
                    };
                    self.grants.entry(lease.id).or_default().push(grant);
                }
                Fate::Checkpointed => marks.hit(Mark::LeaseNoted),
                Fate::Revoked => {
                    marks.hit(Mark::LeaseRevoked);
                    self.end(lease, Ended { at: moment.at, decided: None, noted: false })?;
                }
                Fate::Expired { epoch } => {
                    marks.hit(Mark::LeaseEnded);
                    if keys > 0 {
                        marks.hit(Mark::LeaseEndedWithKeys);
                    }
                    self.expired(lease, epoch, moment, calm)?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, lease: Lease, ended: Ended) -> Result<(), Wrong> {
        let grants = self.grants.get_mut(&lease.id).into_iter().flatten();
        let Some(grant) = grants.rev().find(|grant| grant.lease.granted == lease.granted) else {
            return Ok(());
        };
        let grant = &mut *grant;
        grant.ended = Some(ended);
        grant.check_end(&grant.kept.clone().unwrap_or_else(|| grant.began.clone()))
    }

    fn expired(
        &mut self,
        lease: Lease,
        epoch: u64,
        moment: &Moment,
        calm: Option<Calm>,
    ) -> Result<(), Wrong> {
        let Some((host, decision)) = self.decided.get(&(lease.id, lease.granted, epoch)).cloned() else {
            return wrong(format!("{lease:?} is ended in epoch {epoch}, in which nobody decided that"));
        };
        let decided_at = decision.at;
        let noted = lease.remaining_s != 0;
        self.end(lease, Ended { at: moment.at, decided: Some((host, decision)), noted })?;
        let (Some(calm), Some(lead)) = (calm, self.leads.get(&epoch)) else { return Ok(()) };
        let grant = self.grants.get(&lease.id).and_then(|grants| grants.last());
        let asked = grant.map_or(0, |grant| grant.asked);
        let left = lead.left.get(&(lease.id, lease.granted)).copied().unwrap_or(lease.ttl_s);
        // A question that has had no answer may be on its way, or wait, for so long; whoever leads by then hears it. Also if a later one was answered before.
        let open = grant.and_then(|grant| grant.open.iter().max()).map_or(0, |open| open + QUESTION_WAITS);
        let heard = asked.max(open);
        let (from, time) = if heard >= lead.began {
            (heard, lease.ttl_s)
        } else {
            // Nobody has asked for it since this steward began: it counts what the log said was left.
            (lead.began, left)
        };
        // What was asked before the faults were over, the steward may hear as they end: {the leader's state half is slow, a lease is granted meanwhile, and applied
        // there two seconds later, when all is mended}.
        let latest = (from.max(calm.healed) + drifted(time)).max(calm.since) + SLACK;
        if decided_at > latest {
            return wrong(format!(
                "{lease:?} ends only at {decided_at} ns: last asked for at {asked}, its steward began at {}, {left} s were left then",
                lead.began
            ));
        }
        Ok(())
    }

    /// A question about a lease, asked at `asked`, is answered.
    pub(super) fn answered(
        &mut self,
        question: Question,
        remaining: Remaining,
        asked: &Moment,
        marks: &mut Marks,
    ) -> Result<(), Wrong> {
        let epoch = self.leads.last_key_value().map_or(0, |(epoch, _)| *epoch);
        let id = question.lease();
        let grants = self.grants.entry(id).or_default();
        let Some(seconds_left) = remaining else {
            marks.hit(Mark::LeaseGone);
            let lives = grants.iter().find(|grant| grant.began.at < asked.at && grant.ended.is_none());
            return match lives {
                Some(grant) => wrong(format!("a client is told that {grant:?} is over, asked at {asked:?}")),
                None => Ok(()),
            };
        };
        // Those that lived at some moment between the question and now.
        let mut lived: Vec<&mut Grant> = grants
            .iter_mut()
            .filter(|grant| grant.ended.as_ref().is_none_or(|ended| ended.at >= asked.at))
            .collect();
        if lived.is_empty() {
            return wrong(format!(
                "a client is told that the lease {} lives, for {seconds_left} s; it had ended before that was asked at {asked:?}: {:?}",
                id.0,
                self.grants.get(&id)
            ));
        }
        if lived.iter().all(|grant| seconds_left > grant.lease.ttl_s || seconds_left < 0) {
            return wrong(format!("a client is told of {seconds_left} s: {lived:?}"));
        }
        let Question::KeepAlive(_) = question else {
            marks.hit(Mark::LeaseTimeTold);
            return Ok(());
        };
        marks.hit(Mark::LeaseKept);
        let [grant] = &mut lived[..] else { return Ok(()) };
        if grant.kept_in != 0 && grant.kept_in < epoch {
            marks.hit(Mark::LeaseOutlivedLeader);
        }
        grant.kept_in = epoch;
        if grant.kept.as_ref().is_none_or(|kept| kept.at < asked.at) {
            grant.kept = Some(asked.clone());
        }
        grant.check_end(asked)
    }

    /// E5: at the end of a run, after a long calm, no lease lives that nobody has asked for in its time.
    pub(super) fn check(&self, ledger: &Ledger, calm: Time, now: Time) -> Result<(), Wrong> {
        let lead = self.leads.last_key_value().map_or(0, |(_, lead)| lead.began);
        for lease in ledger.leases.values() {
            let grant = self.grants.get(&lease.id).and_then(|grants| grants.last());
            let asked = grant.map_or(0, |grant| grant.asked);
            let latest = asked.max(calm).max(lead) + drifted(lease.ttl_s) + SLACK;
            if now > latest {
                return wrong(format!(
                    "{lease:?} lives on at {now} ns: last asked for at {asked}, its steward began at {lead}"
                ));
            }
        }
        Ok(())
    }
}

/// So long a time may seem to the slowest clock.
fn drifted(time_s: i64) -> Time {
    let time = time_s.unsigned_abs() * SECONDS;
    time + time / 15
}

impl Grant {
    /// Whoever asked at `asked` was promised its whole time from then: has it ended before?
    fn check_end(&self, asked: &Moment) -> Result<(), Wrong> {
        let Some(Ended { decided: Some((host, decision)), noted, .. }) = &self.ended else { return Ok(()) };
        let lived = decision.since(asked, Some(*host).filter(|_| !noted));
        if lived < seconds(self.lease.ttl_s) {
            return wrong(format!("{self:?} is ended {lived:?} after it was promised, asked at {asked:?}"));
        }
        Ok(())
    }
}

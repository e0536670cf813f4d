//! K8: a session is ended by its steward only, when nobody has told that steward of its client for as long as the session lives, and only under the leader
//! that decided it. K6: and then it is ended.

use quorate_consensus::{Duration, Epoch, Instant};
use quorate_service::znodes::{Command, Expiry, SessionId, ZnodeError};

use super::{Log, Wrong, Zoo, server::Server};
use crate::{
    marks::{Mark, Marks},
    schedule::{MILLIS, Time},
};

impl Zoo {
    /// The steward of a host has decided this, in the epoch in which the host leads.
    pub(super) fn decides(
        &mut self,
        server: &Server,
        command: &Command,
        epoch: Epoch,
        local: Instant,
    ) -> Result<(), Wrong> {
        let Command::CloseSession(close) = command else { return Ok(()) };
        let (session, Some(Expiry { owner, .. })) = (close.session, close.expiry) else { return Ok(()) };
        self.decided.entry((session, owner)).or_default().push(epoch);
        let heard = server.heard();
        let last = heard.touched.get(&session).copied().unwrap_or(heard.leads_since).max(heard.leads_since);
        let timeout = server.view().session(session).map_or(0, |known| known.timeout_ms);
        let due = last + Duration::from_millis(u64::from(timeout.unsigned_abs()));
        if local < due {
            let what = format!(
                "{session} is ended at {local:?}, its client was heard of at {last:?}, its time is {timeout} ms"
            );
            return Err(Wrong::new("K8", what));
        }
        Ok(())
    }

    /// Looks at what has been committed since the last time. `calm`: faults have been over for a while.
    pub(super) fn follow(
        &mut self,
        log: &Log,
        now: Time,
        calm: bool,
        marks: &mut Marks,
    ) -> Result<(), Wrong> {
        while let Some(step) = log.step(self.followed + 1) {
            self.followed += 1;
            match &step.command {
                Some(Command::CreateSession(create)) => _ = self.heard.insert(create.session, now),
                Some(Command::Reattach(reattach)) if step.result.is_ok() => {
                    marks.hit(Mark::TreeSessionMoved);
                    self.heard.insert(reattach.session, now);
                }
                Some(Command::CloseSession(close)) => match close.expiry {
                    Some(_) if step.result == Err(ZnodeError::NotDue) => marks.hit(Mark::TreeNotDue),
                    Some(Expiry { owner, .. }) if step.changed => {
                        marks.hit(Mark::TreeSessionExpired);
                        self.expired((close.session, owner), step.position.epoch, now, calm)?;
                    }
                    None if step.changed => marks.hit(Mark::TreeSessionClosed),
                    Some(_) | None => {}
                },
                Some(Command::Reap(_)) if step.changed => marks.hit(Mark::TreeReaped),
                Some(Command::Multi(..)) if !step.changed => marks.hit(Mark::TreeMultiFailed),
                _ => {}
            }
        }
        Ok(())
    }

    /// A session was ended because nobody had heard of its client.
    fn expired(&mut self, of: (SessionId, u64), epoch: Epoch, now: Time, calm: bool) -> Result<(), Wrong> {
        let decided = self.decided.get(&of).map_or(&[][..], Vec::as_slice);
        if !decided.contains(&epoch) {
            let what = format!("{} is ended in epoch {epoch}, that was decided in {decided:?}", of.0);
            return Err(Wrong::new("K8", what));
        }
        let ago = now - self.heard.get(&of.0).copied().unwrap_or(0);
        let shortest = self.shape.tick_ms * 2 * MILLIS;
        if calm && ago < shortest.saturating_sub(self.shape.tick_ms * MILLIS) {
            let what = format!("{} is ended in calm weather, its client was heard {ago} ns ago", of.0);
            return Err(Wrong::new("K8", what));
        }
        Ok(())
    }

    /// K6: at the end of a run, after a long calm: no session lives whose client is gone for long.
    pub(crate) fn check_sessions(&self, log: &Log, now: Time) -> Result<(), Wrong> {
        for (session, alive) in &log.model.sessions {
            let heard = self.heard.get(session).copied().unwrap_or(0);
            // Its time, a tick of rounding, one until the steward knows of it, and one until it asks again.
            let longest = u64::from(alive.timeout_ms.unsigned_abs()) + 6 * self.shape.tick_ms;
            if now.saturating_sub(heard) > (longest + 500) * MILLIS {
                let what = format!("{session} lives on, its client was last heard {} ns ago", now - heard);
                return Err(Wrong::new("K6", what));
            }
        }
        Ok(())
    }
}

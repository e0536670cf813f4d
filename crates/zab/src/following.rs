//! What a learner does with each packet of the stream, from NEWEPOCH to UPTODATE (rules Z05–Z07). A packet out of turn, or one that does not fit, ends the link.

use quorate_consensus::{Entry, Epoch, Index, Instant, Position, planted};

use crate::{
    Message, Zab,
    learner::Refused,
    role::{Role, Stage},
    zab::Out,
};

impl Zab {
    fn stage(&self) -> Option<&Stage> {
        match &self.role {
            Role::Following(following) => Some(&following.stage),
            Role::Looking(_) | Role::Leading(_) => None,
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(following) = self.following() {
            following.stage = stage;
        }
    }

    /// NEWEPOCH: promise it, or give the leader up (rule Z05).
    ///
    /// An epoch below the promised one is refused, for that is what fences an older leader. One that was promised to another prospective leader is followed and
    /// not promised again: {S1 and S2 both choose epoch 2; S3 promises it to S1 and then to S2}: both would have a quorum for epoch 2.
    pub(crate) fn on_new_epoch(&mut self, now: Instant, epoch: Epoch, out: &mut Out) -> Result<(), Refused> {
        let Role::Following(following) = &self.role else { return Ok(()) };
        if !matches!(following.stage, Stage::Discovery) || self.is_absurd(epoch) {
            return Err("new_epoch_refused_out_of_turn");
        }
        if epoch < self.hard.accepted {
            out.because(
                "Z05",
                "new_epoch_refused_older",
                &[("epoch", epoch.0), ("own", self.hard.accepted.0)],
            );
            self.look(now, out);
            return Ok(());
        }
        let leader = following.leader;
        if epoch > self.hard.accepted {
            self.hard.accepted = epoch;
            self.hard.promised_to = Some(leader);
            self.write_hard_state();
            out.because("Z05", "epoch_promised", &[("epoch", epoch.0), ("leader", leader.0)]);
        }
        let info_at = now + self.config.heartbeat_interval;
        if let Some(following) = self.following() {
            following.stage = Stage::Promised(epoch);
            following.info_at = info_at;
        }
        self.ack_epoch(out);
        Ok(())
    }

    fn ack_epoch(&self, out: &mut Out) {
        let Role::Following(following) = &self.role else { return };
        let Stage::Promised(epoch) = following.stage else { return };
        let promised = self.hard.promised_to == Some(following.leader);
        let history = self.log.history(self.hard.current);
        let ack = Message::AckEpoch { link: following.link, epoch, promised, history };
        self.send(following.leader, ack, out);
    }

    /// FOLLOWERINFO and ACKEPOCH may be lost: said again until something comes back.
    pub(crate) fn ask_again(&mut self, now: Instant, out: &mut Out) {
        let (pause, accepted) = (self.config.heartbeat_interval, self.hard.accepted);
        let Some(following) = self.following() else { return };
        following.info_at = now + pause;
        let (leader, link) = (following.leader, following.link);
        match following.stage {
            Stage::Discovery => self.send(leader, Message::FollowerInfo { link, accepted }, out),
            Stage::Promised(_) => self.ack_epoch(out),
            Stage::Synchronizing(_)
            | Stage::History(..)
            | Stage::Epoch(_)
            | Stage::Acknowledged(_)
            | Stage::Broadcast(_) => {}
        }
    }

    pub(crate) fn on_diff(&mut self, at: Position) -> Result<(), Refused> {
        let Some(Stage::Promised(epoch)) = self.stage() else { return Err("diff_refused_out_of_turn") };
        let epoch = *epoch;
        if self.log.last() != at {
            return Err("diff_refused_other_end");
        }
        self.begin_synchronizing(epoch);
        Ok(())
    }

    /// TRUNC: what the leader's history does not hold goes, and with it the memberships that it brought. Never what is committed.
    ///
    /// What was cut is cut in one durable write, and nothing was applied from it, since only what is committed is: an interrupted TRUNC leaves a shorter log and no
    /// state ahead of it (ZOOKEEPER-5094).
    pub(crate) fn on_trunc(&mut self, to: Position, out: &mut Out) -> Result<(), Refused> {
        let Some(Stage::Promised(epoch)) = self.stage() else { return Err("trunc_refused_out_of_turn") };
        let epoch = *epoch;
        if to.index < self.commit {
            return Err("trunc_refused_would_cut_committed");
        }
        if !self.log.holds(to) {
            return Err("trunc_refused_other_history");
        }
        out.because("Z06", "truncated", &[("to", to.index.0), ("last", self.log.last().index.0)]);
        if to.index < self.log.last().index {
            self.truncate(to.index.next());
        }
        self.begin_synchronizing(epoch);
        Ok(())
    }

    pub(crate) fn begin_synchronizing(&mut self, epoch: Epoch) {
        self.set_stage(Stage::Synchronizing(epoch));
        if planted!("H02") && self.hard.current < epoch {
            self.hard.current = epoch;
            self.write_hard_state();
        }
    }

    /// Entries of the history, or proposals: they follow this log's end without a gap, in epochs up to the leader's, or the link ends.
    ///
    /// ZooKeeper only warns of a gap, and a hole in one log became a hole in the next leader's (ZOOKEEPER-4925).
    pub(crate) fn on_entries(&mut self, entries: Vec<Entry>, commit: Index) -> Result<(), Refused> {
        let Some(stage) = self.stage() else { return Ok(()) };
        let Some(epoch) = stage.epoch().filter(|_| stage.agrees()) else {
            return Err("entries_refused_before_synchronisation");
        };
        if !follow(self.log.last(), &entries, epoch) {
            if planted!("H13") {
                return Ok(());
            }
            return Err("entries_refused_gap");
        }
        for entry in entries {
            self.append(entry);
        }
        if let Some(following) = self.following() {
            following.told_commit = following.told_commit.max(commit);
        }
        Ok(())
    }

    pub(crate) fn on_new_leader(&mut self, epoch: Epoch, last: Position) -> Result<(), Refused> {
        let known = matches!(self.stage(), Some(Stage::Synchronizing(ours)) if *ours == epoch);
        if !known {
            return Err("new_leader_refused_out_of_turn");
        }
        if last != self.log.last() && !planted!("H08") {
            return Err("new_leader_refused_other_history");
        }
        self.set_stage(Stage::History(epoch, self.log.last()));
        Ok(())
    }

    /// History durable, then the epoch, then the ACK: module `durable` says why.
    pub(crate) fn advance_stage(&mut self, now: Instant, out: &mut Out) {
        if let Some(Stage::History(epoch, last)) = self.stage() {
            let (epoch, last) = (*epoch, *last);
            let Some(proof) = self.history_durable(last) else { return };
            let writing = self.write_current_epoch(proof, epoch);
            self.set_stage(Stage::Epoch(writing));
        }
        if let Some(Stage::Epoch(writing)) = self.stage() {
            let Some(durable) = self.epoch_durable(*writing) else { return };
            let epoch = durable.epoch();
            self.set_stage(Stage::Acknowledged(durable));
            out.because("Z06", "new_leader_acknowledged", &[("epoch", epoch.0)]);
            let on_disk = self.log.durable();
            let Some(following) = self.following() else { return };
            following.told_durable = on_disk;
            let (leader, link) = (following.leader, following.link);
            let ack = Message::AckNewLeader { link, epoch, durable: on_disk };
            if planted!("H01") {
                out.send_now(leader, ack);
            } else {
                self.send(leader, ack, out);
            }
            self.obey_stream(now, out);
        }
    }

    /// UPTODATE: the leader is established, so what it calls committed is.
    pub(crate) fn on_up_to_date(&mut self, commit: Index) -> Result<(), Refused> {
        let Some(Stage::Acknowledged(durable)) = self.stage() else {
            return Err("up_to_date_refused_out_of_turn");
        };
        let durable = *durable;
        if planted!("H03") {
            self.hard.current = durable.epoch();
            self.write_hard_state();
        }
        if let Some(following) = self.following() {
            following.stage = Stage::Broadcast(durable);
            following.told_commit = following.told_commit.max(commit);
        }
        Ok(())
    }
}

/// Do the entries follow `last` and each other, in epochs that never fall and are not above the leader's?
fn follow(last: Position, entries: &[Entry], epoch: Epoch) -> bool {
    let mut last = last;
    entries.iter().all(|entry| {
        let at = entry.position;
        let follows =
            Some(at.index.0) == last.index.0.checked_add(1) && at.epoch >= last.epoch && at.epoch <= epoch;
        last = at;
        follows
    })
}

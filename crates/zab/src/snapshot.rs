//! Snapshots, as a learner and as a server of its own (rules Z06, Z11): the node carries the chunks, the engine decides what one means.

use quorate_consensus::{Index, Instant, SnapshotMeta};

use crate::{
    Zab,
    role::{Role, Stage},
    zab::Out,
};

impl Zab {
    pub(crate) fn snapshot_taken(&mut self, meta: SnapshotMeta) {
        if meta.position.index > self.snapshot.position.index {
            self.memberships.rebase(meta.membership_at, meta.membership.clone(), meta.position.index, true);
            self.snapshot = meta;
        }
    }

    /// SNAP: all of it has arrived, or this packet would not be here. It is put in place whole, and until it is nothing is built on this log: not a vote, not a
    /// promise's history, not the entries that follow (ZOOKEEPER-3642).
    ///
    /// What is committed here is never taken back: a leader that asks for it is not the leader of a sound cluster.
    pub(crate) fn on_snap(&mut self, meta: SnapshotMeta, out: &mut Out) -> Result<(), &'static str> {
        let Role::Following(following) = &self.role else { return Ok(()) };
        let Stage::Promised(epoch) = following.stage else { return Err("snap_refused_out_of_turn") };
        let of_the_future = meta.position.epoch > epoch || meta.membership_at > meta.position.index;
        if of_the_future || meta.membership.voters().is_empty() || meta.position.index == Index::ZERO {
            return Err("snap_refused_malformed");
        }
        if meta.position.index <= self.commit {
            return Err("snap_refused_would_cut_committed");
        }
        let keep = self.log.holds(meta.position);
        out.because("Z06", "snap_installs", &[("index", meta.position.index.0), ("keep", u64::from(keep))]);
        self.installing = Some((meta.clone(), keep));
        out.install = Some(meta);
        out.keep_log_after = keep;
        Ok(())
    }

    /// The snapshot is in place. What it holds is committed, so it stands even if the link that brought it is no more; whether the history after it comes is
    /// another matter, and until it does the current epoch is not raised.
    pub(crate) fn snapshot_installed(&mut self, now: Instant, meta: &SnapshotMeta, out: &mut Out) {
        let Some((installing, keep)) = self.installing.take() else { return };
        if installing.position != meta.position {
            self.installing = Some((installing, keep));
            return;
        }
        let at = meta.position.index;
        self.memberships.rebase(meta.membership_at, meta.membership.clone(), at, keep);
        self.snapshot = meta.clone();
        if keep {
            self.log.compact(at);
        } else {
            self.log.reset(meta.position);
        }
        self.commit = self.commit.max(at);
        self.draw_give_up(now);
        match &mut self.role {
            Role::Following(following) => match following.stage {
                // What followed the snapshot in this log is not known to be the leader's: only a log that ends at the snapshot goes on from it.
                Stage::Promised(epoch) if self.log.last() == meta.position => {
                    self.begin_synchronizing(epoch);
                    self.obey_stream(now, out);
                }
                Stage::Promised(_) => self.start_again(now, "snapshot_is_followed_by_more", out),
                // Another link than the one that brought it: it has waited for this.
                Stage::Discovery => self.obey_stream(now, out),
                Stage::Synchronizing(_)
                | Stage::History(..)
                | Stage::Epoch(_)
                | Stage::Acknowledged(_)
                | Stage::Broadcast(_) => {}
            },
            Role::Looking(looking) => looking.resend_at = now,
            Role::Leading(_) => {}
        }
    }
}

//! Snapshots (rules R20, R21): Raft §7. The node carries the chunks; the engine decides when one is needed and what one means.

use quorate_consensus::{Index, Instant, NodeId, SnapshotMeta, SnapshotOutcome, SnapshotSend, planted};

use crate::{Message, Raft, message::name, progress::Flow, raft::Out, role::Role};

impl Raft {
    pub(crate) fn snapshot_taken(&mut self, meta: SnapshotMeta) {
        if meta.position.index > self.snapshot.position.index {
            self.memberships.rebase(meta.membership_at, meta.membership.clone(), meta.position.index, true);
            self.snapshot = meta;
        }
    }

    /// The peer needs entries from before the log's beginning.
    pub(crate) fn send_snapshot(&mut self, peer: NodeId, out: &mut Out) {
        let (term, meta) = (self.term(), self.snapshot.clone());
        let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&peer)) else { return };
        // Not to one that has not been heard: the chunks would go nowhere, and hold the place of one that listens.
        if !progress.heard || meta.position.index == Index::ZERO {
            progress.flow = Flow::Probe { waiting: true };
            return;
        }
        progress.flow = Flow::Snapshot { index: meta.position.index };
        out.because("R21", "snapshot_sent", &[("to", name(peer)), ("index", meta.position.index.0)]);
        let message = Message::InstallSnapshot { term, meta: meta.clone() };
        out.snapshot_to.push(SnapshotSend { peer, message, meta });
    }

    pub(crate) fn snapshot_sent(
        &mut self,
        now: Instant,
        peer: NodeId,
        outcome: SnapshotOutcome,
        out: &mut Out,
    ) {
        let Some(leader) = self.leader() else { return };
        if outcome == SnapshotOutcome::Unread {
            leader.disk_lag.overdue();
        }
        let Some(progress) = leader.peers.get_mut(&peer) else { return };
        let Flow::Snapshot { index } = progress.flow else { return };
        match outcome {
            SnapshotOutcome::Delivered => {
                // Arrived is not yet installed: a probe after it finds out.
                progress.probe_from(index.next());
                self.replicate_to(now, peer, out);
            }
            // B27: nothing is sent to the peer any more, for as long as this lead lasts.
            SnapshotOutcome::Failed | SnapshotOutcome::Unread if planted!("B27") => {}
            SnapshotOutcome::Failed | SnapshotOutcome::Unread => {
                let next = progress.matched.next();
                progress.probe_from(next);
                progress.flow = Flow::Probe { waiting: true };
            }
        }
    }

    /// A whole snapshot is here (rule R21): a newer one replaces state and log; an older one is ignored, and what follows it is kept.
    ///
    /// The term in it is the term of an entry, not of this node (A05). What is committed here is never taken back (D03).
    pub(crate) fn on_install_snapshot(&mut self, from: NodeId, meta: SnapshotMeta, out: &mut Out) {
        if self.installing.is_some() {
            return;
        }
        let term = self.term();
        if meta.position.index <= self.commit && !planted!("D03") {
            out.because(
                "R21",
                "older_snapshot_ignored",
                &[("index", meta.position.index.0), ("commit", self.commit.0)],
            );
            let commit = self.commit;
            return self.send_after(
                from,
                Message::AppendAccepted { term, matched: commit },
                self.newest_token(),
                out,
            );
        }
        let of_the_future = meta.position.epoch > term || meta.membership_at > meta.position.index;
        if of_the_future || meta.membership.voters().is_empty() {
            out.because("R21", "snapshot_refused_malformed", &[("index", meta.position.index.0)]);
            return;
        }
        let keep = self.log.holds(meta.position) || planted!("D02");
        out.because(
            "R21",
            "snapshot_installs",
            &[("index", meta.position.index.0), ("keep", u64::from(keep))],
        );
        self.installing = Some((meta.clone(), keep));
        out.install = Some(meta);
        out.keep_log_after = keep;
    }

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
        if planted!("A05") {
            self.hard.term = meta.position.epoch;
            self.write_hard_state();
        }
        if let Role::Follower { verified, leader } = &mut self.role {
            *verified = (*verified).max(at);
            if let Some(leader) = *leader {
                let accepted = Message::AppendAccepted { term: self.hard.term, matched: at };
                self.send(leader, accepted, out);
            }
        }
        self.draw_election_timeout(now);
    }
}

//! Synchronisation, on the leader's side (rule Z06): DIFF, TRUNC or SNAP, the history, NEWLEADER; and after them, on the same stream, what is proposed.
//!
//! What is proposed while a learner is being brought to the history waits here, and leaves when NEWLEADER is queued: everything before NEWLEADER is history, and
//! everything after it is broadcast. ZooKeeper sends live proposals into the middle of the history, and most of its lost data was lost there.

use quorate_consensus::{
    Entry, Fetch, FetchToken, Fetched, Index, NodeId, Position, SnapshotOutcome, SnapshotSend, planted,
};

use crate::{
    Message, Zab,
    link::LinkStage,
    log::Agreement,
    message::{Ended, Packet},
    role::{Phase, Role},
    zab::Out,
};

impl Zab {
    /// Sends the next packet of a learner's stream.
    pub(crate) fn stream(&mut self, peer: NodeId, packet: Packet, out: &mut Out) {
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        let (id, sequence) = (link.id, link.sequence);
        link.sequence += 1;
        self.send(peer, Message::Stream { link: id, sequence, packet }, out);
    }

    /// Ends a learner's link; it starts again.
    pub(crate) fn end_link(&mut self, peer: NodeId, why: Ended, out: &mut Out) {
        let Some(link) = self.leading().and_then(|leading| leading.links.remove(&peer)) else { return };
        if let Some(token) = link.fetching {
            self.fetches.remove(&token);
        }
        self.send(peer, Message::Close { link: link.id, why }, out);
    }

    /// Where does the history that this learner gets first end? Not yet for an observer while the history may not be committed: it hears of what is committed only.
    fn history_end(&self, peer: NodeId) -> Option<Index> {
        let Role::Leading(leading) = &self.role else { return None };
        let voter = self.membership().is_voter(peer);
        match &leading.phase {
            Phase::Synchronization { end, .. } => voter.then_some(end.index),
            Phase::Broadcast(_) => Some(if voter { self.log.last().index } else { self.commit }),
            Phase::Discovery | Phase::Promise { .. } | Phase::History(_) | Phase::Epoch(_) => None,
        }
    }

    /// The learner has promised, and this node's history is the epoch's: find where the two histories part, and say what is to be done about it.
    pub(crate) fn begin_synchronization(&mut self, peer: NodeId, out: &mut Out) {
        let Some(end) = self.history_end(peer) else { return };
        let Role::Leading(leading) = &self.role else { return };
        let Some(link) = leading.links.get(&peer) else { return };
        let LinkStage::Promised(history) = &link.stage else { return };
        let last = history.last;
        let agreement = self.log.agreement(history);
        let gone = self.need_snapshot.contains(&peer);
        match agreement {
            Agreement::At(at) if !(gone && self.snapshot.position.index > at.index) => {
                self.send_history(peer, at, last, end, out);
            }
            Agreement::At(_) | Agreement::Compacted => self.send_snapshot(peer, end, out),
            Agreement::Untold => {
                out.because("Z06", "history_too_fragmented", &[("peer", peer.0)]);
                self.end_link(peer, Ended::NotLeading, out);
            }
        }
    }

    fn send_history(&mut self, peer: NodeId, at: Position, last: Position, end: Index, out: &mut Out) {
        let packet = if at == last { Packet::Diff(at) } else { Packet::Trunc(at) };
        let what = if at == last { "diff" } else { "trunc" };
        out.because("Z06", what, &[("to", peer.0), ("at", at.index.0), ("end", end.0)]);
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        link.next = at.index.next();
        link.stage = LinkStage::History { end: end.max(at.index) };
        self.stream(peer, packet, out);
        if planted!("H08") {
            self.queue_new_leader(peer, out);
        }
        self.feed(peer, out);
    }

    /// SNAP: the learner needs what this log has no more (module `snapshot` of the node carries the chunks).
    fn send_snapshot(&mut self, peer: NodeId, end: Index, out: &mut Out) {
        let to = self.snapshot.position.index;
        if to == Index::ZERO || to < self.log.compacted().index {
            out.because("Z06", "no_snapshot_yet", &[("to", peer.0)]);
            return self.end_link(peer, Ended::Broken, out);
        }
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        link.stage = LinkStage::Snapshot { to, end: end.max(to), failed: false };
        link.sequence += 1;
        self.need_snapshot.remove(&peer);
        self.ship_snapshot(peer, out);
    }

    fn ship_snapshot(&mut self, peer: NodeId, out: &mut Out) {
        let meta = self.snapshot.clone();
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        let LinkStage::Snapshot { to, failed, .. } = &mut link.stage else { return };
        *to = meta.position.index;
        *failed = false;
        out.because("Z06", "snap", &[("to", peer.0), ("at", meta.position.index.0)]);
        let sequence = link.sequence - 1;
        let message = Message::Stream { link: link.id, sequence, packet: Packet::Snap(meta.clone()) };
        out.snapshot_to.push(SnapshotSend { peer, message, meta });
    }

    /// A snapshot that did not arrive is sent again with a heartbeat.
    pub(crate) fn ship_again(&mut self, peer: NodeId, out: &mut Out) {
        let Role::Leading(leading) = &self.role else { return };
        let failed = leading
            .links
            .get(&peer)
            .is_some_and(|link| matches!(link.stage, LinkStage::Snapshot { failed: true, .. }));
        if failed {
            self.ship_snapshot(peer, out);
        }
    }

    pub(crate) fn snapshot_sent(&mut self, peer: NodeId, outcome: SnapshotOutcome, out: &mut Out) {
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        let LinkStage::Snapshot { to, end, failed } = &mut link.stage else { return };
        match outcome {
            SnapshotOutcome::Failed => *failed = true,
            SnapshotOutcome::Unread => {
                *failed = true;
                if let Some(broadcast) = self.broadcast() {
                    broadcast.disk_lag.overdue();
                }
            }
            SnapshotOutcome::Delivered => {
                link.next = to.next();
                link.stage = LinkStage::History { end: (*end).max(*to) };
                self.feed(peer, out);
            }
        }
    }

    /// NEWLEADER is queued behind the history, and only with the proof that this leader's own history and epoch are durable.
    fn queue_new_leader(&mut self, peer: NodeId, out: &mut Out) {
        let last = self.log.last().index;
        let Role::Leading(leading) = &self.role else { return };
        let Some((durable, link)) = leading.phase.durable().zip(leading.links.get(&peer)) else { return };
        let packet = durable.new_leader(self.position_at(link.next.previous()));
        if let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) {
            link.stage = LinkStage::NewLeader;
        }
        self.stream(peer, packet, out);
        // H13: what is proposed before the learner has acknowledged NEWLEADER does not reach it.
        if planted!("H13")
            && let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer))
        {
            link.next = last.next().max(link.next);
        }
    }

    /// Sends a learner what it lacks, as far as its window allows: the history up to its end, NEWLEADER, then proposals to a voter as they come, and to an observer
    /// once they are committed.
    pub(crate) fn feed(&mut self, peer: NodeId, out: &mut Out) {
        loop {
            let voter = self.membership().is_voter(peer);
            let live_end = if voter { self.log.last().index } else { self.commit };
            let (messages_max, bytes_max) =
                (self.config.inflight_messages_max, self.config.inflight_bytes_max);
            let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
            let (from, end) = match link.stage {
                LinkStage::History { end } if link.next > end => {
                    self.queue_new_leader(peer, out);
                    continue;
                }
                LinkStage::History { end } => (link.next, end),
                LinkStage::NewLeader if planted!("H13") => return,
                LinkStage::NewLeader | LinkStage::Live => (link.next, live_end),
                LinkStage::Waiting
                | LinkStage::Asked
                | LinkStage::Promised(_)
                | LinkStage::Snapshot { .. } => return,
            };
            if from > end || link.fetching.is_some() || link.is_full(messages_max, bytes_max) {
                return;
            }
            match self.log.entries(from, end, self.config.message_bytes_max) {
                Some(entries) => self.send_entries(peer, entries, voter, out),
                None => return self.fetch_for(peer, from, end, out),
            }
        }
    }

    fn send_entries(&mut self, peer: NodeId, entries: Vec<Entry>, voter: bool, out: &mut Out) {
        let commit = self.commit;
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        let Some(last) = entries.last().map(|entry| entry.position.index) else { return };
        link.sent(last, entries.iter().map(Entry::size_bytes).sum());
        // INFORM says of all it carries that it is committed: {S3 gets the history up to 72 as a voter, 71 is committed, and a membership that makes S3 an observer is
        // appended}: what is left of that history goes as PROPOSE.
        let packet = if voter || last > commit {
            Packet::Propose { entries, commit }
        } else {
            Packet::Inform(entries)
        };
        if link.is_live() {
            link.told_commit = link.told_commit.max(commit.min(last));
        }
        self.stream(peer, packet, out);
    }

    /// Entries that are no longer in memory are asked of the journal.
    fn fetch_for(&mut self, peer: NodeId, from: Index, to: Index, out: &mut Out) {
        self.next_fetch += 1;
        let token = FetchToken(self.next_fetch);
        let bytes_max = self.config.message_bytes_max;
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        link.fetching = Some(token);
        self.fetches.insert(token, peer);
        out.fetch.push(Fetch { token, from, to, bytes_max });
    }

    pub(crate) fn fetched(&mut self, token: FetchToken, outcome: Fetched, out: &mut Out) {
        if let Some(broadcast) = self.broadcast() {
            broadcast.disk_lag.answered();
        }
        let Some(peer) = self.fetches.remove(&token) else { return };
        let Some(link) = self.leading().and_then(|leading| leading.links.get_mut(&peer)) else { return };
        if link.fetching != Some(token) {
            return;
        }
        link.fetching = None;
        let next = link.next;
        match outcome {
            Fetched::Entries(mut entries) => {
                // H10: what is read back begins an entry too late, and is sent all the same.
                if entries.len() > 1 && planted!("H10") {
                    entries.remove(0);
                    let voter = self.membership().is_voter(peer);
                    return self.send_entries(peer, entries, voter, out);
                }
                let fits = entries.first().is_some_and(|first| first.position.index == next)
                    && entries.iter().all(|entry| self.log.holds(entry.position));
                if fits {
                    let voter = self.membership().is_voter(peer);
                    self.send_entries(peer, entries, voter, out);
                    self.feed(peer, out);
                }
            }
            Fetched::Compacted => {
                self.need_snapshot.insert(peer);
                self.end_link(peer, Ended::Broken, out);
            }
            // Asked again with the next heartbeat.
            Fetched::Failed => {}
        }
    }
}

//! AppendEntries (rules R11–R13, R25): Raft §5.3, with the logs' agreement found in at most one probe per term.

use quorate_consensus::{Entry, FetchToken, Fetched, Index, Instant, NodeId, Position, planted};

use crate::{Message, Raft, message::name, progress::Flow, raft::Out, role::Role};

impl Raft {
    // ── the leader ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Entries leave when there is work and room (N03), to all peers at once and in parallel with the own disk (thesis §10.2.1).
    pub(crate) fn replicate_to_all(&mut self, now: Instant, out: &mut Out) {
        let Role::Leader(leader) = &self.role else { return };
        let peers: Vec<NodeId> = leader.peers.keys().copied().collect();
        for peer in peers {
            self.replicate_to(now, peer, out);
        }
        self.advance_commit(now, out);
    }

    /// Sends a peer what it lacks, as far as its window allows.
    pub(crate) fn replicate_to(&mut self, now: Instant, peer: NodeId, out: &mut Out) {
        while let Some((from, probing)) = self.wants(peer) {
            let prev = from.previous();
            let Some(term) = self.log.term_at(prev) else {
                return self.send_snapshot(peer, out);
            };
            let prev = Position { epoch: term, index: prev };
            let last = self.log.last().index;
            // B02: a first probe of ours carries the entry at which the logs part, so the follower has cut what conflicts before it looks at the commit
            // index. Leaders that probe without entries rely on the follower's limit, so the plant is one of those too.
            let entries = if from > last || (probing && planted!("B02")) {
                Vec::new()
            } else {
                match self.log.entries(from, last, self.config.message_bytes_max) {
                    Some(entries) => entries,
                    None => return self.fetch_for(peer, from, out),
                }
            };
            self.send_entries(now, peer, prev, entries, out);
            if probing {
                return;
            }
        }
    }

    /// The next entry the peer is to get, and whether it is only a probe; `None` if it gets nothing now.
    fn wants(&self, peer: NodeId) -> Option<(Index, bool)> {
        let Role::Leader(leader) = &self.role else { return None };
        let progress = leader.peers.get(&peer)?;
        if progress.fetching.is_some() {
            return None;
        }
        match progress.flow {
            Flow::Probe { waiting: false } => Some((progress.next, true)),
            Flow::Probe { waiting: true } | Flow::Snapshot { .. } => None,
            Flow::Replicate => {
                let full =
                    progress.is_full(self.config.inflight_messages_max, self.config.inflight_bytes_max);
                (!full && progress.next <= self.log.last().index).then_some((progress.next, false))
            }
        }
    }

    fn send_entries(
        &mut self,
        _now: Instant,
        peer: NodeId,
        prev: Position,
        entries: Vec<Entry>,
        out: &mut Out,
    ) {
        let (term, commit) = (self.term(), self.commit);
        let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&peer)) else { return };
        let last = entries.last().map_or(prev.index, |entry| entry.position.index);
        match &mut progress.flow {
            Flow::Probe { waiting } => *waiting = true,
            Flow::Replicate if !entries.is_empty() => {
                progress.sent(last, entries.iter().map(Entry::size_bytes).sum());
            }
            Flow::Replicate | Flow::Snapshot { .. } => {}
        }
        progress.told_commit = progress.told_commit.max(commit.min(last));
        self.send(peer, Message::AppendEntries { term, prev, commit, entries }, out);
    }

    /// Entries that are no longer in memory are asked of the journal.
    fn fetch_for(&mut self, peer: NodeId, from: Index, out: &mut Out) {
        self.next_fetch += 1;
        let token = FetchToken(self.next_fetch);
        let (to, bytes_max) = (self.log.last().index, self.config.message_bytes_max);
        let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&peer)) else { return };
        progress.fetching = Some(token);
        self.fetches.insert(token, peer);
        out.fetch.push(quorate_consensus::Fetch { token, from, to, bytes_max });
    }

    pub(crate) fn fetched(&mut self, now: Instant, token: FetchToken, outcome: Fetched, out: &mut Out) {
        if let Some(leader) = self.leader() {
            leader.disk_lag.answered();
        }
        let Some(peer) = self.fetches.remove(&token) else { return };
        let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&peer)) else { return };
        if progress.fetching != Some(token) {
            return;
        }
        progress.fetching = None;
        let next = progress.next;
        match outcome {
            Fetched::Entries(entries) => {
                let prev = next.previous();
                let fits = entries.first().is_some_and(|first| first.position.index == next)
                    && entries.iter().all(|entry| self.log.holds(entry.position));
                if let Some(epoch) = self.log.term_at(prev)
                    && fits
                {
                    self.send_entries(now, peer, Position { epoch, index: prev }, entries, out);
                }
                self.replicate_to(now, peer, out);
            }
            Fetched::Compacted => self.send_snapshot(peer, out),
            Fetched::Failed => {
                if let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&peer)) {
                    progress.probe_from(next);
                    progress.flow = Flow::Probe { waiting: true };
                }
            }
        }
    }

    pub(crate) fn on_accepted(&mut self, now: Instant, from: NodeId, matched: Index, out: &mut Out) {
        let last = self.log.last().index;
        let Some(leader) = self.leader() else { return };
        let Some(progress) = leader.peers.get_mut(&from) else { return };
        progress.hear(now);
        // A peer cannot hold of this leader's log what the leader does not: garbage.
        if matched > last {
            return;
        }
        let news = progress.acknowledge(matched);
        match progress.flow {
            Flow::Probe { .. } => progress.replicate(),
            Flow::Snapshot { index } if progress.matched >= index => progress.replicate(),
            Flow::Replicate | Flow::Snapshot { .. } => {}
        }
        if news {
            self.advance_commit(now, out);
            self.transfer_if_caught_up(from, out);
        }
        self.replicate_to(now, from, out);
    }

    /// The peer does not hold the entry before those sent: back up to where the logs agree at best.
    ///
    /// The hint is the peer's best guess by terms; the leader improves on it by its own terms. Either side steps over a whole term at a time. An
    /// answer to a question that was not the last one asked is late and says nothing (B15).
    pub(crate) fn on_rejected(
        &mut self,
        now: Instant,
        from: NodeId,
        prev: Index,
        hint: Position,
        out: &mut Out,
    ) {
        let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&from)) else { return };
        progress.hear(now);
        let current = match progress.flow {
            Flow::Probe { .. } => progress.next.previous() == prev,
            Flow::Replicate => prev > progress.matched,
            Flow::Snapshot { .. } => false,
        };
        // B09: a refusal's hint is taken for an acknowledgement.
        if planted!("B09") && hint.index <= self.log.last().index {
            if let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&from)) {
                progress.acknowledge(hint.index);
            }
            self.advance_commit(now, out);
        }
        if !current {
            // B15: a refusal that is late takes back what was acknowledged since.
            if let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&from))
                && hint.index < progress.matched
                && planted!("B15")
            {
                progress.matched = hint.index;
            }
            return;
        }
        let agreed = if hint.index < self.log.compacted().index && !planted!("D07") {
            // What the peer lacks is gone from this log: a probe there finds that out, and a snapshot follows. Answering with where this log begins
            // would ask the same question for ever (D06, D07).
            hint
        } else {
            self.log.agree_at_best(hint.index.min(prev.previous()), hint.epoch)
        };
        out.because(
            "R13",
            "peer_backs_up",
            &[("peer", name(from)), ("from", prev.0), ("to", agreed.index.0)],
        );
        if let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&from)) {
            // B14: the same question once more, with the next heartbeat.
            if planted!("B14") {
                progress.flow = Flow::Probe { waiting: true };
                return;
            }
            progress.probe_from(agreed.index.next());
        }
        self.replicate_to(now, from, out);
    }

    pub(crate) fn heartbeat(&mut self, now: Instant, out: &mut Out) {
        let round = self.begin_lease_round(now);
        let (term, commit) = (self.term(), self.commit);
        let Some(leader) = self.leader() else { return };
        let mut beats = Vec::new();
        for (peer, progress) in &mut leader.peers {
            progress.matched_at_heartbeat = progress.matched;
            // Never beyond what the peer is known to hold: it would commit what it has not got, or got from another (B26).
            let commit = if planted!("B26") { commit } else { commit.min(progress.matched) };
            beats.push((*peer, Message::Heartbeat { term, commit, round }));
        }
        for (peer, beat) in beats {
            self.send(peer, beat, out);
        }
    }

    /// The peer lives. If nothing it lacks is known to be under way, something was lost: ask again (rule R12, R25).
    ///
    /// A peer that restarted holds the log and does not know that it agrees, so it cannot follow the commit index: it is shown where the logs agree
    /// although it lacks nothing. Without that it would stand still until the next write.
    pub(crate) fn on_heartbeat_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        round: u64,
        verified: Index,
        out: &mut Out,
    ) {
        let (last, commit) = (self.log.last().index, self.commit);
        let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&from)) else { return };
        progress.hear(now);
        progress.round = progress.round.max(round);
        let unsure = verified < commit.min(progress.matched);
        let stalled =
            progress.matched == progress.matched_at_heartbeat && (progress.matched < last || unsure);
        match &mut progress.flow {
            Flow::Probe { waiting } => *waiting = false,
            Flow::Replicate if stalled && !planted!("B18") => {
                let next = progress.matched.next();
                progress.probe_from(next);
            }
            Flow::Replicate | Flow::Snapshot { .. } => {}
        }
        self.confirm_reads(now, out);
        let behind =
            self.leader().and_then(|leader| leader.peers.get(&from)).is_some_and(|p| p.matched < last);
        if behind || unsure {
            self.replicate_to(now, from, out);
        }
    }

    pub(crate) fn peer_unreachable(&mut self, peer: NodeId) {
        let Some(progress) = self.leader().and_then(|leader| leader.peers.get_mut(&peer)) else { return };
        if progress.flow == Flow::Replicate {
            let next = progress.matched.next();
            progress.probe_from(next);
            progress.flow = Flow::Probe { waiting: true };
        }
    }

    // ── the follower ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Entries of this term's leader.
    ///
    /// Rule R13; Raft §5.3. Only what follows an entry that agrees is taken, and only a real conflict is cut: an old message that is delivered again
    /// must not cut off what a newer one brought (B06).
    pub(crate) fn on_append(
        &mut self,
        from: NodeId,
        prev: Position,
        commit: Index,
        entries: Vec<Entry>,
        out: &mut Out,
    ) {
        if self.installing.is_some() {
            return;
        }
        let term = self.term();
        if !well_formed(prev, &entries, term) {
            out.because("R13", "append_refused_malformed", &[("from", name(from)), ("prev", prev.index.0)]);
            return;
        }
        // What is committed here agrees with every later leader's log (leader completeness), so entries up to there need no look.
        let known = prev.index < self.commit || self.log.holds(prev) || planted!("B25");
        if !known {
            let hint = self.log.agree_at_best(prev.index.previous(), prev.epoch);
            out.because("R13", "append_rejected", &[("prev", prev.index.0), ("hint", hint.index.0)]);
            return self.send(from, Message::AppendRejected { term, prev: prev.index, hint }, out);
        }
        let last_new = entries.last().map_or(prev.index, |entry| entry.position.index);
        if !self.take_entries(entries, out) {
            return;
        }
        let verified = last_new.max(self.commit);
        if let Role::Follower { verified: so_far, .. } = &mut self.role {
            *so_far = (*so_far).max(verified);
        }
        // Not beyond what this message verified: what follows in this log may be another leader's (B02).
        let commit = if planted!("B02") { commit.min(self.log.last().index) } else { commit.min(verified) };
        self.commit = if planted!("B03") { commit } else { self.commit.max(commit) };
        // The acknowledgement attests what is durable: it waits for the newest write, which covers all it speaks of.
        let accepted = Message::AppendAccepted { term, matched: verified };
        if self.log.durable() < verified && !planted!("B23") {
            self.send_after(from, accepted, self.newest_token(), out);
        } else {
            self.send(from, accepted, out);
        }
    }

    /// Appends what is new; cuts what conflicts. False if that would cut what is committed, which no leader of a sound cluster asks for.
    fn take_entries(&mut self, entries: Vec<Entry>, out: &mut Out) -> bool {
        let known = |entry: &&Entry| {
            entry.position.index <= self.commit || (self.log.holds(entry.position) && !planted!("B06"))
        };
        let known = entries.iter().take_while(known).count();
        let Some(first) = entries.get(known) else { return true };
        let from = first.position.index;
        if from <= self.log.last().index {
            if from <= self.commit || from <= self.log.compacted().index {
                out.because(
                    "R14",
                    "append_refused_would_cut_committed",
                    &[("at", from.0), ("commit", self.commit.0)],
                );
                return false;
            }
            out.because(
                "R13",
                "conflicting_suffix_replaced",
                &[("from", from.0), ("last", self.log.last().index.0)],
            );
            self.log.truncate(from);
            self.memberships.truncate(from);
            self.write_truncate(from);
        }
        for entry in entries.into_iter().skip(known) {
            if let quorate_consensus::Payload::Membership(membership) = &entry.payload {
                self.memberships.append(entry.position.index, membership.clone());
            }
            self.log.append(entry.clone());
            self.write_append(entry);
        }
        true
    }

    /// Up to where this log is known to agree with the leader's.
    pub(crate) fn verified(&self) -> Index {
        match &self.role {
            Role::Follower { verified, .. } => (*verified).max(self.commit),
            Role::PreCandidate { .. } | Role::Candidate { .. } | Role::Leader(_) => self.commit,
        }
    }

    /// The leader says how far it has committed; this log follows as far as it is known to agree.
    pub(crate) fn learn_commit(&mut self, commit: Index) {
        let Role::Follower { verified, .. } = &self.role else { return };
        let commit = if planted!("B26") { commit.min(self.log.last().index) } else { commit.min(*verified) };
        self.commit = self.commit.max(commit);
    }
}

/// Do the entries follow `prev` and each other, in terms that never fall and are not above the leader's?
fn well_formed(prev: Position, entries: &[Entry], term: quorate_consensus::Epoch) -> bool {
    let mut last = prev;
    prev.epoch <= term
        && entries.iter().all(|entry| {
            let at = entry.position;
            let follows =
                Some(at.index.0) == last.index.0.checked_add(1) && at.epoch >= last.epoch && at.epoch <= term;
            last = at;
            follows
        })
}

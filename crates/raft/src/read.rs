//! Linearizable reads (rule R17): thesis §6.4, with a monotone counter shared by all that wait.

use quorate_consensus::{Index, Instant, NodeId, ReadId, ReadRefusal, planted};

use crate::{
    Message, Raft,
    raft::Out,
    role::{Reader, Role},
};

impl Raft {
    pub(crate) fn read_barrier(&mut self, now: Instant, id: ReadId, out: &mut Out) {
        if self.is_leader() {
            return self.lead_read(now, Reader::Local(id), out);
        }
        let Some(leader) = self.leader_id() else {
            out.reads_refused.push((id, ReadRefusal::NoLeader));
            return;
        };
        if self.asked_reads.asked.len() >= self.config.reads_waiting_max {
            out.reads_refused.push((id, ReadRefusal::Overloaded));
            return;
        }
        self.asked_reads.asked.insert(id, now + self.config.election_timeout_max);
        self.send(leader, Message::ReadIndex { term: self.term(), nonce: self.nonce, id }, out);
    }

    pub(crate) fn on_read_index(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        id: ReadId,
        out: &mut Out,
    ) {
        if self.is_leader() {
            return self.lead_read(now, Reader::Remote { peer: from, nonce, id }, out);
        }
        self.send(from, Message::ReadIndexReply { term: self.term(), nonce, id, index: None }, out);
    }

    /// An answer from the leader; of an earlier life's question it is no answer (E02).
    pub(crate) fn on_read_index_reply(
        &mut self,
        nonce: u64,
        id: ReadId,
        index: Option<Index>,
        out: &mut Out,
    ) {
        if nonce != self.nonce || self.asked_reads.asked.remove(&id).is_none() {
            return;
        }
        match index {
            Some(index) => out.reads_safe.push((id, index)),
            None => out.reads_refused.push((id, ReadRefusal::LeaderChanged)),
        }
    }

    /// The leader notes its commit index and then confirms that it still leads, by a round begun after the read came.
    ///
    /// Not before an entry of its own term is committed: a new leader may not know yet what its predecessor committed and answered (E01). Not by a
    /// round begun before the read: {leader S1 begins a round, S2 and S3 answer, elect S3, which commits x and answers; then the read comes to S1, then
    /// the answers of the round}: x would be missed.
    fn lead_read(&mut self, now: Instant, reader: Reader, out: &mut Out) {
        let ready = self.is_ready() || planted!("E01");
        let (commit, waiting_max) = (self.commit, self.config.reads_waiting_max);
        let alone = self.membership().is_quorum(|node| node == self.id);
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.reads.unready.len() + leader.reads.waiting.len() >= waiting_max {
            return self.answer_read(reader, Err(ReadRefusal::Overloaded), out);
        }
        if !ready {
            leader.reads.unready.push(reader);
            return;
        }
        let leased = leader.reads.lease_until.is_some_and(|until| now < until);
        if alone || leased || planted!("B12") {
            out.because("R17", "read_without_round", &[("index", commit.0), ("lease", u64::from(leased))]);
            return self.answer_read(reader, Ok(commit), out);
        }
        let reads = &mut leader.reads;
        let under_way = reads.round > reads.confirmed && !reads.waiting.is_empty();
        let needed = if planted!("E02") { reads.confirmed.max(1) } else { reads.round + 1 };
        reads.waiting.push_back((needed, reader, commit));
        if !under_way {
            self.begin_round(now, out);
        }
    }

    /// One heartbeat to everybody; its answers confirm all reads that came before it.
    fn begin_round(&mut self, now: Instant, out: &mut Out) {
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.round += 1;
            let round = leader.reads.round;
            leader.reads.begun.push_back((round, now));
        }
        self.heartbeat_round(out);
        // {1 and 2 become 1 alone, while reads wait for 2's word}: nobody will answer any more. Found by the simulator (I20).
        if self.membership().is_quorum(|node| node == self.id) {
            self.confirm_reads(now, out);
        }
    }

    fn heartbeat_round(&mut self, out: &mut Out) {
        let (term, commit) = (self.term(), self.commit);
        let Role::Leader(leader) = &self.role else { return };
        let round = leader.reads.round;
        let beats: Vec<_> = leader
            .peers
            .iter()
            .map(|(peer, p)| (*peer, Message::Heartbeat { term, commit: commit.min(p.matched), round }))
            .collect();
        for (peer, beat) in beats {
            self.send(peer, beat, out);
        }
    }

    /// The round that the next periodic heartbeat carries: under leases a new one each time, otherwise the newest.
    pub(crate) fn begin_lease_round(&mut self, now: Instant) -> u64 {
        let leases = self.config.lease.is_some();
        let Role::Leader(leader) = &mut self.role else { return 0 };
        if leases {
            leader.reads.round += 1;
            leader.reads.begun.push_back((leader.reads.round, now));
        }
        leader.reads.round
    }

    /// A peer answered: which rounds has a quorum confirmed?
    pub(crate) fn confirm_reads(&mut self, now: Instant, out: &mut Out) {
        let Role::Leader(leader) = &self.role else { return };
        let confirmed = self.membership().reached_by_quorum(|node| {
            if node == self.id { leader.reads.round } else { leader.peers.get(&node).map_or(0, |p| p.round) }
        });
        let (lease, timeout) = (self.config.lease, self.config.election_timeout_min);
        let Role::Leader(leader) = &mut self.role else { return };
        if confirmed <= leader.reads.confirmed {
            return;
        }
        leader.reads.confirmed = confirmed;
        let mut begun_at = None;
        while let Some((round, begun)) = leader.reads.begun.front().copied()
            && round <= confirmed
        {
            begun_at = Some(begun);
            leader.reads.begun.pop_front();
        }
        if let Some((lease, begun)) = lease.zip(begun_at)
            && ((leader.transfer.is_none() && !leader.reads.lease_given_away) || planted!("E06"))
        {
            // From when the round began, not from when it was answered (E05): a voter's refusal to disturb counts from when it heard.
            let from = if planted!("E05") { now } else { begun };
            let trusted = if planted!("E04") { timeout } else { timeout.saturating_sub(lease.clock_error) };
            leader.reads.lease_until = Some(from + trusted);
        }
        let mut safe = Vec::new();
        while let Some((needed, reader, index)) = leader.reads.waiting.front().copied()
            && needed <= confirmed
        {
            safe.push((reader, index));
            leader.reads.waiting.pop_front();
        }
        let more = !leader.reads.waiting.is_empty() && leader.reads.round == confirmed;
        for (reader, index) in safe {
            self.answer_read(reader, Ok(index), out);
        }
        if more {
            self.begin_round(now, out);
        }
    }

    /// The first entry of the term is committed: reads that came before it begin now.
    pub(crate) fn serve_unready_reads(&mut self, now: Instant, out: &mut Out) {
        if !self.is_ready() {
            return;
        }
        let Some(leader) = self.leader() else { return };
        for reader in std::mem::take(&mut leader.reads.unready) {
            self.lead_read(now, reader, out);
        }
    }

    fn answer_read(&self, reader: Reader, answer: Result<Index, ReadRefusal>, out: &mut Out) {
        match (reader, answer) {
            (Reader::Local(id), Ok(index)) => out.reads_safe.push((id, index)),
            (Reader::Local(id), Err(why)) => out.reads_refused.push((id, why)),
            (Reader::Remote { peer, nonce, id }, answer) => {
                let message = Message::ReadIndexReply { term: self.term(), nonce, id, index: answer.ok() };
                self.send(peer, message, out);
            }
        }
    }

    /// Leadership ends: every read of it must be asked for again.
    pub(crate) fn leave_leadership(&mut self, out: &mut Out) {
        let Role::Leader(leader) = &mut self.role else { return };
        let reads = std::mem::take(&mut leader.reads);
        // E03: the index that a read has noted is handed out, although the lead that was to be confirmed is over.
        if planted!("E03") {
            for (_, reader, index) in &reads.waiting {
                self.answer_read(*reader, Ok(*index), out);
            }
        }
        let readers = reads.unready.into_iter().chain(reads.waiting.into_iter().map(|(_, reader, _)| reader));
        for reader in readers.collect::<Vec<_>>() {
            self.answer_read(reader, Err(ReadRefusal::LeaderChanged), out);
        }
        self.fetches.clear();
    }

    pub(crate) fn refuse_asked_reads(&mut self, out: &mut Out) {
        for id in std::mem::take(&mut self.asked_reads.asked).into_keys() {
            out.reads_refused.push((id, ReadRefusal::LeaderChanged));
        }
        self.forwarded.ids.clear();
    }

    pub(crate) fn expire_asked_reads(&mut self, now: Instant, out: &mut Out) {
        let asked = &mut self.asked_reads.asked;
        let expired: Vec<ReadId> =
            asked.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
        for id in expired {
            asked.remove(&id);
            out.reads_refused.push((id, ReadRefusal::LeaderChanged));
        }
    }
}

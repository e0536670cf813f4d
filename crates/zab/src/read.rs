//! Linearizable reads and `sync` (rule Z09): an established leader confirms with a quorum that it still leads, by one monotone counter that all waiting reads share.
//!
//! ZooKeeper answers `sync` without a quorum, so that a deposed leader may answer it too (ZOOKEEPER-1675, H21). Here it is a quorum operation. What makes the
//! quorum's word good: a learner that has promised a newer epoch has left the link, and answers nothing on it any more.

use quorate_consensus::{Epoch, Index, Instant, NodeId, ReadId, ReadRefusal, planted};

use crate::{
    Message, Zab,
    role::{Phase, Reader, Role},
    zab::Out,
};

impl Zab {
    pub(crate) fn read_barrier(&mut self, now: Instant, id: ReadId, out: &mut Out) {
        if self.is_established() {
            return self.lead_read(Reader::Local(id), out);
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
        let (epoch, nonce) = (self.hard.accepted, self.nonce);
        self.send(leader, Message::ReadIndex { epoch, nonce, id }, out);
    }

    pub(crate) fn on_read_index(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        nonce: u64,
        id: ReadId,
        out: &mut Out,
    ) {
        if self.is_established() && self.hard.accepted == epoch {
            return self.lead_read(Reader::Remote { peer: from, nonce, id }, out);
        }
        self.send(from, Message::ReadIndexReply { nonce, id, index: None }, out);
    }

    /// An answer from the leader; to an earlier life's question it is none (E02).
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
    /// Its commit index is never behind what was answered before: all that an older epoch committed is in its history, and that is committed since it was
    /// established. Not by a round begun before the read: {S1 begins a round, S2 and S3 answer, elect S3, which commits x and answers; then the read comes to S1, then
    /// the answers of the round}: x would be missed.
    fn lead_read(&mut self, reader: Reader, out: &mut Out) {
        let (commit, waiting_max) = (self.commit, self.config.reads_waiting_max);
        let alone = self.membership().is_quorum(|node| node == self.id);
        let Some(broadcast) = self.broadcast() else {
            return self.answer_read(reader, Err(ReadRefusal::LeaderChanged), out);
        };
        let reads = &mut broadcast.reads;
        if reads.waiting.len() >= waiting_max {
            return self.answer_read(reader, Err(ReadRefusal::Overloaded), out);
        }
        if alone || planted!("H21") {
            return self.answer_read(reader, Ok(commit), out);
        }
        let under_way = reads.round > reads.confirmed && !reads.waiting.is_empty();
        reads.waiting.push_back((reads.round + 1, reader, commit));
        if !under_way {
            self.begin_round(out);
        }
    }

    /// One ping to everybody; its answers confirm all reads that came before it.
    fn begin_round(&mut self, out: &mut Out) {
        if let Some(broadcast) = self.broadcast() {
            broadcast.reads.round += 1;
        }
        for peer in self.links() {
            self.ping(peer, out);
        }
        // {1 and 2 become 1 alone, while reads wait for 2's word}: nobody will answer any more.
        if self.membership().is_quorum(|node| node == self.id) {
            self.confirm_reads(out);
        }
    }

    /// Somebody answered: which rounds has a quorum confirmed? Only who has acknowledged NEWLEADER has confirmed any ([`Self::on_pong`]), and rounds count from
    /// zero in each epoch, so an answer counts on its own link alone.
    pub(crate) fn confirm_reads(&mut self, out: &mut Out) {
        let Role::Leading(leading) = &self.role else { return };
        let Phase::Broadcast(broadcast) = &leading.phase else { return };
        let round = broadcast.reads.round;
        let confirmed = self.membership().reached_by_quorum(|node| {
            if node == self.id { round } else { leading.links.get(&node).map_or(0, |link| link.round) }
        });
        let Some(broadcast) = self.broadcast() else { return };
        let reads = &mut broadcast.reads;
        if confirmed <= reads.confirmed {
            return;
        }
        reads.confirmed = confirmed;
        let mut safe = Vec::new();
        while let Some((needed, reader, index)) = reads.waiting.front().copied()
            && needed <= confirmed
        {
            safe.push((reader, index));
            reads.waiting.pop_front();
        }
        let more = !reads.waiting.is_empty() && reads.round == confirmed;
        for (reader, index) in safe {
            self.answer_read(reader, Ok(index), out);
        }
        if more {
            self.begin_round(out);
        }
    }

    fn answer_read(&self, reader: Reader, answer: Result<Index, ReadRefusal>, out: &mut Out) {
        match (reader, answer) {
            (Reader::Local(id), Ok(index)) => out.reads_safe.push((id, index)),
            (Reader::Local(id), Err(why)) => out.reads_refused.push((id, why)),
            (Reader::Remote { peer, nonce, id }, answer) => {
                self.send(peer, Message::ReadIndexReply { nonce, id, index: answer.ok() }, out);
            }
        }
    }

    /// The lead ends: every read of it must be asked for again.
    pub(crate) fn refuse_led_reads(&mut self, out: &mut Out) {
        let Some(broadcast) = self.broadcast() else { return };
        for (_, reader, _) in std::mem::take(&mut broadcast.reads).waiting {
            self.answer_read(reader, Err(ReadRefusal::LeaderChanged), out);
        }
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

//! What ZAB's messages claim: epochs that are promised, epochs whose history is there, and acknowledgements.

use quorate_consensus::{Epoch, Index};
use quorate_zab::{Message, Packet};

use super::Claim;

impl Claim<'_> {
    /// True if it is a promise.
    pub(super) fn zab(mut self, message: &Message) -> bool {
        match message {
            Message::Stream { packet: Packet::NewEpoch(epoch), .. } => self.promised(message, *epoch, true),
            Message::Stream { packet: Packet::NewLeader { epoch, .. }, .. } => self.entered(message, *epoch),
            Message::AckEpoch { epoch, .. } => self.promised(message, *epoch, false),
            Message::AckNewLeader { epoch, durable, .. } => {
                self.has_history(message, *epoch);
                self.entered(message, *epoch);
                self.acknowledged(message, *durable, Some(*epoch));
            }
            Message::Ack { durable, .. } | Message::Pong { durable, .. } => {
                self.acknowledged(message, *durable, None)
            }
            _ => {}
        }
        matches!(message, Message::AckEpoch { .. } | Message::AckNewLeader { .. } | Message::Ack { .. })
    }

    /// Z1: an epoch is promised durably before it is spoken of; by the one who leads it, to itself.
    fn promised(&mut self, message: &Message, epoch: Epoch, leads: bool) {
        let id = self.hosts[self.host].id;
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        let (accepted, to) = (durable.term(self.group), durable.vote(self.group));
        if accepted < epoch || leads && accepted == epoch && to != Some(id) {
            self.fail(
                "Z1",
                format!("{message:?} claims epoch {epoch}; durable is {accepted}, promised to {to:?}"),
            );
        }
    }

    /// Z7: the history of an epoch is durable before the epoch is, and that before it is spoken of.
    fn entered(&mut self, message: &Message, epoch: Epoch) {
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        let current = durable.current(self.group).unwrap_or_default();
        if current < epoch {
            self.fail(
                "Z7",
                format!("{message:?} claims the history of epoch {epoch}; durable is that of {current}"),
            );
        }
    }

    /// Z9: NEWLEADER is acknowledged once the history that the epoch begins with is durable.
    fn has_history(&mut self, message: &Message, epoch: Epoch) {
        let Some(end) = self.oracle.history_of(epoch) else { return };
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        if !durable.holds(self.group, end.index, end.epoch) {
            let last = durable.last(self.group);
            self.fail("Z9", format!("{message:?}; the history ends at {end}, durable is up to {last}"));
        }
    }

    /// Z9: what is acknowledged is durable. If the log in memory has gone on to a later epoch (or may have, where the message names none), the promise is
    /// about what was there before.
    fn acknowledged(&mut self, message: &Message, up_to: Index, said_in: Option<Epoch>) {
        let group = self.group;
        let same = said_in == Some(self.oracle.status(self.host).epoch);
        let epoch = self.oracle.epoch_in_log(self.host, up_to);
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        let there = durable.epoch_at(group, up_to);
        let held = up_to <= durable.snapshot_index(group)
            || there.is_some_and(|there| epoch.is_none_or(|epoch| epoch == there || !same && epoch > there));
        if !held {
            let end = durable.last(group);
            self.fail(
                "Z9",
                format!("{message:?} of {epoch:?}; durable is up to {end}, with {there:?} there"),
            );
        }
    }
}

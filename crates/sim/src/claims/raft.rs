//! What Raft's messages claim: terms, votes and acknowledgements.

use quorate_consensus::{Index, Role};
use quorate_raft::Message;

use super::Claim;

impl Claim<'_> {
    /// True if it is a promise.
    pub(super) fn raft(mut self, message: &Message) -> bool {
        let id = self.hosts[self.host].id;
        // {10 asks to be elected, and its own vote is on its way to the disk; whoever was elected in this very term tells it that it does not vote}: its question leaves it
        // all the same once the vote is durable, and asks nothing that it did not ask as a voter.
        let stands =
            matches!(self.oracle.status(self.host).role, Role::PreCandidate | Role::Candidate | Role::Leader);
        if matches!(message, Message::RequestVote { .. } | Message::PreVote { .. })
            && stands
            && !self.oracle.status(self.host).membership.is_voter(id)
            && !self.oracle.was_voter(id)
        {
            // Learners do not campaign (A13). A voter that its newest membership leaves out may still be needed (thesis §4.2.2).
            self.fail("I12", format!("{message:?} from one who does not vote"));
        }
        let promises = match message {
            Message::VoteReply { granted, .. } => *granted,
            Message::RequestVote { .. } | Message::AppendAccepted { .. } => true,
            Message::PreVote { .. } | Message::PreVoteReply { .. } => return false,
            _ => false,
        };
        let term = message.term();
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        let (durable_term, vote) = (durable.term(self.group), durable.vote(self.group));
        if durable_term < term {
            self.fail("I15", format!("{message:?} claims term {term}; durable is {durable_term}"));
            return promises;
        }
        if durable_term > term {
            // A later promise became durable in the same sync; the earlier one was durable before it.
            return promises;
        }
        match message {
            Message::VoteReply { granted: true, .. } if vote.is_none() || vote == Some(id) => {
                self.fail("I15", format!("{message:?} while the durable vote is {vote:?}"));
            }
            Message::VoteReply { granted: true, .. } if self.oracle.status(self.host).epoch == term => {
                let may =
                    vote.map_or(Ok(()), |candidate| self.oracle.may_promise(self.host, candidate, term));
                if let Err(why) = may {
                    self.fail("T4", why);
                }
            }
            Message::RequestVote { .. } if vote != Some(id) => {
                self.fail("I15", format!("{message:?} while the durable vote is {vote:?}"));
            }
            Message::AppendAccepted { matched, .. } => self.accepted(message, *matched),
            _ => {}
        }
        promises
    }

    fn accepted(&mut self, message: &Message, matched: Index) {
        let group = self.group;
        let epoch = self.oracle.epoch_in_log(self.host, matched);
        let moved_on = self.oracle.status(self.host).epoch > message.term();
        let durable = self.disks.of(self.host, self.hosts, self.findings);
        let held = match epoch {
            // The log in memory has gone on to a later term; the promise is about what was there in this one.
            _ if moved_on => {
                matched <= durable.snapshot_index(group)
                    || durable.epoch_at(group, matched).is_some_and(|epoch| epoch <= message.term())
            }
            Some(epoch) => durable.holds(group, matched, epoch),
            None => matched <= durable.snapshot_index(group) || matched == durable.compacted(group).index,
        };
        if !held {
            let (end, has) = (durable.last(group), durable.epoch_at(group, matched));
            self.fail("I15", format!("{message:?} of {epoch:?}; durable is up to {end}, with {has:?} there"));
        }
    }
}

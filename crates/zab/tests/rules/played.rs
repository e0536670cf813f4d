//! Words put into the mouths of nodes, and peers that a test plays.

use quorate_consensus::{Duration, Entry, Epoch, Index, Input, NodeId, Payload, Position, Role};
use quorate_zab::{HardState, History, LinkId, Message, Packet, State, Vote};

use crate::support::{Cluster, Disk, birth};

pub(crate) fn hear(cluster: &mut Cluster, to: u64, from: u64, message: Message) {
    cluster.step(to, Input::Message { from: NodeId(from), message });
}

/// All that `from` said to `to` and nobody has heard yet.
pub(crate) fn said(cluster: &Cluster, from: u64, to: u64) -> Vec<Message> {
    let pair = cluster.network.iter().filter(|(a, b, _)| (a.0, b.0) == (from, to));
    pair.map(|(_, _, message)| message.clone()).collect()
}

pub(crate) fn last_said(cluster: &Cluster, from: u64, to: u64) -> Option<Message> {
    said(cluster, from, to).pop()
}

pub(crate) fn slow(cluster: &mut Cluster, id: u64) {
    cluster.nodes.get_mut(&NodeId(id)).unwrap().slow = true;
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn entry(epoch: u64, index: u64) -> Entry {
    Entry::new(Epoch(epoch), Index(index), Payload::Command(format!("{epoch}.{index}").into()))
}

pub(crate) fn vote(epoch: u64, last: (u64, u64), leader: u64) -> Vote {
    Vote { epoch: Epoch(epoch), last: Position::new(last.0, last.1), voter: true, leader: NodeId(leader) }
}

pub(crate) fn looking(round: u64, vote: Vote) -> Message {
    Message::Notification { round, state: State::Looking, vote: Some(vote) }
}

pub(crate) fn leads(epoch: u64, leader: u64) -> Message {
    let state = State::Leading(Some(Epoch(epoch)));
    Message::Notification { round: 9, state, vote: Some(vote(0, (0, 0), leader)) }
}

pub(crate) fn boot(cluster: &mut Cluster, id: u64, hard: HardState, log: Vec<Entry>) {
    cluster.boot(id, Disk { hard: Some(hard), snapshot: birth(&[1, 2, 3]), log });
}

pub(crate) fn hard(accepted: u64, current: u64) -> HardState {
    HardState { accepted: Epoch(accepted), current: Epoch(current), ..HardState::default() }
}

/// A link between node 1 and a leader that the test plays.
pub(crate) struct Played {
    pub(crate) cluster: Cluster,
    pub(crate) leader: u64,
    pub(crate) link: LinkId,
    pub(crate) sequence: u64,
}

impl Played {
    /// Node 1, with what it has, follows node `leader`, which says that it leads `epoch`.
    pub(crate) fn follow(cluster: Cluster, leader: u64, epoch: u64) -> Played {
        let link = LinkId { life: 0, attempt: 0 };
        let mut played = Played { cluster, leader, link, sequence: 0 };
        hear(&mut played.cluster, 1, leader, leads(epoch, leader));
        played.take_link();
        played
    }

    pub(crate) fn new(epoch: u64) -> Played {
        Played::follow(Cluster::new(&[1, 2, 3]), 3, epoch)
    }

    pub(crate) fn take_link(&mut self) {
        let link = said(&self.cluster, 1, self.leader).into_iter().rev().find_map(|message| match message {
            Message::FollowerInfo { link, .. } => Some(link),
            _ => None,
        });
        self.link = link.expect("a FOLLOWERINFO");
        self.sequence = 0;
    }

    pub(crate) fn stream(&mut self, packet: Packet) {
        let message = Message::Stream { link: self.link, sequence: self.sequence, packet };
        self.sequence += 1;
        hear(&mut self.cluster, 1, self.leader, message);
    }

    pub(crate) fn propose(&mut self, entries: Vec<Entry>, commit: u64) {
        self.stream(Packet::Propose { entries, commit: Index(commit) });
    }

    /// NEWEPOCH, DIFF from the end of its log, `entries`, NEWLEADER, UPTODATE.
    pub(crate) fn synchronize(&mut self, epoch: u64, entries: Vec<Entry>, commit: u64) {
        let at = self.cluster.status(1).last;
        let last = entries.last().map_or(at, |entry| entry.position);
        self.stream(Packet::NewEpoch(Epoch(epoch)));
        self.stream(Packet::Diff(at));
        self.propose(entries, 0);
        self.stream(Packet::NewLeader { epoch: Epoch(epoch), last });
        self.stream(Packet::UpToDate(Index(commit)));
    }

    pub(crate) fn said(&self) -> Vec<Message> {
        said(&self.cluster, 1, self.leader)
    }

    pub(crate) fn acknowledged(&self) -> bool {
        self.said().iter().any(|message| matches!(message, Message::AckNewLeader { .. }))
    }

    /// The link is no more: the node has started again.
    pub(crate) fn started_again(&self) -> bool {
        matches!(self.said().last(), Some(Message::FollowerInfo { link, .. }) if *link != self.link)
    }
}

pub(crate) fn ping_of(cluster: &Cluster, to: u64) -> (LinkId, u64) {
    let pings = said(cluster, 3, to).into_iter().filter_map(|message| match message {
        Message::Ping { link, round, .. } => Some((link, round)),
        _ => None,
    });
    pings.last().expect("a ping")
}

/// Node 3 of these voters was elected, and has heard of no learner yet.
pub(crate) fn elected(cluster: &mut Cluster, others: &[u64]) {
    cluster.timeout(3);
    let vote = vote(0, (0, 0), 3);
    for from in others {
        hear(cluster, 3, *from, looking(1, vote));
    }
    assert_eq!(cluster.status(3).role, Role::Candidate);
}

pub(crate) fn link_of(node: u64) -> LinkId {
    LinkId { life: node, attempt: 1 }
}

pub(crate) fn comes(cluster: &mut Cluster, node: u64, accepted: u64) {
    hear(cluster, 3, node, Message::FollowerInfo { link: link_of(node), accepted: Epoch(accepted) });
}

/// ACKEPOCH of a node that has nothing.
pub(crate) fn promises(cluster: &mut Cluster, node: u64, epoch: u64, promised: bool) {
    let history =
        History { current: Epoch(0), last: Position::ZERO, compacted: Position::ZERO, epochs: vec![] };
    let ack = Message::AckEpoch { link: link_of(node), epoch: Epoch(epoch), promised, history };
    hear(cluster, 3, node, ack);
}

pub(crate) fn acknowledges(cluster: &mut Cluster, node: u64, epoch: u64, durable: u64) {
    let message = Message::AckNewLeader { link: link_of(node), epoch: Epoch(epoch), durable: Index(durable) };
    hear(cluster, 3, node, message);
}

pub(crate) fn was_sent(cluster: &Cluster, to: u64, which: impl Fn(&Packet) -> bool) -> bool {
    let hit = |message: &Message| matches!(message, Message::Stream { packet, .. } if which(packet));
    said(cluster, 3, to).iter().any(hit)
}

//! What a film sees of a run while it runs: it looks at a host after each event there, and says what is different.

use std::collections::BTreeMap;

use quorate_consensus::{Engine as _, Entry, GroupId, Index, Position, Reader};
use quorate_node::{EngineMessage, Frame, GroupEngine, GroupStatus, Node, Notice, PeerMessage};

use super::{EVENTS_MAX, End, EntryKind, Fate, Happened, Label, Sent, Stand, What, labels};
use crate::{
    claims,
    faults::{Action, Planned},
    history::{Operation, Outcome},
    host::Host,
    network,
    schedule::{MILLIS, Time},
};

/// What is done to one frame by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tamper {
    Lose,
    Hold(Time),
    Twice(Time),
}

/// What the list of actions wants done to frames, by their numbers.
pub(crate) fn tampering(actions: &[Planned]) -> BTreeMap<u64, Vec<Tamper>> {
    let mut tampering: BTreeMap<u64, Vec<Tamper>> = BTreeMap::new();
    for planned in actions {
        let (frame, tamper) = match planned.action {
            Action::Lose { frame } => (frame, Tamper::Lose),
            Action::Hold { frame, ms } => (frame, Tamper::Hold(ms.saturating_mul(MILLIS))),
            Action::Twice { frame, ms } => (frame, Tamper::Twice(ms.saturating_mul(MILLIS))),
            _ => continue,
        };
        tampering.entry(frame).or_default().push(tamper);
    }
    tampering
}

impl Tamper {
    /// Changes what the network had in mind for the frame. True if it does not arrive any more.
    pub(crate) fn apply(self, sent: &mut network::Sent) -> bool {
        let [first, second] = &mut sent.arrivals;
        match self {
            Tamper::Lose => (*first, *second) = (None, None),
            Tamper::Hold(by) => {
                [first, second].into_iter().flatten().for_each(|at| *at = at.saturating_add(by))
            }
            Tamper::Twice(by) => *second = first.map(|at| at.saturating_add(by)),
        }
        matches!(self, Tamper::Lose)
    }
}

/// A frame as it leaves.
pub(crate) struct Sending<'a> {
    pub(crate) frame: u64,
    pub(crate) from: usize,
    pub(crate) to: Option<usize>,
    pub(crate) bytes: &'a bytes::Bytes,
    pub(crate) sent: network::Sent,
    pub(crate) by_hand: bool,
}

/// What was last said of a replica.
#[derive(Debug, Default)]
struct Seen {
    life: u64,
    stand: Option<Stand>,
    applied: Index,
    base: Index,
    epochs: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    from: Time,
    /// Something has been recorded.
    begun: bool,
    /// Who is down.
    down: BTreeMap<usize, What>,
    messages: u64,
    seen: BTreeMap<(usize, GroupId), Seen>,
    links: Vec<(usize, usize)>,
    /// Entries by group, epoch and index, from whoever sent them or was given them.
    known: BTreeMap<(GroupId, u64, u64), Label>,
    pub(super) events: Vec<Happened>,
    pub(super) cut: bool,
}

impl Recorder {
    pub(crate) fn new(from: Time) -> Recorder {
        Recorder {
            from,
            begun: false,
            down: BTreeMap::new(),
            messages: 0,
            seen: BTreeMap::new(),
            links: Vec::new(),
            known: BTreeMap::new(),
            events: Vec::new(),
            cut: false,
        }
    }

    pub(crate) fn add(&mut self, now: Time, host: Option<usize>, what: What) {
        match (host, &what) {
            (Some(host), What::Down { .. }) => _ = self.down.insert(host, what.clone()),
            (Some(host), What::Start { .. }) => _ = self.down.remove(&host),
            _ => {}
        }
        if now < self.from {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            // Who was down when the film begins stands in no event of it.
            let before = self.down.iter().filter(|(place, _)| host != Some(**place));
            let told =
                before.map(|(place, what)| Happened { at: now, host: Some(*place), what: what.clone() });
            self.events.extend(told);
        }
        if self.events.len() >= EVENTS_MAX {
            self.cut = true;
            return;
        }
        self.events.push(Happened { at: now, host, what });
    }

    /// Which directed links are cut now: said where it is not as before.
    pub(crate) fn links(&mut self, now: Time, cut: Vec<(usize, usize)>) {
        if now >= self.from && cut != self.links {
            self.links.clone_from(&cut);
            self.add(now, None, What::Links { cut });
        }
    }

    pub(crate) fn sends(&mut self, now: Time, sending: &Sending<'_>) {
        let Ok(messages) = Frame::parse(sending.bytes.clone())
            .and_then(|frame| frame.messages().map_err(|_| quorate_node::FrameRefusal::Malformed))
        else {
            return;
        };
        for (group, message) in messages {
            self.messages += 1;
            let engine = match &message {
                PeerMessage::Engine(bytes) => decoded(bytes),
                // The first piece of a snapshot brings the engine's own message: who offers it, and what it is.
                PeerMessage::Chunk(chunk) => chunk.head.as_ref().and_then(decoded),
                _ => None,
            };
            let (name, epoch) = labels::message(&message, engine.as_ref());
            if let Some(engine) = &engine {
                self.learn(group, claims::entries(engine));
            }
            let sent = &sending.sent;
            let fate = match (sending.to, sending.by_hand) {
                (None, _) => Some(Fate::Nobody),
                (_, true) => Some(Fate::ByHand),
                _ if sent.cut => Some(Fate::Cut),
                _ if sent.lost => Some(Fate::Lost),
                _ => None,
            };
            let sent = Sent {
                message: self.messages,
                frame: sending.frame,
                from: sending.from,
                to: sending.to,
                group,
                text: claims::message_words(&message),
                name,
                epoch,
                arrivals: sent.arrivals.into_iter().flatten().collect(),
                fate,
            };
            self.add(now, Some(sending.from), What::Send(sent));
        }
    }

    /// Entries have been seen.
    pub(crate) fn learn(&mut self, group: GroupId, entries: &[Entry]) {
        for entry in entries {
            let Position { epoch, index } = entry.position;
            self.known.entry((group, epoch.0, index.0)).or_insert_with(|| labels::entry(group, entry));
        }
    }

    /// All that happened. What an entry is may have been seen only after it stood in a log: a leader has it before anybody is sent it.
    pub(super) fn finish(mut self) -> (Vec<Happened>, bool) {
        for happened in &mut self.events {
            let What::Log { group, from, entries, .. } = &mut happened.what else { continue };
            for (index, label) in (from.0..).zip(entries) {
                if let Some(known) = self.known.get(&(*group, label.epoch, index)) {
                    label.clone_from(known);
                }
            }
        }
        (self.events, self.cut)
    }

    /// Looks at a host that has just run.
    pub(crate) fn looks(&mut self, now: Time, place: usize, host: &Host, groups: &[GroupId]) {
        if now < self.from {
            return;
        }
        let Some(node) = host.process.as_ref().map(|process| &process.node) else { return };
        for group in groups {
            let (Some(status), Some(engine)) = (node.status(*group), node.engine(*group)) else { continue };
            let seen = self.seen.entry((place, *group)).or_default();
            if seen.life != host.life {
                *seen = Seen { life: host.life, ..Seen::default() };
            }
            let stand = stand(host, &status, engine, node);
            let told = (seen.stand.as_ref() != Some(&stand)).then(|| Box::new(stand.clone()));
            seen.stand = Some(stand);
            let log = seen.log(*group, &status, engine);
            let applied = (status.applied.index > seen.applied).then_some(status.applied.index);
            seen.applied = status.applied.index;
            let host = Some(place);
            if let Some(log) = log {
                self.add(now, host, log);
            }
            if let Some(stand) = told {
                self.add(now, host, What::State { group: *group, stand });
            }
            if let Some(index) = applied {
                self.add(now, host, What::Applied { group: *group, index });
            }
        }
    }

    /// What a node says for people.
    pub(crate) fn notes(&mut self, now: Time, host: usize, notice: &Notice) {
        let what = match notice {
            Notice::Reason { group, reason } => What::Why { group: *group, reason: reason.clone() },
            // The state says so.
            Notice::Role { .. } | Notice::Membership { .. } | Notice::Fatal(_) => return,
            Notice::Recovered { notes } if notes.is_empty() => return,
            Notice::Recovered { notes } => What::Note { text: notes.join("; ") },
            Notice::SnapshotTaken { position, .. } => {
                What::Note { text: format!("snapshot taken at {position}") }
            }
            Notice::SnapshotInstalled { position, .. } => {
                What::Note { text: format!("snapshot installed at {position}") }
            }
            Notice::FrameRefused { .. }
            | Notice::RefusedBy { .. }
            | Notice::DiskFull
            | Notice::DiskSpaceBack
            | Notice::ProposedAgain { .. } => What::Note { text: format!("{notice:?}") },
        };
        self.add(now, Some(host), what);
    }

    pub(crate) fn answer(&mut self, now: Time, operation: &Operation) {
        let done = match &operation.outcome {
            Outcome::Write { .. } | Outcome::Read { .. } => Some(true),
            Outcome::Failed => Some(false),
            Outcome::Unknown => None,
        };
        let text = operation.outcome.to_string();
        let what = What::Answer { client: operation.client, operation: operation.id, text, done };
        self.add(now, None, what);
    }

    /// It has filled up.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn ends(&mut self, now: Time, host: usize, how: End, text: String) {
        self.add(now, Some(host), What::Down { how, text });
    }
}

fn decoded(bytes: &bytes::Bytes) -> Option<EngineMessage> {
    GroupEngine::decode_message(&mut Reader::new(bytes.clone())).ok()
}

fn stand(host: &Host, status: &GroupStatus, engine: &GroupEngine, node: &Node) -> Stand {
    let Position { index: base, .. } = status.engine.compacted;
    let members = &status.engine.membership;
    let timer = engine.poll_timeout().filter(|_| node.is_running());
    Stand {
        role: status.engine.role,
        epoch: status.engine.epoch.0,
        leader: status.engine.leader,
        commit: status.engine.commit,
        last: status.engine.last.index,
        durable: status.engine.durable,
        base,
        timer: timer.map(|at| host.clock.when(at)),
        voters: members.voters().to_vec(),
        outgoing: members.outgoing().to_vec(),
        learners: members.learners().to_vec(),
    }
}

impl Seen {
    /// How the log differs from what was last said of it.
    fn log(&mut self, group: GroupId, status: &GroupStatus, engine: &GroupEngine) -> Option<What> {
        let (base, last) = (status.engine.compacted.index, status.engine.last.index);
        let epochs: Vec<u64> =
            (base.0 + 1..=last.0).map(|index| engine.epoch_at(Index(index)).unwrap_or_default().0).collect();
        let old = |index: u64| {
            let place = index.checked_sub(self.base.0 + 1)?;
            self.epochs.get(place as usize).copied()
        };
        // Two logs with an entry of one epoch at one place are the same up to there (log matching): what differs is at the end.
        let same = epochs.iter().zip(base.0 + 1..).take_while(|(epoch, index)| old(*index) == Some(**epoch));
        let from = Index(base.0 + 1 + same.count() as u64);
        let unchanged = base == self.base && from > last && self.epochs.len() == epochs.len();
        (self.base, self.epochs) = (base, epochs);
        if unchanged {
            return None;
        }
        let label = |index: u64| {
            let epoch = self.epochs[(index - self.base.0 - 1) as usize];
            Label { epoch, text: "…".to_owned(), kind: EntryKind::Other }
        };
        Some(What::Log { group, base, from, entries: (from.0..=last.0).map(label).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_that_begins_in_the_middle_says_who_is_down_and_which_links_are_cut() {
        let mut recorder = Recorder::new(10);
        let down = || What::Down { how: End::Kill, text: String::new() };
        let start = || What::Start { node: quorate_consensus::NodeId(1), life: 2 };
        recorder.add(1, Some(0), down());
        recorder.add(2, Some(1), down());
        recorder.add(3, Some(0), start());
        recorder.links(4, vec![(0, 1)]);
        recorder.add(12, Some(2), What::Runs);
        recorder.links(12, vec![(0, 1)]);
        recorder.links(13, vec![(0, 1)]);
        let told = |host, what| Happened { at: 12, host, what };
        let links = What::Links { cut: vec![(0, 1)] };
        let expected = [told(Some(1), down()), told(Some(2), What::Runs), told(None, links)];
        assert_eq!(recorder.finish().0, expected);
    }
}

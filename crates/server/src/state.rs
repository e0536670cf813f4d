//! The state thread: applies, answers, reads. However long that takes, it delays no heartbeat.

use std::{collections::BTreeMap, sync::Arc};

use quorate_consensus::{GroupId, Position};
use quorate_node::{FromState, NodeInput, StateHalf, StateOutputs, ToState};

use crate::{
    core::CoreInput,
    counters::Counters,
    inbox::{Inbox, Waited},
    waiters::Waiters,
};

/// Those who wait are told at the latest when so many answers have gathered, so that the first of a long batch do not wait for the last.
const REPLIES_HELD_MAX: usize = 1024;

/// The core hears of progress at the latest after so many entries; far fewer than it lets wait here before it holds entries back.
const PROGRESS_EVERY_ENTRIES: u64 = 1024;

/// Which reports of the state half the core must hear of at once.
///
/// That something was applied is seldom news to hurry for, and a wake-up per batch would be a quarter of all that the core has. It is news
/// when an epoch begins (proposals of earlier ones are now known to be lost, and are proposed again), after a jump, when the group has followed the
/// cluster's records, and when the core may be holding entries back.
#[derive(Debug, Default)]
struct News {
    told: BTreeMap<GroupId, (Position, u64)>,
}

impl News {
    fn is_urgent(&mut self, input: &NodeInput) -> bool {
        let NodeInput::State(FromState::Applied { group, position, jumped, followed, .. }) = input else {
            return true;
        };
        let (told, told_followed) = self.told.entry(*group).or_insert((Position::ZERO, 0));
        let urgent = *jumped
            || position.epoch != told.epoch
            || followed != told_followed
            || position.index.0.saturating_sub(told.index.0) >= PROGRESS_EVERY_ENTRIES;
        if urgent {
            (*told, *told_followed) = (*position, *followed);
        }
        urgent
    }
}

/// Runs a state half until its inbox is closed and empty.
pub(crate) fn run<H: StateHalf>(
    mut half: H,
    inbox: &Inbox<ToState>,
    core: &Inbox<CoreInput>,
    waiters: &Arc<Waiters<H::Reply>>,
    counters: &Counters,
) {
    let mut batch = Vec::new();
    let mut out = StateOutputs::default();
    let mut news = News::default();
    while inbox.wait(&mut batch, None) != Waited::Closed {
        for input in batch.drain(..) {
            if let ToState::Entries { entries, .. } = &input {
                counters.apply_batches.add(1);
                counters.applied.add(entries.len() as u64);
            }
            half.handle(input, &mut out);
            if out.replies.len() >= REPLIES_HELD_MAX {
                deliver(&mut out, &mut news, core, waiters, counters);
            }
        }
        deliver(&mut out, &mut news, core, waiters, counters);
    }
}

fn deliver<R>(
    out: &mut StateOutputs<R>,
    news: &mut News,
    core: &Inbox<CoreInput>,
    waiters: &Waiters<R>,
    counters: &Counters,
) {
    if !out.replies.is_empty() {
        counters.answered.add(waiters.tell(out.replies.drain(..).map(|(ticket, reply)| (ticket, Ok(reply)))));
    }
    if out.core.is_empty() {
        return;
    }
    // All of them are looked at: each may have to be remembered as told.
    let urgent = out.core.iter().filter(|input| news.is_urgent(input)).count() > 0;
    let inputs = out.core.drain(..).map(CoreInput::Node);
    if urgent { core.extend(inputs) } else { core.extend_unhurried(inputs) }
}

#[cfg(test)]
mod tests {
    use quorate_consensus::{Epoch, Index};

    use super::*;

    fn applied(epoch: u64, index: u64, jumped: bool) -> NodeInput {
        followed(epoch, index, jumped, 0)
    }

    fn followed(epoch: u64, index: u64, jumped: bool, followed: u64) -> NodeInput {
        let position = Position { epoch: Epoch(epoch), index: Index(index) };
        let (group, own) = (GroupId(2), Vec::new());
        NodeInput::State(FromState::Applied { group, position, own, state_bytes: 0, jumped, followed })
    }

    #[test]
    fn progress_alone_is_no_news_but_an_epoch_a_jump_a_following_and_a_thousand_entries_are() {
        let mut news = News::default();
        assert!(news.is_urgent(&applied(1, 1, false)), "the first of an epoch");
        assert!(!news.is_urgent(&applied(1, 2, false)));
        assert!(!news.is_urgent(&applied(1, PROGRESS_EVERY_ENTRIES, false)));
        assert!(news.is_urgent(&applied(1, PROGRESS_EVERY_ENTRIES + 1, false)));
        assert!(!news.is_urgent(&applied(1, PROGRESS_EVERY_ENTRIES + 2, false)));
        assert!(news.is_urgent(&applied(2, PROGRESS_EVERY_ENTRIES + 3, false)));
        assert!(news.is_urgent(&applied(2, PROGRESS_EVERY_ENTRIES + 4, true)));
        assert!(news.is_urgent(&followed(2, PROGRESS_EVERY_ENTRIES + 5, false, 7)));
        assert!(!news.is_urgent(&followed(2, PROGRESS_EVERY_ENTRIES + 6, false, 7)));
        assert!(news.is_urgent(&NodeInput::Wake));
    }
}

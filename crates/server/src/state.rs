//! The state thread: applies, answers, reads. However long that takes, it delays no heartbeat.

use std::sync::Arc;

use quorate_node::{StateHalf, StateOutputs, ToState};

use crate::{
    core::CoreInput,
    counters::Counters,
    inbox::{Inbox, Waited},
    waiters::Waiters,
};

/// Those who wait are told at the latest when so many answers have gathered, so that the first of a long batch do not wait for the last.
const REPLIES_HELD_MAX: usize = 1024;

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
    while inbox.wait(&mut batch, None) != Waited::Closed {
        for input in batch.drain(..) {
            if let ToState::Entries { entries, .. } = &input {
                counters.apply_batches.add(1);
                counters.applied.add(entries.len() as u64);
            }
            half.handle(input, &mut out);
            if out.replies.len() >= REPLIES_HELD_MAX {
                deliver(&mut out, core, waiters, counters);
            }
        }
        deliver(&mut out, core, waiters, counters);
    }
}

fn deliver<R>(out: &mut StateOutputs<R>, core: &Inbox<CoreInput>, waiters: &Waiters<R>, counters: &Counters) {
    if !out.replies.is_empty() {
        counters.answered.add(waiters.tell(out.replies.drain(..).map(|(ticket, reply)| (ticket, Ok(reply)))));
    }
    if !out.core.is_empty() {
        core.extend(out.core.drain(..).map(CoreInput::Node));
    }
}

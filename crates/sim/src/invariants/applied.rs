//! What the state machines come to. I10 and I16: the state after an entry is the same on every replica, come by entries or by snapshot. X1 and E1: it
//! is what the second execution of the committed log gives.

use super::{Findings, Oracle};
use crate::{
    half::After,
    marks::{Mark, Marks},
    zoo::Wrong,
};

impl Oracle {
    /// A host's state is this now.
    pub(super) fn after_apply(
        &mut self,
        host: usize,
        state: &After,
        findings: &mut Findings,
        marks: &mut Marks,
    ) {
        let index = state.position.index.0;
        if state.restored {
            marks.hit(Mark::SnapshotRestoredAtStart);
        }
        let previous = std::mem::replace(&mut self.watches[host].digest_at, index);
        let fresh = self.watches[host].life == 0;
        if index < previous && !fresh {
            findings.add("I9", Some(host), format!("the state went back from {previous} to {index}"));
        }
        if self.digests.len() <= index as usize {
            self.digests.resize(index as usize + 1, None);
        }
        let first = *self.digests[index as usize].get_or_insert(state.digest);
        let id = if state.restored { "I16" } else { "I10" };
        if first != state.digest {
            let what = format!(
                "{}: the state after {} has digest {:x}, elsewhere {first:x}",
                self.group, state.position, state.digest
            );
            findings.add(id, Some(host), what);
        }
        if index > self.committed() {
            let what = format!("{}: {} is applied and was never committed", self.group, state.position);
            findings.add("I6", Some(host), what);
        }
        if let Some(Wrong { what, id }) = self.execution.differs(state) {
            let what = format!("{}: after {} {what}", self.group, state.position);
            findings.add(id, Some(host), what);
        }
    }
}

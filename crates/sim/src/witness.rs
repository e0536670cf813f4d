//! The witness checker: the service numbers its changes, so the order it claims can be checked instead of searched for.
//!
//! Every answer names a revision. If the claimed order is a linearization then: each revision belongs to exactly one write; an operation never
//! shows less than one that ended before it began, nor a write that began after it ended; and every answer is what replaying the writes in the
//! claimed order gives at its revision. What became of writes without an answer is read in the committed log.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Call, Model, Operation, Outcome, Truth};

/// Something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which checker says so: `"I18"` for reads, `"E1"` for writes, `"E2"` for revisions, `"I13"` for lost and `"X1"` for phantom writes.
    pub checker: &'static str,
    /// What.
    pub what: String,
}

fn finding(checker: &'static str, what: String) -> Finding {
    Finding { checker, what }
}

struct Write<'a> {
    operation: &'a Operation,
    revision: u64,
}

/// Checks a whole history. `truth` says of each write that is in the committed log what it came to there.
#[must_use]
pub fn check(history: &[Operation], truth: &BTreeMap<u64, Truth>) -> Vec<Finding> {
    check_among(history, truth, &BTreeSet::new())
}

/// The same, of a history whose keys are its own, beside writes of other keys: `others` are the revisions that those took.
#[must_use]
pub fn check_among(
    history: &[Operation],
    truth: &BTreeMap<u64, Truth>,
    others: &BTreeSet<u64>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    against_the_log(history, truth, &mut findings);
    let writes = numbered(history, truth, others, &mut findings);
    real_time(history, &writes, &mut findings);
    replay(history, &writes, others, &mut findings);
    findings
}

/// Every acknowledged write is in the log as acknowledged; none that was refused is.
fn against_the_log(history: &[Operation], truth: &BTreeMap<u64, Truth>, findings: &mut Vec<Finding>) {
    for operation in history.iter().filter(|operation| operation.call.is_write()) {
        let found = truth.get(&operation.id);
        match (&operation.outcome, found) {
            (Outcome::Write { .. }, None) => {
                findings
                    .push(finding("I13", format!("acknowledged, and in no committed log: {operation:?}")));
            }
            (Outcome::Write { revision, changed, previous }, Some(truth)) => {
                let same =
                    (truth.revision, truth.changed, truth.previous) == (*revision, *changed, *previous);
                if !same {
                    findings.push(finding("E1", format!("{operation:?} is {truth:?} in the committed log")));
                }
            }
            (Outcome::Failed, Some(truth)) => {
                let what = format!("refused for certain, but executed: {operation:?} {truth:?}");
                findings.push(finding("X1", what));
            }
            (Outcome::Failed, None) | (Outcome::Unknown | Outcome::Read { .. }, _) => {}
        }
    }
}

/// The writes that took a revision, by revision: each revision once, none left out.
fn numbered<'a>(
    history: &'a [Operation],
    truth: &BTreeMap<u64, Truth>,
    others: &BTreeSet<u64>,
    findings: &mut Vec<Finding>,
) -> Vec<Write<'a>> {
    let mut writes: Vec<Write<'a>> = Vec::new();
    for operation in history {
        let claimed = match &operation.outcome {
            Outcome::Write { revision, changed: true, .. } => Some(*revision),
            Outcome::Unknown if operation.call.is_write() => {
                truth.get(&operation.id).filter(|truth| truth.changed).map(|truth| truth.revision)
            }
            _ => None,
        };
        writes.extend(claimed.map(|revision| Write { operation, revision }));
    }
    writes.sort_by_key(|write| write.revision);
    let mut expected = 2;
    for write in &writes {
        while expected < write.revision && others.contains(&expected) {
            expected += 1;
        }
        if write.revision != expected {
            let what = format!("revision {expected} belongs to no write, the next is {:?}", write.operation);
            findings.push(finding("E2", what));
        }
        expected = write.revision + 1;
    }
    writes
}

/// An operation shows at least what had ended before it began, and nothing that had not begun when it ended.
fn real_time(history: &[Operation], writes: &[Write<'_>], findings: &mut Vec<Finding>) {
    let begun: BTreeMap<u64, u64> = writes.iter().map(|w| (w.revision, w.operation.invoked)).collect();
    let mut answered: Vec<(&Operation, u64)> = Vec::new();
    for operation in history {
        match &operation.outcome {
            Outcome::Write { revision, .. } | Outcome::Read { revision, .. } => {
                answered.push((operation, *revision));
            }
            Outcome::Failed | Outcome::Unknown => {}
        }
    }
    let mut by_return: Vec<(u64, u64)> =
        answered.iter().map(|(operation, revision)| (operation.returned, *revision)).collect();
    by_return.sort_unstable();
    let mut floor = 0;
    for (_, revision) in &mut by_return {
        floor = floor.max(*revision);
        *revision = floor;
    }
    for (operation, revision) in answered {
        if begun.get(&revision).is_some_and(|begun| *begun > operation.returned) {
            findings.push(finding("I18", format!("shows a write of its future: {operation:?}")));
        }
        if operation.call.is_serializable() {
            continue;
        }
        let before = by_return.partition_point(|(returned, _)| *returned < operation.invoked);
        let floor = before.checked_sub(1).map_or(0, |last| by_return[last].1);
        let takes = matches!(operation.outcome, Outcome::Write { changed: true, .. });
        if revision < floor || (takes && revision == floor) {
            let checker = if operation.call.is_write() { "E1" } else { "I18" };
            let what = format!("revision {floor} had been shown before it began: {operation:?}");
            findings.push(finding(checker, what));
        }
    }
}

/// Every answer is what the replay gives.
fn replay(history: &[Operation], writes: &[Write<'_>], others: &BTreeSet<u64>, findings: &mut Vec<Finding>) {
    let mut reads: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        match &operation.outcome {
            Outcome::Read { revision, .. } | Outcome::Write { revision, changed: false, .. } => {
                reads.entry(*revision).or_default().push(operation);
            }
            _ => {}
        }
    }
    let mut model = Model::default();
    let mut at = |revision: u64, model: &mut Model, findings: &mut Vec<Finding>| {
        for operation in reads.remove(&revision).unwrap_or_default() {
            if let Some(found) = differs(operation, model) {
                findings.push(found);
            }
        }
    };
    at(1, &mut model, findings);
    let mut last = 1;
    for write in writes {
        for revision in others.range(last..write.revision.max(last)) {
            at(*revision, &mut model, findings);
        }
        last = write.revision;
        model.revision = write.revision - 1;
        let (changed, previous) = model.apply(&write.operation.call);
        if let Outcome::Write { previous: told, .. } = &write.operation.outcome
            && (!changed || *told != previous)
        {
            let what = format!("replay gives {changed} {previous:?}: {:?}", write.operation);
            findings.push(finding("E1", what));
        }
        model.revision = write.revision;
        at(write.revision, &mut model, findings);
    }
    for revision in others.range(last..) {
        at(*revision, &mut model, findings);
    }
    for (revision, operations) in reads {
        for operation in operations {
            findings.push(finding("I18", format!("no write made revision {revision}: {operation:?}")));
        }
    }
}

fn differs(operation: &Operation, model: &Model) -> Option<Finding> {
    let same = match (&operation.call, &operation.outcome) {
        (Call::Get { key, .. }, Outcome::Read { items, .. }) => {
            items.get(key) == model.keys.get(key) && items.len() <= 1
        }
        (Call::List { .. }, Outcome::Read { items, .. }) => *items == model.keys,
        (call, Outcome::Write { previous, .. }) => model.clone().apply(call) == (false, *previous),
        _ => true,
    };
    let checker = if operation.call.is_write() { "E1" } else { "I18" };
    (!same).then(|| finding(checker, format!("at its revision the keys are {:?}: {operation:?}", model.keys)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Seen;

    fn put(id: u64, key: u8, times: (u64, u64), outcome: Outcome) -> Operation {
        let call = Call::Put { key, value: id };
        Operation { id, client: 0, call, invoked: times.0, returned: times.1, outcome }
    }

    fn wrote(revision: u64, previous: Option<Seen>) -> Outcome {
        Outcome::Write { revision, changed: true, previous }
    }

    fn seen(value: u64, created: u64, modified: u64, version: u64) -> Seen {
        Seen { value, created, modified, version }
    }

    fn get(id: u64, times: (u64, u64), revision: u64, found: Option<Seen>, serializable: bool) -> Operation {
        let call = Call::Get { key: 1, serializable };
        let items = found.into_iter().map(|seen| (1, seen)).collect();
        let outcome = Outcome::Read { revision, items };
        Operation { id, client: 1, call, invoked: times.0, returned: times.1, outcome }
    }

    /// Two puts of key 1, an unknown one of key 2, and reads in between.
    fn good() -> (Vec<Operation>, BTreeMap<u64, Truth>) {
        let first = seen(1, 2, 2, 1);
        let history = vec![
            put(1, 1, (0, 10), wrote(2, None)),
            get(2, (11, 20), 2, Some(first), false),
            put(3, 2, (12, 90), Outcome::Unknown),
            put(4, 1, (30, 40), wrote(4, Some(first))),
            get(5, (50, 60), 4, Some(seen(4, 2, 4, 2)), false),
            get(6, (50, 60), 2, Some(first), true),
        ];
        let truth = [
            (1, Truth { index: 2, revision: 2, changed: true, previous: None }),
            (3, Truth { index: 3, revision: 3, changed: true, previous: None }),
            (4, Truth { index: 4, revision: 4, changed: true, previous: Some(first) }),
        ];
        (history, truth.into_iter().collect())
    }

    fn checkers(history: &[Operation], truth: &BTreeMap<u64, Truth>) -> Vec<&'static str> {
        check(history, truth).into_iter().map(|finding| finding.checker).collect()
    }

    #[test]
    fn a_true_history_passes() {
        let (history, truth) = good();
        assert_eq!(check(&history, &truth), []);
    }

    #[test]
    fn a_revision_of_others_is_none_that_is_left_out() {
        let (mut history, mut truth) = good();
        history.remove(2);
        truth.remove(&3);
        history[3].outcome =
            Outcome::Read { revision: 3, items: [(1, seen(1, 2, 2, 1))].into_iter().collect() };
        (history[3].invoked, history[3].returned) = (21, 29);
        assert!(checkers(&history, &truth).contains(&"E2"));
        assert_eq!(check_among(&history, &truth, &BTreeSet::from([3])), []);
        history[3].outcome = Outcome::Read { revision: 3, items: BTreeMap::new() };
        assert_ne!(check_among(&history, &truth, &BTreeSet::from([3])), []);
    }

    #[test]
    fn an_acknowledged_write_that_is_in_no_log_is_found() {
        let (history, mut truth) = good();
        truth.remove(&4);
        assert!(checkers(&history, &truth).contains(&"I13"));
    }

    #[test]
    fn a_refused_write_that_was_executed_is_found() {
        let (mut history, truth) = good();
        history[2].outcome = Outcome::Failed;
        assert!(checkers(&history, &truth).contains(&"X1"));
    }

    #[test]
    fn a_stale_read_is_found_and_a_serializable_one_may_be_stale() {
        let (mut history, truth) = good();
        history[5].call = Call::Get { key: 1, serializable: false };
        assert_eq!(checkers(&history, &truth), ["I18"]);
    }

    #[test]
    fn a_read_of_the_future_is_found() {
        let (mut history, truth) = good();
        history[5].outcome =
            Outcome::Read { revision: 4, items: [(1, seen(4, 2, 4, 2))].into_iter().collect() };
        (history[5].invoked, history[5].returned) = (20, 25);
        assert!(checkers(&history, &truth).contains(&"I18"));
    }

    #[test]
    fn a_wrong_payload_is_found() {
        let (mut history, truth) = good();
        history[4].outcome =
            Outcome::Read { revision: 4, items: [(1, seen(1, 2, 4, 2))].into_iter().collect() };
        assert_eq!(checkers(&history, &truth), ["I18"]);
    }

    #[test]
    fn a_revision_given_twice_or_not_at_all_is_found() {
        let (mut history, mut truth) = good();
        history[2].outcome = wrote(4, None);
        truth.get_mut(&3).unwrap().revision = 4;
        assert!(checkers(&history, &truth).contains(&"E2"));
    }

    #[test]
    fn a_wrong_predecessor_is_found() {
        let (mut history, mut truth) = good();
        history[3].outcome = wrote(4, None);
        truth.get_mut(&4).unwrap().previous = None;
        assert_eq!(checkers(&history, &truth), ["E1"]);
    }

    #[test]
    fn a_write_before_what_had_been_shown_is_found() {
        let (mut history, truth) = good();
        // Its answer came before the first put began, although its revision is later.
        (history[3].invoked, history[3].returned) = (30, 40);
        (history[0].invoked, history[0].returned) = (45, 48);
        assert!(checkers(&history, &truth).contains(&"E1"));
    }
}

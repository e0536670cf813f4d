//! What watchers were told, beside the history itself, which is read once more in the end.

use std::collections::BTreeMap;

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) revision: i64,
    pub(crate) key: String,
    /// None: it was deleted.
    pub(crate) value: Option<String>,
}

/// One watcher, which began anew behind what it had been told whenever its stream broke.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watcher {
    pub(crate) name: String,
    pub(crate) events: Vec<Event>,
    /// It was told of everything up to here.
    pub(crate) reached: i64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// All changes from the first revision that was watched, read in calm.
    pub(crate) truth: Vec<Event>,
    pub(crate) watchers: Vec<Watcher>,
}

/// Each watcher was told of every change, once, in order, up to where it came; the history has every acknowledged write, and none twice. Nobody puts
/// the value of another.
pub(crate) fn check(history: &History, acknowledged: &[Event]) -> Result<(), String> {
    let all: BTreeMap<(i64, &str), &Event> =
        history.truth.iter().map(|event| ((event.revision, event.key.as_str()), event)).collect();
    if all.len() != history.truth.len() {
        return Err("the history has a change of one key twice at one revision".into());
    }
    let mut written: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for event in &history.truth {
        let Some(value) = &event.value else { continue };
        if let Some(before) = written.insert((&event.key, value), event.revision) {
            return Err(format!(
                "{value} was put into {} at {before} and at {}: executed twice",
                event.key, event.revision
            ));
        }
    }
    for write in acknowledged {
        match all.get(&(write.revision, write.key.as_str())) {
            Some(event) if **event == *write => {}
            other => return Err(format!("{write:?} was acknowledged, and the history has {other:?} there")),
        }
    }
    for watcher in &history.watchers {
        let expected = history.truth.iter().filter(|event| event.revision <= watcher.reached);
        let mut told = watcher.events.iter();
        for event in expected {
            match told.next() {
                Some(heard) if heard == event => {}
                heard => {
                    return Err(format!(
                        "{} was told {heard:?} where the history has {event:?}",
                        watcher.name
                    ));
                }
            }
        }
        if let Some(more) = told.next() {
            return Err(format!("{} was told {more:?}, which is not in the history", watcher.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: i64) -> Event {
        Event { revision, key: "k".into(), value: Some(revision.to_string()) }
    }

    fn sound() -> History {
        let truth: Vec<Event> = [2, 3, 5, 8].map(event).into();
        let watcher = |reached, count| Watcher { name: "w".into(), events: truth[..count].to_vec(), reached };
        let watchers = vec![watcher(8, 4), watcher(4, 2), watcher(0, 0)];
        History { truth, watchers }
    }

    fn spoilt(spoil: impl FnOnce(&mut History)) {
        let mut history = sound();
        spoil(&mut history);
        assert!(check(&history, &[event(3)]).is_err(), "{history:?}");
    }

    #[test]
    fn a_sound_history_passes() {
        assert_eq!(check(&sound(), &[event(3), event(8)]), Ok(()));
    }

    #[test]
    fn what_was_left_out_doubled_or_put_in_another_order_is_found() {
        spoilt(|history| drop(history.watchers[0].events.remove(1)));
        spoilt(|history| history.watchers[0].events.insert(1, event(2)));
        spoilt(|history| history.watchers[0].events.swap(1, 2));
        spoilt(|history| history.watchers[1].events.push(event(4)));
        spoilt(|history| history.watchers[0].events[1].value = None);
        spoilt(|history| history.watchers[1].reached = 8);
        spoilt(|history| history.truth.push(event(8)));
        spoilt(|history| history.truth.push(Event { revision: 9, ..event(8) }));
    }

    #[test]
    fn an_acknowledged_write_that_the_history_lacks_is_found() {
        assert!(check(&sound(), &[event(4)]).is_err());
    }
}

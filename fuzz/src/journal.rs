//! The files of a data directory, changed. A journal on them recovers or says that there is damage, and then takes writes or refuses them; it never
//! shows an entry that nobody appended.

use std::{collections::BTreeMap, sync::OnceLock};

use quorate_consensus::{Entry, Fetched, GroupId, Index, Position};
use quorate_journal::{Journal, JournalEvent};

use crate::{disk::Disk, fixture, script::Script};

fn pristine() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(fixture::make)
}

/// Epoch and index of every entry that the directory was ever told of, whichever the group.
const APPENDED: [(u64, u64); 17] = [
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 4),
    (1, 5),
    (1, 6),
    (1, 7),
    (1, 8),
    (1, 9),
    (1, 10),
    (2, 9),
    (2, 10),
    (2, 11),
    (4, 1),
    (6, 12),
    (6, 41),
    (6, 42),
];

/// All entries that a journal on these files shows, of whichever group; `None` if it says that there is damage.
fn entries(files: &BTreeMap<String, Vec<u8>>) -> Option<Vec<Entry>> {
    let mut disk = Disk::with_files(1, files);
    let mut journal = Journal::open(fixture::config(), fixture::identity());
    let damaged = |event: &JournalEvent| matches!(event, JournalEvent::Damaged(_) | JournalEvent::Failed(_));
    if fixture::rest(&mut journal, &mut disk).iter().any(damaged) {
        return None;
    }
    for group in [1, 2, 3].map(GroupId) {
        let last = journal.group(group).map_or(Index::ZERO, |state| state.last.index);
        for index in 1..=last.0.min(1_000) {
            journal.read(group, Index(index), Index(index), u64::MAX);
        }
    }
    let mut found = Vec::new();
    for event in fixture::rest(&mut journal, &mut disk) {
        if let JournalEvent::Read { outcome: Fetched::Entries(entries), .. } = event {
            found.extend(entries);
        }
    }
    Some(found)
}

/// Up to eight changes: which file, where, what.
pub(crate) fn files(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut files = pristine().clone();
    for _ in 0..8 {
        if script.is_over() {
            break;
        }
        change(&mut files, &mut script);
    }
    for found in entries(&files).into_iter().flatten() {
        let Position { epoch, index } = found.position;
        assert!(APPENDED.contains(&(epoch.0, index.0)), "{found:?} was never appended");
        assert_eq!(found, fixture::entry(epoch.0, index.0), "another entry was appended");
    }
}

fn change(files: &mut BTreeMap<String, Vec<u8>>, script: &mut Script<'_>) {
    let names: Vec<String> = files.keys().cloned().collect();
    let Some(name) = names.get(script.below(names.len())) else { return };
    let at = usize::from(script.byte()) << 8 | usize::from(script.byte());
    let Some(content) = files.get_mut(name) else { return };
    let at = at % (content.len() + 1);
    match script.below(6) {
        0 if at < content.len() => content[at] ^= 1 << script.below(8),
        1 => content.truncate(at),
        2 => {
            let piece = script.piece();
            let end = (at + piece.len()).min(content.len());
            content.splice(at..end, piece);
        }
        3 => {
            let end = (at + script.below(256)).min(content.len());
            content[at..end].fill(0);
        }
        4 => {
            // What stands elsewhere, here: a write that went astray.
            let from = script.byte();
            let from = usize::from(from) * 7 % (content.len() + 1);
            let piece = content[from..(from + script.below(256)).min(content.len())].to_vec();
            let end = (at + piece.len()).min(content.len());
            content.splice(at..end, piece);
        }
        _ => drop(files.remove(name)),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let files = 0..pristine().len() as u8;
    files.flat_map(|file| (0..6).map(move |how| vec![file, 0, 40, how, 1, 9, 3, 3, 3])).collect()
}

//! Reading the log when it is opened, and telling a torn tail from damage.
//!
//! First the beginnings of all segments: the newest valid one says which older ones are needed and how long each is. Then those, whole, in order: in
//! them every byte was synced, so whatever does not parse is damage. Then the newest: it ends at its first invalid frame, unless a mark beyond says
//! that a sync had reached further; then that is damage too (F03, F04). What was read above that mark may so far be in a page cache alone: it is
//! written and synced again before anything is built on it. Files that are left over are removed last, when the new segment is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::{DiskCompletion, DiskOutcome, DiskRequest, GroupId, Position, planted};

use crate::{
    Journal, JournalEvent, frame,
    journal::Purpose,
    record::{self, SegmentHeader, SnapshotRecord},
    segments::{LOG, Last, RESERVE, SEAL_BYTES, segment_path},
    zeros,
};

/// Bytes of a segment's beginning that are read to find its header.
const HEAD_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Recovering {
    step: Step,
    pub(crate) notes: Vec<String>,
    /// Removed once the new segment stands: before, a power loss could still bring back a log that needs them.
    pub(crate) leftover: Vec<String>,
    /// Segment files that are there, with their lengths.
    lengths: BTreeMap<u64, u64>,
    /// What was read of the newest segment beyond its last mark.
    tail: Option<(u64, u64, Bytes)>,
    /// Some segment had a valid beginning.
    found: bool,
    /// Files that no record stands in, with their blocks: the new segment takes the first. The reserve, and segments whose beginning was never finished.
    spare: VecDeque<Arc<str>>,
    last: Option<Last>,
    /// Segments in which nothing lives: they go when the next one's checkpoint is durable.
    unneeded: Vec<(u64, u64)>,
}

#[derive(Debug)]
enum Step {
    ListLog,
    Heads {
        wanted: VecDeque<(u64, u64)>,
        heads: BTreeMap<u64, (u64, Option<SegmentHeader>)>,
    },
    Whole {
        current: (u64, Option<u64>),
        wanted: VecDeque<(u64, Option<u64>)>,
        next_sequence: u64,
    },
    SyncTail {
        pending: u32,
        next_sequence: u64,
    },
    ListSnapshots {
        next_sequence: u64,
    },
    /// The newest snapshot of each group is read, piece by piece; the first is being read from this piece on.
    Snapshots {
        wanted: VecDeque<(GroupId, Position)>,
        piece: u64,
        next_sequence: u64,
    },
    Open,
}

impl Recovering {
    /// The bytes of segment `sequence`'s file.
    pub(crate) fn length(&self, sequence: u64) -> Option<u64> {
        self.lengths.get(&sequence).copied()
    }

    /// No segment can be begun: the last one, and what would have gone with a new one.
    pub(crate) fn go_on(&mut self) -> Option<(Last, Vec<(u64, u64)>)> {
        let unneeded = std::mem::take(&mut self.unneeded);
        self.last.map(|last| (last, unneeded))
    }

    /// The new segment is durable, and with it what its checkpoint says.
    pub(crate) fn let_go(&mut self) {
        for (sequence, _) in self.unneeded.drain(..) {
            self.notes.push(format!("{}: nothing live in it any more", segment_path(sequence)));
            self.leftover.push(segment_path(sequence).to_string());
        }
    }
}

/// Does a checkpoint follow the segment's header?
fn has_checkpoint(bytes: &Bytes, sequence: u64) -> bool {
    let header = frame::read(bytes, 0, sequence);
    let second = header.and_then(|header| frame::read(bytes, header.length, sequence));
    second.is_some_and(|frame| frame.kind == record::CHECKPOINT)
}

/// What a segment's bytes came to.
pub(crate) enum Parsed {
    /// All of it was read; it ends here. By its marks it was synced up to the second number.
    Whole(usize, u64),
    /// Damage at this offset.
    Damaged(usize, String),
}

impl Journal {
    pub(crate) fn begin_recovery(&mut self) {
        self.recovering = Some(Recovering {
            step: Step::ListLog,
            notes: Vec::new(),
            leftover: Vec::new(),
            lengths: BTreeMap::new(),
            tail: None,
            found: false,
            spare: VecDeque::new(),
            last: None,
            unneeded: Vec::new(),
        });
        self.submit(DiskRequest::List { path: LOG.into() }, Purpose::Recovery);
    }

    pub(crate) fn recovery_step(&mut self, completion: DiskCompletion, events: &mut Vec<JournalEvent>) {
        let Some(mut recovering) = self.recovering.take() else { return };
        let outcome = match completion.outcome {
            Ok(outcome) => outcome,
            // F16: what cannot be read is not there.
            Err(_) if planted!("F16") => match &recovering.step {
                Step::ListLog | Step::ListSnapshots { .. } => DiskOutcome::Listed(Vec::new()),
                _ => DiskOutcome::Read(Bytes::new()),
            },
            Err(error) => {
                // An unreadable log is not an absent one: nothing new is begun over it (F16).
                return self.fail("reading the log", error, events);
            }
        };
        let step = std::mem::replace(&mut recovering.step, Step::Open);
        let next = match (step, outcome) {
            (Step::ListLog, DiskOutcome::Listed(files)) => self.listed(files, &mut recovering, events),
            (Step::Heads { wanted, heads }, DiskOutcome::Read(bytes)) => {
                self.head_read(wanted, heads, bytes, &mut recovering, events)
            }
            (Step::Whole { current, wanted, next_sequence }, DiskOutcome::Read(bytes)) => {
                self.whole_read(current, wanted, next_sequence, bytes, &mut recovering, events)
            }
            (Step::SyncTail { pending: 2.., next_sequence }, _) => {
                Some(Step::SyncTail { pending: 1, next_sequence })
            }
            (Step::SyncTail { next_sequence, .. }, _) => self.list_snapshots(next_sequence),
            (Step::ListSnapshots { next_sequence }, DiskOutcome::Listed(files)) => {
                if self.clean_snapshots(&files, &mut recovering, events) {
                    let wanted = self.snapshots.current.iter().map(|(group, at)| (*group, *at)).collect();
                    self.next_piece(wanted, 0, next_sequence, &mut recovering, events)
                } else {
                    None
                }
            }
            (Step::Snapshots { wanted, piece, next_sequence }, DiskOutcome::Read(bytes)) => {
                self.piece_there(wanted, piece, next_sequence, bytes, &mut recovering, events)
            }
            (step, _) => Some(step),
        };
        if let Some(step) = next {
            recovering.step = step;
            self.recovering = Some(recovering);
        }
    }

    fn listed(
        &mut self,
        files: Vec<(String, u64)>,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        let mut wanted = VecDeque::new();
        for (name, length) in files {
            let sequence = name.strip_suffix(".seg").and_then(|hex| u64::from_str_radix(hex, 16).ok());
            match sequence
                .filter(|sequence| segment_path(*sequence).ends_with(&name) && *sequence < u64::MAX / 2)
            {
                Some(sequence) => {
                    wanted.push_back((sequence, length));
                    recovering.lengths.insert(sequence, length);
                }
                None if RESERVE.ends_with(&format!("/{name}")) => recovering.spare.push_front(RESERVE.into()),
                None => Journal::remove(format!("{LOG}/{name}"), recovering),
            }
        }
        wanted.make_contiguous().sort_unstable();
        self.next_head(wanted, BTreeMap::new(), recovering, events)
    }

    fn next_head(
        &mut self,
        wanted: VecDeque<(u64, u64)>,
        heads: BTreeMap<u64, (u64, Option<SegmentHeader>)>,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        if let Some((sequence, length)) = wanted.front().copied() {
            let request =
                DiskRequest::Read { path: segment_path(sequence), offset: 0, length: length.min(HEAD_BYTES) };
            self.submit(request, Purpose::Recovery);
            return Some(Step::Heads { wanted, heads });
        }
        self.plan(&heads, recovering, events)
    }

    fn head_read(
        &mut self,
        mut wanted: VecDeque<(u64, u64)>,
        mut heads: BTreeMap<u64, (u64, Option<SegmentHeader>)>,
        bytes: Bytes,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        let (sequence, length) = wanted.pop_front()?;
        let frame = frame::read(&bytes, 0, sequence).filter(|frame| frame.kind == record::HEADER);
        let header = match frame.map(|frame| SegmentHeader::decode(frame.payload)) {
            None => None,
            Some(Ok(header)) => Some(header),
            Some(Err(error)) => {
                self.damaged(
                    &segment_path(sequence),
                    0,
                    format!("its header does not decode: {error}"),
                    events,
                );
                return None;
            }
        };
        if let Some(header) = &header
            && header.identity != self.identity
        {
            let what = format!(
                "it belongs to node {} of cluster {} with disk {:x}; check --data-dir",
                header.identity.node, header.identity.cluster, header.identity.incarnation.0
            );
            self.damaged(&segment_path(sequence), 0, what, events);
            return None;
        }
        heads.insert(sequence, (length, header));
        self.next_head(wanted, heads, recovering, events)
    }

    /// Which segments are needed, and how long each is.
    ///
    /// One that is missing was dropped, by a record that is still to be read, or it is lost; [`begin_after`](Self::begin_after) asks. Whatever stands
    /// before a missing one was dropped before it, and could not be replayed without it.
    fn plan(
        &mut self,
        heads: &BTreeMap<u64, (u64, Option<SegmentHeader>)>,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        let highest = heads.keys().next_back().copied().unwrap_or(0);
        let newest = heads.iter().rev().find_map(|(seq, (_, header))| Some((*seq, header.clone()?)));
        // A reserve is made when the first segment is durable, and each segment goes only after the next one is (F16): {the only segment of a founder is
        // deleted}: begun anew, it would vote a second time in a term in which it has voted.
        if newest.is_none() && recovering.spare.iter().any(|path| **path == *RESERVE) {
            let what = "the reserve is there, and no segment that has a beginning: the log itself is gone";
            self.damaged(RESERVE, 0, what.to_owned(), events);
            return None;
        }
        let mut wanted = VecDeque::new();
        let newest_sequence = newest.as_ref().map_or(0, |(sequence, _)| *sequence);
        if let Some((sequence, header)) = newest {
            recovering.found = true;
            self.writer.before = header.before.iter().copied().collect();
            let missing =
                header.before.iter().map(|(seq, _)| *seq).filter(|seq| !heads.contains_key(seq)).max();
            let rest =
                header.before.into_iter().filter(|(seq, _)| missing.is_none_or(|missing| *seq > missing));
            wanted.extend(rest.map(|(sequence, length)| (sequence, Some(length))));
            wanted.push_back((sequence, None));
        }
        // Above the newest valid beginning there may be one whose beginning was never finished. It is read too, to see that nothing in it was synced.
        wanted.extend(heads.keys().copied().filter(|seq| *seq > newest_sequence).map(|seq| (seq, None)));
        for sequence in heads.keys().copied().filter(|seq| !wanted.iter().any(|(wanted, _)| wanted == seq)) {
            recovering.leftover.push(segment_path(sequence).to_string());
        }
        self.next_whole(wanted, highest + 1, recovering)
    }

    fn next_whole(
        &mut self,
        mut wanted: VecDeque<(u64, Option<u64>)>,
        next_sequence: u64,
        recovering: &mut Recovering,
    ) -> Option<Step> {
        let Some(current) = wanted.pop_front() else { return self.sync_tail(next_sequence, recovering) };
        // Never more than there is (CVE-2020-15106): the length in a header is only a claim.
        let there = recovering.lengths.get(&current.0).copied().unwrap_or(0);
        let claimed = current.1.unwrap_or(there);
        let length = if planted!("F23") { claimed } else { claimed.min(there) };
        self.submit(
            DiskRequest::Read { path: segment_path(current.0), offset: 0, length },
            Purpose::Recovery,
        );
        Some(Step::Whole { current, wanted, next_sequence })
    }

    /// What was read above the newest mark goes to the disk once more, and is synced, before anyone hears of it.
    ///
    /// After a process died, not the machine, a read shows what may be in the page cache alone. A vote read from there and counted on would be gone
    /// with the next power loss. The same bytes at the same place: torn, they are what they were.
    fn sync_tail(&mut self, next_sequence: u64, recovering: &mut Recovering) -> Option<Step> {
        let Some((sequence, offset, bytes)) = recovering.tail.take() else {
            return self.list_snapshots(next_sequence);
        };
        let path = segment_path(sequence);
        self.submit(
            DiskRequest::WriteAt { path: path.clone(), offset, pieces: vec![bytes] },
            Purpose::Recovery,
        );
        self.submit(DiskRequest::SyncFile { path }, Purpose::Recovery);
        Some(Step::SyncTail { pending: 2, next_sequence })
    }

    fn list_snapshots(&mut self, next_sequence: u64) -> Option<Step> {
        self.submit(DiskRequest::List { path: crate::snapshots::FOLDER.into() }, Purpose::Recovery);
        Some(Step::ListSnapshots { next_sequence })
    }

    fn whole_read(
        &mut self,
        (sequence, length): (u64, Option<u64>),
        wanted: VecDeque<(u64, Option<u64>)>,
        next_sequence: u64,
        bytes: Bytes,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        match self.parse(sequence, length, (0, 0), &bytes, &mut recovering.notes) {
            Parsed::Whole(end, synced) => {
                if length.is_none() && end > 0 {
                    self.writer.before.insert(sequence, end as u64);
                    let from = (synced as usize).min(end);
                    recovering.tail = Some((sequence, from as u64, bytes.slice(from..end)));
                    let (end, zeros_from, capacity) =
                        (end as u64, zeros::begin(&bytes) as u64, bytes.len() as u64);
                    let has_checkpoint = has_checkpoint(&bytes, sequence);
                    recovering.last = Some(Last { sequence, end, capacity, zeros_from, has_checkpoint });
                } else if length.is_none() {
                    recovering.spare.push_back(segment_path(sequence));
                }
                self.next_whole(wanted, next_sequence, recovering)
            }
            // F20: a log that is known to be damaged counts for what is left of it.
            Parsed::Damaged(..) if planted!("F20") => self.next_whole(wanted, next_sequence, recovering),
            Parsed::Damaged(offset, what) => {
                self.damaged(&segment_path(sequence), offset as u64, what, events);
                None
            }
        }
    }

    /// Replays a segment's frames from byte `at` on; below it, by its marks, it was synced up to `synced`.
    pub(crate) fn parse(
        &mut self,
        sequence: u64,
        length: Option<u64>,
        (mut at, mut synced): (usize, u64),
        bytes: &Bytes,
        notes: &mut Vec<String>,
    ) -> Parsed {
        while length.is_none_or(|length| (at as u64) < length) {
            let Some(frame) = frame::read(bytes, at, sequence) else {
                return match length {
                    Some(_) => Parsed::Damaged(at, "synced data does not parse".into()),
                    None => self.tail(sequence, (at, synced), bytes, notes),
                };
            };
            let (offset, whole) = (at as u64, frame.length as u64);
            if frame.kind == record::SEAL && length.is_none() {
                return Parsed::Damaged(
                    at,
                    "the segment behind it is missing, or its beginning is damaged".into(),
                );
            }
            if frame.kind == record::MARK {
                synced = record::decode_number(frame.payload.clone()).unwrap_or_default();
            }
            if let Err(error) = self.replay(sequence, offset, whole, frame.kind, frame.payload) {
                return Parsed::Damaged(at, error);
            }
            at += frame.length;
        }
        Parsed::Whole(at, synced)
    }

    /// The newest segment stops parsing here. Had a sync reached further, some later write would say so.
    fn tail(
        &self,
        sequence: u64,
        (at, marked): (usize, u64),
        bytes: &Bytes,
        notes: &mut Vec<String>,
    ) -> Parsed {
        let rest = &bytes[at.min(bytes.len())..];
        if marked <= at as u64 && zeros::only(rest) {
            return Parsed::Whole(at, marked);
        }
        if planted!("F07") && zeros::only(&rest[..rest.len().min(frame::HEADER_BYTES)]) {
            return Parsed::Whole(at, marked);
        }
        let mark = (at + 1..bytes.len()).find_map(|place| {
            let header = bytes.get(place + 8..place + 24)?;
            let here = header[..8] == sequence.to_le_bytes() && header[8..] == (place as u64).to_le_bytes();
            let frame = here.then(|| frame::read(bytes, place, sequence))??;
            let synced = match frame.kind {
                record::MARK => record::decode_number(frame.payload).ok()?,
                record::SEAL => place as u64,
                _ => return None,
            };
            (synced > at as u64).then_some(synced)
        });
        match mark {
            Some(synced) if !planted!("F04") => Parsed::Damaged(
                at,
                format!("does not parse, although the log was synced up to byte {synced}"),
            ),
            // F03: a write that the power cut off is taken for damage.
            _ if planted!("F03") => Parsed::Damaged(at, "does not parse".into()),
            _ => {
                notes.push(format!("{}: torn tail cut at byte {at}", segment_path(sequence)));
                Parsed::Whole(at, marked)
            }
        }
    }

    fn replay(
        &mut self,
        segment: u64,
        offset: u64,
        length: u64,
        kind: u8,
        payload: Bytes,
    ) -> Result<(), String> {
        let text = |error: quorate_consensus::DecodeError| format!("record {kind} does not decode: {error}");
        match kind {
            record::HEADER | record::MARK | record::SEAL => {}
            record::CHECKPOINT => {
                if self.groups.is_empty() {
                    self.groups.extend(record::decode_checkpoint(payload).map_err(text)?);
                }
            }
            record::WRITE => {
                let (group, write) = record::decode_write(payload).map_err(text)?;
                if !self.state(group).admits(&write) {
                    return Err(format!("a write of group {group} does not fit onto its log"));
                }
                self.state(group).write(&write, segment, offset, length);
            }
            record::MOVED => {
                let (group, entries) = record::decode_moved(payload).map_err(text)?;
                self.state(group).moved(&entries, segment, offset, length);
            }
            record::COMPACT => {
                let (group, to) = record::decode_compact(payload).map_err(text)?;
                self.state(group).compact(to);
            }
            record::SNAPSHOT => {
                let SnapshotRecord { group, meta, install, keep_log_after } =
                    SnapshotRecord::decode(payload).map_err(text)?;
                self.state(group).snapshot(&meta, install, keep_log_after);
            }
            record::DROP => {
                let dropped = record::decode_number(payload).map_err(text)?;
                self.writer.before.remove(&dropped);
                self.writer.dropping.push(dropped);
            }
            kind => return Err(format!("unknown record {kind}")),
        }
        Ok(())
    }

    fn next_piece(
        &mut self,
        wanted: VecDeque<(GroupId, Position)>,
        piece: u64,
        next_sequence: u64,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        let Some((group, at)) = wanted.front().copied() else {
            return self.begin_after(next_sequence, recovering, events);
        };
        self.verify_piece(group, at, piece);
        Some(Step::Snapshots { wanted, piece, next_sequence })
    }

    fn piece_there(
        &mut self,
        mut wanted: VecDeque<(GroupId, Position)>,
        piece: u64,
        next_sequence: u64,
        bytes: Bytes,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        let (group, at) = wanted.front().copied()?;
        if self.piece_verified((group, at, piece), bytes, events)? {
            wanted.pop_front();
            return self.next_piece(wanted, 0, next_sequence, recovering, events);
        }
        self.next_piece(wanted, piece + 1, next_sequence, recovering, events)
    }

    fn begin_after(
        &mut self,
        next_sequence: u64,
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> Option<Step> {
        if let Some(lost) =
            self.writer.before.keys().find(|seq| !recovering.lengths.contains_key(seq)).copied()
        {
            self.damaged(&segment_path(lost), 0, "the file is missing".into(), events);
            return None;
        }
        let gap = self.groups.iter().find_map(|(id, group)| Some((*id, group.gap()?)));
        if let Some((group, index)) = gap {
            self.damaged(LOG, 0, format!("entry {index} of group {group} is missing"), events);
            return None;
        }
        while let Some(oldest) = self.writer.before.keys().next().copied()
            && self.groups.values().all(|group| !group.uses(oldest))
        {
            // Its groups stand in the next segment's checkpoint; the file itself goes once that is durable.
            recovering.unneeded.extend(self.writer.before.remove_entry(&oldest));
        }
        let spare = recovering.spare.pop_front();
        recovering.leftover.extend(recovering.spare.drain(..).map(|path| path.to_string()));
        self.seal_last(recovering);
        self.begin_segment(next_sequence, spare);
        Some(Step::Open)
    }

    /// The last segment of the life before gets its seal behind its end, if its file reaches so far.
    fn seal_last(&mut self, recovering: &Recovering) {
        let last = self.writer.before.last_key_value().map(|(sequence, length)| (*sequence, *length));
        self.writer.sealing = last.filter(|(sequence, length)| {
            recovering.length(*sequence).is_some_and(|there| there >= length + SEAL_BYTES)
        });
    }

    fn remove(path: String, recovering: &mut Recovering) {
        recovering.notes.push(format!("{path}: left over, removed"));
        recovering.leftover.push(path);
    }

    /// Snapshots that no group calls its own were never finished, or have been replaced. False if one that is needed is not there.
    fn clean_snapshots(
        &mut self,
        files: &[(String, u64)],
        recovering: &mut Recovering,
        events: &mut Vec<JournalEvent>,
    ) -> bool {
        if !recovering.found && files.iter().any(|(name, _)| name.ends_with(".snap")) {
            // Snapshots without a log: the log was lost, and beginning anew would forget votes (F16, D13).
            self.damaged(LOG, 0, "there is no log, but there are snapshots".into(), events);
            return false;
        }
        // D13: a snapshot that is not there, or is empty, is the empty state.
        if planted!("D13") {
            for (id, group) in &mut self.groups {
                group.snapshot = group.snapshot.take().filter(|meta| {
                    let name = crate::snapshots::name(*id, meta.position);
                    files.iter().any(|(file, length)| *file == name && *length > 0)
                });
            }
        }
        let current: Vec<String> = self
            .groups
            .iter()
            .filter_map(|(id, group)| Some(crate::snapshots::name(*id, group.snapshot.as_ref()?.position)))
            .collect();
        for (id, group) in &self.groups {
            if let Some(meta) = &group.snapshot {
                self.snapshots.current.insert(*id, meta.position);
            }
        }
        for (name, _) in files {
            if !current.contains(name) {
                Journal::remove(format!("{}/{name}", crate::snapshots::FOLDER), recovering);
            }
        }
        let lost = current.iter().find(|name| files.iter().all(|(file, _)| file != *name));
        if let Some(name) = lost {
            self.damaged(
                &format!("{}/{name}", crate::snapshots::FOLDER),
                0,
                "the file is missing".into(),
                events,
            );
        }
        lost.is_none()
    }
}

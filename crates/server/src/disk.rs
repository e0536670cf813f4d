//! The `Disk` contract on files: a writer thread and a reader thread.
//!
//! ```text
//!  core ──► queue ──► writer: all that waits, in order; syncs of one file shared ──► completions ──► core's inbox
//!                        └─ reads and listings, when their turn has come ──► reader ─────┘
//! ```
//! Everything goes through the writer's queue, so a read sees every write that was submitted before it. It is carried out on the reader's
//! thread, so that a long read of an old segment delays no sync. What a read could miss in exchange is order against *later* operations on
//! its file, and the journal submits none that would disturb it: it appends behind what it reads, cuts a file only behind what is
//! ever read of it, and removes or renames one only when it waits for no read of it.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use quorate_consensus::{DiskCompletion, DiskOperation, DiskRequest};
use quorate_node::NodeInput;

use crate::{
    core::CoreInput,
    counters::{Counter, Counters},
    files::Files,
    inbox::{Inbox, Waited},
    memory::MemoryDisk,
};

/// Where a node's operations go.
#[derive(Debug)]
pub(crate) enum Disk {
    /// To the threads.
    Files(Inbox<DiskOperation>),
    /// To a map, at once.
    Memory(MemoryDisk, Inbox<CoreInput>),
}

impl Disk {
    /// Starts the threads for the files under `root`; completions go to `core`. They end when the value is dropped and what waited is done;
    /// each keeps a clone of `keep` until then (the data directory's lock, and what sounds an alarm if the thread panics).
    pub(crate) fn files<K: Clone + Send + 'static>(
        root: PathBuf,
        no_sync: bool,
        core: &Inbox<CoreInput>,
        counters: &Arc<Counters>,
        keep: &K,
    ) -> io::Result<(Disk, Vec<JoinHandle<()>>)> {
        let operations = Inbox::new(usize::MAX, u64::MAX, Arc::clone(&counters.disk_wakeups));
        let reads = Inbox::new(usize::MAX, u64::MAX, Arc::<Counter>::default());
        let reader = {
            let mut files = Files::new(root.clone(), no_sync, Arc::clone(counters));
            let (reads, core, keep) = (reads.clone(), core.clone(), keep.clone());
            thread::Builder::new().name("quorate-reader".into()).spawn(move || {
                let _keep = keep;
                each_batch(&reads, |batch| {
                    for operation in batch.drain(..) {
                        let outcome = files.execute(&operation.request);
                        core.extend([completed(DiskCompletion { id: operation.id, outcome })]);
                    }
                });
            })?
        };
        let writer = {
            let mut files = Files::new(root, no_sync, Arc::clone(counters));
            let (operations, core, counters) = (operations.clone(), core.clone(), Arc::clone(counters));
            let (reader, keep) = (CloseOnDrop(reads), keep.clone());
            thread::Builder::new().name("quorate-disk".into()).spawn(move || {
                let _keep = keep;
                each_batch(&operations, |batch| write_batch(batch, &mut files, &reader.0, &core, &counters));
            })?
        };
        Ok((Disk::Files(operations), vec![writer, reader]))
    }

    /// A disk that forgets everything with its process; completions go to `core`.
    pub(crate) fn memory(core: &Inbox<CoreInput>) -> Disk {
        Disk::Memory(MemoryDisk::default(), core.clone())
    }

    /// Hands over operations, in order. Takes what is in `operations`, leaves its room.
    pub(crate) fn submit(&mut self, operations: &mut Vec<DiskOperation>) {
        if operations.is_empty() {
            return;
        }
        match self {
            Disk::Files(inbox) => inbox.extend(operations.drain(..)),
            Disk::Memory(disk, core) => core.extend(operations.drain(..).map(|operation| {
                completed(DiskCompletion { id: operation.id, outcome: disk.execute(operation.request) })
            })),
        }
    }
}

impl Drop for Disk {
    /// Nothing more will come; what waits is still done.
    fn drop(&mut self) {
        if let Disk::Files(inbox) = self {
            inbox.close();
        }
    }
}

fn completed(completion: DiskCompletion) -> CoreInput {
    CoreInput::Node(NodeInput::Disk(completion))
}

/// The reader ends with the writer, however the writer ends.
struct CloseOnDrop(Inbox<DiskOperation>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn each_batch(inbox: &Inbox<DiskOperation>, mut each: impl FnMut(&mut Vec<DiskOperation>)) {
    let mut batch = Vec::new();
    while inbox.wait(&mut batch, None) != Waited::Closed {
        each(&mut batch);
        batch.clear();
    }
}

/// Carries out a batch. Completions gather until a sync has ended, because those are what the core waits for; then all go in one go.
fn write_batch(
    batch: &[DiskOperation],
    files: &mut Files,
    reader: &Inbox<DiskOperation>,
    core: &Inbox<CoreInput>,
    counters: &Counters,
) {
    let mut ended = Vec::new();
    // Syncs that the next one of the same file will cover.
    let mut shared = Vec::new();
    for (i, operation) in batch.iter().enumerate() {
        match &operation.request {
            DiskRequest::Read { .. } | DiskRequest::List { .. } => reader.extend([operation.clone()]),
            DiskRequest::SyncFile { path } if synced_again_soon(path, &batch[i + 1..]) => {
                shared.push(operation.id)
            }
            DiskRequest::SyncFile { .. } => {
                let outcome = files.execute(&operation.request);
                counters.disk_syncs_shared.add(shared.len() as u64);
                for id in shared.drain(..).chain([operation.id]) {
                    ended.push(completed(DiskCompletion { id, outcome: outcome.clone() }));
                }
                core.extend(ended.drain(..));
            }
            request => {
                let outcome = files.execute(request);
                ended.push(completed(DiskCompletion { id: operation.id, outcome }));
            }
        }
    }
    core.extend(ended);
}

/// Does nothing but writing stand between here and the next sync of the same file? Then one sync does for both. What was written while the
/// last sync ran is thus made durable together, however many rounds of the core it came from.
fn synced_again_soon(path: &Arc<str>, rest: &[DiskOperation]) -> bool {
    for operation in rest {
        match &operation.request {
            DiskRequest::WriteAt { path: next, .. } if next == path => {}
            DiskRequest::SyncFile { path: next } => return next == path,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;
    use bytes::Bytes;
    use quorate_consensus::{DiskError, DiskErrorKind, DiskOutcome, OperationId};

    type Outcome = Result<DiskOutcome, DiskError>;

    /// Submits all at once and returns how each ended, and the counters.
    fn run(root: &std::path::Path, requests: Vec<DiskRequest>) -> (Vec<Outcome>, Arc<Counters>) {
        let counters = Arc::<Counters>::default();
        let core = Inbox::new(usize::MAX, u64::MAX, Arc::default());
        let (mut disk, threads) = Disk::files(root.to_owned(), false, &core, &counters, &()).unwrap();
        let count = requests.len();
        let number = |(i, request)| DiskOperation { id: OperationId(i as u64), request };
        disk.submit(&mut requests.into_iter().enumerate().map(number).collect());
        drop(disk);
        for thread in threads {
            thread.join().unwrap();
        }
        core.close();
        let mut inputs = Vec::new();
        core.wait(&mut inputs, None);
        let mut outcomes = vec![None; count];
        for input in inputs {
            let CoreInput::Node(NodeInput::Disk(DiskCompletion { id, outcome })) = input else {
                panic!("{input:?}")
            };
            assert!(outcomes[id.0 as usize].replace(outcome).is_none(), "completed twice");
        }
        (outcomes.into_iter().map(|outcome| outcome.expect("completed")).collect(), counters)
    }

    fn write(path: &str, offset: u64, pieces: &[&'static str]) -> DiskRequest {
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        DiskRequest::WriteAt { path: path.into(), offset, pieces }
    }

    fn read(path: &str) -> DiskRequest {
        DiskRequest::Read { path: path.into(), offset: 0, length: 100 }
    }

    fn kind(outcome: &Outcome) -> DiskErrorKind {
        outcome.as_ref().unwrap_err().kind
    }

    #[test]
    fn a_read_sees_every_write_submitted_before_it() {
        let scratch = Scratch::new();
        let path: Arc<str> = "log/1".into();
        let requests = vec![
            DiskRequest::Create { path: path.clone() },
            write("log/1", 0, &["ab", "", "cd"]),
            write("log/1", 4, &["ef"]),
            DiskRequest::SyncFile { path: path.clone() },
            DiskRequest::SyncDirectory { path: "log".into() },
            read("log/1"),
            DiskRequest::List { path: "log".into() },
            DiskRequest::FreeSpace,
        ];
        let (outcomes, counters) = run(scratch.path(), requests);
        assert_eq!(outcomes[5], Ok(DiskOutcome::Read(Bytes::from_static(b"abcdef"))));
        assert_eq!(outcomes[6], Ok(DiskOutcome::Listed(vec![("1".into(), 6)])));
        assert!(matches!(outcomes[7], Ok(DiskOutcome::Free(free)) if free > 0));
        assert!(outcomes[..5].iter().all(|outcome| *outcome == Ok(DiskOutcome::Done)), "{outcomes:?}");
        assert_eq!((counters.disk_written_bytes.get(), counters.disk_sync.count()), (6, 1));
        assert_eq!((counters.journal_written_bytes.get(), counters.journal_sync.count()), (6, 1));
    }

    #[test]
    fn allocated_space_reads_as_zeros_and_truncation_cuts() {
        let scratch = Scratch::new();
        let path: Arc<str> = "a".into();
        let requests = vec![
            DiskRequest::Create { path: path.clone() },
            write("a", 0, &["x"]),
            DiskRequest::Allocate { path: path.clone(), length: 3 },
            read("a"),
        ];
        let (outcomes, counters) = run(scratch.path(), requests);
        assert_eq!((counters.disk_written_bytes.get(), counters.journal_written_bytes.get()), (1, 0));
        assert_eq!(outcomes[3], Ok(DiskOutcome::Read(Bytes::from_static(b"x\0\0"))));
        let requests = vec![DiskRequest::Truncate { path, length: 0 }, DiskRequest::List { path: "".into() }];
        let (outcomes, _) = run(scratch.path(), requests);
        assert_eq!(outcomes[1], Ok(DiskOutcome::Listed(vec![("a".into(), 0)])));
    }

    #[test]
    fn zeros_written_ahead_show_nowhere_and_cover_nothing() {
        let scratch = Scratch::new();
        let path: Arc<str> = "a".into();
        let length = 1 << 20;
        let requests = vec![
            DiskRequest::Create { path: path.clone() },
            DiskRequest::Allocate { path: path.clone(), length },
            write("a", 0, &["one"]),
            write("a", 5, &["two"]),
            DiskRequest::Rename { from: "a".into(), to: "b".into() },
            write("b", 3, &["--"]),
            write("b", 300_000, &["three"]),
            write("b", 299_998, &["--"]),
            DiskRequest::Read { path: "b".into(), offset: 0, length: 2 * length },
        ];
        let (outcomes, _) = run(scratch.path(), requests);
        let mut expected = vec![0; length as usize];
        expected[..8].copy_from_slice(b"one--two");
        expected[299_998..300_005].copy_from_slice(b"--three");
        assert!(outcomes[8] == Ok(DiskOutcome::Read(expected.into())));
    }

    #[test]
    fn a_renamed_file_takes_its_writes_along_and_a_removed_one_is_gone() {
        let scratch = Scratch::new();
        let requests = vec![
            DiskRequest::Create { path: "a".into() },
            write("a", 0, &["1"]),
            DiskRequest::Rename { from: "a".into(), to: "b".into() },
            DiskRequest::Create { path: "a".into() },
            write("b", 1, &["2"]),
        ];
        assert!(run(scratch.path(), requests).0.iter().all(Result::is_ok));
        let (outcomes, _) = run(scratch.path(), vec![read("b")]);
        assert_eq!(outcomes[0], Ok(DiskOutcome::Read(Bytes::from_static(b"12"))));
        let requests = vec![DiskRequest::Remove { path: "b".into() }, write("b", 0, &["3"])];
        assert_eq!(kind(&run(scratch.path(), requests).0[1]), DiskErrorKind::NotFound);
    }

    #[test]
    fn errors_say_what_a_caller_can_act_on() {
        let scratch = Scratch::new();
        let requests = vec![
            DiskRequest::Create { path: "a".into() },
            DiskRequest::Create { path: "a".into() },
            read("missing"),
            DiskRequest::SyncFile { path: "missing".into() },
            write("../outside", 0, &["x"]),
            DiskRequest::Create { path: "/etc/x".into() },
            DiskRequest::List { path: "missing".into() },
            DiskRequest::Allocate { path: "a".into(), length: 1 << 50 },
        ];
        let (outcomes, counters) = run(scratch.path(), requests);
        assert_eq!(kind(&outcomes[1]), DiskErrorKind::Exists);
        assert_eq!(kind(&outcomes[2]), DiskErrorKind::NotFound);
        assert_eq!(kind(&outcomes[3]), DiskErrorKind::NotFound);
        assert_eq!(kind(&outcomes[4]), DiskErrorKind::Failed);
        assert_eq!(kind(&outcomes[5]), DiskErrorKind::Failed);
        assert_eq!(outcomes[6], Ok(DiskOutcome::Listed(Vec::new())));
        assert!(outcomes[7].is_err(), "a petabyte is not there");
        assert_eq!(counters.disk_errors.get(), 6);
        let message = &outcomes[2].as_ref().unwrap_err().message;
        assert!(message.starts_with("cannot read \"missing\":"), "{message}");
    }

    #[test]
    fn a_full_device_is_full_and_not_broken() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = crate::files::explained(&DiskRequest::FreeSpace, &full);
        assert_eq!(error.kind, DiskErrorKind::Full);
        let quota = std::io::Error::from_raw_os_error(122);
        assert_eq!(crate::files::explained(&DiskRequest::FreeSpace, &quota).kind, DiskErrorKind::Full);
        let broken = std::io::Error::from_raw_os_error(5);
        assert_eq!(crate::files::explained(&DiskRequest::FreeSpace, &broken).kind, DiskErrorKind::Failed);
    }

    #[test]
    fn syncs_with_only_writing_between_them_are_one() {
        let scratch = Scratch::new();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let sync = |path: &Arc<str>| DiskRequest::SyncFile { path: path.clone() };
        let requests = vec![
            DiskRequest::Create { path: a.clone() },
            DiskRequest::Create { path: b.clone() },
            write("a", 0, &["1"]),
            sync(&a),
            write("a", 1, &["2"]),
            sync(&a),
            sync(&a),
            // Another file's write in between: the journal may rely on the order, so nothing is shared.
            write("b", 0, &["3"]),
            sync(&a),
        ];
        let (outcomes, counters) = run(scratch.path(), requests);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!((counters.disk_syncs.get(), counters.disk_syncs_shared.get()), (2, 2));
    }
}

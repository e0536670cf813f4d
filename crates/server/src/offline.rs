//! A journal without a node: its operations carried out one after the other, as nobody waits.

use std::{path::Path, sync::Arc};

use quorate_consensus::DiskCompletion;
use quorate_journal::{Config, Identity as JournalIdentity, Journal, JournalEvent};

use crate::{
    counters::Counters,
    data_directory::{DataDirectory, Identity},
    files::Files,
    seed::SeedError,
};

pub(crate) struct Offline {
    pub(crate) journal: Journal,
    files: Files,
}

impl Offline {
    /// The journal of a directory, read as at every start.
    pub(crate) fn open(directory: &DataDirectory, identity: Identity) -> Result<Offline, SeedError> {
        let Identity { cluster, node, incarnation } = identity;
        let identity = JournalIdentity { cluster, node, incarnation };
        let files = Files::new(Path::to_owned(directory.path()), false, Arc::<Counters>::default());
        let mut offline = Offline { journal: Journal::open(Config::default(), identity), files };
        offline.until(|event| matches!(event, JournalEvent::Recovered(_)).then_some(()))?;
        Ok(offline)
    }

    /// Carries operations out until there are none, and finds what was waited for among what the journal said.
    pub(crate) fn until<T>(
        &mut self,
        mut find: impl FnMut(JournalEvent) -> Option<T>,
    ) -> Result<T, SeedError> {
        let mut found = None;
        self.settle(&mut |event| {
            if let Some(what) = find(event) {
                found = Some(what);
            }
        })?;
        found.ok_or_else(|| SeedError::Journal("it stopped before its end; please report this".to_owned()))
    }

    pub(crate) fn settle(&mut self, see: &mut dyn FnMut(JournalEvent)) -> Result<(), SeedError> {
        loop {
            self.journal.flush();
            let operations = self.journal.operations();
            if operations.is_empty() {
                return Ok(());
            }
            for operation in operations {
                let outcome = self.files.execute(&operation.request);
                let mut events = Vec::new();
                self.journal.complete(DiskCompletion { id: operation.id, outcome }, &mut events);
                for event in events {
                    match event {
                        JournalEvent::Failed(why) => return Err(SeedError::Journal(why.to_string())),
                        JournalEvent::Damaged(report) => return Err(SeedError::Damaged(report.to_string())),
                        JournalEvent::SnapshotFailed { .. } | JournalEvent::Full => {
                            return Err(SeedError::Journal("there is no room on the disk".to_owned()));
                        }
                        event => see(event),
                    }
                }
            }
        }
    }
}

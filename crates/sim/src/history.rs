//! What clients asked, when, and what they were told.

use std::{collections::BTreeMap, fmt};

/// A key, by number; on the wire it is `k` and the number.
pub type Key = u8;

/// The two keys that [`Call::PutPair`] writes together and nothing else writes.
pub const PAIR: [Key; 2] = [200, 201];

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Sets a key.
    Put {
        /// Which.
        key: Key,
        /// To what; no value is ever written twice.
        value: u64,
    },
    /// Sets a key if it has the expected value, or, with none expected, if it does not exist; else reads it.
    Cas {
        /// Which.
        key: Key,
        /// If it has this value.
        expected: Option<u64>,
        /// To what.
        value: u64,
    },
    /// Deletes a key.
    Delete {
        /// Which.
        key: Key,
    },
    /// Sets both keys of [`PAIR`] in one transaction.
    PutPair {
        /// To what.
        value: u64,
    },
    /// Sets a key and reads it, in one transaction; what was there before it is what it then read.
    PutGet {
        /// Which.
        key: Key,
        /// To what.
        value: u64,
    },
    /// Reads a key.
    Get {
        /// Which.
        key: Key,
        /// From the asked node's own state, however old.
        serializable: bool,
    },
    /// Reads all keys.
    List {
        /// From the asked node's own state, however old.
        serializable: bool,
    },
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stale = |serializable: &bool| if *serializable { ", however old" } else { "" };
        match self {
            Call::Put { key, value } => write!(f, "put k{key} = {value}"),
            Call::Cas { key, expected: Some(expected), value } => {
                write!(f, "if k{key} = {expected} put k{key} = {value}")
            }
            Call::Cas { key, expected: None, value } => write!(f, "if no k{key} put k{key} = {value}"),
            Call::Delete { key } => write!(f, "delete k{key}"),
            Call::PutPair { value } => write!(f, "put k{} and k{} = {value}", PAIR[0], PAIR[1]),
            Call::PutGet { key, value } => write!(f, "put k{key} = {value} and get it"),
            Call::Get { key, serializable } => write!(f, "get k{key}{}", stale(serializable)),
            Call::List { serializable } => write!(f, "get all{}", stale(serializable)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Write { revision, changed: true, .. } => write!(f, "done, revision {revision}"),
            Outcome::Write { changed: false, .. } => f.write_str("nothing to do"),
            Outcome::Read { items, .. } if items.is_empty() => f.write_str("nothing is there"),
            Outcome::Read { items, .. } => {
                let items: Vec<String> =
                    items.iter().map(|(key, seen)| format!("k{key} = {}", seen.value)).collect();
                f.write_str(&items.join(", "))
            }
            Outcome::Failed => f.write_str("refused"),
            Outcome::Unknown => f.write_str("no answer: perhaps done, perhaps not"),
        }
    }
}

impl Call {
    /// Does it go through the log?
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self, Call::Get { .. } | Call::List { .. })
    }

    /// What it writes.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        match self {
            Call::Put { value, .. }
            | Call::Cas { value, .. }
            | Call::PutPair { value }
            | Call::PutGet { value, .. } => Some(*value),
            Call::Delete { .. } | Call::Get { .. } | Call::List { .. } => None,
        }
    }

    /// May its answer be old?
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        matches!(self, Call::Get { serializable: true, .. } | Call::List { serializable: true })
    }
}

/// A key's value as a client sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The value.
    pub value: u64,
    /// The revision that created the key.
    pub created: u64,
    /// The revision that last set it.
    pub modified: u64,
    /// How often it was set since it was created.
    pub version: u64,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write was executed.
    Write {
        /// The answer's revision.
        revision: u64,
        /// A put and a deletion that found something change; a comparison may fail.
        changed: bool,
        /// What was there before, of the (first) key; of a [`Call::PutGet`] what it read.
        previous: Option<Seen>,
    },
    /// What was read.
    Read {
        /// The answer's revision.
        revision: u64,
        /// The keys.
        items: BTreeMap<Key, Seen>,
    },
    /// Certainly not done.
    Failed,
    /// Perhaps done; a read that gave no answer.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub id: u64,
    /// Who asked.
    pub client: u32,
    /// What.
    pub call: Call,
    /// When, in true virtual time.
    pub invoked: u64,
    /// When the answer came or was given up.
    pub returned: u64,
    /// The answer.
    pub outcome: Outcome,
}

/// What became of a write, according to the committed log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The entry.
    pub index: u64,
    /// The revision after it.
    pub revision: u64,
    /// It changed something.
    pub changed: bool,
    /// What was there before, of the (first) key.
    pub previous: Option<Seen>,
}

/// The keyspace as a specification: as plain as it can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What lives.
    pub keys: BTreeMap<Key, Seen>,
    /// The last revision.
    pub revision: u64,
}

impl Default for Model {
    fn default() -> Self {
        Model { keys: BTreeMap::new(), revision: 1 }
    }
}

impl Model {
    /// Carries a write out: did it change something, and what was there before?
    pub fn apply(&mut self, call: &Call) -> (bool, Option<Seen>) {
        match call {
            Call::Put { key, value } => {
                self.revision += 1;
                (true, self.put(*key, *value))
            }
            Call::PutPair { value } => {
                self.revision += 1;
                let previous = self.put(PAIR[0], *value);
                self.put(PAIR[1], *value);
                (true, previous)
            }
            Call::PutGet { key, value } => {
                self.revision += 1;
                self.put(*key, *value);
                (true, self.keys.get(key).copied())
            }
            Call::Cas { key, expected, value } => {
                let found = self.keys.get(key).copied();
                if found.map(|seen| seen.value) == *expected {
                    self.revision += 1;
                    self.put(*key, *value);
                    (true, found)
                } else {
                    (false, found)
                }
            }
            Call::Delete { key } => {
                let found = self.keys.remove(key);
                self.revision += u64::from(found.is_some());
                (found.is_some(), found)
            }
            Call::Get { .. } | Call::List { .. } => (false, None),
        }
    }

    fn put(&mut self, key: Key, value: u64) -> Option<Seen> {
        let found = self.keys.get(&key).copied();
        let created = found.map_or(self.revision, |seen| seen.created);
        let version = found.map_or(1, |seen| seen.version + 1);
        self.keys.insert(key, Seen { value, created, modified: self.revision, version });
        found
    }
}

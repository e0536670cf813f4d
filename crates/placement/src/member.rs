//! A member and a group's place, and their bytes.
//!
//! ```text
//! member = id (u64) · name · peer URLs · client URLs · learner · registered · [incarnation (u64)]
//! group  = id (varint) · kind · engine
//! URLs   = a count, then so many strings
//! ```

use quorate_consensus::{DecodeError, EngineKind, GroupId, Incarnation, NodeId, Reader, Writer};

use crate::{NAME_BYTES_MAX, URL_BYTES_MAX, URLS_MAX};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id; never zero, never given twice.
    pub id: NodeId,
    /// Its name, empty until it has published one: "not started yet" in etcd's words.
    pub name: String,
    /// Where its peers reach it: at least one, no other member's. In the state: sorted, each once.
    pub peer_urls: Vec<String>,
    /// Where clients reach it. In the state: sorted, each once.
    pub client_urls: Vec<String>,
    /// It receives the log and does not vote.
    pub learner: bool,
    /// The identity of its disk, from the first time it came up.
    pub incarnation: Option<Incarnation>,
}

impl Member {
    /// A member that has not come up yet.
    #[must_use]
    pub fn new(id: NodeId, peer_urls: Vec<String>, learner: bool) -> Member {
        Member { id, name: String::new(), peer_urls, client_urls: Vec::new(), learner, incarnation: None }
    }

    /// The fewest bytes a member takes.
    pub(crate) const BYTES_MIN: usize = 8 + 1 + 1 + 1 + 1 + 1;
    /// The most bytes a member takes that is within the limits; varints are counted with ten bytes each.
    pub(crate) const BYTES_MAX: usize =
        8 + 10 + NAME_BYTES_MAX + 2 * (10 + URLS_MAX * (10 + URL_BYTES_MAX)) + 1 + 1 + 8;

    pub(crate) fn encode(&self, to: &mut Writer) {
        to.u64(self.id.0);
        to.bytes(self.name.as_bytes());
        write_urls(&self.peer_urls, to);
        write_urls(&self.client_urls, to);
        to.bool(self.learner);
        to.bool(self.incarnation.is_some());
        if let Some(incarnation) = self.incarnation {
            to.u64(incarnation.0);
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Member, DecodeError> {
        Ok(Member {
            id: NodeId(from.u64()?),
            name: read_name(from)?,
            peer_urls: read_urls(from)?,
            client_urls: read_urls(from)?,
            learner: from.bool()?,
            incarnation: if from.bool()? { Some(Incarnation(from.u64()?)) } else { None },
        })
    }

    /// What it counts for in [`size_bytes`](quorate_consensus::StateMachine::size_bytes).
    pub(crate) fn size_bytes(&self) -> u64 {
        let urls = self.peer_urls.iter().chain(&self.client_urls).map(|url| 8 + url.len()).sum::<usize>();
        (32 + self.name.len() + urls) as u64
    }
}

/// What a group's state machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKind {
    /// Placement itself.
    Meta,
    /// etcd's keys, or one shard of them.
    Keys,
    /// ZooKeeper's tree.
    Tree,
    /// The order over the shards of keys.
    Order,
}

/// What a group is and what drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupPlace {
    /// Its state machine.
    pub kind: GroupKind,
    /// Its protocol.
    pub engine: EngineKind,
}

impl GroupPlace {
    pub(crate) const BYTES_MIN: usize = 3;
    pub(crate) const BYTES_MAX: usize = 12;

    pub(crate) fn encode(self, id: GroupId, to: &mut Writer) {
        let (kind, engine) = self.tags();
        to.varint(id.0);
        to.u8(kind);
        to.u8(engine);
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<(GroupId, GroupPlace), DecodeError> {
        let id = GroupId(from.varint()?);
        let kind = match from.u8()? {
            1 => GroupKind::Meta,
            2 => GroupKind::Keys,
            3 => GroupKind::Tree,
            4 => GroupKind::Order,
            value => return Err(DecodeError::Unknown { what: "kind of group", value: value.into() }),
        };
        let engine = match from.u8()? {
            1 => EngineKind::Raft,
            2 => EngineKind::Zab,
            value => return Err(DecodeError::Unknown { what: "engine", value: value.into() }),
        };
        Ok((id, GroupPlace { kind, engine }))
    }

    pub(crate) fn tags(self) -> (u8, u8) {
        let kind = match self.kind {
            GroupKind::Meta => 1,
            GroupKind::Keys => 2,
            GroupKind::Tree => 3,
            GroupKind::Order => 4,
        };
        let engine = match self.engine {
            EngineKind::Raft => 1,
            EngineKind::Zab => 2,
        };
        (kind, engine)
    }
}

pub(crate) fn write_urls(urls: &[String], to: &mut Writer) {
    to.varint(urls.len() as u64);
    for url in urls {
        to.bytes(url.as_bytes());
    }
}

pub(crate) fn read_urls(from: &mut Reader) -> Result<Vec<String>, DecodeError> {
    let count = bounded(from.count(1)?, URLS_MAX, "number of URLs")?;
    (0..count).map(|_| read_string(from, URL_BYTES_MAX, "length of a URL")).collect()
}

pub(crate) fn read_name(from: &mut Reader) -> Result<String, DecodeError> {
    read_string(from, NAME_BYTES_MAX, "length of a name")
}

pub(crate) fn bounded(count: usize, max: usize, what: &'static str) -> Result<usize, DecodeError> {
    if count > max { Err(DecodeError::Invalid { what }) } else { Ok(count) }
}

fn read_string(from: &mut Reader, bytes_max: usize, what: &'static str) -> Result<String, DecodeError> {
    let bytes = from.bytes()?;
    bounded(bytes.len(), bytes_max, what)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError::Invalid { what: "UTF-8" })
}

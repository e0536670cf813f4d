//! A znode in memory: one piece of bytes, of which the beginning is its key.
//!
//! ```text
//! record = length of key (u16) · key · flags · czxid · ctime · [mzxid · mtime · version] · [pzxid] · [aversion]
//!          · [owner] · [acl] · [directory · children · cversion] · [data]
//! key    = the parent's directory number, ordered as bytes · name
//! ```
//!
//! Most znodes are never written again, have no children and the common ACL: of eleven stat fields two are stored, and a znode costs
//! its name, its data and some thirty bytes. A path is stored nowhere; it is the way from the root. A znode gets a directory number
//! with its first child and keeps it: numbers only rise, so a parent's record stands before those of its children.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Writer};

use crate::codec::write_signed;
use crate::limits::{DATA_BYTES_MAX, PATH_BYTES_MAX, TTL_MS_MAX};
use crate::meta::{Meta, Owner};
use crate::tree::Item;
use crate::{SessionId, Stat};

/// A directory number as bytes whose order is its own: its length, then its bytes, most significant first.
pub(crate) fn write_directory(directory: u64, to: &mut Vec<u8>) {
    let bytes = directory.to_be_bytes();
    let skip = bytes.iter().take_while(|byte| **byte == 0).count();
    to.push((8 - skip) as u8);
    to.extend_from_slice(&bytes[skip..]);
}

fn read_directory(key: &[u8]) -> Option<(u64, &[u8])> {
    let (length, rest) = key.split_first()?;
    let (bytes, name) = rest.split_at_checked((*length).into())?;
    if bytes.len() > 8 || bytes.first() == Some(&0) {
        return None;
    }
    Some((bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), name))
}

const HAS_DATA: u64 = 1;
const WRITTEN: u64 = 2;
const HAS_PZXID: u64 = 4;
const ACL_WRITTEN: u64 = 8;
const HAS_ACL: u64 = 16;
const IS_DIRECTORY: u64 = 32;
/// Two bits: 0 nobody, 1 session, 2 container, 3 time to live. The last makes the flags two bytes long.
const OWNER_SHIFT: u32 = 6;

/// Data of fewer bytes is copied out of its record.
const SHARED_BYTES_MIN: usize = 1024;

/// The end of a record.
struct Tail {
    record: Arc<[u8]>,
    start: usize,
}

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        &self.record[self.start..]
    }
}

/// A znode, packed. Never changes: a change puts another in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record(Arc<[u8]>);

impl Item for Record {
    fn key(&self) -> &[u8] {
        &self.0[2..2 + self.key_bytes()]
    }
}

impl Record {
    pub(crate) fn new(key: &[u8], meta: &Meta, data: Option<&[u8]>) -> Record {
        let mut to = Writer::with_capacity(key.len() + data.map_or(0, <[u8]>::len) + 64);
        to.raw(&u16::try_from(key.len()).expect("paths have a limit").to_le_bytes());
        to.raw(key);
        write_meta(meta, data.is_some(), &mut to);
        to.raw(data.unwrap_or(&[]));
        Record(Arc::from(to.as_slice()))
    }

    /// Takes bytes from outside; they must be the one encoding of some znode.
    pub(crate) fn read(bytes: &[u8]) -> Result<Record, DecodeError> {
        let invalid = DecodeError::Invalid { what: "znode of a snapshot" };
        let length = bytes.first_chunk::<2>().map_or(0, |length| u16::from_le_bytes(*length).into());
        let (key, rest) = bytes.get(2..).and_then(|rest| rest.split_at_checked(length)).ok_or(invalid)?;
        let (_, name) = read_directory(key).ok_or(invalid)?;
        let (meta, data) = read_meta(rest).ok_or(invalid)?;
        let sound = name.len() < PATH_BYTES_MAX
            && std::str::from_utf8(name).is_ok()
            && data.is_none_or(|data| data.len() <= DATA_BYTES_MAX)
            && (meta.directory.is_some() || meta.children == 0 && meta.created == 0)
            && meta.directory != Some(0)
            && match meta.owner {
                Owner::Ttl(ms) => (1..=TTL_MS_MAX).contains(&ms),
                Owner::Session(_) => meta.directory.is_none(),
                Owner::Nobody | Owner::Container => true,
            };
        let record = Record::new(key, &meta, data);
        if sound && *record.0 == *bytes { Ok(record) } else { Err(invalid) }
    }

    fn key_bytes(&self) -> usize {
        u16::from_le_bytes([self.0[0], self.0[1]]).into()
    }

    /// All of it, for a snapshot.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The data, to be kept. Much of it shares the record's memory, little is copied: that is cheaper than to count who shares.
    pub(crate) fn data(&self) -> Option<Bytes> {
        let data = self.open().1?;
        if data.len() < SHARED_BYTES_MIN {
            return Some(Bytes::copy_from_slice(data));
        }
        let start = self.0.len() - data.len();
        Some(Bytes::from_owner(Tail { record: Arc::clone(&self.0), start }))
    }

    pub(crate) fn name(&self) -> &str {
        let (_, name) = read_directory(self.key()).expect("a record is whole");
        std::str::from_utf8(name).expect("names are UTF-8")
    }

    pub(crate) fn open(&self) -> (Meta, Option<&[u8]>) {
        read_meta(&self.0[2 + self.key_bytes()..]).expect("a record is whole")
    }

    pub(crate) fn meta(&self) -> Meta {
        self.open().0
    }

    pub(crate) fn data_bytes(&self) -> usize {
        self.open().1.map_or(0, <[u8]>::len)
    }

    pub(crate) fn stat(&self) -> Stat {
        let (meta, data) = self.open();
        meta.stat(data.map_or(0, <[u8]>::len))
    }
}

fn write_meta(meta: &Meta, has_data: bool, to: &mut Writer) {
    let written = meta.mzxid != meta.czxid || meta.mtime != meta.ctime || meta.version != 0;
    let owner = match meta.owner {
        Owner::Nobody => 0,
        Owner::Session(_) => 1,
        Owner::Container => 2,
        Owner::Ttl(_) => 3,
    };
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    to.varint(
        flag(has_data, HAS_DATA)
            | flag(written, WRITTEN)
            | flag(meta.pzxid != meta.czxid, HAS_PZXID)
            | flag(meta.aversion != 0, ACL_WRITTEN)
            | flag(meta.acl != 0, HAS_ACL)
            | flag(meta.directory.is_some(), IS_DIRECTORY)
            | owner << OWNER_SHIFT,
    );
    to.varint(meta.czxid);
    write_signed(to, meta.ctime);
    if written {
        to.varint(meta.mzxid);
        write_signed(to, meta.mtime);
        write_signed(to, meta.version.into());
    }
    if meta.pzxid != meta.czxid {
        to.varint(meta.pzxid);
    }
    if meta.aversion != 0 {
        write_signed(to, meta.aversion.into());
    }
    match meta.owner {
        Owner::Nobody | Owner::Container => {}
        Owner::Session(session) => write_signed(to, session.0),
        Owner::Ttl(ms) => to.varint(ms as u64),
    }
    if meta.acl != 0 {
        to.varint(meta.acl);
    }
    if let Some(directory) = meta.directory {
        to.varint(directory);
        to.varint(meta.children.into());
        write_signed(to, meta.created.into());
    }
}

fn read_meta(bytes: &[u8]) -> Option<(Meta, Option<&[u8]>)> {
    let mut from = Slice(bytes);
    let flags = from.varint()?;
    if flags >= 4 << OWNER_SHIFT {
        return None;
    }
    let mut meta = Meta::new(from.varint()?, 0, Owner::Nobody, 0);
    meta.ctime = from.signed()?;
    meta.mtime = meta.ctime;
    if flags & WRITTEN != 0 {
        meta.mzxid = from.varint()?;
        meta.mtime = from.signed()?;
        meta.version = from.number()?;
    }
    if flags & HAS_PZXID != 0 {
        meta.pzxid = from.varint()?;
    }
    if flags & ACL_WRITTEN != 0 {
        meta.aversion = from.number()?;
    }
    meta.owner = match flags >> OWNER_SHIFT {
        0 => Owner::Nobody,
        1 => Owner::Session(SessionId(from.signed()?)),
        2 => Owner::Container,
        _ => Owner::Ttl(i64::try_from(from.varint()?).ok()?),
    };
    if flags & HAS_ACL != 0 {
        meta.acl = from.varint()?;
    }
    if flags & IS_DIRECTORY != 0 {
        meta.directory = Some(from.varint()?);
        meta.children = u32::try_from(from.varint()?).ok()?;
        meta.created = from.number()?;
    }
    match (flags & HAS_DATA != 0, from.0) {
        (true, data) => Some((meta, Some(data))),
        (false, []) => Some((meta, None)),
        (false, _) => None,
    }
}

/// Reads from borrowed bytes: a record is opened with every look at it, and shares nothing.
struct Slice<'a>(&'a [u8]);

impl Slice<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn number(&mut self) -> Option<i32> {
        i32::try_from(self.signed()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meta() -> impl Strategy<Value = Meta> {
        let owner = prop_oneof![
            Just(Owner::Nobody),
            any::<i64>().prop_map(|id| Owner::Session(SessionId(id))),
            Just(Owner::Container),
            (1..=TTL_MS_MAX).prop_map(Owner::Ttl),
        ];
        let zxid = || prop_oneof![Just(7u64), any::<u64>()];
        let number = || prop_oneof![Just(0i32), any::<i32>()];
        let family = prop_oneof![Just(None), (1..u64::MAX, any::<u32>(), number()).prop_map(Some)];
        ((zxid(), zxid(), zxid()), any::<(i64, bool, i64)>(), (number(), number()), owner, 0..300u64, family)
            .prop_map(
                |((czxid, mzxid, pzxid), (ctime, same, mtime), (version, aversion), owner, acl, family)| {
                    let family = family.filter(|_| !matches!(owner, Owner::Session(_)));
                    let (directory, children, created) =
                        family.map_or((None, 0, 0), |(d, n, c)| (Some(d), n, c));
                    let mtime = if same { ctime } else { mtime };
                    Meta {
                        czxid,
                        mzxid,
                        pzxid,
                        ctime,
                        mtime,
                        version,
                        aversion,
                        created,
                        children,
                        owner,
                        acl,
                        directory,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn a_record_reads_back_and_nothing_else_is_one(
            meta in meta(), directory: u64, name in "[a-zü]{0,20}", data in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            at: prop::sample::Index, with: u8,
        ) {
            let mut key = Vec::new();
            write_directory(directory, &mut key);
            key.extend_from_slice(name.as_bytes());
            let record = Record::new(&key, &meta, data.as_deref());
            prop_assert_eq!(record.open(), (meta, data.as_deref()));
            prop_assert_eq!((record.name(), record.key()), (name.as_str(), &key[..]));
            prop_assert_eq!(read_directory(&key), Some((directory, name.as_bytes())));
            prop_assert_eq!(Record::read(record.bytes()), Ok(record.clone()));
            let mut bytes = record.bytes().to_vec();
            bytes[at.index(record.bytes().len())] = with;
            if let Ok(other) = Record::read(&bytes) {
                prop_assert_eq!(other.bytes(), &bytes[..]);
            }
            let _ = Record::read(&bytes[..at.index(bytes.len())]);
        }

        #[test]
        fn directories_are_ordered_as_their_bytes(a: u64, b: u64) {
            let bytes = |number| { let mut to = Vec::new(); write_directory(number, &mut to); to };
            prop_assert_eq!(a.cmp(&b), bytes(a).cmp(&bytes(b)));
            prop_assert!(!bytes(a).starts_with(&bytes(b)) || a == b);
        }
    }

    #[test]
    fn a_plain_znode_takes_few_bytes() {
        let mut key = Vec::new();
        write_directory(1000, &mut key);
        key.extend_from_slice(b"instance-0000000001");
        let meta = Meta::new(3 << 32 | 1_000_000, 1_760_000_000_000, Owner::Nobody, 0);
        assert!(Record::new(&key, &meta, Some(b"")).bytes().len() <= 19 + 20);
    }
}

//! Reading a snapshot back. It may come from anywhere: nothing is believed that can be checked.

use bytes::Bytes;
use quorate_consensus::{DecodeError, Reader, RestoreError};

use crate::limits::{CHILDREN_MAX, DATA_BYTES_MAX, EPHEMERALS_MAX, PATH_BYTES_MAX, SESSIONS_MAX};
use crate::meta::Owner;
use crate::path::check_path;
use crate::quota;
use crate::record::Record;
use crate::session::Session;
use crate::snapshot::{ACL, END, SESSION, VERSION, ZNODE};
use crate::store::{Place, ROOT_DIRECTORY, Store};
use crate::tree::Item;

/// No item is longer: a record's data, its name and its numbers.
const ITEM_BYTES_MAX: usize = DATA_BYTES_MAX + 2 * PATH_BYTES_MAX + 1024;

pub(crate) fn read(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Store, RestoreError> {
    let mut from = Source { chunks, chunk: Bytes::new() };
    let version = from.varint()?;
    if version != VERSION {
        return Err(RestoreError::Version(version));
    }
    let mut store = Store::empty();
    store.zxid = from.varint()?;
    store.directories = from.varint()?;
    let last_acl = from.varint()?;
    if store.zxid > i64::MAX as u64 {
        return Err(invalid("zxid of a snapshot"));
    }

    let mut last = (ACL, Vec::new());
    loop {
        let tag = from.u8()?;
        if tag == END {
            break;
        }
        let item = from.bytes()?;
        let key = match tag {
            ACL => read_acl(&mut store, &item)?,
            SESSION => read_session(&mut store, &item)?,
            ZNODE => read_znode(&mut store, &item)?,
            _ => return Err(invalid("tag of an item")),
        };
        let this = (tag, key);
        if !last.1.is_empty() && last >= this || last.0 > tag {
            return Err(invalid("order of items"));
        }
        last = this;
    }
    let expected = from.u64()?;
    from.finish()?;

    if store.acls.last > last_acl {
        return Err(invalid("last ACL of a snapshot"));
    }
    store.acls.last = last_acl;
    let records = store.node_count;
    store.node_count = 0;
    count(&mut store, records)?;
    let found = store.digest();
    if found == expected { Ok(store) } else { Err(RestoreError::Digest { expected, found }) }
}

fn invalid(what: &'static str) -> RestoreError {
    RestoreError::Malformed(DecodeError::Invalid { what })
}

/// Each of these returns by what items of its kind are ordered.
fn read_acl(store: &mut Store, item: &Bytes) -> Result<Vec<u8>, RestoreError> {
    let mut from = Reader::new(item.clone());
    let id = from.varint()?;
    store.acls.restore(id, Bytes::copy_from_slice(&from.rest()))?;
    Ok(id.to_be_bytes().to_vec())
}

fn read_session(store: &mut Store, item: &Bytes) -> Result<Vec<u8>, RestoreError> {
    let mut from = Reader::new(item.clone());
    let session = Session::decode(&mut from)?;
    from.finish()?;
    if store.session_count >= SESSIONS_MAX {
        return Err(invalid("number of sessions"));
    }
    let key = std::sync::Arc::new(session.clone()).key().to_vec();
    store.put_session(session);
    Ok(key)
}

fn read_znode(store: &mut Store, item: &Bytes) -> Result<Vec<u8>, RestoreError> {
    let record = Record::read(item)?;
    let meta = record.meta();
    let known = meta.czxid <= store.zxid && meta.mzxid <= store.zxid && meta.pzxid <= store.zxid;
    if !known || meta.directory.is_some_and(|directory| directory > store.directories) {
        return Err(invalid("number of a znode"));
    }
    let key = record.key().to_vec();
    store.nodes.insert(record);
    store.node_count += 1;
    Ok(key)
}

/// Walks the tree from its root and counts everything that is not in the snapshot. Every record must be met exactly once: with its
/// path, below a parent that counts it.
fn count(store: &mut Store, records: u64) -> Result<(), RestoreError> {
    let tree = store.nodes.clone();
    let root = store.find("/").map(|(_, record)| record.clone());
    let root = root.filter(|root| root.meta().directory == Some(ROOT_DIRECTORY));
    let root = root.ok_or_else(|| invalid("snapshot without a root"))?;
    let mut open = vec![("/".to_owned(), Place::ROOT.spot, root)];
    while let Some((path, spot, record)) = open.pop() {
        let (meta, data) = record.open();
        check_znode(store, &path, &record)?;
        let known = store.acls.find(meta.acl).is_some_and(|interned| interned.uses > 0);
        if !known || !quorate_consensus::planted!("S11") {
            store.acls.count(meta.acl, 1);
        }
        store.quotas += u64::from(quota::is_limits(&path));
        store.count_in(Place { spot, path: &path }, &meta, data);
        if let Owner::Session(session) = meta.owner
            && quorate_consensus::planted!("S14")
        {
            store.ephemerals.remove(session.0, &path);
        }
        let Some(directory) = meta.directory else { continue };
        let mut children = 0u32;
        let first = crate::store::key(directory, "");
        for child in tree.with_prefix(&first) {
            children = children.saturating_add(1);
            let name = child.name();
            if name.is_empty() || name.contains('/') {
                return Err(invalid("name of a znode"));
            }
            let below = if path == "/" { format!("/{name}") } else { format!("{path}/{name}") };
            open.push((below, spot.child(directory, name), child.clone()));
        }
        // Two parents with one number would have each other's children, and be counted twice.
        if children != meta.children || store.node_count > records {
            return Err(invalid("number of children"));
        }
    }
    if store.node_count != records {
        return Err(invalid("znode without a parent"));
    }
    if store.acls.iter().any(|interned| interned.uses == 0) {
        return Err(invalid("ACL that nobody has"));
    }
    let reserved = ["/zookeeper", "/zookeeper/config", "/zookeeper/quota"];
    if reserved.iter().any(|path| store.find(path).is_none()) {
        return Err(invalid("snapshot without what every tree has"));
    }
    Ok(())
}

fn check_znode(store: &Store, path: &str, record: &Record) -> Result<(), RestoreError> {
    let meta = record.meta();
    if check_path(path).is_err() || path.len() > PATH_BYTES_MAX || meta.children > CHILDREN_MAX {
        return Err(invalid("path of a znode"));
    }
    if store.acls.find(meta.acl).is_none() {
        return Err(invalid("ACL of a znode"));
    }
    match meta.owner {
        Owner::Session(id) => match store.session(id) {
            Some(session) if session.ephemerals < EPHEMERALS_MAX => Ok(()),
            Some(_) | None => Err(invalid("session of an ephemeral")),
        },
        Owner::Nobody | Owner::Container | Owner::Ttl(_) => Ok(()),
    }
}

/// Reads across chunks. Whatever is kept gets memory of its own, so that no chunk outlives the restoring.
struct Source<'a> {
    chunks: &'a mut dyn Iterator<Item = Bytes>,
    chunk: Bytes,
}

impl Source<'_> {
    /// Makes sure that there is a byte.
    fn more(&mut self) -> Result<(), RestoreError> {
        while self.chunk.is_empty() {
            self.chunk = self.chunks.next().ok_or(RestoreError::Incomplete)?;
        }
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, RestoreError> {
        self.more()?;
        Ok(self.chunk.split_to(1)[0])
    }

    fn u64(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0;
        for shift in (0..64).step_by(8) {
            value |= u64::from(self.u8()?) << shift;
        }
        Ok(value)
    }

    fn varint(&mut self) -> Result<u64, RestoreError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(invalid("varint")) } else { Ok(value) };
            }
        }
        Err(invalid("varint"))
    }

    fn bytes(&mut self) -> Result<Bytes, RestoreError> {
        let length = usize::try_from(self.varint()?).ok().filter(|length| *length <= ITEM_BYTES_MAX);
        let length = length.ok_or_else(|| invalid("length of an item"))?;
        if length <= self.chunk.len() {
            return Ok(self.chunk.split_to(length));
        }
        // The length is only a claim: memory is taken as the bytes come.
        let mut bytes = Vec::new();
        while bytes.len() < length {
            self.more()?;
            let part = self.chunk.split_to(self.chunk.len().min(length - bytes.len()));
            bytes.extend_from_slice(&part);
        }
        Ok(Bytes::from(bytes))
    }

    /// Says that nothing may be left.
    fn finish(mut self) -> Result<(), RestoreError> {
        match self.more() {
            Err(RestoreError::Incomplete) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(RestoreError::Malformed(DecodeError::Trailing { bytes: self.chunk.len() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Meta;
    use crate::snapshot::Snapshot;
    use crate::store::key;
    use crate::{Acl, Permissions, SessionId};

    /// What a snapshot of a tree that was spoilt is refused for.
    fn refused(spoil: impl FnOnce(&mut Store)) -> &'static str {
        let mut store = Store::new();
        store.zxid = 9;
        spoil(&mut store);
        match read(&mut Snapshot::of(&store)) {
            Err(RestoreError::Malformed(DecodeError::Invalid { what })) => what,
            other => panic!("{other:?} does not say what is wrong"),
        }
    }

    fn plant(store: &mut Store, directory: u64, name: &str, change: impl FnOnce(&mut Meta)) {
        let mut meta = Meta::new(1, 0, Owner::Nobody, 0);
        change(&mut meta);
        store.nodes.insert(Record::new(&key(directory, name), &meta, None));
        store.change(Place::ROOT, |root| root.children += u32::from(directory == ROOT_DIRECTORY));
    }

    #[test]
    fn k6_s11_what_no_log_can_lead_to_is_refused() {
        assert!(read(&mut Snapshot::of(&Store::new())).is_ok());
        let root = ROOT_DIRECTORY;
        assert_eq!(refused(|store| plant(store, root, "a/b", |_| {})), "name of a znode");
        assert_eq!(refused(|store| plant(store, root, "", |_| {})), "name of a znode");
        assert_eq!(refused(|store| plant(store, root, "..", |_| {})), "path of a znode");
        assert_eq!(refused(|store| plant(store, root, "a", |meta| meta.acl = 77)), "ACL of a znode");
        let orphan = |meta: &mut Meta| meta.owner = Owner::Session(SessionId(9));
        assert_eq!(refused(|store| plant(store, root, "a", orphan)), "session of an ephemeral");
        assert_eq!(refused(|store| plant(store, 2, "a", |_| {})), "number of children");
        assert_eq!(refused(|store| plant(store, 99, "a", |_| {})), "znode without a parent");
        assert_eq!(refused(|store| plant(store, 0, "a", |_| {})), "znode without a parent");
        let itself = |meta: &mut Meta| (meta.directory, meta.children) = (Some(root), 4);
        assert_eq!(refused(|store| plant(store, root, "a", itself)), "number of children");
        assert_eq!(refused(|store| plant(store, root, "a", |meta| meta.pzxid = 10)), "number of a znode");
        assert_eq!(
            refused(|store| plant(store, root, "a", |meta| meta.directory = Some(50))),
            "number of a znode"
        );
        let nobodys = |store: &mut Store| _ = store.acls.take(&[Acl::world(Permissions(3))]);
        assert_eq!(refused(nobodys), "ACL that nobody has");
        assert_eq!(refused(|store| store.acls.last = 0), "last ACL of a snapshot");
        let quota = |store: &mut Store| {
            let (place, _) = store.find("/zookeeper/quota").unwrap();
            store.remove(place);
            let (place, _) = store.find("/zookeeper").unwrap();
            store.change(place, |meta| meta.children -= 1);
        };
        assert_eq!(refused(quota), "snapshot without what every tree has");
    }
}

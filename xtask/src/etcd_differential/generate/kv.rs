//! Calls of KV: every option, and what no well-behaved client sends.

use bytes::Bytes;
use quorate_client::wire::etcdserverpb::{
    self as pb, compare::TargetUnion, request_op::Request as Operation,
};

use super::{Call, World};

/// How deep transactions are nested, at most.
pub(super) const DEPTH_MAX: u64 = 3;
/// More operations than a transaction may have.
const TOO_MANY: u64 = 129;
/// A value larger than a request may be, and one larger than a message.
const TOO_LARGE: [usize; 2] = [1_600_000, 2_300_000];

impl World {
    pub(super) fn key(&mut self) -> Bytes {
        match self.random.below(40) {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\0"),
            2 => Bytes::from_static(b"\xff\xfe"),
            3..12 => format!("dir/{}", self.random.below(8)).into(),
            _ => Bytes::from(vec![b'a' + self.random.below(12) as u8]),
        }
    }

    pub(super) fn range_end(&mut self, key: &Bytes) -> Bytes {
        match self.random.below(12) {
            0..6 => Bytes::new(),
            6 => Bytes::from_static(b"\0"),
            7 => Bytes::from_static(b"dir0"),
            8 => [&key[..], b"\0"].concat().into(),
            9 => key.clone(),
            _ => self.key(),
        }
    }

    pub(super) fn value(&mut self) -> Bytes {
        match self.random.below(30) {
            0 => Bytes::new(),
            1 => Bytes::from(vec![b'x'; 2_000]),
            2 => Bytes::from_static(b"\0\xff"),
            _ => format!("{}", self.random.below(50)).into(),
        }
    }

    /// Off, mostly.
    fn bound(&mut self) -> i64 {
        if self.one_in(8) { self.some_revision() } else { 0 }
    }

    pub(super) fn range(&mut self) -> pb::RangeRequest {
        let key = self.key();
        pb::RangeRequest {
            range_end: self.range_end(&key),
            key,
            limit: self.pick(&[0, 0, 0, 1, 2, 3, 5, 1_000, -1, i64::MIN]),
            revision: if self.one_in(3) { self.some_revision() } else { 0 },
            sort_order: self.pick(&[0, 0, 0, 0, 1, 1, 1, 2, 2, 2]),
            sort_target: self.pick(&[0, 0, 0, 1, 2, 3, 4]),
            serializable: self.one_in(4),
            keys_only: self.one_in(6),
            count_only: self.one_in(10),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    pub(super) fn put(&mut self) -> pb::PutRequest {
        let lease = match self.random.below(6) {
            0 => self.some_lease(),
            _ => 0,
        };
        let ignore_value = self.one_in(12);
        pb::PutRequest {
            key: self.key(),
            value: if ignore_value && !self.one_in(4) { Bytes::new() } else { self.value() },
            lease,
            prev_kv: self.one_in(3),
            ignore_value,
            ignore_lease: self.one_in(12),
        }
    }

    pub(super) fn delete(&mut self) -> pb::DeleteRangeRequest {
        let key = self.key();
        pb::DeleteRangeRequest { range_end: self.range_end(&key), key, prev_kv: self.one_in(2) }
    }

    pub(super) fn txn(&mut self, depth: u64) -> pb::TxnRequest {
        let many = if depth == 0 && self.one_in(60) { TOO_MANY } else { 0 };
        let compares = self.random.below(4);
        let (then, otherwise) = (self.random.below(4) + many, self.random.below(3));
        // Some only read: those go another way.
        let reads = depth == 0 && self.one_in(4);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: (0..then).map(|_| self.operation(depth, reads)).collect(),
            failure: (0..otherwise).map(|_| self.operation(depth, reads)).collect(),
        }
    }

    fn operation(&mut self, depth: u64, reads: bool) -> pb::RequestOp {
        let drawn = if reads { 0 } else { self.random.below(24) };
        let request = match drawn {
            0..8 => Operation::RequestRange(self.range()),
            8..16 => Operation::RequestPut(self.put()),
            16..20 => {
                let mut delete = self.delete();
                // Without an end, and with a put behind its beginning: that etcd lets through, and the stores would be apart.
                if &delete.range_end[..] == b"\0" {
                    delete.range_end = Bytes::new();
                }
                Operation::RequestDeleteRange(delete)
            }
            20..23 if depth < DEPTH_MAX => Operation::RequestTxn(self.txn(depth + 1)),
            23 => return pb::RequestOp { request: None },
            _ => Operation::RequestPut(self.put()),
        };
        pb::RequestOp { request: Some(request) }
    }

    fn compare(&mut self) -> pb::Compare {
        let key = self.key();
        let small = self.random.below(4) as i64;
        let union = match self.random.below(7) {
            0 => Some(TargetUnion::Version(small)),
            1 => Some(TargetUnion::CreateRevision(self.some_revision())),
            2 => Some(TargetUnion::ModRevision(self.some_revision())),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(self.some_lease())),
            5 => Some(TargetUnion::CreateRevision(0)),
            _ => None,
        };
        // What is compared is usually what is given.
        let target = match &union {
            _ if self.one_in(8) => self.pick(&[0, 1, 2, 3, 4]),
            None => self.pick(&[0, 1, 2, 3, 4]),
            Some(TargetUnion::Version(_)) => 0,
            Some(TargetUnion::CreateRevision(_)) => 1,
            Some(TargetUnion::ModRevision(_)) => 2,
            Some(TargetUnion::Value(_)) => 3,
            Some(TargetUnion::Lease(_)) => 4,
        };
        let range_end = if self.one_in(4) { self.range_end(&key) } else { Bytes::new() };
        let result = self.random.below(4) as i32;
        pb::Compare { result, target, key, range_end, target_union: union }
    }

    pub(super) fn compact(&mut self) -> Call {
        let revision = match self.random.below(6) {
            0 => self.some_revision(),
            _ => (self.revision - self.random.below(60) as i64).max(0),
        };
        Call::Compact(pb::CompactionRequest { revision, physical: self.one_in(2) })
    }

    /// What takes much, or is too much, or is nothing that exists.
    pub(super) fn heavy(&mut self) -> Vec<Call> {
        match self.random.below(4) {
            0 => {
                let value = Bytes::from(vec![b'x'; self.pick(&TOO_LARGE)]);
                let mut put = self.put();
                (put.value, put.ignore_value) = (value, false);
                vec![Call::Put(put)]
            }
            1 => self.fragments(),
            2 => {
                let mut txn = self.txn(0);
                let value = Bytes::from(vec![b'x'; self.pick(&TOO_LARGE)]);
                let put = pb::PutRequest { key: "large".into(), value, ..Default::default() };
                txn.success.push(pb::RequestOp { request: Some(Operation::RequestPut(put)) });
                vec![Call::Txn(txn)]
            }
            _ => vec![Call::Range(self.range())],
        }
    }
}

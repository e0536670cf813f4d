//! Requests made once: a path ends in digits, and only those and the xid change from one to the next.

use std::ops::Range;

use quorate_wire::zookeeper::{Acl, CreateRequest, GetDataRequest, Id, Request, SetDataRequest, SyncRequest};

use crate::Fallible;

/// Bytes of data in every znode.
pub(crate) const DATA_BYTES: usize = 100;
/// How many znodes setData and getData go round.
pub(crate) const ZNODES: u64 = 1_000;

const DIGITS: usize = 8;
const XID: Range<usize> = 4..8;
/// Length, xid, operation and the path's own length come first.
const PATH: usize = 16;

/// What the load asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    SetData,
    Create,
    GetData,
    Sync,
}

impl Operation {
    pub(crate) const ALL: [Operation; 4] =
        [Operation::SetData, Operation::GetData, Operation::Sync, Operation::Create];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Operation::SetData => "setData",
            Operation::Create => "create",
            Operation::GetData => "getData",
            Operation::Sync => "sync",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.name().eq_ignore_ascii_case(name))
    }
}

/// A znode that anyone may do anything to.
pub(crate) fn create(path: &str, data_bytes: usize) -> Request {
    let anyone = Acl { permissions: 31, id: Id::new("world", "anyone") };
    let data = Some(vec![b'x'; data_bytes].into());
    Request::Create(CreateRequest { path: path.to_owned(), data, acl: vec![anyone], flags: 0 })
}

/// The path of one of many.
pub(crate) fn numbered(parent: &str, number: u64) -> String {
    format!("{parent}/{number:0DIGITS$}")
}

/// A request with the digits still to be filled in.
pub(crate) struct Template {
    bytes: Vec<u8>,
    digits: Range<usize>,
    /// The digits begin again after so many.
    space: u64,
}

impl Template {
    /// Works on the children of `parent`.
    pub(crate) fn new(operation: Operation, parent: &str) -> Fallible<Template> {
        let path = numbered(parent, 0);
        let bytes = path.len();
        let request = match operation {
            Operation::SetData => {
                let data = Some(vec![b'y'; DATA_BYTES].into());
                Request::SetData(SetDataRequest { path, data, version: -1 })
            }
            Operation::Create => create(&path, DATA_BYTES),
            Operation::GetData => Request::GetData(GetDataRequest { path, watch: false }),
            Operation::Sync => Request::Sync(SyncRequest { path }),
        };
        let space = if operation == Operation::Create { 10_u64.pow(DIGITS as u32) } else { ZNODES };
        Template::of(&request, bytes, space)
    }

    /// Reads children of `parent`, and leaves a watch on each.
    pub(crate) fn watch(parent: &str) -> Fallible<Template> {
        let path = numbered(parent, 0);
        let bytes = path.len();
        Template::of(&Request::GetData(GetDataRequest { path, watch: true }), bytes, ZNODES)
    }

    fn of(request: &Request, path_bytes: usize, space: u64) -> Fallible<Template> {
        let end = PATH + path_bytes;
        Ok(Template { bytes: request.packet(0)?.to_vec(), digits: end - DIGITS..end, space })
    }

    /// The request with this xid and this number.
    pub(crate) fn append(&mut self, xid: i32, number: u64, to: &mut Vec<u8>) {
        self.bytes[XID].copy_from_slice(&xid.to_be_bytes());
        let mut rest = number % self.space;
        for digit in self.bytes[self.digits.clone()].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        to.extend_from_slice(&self.bytes);
    }
}

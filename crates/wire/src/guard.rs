//! A look at a transaction's bytes before they are decoded.
//!
//! The two bytes `12 00` are one empty operation, and decoded take over a hundred. A request within the limit on bytes could so
//! take hundreds of megabytes. [`check_txn`] counts operations and depth in the encoded form, in memory that the limits bound,
//! and refuses what no honest client sends. It does not replace etcd's own rule on operations (`txn_ops_max`), whose place among
//! the other checks decides which error a client sees; that is for the service.
//!
//! ```
//! use quorate_wire::{Limits, guard};
//!
//! let hostile = [0x12, 0].repeat(1_000_000).into();
//! assert_eq!(guard::decode_txn(hostile, &Limits::default()), Err(guard::TxnRefusal::TooManyOps));
//! ```

use std::{error, fmt};

use bytes::Bytes;
use prost::Message as _;

use crate::etcdserverpb::{RequestOp, TxnRequest, request_op::Request};
use crate::{ApiError, EtcdError, Limits, OtherError};

/// Why a transaction was refused before anyone looked at its content.
#[derive(Clone, Debug, PartialEq)]
pub enum TxnRefusal {
    /// The bytes are not a `TxnRequest`.
    Malformed,
    /// More than [`Limits::txn_tree_ops_max`] compares and operations, nested ones included.
    TooManyOps,
    /// Transactions nested deeper than [`Limits::txn_depth_max`].
    TooDeep,
}

impl fmt::Display for TxnRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "the bytes are not a transaction: the client and the server disagree on the format"
            }
            Self::TooManyOps => {
                "the transaction and those nested in it have too many operations: send several"
            }
            Self::TooDeep => "transactions are nested too deep: send several",
        })
    }
}

impl error::Error for TxnRefusal {}

/// The answer for the client. etcd bounds depth by its budget of operations, so both limits have that error.
impl From<TxnRefusal> for ApiError {
    fn from(refusal: TxnRefusal) -> Self {
        match refusal {
            TxnRefusal::Malformed => OtherError::new(crate::Code::Internal, refusal.to_string()).into(),
            TxnRefusal::TooManyOps | TxnRefusal::TooDeep => EtcdError::TooManyOps.into(),
        }
    }
}

/// Checks the bytes, then decodes them.
///
/// # Errors
/// As [`check_txn`], and [`TxnRefusal::Malformed`] for what only decoding finds.
pub fn decode_txn(bytes: Bytes, limits: &Limits) -> Result<TxnRequest, TxnRefusal> {
    check_txn(&bytes, limits)?;
    TxnRequest::decode(bytes).map_err(|_| TxnRefusal::Malformed)
}

/// Checks an encoded `TxnRequest` against the limits on the whole tree of operations.
///
/// What it accepts decodes to no more than it counted, or not at all. It counts more than decoding keeps where one operation
/// gives its content twice; no client sends that.
///
/// # Errors
/// Which limit is passed, or that the bytes are malformed.
pub fn check_txn(bytes: &[u8], limits: &Limits) -> Result<(), TxnRefusal> {
    let mut waiting = vec![(Level::Txn, 1, bytes)];
    let mut ops = 0;
    while let Some((level, depth, bytes)) = waiting.pop() {
        if depth > limits.txn_depth_max {
            return Err(TxnRefusal::TooDeep);
        }
        let mut fields = Fields { rest: bytes, groups: 0 };
        while let Some((number, content)) = fields.next()? {
            match (level, number) {
                (Level::Txn, 1) => ops += 1,
                (Level::Txn, 2 | 3) => {
                    ops += 1;
                    waiting.push((Level::Op, depth, content));
                }
                (Level::Op, 4) => waiting.push((Level::Txn, depth + 1, content)),
                (Level::Txn | Level::Op, _) => {}
            }
            // An operation may give its transaction many times over, empty, which counts nothing: `waiting` is bounded too.
            if ops > limits.txn_tree_ops_max || waiting.len() > limits.txn_tree_ops_max {
                return Err(TxnRefusal::TooManyOps);
            }
        }
    }
    Ok(())
}

/// Checks a transaction that did not come as protobuf (JSON, an embedder) against the same limits.
///
/// # Errors
/// Which limit is passed.
pub fn check_txn_tree(txn: &TxnRequest, limits: &Limits) -> Result<(), TxnRefusal> {
    let mut ops = 0_usize;
    let mut waiting = vec![(1, txn)];
    while let Some((depth, txn)) = waiting.pop() {
        if depth > limits.txn_depth_max {
            return Err(TxnRefusal::TooDeep);
        }
        ops = ops
            .saturating_add(txn.compare.len())
            .saturating_add(txn.success.len())
            .saturating_add(txn.failure.len());
        if ops > limits.txn_tree_ops_max {
            return Err(TxnRefusal::TooManyOps);
        }
        waiting.extend(nested(txn).map(|nested| (depth + 1, nested)));
    }
    Ok(())
}

/// How deep transactions nest: 1 for one that holds no other. Takes no stack, however deep.
pub fn txn_depth(txn: &TxnRequest) -> usize {
    let mut deepest = 0;
    let mut waiting = vec![(1, txn)];
    while let Some((depth, txn)) = waiting.pop() {
        deepest = deepest.max(depth);
        waiting.extend(nested(txn).map(|nested| (depth + 1, nested)));
    }
    deepest
}

fn nested(txn: &TxnRequest) -> impl Iterator<Item = &TxnRequest> {
    txn.success.iter().chain(&txn.failure).filter_map(|RequestOp { request }| match request {
        Some(Request::RequestTxn(nested)) => Some(nested),
        Some(Request::RequestRange(_) | Request::RequestPut(_) | Request::RequestDeleteRange(_)) | None => {
            None
        }
    })
}

#[derive(Clone, Copy)]
enum Level {
    Txn,
    Op,
}

/// The length-delimited fields of one message. Everything else is stepped over, groups with all that is in them, as prost does.
struct Fields<'a> {
    rest: &'a [u8],
    groups: usize,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, &'a [u8])>, TxnRefusal> {
        while !self.rest.is_empty() {
            let key = self.varint()?;
            match key & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let length = self.varint()?;
                    let content = self.take(length)?;
                    if self.groups == 0 {
                        return Ok(Some((key >> 3, content)));
                    }
                }
                3 => self.groups += 1,
                4 => self.groups = self.groups.checked_sub(1).ok_or(TxnRefusal::Malformed)?,
                5 => {
                    self.take(4)?;
                }
                _ => return Err(TxnRefusal::Malformed),
            }
        }
        if self.groups == 0 { Ok(None) } else { Err(TxnRefusal::Malformed) }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], TxnRefusal> {
        let length = usize::try_from(length).map_err(|_| TxnRefusal::Malformed)?;
        let (content, rest) = self.rest.split_at_checked(length).ok_or(TxnRefusal::Malformed)?;
        self.rest = rest;
        Ok(content)
    }

    fn varint(&mut self) -> Result<u64, TxnRefusal> {
        let mut value = 0;
        for place in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(TxnRefusal::Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                // The tenth byte has room for one bit; prost refuses more.
                return if place < 9 || byte <= 1 { Ok(value) } else { Err(TxnRefusal::Malformed) };
            }
        }
        Err(TxnRefusal::Malformed)
    }
}

//! etcd's KV service: requests to commands, answers to responses.
//!
//! Checks come in etcd's order: what the request itself gets wrong first, then size, then what the state says. Facts: API reference of etcd v3,
//! and this project's notes on its quirks.

use bytes::Bytes;
use quorate_keyspace as keyspace;
use quorate_keyspace::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, KeyValue, KeyspaceError, LeaseId,
    Operation, OperationReply, Put, Range, RangeReply, Reply, SortOrder, SortTarget, Txn, TxnReply,
};
use quorate_wire::{
    ApiError, EtcdError, Limits,
    etcdserverpb::{
        self as pb, compare::TargetUnion, request_op::Request as OpRequest,
        response_op::Response as OpResponse,
    },
    guard, mvccpb,
};

use crate::{HeaderBase, keyspace_error, signed};

/// How a KV request is to be served.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Through the log.
    Propose(Command),
    /// From a view.
    Read {
        /// What.
        query: Query,
        /// From this replica's own state, however old, or linearizable?
        serializable: bool,
    },
}

/// What is read from a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// A range.
    Range(Range),
    /// A transaction whose every operation is a range.
    Txn(Txn),
}

impl Query {
    /// Reads.
    ///
    /// # Errors
    /// What the state says against it: compacted, future revision.
    pub fn run(&self, view: &keyspace::View) -> Result<Reply, ApiError> {
        match self {
            Query::Range(range) => view.range(range).map(Reply::Range),
            Query::Txn(txn) => view.read_only_txn(txn).map(Reply::Txn),
        }
        .map_err(keyspace_error)
    }
}

/// What a Range wants.
///
/// # Errors
/// The request is wrong in itself.
pub fn range(request: pb::RangeRequest) -> Result<Plan, ApiError> {
    let serializable = request.serializable;
    let range = range_of(request).map_err(keyspace_error)?;
    keyspace::check_range(&range).map_err(keyspace_error)?;
    Ok(Plan::Read { query: Query::Range(range), serializable })
}

/// What a Put wants.
///
/// # Errors
/// The request is wrong in itself, or too large.
pub fn put(request: pb::PutRequest, limits: &Limits) -> Result<Plan, ApiError> {
    let put = put_of(request);
    keyspace::check_put(&put).map_err(keyspace_error)?;
    size(put.key.len() + put.value.len(), limits)?;
    Ok(Plan::Propose(Command::Put(put)))
}

/// What a DeleteRange wants.
///
/// # Errors
/// The request is wrong in itself, or too large.
pub fn delete_range(request: pb::DeleteRangeRequest, limits: &Limits) -> Result<Plan, ApiError> {
    let delete = delete_of(request);
    keyspace::check_delete_range(&delete).map_err(keyspace_error)?;
    size(delete.key.len() + delete.range_end.len(), limits)?;
    Ok(Plan::Propose(Command::DeleteRange(delete)))
}

/// What a Txn wants: a read, if its every operation is a plain range; otherwise a write.
///
/// # Errors
/// The request is wrong in itself, or too large.
pub fn txn(request: pb::TxnRequest, limits: &Limits) -> Result<Plan, ApiError> {
    guard::check_txn_tree(&request, limits).map_err(ApiError::from)?;
    // Looked at when it is known that nothing else is wrong, as in etcd.
    let bytes = prost::Message::encoded_len(&request);
    let serializable = ranges(&request).all(|range| range.is_some_and(|range| range.serializable));
    let txn = txn_of(request).map_err(keyspace_error)?;
    keyspace::check_txn(&txn, &keyspace::Limits { txn_operations_max: limits.txn_ops_max })
        .map_err(keyspace_error)?;
    size(bytes, limits)?;
    if txn.is_read_only() {
        return Ok(Plan::Read { query: Query::Txn(txn), serializable });
    }
    Ok(Plan::Propose(Command::Txn(txn)))
}

/// What a Compact wants.
#[must_use]
pub fn compact(request: &pb::CompactionRequest) -> Plan {
    Plan::Propose(Command::Compact(Compact { revision: request.revision, physical: request.physical }))
}

fn size(bytes: usize, limits: &Limits) -> Result<(), ApiError> {
    if bytes > limits.request_bytes_max { Err(EtcdError::RequestTooLarge.into()) } else { Ok(()) }
}

fn ranges(request: &pb::TxnRequest) -> impl Iterator<Item = Option<&pb::RangeRequest>> {
    request.success.iter().chain(&request.failure).map(|op| match &op.request {
        Some(OpRequest::RequestRange(range)) => Some(range),
        _ => None,
    })
}

fn range_of(request: pb::RangeRequest) -> Result<Range, KeyspaceError> {
    Ok(Range {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        sort_order: SortOrder::from_wire(request.sort_order)?,
        sort_target: SortTarget::from_wire(request.sort_target)?,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    })
}

fn put_of(request: pb::PutRequest) -> Put {
    Put {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

fn delete_of(request: pb::DeleteRangeRequest) -> DeleteRange {
    DeleteRange { key: request.key, range_end: request.range_end, prev_kv: request.prev_kv }
}

fn txn_of(request: pb::TxnRequest) -> Result<Txn, KeyspaceError> {
    let operations =
        |ops: Vec<pb::RequestOp>| ops.into_iter().map(operation_of).collect::<Result<Vec<_>, _>>();
    Ok(Txn {
        compare: request.compare.into_iter().map(compare_of).collect(),
        success: operations(request.success)?,
        failure: operations(request.failure)?,
    })
}

fn operation_of(op: pb::RequestOp) -> Result<Operation, KeyspaceError> {
    Ok(match op.request {
        None => Operation::Empty,
        Some(OpRequest::RequestRange(range)) => Operation::Range(range_of(range)?),
        Some(OpRequest::RequestPut(put)) => Operation::Put(put_of(put)),
        Some(OpRequest::RequestDeleteRange(delete)) => Operation::DeleteRange(delete_of(delete)),
        Some(OpRequest::RequestTxn(txn)) => Operation::Txn(txn_of(txn)?),
    })
}

/// An unset target compares with zero, or with the empty value; a result or target that does not exist reads
/// as the first of its enumeration.
fn compare_of(compare: pb::Compare) -> Compare {
    let result = match compare.result() {
        pb::compare::CompareResult::Equal => CompareResult::Equal,
        pb::compare::CompareResult::Greater => CompareResult::Greater,
        pb::compare::CompareResult::Less => CompareResult::Less,
        pb::compare::CompareResult::NotEqual => CompareResult::NotEqual,
    };
    let union = compare.target_union.clone();
    let number = |pick: fn(&TargetUnion) -> Option<i64>| union.as_ref().and_then(pick).unwrap_or_default();
    let target = match compare.target() {
        pb::compare::CompareTarget::Version => CompareTarget::Version(number(|union| match union {
            TargetUnion::Version(version) => Some(*version),
            _ => None,
        })),
        pb::compare::CompareTarget::Create => CompareTarget::Create(number(|union| match union {
            TargetUnion::CreateRevision(revision) => Some(*revision),
            _ => None,
        })),
        pb::compare::CompareTarget::Mod => CompareTarget::Mod(number(|union| match union {
            TargetUnion::ModRevision(revision) => Some(*revision),
            _ => None,
        })),
        pb::compare::CompareTarget::Lease => CompareTarget::Lease(LeaseId(number(|union| match union {
            TargetUnion::Lease(lease) => Some(*lease),
            _ => None,
        }))),
        pb::compare::CompareTarget::Value => CompareTarget::Value(match &union {
            Some(TargetUnion::Value(value)) => value.clone(),
            _ => Bytes::new(),
        }),
    };
    Compare { key: compare.key, range_end: compare.range_end, result, target }
}

// ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The response to a Range, read at the store's `revision`.
#[must_use]
pub fn range_response(reply: RangeReply, revision: u64, header: &HeaderBase) -> pb::RangeResponse {
    range_body(reply, Some(header.at(revision)))
}

/// The response to a Put; anything else than a put's reply gives an empty one.
#[must_use]
pub fn put_response(reply: Reply, revision: u64, header: &HeaderBase) -> pb::PutResponse {
    let prev_kv = match reply {
        Reply::Put(put) => put.prev_kv.map(key_value),
        _ => None,
    };
    pb::PutResponse { header: Some(header.at(revision)), prev_kv }
}

/// The response to a DeleteRange.
#[must_use]
pub fn delete_range_response(reply: Reply, revision: u64, header: &HeaderBase) -> pb::DeleteRangeResponse {
    match reply {
        Reply::DeleteRange(delete) => delete_body(delete, Some(header.at(revision))),
        _ => pb::DeleteRangeResponse { header: Some(header.at(revision)), ..Default::default() },
    }
}

/// The response to a Txn.
#[must_use]
pub fn txn_response(reply: Reply, revision: u64, header: &HeaderBase) -> pb::TxnResponse {
    match reply {
        Reply::Txn(txn) => txn_body(txn, Some(header.at(revision))),
        _ => pb::TxnResponse { header: Some(header.at(revision)), ..Default::default() },
    }
}

fn range_body(reply: RangeReply, header: Option<pb::ResponseHeader>) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: reply.kvs.into_iter().map(key_value).collect(),
        more: reply.more,
        count: signed(reply.count),
    }
}

fn delete_body(
    reply: keyspace::DeleteRangeReply,
    header: Option<pb::ResponseHeader>,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header,
        deleted: signed(reply.deleted),
        prev_kvs: reply.prev_kvs.into_iter().map(key_value).collect(),
    }
}

/// Nested answers carry only the revision in their headers, and a nested transaction's header is empty: so etcd does it.
fn txn_body(reply: TxnReply, header: Option<pb::ResponseHeader>) -> pb::TxnResponse {
    let nested = |operation: OperationReply| {
        let at = Some(pb::ResponseHeader { revision: signed(operation.revision), ..Default::default() });
        let response = match operation.reply {
            Reply::Range(range) => Some(OpResponse::ResponseRange(range_body(range, at))),
            Reply::Put(put) => Some(OpResponse::ResponsePut(pb::PutResponse {
                header: at,
                prev_kv: put.prev_kv.map(key_value),
            })),
            Reply::DeleteRange(delete) => Some(OpResponse::ResponseDeleteRange(delete_body(delete, at))),
            Reply::Txn(txn) => {
                Some(OpResponse::ResponseTxn(txn_body(txn, Some(pb::ResponseHeader::default()))))
            }
            Reply::Compact
            | Reply::Alarm(_)
            | Reply::SetQuota
            | Reply::Sweep
            | Reply::LeaseGrant(_)
            | Reply::LeaseRevoke
            | Reply::LeaseExpire(_)
            | Reply::LeaseCheckpoint
            | Reply::Auth
            | Reply::Authenticate(_) => None,
        };
        pb::ResponseOp { response }
    };
    pb::TxnResponse {
        header,
        succeeded: reply.succeeded,
        responses: reply.responses.into_iter().map(nested).collect(),
    }
}

/// A key-value as the wire has it.
#[must_use]
pub fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: signed(kv.create_revision),
        mod_revision: signed(kv.mod_revision),
        version: signed(kv.version),
        value: kv.value,
        lease: kv.lease.0,
    }
}

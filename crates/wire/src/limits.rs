//! Limits on what a client may send: a name, a unit and a default each.

/// Most bytes of a request as it goes into the log. etcd's `--max-request-bytes`, 1.5 MiB. Past it:
/// [`EtcdError::RequestTooLarge`](crate::EtcdError::RequestTooLarge).
pub const REQUEST_BYTES_MAX: usize = 1_572_864;

/// Bytes that a gRPC message may have beyond the request: 512 KiB, as in etcd.
pub const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// Most bytes of a gRPC message that a server sends, 2 GiB less one, as in etcd.
pub const GRPC_SEND_BYTES_MAX: usize = i32::MAX as usize;

/// Most compares, and most operations in either branch, of a transaction; a nested transaction shares what its parent left.
/// etcd's `--max-txn-ops`. Past it: [`EtcdError::TooManyOps`](crate::EtcdError::TooManyOps).
pub const TXN_OPS_MAX: usize = 128;

/// How deep transactions may nest, the outermost being 1.
///
/// prost refuses messages nested more than 100 deep below the outermost, and a transaction takes two: itself and the operation
/// that holds it. A `KeyValue` in a read of the transaction at depth 49 is 99 deep in the answer, so whatever is accepted can be
/// answered to a client that uses prost too. etcd has no such limit of its own, but its budget of 128 operations, of which every
/// nesting takes one, stops at about 128; we refuse some transactions that it would take.
pub const TXN_DEPTH_MAX: usize = 49;

/// Most compares and operations of a transaction, all branches of all depths together.
///
/// [`TXN_OPS_MAX`] bounds each path only: 32 operations that each hold 32, that each hold 32, … are a million in few bytes. This
/// bounds what one request takes in memory (some 20 MiB), and is about four times what 128 transactions of 128 would be.
pub const TXN_TREE_OPS_MAX: usize = 65_536;

/// The limits of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a request; [`REQUEST_BYTES_MAX`] by default.
    pub request_bytes_max: usize,
    /// Most operations of a transaction; [`TXN_OPS_MAX`] by default.
    pub txn_ops_max: usize,
    /// Deepest nesting of transactions, at most [`TXN_DEPTH_MAX`], its default: prost refuses what is deeper in any case.
    pub txn_depth_max: usize,
    /// Most operations of a transaction, nested ones included; [`TXN_TREE_OPS_MAX`] by default.
    pub txn_tree_ops_max: usize,
}

impl Limits {
    /// Most bytes of a gRPC message that the server takes.
    pub const fn recv_bytes_max(&self) -> usize {
        recv_bytes_max(self.request_bytes_max)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: REQUEST_BYTES_MAX,
            txn_ops_max: TXN_OPS_MAX,
            txn_depth_max: TXN_DEPTH_MAX,
            txn_tree_ops_max: TXN_TREE_OPS_MAX,
        }
    }
}

/// Most bytes of a gRPC message that a server with this `request_bytes_max` takes; the size, too, from which a watch response is
/// sent in fragments to a client that asked for it.
pub const fn recv_bytes_max(request_bytes_max: usize) -> usize {
    request_bytes_max.saturating_add(GRPC_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_etcds() {
        let limits = Limits::default();
        assert_eq!(limits.request_bytes_max, 3 * 512 * 1024);
        assert_eq!(limits.recv_bytes_max(), 2 * 1024 * 1024);
        assert_eq!(limits.txn_ops_max, 128);
    }

    #[test]
    fn a_limit_switched_off_does_not_overflow() {
        assert_eq!(recv_bytes_max(usize::MAX), usize::MAX);
    }
}

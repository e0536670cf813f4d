//! Floor 2: what stands on the wires of the two APIs: etcd's messages and error table, and ZooKeeper's records ([`zookeeper`], over [`jute`]).
//! Encode and decode, no I/O. This page is about etcd's half.
//!
//! ```text
//!   proto/*.proto ──► build.rs (protox, prost) ──► etcdserverpb, mvccpb, authpb, v3lockpb, v3electionpb
//!                                             └──► FILE_DESCRIPTOR_SET   (services and JSON names, for the `etcd` crate)
//!   bytes ──► guard::decode_txn ──► TxnRequest      (the one message whose decoded form can dwarf its bytes)
//!   what failed ──► ApiError { Table(EtcdError) | Other } ──► gRPC code and text
//! ```
//!
//! The messages carry no behaviour; what a request means is decided by `keyspace` and `service`. Services are not generated
//! here: a front end compiles the same `proto/` folder with `extern_path(".etcdserverpb", "::quorate_wire::etcdserverpb")` and
//! so on for the other packages, and gets traits over these very types.
//!
//! Architecture Invariant: field numbers and types are etcd's, to the bit. `tests/messages.txt` states them a second time, and a
//! test compares. Names are not on the wire: Rust says `peer_urls` where the descriptor set and JSON say `peerURLs`.
//!
//! Architecture Invariant: bytes from outside are refused, never asserted. No input makes decoding panic, recurse without bound
//! or, through [`guard`], take memory out of proportion to its size.
//!
//! Architecture Invariant: an error's text is its identity. etcd's Go client maps errors by text alone, so a text in
//! [`EtcdError`] never changes; codes may be better than etcd's, texts may not.
//!
//! An enumeration field is an `i32`, for a newer peer may send a value that we do not know. The generated getter
//! (`request.sort_order()`) turns such a value into the default; where etcd refuses it, as in
//! [`EtcdError::InvalidSortOption`], ask `SortOrder::try_from(request.sort_order)`.
//!
//! `Debug` of a message that holds a password, its hash or a token leaves that field out.
//!
//! ```
//! use prost::Message as _;
//! use quorate_wire::etcdserverpb::PutRequest;
//!
//! let put = PutRequest { key: "a".into(), value: "1".into(), ..Default::default() };
//! let bytes = put.encode_to_vec();
//! assert_eq!(bytes, [0x0a, 1, b'a', 0x12, 1, b'1']);
//! assert_eq!(PutRequest::decode(&bytes[..]), Ok(put));
//! ```
#![forbid(unsafe_code)]

mod error;
pub mod guard;
pub mod jute;
mod limits;
mod secrets;
pub mod zookeeper;

pub use error::{ApiError, Code, EtcdError, OtherError, text};
pub use limits::{
    GRPC_OVERHEAD_BYTES, GRPC_SEND_BYTES_MAX, Limits, REQUEST_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPS_MAX,
    TXN_TREE_OPS_MAX, recv_bytes_max,
};

/// etcd's client interface: the messages of the services KV, Watch, Lease, Cluster, Maintenance and Auth.
#[allow(missing_docs)]
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// What is stored under a key, and what happened to it.
#[allow(missing_docs)]
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}

/// Users, roles and what they may do.
#[allow(missing_docs)]
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}

/// The messages of the service Lock.
#[allow(missing_docs)]
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}

/// The messages of the service Election.
#[allow(missing_docs)]
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}

/// Quorate's own: the messages of the service Shards.
#[allow(missing_docs)]
pub mod quoratepb {
    include!(concat!(env!("OUT_DIR"), "/quoratepb.rs"));
}

/// What of the compiled `proto/` folder is etcd's, an encoded `google.protobuf.FileDescriptorSet`: messages and the 49 methods of the eight
/// services, under etcd's own names.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

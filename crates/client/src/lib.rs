//! Floor 5: a client of the etcd API, for Quorate and for etcd itself.
//!
//! ```text
//!   Client ── call ──► endpoint that answered last ──► gRPC
//!      │                   │ no answer, and the call may be repeated
//!      │                   └──► the next endpoint … until the call's deadline
//!      └── Session ──► numbers each write, so that repeating one cannot execute it twice (Quorate only)
//!   rpc ──► the generated clients, for whoever wants the wire itself (benchmarks, proxies)
//! ```
//!
//! Architecture Invariant: a write is sent again only if the answer proves that it was not executed, or if it belongs to a
//! [`Session`]. Everything else is handed to the caller as [`Executed::Unknown`]: it may have been executed.
//!
//! ```no_run
//! # async fn example() -> Result<(), quorate_client::Error> {
//! use quorate_client::{Client, Options};
//!
//! let client = Client::connect(["http://127.0.0.1:2379"], Options::default())?;
//! client.put("greeting", "hello").await?;
//! let kv = client.get("greeting").await?;
//! assert_eq!(kv.unwrap().value, "hello");
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "floor 5 lives in the real world: a client has deadlines"
)]

mod client;
mod error;
mod options;
mod session;

pub use client::Client;
pub use error::{Error, Executed};
pub use options::{Http2, Options, Tls, endpoint};
pub use quorate_wire as wire;
pub use session::Session;
pub use tonic;

/// The generated clients of etcd's services, and of our own, over [`quorate_wire`]'s messages.
#[allow(missing_docs, clippy::all)]
pub mod rpc {
    /// KV, Watch, Lease, Cluster, Maintenance, Auth.
    pub mod etcdserverpb {
        include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
    }
    /// Lock.
    pub mod v3lockpb {
        include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
    }
    /// Election.
    pub mod v3electionpb {
        include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
    }
    /// Shards: Quorate's own.
    pub mod quoratepb {
        include!(concat!(env!("OUT_DIR"), "/quoratepb.rs"));
    }
    pub use etcdserverpb::{
        auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
        lease_client::LeaseClient, maintenance_client::MaintenanceClient, watch_client::WatchClient,
    };
    pub use quoratepb::shards_client::ShardsClient;
    pub use v3electionpb::election_client::ElectionClient;
    pub use v3lockpb::lock_client::LockClient;
}

//! Floor 6: etcd's gRPC services in front of a node's handle. Sockets and codecs, nothing else.
//!
//! ```text
//!   TCP ── first bytes ──► HTTP/2 ──► routes: /etcdserverpb.KV/Put ──► codec ──► kv, cluster, maintenance
//!              │              │         ▲  │                                       │ service: what the request means
//!              │    no gRPC   │         │  └──► what is not there: Unimplemented   ▼
//!              └──► HTTP/1 ───┴─► web: /v3/… in JSON                     Backend: propose, read, read_local
//!                                   └──► /health, /livez, /readyz, /version, /metrics
//! ```
//!
//! Architecture Invariant: what a request means, and which error it gets, is decided in `quorate-service`; here bytes become calls and
//! answers become bytes. What etcd's own *front end* decides (headers, metadata, strict checks of a change of members, the order of
//! those) is here too.
//!
//! Architecture Invariant: no call reaches the keys but through the gate: `gate.rs` finds out who asks, and hands out a view, or a command in
//! somebody's name, only to whom the keyspace's verdict lets.
//!
//! Architecture Invariant: bytes from a client hurt that client at most. Whatever comes, other connections go on; what one connection
//! may hold is bounded by [`Tuning`].
//!
//! Served: KV, Watch, Lease, Cluster, Auth, Lock, Election, Maintenance, our own Shards, `grpc.health.v1.Health/Check`; without gRPC the JSON gateway to all of these, `/health`,
//! `/livez`, `/readyz`, `/version` and `/metrics`. No compression yet. Calls whose `:authority` is no authority are reset by the
//! HTTP/2 library: so etcdctl 3.4 (not 3.5 and later) fails at `endpoint status`, `endpoint hashkv` and `move-leader`.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this floor lives in the real world: it has sockets and deadlines"
)]

mod auth;
mod backend;
mod cluster;
pub(crate) mod codec;
mod connection;
mod counts;
mod door;
mod election;
mod feed;
mod front;
mod gate;
mod jwt;
mod known;
mod kv;
mod lease;
mod leasing;
mod lock;
mod maintenance;
mod metrics;
mod passwords;
mod progress;
mod promotion;
mod range_stream;
mod recipes;
mod routes;
mod serve;
mod shards;
mod silence;
mod tokens;
mod watch;
mod watching;
mod web;

pub use backend::Backend;
pub use door::PROTOCOLS;
pub use feed::Feed;
pub use front::{Front, SESSION_EXPIRED};
pub use jwt::{JWT_TTL, Jwt, JwtError, JwtFiles, SignMethod};
pub use serve::{Listener, Serves, Tuning, runtime, serve, serve_all};

/// Generated: the traits of the services.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod rpc {
    pub mod etcdserverpb {
        include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
    }
    pub mod v3lockpb {
        include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
    }
    pub mod v3electionpb {
        include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
    }
    pub mod quoratepb {
        include!(concat!(env!("OUT_DIR"), "/quoratepb.rs"));
    }
    pub mod health {
        include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
    }
}

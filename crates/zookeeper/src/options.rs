//! What an operator may choose.

use std::time::Duration;

use quorate_service::zookeeper::Settings;
use quorate_tls::Tls;
use quorate_wire::zookeeper::FRAME_BYTES_MAX;

use crate::Whitelist;

/// How this server serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its id in the ensemble, `myid`: what session ids begin with.
    pub server_id: u8,
    /// ZooKeeper's unit of time, `tickTime`. Default 3 s. Sessions end at a tick.
    pub tick: Duration,
    /// What clients may ask for.
    pub settings: Settings,
    /// Which four-letter words are answered, `4lw.commands.whitelist`. Default `srvr` and `ruok`.
    pub whitelist: Whitelist,
    /// The version that `srvr`, `mntr` and `envi` give: that of the ZooKeeper whose wire this is, which tools look at, then our own.
    pub version: String,
    /// How often containers are looked for that may go, `znode.container.checkIntervalMs`. Default 60 s.
    pub container_interval: Duration,
    /// A container that never had a child goes after so many milliseconds, `znode.container.maxNeverUsedIntervalMs`. Default 300,000; negative: never.
    pub container_unused_ms: i64,
    /// How long a server that has lost its leader goes on as if it had one: most elections are over by then, and no client notices. With what else passes
    /// before the loss is noticed it must stay below the shortest timeout of a session, so that a server that is cut off answers no ping after the leader
    /// can have ended the session (rule K8). Default: none.
    pub isolation_grace: Duration,
    /// Does a server without a leader let clients read that say they will do with that, `readonlymode.enabled`? It waits a little before it does, since most
    /// elections are short and a change of standing closes all connections. Default: no.
    pub read_only: bool,
    /// The certificates of a server that speaks TLS. A client's certificate makes it somebody in the ACL scheme `x509`.
    pub tls: Option<Tls>,
    /// Are clients in the clear turned away? Means nothing without `tls`.
    pub tls_only: bool,
    /// What connections may take.
    pub tuning: Tuning,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            server_id: 1,
            tick: Duration::from_secs(3),
            settings: Settings::default(),
            whitelist: Whitelist::default(),
            version: format!("3.9.0-quorate-{}", env!("CARGO_PKG_VERSION")),
            container_interval: Duration::from_secs(60),
            container_unused_ms: 300_000,
            isolation_grace: Duration::ZERO,
            read_only: false,
            tls: None,
            tls_only: false,
            tuning: Tuning::default(),
        }
    }
}

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Connections at a time, half-open ones counted; further ones are closed at once. `maxCnxns`. Default 10,000 (ZooKeeper: no limit).
    pub connections_max: usize,
    /// The same from one address, `maxClientCnxns`. Default 60; 0 for no limit.
    pub connections_per_address_max: usize,
    /// Bytes of a packet from a client, `jute.maxbuffer`. Default 1,048,575.
    pub packet_bytes_max: usize,
    /// Bytes that are read from a connection before they are looked at. Default 64 KiB; one packet more may be there in part.
    pub read_ahead_bytes: usize,
    /// Bytes of answers that wait for a client that does not read; with more, nothing is done for it. Default 1 MiB; one answer and what one step
    /// makes (1 MiB) may be more.
    pub output_bytes_max: usize,
    /// Proposals of one connection that are under way at a time; further ones wait. Default 1,000.
    pub in_flight_max: usize,
    /// A connection that has not sent its first packet by then is closed. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a connection that is being closed may take to read what was sent to it. Default 5 s.
    pub close_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            connections_max: 10_000,
            connections_per_address_max: 60,
            packet_bytes_max: FRAME_BYTES_MAX,
            read_ahead_bytes: 64 << 10,
            output_bytes_max: 1 << 20,
            in_flight_max: 1_000,
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
        }
    }
}

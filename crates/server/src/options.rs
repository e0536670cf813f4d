//! How a node meets the real world.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::{core::NoticeSink, data_directory::DataDirectoryError, hub::Hub, transport::Network};

/// Where a node keeps what must survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In files under this directory, which this process then uses alone.
    Directory(PathBuf),
    /// In memory: gone with the process. A node that comes back without what it promised must come back under a new id.
    Memory,
}

/// What the crate `server` needs to know; the node itself has [`quorate_node::Config`].
pub struct Options {
    /// Where it keeps what must survive.
    pub storage: Storage,
    /// How it reaches its peers.
    pub network: Network,
    /// How long a call waits for its answer. Unless set, as in etcd: 5 s, and the longest election timeout twice.
    pub request_timeout: Option<Duration>,
    /// Calls that wait for their answer, at most. Default 200,000.
    pub calls_waiting_max: usize,
    /// Inputs that wait for the core, at most; past it calls are refused and frames wait in their sockets. Default 200,000.
    pub inbox_inputs_max: usize,
    /// Bytes of frames that wait for the core, at most. Default 128 MiB.
    pub inbox_bytes_max: u64,
    /// A timer this late is worth a line in the log. Default 100 ms, etcd's heartbeat interval.
    pub late_after: Duration,
    /// Syncs do nothing, so a power loss loses what clients were told is safe. For measuring what syncs cost; never for data.
    pub unsafe_no_sync: bool,
    /// Hears of everything notable, in the core's thread.
    pub on_notice: Option<NoticeSink>,
}

impl Options {
    /// Defaults for everything but what has none.
    #[must_use]
    pub fn new(storage: Storage, network: Network) -> Options {
        Options {
            storage,
            network,
            request_timeout: None,
            calls_waiting_max: 200_000,
            inbox_inputs_max: 200_000,
            inbox_bytes_max: 128 << 20,
            late_after: Duration::from_millis(100),
            unsafe_no_sync: false,
            on_notice: None,
        }
    }

    /// A node that lives in this process alone: no files, no sockets.
    #[must_use]
    pub fn in_process(hub: &Hub) -> Options {
        Options::new(Storage::Memory, Network::InProcess(hub.clone()))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("storage", &self.storage)
            .field("network", &self.network)
            .field("request_timeout", &self.request_timeout)
            .field("unsafe_no_sync", &self.unsafe_no_sync)
            .finish_non_exhaustive()
    }
}

/// Why a node did not start.
#[derive(Debug)]
pub enum StartError {
    /// The data directory cannot be used.
    DataDirectory(DataDirectoryError),
    /// A thread, a socket or a random number was not to be had.
    Io {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::DataDirectory(error) => error.fmt(f),
            StartError::Io { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<DataDirectoryError> for StartError {
    fn from(error: DataDirectoryError) -> Self {
        StartError::DataDirectory(error)
    }
}

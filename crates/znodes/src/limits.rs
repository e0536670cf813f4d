//! How far anything here can grow. What is past a limit is refused with its own error, before the log by
//! [`Command::check`](crate::Command::check) and again when it comes out of it. ZooKeeper has one limit, `jute.maxbuffer`, and past
//! it closes the connection; that one is the front end's.

/// Bytes of a path.
pub const PATH_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a znode's data.
pub const DATA_BYTES_MAX: usize = 4 << 20;

/// Children of one znode.
pub const CHILDREN_MAX: u32 = 1 << 24;

/// Entries of one ACL, as it is asked for and as it is stored, where `auth` is expanded.
pub const ACL_ENTRIES_MAX: usize = 1024;

/// Bytes of the schemes and ids of one ACL.
pub const ACL_BYTES_MAX: usize = 64 * 1024;

/// Identities of one connection; their schemes and ids are at most [`ACL_BYTES_MAX`] bytes.
pub const IDENTITIES_MAX: usize = 64;

/// Operations of one multi.
pub const MULTI_OPERATIONS_MAX: usize = 16 * 1024;

/// Bytes of one command, a multi above all.
pub const COMMAND_BYTES_MAX: usize = 16 << 20;

/// Sessions at a time.
pub const SESSIONS_MAX: u64 = 1 << 20;

/// Ephemeral znodes of one session: closing it deletes them in one entry.
pub const EPHEMERALS_MAX: u32 = 1 << 17;

/// The longest time to live, in milliseconds: ZooKeeper keeps it in forty bits.
pub const TTL_MS_MAX: i64 = (1 << 40) - 1;

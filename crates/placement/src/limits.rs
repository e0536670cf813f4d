//! How far anything here can grow. What is past a limit is refused by [`Command::check`](crate::Command::check) with its own error,
//! and does not decode if it is proposed all the same.

use quorate_consensus::Membership;

/// Members at a time, voters and learners. Half of what a group may have, so that even a change of every member fits into one joint
/// membership.
pub const MEMBERS_MAX: usize = 32;
const _: () = assert!(2 * MEMBERS_MAX <= Membership::MEMBERS_MAX);

/// Learners at a time. An operator's own limit, etcd's `--max-learners` with its default of 1, comes with the command and counts if it
/// is lower.
pub const LEARNERS_MAX: usize = 8;

/// Ids that were ever given to members. At the limit nobody can be added; removing goes on.
pub const MEMBER_IDS_MAX: usize = 1 << 16;

/// Groups of a cluster.
pub const GROUPS_MAX: usize = 1 << 16;

/// Peer URLs of one member, and as many client URLs.
pub const URLS_MAX: usize = 8;

/// Bytes of one URL.
pub const URL_BYTES_MAX: usize = 1024;

/// Bytes of a member's name.
pub const NAME_BYTES_MAX: usize = 256;

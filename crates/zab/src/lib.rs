//! Floor 2: ZAB, as a value (Junqueira, Reed and Serafini, "Zab: High-performance broadcast for primary-backup systems", DSN 2011; and what ZooKeeper has
//! learnt since).
//!
//! ```text
//!                election names another, or somebody says that it leads
//!   Looking ─────────────────────────────────────────────────────────────► Following
//!      ▲  │                                                                   │   Discovery ─► Promised ─► Synchronizing ─► History ─► Epoch
//!      │  │ election names this node                                          │    ─► Acknowledged ─► Broadcast
//!      │  ▼                                                                   │
//!      │ Leading:  Discovery ─► Promise ─► History ─► Epoch ─► Synchronization ─► Broadcast
//!      │             │                                                        │
//!      └─────────────┴──────────── silence, a closed connection, no quorum ───┘
//!
//!   learner                         leader
//!     │ ──── FOLLOWERINFO ───────────► │  a quorum came: an epoch above all, durable
//!     │ ◄─── NEWEPOCH ──────────────── │
//!     │ ──── ACKEPOCH, its history ──► │  a quorum promised: own history durable, then own current epoch
//!     │ ◄─── DIFF | TRUNC | SNAP ───── │
//!     │ ◄─── the history ───────────── │
//!     │ ◄─── NEWLEADER ─────────────── │
//!     │  history durable, then epoch   │
//!     │ ──── ACK of NEWLEADER ───────► │  a quorum: established, and all of the history is committed
//!     │ ◄─── UPTODATE ──────────────── │
//!     │ ◄─── PROPOSE | INFORM, COMMIT  │
//!     │ ──── ACK, cumulative ────────► │  a quorum: committed
//! ```
//!
//! An epoch's first entry has counter 0, ZooKeeper's `(epoch, 0)`; a zxid is the epoch and `index - first index of the epoch`.
//!
//! The invariants, each argued where it is kept:
//! - **One established leader an epoch**: an epoch is promised once, durably, to one leader; a quorum must promise (modules `discovery`, `following`).
//! - **A leader has all that is committed**: a quorum has promised to a history not older than any of theirs, by current epoch and end (module `discovery`).
//! - **History durable, then the current epoch, then the ACK of NEWLEADER**: nothing else compiles (module `durable`).
//! - **Order without gaps**: each link numbers what it carries; what comes early waits, what is missing ends the link (module `inbound`); entries follow the
//!   log's end or are refused (module `following`).
//! - **Uncommitted is never visible**: a leader's commit index is raised by a quorum's acknowledgements alone (module `broadcast`), a learner's by an established
//!   leader's word, as far as its log goes (module `learner`), or by a snapshot; and nothing else is told.
//! - **Linearizable reads**: a round, begun after the read came, is answered by a quorum on links that a newer promise has ended (module `read`).
//! - **Memberships** are in force when appended and leave force when truncated; two adjacent ones share a quorum (module `membership`).
//!
//! | rule | where | tests |
//! |---|---|---|
//! | Z01 zxid, its counter, a full epoch | `broadcast` (`has_room`), `transfer` (`hand_over`), `discovery` (`choose_epoch`) | `z01-counter-full`, `network` (Z8) |
//! | Z02 roles and phases | `role` | `network`, all traces |
//! | Z03 fast leader election | `election` | `z03_…`, `z03-s08-election`, `z03-transfer` |
//! | Z04 joining an established ensemble | `election`, `heartbeat` (`beat`) | `z04_…`, `z04-joins-the-established` |
//! | Z05 discovery | `discovery`, `following` | `z05_…`, `z05-discovery`, `network` (Z1, I15) |
//! | Z06 synchronisation | `synchronization`, `following`, `durable`, `snapshot`, `log` (`agreement`) | `z06_…`, `z06-diff`, `z06-trunc`, `z06-snap`, `network` (Z3, Z7, Z9) |
//! | Z07 broadcast | `broadcast`, `inbound`, `link`, `learner` | `z07_…`, `z07-broadcast`, `z07-observer`, `z07-q07-leader-dies-after-commit`, `network` (Z2, Z4, Z5, I7) |
//! | Z08 both sides watch | `heartbeat`, `learner` | `z08_…`, `z08-s01-old-leader-fenced`, `z08-gap`, `z08-connection-closed` |
//! | Z09 reads, `sync` | `read` | `z09_…`, `z09-reads`, `network` (I18) |
//! | Z11 snapshots are the server's | `snapshot` | `z06-snap`, `z06_an_interrupted_snap_is_never_built_upon` |
//! | N04 a leader never takes history from others | `discovery` (`on_ack_epoch`) | `z05_n04_…` |
//! | N05 the order of votes | `message` ([`Vote`]) | `z03_n05_…`, `z03_the_current_epoch_beats_a_longer_log` |
//! | R22 memberships | `membership` | `r22_…`, `r22-reconfiguration`, `r22-reverted` |
//!
//! Where this differs from ZooKeeper, and why:
//! - An epoch's promise remembers to whom it was made, so that it can be repeated when its ACKEPOCH was lost (networks lose messages; TCP does not).
//! - Acknowledgements are cumulative; entries travel in batches; COMMIT, Ping and Pong are monotone and need no place in the stream.
//! - An established leader's own word is enough to follow it; a learner that promised more than the leader's epoch makes it begin a newer one.
//! - A new epoch begins with an entry of its own. It is not needed for safety (the current epoch does that); it shows in the log which proposals are lost.
//! - Among equal histories a vote for one that the newest membership lets vote is the better one; a prospective leader goes along with its voters' rounds; and
//!   who decided for a node that then votes for another looks again (module `election`).
//! - `sync` and linearizable reads are quorum operations (ZOOKEEPER-1675).
//! - A leader that leaves, or is asked to, names its successor, which skips the election and not discovery.
#![forbid(unsafe_code)]

mod broadcast;
mod codec;
mod config;
mod discovery;
mod durable;
mod election;
mod engine;
mod following;
mod hard_state;
mod heartbeat;
mod inbound;
mod learner;
mod link;
mod log;
mod membership;
mod message;
mod proposal;
mod read;
mod role;
mod snapshot;
mod synchronization;
mod transfer;
mod zab;

pub use config::{Config, ConfigError};
pub use hard_state::HardState;
pub use message::{Ended, History, LinkId, Message, Packet, State, Vote};
pub use zab::{EPOCH_JUMP_MAX, Zab};

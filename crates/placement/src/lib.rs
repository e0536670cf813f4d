//! Floor 2: who is in the cluster and which groups it has; the state machine of the `meta` group.
//!
//! ```text
//!   operator, node ──► Command ──► log of `meta` ──► Placement::evaluate, place ──► Response, Event
//!                                                          │
//!                                      View: members, groups, desired_membership
//!                                                          │
//!                       the service carries the desired membership out, group by group
//! ```
//!
//! A change of members is an intent here: it is decided once, in the order of the log of `meta`, and then every group is brought to
//! [`View::desired_membership`] by joint consensus. Whoever leads later reads the same intent and goes on.
//!
//! Architecture Invariant: an id is given to one node, once. What was removed stays removed ([`PlacementError::Removed`]), so that a
//! message of an old member can never be taken for one of a new member.
//!
//! Architecture Invariant: a member has one disk in its life ([`Command::RegisterDisk`]). One that comes back with another has
//! lost what it promised, and is refused until it is replaced under a new id.
//!
//! Architecture Invariant: a command whose answer was lost may be proposed again, at any later time, without doing its work twice.
//! The id that a command brings makes it so: a second [`Command::AddMember`] finds the id taken or removed, a second
//! [`Command::RemoveMember`] finds it removed. [`Command::UpdateMember`] and [`Command::Publish`] set values; the last one in the
//! log wins.
//!
//! Architecture Invariant: a refused command changes nothing and takes no number.
//!
//! Which shard of the keys lives where, and how that changes, is told in [`shards`].
//!
//! ```
//! use quorate_consensus::{Position, StateMachine};
//! use quorate_placement::{Command, Member, Placement, cluster_id, member_id};
//!
//! let urls = vec!["http://10.0.0.1:2380".to_owned()];
//! let id = member_id(&urls, "my-cluster", 0);
//! let command = Command::Initialise {
//!     cluster: cluster_id([id]),
//!     members: vec![Member::new(id, urls, false)],
//!     groups: Default::default(),
//! };
//! command.check().expect("what an operator wrote is checked before it is proposed");
//!
//! let mut placement = Placement::new();
//! let effect = placement.evaluate(Position::new(1, 2), &command.encode());
//! let placed = placement.place(effect, 1);
//! assert_eq!(placed.response.members().expect("initialised").len(), 1);
//! assert_eq!(placement.view().desired_membership().voters(), [id]);
//! ```
#![forbid(unsafe_code)]

mod command;
mod decide;
mod error;
mod identity;
mod limits;
mod machine;
mod member;
mod response;
pub mod shards;
mod snapshot;
mod state;
mod url;

pub use command::Command;
pub use error::PlacementError;
pub use identity::{cluster_id, member_id};
pub use limits::{
    GROUPS_MAX, LEARNERS_MAX, MEMBER_IDS_MAX, MEMBERS_MAX, NAME_BYTES_MAX, URL_BYTES_MAX, URLS_MAX,
};
pub use machine::{Effect, Placement};
pub use member::{GroupKind, GroupPlace, Member};
pub use quorate_consensus::EngineKind;
pub use response::{Event, Response};
pub use snapshot::Snapshot;
pub use state::View;
pub use url::{UrlError, check_url};

//! What a request fails with: etcd's table, and what is outside it.

use std::borrow::Cow;
use std::{error, fmt};

/// gRPC's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum Code {
    /// It worked.
    Ok = 0,
    /// The caller gave up.
    Canceled = 1,
    /// An error without a code of its own.
    Unknown = 2,
    /// The request is wrong, whatever the state of the system.
    InvalidArgument = 3,
    /// Too late.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What was to be made is there.
    AlreadyExists = 6,
    /// The caller is known and may not.
    PermissionDenied = 7,
    /// A limit is reached.
    ResourceExhausted = 8,
    /// The system is not in the state that the request needs.
    FailedPrecondition = 9,
    /// A conflict; the caller may begin anew.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// Not offered here.
    Unimplemented = 12,
    /// Something of our own broke, or bytes could not be decoded.
    Internal = 13,
    /// Not now; the caller may try again.
    Unavailable = 14,
    /// Data is lost or damaged.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Code {
    /// All codes, by number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Canceled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The code of this number; [`Code::Unknown`] for one that gRPC does not have.
    pub fn from_number(number: i32) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|number| Self::ALL.get(number))
            .copied()
            .unwrap_or(Self::Unknown)
    }
}

/// The code as etcd and gRPC's own tools print it: `PermissionDenied`.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Canceled
            | Self::Unknown
            | Self::InvalidArgument
            | Self::DeadlineExceeded
            | Self::NotFound
            | Self::AlreadyExists
            | Self::PermissionDenied
            | Self::ResourceExhausted
            | Self::FailedPrecondition
            | Self::Aborted
            | Self::OutOfRange
            | Self::Unimplemented
            | Self::Internal
            | Self::Unavailable
            | Self::DataLoss
            | Self::Unauthenticated => fmt::Debug::fmt(self, f),
        }
    }
}

/// What stands before every message of the table.
const PREFIX: &str = "etcdserver: ";

macro_rules! etcd_errors {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:ident, $message:literal;)+) => {
        /// etcd's error table: a code and a text each. Clients know an error by its text.
        ///
        /// ```
        /// use quorate_wire::{Code, EtcdError};
        ///
        /// assert_eq!(EtcdError::EmptyKey.code(), Code::InvalidArgument);
        /// assert_eq!(EtcdError::EmptyKey.message(), "etcdserver: key is not provided");
        /// assert_eq!(EtcdError::from_message("etcdserver: key is not provided"), Some(EtcdError::EmptyKey));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EtcdError {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl EtcdError {
            /// Every error of the table, by code and then as etcd's documentation lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The gRPC code.
            pub const fn code(self) -> Code {
                match self {
                    $(Self::$variant => Code::$code,)+
                }
            }

            /// The text on the wire, with etcd's prefix.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("etcdserver: ", $message),)+
                }
            }
        }
    };
}

etcd_errors! {
    /// A request without a key.
    EmptyKey = InvalidArgument, "key is not provided";
    /// A put that keeps the value or the lease of a key that is not there; also a transaction's operation that is empty.
    KeyNotFound = InvalidArgument, "key not found";
    /// A put with a value that says to keep the one there is.
    ValueProvided = InvalidArgument, "value is provided";
    /// A put with a lease that says to keep the one there is.
    LeaseProvided = InvalidArgument, "lease is provided";
    /// More than `txn_ops_max` compares or operations, nested transactions sharing what is left.
    TooManyOps = InvalidArgument, "too many operations in txn request";
    /// One branch of a transaction changes a key twice.
    DuplicateKey = InvalidArgument, "duplicate key given in txn request";
    /// Metadata `client-api-version` that is not text.
    InvalidClientApiVersion = InvalidArgument, "invalid client api version";
    /// A sort order or target that does not exist.
    InvalidSortOption = InvalidArgument, "invalid sort option";
    /// A member's URLs cannot be used.
    MemberBadUrls = InvalidArgument, "given member URLs are invalid";
    /// More than `request_bytes_max` bytes as it would go into the log.
    RequestTooLarge = InvalidArgument, "request is too large";
    /// No user, though authentication is on.
    UserEmpty = InvalidArgument, "user name is empty";
    /// A role without a name.
    RoleEmpty = InvalidArgument, "role name is empty";
    /// No such user, or not its password; which, is not said.
    AuthFailed = InvalidArgument, "authentication failed, invalid user ID or password";
    /// A grant without a permission.
    PermissionNotGiven = InvalidArgument, "permission not given";
    /// A change that would lock everybody out, or a permission over a range that is none.
    InvalidAuthManagement = InvalidArgument, "invalid auth management";
    /// Users or roles changed since the request was checked; the caller authenticates again.
    AuthOldRevision = InvalidArgument, "revision of auth store is old";
    /// The target of a downgrade is not a version.
    WrongDowngradeVersionFormat = InvalidArgument, "wrong downgrade target version format";
    /// The target of a downgrade is not one minor version lower.
    InvalidDowngradeTargetVersion = InvalidArgument, "invalid downgrade target version";

    /// History at this revision is gone.
    Compacted = OutOfRange, "mvcc: required revision has been compacted";
    /// The store has not reached this revision.
    FutureRevision = OutOfRange, "mvcc: required revision is a future revision";
    /// A lease of more than 9,000,000,000 seconds.
    LeaseTtlTooLarge = OutOfRange, "too large lease TTL";

    /// The store is at its quota; an alarm is raised, and only what makes room is taken.
    NoSpace = ResourceExhausted, "mvcc: database space exceeded";
    /// More waits than can be served soon.
    ///
    /// Deliberate deviation: etcd documents this code, but by an oversight sends [`Code::Unknown`]. Its Go client goes by the
    /// text, so it sees no difference; others get the code that they were promised.
    TooManyRequests = ResourceExhausted, "too many requests";

    /// No such lease.
    LeaseNotFound = NotFound, "requested lease not found";
    /// No such member.
    MemberNotFound = NotFound, "member not found";

    /// A lease of this id is there.
    LeaseExists = FailedPrecondition, "lease already exists";
    /// A member of this id is there.
    MemberExists = FailedPrecondition, "member ID already exist";
    /// Another member has one of these URLs.
    PeerUrlExists = FailedPrecondition, "Peer URLs already exists";
    /// The change would leave too few started members for a quorum.
    ///
    /// Deliberate deviation, as in [`EtcdError::TooManyRequests`]: etcd documents this code and sends [`Code::Unknown`].
    NotEnoughStartedMembers = FailedPrecondition, "re-configuration failed due to not enough started members";
    /// The member to promote is a voter.
    MemberNotLearner = FailedPrecondition, "can only promote a learner member";
    /// The learner to promote is too far behind.
    LearnerNotReady = FailedPrecondition, "can only promote a learner member which is in sync with leader";
    /// One learner more than allowed.
    TooManyLearners = FailedPrecondition, "too many learner members in cluster";
    /// The request is meant for another cluster.
    ClusterIdMismatch = FailedPrecondition, "cluster ID mismatch";
    /// Authentication cannot be turned on without a user `root`.
    RootUserNotExist = FailedPrecondition, "root user does not exist";
    /// Authentication cannot be turned on while user `root` lacks role `root`.
    RootRoleNotExist = FailedPrecondition, "root user does not have root role";
    /// A user of this name is there.
    UserAlreadyExists = FailedPrecondition, "user name already exists";
    /// No such user.
    UserNotFound = FailedPrecondition, "user name not found";
    /// A role of this name is there.
    RoleAlreadyExists = FailedPrecondition, "role name already exists";
    /// No such role.
    RoleNotFound = FailedPrecondition, "role name not found";
    /// The user does not have the role.
    RoleNotGranted = FailedPrecondition, "role is not granted to the user";
    /// The role does not have the permission.
    PermissionNotGranted = FailedPrecondition, "permission is not granted to the role";
    /// The call needs authentication to be on.
    AuthNotEnabled = FailedPrecondition, "authentication is not enabled";
    /// Only the leader takes this call.
    NotLeader = FailedPrecondition, "not leader";
    /// The cluster version does not have this yet.
    NotCapable = FailedPrecondition, "not capable";
    /// A learner does not serve this call.
    NotSupportedForLearner = FailedPrecondition, "rpc not supported for learner";
    /// The member that is to lead cannot.
    BadLeaderTransferee = FailedPrecondition, "bad leader transferee";
    /// A downgrade cannot begin before the cluster has a version.
    ClusterVersionUnavailable = FailedPrecondition, "cluster version not found during downgrade";
    /// One downgrade at a time.
    DowngradeInProcess = FailedPrecondition, "cluster has a downgrade job in progress";
    /// There is no downgrade to abandon.
    NoInflightDowngrade = FailedPrecondition, "no inflight downgrade job";

    /// The user may not.
    PermissionDenied = PermissionDenied, "permission denied";

    /// The token is wrong or too old; the caller authenticates again.
    InvalidAuthToken = Unauthenticated, "invalid auth token";

    /// Nobody leads.
    NoLeader = Unavailable, "no leader";
    /// The leader changed while the request waited.
    LeaderChanged = Unavailable, "leader changed";
    /// The server is stopping.
    Stopped = Unavailable, "server stopped";
    /// No answer in time. The request may still take effect.
    Timeout = Unavailable, "request timed out";
    /// No answer in time, the leader having failed meanwhile. The request may still take effect.
    TimeoutDueToLeaderFail = Unavailable, "request timed out, possibly due to previous leader failure";
    /// No answer in time, members being out of reach. The request may still take effect.
    TimeoutDueToConnectionLost = Unavailable, "request timed out, possibly due to connection lost";
    /// The member did not catch up with the leader in time to serve the read.
    TimeoutWaitAppliedIndex = Unavailable, "request timed out, waiting for the applied index took too long";
    /// Too few members are connected for a change of members.
    Unhealthy = Unavailable, "unhealthy cluster";

    /// The server ended the watch.
    WatchCanceled = Canceled, "watch canceled";
    /// The caller gave up.
    RequestCanceled = Canceled, "request canceled";

    /// The caller's deadline passed. On the wire mostly without the prefix, as gRPC itself says it: [`text::DEADLINE_EXCEEDED`].
    DeadlineExceeded = DeadlineExceeded, "context deadline exceeded";

    /// Members disagree on their data; an alarm is raised.
    Corrupt = DataLoss, "corrupt cluster";
}

impl EtcdError {
    /// The error with exactly this text.
    pub fn from_message(message: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.message() == message)
    }

    /// The text without etcd's prefix, as it stands in some watch responses' `cancel_reason`.
    pub fn plain_message(self) -> &'static str {
        self.message().strip_prefix(PREFIX).unwrap_or(self.message())
    }

    /// The error as a Go program prints its gRPC status. This is what `cancel_reason` holds where a watch is not permitted, and
    /// clients look for it.
    pub fn status_text(self) -> String {
        format!("rpc error: code = {} desc = {}", self.code(), self.message())
    }
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl error::Error for EtcdError {}

/// An error outside etcd's table: a text that etcd does not map, which goes out as [`Code::Unknown`], or one of gRPC's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherError {
    code: Code,
    message: Cow<'static, str>,
}

impl OtherError {
    /// A text that the table does not have, as etcd sends it: [`Code::Unknown`].
    pub fn unmapped(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unknown, message)
    }

    /// A text with a code, such as [`Code::Unimplemented`].
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text on the wire.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for OtherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for OtherError {}

/// What a request fails with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ApiError {
    /// A row of etcd's table.
    Table(EtcdError),
    /// Anything else.
    Other(OtherError),
}

impl ApiError {
    /// What a status from the wire says. A text of the table decides alone, as in etcd's client: servers differ in the code.
    pub fn from_status(code: Code, message: &str) -> Self {
        match EtcdError::from_message(message) {
            Some(error) => Self::Table(error),
            None => Self::Other(OtherError::new(code, message.to_owned())),
        }
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        match self {
            Self::Table(error) => error.code(),
            Self::Other(error) => error.code(),
        }
    }

    /// The text on the wire.
    pub fn message(&self) -> &str {
        match self {
            Self::Table(error) => error.message(),
            Self::Other(error) => error.message(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl error::Error for ApiError {}

impl From<EtcdError> for ApiError {
    fn from(error: EtcdError) -> Self {
        Self::Table(error)
    }
}

impl From<OtherError> for ApiError {
    fn from(error: OtherError) -> Self {
        Self::Other(error)
    }
}

/// Texts outside the table that clients look for. They go out as [`Code::Unknown`] unless said otherwise.
pub mod text {
    /// The lock was lost while its caller waited.
    pub const SESSION_EXPIRED: &str = "mutex: session is expired";
    /// A lease was asked of a member that does not keep them.
    pub const NOT_PRIMARY_LESSOR: &str = "not a primary lessor";
    /// Nobody leads this election.
    pub const ELECTION_NO_LEADER: &str = "election: no leader";
    /// The caller does not lead this election any more.
    pub const ELECTION_NOT_LEADER: &str = "election: not leader";
    /// Proclaim or Resign without a leader's key.
    pub const ELECTION_LEADER_MISSING: &str = r#""leader" field must be provided"#;
    /// A watch's `cancel_reason`: its id is taken on this stream.
    pub const WATCH_DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
    /// A watch's `cancel_reason`: its range holds no key.
    pub const WATCH_EMPTY_RANGE: &str = "mvcc: watcher range is empty";
    /// RangeStream with a sort; code [`Unimplemented`](super::Code::Unimplemented).
    pub const RANGE_STREAM_NO_SORT: &str = "RangeStream does not support custom sort orders";
    /// The caller's deadline passed; code [`DeadlineExceeded`](super::Code::DeadlineExceeded).
    pub const DEADLINE_EXCEEDED: &str = "context deadline exceeded";
}

//! What a call comes to when it does not work.

use std::{fmt, time::Duration};

use quorate_wire::{ApiError, EtcdError};
use tonic::{Code, Status};

/// Was a write that failed executed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// Certainly not.
    No,
    /// Perhaps: read the state, or write in a [`Session`](crate::Session).
    Unknown,
}

/// What a call comes to when it does not work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A URL that cannot be connected to.
    Endpoint {
        /// The URL.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// No endpoint was given.
    NoEndpoints,
    /// A member answered with an error.
    Refused {
        /// Which member.
        endpoint: String,
        /// The error.
        error: ApiError,
        /// Was it executed?
        executed: Executed,
    },
    /// No member could be reached, or the connection broke.
    Unreachable {
        /// The last one tried.
        endpoint: String,
        /// What gRPC says.
        status: Box<Status>,
        /// Was it executed?
        executed: Executed,
    },
    /// No answer in time.
    Deadline {
        /// The last one tried.
        endpoint: String,
        /// How long was waited.
        after: Duration,
        /// Was it executed?
        executed: Executed,
    },
    /// The answer lacks what the API promises.
    Answer {
        /// What is missing.
        missing: &'static str,
    },
}

impl Error {
    /// The row of etcd's table, if the member's answer is one.
    #[must_use]
    pub fn etcd(&self) -> Option<EtcdError> {
        match self {
            Error::Refused { error: ApiError::Table(error), .. } => Some(*error),
            _ => None,
        }
    }

    /// The member's answer, if there was one.
    #[must_use]
    pub fn answer(&self) -> Option<&ApiError> {
        match self {
            Error::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// May what was asked for have been done, although the call failed?
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Error::Refused { executed, .. }
            | Error::Unreachable { executed, .. }
            | Error::Deadline { executed, .. } => *executed,
            Error::Endpoint { .. } | Error::NoEndpoints => Executed::No,
            Error::Answer { .. } => Executed::Unknown,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt = |f: &mut fmt::Formatter<'_>, executed| match executed {
            Executed::No => write!(f, "; it was not executed and may be sent again"),
            Executed::Unknown => {
                write!(
                    f,
                    "; it may have been executed: read the state before you send it again, or write in a session"
                )
            }
        };
        match self {
            Error::Endpoint { endpoint, why } => {
                write!(
                    f,
                    "cannot connect to {endpoint:?}: {why}. An endpoint looks like http://10.0.0.1:2379"
                )
            }
            Error::NoEndpoints => {
                write!(f, "no endpoint was given: name at least one member, like http://127.0.0.1:2379")
            }
            Error::Refused { endpoint, error, executed } => {
                write!(f, "{endpoint} answers: {} ({})", error.message(), error.code())?;
                if *executed == Executed::Unknown { doubt(f, *executed) } else { Ok(()) }
            }
            Error::Unreachable { endpoint, status, executed } => {
                write!(f, "{endpoint} cannot be reached: {} ({:?})", reason(status), status.code())?;
                doubt(f, *executed)
            }
            Error::Deadline { endpoint, after, executed } => {
                write!(
                    f,
                    "no answer within {after:?}, the last tried being {endpoint}; is a majority of the members up?"
                )?;
                doubt(f, *executed)
            }
            Error::Answer { missing } => write!(f, "the answer lacks {missing}: is this an etcd server?"),
        }
    }
}

/// The innermost cause says most: "Connection refused" and not "transport error".
fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

impl std::error::Error for Error {}

/// How a failed try is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An answer: another member would say the same, and nothing was executed.
    Final,
    /// An answer, but the write may have been executed all the same.
    FinalInDoubt,
    /// Certainly not executed: try elsewhere, whatever it was.
    NotExecuted,
    /// Perhaps executed: try elsewhere what may be repeated.
    Doubtful,
}

/// Transport errors have a source; what a server says has none.
pub(crate) fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

pub(crate) fn verdict(status: &Status) -> Verdict {
    match EtcdError::from_message(status.message()) {
        // A server that says one of these has put nothing into the log.
        Some(EtcdError::NoLeader | EtcdError::TooManyRequests | EtcdError::NotLeader) => Verdict::NotExecuted,
        Some(
            EtcdError::LeaderChanged
            | EtcdError::Stopped
            | EtcdError::Timeout
            | EtcdError::TimeoutDueToLeaderFail
            | EtcdError::TimeoutDueToConnectionLost
            | EtcdError::TimeoutWaitAppliedIndex,
        ) => Verdict::Doubtful,
        // etcd looks at the quota again when it applies, and there it writes and says this nevertheless (Quorate does not).
        Some(EtcdError::NoSpace) => Verdict::FinalInDoubt,
        Some(_) => Verdict::Final,
        None if is_transport(status) && never_connected(status) => Verdict::NotExecuted,
        None if is_transport(status) => Verdict::Doubtful,
        None => match status.code() {
            Code::Unavailable | Code::Internal | Code::Cancelled | Code::DeadlineExceeded => {
                Verdict::Doubtful
            }
            // A text that nobody mapped says nothing of when it was raised.
            Code::Unknown => Verdict::FinalInDoubt,
            _ => Verdict::Final,
        },
    }
}

/// A connection that never came about carried no request.
fn never_connected(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::NetworkUnreachable
                    | std::io::ErrorKind::HostUnreachable
                    | std::io::ErrorKind::AddrNotAvailable
            );
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_proves_that_nothing_was_done_allows_a_write_again() {
        let check =
            |status: Status, verdict_wanted| assert_eq!(verdict(&status), verdict_wanted, "{status:?}");
        check(Status::unavailable("etcdserver: no leader"), Verdict::NotExecuted);
        check(Status::unknown("etcdserver: too many requests"), Verdict::NotExecuted);
        check(Status::unavailable("etcdserver: request timed out"), Verdict::Doubtful);
        check(Status::unavailable("etcdserver: leader changed"), Verdict::Doubtful);
        check(Status::unavailable("anything else"), Verdict::Doubtful);
        check(Status::unknown("anything else"), Verdict::FinalInDoubt);
        check(Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), Verdict::FinalInDoubt);
        check(Status::invalid_argument("etcdserver: key is not provided"), Verdict::Final);
        check(Status::failed_precondition("etcdserver: rpc not supported for learner"), Verdict::Final);
    }
}

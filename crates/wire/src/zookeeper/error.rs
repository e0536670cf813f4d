//! ZooKeeper's error codes.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// Why a request failed: the number in a reply's header. Zero, for no error, is none of these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum ErrorCode {
            $($(#[$doc])* $name = $number,)+
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)+];

            /// The one with this number; none for zero, and for numbers that ZooKeeper does not have.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<ErrorCode> {
                match number {
                    $($number => Some(ErrorCode::$name),)+
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// Something of the server's own broke.
    SystemError = -1,
    /// In a multi: not tried, for one before it failed.
    RuntimeInconsistency = -2,
    /// Data is damaged.
    DataInconsistency = -3,
    /// The connection broke; whether the request was carried out is not known.
    ConnectionLoss = -4,
    /// The request is not in the format of its kind.
    MarshallingError = -5,
    /// Not offered.
    Unimplemented = -6,
    /// Too late.
    OperationTimeout = -7,
    /// The request is wrong in itself.
    BadArguments = -8,
    /// The session is not known.
    UnknownSession = -12,
    /// The new ensemble would have no quorum that is in step.
    NewConfigNoQuorum = -13,
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14,
    /// Where the errors of the API begin; none itself.
    ApiError = -100,
    /// There is no such znode.
    NoNode = -101,
    /// The ACL does not allow it.
    NoAuth = -102,
    /// The znode has another version.
    BadVersion = -103,
    /// Ephemerals have no children.
    NoChildrenForEphemerals = -108,
    /// The znode exists.
    NodeExists = -110,
    /// The znode has children.
    NotEmpty = -111,
    /// The session is over.
    SessionExpired = -112,
    /// A client's callback is wrong; never sent.
    InvalidCallback = -113,
    /// The ACL is empty or malformed.
    InvalidAcl = -114,
    /// The client is not who it says.
    AuthFailed = -115,
    /// Another connection has the session. Never sent: the connection is closed instead.
    SessionMoved = -118,
    /// A write to a server that only reads.
    NotReadOnly = -119,
    /// An ephemeral in a local session.
    EphemeralOnLocalSession = -120,
    /// There is no such watch.
    NoWatcher = -121,
    /// The request took too long.
    RequestTimeout = -122,
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123,
    /// The session ended, for SASL is asked for.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota is reached.
    QuotaExceeded = -125,
    /// The server is overloaded and did not carry it out.
    ThrottledOp = -127,
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_zero_is_no_error() {
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(error.number()), Some(*error));
        }
        assert_eq!(ErrorCode::from_number(0), None);
        assert_eq!(ErrorCode::from_number(-9), None);
    }
}

//! The error table, held against a second statement of it.

use std::collections::BTreeSet;

use quorate_wire::{ApiError, Code, EtcdError, OtherError, text};

/// gRPC's number of the code, then the texts after `etcdserver: `.
const TABLE: &[(i32, &[&str])] = &[
    (
        3,
        &[
            "key is not provided",
            "key not found",
            "value is provided",
            "lease is provided",
            "too many operations in txn request",
            "duplicate key given in txn request",
            "invalid client api version",
            "invalid sort option",
            "given member URLs are invalid",
            "request is too large",
            "user name is empty",
            "role name is empty",
            "authentication failed, invalid user ID or password",
            "permission not given",
            "invalid auth management",
            "revision of auth store is old",
            "wrong downgrade target version format",
            "invalid downgrade target version",
        ],
    ),
    (
        11,
        &[
            "mvcc: required revision has been compacted",
            "mvcc: required revision is a future revision",
            "too large lease TTL",
        ],
    ),
    (8, &["mvcc: database space exceeded", "too many requests"]),
    (5, &["requested lease not found", "member not found"]),
    (
        9,
        &[
            "lease already exists",
            "member ID already exist",
            "Peer URLs already exists",
            "re-configuration failed due to not enough started members",
            "can only promote a learner member",
            "can only promote a learner member which is in sync with leader",
            "too many learner members in cluster",
            "cluster ID mismatch",
            "root user does not exist",
            "root user does not have root role",
            "user name already exists",
            "user name not found",
            "role name already exists",
            "role name not found",
            "role is not granted to the user",
            "permission is not granted to the role",
            "authentication is not enabled",
            "not leader",
            "not capable",
            "rpc not supported for learner",
            "bad leader transferee",
            "cluster version not found during downgrade",
            "cluster has a downgrade job in progress",
            "no inflight downgrade job",
        ],
    ),
    (7, &["permission denied"]),
    (16, &["invalid auth token"]),
    (
        14,
        &[
            "no leader",
            "leader changed",
            "server stopped",
            "request timed out",
            "request timed out, possibly due to previous leader failure",
            "request timed out, possibly due to connection lost",
            "request timed out, waiting for the applied index took too long",
            "unhealthy cluster",
        ],
    ),
    (1, &["watch canceled", "request canceled"]),
    (4, &["context deadline exceeded"]),
    (15, &["corrupt cluster"]),
];

#[test]
fn the_table_is_etcds_and_complete() {
    let expected: BTreeSet<_> = TABLE
        .iter()
        .flat_map(|(code, texts)| texts.iter().map(move |text| (*code, format!("etcdserver: {text}"))))
        .collect();
    let found: BTreeSet<_> =
        EtcdError::ALL.iter().map(|error| (error.code().number(), error.message().to_owned())).collect();
    assert_eq!(found, expected);
    assert_eq!(EtcdError::ALL.len(), 63);
}

#[test]
fn a_text_names_one_error() {
    for &error in EtcdError::ALL {
        assert_eq!(EtcdError::from_message(error.message()), Some(error));
        assert_eq!(EtcdError::from_message(error.plain_message()), None, "the prefix is part of the text");
        assert_eq!(format!("etcdserver: {}", error.plain_message()), error.message());
    }
}

#[test]
fn a_text_outside_the_table_goes_out_as_unknown() {
    let error = ApiError::from(OtherError::unmapped(text::SESSION_EXPIRED));
    assert_eq!((error.code(), error.message()), (Code::Unknown, "mutex: session is expired"));
    assert_eq!(ApiError::from_status(Code::Unknown, "mutex: session is expired"), error);
}

#[test]
fn a_status_is_known_by_its_text_whatever_its_code() {
    // etcd sends these two as Unknown.
    for error in [EtcdError::TooManyRequests, EtcdError::NotEnoughStartedMembers] {
        assert_eq!(ApiError::from_status(Code::Unknown, error.message()), ApiError::Table(error));
    }
    let unprefixed = ApiError::from_status(Code::DeadlineExceeded, text::DEADLINE_EXCEEDED);
    assert_eq!(unprefixed, OtherError::new(Code::DeadlineExceeded, "context deadline exceeded").into());
}

#[test]
fn a_refused_watch_gives_the_status_as_go_prints_it() {
    assert_eq!(
        EtcdError::PermissionDenied.status_text(),
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    );
    assert_eq!(EtcdError::Compacted.plain_message(), "mvcc: required revision has been compacted");
}

#[test]
fn codes_have_grpcs_numbers() {
    for (number, code) in (0..).zip(Code::ALL) {
        assert_eq!(code.number(), number);
        assert_eq!(Code::from_number(number), code);
    }
    assert_eq!(Code::Unauthenticated.number(), 16);
    assert_eq!([Code::from_number(17), Code::from_number(-1)], [Code::Unknown; 2]);
    assert_eq!([Code::Ok.to_string(), Code::DataLoss.to_string()], ["OK", "DataLoss"]);
}

//! Bytes worked out by hand from the field numbers: what an etcd client sends and expects.

use std::fmt::Debug;

use prost::Message;
use quorate_wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_wire::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_wire::etcdserverpb::request_op::Request;
use quorate_wire::etcdserverpb::watch_create_request::FilterType;
use quorate_wire::etcdserverpb::{
    Compare, LeaseGrantRequest, LeaseTimeToLiveResponse, Member, PutRequest, RangeRequest, RequestOp,
    ResponseHeader, TxnRequest, WatchCreateRequest, WatchResponse,
};
use quorate_wire::mvccpb::event::EventType;
use quorate_wire::mvccpb::{Event, KeyValue};
use quorate_wire::v3electionpb::{LeaderKey, ResignRequest};
use quorate_wire::v3lockpb::LockResponse;

#[track_caller]
fn check<M: Message + Default + PartialEq + Debug>(message: M, bytes: &[u8]) {
    assert_eq!(message.encode_to_vec(), bytes);
    assert_eq!(M::decode(bytes).as_ref(), Ok(&message));
}

#[test]
fn a_negative_int64_is_a_ten_byte_varint_and_not_zigzag() {
    check(
        LeaseTimeToLiveResponse { ttl: -1, ..Default::default() },
        &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    );
    check(
        WatchResponse { watch_id: -1, created: true, canceled: true, ..Default::default() },
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x18, 1, 0x20, 1],
    );
    // Zigzag would make 60 of it.
    check(LeaseGrantRequest { ttl: 30, id: 7 }, &[0x08, 30, 0x10, 7]);
}

#[test]
fn a_member_id_of_all_64_bits_survives() {
    check(
        ResponseHeader { cluster_id: 1, member_id: u64::MAX, revision: 300, raft_term: 2 },
        &[
            0x08, 1, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x18, 0xac, 0x02,
            0x20, 2,
        ],
    );
}

#[test]
fn the_events_of_a_watch_response_are_field_11() {
    let kv = KeyValue {
        key: "k".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 4,
        value: "v".into(),
        lease: 5,
    };
    check(
        WatchResponse {
            header: Some(ResponseHeader { revision: 3, ..Default::default() }),
            compact_revision: 9,
            cancel_reason: "r".into(),
            fragment: true,
            events: vec![Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv: None }],
            ..Default::default()
        },
        &[
            0x0a, 2, 0x18, 3, // header
            0x28, 9, // compact_revision = 5
            0x32, 1, b'r', // cancel_reason = 6
            0x38, 1, // fragment = 7
            0x5a, 18, // events = 11
            0x08, 1, // type
            0x12, 14, // kv
            0x0a, 1, b'k', 0x10, 2, 0x18, 3, 0x20, 4, 0x2a, 1, b'v', 0x30, 5,
        ],
    );
}

#[test]
fn the_range_end_of_a_compare_is_field_64_and_comes_last() {
    check(
        Compare {
            result: CompareResult::NotEqual.into(),
            target: CompareTarget::Lease.into(),
            key: "a".into(),
            target_union: Some(TargetUnion::Lease(1)),
            range_end: "b".into(),
        },
        &[0x08, 3, 0x10, 4, 0x1a, 1, b'a', 0x40, 1, 0x82, 0x04, 1, b'b'],
    );
}

#[test]
fn a_zero_in_a_oneof_is_sent_because_it_says_which_it_is() {
    check(
        Compare {
            target: CompareTarget::Create.into(),
            target_union: Some(TargetUnion::CreateRevision(0)),
            ..Default::default()
        },
        &[0x10, 1, 0x28, 0],
    );
}

#[test]
fn a_range_request_uses_all_thirteen_fields() {
    check(
        RangeRequest {
            key: "a".into(),
            range_end: "b".into(),
            limit: 3,
            revision: 4,
            sort_order: SortOrder::Descend.into(),
            sort_target: SortTarget::Value.into(),
            serializable: true,
            keys_only: true,
            count_only: true,
            min_mod_revision: 10,
            max_mod_revision: 11,
            min_create_revision: 12,
            max_create_revision: 13,
        },
        &[
            0x0a, 1, b'a', 0x12, 1, b'b', 0x18, 3, 0x20, 4, 0x28, 2, 0x30, 4, 0x38, 1, 0x40, 1, 0x48, 1,
            0x50, 10, 0x58, 11, 0x60, 12, 0x68, 13,
        ],
    );
}

#[test]
fn a_transaction_nests() {
    let put = RequestOp {
        request: Some(Request::RequestPut(PutRequest { key: "k".into(), ..Default::default() })),
    };
    let inner = TxnRequest { failure: vec![put], ..Default::default() };
    let nested = RequestOp { request: Some(Request::RequestTxn(inner)) };
    check(
        TxnRequest {
            compare: vec![Compare::default()],
            success: vec![nested, RequestOp::default()],
            failure: vec![],
        },
        &[0x0a, 0, 0x12, 9, 0x22, 7, 0x1a, 5, 0x12, 3, 0x0a, 1, b'k', 0x12, 0],
    );
}

#[test]
fn filters_are_packed_and_taken_unpacked_too() {
    let create = WatchCreateRequest {
        filters: vec![FilterType::Noput.into(), FilterType::Nodelete.into()],
        ..Default::default()
    };
    assert_eq!(WatchCreateRequest::decode(&[0x28, 0, 0x28, 1][..]).as_ref(), Ok(&create));
    check(create, &[0x2a, 2, 0, 1]);
}

#[test]
fn urls_of_a_member_are_fields_3_and_4() {
    check(
        Member {
            id: 1,
            name: "n".into(),
            peer_urls: vec!["p".into(), "q".into()],
            client_urls: vec!["c".into()],
            is_learner: true,
        },
        &[0x08, 1, 0x12, 1, b'n', 0x1a, 1, b'p', 0x1a, 1, b'q', 0x22, 1, b'c', 0x28, 1],
    );
}

#[test]
fn locks_and_elections_use_the_common_header_and_their_own_key() {
    check(
        LockResponse { header: Some(ResponseHeader { revision: 1, ..Default::default() }), key: "k".into() },
        &[0x0a, 2, 0x18, 1, 0x12, 1, b'k'],
    );
    check(
        ResignRequest { leader: Some(LeaderKey { name: "n".into(), key: "k".into(), rev: 3, lease: 4 }) },
        &[0x0a, 10, 0x0a, 1, b'n', 0x12, 1, b'k', 0x18, 3, 0x20, 4],
    );
}

#[test]
fn a_field_from_the_future_is_skipped() {
    // Fields 100 (varint), 101 (bytes), 102 (fixed64) and 103 (a group) beside the key.
    let bytes = [
        0xa0, 0x06, 1, 0xaa, 0x06, 1, 0, 0x0a, 1, b'k', 0xb1, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0xbb, 0x06, 0x08,
        1, 0xbc, 0x06,
    ];
    assert_eq!(PutRequest::decode(&bytes[..]), Ok(PutRequest { key: "k".into(), ..Default::default() }));
}

#[test]
fn an_enumeration_value_from_the_future_is_kept_as_its_number() {
    let range = RangeRequest::decode(&[0x28, 9][..]).expect("a valid message");
    assert_eq!(range.sort_order, 9);
    assert!(SortOrder::try_from(range.sort_order).is_err());
    assert_eq!(range.encode_to_vec(), [0x28, 9]);
}

#[test]
fn bytes_are_shared_with_the_buffer_and_not_copied() {
    let buffer =
        bytes::Bytes::from(PutRequest { value: vec![7; 1000].into(), ..Default::default() }.encode_to_vec());
    let put = PutRequest::decode(buffer.clone()).expect("a valid message");
    assert_eq!(put.value.as_ptr(), buffer[buffer.len() - 1000..].as_ptr());
}

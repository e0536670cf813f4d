//! Bytes that no honest client sends: an error, never a panic, and never memory out of proportion.

use prost::Message;
use quorate_wire::etcdserverpb::request_op::Request;
use quorate_wire::etcdserverpb::response_op::Response;
use quorate_wire::etcdserverpb::{
    AuthUserAddRequest, Compare, LeaseTimeToLiveResponse, MemberAddRequest, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse, WatchRequest,
    WatchResponse,
};
use quorate_wire::guard::{TxnRefusal, check_txn, check_txn_tree, decode_txn, txn_depth};
use quorate_wire::mvccpb::{Event, KeyValue};
use quorate_wire::{ApiError, Code, EtcdError, Limits, TXN_DEPTH_MAX, TXN_TREE_OPS_MAX};

const LIMITS: fn() -> Limits = Limits::default;

/// `depth` transactions, each in the last operation of the one around it, the innermost holding `content`.
fn nest(depth: usize, mut content: Vec<u8>) -> Vec<u8> {
    // Written from the inside out, so backwards.
    content.reverse();
    for _ in 1..depth {
        for key in [0x22, 0x12] {
            let mut header = vec![key];
            prost::encode_length_delimiter(content.len(), &mut header).expect("a Vec grows");
            content.extend(header.iter().rev());
        }
    }
    content.reverse();
    content
}

fn read_op() -> RequestOp {
    RequestOp { request: Some(Request::RequestRange(RangeRequest { key: "k".into(), ..Default::default() })) }
}

#[test]
fn ten_thousand_nested_transactions_are_an_error_and_not_a_stack_overflow() {
    for depth in [100, 10_000, 100_000] {
        let bytes = nest(depth, vec![]);
        assert!(TxnRequest::decode(&bytes[..]).is_err(), "prost, {depth} deep");
        assert_eq!(check_txn(&bytes, &LIMITS()), Err(TxnRefusal::TooDeep), "{depth} deep");
    }
    assert_eq!(ApiError::from(TxnRefusal::TooDeep), EtcdError::TooManyOps.into());
}

#[test]
fn ten_thousand_nested_groups_are_an_error_and_not_a_stack_overflow() {
    // Group 100 opened again and again, in a message that has no such field.
    let bytes = [0xa3, 0x06].repeat(10_000);
    assert!(TxnRequest::decode(&bytes[..]).is_err());
    assert_eq!(check_txn(&bytes, &LIMITS()), Err(TxnRefusal::Malformed));
}

#[test]
fn the_deepest_transaction_accepted_decodes_and_so_does_its_answer() {
    let inner = TxnRequest { success: vec![read_op()], ..Default::default() }.encode_to_vec();
    let deepest = nest(TXN_DEPTH_MAX, inner.clone());
    let txn = decode_txn(deepest.into(), &LIMITS()).expect("within the limit");
    assert_eq!(txn_depth(&txn), TXN_DEPTH_MAX);
    assert_eq!(check_txn_tree(&txn, &LIMITS()), Ok(()));
    assert_eq!(decode_txn(nest(TXN_DEPTH_MAX + 1, inner).into(), &LIMITS()), Err(TxnRefusal::TooDeep));

    let answer = |depth| {
        let kv = KeyValue { key: "k".into(), ..Default::default() };
        let read = RangeResponse { kvs: vec![kv], ..Default::default() };
        let mut op = ResponseOp { response: Some(Response::ResponseRange(read)) };
        for _ in 1..depth {
            let txn = TxnResponse { responses: vec![op], ..Default::default() };
            op = ResponseOp { response: Some(Response::ResponseTxn(txn)) };
        }
        TxnResponse { responses: vec![op], ..Default::default() }
    };
    let round_trip = |answer: &TxnResponse| TxnResponse::decode(&answer.encode_to_vec()[..]);
    assert_eq!(round_trip(&answer(TXN_DEPTH_MAX)), Ok(answer(TXN_DEPTH_MAX)));
    assert!(
        round_trip(&answer(TXN_DEPTH_MAX + 1)).is_err(),
        "one deeper could not be answered: the limit is exact"
    );
}

#[test]
fn a_deep_transaction_built_in_memory_is_measured_without_recursion() {
    let mut txn = TxnRequest::default();
    for _ in 1..1_000 {
        txn = TxnRequest {
            failure: vec![read_op(), RequestOp { request: Some(Request::RequestTxn(txn)) }],
            ..Default::default()
        };
    }
    assert_eq!(txn_depth(&txn), 1_000);
    assert_eq!(check_txn_tree(&txn, &LIMITS()), Err(TxnRefusal::TooDeep));
}

#[test]
fn operations_are_counted_over_the_whole_tree_before_they_take_memory() {
    // Nine levels of four: 349,524 operations, and no level has more than four.
    let mut bytes = Vec::new();
    for _ in 0..9 {
        let mut op = vec![0x22];
        prost::encode_length_delimiter(bytes.len(), &mut op).expect("a Vec grows");
        op.extend(&bytes);
        let mut field = vec![0x12];
        prost::encode_length_delimiter(op.len(), &mut field).expect("a Vec grows");
        field.extend(&op);
        bytes = field.repeat(4);
    }
    assert!(bytes.len() < LIMITS().recv_bytes_max());
    assert_eq!(check_txn(&bytes, &LIMITS()), Err(TxnRefusal::TooManyOps));

    for empty in [[0x0a, 0], [0x12, 0], [0x1a, 0]] {
        let most = empty.repeat(TXN_TREE_OPS_MAX);
        assert_eq!(check_txn(&most, &LIMITS()), Ok(()));
        let txn = TxnRequest::decode(&most[..]).expect("valid");
        assert_eq!(check_txn_tree(&txn, &LIMITS()), Ok(()));
        assert_eq!(check_txn(&[most, empty.to_vec()].concat(), &LIMITS()), Err(TxnRefusal::TooManyOps));
    }
}

#[test]
fn one_operation_that_repeats_its_transaction_is_counted_each_time() {
    // prost merges what a oneof is given twice: 100 times 1,000 operations are 100,000.
    let inner = [0x12, 0].repeat(1_000);
    let mut op = Vec::new();
    for _ in 0..100 {
        op.push(0x22);
        prost::encode_length_delimiter(inner.len(), &mut op).expect("a Vec grows");
        op.extend(&inner);
    }
    let mut bytes = vec![0x12];
    prost::encode_length_delimiter(op.len(), &mut bytes).expect("a Vec grows");
    bytes.extend(&op);
    assert_eq!(check_txn(&bytes, &LIMITS()), Err(TxnRefusal::TooManyOps));
    assert!(check_txn_tree(&TxnRequest::decode(&bytes[..]).expect("valid"), &LIMITS()).is_err());
}

#[test]
fn a_length_beyond_the_buffer_is_an_error_and_allocates_nothing() {
    for key in [0x0a, 0x12, 0x1a] {
        for length in [1, 1 << 20, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            let mut bytes = vec![key];
            let mut rest = length;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            assert!(PutRequest::decode(&bytes[..]).is_err(), "{bytes:x?}");
            assert!(TxnRequest::decode(&bytes[..]).is_err(), "{bytes:x?}");
            assert_eq!(check_txn(&bytes, &LIMITS()), Err(TxnRefusal::Malformed), "{bytes:x?}");
        }
    }
    assert_eq!(ApiError::from(TxnRefusal::Malformed).code(), Code::Internal);
}

#[test]
fn a_varint_of_more_than_ten_bytes_or_64_bits_is_an_error() {
    let eleven = [&[0x08][..], &[0xff; 10], &[0]].concat();
    let too_big = [&[0x08][..], &[0xff; 9], &[0x02]].concat();
    for bytes in [eleven, too_big] {
        assert!(ResponseHeader::decode(&bytes[..]).is_err(), "{bytes:x?}");
        assert_eq!(check_txn(&bytes, &LIMITS()), Err(TxnRefusal::Malformed), "{bytes:x?}");
    }
}

#[test]
fn a_string_that_is_not_utf8_is_an_error() {
    assert!(AuthUserAddRequest::decode(&[0x0a, 2, 0xc3, 0x28][..]).is_err());
    // Keys are bytes.
    assert!(PutRequest::decode(&[0x0a, 2, 0xc3, 0x28][..]).is_ok());
}

/// Honest messages to cut and mutate.
fn samples() -> Vec<Vec<u8>> {
    let kv =
        KeyValue { key: "key".into(), mod_revision: -1, value: vec![7; 200].into(), ..Default::default() };
    let event = Event { kv: Some(kv.clone()), prev_kv: Some(kv), ..Default::default() };
    let compare = Compare { key: "key".into(), range_end: "kez".into(), ..Default::default() };
    let inner = TxnRequest { success: vec![read_op(), read_op()], ..Default::default() };
    let op = RequestOp { request: Some(Request::RequestTxn(inner)) };
    let txn = TxnRequest {
        compare: vec![compare; 2],
        success: vec![read_op(), op.clone()],
        failure: vec![op, read_op()],
    };
    let member = MemberAddRequest { peer_urls: vec!["http://a:2380".into(); 3], is_learner: true };
    vec![
        WatchResponse { events: vec![event; 3], cancel_reason: "é".into(), ..Default::default() }
            .encode_to_vec(),
        txn.encode_to_vec(),
        member.encode_to_vec(),
        nest(30, TxnRequest { success: vec![read_op()], ..Default::default() }.encode_to_vec()),
    ]
}

/// Decodes as each of these; what succeeds must encode and decode to itself. For a transaction, the guard must agree.
fn decode_as_everything(bytes: &[u8]) {
    fn once<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(message) = M::decode(bytes) {
            assert_eq!(M::decode(&message.encode_to_vec()[..]).as_ref(), Ok(&message), "{bytes:x?}");
        }
    }
    once::<WatchResponse>(bytes);
    once::<WatchRequest>(bytes);
    once::<MemberAddRequest>(bytes);
    once::<TxnResponse>(bytes);
    once::<LeaseTimeToLiveResponse>(bytes);
    once::<TxnRequest>(bytes);

    let tight = Limits { txn_depth_max: 3, txn_tree_ops_max: 6, ..Default::default() };
    for limits in [Limits::default(), tight] {
        let decoded = TxnRequest::decode(bytes);
        match (check_txn(bytes, &limits), &decoded) {
            (Ok(()), Ok(txn)) => assert_eq!(check_txn_tree(txn, &limits), Ok(()), "{bytes:x?}"),
            (Err(TxnRefusal::Malformed), Ok(txn)) => panic!("the guard calls {bytes:x?} malformed: {txn:?}"),
            (Ok(()) | Err(TxnRefusal::Malformed | TxnRefusal::TooDeep | TxnRefusal::TooManyOps), _) => {}
        }
    }
}

#[test]
fn a_message_cut_anywhere_never_panics() {
    for sample in samples() {
        for length in 0..=sample.len() {
            decode_as_everything(&sample[..length]);
        }
        // Cut within its last field, it is not a message.
        assert!(TxnRequest::decode(&sample[..sample.len() - 1]).is_err());
    }
}

#[test]
fn mutated_bytes_never_panic_and_the_guard_never_lets_more_through_than_it_counted() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let interesting = [0x00, 0x01, 0x0a, 0x12, 0x1a, 0x22, 0x7f, 0x80, 0xff];
    for sample in samples() {
        for _ in 0..20_000 {
            let mut bytes = sample.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(5) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at] = interesting[random(interesting.len())],
                    2 => bytes.insert(at, random(256) as u8),
                    3 if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {
                        let end = at + random(bytes.len() - at);
                        let copy = bytes[at..end].to_vec();
                        bytes.extend(copy);
                    }
                }
            }
            decode_as_everything(&bytes);
        }
    }
}

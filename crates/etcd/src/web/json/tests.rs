use bytes::Bytes;
use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, Value};
use quorate_wire::{FILE_DESCRIPTOR_SET, etcdserverpb as pb, mvccpb};

use super::*;

fn kind(name: &str) -> MessageDescriptor {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap().get_message_by_name(name).unwrap()
}

/// A body as the one message that it is.
fn read<M: prost::Message + Default>(name: &str, body: &str) -> M {
    let frames =
        to_frames(body.as_bytes(), &kind(name), false).unwrap_or_else(|error| panic!("{body}: {error}"));
    M::decode(&frames[PREFIX_BYTES..]).unwrap()
}

fn written(name: &str, message: &impl prost::Message) -> String {
    let mut json = Vec::new();
    from_message(message.encode_to_vec().into(), &kind(name), &mut json).unwrap();
    String::from_utf8(json).unwrap()
}

#[test]
fn names_are_taken_in_both_spellings_and_numbers_as_numbers_or_text() {
    let wanted = pb::RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 1 << 60,
        sort_order: pb::range_request::SortOrder::Descend.into(),
        keys_only: true,
        ..Default::default()
    };
    for body in [
        r#"{"key":"YQ==","range_end":"Yg==","limit":"1152921504606846976","sort_order":"DESCEND","keys_only":true}"#,
        r#"{"key":"YQ","rangeEnd":"Yg","limit":1152921504606846976,"sortOrder":2,"keysOnly":true}"#,
        r#" {"nobody":{"knows":[1,{"this":null}]},"key":"YQ==","range_end":"Yg==","limit":1152921504606846976,
             "sort_order":2,"keys_only":true,"revision":null,"sort_target":"NO_SUCH_TARGET"} and what follows"#,
    ] {
        assert_eq!(read::<pb::RangeRequest>("etcdserverpb.RangeRequest", body), wanted);
    }
    let urls = read::<pb::MemberAddRequest>(
        "etcdserverpb.MemberAddRequest",
        r#"{"peerURLs":["http://a:1"],"isLearner":true}"#,
    );
    assert_eq!((urls.peer_urls, urls.is_learner), (vec!["http://a:1".to_owned()], true));
    assert_eq!(read::<pb::RangeRequest>("etcdserverpb.RangeRequest", ""), pb::RangeRequest::default());
    assert_eq!(read::<pb::RangeRequest>("etcdserverpb.RangeRequest", " \n{}"), pb::RangeRequest::default());
}

#[test]
fn base64_is_taken_in_both_alphabets_and_without_its_padding() {
    for body in [r#"{"key":"-_8="}"#, r#"{"key":"+/8="}"#, r#"{"key":"-_8"}"#, r#"{"key":"+/8"}"#] {
        assert_eq!(&read::<pb::PutRequest>("etcdserverpb.PutRequest", body).key[..], [0xfb, 0xff], "{body}");
    }
}

#[test]
fn answers_have_the_names_of_the_proto_files_and_leave_out_what_is_zero() {
    let response = pb::RangeResponse {
        header: Some(pb::ResponseHeader { cluster_id: u64::MAX, member_id: 1, revision: 7, raft_term: 0 }),
        kvs: vec![mvccpb::KeyValue {
            key: vec![0xfb, 0xff].into(),
            mod_revision: 1 << 62,
            lease: -1,
            ..Default::default()
        }],
        more: false,
        count: 1,
    };
    assert_eq!(
        written("etcdserverpb.RangeResponse", &response),
        r#"{"header":{"cluster_id":"18446744073709551615","member_id":"1","revision":"7"},"kvs":[{"key":"+/8=","mod_revision":"4611686018427387904","lease":"-1"}],"count":"1"}"#
    );
    let member = pb::Member { id: 5, peer_urls: vec!["http://a:1".into()], ..Default::default() };
    assert_eq!(written("etcdserverpb.Member", &member), r#"{"ID":"5","peerURLs":["http://a:1"]}"#);
    let status = pb::StatusResponse { db_size: 1, raft_applied_index: 2, ..Default::default() };
    assert_eq!(written("etcdserverpb.StatusResponse", &status), r#"{"dbSize":"1","raftAppliedIndex":"2"}"#);
    let alarm = pb::AlarmMember { member_id: 0, alarm: pb::AlarmType::Nospace.into() };
    assert_eq!(written("etcdserverpb.AlarmMember", &alarm), r#"{"alarm":"NOSPACE"}"#);
    // What was chosen shows, even if there is nothing in it.
    let chosen =
        pb::ResponseOp { response: Some(pb::response_op::Response::ResponsePut(pb::PutResponse::default())) };
    assert_eq!(written("etcdserverpb.ResponseOp", &chosen), r#"{"response_put":{}}"#);
}

#[test]
fn what_is_no_message_is_refused_in_words() {
    let deep = r#"{"a":"#.repeat(100_000);
    let nested = format!(r#"{{"success":[{}]}}"#, r#"{"request_txn":{"success":["#.repeat(20_000));
    for body in [
        "{",
        "[]",
        "7",
        "null",
        "\"a\"",
        "{\"key\":7}",
        "{\"key\":\"*\"}",
        "{\"limit\":1.5}",
        "{\"limit\":\"x\"}",
        "{\"limit\":99999999999999999999}",
        "{\"keys_only\":\"true\"}",
        "{\"key\":\"a\" \"limit\":1}",
        &deep,
    ] {
        let error = to_frames(body.as_bytes(), &kind("etcdserverpb.RangeRequest"), false).unwrap_err();
        assert!(!error.is_empty(), "{body}");
    }
    assert!(to_frames(nested.as_bytes(), &kind("etcdserverpb.TxnRequest"), false).is_err());
    assert!(to_frames(b"{\"key\":\"\xff\"}", &kind("etcdserverpb.RangeRequest"), false).is_err());
}

#[test]
fn a_stream_takes_each_message_of_a_body_and_other_calls_take_the_first() {
    let watch = kind("etcdserverpb.WatchRequest");
    let two = br#"{"progress_request":{}} {"cancel_request":{"watch_id":7}}"#;
    let length = |frames: &Bytes| u32::from_be_bytes(frames[1..5].try_into().unwrap()) as usize;
    let frames = to_frames(two, &watch, true).unwrap();
    let rest = frames.slice(PREFIX_BYTES + length(&frames)..);
    let second = pb::WatchRequest::decode(&rest[PREFIX_BYTES..]).unwrap();
    let cancel = pb::watch_request::RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 });
    assert_eq!(second.request_union, Some(cancel));
    let one = to_frames(two, &watch, false).unwrap();
    assert_eq!(one.len(), PREFIX_BYTES + length(&one));
    assert!(to_frames(br"{} {", &watch, true).is_err());
}

// ── any message at all ──────────────────────────────────────────────────────────────────────────────────────────────

/// Numbers that one seed gives.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    /// Often the ends of a range, where mistakes are.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 63,
            _ => self.next(),
        }
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Value {
        match kind {
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.number() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.number() as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.number() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.number()),
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::String => {
                let length = self.below(5);
                Value::String(
                    (0..length).map(|_| char::from_u32(self.below(0xd800) as u32).unwrap()).collect(),
                )
            }
            Kind::Bytes => {
                let length = self.below(9);
                Value::Bytes((0..length).map(|_| self.next() as u8).collect::<Vec<_>>().into())
            }
            Kind::Enum(kind) => {
                let values: Vec<i32> = kind.values().map(|value| value.number()).collect();
                Value::EnumNumber(values[self.below(values.len() as u64) as usize])
            }
            Kind::Message(kind) => Value::Message(self.message(kind, depth + 1)),
            Kind::Double | Kind::Float => panic!("etcd has none"),
        }
    }

    fn message(&mut self, kind: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(kind.clone());
        for field in kind.fields() {
            let deep = depth >= 4 && matches!(field.kind(), Kind::Message(_));
            if deep || self.below(3) == 0 {
                continue;
            }
            let value = if field.is_map() {
                Value::Map(std::iter::empty::<(MapKey, Value)>().collect())
            } else if field.is_list() {
                Value::List((0..self.below(3)).map(|_| self.value(&field.kind(), depth)).collect())
            } else {
                self.value(&field.kind(), depth)
            };
            // A later field of a choice replaces an earlier one.
            message.set_field(&field, value);
        }
        message
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_message_comes_back_from_json_as_it_was(seed in 1_u64..) {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let kinds: Vec<MessageDescriptor> = pool.all_messages().filter(|kind| !kind.is_map_entry()).collect();
        let mut draws = Draws(seed);
        for _ in 0..3 {
            let kind = &kinds[draws.below(kinds.len() as u64) as usize];
            let message = draws.message(kind, 0);
            let mut json = Vec::new();
            from_message(message.encode_to_vec().into(), kind, &mut json).unwrap();
            let frames = to_frames(&json, kind, false).unwrap();
            prop_assert_eq!(frames[1..PREFIX_BYTES].to_vec(), ((frames.len() - PREFIX_BYTES) as u32).to_be_bytes());
            let back = DynamicMessage::decode(kind.clone(), &frames[PREFIX_BYTES..]).unwrap();
            prop_assert_eq!(back.encode_to_vec(), message.encode_to_vec(), "{}", String::from_utf8_lossy(&json));

            // A byte that is another one makes another message or none.
            let at = draws.below(json.len() as u64) as usize;
            json[at] = draws.next() as u8;
            let _ = to_frames(&json, kind, draws.below(2) == 0);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), many: bool) {
        let kind = kind("etcdserverpb.TxnRequest");
        let _ = to_frames(&body, &kind, many);
        let _ = from_message(body.into(), &kind, &mut Vec::new());
    }
}

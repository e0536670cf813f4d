//! What clients send: etcd's messages, ZooKeeper's packets.

use bytes::{Bytes, BytesMut};
use prost::Message;
use quorate_service::{keyspace, kv};
use quorate_wire::{
    Limits, etcdserverpb as pb, guard,
    jute::Writer,
    v3electionpb as election, v3lockpb as lock,
    zookeeper::{FRAME_BYTES_MAX, Incoming, OpCode, Request, Response, next_packet},
};

use crate::script::Script;

/// What is read is written and read again as the same.
fn message<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: Bytes) {
    let Ok(read) = M::decode(bytes) else { return };
    let written = Bytes::from(read.encode_to_vec());
    assert_eq!(written.len(), read.encoded_len());
    // Maps aside, of which there are none, and floats, of which only NaN differs from itself, of which there are none either.
    assert!(M::decode(written).is_ok_and(|again| again == read), "{read:?} reads back as something else");
}

macro_rules! messages {
    ($($message:ty),* $(,)?) => {
        const READERS: &[fn(Bytes)] = &[$(message::<$message>),*];
    };
}

messages!(
    pb::WatchRequest,
    pb::LeaseGrantRequest,
    pb::LeaseRevokeRequest,
    pb::LeaseKeepAliveRequest,
    pb::LeaseTimeToLiveRequest,
    pb::MemberAddRequest,
    pb::MemberUpdateRequest,
    pb::AlarmRequest,
    pb::HashKvRequest,
    pb::MoveLeaderRequest,
    pb::DowngradeRequest,
    pb::AuthUserAddRequest,
    pb::AuthRoleGrantPermissionRequest,
    pb::AuthRoleRevokePermissionRequest,
    pb::AuthenticateRequest,
    lock::LockRequest,
    lock::UnlockRequest,
    election::CampaignRequest,
    election::ProclaimRequest,
    election::LeaderRequest,
    election::ResignRequest,
);

/// The first byte says which message it is.
pub(crate) fn etcd_requests(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let (rest, limits) = (Bytes::copy_from_slice(rest), Limits::default());
    let plan = match which % 32 {
        0 => pb::RangeRequest::decode(rest).ok().and_then(|request| kv::range(request).ok()),
        1 => pb::PutRequest::decode(rest).ok().and_then(|request| kv::put(request, &limits).ok()),
        2 => pb::DeleteRangeRequest::decode(rest)
            .ok()
            .and_then(|request| kv::delete_range(request, &limits).ok()),
        3..=8 => guard::decode_txn(rest, &limits).ok().and_then(|request| kv::txn(request, &limits).ok()),
        9 => pb::CompactionRequest::decode(rest).ok().map(|request| kv::compact(&request)),
        other => return READERS[usize::from(other - 10) % READERS.len()](rest),
    };
    match plan {
        // What a client may ask for, every replica can read, and reads as the same.
        Some(kv::Plan::Propose(command)) => {
            assert_eq!(keyspace::Command::decode(&command.encode()).as_ref(), Ok(&command));
        }
        Some(kv::Plan::Read { query, .. }) => {
            let empty = keyspace::Keyspace::new();
            let _ = query.run(&quorate_consensus::StateMachine::view(&empty));
        }
        None => {}
    }
}

pub(crate) fn etcd_seeds() -> Vec<Vec<u8>> {
    let with = |which: u8, message: &dyn Fn() -> Vec<u8>| [vec![which], message()].concat();
    let range = pb::RangeRequest { key: "a".into(), range_end: "b".into(), limit: 5, ..Default::default() };
    let put = pb::PutRequest { key: "key".into(), value: "value".into(), lease: 7, ..Default::default() };
    let delete = pb::DeleteRangeRequest { key: "a".into(), range_end: "\0".into(), prev_kv: true };
    let op = |request| pb::RequestOp { request: Some(request) };
    let compare = pb::Compare { key: "a".into(), range_end: "b".into(), ..Default::default() };
    let inner = pb::TxnRequest {
        compare: vec![compare.clone()],
        success: vec![op(pb::request_op::Request::RequestPut(put.clone()))],
        failure: vec![op(pb::request_op::Request::RequestDeleteRange(delete.clone()))],
    };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![op(pb::request_op::Request::RequestTxn(inner))],
        failure: vec![op(pb::request_op::Request::RequestRange(range.clone()))],
    };
    let watch = pb::WatchCreateRequest { key: "a".into(), start_revision: 3, ..Default::default() };
    let watch =
        pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(watch)) };
    let mut seeds = vec![
        with(0, &|| range.encode_to_vec()),
        with(1, &|| put.encode_to_vec()),
        with(2, &|| delete.encode_to_vec()),
        with(3, &|| txn.encode_to_vec()),
        with(9, &|| pb::CompactionRequest { revision: 9, physical: true }.encode_to_vec()),
        with(10, &|| watch.encode_to_vec()),
    ];
    // Any message is a beginning for any other: fields 1 and 2, a string and a number.
    seeds.extend((11..32).map(|which| vec![which, 0x0a, 3, b'a', b'b', b'c', 0x10, 5]));
    seeds
}

/// A stream of packets, as a server cuts it; each read as a request and as the answer to one, of the kind that its first byte says.
pub(crate) fn zookeeper_packets(bytes: &[u8]) {
    let mut received = BytesMut::from(bytes);
    let mut connected = false;
    while let Ok(Some(incoming)) = next_packet(&mut received, connected, FRAME_BYTES_MAX) {
        let Incoming::Packet(packet) = incoming else { continue };
        connected = true;
        let mut script = Script::new(&packet);
        let op = OpCode::ALL[script.below(OpCode::ALL.len())];
        let body = packet.slice(1.min(packet.len())..);
        if let Ok(request) = Request::decode(op, body.clone()) {
            let mut to = Writer::new();
            request.write(&mut to);
            assert_eq!(Request::decode(op, to.finish()).as_ref(), Ok(&request));
        }
        if let Ok(response) = Response::decode(op, body) {
            let mut to = Writer::new();
            response.write(&mut to);
            assert_eq!(Response::decode(op, to.finish()).as_ref(), Ok(&response));
        }
    }
}

pub(crate) fn zookeeper_seeds() -> Vec<Vec<u8>> {
    // A path and what may follow one: flags, a version, a buffer, a list of ACLs.
    let tails: [&[u8]; 4] = [
        &[0, 0, 0, 1],
        &[0, 0, 0, 2, b'h', b'i', 0xff, 0xff, 0xff, 0xff],
        &[
            0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 5, b'w', b'o', b'r', b'l', b'd', 0, 0, 0, 6, b'a', b'n', b'y',
            b'o', b'n', b'e',
        ],
        &[0, 0, 0, 1, 0, 0, 0, 3, b'/', b'a', b'b', 0, 0, 0, 2],
    ];
    let packet = |op: usize, tail: &[u8]| {
        let body = [&[op as u8], [0, 0, 0, 2, b'/', b'a'].as_slice(), tail].concat();
        [(body.len() as u32).to_be_bytes().as_slice(), &body].concat()
    };
    let all = |tail: &&[u8]| (0..OpCode::ALL.len()).map(|op| packet(op, tail)).collect::<Vec<_>>();
    let mut seeds: Vec<Vec<u8>> = tails.iter().flat_map(all).collect();
    seeds.extend([b"ruok".to_vec(), vec![0xff; 4], vec![0x7f, 0xff, 0xff, 0xff]]);
    seeds
}

//! The service KV, from a client's side, against a cluster of three.

use crate::support::{Cluster, assert_error, delete, op, put, range};
use quorate_client::{
    Session,
    tonic::{Code, Request},
    wire::etcdserverpb::{self as pb, compare, request_op::Request as Op, response_op::Response as Answer},
};
use quorate_service::{KEYS, keyspace};

fn txn(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { success, ..Default::default() }
}

fn keys(response: &pb::RangeResponse) -> Vec<String> {
    response.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
}

/// Every error of KV with its code and its text: clients know errors by the text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_etcds_codes_and_texts() {
    use Code::{FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted};
    let cluster = Cluster::start(3).await;
    for node in 0..3 {
        let mut kv = cluster.kv(node);
        let revision = kv.put(put("there", "1")).await.unwrap().into_inner().header.unwrap().revision;

        let no_key = "etcdserver: key is not provided";
        assert_error("range", kv.range(range("", "")).await, InvalidArgument, no_key);
        assert_error("put", kv.put(put("", "1")).await, InvalidArgument, no_key);
        assert_error("delete", kv.delete_range(delete("", "")).await, InvalidArgument, no_key);
        for (what, op_without_key) in [
            ("range in txn", Op::RequestRange(range("", ""))),
            ("put in txn", Op::RequestPut(put("", ""))),
            ("delete in txn", Op::RequestDeleteRange(delete("", ""))),
        ] {
            assert_error(what, kv.txn(txn(vec![op(op_without_key)])).await, InvalidArgument, no_key);
        }
        let no_compare_key = pb::TxnRequest { compare: vec![pb::Compare::default()], ..Default::default() };
        assert_error("compare", kv.txn(no_compare_key).await, InvalidArgument, no_key);

        let keep_value = pb::PutRequest { ignore_value: true, ..put("there", "1") };
        assert_error("value", kv.put(keep_value).await, InvalidArgument, "etcdserver: value is provided");
        let keep_lease = pb::PutRequest { ignore_lease: true, lease: 7, ..put("there", "1") };
        assert_error("lease", kv.put(keep_lease).await, InvalidArgument, "etcdserver: lease is provided");
        let of_nothing = pb::PutRequest { ignore_value: true, ..put("not there", "") };
        assert_error("not there", kv.put(of_nothing).await, InvalidArgument, "etcdserver: key not found");
        let lease = pb::PutRequest { lease: 4711, ..put("a", "1") };
        assert_error("no lease", kv.put(lease).await, NotFound, "etcdserver: requested lease not found");
        let empty_op = txn(vec![pb::RequestOp { request: None }]);
        assert_error("empty op", kv.txn(empty_op).await, InvalidArgument, "etcdserver: key not found");

        let order = pb::RangeRequest { sort_order: 9, ..range("a", "") };
        assert_error("order", kv.range(order).await, InvalidArgument, "etcdserver: invalid sort option");
        let target = pb::RangeRequest { sort_target: 9, ..range("a", "") };
        assert_error("target", kv.range(target).await, InvalidArgument, "etcdserver: invalid sort option");

        let many = (0..129).map(|n| op(Op::RequestPut(put(&format!("k{n}"), "")))).collect();
        let text = "etcdserver: too many operations in txn request";
        assert_error("129 ops", kv.txn(txn(many)).await, InvalidArgument, text);
        let bomb = vec![pb::RequestOp { request: None }; 100_000];
        assert_error("100,000 ops", kv.txn(txn(bomb)).await, InvalidArgument, text);
        let twice = txn(vec![op(Op::RequestPut(put("k", "1"))), op(Op::RequestPut(put("k", "2")))]);
        let text = "etcdserver: duplicate key given in txn request";
        assert_error("duplicate", kv.txn(twice).await, InvalidArgument, text);

        let future = "etcdserver: mvcc: required revision is a future revision";
        let ahead = pb::RangeRequest { revision: revision + 1000, ..range("there", "") };
        assert_error("future", kv.range(ahead.clone()).await, OutOfRange, future);
        let ahead_in_txn = txn(vec![op(Op::RequestRange(ahead))]);
        assert_error("future in txn", kv.txn(ahead_in_txn).await, OutOfRange, future);
        let compact = pb::CompactionRequest { revision: revision + 1000, physical: false };
        assert_error("compact ahead", kv.compact(compact).await, OutOfRange, future);

        kv.compact(pb::CompactionRequest { revision, physical: true }).await.unwrap();
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        let behind = pb::RangeRequest { revision: revision - 1, ..range("there", "") };
        assert_error("compacted", kv.range(behind).await, OutOfRange, compacted);
        let again = pb::CompactionRequest { revision, physical: false };
        assert_error("compact again", kv.compact(again).await, OutOfRange, compacted);
        kv.range(pb::RangeRequest { revision, ..range("there", "") })
            .await
            .expect("the compacted revision itself is there");

        let large = put("large", &"x".repeat(1_600_000));
        assert_error("large", kv.put(large).await, InvalidArgument, "etcdserver: request is too large");
        let (size, limit) = (2_200_000, 2 * 1024 * 1024);
        let larger = put("larger", &"x".repeat(size));
        let bytes = prost::Message::encoded_len(&larger);
        let text = format!("grpc: received message larger than max ({bytes} vs. {limit})");
        assert_error("larger", kv.put(larger).await, ResourceExhausted, &text);

        let mut half_a_session = Request::new(put("a", "1"));
        half_a_session.metadata_mut().insert("quorate-session", 7.into());
        assert_eq!(kv.put(half_a_session).await.unwrap_err().code(), InvalidArgument);
        let mut unknown_session = Request::new(put("a", "1"));
        unknown_session.metadata_mut().insert("quorate-session", 7.into());
        unknown_session.metadata_mut().insert("quorate-sequence", 2.into());
        assert_error(
            "session",
            kv.put(unknown_session).await,
            FailedPrecondition,
            quorate_etcd::SESSION_EXPIRED,
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_refuse_writes_and_let_reads_through() {
    let cluster = Cluster::start(1).await;
    let (mut kv, client) = (cluster.kv(0), cluster.client());
    let member_id = cluster.nodes[0].id.0;
    kv.put(put("a", "1")).await.unwrap();
    for (alarm, code, text) in [
        (pb::AlarmType::Nospace, Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        (pb::AlarmType::Corrupt, Code::DataLoss, "etcdserver: corrupt cluster"),
    ] {
        let raise = pb::AlarmRequest { action: 1, member_id, alarm: alarm.into() };
        assert_eq!(client.alarm(raise).await.unwrap().alarms.len(), 1);
        assert_error("put", kv.put(put("a", "2")).await, code, text);
        assert_error("txn", kv.txn(txn(vec![op(Op::RequestPut(put("a", "2")))])).await, code, text);
        assert_eq!(kv.range(range("a", "")).await.unwrap().into_inner().count, 1);
        let shown = client.status(0).await.unwrap().errors;
        let name = if alarm == pb::AlarmType::Nospace { "NOSPACE" } else { "CORRUPT" };
        assert_eq!(shown, [format!("memberID:{member_id} alarm:{name} ")]);
        let listed = client.alarm(pb::AlarmRequest::default()).await.unwrap().alarms;
        assert_eq!(listed, [pb::AlarmMember { member_id, alarm: alarm.into() }]);
        let lower = pb::AlarmRequest { action: 2, member_id, alarm: alarm.into() };
        assert_eq!(client.alarm(lower).await.unwrap().alarms.len(), 1);
        assert!(client.alarm(pb::AlarmRequest::default()).await.unwrap().alarms.is_empty());
        kv.put(put("a", "3")).await.unwrap();
    }
}

/// A member that refuses a write because of another's alarm, and has room, raises none of its own: lowered, the first one would be followed by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_members_alarm_is_the_only_one() {
    let cluster = Cluster::start(1).await;
    let (mut kv, client) = (cluster.kv(0), cluster.client());
    let nospace = pb::AlarmType::Nospace.into();
    let another = pb::AlarmRequest { action: 1, member_id: 77, alarm: nospace };
    client.alarm(another).await.unwrap();
    let text = "etcdserver: mvcc: database space exceeded";
    assert_error("put", kv.put(put("a", "1")).await, Code::ResourceExhausted, text);
    let listed = client.alarm(pb::AlarmRequest::default()).await.unwrap().alarms;
    assert_eq!(listed, [pb::AlarmMember { member_id: 77, alarm: nospace }]);
    client.alarm(pb::AlarmRequest { action: 2, ..another }).await.unwrap();
    kv.put(put("a", "1")).await.unwrap();
}

/// The last put for which there is room is the last one, however many shards the keys are divided among; and the alarm stops what would still fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quota_is_of_all_keys_and_whoever_reaches_it_raises_the_alarm() {
    let cluster = Cluster::start(3).await;
    let (mut kv, client) = (cluster.kv(1), cluster.client());
    // Each takes 256 bytes, a key of 4, and a value of 740: thirty fit, and not one more.
    let quota = keyspace::SetQuota { bytes: 30_500 };
    let command = keyspace::Command::SetQuota(quota).encode();
    let handle = &cluster.nodes[1].handle;
    handle.propose(KEYS, None, |to| to.raw(&command)).await.unwrap();
    let value = "v".repeat(740);
    for number in 0..30 {
        kv.put(put(&format!("k{number:03}"), &value)).await.unwrap();
    }
    let text = "etcdserver: mvcc: database space exceeded";
    assert_error("put", kv.put(put("k030", &value)).await, Code::ResourceExhausted, text);
    let listed = client.alarm(pb::AlarmRequest::default()).await.unwrap().alarms;
    let member_id = cluster.nodes[1].id.0;
    assert_eq!(listed, [pb::AlarmMember { member_id, alarm: pb::AlarmType::Nospace.into() }]);
    for node in 0..3 {
        assert_error("small", cluster.kv(node).put(put("a", "")).await, Code::ResourceExhausted, text);
    }
    assert_eq!(kv.range(range("k", "l")).await.unwrap().into_inner().count, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_do_what_their_options_say() {
    let cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(1);
    let mut first = 0;
    for (key, value) in [("k1", "c"), ("k2", "b"), ("k3", "a")] {
        let header = kv.put(put(key, value)).await.unwrap().into_inner().header.unwrap();
        assert_eq!(header.cluster_id, cluster.cluster.0);
        assert_eq!(header.member_id, cluster.nodes[1].id.0);
        assert!(header.raft_term > 0);
        if first == 0 {
            first = header.revision;
        }
    }
    let last = first + 2;
    let all = range("k", "l");
    let mut ask = async |request: pb::RangeRequest| kv.range(request).await.unwrap().into_inner();

    let response = ask(all.clone()).await;
    assert_eq!(
        (keys(&response), response.count, response.more),
        (vec!["k1".into(), "k2".into(), "k3".into()], 3, false)
    );
    assert_eq!(response.header.unwrap().revision, last);
    let response = ask(pb::RangeRequest { limit: 2, ..all.clone() }).await;
    assert_eq!((keys(&response), response.count, response.more), (vec!["k1".into(), "k2".into()], 3, true));
    let response = ask(pb::RangeRequest { count_only: true, ..all.clone() }).await;
    assert_eq!((response.kvs.len(), response.count), (0, 3));
    let response = ask(pb::RangeRequest { keys_only: true, ..all.clone() }).await;
    assert!(response.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision >= first));
    let (descend, by_value) =
        (pb::range_request::SortOrder::Descend.into(), pb::range_request::SortTarget::Value.into());
    let response = ask(pb::RangeRequest { sort_order: descend, ..all.clone() }).await;
    assert_eq!(keys(&response), ["k3", "k2", "k1"]);
    let response =
        ask(pb::RangeRequest { sort_order: descend, sort_target: by_value, limit: 1, ..all.clone() }).await;
    assert_eq!((keys(&response), response.more), (vec!["k1".into()], true));
    let response = ask(pb::RangeRequest { min_mod_revision: last, ..all.clone() }).await;
    assert_eq!((keys(&response), response.count), (vec!["k3".into()], 3));
    let response = ask(pb::RangeRequest { max_create_revision: first, ..all.clone() }).await;
    assert_eq!(keys(&response), ["k1"]);
    let response = ask(pb::RangeRequest { revision: first, ..all.clone() }).await;
    assert_eq!((keys(&response), response.header.unwrap().revision), (vec!["k1".into()], last));
    let response = ask(range("\0", "\0")).await;
    assert_eq!(response.count, 3);
    let response = ask(range("k2", "\0")).await;
    assert_eq!(response.count, 2);
    let response = ask(pb::RangeRequest { serializable: true, ..all.clone() }).await;
    assert_eq!(response.count, 3, "this member has answered the puts, so it has them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_range_comes_whole() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let value = "v".repeat(1000);
    for batch in 0..25 {
        let puts =
            (0..100).map(|n| op(Op::RequestPut(put(&format!("key-{batch:02}-{n:02}"), &value)))).collect();
        client.txn(txn(puts)).await.unwrap();
    }
    let response = client.get_prefix("key-").await.unwrap();
    assert_eq!((response.count, response.kvs.len()), (2500, 2500));
    assert!(response.kvs.is_sorted_by(|a, b| a.key < b.key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_deletions_and_transactions_answer_as_etcd_does() {
    let cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(2);
    let first = kv.put(put("a", "1")).await.unwrap().into_inner();
    let revision = first.header.unwrap().revision;
    let second = kv.put(pb::PutRequest { prev_kv: true, ..put("a", "2") }).await.unwrap().into_inner();
    assert_eq!(second.prev_kv.unwrap().value, "1");
    kv.put(pb::PutRequest { ignore_value: true, ..put("a", "") }).await.unwrap();
    let read = kv.range(range("a", "")).await.unwrap().into_inner().kvs.remove(0);
    assert_eq!(
        (read.value, read.version, read.create_revision, read.mod_revision),
        ("2".into(), 3, revision, revision + 2)
    );

    let gone = kv.delete_range(delete("nothing", "")).await.unwrap().into_inner();
    assert_eq!((gone.deleted, gone.header.unwrap().revision), (0, revision + 2));

    // Nested: the outer comparison holds, the inner one does not.
    let compare = |value: &str| pb::Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Value.into(),
        key: "a".into(),
        target_union: Some(compare::TargetUnion::Value(value.to_owned().into())),
        ..Default::default()
    };
    let inner = pb::TxnRequest {
        compare: vec![compare("wrong")],
        success: vec![op(Op::RequestPut(put("b", "inner success")))],
        failure: vec![op(Op::RequestPut(put("b", "inner failure")))],
    };
    if env!("CARGO_CRATE_NAME") == "on_shards" {
        // Whose keys lie in several shards, which is refused and said so (COMPATIBILITY.md).
        return;
    }
    let outer = pb::TxnRequest {
        compare: vec![compare("2")],
        success: vec![
            op(Op::RequestPut(put("c", "outer"))),
            op(Op::RequestTxn(inner)),
            op(Op::RequestRange(range("a", "z"))),
            op(Op::RequestDeleteRange(pb::DeleteRangeRequest { prev_kv: true, ..delete("a", "") })),
        ],
        failure: Vec::new(),
    };
    let done = kv.txn(outer).await.unwrap().into_inner();
    assert!(done.succeeded);
    assert_eq!(done.header.unwrap().revision, revision + 3);
    let answers: Vec<Answer> = done.responses.into_iter().map(|answer| answer.response.unwrap()).collect();
    let [
        Answer::ResponsePut(put_done),
        Answer::ResponseTxn(inner),
        Answer::ResponseRange(read),
        Answer::ResponseDeleteRange(deleted),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(put_done.header.unwrap().revision, revision + 3);
    assert_eq!(put_done.header.unwrap().cluster_id, 0, "nested headers have a revision and nothing else");
    assert!(!inner.succeeded);
    assert_eq!(inner.header, Some(pb::ResponseHeader::default()));
    assert_eq!(keys(read), ["a", "b", "c"], "later operations see earlier ones");
    assert_eq!((deleted.deleted, &deleted.prev_kvs[0].value[..]), (1, &b"2"[..]));

    let read_only = txn(vec![op(Op::RequestRange(range("a", "z")))]);
    let read = kv.txn(read_only).await.unwrap().into_inner();
    assert_eq!(read.header.unwrap().revision, revision + 3, "reading takes no revision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_a_session_is_executed_once_on_whichever_member_it_comes_in() {
    let cluster = Cluster::start(3).await;
    let send = async |node: usize, sequence: u64| {
        let mut request = Request::new(pb::PutRequest { prev_kv: true, ..put("counted", "x") });
        request.metadata_mut().insert("quorate-session", 4711.into());
        request.metadata_mut().insert("quorate-sequence", sequence.into());
        request.metadata_mut().insert("quorate-lowest-wanted", 1.into());
        cluster.kv(node).put(request).await.unwrap().into_inner()
    };
    let first = send(0, 1).await;
    let again = send(1, 1).await;
    assert_eq!(first.header.unwrap().revision, again.header.unwrap().revision);
    assert_eq!(again.prev_kv, None);
    let next = send(2, 2).await;
    assert_eq!(next.header.unwrap().revision, first.header.unwrap().revision + 1);

    let client = cluster.client().in_session(Session::new());
    let puts: Vec<_> = (0..50)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.put(format!("s{n}"), "1").await.unwrap() })
        })
        .collect();
    for put in puts {
        put.await.unwrap();
    }
    assert_eq!(client.get_prefix("s").await.unwrap().count, 50);
    assert_eq!(client.delete_prefix("s").await.unwrap().deleted, 50);
}

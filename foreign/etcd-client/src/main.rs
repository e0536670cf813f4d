//! A cluster seen through the `etcd-client` crate: every call that we serve, asked by code that we did not write.
//!
//! `foreign-etcd-client ENDPOINT…`; `cargo xtask foreign` starts the cluster and calls it. It asks whoever started it, by lines on standard output, to kill and
//! to start servers (`kill N`, `start N`); each is answered by a line on standard input.

mod access;
mod death;
mod leases;
mod recipes;
mod watches;

use std::time::Duration;

use etcd_client::{
    Client, CompactionOptions, Compare, CompareOp, DeleteOptions, Error, GetOptions, PutOptions, SortOrder,
    SortTarget, Txn, TxnOp, TxnOpResponse,
};

type Fallible<T> = Result<T, Failure>;

/// What was not expected, and where it was not.
struct Failure(String);

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        Failure(format!("{}: {}", std::panic::Location::caller(), error.into()))
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

/// Longer than anything here takes, and short enough for whoever waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this comes to, in time.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> Fallible<T> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .map_err(|_| format!("not within {PATIENCE:?}: {what}").into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let endpoints: Vec<String> = std::env::args().skip(1).collect();
    let mut client = Client::connect(&endpoints, None).await?;
    puts_and_ranges(&mut client).await?;
    transactions(&mut client).await?;
    compaction(&mut client).await?;
    every_endpoint_reads_its_own_writes(&endpoints).await?;
    members(&mut client).await?;
    leadership(&endpoints).await?;
    watches::all_kinds(&mut client).await?;
    leases::whole_lives(&mut client).await?;
    recipes::locks(&mut client).await?;
    recipes::elections(&mut client).await?;
    access::users_and_roles(&endpoints).await?;
    death::of_the_leader(&endpoints, &mut client).await?;
    death::of_the_leader_while_a_lease_ends(&endpoints).await?;
    death::of_the_leader_under_auth(&endpoints, &mut client).await?;
    println!(
        "foreign: the etcd-client crate is content with {} endpoints, through the death of every leader that it met",
        endpoints.len()
    );
    Ok(())
}

/// The code of a refusal, and its text.
fn refusal<T>(result: Result<T, Error>) -> (i32, String) {
    match result {
        Err(Error::GRpcStatus(status)) => (status.code() as i32, status.message().to_owned()),
        Err(other) => (-1, other.to_string()),
        Ok(_) => (0, String::new()),
    }
}

async fn puts_and_ranges(client: &mut Client) -> Fallible<()> {
    let first = client.put("f/a", "1", None).await?;
    let revision = first.header().ok_or("no header")?.revision();
    let second = client.put("f/a", "2", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(second.header().ok_or("no header")?.revision(), revision + 1, "one revision each");
    assert_eq!(second.prev_key().ok_or("no previous value")?.value(), b"1");
    let ignore = PutOptions::new().with_ignore_value();
    client.put("f/a", "", Some(ignore.clone())).await?;
    let (code, text) = refusal(client.put("f/none", "", Some(ignore)).await);
    assert_eq!((code, text.as_str()), (3, "etcdserver: key not found"));

    let kv = client.get("f/a", None).await?;
    let kv = kv.kvs().first().ok_or("f/a is not there")?;
    assert_eq!((kv.value(), kv.version(), kv.create_revision()), (&b"2"[..], 3, revision));
    let old = client.get("f/a", Some(GetOptions::new().with_revision(revision))).await?;
    assert_eq!(old.kvs()[0].value(), b"1");
    let (code, text) =
        refusal(client.get("f/a", Some(GetOptions::new().with_revision(revision + 1_000_000))).await);
    assert_eq!((code, text.as_str()), (11, "etcdserver: mvcc: required revision is a future revision"));

    for n in 0..5 {
        client.put(format!("f/n{n}"), format!("{}", 9 - n), None).await?;
    }
    let options =
        GetOptions::new().with_prefix().with_limit(2).with_sort(SortTarget::Value, SortOrder::Ascend);
    let some = client.get("f/n", Some(options)).await?;
    assert_eq!((some.count(), some.more(), some.kvs()[0].value()), (5, true, &b"5"[..]));
    let keys = client.get("f/n", Some(GetOptions::new().with_prefix().with_keys_only())).await?;
    assert!(keys.kvs().iter().all(|kv| kv.value().is_empty()));
    let count = client.get("f/n", Some(GetOptions::new().with_prefix().with_count_only())).await?;
    assert_eq!((count.count(), count.kvs().len()), (5, 0));
    let from = client.get("f/n3", Some(GetOptions::new().with_range("f/o").with_serializable())).await?;
    assert_eq!(from.kvs().len(), 2);

    let gone = client.delete("f/n", Some(DeleteOptions::new().with_prefix().with_prev_key())).await?;
    assert_eq!((gone.deleted(), gone.prev_kvs().len()), (5, 5));
    assert_eq!(client.delete("f/n", Some(DeleteOptions::new().with_prefix())).await?.deleted(), 0);
    let (code, _) = refusal(client.put("", "x", None).await);
    assert_eq!(code, 3, "an empty key is refused");
    Ok(())
}

async fn transactions(client: &mut Client) -> Fallible<()> {
    let swap = |from: &str, to: &str| {
        Txn::new()
            .when([Compare::value("f/t", CompareOp::Equal, from)])
            .and_then([TxnOp::put("f/t", to, None), TxnOp::get("f/t", None)])
            .or_else([TxnOp::get("f/t", None)])
    };
    client.put("f/t", "a", None).await?;
    let done = client.txn(swap("a", "b")).await?;
    assert!(done.succeeded());
    let responses = done.op_responses();
    let TxnOpResponse::Get(got) = &responses[1] else { return Err("the second answer is no range".into()) };
    assert_eq!(got.kvs()[0].value(), b"b", "a range sees the transaction's own writes");
    let refused = client.txn(swap("a", "c")).await?;
    assert!(!refused.succeeded());
    let nested = Txn::new()
        .when([
            Compare::version("f/t", CompareOp::Greater, 0),
            Compare::create_revision("f/u", CompareOp::Equal, 0),
        ])
        .and_then([TxnOp::txn(Txn::new().and_then([TxnOp::put("f/u", "1", None)]))]);
    assert!(client.txn(nested).await?.succeeded());
    assert_eq!(client.get("f/u", None).await?.count(), 1);
    let twice = Txn::new().and_then([TxnOp::put("f/v", "1", None), TxnOp::put("f/v", "2", None)]);
    let (code, text) = refusal(client.txn(twice).await);
    assert_eq!((code, text.as_str()), (3, "etcdserver: duplicate key given in txn request"));
    let many: Vec<TxnOp> = (0..129).map(|n| TxnOp::put(format!("f/w{n}"), "1", None)).collect();
    let (code, text) = refusal(client.txn(Txn::new().and_then(many)).await);
    assert_eq!((code, text.as_str()), (3, "etcdserver: too many operations in txn request"));
    Ok(())
}

async fn compaction(client: &mut Client) -> Fallible<()> {
    let revision = client.put("f/c", "1", None).await?.header().ok_or("no header")?.revision();
    client.put("f/c", "2", None).await?;
    client.compact(revision + 1, Some(CompactionOptions::new().with_physical())).await?;
    let old = client.get("f/c", Some(GetOptions::new().with_revision(revision))).await;
    let (code, text) = refusal(old);
    assert_eq!((code, text.as_str()), (11, "etcdserver: mvcc: required revision has been compacted"));
    let (code, text) = refusal(client.compact(revision, None).await);
    assert_eq!((code, text.as_str()), (11, "etcdserver: mvcc: required revision has been compacted"));
    Ok(())
}

async fn every_endpoint_reads_its_own_writes(endpoints: &[String]) -> Fallible<()> {
    for round in 0..20 {
        for endpoint in endpoints {
            let mut client = Client::connect([endpoint], None).await?;
            let value = format!("{round} through {endpoint}");
            client.put("f/own", value.clone(), None).await?;
            let own = client.get("f/own", Some(GetOptions::new().with_serializable())).await?;
            assert_eq!(own.kvs()[0].value_str()?, value, "a serializable read of the member that wrote");
        }
    }
    Ok(())
}

async fn members(client: &mut Client) -> Fallible<()> {
    let before = client.member_list().await?.members().len();
    let added = client
        .member_add(["http://127.0.0.1:1"], Some(etcd_client::MemberAddOptions::new().with_is_learner()))
        .await?;
    let id = added.member().ok_or("no member")?.id();
    let listed = client.member_list().await?;
    let learner = listed.members().iter().find(|member| member.id() == id).ok_or("not listed")?;
    assert!(learner.is_learner());
    let (code, text) = refusal(client.member_promote(id).await);
    let expected = "etcdserver: can only promote a learner member which is in sync with leader";
    assert_eq!((code, text.as_str()), (9, expected));
    client.member_update(id, vec!["http://127.0.0.1:2".to_owned()]).await?;
    client.member_remove(id).await?;
    assert_eq!(client.member_list().await?.members().len(), before);
    let (code, text) = refusal(client.member_remove(id).await);
    assert_eq!((code, text.as_str()), (5, "etcdserver: member not found"));
    Ok(())
}

/// Leadership goes to the next member; every member agrees on it.
async fn leadership(endpoints: &[String]) -> Fallible<()> {
    let mut leader = None;
    for endpoint in endpoints {
        let mut client = Client::connect([endpoint], None).await?;
        let status = client.status().await?;
        assert!(status.errors().is_empty() && status.db_size() > 0 && status.raft_index() > 0);
        if status.header().ok_or("no header")?.member_id() == status.leader() {
            leader = Some((client, status.leader()));
        }
    }
    let (mut at_leader, leader) = leader.ok_or("nobody leads")?;
    let members = at_leader.member_list().await?;
    let heir = members.members().iter().map(|member| member.id()).find(|id| *id != leader);
    let heir = heir.ok_or("nobody to hand over to")?;
    at_leader.move_leader(heir).await?;
    assert_eq!(at_leader.status().await?.leader(), heir);
    Ok(())
}

//! Through `kill -9` of the leader: what was answered stays, leases, locks and leaders live on, watches of members that live miss nothing, and tokens are good.

use std::{
    io::BufRead as _,
    time::{Duration, Instant},
};

use etcd_client::{Client, Error, LockOptions, PutOptions, WatchOptions};

use crate::{Fallible, PATIENCE, access, refusal, watches, within};

const KILLS: usize = 2;

pub(crate) async fn of_the_leader(endpoints: &[String], client: &mut Client) -> Fallible<()> {
    for n in 0..KILLS {
        let leads = leader(endpoints).await.ok_or("nobody leads")?;
        let lives = (leads + 1) % endpoints.len();
        let mut alive = Client::connect([&endpoints[lives]], None).await?;
        let (prefix, held) = (format!("d{n}/"), format!("d{n}/held"));
        let lease = client.lease_grant(10, None).await?.id();
        let first = client.put(held.clone(), "1", Some(PutOptions::new().with_lease(lease))).await?;
        let first = first.header().ok_or("no header")?.revision();
        let lock = client.lock(format!("job-{n}"), Some(LockOptions::new().with_lease(lease))).await?;
        let won = client.campaign(format!("post-{n}"), "here", lease).await?;
        let of_prefix = WatchOptions::new().with_prefix().with_start_revision(first);
        let mut watch = alive.watch(prefix.clone(), Some(of_prefix.clone())).await?;
        let (mut keeper, mut kept) = alive.lease_keep_alive(lease).await?;
        let mut observed = alive.observe(format!("post-{n}")).await?;
        within("the leader that was won", observed.message()).await??.ok_or("the stream has ended")?;

        let began = Instant::now();
        ask("kill", leads)?;
        let mut wrote = Vec::new();
        for at in 0..10 {
            let key = format!("{prefix}{at}");
            again("a write after the death", alive.clone(), async |client| {
                client.put(key.clone(), "1", None).await
            })
            .await?;
            wrote.push(key);
            if at == 0 {
                println!(
                    "note the leader, {leads}, was killed; the crate wrote again after {:.2?}",
                    began.elapsed()
                );
            }
        }
        // Those of the member that lives: told of all, each once, unless a write was sent twice.
        let mut told: Vec<String> = Vec::new();
        while told.last() != wrote.last() {
            told.extend(watches::events(&mut watch, 1).await?.into_iter().map(|event| event.1));
        }
        told.dedup();
        wrote.insert(0, held.clone());
        assert_eq!(told, wrote, "nothing was missed, and nothing told out of order");
        keeper.keep_alive().await?;
        let answer = within("a keep-alive", kept.message()).await??.ok_or("the stream has ended")?;
        assert_eq!(answer.ttl(), 10, "the lease lives on");

        let mut third = Client::connect([&endpoints[(leads + 2) % endpoints.len()]], None).await?;
        let key = lock.key().to_vec();
        let there =
            again("a read", third.clone(), async |client| client.get(key.clone(), None).await).await?;
        assert_eq!(there.count(), 1, "the lock is held");
        let post = third.leader(format!("post-{n}")).await?;
        assert_eq!(post.kv().ok_or("no leader")?.value(), b"here");
        let mut past = third.watch(prefix.clone(), Some(of_prefix)).await?;
        let history = watches::events(&mut past, wrote.len()).await?;
        assert_eq!(history[0].1, held, "history is everywhere");
        third.unlock(lock.key()).await?;
        let resigned = won.leader().ok_or("no leader key")?.clone();
        third.resign(Some(etcd_client::ResignOptions::new().with_leader(resigned))).await?;
        third.lease_revoke(lease).await?;
        assert_eq!(third.get(held, None).await?.count(), 0);
        ask("start", leads)?;
    }
    Ok(())
}

/// A lease that nobody keeps alive ends even though the member that counted its time has died.
pub(crate) async fn of_the_leader_while_a_lease_ends(endpoints: &[String]) -> Fallible<()> {
    let leads = leader(endpoints).await.ok_or("nobody leads")?;
    let mut alive = Client::connect([&endpoints[(leads + 1) % endpoints.len()]], None).await?;
    let lease = alive.lease_grant(2, None).await?.id();
    alive.put("d/short", "1", Some(PutOptions::new().with_lease(lease))).await?;
    ask("kill", leads)?;
    let end = Instant::now() + PATIENCE;
    loop {
        let found = again("a read", alive.clone(), async |client| client.get("d/short", None).await).await?;
        if found.count() == 0 {
            break;
        }
        if Instant::now() > end {
            return Err("a lease does not end after the leader's death".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ask("start", leads)
}

/// Users and their tokens outlive the leader.
pub(crate) async fn of_the_leader_under_auth(endpoints: &[String], client: &mut Client) -> Fallible<()> {
    access::begin(client).await?;
    let leads = {
        let mut found = None;
        for (number, endpoint) in endpoints.iter().enumerate() {
            let mut root = access::soon_as_user(endpoint, "root", "proot").await?;
            let status = root.status().await?;
            if status.header().ok_or("no header")?.member_id() == status.leader() {
                found = Some(number);
            }
        }
        found.ok_or("nobody leads")?
    };
    let other = &endpoints[(leads + 1) % endpoints.len()];
    let user = access::soon_as_user(other, "u", "pu").await?;
    ask("kill", leads)?;
    again("a write", user.clone(), async |client| client.put("u/through", "1", None).await).await?;
    let (code, text) = refusal(user.clone().put("v", "1", None).await);
    assert_eq!((code, text.as_str()), access::DENIED);
    // Before the start: whoever waits for the server asks it without a name.
    access::end(std::slice::from_ref(other)).await?;
    ask("start", leads)?;
    let back = Client::connect([&endpoints[leads]], None).await?;
    let there = again("a read", back, async |client| client.get("u/through", None).await).await?;
    assert_eq!(there.count(), 1);
    Ok(())
}

/// Again for as long as nobody can answer.
async fn again<T>(
    what: &str,
    mut client: Client,
    mut operation: impl AsyncFnMut(&mut Client) -> Result<T, Error>,
) -> Fallible<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout(PATIENCE, operation(&mut client)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(Error::GRpcStatus(status))) if status.code() as i32 != 14 => return Err(status.into()),
            Ok(Err(error)) if Instant::now() > end => return Err(error.into()),
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(_) => return Err(format!("not within {PATIENCE:?}: {what}").into()),
        }
    }
}

async fn leader(endpoints: &[String]) -> Option<usize> {
    for (number, endpoint) in endpoints.iter().enumerate() {
        let mut client = Client::connect([endpoint], None).await.ok()?;
        let status = client.status().await.ok()?;
        if status.header()?.member_id() == status.leader() {
            return Some(number);
        }
    }
    None
}

/// Asks for this to be done to a server, and waits until it is.
fn ask(what: &str, server: usize) -> Fallible<()> {
    println!("{what} {server}");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "done" { Ok(()) } else { Err(format!("asked to {what} {server}: {answer:?}").into()) }
}

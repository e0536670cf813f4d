//! Locks and elections, as the servers offer them.

use std::time::Duration;

use etcd_client::{Client, LockOptions, ProclaimOptions, ResignOptions};

use crate::{Fallible, leases, refusal, within};

pub(crate) async fn locks(client: &mut Client) -> Fallible<()> {
    let [one, two] = [client.lease_grant(20, None).await?.id(), client.lease_grant(3, None).await?.id()];
    let by = |lease| Some(LockOptions::new().with_lease(lease));
    let held = client.lock("job", by(one)).await?;
    assert_eq!(client.lock("job", by(one)).await?.key(), held.key(), "the same lease, the same lock");
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.lock("job", by(two)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "one at a time");
    client.unlock(held.key()).await?;
    let next = within("the next holder", waiting).await???;
    assert_eq!(client.get(next.key(), None).await?.count(), 1);
    // Whoever dies lets go with its lease.
    let third = within("the lock of one that has died", client.lock("job", by(one))).await??;
    assert_eq!(client.get(next.key(), None).await?.count(), 0);
    client.unlock(third.key()).await?;
    client.lease_revoke(one).await?;
    Ok(())
}

pub(crate) async fn elections(client: &mut Client) -> Fallible<()> {
    let [one, two] = [client.lease_grant(20, None).await?.id(), client.lease_grant(20, None).await?.id()];
    let (_, text) = refusal(client.leader("post").await);
    assert_eq!(text, "election: no leader");
    let mut observed = client.observe("post").await?;
    let won = client.campaign("post", "one", one).await?;
    let post = won.leader().ok_or("no leader key")?.clone();
    assert_eq!(client.leader("post").await?.kv().ok_or("no leader")?.value(), b"one");
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.campaign("post", "two", two).await });
    client.proclaim("one again", Some(ProclaimOptions::new().with_leader(post.clone()))).await?;
    assert!(!waiting.is_finished(), "one at a time");
    client.resign(Some(ResignOptions::new().with_leader(post.clone()))).await?;
    let heir = within("the next leader", waiting).await???;
    assert_eq!(client.leader("post").await?.kv().ok_or("no leader")?.value(), b"two");
    let late = client.proclaim("late", Some(ProclaimOptions::new().with_leader(post))).await;
    assert_eq!(refusal(late).1, "election: not leader");
    // What was overtaken need not be told, but the last word comes, and none comes out of order.
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("two") {
        let told = within("an observation", observed.message()).await??.ok_or("the stream has ended")?;
        seen.push(told.kv().ok_or("no leader")?.value_str()?.to_owned());
    }
    let order = ["one", "one again", "two"];
    let places: Vec<_> = seen.iter().map(|value| order.iter().position(|known| known == value)).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{seen:?}");
    let key = heir.leader().ok_or("no leader key")?.key_str()?.to_owned();
    client.lease_revoke(two).await?;
    leases::gone(client, &key).await?;
    client.lease_revoke(one).await?;
    Ok(())
}

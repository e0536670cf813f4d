//! Leases: granted, kept alive, asked about, revoked, and over.

use std::time::{Duration, Instant};

use etcd_client::{Client, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions};

use crate::{Fallible, PATIENCE, refusal, within};

pub(crate) async fn whole_lives(client: &mut Client) -> Fallible<()> {
    let granted = client.lease_grant(3, Some(LeaseGrantOptions::new().with_id(4_711))).await?;
    assert_eq!((granted.id(), granted.ttl()), (4_711, 3));
    let (code, text) = refusal(client.lease_grant(3, Some(LeaseGrantOptions::new().with_id(4_711))).await);
    assert_eq!((code, text.as_str()), (9, "etcdserver: lease already exists"));
    let hang = |lease| Some(PutOptions::new().with_lease(lease));
    client.put("l/kept", "1", hang(4_711)).await?;
    let short = client.lease_grant(2, None).await?.id();
    client.put("l/short", "1", hang(short)).await?;
    let listed = client.leases().await?;
    let ids: Vec<i64> = listed.leases().iter().map(|lease| lease.id()).collect();
    assert!(ids.contains(&4_711) && ids.contains(&short), "{ids:?}");

    let (mut keeper, mut kept) = client.lease_keep_alive(4_711).await?;
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        keeper.keep_alive().await?;
        let answer = within("a keep-alive", kept.message()).await??.ok_or("the stream has ended")?;
        assert_eq!((answer.id(), answer.ttl()), (4_711, 3));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let asked = Some(LeaseTimeToLiveOptions::new().with_keys());
    let left = client.lease_time_to_live(4_711, asked.clone()).await?;
    assert!((1..=3).contains(&left.ttl()) && left.granted_ttl() == 3, "{left:?}");
    assert_eq!(left.keys(), [b"l/kept".to_vec()]);
    assert_eq!(client.get("l/kept", None).await?.count(), 1, "it was kept alive");
    assert_eq!(client.get("l/short", None).await?.count(), 0, "its time is over");
    assert_eq!(client.lease_time_to_live(short, asked).await?.ttl(), -1);

    client.lease_revoke(4_711).await?;
    assert_eq!(client.get("l/kept", None).await?.count(), 0);
    let (code, text) = refusal(client.lease_revoke(4_711).await);
    assert_eq!((code, text.as_str()), (5, "etcdserver: requested lease not found"));
    let (code, text) = refusal(client.put("l/lost", "1", hang(4_711)).await);
    assert_eq!((code, text.as_str()), (5, "etcdserver: requested lease not found"));
    assert!(client.lease_keep_alive(4_711).await.is_err(), "a lease that is gone is not kept");
    Ok(())
}

/// Until the key is gone; how long that took.
pub(crate) async fn gone(client: &mut Client, key: &str) -> Fallible<Duration> {
    let began = Instant::now();
    while client.get(key, None).await?.count() > 0 {
        if began.elapsed() > PATIENCE {
            return Err(format!("{key} is not gone within {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(began.elapsed())
}

//! Znodes: every kind of them, their data, stats and children.

use std::time::{Duration, SystemTime};

use zookeeper_client::{Acls, Client, CreateMode, Error};

use crate::{EPHEMERAL, Fallible, PERSISTENT, connected};

pub(crate) async fn every_kind(client: &Client) -> Fallible<()> {
    let open = Acls::anyone_all();
    client.mkdir("/kinds/below", &PERSISTENT).await?;
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as i64;
    let (stat, sequence) = client.create("/kinds/persistent", b"one", &PERSISTENT).await?;
    assert_eq!(
        (stat.version, stat.cversion, stat.aversion, stat.data_length, stat.num_children),
        (0, 0, 0, 3, 0)
    );
    assert_eq!((stat.czxid, stat.czxid), (stat.mzxid, stat.pzxid), "one change made all of it");
    assert!(stat.czxid > 0 && stat.ctime == stat.mtime && stat.ctime >= before, "{stat:?} from {before}");
    assert_eq!((stat.ephemeral_owner, sequence.into_i64()), (0, -1));

    let (stat, _) = client.create("/kinds/ephemeral", b"", &EPHEMERAL).await?;
    assert_eq!(stat.ephemeral_owner, client.session_id().0);
    let below = client.create("/kinds/ephemeral/child", b"", &PERSISTENT).await;
    assert_eq!(below.err(), Some(Error::NoChildrenForEphemerals));

    let sequential = CreateMode::PersistentSequential.with_acls(open);
    let (_, first) = client.create("/kinds/s-", b"", &sequential).await?;
    let (_, second) =
        client.create("/kinds/s-", b"", &CreateMode::EphemeralSequential.with_acls(open)).await?;
    let (_, bare) = client.create("/kinds/below/", b"", &sequential).await?;
    assert_eq!(first.into_i64() + 1, second.into_i64(), "one counter for a parent's children");
    assert_eq!(first.into_i64(), 3, "below, persistent and ephemeral were there before");
    assert_eq!(bare.to_string(), "0000000000", "a name may be its number alone");
    assert!(
        client.check_stat(&format!("/kinds/s-{first}")).await?.is_some_and(|stat| stat.ephemeral_owner == 0)
    );

    let (stat, _) = client.create("/kinds/container", b"", &CreateMode::Container.with_acls(open)).await?;
    assert_eq!(stat.ephemeral_owner, 0, "a container is nobody's, whatever stands in its place inside");
    let hour = PERSISTENT.with_ttl(Duration::from_secs(3600));
    let (stat, _) = client.create("/kinds/ttl", b"", &hour).await?;
    assert_eq!(stat.ephemeral_owner, 0, "nor is what has a time to live");
    let (stat, _) =
        client.create("/kinds/ttl-", b"", &sequential.with_ttl(Duration::from_millis(7000))).await?;
    assert_eq!(stat.ephemeral_owner, 0);

    let mut mine = client.list_ephemerals("/kinds").await?;
    mine.sort();
    assert_eq!(
        mine,
        ["/kinds/ephemeral".to_owned(), format!("/kinds/s-{second}")],
        "a time to live has no owner"
    );
    assert_eq!(client.create("/kinds/persistent", b"", &PERSISTENT).await.err(), Some(Error::NodeExists));
    assert_eq!(client.create("/nothing/here", b"", &PERSISTENT).await.err(), Some(Error::NoNode));
    Ok(())
}

pub(crate) async fn versions_and_stats(client: &Client) -> Fallible<()> {
    let (created, _) = client.create("/data", b"one", &PERSISTENT).await?;
    let set = client.set_data("/data", b"three", Some(0)).await?;
    assert_eq!((set.version, set.data_length, set.czxid, set.ctime), (1, 5, created.czxid, created.ctime));
    assert!(set.mzxid > created.mzxid && set.pzxid == created.pzxid && set.mtime >= created.mtime, "{set:?}");
    assert_eq!(client.set_data("/data", b"four", Some(0)).await, Err(Error::BadVersion));
    assert_eq!(client.set_data("/data", b"four", Some(7)).await, Err(Error::BadVersion));
    assert_eq!(client.get_data("/data").await?, (b"three".to_vec(), set), "nothing of what was refused");
    assert_eq!(client.check_stat("/data").await?, Some(set));
    assert_eq!(client.set_data("/data", b"", None).await?.version, 2);
    assert_eq!(client.get_data("/data").await?.0, b"");
    let large: Vec<u8> = (0..900_000_u32).map(|n| n as u8).collect();
    assert_eq!(client.set_data("/data", &large, Some(2)).await?.data_length, 900_000);
    assert_eq!(client.get_data("/data").await?.0, large);
    assert_eq!(client.get_data("/none").await, Err(Error::NoNode));
    assert_eq!(client.set_data("/none", b"", None).await, Err(Error::NoNode));
    assert_eq!(client.check_stat("/none").await?, None);
    assert_eq!(client.delete("/data", Some(2)).await, Err(Error::BadVersion));
    client.delete("/data", Some(3)).await?;
    assert_eq!(client.delete("/data", None).await, Err(Error::NoNode));
    Ok(())
}

pub(crate) async fn children(client: &Client, other: &Client) -> Fallible<()> {
    client.create("/parent", b"x", &PERSISTENT).await?;
    // Not one of them is waited for before the next is sent: they are done in order all the same.
    let pending: Vec<_> = (0..50).map(|n| (n, format!("/parent/c{n:02}"))).collect();
    let sent: Vec<_> = pending.iter().map(|(n, path)| client.create(path, &[*n], &PERSISTENT)).collect();
    let mut last = 0;
    for created in sent {
        let zxid = created.await?.0.czxid;
        assert!(zxid > last, "in the order in which they were sent");
        last = zxid;
    }
    let (mut names, stat) = client.get_children("/parent").await?;
    names.sort();
    assert_eq!(names, (0..50).map(|n| format!("c{n:02}")).collect::<Vec<_>>());
    assert_eq!((stat.num_children, stat.cversion, stat.version, stat.pzxid), (50, 50, 0, last));
    client.create("/parent/c00/deep", b"", &PERSISTENT).await?;
    assert_eq!(client.count_descendants_number("/parent").await?, 51);
    assert_eq!(client.delete("/parent", None).await, Err(Error::NotEmpty));
    client.delete("/parent/c00/deep", None).await?;
    for (_, path) in &pending {
        client.delete(path, Some(0)).await?;
    }
    let (names, stat) = client.get_children("/parent").await?;
    assert_eq!((names.len(), stat.num_children, stat.cversion), (0, 0, 100));
    other.sync("/parent").await?;
    assert_eq!(
        other.list_children("/parent").await?,
        Vec::<String>::new(),
        "seen by another client after its sync"
    );
    assert_eq!(other.list_children("/none").await, Err(Error::NoNode));
    let mut roots = other.list_children("/").await?;
    roots.sort();
    assert_eq!(roots, ["kinds", "parent", "zookeeper"]);
    Ok(())
}

/// Each server by itself has the same tree, to the last field of a stat.
pub(crate) async fn every_server_agrees(servers: &[String]) -> Fallible<()> {
    let mut seen = Vec::new();
    for server in servers {
        let client = connected(server).await?;
        client.sync("/").await?;
        seen.push((client.get_data("/kinds/persistent").await?, client.get_children("/kinds").await?));
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:#?}");
    Ok(())
}

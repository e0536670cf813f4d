//! Sessions: what ends with them, what does not, and those that live in a part of the tree.

use std::time::Duration;

use zookeeper_client::{Client, EventType};

use crate::{EPHEMERAL, Fallible, PERSISTENT, connected, within};

pub(crate) async fn an_ephemeral_goes_with_its_session(hosts: &str, client: &Client) -> Fallible<()> {
    let short = connected(hosts).await?;
    assert_eq!(short.session_timeout(), Duration::from_secs(8));
    short.create("/here", b"", &EPHEMERAL).await?;
    client.sync("/here").await?;
    let (stat, gone) = client.check_and_watch_stat("/here").await?;
    assert_eq!(stat.map(|stat| stat.ephemeral_owner), Some(short.session_id().0));
    // The last handle of a client closes its session.
    drop(short);
    let event = within("the end of an ephemeral", gone.changed()).await?;
    assert_eq!((event.event_type, event.path.as_str()), (EventType::NodeDeleted, "/here"));
    assert_eq!(client.check_stat("/here").await?, None);
    Ok(())
}

/// A client that is only detached can be followed by another, with the same session and its ephemerals.
pub(crate) async fn a_session_is_taken_over(hosts: &str, client: &Client) -> Fallible<()> {
    let connector = || Client::connector().with_session_timeout(Duration::from_secs(8)).with_detached();
    let first = within("a connection", connector().connect(hosts)).await??;
    first.create("/handed-over", b"", &EPHEMERAL).await?;
    let session = first.into_session();
    let id = session.id();
    let second = within("the same session", connector().with_session(session).connect(hosts)).await??;
    assert_eq!(second.session_id(), id);
    second.sync("/").await?;
    assert_eq!(second.list_ephemerals("/").await?, ["/handed-over"]);
    second.delete("/handed-over", Some(0)).await?;
    client.sync("/").await?;
    assert_eq!(client.check_stat("/handed-over").await?, None);
    // This one ends for good.
    let last = Client::connector().with_session(second.into_session()).connect(hosts);
    drop(within("the same session", last).await??);
    Ok(())
}

pub(crate) async fn chroot(hosts: &str, client: &Client) -> Fallible<()> {
    client.create("/apart", b"", &PERSISTENT).await?;
    let inside = connected(&format!("{hosts}/apart")).await?;
    assert_eq!(inside.path(), "/apart");
    let (_, watcher) = inside.check_and_watch_stat("/a").await?;
    inside.sync("/").await?;
    inside.create("/a", b"inside", &EPHEMERAL).await?;
    let event = within("an event", watcher.changed()).await?;
    assert_eq!(
        (event.event_type, event.path.as_str()),
        (EventType::NodeCreated, "/a"),
        "as it is seen inside"
    );
    assert_eq!(inside.list_ephemerals("/").await?, ["/a"]);
    assert_eq!(inside.list_children("/").await?, ["a"]);
    client.sync("/apart").await?;
    assert_eq!(client.get_data("/apart/a").await?.0, b"inside");
    let mut writer = inside.new_multi_writer();
    writer.add_create("/b", b"", &PERSISTENT)?;
    writer.add_delete("/a", None)?;
    writer.commit().await?;
    client.sync("/apart").await?;
    assert_eq!(client.list_children("/apart").await?, ["b"]);
    Ok(())
}

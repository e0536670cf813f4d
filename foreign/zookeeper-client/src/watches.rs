//! Watches: each of them is told of what it was set for, in order, with nothing left out or told twice.

use zookeeper_client::{AddWatchMode, Client, EventType, PersistentWatcher, WatchedEvent};

use crate::{Fallible, PERSISTENT, within};

/// What was told next.
async fn told(watcher: &mut PersistentWatcher) -> Fallible<(EventType, String)> {
    let event = within("an event", watcher.changed()).await?;
    Ok((event.event_type, event.path))
}

/// What a watch of one shot was told.
async fn shot(event: impl Future<Output = WatchedEvent>) -> Fallible<(EventType, String)> {
    let event = within("an event", event).await?;
    Ok((event.event_type, event.path))
}

fn event(kind: EventType, path: &str) -> (EventType, String) {
    (kind, path.to_owned())
}

pub(crate) async fn one_shot(client: &Client, other: &Client) -> Fallible<()> {
    let (none, made) = client.check_and_watch_stat("/w").await?;
    assert_eq!(none, None);
    other.create("/w", b"1", &PERSISTENT).await?;
    assert_eq!(shot(made.changed()).await?, event(EventType::NodeCreated, "/w"));

    // Told before it can be read: a client that was told finds what it was told of.
    let (data, _, changed) = client.get_and_watch_data("/w").await?;
    assert_eq!(data, b"1");
    let (_, stat, children) = client.get_and_watch_children("/w").await?;
    assert_eq!(stat.num_children, 0);
    other.set_data("/w", b"2", None).await?;
    assert_eq!(shot(changed.changed()).await?, event(EventType::NodeDataChanged, "/w"));
    assert_eq!(client.get_data("/w").await?.0, b"2");
    other.create("/w/child", b"", &PERSISTENT).await?;
    assert_eq!(shot(children.changed()).await?, event(EventType::NodeChildrenChanged, "/w"));
    assert_eq!(client.list_children("/w").await?, ["child"]);

    // A deletion is told to all three kinds.
    let (_, exists) = client.check_and_watch_stat("/w/child").await?;
    let (_, _, data) = client.get_and_watch_data("/w/child").await?;
    let (_, children) = client.list_and_watch_children("/w/child").await?;
    other.delete("/w/child", None).await?;
    for watcher in [exists, data, children] {
        assert_eq!(shot(watcher.changed()).await?, event(EventType::NodeDeleted, "/w/child"));
    }
    other.delete("/w", None).await?;
    Ok(())
}

pub(crate) async fn persistent(client: &Client, other: &Client) -> Fallible<()> {
    let mut watcher = client.watch("/p", AddWatchMode::Persistent).await?;
    other.create("/p", b"", &PERSISTENT).await?;
    other.set_data("/p", b"1", None).await?;
    other.set_data("/p", b"2", None).await?;
    other.create("/p/c", b"", &PERSISTENT).await?;
    other.set_data("/p/c", b"not told", None).await?;
    other.delete("/p/c", None).await?;
    other.delete("/p", None).await?;
    for kind in [
        EventType::NodeCreated,
        EventType::NodeDataChanged,
        EventType::NodeDataChanged,
        EventType::NodeChildrenChanged,
        EventType::NodeChildrenChanged,
        EventType::NodeDeleted,
    ] {
        assert_eq!(told(&mut watcher).await?, event(kind, "/p"));
    }
    Ok(())
}

pub(crate) async fn recursive(client: &Client, other: &Client) -> Fallible<()> {
    let mut watcher = client.watch("/r", AddWatchMode::PersistentRecursive).await?;
    let mut second = client.watch("/r/a", AddWatchMode::PersistentRecursive).await?;
    for path in ["/r", "/rest", "/r/a", "/r/a/b"] {
        other.create(path, b"", &PERSISTENT).await?;
    }
    other.set_data("/r/a/b", b"1", None).await?;
    for path in ["/r/a/b", "/r/a", "/r", "/rest"] {
        other.delete(path, None).await?;
    }
    let all = [
        event(EventType::NodeCreated, "/r"),
        event(EventType::NodeCreated, "/r/a"),
        event(EventType::NodeCreated, "/r/a/b"),
        event(EventType::NodeDataChanged, "/r/a/b"),
        event(EventType::NodeDeleted, "/r/a/b"),
        event(EventType::NodeDeleted, "/r/a"),
        event(EventType::NodeDeleted, "/r"),
    ];
    for expected in &all {
        assert_eq!(&told(&mut watcher).await?, expected);
    }
    for expected in &all[1..6] {
        assert_eq!(&told(&mut second).await?, expected, "what lies below its own path");
    }
    // Once one of two is dropped, the client takes back its watch alone.
    drop(second);
    other.create("/r", b"", &PERSISTENT).await?;
    assert_eq!(told(&mut watcher).await?, event(EventType::NodeCreated, "/r"));
    other.delete("/r", None).await?;
    assert_eq!(told(&mut watcher).await?, event(EventType::NodeDeleted, "/r"));
    Ok(())
}

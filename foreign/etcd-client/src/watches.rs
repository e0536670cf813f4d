//! Watches: what is told, from when on, and how far it has come.

use std::time::Instant;

use etcd_client::{
    Client, DeleteOptions, EventType, WatchFilterType, WatchOptions, WatchResponse, WatchStream,
};

use crate::{Fallible, PATIENCE, refusal, within};

/// The next answer that is not that there is such a watch.
pub(crate) async fn next(stream: &mut WatchStream) -> Fallible<WatchResponse> {
    loop {
        let told = within("a watch", stream.message()).await??.ok_or("the stream has ended")?;
        if !told.created() {
            return Ok(told);
        }
    }
}

/// A change: its kind, key, value, and the value before.
type Told = (EventType, String, String, Option<String>);

pub(crate) async fn events(stream: &mut WatchStream, count: usize) -> Fallible<Vec<Told>> {
    let mut all = Vec::new();
    while all.len() < count {
        for event in next(stream).await?.events() {
            let kv = event.kv().ok_or("an event without a key")?;
            let before = event.prev_kv().map(|kv| kv.value_str().map(str::to_owned)).transpose()?;
            all.push((event.event_type(), kv.key_str()?.to_owned(), kv.value_str()?.to_owned(), before));
        }
    }
    Ok(all)
}

pub(crate) async fn all_kinds(client: &mut Client) -> Fallible<()> {
    let first = client.put("w/a", "1", None).await?.header().ok_or("no header")?.revision();
    client.put("w/a", "2", None).await?;
    client.put("w/b", "3", None).await?;

    let from = WatchOptions::new().with_prefix().with_start_revision(first).with_prev_key();
    let mut past = client.watch("w/", Some(from)).await?;
    let before = |text: &str| Some(text.to_owned());
    let put = |key: &str, value: &str, before| (EventType::Put, key.to_owned(), value.to_owned(), before);
    assert_eq!(
        events(&mut past, 3).await?,
        [put("w/a", "1", None), put("w/a", "2", before("1")), put("w/b", "3", None)],
        "history from its start on"
    );
    client.delete("w/", Some(DeleteOptions::new().with_prefix())).await?;
    let gone = events(&mut past, 2).await?;
    let deleted = |key: &str, value: &str| (EventType::Delete, key.to_owned(), String::new(), before(value));
    assert_eq!(gone, [deleted("w/a", "2"), deleted("w/b", "3")], "one revision, in the order of keys");

    let revision = client.put("elsewhere", "1", None).await?.header().ok_or("no header")?.revision();
    past.request_progress().await?;
    let progress = next(&mut past).await?;
    assert!(progress.events().is_empty(), "{progress:?}");
    assert!(progress.header().ok_or("no header")?.revision() >= revision - 1, "{progress:?}");

    let deletes = WatchOptions::new().with_filters([WatchFilterType::NoPut]).with_watch_id(77);
    past.watch("w/c", Some(deletes)).await?;
    let created = within("a second watch", past.message()).await??.ok_or("the stream has ended")?;
    assert!(created.created() && created.watch_id() == 77, "{created:?}");
    client.put("w/c", "1", None).await?;
    client.delete("w/c", None).await?;
    let mut of_second = Vec::new();
    while of_second.is_empty() {
        let told = next(&mut past).await?;
        if told.watch_id() == 77 {
            of_second.extend(told.events().iter().map(|event| event.event_type()));
        }
    }
    assert_eq!(of_second, [EventType::Delete], "puts are filtered out");
    past.cancel(77).await?;
    while !next(&mut past).await?.canceled() {}

    client.compact(revision, None).await?;
    // A watch begins on whichever member it comes to, and that one may hear of the compaction a moment later than the one that answered.
    let began = Instant::now();
    let ended = loop {
        let from = WatchOptions::new().with_start_revision(first);
        let told = next(&mut client.watch("w/a", Some(from)).await?).await?;
        if told.canceled() || began.elapsed() > PATIENCE {
            break told;
        }
    };
    assert!(ended.canceled() && ended.compact_revision() == revision, "{ended:?}");
    let (code, _) = refusal(client.compact(revision, None).await);
    assert_eq!(code, 11, "it was compacted already");
    Ok(())
}

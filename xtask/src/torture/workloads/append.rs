//! Lists that grow: read, then put one more if nobody has put meanwhile. Checked by [`verdicts::append`](super::super::verdicts::append).

use quorate_client::{Client, Executed};
use quorate_wire::etcdserverpb::RangeRequest;
use tokio::task::JoinSet;

use super::{
    Context,
    registers::{put_if, text},
    think,
};
use crate::{
    Fallible,
    torture::verdicts::append::{Append, Came, Read},
};

/// A list is carried whole by every append: a new one is begun after so many by one client.
const PER_LIST: u64 = 60;
const LISTS: u64 = 2;

pub(super) fn spawn(context: &Context, into: &mut JoinSet<()>) {
    for place in 0..context.endpoints.len() {
        into.spawn(client(context.clone(), place));
    }
}

async fn client(context: Context, place: usize) {
    let Some(client) = context.client(place) else { return };
    let mut random = context.random(1_000 + place as u64);
    let mut turn = 0;
    while !context.stopped() {
        turn += 1;
        let list = turn / PER_LIST * LISTS + random.below(LISTS);
        let key = format!("append/{}/{list}", context.segment);
        let element = (place as u64) << 32 | turn;
        if let Some((revision, known)) = read(&context, &client, &key).await {
            let value = known.iter().chain([&element]).map(u64::to_string).collect::<Vec<_>>().join(",");
            let came = match client.txn(put_if(&key, revision, value)).await {
                Ok(answer) if answer.succeeded => Came::Done(context.now()),
                Ok(_) => Came::Refused,
                Err(error) if error.executed() == Executed::No => Came::Refused,
                Err(_) => Came::Unknown,
            };
            context.record(|histories| histories.append.appends.push(Append { key, element, came }));
            think(&mut random, 40).await;
        } else {
            think(&mut random, 200).await;
        }
    }
}

/// The list, recorded, and the revision at which it was changed last.
async fn read(context: &Context, client: &Client, key: &str) -> Option<(i64, Vec<u64>)> {
    let begun = context.now();
    let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let answer = client.range(request).await.ok()?;
    let ended = context.now();
    let (revision, list) = match answer.kvs.first() {
        // What is no list is an element that nobody appended.
        Some(kv) => {
            (kv.mod_revision, text(&kv.value).split(',').map(|one| one.parse().unwrap_or(u64::MAX)).collect())
        }
        None => (0, Vec::new()),
    };
    let read = Read { key: key.to_owned(), begun, ended, list: Vec::clone(&list) };
    context.record(|histories| histories.append.reads.push(read));
    Some((revision, list))
}

/// What is there in the end.
pub(super) async fn finish(context: &Context) -> Fallible<()> {
    let client = context.patient().ok_or("no client")?;
    let keys: std::collections::BTreeSet<String> = context
        .record(|histories| histories.append.appends.iter().map(|append| append.key.clone()).collect());
    for key in keys {
        read(context, &client, &key).await.ok_or("a read after the storm failed")?;
    }
    Ok(())
}

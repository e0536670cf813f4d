//! Sessions that own ephemerals, with sequential names beside them, and end in order or by being left alone.

use std::time::Duration;

use quorate_wire::zookeeper::{DeleteRequest, ErrorCode, ExistsRequest, GetDataRequest, Request, Response};
use tokio::time::{Instant, sleep};

use super::{Context, Session, client, create, reconnect, root, sync};
use crate::{
    Fallible,
    torture::{
        verdicts::zookeeper::{Ephemeral, Sequential},
        workloads::think,
    },
};

const EPHEMERAL: i32 = 1;
const PERSISTENT_SEQUENTIAL: i32 = 2;
/// In calm, what belongs to sessions that were left alone is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// One session after the other, on this place first, each with an ephemeral that another session looks for.
pub(super) async fn owner(context: Context, place: usize) {
    let mut random = context.random(4_000 + place as u64);
    let mut turn = 0;
    while !context.stopped() {
        turn += 1;
        let Some((session, _)) = reconnect(&context, place, None).await else { return };
        let path = format!("{}/ephemerals/{place}-{turn}", root(&context));
        let lasts = Duration::from_millis(random.between(1_000, 10_000));
        let close = random.once_in(2);
        if let Some(seen) = live(&context, place, session, path, lasts, close).await {
            context.record(|histories| histories.ephemerals.push(seen));
        }
        think(&mut random, 200).await;
    }
}

async fn live(
    context: &Context,
    place: usize,
    mut session: Session,
    path: String,
    lasts: Duration,
    close: bool,
) -> Option<Ephemeral> {
    session.ask(create(&path, "", EPHEMERAL)).await.ok()?.ok()?;
    let mut seen = Ephemeral { path: path.clone(), created: context.now(), ..Ephemeral::default() };
    let mut other = Session::open(&context.zookeepers[(place + 1) % context.zookeepers.len()]).await.ok();
    let end = Instant::now() + lasts;
    while Instant::now() < end && !context.stopped() {
        let begun = context.now();
        let ours = Request::GetData(GetDataRequest { path: path.clone(), watch: false });
        match session.ask(ours).await {
            Ok(answer) => {
                seen.alive = seen.alive.max(begun);
                if answer.is_err() {
                    // To its own session it is gone, and the session lives.
                    seen.looks.push((begun, begun, false));
                }
            }
            Err(_) => match reconnect(context, place, Some(&session)).await {
                Some((again, false)) => session = again,
                // It is over: what it owned may be gone from now on, or was before.
                _ => return Some(seen),
            },
        }
        sequential(context, &mut session).await;
        let looked = match &mut other {
            Some(other) => look(context, other, &path).await,
            None => None,
        };
        match looked {
            Some(look) => seen.looks.push(look),
            None => {
                other = Session::open(&context.zookeepers[(place + 1) % context.zookeepers.len()]).await.ok();
            }
        }
        sleep(Duration::from_millis(150)).await;
    }
    if close && matches!(session.ask(Request::CloseSession(())).await, Ok(Ok(_))) {
        seen.closed = Some(context.now());
        if let Some(other) = &mut other {
            seen.looks.extend(look(context, other, &path).await);
        }
    }
    Some(seen)
}

/// Creates one with a number, and takes it away again: the number stays given.
async fn sequential(context: &Context, session: &mut Session) {
    let begun = context.now();
    let path = format!("{}/sequential/n-", root(context));
    if let Ok(Ok(Response::Path(created))) = session.ask(create(&path, "", PERSISTENT_SEQUENTIAL)).await {
        let ended = context.now();
        let number =
            created.path.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX);
        context.record(|histories| histories.sequential.push(Sequential { begun, ended, number }));
        // If it stays, it harms nobody.
        let _ = session.ask(Request::Delete(DeleteRequest { path: created.path, version: -1 })).await;
    }
}

/// Syncs, then looks: begun, ended, whether it was there.
async fn look(context: &Context, session: &mut Session, path: &str) -> Option<(u64, u64, bool)> {
    let begun = context.now();
    let exists = Request::Exists(ExistsRequest { path: path.to_owned(), watch: false });
    let answers = session.ask_all(&[sync(path), exists]).await.ok()?;
    let there = match answers.last()? {
        Ok(_) => true,
        Err(error) if *error == ErrorCode::NoNode.number() => false,
        Err(_) => return None,
    };
    answers.first()?.as_ref().ok()?;
    Some((begun, context.now(), there))
}

/// In calm: nobody keeps these sessions any more, and their ephemerals go.
pub(super) async fn finish(context: &Context, mut session: Session) -> Fallible<()> {
    let end = Instant::now() + GONE_WITHIN;
    let mut left: Vec<String> =
        context.record(|histories| histories.ephemerals.iter().map(|one| one.path.clone()).collect());
    loop {
        let mut still = Vec::new();
        for path in left {
            match look(context, &mut session, &path).await {
                Some((_, _, false)) => {}
                Some(_) => still.push(path),
                None => {
                    still.push(path);
                    session = client::persist(&context.zookeepers, super::PATIENCE).await?;
                }
            }
        }
        left = still;
        if left.is_empty() || Instant::now() > end {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    context.record(|histories| {
        for one in &mut histories.ephemerals {
            one.gone_in_the_end = Some(!left.contains(&one.path));
        }
    });
    Ok(())
}

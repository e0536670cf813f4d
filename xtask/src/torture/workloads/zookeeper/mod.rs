//! ZooKeeper's API: sessions with ephemerals and sequential names, multis, syncs with reads, and watches.

mod client;
mod data;
mod ephemerals;

use std::time::Duration;

use quorate_wire::zookeeper::{Acl, CreateRequest, ErrorCode, Id, Request, SyncRequest};
use tokio::task::JoinSet;

use self::client::Session;
use super::Context;
use crate::Fallible;

pub(super) const PERSISTENT: i32 = 0;
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn spawn(context: &Context, into: &mut JoinSet<()>) {
    for place in 0..context.zookeepers.len() {
        into.spawn(ephemerals::owner(context.clone(), place));
        into.spawn(data::writer(context.clone(), place));
        into.spawn(data::reader(context.clone(), place));
    }
}

/// What all of this works on.
pub(super) async fn prepare(context: &Context) -> Fallible<()> {
    let mut session = client::persist(&context.zookeepers, PATIENCE).await?;
    for path in paths(context) {
        let created = session.ask(create(&path, "", PERSISTENT)).await;
        match created {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error == ErrorCode::NodeExists.number() => {}
            other => return Err(format!("{path} cannot be created: {other:?}").into()),
        }
    }
    Ok(())
}

fn paths(context: &Context) -> Vec<String> {
    let root = root(context);
    let mut paths = vec!["/torture".to_owned(), root.clone()];
    paths.extend(["ephemerals", "sequential", "a", "b", "r0", "r1"].map(|name| format!("{root}/{name}")));
    paths
}

pub(super) fn root(context: &Context) -> String {
    format!("/torture/{}", context.segment)
}

/// A znode that anyone may do anything to.
pub(super) fn create(path: &str, data: &str, flags: i32) -> Request {
    let anyone = Acl { permissions: 31, id: Id::new("world", "anyone") };
    let data = Some(data.to_owned().into());
    Request::Create(CreateRequest { path: path.to_owned(), data, acl: vec![anyone], flags })
}

pub(super) fn sync(path: &str) -> Request {
    Request::Sync(SyncRequest { path: path.to_owned() })
}

/// In calm.
pub(super) async fn finish(context: &Context) -> Fallible<()> {
    let mut session = client::persist(&context.zookeepers, PATIENCE).await?;
    data::finish(context, &mut session).await?;
    ephemerals::finish(context, session).await
}

/// The session that this client goes on with: the same on another connection if it still lives, or a new one; the second says whether it is a new one.
async fn reconnect(context: &Context, place: usize, before: Option<&Session>) -> Option<(Session, bool)> {
    let mut expired = before.is_none();
    let mut turn = place;
    while !context.stopped() {
        let address = &context.zookeepers[turn % context.zookeepers.len()];
        let connected = match before {
            Some(before) if !expired => before.again(address).await,
            _ => Session::open(address).await,
        };
        match connected {
            Ok(session) => return Some((session, expired)),
            Err(client::Lost::Expired) => expired = true,
            Err(client::Lost::Connection) => turn += 1,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

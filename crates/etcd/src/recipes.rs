//! What Lock and Election have in common: keys under one name, of which the one that was created first counts, each living by a lease.
//!
//! ```text
//!   name/7a3   created at 12   holds the lock, or leads
//!   name/91f   created at 15   waits for the deletion of name/7a3
//!   name/b00   created at 18   waits for the deletion of name/91f
//! ```
//!
//! A key's creation revision grows from holder to holder: whoever writes under the lock compares it, and an old holder that does not know yet that its
//! lease has ended writes nothing any more (fencing).

use std::{future::poll_fn, task::Poll};

use bytes::Bytes;
use quorate_service::{
    keyspace::{
        Ask, Command, Compare, CompareResult, CompareTarget, DeleteRange, KeyValue, LeaseId, Operation, Put,
        Range, Reply, SortOrder, SortTarget, Txn, View,
    },
    watch::{StreamId, What},
};
use quorate_wire::{OtherError, etcdserverpb as pb};
use tonic::Status;

use crate::{
    Backend,
    front::{Serving, status, wrong_reply},
    gate::Shown,
};

/// The lease of whoever brings none, in seconds. Nobody keeps it alive: so it is in etcd.
const SESSION_TTL_S: i64 = 60;

/// A key in the queue of its name.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) key: Bytes,
    pub(crate) lease: LeaseId,
    /// When the key was created.
    pub(crate) revision: u64,
    /// What it was put with before, if it was there before.
    pub(crate) value: Option<Bytes>,
}

/// An error that etcd has no code for.
pub(crate) fn unmapped(text: &'static str) -> Status {
    status(&OtherError::unmapped(text).into())
}

fn prefix_of(name: &Bytes) -> Bytes {
    [&name[..], b"/"].concat().into()
}

/// As Go prints a signed number: clients make the key of a lease themselves, also of one below zero.
fn hexadecimal(lease: LeaseId) -> String {
    let sign = if lease.0 < 0 { "-" } else { "" };
    format!("{sign}{:x}", lease.0.unsigned_abs())
}

/// The first key after all that begin with `prefix`: it ends with a slash, whose successor is `0`.
fn end_of(prefix: &Bytes) -> Bytes {
    [&prefix[..prefix.len() - 1], b"0"].concat().into()
}

fn created_at(key: &Bytes, revision: u64) -> Compare {
    Compare {
        key: key.clone(),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: CompareTarget::Create(i64::try_from(revision).unwrap_or(i64::MAX)),
    }
}

impl<B: Backend> Serving<B> {
    /// Takes the place of that lease in the queue of the name, or finds it taken: the same lease waits once.
    pub(crate) async fn queue(
        &self,
        shown: &Shown,
        name: &Bytes,
        lease: i64,
        value: Bytes,
    ) -> Result<Place, Status> {
        let lease = match lease {
            0 => self.grant(shown, LeaseId::NONE, SESSION_TTL_S, None).await?.0.id,
            lease => LeaseId(lease),
        };
        let key: Bytes = [&prefix_of(name)[..], hexadecimal(lease).as_bytes()].concat().into();
        let put = Put { key: key.clone(), value, lease, ..Put::default() };
        let there = Range { key: key.clone(), ..Range::default() };
        let txn = Txn {
            compare: vec![created_at(&key, 0)],
            success: vec![Operation::Put(put)],
            failure: vec![Operation::Range(there)],
        };
        let (Reply::Txn(reply), revision) = self.write(shown, Command::Txn(txn), None).await? else {
            return Err(wrong_reply());
        };
        if reply.succeeded {
            return Ok(Place { key, lease, revision, value: None });
        }
        let there = reply.responses.into_iter().next().map(|response| response.reply);
        let Some(Reply::Range(range)) = there else { return Err(wrong_reply()) };
        let Some(kv) = range.kvs.into_iter().next() else { return Err(wrong_reply()) };
        Ok(Place { key, lease, revision: kv.create_revision, value: Some(kv.value) })
    }

    /// Waits until nobody is before it in the queue. What stands there then may have ended itself; see [`Serving::holds`].
    pub(crate) async fn wait_for_turn(
        &self,
        shown: &Shown,
        name: &Bytes,
        place: &Place,
    ) -> Result<(), Status> {
        let prefix = prefix_of(name);
        loop {
            let last_before = Range {
                key: prefix.clone(),
                range_end: end_of(&prefix),
                limit: 1,
                sort_order: SortOrder::Descend,
                sort_target: SortTarget::Create,
                max_create_revision: i64::try_from(place.revision.saturating_sub(1)).unwrap_or(i64::MAX),
                keys_only: true,
                ..Range::default()
            };
            let view = self.ask(shown, Ask::Range(&last_before), false).await?;
            // The revision of its creation is never 1: nothing was ever created before 2.
            let Some(before) = first(&view, &last_before) else { return Ok(()) };
            self.deleted(before.key, view.revision()).await;
        }
    }

    /// Is the place still there? A lease may have ended while its owner waited (etcd #11456).
    pub(crate) async fn holds(&self, shown: &Shown, place: &Place) -> Result<Option<View>, Status> {
        let own = Range { key: place.key.clone(), ..Range::default() };
        let view = self.ask(shown, Ask::Range(&own), false).await?;
        let there = view.get(&place.key).is_some_and(|kv| kv.create_revision == place.revision);
        Ok(there.then_some(view))
    }

    /// Who is first in the queue of a name.
    pub(crate) fn first_of(view: &View, name: &Bytes) -> Option<KeyValue> {
        first(view, &first_created(name))
    }

    /// A view in which whoever asks may see who is first in the queue of a name.
    pub(crate) async fn ask_first(&self, shown: &Shown, name: &Bytes) -> Result<View, Status> {
        self.ask(shown, Ask::Range(&first_created(name)), false).await
    }

    /// Does one thing to a key if it is still the one that was created then; did it?
    pub(crate) async fn if_created_at(
        &self,
        shown: &Shown,
        key: &Bytes,
        revision: u64,
        operation: Operation,
    ) -> Result<(bool, u64), Status> {
        let txn =
            Txn { compare: vec![created_at(key, revision)], success: vec![operation], failure: Vec::new() };
        match self.write(shown, Command::Txn(txn), None).await? {
            (Reply::Txn(reply), revision) => Ok((reply.succeeded, revision)),
            _ => Err(wrong_reply()),
        }
    }

    pub(crate) async fn delete(&self, shown: &Shown, key: &Bytes) -> Result<u64, Status> {
        let delete = DeleteRange { key: key.clone(), ..DeleteRange::default() };
        self.write(shown, Command::DeleteRange(delete), None).await.map(|(_, revision)| revision)
    }

    /// Waits until the key, which was there at `revision`, has been deleted, or something else happened that makes a second look worth it.
    async fn deleted(&self, key: Bytes, revision: u64) {
        let create = pb::WatchCreateRequest {
            key,
            start_revision: i64::try_from(revision + 1).unwrap_or(i64::MAX),
            filters: vec![pb::watch_create_request::FilterType::Noput.into()],
            ..Default::default()
        };
        let mut watch = Watched::open(self, create);
        while let Some(What::Created) = watch.next().await {}
    }

    /// Listens to keys from a revision on, as a client of Watch does.
    pub(crate) fn listen(&self, key: Bytes, range_end: Bytes, from: u64) -> Watched<B> {
        let start_revision = i64::try_from(from).unwrap_or(i64::MAX);
        let create = pb::WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        Watched::open(self, create)
    }

    /// The same, to all keys of a name.
    pub(crate) fn listen_to_name(&self, name: &Bytes, from: u64) -> Watched<B> {
        let prefix = prefix_of(name);
        self.listen(prefix.clone(), end_of(&prefix), from)
    }
}

fn first_created(name: &Bytes) -> Range {
    let prefix = prefix_of(name);
    Range {
        range_end: end_of(&prefix),
        key: prefix,
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..Range::default()
    }
}

fn first(view: &View, range: &Range) -> Option<KeyValue> {
    view.range(range).ok()?.kvs.into_iter().next()
}

/// A watch of this server's own.
pub(crate) struct Watched<B: Backend> {
    serving: Serving<B>,
    stream: StreamId,
}

impl<B: Backend> Watched<B> {
    fn open(serving: &Serving<B>, create: pb::WatchCreateRequest) -> Watched<B> {
        let stream = serving.watching().open(false, None);
        let union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
        serving.watching().with(stream, |turn| turn.request(pb::WatchRequest { request_union: union }));
        Watched { serving: serving.clone(), stream }
    }

    /// What it is told next; none, if the server stops.
    pub(crate) async fn next(&mut self) -> Option<What> {
        poll_fn(|context| {
            self.serving.watching().with(self.stream, |turn| {
                if turn.ends().is_some() {
                    return Poll::Ready(None);
                }
                match turn.next() {
                    Some(response) => Poll::Ready(Some(response.what)),
                    None => {
                        turn.wait(context.waker());
                        Poll::Pending
                    }
                }
            })
        })
        .await
    }
}

impl<B: Backend> Drop for Watched<B> {
    fn drop(&mut self) {
        self.serving.watching().close(self.stream);
    }
}

/// A place that is given back if its owner goes before it was told of it.
pub(crate) struct Waiting<B: Backend> {
    serving: Serving<B>,
    shown: Shown,
    place: Option<Place>,
}

impl<B: Backend> Waiting<B> {
    /// One that was there before belongs to somebody who has been told.
    pub(crate) fn new(serving: &Serving<B>, shown: &Shown, place: &Place) -> Waiting<B> {
        let place = place.value.is_none().then(|| place.clone());
        Waiting { serving: serving.clone(), shown: shown.clone(), place }
    }

    /// It was told.
    pub(crate) fn told(mut self) {
        self.place = None;
    }
}

impl<B: Backend> Drop for Waiting<B> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (serving, shown) = (self.serving.clone(), self.shown.clone());
        tokio::spawn(async move {
            let delete =
                Operation::DeleteRange(DeleteRange { key: place.key.clone(), ..DeleteRange::default() });
            // If it fails, the lease ends it.
            let _ = serving.if_created_at(&shown, &place.key, place.revision, delete).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_below_zero_has_the_key_that_clients_expect() {
        let printed = [0x7a3, -255, i64::MIN].map(|id| hexadecimal(LeaseId(id)));
        assert_eq!(printed, ["7a3", "-ff", "-8000000000000000"]);
    }
}

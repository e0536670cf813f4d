//! KV.RangeStream: a range of any size in chunks, all of one revision.

use bytes::{BufMut as _, Bytes, BytesMut};
use quorate_service::{
    HeaderBase,
    keyspace::{Range, RangeReply, SortOrder, SortTarget, View},
    keyspace_error, kv,
};
use quorate_wire::etcdserverpb as pb;
use tonic::Status;

use crate::front::status;

/// Keys of the first chunk, as in etcd. Later ones have twice or half as many, towards as many bytes as a request may have.
const FIRST_KEYS: u64 = 10;

/// A range that is being sent. The view keeps it as it was when the request came, whatever is compacted meanwhile.
pub(crate) struct Chunks {
    view: View,
    range: Range,
    /// How many keys may still be sent; none: all.
    left: Option<u64>,
    keys: u64,
    bytes_max: usize,
    header: HeaderBase,
    count: u64,
    done: bool,
}

/// What cannot be streamed.
///
/// # Errors
/// Orders and filters that need the whole range first.
pub(crate) fn check(range: &Range) -> Result<(), Status> {
    let ordered = range.sort_target != SortTarget::Key || range.sort_order == SortOrder::Descend;
    if ordered {
        return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
    }
    let filters = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    if filters != [0; 4] {
        return Err(Status::unimplemented("RangeStream does not support revision filters"));
    }
    Ok(())
}

impl Chunks {
    /// # Errors
    /// The revision is compacted, or has not come yet.
    pub(crate) fn new(
        view: View,
        range: Range,
        bytes_max: usize,
        header: HeaderBase,
    ) -> Result<Chunks, Status> {
        let counted = view.range(&Range { count_only: true, ..range.clone() });
        let count = counted.map_err(|error| status(&keyspace_error(error)))?.count;
        let left = u64::try_from(range.limit).ok().filter(|limit| *limit > 0);
        Ok(Chunks { view, range, left, keys: FIRST_KEYS, bytes_max, header, count, done: false })
    }

    /// The next chunk. Only the last has a header, a count, and says whether there is more.
    pub(crate) fn next(&mut self) -> Option<Result<pb::RangeStreamResponse, Status>> {
        if self.done {
            return None;
        }
        let wanted = self.left.map_or(self.keys, |left| left.min(self.keys));
        let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
        let reply = match self.view.range(&Range { limit, ..self.range.clone() }) {
            Ok(reply) => reply,
            Err(error) => return Some(Err(status(&keyspace_error(error)))),
        };
        self.left = self.left.map(|left| left - reply.kvs.len() as u64);
        self.done = self.range.count_only || !reply.more || self.left == Some(0);
        if let Some(last) = reply.kvs.last() {
            self.range.key = after(&last.key);
        }
        self.adapt(&reply);
        Some(Ok(self.chunk(reply)))
    }

    fn adapt(&mut self, reply: &RangeReply) {
        let bytes: usize = reply.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        if bytes > self.bytes_max {
            self.keys = (self.keys / 2).max(1);
        } else if bytes < self.bytes_max / 2 {
            self.keys = self.keys.saturating_mul(2);
        }
    }

    fn chunk(&self, reply: RangeReply) -> pb::RangeStreamResponse {
        let reply = RangeReply { count: self.count, ..reply };
        let mut response = kv::range_response(reply, self.view.revision(), &self.header);
        if !self.done {
            (response.header, response.count, response.more) = (None, 0, false);
        }
        pb::RangeStreamResponse { range_response: Some(response) }
    }
}

/// The first key after `key`.
fn after(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.put_u8(0);
    next.freeze()
}

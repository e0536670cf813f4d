//! A range over several shards: what each is asked, and one answer of theirs.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::{KeyValue, Range, RangeReply, SortOrder, SortTarget};

impl Range {
    /// What each shard is asked whose keys lie in it, at the same revision.
    ///
    /// As much as [`Range::merge`] may need of each: {limit 2, by value}: the two best of each shard, with their values, though the client wants the keys alone.
    #[must_use]
    pub fn part(&self) -> Range {
        let mut part = self.clone();
        if self.takes_first_keys() {
            part.limit = self.limit.saturating_add(1);
            (part.sort_order, part.sort_target) = (SortOrder::None, SortTarget::Key);
        }
        part.keys_only = self.keys_only && self.sort_target != SortTarget::Value;
        part
    }

    /// The answer that one shard would give which had all the keys; `replies` are those to [`Range::part`], in whatever order.
    #[must_use]
    pub fn merge(&self, replies: impl IntoIterator<Item = RangeReply>) -> RangeReply {
        let mut merged = RangeReply::default();
        for reply in replies {
            merged.count += reply.count;
            merged.more |= reply.more;
            merged.kvs.extend(reply.kvs);
        }
        // Nobody has a key of another, so this is the order in which one store has them.
        merged.kvs.sort_by(|one, other| one.key.cmp(&other.key));
        let limit = usize::try_from(self.limit).ok().filter(|limit| *limit > 0);
        if self.takes_first_keys() {
            merged.kvs.truncate(limit.unwrap_or(0).saturating_add(1));
            merged.more = false;
        }
        self.sort(&mut merged.kvs);
        if let Some(limit) = limit {
            merged.more |= merged.kvs.len() > limit;
            merged.kvs.truncate(limit);
        }
        if self.keys_only {
            merged.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        merged
    }

    /// Is the limit applied to the keys as they are stored, and one more, before anything is sorted? etcd does so where no order is given.
    pub(crate) fn takes_first_keys(&self) -> bool {
        let stored_order = self.sort_order == SortOrder::None
            || (self.sort_order == SortOrder::Ascend && self.sort_target == SortTarget::Key);
        self.limit > 0 && stored_order && !self.count_only && !self.has_filters()
    }

    pub(crate) fn has_filters(&self) -> bool {
        [self.min_mod_revision, self.max_mod_revision, self.min_create_revision, self.max_create_revision]
            .iter()
            .any(|bound| *bound != 0)
    }

    /// Sorts what is ordered by key.
    fn sort(&self, kvs: &mut [KeyValue]) {
        let compare: fn(&KeyValue, &KeyValue) -> Ordering = match (self.sort_target, self.sort_order) {
            (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => return,
            (SortTarget::Key, SortOrder::Descend) => return kvs.reverse(),
            (SortTarget::Version, _) => |a, b| a.version.cmp(&b.version),
            (SortTarget::Create, _) => |a, b| a.create_revision.cmp(&b.create_revision),
            (SortTarget::Mod, _) => |a, b| a.mod_revision.cmp(&b.mod_revision),
            (SortTarget::Value, _) => |a, b| a.value.cmp(&b.value),
        };
        match self.sort_order {
            SortOrder::None | SortOrder::Ascend => kvs.sort_by(compare),
            SortOrder::Descend => kvs.sort_by(|a, b| compare(b, a)),
        }
    }
}

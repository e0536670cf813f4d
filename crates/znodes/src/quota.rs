//! Quotas, as ZooKeeper keeps them: in znodes.
//!
//! The limits of `/a/b` stand in `/zookeeper/quota/a/b/zookeeper_limits`, what is used in `/zookeeper/quota/a/b/zookeeper_stats`, both as
//! text: `count=3,bytes=120=;byteHardLimit=1000;countHardLimit=10`. The deepest quota above a path counts, and no other. Soft limits are
//! there to be looked at ([`View::quota`](crate::View::quota)); hard ones refuse. What is used is kept without a version, a time or an
//! event, as if nobody had written it.

use std::collections::BTreeMap;

use crate::ZnodeError;
use crate::record::Record;
use crate::store::Store;

const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// A quota, and what is used of it. −1 stands for no limit, as ZooKeeper writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The path that it is for.
    pub path: String,
    /// Znodes that there should be at most, the path's own counted.
    pub count_soft: i64,
    /// Bytes of data that there should be at most.
    pub bytes_soft: i64,
    /// Znodes that there may be at most.
    pub count_hard: i64,
    /// Bytes of data that there may be at most.
    pub bytes_hard: i64,
    /// Znodes that there are.
    pub count_used: i64,
    /// Bytes of data that there are.
    pub bytes_used: i64,
}

/// What a znode below [`QUOTA`] is for.
enum Role<'a> {
    Limits(&'a str),
    Stats(&'a str),
    Neither,
}

/// Limits or stats, and of which path; the path is empty for those that stand directly below [`QUOTA`], where they mean nothing.
fn role(path: &str) -> Role<'_> {
    let Some((of, name)) = path.strip_prefix(QUOTA).and_then(|below| below.rsplit_once('/')) else {
        return Role::Neither;
    };
    match name {
        LIMITS if of.is_empty() || of.starts_with('/') => Role::Limits(of),
        STATS if of.is_empty() || of.starts_with('/') => Role::Stats(of),
        _ => Role::Neither,
    }
}

/// May this be the data of the znode at `path`? Limits and stats that are none would have to be guessed at with every write.
pub(crate) fn check_data(path: &str, data: Option<&[u8]>) -> Result<(), ZnodeError> {
    let (Role::Limits(of) | Role::Stats(of)) = role(path) else { return Ok(()) };
    let fits = data.is_some_and(|data| numbers(data).all(|number| number.is_some()));
    if of.is_empty() || !fits { Err(ZnodeError::BadArguments) } else { Ok(()) }
}

/// The pairs of name and number; none in the place of one that is neither. An empty number is −1.
fn numbers(data: &[u8]) -> impl Iterator<Item = Option<(String, i64)>> {
    let text = String::from_utf8_lossy(data).into_owned();
    let mut parts: Vec<String> = Vec::new();
    let mut separated = true;
    for character in text.chars() {
        match (matches!(character, ',' | ';'), parts.last_mut()) {
            (true, _) => separated = true,
            (false, Some(part)) if !separated => part.push(character),
            (false, _) => {
                parts.push(character.to_string());
                separated = false;
            }
        }
    }
    let leading = text.starts_with([',', ';']) && !parts.is_empty();
    leading.then(String::new).into_iter().chain(parts).map(|part| {
        let (name, rest) = part.split_once('=')?;
        let number = rest.split('=').next().unwrap_or_default();
        match (name, number, rest.trim_end_matches('=').is_empty()) {
            ("", _, _) | (_, _, true) => None,
            (name, "", false) => Some((name.to_owned(), -1)),
            (name, number, false) => Some((name.to_owned(), number.parse().ok()?)),
        }
    })
}

/// Names and numbers; what is not understood is left out.
#[derive(Debug, Default, PartialEq)]
struct Track(BTreeMap<String, i64>);

impl Track {
    fn of(record: Option<&Record>) -> Track {
        let data = record.and_then(|record| record.open().1);
        Track(data.into_iter().flat_map(numbers).flatten().collect())
    }

    fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    /// ZooKeeper's spelling: count and bytes first, the rest by name. The odd `=` keeps its oldest readers from reading on.
    fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.get("count"), self.get("bytes"));
        let mut rest =
            self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "count" | "bytes")).peekable();
        if rest.peek().is_some() {
            text.push('=');
        }
        rest.for_each(|(name, number)| text.push_str(&format!(";{name}={number}")));
        text
    }
}

fn place_of(of: &str, name: &str) -> String {
    format!("{QUOTA}{of}/{name}")
}

impl Store {
    /// The path whose quota counts for `path`.
    fn quota_prefix<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.quotas == 0 {
            return None;
        }
        let (_, quota) = self.find(QUOTA)?;
        let (mut record, mut end, mut found) = (quota, 0, None);
        for name in path.strip_prefix('/')?.split('/') {
            let Some(below) = self.child(record.meta().directory, name) else { break };
            record = below;
            end += 1 + name.len();
            if self.child(record.meta().directory, LIMITS).is_some() {
                found = Some(&path[..end]);
            }
        }
        found
    }

    /// The quota that counts for `path`.
    pub(crate) fn quota(&self, path: &str) -> Option<Quota> {
        let prefix = self.quota_prefix(path)?;
        let track = |name: &str| Track::of(self.find(&place_of(prefix, name)).map(|(_, record)| record));
        let (limits, used) = (track(LIMITS), track(STATS));
        Some(Quota {
            path: prefix.to_owned(),
            count_soft: limits.get("count"),
            bytes_soft: limits.get("bytes"),
            count_hard: limits.get("countHardLimit"),
            bytes_hard: limits.get("byteHardLimit"),
            count_used: used.get("count"),
            bytes_used: used.get("bytes"),
        })
    }

    /// Would so many znodes and bytes more exceed a hard quota? A quota without its stats is none: nobody counts.
    pub(crate) fn check_quota(&self, path: &str, count: i64, bytes: i64) -> Result<(), ZnodeError> {
        let Some(quota) = self.quota(path) else { return Ok(()) };
        if self.find(&place_of(&quota.path, STATS)).is_none() {
            return Ok(());
        }
        let exceeds =
            |limit: i64, used: i64, more: i64| more != 0 && limit > -1 && used.saturating_add(more) > limit;
        if exceeds(quota.count_hard, quota.count_used, count)
            || exceeds(quota.bytes_hard, quota.bytes_used, bytes)
        {
            return Err(ZnodeError::QuotaExceeded);
        }
        Ok(())
    }

    /// A znode was created: it may be a quota, and it may be counted by one.
    pub(crate) fn quota_created(&mut self, path: &str, bytes: usize) {
        match role(path) {
            Role::Limits(of) if !of.is_empty() => self.quotas += 1,
            Role::Stats(of) if !of.is_empty() => {
                let (count, bytes) = self.count_below(of);
                self.write_track(
                    path,
                    &Track([("count".to_owned(), count), ("bytes".to_owned(), bytes)].into()),
                );
            }
            Role::Limits(_) | Role::Stats(_) | Role::Neither => {}
        }
        self.quota_used(path, 1, bytes as i64);
    }

    /// A znode was deleted.
    pub(crate) fn quota_deleted(&mut self, path: &str, bytes: usize) {
        if matches!(role(path), Role::Limits(of) if !of.is_empty()) {
            self.quotas -= 1;
        }
        self.quota_used(path, -1, -(bytes as i64));
    }

    /// More, or less, is used of the quota that counts for `path`.
    pub(crate) fn quota_used(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(prefix) = self.quota_prefix(path) else { return };
        let stats = place_of(prefix, STATS);
        let Some((_, record)) = self.find(&stats) else { return };
        let mut track = Track::of(Some(record));
        for (name, more) in [("count", count), ("bytes", bytes)] {
            track.0.insert(name.to_owned(), track.get(name).saturating_add(more));
        }
        self.write_track(&stats, &track);
    }

    fn write_track(&mut self, stats: &str, track: &Track) {
        let (place, _) = self.find(stats).expect("the caller has seen it");
        self.set_data(place, Some(track.text().as_bytes()), |_| {});
    }

    /// How many znodes there are from `of` down, and with how much data.
    fn count_below(&self, of: &str) -> (i64, i64) {
        let Some((_, record)) = self.find(of) else { return (0, 0) };
        let (mut count, mut bytes) = (0, 0);
        let mut open = vec![record];
        while let Some(record) = open.pop() {
            count += 1;
            bytes += record.data_bytes() as i64;
            open.extend(self.children(record.meta().directory));
        }
        (count, bytes)
    }
}

/// Does this path set a quota?
pub(crate) fn is_limits(path: &str) -> bool {
    matches!(role(path), Role::Limits(of) if !of.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_read_and_written_as_zookeeper_does() {
        let read = |text: &str| numbers(text.as_bytes()).collect::<Option<BTreeMap<_, _>>>();
        let map = |pairs: &[(&str, i64)]| {
            Some(pairs.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect::<BTreeMap<_, _>>())
        };
        assert_eq!(read(""), map(&[]));
        assert_eq!(read("count=4,bytes=5"), map(&[("count", 4), ("bytes", 5)]));
        let all = map(&[("count", 4), ("bytes", 5), ("byteHardLimit", 7), ("countHardLimit", -1)]);
        assert_eq!(read("count=4,bytes=5=;byteHardLimit=7;countHardLimit=-1"), all);
        assert_eq!(Track(all.unwrap()).text(), "count=4,bytes=5=;byteHardLimit=7;countHardLimit=-1");
        assert_eq!(Track::default().text(), "count=-1,bytes=-1");
        assert_eq!(read("count==1"), map(&[("count", -1)]));
        assert_eq!(read("count=1,;,bytes=2,"), map(&[("count", 1), ("bytes", 2)]));
        for bad in ["count", "count=", "=1", "count=x", ",count=1", "count=1,x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn limits_and_stats_stand_where_they_belong() {
        assert_eq!(
            check_data("/zookeeper/quota/zookeeper_limits", Some(b"count=1")),
            Err(ZnodeError::BadArguments)
        );
        assert_eq!(check_data("/zookeeper/quota/a/zookeeper_stats", None), Err(ZnodeError::BadArguments));
        assert_eq!(
            check_data("/zookeeper/quota/a/zookeeper_stats", Some(b"x")),
            Err(ZnodeError::BadArguments)
        );
        assert_eq!(check_data("/zookeeper/quota/a/zookeeper_stats", Some(b"")), Ok(()));
        assert_eq!(check_data("/zookeeper/quota/a/other", Some(b"x")), Ok(()));
        assert_eq!(check_data("/a/zookeeper_limits", Some(b"x")), Ok(()));
    }
}

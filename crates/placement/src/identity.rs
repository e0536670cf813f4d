//! Ids that nodes compute for themselves: whoever is given the same initial cluster gets the same ids, before anyone has spoken.

use std::hash::Hasher;

use quorate_consensus::{ClusterId, Fingerprint, NodeId};

use crate::url;

/// The id of the member with these peer URLs in the cluster named `cluster_token`. Order and repetition of the URLs do not matter.
///
/// Members of the initial cluster have salt 0. A member that is added later needs a salt of its own, for instance the time and the
/// position of the log: the id of a member that was removed is never given again, and the same machine may well come back.
/// Never zero.
#[must_use]
pub fn member_id(peer_urls: &[String], cluster_token: &str, salt: u64) -> NodeId {
    let mut hasher = hasher(MEMBER);
    for url in &url::normal(peer_urls.to_vec()) {
        string(&mut hasher, url);
    }
    string(&mut hasher, cluster_token);
    hasher.write_u64(salt);
    NodeId(hasher.finish().max(1))
}

/// The id of the cluster that starts with these members, in whatever order they are named. Never zero.
#[must_use]
pub fn cluster_id(members: impl IntoIterator<Item = NodeId>) -> ClusterId {
    let mut members: Vec<NodeId> = members.into_iter().collect();
    members.sort_unstable();
    members.dedup();
    let mut hasher = hasher(CLUSTER);
    for member in members {
        hasher.write_u64(member.0);
    }
    ClusterId(hasher.finish().max(1))
}

const MEMBER: u64 = 1;
const CLUSTER: u64 = 2;

fn hasher(what: u64) -> Fingerprint {
    let mut hasher = Fingerprint::default();
    hasher.write_u64(what);
    hasher
}

/// The length goes first, so that ["ab", "c"] is not ["a", "bc"].
fn string(to: &mut Fingerprint, value: &str) {
    to.write_u64(value.len() as u64);
    to.write(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|url| (*url).to_owned()).collect()
    }

    /// Nodes of different builds compute these for themselves: the numbers may never change.
    #[test]
    fn ids_never_change_between_builds() {
        let id = member_id(&urls(&["http://10.0.0.1:2380"]), "quorate", 0);
        assert_eq!(id, NodeId(FIXED_MEMBER));
        assert_eq!(cluster_id([id, NodeId(7)]), ClusterId(FIXED_CLUSTER));
    }

    const FIXED_MEMBER: u64 = 5_258_925_873_839_621_293;
    const FIXED_CLUSTER: u64 = 6_655_625_778_354_271_352;

    #[test]
    fn the_same_initial_cluster_has_the_same_ids_however_it_is_written() {
        let one = member_id(&urls(&["http://a:1", "http://b:1"]), "t", 0);
        assert_eq!(one, member_id(&urls(&["http://b:1", "http://a:1", "http://a:1"]), "t", 0));
        assert_eq!(cluster_id([NodeId(1), NodeId(2)]), cluster_id([NodeId(2), NodeId(1), NodeId(1)]));
    }

    #[test]
    fn another_url_token_salt_or_member_is_another_id() {
        let one = member_id(&urls(&["http://a:1"]), "t", 0);
        assert_ne!(one, member_id(&urls(&["http://a:2"]), "t", 0));
        assert_ne!(one, member_id(&urls(&["http://a:1"]), "u", 0));
        assert_ne!(one, member_id(&urls(&["http://a:1"]), "t", 1));
        assert_ne!(one, member_id(&urls(&["http://a:", "1"]), "t", 0));
        assert_ne!(cluster_id([NodeId(1)]), cluster_id([NodeId(2)]));
        assert_ne!(cluster_id([NodeId(1)]), cluster_id([NodeId(1), NodeId(2)]));
        assert_ne!(cluster_id([]), ClusterId(0));
    }
}

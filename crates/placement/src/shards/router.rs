//! The map that a client, a node or a proxy keeps: the same for all three.
//!
//! It may be old, and it may have holes: of a shard that was split it may have learnt one half. Refusals repair it.
//!
//! Architecture Invariant: an entry never gives way to an older one. Every entry is kept with the
//! version of the map that it is from, and gives way only to one from the same version or a later one. A hole takes whatever comes: if
//! that is old, the next refusal puts it right.

use std::collections::BTreeMap;
use std::fmt;

use quorate_consensus::{GroupId, NodeId};

use super::{Believed, Entry, Rule, ShardMap, Span, Stale, Token};

/// What is known of the shards, and who leads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// The newest version of the map that was heard of.
    map_version: u64,
    /// The rule of that map; all of `known` is by it.
    rule: Rule,
    /// By where they begin; they do not overlap.
    known: BTreeMap<Token, Known>,
    /// Of groups in `known` only.
    leaders: BTreeMap<GroupId, NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    entry: Entry,
    /// The version of the map that said so.
    map_version: u64,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The shard that is believed to hold the key.
    pub entry: &'a Entry,
    /// Who is believed to lead its group, if anybody. Any other member can say who does.
    pub leader: Option<NodeId>,
    map_version: u64,
}

impl Route<'_> {
    /// What the request carries.
    #[must_use]
    pub fn believed(&self) -> Believed {
        Believed {
            shard: self.entry.shard,
            range_version: self.entry.range_version,
            config_version: self.entry.config_version,
            map_version: self.map_version,
        }
    }
}

/// Nothing is known of who holds this. Fetch the map; or ask any server, with [`Believed::default`], and it will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedsMap {
    /// The first token of which nothing is known.
    pub token: Token,
}

impl fmt::Display for NeedsMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not known which shard holds {}; fetch the shard map", self.token)
    }
}

impl std::error::Error for NeedsMap {}

/// What a refusal was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// The router knows more: route again.
    Learnt,
    /// The server knows nothing that the router does not: it is late, or the refusal is. Wait a little, or ask another member.
    Nothing,
}

impl Router {
    /// It knows nothing yet.
    #[must_use]
    pub fn new() -> Router {
        Router::default()
    }

    /// The newest version of the map that it has heard of.
    #[must_use]
    pub fn map_version(&self) -> u64 {
        self.map_version
    }

    /// How keys become tokens, as far as it knows.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Takes in a whole map. An older one than was heard of fills holes.
    pub fn learn(&mut self, map: &ShardMap) -> Repaired {
        self.take_all(map.version(), map.rule(), map.shards())
    }

    /// Takes in what a refusal says.
    pub fn repair(&mut self, stale: &Stale) -> Repaired {
        self.take_all(stale.map_version, stale.rule, &stale.fresh)
    }

    fn take_all(&mut self, map_version: u64, rule: Rule, entries: &[Entry]) -> Repaired {
        let mut learnt = false;
        if rule != self.rule {
            // {a map by range at 7; a refusal from 4, when it was by hash, comes late}
            if map_version <= self.map_version {
                return Repaired::Nothing;
            }
            self.known.clear();
            self.leaders.clear();
            (self.rule, learnt) = (rule, true);
        }
        self.map_version = self.map_version.max(map_version);
        for entry in entries {
            learnt |= self.take(map_version, entry);
        }
        if learnt { Repaired::Learnt } else { Repaired::Nothing }
    }

    /// Takes in one entry, in place of all that it overlaps, unless one of these is from a later map. Was it news?
    ///
    /// {s1 [a, z) is known from 3; s2 [m, z) comes from 5}: s1 goes whole, for at 5 it cannot be what it was; [a, m) is a hole.
    fn take(&mut self, map_version: u64, entry: &Entry) -> bool {
        let span = entry.span();
        if self.overlapping(&span).any(|(_, known)| known.map_version > map_version) {
            return false;
        }
        let old: Vec<Token> = self.overlapping(&span).map(|(from, _)| from.clone()).collect();
        let mut same = false;
        for from in old {
            if let Some(known) = self.known.remove(&from) {
                same |= known.entry == *entry;
                if known.entry.group != entry.group {
                    self.leaders.remove(&known.entry.group);
                }
            }
        }
        self.known.insert(entry.from.clone(), Known { entry: entry.clone(), map_version });
        !same
    }

    /// What is known of the tokens of the span, in order.
    fn overlapping(&self, span: &Span) -> impl Iterator<Item = (&Token, &Known)> {
        let before = self.known.range::<Token, _>(..=&span.from).next_back();
        let first = before.filter(|(_, known)| known.entry.holds(&span.from)).map(|(from, _)| from);
        let to = span.to.clone();
        self.known
            .range::<Token, _>(first.unwrap_or(&span.from)..)
            .take_while(move |(from, _)| to.as_ref().is_none_or(|to| *from < to))
    }

    /// Who holds the key?
    ///
    /// # Errors
    /// The router has a hole there.
    pub fn route(&self, key: &[u8]) -> Result<Route<'_>, NeedsMap> {
        let token = self.rule.token(key);
        let before = self.known.range::<Token, _>(..=&token).next_back();
        match before.filter(|(_, known)| known.entry.holds(&token)) {
            Some((_, known)) => Ok(self.route_to(known)),
            None => Err(NeedsMap { token }),
        }
    }

    /// All who can hold keys from `from` on and before `to`, in order of their tokens; without `to`, all keys from `from` on.
    ///
    /// # Errors
    /// The router has a hole there.
    pub fn route_range(&self, from: &[u8], to: Option<&[u8]>) -> Result<Vec<Route<'_>>, NeedsMap> {
        let span = self.rule.covers(from, to);
        let mut routes = Vec::new();
        // Up to here the span is known; none: to its end.
        let mut reached = Some(span.from.clone());
        for (_, known) in self.overlapping(&span) {
            match &reached {
                Some(token) if !known.entry.holds(token) => break,
                _ => reached.clone_from(&known.entry.to),
            }
            routes.push(self.route_to(known));
        }
        match reached.filter(|token| span.holds(token)) {
            Some(token) => Err(NeedsMap { token }),
            None => Ok(routes),
        }
    }

    fn route_to<'a>(&self, known: &'a Known) -> Route<'a> {
        let leader = self.leaders.get(&known.entry.group).copied();
        Route { entry: &known.entry, leader, map_version: known.map_version }
    }

    /// The node leads the group, somebody says. Of a group that no known shard has, nothing is kept.
    pub fn leader_is(&mut self, group: GroupId, node: NodeId) {
        if self.known.values().any(|known| known.entry.group == group) {
            self.leaders.insert(group, node);
        }
    }

    /// The node was asked, and does not lead the group. {n1 was asked and took long; meanwhile n2 is known to lead}: n2 stays.
    pub fn leader_was_not(&mut self, group: GroupId, node: NodeId) {
        if self.leaders.get(&group) == Some(&node) {
            self.leaders.remove(&group);
        }
    }
}

//! Where a key lives and why, for `quorate shard explain KEY`.

use std::fmt;

use super::entry::Members;
use super::{Entry, Rule, ShardMap, Token};

/// Why a key lives where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// How keys become tokens.
    pub rule: Rule,
    /// The key's token.
    pub token: Token,
    /// Who holds it.
    pub entry: Entry,
    /// The version of the map that says so.
    pub map_version: u64,
}

impl ShardMap {
    /// Why the key lives where it does.
    #[must_use]
    pub fn explain(&self, key: &[u8]) -> Explanation {
        let token = self.rule().token(key);
        let entry = self.locate_token(&token).clone();
        Explanation { rule: self.rule(), token, entry, map_version: self.version() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { rule, token, entry, map_version } = self;
        let end = entry.to.as_ref().map_or_else(|| "the end".to_owned(), |to| rule.readable(to));
        writeln!(f, "rule      {rule}")?;
        writeln!(f, "token     {}", rule.readable(token))?;
        writeln!(f, "shard     {}, group {}, {}", entry.shard, entry.group, entry.engine)?;
        writeln!(f, "holds     from {} to {end}", rule.readable(&entry.from))?;
        let (range, config) = (entry.range_version, entry.config_version);
        writeln!(f, "versions  range {range}, config {config}, map {map_version}")?;
        writeln!(f, "members   {}", Members(&entry.members))?;
        write!(f, "phase     {}", entry.phase)
    }
}

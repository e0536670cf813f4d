//! Answers without what differs from run to run, but with what must not: whether two zxids are one, and whether two sessions are.

use std::collections::BTreeMap;

use super::script::EVENT;

const VERSION: &str = "ZooKeeper CLI version: ";

/// The sessions that were seen so far, by the order in which they were.
#[derive(Default)]
pub(super) struct Plain {
    sessions: BTreeMap<String, usize>,
}

impl Plain {
    pub(super) fn of(&mut self, lines: &[String]) -> Vec<String> {
        let mut zxids = Vec::new();
        for line in lines {
            if let Some((_, zxid)) = zxid(line) {
                zxids.push(zxid);
            }
        }
        zxids.sort_unstable();
        zxids.dedup();
        let (events, said): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line.starts_with("WatchedEvent "));
        let mut plain: Vec<String> = said.into_iter().map(|line| self.line(line, &zxids)).collect();
        // Who somebody is has no order; ZooKeeper's is that of a hash.
        if plain.first().is_some_and(|line| line == "Auth scheme: User") {
            plain[1..].sort_unstable();
        }
        // An event's thread prints when it likes: behind what was answered is as good a place as any.
        plain.extend(events.into_iter().map(|line| event(line)));
        plain
    }

    fn line(&mut self, line: &str, zxids: &[u64]) -> String {
        if let Some((name, zxid)) = zxid(line) {
            let rank = zxids.binary_search(&zxid).map_or(0, |at| at + 1);
            return format!("{name} = zxid {rank}");
        }
        match line.split_once(" = ") {
            Some((name @ ("ctime" | "mtime"), _)) => format!("{name} = …"),
            Some((name @ "ephemeralOwner", session)) if session != "0x0" => {
                let next = self.sessions.len() + 1;
                let number = self.sessions.entry(session.to_owned()).or_insert(next);
                format!("{name} = session {number}")
            }
            _ if line.starts_with(VERSION) => format!("{VERSION}…"),
            _ => sorted(line).unwrap_or_else(|| line.to_owned()),
        }
    }
}

fn zxid(line: &str) -> Option<(&str, u64)> {
    let (name @ ("cZxid" | "mZxid" | "pZxid"), zxid) = line.split_once(" = 0x")? else { return None };
    Some((name, u64::from_str_radix(zxid, 16).ok()?))
}

/// A list in whatever order it came in.
fn sorted(line: &str) -> Option<String> {
    let mut items: Vec<&str> = line.strip_prefix('[')?.strip_suffix(']')?.split(", ").collect();
    items.sort_unstable();
    Some(format!("[{}]", items.join(", ")))
}

/// `WatchedEvent state:SyncConnected type:NodeCreated path:/a`, with a zxid behind it in newer versions, as `* NodeCreated /a`.
fn event(line: &str) -> String {
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or("?");
    format!("{EVENT}{} {}", field("type:"), field("path:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_zxids_and_sessions_stay_equal() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut plain = Plain::default();
        let said = "cZxid = 0x20\nmZxid = 0x100000001\npZxid = 0x20\nctime = Mon\nephemeralOwner = 0xab";
        assert_eq!(
            plain.of(&lines(said)),
            ["cZxid = zxid 1", "mZxid = zxid 2", "pZxid = zxid 1", "ctime = …", "ephemeralOwner = session 1"]
        );
        let said = "WatchedEvent state:SyncConnected type:NodeCreated path:/a\n[b, a]\nephemeralOwner = 0xcd\nephemeralOwner = 0xab\nephemeralOwner = 0x0";
        assert_eq!(
            plain.of(&lines(said)),
            [
                "[a, b]",
                "ephemeralOwner = session 2",
                "ephemeralOwner = session 1",
                "ephemeralOwner = 0x0",
                "* NodeCreated /a"
            ]
        );
    }
}

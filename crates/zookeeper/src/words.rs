//! Four-letter words: who may ask which, and what the short ones answer. The long ones are in [`mntr`](crate::mntr) and [`dump`](crate::dump).
//!
//! Every answer is text, and the connection is closed after it. Formats are ZooKeeper's, which monitoring reads.

use std::{collections::HashMap, fmt::Write as _, process};

use quorate_service::zookeeper::{ConnectionId, Hub, Standing};
use quorate_wire::zookeeper::FourLetterWord;

use crate::{Facts, Mode, Options, client::Client, dump, mntr, stats::Stats};

/// Which four-letter words are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whitelist(Vec<FourLetterWord>);

impl Whitelist {
    /// ZooKeeper's `4lw.commands.whitelist`: words separated by commas, or `*` for all. What is no word is left out.
    #[must_use]
    pub fn parse(list: &str) -> Whitelist {
        let wanted: Vec<&str> = list.split(',').map(str::trim).collect();
        let all = wanted.contains(&"*");
        let words = FourLetterWord::ALL.iter().copied();
        Whitelist(words.filter(|word| all || wanted.contains(&word.text())).collect())
    }

    /// Is this word answered? `hash`, `gtmk` and `stmk` never are: there is no trace mask here, and no history of digests.
    #[must_use]
    pub fn has(&self, word: FourLetterWord) -> bool {
        !matches!(word, FourLetterWord::Hash | FourLetterWord::Gtmk | FourLetterWord::Stmk)
            && self.0.contains(&word)
    }
}

/// `srvr`, and `ruok`.
impl Default for Whitelist {
    fn default() -> Whitelist {
        Whitelist::parse("srvr,ruok")
    }
}

/// What words are answered from.
pub(crate) struct Server<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) options: &'a Options,
    pub(crate) hub: &'a Hub,
    pub(crate) stats: &'a Stats,
    pub(crate) clients: &'a HashMap<ConnectionId, Client>,
    pub(crate) client_port: u16,
}

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// Is `word` to begin the server's counts anew?
pub(crate) fn resets_server(word: FourLetterWord, whitelist: &Whitelist) -> bool {
    word == FourLetterWord::Srst && whitelist.has(word)
}

/// Is `word` to begin the connections' counts anew?
pub(crate) fn resets_connections(word: FourLetterWord, whitelist: &Whitelist) -> bool {
    word == FourLetterWord::Crst && whitelist.has(word)
}

pub(crate) fn answer(word: FourLetterWord, server: &Server<'_>) -> String {
    if !server.options.whitelist.has(word) {
        return format!("{} is not executed because it is not in the whitelist.\n", word.text());
    }
    let standing = server.hub.standing();
    match word {
        FourLetterWord::Ruok => "imok".to_owned(),
        FourLetterWord::Isro => match standing {
            Standing::Serving => "rw",
            Standing::ReadOnly => "ro",
            Standing::Isolated => "null",
        }
        .to_owned(),
        FourLetterWord::Envi => envi(server),
        _ if standing == Standing::Isolated => NOT_SERVING.to_owned(),
        FourLetterWord::Srvr => server.srvr(false),
        FourLetterWord::Stat => server.srvr(true),
        FourLetterWord::Mntr => mntr::mntr(server),
        FourLetterWord::Conf => conf(server),
        FourLetterWord::Cons => server.connections(false) + "\n",
        FourLetterWord::Crst => "Connection stats reset.\n".to_owned(),
        FourLetterWord::Srst => "Server stats reset.\n".to_owned(),
        FourLetterWord::Dirs => {
            let Facts { snapshot_bytes, log_bytes, .. } = server.facts;
            format!("datadir_size: {snapshot_bytes}\nlogdir_size: {log_bytes}\n")
        }
        FourLetterWord::Dump => dump::sessions(server),
        FourLetterWord::Wchs => dump::watches_summary(server),
        FourLetterWord::Wchp => dump::watches_by_path(server),
        FourLetterWord::Wchc => dump::watches_by_session(server),
        // Not in any whitelist; see there.
        FourLetterWord::Hash | FourLetterWord::Gtmk | FourLetterWord::Stmk => String::new(),
    }
}

impl Server<'_> {
    /// The state as `srvr` and `mntr` give it.
    pub(crate) fn mode(&self) -> &'static str {
        if self.hub.standing() == Standing::ReadOnly { "read-only" } else { self.facts.mode.text() }
    }

    /// Requests that wait, of all connections.
    pub(crate) fn outstanding(&self) -> usize {
        self.clients.values().map(Client::queued).sum()
    }

    /// ZooKeeper counts the root twice.
    pub(crate) fn znode_count(&self) -> u64 {
        self.hub.view().znode_count() + 1
    }

    fn srvr(&self, with_clients: bool) -> String {
        let mut text = format!("Zookeeper version: {}\n", self.options.version);
        if with_clients {
            let _ = write!(text, "Clients:\n{}\n", self.connections(true));
        }
        let Stats { received, sent, .. } = self.stats;
        let (min, average, max) = (self.stats.min_ms(), self.stats.average_text(), self.stats.max_ms());
        let _ = write!(
            text,
            "Latency min/avg/max: {min}/{average}/{max}\nReceived: {received}\nSent: {sent}\nConnections: {}\nOutstanding: {}\nZxid: 0x{:x}\nMode: {}\n",
            self.clients.len(),
            self.outstanding(),
            self.hub.zxid(),
            self.mode(),
        );
        if self.facts.mode == Mode::Leader {
            // Not measured; what ZooKeeper says before the first.
            text.push_str("Proposal sizes last/min/max: -1/-1/-1\n");
        }
        let _ = writeln!(text, "Node count: {}", self.znode_count());
        text
    }

    fn connections(&self, brief: bool) -> String {
        let mut clients: Vec<_> = self.clients.iter().collect();
        clients.sort_unstable_by_key(|(id, _)| **id);
        let mut text = String::new();
        for (_, client) in clients {
            let (peer, stats) = (client.socket.peer, &client.stats);
            let _ = write!(
                text,
                " /{peer}[1](queued={},recved={},sent={}",
                client.queued(),
                stats.received,
                stats.sent
            );
            if let Some(session) = client.session().filter(|_| !brief) {
                let timeout_ms = self.hub.view().session(session).map_or(0, |known| known.timeout_ms);
                let _ = write!(
                    text,
                    ",sid={session},to={timeout_ms},llat={},minlat={},avglat={},maxlat={}",
                    stats.last_ms(),
                    stats.min_ms(),
                    stats.average_ms() as u64,
                    stats.max_ms()
                );
            }
            text.push_str(")\n");
        }
        text
    }
}

fn conf(server: &Server<'_>) -> String {
    let Facts { data_directory, snapshot_bytes, log_bytes, .. } = server.facts;
    let Options { server_id, tick, settings, tuning, .. } = server.options;
    format!(
        "clientPort={}\nsecureClientPort=-1\ndataDir={data_directory}\ndataDirSize={snapshot_bytes}\ndataLogDir={data_directory}\ndataLogSize={log_bytes}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog=-1\nserverId={server_id}\n",
        server.client_port,
        tick.as_millis(),
        tuning.connections_per_address_max,
        settings.timeout_ms_min,
        settings.timeout_ms_max,
    )
}

/// There is no Java here; its keys are left out.
fn envi(server: &Server<'_>) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "Environment:\nzookeeper.version={}\nhost.name={}\nos.name={}\nos.arch={}\nprocess.id={}\n",
        server.options.version,
        host.trim(),
        std::env::consts::OS,
        std::env::consts::ARCH,
        process::id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whitelist_is_read_as_zookeeper_reads_it() {
        let some = Whitelist::parse("mntr, conf ,nope");
        assert!(some.has(FourLetterWord::Mntr) && some.has(FourLetterWord::Conf));
        assert!(!some.has(FourLetterWord::Srvr), "a list replaces the default");
        let all = Whitelist::parse("*");
        assert!(all.has(FourLetterWord::Wchp) && !all.has(FourLetterWord::Stmk));
        assert!(Whitelist::default().has(FourLetterWord::Ruok));
        assert!(!Whitelist::parse("").has(FourLetterWord::Ruok));
    }
}

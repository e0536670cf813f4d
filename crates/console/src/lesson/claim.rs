//! What a lesson says of a run, and whether it holds there.

use std::{collections::BTreeMap, fmt, str::FromStr};

use quorate_sim::film::{End, Film, Label, Sent, Stand, What};

use crate::json::role;

const KEYS: u64 = 2;

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Equal,
    AtLeast,
    AtMost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Says {
    /// `leader S2`, `leader none`, `leader one`: of those that run, who leads in the greatest epoch.
    Leader(String),
    /// `leaders 2`: so many believe that they lead.
    Leaders(usize),
    /// `S1 is follower`: or candidate, leader, learner, up, down.
    Is(usize, String),
    /// `S1 commit >= 4`: or epoch, last, base, applied.
    Number(usize, String, Compared, u64),
    /// `logs agree S1 S2`, `logs differ S1 S2`.
    Logs(bool, Vec<usize>),
    /// `S1 has k0 = 3`, `S1 lacks k0 = 3`: an entry of its log.
    Entry(usize, bool, String),
    /// `reason vote_granted`, `reason vote_granted S2`, `no reason vote_granted`: since the step before.
    Reason(bool, String, Option<usize>),
    /// `message InstallSnapshot`, `no message InstallSnapshot`: since the step before.
    Message(bool, String),
    /// `answer ok put k0 = 5`: or failed, unknown, open; the newest such question.
    Answer(String, String),
    /// `told k0 = 3`: some read answered with that, since the step before.
    Told(String),
    /// `broken I7`, `clean`.
    Broken(Option<String>),
    /// `linearizable`, `not linearizable`.
    Linearizable(bool),
}

/// A claim about a moment of a run.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    text: String,
    group: u64,
    says: Says,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn host(word: &str) -> Result<usize, String> {
    let number = word.strip_prefix('S').and_then(|number| number.parse::<usize>().ok());
    number
        .and_then(|number| number.checked_sub(1))
        .ok_or_else(|| format!("{word:?} is no host; they are S1, S2, …"))
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Claim, String> {
        let (group, rest) = match text.split_once(": ") {
            Some(("records", rest)) => (1, rest),
            Some(("keys", rest)) => (KEYS, rest),
            _ => (KEYS, text),
        };
        Ok(Claim { text: text.to_owned(), group, says: says(rest)? })
    }
}

fn says(text: &str) -> Result<Says, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let rest = |from: usize| words[from..].join(" ");
    Ok(match words[..] {
        ["leader", who] => {
            if !matches!(who, "none" | "one") {
                host(who)?;
            }
            Says::Leader(who.to_owned())
        }
        ["leaders", count] => Says::Leaders(count.parse().map_err(|_| format!("{count:?} is no number"))?),
        ["logs", how @ ("agree" | "differ"), ..] => {
            let hosts: Result<Vec<usize>, String> = words[2..].iter().map(|word| host(word)).collect();
            Says::Logs(how == "agree", hosts?)
        }
        ["reason", what] => Says::Reason(true, what.to_owned(), None),
        ["reason", what, who] => Says::Reason(true, what.to_owned(), Some(host(who)?)),
        ["no", "reason", what] => Says::Reason(false, what.to_owned(), None),
        ["no", "reason", what, who] => Says::Reason(false, what.to_owned(), Some(host(who)?)),
        ["message", name] => Says::Message(true, name.to_owned()),
        ["no", "message", name] => Says::Message(false, name.to_owned()),
        ["answer", how @ ("ok" | "failed" | "unknown" | "open"), ..] => Says::Answer(how.to_owned(), rest(2)),
        ["told", ..] => Says::Told(rest(1)),
        ["broken", id] => Says::Broken(Some(id.to_owned())),
        ["clean"] => Says::Broken(None),
        ["linearizable"] => Says::Linearizable(true),
        ["not", "linearizable"] => Says::Linearizable(false),
        [who, "is", what] => Says::Is(host(who)?, what.to_owned()),
        [who, "has", ..] => Says::Entry(host(who)?, true, rest(2)),
        [who, "lacks", ..] => Says::Entry(host(who)?, false, rest(2)),
        [who, what @ ("commit" | "epoch" | "last" | "base" | "applied"), how, number] => {
            let compared = match how {
                "=" => Compared::Equal,
                ">=" => Compared::AtLeast,
                "<=" => Compared::AtMost,
                _ => return Err(format!("{how:?} is none of =, >= and <=")),
            };
            let number = number.parse().map_err(|_| format!("{number:?} is no number"))?;
            Says::Number(host(who)?, what.to_owned(), compared, number)
        }
        _ => return Err(format!("{text:?} is no claim that can be checked")),
    })
}

/// A replica at a moment.
#[derive(Clone, Debug, Default)]
struct Replica {
    stand: Option<Stand>,
    applied: u64,
    base: u64,
    log: Vec<Label>,
}

/// Everything as it stands at a moment of a film, and what has happened since an earlier one.
#[derive(Debug)]
pub struct Moment<'a> {
    film: &'a Film,
    since: u64,
    at: u64,
    up: BTreeMap<usize, bool>,
    replicas: BTreeMap<(usize, u64), Replica>,
}

impl<'a> Moment<'a> {
    /// The moment just before `at_ms`; what happened is looked for from `since_ms` on.
    #[must_use]
    pub fn at(film: &'a Film, since_ms: u64, at_ms: u64) -> Moment<'a> {
        let mut moment = Moment {
            film,
            since: since_ms * 1_000_000,
            at: at_ms * 1_000_000,
            up: BTreeMap::new(),
            replicas: BTreeMap::new(),
        };
        for happened in film.events.iter().take_while(|happened| happened.at < at_ms * 1_000_000) {
            if let Some(host) = happened.host {
                moment.see(host, &happened.what);
            }
        }
        moment
    }

    fn see(&mut self, host: usize, what: &What) {
        match what {
            What::Start { .. } => {
                self.up.insert(host, true);
                self.replicas.retain(|(of, _), _| *of != host);
            }
            What::Down { how: End::Crash | End::Kill | End::Fatal, .. } => _ = self.up.insert(host, false),
            What::State { group, stand } => {
                self.replica(host, group.0).stand = Some((**stand).clone());
            }
            What::Applied { group, index } => self.replica(host, group.0).applied = index.0,
            What::Log { group, base, from, entries } => {
                let replica = self.replica(host, group.0);
                let gone = base.0.saturating_sub(replica.base).min(replica.log.len() as u64);
                replica.log.drain(..gone as usize);
                replica.base = base.0;
                replica.log.truncate(from.0.saturating_sub(base.0 + 1) as usize);
                replica.log.extend(entries.iter().cloned());
            }
            _ => {}
        }
    }

    fn replica(&mut self, host: usize, group: u64) -> &mut Replica {
        self.replicas.entry((host, group)).or_default()
    }

    fn of(&self, host: usize, group: u64) -> Option<&Replica> {
        self.replicas.get(&(host, group)).filter(|_| self.is_up(host))
    }

    fn is_up(&self, host: usize) -> bool {
        self.up.get(&host).copied().unwrap_or(false)
    }

    fn role(&self, host: usize, group: u64) -> &'static str {
        self.of(host, group).and_then(|replica| replica.stand.as_ref()).map_or("down", role)
    }

    /// Who leads, with the epoch.
    fn leading(&self, group: u64) -> Vec<(u64, usize)> {
        let hosts = 0..self.film.shape.hosts() as usize;
        let mut leading: Vec<(u64, usize)> = hosts
            .filter(|host| self.role(*host, group) == "leader")
            .filter_map(|host| Some((self.of(host, group)?.stand.as_ref()?.epoch, host)))
            .collect();
        leading.sort_unstable();
        leading
    }

    fn since(&self) -> impl Iterator<Item = (Option<usize>, &What)> {
        let (from, to) = (self.since, self.at);
        let within = move |at: u64| at >= from && at < to;
        self.film
            .events
            .iter()
            .filter(move |happened| within(happened.at))
            .map(|happened| (happened.host, &happened.what))
    }

    /// Does the claim hold at this moment?
    ///
    /// # Errors
    /// What is the case instead.
    pub fn holds(&self, claim: &Claim) -> Result<(), String> {
        let group = claim.group;
        let (holds, instead) = match &claim.says {
            Says::Leader(who) => self.check_leader(who, group),
            Says::Leaders(count) => {
                let leading = self.leading(group);
                (leading.len() == *count, format!("{leading:?} lead"))
            }
            Says::Is(host, what) => {
                let (role, up) = (self.role(*host, group), self.is_up(*host));
                let holds = match what.as_str() {
                    "up" => up,
                    "down" => !up,
                    what => role == what,
                };
                (holds, format!("it is {role}"))
            }
            Says::Number(host, what, compared, number) => {
                self.check_number(*host, group, what, (*compared, *number))
            }
            Says::Logs(agree, hosts) => self.check_logs(*agree, hosts, group),
            Says::Entry(host, has, text) => {
                let log = self.of(*host, group).map(|replica| &replica.log[..]).unwrap_or_default();
                let found = log.iter().any(|label| label.text == *text);
                let texts: Vec<&str> = log.iter().map(|label| label.text.as_str()).collect();
                (found == *has, format!("its log is {texts:?}"))
            }
            Says::Reason(wanted, what, host) => self.check_reason(*wanted, what, *host, group),
            Says::Message(wanted, name) => {
                let sent = |what: &What| matches!(what, What::Send(Sent { name: of, group: g, .. }) if of == name && g.0 == group);
                let found = self.since().any(|(_, what)| sent(what));
                (found == *wanted, format!("it was {}", if found { "sent" } else { "not sent" }))
            }
            Says::Answer(how, question) => self.check_answer(how, question),
            Says::Told(text) => {
                let answers: Vec<&str> = self
                    .since()
                    .filter_map(|(_, what)| match what {
                        What::Answer { text, .. } => Some(text.as_str()),
                        _ => None,
                    })
                    .collect();
                (answers.contains(&text.as_str()), format!("answers were {answers:?}"))
            }
            Says::Broken(id) => {
                let broken: Vec<&str> =
                    self.film.violations.iter().filter(|v| v.at < self.at).map(|v| v.id).collect();
                let holds = id.as_ref().map_or(broken.is_empty(), |id| broken.first() == Some(&id.as_str()));
                (holds, format!("broken is {broken:?}"))
            }
            Says::Linearizable(wanted) => {
                let found = self.film.linearizable;
                (found == Some(*wanted), format!("the history's verdict is {found:?}"))
            }
        };
        if holds { Ok(()) } else { Err(instead) }
    }

    fn check_leader(&self, who: &str, group: u64) -> (bool, String) {
        let leading = self.leading(group);
        let first = leading.last().map(|(_, host)| *host);
        let holds = match who {
            "none" => leading.is_empty(),
            "one" => leading.len() == 1,
            who => first.is_some() && host(who).ok() == first,
        };
        (
            holds,
            format!(
                "those that lead are {:?}",
                leading.iter().map(|(epoch, host)| format!("S{} in {epoch}", host + 1)).collect::<Vec<_>>()
            ),
        )
    }

    fn check_number(&self, host: usize, group: u64, what: &str, wanted: (Compared, u64)) -> (bool, String) {
        let Some(replica) = self.of(host, group) else { return (false, "it is down".to_owned()) };
        let stand = replica.stand.as_ref();
        let found = match what {
            "applied" => replica.applied,
            "base" => replica.base,
            "epoch" => stand.map_or(0, |stand| stand.epoch),
            "last" => stand.map_or(0, |stand| stand.last.0),
            _ => stand.map_or(0, |stand| stand.commit.0),
        };
        let holds = match wanted {
            (Compared::Equal, number) => found == number,
            (Compared::AtLeast, number) => found >= number,
            (Compared::AtMost, number) => found <= number,
        };
        (holds, format!("it is {found}"))
    }

    fn check_logs(&self, agree: bool, hosts: &[usize], group: u64) -> (bool, String) {
        // Where they have entries of the same place: who has compacted more, or was given a snapshot, has fewer of them, and the same end.
        let logs: Vec<&Replica> = hosts.iter().filter_map(|host| self.of(*host, group)).collect();
        let last = |log: &Replica| log.base + log.log.len() as u64;
        let epoch = |log: &Replica, index: u64| {
            log.log.get(index.checked_sub(log.base + 1)? as usize).map(|label| label.epoch)
        };
        let alike = |one: &Replica, other: &Replica| {
            let common = one.base.max(other.base) + 1..=last(one).min(last(other));
            last(one) == last(other)
                && common.into_iter().all(|index| epoch(one, index) == epoch(other, index))
        };
        let same = logs.len() == hosts.len() && logs.windows(2).all(|pair| alike(pair[0], pair[1]));
        let shown: Vec<(u64, Vec<u64>)> =
            logs.iter().map(|log| (log.base, log.log.iter().map(|label| label.epoch).collect())).collect();
        (same == agree, format!("their (base, epochs) are {shown:?}"))
    }

    fn check_reason(&self, wanted: bool, what: &str, host: Option<usize>, group: u64) -> (bool, String) {
        let reasons: Vec<String> = self
            .since()
            .filter_map(|(at, event)| match event {
                What::Why { group: of, reason }
                    if of.0 == group && host.is_none_or(|host| at == Some(host)) =>
                {
                    Some(reason.what.to_owned())
                }
                _ => None,
            })
            .collect();
        let found = reasons.iter().any(|reason| reason == what);
        let mut kinds = reasons;
        kinds.sort_unstable();
        kinds.dedup();
        (found == wanted, format!("the reasons were {kinds:?}"))
    }

    fn check_answer(&self, how: &str, question: &str) -> (bool, String) {
        let before = self.film.events.iter().take_while(|happened| happened.at < self.at);
        let mut asked = None;
        let mut found = "never asked";
        for happened in before {
            match &happened.what {
                What::Ask { operation, text, .. } if text == question => {
                    (asked, found) = (Some(*operation), "open")
                }
                What::Answer { operation, done, .. } if asked == Some(*operation) => {
                    found = match done {
                        Some(true) => "ok",
                        Some(false) => "failed",
                        None => "unknown",
                    };
                }
                _ => {}
            }
        }
        (found == how, format!("it is {found}"))
    }
}

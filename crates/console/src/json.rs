//! A film as the page reads it. Times are microseconds, hosts are places, nodes are ids.

use quorate_consensus::{EngineKind, GroupId, NodeId, Role};
use quorate_sim::film::{End, EntryKind, Fate, Film, Happened, Label, Sent, Stand, What};
use serde_json::{Value, json};

use crate::run::{Run, engine_name};

/// The whole film of a run.
pub(crate) fn film(run: &Run, film: &Film) -> Value {
    let hosts = film.shape.hosts();
    let events: Vec<Value> = film.events.iter().map(event).collect();
    let broken = |id: &str, at: u64| {
        film.events.iter().position(|happened| {
            happened.at == at.max(film.from)
                && matches!(&happened.what, What::Broken { id: of, .. } if *of == id)
        })
    };
    let violations: Vec<Value> = film
        .violations
        .iter()
        .map(|violation| {
            json!({
                "id": violation.id,
                "t": micros(violation.at),
                "h": violation.host,
                "text": violation.what,
                "event": broken(violation.id, violation.at),
            })
        })
        .collect();
    json!({
        "version": crate::run::VERSION,
        "build": env!("CARGO_PKG_VERSION"),
        "run": run.to_json(&film.actions),
        "hosts": hosts,
        "names": (1..=hosts).map(|host| format!("S{host}")).collect::<Vec<_>>(),
        "voters": film.shape.voters,
        "election_us": [film.shape.raft.election_timeout_min.as_micros() as u64, film.shape.raft.election_timeout_max.as_micros() as u64],
        "groups": film.groups.iter().map(group).collect::<Vec<_>>(),
        "from": micros(film.from),
        "end": micros(film.end),
        "events": events,
        "cut": film.cut.then_some("the run has more events than a film keeps; the rest was left out: choose an earlier end, fewer clients or fewer nodes"),
        "hash": format!("{:016x}", film.hash),
        "verdict": verdict(film),
        "violations": violations,
    })
}

fn verdict(film: &Film) -> Value {
    let text = match film.linearizable {
        _ if film.operations == 0 => "no client has asked anything",
        Some(true) => "what clients saw can be put in one order",
        Some(false) => "what clients saw cannot be put in one order",
        None => "not decided: a value was written twice, or the search was given up",
    };
    json!({ "operations": film.operations, "linearizable": film.linearizable, "text": text })
}

fn group((id, engine): &(GroupId, EngineKind)) -> Value {
    let name = match id.0 {
        1 => "records",
        2 => "keys",
        _ => "tree",
    };
    json!({ "id": id.0, "name": name, "engine": engine_name(*engine) })
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

fn event(happened: &Happened) -> Value {
    let mut value = what(&happened.what);
    if let Value::Object(fields) = &mut value {
        fields.insert("t".to_owned(), json!(micros(happened.at)));
        if let Some(host) = happened.host {
            fields.insert("h".to_owned(), json!(host));
        }
    }
    value
}

fn what(what: &What) -> Value {
    match what {
        What::Start { node, life } => json!({ "k": "start", "node": node.0, "life": life }),
        What::Runs => json!({ "k": "runs" }),
        What::Down { how, text } => json!({ "k": "down", "how": end(*how), "text": text }),
        What::Paused { until } => json!({ "k": "paused", "until": micros(*until) }),
        What::Act { number, text } => json!({ "k": "act", "n": number, "text": text }),
        What::Links { cut } => json!({ "k": "link", "cut": cut }),
        What::Send(it) => sent(it),
        What::Arrive { frame, heard } => json!({ "k": "recv", "f": frame, "heard": heard }),
        What::Why { group, reason } => {
            let values: serde_json::Map<String, Value> =
                reason.values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({ "k": "why", "g": group.0, "rule": reason.rule, "what": reason.what, "values": values })
        }
        What::State { group, stand } => state(*group, stand),
        What::Applied { group, index } => json!({ "k": "applied", "g": group.0, "index": index.0 }),
        What::Log { group, base, from, entries } => json!({
            "k": "log", "g": group.0, "base": base.0, "from": from.0,
            "entries": entries.iter().map(entry).collect::<Vec<_>>(),
        }),
        What::Disk { id, text } => json!({ "k": "disk", "d": id, "text": text }),
        What::DiskEnds { id, error } => json!({ "k": "disked", "d": id, "error": error }),
        What::Ask { client, operation, text } => {
            json!({ "k": "ask", "c": client, "o": operation, "text": text })
        }
        What::Answer { client, operation, text, done } => {
            let outcome = match done {
                Some(true) => "ok",
                Some(false) => "failed",
                None => "unknown",
            };
            json!({ "k": "answer", "c": client, "o": operation, "text": text, "outcome": outcome })
        }
        What::Note { text } => json!({ "k": "note", "text": text }),
        What::Broken { id, text } => json!({ "k": "broken", "id": id, "text": text }),
    }
}

fn end(how: End) -> &'static str {
    match how {
        End::Crash => "crash",
        End::Kill => "kill",
        End::Fatal => "fatal",
    }
}

fn sent(sent: &Sent) -> Value {
    let fate = sent.fate.map(|fate| match fate {
        Fate::Cut => "cut",
        Fate::Lost => "lost",
        Fate::ByHand => "by hand",
        Fate::Nobody => "nobody",
    });
    json!({
        "k": "send", "m": sent.message, "f": sent.frame, "to": sent.to, "g": sent.group.0,
        "name": sent.name, "text": sent.text, "epoch": sent.epoch,
        "at": sent.arrivals.iter().map(|at| micros(*at)).collect::<Vec<_>>(), "fate": fate,
    })
}

/// The role of a replica, as the page and lessons name it.
pub(crate) fn role(stand: &Stand) -> &'static str {
    match stand.role {
        Role::Follower => "follower",
        Role::PreCandidate | Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
    }
}

fn state(group: GroupId, stand: &Stand) -> Value {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    json!({
        "k": "state", "g": group.0, "role": role(stand), "pre": stand.role == Role::PreCandidate,
        "epoch": stand.epoch, "leader": stand.leader.map(|node| node.0),
        "commit": stand.commit.0, "last": stand.last.0, "durable": stand.durable.0, "base": stand.base.0,
        "timer": stand.timer.map(micros),
        "voters": ids(&stand.voters), "outgoing": ids(&stand.outgoing), "learners": ids(&stand.learners),
    })
}

fn entry(label: &Label) -> Value {
    let kind = match label.kind {
        EntryKind::Noop => "noop",
        EntryKind::Put => "put",
        EntryKind::Members => "members",
        EntryKind::Other => "other",
    };
    json!([label.epoch, label.text, kind])
}

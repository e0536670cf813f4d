//! What probes ask: `/health` in JSON, `/livez` and `/readyz` check by check; and `/version`.

use std::fmt::Write as _;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tonic::{Status, body::Body};

use super::text;
use crate::{
    Backend,
    front::Serving,
    maintenance::{alarm_name, storage_version},
};

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// One check of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}

/// A probe that consists of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Failed: start this member again.
    Live,
    /// Failed: send it no requests.
    Ready,
}

impl Probe {
    pub(crate) const ALL: [Probe; 2] = [Probe::Live, Probe::Ready];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Probe::Live => "livez",
            Probe::Ready => "readyz",
        }
    }

    pub(crate) const fn checks(self) -> &'static [Check] {
        match self {
            Probe::Live => &[Check::SerializableRead],
            Probe::Ready => {
                &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner]
            }
        }
    }

    /// Which checks this path asks for; all of them are `/readyz`, one is `/readyz/non_learner`.
    fn asked(path: &str) -> Option<(Probe, Vec<Check>)> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let name = parts.next()?;
        let probe = Probe::ALL.into_iter().find(|probe| probe.name() == name)?;
        let checks = probe.checks().iter().copied();
        let checks = match (parts.next(), parts.next()) {
            (None, _) => checks.collect(),
            (Some(wanted), None) => vec![checks.into_iter().find(|check| check.name() == wanted)?],
            (Some(_), Some(_)) => return None,
        };
        Some((probe, checks))
    }
}

pub(super) fn is_probe(path: &str) -> bool {
    Probe::asked(path).is_some()
}

pub(super) async fn answer<B: Backend>(serving: &Serving<B>, request: &Request<()>) -> Response<Body> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let probe = Probe::asked(path);
    if probe.is_none() && !matches!(path, "/health" | "/version" | "/metrics") {
        let said = "404: here are /v3/… (JSON), /health, /livez, /readyz, /version and /metrics; gRPC comes over HTTP/2 as application/grpc\n";
        return text(StatusCode::NOT_FOUND, TEXT, said);
    }
    if request.method() != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    match (probe, path) {
        (Some((probe, checks)), _) => probed(serving, probe, checks, query).await,
        (None, "/health") => health(serving, query).await,
        (None, _) => {
            let server = &serving.0.front.version;
            let cluster = storage_version(server);
            let said =
                format!(r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{cluster}"}}"#);
            text(StatusCode::OK, JSON, said)
        }
    }
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Every check but those that are not to be made. A check that nobody knows is excluded without a word.
async fn probed<B: Backend>(
    serving: &Serving<B>,
    probe: Probe,
    mut checks: Vec<Check>,
    query: &str,
) -> Response<Body> {
    checks.retain(|check| !parameters(query).any(|pair| pair == ("exclude", check.name())));
    let mut well = true;
    let mut said = String::new();
    for check in checks {
        let failed = passes(serving, check).await.err();
        serving.counts().checked(probe, check, failed.is_none());
        let name = check.name();
        let _ = match failed {
            None => writeln!(said, "[+]{name} ok"),
            Some(why) => {
                well = false;
                writeln!(said, "[-]{name} failed: {why}")
            }
        };
    }
    if !well {
        return text(StatusCode::SERVICE_UNAVAILABLE, TEXT, said);
    }
    if !parameters(query).any(|(name, _)| name == "verbose") {
        said.clear();
    }
    text(StatusCode::OK, TEXT, said + "ok\n")
}

/// Is it so? Else, in words, why not.
async fn passes<B: Backend>(serving: &Serving<B>, check: Check) -> Result<(), String> {
    let said = |status: Status| status.message().to_owned();
    match check {
        Check::SerializableRead => serving.keys(true).await.map(drop).map_err(said),
        Check::LinearizableRead => serving.keys(false).await.map(drop).map_err(said),
        Check::NonLearner if serving.is_learner() => Err("not supported for learner".to_owned()),
        Check::NonLearner => Ok(()),
        Check::DataCorruption => {
            let view = serving.keys(true).await.map_err(said)?;
            match view.alarms().map(|alarm| alarm_name(alarm.kind)).find(|name| *name == "CORRUPT") {
                Some(name) => Err(format!("alarm activated: {name}")),
                None => Ok(()),
            }
        }
    }
}

/// etcd's `/health`: alarms, then a leader, then a read.
async fn health<B: Backend>(serving: &Serving<B>, query: &str) -> Response<Body> {
    let serializable = parameters(query).any(|pair| pair == ("serializable", "true"));
    let excluded = |alarm: &str| parameters(query).any(|pair| pair == ("exclude", alarm));
    let reason = async {
        let local = serving.keys(true).await.map_err(|status| format!("RANGE ERROR:{}", status.message()))?;
        if let Some(alarm) = local.alarms().map(|alarm| alarm_name(alarm.kind)).find(|name| !excluded(name)) {
            return Err(format!("ALARM {alarm}"));
        }
        drop(local);
        if !serializable {
            if !serving.leader_known() {
                return Err("RAFT NO LEADER".to_owned());
            }
            serving.keys(false).await.map_err(|status| format!("RANGE ERROR:{}", status.message()))?;
        }
        Ok(())
    };
    let reason = reason.await;
    serving.counts().health(reason.is_ok());
    match reason {
        Ok(()) => text(StatusCode::OK, JSON, r#"{"health":"true","reason":""}"#),
        Err(reason) => {
            let said = serde_json::json!({ "health": "false", "reason": reason }).to_string();
            text(StatusCode::SERVICE_UNAVAILABLE, JSON, said)
        }
    }
}

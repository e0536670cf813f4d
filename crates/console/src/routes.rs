//! What there is behind each path.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    Live, json, lesson,
    page::{self, JSON, TEXT, answer},
    run::{BadRun, Run},
};

/// The longest request.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a request's content may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Films that are made at a time; each takes a core and its memory.
const FILMS_MAX: usize = 2;

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    live: Option<Live>,
    films: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(live: Option<Live>) -> Door {
        Door { live, films: Arc::new(Semaphore::new(FILMS_MAX)) }
    }
}

type Answer = Response<Full<Bytes>>;

fn error(status: StatusCode, what: &str) -> Answer {
    answer(status, JSON, json!({ "error": what }).to_string())
}

/// Answers one request.
pub(crate) async fn respond(request: Request<Incoming>, door: &Door) -> Answer {
    if !is_meant_for_this_machine(&request) {
        return error(StatusCode::FORBIDDEN, "ask for the Lab by an address or as localhost");
    }
    let path = request.uri().path().to_owned();
    if *request.method() == Method::POST {
        return match path.as_str() {
            "/api/film" => posted(request, door, film).await,
            "/api/export" => posted(request, door, export).await,
            _ => error(StatusCode::NOT_FOUND, "nothing is posted there; films are made at /api/film"),
        };
    }
    if *request.method() != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "the Lab answers GET and POST");
    }
    if let Some(file) = page::asset(&path) {
        return file;
    }
    if let Some(path) = path.strip_prefix("/api/live") {
        return watched(path, &request, door).await;
    }
    match path.as_str() {
        "/api/about" => {
            let about = json!({ "build": env!("CARGO_PKG_VERSION"), "live": door.live.is_some() });
            answer(StatusCode::OK, JSON, about.to_string())
        }
        "/api/words" => answer(StatusCode::OK, JSON, page::WORDS),
        "/api/lessons" => answer(StatusCode::OK, JSON, lesson::list().to_string()),
        path => match path.strip_prefix("/api/lessons/").and_then(lesson::to_json) {
            Some(lesson) => answer(StatusCode::OK, JSON, lesson.to_string()),
            None => error(StatusCode::NOT_FOUND, "there is no such page; the Lab is at /"),
        },
    }
}

/// A name that somebody else's server has given this machine's address is how a page from there would read what is here.
fn is_meant_for_this_machine(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name =
        host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok()
}

async fn watched(path: &str, request: &Request<Incoming>, door: &Door) -> Answer {
    let Some(live) = &door.live else {
        return error(
            StatusCode::NOT_FOUND,
            "this Lab watches no cluster; start it with --endpoints, or use quorate dev",
        );
    };
    match live.answer(path, request.uri().query().unwrap_or_default(), request.headers()).await {
        Ok(value) => answer(StatusCode::OK, JSON, value.to_string()),
        Err(refused) => {
            let value = json!({ "error": refused.what, "needs_user": refused.needs_user });
            answer(refused.status, JSON, value.to_string())
        }
    }
}

/// A page of another origin may send text to a server on this machine without asking; JSON it may not.
fn is_json(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(JSON.as_bytes()))
}

async fn posted(
    request: Request<Incoming>,
    door: &Door,
    make: fn(&Value) -> Result<Answer, BadRun>,
) -> Answer {
    if !is_json(&request) {
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json");
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let Ok(body) = timeout(BODY_TIMEOUT, body).await else {
        return error(StatusCode::REQUEST_TIMEOUT, "the run did not come within ten seconds");
    };
    let Ok(body) = body else {
        return error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "a run has at most 1 MiB; leave some of its actions out",
        );
    };
    let value: Value = match serde_json::from_slice(&body.to_bytes()) {
        Ok(value) => value,
        Err(why) => return error(StatusCode::BAD_REQUEST, &format!("this is no JSON: {why}")),
    };
    let Ok(place) = Arc::clone(&door.films).acquire_owned().await else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the Lab is being closed");
    };
    let made = tokio::task::spawn_blocking(move || {
        let made = make(&value);
        drop(place);
        made
    });
    match made.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => error(StatusCode::BAD_REQUEST, &why.0),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the simulator failed; please report this run"),
    }
}

fn film(value: &Value) -> Result<Answer, BadRun> {
    let run = Run::read(value)?;
    let film = run.play()?;
    Ok(answer(StatusCode::OK, JSON, json::film(&run, &film).to_string()))
}

fn export(value: &Value) -> Result<Answer, BadRun> {
    let run = Run::read(&value["run"])?;
    match value["as"].as_str() {
        Some("test") => Ok(answer(StatusCode::OK, TEXT, lesson::export(&run, &run.play()?))),
        _ => Err(BadRun("a run is exported as a test; drawings are made in the page".to_owned())),
    }
}

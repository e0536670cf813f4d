//! The admin page: ZooKeeper's HTTP commands and the figures for Prometheus, on a port of their own.
//!
//! ```text
//!   GET /commands            what there is
//!   GET /commands/<name>     one of them, as JSON; also under its four-letter word
//!   GET /metrics             the numbers of `mntr`, as Prometheus reads them
//! ```
//!
//! A question goes to the driver like everything else, and is answered from one state. There are no credentials here, as there are none in ZooKeeper's:
//! the page tells who is connected and what they watch, so it is off unless an operator gives it an address, and that should be one that only operators reach.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use crate::{Front, commands::Command, front::Told};

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A question that the driver has not answered by then is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the driver is asked, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) answer: oneshot::Sender<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Command(Command),
    Metrics,
}

/// Serves the page until the listener fails for good.
pub(crate) async fn serve(listener: TcpListener, front: Front) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the admin page could not be accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let front = front.clone();
        tokio::spawn(async move {
            connection(stream, front).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, front: Front) {
    let service = service_fn(|request: Request<Incoming>| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(respond(&request, &front).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin page ended");
    }
}

async fn respond(request: &Request<Incoming>, front: &Front) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "the admin page answers GET and nothing else\n".into());
    }
    let path = request.uri().path().trim_end_matches('/');
    let (question, kind) = match path.strip_prefix("/commands/") {
        _ if path == "/metrics" => (Question::Metrics, "text/plain; version=0.0.4; charset=utf-8"),
        None if matches!(path, "" | "/commands") => {
            return text(StatusCode::OK, "text/html; charset=utf-8", index());
        }
        Some(name) => match Command::from_name(name) {
            Some(command) => (Question::Command(command), "application/json"),
            None => {
                return plain(
                    StatusCode::NOT_FOUND,
                    format!("there is no command {name:?}; /commands lists them\n"),
                );
            }
        },
        None => return plain(StatusCode::NOT_FOUND, "here are /commands and /metrics\n".into()),
    };
    let (answer, told) = oneshot::channel();
    front.tell(Told::Asked(Asked { question, answer }));
    match timeout(ANSWER_TIMEOUT, told).await {
        Ok(Ok(said)) => text(StatusCode::OK, kind, said),
        Ok(Err(_)) | Err(_) => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "the server is too busy or stops; try again\n".into())
        }
    }
}

fn index() -> String {
    let links = Command::ALL.iter().map(|command| {
        let name = command.name();
        format!("<a href=\"/commands/{name}\">{name}</a><br/>\n")
    });
    let links: String = links.collect();
    format!(
        "<!doctype html>\n<title>Quorate: ZooKeeper's commands</title>\n{links}<a href=\"/metrics\">metrics</a>\n"
    )
}

fn plain(status: StatusCode, said: String) -> Response<Full<Bytes>> {
    text(status, "text/plain; charset=utf-8", said)
}

fn text(status: StatusCode, kind: &'static str, said: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(said)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

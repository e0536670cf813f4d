//! What is answered without gRPC, over HTTP/1 or HTTP/2: the JSON gateway, the probes, the version and the metrics.
//!
//! ```text
//!   /v3/kv/put ──► gateway: JSON to a message by its descriptor ──► the same service as over gRPC ──► JSON
//!   /health, /livez, /readyz, /version ──► probes
//! ```

mod calls;
mod frames;
mod gateway;
mod json;
mod probes;

pub(crate) use probes::{Check, Probe};

use std::borrow::Cow;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;

use crate::{Backend, Serves, metrics, routes::Routes};

/// Is this a call of gRPC? Its clients say so; on a port for both, the content decides.
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    let content = request.headers().get(header::CONTENT_TYPE);
    request.version() >= http::Version::HTTP_2
        && content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// The answer to anything that is not gRPC.
pub(crate) async fn answer<B: Backend>(routes: Routes<B>, request: Request<Incoming>) -> Response<Body> {
    let mut response = if request.method() == Method::OPTIONS {
        // A browser asks before it sends; what it is told is in the headers below.
        Response::new(Body::empty())
    } else if !is_served(routes.serves(), &request) {
        text(StatusCode::NOT_FOUND, probes::TEXT, elsewhere(routes.serves()))
    } else if let Some(path) = gateway_path(request.uri().path()).map(Cow::into_owned) {
        gateway::answer(&routes, &path, request).await
    } else if request.uri().path() == METRICS && request.method() == Method::GET {
        text(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics::page(routes.serving()).await,
        )
    } else {
        probes::answer(routes.serving(), &request.map(drop)).await
    };
    let headers = response.headers_mut();
    for (name, value) in ALLOWED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const METRICS: &str = "/metrics";

/// Is there anything of this kind here? What is asked for may be unknown all the same.
fn is_served<B>(serves: Serves, request: &Request<B>) -> bool {
    match serves {
        Serves::All => true,
        Serves::Grpc => false,
        Serves::Http => !is_grpc(request),
        Serves::Metrics => {
            let path = request.uri().path();
            path == METRICS || path == "/health" || probes::is_probe(path)
        }
    }
}

fn elsewhere(serves: Serves) -> &'static str {
    match serves {
        Serves::Grpc => "404: here is gRPC alone; JSON, probes and metrics are at listen-http\n",
        Serves::Http => "404: gRPC is at listen-client, and not here\n",
        Serves::All | Serves::Metrics => "404: here are /metrics, /health, /livez and /readyz\n",
    }
}

/// What pages of any origin may send, as in etcd unless it is told otherwise.
const ALLOWED: [(header::HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS, PUT, DELETE"),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "accept, content-type, authorization"),
];

/// The path of a call of the gateway, whose versions before 1 said `/v3beta/`.
fn gateway_path(path: &str) -> Option<Cow<'_, str>> {
    match path.strip_prefix("/v3beta/") {
        Some(rest) => Some(format!("/v3/{rest}").into()),
        None => path.starts_with("/v3/").then_some(path.into()),
    }
}

fn text(status: StatusCode, content: &'static str, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

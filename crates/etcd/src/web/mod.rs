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

use crate::{Backend, routes::Routes};

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
    } else if let Some(path) = gateway_path(request.uri().path()).map(Cow::into_owned) {
        gateway::answer(&routes, &path, request).await
    } else {
        probes::answer(routes.serving(), &request.map(drop)).await
    };
    let headers = response.headers_mut();
    for (name, value) in ALLOWED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
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

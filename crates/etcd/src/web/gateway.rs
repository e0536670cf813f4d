//! The JSON gateway: a call of gRPC made from a path and a body, by the service that answers it over gRPC too. So all of a call (what it means, who
//! may make it, its error) is decided once.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use serde_json::json;
use tonic::{Code, Status, body::Body};

use super::{
    calls::{self, Call},
    frames::{Frames, Next},
    json, text,
};
use crate::{Backend, routes::Routes};

/// What the metadata of a call that came through the gateway has, and that of others does not. Whoever asks who calls knows by it that the holder of the
/// connection's certificate need not be the caller.
const GATEWAY: HeaderName = HeaderName::from_static("grpcgateway-accept");

/// Above it, a message is made into JSON, or read from it, on a thread where it holds nobody up.
const INLINE_BYTES_MAX: usize = 128 << 10;

pub(super) async fn answer<B: Backend>(
    routes: &Routes<B>,
    path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(call) = calls::find(path) else {
        return refused(StatusCode::NOT_FOUND, &Status::not_found("Not Found"));
    };
    if request.method() != Method::POST {
        return refused(StatusCode::NOT_IMPLEMENTED, &Status::unimplemented("Method Not Allowed"));
    }
    match make(routes, call, request).await {
        Ok(response) => response,
        Err(refusal) => refusal,
    }
}

async fn make<B: Backend>(
    routes: &Routes<B>,
    call: &'static Call,
    request: Request<Incoming>,
) -> Result<Response<Body>, Response<Body>> {
    let (head, body) = request.into_parts();
    let body = whole(body, routes.serving().limits().recv_bytes_max(), routes.body_timeout()).await?;
    let long = body.len() > INLINE_BYTES_MAX;
    let read = move || json::to_frames(&body, &call.input, call.takes_many);
    let frames = if long { aside(read).await } else { read() };
    let frames = frames.map_err(|wrong| failed(&Status::invalid_argument(wrong)))?;

    let mut request = Request::new(Full::new(frames));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static("/");
    if let Ok(uri) = call.grpc_path.parse() {
        *request.uri_mut() = uri;
    }
    *request.headers_mut() = metadata(&head.headers);

    let response = routes.grpc(request).await;
    if let Some(status) =
        Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok)
    {
        return Err(if call.answers_many { failed_in_stream(&status) } else { failed(&status) });
    }
    let mut frames = Frames::new(response.into_body());
    if !call.answers_many {
        let message = frames.only().await.map_err(|status| failed(&status))?;
        let json = written(message, call, "", "").await.map_err(|status| failed(&status))?;
        return Ok(text(StatusCode::OK, "application/json", json));
    }
    // Whether it went well is known with the first message, and so what the answer begins with.
    let first = match frames.next().await {
        Next::Message(message) => line(message, call).await,
        Next::End(status) if status.code() == Code::Ok => Bytes::new(),
        Next::End(status) => return Err(failed_in_stream(&status)),
    };
    let mut response = Response::new(Body::new(StreamBody::new(lines(first, frames, call))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// All of a body, if it is not too long and does not take too long.
///
/// In base64 a message takes a third more, so that much more may come than of gRPC; what is too long as a message is refused as one.
async fn whole(body: Incoming, message_bytes_max: usize, timeout: Duration) -> Result<Bytes, Response<Body>> {
    let bytes_max = message_bytes_max + message_bytes_max / 3 + 4096;
    let too_long = || {
        let text = format!("grpc: received message larger than max (a body of more than {bytes_max} bytes)");
        failed(&Status::resource_exhausted(text))
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_long());
    }
    match tokio::time::timeout(timeout, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_long()),
        Ok(Err(error)) => Err(failed(&Status::invalid_argument(format!("the body cannot be read: {error}")))),
        Err(_) => {
            let text = format!("the body did not come within {} s", timeout.as_secs());
            Err(refused(StatusCode::REQUEST_TIMEOUT, &Status::deadline_exceeded(text)))
        }
    }
}

/// What the call is given of the request's headers: who asks, and what is meant for it by name.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    const FOR_THE_CALL: &str = "grpc-metadata-";
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        let name = match name.as_str() {
            "authorization" => Some(header::AUTHORIZATION),
            name => name.strip_prefix(FOR_THE_CALL).and_then(|name| name.parse().ok()),
        };
        if let Some(name) = name.filter(is_metadata) {
            metadata.append(name, value.clone());
        }
    }
    let accept = headers.get(header::ACCEPT).cloned().unwrap_or(HeaderValue::from_static("*/*"));
    metadata.insert(GATEWAY, accept);
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    metadata
}

/// gRPC's own headers are no metadata.
fn is_metadata(name: &HeaderName) -> bool {
    let own = [header::CONTENT_TYPE, header::TE, header::HOST, header::CONNECTION, header::TRANSFER_ENCODING];
    !own.contains(name) && !name.as_str().starts_with("grpc-")
}

/// On a thread of its own.
async fn aside<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// A message as JSON between two pieces of text.
async fn written(
    message: Bytes,
    call: &'static Call,
    before: &'static str,
    after: &'static str,
) -> Result<Bytes, Status> {
    let long = message.len() > INLINE_BYTES_MAX;
    let write = move || {
        let mut json = Vec::with_capacity(message.len() * 3 / 2 + 64);
        json.extend_from_slice(before.as_bytes());
        json::from_message(message, &call.output, &mut json)?;
        json.extend_from_slice(after.as_bytes());
        Ok(Bytes::from(json))
    };
    let written = if long { aside(write).await } else { write() };
    written
        .map_err(|wrong: String| Status::internal(format!("quorate: the answer cannot be written: {wrong}")))
}

/// One message of a stream.
async fn line(message: Bytes, call: &'static Call) -> Bytes {
    written(message, call, "{\"result\":", "}\n").await.unwrap_or_else(|status| last_line(&status))
}

fn last_line(status: &Status) -> Bytes {
    format!("{}\n", json!({ "error": said(status) })).into()
}

type Piece = Result<Frame<Bytes>, Status>;

/// The lines of a stream, each as soon as it comes.
fn lines<T>(first: Bytes, frames: Frames<T>, call: &'static Call) -> impl stream::Stream<Item = Piece>
where
    T: HttpBody<Data = Bytes, Error = Status> + Unpin,
{
    stream::unfold((Some(first), Some(frames)), move |(first, frames)| async move {
        if let Some(first) = first {
            return Some((Ok(Frame::data(first)), (None, frames)));
        }
        let mut frames = frames?;
        match frames.next().await {
            Next::Message(message) => {
                Some((Ok(Frame::data(line(message, call).await)), (None, Some(frames))))
            }
            Next::End(status) if status.code() == Code::Ok => None,
            Next::End(status) => Some((Ok(Frame::data(last_line(&status))), (None, None))),
        }
    })
}

fn said(status: &Status) -> serde_json::Value {
    json!({ "code": status.code() as i32, "message": status.message(), "details": [] })
}

fn failed(status: &Status) -> Response<Body> {
    refused(status_of(status.code()), status)
}

fn failed_in_stream(status: &Status) -> Response<Body> {
    text(status_of(status.code()), "application/json", last_line(status))
}

fn refused(status: StatusCode, why: &Status) -> Response<Body> {
    let mut response = text(status, "application/json", said(why).to_string());
    if why.code() == Code::Unauthenticated
        && let Ok(message) = HeaderValue::from_str(why.message())
    {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, message);
    }
    response
}

/// grpc-gateway's table.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

//! What is answered without gRPC: `GET /health` and `GET /version`, over HTTP/1 or HTTP/2, for probes and people with curl.

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::{
    Backend,
    front::Serving,
    maintenance::{alarm_name, storage_version},
};

pub(crate) async fn answer<B: Backend>(serving: &Serving<B>, request: &Request<()>) -> Response<Body> {
    let (status, content_type, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/health") => {
            let (status, text) = health(serving, request.uri().query().unwrap_or_default()).await;
            (status, "application/json", text)
        }
        (&Method::GET, "/version") => {
            let server = &serving.0.front.version;
            let cluster = storage_version(server);
            let text =
                format!(r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{cluster}"}}"#);
            (StatusCode::OK, "application/json", text)
        }
        (_, "/health" | "/version") => {
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "Method Not Allowed\n".into())
        }
        _ => {
            let text = "404: there is gRPC over HTTP/2 here, GET /health and GET /version; the JSON gateway comes later\n";
            (StatusCode::NOT_FOUND, "text/plain", text.into())
        }
    };
    let mut response = Response::new(Body::new(Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

/// etcd's `/health`: alarms, then a leader, then a read.
async fn health<B: Backend>(serving: &Serving<B>, query: &str) -> (StatusCode, String) {
    let parameters = || query.split('&').filter_map(|pair| pair.split_once('='));
    let serializable = parameters().any(|pair| pair == ("serializable", "true"));
    let excluded = |alarm: &str| parameters().any(|pair| pair == ("exclude", alarm));
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
    match reason.await {
        Ok(()) => (StatusCode::OK, r#"{"health":"true","reason":""}"#.to_owned()),
        Err(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(r#"{{"health":"false","reason":"{}"}}"#, reason.escape_default()),
        ),
    }
}

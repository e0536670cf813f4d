//! From a request's path to the service that answers it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use quorate_wire::GRPC_SEND_BYTES_MAX;
use tonic::{Code, Status, body::Body, codegen::BoxFuture};
use tower_service::Service as _;

use crate::{
    Backend,
    door::CommonName,
    front::Serving,
    plain_http,
    rpc::{
        etcdserverpb::{
            auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
            lease_server::LeaseServer, maintenance_server::MaintenanceServer, watch_server::WatchServer,
        },
        health::{
            HealthCheckRequest, HealthCheckResponse,
            health_check_response::ServingStatus,
            health_server::{Health, HealthServer},
        },
        v3electionpb::election_server::ElectionServer,
        v3lockpb::lock_server::LockServer,
    },
};

/// Every service, for one connection. Clones are cheap: one per connection, and one per request of the service that it is for.
#[derive(Debug)]
pub(crate) struct Routes<B> {
    kv: KvServer<Serving<B>>,
    watch: WatchServer<Serving<B>>,
    lease: LeaseServer<Serving<B>>,
    lock: LockServer<Serving<B>>,
    election: ElectionServer<Serving<B>>,
    cluster: ClusterServer<Serving<B>>,
    auth: AuthServer<Serving<B>>,
    maintenance: MaintenanceServer<Serving<B>>,
    health: HealthServer<Serving<B>>,
    serving: Serving<B>,
    /// Whom the certificate of this connection's client names.
    name: Option<CommonName>,
}

impl<B: Clone> Clone for Routes<B> {
    fn clone(&self) -> Self {
        Routes {
            kv: self.kv.clone(),
            watch: self.watch.clone(),
            lease: self.lease.clone(),
            lock: self.lock.clone(),
            election: self.election.clone(),
            cluster: self.cluster.clone(),
            auth: self.auth.clone(),
            maintenance: self.maintenance.clone(),
            health: self.health.clone(),
            serving: self.serving.clone(),
            name: self.name.clone(),
        }
    }
}

impl<B: Backend> Routes<B> {
    pub(crate) fn new(serving: Serving<B>) -> Routes<B> {
        let (receive, send) = (serving.limits().recv_bytes_max(), GRPC_SEND_BYTES_MAX);
        Routes {
            kv: KvServer::new(serving.clone())
                .max_decoding_message_size(receive)
                .max_encoding_message_size(send),
            watch: WatchServer::new(serving.clone())
                .max_decoding_message_size(receive)
                .max_encoding_message_size(send),
            lease: LeaseServer::new(serving.clone())
                .max_decoding_message_size(receive)
                .max_encoding_message_size(send),
            lock: LockServer::new(serving.clone()).max_decoding_message_size(receive),
            election: ElectionServer::new(serving.clone())
                .max_decoding_message_size(receive)
                .max_encoding_message_size(send),
            cluster: ClusterServer::new(serving.clone()).max_decoding_message_size(receive),
            auth: AuthServer::new(serving.clone())
                .max_decoding_message_size(receive)
                .max_encoding_message_size(send),
            maintenance: MaintenanceServer::new(serving.clone()).max_decoding_message_size(receive),
            health: HealthServer::new(serving.clone()).max_decoding_message_size(receive),
            serving,
            name: None,
        }
    }

    /// For a connection whose client's certificate names somebody.
    pub(crate) fn of(self, name: Option<CommonName>) -> Routes<B> {
        Routes { name, ..self }
    }
}

impl<B: Backend> hyper::service::Service<Request<Incoming>> for Routes<B> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        if let Some(name) = &self.name {
            request.extensions_mut().insert(name.clone());
        }
        if request.version() < Version::HTTP_2 || request.method() == Method::GET {
            let (serving, request) = (self.serving.clone(), request.map(drop));
            return Answer(Box::pin(async move { Ok(plain_http::answer(&serving, &request).await) }));
        }
        let path = request.uri().path();
        let (service, _) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        Answer(match service {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => self.watch.clone().call(request),
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "v3lockpb.Lock" => self.lock.clone().call(request),
            "v3electionpb.Election" => self.election.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Auth" => self.auth.clone().call(request),
            "grpc.health.v1.Health" => self.health.clone().call(request),
            _ => {
                let status = Status::unimplemented(format!("unknown service {service}"));
                Box::pin(async move { Ok(status.into_http()) })
            }
        })
    }
}

/// An answer under way.
pub(crate) struct Answer(BoxFuture<Response<Body>, Infallible>);

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.0.as_mut().poll(context));
        Poll::Ready(answer.map(reworded))
    }
}

/// A message over the limit is refused inside tonic, in its own words; clients of etcd know those of grpc-go.
fn reworded(response: Response<Body>) -> Response<Body> {
    // Only what failed before it began has its status here, so this costs others one look.
    let Some(code) = response.headers().get("grpc-status") else { return response };
    if code != "11" {
        return response;
    }
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    if status.code() != Code::OutOfRange || !status.message().contains("message length too large") {
        return response;
    }
    let numbers: Vec<&str> =
        status.message().split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()).collect();
    let text = match numbers[..] {
        [found, limit] => format!("grpc: received message larger than max ({found} vs. {limit})"),
        _ => "grpc: received message larger than max".to_owned(),
    };
    Status::resource_exhausted(text).into_http()
}

#[tonic::async_trait]
impl<B: Backend> Health for Serving<B> {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        if request.get_ref().service.is_empty() {
            return Ok(tonic::Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }));
        }
        Err(Status::not_found("unknown service"))
    }
}

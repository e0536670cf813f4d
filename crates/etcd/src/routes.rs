//! From a request's path to the service that answers it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::{Body as HttpBody, Incoming};
use quorate_wire::GRPC_SEND_BYTES_MAX;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, StdError as BoxError},
};
use tower_service::Service as _;

use crate::{
    Backend, Serves,
    counts::{Call, Heard, Told},
    door::CommonName,
    front::Serving,
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
        quoratepb::shards_server::ShardsServer,
        v3electionpb::election_server::ElectionServer,
        v3lockpb::lock_server::LockServer,
    },
    web,
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
    shards: ShardsServer<Serving<B>>,
    health: HealthServer<Serving<B>>,
    serving: Serving<B>,
    /// Whom the certificate of this connection's client names.
    name: Option<CommonName>,
    serves: Serves,
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
            shards: self.shards.clone(),
            health: self.health.clone(),
            serving: self.serving.clone(),
            name: self.name.clone(),
            serves: self.serves,
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
            shards: ShardsServer::new(serving.clone()).max_decoding_message_size(receive),
            health: HealthServer::new(serving.clone()).max_decoding_message_size(receive),
            serving,
            name: None,
            serves: Serves::All,
        }
    }

    /// For a connection whose client's certificate names somebody.
    pub(crate) fn of(self, name: Option<CommonName>) -> Routes<B> {
        Routes { name, ..self }
    }

    /// For connections of a listener that serves this.
    pub(crate) fn at(self, serves: Serves) -> Routes<B> {
        Routes { serves, ..self }
    }

    pub(crate) fn serves(&self) -> Serves {
        self.serves
    }

    pub(crate) fn serving(&self) -> &Serving<B> {
        &self.serving
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        self.serving.0.front.tuning.body_timeout
    }

    /// Calls of gRPC, whoever makes them: a client, or the gateway for one.
    pub(crate) async fn grpc<R>(&self, request: Request<R>) -> Response<Told>
    where
        R: HttpBody + Unpin + Send + 'static,
        R::Error: Into<BoxError> + Send,
    {
        match self.grpc_call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn grpc_call<R>(&self, request: Request<R>) -> Answer
    where
        R: HttpBody + Unpin + Send + 'static,
        R::Error: Into<BoxError> + Send,
    {
        let counts = self.serving.counts();
        let call = counts.started(request.uri().path());
        let request = request.map(|body| Heard { body, counts: Arc::clone(counts) });
        let path = request.uri().path();
        let (service, _) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        let answer: BoxFuture<Response<Body>, Infallible> = match service {
            "etcdserverpb.KV" => self.kv.clone().call(request),
            "etcdserverpb.Watch" => self.watch.clone().call(request),
            "etcdserverpb.Lease" => self.lease.clone().call(request),
            "v3lockpb.Lock" => self.lock.clone().call(request),
            "v3electionpb.Election" => self.election.clone().call(request),
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request),
            "etcdserverpb.Cluster" => self.cluster.clone().call(request),
            "etcdserverpb.Auth" => self.auth.clone().call(request),
            "quoratepb.Shards" => self.shards.clone().call(request),
            "grpc.health.v1.Health" => self.health.clone().call(request),
            _ => {
                let status = Status::unimplemented(format!("unknown service {service}"));
                Box::pin(async move { Ok(status.into_http()) })
            }
        };
        Answer { answer, call }
    }
}

impl<B: Backend> hyper::service::Service<Request<Incoming>> for Routes<B> {
    type Response = Response<Told>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        if !web::is_grpc(&request) || matches!(self.serves, Serves::Http | Serves::Metrics) {
            let routes = self.clone();
            let answer = Box::pin(async move { Ok(web::answer(routes, request).await) });
            return Answer { answer, call: None };
        }
        if let Some(name) = &self.name {
            request.extensions_mut().insert(name.clone());
        }
        self.grpc_call(request)
    }
}

/// An answer under way.
pub(crate) struct Answer {
    answer: BoxFuture<Response<Body>, Infallible>,
    call: Option<Call>,
}

impl Future for Answer {
    type Output = Result<Response<Told>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(context));
        let call = self.call.take();
        Poll::Ready(answer.map(|answer| {
            let (head, body) = reworded(answer).into_parts();
            let told = Told::new(body, &head.headers, call);
            Response::from_parts(head, told)
        }))
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

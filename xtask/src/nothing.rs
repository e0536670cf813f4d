//! The ceiling: a server that speaks the same gRPC over the same library and answers at once. No log, no disk, no peers.

use std::{
    convert::Infallible,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quorate_wire::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader};
use tonic::{
    Request, Response, Status,
    server::{Grpc, UnaryService},
};
use tonic_prost::ProstCodec;

use crate::{Fallible, client, cluster::free_ports, process};

/// Answers puts and ranges on `address` until the process is killed.
pub(crate) fn serve(address: &str) -> Fallible<()> {
    let address: SocketAddr = address.parse()?;
    client::runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // It ends when its client has had enough.
                let _ = connection.await;
            });
        }
    })
}

async fn answer(request: http::Request<Incoming>) -> Result<http::Response<tonic::body::Body>, Infallible> {
    Ok(match request.uri().path() {
        "/etcdserverpb.KV/Put" => {
            Grpc::new(ProstCodec::<PutResponse, PutRequest>::default()).unary(Nothing, request).await
        }
        "/etcdserverpb.KV/Range" => {
            Grpc::new(ProstCodec::<RangeResponse, RangeRequest>::default()).unary(Nothing, request).await
        }
        other => Status::unimplemented(format!("this server does nothing, and not even {other}")).into_http(),
    })
}

struct Nothing;

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: 1, member_id: 1, revision: 1, raft_term: 1 })
}

impl UnaryService<PutRequest> for Nothing {
    type Response = PutResponse;
    type Future = std::future::Ready<Result<Response<PutResponse>, Status>>;

    fn call(&mut self, _: Request<PutRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(PutResponse { header: header(), prev_kv: None })))
    }
}

impl UnaryService<RangeRequest> for Nothing {
    type Response = RangeResponse;
    type Future = std::future::Ready<Result<Response<RangeResponse>, Status>>;

    fn call(&mut self, _: Request<RangeRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(RangeResponse { header: header(), ..Default::default() })))
    }
}

/// Such a server as a process of its own; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) endpoints: Vec<String>,
}

impl Process {
    pub(crate) fn start() -> Fallible<Process> {
        Process::start_as("nothing", 1, client::answers)
    }

    /// Starts what this command of xtask serves, on so many addresses, and waits until each `answers`.
    pub(crate) fn start_as(
        command: &str,
        addresses: usize,
        answers: impl Fn(&str) -> bool,
    ) -> Fallible<Process> {
        let endpoints: Vec<String> =
            free_ports(addresses)?.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let child = Command::new(std::env::current_exe()?)
            .arg(command)
            .args(&endpoints)
            .stdin(Stdio::null())
            .spawn()?;
        let process = Process { child, endpoints };
        let end = Instant::now() + Duration::from_secs(5);
        while !process.endpoints.iter().all(|endpoint| answers(endpoint)) {
            if Instant::now() > end {
                return Err("the server that does nothing does not even answer".into());
            }
        }
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cpu(&self) -> Duration {
        process::cpu_time(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

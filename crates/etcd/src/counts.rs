//! What the front end counts: calls, their bytes, and what probes found. Plain atomics, without a lock or an allocation on a call's way.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use prost_reflect::DescriptorPool;
use quorate_wire::FILE_DESCRIPTOR_SET;
use tonic::{Code, Status, body::Body};

use crate::web::{Check, Probe};

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

/// gRPC's codes, 0 to 16.
pub(crate) const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// One method of a service.
#[derive(Debug)]
pub(crate) struct Method {
    /// `/etcdserverpb.KV/Put`
    path: String,
    /// How many messages go each way: `unary`, `bidi_stream`.
    pub(crate) kind: &'static str,
    pub(crate) started: Count,
    pub(crate) handled: [Count; CODES.len()],
}

impl Method {
    /// Its service, and its own name.
    pub(crate) fn names(&self) -> (&str, &str) {
        self.path.get(1..).and_then(|path| path.split_once('/')).unwrap_or_default()
    }
}

/// How a check went.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) passed: Count,
    pub(crate) failed: Count,
    /// 1: it passed the last time.
    pub(crate) last: AtomicU64,
}

/// Everything that the front end counts since it started.
#[derive(Debug)]
pub(crate) struct Counts {
    /// By their paths.
    pub(crate) methods: Vec<Method>,
    pub(crate) received_bytes: Count,
    pub(crate) sent_bytes: Count,
    /// Ranges read, transactions asked for, leases kept alive.
    pub(crate) ranges: Count,
    pub(crate) txns: Count,
    pub(crate) renewed: Count,
    pub(crate) health_passed: Count,
    pub(crate) health_failed: Count,
    live: [Checked; Probe::Live.checks().len()],
    ready: [Checked; Probe::Ready.checks().len()],
}

impl Counts {
    pub(crate) fn new() -> Counts {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
        let described = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let described = described.map(|method| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => "unary",
                (false, true) => "server_stream",
                (true, false) => "client_stream",
                (true, true) => "bidi_stream",
            };
            (path, kind)
        });
        let health = ("/grpc.health.v1.Health/Check".to_owned(), "unary");
        let mut methods: Vec<Method> = described
            .chain([health])
            .map(|(path, kind)| Method {
                path,
                kind,
                started: Count::default(),
                handled: std::array::from_fn(|_| Count::default()),
            })
            .collect();
        methods.sort_by(|a, b| a.path.cmp(&b.path));
        Counts {
            methods,
            received_bytes: Count::default(),
            sent_bytes: Count::default(),
            ranges: Count::default(),
            txns: Count::default(),
            renewed: Count::default(),
            health_passed: Count::default(),
            health_failed: Count::default(),
            live: Default::default(),
            ready: Default::default(),
        }
    }

    /// A call has come; none, if there is no such method.
    pub(crate) fn started(self: &Arc<Self>, path: &str) -> Option<Call> {
        let at = self.methods.binary_search_by(|method| method.path.as_str().cmp(path)).ok()?;
        self.methods[at].started.add(1);
        Some(Call { counts: Arc::clone(self), at, ended: false })
    }

    pub(crate) fn health(&self, passed: bool) {
        if passed { &self.health_passed } else { &self.health_failed }.add(1);
    }

    pub(crate) fn checked(&self, probe: Probe, check: Check, passed: bool) {
        if let Some((_, checked)) = self.checks(probe).find(|(known, _)| *known == check) {
            if passed { &checked.passed } else { &checked.failed }.add(1);
            checked.last.store(passed.into(), Ordering::Relaxed);
        }
    }

    pub(crate) fn checks(&self, probe: Probe) -> impl Iterator<Item = (Check, &Checked)> {
        let checked: &[Checked] = match probe {
            Probe::Live => &self.live,
            Probe::Ready => &self.ready,
        };
        probe.checks().iter().copied().zip(checked)
    }
}

/// A call under way. Dropped before its status is known, it was cancelled.
#[derive(Debug)]
pub(crate) struct Call {
    counts: Arc<Counts>,
    at: usize,
    ended: bool,
}

impl Call {
    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            self.counts.methods[self.at].handled[code as usize].add(1);
        }
    }

    /// Its status, if it is there.
    fn look(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.end(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// A request's body, whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Heard<R> {
    pub(crate) body: R,
    pub(crate) counts: Arc<Counts>,
}

impl<R: HttpBody + Unpin> HttpBody for Heard<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.counts.received_bytes.add(data.remaining() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body: its bytes are counted, and how the call ended.
#[derive(Debug)]
pub(crate) struct Told {
    body: Body,
    /// None: no call of gRPC.
    call: Option<Call>,
}

impl Told {
    pub(crate) fn new(body: Body, headers: &HeaderMap, mut call: Option<Call>) -> Told {
        if let Some(call) = &mut call {
            call.look(headers);
        }
        Told { body, call }
    }
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(call) = &mut self.call {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        call.counts.sent_bytes.add(data.len() as u64);
                    }
                    if let Some(trailers) = frame.trailers_ref() {
                        call.look(trailers);
                    }
                }
                Some(Err(status)) => call.end(status.code()),
                None => call.end(Code::Unknown),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_once_with_the_first_status_that_is_known() {
        let counts = Arc::new(Counts::new());
        let handled = |code: Code| {
            let of = |method: &&Method| method.path == "/etcdserverpb.KV/Put";
            counts.methods.iter().find(of).unwrap().handled[code as usize].get()
        };
        let mut call = counts.started("/etcdserverpb.KV/Put").unwrap();
        call.end(Code::NotFound);
        call.end(Code::Ok);
        drop(call);
        assert_eq!((handled(Code::NotFound), handled(Code::Ok), handled(Code::Cancelled)), (1, 0, 0));
        drop(counts.started("/etcdserverpb.KV/Put"));
        assert_eq!(handled(Code::Cancelled), 1);
        assert!(counts.started("/etcdserverpb.KV/Nothing").is_none());
        assert_eq!(counts.methods.len(), 50);
    }
}

//! The service Watch: requests of a stream go to the hub, what the hub has for its client goes out.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use prost::{DecodeError, Message, encoding::WireType};
use quorate_service::watch::{self, StreamId};
use quorate_wire::etcdserverpb as pb;
use tonic::{
    Request, Response, Status, Streaming,
    codegen::{BoxStream, tokio_stream::Stream},
};

use crate::{
    Backend,
    front::{Serving, table},
    gate::Shown,
    rpc::etcdserverpb::watch_server::Watch,
};

/// Requests that are taken at a time, and responses.
const TURN: usize = 64;

#[tonic::async_trait]
impl<B: Backend> Watch for Serving<B> {
    type WatchStream = BoxStream<Frame>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let shown = self.admit_long(&request)?;
        self.expect(&shown).await;
        let needs_leader = request.metadata().get("hasleader").is_some_and(|wanted| wanted == "true");
        let id = self.watching().open(needs_leader, Some(shown.clone()));
        let told = Told {
            serving: self.clone(),
            id,
            shown,
            requests: Some(request.into_inner()),
            ready: VecDeque::new(),
        };
        Ok(Response::new(Box::pin(told)))
    }
}

/// A stream: polled, it takes what its client asked for and gives what there is to tell. A client that does not read is not listened to either, so
/// nobody can fill a queue with answers.
struct Told<B: Backend> {
    serving: Serving<B>,
    id: StreamId,
    shown: Shown,
    /// None: the client has no more to ask; it may go on listening.
    requests: Option<Streaming<pb::WatchRequest>>,
    ready: VecDeque<watch::Response>,
}

impl<B: Backend> Told<B> {
    /// What the client has asked for by now; or how the connection ended.
    fn asked(&mut self, context: &mut Context<'_>) -> Result<Vec<pb::WatchRequest>, Status> {
        let mut asked = Vec::new();
        while asked.len() < TURN {
            let Some(requests) = &mut self.requests else { break };
            match Pin::new(requests).poll_next(context) {
                Poll::Ready(Some(request)) => asked.push(request?),
                Poll::Ready(None) => self.requests = None,
                Poll::Pending => return Ok(asked),
            }
        }
        // There may be more.
        if self.requests.is_some() {
            context.waker().wake_by_ref();
        }
        Ok(asked)
    }
}

/// May there be such a watch? If so, the name that this was found by; else why not. Whatever is no watch may be.
fn verdict<B: Backend>(
    serving: &Serving<B>,
    shown: &Shown,
    request: &pb::WatchRequest,
) -> Result<Option<String>, String> {
    match &request.request_union {
        Some(pb::watch_request::RequestUnion::CreateRequest(create)) => {
            serving.may_watch(shown, &create.key, &create.range_end)
        }
        _ => Ok(None),
    }
}

impl<B: Backend> Stream for Told<B> {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let told = &mut *self;
        if told.ready.is_empty() {
            let asked = match told.asked(context) {
                Ok(asked) => asked,
                Err(status) => return Poll::Ready(Some(Err(status))),
            };
            let (ready, waker) = (&mut told.ready, context.waker());
            let (serving, shown) = (&told.serving, &told.shown);
            let ends = serving.watching().with(told.id, |turn| {
                for request in asked {
                    // In this turn, and not before: watches are withdrawn in turns as well, once this member knows that users have changed. Either this
                    // verdict knows it, or the withdrawal finds the watch.
                    match verdict(serving, shown, &request) {
                        Ok(name) => turn.request_of(request, name),
                        Err(reason) => turn.refuse(reason),
                    }
                }
                while ready.len() < TURN
                    && let Some(response) = turn.next()
                {
                    ready.push_back(response);
                }
                if ready.is_empty() {
                    turn.wait(waker);
                }
                turn.ends()
            });
            if let Some(error) = ends {
                return Poll::Ready(Some(Err(table(error))));
            }
        }
        match told.ready.pop_front() {
            Some(response) => {
                let (head, events) = response.into_parts(&told.serving.header());
                Poll::Ready(Some(Ok(Frame { head, events })))
            }
            None => Poll::Pending,
        }
    }
}

impl<B: Backend> Drop for Told<B> {
    fn drop(&mut self) {
        self.serving.watching().close(self.id);
    }
}

/// A WatchResponse whose events are encoded already.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    head: pb::WatchResponse,
    events: Vec<Bytes>,
}

impl Message for Frame {
    fn encode_raw(&self, to: &mut impl BufMut) {
        self.head.encode_raw(to);
        // The field with the highest number, and so the last.
        self.events.iter().for_each(|event| to.put_slice(event));
    }

    fn encoded_len(&self) -> usize {
        self.head.encoded_len() + self.events.iter().map(Bytes::len).sum::<usize>()
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: prost::encoding::DecodeContext,
    ) -> Result<(), DecodeError> {
        self.head.merge_field(tag, wire_type, from, context)
    }

    fn clear(&mut self) {
        *self = Frame::default();
    }
}

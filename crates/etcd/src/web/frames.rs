//! The messages of a gRPC answer, taken from its body.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tonic::{Code, Status};

/// Before each message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// The rest of an answer.
pub(super) struct Frames<T> {
    body: T,
    read: BytesMut,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Message(Bytes),
    /// It ends: well, or not.
    End(Status),
}

impl<T: Body<Data = Bytes, Error = Status> + Unpin> Frames<T> {
    pub(super) fn new(body: T) -> Frames<T> {
        Frames { body, read: BytesMut::new() }
    }

    pub(super) async fn next(&mut self) -> Next {
        loop {
            if let Some(message) = self.whole() {
                return Next::Message(message);
            }
            match self.body.frame().await {
                None => return Next::End(Status::unknown("the answer ended without a status")),
                Some(Err(status)) => return Next::End(status),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.read.extend_from_slice(&bytes),
                    Err(frame) => {
                        return Next::End(ends(&frame.into_trailers().unwrap_or_default()));
                    }
                },
            }
        }
    }

    /// The message of an answer that has one. It counts with the status behind it; and a body that is not read to its end counts as a call given up.
    pub(super) async fn only(&mut self) -> Result<Bytes, Status> {
        let mut only = None;
        loop {
            match self.next().await {
                Next::Message(message) => only = Some(message),
                Next::End(status) if status.code() == Code::Ok => break,
                Next::End(status) => return Err(status),
            }
        }
        only.ok_or_else(|| Status::internal("quorate: the call ended without an answer; please report this"))
    }

    /// A message, if all of it has come.
    fn whole(&mut self) -> Option<Bytes> {
        let length = self.read.get(1..PREFIX_BYTES)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        if self.read.len() - PREFIX_BYTES < length {
            return None;
        }
        self.read.advance(PREFIX_BYTES);
        Some(self.read.split_to(length).freeze())
    }
}

fn ends(trailers: &HeaderMap) -> Status {
    Status::from_header_map(trailers).unwrap_or_else(|| Status::new(Code::Ok, ""))
}

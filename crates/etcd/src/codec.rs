//! Protobuf on the wire, as tonic's own codec does it, with two differences: a transaction is looked at before it is decoded, and small
//! messages get small buffers (tonic's take 8 KiB for every request and every answer).

use std::{any::TypeId, marker::PhantomData};

use bytes::Buf as _;
use prost::Message;
use quorate_wire::{ApiError, Limits, etcdserverpb::TxnRequest, guard};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::front::status;

/// First size of a message's buffer. An etcd put or its answer fits; larger messages grow it once.
const BUFFER_BYTES: usize = 512;
/// A stream's messages are gathered up to here before they are sent on.
const YIELD_BYTES: usize = 32 * 1024;

/// The codec of one method: answers `T`, requests `U`.
#[derive(Debug)]
pub(crate) struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Codec(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> tonic::codec::Codec for Codec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = Half<T>;
    type Decoder = Half<U>;

    fn encoder(&mut self) -> Half<T> {
        Half(PhantomData)
    }

    fn decoder(&mut self) -> Half<U> {
        Half(PhantomData)
    }
}

#[derive(Debug)]
pub(crate) struct Half<T>(PhantomData<T>);

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

impl<T: Message> Encoder for Half<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // Once, and not by doubling: an answer may be many megabytes.
        let bytes = item.encoded_len();
        if bytes > BUFFER_BYTES {
            to.reserve(bytes);
        }
        item.encode(to).map_err(|error| Status::internal(format!("grpc: error while marshaling: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

impl<U: Message + Default + 'static> Decoder for Half<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let malformed = |error| Status::internal(format!("grpc: error unmarshalling request: {error}"));
        // Known at compile time.
        if TypeId::of::<U>() == TypeId::of::<TxnRequest>() {
            // Shares the buffer's memory. The limits of this server are for the service; these keep decoding itself within bounds.
            let bytes = from.copy_to_bytes(from.remaining());
            guard::check_txn(&bytes, &Limits::default())
                .map_err(|refusal| status(&ApiError::from(refusal)))?;
            return U::decode(bytes).map(Some).map_err(malformed);
        }
        U::decode(from).map(Some).map_err(malformed)
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

//! Answers that nobody decodes: the load shares its cores with what it measures, and most of what it is sent it has only to count.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use quorate_client::tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstCodec;

/// Encodes requests, leaves answers as they came.
pub(super) struct Lazy<T>(PhantomData<fn() -> T>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Lazy(PhantomData)
    }
}

impl<T: prost::Message + Send + 'static> Codec for Lazy<T> {
    type Encode = T;
    type Decode = Bytes;
    type Encoder = <ProstCodec<T, ()> as Codec>::Encoder;
    type Decoder = AsItCame;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, ()>::default().encoder()
    }

    fn decoder(&mut self) -> AsItCame {
        AsItCame
    }
}

pub(super) struct AsItCame;

impl Decoder for AsItCame {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// How often the message has the field of this number, which is of bytes, a text or a message.
///
/// What is not protobuf ends the count.
pub(super) fn fields(message: &[u8], number: u64) -> usize {
    let (mut rest, mut count) = (message, 0);
    while let Some(tag) = varint(&mut rest) {
        let skip = match tag & 7 {
            0 => {
                let _ = varint(&mut rest);
                0
            }
            1 => 8,
            2 => {
                count += usize::from(tag >> 3 == number);
                varint(&mut rest).and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX)
            }
            5 => 4,
            _ => return count,
        };
        let Some(next) = rest.get(skip..) else { return count };
        rest = next;
    }
    count
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use quorate_client::wire::{etcdserverpb as pb, mvccpb};

    use super::*;

    #[test]
    fn events_are_counted_without_decoding_them() {
        let header = pb::ResponseHeader { cluster_id: u64::MAX, member_id: 7, revision: 9, raft_term: 300 };
        let events = |many| pb::WatchResponse {
            header: Some(header),
            watch_id: 77,
            created: many == 0,
            events: vec![mvccpb::Event::default(); many],
            ..Default::default()
        };
        for many in [0, 1, 200] {
            assert_eq!(fields(&events(many).encode_to_vec(), 11), many);
        }
    }

    #[test]
    fn what_is_no_protobuf_ends_the_count() {
        assert_eq!(fields(&[0x0a, 1, b'a', 0x0a, 0xff], 1), 2);
        assert_eq!(fields(&[0x0f], 1), 0);
    }
}

//! Messages as JSON and back, by their descriptors, as protobuf's mapping to JSON and etcd's gateway have it: names as in the `.proto` files,
//! integers of 64 bits as strings, bytes in base64, fields at their defaults left out; taken are also lowerCamelCase names, numbers, enumeration
//! values by number, and fields that nobody knows, which are passed over.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::frames::PREFIX_BYTES;

/// What a body says, framed for gRPC: one message, or with `many` each of those that stand one after another. Nothing is a message without fields.
///
/// What stands behind the message that is wanted is not looked at, as in etcd. Objects and lists within each other go as deep as `serde_json` follows
/// them, 128.
///
/// # Errors
/// In words, what is wrong with the body.
pub(super) fn to_frames(body: &[u8], kind: &MessageDescriptor, many: bool) -> Result<Bytes, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut frames = BytesMut::new();
    // Nothing at all is a message without fields.
    if json.end().is_ok() {
        frame(&DynamicMessage::new(kind.clone()), &mut frames);
        return Ok(frames.freeze());
    }
    loop {
        let message = DynamicMessage::deserialize_with_options(kind.clone(), &mut json, &options);
        frame(&message.map_err(|error| error.to_string())?, &mut frames);
        if !many || json.end().is_ok() {
            return Ok(frames.freeze());
        }
    }
}

fn frame(message: &DynamicMessage, to: &mut BytesMut) {
    let bytes = message.encode_to_vec();
    to.reserve(PREFIX_BYTES + bytes.len());
    to.put_u8(0);
    to.put_u32(bytes.len() as u32);
    to.put_slice(&bytes);
}

/// A message of this kind, appended to `to` as JSON.
///
/// # Errors
/// In words, why it is none.
pub(super) fn from_message(bytes: Bytes, kind: &MessageDescriptor, to: &mut Vec<u8>) -> Result<(), String> {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(true)
        .use_enum_numbers(false)
        .use_proto_field_name(true)
        .skip_default_fields(true);
    let message = DynamicMessage::decode(kind.clone(), bytes).map_err(|error| error.to_string())?;
    let mut json = serde_json::Serializer::new(to);
    message.serialize_with_options(&mut json, &options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;

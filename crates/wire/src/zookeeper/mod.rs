//! ZooKeeper's wire: packets, records, opcodes, error codes. Encode and decode, no I/O; what a request means is not decided here.
//!
//! ```text
//!   bytes ─ next_packet ─► Packet ─ the first: ConnectRequest ─► ConnectResponse
//!                        │          then: RequestHeader, Request::decode(op, rest) ─► Response::packet, ReplyHeader::packet
//!                        │                                                           WatcherEvent::packet
//!                        └► Word (`ruok`, …), before the handshake only
//! ```
//!
//! Source: ZooKeeper's `zookeeper.jute` and `ZooDefs`, 3.10 line. Golden bytes in `tests/zookeeper.rs` are written by hand from them.
//!
//! Architecture Invariant: numbers are ZooKeeper's, names ours. A number that may be wrong (flags of create, kinds of watches, modes) stays a
//! number here: which error it makes, and after which other checks, is the service's to say.
//!
//! Architecture Invariant: bytes from outside are refused, never asserted; see [`jute`](crate::jute) for what keeps memory in proportion.
//!
//! ```
//! use quorate_wire::jute::{Jute as _, Reader};
//! use quorate_wire::zookeeper::*;
//!
//! let request = Request::GetData(GetDataRequest { path: "/a".into(), watch: true });
//! let packet = request.packet(7).unwrap();
//! assert_eq!(&packet[..], b"\0\0\0\x0f\0\0\0\x07\0\0\0\x04\0\0\0\x02/a\x01");
//!
//! let mut from = Reader::new(packet.slice(4..));
//! let header = RequestHeader::read(&mut from).unwrap();
//! let op = OpCode::from_number(header.op).unwrap();
//! assert_eq!(Request::decode(op, from.rest()), Ok(request));
//! ```

mod error;
mod frame;
mod multi;
mod opcode;
mod record;
mod request;
mod response;

pub use error::ErrorCode;
pub use frame::{
    FRAME_BYTES_MAX, FourLetterWord, FrameError, Incoming, PacketTooLong, Prefix, next_packet, packet, prefix,
};
pub use multi::{MultiOperation, MultiReadRequest, MultiRequest, MultiResponse, MultiResult, ReadOperation};
pub use opcode::OpCode;
pub use record::{
    Acl, ClientInfo, ConnectRequest, ConnectResponse, Id, MultiHeader, PASSWORD_BYTES, ReplyHeader,
    RequestHeader, Secret, Stat, WatcherEvent, XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES,
};
pub use request::{
    AddWatchRequest, AuthPacket, CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest,
    ExistsRequest, GetAclRequest, GetAllChildrenNumberRequest, GetChildrenRequest, GetDataRequest,
    GetEphemeralsRequest, ReconfigRequest, Request, SaslToken, SetAclRequest, SetDataRequest, SetWatches,
    SetWatches2, SyncRequest, WatchesRequest,
};
pub use response::{
    AclResponse, Children2Response, Create2Response, DataResponse, NamesResponse, NumberResponse,
    PathResponse, Response, StatResponse, WhoAmIResponse,
};

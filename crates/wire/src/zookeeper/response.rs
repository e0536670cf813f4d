//! What servers answer.

use bytes::Bytes;

use super::multi::MultiResponse;
use super::record::{Acl, ClientInfo, ReplyHeader, Stat, WatcherEvent, XID_NOTIFICATION};
use super::request::SaslToken;
use super::{OpCode, PacketTooLong, frame};
use crate::jute::{Jute, JuteError, Reader, Writer, records};

records! {
    /// A path: of create and sync.
    PathResponse {
        /// It; with the number of a sequential one.
        path: String,
    }

    /// A path and a stat: of create2, createContainer and createTTL.
    Create2Response {
        /// The path, with the number of a sequential one.
        path: String,
        /// The stat.
        stat: Stat,
    }

    /// A stat: of exists, setData and setACL.
    StatResponse {
        /// It.
        stat: Stat,
    }

    /// Data and a stat: of getData and reconfig.
    DataResponse {
        /// The data.
        data: Option<Bytes>,
        /// The stat.
        stat: Stat,
    }

    /// An ACL and a stat: of getACL.
    AclResponse {
        /// The ACL.
        acl: Vec<Acl>,
        /// The stat.
        stat: Stat,
    }

    /// Names, or paths: of getChildren and getEphemerals.
    NamesResponse {
        /// They, in no order.
        names: Vec<String>,
    }

    /// Names and a stat: of getChildren2.
    Children2Response {
        /// The names, in no order.
        children: Vec<String>,
        /// The stat.
        stat: Stat,
    }

    /// A number: of getAllChildrenNumber, and of addWatch, where it is an error's and always 0.
    NumberResponse {
        /// It.
        number: i32,
    }

    /// Whom the server takes the client for: of whoAmI.
    WhoAmIResponse {
        /// In each scheme.
        clients: Vec<ClientInfo>,
    }
}

/// An answer, without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Nothing but the header.
    Empty,
    /// A path.
    Path(PathResponse),
    /// A path and a stat.
    Create2(Create2Response),
    /// A stat.
    Stat(StatResponse),
    /// Data and a stat.
    Data(DataResponse),
    /// An ACL and a stat.
    Acl(AclResponse),
    /// Names.
    Names(NamesResponse),
    /// Names and a stat.
    Children2(Children2Response),
    /// A number.
    Number(NumberResponse),
    /// The results of several operations.
    Multi(MultiResponse),
    /// Who the client is.
    WhoAmI(WhoAmIResponse),
    /// A step of SASL.
    Sasl(SaslToken),
}

impl Response {
    /// Reads the answer to a request of this kind.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn decode(op: OpCode, bytes: Bytes) -> Result<Response, JuteError> {
        let from = &mut Reader::new(bytes);
        match op {
            OpCode::Create | OpCode::Sync => Jute::read(from).map(Response::Path),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Jute::read(from).map(Response::Create2)
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Jute::read(from).map(Response::Stat),
            OpCode::GetData | OpCode::Reconfig => Jute::read(from).map(Response::Data),
            OpCode::GetAcl => Jute::read(from).map(Response::Acl),
            OpCode::GetChildren | OpCode::GetEphemerals => Jute::read(from).map(Response::Names),
            OpCode::GetChildren2 => Jute::read(from).map(Response::Children2),
            OpCode::GetAllChildrenNumber | OpCode::AddWatch => Jute::read(from).map(Response::Number),
            OpCode::Multi | OpCode::MultiRead => Jute::read(from).map(Response::Multi),
            OpCode::WhoAmI => Jute::read(from).map(Response::WhoAmI),
            OpCode::Sasl => Jute::read(from).map(Response::Sasl),
            OpCode::Delete
            | OpCode::Ping
            | OpCode::Check
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::CloseSession => Ok(Response::Empty),
        }
    }

    /// Writes it, without its header.
    pub fn write(&self, to: &mut Writer) {
        match self {
            Response::Empty => {}
            Response::Path(response) => response.write(to),
            Response::Create2(response) => response.write(to),
            Response::Stat(response) => response.write(to),
            Response::Data(response) => response.write(to),
            Response::Acl(response) => response.write(to),
            Response::Names(response) => response.write(to),
            Response::Children2(response) => response.write(to),
            Response::Number(response) => response.write(to),
            Response::Multi(response) => response.write(to),
            Response::WhoAmI(response) => response.write(to),
            Response::Sasl(response) => response.write(to),
        }
    }

    /// A whole packet: the answer to the request `xid`, from a server that has seen `zxid`.
    ///
    /// # Errors
    /// There is more than a packet can hold.
    pub fn packet(&self, xid: i32, zxid: i64) -> Result<Bytes, PacketTooLong> {
        frame::packet(|to| {
            ReplyHeader { xid, zxid, error: 0 }.write(to);
            self.write(to);
        })
    }
}

impl ReplyHeader {
    /// A whole packet with nothing but this header, as for an error.
    #[must_use]
    pub fn packet(&self) -> Bytes {
        frame::packet(|to| self.write(to)).expect("a header is short")
    }
}

impl WatcherEvent {
    /// A whole packet that tells of this event. `zxid` is that of the change, or −1 for one that the client missed earlier.
    ///
    /// # Errors
    /// There is more than a packet can hold.
    pub fn packet(&self, zxid: i64) -> Result<Bytes, PacketTooLong> {
        frame::packet(|to| {
            ReplyHeader { xid: XID_NOTIFICATION, zxid, error: 0 }.write(to);
            self.write(to);
        })
    }
}

//! What clients ask.

use bytes::Bytes;

use super::multi::{MultiReadRequest, MultiRequest};
use super::record::{Acl, RequestHeader, Secret};
use super::{OpCode, PacketTooLong, frame};
use crate::jute::{Jute, JuteError, Reader, Writer, records};

records! {
    /// Of create, create2 and createContainer.
    CreateRequest {
        /// Where.
        path: String,
        /// With which data.
        data: Option<Bytes>,
        /// With which ACL.
        acl: Vec<Acl>,
        /// Of which kind: persistent 0, ephemeral 1, sequential 2, both 3, container 4, time to live 5, that and sequential 6.
        flags: i32,
    }

    /// Of createTTL.
    CreateTtlRequest {
        /// What to create.
        create: CreateRequest,
        /// How long it lives, in milliseconds.
        ttl_ms: i64,
    }

    /// Of delete.
    DeleteRequest {
        /// Which znode.
        path: String,
        /// The version that it must have; −1 for any.
        version: i32,
    }

    /// Of exists.
    ExistsRequest {
        /// Which znode.
        path: String,
        /// Set a watch, whether it exists or not?
        watch: bool,
    }

    /// Of getData.
    GetDataRequest {
        /// Of which znode.
        path: String,
        /// Set a watch?
        watch: bool,
    }

    /// Of setData.
    SetDataRequest {
        /// Of which znode.
        path: String,
        /// To what.
        data: Option<Bytes>,
        /// The version that it must have; −1 for any.
        version: i32,
    }

    /// Of getACL.
    GetAclRequest {
        /// Of which znode.
        path: String,
    }

    /// Of setACL.
    SetAclRequest {
        /// Of which znode.
        path: String,
        /// To what.
        acl: Vec<Acl>,
        /// The aversion that it must have; −1 for any.
        version: i32,
    }

    /// Of getChildren and getChildren2.
    GetChildrenRequest {
        /// Of which znode.
        path: String,
        /// Set a watch?
        watch: bool,
    }

    /// Of sync.
    SyncRequest {
        /// What the client says it is about; no server looks at it.
        path: String,
    }

    /// Of check.
    CheckVersionRequest {
        /// Which znode.
        path: String,
        /// The version that it must have; −1 for any.
        version: i32,
    }

    /// Of reconfig: what joins and what leaves, or all the new members.
    ReconfigRequest {
        /// Servers that join, separated by commas.
        joining: Option<String>,
        /// Numbers of servers that leave, separated by commas.
        leaving: Option<String>,
        /// All servers from now on.
        new_members: Option<String>,
        /// The version of the configuration that this changes; −1 for any.
        version: i64,
    }

    /// Of checkWatches and removeWatches.
    WatchesRequest {
        /// On which path.
        path: String,
        /// Of which kind: children 1, data 2, any 3, persistent 4, persistent and recursive 5.
        kind: i32,
    }

    /// Of auth.
    AuthPacket {
        /// 0.
        kind: i32,
        /// How the client authenticates.
        scheme: String,
        /// Its credentials.
        credentials: Secret,
    }

    /// Of setWatches.
    SetWatches {
        /// The newest zxid that the client has seen: what happened later, it has missed.
        relative_zxid: i64,
        /// Paths with watches set by getData, and by exists on znodes that were there.
        data: Vec<String>,
        /// Paths with watches set by exists on znodes that were not there.
        exist: Vec<String>,
        /// Paths with watches set by getChildren.
        child: Vec<String>,
    }

    /// Of setWatches2.
    SetWatches2 {
        /// The one-shot watches.
        watches: SetWatches,
        /// Paths with persistent watches.
        persistent: Vec<String>,
        /// Paths with persistent and recursive watches.
        persistent_recursive: Vec<String>,
    }

    /// Of sasl, and its answer.
    SaslToken {
        /// The step's bytes.
        token: Secret,
    }

    /// Of getEphemerals.
    GetEphemeralsRequest {
        /// Of those whose paths begin so.
        prefix: String,
    }

    /// Of getAllChildrenNumber.
    GetAllChildrenNumberRequest {
        /// Below which znode.
        path: String,
    }

    /// Of addWatch.
    AddWatchRequest {
        /// On which path.
        path: String,
        /// Persistent 0, persistent and recursive 1.
        mode: i32,
    }
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident($kind:ty),)+) => {
        /// A request, without its header.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request {
            $($(#[$doc])* $name($kind),)+
        }

        impl Request {
            /// What it asks for.
            #[must_use]
            pub fn op(&self) -> OpCode {
                match self {
                    $(Request::$name(_) => OpCode::$name,)+
                }
            }

            /// Reads a request of this kind. Bytes after it are ignored, as ZooKeeper ignores them.
            ///
            /// # Errors
            /// The bytes are not a request of this kind. ZooKeeper answers `MarshallingError`.
            pub fn decode(op: OpCode, bytes: Bytes) -> Result<Request, JuteError> {
                let from = &mut Reader::new(bytes);
                match op {
                    $(OpCode::$name => Jute::read(from).map(Request::$name),)+
                }
            }

            /// Writes it, without its header.
            pub fn write(&self, to: &mut Writer) {
                match self {
                    $(Request::$name(request) => request.write(to),)+
                }
            }
        }
    };
}

requests! {
    /// Creates a znode.
    Create(CreateRequest),
    /// Deletes a znode.
    Delete(DeleteRequest),
    /// The stat of a znode.
    Exists(ExistsRequest),
    /// The data of a znode.
    GetData(GetDataRequest),
    /// Sets the data of a znode.
    SetData(SetDataRequest),
    /// The ACL of a znode.
    GetAcl(GetAclRequest),
    /// Sets the ACL of a znode.
    SetAcl(SetAclRequest),
    /// The names of a znode's children.
    GetChildren(GetChildrenRequest),
    /// Waits for what was committed.
    Sync(SyncRequest),
    /// Keeps the session alive.
    Ping(()),
    /// The names of a znode's children, and its stat.
    GetChildren2(GetChildrenRequest),
    /// Is this the version? Refused outside a multi.
    Check(CheckVersionRequest),
    /// Several writes.
    Multi(MultiRequest),
    /// Creates a znode; answered with the stat too.
    Create2(CreateRequest),
    /// Changes the members of the ensemble.
    Reconfig(ReconfigRequest),
    /// Is there such a watch?
    CheckWatches(WatchesRequest),
    /// Takes a watch back.
    RemoveWatches(WatchesRequest),
    /// Creates a container.
    CreateContainer(CreateRequest),
    /// Creates a znode with a time to live.
    CreateTtl(CreateTtlRequest),
    /// Several reads.
    MultiRead(MultiReadRequest),
    /// Says who the client is.
    Auth(AuthPacket),
    /// Brings watches along.
    SetWatches(SetWatches),
    /// A step of SASL.
    Sasl(SaslToken),
    /// The session's ephemerals.
    GetEphemerals(GetEphemeralsRequest),
    /// How many znodes are below.
    GetAllChildrenNumber(GetAllChildrenNumberRequest),
    /// Brings watches along, persistent ones too.
    SetWatches2(SetWatches2),
    /// Sets a persistent watch.
    AddWatch(AddWatchRequest),
    /// Whom the server takes the client for.
    WhoAmI(()),
    /// Ends the session.
    CloseSession(()),
}

impl Request {
    /// A whole packet, as a client sends it.
    ///
    /// # Errors
    /// There is more than a packet can hold.
    pub fn packet(&self, xid: i32) -> Result<Bytes, PacketTooLong> {
        frame::packet(|to| {
            RequestHeader { xid, op: self.op().number() }.write(to);
            self.write(to);
        })
    }
}

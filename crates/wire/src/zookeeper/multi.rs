//! Several operations in one packet: [`MultiHeader`], operation, and so on, until a header that says so.
//!
//! An operation here is no multi, so none nests.

use bytes::Bytes;

use super::record::{MultiHeader, Stat};
use super::request::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, GetChildrenRequest, GetDataRequest,
    SetDataRequest,
};
use super::{ErrorCode, OpCode};
use crate::jute::{Jute, JuteError, Reader, Writer};

/// What stands for an error where an operation's number would, and at the end.
const ERROR: i32 = -1;

const END: MultiHeader = MultiHeader { op: ERROR, done: true, error: -1 };

/// A list of operations with headers between them.
trait Part: Sized {
    fn op(&self) -> i32;
    fn error(&self) -> i32;
    fn read(op: i32, from: &mut Reader) -> Result<Self, JuteError>;
    fn write(&self, to: &mut Writer);
}

fn read_parts<T: Part>(from: &mut Reader) -> Result<Vec<T>, JuteError> {
    let mut parts = Vec::new();
    loop {
        let header = MultiHeader::read(from)?;
        if header.done {
            return Ok(parts);
        }
        parts.push(T::read(header.op, from)?);
    }
}

fn write_parts<T: Part>(parts: &[T], to: &mut Writer) {
    for part in parts {
        MultiHeader { op: part.op(), done: false, error: part.error() }.write(to);
        part.write(to);
    }
    END.write(to);
}

macro_rules! parts {
    ($($(#[$about:meta])* $list:ident of $part:ident { $($(#[$doc:meta])* $name:ident($kind:ty),)+ })+) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $list(pub Vec<$part>);

        impl Jute for $list {
            const BYTES_MIN: usize = <MultiHeader as Jute>::BYTES_MIN;

            fn read(from: &mut Reader) -> Result<Self, JuteError> {
                read_parts(from).map($list)
            }

            fn write(&self, to: &mut Writer) {
                write_parts(&self.0, to);
            }
        }

        /// One operation of it.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $part {
            $($(#[$doc])* $name($kind),)+
        }

        impl Part for $part {
            fn op(&self) -> i32 {
                match self {
                    $($part::$name(_) => OpCode::$name.number(),)+
                }
            }

            fn error(&self) -> i32 {
                -1
            }

            fn read(op: i32, from: &mut Reader) -> Result<Self, JuteError> {
                match OpCode::from_number(op) {
                    $(Some(OpCode::$name) => Jute::read(from).map($part::$name),)+
                    _ => Err(JuteError::Unknown { what: "operation of a multi", value: op }),
                }
            }

            fn write(&self, to: &mut Writer) {
                match self {
                    $($part::$name(request) => request.write(to),)+
                }
            }
        }
    )+};
}

parts! {
    /// Writes, of which all are done or none.
    MultiRequest of MultiOperation {
        /// Creates a znode.
        Create(CreateRequest),
        /// The same; in a multi it is answered as `Create` is.
        Create2(CreateRequest),
        /// Creates a container.
        CreateContainer(CreateRequest),
        /// Creates a znode with a time to live.
        CreateTtl(CreateTtlRequest),
        /// Deletes a znode.
        Delete(DeleteRequest),
        /// Sets the data of a znode.
        SetData(SetDataRequest),
        /// Is this the version of a znode?
        Check(CheckVersionRequest),
    }

    /// Reads, each with a result of its own. What they say of watches is not looked at.
    MultiReadRequest of ReadOperation {
        /// The data of a znode.
        GetData(GetDataRequest),
        /// The names of its children.
        GetChildren(GetChildrenRequest),
    }
}

/// What one operation of a multi, or of a multi of reads, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult {
    /// Created, and it is neither a container nor has it a time to live.
    Create {
        /// The znode's path.
        path: String,
    },
    /// Created, as a container or with a time to live; their own numbers an answer never carries.
    Create2 {
        /// The znode's path.
        path: String,
        /// Its stat.
        stat: Stat,
    },
    /// Deleted.
    Delete,
    /// The data was set.
    SetData {
        /// The znode's stat.
        stat: Stat,
    },
    /// It is the version.
    Check,
    /// The data.
    GetData {
        /// It.
        data: Option<Bytes>,
        /// The znode's stat.
        stat: Stat,
    },
    /// The children's names.
    GetChildren {
        /// They, in no order.
        children: Vec<String>,
    },
    /// It failed, or was not done since another failed.
    Error(
        /// Why, as in [`ErrorCode`]; 0 for one before the one that failed.
        i32,
    ),
}

impl From<ErrorCode> for MultiResult {
    fn from(error: ErrorCode) -> MultiResult {
        MultiResult::Error(error.number())
    }
}

impl Part for MultiResult {
    fn op(&self) -> i32 {
        match self {
            MultiResult::Create { .. } => OpCode::Create.number(),
            MultiResult::Create2 { .. } => OpCode::Create2.number(),
            MultiResult::Delete => OpCode::Delete.number(),
            MultiResult::SetData { .. } => OpCode::SetData.number(),
            MultiResult::Check => OpCode::Check.number(),
            MultiResult::GetData { .. } => OpCode::GetData.number(),
            MultiResult::GetChildren { .. } => OpCode::GetChildren.number(),
            MultiResult::Error(_) => ERROR,
        }
    }

    fn error(&self) -> i32 {
        match self {
            MultiResult::Error(error) => *error,
            _ => 0,
        }
    }

    fn read(op: i32, from: &mut Reader) -> Result<MultiResult, JuteError> {
        if op == ERROR {
            return Jute::read(from).map(MultiResult::Error);
        }
        Ok(match OpCode::from_number(op) {
            Some(OpCode::Create) => MultiResult::Create { path: Jute::read(from)? },
            Some(OpCode::Create2) => {
                MultiResult::Create2 { path: Jute::read(from)?, stat: Jute::read(from)? }
            }
            Some(OpCode::Delete) => MultiResult::Delete,
            Some(OpCode::SetData) => MultiResult::SetData { stat: Jute::read(from)? },
            Some(OpCode::Check) => MultiResult::Check,
            Some(OpCode::GetData) => {
                MultiResult::GetData { data: Jute::read(from)?, stat: Jute::read(from)? }
            }
            Some(OpCode::GetChildren) => MultiResult::GetChildren { children: Jute::read(from)? },
            _ => return Err(JuteError::Unknown { what: "result of a multi", value: op }),
        })
    }

    fn write(&self, to: &mut Writer) {
        match self {
            MultiResult::Create { path } => to.string(path),
            MultiResult::Create2 { path, stat } => {
                to.string(path);
                stat.write(to);
            }
            MultiResult::Delete | MultiResult::Check => {}
            MultiResult::SetData { stat } => stat.write(to),
            MultiResult::GetData { data, stat } => {
                data.write(to);
                stat.write(to);
            }
            MultiResult::GetChildren { children } => children.write(to),
            MultiResult::Error(error) => error.write(to),
        }
    }
}

/// What a multi, or a multi of reads, came to: a result for each operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MultiResponse(pub Vec<MultiResult>);

impl Jute for MultiResponse {
    const BYTES_MIN: usize = <MultiHeader as Jute>::BYTES_MIN;

    fn read(from: &mut Reader) -> Result<Self, JuteError> {
        read_parts(from).map(MultiResponse)
    }

    fn write(&self, to: &mut Writer) {
        write_parts(&self.0, to);
    }
}

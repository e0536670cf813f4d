//! What a request becomes: a command for the log, a read, or an error at once.

use quorate_wire::zookeeper::{
    self as wire, AuthPacket, CreateRequest, ErrorCode, MultiOperation, OpCode, Request,
};
use quorate_znodes::{Acl, Command, Create, CreateMode, Operation, Permissions, ZnodeError};

use super::Settings;

/// How a request is to be served.
#[derive(Debug)]
pub(super) enum Plan {
    /// Through the log.
    Write(Write, Shape),
    /// A barrier, after which everything that was committed before is here.
    Sync(String),
    /// From the view.
    Read(Request),
    /// By who the connection is.
    Auth(AuthPacket),
    /// With an error.
    Error(ErrorCode),
    /// With an error, and the end of the connection: no server offers it.
    Unimplemented,
    /// With a farewell.
    Close,
}

/// What is to be written, before it is said by whom and when.
#[derive(Debug)]
pub(super) enum Write {
    One(Operation),
    Multi(Vec<Operation>),
}

/// What the answer to a write looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The path alone, of create.
    Path,
    /// Path and stat, of all other creations.
    Created,
    /// The stat.
    Stat,
    /// Nothing.
    Empty,
    /// A result for each operation: for which of them is it the path alone?
    Multi { path_alone: Vec<bool> },
    /// Nothing, and the end of the connection.
    Farewell,
}

/// Does a server that only reads refuse it? ZooKeeper's list; `sync` is on it.
pub(super) fn is_write(op: OpCode) -> bool {
    match op {
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::Delete
        | OpCode::SetData
        | OpCode::SetAcl
        | OpCode::Check
        | OpCode::Multi
        | OpCode::Sync
        | OpCode::Reconfig => true,
        OpCode::Exists
        | OpCode::GetData
        | OpCode::GetAcl
        | OpCode::GetChildren
        | OpCode::Ping
        | OpCode::GetChildren2
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::MultiRead
        | OpCode::Auth
        | OpCode::SetWatches
        | OpCode::Sasl
        | OpCode::GetEphemerals
        | OpCode::GetAllChildrenNumber
        | OpCode::SetWatches2
        | OpCode::AddWatch
        | OpCode::WhoAmI
        | OpCode::CloseSession => false,
    }
}

pub(super) fn plan(request: Request, settings: &Settings) -> Plan {
    match request {
        Request::Create(create) => write_create(create, -1, Shape::Path, settings),
        Request::Create2(create) | Request::CreateContainer(create) => {
            write_create(create, -1, Shape::Created, settings)
        }
        Request::CreateTtl(request) => write_create(request.create, request.ttl_ms, Shape::Created, settings),
        Request::Delete(request) => {
            let (path, version) = (request.path, request.version);
            Plan::Write(Write::One(Operation::Delete { path, version }), Shape::Empty)
        }
        Request::SetData(request) => {
            let (path, data, version) = (request.path, request.data, request.version);
            Plan::Write(Write::One(Operation::SetData { path, data, version }), Shape::Stat)
        }
        Request::SetAcl(request) => {
            let (path, acl, version) = (request.path, acl(request.acl), request.version);
            Plan::Write(Write::One(Operation::SetAcl { path, acl, version }), Shape::Stat)
        }
        Request::Multi(multi) => {
            let path_alone = multi.0.iter().map(is_answered_with_its_path_alone).collect();
            let operations = multi.0.into_iter().map(|operation| part(operation, settings)).collect();
            Plan::Write(Write::Multi(operations), Shape::Multi { path_alone })
        }
        Request::Sync(request) => Plan::Sync(request.path),
        Request::Auth(packet) => Plan::Auth(packet),
        // Reconfiguration is off, as it is in ZooKeeper unless it is switched on; that is the first thing that is looked at.
        Request::Reconfig(_) => Plan::Error(ErrorCode::ReconfigDisabled),
        // `check` alone corrupted databases once (ZOOKEEPER-2623), and has been refused since.
        Request::Check(_) => Plan::Unimplemented,
        Request::Sasl(_) => Plan::Unimplemented,
        Request::CloseSession(()) => Plan::Close,
        Request::Exists(_)
        | Request::GetData(_)
        | Request::GetAcl(_)
        | Request::GetChildren(_)
        | Request::Ping(())
        | Request::GetChildren2(_)
        | Request::CheckWatches(_)
        | Request::RemoveWatches(_)
        | Request::MultiRead(_)
        | Request::SetWatches(_)
        | Request::GetEphemerals(_)
        | Request::GetAllChildrenNumber(_)
        | Request::SetWatches2(_)
        | Request::AddWatch(_)
        | Request::WhoAmI(()) => Plan::Read(request),
    }
}

fn write_create(request: CreateRequest, ttl_ms: i64, shape: Shape, settings: &Settings) -> Plan {
    match create(request, ttl_ms, settings) {
        Ok(create) => Plan::Write(Write::One(Operation::Create(create)), shape),
        Err(error) => Plan::Error(code(error)),
    }
}

/// The flags are looked at before everything else, and times to live, if they are switched off, right after.
fn create(request: CreateRequest, ttl_ms: i64, settings: &Settings) -> Result<Create, ZnodeError> {
    let mode = CreateMode::from_flags(request.flags)?;
    if matches!(mode, CreateMode::Ttl | CreateMode::TtlSequential) && !settings.ttl {
        return Err(ZnodeError::Unimplemented);
    }
    Ok(Create { path: request.path, data: request.data, acl: acl(request.acl), mode, ttl_ms })
}

/// An operation of a multi. One that is refused for its flags must fail in its turn, after those before it were tried, and not at once; so it becomes
/// one that the tree is sure to refuse with `BadArguments`, before it looks at anything else. (With times to live switched off, the code in a multi
/// is that one too, where ZooKeeper's is `Unimplemented`.)
fn part(operation: MultiOperation, settings: &Settings) -> Operation {
    let sure_to_fail = |path| Operation::Create(Create { path, ttl_ms: 0, ..Create::default() });
    match operation {
        MultiOperation::Create(request)
        | MultiOperation::Create2(request)
        | MultiOperation::CreateContainer(request) => {
            let path = request.path.clone();
            create(request, -1, settings).map_or_else(|_| sure_to_fail(path), Operation::Create)
        }
        MultiOperation::CreateTtl(request) => {
            let path = request.create.path.clone();
            create(request.create, request.ttl_ms, settings)
                .map_or_else(|_| sure_to_fail(path), Operation::Create)
        }
        MultiOperation::Delete(request) => Operation::Delete { path: request.path, version: request.version },
        MultiOperation::SetData(request) => {
            Operation::SetData { path: request.path, data: request.data, version: request.version }
        }
        MultiOperation::Check(request) => Operation::Check { path: request.path, version: request.version },
    }
}

/// In a multi ZooKeeper goes by the flags, not by the operation: create2 is create, and what makes containers and times to live has a stat as well.
fn is_answered_with_its_path_alone(operation: &MultiOperation) -> bool {
    let flags = match operation {
        MultiOperation::Create(request)
        | MultiOperation::Create2(request)
        | MultiOperation::CreateContainer(request) => request.flags,
        MultiOperation::CreateTtl(request) => request.create.flags,
        MultiOperation::Delete(_) | MultiOperation::SetData(_) | MultiOperation::Check(_) => return false,
    };
    !matches!(
        CreateMode::from_flags(flags),
        Ok(CreateMode::Container | CreateMode::Ttl | CreateMode::TtlSequential)
    )
}

fn acl(list: Vec<wire::Acl>) -> Vec<Acl> {
    let entry = |entry: wire::Acl| Acl {
        permissions: Permissions(entry.permissions),
        identity: quorate_znodes::Identity { scheme: entry.id.scheme, id: entry.id.id },
    };
    list.into_iter().map(entry).collect()
}

/// The wire's code for what the tree says.
pub(super) fn code(error: ZnodeError) -> ErrorCode {
    ErrorCode::from_number(error.code()).unwrap_or(ErrorCode::SystemError)
}

/// The command, said by somebody at some time, or why it must not go into the log.
pub(super) fn command(write: Write, caller: quorate_znodes::Caller) -> Result<Command, ErrorCode> {
    let command = match write {
        Write::One(operation) => Command::Operation(caller, operation),
        Write::Multi(operations) => Command::Multi(caller, operations),
    };
    command.check().map_err(code)?;
    Ok(command)
}

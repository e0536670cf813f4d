//! What a request becomes: a command for the log, a read, or an error at once.

use quorate_wire::zookeeper::{
    self as wire, AuthPacket, CreateRequest, CreateTtlRequest, ErrorCode, MultiOperation, OpCode, Request,
};
use quorate_znodes::{Acl, Command, Create, CreateMode, Identity, Operation, Permissions, ZnodeError};

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
        Request::Create(request) => write_create(create(request, None, settings), Shape::Path),
        Request::Create2(request) => write_create(create(request, None, settings), Shape::Created),
        Request::CreateContainer(request) => write_create(container(request, settings), Shape::Created),
        Request::CreateTtl(CreateTtlRequest { create: request, ttl_ms }) => {
            write_create(create(request, Some(ttl_ms), settings), Shape::Created)
        }
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

fn write_create(create: Result<Create, ZnodeError>, shape: Shape) -> Plan {
    match create {
        Ok(create) => Plan::Write(Write::One(Operation::Create(create)), shape),
        Err(error) => Plan::Error(code(error)),
    }
}

/// The flags are looked at before everything else, and times to live, if they are switched off, right after. What has its own request with a time to
/// live must have the flags for one: without them, and with a negative time, ZooKeeper takes the request and then stops for good.
fn create(request: CreateRequest, ttl_ms: Option<i64>, settings: &Settings) -> Result<Create, ZnodeError> {
    let mode = CreateMode::from_flags(request.flags)?;
    if mode.has_ttl() && !settings.ttl {
        return Err(ZnodeError::Unimplemented);
    }
    if ttl_ms.is_some() && !mode.has_ttl() {
        return Err(ZnodeError::BadArguments);
    }
    let ttl_ms = ttl_ms.unwrap_or(-1);
    Ok(Create { path: request.path, data: request.data, acl: acl(request.acl), mode, ttl_ms })
}

/// A container, whatever kind the flags say: of them only whether its name ends with a number counts, and that there is no time to live.
fn container(request: CreateRequest, settings: &Settings) -> Result<Create, ZnodeError> {
    let create = create(request, None, settings)?;
    let mode = match create.mode {
        CreateMode::Ttl | CreateMode::TtlSequential => return Err(ZnodeError::BadArguments),
        mode if mode.is_sequential() => CreateMode::ContainerSequential,
        _ => CreateMode::Container,
    };
    Ok(Create { mode, ..create })
}

/// An operation of a multi. One that is refused for its flags must fail in its turn, after those before it were tried, and not at once.
fn part(operation: MultiOperation, settings: &Settings) -> Operation {
    match operation {
        MultiOperation::Create(request)
        | MultiOperation::Create2(request)
        | MultiOperation::CreateContainer(request) => part_create(request, None, settings),
        MultiOperation::CreateTtl(request) => part_create(request.create, Some(request.ttl_ms), settings),
        MultiOperation::Delete(request) => Operation::Delete { path: request.path, version: request.version },
        MultiOperation::SetData(request) => {
            Operation::SetData { path: request.path, data: request.data, version: request.version }
        }
        MultiOperation::Check(request) => Operation::Check { path: request.path, version: request.version },
    }
}

/// In a multi the flags alone say what is created. A time to live is not looked at unless they ask for one; if they do and the operation has none,
/// ZooKeeper cannot read the whole multi.
fn part_create(request: CreateRequest, ttl_ms: Option<i64>, settings: &Settings) -> Operation {
    let with_ttl = CreateMode::from_flags(request.flags).is_ok_and(CreateMode::has_ttl);
    if with_ttl && ttl_ms.is_none() {
        return Operation::Refused(ZnodeError::Malformed);
    }
    create(request, ttl_ms.filter(|_| with_ttl), settings).map_or_else(Operation::Refused, Operation::Create)
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

/// A null stands for nobody: it becomes the empty string, which no scheme is called, and which only `auth` takes for an id.
fn acl(list: Vec<wire::Acl>) -> Vec<Acl> {
    let identity =
        |id: wire::Id| Identity { scheme: id.scheme.unwrap_or_default(), id: id.id.unwrap_or_default() };
    let entry =
        |entry: wire::Acl| Acl { permissions: Permissions(entry.permissions), identity: identity(entry.id) };
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

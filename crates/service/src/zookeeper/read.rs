//! Reads, and the watches that they leave. Order of checks: the znode, then its ACL; a watch is left by what succeeds, and by `exists` for a znode that
//! is not there.

use bytes::Bytes;
use quorate_wire::zookeeper::{
    AclResponse, AddWatchRequest, Children2Response, DataResponse, ErrorCode, ExistsRequest,
    MultiReadRequest, MultiResponse, MultiResult, NamesResponse, NumberResponse, ReadOperation, Request,
    Response, SetWatches, SetWatches2, StatResponse, WatcherEvent, WatchesRequest, WhoAmIResponse,
};
use quorate_znodes::{EventKind, Identity, Permissions, SessionId, View, WatchKind, ZnodeError, allows};

use super::auth::clients;
use super::plan::code;
use super::reply::{acl, stat};
use super::watches::Kinds;
use super::{ConnectionId, Hub, Output};

/// Somebody who reads.
pub(super) struct Reading<'a> {
    pub(super) hub: &'a mut Hub,
    pub(super) connection: ConnectionId,
    pub(super) session: SessionId,
    pub(super) identities: &'a [Identity],
    /// Where notifications go that setWatches finds to be missing: out, before its answer.
    pub(super) out: &'a mut Vec<Output>,
}

impl Reading<'_> {
    pub(super) fn answer(&mut self, request: Request) -> Result<Response, ErrorCode> {
        match request {
            Request::Ping(()) => Ok(Response::Empty),
            Request::Exists(request) => self.exists(&request),
            Request::GetData(request) => {
                let (data, of) = self.view().get_data(&request.path, self.identities).map_err(code)?;
                self.watch(request.watch, &request.path, Kinds::DATA)?;
                Ok(Response::Data(DataResponse { data, stat: stat(&of) }))
            }
            Request::GetAcl(request) => {
                let (list, of) = self.view().get_acl(&request.path, self.identities).map_err(code)?;
                Ok(Response::Acl(AclResponse { acl: acl(list), stat: stat(&of) }))
            }
            Request::GetChildren(request) => {
                let (names, _) = self.view().get_children(&request.path, self.identities).map_err(code)?;
                self.watch(request.watch, &request.path, Kinds::CHILDREN)?;
                Ok(Response::Names(NamesResponse { names }))
            }
            Request::GetChildren2(request) => {
                let (children, of) =
                    self.view().get_children(&request.path, self.identities).map_err(code)?;
                self.watch(request.watch, &request.path, Kinds::CHILDREN)?;
                Ok(Response::Children2(Children2Response { children, stat: stat(&of) }))
            }
            Request::GetEphemerals(request) => {
                let names = self.view().get_ephemerals(self.session, &request.prefix);
                Ok(Response::Names(NamesResponse { names }))
            }
            Request::GetAllChildrenNumber(request) => {
                let count =
                    self.view().get_all_children_number(&request.path, self.identities).map_err(code)?;
                let number = i32::try_from(count).unwrap_or(i32::MAX);
                Ok(Response::Number(NumberResponse { number }))
            }
            Request::MultiRead(request) => Ok(self.multi(request)),
            Request::WhoAmI(()) => Ok(Response::WhoAmI(WhoAmIResponse { clients: clients(self.identities) })),
            Request::AddWatch(request) => self.add_watch(&request),
            Request::CheckWatches(request) => {
                let kinds = kinds(&request)?;
                let there = self.hub.watches().has(self.connection, &request.path, kinds);
                if there { Ok(Response::Empty) } else { Err(ErrorCode::NoWatcher) }
            }
            Request::RemoveWatches(request) => {
                let kinds = kinds(&request)?;
                let removed = self.hub.watches_mut().remove(self.connection, &request.path, kinds);
                if removed { Ok(Response::Empty) } else { Err(ErrorCode::NoWatcher) }
            }
            Request::SetWatches(watches) => self.set_watches(&watches),
            Request::SetWatches2(request) => self.set_watches2(&request),
            Request::Create(_)
            | Request::Create2(_)
            | Request::CreateContainer(_)
            | Request::CreateTtl(_)
            | Request::Delete(_)
            | Request::SetData(_)
            | Request::SetAcl(_)
            | Request::Check(_)
            | Request::Multi(_)
            | Request::Sync(_)
            | Request::Reconfig(_)
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::CloseSession(()) => Err(ErrorCode::SystemError),
        }
    }

    fn view(&self) -> &View {
        self.hub.view()
    }

    fn watch(&mut self, wanted: bool, path: &str, kind: Kinds) -> Result<(), ErrorCode> {
        if !wanted {
            return Ok(());
        }
        let connection = self.connection;
        self.hub.watches_mut().add(connection, path, kind).map_err(|_| ErrorCode::ThrottledOp)
    }

    fn exists(&mut self, request: &ExistsRequest) -> Result<Response, ErrorCode> {
        let found = self.view().exists(&request.path, self.identities);
        if matches!(found, Ok(_) | Err(ZnodeError::NoNode)) {
            self.watch(request.watch, &request.path, Kinds::DATA)?;
        }
        found.map(|of| Response::Stat(StatResponse { stat: stat(&of) })).map_err(code)
    }

    fn multi(&self, request: MultiReadRequest) -> Response {
        let one = |operation: ReadOperation| match operation {
            ReadOperation::GetData(read) => self
                .view()
                .get_data(&read.path, self.identities)
                .map(|(data, of)| MultiResult::GetData { data, stat: stat(&of) }),
            ReadOperation::GetChildren(read) => self
                .view()
                .get_children(&read.path, self.identities)
                .map(|(children, _)| MultiResult::GetChildren { children }),
        };
        let results =
            request.0.into_iter().map(|operation| one(operation).unwrap_or_else(|error| code(error).into()));
        Response::Multi(MultiResponse(results.collect()))
    }

    fn add_watch(&mut self, request: &AddWatchRequest) -> Result<Response, ErrorCode> {
        let kind = match request.mode {
            0 => Kinds::PERSISTENT,
            1 => Kinds::RECURSIVE,
            _ => return Err(ErrorCode::MarshallingError),
        };
        self.watch(true, &request.path, kind)?;
        Ok(Response::Number(NumberResponse { number: 0 }))
    }

    // ── the watches of a connection before ──────────────────────────────────────────────────────────────────────────

    fn set_watches2(&mut self, request: &SetWatches2) -> Result<Response, ErrorCode> {
        self.set_watches(&request.watches)?;
        for path in &request.persistent {
            self.watch(true, path, Kinds::PERSISTENT)?;
        }
        for path in &request.persistent_recursive {
            self.watch(true, path, Kinds::RECURSIVE)?;
        }
        Ok(Response::Empty)
    }

    fn set_watches(&mut self, request: &SetWatches) -> Result<Response, ErrorCode> {
        let lists = [
            (WatchKind::Data, Kinds::DATA, &request.data),
            (WatchKind::Exists, Kinds::DATA, &request.exist),
            (WatchKind::Children, Kinds::CHILDREN, &request.child),
        ];
        for (kind, armed, paths) in lists {
            for path in paths {
                match self.view().missed(kind, path, request.relative_zxid) {
                    None => self.watch(true, path, armed)?,
                    Some(event) => self.tell(event, path),
                }
            }
        }
        Ok(Response::Empty)
    }

    /// Something that the client missed, under no zxid. Who may not read the znode is not told, and the watch is spent all the same.
    fn tell(&mut self, kind: EventKind, path: &str) {
        let look = self.view().look(path);
        if look.is_some_and(|(_, acl)| !allows(&acl, Permissions::READ, self.identities)) {
            return;
        }
        let (kind, state) = (kind as i32, WatcherEvent::CONNECTED);
        let packet = WatcherEvent { kind, state, path: path.to_owned() }.packet(-1);
        self.out.extend(packet.ok().map(|packet: Bytes| Output::Send(packet)));
    }
}

/// Which watches a request means. An unknown number is one that the wire does not have.
fn kinds(request: &WatchesRequest) -> Result<Kinds, ErrorCode> {
    Ok(match request.kind {
        1 => Kinds::CHILDREN,
        2 => Kinds::DATA,
        3 => Kinds::ANY,
        4 => Kinds::PERSISTENT,
        5 => Kinds::RECURSIVE,
        _ => return Err(ErrorCode::MarshallingError),
    })
}

//! What a client must be answered, by the naive model.

use quorate_service::{
    wire::zookeeper::{
        self as wire, AclResponse, Children2Response, Create2Response, DataResponse, ErrorCode, Id,
        MultiOperation, MultiResponse, MultiResult, NamesResponse, NumberResponse, PathResponse,
        ReadOperation, Request, Response, StatResponse,
    },
    znodes::{Acl, Identity, OperationReply, Permissions, Reply, SessionId, Stat, ZnodeError},
};

use super::model::{Model, Znode, permits};

/// An answer: what it says, or the code of an error.
pub(crate) type Answer = Result<Response, i32>;

fn stat(of: &Stat) -> wire::Stat {
    wire::Stat {
        czxid: of.czxid as i64,
        mzxid: of.mzxid as i64,
        ctime: of.ctime,
        mtime: of.mtime,
        version: of.version,
        cversion: of.cversion,
        aversion: of.aversion,
        ephemeral_owner: of.ephemeral_owner.0,
        data_length: of.data_length,
        num_children: of.num_children,
        pzxid: of.pzxid as i64,
    }
}

// ── writes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

fn one(request: &Request, reply: &OperationReply) -> Response {
    match (request, reply) {
        (Request::Create(_), OperationReply::Created { path, .. }) => {
            Response::Path(PathResponse { path: path.clone() })
        }
        (_, OperationReply::Created { path, stat: of }) => {
            Response::Create2(Create2Response { path: path.clone(), stat: stat(of) })
        }
        (_, OperationReply::DataSet(of) | OperationReply::AclSet(of)) => {
            Response::Stat(StatResponse { stat: stat(of) })
        }
        (_, OperationReply::Deleted | OperationReply::Checked) => Response::Empty,
    }
}

fn part(operation: &MultiOperation, reply: &OperationReply) -> MultiResult {
    match reply {
        OperationReply::Created { path, stat: of } => match operation {
            MultiOperation::Create(_) | MultiOperation::Create2(_) => {
                MultiResult::Create { path: path.clone() }
            }
            _ => MultiResult::Create2 { path: path.clone(), stat: stat(of) },
        },
        OperationReply::Deleted => MultiResult::Delete,
        OperationReply::DataSet(of) | OperationReply::AclSet(of) => MultiResult::SetData { stat: stat(of) },
        OperationReply::Checked => MultiResult::Check,
    }
}

/// The answer to a write that came to this in the log.
pub(crate) fn to_write(request: &Request, result: &Result<Reply, ZnodeError>) -> Answer {
    match (request, result) {
        (_, Err(error)) => Err(error.code()),
        (Request::Multi(multi), Ok(Reply::Multi(replies))) => {
            let results = multi.0.iter().zip(replies).map(|(operation, reply)| part(operation, reply));
            Ok(Response::Multi(MultiResponse(results.collect())))
        }
        // Before the one that failed: not an error, and not done either. After it: not tried.
        (Request::Multi(multi), Ok(Reply::MultiFailed(failure))) => {
            let code = |place: usize| match place.cmp(&(failure.at as usize)) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => failure.error.code(),
                std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency as i32,
            };
            let results = (0..multi.0.len()).map(|place| MultiResult::Error(code(place)));
            Ok(Response::Multi(MultiResponse(results.collect())))
        }
        (request, Ok(Reply::Operation(reply))) => Ok(one(request, reply)),
        (_, Ok(_)) => Ok(Response::Empty),
    }
}

// ── reads ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Somebody who reads the tree as it was at a zxid.
pub(crate) struct Reading<'a> {
    pub(crate) model: &'a Model,
    pub(crate) zxid: u64,
    pub(crate) who: &'a [Identity],
    pub(crate) session: SessionId,
}

impl Reading<'_> {
    fn open(&self, path: &str, wanted: Permissions) -> Result<&Znode, i32> {
        let node = self.model.at(self.zxid, path).ok_or(ErrorCode::NoNode as i32)?;
        if permits(&node.acl, wanted, self.who) { Ok(node) } else { Err(ErrorCode::NoAuth as i32) }
    }

    fn data(&self, path: &str) -> Result<DataResponse, i32> {
        let node = self.open(path, Permissions::READ)?;
        Ok(DataResponse { data: node.data.clone(), stat: stat(&node.stat()) })
    }

    fn children(&self, path: &str) -> Result<Children2Response, i32> {
        let node = self.open(path, Permissions::READ)?;
        let children = self.model.children_at(self.zxid, path);
        Ok(Children2Response { children, stat: stat(&node.stat()) })
    }

    fn acl(&self, path: &str) -> Answer {
        let either = Permissions(Permissions::READ.0 | Permissions::ADMIN.0);
        let node = self.open(path, either)?;
        let masks = !permits(&node.acl, Permissions::ADMIN, self.who);
        let entry = |entry: &Acl| {
            let Identity { scheme, id } = &entry.identity;
            let user = id.split(':').next().unwrap_or_default();
            let id = if masks && scheme == "digest" { format!("{user}:x") } else { id.clone() };
            wire::Acl { permissions: entry.permissions.0, id: Id::new(scheme.clone(), id) }
        };
        let acl = node.acl.iter().map(entry).collect();
        Ok(Response::Acl(AclResponse { acl, stat: stat(&node.stat()) }))
    }

    fn several(&self, operation: &ReadOperation) -> MultiResult {
        let result = match operation {
            ReadOperation::GetData(read) => {
                self.data(&read.path).map(|DataResponse { data, stat }| MultiResult::GetData { data, stat })
            }
            ReadOperation::GetChildren(read) => self
                .children(&read.path)
                .map(|Children2Response { children, .. }| MultiResult::GetChildren { children }),
        };
        result.unwrap_or_else(MultiResult::Error)
    }

    /// The answer to a read; none if it is not about the tree.
    pub(crate) fn answer(&self, request: &Request) -> Option<Answer> {
        Some(match request {
            Request::GetData(read) => self.data(&read.path).map(Response::Data),
            Request::Exists(read) => self
                .open(&read.path, Permissions::READ)
                .map(|node| Response::Stat(StatResponse { stat: stat(&node.stat()) })),
            Request::GetChildren2(read) => self.children(&read.path).map(Response::Children2),
            Request::GetChildren(read) => self
                .children(&read.path)
                .map(|found| Response::Names(NamesResponse { names: found.children })),
            Request::GetAcl(read) => self.acl(&read.path),
            Request::GetEphemerals(_) => {
                let names = self.model.ephemerals_at(self.zxid, self.session);
                Ok(Response::Names(NamesResponse { names }))
            }
            Request::MultiRead(reads) => {
                let results = reads.0.iter().map(|operation| self.several(operation));
                Ok(Response::Multi(MultiResponse(results.collect())))
            }
            Request::AddWatch(_) => Ok(Response::Number(NumberResponse { number: 0 })),
            Request::Sync(sync) => Ok(Response::Path(PathResponse { path: sync.path.clone() })),
            _ => return None,
        })
    }
}

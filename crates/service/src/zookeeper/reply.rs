//! What the tree's answers look like on the wire.

use quorate_wire::zookeeper::{
    self as wire, Create2Response, ErrorCode, Id, MultiResponse, MultiResult, PathResponse, Response,
    StatResponse,
};
use quorate_znodes::{Acl, OperationReply, Reply, Stat};

use super::plan::Shape;

pub(super) fn stat(stat: &Stat) -> wire::Stat {
    wire::Stat {
        czxid: stat.czxid as i64,
        mzxid: stat.mzxid as i64,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner.0,
        data_length: stat.data_length,
        num_children: stat.num_children,
        pzxid: stat.pzxid as i64,
    }
}

pub(super) fn acl(list: Vec<Acl>) -> Vec<wire::Acl> {
    let entry = |entry: Acl| wire::Acl {
        permissions: entry.permissions.0,
        id: Id::new(entry.identity.scheme, entry.identity.id),
    };
    list.into_iter().map(entry).collect()
}

/// The answer to a write that the tree carried out, or a multi that it did not. An answer to something else than was asked, which no state machine
/// gives, is a system error.
pub(super) fn write(shape: &Shape, reply: Reply) -> Result<Response, ErrorCode> {
    Ok(match (shape, reply) {
        (Shape::Path, Reply::Operation(OperationReply::Created { path, .. })) => {
            Response::Path(PathResponse { path })
        }
        (Shape::Created, Reply::Operation(OperationReply::Created { path, stat: of })) => {
            Response::Create2(Create2Response { path, stat: stat(&of) })
        }
        (Shape::Stat, Reply::Operation(OperationReply::DataSet(of) | OperationReply::AclSet(of))) => {
            Response::Stat(StatResponse { stat: stat(&of) })
        }
        (Shape::Empty, Reply::Operation(OperationReply::Deleted))
        | (Shape::Farewell, Reply::SessionClosed) => Response::Empty,
        (Shape::Multi { path_alone }, Reply::Multi(replies)) if replies.len() == path_alone.len() => {
            let results = replies.into_iter().zip(path_alone).map(|(reply, alone)| result(reply, *alone));
            Response::Multi(MultiResponse(results.collect::<Result<_, _>>()?))
        }
        // Not an error of the whole: every operation has its own.
        (Shape::Multi { .. }, Reply::MultiFailed(failure)) => {
            Response::Multi(MultiResponse(failure.codes().map(MultiResult::Error).collect()))
        }
        (_, _) => return Err(ErrorCode::SystemError),
    })
}

fn result(reply: OperationReply, path_alone: bool) -> Result<MultiResult, ErrorCode> {
    Ok(match reply {
        OperationReply::Created { path, .. } if path_alone => MultiResult::Create { path },
        OperationReply::Created { path, stat: of } => MultiResult::Create2 { path, stat: stat(&of) },
        OperationReply::Deleted => MultiResult::Delete,
        OperationReply::DataSet(of) => MultiResult::SetData { stat: stat(&of) },
        OperationReply::Checked => MultiResult::Check,
        OperationReply::AclSet(_) => return Err(ErrorCode::SystemError),
    })
}

//! What simulated clients ask: few paths, so that they meet; and what a request is in the log.

use bytes::Bytes;
use quorate_consensus::Random;
use quorate_service::{
    wire::zookeeper::{
        self as wire, AddWatchRequest, CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest,
        ExistsRequest, GetAclRequest, GetChildrenRequest, GetDataRequest, GetEphemeralsRequest, Id,
        MultiOperation, MultiReadRequest, MultiRequest, ReadOperation, Request, SetAclRequest,
        SetDataRequest, SyncRequest,
    },
    znodes::{Acl, Create, CreateMode, Identity, Operation, Permissions},
};

/// Where single znodes are.
const PATHS: [&str; 12] =
    ["/a", "/a/a", "/a/b", "/b", "/b/a", "/b/a/a", "/c", "/c/c", "/s", "/s/a", "/t", "/t/a"];
/// What sequential names begin with.
const NUMBERED: [&str; 5] = ["/n-", "/a/n-", "/b/n-", "/c/n-", "/s/n-"];

/// The ACL of what everybody may do everything with.
const OPEN: (&str, &str) = ("world", "anyone");

/// What a client knows when it draws.
pub(crate) struct Drawing<'a> {
    pub(crate) random: &'a mut Random,
    /// A number that no other request has.
    pub(crate) value: u64,
    /// A path that it has seen, with a version that the znode had.
    pub(crate) seen: Option<(String, i32)>,
    /// Its own digest, if it has shown one.
    pub(crate) user: Option<&'a str>,
    pub(crate) only_reads: bool,
}

impl Drawing<'_> {
    fn path(&mut self) -> String {
        match &self.seen {
            Some((path, _)) if self.random.chance(1, 3) => path.clone(),
            _ => PATHS[self.random.below(PATHS.len() as u64) as usize].to_owned(),
        }
    }

    fn version(&mut self, path: &str) -> i32 {
        match &self.seen {
            Some((seen, version)) if seen == path && self.random.chance(1, 2) => *version,
            _ => -1,
        }
    }

    fn data(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.value.to_be_bytes()))
    }

    fn acl(&mut self) -> Vec<wire::Acl> {
        let entry = |permissions: Permissions, (scheme, id): (&str, &str)| wire::Acl {
            permissions: permissions.0,
            id: Id::new(scheme, id),
        };
        let read_only = Permissions::READ;
        match (self.random.below(12), self.user) {
            (0, Some(user)) => vec![entry(Permissions::ALL, ("digest", user))],
            (1, Some(_)) => vec![entry(Permissions::ALL, ("auth", "")), entry(read_only, OPEN)],
            (2, Some(user)) => {
                let hidden = Permissions(Permissions::ALL.0 & !read_only.0);
                vec![entry(hidden, OPEN), entry(read_only, ("digest", user))]
            }
            _ => vec![entry(Permissions::ALL, OPEN)],
        }
    }

    fn create(&mut self, modes: &[i32]) -> CreateRequest {
        let flags = modes[self.random.below(modes.len() as u64) as usize];
        let path = if matches!(flags, 2 | 3 | 6) {
            NUMBERED[self.random.below(NUMBERED.len() as u64) as usize].to_owned()
        } else {
            self.path()
        };
        CreateRequest { path, data: self.data(), acl: self.acl(), flags }
    }

    fn operation(&mut self) -> MultiOperation {
        let path = self.path();
        let version = self.version(&path);
        match self.random.below(8) {
            0..=2 => MultiOperation::Create(self.create(&[0, 1, 2, 3])),
            3 => MultiOperation::Create2(self.create(&[0, 1])),
            4 => MultiOperation::Delete(DeleteRequest { path, version }),
            5 | 6 => MultiOperation::SetData(SetDataRequest { path, data: self.data(), version }),
            _ => MultiOperation::Check(CheckVersionRequest { path, version }),
        }
    }

    pub(crate) fn draw(&mut self) -> Request {
        if !self.only_reads && self.random.chance(11, 20) { self.write() } else { self.read() }
    }

    fn write(&mut self) -> Request {
        let path = self.path();
        let version = self.version(&path);
        match self.random.below(24) {
            0..=2 => Request::Create(self.create(&[0, 0, 1, 2, 3])),
            3..=6 => Request::Create2(self.create(&[0, 0, 1, 2, 3])),
            7 => Request::CreateContainer(self.create(&[4])),
            8 => {
                let create = self.create(&[5, 6]);
                Request::CreateTtl(CreateTtlRequest { create, ttl_ms: self.random.between(1, 800) as i64 })
            }
            9..=12 => Request::Delete(DeleteRequest { path, version }),
            13..=17 => {
                let path = if self.random.chance(1, 12) { "/".to_owned() } else { path };
                Request::SetData(SetDataRequest { path, data: self.data(), version })
            }
            // The root stays open: whoever closed it would end the play for all.
            18 => Request::SetAcl(SetAclRequest { path, acl: self.acl(), version: -1 }),
            _ => {
                let count = self.random.between(1, 4);
                Request::Multi(MultiRequest((0..count).map(|_| self.operation()).collect()))
            }
        }
    }

    fn read(&mut self) -> Request {
        let path = self.path();
        let watch = self.random.chance(2, 5);
        match self.random.below(24) {
            0..=5 => Request::GetData(GetDataRequest { path, watch }),
            6..=9 => Request::Exists(ExistsRequest { path, watch }),
            10..=12 => {
                let path = if self.random.chance(1, 4) { "/".to_owned() } else { path };
                Request::GetChildren2(GetChildrenRequest { path, watch })
            }
            13 => Request::GetChildren(GetChildrenRequest { path, watch }),
            14 => Request::GetAcl(GetAclRequest { path }),
            15 => Request::GetEphemerals(GetEphemeralsRequest { prefix: "/".to_owned() }),
            16 => {
                let one = ReadOperation::GetData(GetDataRequest { path, watch: false });
                let other = GetChildrenRequest { path: self.path(), watch: false };
                Request::MultiRead(MultiReadRequest(vec![one, ReadOperation::GetChildren(other)]))
            }
            17 => {
                let mode = self.random.below(2) as i32;
                Request::AddWatch(AddWatchRequest { path, mode })
            }
            _ => Request::Sync(SyncRequest { path }),
        }
    }
}

// ── what it is in the log ───────────────────────────────────────────────────────────────────────────────────────────────

/// A write as it must stand in the log: one operation, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    One(Operation),
    Several(Vec<Operation>),
}

fn create(request: &CreateRequest, ttl_ms: i64) -> Operation {
    Operation::Create(Create {
        path: request.path.clone(),
        data: request.data.clone(),
        acl: acl(&request.acl),
        mode: CreateMode::from_flags(request.flags).unwrap_or_default(),
        ttl_ms,
    })
}

fn acl(list: &[wire::Acl]) -> Vec<Acl> {
    let entry = |entry: &wire::Acl| Acl {
        permissions: Permissions(entry.permissions),
        identity: Identity {
            scheme: entry.id.scheme.clone().unwrap_or_default(),
            id: entry.id.id.clone().unwrap_or_default(),
        },
    };
    list.iter().map(entry).collect()
}

fn part(operation: &MultiOperation) -> Operation {
    match operation {
        MultiOperation::Create(request)
        | MultiOperation::Create2(request)
        | MultiOperation::CreateContainer(request) => create(request, -1),
        MultiOperation::CreateTtl(request) => create(&request.create, request.ttl_ms),
        MultiOperation::Delete(request) => {
            Operation::Delete { path: request.path.clone(), version: request.version }
        }
        MultiOperation::SetData(request) => set_data(request),
        MultiOperation::Check(request) => {
            Operation::Check { path: request.path.clone(), version: request.version }
        }
    }
}

fn set_data(request: &SetDataRequest) -> Operation {
    let (path, data, version) = (request.path.clone(), request.data.clone(), request.version);
    Operation::SetData { path, data, version }
}

/// What a request writes; none for a read.
pub(crate) fn written(request: &Request) -> Option<Written> {
    Some(Written::One(match request {
        Request::Create(request) | Request::Create2(request) | Request::CreateContainer(request) => {
            create(request, -1)
        }
        Request::CreateTtl(request) => create(&request.create, request.ttl_ms),
        Request::Delete(request) => {
            Operation::Delete { path: request.path.clone(), version: request.version }
        }
        Request::SetData(request) => set_data(request),
        Request::SetAcl(request) => {
            Operation::SetAcl { path: request.path.clone(), acl: acl(&request.acl), version: request.version }
        }
        Request::Multi(multi) => return Some(Written::Several(multi.0.iter().map(part).collect())),
        _ => return None,
    }))
}

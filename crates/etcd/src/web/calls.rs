//! Which path of the gateway is which call of gRPC. What the calls take and answer is read from the descriptors.

use std::{collections::HashMap, sync::OnceLock};

use prost_reflect::{DescriptorPool, MessageDescriptor};
use quorate_wire::FILE_DESCRIPTOR_SET;

/// Service, prefix of its paths, and its methods with the rest of theirs. RangeStream is left out, as in etcd.
const SERVICES: &[(&str, &str, &[(&str, &str)])] = &[
    (
        "etcdserverpb.KV",
        "/v3/kv/",
        &[
            ("Range", "range"),
            ("Put", "put"),
            ("DeleteRange", "deleterange"),
            ("Txn", "txn"),
            ("Compact", "compaction"),
        ],
    ),
    ("etcdserverpb.Watch", "/v3/", &[("Watch", "watch")]),
    (
        "etcdserverpb.Lease",
        "/v3/lease/",
        &[
            ("LeaseGrant", "grant"),
            ("LeaseRevoke", "revoke"),
            ("LeaseKeepAlive", "keepalive"),
            ("LeaseTimeToLive", "timetolive"),
            ("LeaseLeases", "leases"),
        ],
    ),
    // The older paths of the same calls.
    (
        "etcdserverpb.Lease",
        "/v3/kv/lease/",
        &[("LeaseRevoke", "revoke"), ("LeaseTimeToLive", "timetolive"), ("LeaseLeases", "leases")],
    ),
    (
        "etcdserverpb.Cluster",
        "/v3/cluster/member/",
        &[
            ("MemberAdd", "add"),
            ("MemberRemove", "remove"),
            ("MemberUpdate", "update"),
            ("MemberList", "list"),
            ("MemberPromote", "promote"),
        ],
    ),
    (
        "etcdserverpb.Maintenance",
        "/v3/maintenance/",
        &[
            ("Alarm", "alarm"),
            ("Status", "status"),
            ("Defragment", "defragment"),
            ("Hash", "hash"),
            ("HashKV", "hashkv"),
            ("Snapshot", "snapshot"),
            ("MoveLeader", "transfer-leadership"),
            ("Downgrade", "downgrade"),
        ],
    ),
    (
        "etcdserverpb.Auth",
        "/v3/auth/",
        &[
            ("AuthEnable", "enable"),
            ("AuthDisable", "disable"),
            ("AuthStatus", "status"),
            ("Authenticate", "authenticate"),
            ("UserAdd", "user/add"),
            ("UserGet", "user/get"),
            ("UserList", "user/list"),
            ("UserDelete", "user/delete"),
            ("UserChangePassword", "user/changepw"),
            ("UserGrantRole", "user/grant"),
            ("UserRevokeRole", "user/revoke"),
            ("RoleAdd", "role/add"),
            ("RoleGet", "role/get"),
            ("RoleList", "role/list"),
            ("RoleDelete", "role/delete"),
            ("RoleGrantPermission", "role/grant"),
            ("RoleRevokePermission", "role/revoke"),
        ],
    ),
    ("v3lockpb.Lock", "/v3/lock/", &[("Lock", "lock"), ("Unlock", "unlock")]),
    (
        "v3electionpb.Election",
        "/v3/election/",
        &[
            ("Campaign", "campaign"),
            ("Proclaim", "proclaim"),
            ("Leader", "leader"),
            ("Observe", "observe"),
            ("Resign", "resign"),
        ],
    ),
];

/// A call, as the gateway makes it.
#[derive(Debug)]
pub(super) struct Call {
    /// `/etcdserverpb.KV/Put`
    pub(super) grpc_path: String,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// It takes any number of messages.
    pub(super) takes_many: bool,
    /// It answers with any number of messages.
    pub(super) answers_many: bool,
}

fn all() -> &'static HashMap<String, Call> {
    static ALL: OnceLock<HashMap<String, Call>> = OnceLock::new();
    ALL.get_or_init(|| {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
        let mut calls = HashMap::new();
        for (service, prefix, methods) in SERVICES {
            let Some(described) = pool.get_service_by_name(service) else { continue };
            for method in described.methods() {
                for (_, rest) in methods.iter().filter(|(name, _)| *name == method.name()) {
                    let call = Call {
                        grpc_path: format!("/{service}/{}", method.name()),
                        input: method.input(),
                        output: method.output(),
                        takes_many: method.is_client_streaming(),
                        answers_many: method.is_server_streaming(),
                    };
                    calls.insert(format!("{prefix}{rest}"), call);
                }
            }
        }
        calls
    })
}

/// The call at this path.
pub(super) fn find(path: &str) -> Option<&'static Call> {
    all().get(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_etcd_has_its_path_except_range_stream() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let named: usize = SERVICES.iter().map(|(_, _, methods)| methods.len()).sum();
        assert_eq!((all().len(), named), (51, 51), "49 calls less one, and three older paths");
        for service in pool.services() {
            for method in service.methods() {
                let grpc_path = format!("/{}/{}", service.full_name(), method.name());
                let there = all().values().any(|call| call.grpc_path == grpc_path);
                assert_eq!(there, method.name() != "RangeStream", "{grpc_path}");
            }
        }
    }
}

//! The compiled `proto/` folder, held against a second statement of the same facts.

use std::collections::BTreeMap;

use protox::prost_reflect::{DescriptorPool, EnumDescriptor, Kind, MessageDescriptor};

/// Every method: its service, its request and answer; `stream` where there is one.
const METHODS: &str = "
etcdserverpb.KV.Range RangeRequest -> RangeResponse
etcdserverpb.KV.RangeStream RangeRequest -> stream RangeStreamResponse
etcdserverpb.KV.Put PutRequest -> PutResponse
etcdserverpb.KV.DeleteRange DeleteRangeRequest -> DeleteRangeResponse
etcdserverpb.KV.Txn TxnRequest -> TxnResponse
etcdserverpb.KV.Compact CompactionRequest -> CompactionResponse
etcdserverpb.Watch.Watch stream WatchRequest -> stream WatchResponse
etcdserverpb.Lease.LeaseGrant LeaseGrantRequest -> LeaseGrantResponse
etcdserverpb.Lease.LeaseRevoke LeaseRevokeRequest -> LeaseRevokeResponse
etcdserverpb.Lease.LeaseKeepAlive stream LeaseKeepAliveRequest -> stream LeaseKeepAliveResponse
etcdserverpb.Lease.LeaseTimeToLive LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse
etcdserverpb.Lease.LeaseLeases LeaseLeasesRequest -> LeaseLeasesResponse
etcdserverpb.Cluster.MemberAdd MemberAddRequest -> MemberAddResponse
etcdserverpb.Cluster.MemberRemove MemberRemoveRequest -> MemberRemoveResponse
etcdserverpb.Cluster.MemberUpdate MemberUpdateRequest -> MemberUpdateResponse
etcdserverpb.Cluster.MemberList MemberListRequest -> MemberListResponse
etcdserverpb.Cluster.MemberPromote MemberPromoteRequest -> MemberPromoteResponse
etcdserverpb.Maintenance.Alarm AlarmRequest -> AlarmResponse
etcdserverpb.Maintenance.Status StatusRequest -> StatusResponse
etcdserverpb.Maintenance.Defragment DefragmentRequest -> DefragmentResponse
etcdserverpb.Maintenance.Hash HashRequest -> HashResponse
etcdserverpb.Maintenance.HashKV HashKVRequest -> HashKVResponse
etcdserverpb.Maintenance.Snapshot SnapshotRequest -> stream SnapshotResponse
etcdserverpb.Maintenance.MoveLeader MoveLeaderRequest -> MoveLeaderResponse
etcdserverpb.Maintenance.Downgrade DowngradeRequest -> DowngradeResponse
etcdserverpb.Auth.AuthEnable AuthEnableRequest -> AuthEnableResponse
etcdserverpb.Auth.AuthDisable AuthDisableRequest -> AuthDisableResponse
etcdserverpb.Auth.AuthStatus AuthStatusRequest -> AuthStatusResponse
etcdserverpb.Auth.Authenticate AuthenticateRequest -> AuthenticateResponse
etcdserverpb.Auth.UserAdd AuthUserAddRequest -> AuthUserAddResponse
etcdserverpb.Auth.UserGet AuthUserGetRequest -> AuthUserGetResponse
etcdserverpb.Auth.UserList AuthUserListRequest -> AuthUserListResponse
etcdserverpb.Auth.UserDelete AuthUserDeleteRequest -> AuthUserDeleteResponse
etcdserverpb.Auth.UserChangePassword AuthUserChangePasswordRequest -> AuthUserChangePasswordResponse
etcdserverpb.Auth.UserGrantRole AuthUserGrantRoleRequest -> AuthUserGrantRoleResponse
etcdserverpb.Auth.UserRevokeRole AuthUserRevokeRoleRequest -> AuthUserRevokeRoleResponse
etcdserverpb.Auth.RoleAdd AuthRoleAddRequest -> AuthRoleAddResponse
etcdserverpb.Auth.RoleGet AuthRoleGetRequest -> AuthRoleGetResponse
etcdserverpb.Auth.RoleList AuthRoleListRequest -> AuthRoleListResponse
etcdserverpb.Auth.RoleDelete AuthRoleDeleteRequest -> AuthRoleDeleteResponse
etcdserverpb.Auth.RoleGrantPermission AuthRoleGrantPermissionRequest -> AuthRoleGrantPermissionResponse
etcdserverpb.Auth.RoleRevokePermission AuthRoleRevokePermissionRequest -> AuthRoleRevokePermissionResponse
v3lockpb.Lock.Lock LockRequest -> LockResponse
v3lockpb.Lock.Unlock UnlockRequest -> UnlockResponse
v3electionpb.Election.Campaign CampaignRequest -> CampaignResponse
v3electionpb.Election.Proclaim ProclaimRequest -> ProclaimResponse
v3electionpb.Election.Leader LeaderRequest -> LeaderResponse
v3electionpb.Election.Observe LeaderRequest -> stream LeaderResponse
v3electionpb.Election.Resign ResignRequest -> ResignResponse
";

fn pool() -> DescriptorPool {
    DescriptorPool::decode(quorate_wire::FILE_DESCRIPTOR_SET).expect("our own descriptor set")
}

#[test]
fn eight_services_have_49_methods_of_etcds_kinds() {
    let pool = pool();
    let mut found = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            let stream = |is_stream| if is_stream { "stream " } else { "" };
            found.push(format!(
                "{} {}{} -> {}{}",
                method.full_name(),
                stream(method.is_client_streaming()),
                method.input().name(),
                stream(method.is_server_streaming()),
                method.output().name(),
            ));
        }
    }
    let mut expected: Vec<_> = METHODS.trim().lines().map(str::to_owned).collect();
    assert_eq!(pool.services().len(), 8);
    assert_eq!(expected.len(), 49);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_field_has_etcds_number_type_and_name() {
    let pool = pool();
    let mut found = BTreeMap::new();
    for message in pool.all_messages() {
        found.insert(format!("message {}", message.full_name()), describe(&message));
    }
    for file in pool.files() {
        for an_enum in file.enums() {
            found.insert(format!("enum {}", an_enum.full_name()), vec![values(&an_enum)]);
        }
    }

    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut package, mut message) = (String::new(), String::new());
    for line in include_str!("messages.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix("package ") {
            package = name.to_owned();
        } else if let Some(name) = line.strip_prefix("message ") {
            message = format!("message {package}.{name}");
            expected.insert(message.clone(), Vec::new());
        } else if let Some((name, values)) = line.strip_prefix("enum ").and_then(|line| line.split_once(": "))
        {
            expected.insert(format!("enum {package}.{name}"), vec![values.to_owned()]);
        } else {
            expected.get_mut(&message).expect("a message before its fields").push(line.trim().to_owned());
        }
    }

    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (name, expected) in &expected {
        assert_eq!(found.get(name), Some(expected), "{name}");
    }
}

fn describe(message: &MessageDescriptor) -> Vec<String> {
    let mut lines = Vec::new();
    for field in message.fields() {
        let kind = match field.kind() {
            Kind::Message(other) => short(message, other.full_name()),
            Kind::Enum(other) => short(message, other.full_name()),
            scalar => format!("{scalar:?}"),
        };
        let repeated = if field.is_list() { "repeated " } else { "" };
        let oneof = field.containing_oneof().map(|oneof| format!(" in {}", oneof.name())).unwrap_or_default();
        lines.push(format!("{} {} {repeated}{kind}{oneof}", field.number(), field.name()));
    }
    for an_enum in message.child_enums() {
        lines.push(format!("enum {}: {}", an_enum.name(), values(&an_enum)));
    }
    lines
}

/// As a reader inside the message writes it.
fn short(message: &MessageDescriptor, name: &str) -> String {
    let inside = format!("{}.", message.full_name());
    let package = format!("{}.", message.package_name());
    name.strip_prefix(&inside).or_else(|| name.strip_prefix(&package)).unwrap_or(name).to_owned()
}

fn values(an_enum: &EnumDescriptor) -> String {
    let values: Vec<_> =
        an_enum.values().map(|value| format!("{}={}", value.name(), value.number())).collect();
    values.join(", ")
}

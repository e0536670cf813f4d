//! How each member stands.

use std::time::Duration;

use quorate_client::{
    rpc::{ClusterClient, MaintenanceClient},
    wire::etcdserverpb::{
        AlarmRequest, MemberListRequest, StatusRequest, StatusResponse, alarm_request::AlarmAction,
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Status;

use super::{Refused, User};

/// How long one member may take to say how it stands.
const MEMBER_PATIENCE: Duration = Duration::from_secs(1);

/// All members: those that the cluster lists, and how each endpoint of the Lab's answers.
pub(super) async fn members(user: &User<'_>) -> Result<Value, Refused> {
    let asked: Vec<_> = user
        .channels()
        .map(|channel| {
            let request = user.request(StatusRequest {});
            // One that hangs must not hide the others.
            tokio::spawn(async move {
                let mut member = MaintenanceClient::new(channel);
                let asked = timeout(MEMBER_PATIENCE, member.status(request)).await;
                asked.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer within a second")))
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for asked in asked {
        let gone = |_| Err(Status::unavailable("the task that asked has ended"));
        statuses.push(asked.await.unwrap_or_else(gone).map(tonic::Response::into_inner));
    }
    // The list is as of the member that is asked: a cluster without a majority shows one as well.
    let listed = user
        .ask(|channel| {
            let request = user.request(MemberListRequest { linearizable: false });
            async move { ClusterClient::new(channel).member_list(request).await }
        })
        .await;
    let listed = listed.map(|list| list.members).unwrap_or_default();
    let alarms = user
        .ask(|channel| {
            let request =
                user.request(AlarmRequest { action: AlarmAction::Get.into(), ..Default::default() });
            async move { MaintenanceClient::new(channel).alarm(request).await }
        })
        .await;
    let alarms: Vec<Value> = alarms
        .map(|answer| answer.alarms)
        .unwrap_or_default()
        .iter()
        .map(|alarm| json!({ "member": hex(alarm.member_id), "alarm": format!("{:?}", alarm.alarm()) }))
        .collect();
    let endpoints: Vec<&str> = user.live.client.endpoints().collect();
    let mut rows: Vec<Value> = Vec::new();
    for (endpoint, status) in endpoints.iter().zip(&statuses) {
        match status {
            Ok(status) => {
                let id = status.header.as_ref().map_or(0, |header| header.member_id);
                let name = listed.iter().find(|member| member.id == id).map(|member| member.name.as_str());
                rows.push(row(endpoint, id, name.unwrap_or_default(), status));
            }
            Err(status) => rows.push(json!({
                "endpoint": endpoint, "id": null, "name": endpoint, "role": "down", "error": status.message(),
                // It runs, and wants to know who asks.
                "refused": Refused::from(status.clone()).needs_user,
            })),
        }
    }
    // Members of which no endpoint was given: the Lab knows them by name alone.
    for member in &listed {
        let known = rows.iter().any(|row| row["id"] == hex(member.id));
        let silent = rows.iter_mut().find(|row| {
            row["role"] == "down"
                && row["id"].is_null()
                && member.client_urls.iter().any(|url| is_at(url, &row["endpoint"]))
        });
        match silent {
            _ if known => {}
            Some(row) => (row["id"], row["name"]) = (json!(hex(member.id)), json!(member.name)),
            None => rows.push(json!({
                "endpoint": null, "id": hex(member.id), "name": member.name, "role": "unseen",
                "learner": member.is_learner, "client_urls": member.client_urls,
            })),
        }
    }
    let up = || statuses.iter().flatten();
    let newest = up().max_by_key(|status| status.raft_term);
    Ok(json!({
        "members": rows,
        "alarms": alarms,
        "leader": newest.filter(|status| status.leader != 0).map(|status| hex(status.leader)),
        "term": newest.map(|status| status.raft_term),
        "revision": up().filter_map(|status| status.header.as_ref()).map(|header| header.revision).max(),
        "cluster": up().filter_map(|status| status.header.as_ref()).map(|header| hex(header.cluster_id)).next(),
    }))
}

fn is_at(url: &str, endpoint: &Value) -> bool {
    let bare = |url: &str| url.split("://").last().unwrap_or(url).trim_end_matches('/').to_owned();
    endpoint.as_str().is_some_and(|endpoint| bare(endpoint) == bare(url))
}

/// Ids travel as text: they have 64 bits, and numbers of a page 53.
pub(super) fn hex(id: u64) -> String {
    format!("{id:x}")
}

fn row(endpoint: &str, id: u64, name: &str, status: &StatusResponse) -> Value {
    let role = match (id == status.leader, status.is_learner) {
        (true, _) => "leader",
        (false, true) => "learner",
        (false, false) => "follower",
    };
    json!({
        "endpoint": endpoint,
        "id": hex(id),
        "name": name,
        "role": role,
        "learner": status.is_learner,
        "leader": (status.leader != 0).then(|| hex(status.leader)),
        "term": status.raft_term,
        "index": status.raft_index,
        "applied": status.raft_applied_index,
        "size": status.db_size,
        "version": status.version,
        "errors": status.errors,
        "error": null,
    })
}

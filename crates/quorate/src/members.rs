//! `quorate member`: who is in the cluster, and changes of that.

use std::{process::ExitCode, time::Duration};

use quorate_client::{
    Client, Error,
    wire::{ApiError, EtcdError, etcdserverpb::Member},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    cli::{self, Output},
    commands::{Done, Failed, connect, endpoints},
    output::{self, print, print_json},
    remote,
};

pub(crate) async fn members(client: &Client) -> Result<Vec<Member>, Failed> {
    // Not linearizable: a list must be shown even while there is no leader.
    Ok(client.member_list(false).await?.members)
}

/// A member by its id in hexadecimal, or by its name.
pub(crate) async fn find(client: &Client, wanted: &str) -> Result<Member, Failed> {
    let members = members(client).await?;
    let id = u64::from_str_radix(wanted.trim_start_matches("0x"), 16).ok();
    let by_name: Vec<_> = members.iter().filter(|member| member.name == wanted).collect();
    let found = match by_name.as_slice() {
        [one] => Some(*one),
        [] => members.iter().find(|member| Some(member.id) == id),
        _ => {
            let message = format!(
                "{} members are called {wanted}; give the id of one, from `quorate member list`",
                by_name.len()
            );
            return Err(Failed { code: 1, message });
        }
    };
    found.cloned().ok_or_else(|| {
        let known: Vec<String> =
            members.iter().map(|member| format!("{:x} ({})", member.id, member.name)).collect();
        Failed { code: 1, message: format!("no member is called {wanted}; there are {}", known.join(", ")) }
    })
}

fn urls(urls: &[String]) -> Result<Vec<String>, Failed> {
    urls.iter()
        .map(|url| {
            let scheme = if url.starts_with("https://") { "https" } else { "http" };
            crate::config::host_and_port(url).map(|address| format!("{scheme}://{address}")).map_err(
                |(wrong, mend)| Failed::usage(format!("peer URL {url:?} cannot be used: {wrong}; {mend}")),
            )
        })
        .collect()
}

fn member_json(member: &Member) -> Value {
    json!({
        "id": format!("{:x}", member.id),
        "name": member.name,
        "peer_urls": member.peer_urls,
        "client_urls": member.client_urls,
        "learner": member.is_learner,
    })
}

/// The list after a change, as JSON, or a line for people.
fn show(output: Output, members: &[Member], line: String) -> ExitCode {
    match output {
        Output::Json => {
            print_json(&json!({ "members": members.iter().map(member_json).collect::<Vec<_>>() }))
        }
        Output::Text => print(line.as_bytes()),
    }
    ExitCode::SUCCESS
}

fn member_table(members: &[Member]) -> String {
    let rows: Vec<Vec<String>> = members
        .iter()
        .map(|member| {
            vec![
                format!("{:x}", member.id),
                if member.name.is_empty() { "unstarted".to_string() } else { member.name.clone() },
                if member.is_learner { "learner" } else { "voter" }.to_string(),
                member.peer_urls.join(","),
                member.client_urls.join(","),
            ]
        })
        .collect();
    output::table(&["ID", "NAME", "ROLE", "PEERS REACH IT AT", "CLIENTS REACH IT AT"], &rows)
}

/// How a member that was added is started.
fn start_line(name: &str, peer: &str, given: &cli::Remote) -> String {
    format!(
        "quorate serve --name={name} --initial-cluster-state=existing --join={} --advertise-peer={peer} --listen-peer={} --listen-client=HOST:PORT",
        endpoints(given).join(","),
        peer.trim_start_matches("http://"),
    )
}

pub(crate) async fn member(command: cli::Member) -> Done {
    match command {
        cli::Member::List { remote: given } => {
            let members = members(&connect(&given)?).await?;
            let table = member_table(&members);
            Ok(show(given.output, &members, table))
        }
        cli::Member::Add { name, peer_urls, learner, remote: given } => {
            let client = connect(&given)?;
            let answer = client.member_add(urls(&peer_urls)?, learner).await?;
            let id = answer.member.as_ref().map_or(0, |member| member.id);
            let peer = answer
                .member
                .as_ref()
                .and_then(|member| member.peer_urls.first())
                .cloned()
                .unwrap_or_default();
            let line = format!("added {id:x}; start it with\n  {}\n", start_line(&name, &peer, &given));
            Ok(show(given.output, &answer.members, line))
        }
        cli::Member::Replace { member, name, peer_urls, wait, remote: given } => {
            replace(&member, &name, &urls(&peer_urls)?, wait, &given).await
        }
        cli::Member::Remove { member, remote: given } => {
            let client = connect(&given)?;
            let found = find(&client, &member).await?;
            let answer = client.member_remove(found.id).await?;
            Ok(show(
                given.output,
                &answer.members,
                format!("removed {:x}; {} members are left\n", found.id, answer.members.len()),
            ))
        }
        cli::Member::Update { member, peer_urls, remote: given } => {
            let client = connect(&given)?;
            let found = find(&client, &member).await?;
            let peer_urls = urls(&peer_urls)?;
            let line = format!("{:x} is reached at {} from now on\n", found.id, peer_urls.join(","));
            let answer = client.member_update(found.id, peer_urls).await?;
            Ok(show(given.output, &answer.members, line))
        }
        cli::Member::Promote { member, remote: given } => {
            let client = connect(&given)?;
            let found = find(&client, &member).await?;
            let answer = client.member_promote(found.id).await?;
            Ok(show(given.output, &answer.members, format!("{:x} votes from now on\n", found.id)))
        }
    }
}

/// Adds the new one as a learner, has it promoted once it has caught up, and removes the old one. Each step that was done before is left out, so that it can
/// be run again; and as the old one goes last, there are never fewer copies than before.
async fn replace(old: &str, name: &str, peers: &[String], wait: Duration, given: &cli::Remote) -> Done {
    let client = connect(given)?;
    let tell = |line: String| {
        if given.output == Output::Text {
            print(format!("{line}\n").as_bytes());
        }
    };
    let old = find(&client, old).await?;
    let known = members(&client).await?.into_iter().find(|member| member.peer_urls == peers);
    let new = match known {
        // {The URL of another member, by mistake}: it votes already, and the old one would go with nobody in its place.
        Some(there) if there.id == old.id || !(there.name.is_empty() || there.name == name) => {
            let message =
                format!("{name} is to be reached where {} is; give it another peer URL", there.name);
            return Err(Failed::usage(message));
        }
        Some(new) => new,
        None => {
            let added = client.member_add(peers.to_vec(), true).await?.member.unwrap_or_default();
            tell(format!("added {:x}, which does not vote yet", added.id));
            added
        }
    };
    if new.name.is_empty() {
        tell(format!("start it with\n  {}", start_line(name, &peers[0], given)));
    }
    until_it_votes(&client, new.id, wait).await?;
    tell(format!("{:x} votes from now on", new.id));
    let answer = client.member_remove(old.id).await?;
    Ok(show(
        given.output,
        &answer.members,
        format!("removed {:x}; {} members are left\n", old.id, answer.members.len()),
    ))
}

/// Asks for the promotion again and again, whoever leads meanwhile.
async fn until_it_votes(client: &Client, id: u64, wait: Duration) -> Result<(), Failed> {
    let end = Instant::now() + wait;
    while let Some(why) = why_it_does_not_vote(client, id).await? {
        if Instant::now() >= end {
            let message = format!(
                "{id:x} does not vote after {wait:?}: {why}; look at its log, and run this again to go on"
            );
            return Err(Failed { code: 1, message });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Asks for the promotion. None: it votes. What may pass is said in words: it has not started or not caught up, nobody leads, nobody answers.
async fn why_it_does_not_vote(client: &Client, id: u64) -> Result<Option<String>, Failed> {
    let Err(error) = client.member_promote(id).await else { return Ok(None) };
    match &error {
        Error::Refused { error: ApiError::Table(EtcdError::MemberNotLearner), .. } => Ok(None),
        Error::Refused { error: ApiError::Table(EtcdError::MemberNotFound), .. } => {
            let message =
                format!("{id:x} is no member any more: somebody removed it, and nothing was replaced");
            Err(Failed { code: 1, message })
        }
        Error::Refused { .. } | Error::Unreachable { .. } | Error::Deadline { .. } => {
            Ok(Some(remote::reason(&error)))
        }
        _ => Err(error.into()),
    }
}

//! `quorate shard`: how the keys are divided among groups, and changes of that.

use std::process::ExitCode;

use quorate_client::wire::quoratepb::Shard;
use serde_json::{Map, Value, json};

use crate::{
    cli::{self, Output},
    commands::{Done, Failed, connect},
    output::{self, print, print_json},
};

/// What is said of keys that are not divided.
const ONE_GROUP: &str = "the keys are in one group; `quorate shard divide 8` divides them among eight\n";

/// How keys become tokens where a token is a hash of eight bytes.
const HASH: &str = "hash";

pub(crate) async fn shard(command: cli::Shard) -> Done {
    match command {
        cli::Shard::List { remote } => list(&remote).await,
        cli::Shard::Explain { key, remote } => explain(key, &remote).await,
        cli::Shard::Divide { shards, engine, remote } => divide(shards, engine, &remote).await,
        cli::Shard::Split { shard, at, remote } => split(shard, at.as_deref(), &remote).await,
        cli::Shard::Merge { left, right, remote } => merge(left, right, &remote).await,
    }
}

async fn list(given: &cli::Remote) -> Done {
    let answer = connect(given)?.shards().await?;
    match given.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "map_version": answer.map_version,
            "rule": answer.rule,
            "shards": answer.shards.iter().map(|shard| as_json(shard, &answer.rule)).collect::<Vec<_>>(),
            "vacant": answer.vacant.iter().map(vacant_as_json).collect::<Vec<_>>(),
        })),
        Output::Text if answer.shards.is_empty() => print(ONE_GROUP.as_bytes()),
        Output::Text => print(table(&answer.shards, &answer.vacant, &answer.rule).as_bytes()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn explain(key: String, given: &cli::Remote) -> Done {
    let answer = connect(given)?.explain(key.into_bytes()).await?;
    let shard = answer.shard.unwrap_or_default();
    match given.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "map_version": answer.map_version,
            "rule": answer.rule,
            "token": token(&answer.token, &answer.rule),
            "shard": as_json(&shard, &answer.rule),
        })),
        Output::Text => print(
            format!(
                "shard {} has it, in group {}, which {} leads\nby {}, its token is {}, and the shard holds from {} to {}\n",
                shard.id,
                shard.group,
                leader(&shard),
                answer.rule,
                token(&answer.token, &answer.rule),
                from(&shard, &answer.rule),
                to(&shard, &answer.rule),
            )
            .as_bytes(),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

async fn divide(shards: u32, engine: String, given: &cli::Remote) -> Done {
    let answer = connect(given)?.divide(shards, engine).await?;
    match given.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "shards": answer.shards.iter().map(|shard| as_json(shard, HASH)).collect::<Vec<_>>(),
        })),
        Output::Text => print(table(&answer.shards, &[], HASH).as_bytes()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn split(shard: u32, at: Option<&str>, given: &cli::Remote) -> Done {
    let client = connect(given)?;
    let rule = client.shards().await?.rule;
    let at = at.map(|at| bytes_of(at, &rule)).transpose()?.unwrap_or_default();
    let answer = client.split(shard, at).await?;
    let (shard, child) = (answer.shard.unwrap_or_default(), answer.child.unwrap_or_default());
    match given.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "shard": as_json(&shard, &rule),
            "child": as_json(&child, &rule),
        })),
        Output::Text => print(
            format!(
                "shard {} is split: shard {} has what it had from {} on, in group {}\n",
                shard.id,
                child.id,
                from(&child, &rule),
                child.group
            )
            .as_bytes(),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

async fn merge(left: u32, right: Option<u32>, given: &cli::Remote) -> Done {
    let client = connect(given)?;
    let rule = client.shards().await?.rule;
    let answer = client.merge(left, right).await?;
    let (shard, vacant) = (answer.shard.unwrap_or_default(), answer.vacant.unwrap_or_default());
    match given.output {
        Output::Json => print_json(&json!({
            "header": output::header(answer.header.as_ref()),
            "shard": as_json(&shard, &rule),
            "vacant": vacant_as_json(&vacant),
        })),
        Output::Text => print(
            format!(
                "shard {} is merged into shard {}, which holds from {} to {}; group {} is vacant, and the next split takes it\n",
                vacant.id,
                shard.id,
                from(&shard, &rule),
                to(&shard, &rule),
                vacant.group
            )
            .as_bytes(),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// A token as a person writes it.
fn bytes_of(text: &str, rule: &str) -> Result<Vec<u8>, Failed> {
    if rule != HASH {
        return Ok(text.as_bytes().to_vec());
    }
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map(|hash| hash.to_be_bytes().to_vec()).map_err(|_| {
        Failed::usage(format!(
            "--at {text}: the keys are divided by hash; give one in hexadecimal digits, as 0x8000000000000000, or leave --at out for the middle"
        ))
    })
}

fn token(bytes: &[u8], rule: &str) -> String {
    match <[u8; 8]>::try_from(bytes) {
        Ok(hash) if rule == HASH => format!("{:#018x}", u64::from_be_bytes(hash)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn from(shard: &Shard, rule: &str) -> String {
    if shard.from.is_empty() { "the beginning".to_owned() } else { token(&shard.from, rule) }
}

fn to(shard: &Shard, rule: &str) -> String {
    if shard.to.is_empty() { "the end".to_owned() } else { token(&shard.to, rule) }
}

fn leader(shard: &Shard) -> String {
    if shard.leader == 0 { "nobody".to_owned() } else { format!("{:x}", shard.leader) }
}

fn as_json(shard: &Shard, rule: &str) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), shard.id.into());
    object.insert("group".into(), shard.group.into());
    object.insert("from".into(), token(&shard.from, rule).into());
    object.insert("to".into(), token(&shard.to, rule).into());
    object.insert("range_version".into(), shard.range_version.into());
    object.insert("engine".into(), shard.engine.as_str().into());
    object.insert("leader".into(), format!("{:x}", shard.leader).into());
    object.insert("members".into(), members(shard).into());
    Value::Object(object)
}

/// It has no span.
fn vacant_as_json(shard: &Shard) -> Value {
    json!({
        "id": shard.id,
        "group": shard.group,
        "engine": shard.engine,
        "leader": format!("{:x}", shard.leader),
        "members": members(shard),
    })
}

fn members(shard: &Shard) -> Vec<String> {
    shard.members.iter().map(|id| format!("{id:x}")).collect()
}

/// Those that hold keys, in order of what they hold; then those that hold none.
fn table(shards: &[Shard], vacant: &[Shard], rule: &str) -> String {
    let row = |shard: &Shard, from: String, to: String| {
        let (engine, members) = (shard.engine.clone(), members(shard).join(","));
        vec![shard.id.to_string(), shard.group.to_string(), from, to, engine, leader(shard), members]
    };
    let held = shards.iter().map(|shard| row(shard, from(shard, rule), to(shard, rule)));
    let vacant = vacant.iter().map(|shard| row(shard, "vacant".to_owned(), "-".to_owned()));
    let rows: Vec<Vec<String>> = held.chain(vacant).collect();
    output::table(&["SHARD", "GROUP", "FROM", "TO", "ENGINE", "LEADER", "MEMBERS"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_hash_or_a_text() {
        let half = bytes_of("0x8000000000000000", HASH).unwrap();
        assert_eq!((half.len(), token(&half, HASH)), (8, "0x8000000000000000".to_owned()));
        assert_eq!(bytes_of("ff", HASH).unwrap(), 255u64.to_be_bytes());
        assert_eq!(bytes_of("m", "range").unwrap(), b"m");
        assert_eq!(bytes_of("m", HASH).unwrap_err().code, 2);
        let shard = Shard { id: 3, to: half.into(), ..Shard::default() };
        assert_eq!((from(&shard, HASH), leader(&shard)), ("the beginning".to_owned(), "nobody".to_owned()));
        assert_eq!(as_json(&shard, HASH)["to"], "0x8000000000000000");
        let vacant = Shard { id: 5, group: 20, members: vec![10], ..Shard::default() };
        assert_eq!(vacant_as_json(&vacant)["members"], json!(["a"]));
        let shown = table(&[shard], &[vacant], HASH);
        let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!((rows.len(), &rows[2][..4]), (3, &["5", "20", "vacant", "-"][..]), "{shown}");
    }
}

//! Keys, one key's history, and leases.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use quorate_client::{
    rpc::{KvClient, LeaseClient},
    wire::{
        etcdserverpb::{LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, RangeResponse},
        mvccpb::KeyValue,
    },
};
use serde_json::{Value, json};

use super::{Query, Refused, User, members::hex};

/// Keys of one answer, at most.
const KEYS_MAX: i64 = 200;
/// Versions of a key that are looked for.
const VERSIONS_MAX: usize = 20;
/// Bytes of a value that are shown.
pub(super) const VALUE_BYTES_MAX: usize = 64 << 10;
/// Leases that are asked for one by one.
const LEASES_MAX: usize = 100;

async fn range(user: &User<'_>, request: RangeRequest) -> Result<RangeResponse, Refused> {
    user.ask(|channel| {
        let request = user.request(request.clone());
        async move { KvClient::new(channel).range(request).await }
    })
    .await
}

/// The end of the keys that begin with these bytes.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Bytes for people, and as they are.
pub(super) fn shown(bytes: &[u8], max: usize) -> Value {
    let cut = bytes.len() > max;
    let part = &bytes[..bytes.len().min(max)];
    let readable = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    let text = match std::str::from_utf8(part) {
        Ok(text) => Some(text),
        // Cut within a character.
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&part[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let text = text.filter(|text| text.chars().all(readable));
    json!({ "text": text, "raw": URL_SAFE_NO_PAD.encode(part), "bytes": bytes.len(), "cut": cut })
}

fn entry(kv: &KeyValue, with_value: bool) -> Value {
    json!({
        // Whole: it is what the page asks by.
        "key": shown(&kv.key, usize::MAX),
        "value": with_value.then(|| shown(&kv.value, VALUE_BYTES_MAX)),
        "create": kv.create_revision,
        "mod": kv.mod_revision,
        "version": kv.version,
        "lease": (kv.lease != 0).then(|| hex(kv.lease.cast_unsigned())),
    })
}

fn revision(answer: &RangeResponse) -> Option<i64> {
    answer.header.as_ref().map(|header| header.revision)
}

/// `prefix`, `after` (the last key of the page before), `limit`, `revision`: keys in order.
pub(super) async fn list(user: &User<'_>, query: &Query) -> Result<Value, Refused> {
    let (prefix, after) = (query.bytes("prefix")?, query.bytes("after")?);
    let limit = query.number("limit", 50)?.clamp(1, KEYS_MAX);
    let range_end = if prefix.is_empty() { vec![0] } else { prefix_end(&prefix) };
    let first = if prefix.is_empty() { vec![0] } else { prefix };
    // What follows a key is that key and a zero byte.
    let key = if after.is_empty() { first } else { [&after[..], &[0]].concat() };
    let request = RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit,
        revision: query.number("revision", 0)?,
        keys_only: true,
        serializable: true,
        ..Default::default()
    };
    let answer = range(user, request).await?;
    Ok(json!({
        "revision": revision(&answer),
        "count": answer.count,
        "more": answer.more,
        "keys": answer.kvs.iter().map(|kv| entry(kv, false)).collect::<Vec<_>>(),
    }))
}

async fn at(user: &User<'_>, key: &[u8], revision: i64) -> Result<RangeResponse, Refused> {
    let key = key.to_vec().into();
    range(user, RangeRequest { key, revision, serializable: true, ..Default::default() }).await
}

/// `key`, `revision`: one key as it is, or was.
pub(super) async fn value(user: &User<'_>, query: &Query) -> Result<Value, Refused> {
    let answer = at(user, &query.bytes("key")?, query.number("revision", 0)?).await?;
    Ok(json!({ "revision": revision(&answer), "found": answer.kvs.first().map(|kv| entry(kv, true)) }))
}

/// `key`: its versions, the newest first, until it was created, or as far as the history reaches.
pub(super) async fn history(user: &User<'_>, query: &Query) -> Result<Value, Refused> {
    let key = query.bytes("key")?;
    let mut versions = Vec::new();
    let (mut before, mut ends) = (0, "there are more");
    while versions.len() < VERSIONS_MAX {
        let answer = match at(user, &key, before).await {
            Ok(answer) => answer,
            // Reached what was compacted.
            Err(refused) if before > 0 && refused.what.contains("compacted") => {
                ends = "compacted";
                break;
            }
            Err(refused) => return Err(refused),
        };
        let Some(kv) = answer.kvs.first() else {
            ends = "created";
            break;
        };
        versions.push(entry(kv, true));
        if kv.mod_revision <= 1 || kv.version == 1 {
            // What was there before had been deleted, if anything was.
            ends = "created";
            break;
        }
        before = kv.mod_revision - 1;
    }
    Ok(json!({ "versions": versions, "ends": ends }))
}

/// Leases, with what is left of each.
pub(super) async fn leases(user: &User<'_>) -> Result<Value, Refused> {
    let all = user
        .ask(|channel| {
            let request = user.request(LeaseLeasesRequest {});
            async move { LeaseClient::new(channel).lease_leases(request).await }
        })
        .await?;
    let mut rows = Vec::new();
    for lease in all.leases.iter().take(LEASES_MAX) {
        let id = lease.id;
        let left = user
            .ask(|channel| {
                let request = user.request(LeaseTimeToLiveRequest { id, keys: true });
                async move { LeaseClient::new(channel).lease_time_to_live(request).await }
            })
            .await?;
        let keys: Vec<Value> = left.keys.iter().take(20).map(|key| shown(key, 256)).collect();
        rows.push(json!({
            "id": hex(id.cast_unsigned()), "granted": left.granted_ttl, "left": left.ttl, "keys": keys, "count": left.keys.len(),
        }));
    }
    Ok(json!({ "leases": rows, "count": all.leases.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_end(b"ab"), b"ac");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff\xff"), b"\0", "to the end of all keys");
    }

    #[test]
    fn what_is_no_text_is_shown_as_bytes_and_what_is_long_is_cut() {
        assert_eq!(shown("né".as_bytes(), 10)["text"], "né");
        assert_eq!(shown("né".as_bytes(), 2)["text"], "n", "not half a character");
        assert_eq!(shown(b"\x00\x01", 10)["text"], Value::Null);
        assert_eq!(shown(b"abc", 2)["cut"], true);
    }
}

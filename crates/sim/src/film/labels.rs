//! Entries and messages in a few words, as a log or a line on a page has room for.

use quorate_consensus::{Entry, GroupId, Payload};
use quorate_node::{EngineMessage, PeerMessage, TaggedCommand};
use quorate_raft::Message as Raft;
use quorate_service::{KEYS, META, keyspace, placement};
use quorate_zab::{Message as Zab, Packet};

use super::{EntryKind, Label, first_word};

/// An entry of a group's log.
pub(super) fn entry(group: GroupId, entry: &Entry) -> Label {
    let epoch = entry.position.epoch.0;
    let (kind, text) = match &entry.payload {
        Payload::Noop => (EntryKind::Noop, "no-op".to_owned()),
        Payload::Membership(members) => (EntryKind::Members, membership(members)),
        Payload::Command(bytes) => match TaggedCommand::decode(bytes.clone()) {
            Ok(TaggedCommand { followed: Some(version), .. }) => {
                (EntryKind::Other, format!("followed records {version}"))
            }
            Ok(tagged) if group == KEYS => (EntryKind::Put, keys_command(&tagged.command)),
            Ok(tagged) if group == META => (EntryKind::Other, meta_command(&tagged.command)),
            Ok(_) => (EntryKind::Other, "command".to_owned()),
            Err(_) => (EntryKind::Other, "?".to_owned()),
        },
    };
    Label { epoch, text, kind }
}

fn membership(members: &quorate_consensus::Membership) -> String {
    let names = |nodes: &[quorate_consensus::NodeId]| {
        nodes.iter().map(|node| format!("S{node}")).collect::<Vec<_>>().join(" ")
    };
    let mut text = format!("voters {}", names(members.voters()));
    if members.is_joint() {
        text = format!("{} and {}", names(members.outgoing()), text);
    }
    if !members.learners().is_empty() {
        text.push_str(&format!(", learners {}", names(members.learners())));
    }
    text
}

fn key(bytes: &[u8]) -> String {
    // Clients of the simulator name their keys k000 to k005; shorter is clearer.
    let text = String::from_utf8_lossy(bytes);
    let number = text.strip_prefix('k').and_then(|rest| rest.parse::<u64>().ok());
    number.map_or_else(|| text.chars().take(12).collect(), |number| format!("k{number}"))
}

fn value(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_le_bytes(word)
}

fn put(put: &keyspace::Put) -> String {
    format!("{} = {}", key(&put.key), value(&put.value))
}

fn keys_command(bytes: &bytes::Bytes) -> String {
    match keyspace::Command::decode(bytes) {
        Ok(keyspace::Command::Put(command)) => put(&command),
        Ok(keyspace::Command::DeleteRange(range)) => format!("delete {}", key(&range.key)),
        Ok(keyspace::Command::Txn(txn)) => {
            let puts: Vec<String> = txn
                .success
                .iter()
                .filter_map(|operation| match operation {
                    keyspace::Operation::Put(command) => Some(put(command)),
                    _ => None,
                })
                .collect();
            let when = if txn.compare.is_empty() { "" } else { "if " };
            format!("{when}{}", puts.join(", "))
        }
        Ok(other) => first_word(&format!("{other:?}")).to_owned(),
        Err(_) => "?".to_owned(),
    }
}

fn meta_command(bytes: &bytes::Bytes) -> String {
    let command = placement::Command::decode(bytes);
    command.map_or_else(|_| "?".to_owned(), |command| first_word(&format!("{command:?}")).to_owned())
}

/// The kind of a message, and the epoch that it carries.
pub(super) fn message(message: &PeerMessage, engine: Option<&EngineMessage>) -> (String, Option<u64>) {
    let Some(engine) = engine else {
        return (first_word(&format!("{message:?}")).to_owned(), None);
    };
    match engine {
        EngineMessage::Raft(raft) => (first_word(&format!("{raft:?}")).to_owned(), raft_term(raft)),
        EngineMessage::Zab(Zab::Stream { packet, .. }) => {
            let epoch = match packet {
                Packet::Propose { entries, .. } | Packet::Inform(entries) => {
                    entries.last().map(|entry| entry.position.epoch.0)
                }
                Packet::NewEpoch(epoch) => Some(epoch.0),
                _ => None,
            };
            (first_word(&format!("{packet:?}")).to_owned(), epoch)
        }
        EngineMessage::Zab(zab) => (first_word(&format!("{zab:?}")).to_owned(), None),
    }
}

fn raft_term(message: &Raft) -> Option<u64> {
    // Every message of Raft begins with its term (rule R05).
    let text = format!("{message:?}");
    let after = text.split_once("term: Epoch(")?.1;
    after.split_once(')')?.0.parse().ok()
}

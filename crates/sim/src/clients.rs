//! Simulated clients: what they ask, how they go on when no answer comes, and what they remember of it.
//!
//! A client asks one thing at a time, of any host. Without an answer it goes to another host; a write it repeats only under its session, with
//! the same sequence number, so that it is executed once (rule R19).

use std::collections::BTreeMap;

use quorate_consensus::{Random, planted};
use quorate_keyspace::{
    Command, Compare, CompareResult, CompareTarget, DeleteRange, KeyValue, Operation as TxnOperation, Put,
    Range, Reply as KeysReply, Response, Txn, View,
};
use quorate_node::{Answer, Outcome as NodeOutcome, SessionTag};
use quorate_service::{Reply, shards::Undone};

use crate::{
    history::{Call, Key, Operation, Outcome, PAIR, Seen},
    marks::{Mark, Marks},
    plan::Shape,
    schedule::{MICROS, MILLIS, Time},
    shards::as_answer,
};

/// Keys that single operations use.
pub(crate) const KEYS_IN_USE: u8 = 6;

/// What a client hears of an attempt.
#[derive(Debug)]
pub(crate) enum Told {
    Reply(Reply),
    Answer(Answer),
    /// Nobody listens there.
    NotReached,
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) operation: u64,
    pub(crate) call: Call,
    pub(crate) attempt: u64,
    pub(crate) host: usize,
    pub(crate) tag: Option<SessionTag>,
    /// An attempt may have reached the log.
    in_doubt: bool,
    give_up_at: Time,
    tries: u32,
}

/// What a client does next.
#[derive(Debug)]
pub(crate) enum Move {
    /// Ask the host that the operation now names, `after` from now.
    Ask { after: Time },
    /// The operation is over; rest.
    Over,
    /// What it was told is of no interest any more.
    Ignore,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u32,
    random: Random,
    /// The number of its session and the next sequence, if it uses one.
    session: Option<(u64, u64)>,
    pub(crate) current: Option<Current>,
    next_attempt: u64,
    /// The value last seen of each key.
    seen: BTreeMap<Key, Option<u64>>,
    /// The host it prefers.
    home: usize,
}

impl Client {
    pub(crate) fn new(id: u32, random: &Random) -> Client {
        let mut random = random.fork(500 + u64::from(id));
        let session = random.chance(2, 3).then(|| (random.next_u64(), 1));
        Client {
            id,
            home: random.below(8) as usize,
            random,
            session,
            current: None,
            next_attempt: 0,
            seen: BTreeMap::new(),
        }
    }

    /// The number of what it asked last.
    pub(crate) fn newest_attempt(&self) -> u64 {
        self.next_attempt
    }

    pub(crate) fn rest(&mut self, shape: &Shape, burst: bool) -> Time {
        if burst {
            self.random.between(100, 2_000) * MICROS
        } else {
            self.random.between(1_000, shape.rest_max_us) * MICROS
        }
    }

    pub(crate) fn network_delay(&mut self) -> Time {
        self.random.between(30, 400) * MICROS
    }

    /// Is a request or an answer lost between this client and a host?
    pub(crate) fn loses(&mut self, permille: u64) -> bool {
        self.random.below(1000) < permille
    }

    fn pick(&mut self, hosts: &[usize]) -> usize {
        let any = self.random.below(hosts.len() as u64) as usize;
        if self.random.chance(1, 2) { hosts[self.home % hosts.len()] } else { hosts[any] }
    }

    /// Begins the operation `id`. Its first host.
    pub(crate) fn begin(&mut self, id: u64, now: Time, hosts: &[usize], quiet: bool) -> usize {
        let mut call = self.draw(id);
        if quiet && call.is_write() {
            call = Call::List { serializable: false };
        }
        let tag = match &mut self.session {
            Some((session, next)) if call.is_write() => {
                let sequence = *next;
                *next += 1;
                Some(SessionTag { session: *session, sequence, lowest_wanted: sequence })
            }
            _ => None,
        };
        let host = self.pick(hosts);
        self.next_attempt += 1;
        let give_up_at = now + self.random.between(1_500, 6_000) * MILLIS;
        self.current = Some(Current {
            operation: id,
            call,
            attempt: self.next_attempt,
            host,
            tag,
            in_doubt: false,
            give_up_at,
            tries: 1,
        });
        host
    }

    /// Begins this operation, of this host.
    pub(crate) fn begin_with(&mut self, id: u64, call: Call, now: Time, host: usize) {
        self.session = None;
        self.next_attempt += 1;
        self.current = Some(Current {
            operation: id,
            call,
            attempt: self.next_attempt,
            host,
            tag: None,
            in_doubt: false,
            give_up_at: now + 3_000 * MILLIS,
            tries: 1,
        });
    }

    fn draw(&mut self, id: u64) -> Call {
        let key = self.random.below(u64::from(KEYS_IN_USE)) as Key;
        let value = id + 1;
        let serializable = self.random.chance(1, 4);
        match self.random.below(20) {
            0..=6 => Call::Put { key, value },
            7..=9 => {
                let expected = self.seen.get(&key).copied().flatten();
                Call::Cas { key, expected, value }
            }
            10 => Call::Delete { key },
            11 => Call::PutPair { value },
            12 => Call::PutGet { key, value },
            13..=17 => Call::Get { key, serializable },
            _ => Call::List { serializable },
        }
    }

    /// How long it waits for an answer.
    pub(crate) fn patience(&mut self) -> Time {
        self.random.between(200, 1_200) * MILLIS
    }

    fn again(&mut self, now: Time, hosts: &[usize], marks: &mut Marks, after: Time) -> Move {
        let host = hosts[self.random.below(hosts.len() as u64) as usize];
        self.next_attempt += 1;
        let attempt = self.next_attempt;
        let Some(current) = &mut self.current else { return Move::Ignore };
        if now + after >= current.give_up_at {
            return Move::Over;
        }
        current.attempt = attempt;
        current.tries += 1;
        if current.call.is_write() {
            if current.in_doubt {
                marks.hit(Mark::CommandRetried);
            }
        } else if host != current.host {
            marks.hit(Mark::ReadRetried);
        }
        current.host = host;
        Move::Ask { after }
    }

    /// No answer came to `attempt`.
    pub(crate) fn timed_out(&mut self, attempt: u64, now: Time, hosts: &[usize], marks: &mut Marks) -> Move {
        let Some(current) = self.current.as_mut().filter(|current| current.attempt == attempt) else {
            return Move::Ignore;
        };
        current.in_doubt = true;
        // X01: asked again, although it may have been done.
        if current.call.is_write() && current.tag.is_none() && !planted!("X01") {
            Move::Over
        } else {
            self.again(now, hosts, marks, 0)
        }
    }

    /// An answer came to `attempt`: the outcome if it settles the operation.
    pub(crate) fn told(
        &mut self,
        attempt: u64,
        told: Told,
        now: Time,
        hosts: &[usize],
        marks: &mut Marks,
    ) -> Result<Outcome, Move> {
        // X04: whatever comes is the answer to what was asked last.
        let Some(current) =
            self.current.as_mut().filter(|current| current.attempt == attempt || planted!("X04"))
        else {
            return Err(Move::Ignore);
        };
        match told {
            Told::Reply(Reply::Keys(NodeOutcome::Done(response))) => {
                let outcome = outcome(&current.call, &response);
                if let (Outcome::Write { previous, changed, .. }, Call::Cas { key, .. }) =
                    (&outcome, &current.call)
                {
                    let found =
                        if *changed { Some(current.operation + 1) } else { previous.map(|seen| seen.value) };
                    self.seen.insert(*key, found);
                }
                Ok(outcome)
            }
            Told::Reply(Reply::Keys(NodeOutcome::SessionExpired)) => {
                marks.hit(Mark::SessionExpired);
                let in_doubt = current.in_doubt;
                self.session = Some((self.random.next_u64(), 1));
                Ok(if in_doubt { Outcome::Unknown } else { Outcome::Failed })
            }
            Told::Reply(Reply::Keys(NodeOutcome::Malformed(_))) => Ok(Outcome::Failed),
            Told::Reply(Reply::KeysView(view)) => {
                let outcome = read(&current.call, &view);
                if let (Call::Get { key, .. }, Outcome::Read { items, .. }) = (&current.call, &outcome) {
                    self.seen.insert(*key, items.get(key).map(|seen| seen.value));
                }
                Ok(outcome)
            }
            // It was begun under its session, and will not be once more.
            Told::Reply(Reply::Undone(undone)) if undone != Undone::Unknown && current.tag.is_some() => {
                let in_doubt = current.in_doubt;
                self.session = Some((self.random.next_u64(), 1));
                Ok(if in_doubt { Outcome::Unknown } else { Outcome::Failed })
            }
            Told::Reply(Reply::Undone(undone)) => {
                self.told(attempt, Told::Answer(as_answer(undone)), now, hosts, marks)
            }
            // Of the cluster's records and the tree no client asks.
            Told::Reply(Reply::Meta(_) | Reply::MetaView(_) | Reply::Tree(_) | Reply::TreeView(_)) => {
                Err(Move::Ignore)
            }
            Told::Answer(Answer::Unknown | Answer::Stopped) => {
                current.in_doubt = true;
                if current.call.is_write() && current.tag.is_none() && !planted!("X01") {
                    return Err(Move::Over);
                }
                Err(self.again(now, hosts, marks, 10 * MILLIS))
            }
            Told::Answer(
                answer @ (Answer::Refused(_) | Answer::Busy | Answer::DiskFull | Answer::Accepted(_)),
            ) => {
                if answer == Answer::DiskFull {
                    marks.hit(Mark::FullRefusedWrites);
                }
                let after = self.random.between(5, 100) * MILLIS;
                Err(self.again(now, hosts, marks, after))
            }
            Told::NotReached => {
                let after = self.random.between(5, 100) * MILLIS;
                Err(self.again(now, hosts, marks, after))
            }
        }
    }

    /// The operation is over without an answer: what is known of it?
    pub(crate) fn given_up(&self) -> Outcome {
        match &self.current {
            Some(current) if !current.in_doubt && current.call.is_write() => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }

    /// Ends the operation with `outcome`.
    pub(crate) fn end(&mut self, outcome: Outcome, invoked: Time, now: Time) -> Option<Operation> {
        let current = self.current.take()?;
        if let (Outcome::Unknown, Some(tag), Some(session)) = (&outcome, current.tag, &mut self.session)
            && tag.session == session.0
            && self.random.chance(1, 2)
        {
            // A new session: the old one may have a gap that the service refuses.
            *session = (self.random.next_u64(), 1);
        }
        if outcome == Outcome::Failed
            && let (Some(tag), Some(session)) = (current.tag, &mut self.session)
            && tag.session == session.0
        {
            // Certainly not executed: the sequence number is free again.
            session.1 = tag.sequence;
        }
        Some(Operation {
            id: current.operation,
            client: self.id,
            call: current.call,
            invoked,
            returned: now,
            outcome,
        })
    }
}

pub(crate) fn key_bytes(key: Key) -> bytes::Bytes {
    format!("k{key:03}").into()
}

fn value_bytes(value: u64, filling: u64) -> bytes::Bytes {
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.resize(9 + filling as usize, b'.');
    bytes.into()
}

/// The command for a call; values are filled up with `filling` bytes.
pub(crate) fn command(call: &Call, filling: u64) -> Option<Command> {
    let put = |key: Key, value: u64| Put {
        key: key_bytes(key),
        value: value_bytes(value, filling),
        prev_kv: true,
        ..Put::default()
    };
    Some(match call {
        Call::Put { key, value } => Command::Put(put(*key, *value)),
        Call::Delete { key } => Command::DeleteRange(DeleteRange {
            key: key_bytes(*key),
            prev_kv: true,
            ..DeleteRange::default()
        }),
        Call::PutPair { value } => Command::Txn(Txn {
            compare: Vec::new(),
            success: PAIR.iter().map(|key| TxnOperation::Put(put(*key, *value))).collect(),
            failure: Vec::new(),
        }),
        Call::PutGet { key, value } => Command::Txn(Txn {
            compare: Vec::new(),
            success: vec![
                TxnOperation::Put(put(*key, *value)),
                TxnOperation::Range(Range { key: key_bytes(*key), ..Range::default() }),
            ],
            failure: Vec::new(),
        }),
        Call::Cas { key, expected, value } => {
            let (result, target) = match expected {
                // The filling differs from value to value, and is never empty: the first eight bytes are compared.
                Some(expected) => return Some(swap(*key, *expected, put(*key, *value))),
                None => (CompareResult::Equal, CompareTarget::Version(0)),
            };
            let compare = Compare { key: key_bytes(*key), range_end: bytes::Bytes::new(), result, target };
            Command::Txn(Txn {
                compare: vec![compare],
                success: vec![TxnOperation::Put(put(*key, *value))],
                failure: vec![TxnOperation::Range(Range { key: key_bytes(*key), ..Range::default() })],
            })
        }
        Call::Get { .. } | Call::List { .. } => return None,
    })
}

fn swap(key: Key, expected: u64, put: Put) -> Command {
    let compare = |result, value: bytes::Bytes| Compare {
        key: key_bytes(key),
        range_end: bytes::Bytes::new(),
        result,
        target: CompareTarget::Value(value),
    };
    let mut above = expected.to_le_bytes().to_vec();
    above.push(0xff);
    let below = expected.to_le_bytes().to_vec();
    Command::Txn(Txn {
        compare: vec![
            compare(CompareResult::Less, above.into()),
            compare(CompareResult::Greater, below.into()),
        ],
        success: vec![TxnOperation::Put(put)],
        failure: vec![TxnOperation::Range(Range { key: key_bytes(key), ..Range::default() })],
    })
}

fn seen(kv: &KeyValue) -> Seen {
    let mut value = [0; 8];
    let length = kv.value.len().min(8);
    value[..length].copy_from_slice(&kv.value[..length]);
    Seen {
        value: u64::from_le_bytes(value),
        created: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
    }
}

fn outcome(call: &Call, response: &Response) -> Outcome {
    let revision = response.revision;
    let write = |changed, previous: Option<Seen>| Outcome::Write { revision, changed, previous };
    match &response.result {
        Err(_) => Outcome::Failed,
        Ok(KeysReply::Put(put)) => write(true, put.prev_kv.as_ref().map(seen)),
        Ok(KeysReply::DeleteRange(delete)) => write(delete.deleted > 0, delete.prev_kvs.first().map(seen)),
        Ok(KeysReply::Txn(txn)) => {
            // A transaction with a range says last what the range found.
            let told = txn.responses.last().map(|operation| &operation.reply);
            let told = match told {
                Some(KeysReply::Range(_)) => told,
                _ => txn.responses.first().map(|operation| &operation.reply),
            };
            let previous = match told {
                Some(KeysReply::Put(put)) => put.prev_kv.as_ref().map(seen),
                Some(KeysReply::Range(range)) => range.kvs.first().map(seen),
                _ => None,
            };
            write(txn.succeeded || matches!(call, Call::PutPair { .. } | Call::PutGet { .. }), previous)
        }
        Ok(_) => Outcome::Failed,
    }
}

fn read(call: &Call, view: &View) -> Outcome {
    let (key, range_end) = match call {
        Call::Get { key, .. } => (key_bytes(*key), bytes::Bytes::new()),
        _ => ("k".into(), "l".into()),
    };
    let revision = view.revision();
    let Ok(reply) = view.range(&Range { key, range_end, ..Range::default() }) else { return Outcome::Failed };
    let items = reply.kvs.iter().filter_map(|kv| {
        let number = std::str::from_utf8(kv.key.get(1..)?).ok()?.parse().ok()?;
        Some((number, seen(kv)))
    });
    Outcome::Read { revision, items: items.collect() }
}

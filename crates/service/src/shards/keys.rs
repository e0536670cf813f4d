//! The state machine of the group of keys: one keyspace, and from the founding on the order over its shards.
//!
//! Architecture Invariant: a group whose shards were never founded is byte for byte what it was before there were any: its log, its answers in the exactly-once table, its
//! snapshots and their digests.

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Placed, Position, Reader, RestoreError, StateMachine, Writer, fingerprint_of,
};
use quorate_keyspace::{Keyspace, News, Response, View};
use quorate_order::TxnId;
use quorate_placement::shards::Command as MapCommand;

use super::{
    HeadedSnapshot, KeysResponse, Order, Undivided, Undone,
    headed::read_head,
    order::{FOUND, ORDER},
};

/// The state machine of the group of keys.
#[derive(Debug)]
pub enum Keys {
    /// One keyspace.
    Alone(Keyspace),
    /// The order over its shards.
    Ordered(Box<Order>),
}

/// What an entry is about to do.
#[derive(Debug)]
pub enum KeysEffect {
    /// A command of the one keyspace.
    Alone(quorate_keyspace::Effect),
    /// The shards are founded.
    Found(Box<Order>),
    /// An entry of the order, or of one keyspace that cannot be founded: at this place.
    Entry(Position, Bytes),
}

impl Keys {
    /// The one keyspace, or the order over its shards.
    ///
    /// # Errors
    /// It is the order.
    pub fn alone(&self) -> Result<&Keyspace, &Order> {
        match self {
            Keys::Alone(keyspace) => Ok(keyspace),
            Keys::Ordered(order) => Err(order),
        }
    }

    /// The order, if the shards are founded, to be told what is not in its entries.
    pub(crate) fn order_mut(&mut self) -> Option<&mut Order> {
        match self {
            Keys::Alone(_) => None,
            Keys::Ordered(order) => Some(order),
        }
    }

    /// The order, if the shards are founded.
    #[must_use]
    pub fn order(&self) -> Option<&Order> {
        self.alone().err()
    }
}

impl StateMachine for Keys {
    type Effect = KeysEffect;
    type Response = KeysResponse;
    type Event = News;
    type View = View;
    type Snapshot = HeadedSnapshot;

    fn evaluate(&mut self, at: Position, command: &Bytes) -> KeysEffect {
        match self {
            Keys::Alone(_) if command.first() == Some(&ORDER) => {
                let Keys::Alone(keyspace) = self else { unreachable!("just seen") };
                let found = (command.get(1) == Some(&FOUND)).then(|| MapCommand::decode(&command.slice(2..)));
                let order = found.and_then(Result::ok).and_then(|found| Order::found(&found, keyspace));
                order.map_or_else(
                    || KeysEffect::Entry(at, command.clone()),
                    |order| KeysEffect::Found(Box::new(order)),
                )
            }
            Keys::Alone(keyspace) => KeysEffect::Alone(keyspace.evaluate(at, command)),
            Keys::Ordered(_) => KeysEffect::Entry(at, command.clone()),
        }
    }

    fn changes(effect: &KeysEffect) -> bool {
        match effect {
            KeysEffect::Alone(effect) => Keyspace::changes(effect),
            KeysEffect::Found(_) | KeysEffect::Entry(..) => false,
        }
    }

    fn number(&self) -> u64 {
        match self {
            Keys::Alone(keyspace) => keyspace.number(),
            Keys::Ordered(order) => order.orderer.revision(),
        }
    }

    fn place(&mut self, effect: KeysEffect, number: u64) -> Placed<KeysResponse, News> {
        let response = match (effect, self) {
            (KeysEffect::Alone(effect), Keys::Alone(keyspace)) => {
                let Placed { response, events } = keyspace.place(effect, number);
                return Placed { response: KeysResponse::Done(response), events };
            }
            (KeysEffect::Found(order), keys) => {
                *keys = Keys::Ordered(order);
                KeysResponse::Ordered
            }
            (KeysEffect::Entry(at, bytes), Keys::Ordered(order)) => order.carry_out(at, &bytes),
            (KeysEffect::Entry(..), Keys::Alone(_)) => KeysResponse::Ordered,
            (KeysEffect::Alone(_), Keys::Ordered(_)) => {
                unreachable!("what is evaluated is placed before the next is")
            }
        };
        Placed { response, events: Vec::new() }
    }

    /// Of the one keyspace. The order knows no keys: their views are given by who places them.
    fn view(&self) -> View {
        match self {
            Keys::Alone(keyspace) => keyspace.view(),
            Keys::Ordered(order) => order.born.view(),
        }
    }

    fn snapshot(&self) -> HeadedSnapshot {
        match self {
            Keys::Alone(keyspace) => HeadedSnapshot::plain(keyspace.snapshot()),
            Keys::Ordered(order) => {
                HeadedSnapshot::new(&[ORDER], order.head(), Self::CHUNK_BYTES_MAX, [order.born.snapshot()])
            }
        }
    }

    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Keys, RestoreError> {
        let first = chunks.next().ok_or(RestoreError::Incomplete)?;
        if first.first() != Some(&ORDER) {
            return Keyspace::restore(&mut std::iter::once(first).chain(chunks)).map(Keys::Alone);
        }
        let head = read_head(first.slice(1..), chunks)?;
        let born = Keyspace::restore(chunks)?;
        Ok(Keys::Ordered(Box::new(Order::restored(head, born)?)))
    }

    fn digest(&self) -> u64 {
        match self {
            Keys::Alone(keyspace) => keyspace.digest(),
            Keys::Ordered(order) => fingerprint_of(&(&order.head()[..], order.born.digest())),
        }
    }

    fn size_bytes(&self) -> u64 {
        match self {
            Keys::Alone(keyspace) => keyspace.size_bytes(),
            Keys::Ordered(order) => order.size_bytes(),
        }
    }

    /// What is done is written as the keyspace writes it, so that the exactly-once table of before the founding is the same; no response of that has revision 0.
    fn encode_response(response: &KeysResponse, to: &mut Writer) {
        match response {
            KeysResponse::Done(response) => response.encode(to),
            KeysResponse::Begun(txn) => {
                to.varint(0);
                to.u8(1);
                to.varint(txn.0);
            }
            KeysResponse::Undone(undone) => {
                to.varint(0);
                to.u8(match undone {
                    Undone::Undivided(Undivided::RangeCompare) => 2,
                    Undone::Undivided(Undivided::Nested) => 3,
                    Undone::Busy => 4,
                    Undone::Silent => 5,
                    Undone::Unknown => 6,
                    Undone::Unfit => 7,
                });
            }
            KeysResponse::Ordered => {
                to.varint(0);
                to.u8(0);
            }
        }
    }

    fn decode_response(from: &mut Reader) -> Result<KeysResponse, DecodeError> {
        let mut ahead = from.clone();
        if ahead.varint()? != 0 {
            return Response::decode(from).map(KeysResponse::Done);
        }
        *from = ahead;
        Ok(match from.u8()? {
            0 => KeysResponse::Ordered,
            1 => KeysResponse::Begun(TxnId(from.varint()?)),
            2 => KeysResponse::Undone(Undone::Undivided(Undivided::RangeCompare)),
            3 => KeysResponse::Undone(Undone::Undivided(Undivided::Nested)),
            4 => KeysResponse::Undone(Undone::Busy),
            5 => KeysResponse::Undone(Undone::Silent),
            6 => KeysResponse::Undone(Undone::Unknown),
            7 => KeysResponse::Undone(Undone::Unfit),
            value => return Err(DecodeError::Unknown { what: "response of the keys", value: value.into() }),
        })
    }
}

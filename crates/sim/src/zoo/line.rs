//! A connection between a client and a host. What is sent on it arrives in order or, if it is closed, not at all.

use bytes::Bytes;
use quorate_consensus::Random;
use quorate_service::znodes::Command;

use super::{Wrong, asks::Written};
use crate::{
    faults::Action,
    schedule::{MICROS, MILLIS, Time},
};

/// Something that happens to the tree's clients and front ends.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A client looks after itself, if nothing has come in between.
    Wake { client: usize, turn: u64 },
    /// A packet, without its length, or the end reaches the host.
    ToHost { line: u64, packet: Option<Bytes> },
    /// A packet, without its length, or the end reaches the client.
    ToClient { line: u64, packet: Option<Bytes> },
    /// The front end of a host has something to do.
    Turn { host: usize, life: u64, at: Time },
    /// A host says that it is ready for the tree.
    Word { host: usize },
    /// Something that strikes a cluster which has just got its tree.
    Strike { action: Action },
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(super) client: usize,
    pub(super) host: usize,
    /// Of the host's process: another knows nothing of it.
    pub(super) life: u64,
    /// The first packet has arrived.
    pub(super) accepted: bool,
    /// The writes that the client sent, in order.
    written: Vec<Written>,
    /// When the last packet of each direction arrives.
    to_host: Time,
    to_client: Time,
}

impl Line {
    pub(super) fn new(client: usize, host: usize, life: u64) -> Line {
        Line { client, host, life, accepted: false, written: Vec::new(), to_host: 0, to_client: 0 }
    }

    /// When what is sent now arrives; behind what was sent before.
    pub(super) fn arrival(&mut self, now: Time, to_host: bool, random: &mut Random, calm: bool) -> Time {
        let slow = !calm && random.chance(1, 60);
        let delay = if slow { random.between(5, 120) * MILLIS } else { random.between(30, 400) * MICROS };
        let last = if to_host { &mut self.to_host } else { &mut self.to_client };
        *last = (now + delay).max(*last + 1);
        *last
    }

    /// Writes that were sent before.
    pub(super) fn writes(&self) -> usize {
        self.written.len()
    }

    pub(super) fn wrote(&mut self, written: Written) {
        self.written.push(written);
    }

    /// Is the command at `index` in the log the write number `number` that was sent?
    pub(super) fn is_write(&self, number: usize, command: Option<&Command>, index: u64) -> Result<(), Wrong> {
        let sent = self.written.get(number);
        let same = match (sent, command) {
            (Some(Written::One(sent)), Some(Command::Operation(_, found))) => sent == found,
            (Some(Written::Several(sent)), Some(Command::Multi(_, found))) => sent == found,
            _ => false,
        };
        let what = || format!("write {number} of a client is {command:?} at {index}, it had sent {sent:?}");
        if same { Ok(()) } else { Err(Wrong::new("K2", what())) }
    }
}

//! The network between hosts: who reaches whom, how late, how often, in which order.

use std::collections::{BTreeMap, BTreeSet};

use quorate_consensus::Random;
use quorate_node::Channel;

use crate::schedule::{MICROS, MILLIS, Time};

/// A host, by place: cables lead to machines, whatever node lives there.
type Place = usize;

/// How the network treats frames at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) loss_permille: u64,
    pub(crate) duplicate_permille: u64,
    pub(crate) reorder_permille: u64,
    pub(crate) delay_min_micros: u64,
    pub(crate) delay_max_micros: u64,
}

impl Style {
    /// The shortest delay.
    pub(crate) const SHORTEST_MICROS: u64 = 40;

    pub(crate) const CALM: Style = Style {
        loss_permille: 0,
        duplicate_permille: 0,
        reorder_permille: 0,
        delay_min_micros: Style::SHORTEST_MICROS,
        delay_max_micros: 400,
    };
}

/// A link that comes and goes.
#[derive(Clone, Copy, Debug)]
struct Flap {
    half_period: u64,
    until: Time,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// When it arrives, once or twice.
    pub(crate) arrivals: [Option<Time>; 2],
    /// It met a cut link; if a time is there, its sender notices the lost connection then.
    pub(crate) cut: bool,
    pub(crate) noticed: Option<Time>,
    pub(crate) lost: bool,
    pub(crate) reordered: bool,
    pub(crate) flapped: bool,
    pub(crate) stalled: bool,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) style: Style,
    /// Directed links that carry nothing.
    cut: BTreeSet<(Place, Place)>,
    flapping: BTreeMap<(Place, Place), Flap>,
    /// Directed links whose frames arrive only then.
    stalled: BTreeMap<(Place, Place), Time>,
    last_arrival: BTreeMap<(Place, Place, Channel), Time>,
    last_noticed: BTreeMap<(Place, Place), Time>,
    random: Random,
}

impl Network {
    pub(crate) fn new(random: Random) -> Network {
        Network {
            style: Style::CALM,
            cut: BTreeSet::new(),
            flapping: BTreeMap::new(),
            stalled: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            last_noticed: BTreeMap::new(),
            random,
        }
    }

    /// Cuts the directed link.
    pub(crate) fn cut(&mut self, from: Place, to: Place) {
        self.cut.insert((from, to));
    }

    /// Mends the directed link.
    pub(crate) fn mend(&mut self, from: Place, to: Place) {
        self.cut.remove(&(from, to));
    }

    /// The directed links that are cut.
    pub(crate) fn cuts(&self) -> Vec<(Place, Place)> {
        self.cut.iter().copied().collect()
    }

    /// Lets a pair's links come and go.
    pub(crate) fn flap(&mut self, a: Place, b: Place, half_period: u64, until: Time) {
        let flap = Flap { half_period: half_period.max(1), until };
        self.flapping.insert((a, b), flap);
        self.flapping.insert((b, a), flap);
    }

    /// Holds up what is sent on the directed link until then: a connection that hangs, and then delivers everything at once.
    pub(crate) fn stall(&mut self, from: Place, to: Place, until: Time) {
        self.stalled.insert((from, to), until);
    }

    /// Every cut is mended; flapping ends. What was held up is on its way all the same.
    pub(crate) fn heal(&mut self) {
        self.stalled.clear();
        self.cut.clear();
        self.flapping.clear();
    }

    /// One frame's fate.
    pub(crate) fn send(&mut self, now: Time, from: Place, to: Place, channel: Channel, bytes: usize) -> Sent {
        let mut sent = Sent::default();
        let flapped = self
            .flapping
            .get(&(from, to))
            .is_some_and(|flap| now < flap.until && (now / flap.half_period) % 2 == 1);
        if flapped || self.cut.contains(&(from, to)) {
            sent.cut = true;
            sent.flapped = flapped;
            let last = self.last_noticed.entry((from, to)).or_default();
            if now >= *last + 200 * MILLIS && self.random.chance(1, 3) {
                *last = now;
                sent.noticed = Some(now + self.random.between(MILLIS, 50 * MILLIS));
            }
            return sent;
        }
        if self.random.below(1000) < self.style.loss_permille {
            sent.lost = true;
            return sent;
        }
        let held = self.stalled.get(&(from, to)).copied().unwrap_or(0);
        sent.stalled = held > now;
        let copies = 1 + usize::from(self.random.below(1000) < self.style.duplicate_permille);
        for arrival in sent.arrivals.iter_mut().take(copies) {
            let transfer = bytes as u64 * 8;
            let Style { delay_min_micros: shortest, delay_max_micros: longest, .. } = self.style;
            let delay =
                self.random.between(shortest * MICROS, longest.max(shortest + 10) * MICROS) + transfer;
            let overtakes = self.random.below(1000) < self.style.reorder_permille;
            let last = self.last_arrival.entry((from, to, channel)).or_default();
            let at = if sent.stalled {
                *last = held.max(*last + 1);
                *last
            } else if overtakes {
                sent.reordered = true;
                now + delay + self.random.below(30 * MILLIS)
            } else {
                *last = (now + delay).max(*last + 1);
                *last
            };
            *arrival = Some(at);
        }
        sent
    }
}

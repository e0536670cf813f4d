//! What a link does to its packets, as a value: told the time and the packet, it says which packets arrive, and when. No threads, no clock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::torture::random::Mixer;

/// Bytes that wait for a slow link, at most; what comes then is dropped, as a router drops it.
const BACKLOG_BYTES_MAX: u64 = 256 << 10;
/// A packet that is overtaken comes so much later, at most.
const OVERTAKEN_US_MAX: u64 = 20_000;

/// One direction between two ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Nothing passes; what is under way is lost, too.
    pub(crate) cut: bool,
    pub(crate) delay_us: u64,
    /// Up to so much more, drawn for each packet; order is kept.
    pub(crate) jitter_us: u64,
    /// Of a thousand packets, so many are lost,
    pub(crate) lost: u64,
    /// come twice,
    pub(crate) doubled: u64,
    /// or are overtaken by those behind.
    pub(crate) overtaken: u64,
    /// 0: as much as there is.
    pub(crate) bytes_per_second: u64,
}

/// A packet under way: due, then the order of its coming, so that equals leave as they came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due_us: u64,
    order: u64,
    from: usize,
    to: usize,
    packet: Vec<u8>,
}

/// What became of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) cut: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) overtaken: u64,
}

/// All links of a switch, and the packets on them.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Those that are not plain.
    links: BTreeMap<(usize, usize), Link>,
    /// When the last packet that kept its order arrives, and when the link has sent all that it was given.
    ends_us: BTreeMap<(usize, usize), (u64, u64)>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    random: Mixer,
    order: u64,
    pub(crate) counts: Counts,
}

impl Queue {
    pub(crate) fn new(seed: u64) -> Queue {
        Queue {
            links: BTreeMap::new(),
            ends_us: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            random: Mixer(seed),
            order: 0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, link: Link) {
        self.links.insert((from, to), link);
    }

    pub(crate) fn link(&self, from: usize, to: usize) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Every link is plain again.
    pub(crate) fn heal(&mut self) {
        self.links.clear();
    }

    /// A packet comes in.
    pub(crate) fn accept(&mut self, now_us: u64, from: usize, to: usize, packet: Vec<u8>) {
        let link = self.link(from, to);
        if link.cut {
            self.counts.cut += 1;
            return;
        }
        if self.random.below(1000) < link.lost {
            self.counts.lost += 1;
            return;
        }
        let copies = if self.random.below(1000) < link.doubled { 2 } else { 1 };
        self.counts.doubled += copies - 1;
        for _ in 0..copies {
            let (last_us, sent_us) = self.ends_us.get(&(from, to)).copied().unwrap_or_default();
            let mut leaves_us = now_us;
            if link.bytes_per_second > 0 {
                let backlog = sent_us.saturating_sub(now_us) * link.bytes_per_second / 1_000_000;
                if backlog > BACKLOG_BYTES_MAX {
                    self.counts.lost += 1;
                    continue;
                }
                leaves_us = now_us.max(sent_us) + packet.len() as u64 * 1_000_000 / link.bytes_per_second;
            }
            let arrives_us = leaves_us + link.delay_us + self.random.below(link.jitter_us + 1);
            let overtaken = self.random.below(1000) < link.overtaken;
            let due_us = if overtaken {
                self.counts.overtaken += 1;
                arrives_us + self.random.below(OVERTAKEN_US_MAX)
            } else {
                arrives_us.max(last_us)
            };
            self.ends_us.insert((from, to), (if overtaken { last_us } else { due_us }, leaves_us));
            self.order += 1;
            self.waiting.push(Reverse(Waiting {
                due_us,
                order: self.order,
                from,
                to,
                packet: packet.clone(),
            }));
        }
    }

    /// The next packet that has arrived by now, and where.
    pub(crate) fn arrived(&mut self, now_us: u64) -> Option<(usize, Vec<u8>)> {
        while self.next_us().is_some_and(|due| due <= now_us) {
            let Reverse(Waiting { from, to, packet, .. }) = self.waiting.pop()?;
            // Cut while it was under way.
            if self.link(from, to).cut {
                self.counts.cut += 1;
                continue;
            }
            self.counts.passed += 1;
            return Some((to, packet));
        }
        None
    }

    /// When the next packet arrives.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.due_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut Queue, now_us: u64) -> Vec<u8> {
        std::iter::from_fn(|| queue.arrived(now_us)).map(|(_, packet)| packet[0]).collect()
    }

    fn sent(link: Link, packets: u8) -> Queue {
        let mut queue = Queue::new(7);
        queue.set(0, 1, link);
        (0..packets).for_each(|n| queue.accept(u64::from(n), 0, 1, vec![n; 100]));
        queue
    }

    #[test]
    fn a_plain_link_passes_everything_at_once_and_in_order() {
        let mut queue = sent(Link::default(), 5);
        assert_eq!(all(&mut queue, 4), [0, 1, 2, 3, 4]);
        assert_eq!((queue.next_us(), queue.counts.passed), (None, 5));
    }

    #[test]
    fn what_is_late_arrives_late_and_jitter_keeps_the_order() {
        let mut queue = sent(Link { delay_us: 1_000, jitter_us: 5_000, ..Link::default() }, 50);
        assert!(all(&mut queue, 999).is_empty());
        assert_eq!(all(&mut queue, 10_000), (0..50).collect::<Vec<u8>>());
    }

    #[test]
    fn a_cut_is_of_one_direction_and_takes_what_is_under_way() {
        let mut queue = sent(Link { delay_us: 10, ..Link::default() }, 3);
        queue.set(0, 1, Link { cut: true, ..Link::default() });
        queue.accept(3, 0, 1, vec![9]);
        queue.accept(3, 1, 0, vec![8]);
        assert_eq!(all(&mut queue, 100), [8]);
        assert_eq!((queue.counts.cut, queue.counts.passed), (4, 1));
        queue.heal();
        queue.accept(101, 0, 1, vec![7]);
        assert_eq!(all(&mut queue, 101), [7]);
    }

    #[test]
    fn packets_are_lost_doubled_and_overtaken_as_often_as_it_says() {
        let mut queue = sent(Link { lost: 1000, ..Link::default() }, 5);
        assert!(all(&mut queue, 100).is_empty());
        assert_eq!(queue.counts.lost, 5);
        let mut queue = sent(Link { doubled: 1000, ..Link::default() }, 3);
        assert_eq!(all(&mut queue, 100), [0, 0, 1, 1, 2, 2]);
        let mut queue = sent(Link { overtaken: 500, ..Link::default() }, 100);
        let order = all(&mut queue, 1_000_000);
        assert_eq!(order.len(), 100);
        assert!(!order.is_sorted(), "somebody was overtaken");
    }

    #[test]
    fn a_slow_link_takes_its_time_and_drops_what_it_cannot_hold() {
        let slow = Link { bytes_per_second: 100_000, ..Link::default() };
        let mut queue = sent(slow, 3);
        assert_eq!(all(&mut queue, 1_000), [0]);
        assert_eq!(all(&mut queue, 3_000), [1, 2]);
        for _ in 0..400 {
            queue.accept(3_000, 0, 1, vec![1; 1_000]);
        }
        assert!(queue.counts.lost > 100, "{:?}", queue.counts);
    }

    #[test]
    fn the_same_seed_does_the_same() {
        let link = Link { jitter_us: 900, lost: 100, doubled: 100, overtaken: 100, ..Link::default() };
        let (mut one, mut other) = (sent(link, 200), sent(link, 200));
        assert_eq!(all(&mut one, 1_000_000), all(&mut other, 1_000_000));
        assert_eq!(one.counts, other.counts);
    }
}

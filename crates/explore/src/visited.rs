//! Which worlds were seen: their fingerprints, in open addressing, in shards that threads lock one at a time.

use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 256;

/// The fingerprints of all worlds that were seen.
pub(crate) struct Visited {
    shards: Vec<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    /// Zero is an empty place.
    places: Vec<u64>,
    count: usize,
}

impl Visited {
    pub(crate) fn new() -> Visited {
        Visited { shards: (0..SHARDS).map(|_| Mutex::new(Table::default())).collect() }
    }

    /// Notes this one. Was it new?
    pub(crate) fn insert(&self, fingerprint: u64) -> bool {
        let fingerprint = fingerprint.max(1);
        let shard = &self.shards[(fingerprint >> 56) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint)
    }
}

impl Table {
    fn insert(&mut self, fingerprint: u64) -> bool {
        if (self.count + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        let added = place(&mut self.places, fingerprint);
        self.count += usize::from(added);
        added
    }

    fn grow(&mut self) {
        let mut places = vec![0; (self.places.len() * 2).max(64)];
        for fingerprint in self.places.drain(..).filter(|fingerprint| *fingerprint != 0) {
            place(&mut places, fingerprint);
        }
        self.places = places;
    }
}

/// Puts it where it belongs, if it is not there.
fn place(places: &mut [u64], fingerprint: u64) -> bool {
    let mask = places.len() - 1;
    let mut at = fingerprint as usize & mask;
    loop {
        match places[at] {
            0 => {
                places[at] = fingerprint;
                return true;
            }
            found if found == fingerprint => return false,
            _ => at = (at + 1) & mask,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_consensus::Random;

    use super::*;

    #[test]
    fn it_remembers_what_a_set_remembers() {
        let (visited, mut set, mut random) = (Visited::new(), BTreeSet::new(), Random::new(3));
        for _ in 0..100_000 {
            // Few enough that many come again, and spread over all shards.
            let fingerprint = random.below(40_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert_eq!(visited.insert(fingerprint), set.insert(fingerprint.max(1)));
        }
    }
}

//! I15, I17: whatever a crash at any moment leaves, recovery gives what was promised and nothing that was never written.

mod support;

use std::collections::BTreeMap;

use support::world::run;

fn seeds() -> std::ops::Range<u64> {
    0..600
}

#[test]
fn i15_i17_recovery_is_a_prefix_of_what_was_written_and_holds_all_that_was_durable() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds() {
        for (what, count) in run(seed, 12, |_, _| {}) {
            *counts.entry(what).or_default() += count;
        }
    }
    for what in ["truncate", "read", "snapshot", "install", "compact", "lost a suffix"] {
        assert!(
            counts.get(what).copied().unwrap_or_default() > 20,
            "{what} hardly ever happened: {counts:?}"
        );
    }
}

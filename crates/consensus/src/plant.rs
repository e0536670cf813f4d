//! Planted bugs: known mistakes of consensus systems, compiled in by the feature `planted-bugs` alone and chosen at run time, so that
//! the simulator can prove that it finds each of them. Ids are those of the project's catalogue (A02, B01, …).

/// A planted bug's id, such as `"A02"`.
pub type Plant = &'static str;

/// Is this a build in which bugs can be planted? A release never is.
pub const PLANTS_COMPILED: bool = cfg!(feature = "planted-bugs");

#[cfg(feature = "planted-bugs")]
mod chosen {
    use std::{
        cell::{Cell, RefCell},
        sync::OnceLock,
    };

    /// Planted on every thread of this process, those that are still to come included.
    static EVERYWHERE: OnceLock<String> = OnceLock::new();

    thread_local! {
        static CHOSEN: RefCell<String> = const { RefCell::new(String::new()) };
        static TRIGGERS: Cell<u64> = const { Cell::new(0) };
    }

    /// Plants the bug `id` on this thread, and only that one; an empty id plants none. Sets the count of triggers to zero.
    pub fn activate_plant(id: &str) {
        CHOSEN.with_borrow_mut(|chosen| id.clone_into(chosen));
        TRIGGERS.set(0);
    }

    /// Plants the bug `id` on every thread of this process, for good: for servers, whose threads are many. Only the first call counts.
    pub fn plant_everywhere(id: &str) {
        // A second choice would change the bug under threads that have met the first.
        let _ = EVERYWHERE.set(id.to_owned());
    }

    /// Is the bug `id` planted on this thread? Counts how often the answer was yes.
    #[must_use]
    pub fn plant_is_active(id: &str) -> bool {
        let everywhere = EVERYWHERE.get().is_some_and(|chosen| chosen == id);
        let active = everywhere || CHOSEN.with_borrow(|chosen| chosen == id);
        if active {
            TRIGGERS.set(TRIGGERS.get() + 1);
        }
        active
    }

    /// How often the planted bug's place was reached since it was planted.
    #[must_use]
    pub fn plant_triggers() -> u64 {
        TRIGGERS.get()
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::{activate_plant, plant_everywhere, plant_is_active, plant_triggers};

/// Plants the bug `id` and runs `check` with each of the trials until one fails, which it does by panicking; that very trial must then pass without
/// the bug. Says, as `cargo xtask plants` reads it, which `checker` of the catalogue that was and what it took.
///
/// # Panics
///
/// If no trial finds the bug, or if one fails without it.
#[cfg(feature = "planted-bugs")]
pub fn hunt_plant<T: Clone>(id: &str, checker: &str, trials: impl IntoIterator<Item = T>, check: impl Fn(T)) {
    let mut run = 0;
    for trial in trials {
        run += 1;
        activate_plant(id);
        let checked = std::panic::AssertUnwindSafe(|| check(trial.clone()));
        let found = std::panic::catch_unwind(checked).is_err();
        let triggers = plant_triggers();
        activate_plant("");
        if found {
            check(trial);
            assert!(triggers > 0, "{id} was never reached");
            println!("plant {id} found by {checker} after {run} trials, {triggers} triggers");
            return;
        }
    }
    panic!("{id} was not found in {run} trials");
}

/// `planted!("A02")`: is this bug planted? `false`, a constant, in every build without the feature of the crate that asks.
///
/// The crate that uses it must have a feature `planted-bugs` that turns on `quorate-consensus/planted-bugs`.
#[macro_export]
macro_rules! planted {
    ($id:literal) => {{
        #[cfg(feature = "planted-bugs")]
        let planted = $crate::plant_is_active($id);
        #[cfg(not(feature = "planted-bugs"))]
        let planted = false;
        planted
    }};
}

#[cfg(all(test, feature = "planted-bugs"))]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_hunt_ends_with_the_first_trial_that_fails_with_the_bug_and_passes_without() {
        let found_at = |least: u32| move |trial: u32| assert!(!(trial >= least && planted!("A00")));
        hunt_plant("A00", "I0", 1..9, found_at(5));
        assert!(catch_unwind(|| hunt_plant("A00", "I0", 1..5, found_at(5))).is_err(), "not found");
        let unreached = |_: u32| assert!(!planted!("A01"));
        assert!(catch_unwind(|| hunt_plant("A00", "I0", 1..5, unreached)).is_err(), "another bug");
        assert!(catch_unwind(|| hunt_plant("A00", "I0", 1..5, |_| panic!())).is_err(), "fails without it");
        assert!(!planted!("A00"), "no bug is left behind");
    }
}

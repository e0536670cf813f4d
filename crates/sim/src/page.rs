//! What came of a hunt: a line for each row of the catalogue, and the page that `cargo xtask plants` writes.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use crate::{
    catalogue::{CRATE_TESTS, CrateTest, NOT_HUNTED, NOT_YET, OF_MANY_SHARDS, SECTIONS},
    plants::{Hunt, PLANTS, Plant},
};

const HEAD: &str = "# Planted bugs

Known mistakes of consensus systems, compiled in by the feature `planted-bugs` alone. A checker that finds nothing may be one that looks at nothing,
so each bug must be found: by a checker that is named for it, in a run in which its place was reached, and which is clean without the bug.
`cargo xtask plants` hunts them all, in the simulator and in tests of single crates, and writes this page; `cargo xtask plants ID…` hunts some, and
begins at the seeds below.

A hunt in the simulator tries the seeds from 1 on, those first whose faults are about the bug's kind of trouble. They are seeds like any other: a row is seen again with

```sh
cargo run --release -p quorate --features planted-bugs -- sim --engine raft --seeds 1 --first-seed SEED --plant ID --trace
```

and a row of the group ZAB with `--engine zab`, where ZAB drives the keys.

Checkers `I…`, `X…`, `E…` and `Z…` are those of `crates/sim/src/invariants.rs`, `claims.rs` and `witness.rs`, checkers `K…` those of `zoo.rs`, E3, E5 and E6 those of `etcd.rs`. Of ZAB's own invariants, Z2 to Z6 (total order,
one history, nothing delivered that was not broadcast) are what I4, I5, I6 and I10 check on either engine. *Triggers*: how often that run came to the
planted place. Where a test stands instead of a seed, the bug is hunted by

```sh
cargo test -p PACKAGE --test NAME --features planted-bugs -- --nocapture
```

and *runs* are its trials. Ids are those of the project's catalogue of historical bugs; a letter behind the number is a part of a row, and E21, S16, S17
and S18 are our own.
";

/// What a crate's test said of a planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    checker: String,
    trials: u64,
    triggers: u64,
}

/// Where a row of the catalogue is hunted.
#[derive(Clone, Copy)]
enum Place {
    Simulator(&'static Plant),
    Crate(&'static CrateTest, &'static str),
    ManyShards(&'static str),
    Nowhere(&'static str, &'static str),
}

/// What came of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Found { checker: String, may: String, place: String, runs: u64, triggers: u64, simulated: bool },
    Missed(String),
    Waits,
    WithoutMeaning(&'static str),
}

/// One row of the catalogue, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    id: &'static str,
    what: &'static str,
    outcome: Outcome,
}

impl Row {
    /// Is this the row's id?
    #[must_use]
    pub fn is(&self, id: &str) -> bool {
        self.id == id
    }

    /// Should the row have been found, and was not?
    #[must_use]
    pub fn missed(&self) -> bool {
        matches!(self.outcome, Outcome::Missed(_))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4} ", self.id)?;
        match &self.outcome {
            Outcome::Found { checker, place, runs, triggers, .. } => {
                write!(f, "found by {checker}, {place}, run {runs}, {triggers} triggers: {}", self.what)
            }
            Outcome::Missed(why) => write!(f, "MISSED, {why}: {}", self.what),
            Outcome::Waits => write!(f, "waits for many shards: {}", self.what),
            Outcome::WithoutMeaning(why) => write!(f, "without meaning here: {}: {why}", self.what),
        }
    }
}

/// Every place that names a row, in the catalogue's order.
fn places() -> Vec<(&'static str, Place)> {
    let simulated = PLANTS.iter().map(|plant| (plant.id, Place::Simulator(plant)));
    let of_crates = CRATE_TESTS
        .iter()
        .flat_map(|test| test.plants.iter().map(move |(id, what)| (*id, Place::Crate(test, what))));
    let waiting = OF_MANY_SHARDS.iter().map(|(id, what)| (*id, Place::ManyShards(what)));
    let nowhere = NOT_HUNTED.iter().map(|(id, what, why)| (*id, Place::Nowhere(what, why)));
    let mut all: Vec<_> = simulated.chain(of_crates).chain(waiting).chain(nowhere).collect();
    let section = |id: &str| SECTIONS.iter().position(|(letter, ..)| id.starts_with(letter));
    all.sort_by_key(|(id, _)| (section(id), *id));
    all
}

/// The tests of crates that hunt some of these bugs, or any at all if there are none.
#[must_use]
pub fn crate_tests(ids: &[String]) -> Vec<&'static CrateTest> {
    let wanted =
        |test: &&CrateTest| ids.is_empty() || test.plants.iter().any(|(id, _)| ids.iter().any(|i| i == id));
    CRATE_TESTS.iter().filter(wanted).collect()
}

/// What tests of crates said: lines like `plant F04 found by I17 after 3 trials, 5 triggers`, among others.
#[must_use]
pub fn said(output: &str) -> BTreeMap<String, Said> {
    let said = |line: &str| {
        let (id, rest) = line.split_once("plant ")?.1.split_once(" found by ")?;
        let (checker, rest) = rest.split_once(" after ")?;
        let (trials, rest) = rest.split_once(" trials, ")?;
        let triggers = rest.split_once(" triggers")?.0.parse().ok()?;
        Some((id.to_owned(), Said { checker: checker.to_owned(), trials: trials.parse().ok()?, triggers }))
    };
    output.lines().filter_map(said).collect()
}

/// A row for each of these ids, or for the whole catalogue if there are none.
#[must_use]
pub fn rows(ids: &[String], hunts: &[Hunt], said: &BTreeMap<String, Said>) -> Vec<Row> {
    let wanted = |id: &str| ids.is_empty() || ids.iter().any(|wanted| wanted == id);
    places().into_iter().filter(|(id, _)| wanted(id)).map(|(id, place)| row(id, place, hunts, said)).collect()
}

fn row(id: &'static str, place: Place, hunts: &[Hunt], said: &BTreeMap<String, Said>) -> Row {
    let (what, outcome) = match place {
        Place::Simulator(plant) => (plant.what, simulated(hunts.iter().find(|hunt| hunt.plant.id == id))),
        Place::Crate(test, what) => {
            let place = format!("`{} {}`", test.package, test.target);
            let outcome = match said.get(id) {
                Some(said) => Outcome::Found {
                    checker: said.checker.clone(),
                    may: said.checker.clone(),
                    place,
                    runs: said.trials,
                    triggers: said.triggers,
                    simulated: false,
                },
                None => Outcome::Missed(format!("by {place}")),
            };
            (what, outcome)
        }
        Place::ManyShards(what) => (what, Outcome::Waits),
        Place::Nowhere(what, NOT_YET) => (what, Outcome::Missed(NOT_YET.to_owned())),
        Place::Nowhere(what, why) => (what, Outcome::WithoutMeaning(why)),
    };
    Row { id, what, outcome }
}

fn simulated(hunt: Option<&Hunt>) -> Outcome {
    let Some(hunt) = hunt else { return Outcome::Missed("not hunted".to_owned()) };
    match hunt.found.filter(|_| hunt.succeeded()) {
        Some((seed, checker)) => Outcome::Found {
            checker: checker.to_owned(),
            may: hunt.plant.killers.join(" "),
            place: format!("seed {seed}"),
            runs: hunt.seeds,
            triggers: hunt.triggers,
            simulated: true,
        },
        None => Outcome::Missed(format!("{} runs, other checkers: {:?}", hunt.seeds, hunt.others)),
    }
}

/// How many rows were found, and what the others are: `plants: N found, M missed, K without meaning here`, and in a line before what it took.
#[must_use]
pub fn summary(rows: &[Row]) -> String {
    let count = |wanted: fn(&Outcome) -> bool| rows.iter().filter(|row| wanted(&row.outcome)).count();
    let runs_of = |wanted: bool| {
        let runs = rows.iter().filter_map(|row| match row.outcome {
            Outcome::Found { runs, simulated, .. } if simulated == wanted => Some(runs),
            _ => None,
        });
        median(runs.collect())
    };
    format!(
        "half of the bugs took at most {} seeds in the simulator, or {} trials in a crate's test; {} rows wait for many shards\n\
         plants: {} found, {} missed, {} without meaning here",
        runs_of(true),
        runs_of(false),
        count(|outcome| matches!(outcome, Outcome::Waits)),
        count(|outcome| matches!(outcome, Outcome::Found { .. })),
        count(|outcome| matches!(outcome, Outcome::Missed(_))),
        count(|outcome| matches!(outcome, Outcome::WithoutMeaning(_))),
    )
}

fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The page.
#[must_use]
pub fn page(rows: &[Row], seeds_max: u64) -> String {
    let mut page = format!("{HEAD}\nAt most {seeds_max} seeds were tried for each.\n");
    for (letter, title, _) in SECTIONS {
        let _ = write!(
            page,
            "\n## {title}\n\n| id | bug | found by | may be found by | seed, or test | runs | triggers |\n|---|---|---|---|---|---|---|\n"
        );
        for row in rows.iter().filter(|row| row.id.starts_with(letter)) {
            let (id, what) = (row.id, row.what);
            let _ = match &row.outcome {
                Outcome::Found { checker, may, place, runs, triggers, .. } => {
                    let place = place.trim_start_matches("seed ");
                    writeln!(page, "| {id} | {what} | {checker} | {may} | {place} | {runs} | {triggers} |")
                }
                Outcome::Missed(why) => writeln!(page, "| {id} | {what} | **missed** | {why} | – | – | – |"),
                Outcome::Waits => writeln!(page, "| {id} | {what} | waits for many shards | – | – | – | – |"),
                Outcome::WithoutMeaning(_) => Ok(()),
            };
        }
    }
    page.push_str("\n## Without meaning here\n\n| id | bug | why, or where else |\n|---|---|---|\n");
    for row in rows {
        if let Outcome::WithoutMeaning(why) = row.outcome {
            let _ = writeln!(page, "| {} | {} | {why} |", row.id, row.what);
        }
    }
    let _ = write!(page, "\n## In all\n\n```text\n{}\n```\n", summary(rows));
    page
}

/// The seeds that a page names, by bug.
#[must_use]
pub fn known(page: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let id = cells.next()?.to_owned();
        Some((id, cells.nth(3)?.parse().ok()?))
    };
    page.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_catalogue_is_in_exactly_one_place() {
        let places = places();
        for pair in places.windows(2) {
            assert!(
                pair[0].0 < pair[1].0 || pair[0].0[..1] != pair[1].0[..1],
                "{} is in two places",
                pair[1].0
            );
        }
        for (letter, _, count) in SECTIONS {
            for number in 1..=*count {
                let id = format!("{letter}{number:02}");
                assert!(places.iter().any(|(place, _)| *place == id), "{id} is nowhere");
            }
        }
        assert_eq!(SECTIONS.iter().map(|(.., count)| count).sum::<usize>(), 226);
        let known = |id: &str| SECTIONS.iter().any(|(letter, ..)| id.starts_with(letter));
        assert!(places.iter().all(|(id, _)| known(id)));
    }

    #[test]
    fn a_hunt_becomes_rows_and_a_page_that_says_which_seeds_it_knows() {
        let hunt = |plant, seed| Hunt {
            plant,
            found: seed,
            others: vec![],
            seeds: 7,
            triggers: 9,
            what: String::new(),
        };
        let hunts = [hunt(&PLANTS[0], Some((12, "I1"))), hunt(&PLANTS[1], None)];
        let said =
            said("test f04 ... plant F04 found by I17 after 3 trials, 5 triggers\nok\nplant L01 found by\n");
        let of = |id: &str| rows(&[id.to_owned()], &hunts, &said).remove(0);
        assert!(!of(PLANTS[0].id).missed() && of(PLANTS[1].id).missed());
        assert!(!of("F04").missed() && of("L01").missed() && !of("L03").missed());
        assert!(
            of("F04")
                .to_string()
                .contains("found by I17, `quorate-journal --test planted`, run 3, 5 triggers")
        );
        let all = rows(&[], &hunts, &said);
        let page = page(&all, 1_000);
        assert_eq!(known(&page), BTreeMap::from([(PLANTS[0].id.to_owned(), 12)]));
        assert!(summary(&all).contains("at most 7 seeds in the simulator, or 3 trials"), "{}", summary(&all));
        assert!(page.contains("\nplants: 2 found, "));
        assert!(all.iter().all(|row| page.contains(&format!("| {} |", row.id))));
    }

    #[test]
    fn half_of_the_numbers_are_no_greater_than_the_median() {
        for (numbers, middle) in [(vec![], 0), (vec![3], 3), (vec![4, 1], 1), (vec![9, 1, 5], 5)] {
            assert_eq!(median(numbers), middle);
        }
    }
}

//! What a storm does, and when: drawn from a seed, the same for the same seed. Whether it can be done at its moment is the machine's.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::random::Mixer;

/// Kinds of trouble, by the names that `--faults` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Kill,
    Pause,
    Rolling,
    Partition,
    Degrade,
    Rate,
    Clock,
    FullDisk,
    FailSync,
    HangSync,
    Power,
    Damage,
    Member,
    Transfer,
}

impl Fault {
    pub(crate) const ALL: [Fault; 14] = [
        Fault::Kill,
        Fault::Pause,
        Fault::Rolling,
        Fault::Partition,
        Fault::Degrade,
        Fault::Rate,
        Fault::Clock,
        Fault::FullDisk,
        Fault::FailSync,
        Fault::HangSync,
        Fault::Power,
        Fault::Damage,
        Fault::Member,
        Fault::Transfer,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Pause => "pause",
            Fault::Rolling => "rolling",
            Fault::Partition => "partition",
            Fault::Degrade => "degrade",
            Fault::Rate => "rate",
            Fault::Clock => "clock",
            Fault::FullDisk => "full-disk",
            Fault::FailSync => "fail-sync",
            Fault::HangSync => "hang-sync",
            Fault::Power => "power",
            Fault::Damage => "damage",
            Fault::Member => "member",
            Fault::Transfer => "transfer",
        }
    }

    /// Those of a list of names, separated by commas.
    pub(crate) fn parse(names: &str) -> Result<BTreeSet<Fault>, String> {
        names
            .split(',')
            .map(|name| {
                Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| {
                    let known: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
                    format!("there is no fault {name}; there are {}", known.join(", "))
                })
            })
            .collect()
    }
}

/// Who hears whom no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// These on one side, the others on the other, and no word between.
    Split(Vec<usize>),
    /// This one hears nobody, but is heard.
    Deaf(usize),
    /// This one is heard by nobody, but hears.
    Mute(usize),
    /// Two halves that meet in this one alone.
    Bridge(usize),
    /// From the first to the second.
    OneWay(usize, usize),
}

/// What is done to files of a stopped server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    Flip,
    Cut,
}

/// A change of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A learner comes, votes, and another goes.
    AddThenRemove,
    /// In one command.
    Replace,
}

/// One deed. Places are numbers below that of the founders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Kill(Vec<usize>),
    Pause(Vec<usize>),
    /// One after the other, from this one on.
    Rolling(usize),
    Partition(Cut),
    /// Late, lost, doubled and overtaken packets, in thousandths, to and from this one.
    Degrade {
        place: usize,
        delay_ms: u64,
        lost: u64,
        doubled: u64,
        overtaken: u64,
    },
    Rate {
        place: usize,
        kilobytes_per_second: u64,
    },
    Clock {
        place: usize,
        offset_seconds: i64,
    },
    FullDisk(usize),
    FailSync(usize),
    HangSync {
        place: usize,
        milliseconds: u64,
    },
    Power(Vec<usize>),
    Transfer(usize),
    Member(Change),
}

impl Action {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Action::Kill(_) => Fault::Kill,
            Action::Pause(_) => Fault::Pause,
            Action::Rolling(_) => Fault::Rolling,
            Action::Partition(_) => Fault::Partition,
            Action::Degrade { .. } => Fault::Degrade,
            Action::Rate { .. } => Fault::Rate,
            Action::Clock { .. } => Fault::Clock,
            Action::FullDisk(_) => Fault::FullDisk,
            Action::FailSync(_) => Fault::FailSync,
            Action::HangSync { .. } => Fault::HangSync,
            Action::Power(_) => Fault::Power,
            Action::Transfer(_) => Fault::Transfer,
            Action::Member(_) => Fault::Member,
        }
    }
}

/// A deed, when it begins, and when it is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7.2} s, for {:>5.2} s: {:?}",
            self.at.as_secs_f64(),
            self.lasts.as_secs_f64(),
            self.action
        )
    }
}

/// One segment's storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What is done to one stopped member when the storm is over: whom, and how.
    pub(crate) damage: Option<(usize, Harm)>,
}

/// Draws a segment: deeds of these kinds overlap for `length`, on so many founders.
pub(crate) fn draw(seed: u64, faults: &BTreeSet<Fault>, founders: usize, length: Duration) -> Plan {
    let mut random = Mixer(seed);
    let damage = faults.contains(&Fault::Damage).then(|| {
        let harm = if random.once_in(3) { Harm::Cut } else { Harm::Flip };
        (random.below(founders as u64) as usize, harm)
    });
    let kinds: Vec<Fault> = faults.iter().copied().filter(|fault| *fault != Fault::Damage).collect();
    // Each kind once, in any order, before any comes again: also a short segment has a mix.
    let mut deck: Vec<Fault> = Vec::new();
    let (mut steps, mut at) = (Vec::new(), Duration::from_millis(500));
    // What needs long is begun while there is time.
    while at + Duration::from_secs(3) < length && !kinds.is_empty() {
        if deck.is_empty() {
            deck.clone_from(&kinds);
        }
        let fault = deck.remove(random.below(deck.len() as u64) as usize);
        let lasts = Duration::from_millis(random.between(500, 5_000)).min(length - at);
        let action = action(&mut random, fault, founders);
        steps.push(Step { at, lasts, action });
        at += Duration::from_millis(random.between(200, 2_500));
    }
    Plan { steps, damage }
}

fn action(random: &mut Mixer, fault: Fault, founders: usize) -> Action {
    let place = random.below(founders as u64) as usize;
    let minority = founders.div_ceil(2) - 1;
    // One, a minority, a majority, or all.
    let some = |random: &mut Mixer| {
        let count = match random.below(8) {
            0 => founders,
            1 => minority + 1,
            2 | 3 => minority.max(1),
            _ => 1,
        };
        random.some(count, founders)
    };
    match fault {
        Fault::Kill => Action::Kill(some(random)),
        Fault::Pause => Action::Pause(some(random)),
        Fault::Rolling => Action::Rolling(place),
        Fault::Partition => Action::Partition(match random.below(6) {
            0 => Cut::Deaf(place),
            1 => Cut::Mute(place),
            2 => Cut::Bridge(place),
            3 => Cut::OneWay(place, (place + 1 + random.below(founders as u64 - 1) as usize) % founders),
            _ => {
                let count = random.between(1, minority.max(1) as u64) as usize;
                Cut::Split(random.some(count, founders))
            }
        }),
        Fault::Degrade => Action::Degrade {
            place,
            delay_ms: random.between(0, 80),
            lost: random.below(200),
            doubled: random.below(200),
            overtaken: random.below(200),
        },
        Fault::Rate => Action::Rate { place, kilobytes_per_second: random.between(20, 500) },
        Fault::Clock => {
            let offset = [-86_400 * 400, -7_200, -30, -1, 1, 30, 7_200, 86_400 * 400];
            let offset_seconds = random.pick(&offset).copied().unwrap_or(3_600);
            Action::Clock { place, offset_seconds }
        }
        Fault::FullDisk => Action::FullDisk(place),
        Fault::FailSync => Action::FailSync(place),
        Fault::HangSync => Action::HangSync { place, milliseconds: random.between(200, 4_000) },
        Fault::Power => Action::Power(match random.below(4) {
            0 => (0..founders).collect(),
            1 => random.some(minority.max(1), founders),
            _ => vec![place],
        }),
        // Of damage there is no step: it waits until all is calm.
        Fault::Transfer | Fault::Damage => Action::Transfer(place),
        Fault::Member => {
            Action::Member(if random.once_in(2) { Change::Replace } else { Change::AddThenRemove })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn all() -> BTreeSet<Fault> {
        Fault::ALL.into_iter().collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_draws_another() {
        assert_eq!(draw(3, &all(), 5, LENGTH), draw(3, &all(), 5, LENGTH));
        assert_ne!(draw(3, &all(), 5, LENGTH), draw(4, &all(), 5, LENGTH));
    }

    #[test]
    fn every_kind_comes_and_only_what_was_asked_for() {
        let kinds = |plan: &Plan| plan.steps.iter().map(|step| step.action.fault()).collect::<BTreeSet<_>>();
        let plan = draw(1, &all(), 5, LENGTH);
        assert_eq!(kinds(&plan).len(), Fault::ALL.len() - 1, "all but damage, which comes at the end");
        assert!(plan.damage.is_some());
        let few = Fault::parse("kill,clock").unwrap();
        let plan = draw(1, &few, 5, LENGTH);
        assert_eq!((kinds(&plan), plan.damage), (few, None));
    }

    #[test]
    fn places_are_founders_and_steps_stay_within_the_segment() {
        for seed in 0..200 {
            for founders in [3, 5] {
                for step in draw(seed, &all(), founders, LENGTH).steps {
                    assert!(step.at + step.lasts <= LENGTH, "{step}");
                    let places = match step.action {
                        Action::Kill(places) | Action::Pause(places) | Action::Power(places) => places,
                        Action::Partition(Cut::OneWay(from, to)) => {
                            assert_ne!(from, to);
                            vec![from, to]
                        }
                        Action::Partition(Cut::Split(some)) => {
                            assert!(some.len() <= founders / 2 && !some.is_empty());
                            some
                        }
                        _ => vec![],
                    };
                    assert!(places.iter().all(|place| *place < founders));
                }
            }
        }
    }

    #[test]
    fn names_of_faults_are_read_and_a_wrong_one_is_told_the_right_ones() {
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(fault.name()), Ok(BTreeSet::from([fault])));
        }
        assert!(Fault::parse("kill,plague").unwrap_err().contains("no fault plague; there are kill, pause"));
    }
}

//! Storms over servers that are wrong on purpose: the verdicts must find each of them out. A checker that never says no may be one that looks at
//! nothing.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use super::{
    machine::Machine,
    nodes::Kind,
    plan::{Action, Cut, Fault, Plan, Step},
    segment::Campaign,
};
use crate::{
    Fallible,
    cluster::{Scratch, binary},
    ledger,
};

/// A server with this mistake, and the trouble in which it shows.
struct Control {
    what: &'static str,
    engine: &'static str,
    /// None: the sound build, without syncs.
    plant: Option<&'static str>,
    trouble: Trouble,
}

/// What is done to it, again and again.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// One after the other is cut off from the others, and still serves its clients: also the leader, until it notices.
    CutOff,
    /// Syncs hang everywhere, for longer than clients wait before they ask another member.
    SyncsHang,
    /// Syncs hang everywhere, and while they do, the power fails for all.
    PowerWhileSyncsHang,
    Power,
    /// Clients' work alone is enough.
    Nothing,
}

const CONTROLS: &[Control] = &[
    Control { what: "nothing is ever synced", engine: "raft", plant: None, trouble: Trouble::Power },
    Control {
        what: "a read is answered before its index is applied",
        engine: "raft",
        plant: Some("E07"),
        trouble: Trouble::Nothing,
    },
    Control {
        what: "an entry is acknowledged before it is durable",
        engine: "raft",
        plant: Some("B23"),
        trouble: Trouble::PowerWhileSyncsHang,
    },
    Control {
        what: "a read is confirmed without a quorum",
        engine: "raft",
        plant: Some("B12"),
        trouble: Trouble::CutOff,
    },
    Control {
        what: "a repeated command is executed again",
        engine: "raft",
        plant: Some("X02"),
        trouble: Trouble::SyncsHang,
    },
    Control {
        what: "sync asks nobody how far the tree has come",
        engine: "zab",
        plant: Some("S16"),
        trouble: Trouble::Nothing,
    },
    Control {
        what: "a sequential name counts the children that there are",
        engine: "zab",
        plant: Some("S17"),
        trouble: Trouble::Nothing,
    },
    Control {
        what: "of a multi that fails a part is left",
        engine: "zab",
        plant: Some("S10"),
        trouble: Trouble::Nothing,
    },
];

/// Each has so many segments to show itself.
const SEGMENTS_MAX: u64 = 6;
const SEGMENT: Duration = Duration::from_secs(15);
const FOUNDERS: usize = 3;

impl Control {
    fn name(&self) -> String {
        format!("{} ({}, {})", self.plant.unwrap_or("unsafe-no-sync"), self.engine, self.what)
    }

    fn needs(&self) -> &'static [Fault] {
        match self.trouble {
            Trouble::Power => &[Fault::Power],
            Trouble::PowerWhileSyncsHang => &[Fault::Power, Fault::HangSync],
            Trouble::SyncsHang => &[Fault::HangSync],
            Trouble::CutOff => &[Fault::Partition],
            Trouble::Nothing => &[],
        }
    }

    fn plan(&self) -> Plan {
        let mut steps = Vec::new();
        let mut add = |at_ms: u64, lasts_ms: u64, action| {
            steps.push(Step {
                at: Duration::from_millis(at_ms),
                lasts: Duration::from_millis(lasts_ms),
                action,
            });
        };
        let all: Vec<usize> = (0..FOUNDERS).collect();
        for turn in 0..3 {
            let at = 2_000 + turn * 4_000;
            match self.trouble {
                Trouble::Nothing => {}
                Trouble::Power => add(at, 500, Action::Power(all.clone())),
                Trouble::SyncsHang | Trouble::PowerWhileSyncsHang => {
                    all.iter().for_each(|place| {
                        add(at, 10, Action::HangSync { place: *place, milliseconds: 2_500 })
                    });
                    if matches!(self.trouble, Trouble::PowerWhileSyncsHang) {
                        add(at + 1_200, 500, Action::Power(all.clone()));
                    }
                }
                Trouble::CutOff => {
                    for place in &all {
                        let alone = Action::Partition(Cut::Split(vec![*place]));
                        add(at + *place as u64 * 1_300, 1_000, alone);
                    }
                }
            }
        }
        Plan { steps, damage: None }
    }
}

/// Runs each, those alone whose plants are named, if any are. Fails when one is not found out.
pub(super) fn run(only: Option<&str>, record: bool) -> Fallible<()> {
    let wanted = |control: &&Control| {
        only.is_none_or(|only| only.split(',').any(|name| name == control.plant.unwrap_or("unsafe-no-sync")))
    };
    let controls: Vec<&Control> = CONTROLS.iter().filter(wanted).collect();
    if controls.is_empty() {
        let known: Vec<&str> =
            CONTROLS.iter().map(|control| control.plant.unwrap_or("unsafe-no-sync")).collect();
        return Err(format!("there is no such control; there are {}", known.join(", ")).into());
    }
    let planted = if controls.iter().any(|control| control.plant.is_some()) { Some(build()?) } else { None };
    let (mut found, mut missed) = (Vec::new(), Vec::new());
    for control in controls {
        match one(control, planted.as_ref())? {
            Some(Found::Out(why)) => {
                println!("torture: control {} fails, as it must: {}", control.name(), super::short(&why));
                found.push(control.plant.unwrap_or("unsafe-no-sync"));
            }
            Some(Found::Nothing) => {
                println!("torture: control {}: NOT FOUND OUT in {SEGMENTS_MAX} segments", control.name());
                missed.push(control.name());
            }
            None => {}
        }
    }
    let result = if missed.is_empty() {
        format!("controls fail, as they must: {}", found.join(", "))
    } else {
        format!("controls: NOT FOUND OUT: {}", missed.join("; "))
    };
    if record {
        ledger::add("cargo xtask torture --controls", &result)?;
    }
    if missed.is_empty() { Ok(()) } else { Err(result.into()) }
}

/// What came of a control.
enum Found {
    Out(String),
    Nothing,
}

/// None: this machine cannot, which was said.
fn one(control: &Control, planted: Option<&PathBuf>) -> Fallible<Option<Found>> {
    let scratch = Scratch::new("storm")?;
    let machine = Machine::look(&scratch.0)?;
    if let Some(fault) = control.needs().iter().find(|fault| !machine.can(**fault)) {
        println!("torture: skipped: control {}: it needs the fault {}", control.name(), fault.name());
        return Ok(None);
    }
    let kind = Kind {
        binary: planted.filter(|_| control.plant.is_some()).cloned().unwrap_or_else(binary),
        engine: control.engine,
        shards: 1,
        no_sync: control.plant.is_none(),
        lease_reads: false,
        plant: control.plant,
    };
    let faults = control.needs().iter().copied().collect();
    let mut campaign = Campaign::start(&scratch.0, &machine, kind, FOUNDERS, faults, 1)?;
    let plan = control.plan();
    for _ in 0..SEGMENTS_MAX {
        if let Err(error) = campaign.segment_of(&plan, SEGMENT) {
            // A verdict says so, or a server does: one that finds that it differs from the others ends. A build that does not sync may also lose so much
            // that it does not start.
            let said = error.to_string();
            let ended = said.contains("ended by itself");
            return match campaign.verdict.take().or((ended || control.plant.is_none()).then_some(said)) {
                Some(why) => Ok(Some(Found::Out(why))),
                None => Err(format!("control {}: {error}", control.name()).into()),
            };
        }
    }
    Ok(Some(Found::Nothing))
}

/// The binary in which bugs can be planted. It is built where the sound one is, which is put back, both from what was compiled before.
fn build() -> Fallible<PathBuf> {
    let (sound, planted) = (binary(), binary().with_file_name("quorate-planted"));
    let cargo = |features: &[&str]| -> Fallible<()> {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", "quorate"])
            .args(features)
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err("the server does not build; the words above say why".into())
        }
    };
    println!("torture: building the server in which bugs can be planted");
    let built =
        cargo(&["--features", "planted-bugs"]).and_then(|()| Ok(fs::copy(&sound, &planted).map(|_| ())?));
    // Whatever came of it: what stands there is the sound one again.
    cargo(&[])?;
    built?;
    Ok(planted)
}

//! What a film is made of: a scene that somebody set up, or a seed of the campaign.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use quorate_consensus::{EngineKind, Random};
use quorate_node::{RaftConfig, ZabConfig};

use super::{Film, Happened, Recorder, What};
use crate::{
    faults::{Planned, actions_to_text},
    network::Style,
    plan::{self, Shape},
    run::{self, shape_of},
    schedule::{MILLIS, SECONDS, Time},
    wgl, witness,
    world::World,
};

/// The longest scene, in milliseconds.
const UNTIL_MS_MAX: u64 = 120_000;
/// How often it is asked whether a film is full.
const SLICE: Time = 50 * MILLIS;
/// How long before a violation the film of a seed begins.
const BEFORE: Time = 3 * SECONDS;
/// How much a search for an order may cost.
const WGL_STEPS_MAX: u64 = 60_000;

/// A cluster that somebody set up to look at: no fault but those of its list, no client but those that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// What drives the keys.
    pub engine: EngineKind,
    /// Hosts that vote at birth, 1 to 9.
    pub nodes: u64,
    /// Hosts that wait to be added, at most 3.
    pub spares: u64,
    /// Clients that ask by themselves, at most 8.
    pub clients: u32,
    /// How long such a client rests, at most, in milliseconds.
    pub rest_ms: u64,
    /// Of all that is random.
    pub seed: u64,
    /// When it ends, in milliseconds, at most 120,000.
    pub until_ms: u64,
    /// The shortest election timeout, in milliseconds; the longest is twice that. 50 to 5,000.
    pub election_ms: u64,
    /// How often a leader breaks its silence, in milliseconds; less than half an election timeout.
    pub heartbeat_ms: u64,
    /// How long a frame is under way at most, in microseconds; at least half of that. 100 to 1,000,000.
    pub delay_us: u64,
    /// Bytes of log after which a snapshot is due.
    pub snapshot_bytes: u64,
    /// Leaders of Raft read under a lease, without a round.
    pub lease: bool,
    /// Candidates of Raft ask whether they could win before they raise the term.
    pub pre_vote: bool,
}

/// Why a scene cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadScene {
    /// What is wrong.
    pub what: &'static str,
    /// What it was.
    pub was: u64,
    /// What it may be.
    pub may_be: std::ops::RangeInclusive<u64>,
}

impl fmt::Display for BadScene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.may_be.start(), self.may_be.end());
        write!(f, "{} is {}; it may be {from} to {to}", self.what, self.was)
    }
}

impl std::error::Error for BadScene {}

impl Default for Scene {
    fn default() -> Scene {
        Scene {
            engine: EngineKind::Raft,
            nodes: 5,
            spares: 0,
            clients: 0,
            rest_ms: 300,
            seed: 1,
            until_ms: 4_000,
            election_ms: 150,
            heartbeat_ms: 50,
            delay_us: 5_000,
            snapshot_bytes: 64 << 10,
            lease: false,
            pre_vote: true,
        }
    }
}

impl Scene {
    /// Checks every limit.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn check(&self) -> Result<(), BadScene> {
        let limits = [
            ("the number of nodes", self.nodes, 1..=9),
            ("the number of spare hosts", self.spares, 0..=3),
            ("the number of clients", u64::from(self.clients), 0..=8),
            ("the rest of a client in ms", self.rest_ms, 2..=60_000),
            ("the end in ms", self.until_ms, 1..=UNTIL_MS_MAX),
            ("the election timeout in ms", self.election_ms, 50..=5_000),
            ("the heartbeat in ms", self.heartbeat_ms, 5..=(self.election_ms / 2).max(5)),
            ("the delay in microseconds", self.delay_us, 100..=1_000_000),
            ("the bytes of log before a snapshot", self.snapshot_bytes, 256..=1 << 30),
        ];
        match limits.into_iter().find(|(_, was, may_be)| !may_be.contains(was)) {
            Some((what, was, may_be)) => Err(BadScene { what, was, may_be }),
            None => Ok(()),
        }
    }

    fn shape(&self) -> Shape {
        let end = self.until_ms * MILLIS;
        let election = Duration::from_millis(self.election_ms);
        let heartbeat = Duration::from_millis(self.heartbeat_ms);
        let clock_error = Duration::from_millis(15);
        let raft = RaftConfig {
            election_timeout_min: election,
            election_timeout_max: election * 2,
            heartbeat_interval: heartbeat,
            pre_vote: self.pre_vote,
            lease: self.lease.then_some(quorate_raft::Lease { clock_error }),
            ..RaftConfig::default()
        };
        let zab = ZabConfig {
            election_timeout_min: election,
            election_timeout_max: election * 2,
            heartbeat_interval: heartbeat,
            ..ZabConfig::default()
        };
        Shape {
            voters: self.nodes,
            spares: self.spares,
            clients: self.clients,
            rest_max_us: self.rest_ms * 1_000,
            filling_max: 0,
            // Nothing heals by itself: who is down for an hour is not back at the end.
            faults_end: end + 4 * 3_600 * SECONDS,
            clients_end: end,
            end,
            snapshot_log_bytes: self.snapshot_bytes,
            // Little: who looks wants to see the log go.
            catch_up_log_bytes: (self.snapshot_bytes / 4).min(256),
            sync_us: 500,
            engine: self.engine,
            raft,
            zab,
            tree: None,
            keys: None,
            shards: None,
            lasting: None,
            apply_batch_bytes_max: 4 << 20,
        }
    }
}

/// Plays a scene with these actions, and records all of it.
///
/// # Errors
/// A limit is broken; nothing was played.
pub fn film_of_scene(scene: &Scene, mut actions: Vec<Planned>) -> Result<Film, BadScene> {
    scene.check()?;
    actions.sort_by_key(|planned| planned.at);
    let shape = scene.shape();
    let mut world = World::new(shape.clone(), actions, &Random::new(scene.seed), false);
    let delay = scene.delay_us;
    world.network.style = Style { delay_min_micros: delay / 2, delay_max_micros: delay, ..Style::CALM };
    world.client_loss = 0;
    world.operator.places_are_ids = true;
    let end = shape.end;
    // In slices: what comes after a film that is full is seen by nobody.
    Ok(film(world, shape, 0, &mut |world| {
        let mut until = 0;
        while until < end && !world.trace.is_film_full() {
            until = (until + SLICE).min(end);
            world.run_until(until);
        }
    }))
}

/// Plays a seed of the campaign, with its own actions or these instead, and records its end: the last seconds before what broke, or before the end.
#[must_use]
pub fn film_of_seed(engine: EngineKind, seed: u64, actions: Option<Vec<Planned>>) -> Film {
    let shape = Shape { engine, ..shape_of(seed) };
    let actions = actions.unwrap_or_else(|| plan::faults(&shape, &Random::new(seed)));
    let report = run::run_actions(seed, shape.clone(), actions.clone(), false);
    let ends = report.violations.first().map_or(report.simulated, |first| first.at);
    let world = World::new(shape.clone(), actions, &Random::new(seed), false);
    film(world, shape, ends.saturating_sub(BEFORE), &mut run::phases)
}

fn film(mut world: World, shape: Shape, from: Time, play: &mut dyn FnMut(&mut World)) -> Film {
    world.trace.film = Some(Box::new(Recorder::new(from)));
    // A panic is a finding like any other.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(&mut world))) {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.checker.fail("panic", None, text.unwrap_or_default());
    }
    let (linearizable, wrong) = linearizable(&mut world);
    if let Some(wrong) = wrong.filter(|_| world.checker.is_clean()) {
        world.checker.fail(wrong.checker, None, wrong.what);
    }
    let recorder = world.trace.film.take().unwrap_or(Box::new(Recorder::new(0)));
    let (mut events, cut) = recorder.finish();
    let violations = std::mem::take(&mut world.checker.findings.violations);
    for violation in &violations {
        let what = What::Broken { id: violation.id, text: violation.what.clone() };
        events.push(Happened { at: violation.at.max(from), host: violation.host, what });
    }
    events.sort_by_key(|happened| happened.at);
    Film {
        groups: shape.groups().iter().map(|group| (*group, shape.engine_of(*group))).collect(),
        actions: actions_to_text(&world.actions),
        end: if violations.is_empty() && !cut { shape.end } else { world.now() },
        from,
        events,
        cut,
        hash: world.trace.hash(),
        violations,
        operations: world.history.len(),
        linearizable,
        shape,
    }
}

/// Can what clients saw be put in one order? If not, what shows it.
fn linearizable(world: &mut World) -> (Option<bool>, Option<witness::Finding>) {
    world.give_up_all();
    world.history.sort_by_key(|operation| operation.id);
    let mut values: Vec<u64> = world.history.iter().filter_map(|operation| operation.call.value()).collect();
    values.sort_unstable();
    if values.windows(2).any(|pair| pair[0] == pair[1]) {
        return (None, None);
    }
    let reference = world.checker.reference();
    let findings = witness::check_among(&world.history, &reference.truth, &reference.others);
    if let Some(first) = findings.into_iter().next() {
        return (Some(false), Some(first));
    }
    let what = |key| format!("the search finds no linearization of key {key}");
    match wgl::check(&world.history, &reference.truth, WGL_STEPS_MAX) {
        wgl::Verdict::Linearizable => (Some(true), None),
        wgl::Verdict::NotLinearizable(key) => {
            (Some(false), Some(witness::Finding { checker: "I18", what: what(key) }))
        }
        wgl::Verdict::GaveUp => (None, None),
    }
}

//! One run: faults, then a healed cluster that must elect, serve and converge, then the whole history under the checkers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_consensus::Random;

use crate::{
    faults::{Planned, actions_to_text},
    history::{Operation, Outcome},
    invariants::{Violation, quorum},
    marks::{Mark, Marks},
    plan::{self, Shape},
    schedule::{SECONDS, Time},
    wgl, witness,
    world::World,
};

/// Ten of the longest election timeouts, and a moment to start.
const HEAL_WITHIN: Time = 7 * SECONDS / 2;
/// Client operations that every run has at least.
const OPERATIONS_MIN: usize = 205;
const WGL_STEPS_MAX: u64 = 60_000;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The rolling hash over everything that happened: equal for equal (build, configuration, seed, actions).
    pub trace_hash: u64,
    /// Broken invariants; the first is the cause, what follows it may be its consequence.
    pub violations: Vec<Violation>,
    /// What was reached, how often.
    pub marks: Marks,
    /// Nanoseconds of virtual time.
    pub simulated: u64,
    /// Client operations that ended.
    pub operations: u64,
    /// Events handled.
    pub events: u64,
    /// What was done to the cluster.
    pub actions: Vec<Planned>,
    /// The shape of the cluster.
    pub shape: Shape,
    /// The events in words, if they were wanted.
    pub lines: Vec<String>,
}

impl Report {
    /// The list of actions as text.
    #[must_use]
    pub fn actions_text(&self) -> String {
        actions_to_text(&self.actions)
    }
}

/// Runs a seed.
#[must_use]
pub fn run_seed(seed: u64, trace: bool) -> Report {
    let random = Random::new(seed);
    let shape = plan::shape(&mut random.fork(10));
    let actions = plan::plan(&shape, &mut random.fork(11));
    run_actions(seed, shape, actions, trace)
}

/// Runs a seed with this shape and this list of actions instead of its own.
#[must_use]
pub fn run_actions(seed: u64, shape: Shape, actions: Vec<Planned>, trace: bool) -> Report {
    let mut world = World::new(shape.clone(), actions, &Random::new(seed), trace);
    // A panic is a finding like any other, and the world is only looked at afterwards.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| phases(&mut world))) {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.checker.fail("panic", None, text.unwrap_or_default());
    }
    let lines = world.trace.take_lines();
    Report {
        seed,
        trace_hash: world.trace.hash(),
        violations: std::mem::take(&mut world.checker.violations),
        simulated: world.schedule.now(),
        operations: world.history.len() as u64,
        events: world.trace.events,
        marks: world.marks,
        actions: world.actions,
        shape,
        lines,
    }
}

fn phases(world: &mut World) {
    let shape = world.shape.clone();
    world.run_until(shape.faults_end);
    world.heal();
    world.run_until(shape.faults_end + HEAL_WITHIN);
    let served_before = answered(&world.history);
    let leader = healed(world);
    world.run_until(shape.clients_end - SECONDS);
    // A run in which the cluster was down most of the time goes on until clients have had their say.
    while world.history.len() < OPERATIONS_MIN
        && world.shape.clients_end < 120 * SECONDS
        && world.checker.violations.is_empty()
    {
        world.shape.clients_end += 4 * SECONDS;
        world.shape.end += 4 * SECONDS;
        let until = world.shape.clients_end - SECONDS;
        world.run_until(until);
    }
    let shape = world.shape.clone();
    world.run_until(shape.clients_end);
    if world.checker.violations.is_empty() && leader.is_some() {
        served(world, served_before);
    }
    world.run_until(shape.end);
    if world.checker.violations.is_empty() {
        if let Some(leader) = leader {
            converged(world, leader);
        }
        world.give_up_all();
        checked(world);
    }
}

fn answered(history: &[Operation]) -> usize {
    history.iter().filter(|o| !matches!(o.outcome, Outcome::Failed | Outcome::Unknown)).count()
}

/// I20: a healed cluster has a leader within ten election timeouts. The leader's term; `None` if the lost hosts leave no quorum.
fn healed(world: &mut World) -> Option<(usize, u64)> {
    if !world.checker.violations.is_empty() {
        return None;
    }
    let membership = world.checker.membership().clone();
    let up: Vec<_> =
        world.hosts.iter().filter(|host| host.runs() && !host.is_lost()).map(|host| host.id).collect();
    if !quorum(&membership, &up) {
        let lost = world.hosts.iter().any(|host| host.is_lost());
        if !lost {
            world.checker.fail("I20", None, format!("healed, but only {up:?} of {membership:?} run"));
        }
        return None;
    }
    let Some(leader) = world.checker.leader(&world.hosts) else {
        let roles = (0..world.hosts.len()).map(|host| {
            let status = world.checker.status(host);
            (status.role, status.epoch.0, status.last)
        });
        let roles: Vec<_> = roles.collect();
        world.checker.fail("I20", None, format!("no leader after the heal: {roles:?}, {membership:?}"));
        return None;
    };
    Some((leader, world.checker.status(leader).epoch.0))
}

/// I20: a healed cluster serves writes and reads.
fn served(world: &mut World, before: usize) {
    let served = answered(&world.history) - before;
    if served < world.clients.len() * 3 {
        let open: Vec<_> = world.clients.iter().filter_map(|client| client.current.as_ref()).collect();
        let what = format!("only {served} operations were served after the heal; waiting: {open:?}");
        world.checker.fail("I20", None, what);
    }
}

/// I20: all members end up with the same log and state. I21: the leader of the healed cluster stays.
fn converged(world: &mut World, (leader, term): (usize, u64)) {
    let membership = world.checker.membership().clone();
    let now_leads = world.checker.leader(&world.hosts);
    let now_term = now_leads.map_or(0, |leader| world.checker.status(leader).epoch.0);
    let left = !membership.is_voter(world.hosts[leader].id);
    // A host that stays cut off may leave the others a late election.
    if (now_leads, now_term) != (Some(leader), term) && !left && world.outcast.is_none() {
        let what =
            format!("host {leader} led term {term} after the heal; now {now_leads:?} leads term {now_term}");
        world.checker.fail("I21", None, what);
    }
    if membership.is_joint() {
        world.checker.fail("I20", None, format!("still joint at the end: {membership:?}"));
    }
    let end = world.checker.committed();
    for host in 0..world.hosts.len() {
        let this = &world.hosts[host];
        if !membership.contains(this.id) || this.is_lost() || world.outcast == Some(host) {
            continue;
        }
        let status = world.checker.status(host);
        let replica = this.process.as_ref().map(|process| process.half.replica().applied().index.0);
        let running = world.node(host).is_some();
        if !running || status.commit.0 != end || status.last.index.0 != end || replica != Some(end) {
            let what = format!(
                "did not converge: runs {running}, role {:?}, commit {}, last {}, applied {replica:?}, committed anywhere {end}",
                status.role, status.commit, status.last
            );
            world.checker.fail("I20", Some(host), what);
        }
    }
    world.marks.hit(Mark::Healed);
}

/// The whole history, by witness and by search.
fn checked(world: &mut World) {
    world.history.sort_by_key(|operation| operation.id);
    let truth = &world.checker.reference.truth;
    let findings = witness::check(&world.history, truth);
    let verdict = wgl::check(&world.history, truth, WGL_STEPS_MAX);
    for finding in findings {
        world.checker.fail(finding.checker, None, finding.what);
    }
    match verdict {
        wgl::Verdict::Linearizable => world.marks.hit(Mark::WglChecked),
        wgl::Verdict::GaveUp => world.marks.hit(Mark::WglGaveUp),
        wgl::Verdict::NotLinearizable(key) => {
            world.marks.hit(Mark::WglChecked);
            world.checker.fail("I18", None, format!("the search finds no linearization of key {key}"));
        }
    }
}

//! All worlds that can be reached: in breadth first, so that what goes wrong early is found in few steps; then each in depth, so that memory is needed
//! for little more than fingerprints.
//!
//! A search that is cut off should have been everywhere a little: whoever goes into depth takes what may happen in an order of its own, and turns to another
//! world after a while.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use quorate_consensus::{Plant, Random};

use crate::{
    node::Explored,
    scenario::Scenario,
    visited::Visited,
    world::{Action, Violation, World},
};

/// Worlds that are kept in breadth before the search goes into depth.
const BREADTH: usize = 5_000;
/// Worlds that are looked at below one of them before it is another one's turn.
const TURN: usize = 2_000;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Distinct worlds, at most.
    pub worlds: u64,
    /// Threads.
    pub threads: usize,
    /// A bug to plant, in builds that have them.
    pub plant: Option<Plant>,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Distinct worlds.
    pub worlds: u64,
    /// Steps, those to worlds that were known included.
    pub steps: u64,
    /// The longest life that was looked at.
    pub depth: usize,
    /// Nothing is left that was not tried.
    pub is_exhausted: bool,
    /// Worlds with two members that lead, of different epochs.
    pub two_leaders: u64,
    /// The furthest commit.
    pub commit: u64,
    /// The first violation, and how it came to that, step by step.
    pub violation: Option<(Violation, Vec<String>)>,
}

/// The way to a world, newest step first.
struct Step {
    action: Action,
    before: Option<Arc<Step>>,
    depth: usize,
}

struct Place<E: Explored> {
    world: World<E>,
    way: Option<Arc<Step>>,
}

struct Search<'a, E: Explored> {
    scenario: &'a Scenario,
    limits: Limits,
    visited: Visited,
    worlds: AtomicU64,
    steps: AtomicU64,
    depth: AtomicUsize,
    two_leaders: AtomicU64,
    commit: AtomicU64,
    /// Nothing more is to be done.
    over: AtomicBool,
    violation: Mutex<Option<(Violation, Vec<Action>)>>,
    /// Worlds for whoever has nothing to do, and how many have something.
    shared: Mutex<(VecDeque<Place<E>>, usize)>,
    hungry: AtomicUsize,
}

/// Tries everything that can happen in this scenario.
#[must_use]
pub fn explore<E: Explored>(scenario: &Scenario, limits: Limits) -> Report {
    let search = Search::<E> {
        scenario,
        limits,
        visited: Visited::new(),
        worlds: AtomicU64::new(0),
        steps: AtomicU64::new(0),
        depth: AtomicUsize::new(0),
        two_leaders: AtomicU64::new(0),
        commit: AtomicU64::new(0),
        over: AtomicBool::new(false),
        violation: Mutex::new(None),
        shared: Mutex::new((VecDeque::new(), 0)),
        hungry: AtomicUsize::new(0),
    };
    plant(limits.plant);
    let is_exhausted = match World::new(scenario) {
        Ok(world) => search.run(world),
        Err(violation) => {
            search.found(violation, Vec::new());
            false
        }
    };
    search.report(is_exhausted)
}

impl<E: Explored> Search<'_, E> {
    fn run(&self, world: World<E>) -> bool {
        let mut frontier = VecDeque::from([Place { world, way: None }]);
        let (mut actions, mut next) = (Vec::new(), Vec::new());
        let random = &mut Random::new(0);
        while frontier.len() < BREADTH && !self.over.load(Ordering::Relaxed) {
            let Some(place) = frontier.pop_front() else { return true };
            self.expand(&place, random, &mut actions, &mut next);
            frontier.extend(next.drain(..));
        }
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = (frontier, 0);
        thread::scope(|scope| {
            for thread in 1..=self.limits.threads.max(1) as u64 {
                scope.spawn(move || self.work(Random::new(thread)));
            }
        });
        !self.over.load(Ordering::Relaxed)
    }

    /// One thread: takes a world, and looks at all that come after it.
    fn work(&self, mut random: Random) {
        plant(self.limits.plant);
        let (mut stack, mut actions) = (Vec::new(), Vec::new());
        while let Some(place) = self.take() {
            stack.push(place);
            let mut turn = 0;
            while let Some(place) = stack.pop() {
                if self.over.load(Ordering::Relaxed) {
                    return;
                }
                self.expand(&place, &mut random, &mut actions, &mut stack);
                turn += 1;
                if turn == TURN {
                    self.shared.lock().unwrap_or_else(PoisonError::into_inner).0.extend(stack.drain(..));
                } else if stack.len() > 8 && self.hungry.load(Ordering::Relaxed) > 0 {
                    // The oldest have most below them.
                    let half = stack.len() / 2;
                    self.shared.lock().unwrap_or_else(PoisonError::into_inner).0.extend(stack.drain(..half));
                }
            }
            self.shared.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        }
    }

    /// A world to begin with; none once nobody has any.
    fn take(&self) -> Option<Place<E>> {
        let mut waits = false;
        loop {
            {
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(place) = shared.0.pop_front() {
                    shared.1 += 1;
                    self.hungry.fetch_sub(usize::from(waits), Ordering::Relaxed);
                    return Some(place);
                }
                if shared.1 == 0 || self.over.load(Ordering::Relaxed) {
                    return None;
                }
            }
            self.hungry.fetch_add(usize::from(!waits), Ordering::Relaxed);
            waits = true;
            thread::yield_now();
        }
    }

    /// Every world one step from this one that was not seen before.
    fn expand(
        &self,
        place: &Place<E>,
        random: &mut Random,
        actions: &mut Vec<Action>,
        next: &mut Vec<Place<E>>,
    ) {
        actions.clear();
        place.world.actions(self.scenario, actions);
        let depth = place.way.as_ref().map_or(0, |step| step.depth) + 1;
        for at in (1..actions.len()).rev() {
            actions.swap(at, random.below(at as u64 + 1) as usize);
        }
        for action in actions.drain(..) {
            let mut world = place.world.clone();
            let outcome = world.act(action, self.scenario);
            self.steps.fetch_add(1, Ordering::Relaxed);
            let way = || Some(Arc::new(Step { action, before: place.way.clone(), depth }));
            if let Err(violation) = outcome {
                self.found(violation, actions_of(way()));
                return;
            }
            if self.visited.insert(world.fingerprint()) {
                self.note(&world, depth);
                next.push(Place { world, way: way() });
            }
        }
    }

    fn note(&self, world: &World<E>, depth: usize) {
        let worlds = self.worlds.fetch_add(1, Ordering::Relaxed) + 1;
        if worlds >= self.limits.worlds {
            self.over.store(true, Ordering::Relaxed);
        }
        self.depth.fetch_max(depth, Ordering::Relaxed);
        self.commit.fetch_max(world.commit().0, Ordering::Relaxed);
        if world.leaders() > 1 {
            self.two_leaders.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn found(&self, violation: Violation, way: Vec<Action>) {
        self.over.store(true, Ordering::Relaxed);
        let mut first = self.violation.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert((violation, way));
    }

    fn report(self, is_exhausted: bool) -> Report {
        let violation = self.violation.into_inner().unwrap_or_else(PoisonError::into_inner);
        Report {
            worlds: self.worlds.into_inner(),
            steps: self.steps.into_inner(),
            depth: self.depth.into_inner(),
            is_exhausted,
            two_leaders: self.two_leaders.into_inner(),
            commit: self.commit.into_inner(),
            violation: violation.map(|(violation, way)| (violation, told::<E>(self.scenario, &way))),
        }
    }
}

/// Bugs are planted on the thread that asks.
fn plant(plant: Option<Plant>) {
    #[cfg(feature = "planted-bugs")]
    quorate_consensus::activate_plant(plant.unwrap_or_default());
    #[cfg(not(feature = "planted-bugs"))]
    assert!(plant.is_none(), "this build has no bugs to plant");
}

/// The steps, oldest first.
fn actions_of(mut way: Option<Arc<Step>>) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some(step) = way {
        actions.push(step.action);
        way = step.before.clone();
    }
    actions.reverse();
    actions
}

/// A life again, in words.
fn told<E: Explored>(scenario: &Scenario, way: &[Action]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Ok(mut world) = World::<E>::new(scenario) {
        for action in way {
            lines.push(world.told(*action));
            if world.act(*action, scenario).is_err() {
                break;
            }
        }
        lines.push(format!("{world:?}"));
    }
    lines
}

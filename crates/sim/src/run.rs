//! One run: faults, then a healed cluster that must elect, serve and converge, then the whole history under the checkers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_consensus::{EngineKind, Random};
use quorate_service::{META, TREE};

use crate::{
    clients::Client,
    etcd::KeysShape,
    faults::{Planned, actions_to_text},
    history::{Operation, Outcome},
    invariants::{Oracle, Violation, quorum},
    lasting::{LASTING_AFTER, Lasting},
    marks::{Mark, Marks},
    operator::Waiter,
    plan::{self, Shape},
    schedule::{MILLIS, SECONDS, Time},
    shards::{ShardsShape, is_shard},
    wgl, witness,
    world::World,
    zoo::{TreeShape, Zoo},
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
    fn of(seed: u64, mut world: World, shape: Shape) -> Report {
        let lines = world.trace.take_lines();
        Report {
            seed,
            trace_hash: world.trace.hash(),
            violations: std::mem::take(&mut world.checker.findings.violations),
            simulated: world.schedule.now(),
            operations: world.history.len() as u64,
            events: world.trace.events,
            marks: world.marks,
            actions: world.actions,
            shape,
            lines,
        }
    }

    /// The list of actions as text.
    #[must_use]
    pub fn actions_text(&self) -> String {
        actions_to_text(&self.actions)
    }
}

/// Runs a seed.
#[must_use]
pub fn run_seed(engine: EngineKind, seed: u64, trace: bool) -> Report {
    let shape = Shape { engine, ..shape_of(seed) };
    let actions = plan::faults(&shape, &Random::new(seed));
    run_actions(seed, shape, actions, trace)
}

/// Runs a seed of a cluster whose keys are divided.
#[must_use]
pub fn run_sharded_seed(engine: EngineKind, seed: u64, trace: bool) -> Report {
    let shape = sharded_shape_of(engine, seed);
    let actions = plan::faults(&shape, &Random::new(seed));
    run_actions(seed, shape, actions, trace)
}

/// The shape of a seed's run whose keys are divided.
#[must_use]
pub fn sharded_shape_of(engine: EngineKind, seed: u64) -> Shape {
    let random = Random::new(seed);
    let keys = Some(KeysShape::drawn(&mut random.fork(13)));
    let shards = Some(ShardsShape::draw(engine, &mut random.fork(18)));
    Shape { engine, tree: None, keys, shards, ..shape_of(seed) }
}

/// A run that must fail: in the middle of it a checker is told of a state that its host does not have. Where this one is found clean, no other that is says anything.
pub(crate) fn canary(engine: EngineKind) -> Report {
    let shape = Shape { engine, voters: 3, spares: 0, tree: None, keys: None, ..shape_of(1) };
    let mut world = World::new(shape.clone(), Vec::new(), &Random::new(1), false);
    world.run_until(2 * SECONDS);
    world.lies = true;
    world.run_until(4 * SECONDS);
    Report::of(1, world, shape)
}

/// The shape of a seed's run, on Raft.
#[must_use]
pub fn shape_of(seed: u64) -> Shape {
    let random = Random::new(seed);
    let tree = TreeShape::draw(&mut random.fork(12));
    let keys = KeysShape::draw(&mut random.fork(13));
    let lasting = Lasting::draw(&mut random.fork(14));
    let mut shape = Shape { tree, keys, lasting, ..plan::shape(&mut random.fork(10)) };
    plan::narrow(&mut shape, &mut random.fork(15));
    // What lasts begins later than the healing, and clients that rest for long are to have as long after it as in any other run: {8 clients rest for up to 1.44 s
    // and have 2.5 s}: each of their 23 operations was answered at once, and they were one too few.
    if shape.lasting.is_some() {
        shape.clients_end += LASTING_AFTER;
        shape.end += LASTING_AFTER;
    }
    shape
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
    Report::of(seed, world, shape)
}

pub(crate) fn phases(world: &mut World) {
    let shape = world.shape.clone();
    world.run_until(shape.faults_end);
    world.heal();
    let mut healed_by = shape.faults_end + HEAL_WITHIN;
    if shape.lasting.is_some() {
        world.run_until(shape.faults_end + LASTING_AFTER);
        world.begin_lasting();
        healed_by += LASTING_AFTER;
    }
    world.run_until(healed_by);
    let_renew(world, healed_by);
    let (healed_at, served_before) = (world.now(), answered(&world.history));
    world.zoo.iter_mut().for_each(Zoo::begin_tallies);
    world.healed_attempts = world.clients.iter().map(Client::newest_attempt).collect();
    let leaders = healed(world);
    world.run_until(shape.clients_end - SECONDS);
    // A run in which the cluster was down most of the time goes on until clients have had their say.
    while world.history.len() < OPERATIONS_MIN
        && world.shape.clients_end < 120 * SECONDS
        && world.checker.is_clean()
    {
        world.shape.clients_end += 4 * SECONDS;
        world.shape.end += 4 * SECONDS;
        let until = world.shape.clients_end - SECONDS;
        world.run_until(until);
    }
    world.note_commits();
    let shape = world.shape.clone();
    world.run_until(shape.clients_end);
    if world.checker.is_clean()
        && let Some(leaders) = &leaders
    {
        served(world, healed_at, served_before);
        // It may have come only since.
        if world.shape.tree.is_some() && leaders.len() == world.shape.groups().len() {
            tree_served(world);
        }
    }
    world.run_until(shape.end);
    if leaders.is_some() {
        let_settle(world);
    }
    if world.checker.is_clean() {
        if let Some(leaders) = &leaders {
            converged(world, leaders);
            world.judge_addition();
            world.check_shards();
        }
        tree_checked(world, leaders.is_some());
        if leaders.is_some() {
            world.check_keys();
        }
        world.give_up_all();
        checked(world);
    }
}

/// A full epoch of ZAB ends, and its leader's lead with it, until the next one is established (rule Z01). {3 leads epoch 32 from 25.23 s on; its last proposal is
/// committed at 25.488; at 25.5 all have promised 33 to 3}: the cluster has healed long since, and is looked at in just that moment. A group whose last committed
/// entry fills its epoch gets one election timeout for it; one that has no leader for any other reason gets none.
///
/// And a leader whose disk hangs for ever hands over a while after that disk first owes something. {nobody writes; it hangs from 22.998 s on, and is asked for the first time
/// at 24; the lead is handed over at 26.49}: that may be the moment at which it is looked at, too.
fn let_renew(world: &mut World, healed_by: Time) {
    let renews = |world: &World| {
        let mut groups = world.checker.groups().iter();
        let hands_over = world.shape.lasting == Some(Lasting::HungDisk) && world.outcast.is_some();
        groups.any(|oracle| oracle.leader(&world.hosts).is_none() && (hands_over || oracle.epoch_is_full()))
    };
    let timeout = u64::try_from(world.shape.zab.election_timeout_max.as_nanos()).unwrap_or(u64::MAX);
    let mut at = healed_by;
    let end = at.saturating_add(timeout);
    while at < end && world.checker.is_clean() && renews(world) {
        at += MILLIS;
        world.run_until(at);
    }
}

/// Stewards act by themselves, whether there are clients or not. {A lease ends at 31.9996 s, and the run at 32}: its end is in the leader's log and not yet committed.
/// There is some instant within a second at which nothing is under way; a member that is stuck is so for the whole of it.
fn let_settle(world: &mut World) {
    let uneven = |world: &World| {
        world.checker.groups().iter().enumerate().any(|(place, oracle)| {
            let is_uneven = |host: usize| {
                oracle.membership().contains(world.hosts[host].id)
                    && standing(world, host, place).is_some_and(|it| !it.is_even())
            };
            (0..world.hosts.len()).any(is_uneven)
        })
    };
    let mut at = world.shape.end;
    let end = at + SECONDS;
    while at < end && world.checker.is_clean() && uneven(world) {
        at += MILLIS;
        world.run_until(at);
    }
}

/// Operations that needed a leader, and got their answer.
fn answered(history: &[Operation]) -> usize {
    history.iter().filter(|o| is_answered(o)).filter(|o| !o.call.is_serializable()).count()
}

fn is_answered(operation: &Operation) -> bool {
    !matches!(operation.outcome, Outcome::Failed | Outcome::Unknown)
}

/// I20: every group of a healed cluster has a leader within ten election timeouts. The leaders and their terms; `None` if too few hosts are left.
fn healed(world: &mut World) -> Option<Leaders> {
    if !world.checker.is_clean() {
        return None;
    }
    let up: Vec<_> =
        world.hosts.iter().filter(|host| host.runs() && !host.is_lost()).map(|host| host.id).collect();
    let wanted = world.checker.records().desired_membership();
    let short = {
        let memberships = world.checker.groups().iter().map(Oracle::membership).chain([&wanted]);
        let mut short = memberships.filter(|m| !m.voters().is_empty() && !quorum(m, &up));
        short.next().cloned()
    };
    if let Some(short) = short {
        if world.hosts.iter().any(|host| host.is_lost()) {
            world.marks.hit(Mark::TooFewLeft);
        } else {
            world.checker.fail("I20", None, format!("healed, but only {up:?} of {short:?} run"));
        }
        return None;
    }
    let leaders = leaders(world);
    for (place, leader) in leaders.iter().enumerate() {
        if leader.is_none() {
            let oracle = &world.checker.groups()[place];
            let group = oracle.group();
            let stand = |host| {
                let status = oracle.status(host);
                (status.role, status.epoch.0, status.last, &status.membership)
            };
            let stand: Vec<_> = (0..world.hosts.len()).map(stand).collect();
            let what = format!("no leader of {group} after the heal: {stand:?}, {:?}", oracle.membership());
            world.checker.fail("I20", None, what);
            return None;
        }
    }
    Some(leaders)
}

/// Of each group: the host that leads, and its term.
type Leaders = Vec<Option<(usize, u64)>>;

fn leaders(world: &World) -> Leaders {
    let leader =
        |oracle: &Oracle| oracle.leader(&world.hosts).map(|leader| (leader, oracle.status(leader).epoch.0));
    world.checker.groups().iter().map(leader).collect()
}

/// I20: a healed cluster serves writes and reads.
///
/// Few may be those of clients that ask little: {eight that rest for up to 1.44 s, and like stale reads}. Then each of whatever they asked was answered.
fn served(world: &mut World, healed_at: Time, before: usize) {
    let served = answered(&world.history) - before;
    let (clients, now) = (world.clients.len(), world.now());
    let mut asked = world.history.iter().filter(|o| o.invoked >= healed_at && o.invoked + SECONDS <= now);
    let few_asked = served >= clients && asked.all(is_answered);
    if served < clients * 3 && !few_asked {
        let open: Vec<_> = world.clients.iter().filter_map(|client| client.current.as_ref()).collect();
        let shards = world.shards_in_words();
        let what = format!("only {served} operations were served after the heal; waiting: {open:?}{shards}");
        world.checker.fail("I20", None, what);
    }
}

/// I20: and so is every one of the tree's clients, unless none may write.
fn tree_served(world: &mut World) {
    if world.quiet_until > world.shape.clients_end - 3 * SECONDS {
        return;
    }
    let tallies = world.zoo.as_ref().map(Zoo::tallies).unwrap_or_default();
    if tallies.iter().any(|tally| tally.is_in_vain(world.now())) {
        let what = format!("since the heal, some of the tree's clients were not served: {tallies:?}");
        world.checker.fail("I20", None, what);
    }
}

/// K2 and K6, of all that was committed; K6 in a cluster that has healed.
fn tree_checked(world: &mut World, healed: bool) {
    let log = world.checker.group(TREE).and_then(|oracle| oracle.execution.tree());
    let (Some(zoo), Some(log)) = (&world.zoo, log) else { return };
    // {Epochs of 64 zxids, full every second; a client of 7 s that is gone at 23 s}: each new leader's steward gives all sessions their whole time anew, as ZooKeeper's
    // does, and this one's never ends. Where epochs are long there is one leader after the healing.
    let calm = healed && !world.shape.has_short_epochs(TREE);
    let sessions = if calm { zoo.check_sessions(log, world.schedule.now()) } else { Ok(()) };
    let wrong = [zoo.check_order(log), sessions].into_iter().filter_map(Result::err);
    for wrong in wrong.collect::<Vec<_>>() {
        world.checker.fail(wrong.id, None, wrong.what);
    }
}

/// I20: all members end up with the same logs and states, every change of members is completed, and who was removed has stopped. I21: the leaders
/// of the healed cluster stay.
fn converged(world: &mut World, before: &Leaders) {
    let records = world.checker.records();
    let now = leaders(world);
    for (place, leader) in now.iter().copied().enumerate() {
        let group = world.checker.groups()[place].group();
        let before = before.get(place).copied().unwrap_or(leader);
        let membership = world.checker.groups()[place].membership().clone();
        let left = before.is_some_and(|(host, _)| !membership.is_voter(world.hosts[host].id));
        // A host that stays cut off may leave the others a late election.
        // An epoch of ZAB that fills up ends, and its leader's lead with it (rule Z01).
        let short = world.shape.has_short_epochs(group);
        if leader != before && !left && !short && !world.may_elect_late() {
            let what = format!("{group} led by {before:?}, now by {leader:?}");
            world.checker.fail("I21", None, what);
        }
        if membership != records.desired_membership() {
            let what = format!(
                "{group} is {membership:?} at the end, the records want {:?}",
                records.desired_membership()
            );
            world.checker.fail("I20", None, what);
        }
        for host in 0..world.hosts.len() {
            if membership.contains(world.hosts[host].id) {
                member_converged(world, host, place);
            }
        }
    }
    world.judge_hung_disk();
    for host in 0..world.hosts.len() {
        nobody_waits(world, host);
        let this = &world.hosts[host];
        // One that was removed before any leader had spoken to it, or that knows only of nodes which have gone as well, or are cut off for ever, has nobody to ask.
        // It holds nothing that it could harm anybody with, and who removed it also stops it.
        let answers = |node| {
            let outcast = world.outcast.is_some_and(|outcast| world.hosts[outcast].id == node);
            records.member(node).is_some() && !outcast
        };
        let somebody = |oracle: &Oracle| {
            oracle.is_open(host, this.life) && oracle.status(host).membership.members().any(answers)
        };
        let may_ask = world.checker.groups().iter().any(somebody);
        let removed = records.is_removed(this.id) && !this.is_lost() && world.outcast != Some(host);
        if removed && this.runs() && may_ask {
            let what = format!("node {} was removed and runs on", this.id);
            world.checker.fail("I20", Some(host), what);
        }
    }
    world.marks.hit(Mark::Healed);
}

/// I20: what clients asked once the cluster had healed is answered three seconds after the last of them has asked.
///
/// Not what they asked before: a proposal that was sent on and lost is of an unknown fate for as long as that leader leads.
fn nobody_waits(world: &mut World, host: usize) {
    let this = &world.hosts[host];
    let apart = (0..world.checker.groups().len()).any(|place| world.is_cut_off(host, place));
    let Some(process) = this.process.as_ref().filter(|_| this.runs() && !this.is_lost() && !apart) else {
        return;
    };
    let late = |waiter: &Waiter| match waiter {
        Waiter::Client { client, attempt } => {
            world.healed_attempts.get(*client).is_some_and(|old| attempt > old)
        }
        _ => false,
    };
    let clients = process.waiters.values().filter(|waiter| late(waiter)).count();
    if clients > 0 {
        let shards = world.shards_in_words();
        let what = format!("{clients} requests of clients are never answered{shards}");
        world.checker.fail("I20", Some(host), what);
    }
}

/// How a member of a group stands to what is committed in it.
struct Standing {
    runs: bool,
    status: quorate_consensus::Status,
    applied: Option<u64>,
    committed: u64,
    waiting: usize,
}

impl Standing {
    /// It has all that is committed, and nothing else.
    fn is_even(&self) -> bool {
        let (status, end) = (&self.status, self.committed);
        let even = status.commit.0 == end && status.last.index.0 == end && self.applied == Some(end);
        self.runs && even && self.waiting == 0
    }
}

/// None of a host that nothing is expected of.
fn standing(world: &World, host: usize, place: usize) -> Option<Standing> {
    let this = &world.hosts[host];
    if this.is_lost() || world.is_cut_off(host, place) {
        return None;
    }
    let oracle = &world.checker.groups()[place];
    let (committed, status) = (oracle.committed(), oracle.status(host));
    let state = this.process.as_ref().map(|process| &process.half.state);
    let group = oracle.group();
    let applied = state.and_then(|state| match group {
        group if is_shard(group) => Some(state.shards()?.applied(group)?.0),
        META => Some(state.meta().applied().index.0),
        TREE => state.tree().map(|tree| tree.applied().index.0),
        _ => Some(state.keys().applied().index.0),
    });
    let waiting = state.map_or(0, quorate_service::State::settling);
    let status = status.clone();
    Some(Standing { runs: world.node(host).is_some(), status, applied, committed, waiting })
}

fn member_converged(world: &mut World, host: usize, place: usize) {
    let Some(it) = standing(world, host, place).filter(|it| !it.is_even()) else { return };
    let Standing { runs, status, applied, committed, waiting } = it;
    let group = world.checker.groups()[place].group();
    let what = format!(
        "did not converge in {group}: runs {runs}, role {:?}, commit {}, last {}, applied {applied:?}, committed anywhere {committed}, {waiting} changes unanswered",
        status.role, status.commit, status.last
    );
    world.checker.fail("I20", Some(host), what);
}

/// The whole history, by witness and by search.
fn checked(world: &mut World) {
    world.history.sort_by_key(|operation| operation.id);
    let reference = world.checker.reference();
    let truth = &reference.truth;
    let findings = witness::check_among(&world.history, truth, &reference.others);
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

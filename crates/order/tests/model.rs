//! Shards, an order group and their replicas, in any order of events: two leaders that log the same, reports that are late or lost, shards without a quorum, an order
//! group whose leader changes. In the end everybody must have come to one order, which a naive reading of the logs gives as well.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_consensus::{Duration, Instant, Random, fingerprint_of};
use quorate_order::{
    Command, Lane, LaneEntry, Mark, Orderer, Outcome, Part, Placement, Placer, Report, Scribe, ScribeConfig,
    ShardId, Step, Turn, TxnId, Verdict,
};

/// The revision at which the order begins.
const BEGIN: u64 = 1;

/// What a turn or a verdict comes to: it depends on all that was evaluated before, so that replicas which evaluate in another order are found out.
#[derive(Clone, Debug, Default)]
struct State(u64);

impl State {
    fn turn(&mut self, command: &Bytes) -> Turn {
        self.0 = fingerprint_of(&(self.0, &command[..]));
        Turn { changes: !self.0.is_multiple_of(4) }
    }

    fn verdict(&self, txn: TxnId) -> Verdict {
        let drawn = fingerprint_of(&(self.0, txn.0));
        Verdict {
            txn,
            holds: !drawn.is_multiple_of(8),
            changes: [16, 32].map(|bit| Some(drawn & bit != 0).filter(|_| !(drawn >> 8).is_multiple_of(bit))),
        }
    }

    fn branch(&mut self, txn: TxnId, branch: bool) {
        self.0 = fingerprint_of(&(self.0, txn.0, branch));
    }
}

/// One replica of a shard.
struct Replica {
    read: usize,
    lane: Lane<Bytes>,
    placer: Placer,
    state: State,
    verdict: Option<Verdict>,
    /// Every verdict that it ever came to.
    said: BTreeMap<TxnId, Verdict>,
    placed: Vec<Placement>,
}

impl Replica {
    fn new(shard: ShardId, order: &Orderer) -> Replica {
        Replica {
            read: 0,
            lane: Lane::default(),
            placer: Placer::new(shard, order.slices(shard).unwrap().clone()),
            state: State::default(),
            verdict: None,
            said: BTreeMap::new(),
            placed: Vec::new(),
        }
    }

    fn read(&mut self, log: &[LaneEntry<Bytes>]) {
        let Some(entry) = log.get(self.read) else { return };
        self.read += 1;
        let mut steps = Vec::new();
        self.lane.take(entry.clone(), &mut steps);
        for step in steps {
            match step {
                Step::Turn(command) => self.placer.evaluated(self.state.turn(&command)),
                Step::Ask(txn, _) => {
                    let verdict = self.state.verdict(txn);
                    self.verdict = Some(verdict);
                    self.said.insert(txn, verdict);
                }
                Step::Branch(txn, branch) => {
                    self.state.branch(txn, branch);
                    self.verdict = None;
                }
                Step::Void(_) => self.verdict = None,
            }
        }
    }
}

struct Shard {
    id: ShardId,
    log: Vec<LaneEntry<Bytes>>,
    replicas: [Replica; 2],
    without_quorum: bool,
}

/// When something was asked for and when somebody first knew its number, on one clock.
#[derive(Debug, Default)]
struct Span {
    asked: u64,
    placed: Option<(u64, u64, bool)>,
}

struct World {
    random: Random,
    clock: u64,
    now: Instant,
    shards: Vec<Shard>,
    order_log: Vec<Command>,
    /// Each with how much of the log it has applied; the first one leads.
    orders: [(Orderer, usize); 2],
    scribe: Scribe,
    mail: Vec<Report>,
    /// Of the commands of each shard, by their bytes, and of transactions.
    spans: BTreeMap<(ShardId, u64), Span>,
    txns: BTreeMap<TxnId, Span>,
    names: u64,
}

const CONFIG: ScribeConfig = ScribeConfig {
    cut_interval: Duration::from_millis(1),
    void_after: Duration::from_millis(40),
    grace: Duration::from_millis(10),
};

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let ids: Vec<ShardId> = (1..=random.between(1, 4) as u32).map(ShardId).collect();
        let order = Orderer::new(BEGIN, ids.iter().copied());
        let shard = |id: &ShardId| Shard {
            id: *id,
            log: Vec::new(),
            replicas: [Replica::new(*id, &order), Replica::new(*id, &order)],
            without_quorum: false,
        };
        World {
            shards: ids.iter().map(shard).collect(),
            orders: [(order.clone(), 0), (order, 0)],
            scribe: Scribe::new(CONFIG, Instant::START),
            random,
            clock: 0,
            now: Instant::START,
            order_log: Vec::new(),
            mail: Vec::new(),
            spans: BTreeMap::new(),
            txns: BTreeMap::new(),
            names: 0,
        }
    }

    fn put(&mut self, shard: usize) {
        let clock = self.clock;
        let shard = &mut self.shards[shard];
        if !shard.without_quorum {
            self.names += 1;
            shard.log.push(LaneEntry::Command(Bytes::copy_from_slice(&self.names.to_be_bytes())));
            self.spans.insert((shard.id, self.names), Span { asked: clock, placed: None });
        }
    }

    fn begin(&mut self) {
        let mut touched: BTreeSet<ShardId> = BTreeSet::new();
        for _ in 0..self.random.between(1, 3) {
            touched.insert(self.shards[self.random.below(self.shards.len() as u64) as usize].id);
        }
        let begun = self.order_log.iter().filter(|entry| matches!(entry, Command::Begin(_))).count() as u64;
        self.order_log.push(Command::Begin(touched.into_iter().collect()));
        self.txns.insert(TxnId(begun + 1), Span { asked: self.clock, placed: None });
    }

    fn apply_order(&mut self, replica: usize) {
        let (order, applied) = &mut self.orders[replica];
        let Some(command) = self.order_log.get(*applied) else { return };
        *applied += 1;
        let _ = order.apply(command);
        if replica == 0 {
            self.scribe.settled(command);
        }
    }

    /// What a shard's leader logs for the order, as a replica of the order group has told it; now and then a second leader does the same.
    fn log(&mut self, place: usize) {
        let (order, _) = &self.orders[self.random.below(2) as usize];
        let shard = &mut self.shards[place];
        let leader = &shard.replicas[0];
        if shard.without_quorum || leader.read < shard.log.len() {
            return;
        }
        let mut entries = Vec::new();
        if let Some(txn) = leader.lane.stands_at() {
            match order.part(shard.id, txn) {
                Part::Open => {}
                Part::Done { branch } => entries.push(LaneEntry::Branch(txn, Some(branch))),
                Part::Void => entries.push(LaneEntry::Branch(txn, None)),
            }
        }
        let ahead = leader.lane.next_barriers().filter(|txn| order.part(shard.id, *txn) == Part::Void);
        entries.extend(ahead.map(|txn| LaneEntry::Branch(txn, None)));
        let newest = leader.lane.newest();
        let open = order.open().filter(|(txn, open)| *txn > newest && open.shards().contains(&shard.id));
        entries.extend(open.map(|(txn, _)| LaneEntry::Barrier(txn, Bytes::new())));
        if self.random.chance(1, 5) {
            entries = entries.iter().flat_map(|entry| [entry.clone(), entry.clone()]).collect();
        }
        shard.log.extend(entries);
    }

    fn follow(&mut self, place: usize, replica: usize) {
        let (order, _) = &self.orders[self.random.below(2) as usize];
        let shard = &mut self.shards[place];
        let this = &mut shard.replicas[replica];
        // A replica of the order group that lags has less than was seen already.
        assert!(this.placer.follow(order.slices(shard.id).unwrap()), "nothing was forgotten");
        while let Some(placed) = this.placer.place() {
            this.placed.push(placed);
            let (span, number) = match placed {
                Placement::Turn { turn, revision, changes } => {
                    let name = command_at(&shard.log, turn);
                    (self.spans.get_mut(&(shard.id, name)).unwrap(), (self.clock, revision, changes))
                }
                Placement::Txn { txn, revision, changes, .. } => {
                    (self.txns.get_mut(&txn).unwrap(), (self.clock, revision, changes))
                }
            };
            span.placed.get_or_insert(number);
        }
    }

    /// What a leader reports may be lost, come twice, or come much later.
    fn report(&mut self, place: usize) {
        let shard = &self.shards[place];
        let leader = &shard.replicas[0];
        let verdict = leader.verdict.filter(|_| leader.lane.stands_at().is_some());
        self.mail.push(Report { shard: shard.id, upto: leader.placer.evaluated_to(), verdict });
    }

    fn deliver(&mut self) {
        if self.mail.is_empty() {
            return;
        }
        let at = self.random.below(self.mail.len() as u64) as usize;
        let report = if self.random.chance(1, 4) { self.mail[at] } else { self.mail.swap_remove(at) };
        if !self.random.chance(1, 6) {
            self.scribe.report(report);
        }
    }

    fn propose(&mut self) {
        self.now = self.now + Duration::from_micros(self.random.between(100, 3_000));
        for command in self.scribe.due(self.now, &self.orders[0].0) {
            let encoded = command.encode();
            assert_eq!(Command::decode(&encoded).unwrap(), command);
            self.order_log.push(command);
        }
    }

    fn step(&mut self) {
        self.clock += 1;
        let place = self.random.below(self.shards.len() as u64) as usize;
        let replica = self.random.below(2) as usize;
        match self.random.below(40) {
            0..6 => self.put(place),
            6 => self.begin(),
            7..12 => self.apply_order(replica),
            12..16 => self.log(place),
            16..22 => {
                let Shard { log, replicas, .. } = &mut self.shards[place];
                replicas[replica].read(log);
            }
            22..26 => self.follow(place, replica),
            26..30 => self.report(place),
            30..34 => self.deliver(),
            34..38 => self.propose(),
            38 if self.random.chance(1, 4) => self.shards[place].without_quorum = self.random.chance(1, 2),
            // The order group's leader changes: the next one knows what its replica knows, and is told everything anew.
            39 if self.random.chance(1, 10) => {
                self.orders[0].0 = Orderer::decode(&self.orders[0].0.encode()).unwrap();
                self.scribe = Scribe::new(CONFIG, self.now);
            }
            _ => {}
        }
    }

    /// Nobody asks for anything more, and everybody is well.
    fn settle(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.without_quorum = false);
        self.mail.clear();
        for _ in 0..400 {
            self.clock += 1;
            for place in 0..self.shards.len() {
                for replica in 0..2 {
                    let Shard { log, replicas, .. } = &mut self.shards[place];
                    (0..log.len()).for_each(|_| replicas[replica].read(log));
                    self.follow(place, replica);
                }
                self.report(place);
                self.log(place);
            }
            std::mem::take(&mut self.mail).into_iter().for_each(|report| self.scribe.report(report));
            self.propose();
            for replica in 0..2 {
                (0..self.order_log.len()).for_each(|_| self.apply_order(replica));
            }
        }
    }
}

/// The name of the command that took the shard's `turn`, by a naive reading of its log.
fn command_at(log: &[LaneEntry<Bytes>], turn: u64) -> u64 {
    turns(log)[turn as usize - 1]
}

/// The commands of a log in the order of their turns: whatever stands between a barrier and its branch comes behind it.
fn turns(log: &[LaneEntry<Bytes>]) -> Vec<u64> {
    let (mut entries, mut taken, mut order) = (log.to_vec(), TxnId(0), Vec::new());
    while !entries.is_empty() {
        match entries.remove(0) {
            LaneEntry::Command(name) => order.push(u64::from_be_bytes(name[..].try_into().unwrap())),
            LaneEntry::Branch(..) => {}
            LaneEntry::Barrier(txn, _) if txn <= taken => {}
            LaneEntry::Barrier(txn, _) => {
                taken = txn;
                let is_its =
                    |entry: &LaneEntry<Bytes>| matches!(entry, LaneEntry::Branch(of, _) if *of == txn);
                match entries.iter().position(is_its) {
                    Some(at) => _ = entries.remove(at),
                    None => return order,
                }
            }
        }
    }
    order
}

/// The whole order, by a naive reading of the order log: in a list, one after the other.
fn naive(world: &World) -> Vec<(Option<ShardId>, u64)> {
    let mut order = Vec::new();
    let mut turns: BTreeMap<ShardId, u64> = BTreeMap::new();
    let (mut begun, mut decided) = (0, BTreeSet::new());
    let mut cut = |marks: &[(ShardId, Mark)], order: &mut Vec<_>| {
        for (shard, mark) in marks {
            let from = turns.entry(*shard).or_default();
            order.extend((*from + 1..=mark.turns).map(|turn| (Some(*shard), turn)));
            *from = (*from).max(mark.turns);
        }
    };
    for command in &world.order_log {
        match command {
            Command::Cut(marks) => cut(marks, &mut order),
            Command::Begin(_) => begun += 1,
            Command::Decide { txn, outcome } if txn.0 <= begun && decided.insert(*txn) => {
                if let Outcome::Done { barriers, .. } = outcome {
                    cut(barriers, &mut order);
                    order.push((None, txn.0));
                }
            }
            Command::Decide { .. } | Command::Forget { .. } | Command::Admit(_) => {}
        }
    }
    order
}

/// A transaction takes the branch that all its shards agree upon, stands in all of them, and takes a revision if anything changes anywhere.
fn check_transactions(world: &World) {
    let begun = world.order_log.iter().filter_map(|command| match command {
        Command::Begin(shards) => Some(shards),
        _ => None,
    });
    for (shards, txn) in begun.zip((1..).map(TxnId)) {
        let touched = || world.shards.iter().filter(|shard| shards.contains(&shard.id));
        let places = touched().map(|shard| {
            shard.replicas[0].placed.iter().find_map(|placed| match placed {
                Placement::Txn { txn: of, branch, changes, .. } if *of == txn => Some((*branch, *changes)),
                _ => None,
            })
        });
        let places: Vec<_> = places.collect();
        if places.iter().all(Option::is_none) {
            continue;
        }
        let said: Vec<Verdict> = touched().map(|shard| shard.replicas[0].said[&txn]).collect();
        let branch = said.iter().all(|verdict| verdict.holds);
        let taken = said.iter().map(|verdict| verdict.changes[if branch { 0 } else { 1 }]);
        let changes = taken.map(|changes| changes.expect("who refuses a branch is asked for it by nobody"));
        let changes = changes.fold(false, |any, changes| any | changes);
        assert!(
            places.iter().all(|place| *place == Some((branch, changes))),
            "{txn}: {places:?} of {said:?}"
        );
    }
}

fn check(world: &World) {
    let order = &world.orders[0].0;
    assert_eq!(*order, world.orders[1].0);
    assert_eq!(order.digest(), world.orders[1].0.digest());
    assert_eq!(Orderer::decode(&order.encode()).unwrap(), *order);
    assert_eq!(order.open().count(), 0, "every transaction is decided");
    // Both replicas of a shard have all turns, and the same numbers.
    let mut numbers: BTreeMap<(Option<ShardId>, u64), (u64, bool)> = BTreeMap::new();
    for shard in &world.shards {
        let [one, other] = &shard.replicas;
        assert_eq!(one.placed, other.placed);
        let placed_turns =
            one.placed.iter().filter(|placed| matches!(placed, Placement::Turn { .. })).count();
        assert_eq!(placed_turns, turns(&shard.log).len(), "{}: everything is placed", shard.id);
        for placed in &one.placed {
            let (key, number) = match placed {
                Placement::Turn { turn, revision, changes } => {
                    ((Some(shard.id), *turn), (*revision, *changes))
                }
                Placement::Txn { txn, revision, changes, .. } => ((None, txn.0), (*revision, *changes)),
            };
            // A transaction has one revision in all its shards.
            assert_eq!(*numbers.entry(key).or_insert(number), number, "{key:?}");
        }
    }
    check_transactions(world);
    // Dense, and as the naive list says.
    let naive = naive(world);
    assert_eq!(naive.len(), numbers.len());
    let mut revision = BEGIN;
    for key in naive {
        let (number, changes) = numbers[&key];
        revision += u64::from(changes);
        assert_eq!(number, revision, "{key:?}");
    }
    assert_eq!(order.revision(), revision);
    // What was answered before something else was asked for comes before it.
    let known = world.spans.values().chain(world.txns.values());
    let spans: Vec<_> = known.filter_map(|span| Some((span.asked, span.placed?))).collect();
    for (_, (answered, revision, _)) in &spans {
        for (asked, (_, later, changes)) in &spans {
            let comes_later = if *changes { later > revision } else { later >= revision };
            assert!(
                asked <= answered || comes_later,
                "{later}, asked for at {asked}; {revision} was known at {answered}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn everybody_comes_to_the_order_that_the_logs_say(seed: u64, steps in 0usize..3_000) {
        let mut world = World::new(seed);
        (0..steps).for_each(|_| world.step());
        world.settle();
        check(&world);
    }
}

/// The cases are worth something only if they reach what is rare.
#[test]
fn the_cases_reach_what_is_rare() {
    let (mut void, mut done, mut other_branch, mut waited, mut refused) = (0, 0, 0, 0, 0);
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..2_000 {
            world.step();
            waited += world.shards.iter().filter(|shard| shard.replicas[0].lane.waiting() > 1).count();
        }
        world.settle();
        check(&world);
        let mut order = Orderer::new(BEGIN, world.shards.iter().map(|shard| shard.id));
        for command in &world.order_log {
            let applied = order.apply(command);
            refused += usize::from(applied.is_err());
            if let (Command::Decide { outcome, .. }, Ok(_)) = (command, applied) {
                match outcome {
                    Outcome::Void => void += 1,
                    Outcome::Done { branch, .. } => {
                        done += 1;
                        other_branch += usize::from(!branch);
                    }
                }
            }
        }
    }
    for (what, count) in [
        ("void", void),
        ("done", done),
        ("the other branch", other_branch),
        ("entries wait behind a barrier", waited),
        ("a decision that comes too late", refused),
    ] {
        assert!(count > 10, "{what}: {count}");
    }
}

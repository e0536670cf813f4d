//! The same random calls to our three nodes and to a real etcd, Debian's: the first difference that is not known ends it.
//!
//! ```text
//!   generate ──► call ──┬──► system: ours, through a member drawn ──► plain answer ──┬──► equal, or in the table `known`
//!                       └──► system: etcd, one node ───────────────► plain answer ──┘
//!   what watches tell gathers beside that, and is compared whenever both sides are quiet
//! ```
//!
//! Both stores begin at revision 1 and nothing ends by itself, so revisions are compared as they are. etcd is one node: of three, a read that asks
//! one of them alone would answer by how far that one is. Ours are three, and whoever asks one alone brings it up to date before.

mod call;
mod generate;
mod known;
mod system;
mod watches;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use quorate_client::{Client, wire::etcdserverpb as pb};

use self::{
    call::Call,
    generate::World,
    system::{Answer, System},
    watches::Told,
};
use crate::{
    Fallible, client,
    cluster::{Cluster, Kind, Options, Scratch},
    ledger,
};

pub(crate) use known::{KNOWN, NOT_COMPARED, UNDIVIDED, Why};

/// So patient that nobody else is elected while a busy machine lets a server wait; and the shortest lease, of one and a half election timeouts, is etcd's.
const CALM: [&str; 2] = ["--election-timeout-min=1300ms", "--election-timeout-max=2600ms"];

/// Calls between two looks at what the watches told.
const CALLS_A_LOOK: usize = 25;
/// Longer than any watcher takes that is behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// etcd looks after watchers that are behind ten times a second.
const CATCH_UP: Duration = Duration::from_millis(400);

/// How often each known difference was met.
type Met = BTreeMap<usize, u64>;

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The first difference ends it; nothing is written down.
    Stop,
    /// Likewise, and a line goes into the ledger.
    Ledger,
    /// Differences are printed, up to a number of them: to find many at once. What follows the first may follow from it.
    GoOn,
}

/// Differences that are printed where a run goes on, at most.
const DIFFERENCES_MAX: usize = 25;

/// With keys in several shards: they are divided when a tenth of the calls is made, and then a shard is split each so many calls, while there are fewer than so many shards; every
/// third time two are merged.
const CHANGE_EVERY: u64 = 50;
const SHARDS_MAX: usize = 40;

/// So many calls, split between `seeds` seeds from `first_seed` on, of a cluster whose keys are divided among so many shards.
pub(crate) fn run(calls: u64, seeds: u64, first_seed: u64, shards: u64, then: Then) -> Fallible<()> {
    let (seeds, mut failed, mut clean) = (seeds.max(1), None, 0);
    let each = calls.div_ceil(seeds);
    let mut met = Met::new();
    let began = Instant::now();
    for seed in first_seed..first_seed + seeds {
        failed = play(each, seed, shards, then, &mut met).err();
        if failed.is_some() {
            break;
        }
        clean += each;
    }
    for (at, times) in &met {
        match KNOWN.get(*at) {
            Some(known) => println!("known, {times} times: {} ({:?})", known.what, known.why),
            None => println!("not asked of etcd, {times} times: {UNDIVIDED}"),
        }
    }
    let known: u64 = met.values().sum();
    let result = match &failed {
        None => format!(
            "{clean} calls over {seeds} seeds, no difference from etcd that is not known; {known} times one that is"
        ),
        Some(error) => {
            format!("FAILED after {clean} calls: {}", error.to_string().lines().next().unwrap_or(""))
        }
    };
    println!("etcd-differential: {result}, in {:.1?}", began.elapsed());
    if then == Then::Ledger {
        let command = format!(
            "cargo xtask etcd-differential --calls {calls} --seeds {seeds} --seed {first_seed} --shards {shards}"
        );
        ledger::add(&command, &result)?;
    }
    failed.map_or(Ok(()), Err)
}

/// Enough to see that all of it works; not for the ledger.
pub(crate) fn smoke(seed: u64) -> Fallible<()> {
    run(1_500, 1, seed, 1, Then::Stop)?;
    run(1_500, 1, seed, 8, Then::Stop)
}

/// Where etcd's files are: in memory, if the machine has a place for that. What is compared does not depend on its disk.
fn memory(scratch: &Scratch) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory.join(format!("quorate-xtask-etcd-{}", std::process::id()))
    } else {
        scratch.0.join("etcd")
    }
}

/// A folder that goes with whoever has it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn play(calls: u64, seed: u64, shards: u64, then: Then, met: &mut Met) -> Fallible<()> {
    let scratch = Scratch::new("etcd-differential")?;
    let folder = Folder(memory(&scratch));
    std::fs::create_dir_all(&folder.0)?;
    let real = Cluster::start(Kind::Etcd, std::slice::from_ref(&folder.0), &Options::default())?;
    let flags = CALM.map(str::to_owned).into();
    let options = Options { no_sync: true, flags, ..Options::default() };
    let cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &options)?;
    client::runtime()?.block_on(async {
        let (ours, theirs) = (cluster.endpoints(), real.endpoints());
        let operator = Client::connect(ours.clone(), quorate_client::Options::default())?;
        let (ours, theirs) = (System::connect(&ours).await?, System::connect(&theirs).await?);
        let mut game = Game {
            ours,
            theirs,
            world: World::new(seed),
            marked: 0,
            met,
            asked: 0,
            operator,
            shards,
            divided: 0,
            then,
            differences: 0,
            behind: Instant::now(),
        };
        let played = game.play(calls).await;
        if game.divided > 0 {
            println!("seed {seed}: keys divided among {shards} shards, and those into {}", game.divided);
        }
        played.map_err(|why| format!("seed {seed}, call {}: {why}", game.asked).into())
    })
}

struct Game<'a> {
    ours: System,
    theirs: System,
    world: World,
    marked: u64,
    met: &'a mut Met,
    asked: u64,
    /// Divides keys, and splits and merges shards of ours.
    operator: Client,
    shards: u64,
    /// In how many shards the keys are; none: in one group.
    divided: usize,
    then: Then,
    differences: usize,
    /// When a watcher was made that begins in the past.
    behind: Instant,
}

impl Game<'_> {
    async fn play(&mut self, calls: u64) -> Result<(), String> {
        // What was never compacted, etcd has compacted at −1: this is not about that.
        for _ in 0..2 {
            self.look().await?;
        }
        self.one(&Call::Compact(pb::CompactionRequest { revision: 1, physical: true })).await?;
        let mut since = 0;
        while self.asked < calls {
            for call in self.world.next() {
                // A new stream is given the watcher of the marker first.
                if call.needs_quiet() || since >= CALLS_A_LOOK && !matches!(call, Call::Watch { .. }) {
                    self.look().await?;
                    since = 0;
                }
                match &call {
                    Call::Watch { create, .. } if create.start_revision > 0 => self.behind = Instant::now(),
                    // Who has nothing to be told does not show that etcd has come to him, and a compaction would end him.
                    Call::Compact(_) => {
                        tokio::time::sleep(CATCH_UP.saturating_sub(self.behind.elapsed())).await
                    }
                    _ => {}
                }
                self.one(&call).await?;
                (self.asked, since) = (self.asked + 1, since + 1);
                if self.shards > 1 && self.asked >= calls / 10 && self.asked.is_multiple_of(CHANGE_EVERY) {
                    self.divide().await;
                }
                if let Call::Compact(_) = call {
                    self.look().await?;
                }
            }
        }
        self.look().await
    }

    /// Divides the keys, or a shard of them, or merges two. Refused while users are asked who they are: then later.
    async fn divide(&mut self) {
        if self.divided == 0 {
            let shards = u32::try_from(self.shards).unwrap_or(u32::MAX);
            self.divided = self.operator.divide(shards, "").await.map_or(0, |now| now.shards.len());
            return;
        }
        let Ok(now) = self.operator.shards().await else { return };
        let count = now.shards.len();
        let shard = now.shards[self.world.below(count as u64) as usize].id;
        // The last one has no neighbour, and is not merged.
        if self.world.below(3) == 0 {
            self.divided = count - usize::from(self.operator.merge(shard, None).await.is_ok());
        } else if count < SHARDS_MAX {
            self.divided = count + usize::from(self.operator.split(shard, "").await.is_ok());
        }
    }

    /// Was it granted, by etcd?
    async fn one(&mut self, call: &Call) -> Result<bool, String> {
        let at = self.world.below(self.ours.members() as u64) as usize;
        let (ours, theirs) = if self.divided > 0 && matches!(call, Call::Txn(_)) {
            let ours = self.ours.ask(call, at).await;
            // etcd is not asked what cannot be asked of keys that are divided.
            if known::is_undivided(&ours) {
                *self.met.entry(KNOWN.len()).or_default() += 1;
                return Ok(false);
            }
            (ours, self.theirs.ask(call, 0).await)
        } else {
            tokio::join!(self.ours.ask(call, at), self.theirs.ask(call, 0))
        };
        if let Answer::Said { revision: Some(revision), .. } = &theirs {
            self.world.revision = self.world.revision.max(*revision);
            if let Call::Compact(compact) = call {
                self.world.compacted = compact.revision;
            }
        }
        let granted = matches!(theirs, Answer::Said { .. });
        if ours == theirs {
            return Ok(granted);
        }
        match known::find(call, &ours, &theirs) {
            Some(at) => {
                *self.met.entry(at).or_default() += 1;
            }
            None => {
                let difference = lines_apart(&ours.lines(), &theirs.lines());
                self.differs(format!("{}\nours and etcd's:\n{difference}", shown(call)))?;
            }
        }
        Ok(granted)
    }

    /// Until all watchers have told the same on both sides.
    async fn look(&mut self) -> Result<(), String> {
        self.marked += 1;
        let value = self.marked.to_string();
        let put = pb::PutRequest { key: generate::MARKER.into(), value: value.into(), ..Default::default() };
        // Not while an alarm stands.
        if !self.one(&Call::Put(put)).await? {
            return Ok(());
        }
        let end = Instant::now() + PATIENCE;
        let mut wrong = Vec::new();
        for stream in 0..self.ours.streams.len() {
            let (Some(ours), Some(theirs)) = (&self.ours.streams[stream], &self.theirs.streams[stream])
            else {
                continue;
            };
            let marked = |told: &Told| {
                let mark = format!("m{} ", self.world.revision);
                told.get(&0).is_some_and(|told| told.iter().any(|line| line.contains(&mark)))
            };
            loop {
                {
                    let (mut ours, mut theirs) = (ours.told(), theirs.told());
                    let alike = *ours == *theirs
                        || self.divided > 0 && watches::are_alike_by_revision(&ours, &theirs);
                    if alike && marked(&ours) {
                        ours.clear();
                        theirs.clear();
                        break;
                    }
                    if Instant::now() > end {
                        let why = format!("stream {stream} told\n{}", apart(&ours, &theirs));
                        ours.clear();
                        theirs.clear();
                        wrong.push(why);
                        break;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        wrong.into_iter().try_for_each(|why| self.differs(why))
    }

    /// A difference that nobody knows of.
    fn differs(&mut self, why: String) -> Result<(), String> {
        self.differences += 1;
        if self.then != Then::GoOn || self.differences > DIFFERENCES_MAX {
            return Err(why);
        }
        println!("── call {}: {why}", self.asked);
        Ok(())
    }
}

/// A call may hold a value of megabytes.
fn shown(call: &Call) -> String {
    let text = format!("{call:#?}");
    text.lines().map(|line| line.chars().take(300).collect::<String>()).collect::<Vec<_>>().join("\n")
}

/// Both, line by line, with a mark where they differ.
fn lines_apart(ours: &[String], theirs: &[String]) -> String {
    let mut text = String::new();
    for at in 0..ours.len().max(theirs.len()) {
        match (ours.get(at), theirs.get(at)) {
            (Some(ours), Some(theirs)) if ours == theirs => text.push_str(&format!("    {ours}\n")),
            (ours, theirs) => {
                for (whose, line) in [("ours", ours), ("etcd", theirs)] {
                    if let Some(line) = line {
                        text.push_str(&format!("{whose} {line}\n"));
                    }
                }
            }
        }
    }
    text
}

fn apart(ours: &Told, theirs: &Told) -> String {
    let mut text = String::new();
    let ids = ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>();
    for id in ids {
        let none = Vec::new();
        let (ours, theirs) = (ours.get(id).unwrap_or(&none), theirs.get(id).unwrap_or(&none));
        if ours != theirs {
            text.push_str(&format!("to watcher {id}:\n{}", lines_apart(ours, theirs)));
        }
    }
    text
}

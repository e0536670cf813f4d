//! Members that come and go while the storm goes on, by the commands that an operator has; and afterwards, whoever was left half way is brought to
//! an end of it.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use quorate_client::{Client, wire::etcdserverpb::Member};

use super::{
    machine::Machine,
    nodes::{Node, Nodes},
    plan::Change,
    storm::Storm,
};
use crate::{
    Fallible,
    client::{impatient, leader, runtime},
};

/// A command that is not done by then is left; what it began is ended when all is healed.
const PATIENCE: Duration = Duration::from_secs(30);
/// For all that is left to do when everything is healed.
const RECONCILE_WITHIN: Duration = Duration::from_secs(90);

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Adding,
    Promoting,
    Removing,
    /// The command does all of it, and waits for the newcomer to be started.
    Replacing,
    /// It was started.
    Replaced,
}

/// A change under way.
pub(crate) struct Changing {
    stage: Stage,
    command: Child,
    begun: Instant,
    /// Where the newcomer is, and where the one is that goes.
    comes: usize,
    goes: usize,
    said: std::path::PathBuf,
}

impl Changing {
    /// Begins one, if there is a place for a newcomer.
    pub(crate) fn begin(nodes: &mut Nodes, change: Change) -> Fallible<Option<Changing>> {
        let Some(comes) = (0..nodes.all.len()).find(|n| !nodes.all[*n].taken) else { return Ok(None) };
        let taken = nodes.taken();
        // Whoever has been there longest, by place: every one has its turn.
        let Some(goes) = taken.iter().copied().find(|n| *n > comes).or(taken.first().copied()) else {
            return Ok(None);
        };
        let said = nodes.all[comes].log.with_extension("member");
        let (url, name) = (nodes.all[comes].peer_url(), nodes.next_name());
        let (stage, arguments) = match change {
            Change::AddThenRemove => {
                (Stage::Adding, ["add", &name, "--peer-urls", &url, "--learner"].map(str::to_owned).to_vec())
            }
            Change::Replace => {
                let old = nodes.all[goes].name.clone();
                nodes.all[goes].leaving = true;
                let words = ["replace", &old, &name, "--peer-urls", &url, "--wait", "25s"];
                (Stage::Replacing, words.map(str::to_owned).to_vec())
            }
        };
        let command = command(nodes, &arguments, &said)?;
        Ok(Some(Changing { stage, command, begun: Instant::now(), comes, goes, said }))
    }

    /// Looks how far it is, and does what comes next. Done, or given up?
    pub(crate) fn step(&mut self, nodes: &mut Nodes, machine: &Machine) -> Fallible<bool> {
        if self.stage == Stage::Replacing
            && fs::read_to_string(&self.said).is_ok_and(|said| said.contains("start it with"))
        {
            nodes.move_in(self.comes, machine)?;
            self.stage = Stage::Replaced;
        }
        let Some(status) = self.command.try_wait()? else {
            return Ok(self.begun.elapsed() > PATIENCE);
        };
        if !status.success() && self.stage != Stage::Promoting {
            return Ok(true);
        }
        match self.stage {
            Stage::Adding => nodes.move_in(self.comes, machine)?,
            // It has not caught up yet, or nobody leads: again.
            Stage::Promoting if !status.success() => thread::sleep(Duration::from_millis(100)),
            Stage::Promoting => {
                nodes.all[self.comes].arriving = false;
                nodes.all[self.goes].leaving = true;
                let old = nodes.all[self.goes].name.clone();
                self.command = command(nodes, &["remove".into(), old], &self.said)?;
                self.stage = Stage::Removing;
                return Ok(false);
            }
            Stage::Removing | Stage::Replaced => {
                nodes.all[self.comes].arriving = false;
                nodes.move_out(self.goes)?;
                return Ok(true);
            }
            Stage::Replacing => return Ok(true),
        }
        let name = nodes.all[self.comes].name.clone();
        self.command = command(nodes, &["promote".into(), name], &self.said)?;
        self.stage = Stage::Promoting;
        Ok(self.begun.elapsed() > PATIENCE)
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

fn command(nodes: &Nodes, arguments: &[String], said: &std::path::Path) -> Fallible<Child> {
    let to = fs::File::create(said)?;
    let child = Command::new(&nodes.kind.binary)
        .arg("member")
        .args(arguments)
        .args(["--endpoints", &nodes.settled().join(","), "--timeout", "5s"])
        .stdin(Stdio::null())
        .stdout(to.try_clone()?)
        .stderr(to)
        .spawn();
    Ok(child?)
}

/// Asks for a shard to be split, the one that holds this hash, or for it to be merged with its right neighbour: every third time. Whether it is, is not waited for.
pub(crate) fn split_or_merge(endpoints: &[String], hash: u64) {
    let endpoints = endpoints.to_vec();
    thread::spawn(move || {
        let runtime = runtime().ok()?;
        runtime.block_on(async {
            let there = Client::connect(endpoints, impatient(Duration::from_secs(4))).ok()?;
            let shards = there.shards().await.ok()?.shards;
            let holds = |from: &[u8]| from <= &hash.to_be_bytes()[..];
            let shard = shards.iter().rfind(|shard| holds(&shard.from))?;
            if hash.is_multiple_of(3) {
                there.merge(shard.id, None).await.ok().map(|_| ())
            } else {
                there.split(shard.id, Vec::new()).await.ok().map(|_| ())
            }
        })
    });
}

/// In how many shards are the keys by now?
pub(crate) fn shards(endpoints: &[String]) -> Option<usize> {
    let there = || async {
        let client = Client::connect(endpoints.to_vec(), impatient(Duration::from_secs(4))).ok()?;
        Some(client.shards().await.ok()?.shards.len())
    };
    runtime().ok()?.block_on(there())
}

/// Asks the leader to hand over to this one. Whether it does is not waited for.
pub(crate) fn transfer(nodes: &Nodes, place: usize) {
    let (endpoints, wanted) = (nodes.settled(), nodes.all[place].client.clone());
    thread::spawn(move || {
        let at = leader(&endpoints)?;
        let runtime = runtime().ok()?;
        runtime.block_on(async {
            let options = impatient(Duration::from_secs(2));
            let there = Client::connect([wanted], options.clone()).ok()?;
            let id = there.status(0).await.ok()?.header?.member_id;
            let leads = Client::connect([endpoints[at].clone()], options).ok()?;
            leads.move_leader(id).await.ok()
        })
    });
}

/// Brings every change to an end, however far it had come: as many voters as in the beginning, no learner, nobody running who is no member.
pub(crate) fn reconcile(storm: &mut Storm<'_>) -> Fallible<()> {
    let end = Instant::now() + RECONCILE_WITHIN;
    let mut last = String::new();
    loop {
        match round(storm) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => last = error.to_string(),
        }
        storm.look()?;
        if Instant::now() > end {
            return Err(format!(
                "the members are not in order {RECONCILE_WITHIN:?} after everything was healed; last: {last}"
            )
            .into());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Removes a member that will not come back.
pub(crate) fn remove(storm: &mut Storm<'_>, place: usize) -> Fallible<()> {
    storm.nodes.all[place].leaving = true;
    let name = storm.nodes.all[place].name.clone();
    let said = storm.nodes.all[place].log.with_extension("member");
    let end = Instant::now() + RECONCILE_WITHIN;
    loop {
        if command(storm.nodes, &["remove".into(), name.clone()], &said)?.wait()?.success() {
            return storm.nodes.move_out(place);
        }
        if Instant::now() > end {
            let why = fs::read_to_string(&said).unwrap_or_default();
            return Err(format!("{name} cannot be removed: {}", why.trim()).into());
        }
        thread::sleep(Duration::from_millis(300));
    }
}

fn round(storm: &mut Storm<'_>) -> Fallible<bool> {
    let endpoints = storm.nodes.settled();
    let runtime = runtime()?;
    let client = runtime.block_on(async {
        let mut options = impatient(Duration::from_secs(5));
        options.try_timeout = Duration::from_secs(2);
        Client::connect(endpoints, options)
    })?;
    let members = runtime.block_on(client.member_list(true))?.members;
    let listed = |node: &Node| members.iter().any(|member| member.peer_urls == [node.peer_url()]);
    for member in members.iter().filter(|member| !member.is_learner) {
        // It votes; that its promotion was seen is not said.
        if let Some(node) = storm.nodes.all.iter_mut().find(|node| member.peer_urls == [node.peer_url()]) {
            node.arriving = node.arriving && node.pid().is_none();
        }
    }
    let lost: Vec<usize> =
        storm.nodes.taken().into_iter().filter(|place| !listed(&storm.nodes.all[*place])).collect();
    for place in lost {
        storm.note(format!("{} is no member and moves out", storm.nodes.all[place].name));
        storm.nodes.move_out(place)?;
    }
    // A newcomer may have given up while it could reach nobody.
    for place in storm.nodes.taken() {
        storm.nodes.start(place, storm.machine)?;
    }
    let place = |member: &Member| {
        storm.nodes.all.iter().position(|node| member.peer_urls == [node.peer_url()] && node.taken)
    };
    if let Some(nobody) = members.iter().find(|member| place(member).is_none()) {
        runtime.block_on(client.member_remove(nobody.id))?;
        return Ok(false);
    }
    if let Some(learner) = members.iter().find(|member| member.is_learner) {
        runtime.block_on(client.member_promote(learner.id))?;
        return Ok(false);
    }
    if members.len() > storm.nodes.founders {
        let leaving = |member: &&Member| place(member).is_some_and(|place| storm.nodes.all[place].leaving);
        let Some(one) = members.iter().find(leaving).or(members.last()) else { return Ok(false) };
        if let Some(place) = place(one) {
            storm.nodes.all[place].leaving = true;
        }
        runtime.block_on(client.member_remove(one.id))?;
        return Ok(false);
    }
    if members.len() < storm.nodes.founders {
        let Some(place) = (0..storm.nodes.all.len()).find(|n| !storm.nodes.all[*n].taken) else {
            return Err("there is no place for another member".into());
        };
        runtime.block_on(client.member_add(vec![storm.nodes.all[place].peer_url()], true))?;
        storm.nodes.move_in(place, storm.machine)?;
        return Ok(false);
    }
    for node in &mut storm.nodes.all {
        (node.leaving, node.arriving) = (false, false);
    }
    Ok(true)
}

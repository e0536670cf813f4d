//! ZooKeeper's own shell, `zkCli`, as Debian has it: one session of everyday commands against three servers, through a kill of their leader.
//!
//! ```text
//!   foreign/zkcli/everyday.txt ──► script ──► the commands ──► shell ──► zkCli ──► three servers, ours or ZooKeeper's
//!                                    ▲                           │
//!                                    └────── plain answers ◄─────┘
//! ```
//!
//! The answers that stand in the script are the real ZooKeeper's.

mod plain;
mod script;
mod shell;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use self::{
    plain::Plain,
    script::{Act, Step},
    shell::Shell,
};
use crate::{Fallible, cluster::Cluster, cluster::Scratch, scripted, zookeeper::real};

const SCRIPT: &str = "foreign/zkcli/everyday.txt";
/// Longer than anything takes that the script waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing more has to come for an answer whose length nobody knows yet.
const QUIET: Duration = Duration::from_millis(300);

/// Plays the script, and compares. `on` is what replicates our tree, `zab` or `raft`; or `zookeeper`, which is Debian's.
pub(crate) fn run(on: &str) -> Fallible<()> {
    let mut script = script::parse(&fs::read_to_string(SCRIPT)?);
    if on == "--write" {
        play("zookeeper", &mut script, true)?;
        fs::write(SCRIPT, script::text(&script))?;
        return Ok(());
    }
    let began = Instant::now();
    let commands = play(on, &mut script, false)?;
    println!(
        "zkcli: {commands} commands on {on} answered as ZooKeeper does, through the death of the leader, in {:.1?}",
        began.elapsed()
    );
    Ok(())
}

/// How many commands there were. With `write` the answers are put into the script; without, the first one that is another ends it.
fn play(on: &str, script: &mut [Step], write: bool) -> Fallible<usize> {
    let scratch = Scratch::new("zkcli")?;
    let mut cluster = scripted::start(on, &scratch)?;
    let servers: Vec<&str> = cluster.servers.iter().map(|server| server.zookeeper.as_str()).collect();
    let servers = servers.join(",");
    let (mut shell, mut plain) = (Shell::start(&servers)?, Plain::default());
    let (mut dead, mut commands) = (None, 0);
    for step in script {
        match &step.act {
            Act::Remark(_) => {}
            Act::Kill => dead = Some(kill_the_leader(&mut cluster, &mut shell)?),
            Act::Start => {
                let dead = dead.take().ok_or("nobody is dead")?;
                cluster.servers[dead].start()?;
                until("the server that comes back follows", || {
                    real::mode(&cluster.servers[dead].zookeeper).as_deref() == Some("follower")
                })?;
            }
            Act::Command(command) => {
                commands += 1;
                let events = if write { None } else { Some(step.events()) };
                let answer = plain.of(&shell.ask(&command.replace("{servers}", &servers), events)?);
                if write {
                    step.answer = answer;
                } else if answer != step.answer {
                    return Err(difference(on, command, &step.answer, &answer).into());
                }
            }
        }
    }
    shell.end()?;
    Ok(commands)
}

fn difference(on: &str, command: &str, expected: &[String], answer: &[String]) -> String {
    let lines = |lines: &[String]| lines.iter().map(|line| format!("\n    {line}")).collect::<String>();
    format!(
        "on {on}, `{command}` was answered with{}\n  and ZooKeeper's answer in {SCRIPT} is{}",
        lines(answer),
        lines(expected)
    )
}

/// Which one it was. Returns once another leads and the shell is connected again.
fn kill_the_leader(cluster: &mut Cluster, shell: &mut Shell) -> Fallible<usize> {
    let leads = |cluster: &Cluster| {
        cluster.servers.iter().position(|server| real::mode(&server.zookeeper).as_deref() == Some("leader"))
    };
    let leader = leads(cluster).ok_or("nobody leads")?;
    cluster.servers[leader].kill();
    until("somebody else leads", || leads(cluster).is_some())?;
    let end = Instant::now() + PATIENCE;
    while shell.ask("sync /", Some(0))? != ["Sync is OK"] {
        if Instant::now() > end {
            return Err("the shell does not find its way to another server".into());
        }
    }
    Ok(leader)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Fallible<()> {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > end {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

//! The script of every subcommand: played to our three nodes and to a real etcd's at once, what is printed compared.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use super::{
    plain::Plain,
    script::{self, Act, Compared},
};
use crate::{
    Fallible, client,
    cluster::{Cluster, Kind, Options, Scratch},
};

const SCRIPT: &str = "foreign/etcdctl/everyday.txt";
/// Longer than anything takes that the script waits for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Nothing more is expected from a command that printed all its lines; so long is looked.
const QUIET: Duration = Duration::from_millis(150);

/// Compares; all differences are printed, and there must be none.
pub(crate) fn run() -> Fallible<()> {
    let acts = script::parse(&fs::read_to_string(SCRIPT)?)?;
    let (began, scratch) = (Instant::now(), Scratch::new("etcdctl-everyday")?);
    let mut sides = [Side::start(Kind::Quorate, &scratch)?, Side::start(Kind::Etcd, &scratch)?];
    let (mut commands, mut differences, mut left_out, mut part_is_there) = (0, 0, Vec::new(), true);
    for act in &acts {
        if let Act::Part { name, probe } = act {
            part_is_there = probe.is_empty() || !sides[0].is_unimplemented(probe)?;
            if !part_is_there {
                left_out.push(format!("{name}: not served yet"));
            }
            continue;
        }
        if !part_is_there {
            continue;
        }
        commands += 1;
        if let Some(difference) = both(&mut sides, act)? {
            differences += 1;
            println!("── {difference}");
        }
    }
    for left_out in left_out {
        println!("etcdctl: left out: {left_out}");
    }
    println!("etcdctl: {commands} commands compared with a real etcd's, in {:.1?}", began.elapsed());
    match differences {
        0 => Ok(()),
        differences => Err(format!("{differences} answers to etcdctl differ from etcd's").into()),
    }
}

/// What one side printed, plain.
fn both(sides: &mut [Side; 2], act: &Act) -> Fallible<Option<String>> {
    let end = Instant::now() + PATIENCE;
    loop {
        let [ours, theirs] = &mut *sides;
        let (ours, theirs) = thread::scope(|scope| {
            let theirs = scope.spawn(|| theirs.act(act));
            (ours.act(act), theirs.join())
        });
        let theirs = theirs.map_err(|_| "a thread of etcd's side panicked")?;
        let (ours, theirs) = (ours?, theirs?);
        let again = matches!(act, Act::Command { compared: Compared::InTheEnd, .. });
        let may_differ = matches!(act, Act::Command { compared: Compared::Differs, .. });
        if ours == theirs || may_differ {
            return Ok(None);
        }
        if !again || Instant::now() > end {
            let what = match act {
                Act::Command { words, .. } | Act::Begin { words, .. } => words.join(" "),
                Act::End { .. } => format!("what goes on: {}", sides[0].last.join(" ")),
                Act::Part { name, .. } => name.clone(),
            };
            return Ok(Some(format!("{what}\nours:\n{ours}\netcd's:\n{theirs}")));
        }
        thread::sleep(QUIET);
    }
}

/// One side's servers.
struct Side {
    cluster: Cluster,
    mirror: Cluster,
    plain: Plain,
    file: PathBuf,
    new: String,
    lease: String,
    going_on: Option<GoingOn>,
    last: Vec<String>,
}

/// A command that goes on, and what it has printed.
struct GoingOn {
    process: Child,
    printed: Receiver<Vec<u8>>,
    /// Kept open.
    _input: Option<std::process::ChildStdin>,
}

impl Drop for GoingOn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Side {
    fn start(kind: Kind, scratch: &Scratch) -> Fallible<Side> {
        let make = |name: &str, count: usize| -> Fallible<Vec<PathBuf>> {
            (1..=count)
                .map(|n| {
                    let folder = scratch.0.join(format!("{kind:?}-{name}-{n}"));
                    fs::create_dir_all(&folder)?;
                    Ok(folder)
                })
                .collect()
        };
        let cluster = Cluster::start(kind, &make("n", 3)?, &Options::default())?;
        let mirror = Cluster::start(kind, &make("m", 1)?, &Options::default())?;
        let mut plain = Plain::default();
        for (n, server) in cluster.servers.iter().enumerate() {
            plain.say(&server.client, &format!("client-{}", n + 1));
            plain.say(&server.peer, &format!("peer-{}", n + 1));
        }
        let file = scratch.0.join(format!("{kind:?}.snapshot"));
        plain.say(&file.display().to_string(), "the file");
        let mut side = Side {
            cluster,
            mirror,
            plain,
            file,
            new: String::new(),
            lease: String::new(),
            going_on: None,
            last: Vec::new(),
        };
        side.know_members()?;
        Ok(side)
    }

    /// Waits until all members have their names, and calls their ids by them.
    fn know_members(&mut self) -> Fallible<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let words = ["member", "list", "-w", "json"].map(str::to_owned);
            let listed = self.command(&words)?.output()?;
            let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
            let members = listed["members"].as_array().cloned().unwrap_or_default();
            let named =
                members.iter().filter_map(|member| Some((member["ID"].as_u64()?, member["name"].as_str()?)));
            let named: Vec<(u64, &str)> = named.collect();
            if named.len() == 3 {
                for (id, name) in named {
                    self.plain.call(id, name);
                }
                if let Some(id) = listed["header"]["cluster_id"].as_u64() {
                    self.plain.call(id, "cluster");
                }
                return Ok(());
            }
            if Instant::now() > end {
                return Err("the members do not tell their names".into());
            }
            thread::sleep(QUIET);
        }
    }

    fn is_unimplemented(&mut self, probe: &[String]) -> Fallible<bool> {
        let output = self.command(probe)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(said.contains("nimplemented") || said.contains("not served yet"))
    }

    /// etcdctl with these words, and what stands in braces filled in.
    fn command(&mut self, words: &[String]) -> Fallible<Command> {
        let endpoints = self.cluster.endpoints();
        let (to, words) = match words.first().and_then(|word| word.strip_prefix('@')) {
            Some(to) => (to, &words[1..]),
            None => ("", words),
        };
        let at = match to {
            "" => endpoints.join(","),
            "leader" => endpoints[client::leader(&endpoints).ok_or("nobody leads")?].clone(),
            "mirror" => self.mirror.endpoints()[0].clone(),
            number => match number.parse::<usize>() {
                Ok(number) => endpoints[number - 1].clone(),
                Err(_) => number.to_owned(),
            },
        };
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &at]);
        for word in words {
            let mut word = word.replace("{new}", &self.new).replace("{lease}", &self.lease);
            word = word
                .replace("{peer}", &self.cluster.servers[0].peer)
                .replace("{mirror}", &self.mirror.endpoints()[0]);
            word = word.replace("{file}", &self.file.display().to_string());
            if word.contains("{heir}") {
                word = word.replace("{heir}", &heir(&endpoints)?);
            }
            command.arg(word);
        }
        Ok(command)
    }

    /// What it came to, plain.
    fn act(&mut self, act: &Act) -> Fallible<String> {
        match act {
            Act::Part { .. } => Ok(String::new()),
            Act::Command { compared, words, input } => {
                let mut process = self
                    .command(words)?
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                if let Some(mut stdin) = process.stdin.take() {
                    // It may be gone before it has read this.
                    let _ = stdin.write_all(input.as_bytes());
                }
                let output = process.wait_with_output()?;
                self.remember(words, &String::from_utf8_lossy(&output.stdout));
                let said = self.plain.of(words, &output.stdout, &output.stderr, *compared);
                Ok(format!("{said}\n(ends with {:?})", output.status.code()))
            }
            Act::Begin { words, input } => {
                let mut process = self
                    .command(words)?
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()?;
                let mut stdin = process.stdin.take();
                if let Some(stdin) = &mut stdin {
                    let _ = stdin.write_all(input.as_bytes());
                }
                let mut stdout = process.stdout.take().ok_or("no standard output")?;
                let (sender, printed) = mpsc::channel();
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                        if sender.send(buffer[..count].to_vec()).is_err() {
                            return;
                        }
                    }
                });
                self.last.clone_from(words);
                self.going_on = Some(GoingOn { process, printed, _input: stdin });
                // It is to be there before what is done next: a watch without a revision begins with now.
                thread::sleep(QUIET * 2);
                Ok(String::new())
            }
            Act::End { lines } => self.end(*lines),
        }
    }

    fn end(&mut self, lines: usize) -> Fallible<String> {
        let going_on = self.going_on.take().ok_or("nothing goes on")?;
        let (mut printed, end) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            let enough = printed.iter().filter(|byte| **byte == b'\n').count() >= lines;
            let wait = if enough { QUIET } else { end.saturating_duration_since(Instant::now()) };
            match going_on.printed.recv_timeout(wait) {
                Ok(more) => printed.extend(more),
                Err(_) => break,
            }
        }
        let words = self.last.clone();
        Ok(self.plain.of(&words, &printed, b"", Compared::Exactly))
    }

    /// Ids that later commands name.
    fn remember(&mut self, words: &[String], said: &str) {
        let starts = |with: &[&str]| words.iter().zip(with).all(|(word, with)| word == with);
        let hexadecimal = |said: &str| {
            let mut tokens = said.split(|letter: char| !letter.is_ascii_hexdigit());
            tokens.find(|token| token.len() >= 15).map(str::to_owned)
        };
        if starts(&["lease", "grant"]) && said.starts_with("lease ") {
            self.lease = hexadecimal(said).unwrap_or_default();
        }
        if starts(&["member", "add"]) {
            let json: serde_json::Value = serde_json::from_str(said).unwrap_or_default();
            match json["member"]["ID"].as_u64() {
                Some(id) => self.new = format!("{id:x}"),
                None if said.starts_with("Member ") => self.new = hexadecimal(said).unwrap_or_default(),
                None => {}
            }
        }
    }
}

/// The id of a member that does not lead.
fn heir(endpoints: &[String]) -> Fallible<String> {
    let options = client::impatient(Duration::from_secs(2));
    client::runtime()?.block_on(async {
        let client = quorate_client::Client::connect(endpoints.to_vec(), options)?;
        let statuses = client.statuses().await;
        let ids = statuses.into_iter().filter_map(|(_, status)| {
            let status = status.ok()?;
            let member = status.header?.member_id;
            (member != status.leader).then_some(member)
        });
        let ids: Vec<u64> = ids.collect();
        Ok(format!("{:x}", ids.first().ok_or("nobody follows")?))
    })
}

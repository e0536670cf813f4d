//! `quorate dev`: a whole cluster on this machine, each member a process of its own with its own sockets and files.
//!
//! A member that dies is started again; all of them die with this process, however it ends.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    os::unix::{fs::DirBuilderExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    cli::Dev,
    commands::Failed,
    serve::{LEADING, READY},
};

mod ports;

use ports::{Ports, ports};

/// A member that ends this soon after its start has something wrong with it that another start does not mend.
const TOO_SOON: Duration = Duration::from_secs(2);
/// So many such ends in a row are enough.
const ENDS_MAX: u32 = 5;
/// How long members may take to hand over and end when their data is kept.
const GRACE: Duration = Duration::from_secs(4);

/// What happens to a member.
enum Event {
    /// It wrote a line on standard output.
    Said(usize, String),
    /// It logged a line.
    Logged(usize, String),
    /// Its process ended.
    Ended(usize, io::Result<ExitStatus>),
}

/// One member.
struct Member {
    name: String,
    ports: Ports,
    pid: u32,
    started: Instant,
    ready: bool,
    /// Ends in a row, each too soon after its start.
    ends: u32,
    /// When its process ended, until it serves again.
    down_since: Option<Instant>,
}

pub(crate) async fn dev(given: Dev) -> Result<ExitCode, Failed> {
    let count: usize = given.nodes.parse().unwrap_or(3);
    let data = Data::new(given.data.as_deref())?;
    let ports = ports(&data, count, given.free_ports)?;
    let usual = |(n, ports): (usize, &Ports)| *ports == Ports::usual(n);
    if !given.free_ports && given.data.is_none() && !ports.iter().enumerate().all(usual) {
        say("some of the usual ports are taken; free ones are used instead");
    }
    let members: Vec<Member> = ports
        .into_iter()
        .enumerate()
        .map(|(n, ports)| Member {
            name: format!("n{}", n + 1),
            ports,
            pid: 0,
            started: Instant::now(),
            ready: false,
            ends: 0,
            down_since: None,
        })
        .collect();
    let (events, happened) = mpsc::unbounded_channel();
    let engines = [("keys-engine", given.keys_engine), ("tree-engine", given.tree_engine)];
    let (log_level, shards) = (given.log_level, given.shards);
    let mut cluster = Cluster { members, data, log_level, engines, shards, events, lab: None, leader: None };
    let at = |port: fn(&Ports) -> u16| -> Vec<String> {
        cluster.members.iter().map(|member| format!("127.0.0.1:{}", port(&member.ports))).collect()
    };
    let trees = if cluster.has_tree() { at(|ports| ports.zookeeper) } else { Vec::new() };
    cluster.lab = crate::lab::beside(at(|ports| ports.client), trees).await;
    cluster.run(happened).await
}

/// The folder that everything is under.
struct Data {
    path: PathBuf,
    kept: bool,
}

impl Data {
    fn new(given: Option<&Path>) -> Result<Data, Failed> {
        let (path, kept) = match given {
            Some(path) => (path.to_path_buf(), true),
            None => {
                let nanos = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |since| since.subsec_nanos());
                (std::env::temp_dir().join(format!("quorate-dev-{}-{nanos:x}", std::process::id())), false)
            }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| Failed {
            code: 1,
            message: format!(
                "cannot make the folder {}: {error}; name another with --data DIR",
                path.display()
            ),
        })?;
        Ok(Data { path, kept })
    }

    /// What a kept folder remembers: members are known by their peer ports, so those must stay.
    fn ports_file(&self) -> PathBuf {
        self.path.join("ports")
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

struct Cluster {
    members: Vec<Member>,
    data: Data,
    log_level: String,
    engines: [(&'static str, String); 2],
    shards: u16,
    events: mpsc::UnboundedSender<Event>,
    /// Where the Lab is.
    lab: Option<SocketAddr>,
    /// Who leads the keys, and the term.
    leader: Option<(usize, String)>,
}

/// One line for people, at once.
fn say(text: &str) {
    crate::output::print(format!("{text}\n").as_bytes());
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

impl Cluster {
    /// Does it have ZooKeeper's tree?
    fn has_tree(&self) -> bool {
        self.engines.iter().all(|(_, engine)| engine != "off")
    }

    fn endpoints(&self) -> String {
        let all: Vec<_> =
            self.members.iter().map(|member| format!("127.0.0.1:{}", member.ports.client)).collect();
        all.join(",")
    }

    async fn run(&mut self, mut happened: mpsc::UnboundedReceiver<Event>) -> Result<ExitCode, Failed> {
        let cannot =
            |error: io::Error| Failed { code: 1, message: format!("cannot listen for signals: {error}") };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
        say(&format!("etcd endpoints: {}", self.endpoints()));
        let start = Instant::now();
        for n in 0..self.members.len() {
            self.spawn(n)?;
        }
        let mut greeted = false;
        loop {
            tokio::select! {
                Some(event) = happened.recv() => {
                    if let Err(failed) = self.take(event, greeted).await {
                        self.stop(&mut happened).await;
                        return Err(failed);
                    }
                }
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => break,
            }
            if !greeted && self.leader.is_some() && self.members.iter().all(|member| member.ready) {
                greeted = true;
                self.greet(start.elapsed());
            }
        }
        say("");
        self.stop(&mut happened).await;
        say(&if self.data.kept {
            format!("stopped; everything is kept in {}", self.data.path.display())
        } else {
            "stopped; the temporary data is removed".to_string()
        });
        Ok(ExitCode::SUCCESS)
    }

    /// Starts a member's process and listens to it.
    fn spawn(&mut self, n: usize) -> Result<(), Failed> {
        let cannot = |error: io::Error| Failed {
            code: 1,
            message: format!("cannot start a member: {error}; is a limit on processes or memory reached?"),
        };
        let cluster: Vec<_> = self
            .members
            .iter()
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.ports.peer))
            .collect();
        let has_tree = self.has_tree();
        let member = &mut self.members[n];
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        // What the user's shell says to `serve` is not meant for these.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUORATE_"))
        {
            command.env_remove(name);
        }
        let zookeeper = has_tree.then(|| {
            // The Lab shows what mntr counts.
            let listen = format!("--listen-zookeeper=127.0.0.1:{}", member.ports.zookeeper);
            [listen, "--zookeeper-words=srvr,ruok,mntr".to_owned()]
        });
        let mut child: Child = command
            .arg("serve")
            .arg(format!("--parent={}", std::process::id()))
            .arg(format!("--name={}", member.name))
            .arg(format!("--data-dir={}", self.data.path.join(&member.name).display()))
            .arg(format!("--listen-client=127.0.0.1:{}", member.ports.client))
            .arg(format!("--listen-peer=127.0.0.1:{}", member.ports.peer))
            .arg(format!("--initial-cluster={}", cluster.join(",")))
            .args(self.engines.iter().map(|(key, engine)| format!("--{key}={engine}")))
            .arg(format!("--keys-shards={}", self.shards))
            .args(zookeeper.into_iter().flatten())
            .arg("--initial-cluster-token=quorate-dev")
            .arg(format!("--log-level={}", self.log_level))
            // A terminal's Ctrl-C goes to this process alone, which then ends them in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        member.pid = child.id().unwrap_or(0);
        member.started = Instant::now();
        member.ready = false;
        let said =
            child.stdout.take().map(|out| tokio::spawn(listen(out, self.events.clone(), n, Event::Said)));
        let logged =
            child.stderr.take().map(|out| tokio::spawn(listen(out, self.events.clone(), n, Event::Logged)));
        let events = self.events.clone();
        tokio::spawn(async move {
            let status = child.wait().await;
            // Its last words come before its end.
            for listener in said.into_iter().chain(logged) {
                let _ = timeout(Duration::from_millis(200), listener).await;
            }
            let _ = events.send(Event::Ended(n, status));
        });
        Ok(())
    }

    async fn take(&mut self, event: Event, greeted: bool) -> Result<(), Failed> {
        match event {
            Event::Said(n, line) => {
                if line.starts_with(READY) {
                    let member = &mut self.members[n];
                    member.ready = true;
                    if let Some(since) = member.down_since.take() {
                        let pid = member.pid;
                        say(&format!(
                            "{} is back after {} (process {pid})",
                            member.name,
                            seconds(since.elapsed())
                        ));
                    }
                } else if let Some((_, term)) =
                    line.strip_prefix(LEADING).and_then(|rest| rest.split_once(' '))
                {
                    let newer = self.leader.as_ref().is_none_or(|(_, known)| {
                        term.parse::<u64>().unwrap_or(0) > known.parse::<u64>().unwrap_or(0)
                    });
                    if newer {
                        self.leader = Some((n, term.to_string()));
                        if greeted {
                            say(&format!("{} leads now (term {term})", self.members[n].name));
                        }
                    }
                }
            }
            Event::Logged(n, line) => {
                let _ = writeln!(io::stderr(), "{} | {line}", self.members[n].name);
            }
            Event::Ended(n, status) => {
                let member = &mut self.members[n];
                // Somebody else's, from now on.
                member.pid = 0;
                let how = match status {
                    Ok(status) => match (status.signal(), status.code()) {
                        (Some(9), _) => "was killed (signal 9)".to_string(),
                        (Some(signal), _) => format!("was ended by signal {signal}"),
                        (None, code) => format!("ended with exit code {}", code.unwrap_or(-1)),
                    },
                    Err(error) => format!("ended: {error}"),
                };
                let led = self.leader.as_ref().is_some_and(|(leader, _)| *leader == n);
                let title = if led { ", the leader," } else { "" };
                let soon = member.started.elapsed() < TOO_SOON && !member.ready;
                member.ends = if soon { member.ends + 1 } else { 0 };
                if member.ends >= ENDS_MAX {
                    return Err(Failed {
                        code: 1,
                        message: format!(
                            "{} {how} {ENDS_MAX} times in a row; its last lines above say why",
                            member.name
                        ),
                    });
                }
                say(&format!("{}{title} {how}; starting it again", member.name));
                member.down_since.get_or_insert_with(Instant::now);
                if member.ends > 0 {
                    sleep(Duration::from_millis(100 << member.ends.min(4))).await;
                }
                self.spawn(n)?;
            }
        }
        Ok(())
    }

    fn greet(&self, took: Duration) {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let tick = if colour { "\x1b[32m✔\x1b[0m" } else { "✔" };
        let (leader, term) = match &self.leader {
            Some((leader, term)) => (*leader, term.as_str()),
            None => return,
        };
        let nodes = if self.members.len() == 1 {
            "1 node".to_string()
        } else {
            format!("{} nodes", self.members.len())
        };
        let groups =
            if self.shards > 1 { format!(", keys in {} groups", self.shards) } else { String::new() };
        let data = if self.data.kept {
            format!("data: {}", self.data.path.display())
        } else {
            "data: temporary; keep it with --data ./mine".to_string()
        };
        let usual = self.members[0].ports.client == 2379;
        let endpoint = format!("127.0.0.1:{}", self.members[0].ports.client);
        let named = if usual { String::new() } else { format!(" --endpoints {endpoint}") };
        let etcdctl = if usual { String::new() } else { format!(" --endpoints={endpoint}") };
        let zookeeper = if self.has_tree() {
            format!("  zkCli.sh   zkCli.sh -server 127.0.0.1:{}\n", self.members[0].ports.zookeeper)
        } else {
            String::new()
        };
        let lab = self.lab.map_or_else(String::new, |at| {
            format!("  watch it   http://{at}/    the Lab: this cluster, and the same engines step by step\n")
        });
        let mut text = format!(
            "{tick} {nodes} up in {}{groups}, leader {} (term {term})    {data}\n\n",
            seconds(took),
            self.members[leader].name
        );
        let rows: Vec<Vec<String>> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, member)| {
                vec![
                    format!("  {}", member.name),
                    format!("127.0.0.1:{}", member.ports.client),
                    if self.has_tree() {
                        format!("127.0.0.1:{}", member.ports.zookeeper)
                    } else {
                        "-".to_string()
                    },
                    format!("127.0.0.1:{}", member.ports.peer),
                    member.pid.to_string(),
                    if n == leader { "leads" } else { "" }.to_string(),
                ]
            })
            .collect();
        text.push_str(&crate::output::table(&["  NODE", "ETCD", "ZOOKEEPER", "PEERS", "PROCESS", ""], &rows));
        text.push_str(&format!(
            "
  etcdctl    etcdctl{etcdctl} put hello world
{zookeeper}  quorate    quorate put hello world{named}
             quorate get hello{named}
             quorate status --endpoints {}
             quorate bench put --endpoints {}
  break it   kill -9 {}    the leader; it comes back within a second
{lab}  stop       Ctrl-C",
            self.endpoints(),
            self.endpoints(),
            self.members[leader].pid,
        ));
        say(&text);
    }

    /// Ends all members: in order if their data is kept, at once if not.
    async fn stop(&mut self, happened: &mut mpsc::UnboundedReceiver<Event>) {
        use rustix::process::{Pid, Signal, kill_process};
        let mut up: BTreeSet<usize> = (0..self.members.len()).filter(|n| self.members[*n].pid != 0).collect();
        let kill = |members: &[Member], up: &BTreeSet<usize>, signal| {
            for n in up {
                let pid = i32::try_from(members[*n].pid).ok().and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    let _ = kill_process(pid, signal);
                }
            }
        };
        kill(&self.members, &up, if self.data.kept { Signal::TERM } else { Signal::KILL });
        let mut deadline = tokio::time::Instant::now() + GRACE;
        while !up.is_empty() {
            match tokio::time::timeout_at(deadline, happened.recv()).await {
                Ok(Some(Event::Ended(n, _))) => {
                    up.remove(&n);
                }
                Ok(Some(Event::Logged(n, line))) => {
                    let _ = writeln!(io::stderr(), "{} | {line}", self.members[n].name);
                }
                Ok(Some(Event::Said(..))) => {}
                Ok(None) => break,
                Err(_) => {
                    kill(&self.members, &up, Signal::KILL);
                    deadline += GRACE;
                }
            }
        }
    }
}

async fn listen(
    out: impl AsyncRead + Unpin,
    events: mpsc::UnboundedSender<Event>,
    n: usize,
    event: fn(usize, String) -> Event,
) {
    let mut lines = BufReader::new(out).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if events.send(event(n, line)).is_err() {
            return;
        }
    }
}

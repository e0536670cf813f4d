//! The servers of a storm: where each lives, how it is started, and whether it may end by itself.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{disks::Disk, machine::Machine, network::Network, shim::Control};
use crate::{Fallible, client};

/// How servers are started in one run.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) binary: PathBuf,
    /// Drives keys and tree.
    pub(crate) engine: &'static str,
    /// Of the keys.
    pub(crate) shards: u64,
    pub(crate) no_sync: bool,
    pub(crate) lease_reads: bool,
    /// Of a build with bugs to plant.
    pub(crate) plant: Option<&'static str>,
}

/// One place for a server. A member that is removed leaves it; another may come.
pub(crate) struct Node {
    /// Of whoever is there; each newcomer has a new one.
    pub(crate) name: String,
    pub(crate) client: String,
    pub(crate) peer: String,
    pub(crate) zookeeper: String,
    pub(crate) disk: Disk,
    pub(crate) control: Option<Control>,
    /// Its disk is full, or was until this moment.
    pub(crate) full_until: Option<Instant>,
    /// Its power has failed.
    pub(crate) powerless: bool,
    /// It is to be removed.
    pub(crate) leaving: bool,
    /// It is new, and may give up while it cannot reach those whom it is to ask.
    pub(crate) arriving: bool,
    /// Syncs that had failed there before its process began.
    failed_before: i64,
    /// Is somebody there at all?
    pub(crate) taken: bool,
    pub(crate) paused: bool,
    /// It came to a cluster that ran.
    joined: bool,
    namespace: Option<PathBuf>,
    pub(crate) log: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// An empty disk. {n3 is removed while its power is off}: nothing on that file system can be deleted before it is back.
    fn wipe(&mut self) -> Fallible<()> {
        if std::mem::take(&mut self.powerless) {
            self.disk.restore_power()?;
        }
        self.disk.wipe()
    }

    /// How others reach it, as members' records have it.
    pub(crate) fn peer_url(&self) -> String {
        format!("http://{}", self.peer)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Has its process ended by itself? How, then.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.as_mut()?.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                self.child = None;
                Some(match (status.code(), status.signal()) {
                    (Some(code), _) => format!("with code {code}"),
                    (None, signal) => format!("by signal {}", signal.unwrap_or_default()),
                })
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// Has a sync of this process failed? Then it must end.
    pub(crate) fn sync_has_failed(&self) -> bool {
        let counted = self.control.as_ref().and_then(|control| control.counted().ok());
        counted.is_some_and(|counted| counted.failed > self.failed_before)
    }

    /// Why it may end by itself, if it may.
    pub(crate) fn may_end(&self) -> Option<&'static str> {
        if self.powerless {
            Some("its power has failed")
        } else if self.full_until.is_some_and(|until| Instant::now() < until) {
            Some("its disk is full")
        } else if self.sync_has_failed() {
            Some("a sync has failed")
        } else if self.leaving {
            Some("it is removed")
        } else if self.arriving {
            Some("it could not join")
        } else {
            None
        }
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.paused = false;
    }

    /// SIGSTOP, or SIGCONT.
    pub(crate) fn pause(&mut self, stop: bool) {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Whoever is gone meanwhile is found gone by the next look.
            let _ = kill_process(pid, if stop { Signal::STOP } else { Signal::CONT });
            self.paused = stop;
        }
    }

    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// All places, and who is in them; the processes die when it is dropped.
pub(crate) struct Nodes {
    pub(crate) all: Vec<Node>,
    pub(crate) kind: Kind,
    pub(crate) network: Option<Network>,
    /// As many voters as there are to be.
    pub(crate) founders: usize,
    initial: String,
    newcomers: usize,
}

impl Nodes {
    /// So many founders and spare places, in `folder`; nobody is started yet.
    pub(crate) fn new(
        machine: &Machine,
        folder: &Path,
        founders: usize,
        spare: usize,
        kind: Kind,
        seed: u64,
    ) -> Fallible<Nodes> {
        let places = founders + spare;
        let network = if machine.network { Some(Network::new(places, seed)?) } else { None };
        let ports = if network.is_some() { Vec::new() } else { quorate_ports::free(places * 3)? };
        let mut all = Vec::new();
        for n in 0..places {
            let host = network.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |net| net.address(n));
            let port = |which: usize, usual: u16| ports.get(n * 3 + which).copied().unwrap_or(usual);
            let name = format!("n{}", n + 1);
            let control = match machine.shim {
                Some(_) => Some(Control::new(folder.join(format!("{name}.control")))?),
                None => None,
            };
            all.push(Node {
                client: format!("{host}:{}", port(0, 2379)),
                peer: format!("{host}:{}", port(1, 2380)),
                zookeeper: format!("{host}:{}", port(2, 2181)),
                disk: Disk::new(folder, &name, machine.disks && n < founders)?,
                control,
                full_until: None,
                powerless: false,
                leaving: false,
                arriving: false,
                failed_before: 0,
                taken: n < founders,
                paused: false,
                joined: false,
                namespace: network.as_ref().map(|net| net.place(n)),
                log: folder.join(format!("{name}.log")),
                child: None,
                name,
            });
        }
        let initial = all[..founders].iter().map(|node| format!("{}={}", node.name, node.peer_url()));
        let initial = initial.collect::<Vec<_>>().join(",");
        Ok(Nodes { all, kind, network, founders, initial, newcomers: places })
    }

    /// Where clients of etcd's API are served, of whoever is or may come there.
    pub(crate) fn clients(&self) -> Vec<String> {
        self.all.iter().map(|node| node.client.clone()).collect()
    }

    pub(crate) fn zookeepers(&self) -> Vec<String> {
        self.all.iter().map(|node| node.zookeeper.clone()).collect()
    }

    /// The places where somebody is.
    pub(crate) fn taken(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|n| self.all[*n].taken).collect()
    }

    /// Where members serve, those that are there alone.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.taken().into_iter().map(|n| self.all[n].client.clone()).collect()
    }

    /// What the next newcomer is called.
    pub(crate) fn next_name(&self) -> String {
        format!("n{}", self.newcomers + 1)
    }

    /// Where members serve that are no newcomers: a learner refuses what it may not answer.
    pub(crate) fn settled(&self) -> Vec<String> {
        let settled = self.taken().into_iter().filter(|n| !self.all[*n].arriving);
        settled.map(|n| self.all[n].client.clone()).collect()
    }

    /// A new server, with an empty disk, moves in.
    pub(crate) fn move_in(&mut self, place: usize, machine: &Machine) -> Fallible<()> {
        let name = self.next_name();
        self.newcomers += 1;
        let node = &mut self.all[place];
        node.kill();
        node.wipe()?;
        (node.name, node.joined, node.taken, node.arriving) = (name, true, true, true);
        self.start(place, machine)
    }

    /// Whoever is there goes, and takes everything along.
    pub(crate) fn move_out(&mut self, place: usize) -> Fallible<()> {
        let node = &mut self.all[place];
        node.kill();
        (node.taken, node.leaving, node.arriving) = (false, false, false);
        node.wipe()
    }

    pub(crate) fn start(&mut self, place: usize, machine: &Machine) -> Fallible<()> {
        if self.all[place].child.is_some() || !self.all[place].taken {
            return Ok(());
        }
        let others: Vec<String> =
            self.taken().into_iter().filter(|n| *n != place).map(|n| self.all[n].client.clone()).collect();
        let node = &self.all[place];
        let mut arguments = vec!["serve".to_owned()];
        for (flag, value) in [
            ("--name", node.name.clone()),
            ("--data-dir", node.disk.data().display().to_string()),
            ("--listen-client", node.client.clone()),
            ("--advertise-client", format!("http://{}", node.client)),
            ("--listen-peer", node.peer.clone()),
            ("--advertise-peer", node.peer_url()),
            ("--listen-zookeeper", node.zookeeper.clone()),
            ("--zookeeper-tick", "500ms".into()),
            ("--heartbeat-interval", "100ms".into()),
            ("--election-timeout-min", "300ms".into()),
            ("--election-timeout-max", "600ms".into()),
            // Small, so that logs are compacted and snapshots are sent within a storm.
            ("--snapshot-bytes", "1MiB".into()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        if node.joined {
            arguments
                .extend(["--initial-cluster-state=existing".into(), format!("--join={}", others.join(","))]);
        } else {
            arguments.push(format!("--initial-cluster={}", self.initial));
        }
        arguments.push(format!("--keys-engine={}", self.kind.engine));
        arguments.push(format!("--tree-engine={}", self.kind.engine));
        arguments.push(format!("--keys-shards={}", self.kind.shards));
        if self.kind.no_sync {
            arguments.push("--unsafe-no-sync".into());
        }
        if self.kind.lease_reads {
            arguments.push("--lease-reads".into());
        }
        let binary = self.kind.binary.display().to_string();
        let mut command = match &node.namespace {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.display())).arg(&binary);
                command
            }
            None => Command::new(&binary),
        };
        if let (Some(shim), Some(control)) = (&machine.shim, &node.control) {
            command.env("LD_PRELOAD", &shim.0).env("TORTURE_SHIM", &control.path);
        }
        if let Some(plant) = self.kind.plant {
            command.env("QUORATE_PLANT", plant);
        }
        // Before it runs: from then on its own may fail.
        let failed_before =
            node.control.as_ref().map(Control::counted).transpose()?.map_or(0, |counted| counted.failed);
        let log = fs::OpenOptions::new().create(true).append(true).open(&node.log)?;
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {binary}: {error}; is it built? cargo build --release"))?;
        let node = &mut self.all[place];
        (node.child, node.failed_before) = (Some(child), failed_before);
        Ok(())
    }

    /// Waits until a linearizable read succeeds through every member.
    pub(crate) fn wait_until_all_serve(&mut self, limit: Duration) -> Fallible<Duration> {
        let begun = Instant::now();
        let mut waiting = self.taken();
        while let Some(place) = waiting.first().copied() {
            if client::answers(&self.all[place].client) {
                waiting.remove(0);
                continue;
            }
            let node = &mut self.all[place];
            let ended = node.ended();
            if ended.is_some() || begun.elapsed() > limit {
                let why = ended.map_or("does not serve".to_owned(), |how| format!("has ended {how}"));
                let tail = node.tail(12);
                return Err(format!(
                    "{} {why}, {:.0?} after everything was healed; its last lines:\n{tail}",
                    node.name,
                    begun.elapsed()
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(begun.elapsed())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.all.iter_mut().for_each(Node::kill);
    }
}

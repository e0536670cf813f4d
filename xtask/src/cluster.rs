//! Three real server processes on loopback: ours, etcd's or ZooKeeper's, started the same way, measured the same way.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Fallible, process, zookeeper::real};

/// Whose servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours: the release binary of this checkout.
    Quorate,
    /// etcd, as installed.
    Etcd,
    /// ZooKeeper, as Debian installs it.
    ZooKeeper,
}

/// How the servers are started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Tell every sync a lie: for controls, which must fail.
    pub(crate) no_sync: bool,
    /// Serve ZooKeeper's clients, too (ours alone).
    pub(crate) zookeeper: bool,
    /// Further flags; of ZooKeeper's, properties of the Java machine.
    pub(crate) flags: Vec<String>,
}

/// One server process.
pub(crate) struct Server {
    kind: Kind,
    pub(crate) name: String,
    pub(crate) client: String,
    /// Where its peers reach it.
    pub(crate) peer: String,
    /// Where ZooKeeper's clients are served, if they are.
    pub(crate) zookeeper: String,
    command: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

/// The processes of one cluster; killed when dropped.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    /// Starts `directories.len()` servers, one in each directory, and waits until every one answers.
    pub(crate) fn start(kind: Kind, directories: &[PathBuf], options: &Options) -> Fallible<Cluster> {
        let ports = free_ports(directories.len() * 3)?;
        let (clients, others) = ports.split_at(directories.len());
        let (peers, zookeepers) = others.split_at(directories.len());
        let initial = peers
            .iter()
            .enumerate()
            .map(|(n, port)| format!("n{}=http://127.0.0.1:{port}", n + 1))
            .collect::<Vec<_>>()
            .join(",");
        let mut servers = Vec::new();
        for (n, directory) in directories.iter().enumerate() {
            let name = format!("n{}", n + 1);
            let (client, peer) = (format!("127.0.0.1:{}", clients[n]), format!("127.0.0.1:{}", peers[n]));
            let data = directory.join("data");
            let mut command = match kind {
                Kind::Quorate => quorate_command(&name, &data, &client, &peer, &initial),
                Kind::Etcd => etcd_command(&name, &data, &client, &peer, &initial),
                Kind::ZooKeeper => {
                    let ensemble = real::Ensemble { clients: zookeepers, quorum: clients, election: peers };
                    real::command(directory, n, &ensemble, options)?
                }
            };
            let zookeeper = format!("127.0.0.1:{}", zookeepers[n]);
            if kind != Kind::ZooKeeper {
                command.extend(further_flags(kind, options, &zookeeper));
            }
            let log = std::env::temp_dir().join(format!("quorate-xtask-{}-{name}.log", std::process::id()));
            servers.push(Server { kind, name, client, peer, zookeeper, command, log, child: None });
        }
        let mut cluster = Cluster { servers };
        for server in &mut cluster.servers {
            server.start()?;
        }
        for server in &cluster.servers {
            server.wait_until_it_answers(Duration::from_secs(30))?;
        }
        Ok(cluster)
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.client.clone()).collect()
    }

    /// CPU time of all servers so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.servers.iter().filter_map(Server::pid).map(process::cpu_time).sum()
    }

    /// Resident memory of the largest server, in bytes.
    pub(crate) fn resident_bytes_max(&self) -> u64 {
        self.servers.iter().filter_map(Server::pid).map(process::resident_bytes).max().unwrap_or(0)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.kill();
        }
    }
}

impl Server {
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn start(&mut self) -> Fallible<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.command[0]))?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Has the process ended by itself?
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_)) | Err(_)))
    }

    pub(crate) fn wait_until_it_answers(&self, limit: Duration) -> Fallible<()> {
        let end = Instant::now() + limit;
        loop {
            let answers = match self.kind {
                Kind::Quorate | Kind::Etcd => crate::client::answers(&self.client),
                Kind::ZooKeeper => real::mode(&self.zookeeper).is_some(),
            };
            if answers {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!(
                    "{} does not answer within {limit:?}; its last lines:\n{}",
                    self.name,
                    self.tail()
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn tail(&self) -> String {
        let Ok(file) = fs::File::open(&self.log) else { return String::new() };
        let lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

fn further_flags(kind: Kind, options: &Options, zookeeper: &str) -> Vec<String> {
    let mut flags = Vec::new();
    if options.no_sync {
        flags.push("--unsafe-no-sync".replace("sync", if kind == Kind::Etcd { "fsync" } else { "sync" }));
    }
    if options.zookeeper {
        flags.extend(["--listen-zookeeper".to_owned(), zookeeper.to_owned()]);
    }
    flags.extend(options.flags.iter().cloned());
    flags
}

fn quorate_command(name: &str, data: &Path, client: &str, peer: &str, initial: &str) -> Vec<String> {
    let mut command = vec![binary().display().to_string(), "serve".into()];
    for (flag, value) in [
        ("--name", name.to_owned()),
        ("--data-dir", data.display().to_string()),
        ("--listen-client", client.to_owned()),
        ("--advertise-client", format!("http://{client}")),
        ("--listen-peer", peer.to_owned()),
        ("--advertise-peer", format!("http://{peer}")),
        ("--initial-cluster", initial.to_owned()),
    ] {
        command.extend([flag.to_owned(), value]);
    }
    command
}

fn etcd_command(name: &str, data: &Path, client: &str, peer: &str, initial: &str) -> Vec<String> {
    let mut command = vec!["etcd".into()];
    for (flag, value) in [
        ("--name", name.to_owned()),
        ("--data-dir", data.display().to_string()),
        ("--listen-client-urls", format!("http://{client}")),
        ("--advertise-client-urls", format!("http://{client}")),
        ("--listen-peer-urls", format!("http://{peer}")),
        ("--initial-advertise-peer-urls", format!("http://{peer}")),
        ("--initial-cluster", initial.to_owned()),
        ("--initial-cluster-state", "new".into()),
        ("--log-level", "error".into()),
    ] {
        command.extend([flag.to_owned(), value]);
    }
    command
}

/// The release binary beside this one.
pub(crate) fn binary() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.parent().map(|folder| folder.join("quorate")).unwrap_or_default()
}

pub(crate) fn free_ports(count: usize) -> Fallible<Vec<u16>> {
    Ok(quorate_ports::free(count)?)
}

/// An empty directory on the real disk, removed when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(what: &str) -> Fallible<Scratch> {
        let target = binary().parent().map(Path::to_path_buf).unwrap_or_default();
        let path = target.join(format!("scratch-{what}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    pub(crate) fn directories(&self, count: usize) -> Fallible<Vec<PathBuf>> {
        (1..=count)
            .map(|n| {
                let path = self.0.join(format!("n{n}"));
                fs::create_dir_all(&path)?;
                Ok(path)
            })
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! The same random operations against ours and against a real ZooKeeper, Debian's: the first difference ends it.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    Fallible,
    cluster::{Cluster, Kind, Options, Scratch, free_ports},
    kazoo, ledger,
};

const SCRIPT: &str = "foreign/kazoo/differential.py";
const JARS: [&str; 2] = ["/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-nop.jar"];
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// What ZooKeeper calls properties. It looks for empty containers so seldom that none goes while we play.
const PROPERTIES: [&str; 3] = [
    "-Dzookeeper.extendedTypesEnabled=true",
    "-Dzookeeper.forceSync=no",
    "-Dznode.container.checkIntervalMs=1000000000",
];

/// So patient that nobody else is elected while a busy machine lets a server wait: its clients would lose their connections.
const CALM: [&str; 2] = ["--election-timeout-min=2s", "--election-timeout-max=3s"];

/// So many operations, split between `seeds` seeds from `first_seed` on; a line in the ledger if there are enough of them to be worth one.
pub(crate) fn run(operations: u64, seeds: u64, first_seed: u64, into_ledger: bool) -> Fallible<()> {
    let (seeds, mut failed) = (seeds.max(1), None);
    let each = operations.div_ceil(seeds);
    let mut clean = 0;
    for seed in first_seed..first_seed + seeds {
        failed = play(each, seed).err();
        if failed.is_some() {
            break;
        }
        clean += each;
    }
    let result = match &failed {
        None => format!("{clean} operations over {seeds} seeds, no difference from Debian's ZooKeeper"),
        Some(error) => format!("FAILED after {clean} operations: {error}"),
    };
    let command = format!(
        "cargo xtask differential --operations {operations} --seeds {seeds} --first-seed {first_seed}"
    );
    if into_ledger {
        ledger::add(&command, &result)?;
    } else {
        println!("{result}");
    }
    failed.map_or(Ok(()), Err)
}

/// Enough to see that all of it works, in a quarter of a minute; not for the ledger.
pub(crate) fn smoke(first_seed: u64) -> Fallible<()> {
    run(1500, 1, first_seed, false)
}

/// Fresh servers, and one run of the script.
fn play(operations: u64, seed: u64) -> Fallible<()> {
    let python = kazoo::install()?;
    let scratch = Scratch::new("differential")?;
    let real = Real::start(&scratch.0.join("zookeeper"))?;
    // What is compared is what is answered: not what survives a power loss, nor who leads on a machine that is busy.
    let flags = CALM.map(str::to_owned).to_vec();
    let options = Options { zookeeper: true, no_sync: true, flags };
    let cluster = Cluster::start(Kind::Quorate, &scratch.directories(3)?, &options)?;
    let ours: Vec<&str> = cluster.servers.iter().map(|server| server.zookeeper.as_str()).collect();
    let status = Command::new(python)
        .args([SCRIPT, "--real", &real.address, "--ours", &ours.join(",")])
        .args(["--operations", &operations.to_string(), "--seed", &seed.to_string()])
        .status()
        .map_err(|error| format!("cannot start {SCRIPT}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("seed {seed} ends with a difference").into()) }
}

/// One real server, alone; killed when dropped.
struct Real {
    address: String,
    child: Child,
}

impl Real {
    fn start(directory: &Path) -> Fallible<Real> {
        if let Some(missing) = JARS.iter().find(|jar| !Path::new(jar).exists()) {
            return Err(
                format!("there is no {missing}; Debian has it in the package libzookeeper-java").into()
            );
        }
        fs::create_dir_all(directory)?;
        let port = free_ports(1)?[0];
        let configuration = directory.join("zoo.cfg");
        fs::write(
            &configuration,
            format!(
                "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
                 admin.enableServer=false\n4lw.commands.whitelist=*\nlocalSessionsEnabled=false\n",
                directory.join("data").display()
            ),
        )?;
        let child = Command::new("java")
            .args(["-Xmx512m", "-cp", &JARS.join(":")])
            .args(PROPERTIES)
            .arg(MAIN)
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("cannot start java: {error}; Debian has it in the package default-jre-headless")
            })?;
        let mut real = Real { address: format!("127.0.0.1:{port}"), child };
        real.wait_until_it_answers(Duration::from_secs(60))?;
        Ok(real)
    }

    fn wait_until_it_answers(&mut self, limit: Duration) -> Fallible<()> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ZooKeeper ends at once, with {status}").into());
            }
            sleep(Duration::from_millis(100));
        }
        Err(format!("ZooKeeper does not answer within {limit:?}").into())
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The real one: how Debian's ZooKeeper is started, and what it says of itself.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use crate::{Fallible, cluster::Options};

const JARS: [&str; 2] = ["/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-nop.jar"];
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

const SHELL: &str = "org.apache.zookeeper.ZooKeeperMain";

/// The heap that ZooKeeper's own scripts give it (`ZK_SERVER_HEAP`).
pub(crate) const HEAP: &str = "-Xmx1000m";

/// What stands in every server's configuration, beside its addresses.
pub(crate) const CONFIGURATION: &str = "tickTime=2000\ninitLimit=10\nsyncLimit=5\nmaxClientCnxns=0\n\
     admin.enableServer=false\n4lw.commands.whitelist=*\nlocalSessionsEnabled=false\n";

/// Where its servers listen, by port, all in the same order.
pub(crate) struct Ensemble<'a> {
    pub(crate) clients: &'a [u16],
    pub(crate) quorum: &'a [u16],
    pub(crate) election: &'a [u16],
}

/// Writes the configuration of the `n`th server into its directory; how that one is started. A server alone is none of an ensemble.
pub(crate) fn command(
    directory: &Path,
    n: usize,
    ensemble: &Ensemble<'_>,
    options: &Options,
) -> Fallible<Vec<String>> {
    check_installed()?;
    let data = directory.join("data");
    fs::create_dir_all(&data)?;
    fs::write(data.join("myid"), format!("{}\n", n + 1))?;
    let mut text = format!(
        "{CONFIGURATION}dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n",
        data.display(),
        ensemble.clients[n]
    );
    if ensemble.quorum.len() > 1 {
        for (at, (quorum, election)) in ensemble.quorum.iter().zip(ensemble.election).enumerate() {
            text.push_str(&format!("server.{}=127.0.0.1:{quorum}:{election}\n", at + 1));
        }
    }
    let configuration = directory.join("zoo.cfg");
    fs::write(&configuration, text)?;
    let mut command: Vec<String> = ["java", HEAP, "-cp", &JARS.join(":")].map(str::to_owned).into();
    if options.no_sync {
        command.push("-Dzookeeper.forceSync=no".into());
    }
    command.extend(options.flags.iter().cloned());
    command.extend([MAIN.to_owned(), configuration.display().to_string()]);
    Ok(command)
}

/// Its shell, as `zkCli.sh` starts it, connected to these servers.
pub(crate) fn shell(servers: &str) -> Fallible<Command> {
    check_installed()?;
    let mut command = Command::new("java");
    command.args(["-cp", &JARS.join(":"), SHELL, "-waitforconnection", "-server", servers]);
    Ok(command)
}

fn check_installed() -> Fallible<()> {
    match JARS.iter().find(|jar| !Path::new(jar).exists()) {
        Some(missing) => {
            Err(format!("there is no {missing}; Debian has it in the package libzookeeper-java").into())
        }
        None => Ok(()),
    }
}

/// What the server at this address says it is: `leader`, `follower`, `standalone`; none before it serves.
pub(crate) fn mode(address: &str) -> Option<String> {
    let said = word(address, "srvr").ok()?;
    said.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}

fn word(address: &str, word: &str) -> Fallible<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(word.as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

/// Which ZooKeeper, and which Java under it.
pub(crate) fn version() -> Fallible<String> {
    let jars = Path::new(JARS[0]).parent().map(fs::read_dir).transpose()?;
    let names = jars.into_iter().flatten().filter_map(|jar| jar.ok()?.file_name().into_string().ok());
    let zookeeper = names
        .filter_map(|name| Some(name.strip_prefix("zookeeper-")?.strip_suffix(".jar")?.to_owned()))
        .find(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        .ok_or_else(|| format!("there is no {}; Debian has it in the package libzookeeper-java", JARS[0]))?;
    let java = Command::new("java").arg("-version").output().map_err(|error| {
        format!("cannot start java: {error}; Debian has it in the package default-jre-headless")
    })?;
    let said = String::from_utf8_lossy(&java.stderr).lines().next().unwrap_or_default().to_owned();
    Ok(format!("ZooKeeper {zookeeper} on {said}"))
}

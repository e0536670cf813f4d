//! Which ports the members of `quorate dev` take: those of last time, the usual ones, or free ones.

use std::{collections::BTreeSet, fs, net::TcpListener};

use super::Data;
use crate::commands::Failed;

/// Where a member listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) peer: u16,
    pub(super) zookeeper: u16,
}

impl Ports {
    /// 2379 for the first member's etcd clients, 22379 for the second's, 32379, …; the peers' port is one more; 2181, 22181, 32181, … for ZooKeeper's.
    pub(super) fn usual(n: usize) -> Ports {
        let more = if n == 0 { 0 } else { 10_000 + 10_000 * n as u16 };
        Ports { client: 2379 + more, peer: 2380 + more, zookeeper: 2181 + more }
    }

    /// A line of the file of ports.
    fn parse(line: &str) -> Option<Ports> {
        let mut ports = line.split(' ').map(|port| port.parse().ok());
        Some(Ports { client: ports.next()??, peer: ports.next()??, zookeeper: ports.next()?? })
    }
}

/// The ports of each member: those of last time, the usual ones, or free ones.
pub(super) fn ports(data: &Data, count: usize, free: bool) -> Result<Vec<Ports>, Failed> {
    let file = data.ports_file();
    if let Ok(text) = fs::read_to_string(&file) {
        let ports: Vec<Ports> = text.lines().filter_map(Ports::parse).collect();
        if ports.len() != count {
            return Err(Failed::usage(format!(
                "{} holds a cluster of {} members; start it with --nodes {}, or name another folder",
                data.path.display(),
                ports.len(),
                ports.len()
            )));
        }
        if let Some(busy) = ports
            .iter()
            .flat_map(|ports| [ports.client, ports.peer, ports.zookeeper])
            .find(|port| !is_free(*port))
        {
            return Err(Failed {
                code: 1,
                message: format!(
                    "port {busy} is taken, and the cluster in {} needs it; end what listens there (another `quorate dev`?)",
                    data.path.display()
                ),
            });
        }
        return Ok(ports);
    }
    let mut taken = BTreeSet::new();
    let mut choose = |usual: u16| -> Result<u16, Failed> {
        if !free && is_free(usual) && taken.insert(usual) {
            return Ok(usual);
        }
        let none = |error: std::io::Error| Failed { code: 1, message: format!("no port is free: {error}") };
        loop {
            // A usual port may be among those that are free.
            let port = quorate_ports::free(1).map_err(none)?[0];
            if taken.insert(port) {
                return Ok(port);
            }
        }
    };
    let mut ports = Vec::new();
    for n in 0..count {
        let Ports { client, peer, zookeeper } = Ports::usual(n);
        ports.push(Ports { client: choose(client)?, peer: choose(peer)?, zookeeper: choose(zookeeper)? });
    }
    if data.kept {
        let line = |ports: &Ports| format!("{} {} {}\n", ports.client, ports.peer, ports.zookeeper);
        let text: String = ports.iter().map(line).collect();
        fs::write(&file, text).map_err(|error| Failed {
            code: 1,
            message: format!("cannot write {}: {error}", file.display()),
        })?;
    }
    Ok(ports)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

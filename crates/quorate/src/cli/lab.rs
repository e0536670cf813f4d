//! The Lab, on the command line.

use clap::Args;

use super::Remote;

pub(super) const HELP: &str = "\
The page steps, rewinds, hurts and forks the engines that `quorate serve` runs; it tells why each step happened. A run
is in the page's address, so a link holds all of it. Examples:

  quorate lab                                  then open the address that it prints
  quorate lab --engine zab --seed 7            the end of a seed of `quorate sim`
  quorate lab --endpoints 127.0.0.1:2379       beside the runs, a cluster that serves, to look at
  quorate lab --endpoints 127.0.0.1:2379 --zookeeper 127.0.0.1:2181      and its tree of znodes";

#[derive(Debug, Args)]
pub(crate) struct Lab {
    /// Serve the page at this port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 7070)]
    pub(crate) port: u16,
    /// Serve it at this address; the page has no login, so others than this machine's should be asked for on purpose
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) listen: std::net::IpAddr,
    /// Print the link to this seed of `quorate sim`
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// The protocol of that seed's run
    #[arg(long, default_value = "raft", value_parser = ["raft", "zab"])]
    pub(crate) engine: String,
    /// Plant this bug in that seed's run (only in builds with planted bugs)
    #[arg(long, value_name = "ID")]
    pub(crate) plant: Option<String>,
    /// Where that cluster serves ZooKeeper's clients: the page then shows its znodes, too
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    pub(crate) zookeeper: Vec<String>,
    /// The cluster that the page shows, if --endpoints or QUORATE_ENDPOINTS names one
    #[command(flatten)]
    pub(crate) remote: Remote,
}

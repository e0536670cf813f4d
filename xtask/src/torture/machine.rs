//! What this machine has for a storm. What it lacks is said, once, by name; the rest of the storm goes on without it.

use std::path::Path;

use super::{disks, network, plan::Fault, shim};
use crate::{Fallible, power};

/// What there is.
pub(crate) struct Machine {
    /// A namespace and a device for each server.
    pub(crate) network: bool,
    /// A file system for each server.
    pub(crate) disks: bool,
    pub(crate) shim: Option<shim::Shim>,
}

impl Machine {
    /// Looks, sweeps up after runs that were killed, and says what will be skipped.
    pub(crate) fn look(folder: &Path) -> Fallible<Machine> {
        network::sweep();
        disks::sweep();
        let network = network::lacks();
        if let Some(missing) = network {
            println!("torture: skipped: partitions and slow networks: this machine has no {missing}");
        }
        let disks = power::able();
        if !disks {
            println!(
                "torture: skipped: lost power and full disks: this machine has no root, loop devices or mkfs.ext4"
            );
        }
        let shim = match shim::lacks() {
            None => Some(shim::Shim::compile(folder)?),
            Some(missing) => {
                println!(
                    "torture: skipped: wrong clocks, failing and hanging syncs: this machine has no {missing}"
                );
                None
            }
        };
        Ok(Machine { network: network.is_none(), disks, shim })
    }

    /// Can this be done here?
    pub(crate) fn can(&self, fault: Fault) -> bool {
        match fault {
            Fault::Kill | Fault::Pause | Fault::Rolling | Fault::Transfer | Fault::Member | Fault::Damage => {
                true
            }
            Fault::Partition | Fault::Degrade | Fault::Rate => self.network,
            Fault::Power | Fault::FullDisk => self.disks,
            Fault::Clock | Fault::FailSync | Fault::HangSync => self.shim.is_some(),
        }
    }
}

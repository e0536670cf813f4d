//! Free ports on the loopback, for processes that will be started and told where to listen.
//!
//! The usual trick, to listen on port 0 and let go, gives a port of the range that the kernel takes for outgoing connections: between the letting go
//! and the child's own `bind`, or while a killed child is down, any client on the machine may be given it. Ports are therefore taken below that
//! range, in blocks, and a block belongs to one process at a time: the one that listens on the block's first port, for as long as it lives.
#![forbid(unsafe_code)]

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Above what servers are usually found on, below the ports that Linux takes for outgoing connections
/// (`net.ipv4.ip_local_port_range` begins at 32768 by default).
const RANGE: Range<u16> = 12_000..32_000;
/// How many ports a block has, the one that claims it included.
const BLOCK: u16 = 32;
const BLOCKS: u16 = (RANGE.end - RANGE.start) / BLOCK;

/// The blocks of this process.
static OWN: Mutex<Own> = Mutex::new(Own { claims: Vec::new(), rest: 0..0 });

struct Own {
    /// One listener for each block; nobody is ever answered there.
    claims: Vec<TcpListener>,
    /// What has not been given out of the newest block.
    rest: Range<u16>,
}

/// `count` ports of 127.0.0.1 on which nothing listens. None is given out twice, neither by this process nor by another one that asks here and
/// runs at the same time.
///
/// # Errors
/// Every block is claimed, or what the system says to the attempt.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ports = Vec::with_capacity(count);
    while ports.len() < count {
        match own.rest.next() {
            // A child of an earlier owner may have outlived it, and other programs choose as they like.
            Some(port) if listen(port).is_ok() => ports.push(port),
            Some(_) => {}
            None => own.claim()?,
        }
    }
    Ok(ports)
}

impl Own {
    /// Takes the first block that nobody has, from one on that differs between processes.
    fn claim(&mut self) -> io::Result<()> {
        let from = (std::process::id() % u32::from(BLOCKS)) as u16;
        for n in 0..BLOCKS {
            let first = RANGE.start + (from + n) % BLOCKS * BLOCK;
            match listen(first) {
                Ok(claim) => {
                    self.claims.push(claim);
                    self.rest = first + 1..first + BLOCK;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        let text =
            format!("every block of {BLOCK} ports between {} and {} is claimed", RANGE.start, RANGE.end);
        Err(io::Error::new(io::ErrorKind::AddrInUse, text))
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_out_twice_and_none_is_the_kernels_to_give() {
        let asked: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| free(40).unwrap())).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let distinct: BTreeSet<u16> = asked.iter().copied().collect();
        assert_eq!(distinct.len(), 160);
        assert!(asked.iter().all(|port| RANGE.contains(port)));
        // Whoever else wants one of these blocks finds its first port taken.
        let firsts: BTreeSet<u16> = asked.iter().map(|port| port - (port - RANGE.start) % BLOCK).collect();
        for first in firsts {
            assert_eq!(listen(first).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn a_port_that_something_listens_on_is_passed_over() {
        // Of two neighbours the second is not taken when it is held before it is its turn.
        let at = free(1).unwrap()[0];
        if let Ok(_held) = listen(at + 1) {
            assert!(!free(2).unwrap().contains(&(at + 1)));
        }
    }
}

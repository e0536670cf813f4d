//! What is drawn for a connection: its session's id and password, and the number of who speaks for it.
//!
//! ZooKeeper's passwords follow from the session's id and a constant that everybody knows. Ours come from the operating system's generator.

use std::{fs::File, io, io::Read as _};

use quorate_service::{
    znodes::{Password, SessionId},
    zookeeper::Drawn,
};

/// The operating system's random numbers.
#[derive(Debug)]
pub(crate) struct Draws {
    source: File,
    /// The top byte of session ids.
    server: u8,
}

impl Draws {
    /// For the server with this id in its ensemble.
    pub(crate) fn open(server: u8) -> io::Result<Draws> {
        Ok(Draws { source: File::open("/dev/urandom")?, server })
    }

    pub(crate) fn draw(&mut self) -> io::Result<Drawn> {
        let mut bytes = [0; 32];
        self.source.read_exact(&mut bytes)?;
        let mut password = [0; 16];
        password.copy_from_slice(&bytes[..16]);
        let number = |at: usize| bytes[at..at + 8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        Ok(Drawn {
            session: session_id(self.server, number(16)),
            password: Password(password),
            owner: number(24),
        })
    }
}

/// The server's id in the top byte, as in ZooKeeper, and 56 bits of `random` below it. Two that are equal meet in the log, which refuses the second.
///
/// Never negative and never 0: ZooKeeper's turned negative with its clock (ZOOKEEPER-1622) and with ids above 127, and clients and tools have
/// stumbled over that. So of the id seven bits count.
pub(crate) fn session_id(server: u8, random: u64) -> SessionId {
    let low = (random >> 8).max(1);
    SessionId((u64::from(server & 0x7f) << 56 | low) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s09_session_ids_are_positive_and_name_their_server() {
        for server in [0, 1, 127, 128, 255] {
            for random in [0, 1, u64::MAX, 1 << 63] {
                let SessionId(id) = session_id(server, random);
                assert!(id > 0, "{server} {random}: {id}");
                assert_eq!((id >> 56) as u8, server & 0x7f);
            }
        }
    }

    #[test]
    fn no_two_draws_are_alike() {
        let mut draws = Draws::open(3).expect("the operating system has random numbers");
        let (a, b) = (draws.draw().expect("drawn"), draws.draw().expect("drawn"));
        assert!(a.session != b.session && a.password != b.password && a.owner != b.owner);
    }
}

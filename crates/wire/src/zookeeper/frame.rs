//! Where one packet ends and the next begins: a length of four bytes before each.
//!
//! Before the handshake, the four letters of a command may stand where the length would: `ruok` is 1,920,298,859, far above any length.

use std::{error, fmt};

use bytes::{Buf as _, Bytes, BytesMut};

use crate::jute::Writer;

/// Most bytes of a packet from a client: `jute.maxbuffer`, 0xfffff by default, one less than 1 MiB.
pub const FRAME_BYTES_MAX: usize = 0xf_ffff;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// The four-letter words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FourLetterWord {
            $($(#[$doc])* $name,)+
        }

        impl FourLetterWord {
            /// All of them.
            pub const ALL: &[FourLetterWord] = &[$(FourLetterWord::$name,)+];

            /// The word.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(FourLetterWord::$name => $text,)+
                }
            }
        }
    };
}

words! {
    /// Configuration.
    Conf = "conf",
    /// Connections, in full.
    Cons = "cons",
    /// Resets the counts of all connections.
    Crst = "crst",
    /// Bytes on disk.
    Dirs = "dirs",
    /// Sessions and ephemerals.
    Dump = "dump",
    /// The process's environment.
    Envi = "envi",
    /// The trace mask.
    Gtmk = "gtmk",
    /// Digests of the last transactions.
    Hash = "hash",
    /// Does the server only read?
    Isro = "isro",
    /// Figures for monitoring.
    Mntr = "mntr",
    /// Is the server there?
    Ruok = "ruok",
    /// Resets the server's counts.
    Srst = "srst",
    /// The server.
    Srvr = "srvr",
    /// The server and its connections.
    Stat = "stat",
    /// Sets the trace mask; eight bytes with the mask follow.
    Stmk = "stmk",
    /// Watches by session.
    Wchc = "wchc",
    /// Watches by path.
    Wchp = "wchp",
    /// How many watches there are.
    Wchs = "wchs",
}

impl FourLetterWord {
    /// The word with these letters.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Option<FourLetterWord> {
        FourLetterWord::ALL.iter().copied().find(|word| word.text().as_bytes() == bytes)
    }
}

/// What four bytes at the beginning of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// So many bytes follow.
    Length(usize),
    /// A command.
    Word(FourLetterWord),
}

/// The length that stands before a packet cannot be one; ZooKeeper closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The length.
    pub length: i32,
    /// The most that there may be.
    pub bytes_max: usize,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a packet of {} bytes, where 0 to {} are taken: no client of ZooKeeper's, or one whose jute.maxbuffer is larger",
            self.length, self.bytes_max
        )
    }
}

impl error::Error for FrameError {}

/// What the first four bytes of a packet say. `connected`: the handshake is over, so words are lengths like all others.
///
/// # Errors
/// The length is negative, or above `bytes_max`.
pub fn prefix(bytes: [u8; 4], connected: bool, bytes_max: usize) -> Result<Prefix, FrameError> {
    if let Some(word) = FourLetterWord::from_bytes(bytes).filter(|_| !connected) {
        return Ok(Prefix::Word(word));
    }
    let length = i32::from_be_bytes(bytes);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= bytes_max => Ok(Prefix::Length(bytes)),
        Ok(_) | Err(_) => Err(FrameError { length, bytes_max }),
    }
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A packet, without its length.
    Packet(Bytes),
    /// A command, and nothing after it is read.
    Word(FourLetterWord),
}

/// Takes the next packet off the front of what was received; none before all of it is there.
///
/// # Errors
/// As [`prefix`]: what is left cannot be read, the connection is of no more use.
///
/// ```
/// use quorate_wire::zookeeper::{FRAME_BYTES_MAX, FourLetterWord, Incoming, next_packet};
///
/// let mut received = b"\0\0\0\x02hi\0\0".as_slice().into();
/// assert_eq!(next_packet(&mut received, false, FRAME_BYTES_MAX), Ok(Some(Incoming::Packet("hi".into()))));
/// assert_eq!(next_packet(&mut received, false, FRAME_BYTES_MAX), Ok(None));
/// let mut received = b"ruok".as_slice().into();
/// assert_eq!(next_packet(&mut received, false, FRAME_BYTES_MAX), Ok(Some(Incoming::Word(FourLetterWord::Ruok))));
/// ```
pub fn next_packet(
    received: &mut BytesMut,
    connected: bool,
    bytes_max: usize,
) -> Result<Option<Incoming>, FrameError> {
    let Some(first) = received.first_chunk::<4>() else { return Ok(None) };
    match prefix(*first, connected, bytes_max)? {
        Prefix::Word(word) => {
            received.advance(4);
            Ok(Some(Incoming::Word(word)))
        }
        Prefix::Length(length) if received.len() - 4 >= length => {
            received.advance(4);
            Ok(Some(Incoming::Packet(received.split_to(length).freeze())))
        }
        Prefix::Length(_) => Ok(None),
    }
}

/// A packet of 2 GiB or more has no length on this wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketTooLong;

impl fmt::Display for PacketTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer has 2 GiB or more, which this wire cannot carry: ask for less")
    }
}

impl error::Error for PacketTooLong {}

/// A packet with its length before it.
///
/// # Errors
/// There is more than a length can say.
pub fn packet(write: impl FnOnce(&mut Writer)) -> Result<Bytes, PacketTooLong> {
    let mut to = Writer::with_capacity(128);
    crate::jute::Jute::write(&0_i32, &mut to);
    write(&mut to);
    let length = i32::try_from(to.bytes_mut().len() - 4).map_err(|_| PacketTooLong)?;
    to.bytes_mut()[..4].copy_from_slice(&length.to_be_bytes());
    Ok(to.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_packet_is_taken_and_one_byte_more_is_not() {
        let length = |length: i32| prefix(length.to_be_bytes(), true, FRAME_BYTES_MAX);
        assert_eq!(length(0), Ok(Prefix::Length(0)));
        assert_eq!(length(0xf_ffff), Ok(Prefix::Length(0xf_ffff)));
        for wrong in [0x10_0000, i32::MAX, -1, i32::MIN] {
            assert_eq!(length(wrong), Err(FrameError { length: wrong, bytes_max: FRAME_BYTES_MAX }));
        }
    }

    #[test]
    fn words_are_words_before_the_handshake_and_lengths_after() {
        for word in FourLetterWord::ALL {
            let bytes = *word.text().as_bytes().first_chunk().expect("four letters");
            assert_eq!(prefix(bytes, false, FRAME_BYTES_MAX), Ok(Prefix::Word(*word)));
            assert!(prefix(bytes, true, FRAME_BYTES_MAX).is_err());
        }
        assert!(prefix(*b"RUOK", false, FRAME_BYTES_MAX).is_err(), "in small letters only");
    }

    #[test]
    fn packets_come_out_whole_however_they_came_in() {
        let two = [&packet(|to| to.string("ab")).unwrap()[..], &packet(|_| ()).unwrap()].concat();
        let mut received = BytesMut::new();
        let mut packets = Vec::new();
        for byte in two {
            received.extend_from_slice(&[byte]);
            packets.extend(next_packet(&mut received, true, FRAME_BYTES_MAX).unwrap());
        }
        let expected =
            [b"\0\0\0\x02ab".as_slice(), b""].map(|bytes| Incoming::Packet(Bytes::from_static(bytes)));
        assert_eq!(packets, expected);
    }
}

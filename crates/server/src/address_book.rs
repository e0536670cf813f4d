//! Where the peers were last reached, kept beside the data.
//!
//! The records say it, but a replica applies no record before it hears from a leader, and nobody elects one whom he cannot reach: {every founder has been
//! replaced over the years, and the power fails for all}: without this file no member would know where any other is. It is advice, never trusted for who is a
//! member or may vote: a lost or damaged one costs what the configuration does not say.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use quorate_consensus::NodeId;

use crate::PeerAddress;

const BOOK: &str = "peers";
const BOOK_NEW: &str = "peers.new";
const BOOK_BYTES_MAX: u64 = 1 << 20;
const HEADING: &str = "quorate peers, version 1";

/// Peers and where they listen.
pub type AddressBook = BTreeMap<NodeId, PeerAddress>;

/// The addresses that were kept in a data directory; `None` if there are none.
///
/// # Errors
/// The operating system refuses, or the file is damaged (`InvalidData`).
pub fn load_addresses(directory: &Path) -> io::Result<Option<AddressBook>> {
    let file = match File::open(directory.join(BOOK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(BOOK_BYTES_MAX).read_to_string(&mut text)?;
    parse(&text)
        .map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match"))
}

/// Keeps the addresses in place of what was kept, durably and all at once. The directory must belong to this process.
///
/// # Errors
/// The operating system refuses; what was kept before is still there.
pub fn save_addresses(directory: &Path, addresses: &AddressBook) -> io::Result<()> {
    let new = directory.join(BOOK_NEW);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(format(addresses).as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, directory.join(BOOK))?;
    File::open(directory)?.sync_all()
}

fn format(addresses: &AddressBook) -> String {
    let lines: String = addresses.iter().map(|(node, address)| format!("{node} {address}\n")).collect();
    let body = format!("{HEADING}\n{lines}");
    let sum = crc32fast::hash(body.as_bytes());
    format!("{body}crc32 {sum:08x}\n")
}

fn parse(text: &str) -> Option<AddressBook> {
    let (body, sum) = text.rsplit_once("crc32 ")?;
    if sum != format!("{:08x}\n", crc32fast::hash(body.as_bytes())) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next() != Some(HEADING) {
        return None;
    }
    let entry = |line: &str| {
        let (node, address) = line.split_once(' ')?;
        Some((NodeId(u64::from_str_radix(node, 16).ok()?), PeerAddress(address.to_owned())))
    };
    lines.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, damaged};

    fn book(addresses: &[(u64, &str)]) -> AddressBook {
        addresses.iter().map(|(node, at)| (NodeId(*node), PeerAddress((*at).to_owned()))).collect()
    }

    #[test]
    fn what_was_saved_last_is_loaded() {
        let scratch = Scratch::new();
        assert_eq!(load_addresses(scratch.path()).unwrap(), None);
        for addresses in [&[(1, "one:2380"), (u64::MAX, "[::1]:2380")][..], &[]] {
            save_addresses(scratch.path(), &book(addresses)).unwrap();
            assert_eq!(load_addresses(scratch.path()).unwrap(), Some(book(addresses)));
        }
    }

    #[test]
    fn a_torn_or_flipped_book_is_refused() {
        let whole = format(&book(&[(1, "one:2380"), (2, "two:2380")])).into_bytes();
        for bytes in damaged(&whole) {
            assert_eq!(std::str::from_utf8(&bytes).ok().and_then(parse), None, "{bytes:?}");
        }
    }
}

//! Reading a file of which much was never written: a segment's space is taken before it is needed, and where there is no data, none is read.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

/// What a file holds from `offset` on, at most `length` bytes. Where the file system says that nothing was ever written there are zeros, which the memory has
/// already. A file system that does not know says that everything is data. The file's position moves.
pub(crate) fn read(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let end = file.metadata()?.len().min(offset.saturating_add(length));
    // No more than the file has, whatever is asked for. The memory comes as zeros, and its pages when they are touched.
    let mut data = vec![0; usize::try_from(end.saturating_sub(offset)).map_err(io::Error::other)?];
    let mut at = offset;
    while let Some((from, to)) = next_data(file, at, end)? {
        let whole = fill(file, &mut data[(from - offset) as usize..(to - offset) as usize], from)?;
        if whole < to - from {
            // It has become shorter meanwhile.
            data.truncate((from - offset + whole) as usize);
            break;
        }
        at = to;
    }
    Ok(data)
}

/// The next stretch of data at or after `at`, as far as `end`.
fn next_data(file: &File, at: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= end {
        return Ok(None);
    }
    let from = match seek(file, SeekFrom::Data(at)) {
        Ok(from) if from < end => from,
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, end))),
        Err(error) => return Err(error.into()),
    };
    let to = seek(file, SeekFrom::Hole(from))?;
    Ok(Some((from, to.clamp(from + 1, end))))
}

/// How many bytes there were.
fn fill(file: &File, into: &mut [u8], from: u64) -> io::Result<u64> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], from + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done as u64)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has a folder")]
mod tests {
    use rustix::fs::{FallocateFlags, fallocate};

    use super::*;

    /// Whatever was written where, and wherever the file ends, it reads as the plain way does.
    #[test]
    fn holes_read_as_zeros_and_data_as_it_is() {
        let path = std::env::temp_dir().join(format!("quorate-sparse-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // Not every file system takes space ahead.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, 3 << 20);
        for (at, byte) in [(0, 1), (70_000, 2), (1 << 20, 3), ((2 << 20) - 1, 4)] {
            file.write_all_at(&vec![byte; 5_000], at).unwrap();
        }
        // Before anything else has read the file: to some file systems what is in memory is data, holes or not.
        let wanted = [(0, u64::MAX), (3, 100), (70_000, 5_000), (60_000, 2 << 20), (9 << 20, 5)];
        let found = wanted.map(|(offset, length)| read(&file, offset, length).unwrap());
        let mut whole = vec![7; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut whole, 0).unwrap();
        for ((offset, length), found) in wanted.into_iter().zip(found) {
            let end = whole.len().min((offset as usize).saturating_add(length.min(1 << 40) as usize));
            let plain = whole.get(offset as usize..end).unwrap_or_default();
            assert!(found == plain, "{length} bytes from {offset}");
        }
    }
}

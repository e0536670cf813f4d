//! Frames out of a stream of bytes that a stranger may have written.

use std::{
    fmt,
    io::{self, Read},
};

use bytes::Bytes;

/// What one read asks for while no long frame is under way.
const BUFFER_BYTES: usize = 64 << 10;
/// A buffer that a long frame has grown is given back beyond this.
const BUFFER_KEPT_BYTES: usize = 1 << 20;
const PREFIX_BYTES: usize = 4;

/// Why reading ended.
#[derive(Debug)]
pub(crate) enum ReadEnd {
    /// The peer closed the connection between two frames.
    Closed,
    /// The peer closed it within a frame.
    Truncated,
    /// A length beyond the channel's limit, or of nothing.
    Length {
        /// What was announced.
        announced: usize,
    },
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for ReadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadEnd::Closed => f.write_str("closed"),
            ReadEnd::Truncated => f.write_str("closed within a frame"),
            ReadEnd::Length { announced } => {
                write!(f, "a frame of {announced} bytes was announced, which may not be")
            }
            ReadEnd::Io(error) => error.fmt(f),
        }
    }
}

/// Collects bytes and cuts frames out of them.
///
/// Invariant: memory follows what has arrived, never what was announced: the buffer doubles only when it is full.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have arrived.
    filled: usize,
    frame_bytes_max: usize,
}

impl FrameReader {
    pub(crate) fn new(frame_bytes_max: usize) -> FrameReader {
        FrameReader { buffer: vec![0; BUFFER_BYTES], filled: 0, frame_bytes_max }
    }

    /// Reads once and adds the frames that became whole to `frames`.
    pub(crate) fn read(&mut self, mut from: impl Read, frames: &mut Vec<Bytes>) -> Result<(), ReadEnd> {
        if self.filled == self.buffer.len() {
            let grown = (2 * self.filled).min(self.frame_bytes_max + PREFIX_BYTES + BUFFER_BYTES);
            self.buffer.resize(grown, 0);
        }
        let read = loop {
            match from.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadEnd::Io(error)),
                Ok(read) => break read,
            }
        };
        if read == 0 {
            return Err(if self.filled == 0 { ReadEnd::Closed } else { ReadEnd::Truncated });
        }
        self.filled += read;
        self.cut(frames)
    }

    /// All frames of one read share one allocation of exactly their size. They are copied out of the buffer, for what an engine keeps of
    /// them may live long, and would otherwise hold 64 KiB each.
    fn cut(&mut self, frames: &mut Vec<Bytes>) -> Result<(), ReadEnd> {
        let mut end = 0;
        while let Some(length) = self.length_at(end)? {
            if self.filled - end - PREFIX_BYTES < length {
                break;
            }
            end += PREFIX_BYTES + length;
        }
        if end == 0 {
            return Ok(());
        }
        let whole = Bytes::copy_from_slice(&self.buffer[..end]);
        let mut at = 0;
        while at < end {
            let length = self.length_at(at)?.unwrap_or(0);
            frames.push(whole.slice(at + PREFIX_BYTES..at + PREFIX_BYTES + length));
            at += PREFIX_BYTES + length;
        }
        self.buffer.copy_within(end..self.filled, 0);
        self.filled -= end;
        if self.buffer.len() > BUFFER_KEPT_BYTES && self.filled < BUFFER_BYTES {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
        Ok(())
    }

    fn length_at(&self, at: usize) -> Result<Option<usize>, ReadEnd> {
        let Some(prefix) = self.buffer[at..self.filled].first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let announced = u32::from_le_bytes(*prefix) as usize;
        if announced == 0 || announced > self.frame_bytes_max {
            return Err(ReadEnd::Length { announced });
        }
        Ok(Some(announced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most `step` bytes per read.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let (now, later) = self.0.split_at(self.0.len().min(self.1).min(into.len()));
            into[..now.len()].copy_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        frames.iter().flat_map(|frame| [&(frame.len() as u32).to_le_bytes()[..], frame].concat()).collect()
    }

    fn read_all(bytes: &[u8], step: usize, limit: usize) -> (Vec<Bytes>, ReadEnd, usize) {
        let (mut reader, mut frames) = (FrameReader::new(limit), Vec::new());
        let mut drip = Drip(bytes, step);
        loop {
            if let Err(end) = reader.read(&mut drip, &mut frames) {
                return (frames, end, reader.buffer.capacity());
            }
        }
    }

    #[test]
    fn frames_come_whole_and_in_order_however_the_bytes_are_cut() {
        let sent = vec![vec![1], vec![2; 1000], vec![3; 300_000], vec![4; 2]];
        for step in [1000, 3, 65_536, usize::MAX] {
            let (frames, end, _) = read_all(&stream(&sent), step, 1 << 20);
            assert!(frames == sent, "step {step}");
            assert!(matches!(end, ReadEnd::Closed), "{end:?}");
        }
    }

    #[test]
    fn an_announced_length_allocates_nothing_before_its_bytes_have_come() {
        let mut bytes = (64u32 << 20).to_le_bytes().to_vec();
        bytes.extend([0; 100_000]);
        let (frames, end, capacity) = read_all(&bytes, usize::MAX, 64 << 20);
        assert!(frames.is_empty() && matches!(end, ReadEnd::Truncated), "{end:?}");
        assert!(capacity <= 4 * 100_000, "{capacity}");
    }

    #[test]
    fn a_length_beyond_the_limit_or_of_nothing_ends_the_connection() {
        for announced in [0, 1001, u32::MAX] {
            let mut bytes = stream(&[vec![7]]);
            bytes.extend(announced.to_le_bytes());
            let (frames, end, _) = read_all(&bytes, 5, 1000);
            assert_eq!(frames.len(), 1, "what came whole before it counts");
            assert!(matches!(end, ReadEnd::Length { announced: a } if a == announced as usize), "{end:?}");
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_gives_nothing_of_it() {
        let bytes = stream(&[vec![1; 10], vec![2; 10]]);
        for end in 15..bytes.len() {
            let (frames, why, _) = read_all(&bytes[..end], usize::MAX, 1000);
            assert_eq!(frames, [vec![1; 10]]);
            assert!(matches!(why, ReadEnd::Truncated));
        }
    }

    #[test]
    fn a_buffer_grown_by_a_long_frame_is_given_back() {
        let sent = vec![vec![1; 8 << 20], vec![2; 10]];
        let (frames, _, capacity) = read_all(&stream(&sent), usize::MAX, 64 << 20);
        assert!(frames == sent);
        assert!(capacity < 1 << 20, "{capacity}");
    }
}

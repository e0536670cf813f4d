//! What the machine itself costs: one sync, one round trip.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::Fallible;

/// Percentiles of a handful of measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

pub(crate) fn spread(mut times: Vec<Duration>) -> Spread {
    times.sort_unstable();
    let at =
        |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    Spread { p50: at(0.5).copied().unwrap_or_default(), p99: at(0.99).copied().unwrap_or_default() }
}

/// One fdatasync after a 4 KiB write over preallocated zeroes.
pub(crate) fn sync(directory: &Path) -> Fallible<Spread> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(directory.join("probe"))?;
    let block = [7u8; 4096];
    for n in 0..1000 {
        file.write_all_at(&[0; 4096], n * 4096)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    for n in 0..1000 {
        let start = Instant::now();
        file.write_all_at(&block, n * 4096)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(spread(times))
}

/// One loopback round trip of 256 bytes.
pub(crate) fn round_trip() -> Fallible<Spread> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut buffer = [0; 256];
        while stream.read_exact(&mut buffer).is_ok() {
            stream.write_all(&buffer)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = [1; 256];
    let mut times = Vec::new();
    for _ in 0..5000 {
        let start = Instant::now();
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
        times.push(start.elapsed());
    }
    drop(stream);
    let _ = echo.join();
    Ok(spread(times))
}

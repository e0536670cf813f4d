//! A packet switch of our own: one thread that owns a TUN device of each network namespace. What a kernel with netem would do, the
//! [`Queue`] does, and partitions, too.
//!
//! ```text
//!   namespace n1 ── tun ──► read ──► Queue::accept ──► (due) ──► Queue::arrived ──► write ──► tun ── namespace n2
//! ```

mod queue;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use queue::Queue;
pub(crate) use queue::{Counts, Link};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// However little there is to do, it looks up this often: it is told to stop, or a link changes.
const IDLE_MAX: Duration = Duration::from_millis(20);
const PACKET_BYTES_MAX: usize = 2 << 10;
/// Packets read from one device before the others have their turn.
const TURN_PACKETS_MAX: usize = 64;

/// The switch; ends when dropped.
pub(crate) struct Switch {
    queue: Arc<Mutex<Queue>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Switch {
    /// Carries packets between devices. That of port `n` has addresses that end in `last_bytes[n]`.
    pub(crate) fn start(devices: Vec<OwnedFd>, last_bytes: Vec<u8>, seed: u64) -> Switch {
        let queue = Arc::new(Mutex::new(Queue::new(seed)));
        let stop = Arc::new(AtomicBool::new(false));
        let (of_thread, told) = (Arc::clone(&queue), Arc::clone(&stop));
        let devices = devices.into_iter().map(File::from).collect::<Vec<_>>();
        let thread = thread::spawn(move || carry(&devices, &last_bytes, &of_thread, &told));
        Switch { queue, stop, thread: Some(thread) }
    }

    pub(crate) fn set(&self, from: usize, to: usize, link: Link) {
        lock(&self.queue).set(from, to, link);
    }

    pub(crate) fn link(&self, from: usize, to: usize) -> Link {
        lock(&self.queue).link(from, to)
    }

    pub(crate) fn heal(&self) {
        lock(&self.queue).heal();
    }

    pub(crate) fn counts(&self) -> Counts {
        lock(&self.queue).counts
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(devices: &[File], last_bytes: &[u8], queue: &Mutex<Queue>, stop: &AtomicBool) {
    let origin = Instant::now();
    let now_us = || u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut buffer = [0; PACKET_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        let next_us = lock(queue).next_us();
        let wait =
            next_us.map_or(IDLE_MAX, |due| Duration::from_micros(due.saturating_sub(now_us())).min(IDLE_MAX));
        let mut polled: Vec<PollFd<'_>> =
            devices.iter().map(|device| PollFd::new(device, PollFlags::IN)).collect();
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        // An interrupted wait is a short one.
        let _ = poll(&mut polled, Some(&wait));
        let readable: Vec<bool> = polled.iter().map(|fd| fd.revents().contains(PollFlags::IN)).collect();
        let mut queue = lock(queue);
        for from in (0..devices.len()).filter(|n| readable[*n]) {
            for _ in 0..TURN_PACKETS_MAX {
                let Ok(length) = (&devices[from]).read(&mut buffer) else { break };
                let to = destination(&buffer[..length]);
                if let Some(to) = to.and_then(|byte| last_bytes.iter().position(|known| *known == byte)) {
                    queue.accept(now_us(), from, to, buffer[..length].to_vec());
                }
            }
        }
        while let Some((to, packet)) = queue.arrived(now_us()) {
            // A device whose namespace is going away refuses; packets may be lost.
            let _ = (&devices[to]).write(&packet);
        }
    }
}

/// The last byte of an IPv4 packet's destination; anything else is not ours to carry.
fn destination(packet: &[u8]) -> Option<u8> {
    let version = packet.first()? >> 4;
    packet.get(19).copied().filter(|_| version == 4)
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn only_ipv4_has_a_destination() {
        let mut packet = [0; 20];
        packet[0] = 0x45;
        packet[19] = 7;
        assert_eq!(destination(&packet), Some(7));
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&packet[..10]), None);
        assert_eq!(destination(&[]), None);
    }
}

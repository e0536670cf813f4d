//! Clients that mean harm, beside one that does not: connections that say nothing, by the hundred thousand; streams that are reset as soon as they are opened;
//! requests that come a byte at a time. The honest client must be served all the while, on its old connection and on new ones.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use quorate_client::Client;
use tokio::net::TcpSocket;

use crate::{
    Fallible,
    client::{impatient, runtime},
    cluster::{Cluster, Kind, Options, Scratch},
    ledger,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// HPACK: `:method POST`, `:scheme http`, `:path /` from the static table, which is a request to nobody.
const HEADERS: &[u8] = &[0x83, 0x86, 0x84];
/// An honest call takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Goes on until it is told that it is over; how much of it there was.
type Attack<'a> = dyn Fn(&AtomicBool) -> Fallible<u64> + 'a;

/// `connections` that say nothing, then the others.
pub(crate) fn run(connections: u64, record: bool) -> Fallible<()> {
    let scratch = Scratch::new("hostile")?;
    let options = Options { zookeeper: true, ..Options::default() };
    let cluster = Cluster::start(Kind::Quorate, &scratch.directories(1)?, &options)?;
    let server = &cluster.servers[0];
    let mut said = Vec::new();
    let attacks: [(&str, &Attack<'_>); 4] = [
        ("connections that say nothing", &|_| silent(&server.client, connections)),
        ("connections that say nothing to the tree's port", &|_| silent(&server.zookeeper, connections)),
        ("streams reset as soon as they are opened", &|over| resets(&server.client, over)),
        ("requests that come a byte at a time", &|over| slow(&server.client, over)),
    ];
    for (name, attack) in attacks {
        let honest = Honest::start(&server.client)?;
        let over = AtomicBool::new(false);
        let count = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs(8));
                over.store(true, Ordering::Relaxed);
            });
            attack(&over)
        })?;
        let line = format!("{count} {name}: {}", honest.stop()?);
        println!("hostile: {line}");
        said.push(line);
    }
    if record {
        ledger::add(&format!("cargo xtask hostile --connections {connections}"), &said.join("; "))?;
    }
    Ok(())
}

/// Connections that one process holds: the limit on open files is the machine's to give.
const HOLDS: u64 = 15_000;

/// Lets as many processes as it takes open them as fast as they can, and hold them all to the end; how many there were.
fn silent(address: &str, connections: u64) -> Fallible<u64> {
    let mut holders = Vec::new();
    for first in (0..connections).step_by(HOLDS as usize) {
        let count = HOLDS.min(connections - first);
        let holder = Command::new(std::env::current_exe()?)
            .args(["hostile", "--hold", address, &count.to_string(), &(first / HOLDS).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        holders.push(holder);
    }
    let mut held = 0;
    for holder in &mut holders {
        let mut line = String::new();
        if let Some(stdout) = &mut holder.stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        held += line.trim().parse().unwrap_or(0);
    }
    thread::sleep(Duration::from_secs(2));
    for mut holder in holders {
        // Its input ends, and so does it.
        drop(holder.stdin.take());
        holder.wait()?;
    }
    Ok(held)
}

/// What a process of [`silent`] does: connects `count` times from an address of the loopback of its own, says how often that came about, and waits for the end.
pub(crate) fn hold(arguments: &[String]) -> Fallible<()> {
    let [address, count, number] = arguments else {
        return Err("hostile --hold ADDRESS COUNT NUMBER".into());
    };
    let (target, count, number): (SocketAddr, u64, u8) = (address.parse()?, count.parse()?, number.parse()?);
    runtime()?.block_on(async {
        let mut held = Vec::new();
        for _ in 0..count {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 1, 0, 1 + number], 0)))?;
            // Where the server takes no more, the handshake waits; whoever means harm does not.
            if let Ok(Ok(stream)) =
                tokio::time::timeout(Duration::from_millis(200), socket.connect(target)).await
            {
                held.push(stream);
            }
        }
        println!("{}", held.len());
        std::io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    })
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HTTP/2's rapid reset, from eight connections, each anew when the server hangs up.
fn resets(address: &str, over: &AtomicBool) -> Fallible<u64> {
    let opened = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(address) else { continue };
                    if stream.write_all(&[PREFACE, SETTINGS].concat()).is_err() {
                        continue;
                    }
                    for number in (1..20_000_u32).step_by(2) {
                        // END_HEADERS and END_STREAM; then RST_STREAM with CANCEL.
                        let both = [frame(1, 5, number, HEADERS), frame(3, 0, number, &8_u32.to_be_bytes())]
                            .concat();
                        if stream.write_all(&both).is_err() || over.load(Ordering::Relaxed) {
                            break;
                        }
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Ok(opened.into_inner())
}

/// A thousand connections, each of which sends a request's headers and then a byte of its body now and then.
fn slow(address: &str, over: &AtomicBool) -> Fallible<u64> {
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        stream.write_all(&[PREFACE, SETTINGS, &frame(1, 4, 1, HEADERS)].concat())?;
        streams.push(stream);
    }
    let mut bytes = 0;
    while !over.load(Ordering::Relaxed) {
        for stream in &mut streams {
            bytes += u64::from(stream.write_all(&frame(0, 0, 1, &[0])).is_ok());
            let _ = stream.read(&mut [0; 512]);
        }
    }
    Ok(bytes)
}

/// A client that puts and reads, now on a connection that it has, now on a new one.
struct Honest {
    over: Arc<AtomicBool>,
    longest: Arc<Mutex<(u64, Duration)>>,
    thread: thread::JoinHandle<Fallible<()>>,
}

impl Honest {
    fn start(address: &str) -> Fallible<Honest> {
        let (over, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new((0, Duration::ZERO))));
        let (ends, takes, address) = (Arc::clone(&over), Arc::clone(&longest), address.to_owned());
        let thread = thread::spawn(move || {
            runtime()?.block_on(async {
                let old = Client::connect([address.clone()], impatient(PATIENCE))?;
                while !ends.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    old.put("honest", "1")
                        .await
                        .map_err(|error| format!("an honest put on an old connection: {error}"))?;
                    let new = Client::connect([address.clone()], impatient(PATIENCE))?;
                    new.get("honest")
                        .await
                        .map_err(|error| format!("an honest read on a new connection: {error}"))?;
                    if let Ok(mut longest) = takes.lock() {
                        *longest = (longest.0 + 1, longest.1.max(begun.elapsed()));
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(())
            })
        });
        Ok(Honest { over, longest, thread })
    }

    fn stop(self) -> Fallible<String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the honest client panicked")??;
        let (rounds, longest) = self.longest.lock().map(|longest| *longest).unwrap_or_default();
        if rounds == 0 {
            return Err("the honest client was not served once".into());
        }
        Ok(format!(
            "an honest client was served {rounds} times meanwhile, a put and a read on a new connection within {longest:.0?}"
        ))
    }
}

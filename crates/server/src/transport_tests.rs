//! The transport over real sockets: what peers send arrives, and what strangers send does no harm.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_consensus::{ClusterId, NodeId};
use quorate_node::{Channel, NodeInput};

use crate::{
    core::CoreInput,
    counters::Counters,
    inbox::{Inbox, Waited},
    preamble::{Preamble, VERDICT_BYTES, Verdict},
    transport::{
        Local, Network, PeerAddress, Security, Transport, URGENT_FRAME_BYTES_MAX, URGENT_QUEUE_BYTES_MAX,
    },
};

pub(crate) const CLUSTER: ClusterId = ClusterId(7);
/// Nothing here takes that long; it only bounds a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct End {
    pub(crate) transport: Transport,
    pub(crate) inbox: Inbox<CoreInput>,
    pub(crate) counters: Arc<Counters>,
    arrived: Vec<CoreInput>,
}

impl Drop for End {
    fn drop(&mut self) {
        // As the core does: nobody takes frames any more, and a reader that waits for room must know.
        self.inbox.close();
        for thread in self.transport.close() {
            thread.join().unwrap();
        }
    }
}

impl End {
    fn on(listener: TcpListener, node: u64) -> End {
        End::with(listener, node, Security::Plaintext)
    }

    pub(crate) fn with(listener: TcpListener, node: u64, security: Security) -> End {
        let counters = Arc::<Counters>::default();
        let inbox = Inbox::new(usize::MAX, u64::MAX, Arc::default());
        let network = Network::Tcp { listener, peers: BTreeMap::new(), security };
        let local = Local { cluster: CLUSTER, node: NodeId(node) };
        let transport = Transport::start(network, local, &inbox, &counters).unwrap();
        End { transport, inbox, counters, arrived: Vec::new() }
    }

    pub(crate) fn new(node: u64) -> End {
        End::on(TcpListener::bind("127.0.0.1:0").unwrap(), node)
    }

    pub(crate) fn dial(&self, peer: u64, at: &End) {
        let address = PeerAddress(at.transport.address().unwrap().to_string());
        self.transport.set_peers(&BTreeMap::from([(NodeId(peer), address)])).unwrap();
    }

    pub(crate) fn send(&self, to: u64, channel: Channel, frames: impl IntoIterator<Item = Bytes>) {
        let mut frames = frames.into_iter().map(|frame| (NodeId(to), channel, frame)).collect();
        self.transport.send(&mut frames);
        assert!(frames.is_empty());
    }

    /// The next input that `wanted` takes; others are passed over.
    pub(crate) fn next<T>(&mut self, wanted: impl Fn(NodeInput) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            for input in self.arrived.drain(..) {
                let CoreInput::Node(input) = input else { panic!("{input:?}") };
                if let Some(taken) = wanted(input) {
                    return taken;
                }
            }
            assert_eq!(self.inbox.wait(&mut self.arrived, Some(until)), Waited::Items, "nothing came");
        }
    }

    /// Frames, until `enough` says so.
    pub(crate) fn frames(&mut self, enough: impl Fn(&[Bytes]) -> bool) -> Vec<Bytes> {
        let (until, mut frames) = (Instant::now() + PATIENCE, Vec::new());
        while !enough(&frames) {
            assert_eq!(self.inbox.wait(&mut self.arrived, Some(until)), Waited::Items, "nothing came");
            frames.extend(self.arrived.drain(..).filter_map(|input| match input {
                CoreInput::Node(NodeInput::Frame(frame)) => Some(frame),
                _ => None,
            }));
        }
        frames
    }
}

pub(crate) fn lost(input: NodeInput) -> Option<NodeId> {
    if let NodeInput::PeerLost(peer) = input { Some(peer) } else { None }
}

pub(crate) fn frame(input: NodeInput) -> Option<Bytes> {
    if let NodeInput::Frame(frame) = input { Some(frame) } else { None }
}

/// Connects by hand and says `words`.
pub(crate) fn stranger(at: &End, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(at.transport.address().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    stream
}

pub(crate) fn preamble(channel: Channel) -> [u8; 29] {
    Preamble { channel, cluster: CLUSTER, sender: NodeId(2), receiver: NodeId(1) }.encode()
}

/// What the listener says before it hangs up. (A reset is a hang-up too.)
pub(crate) fn last_words(stream: &mut TcpStream) -> Vec<u8> {
    let mut words = Vec::new();
    let _ = stream.read_to_end(&mut words);
    words
}

#[test]
fn frames_of_one_channel_arrive_in_order_and_long_ones_whole() {
    let (a, mut b) = (End::new(1), End::new(2));
    a.dial(2, &b);
    // The first are kept for the connection that is being made.
    let small: Vec<Bytes> = (0..100u32).map(|n| Bytes::from(n.to_le_bytes().to_vec())).collect();
    a.send(2, Channel::Bulk, small.clone());
    assert_eq!(b.frames(|frames| frames.len() >= 100), small);
    let long = Bytes::from((0..20_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    a.send(2, Channel::Bulk, [long.clone(), small[7].clone()]);
    assert!(b.frames(|frames| frames.len() >= 2) == [long, small[7].clone()]);
}

#[test]
fn a_lost_connection_is_said_once_made_again_and_used() {
    let (mut a, b) = (End::new(1), End::new(2));
    a.dial(2, &b);
    let port = b.transport.address().unwrap();
    drop(b);
    // Both channels were connected, or not yet: only what stood can be lost, so make sure that it stands.
    let b = End::on(TcpListener::bind(port).unwrap(), 2);
    let hello = Bytes::from_static(b"hello");
    let until = Instant::now() + PATIENCE;
    let mut arrived = Vec::new();
    while arrived.is_empty() && Instant::now() < until {
        a.send(2, Channel::Urgent, [hello.clone()]);
        b.inbox.wait(&mut arrived, Some(Instant::now() + Duration::from_millis(20)));
    }
    assert!(matches!(&arrived[0], CoreInput::Node(NodeInput::Frame(frame)) if *frame == hello));
    drop(b);
    assert_eq!(a.next(lost), NodeId(2));
}

#[test]
fn a_peer_that_moves_is_found_at_its_new_address() {
    let (a, mut old, new) = (End::new(1), End::new(2), End::new(2));
    a.dial(2, &old);
    a.send(2, Channel::Urgent, [Bytes::from_static(b"1")]);
    assert_eq!(old.next(frame), "1");
    a.dial(2, &new);
    let until = Instant::now() + PATIENCE;
    let mut arrived = Vec::new();
    while arrived.is_empty() && Instant::now() < until {
        a.send(2, Channel::Urgent, [Bytes::from_static(b"2")]);
        new.inbox.wait(&mut arrived, Some(Instant::now() + Duration::from_millis(20)));
    }
    assert!(matches!(&arrived[0], CoreInput::Node(NodeInput::Frame(frame)) if frame == "2"));
}

#[test]
fn who_is_no_peer_gets_no_answer_and_who_is_wrong_here_is_told() {
    let a = End::new(1);
    let mut http = stranger(&a, b"GET / HTTP/1.1\r\nHost: quorate.example\r\n\r\n");
    assert_eq!(last_words(&mut http), b"");
    let mut other = preamble(Channel::Urgent);
    other[5] ^= 1;
    assert_eq!(last_words(&mut stranger(&a, &other)), Verdict::Cluster.encode());
    let mut other = preamble(Channel::Urgent);
    other[3] = 99;
    assert_eq!(last_words(&mut stranger(&a, &other)), Verdict::Version.encode());
    let mut early = stranger(&a, &preamble(Channel::Urgent)[..10]);
    early.shutdown(Shutdown::Write).unwrap();
    assert_eq!(last_words(&mut early), b"");
}

#[test]
fn an_impossible_length_ends_the_connection_and_nothing_else() {
    let mut a = End::new(1);
    for length in [0, URGENT_FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut peer = stranger(&a, &preamble(Channel::Urgent));
        peer.write_all(&3u32.to_le_bytes()).unwrap();
        peer.write_all(b"abc").unwrap();
        assert_eq!(a.next(frame), "abc");
        peer.write_all(&length.to_le_bytes()).unwrap();
        assert_eq!(last_words(&mut peer), Verdict::Welcome.encode());
    }
}

#[test]
fn the_newest_connection_of_a_peer_replaces_the_one_before() {
    let a = End::new(1);
    let mut welcome = [0; VERDICT_BYTES];
    let mut first = stranger(&a, &preamble(Channel::Bulk));
    first.read_exact(&mut welcome).unwrap();
    let mut urgent = stranger(&a, &preamble(Channel::Urgent));
    urgent.read_exact(&mut welcome).unwrap();
    let mut second = stranger(&a, &preamble(Channel::Bulk));
    second.read_exact(&mut welcome).unwrap();
    assert_eq!(last_words(&mut first), b"", "hung up");
    urgent.set_nonblocking(true).unwrap();
    let error = urgent.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "the other channel stands");
}

#[test]
fn a_peer_that_does_not_read_costs_no_more_than_its_queue_and_the_loss_is_said() {
    let mut a = End::new(1);
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = PeerAddress(deaf.local_addr().unwrap().to_string());
    a.transport.set_peers(&BTreeMap::from([(NodeId(2), address)])).unwrap();
    let held: Vec<TcpStream> = (0..2)
        .map(|_| {
            let (mut stream, _) = deaf.accept().unwrap();
            stream.read_exact(&mut [0; 29]).unwrap();
            stream.write_all(&Verdict::Welcome.encode()).unwrap();
            stream
        })
        .collect();
    let piece = Bytes::from(vec![0; 64 << 10]);
    let until = Instant::now() + PATIENCE;
    // Until it is connected frames are dropped too, but silently; the kernel's buffers take a few MiB first.
    let mut sent = 0;
    let mut inputs = Vec::new();
    while Instant::now() < until
        && !inputs.iter().any(|i| matches!(i, CoreInput::Node(NodeInput::PeerLost(_))))
    {
        a.send(2, Channel::Urgent, (0..32).map(|_| piece.clone()));
        sent += 32 * piece.len();
        inputs.clear();
        a.inbox.wait(&mut inputs, Some(Instant::now() + Duration::from_millis(5)));
    }
    assert!(matches!(inputs[..], [CoreInput::Node(NodeInput::PeerLost(NodeId(2)))]), "{inputs:?}");
    assert!(sent > URGENT_QUEUE_BYTES_MAX);
    let dropped = a.counters.frames_dropped.get();
    a.send(2, Channel::Urgent, [piece.clone()]);
    assert_eq!(a.counters.frames_dropped.get(), dropped + 1);
    assert_eq!(a.inbox.wait(&mut a.arrived, Some(Instant::now())), Waited::Deadline, "said once");
    drop(held);
    assert_eq!(a.next(lost), NodeId(2));
}

#[test]
fn frames_for_nobody_are_dropped_and_counted() {
    let a = End::new(1);
    a.send(9, Channel::Bulk, [Bytes::from_static(b"x")]);
    assert_eq!(a.counters.frames_dropped.get(), 1);
}

//! Frames to and from peers.
//!
//! Each node dials its peers for what it sends itself: two connections per peer, one for what is urgent and one for bulk. What it receives
//! comes over the connections that its peers dialled.
//!
//! ```text
//!  core ──► link: queue ──► socket     written at once by the core itself if the socket takes it; the rest by the link's thread
//!  core ◄── inbox ◄── one thread per incoming connection
//! ```
//! Frames may be lost and engines know it. What is lost is said, once: [`NodeInput::PeerLost`](quorate_node::NodeInput::PeerLost).

use std::{
    collections::BTreeMap,
    fmt,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, RwLock},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use quorate_consensus::{ClusterId, NodeId};
use quorate_node::{Channel, FRAME_BYTES_MAX};
use quorate_tls::Members;

use crate::{core::CoreInput, counters::Counters, hub::Hub, inbox::Inbox, link::Link, listener::Listener};

/// The most bytes of an urgent frame: heartbeats, votes and acknowledgements of thousands of groups.
pub const URGENT_FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes that wait for one urgent connection, at most.
pub const URGENT_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Bytes that wait for one bulk connection, at most; room for two of the longest frames.
pub const BULK_QUEUE_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Bytes kept for a connection that does not stand: the newest, so that a first vote need not be asked for twice.
pub const UNCONNECTED_QUEUE_BYTES_MAX: usize = 64 << 10;
/// Connections that have not yet said who they are, at most.
pub const HANDSHAKES_MAX: usize = 64;
/// Incoming connections, at most: two of each member of the largest group, and as many again that are being replaced.
pub const INCOMING_MAX: usize = 256;
/// How long a connection may take to be made and to say who it is.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long sent bytes may stay unacknowledged before the connection is given up.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before a connection is tried again; doubles up to [`RECONNECT_MAX`].
pub const RECONNECT_MIN: Duration = Duration::from_millis(10);
/// The longest pause before a connection is tried again.
pub const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// The most bytes of a frame on this channel.
pub(crate) fn frame_bytes_max(channel: Channel) -> usize {
    match channel {
        Channel::Urgent => URGENT_FRAME_BYTES_MAX,
        Channel::Bulk => FRAME_BYTES_MAX,
    }
}

/// Where a peer listens: `host:port`, resolved anew for every connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress(pub String);

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How connections between peers are protected. Its place is around the socket, below the preamble, so that nothing above changes.
#[derive(Clone, Debug, Default)]
pub enum Security {
    /// Not at all: whoever can reach the port can speak as any node. For trusted networks.
    #[default]
    Plaintext,
    /// By TLS, both ways: who has no certificate of a member is neither heard nor spoken to. All members alike.
    Tls(Members),
}

/// How a node reaches its peers.
#[derive(Debug)]
pub enum Network {
    /// Over TCP.
    Tcp {
        /// Where peers connect to this node.
        listener: TcpListener,
        /// Where the peers listen; this node's own entry, if there, is passed over. May change later.
        peers: BTreeMap<NodeId, PeerAddress>,
        /// How connections are protected.
        security: Security,
    },
    /// Within this process; nothing is encoded twice, copied or lost.
    InProcess(Hub),
}

/// Who this node is to its peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
}

/// The sending half, shared by the core and the handle, and the lives of all connections.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    local: Local,
    counters: Arc<Counters>,
    core: Inbox<CoreInput>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Tcp {
        links: RwLock<BTreeMap<(NodeId, Channel), Arc<Link>>>,
        listener: Listener,
        security: Security,
        threads: Mutex<Vec<JoinHandle<()>>>,
    },
    InProcess(Hub),
}

impl Transport {
    /// Starts to listen and to dial. Frames and losses go to `core`.
    pub(crate) fn start(
        network: Network,
        local: Local,
        core: &Inbox<CoreInput>,
        counters: &Arc<Counters>,
    ) -> std::io::Result<Transport> {
        let (way, peers) = match network {
            Network::Tcp { listener, peers, security } => {
                let (listener, thread) =
                    Listener::start(listener, security.clone(), local, core.clone(), Arc::clone(counters))?;
                let threads = Mutex::new(vec![thread]);
                (Way::Tcp { links: RwLock::default(), listener, security, threads }, peers)
            }
            Network::InProcess(hub) => {
                hub.join(local, core.clone(), Arc::clone(counters));
                (Way::InProcess(hub), BTreeMap::new())
            }
        };
        let inner = Inner { local, counters: Arc::clone(counters), core: core.clone(), way };
        let transport = Transport { inner: Arc::new(inner) };
        transport.set_peers(&peers)?;
        Ok(transport)
    }

    /// Where this node listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.inner.way {
            Way::Tcp { listener, .. } => Some(listener.address()),
            Way::InProcess(_) => None,
        }
    }

    /// Dials whom it did not know, hangs up on who is gone, and redials who moved.
    pub(crate) fn set_peers(&self, peers: &BTreeMap<NodeId, PeerAddress>) -> std::io::Result<()> {
        let Inner { local, counters, core, way } = &*self.inner;
        let Way::Tcp { links, threads, security, .. } = way else { return Ok(()) };
        let mut links = links.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        links.retain(|(peer, _), link| {
            let stays = peers.contains_key(peer);
            if !stays {
                link.close();
            }
            stays
        });
        for (peer, address) in peers.iter().filter(|(peer, _)| **peer != local.node) {
            for channel in [Channel::Urgent, Channel::Bulk] {
                if let Some(link) = links.get(&(*peer, channel)) {
                    link.set_address(address);
                } else {
                    let (link, thread) = Link::start(
                        *local,
                        *peer,
                        channel,
                        address.clone(),
                        security.clone(),
                        core.clone(),
                        Arc::clone(counters),
                    )?;
                    links.insert((*peer, channel), link);
                    let mut threads = crate::inbox::lock(threads);
                    threads.retain(|thread| !thread.is_finished());
                    threads.push(thread);
                }
            }
        }
        Ok(())
    }

    /// Sends frames, in order per peer and channel; never blocks. Takes what is in `frames`, leaves its room.
    pub(crate) fn send(&self, frames: &mut Vec<(NodeId, Channel, Bytes)>) {
        if frames.is_empty() {
            return;
        }
        let counters = &self.inner.counters;
        counters.frames_sent.add(frames.len() as u64);
        counters.frame_bytes_sent.add(frames.iter().map(|(_, _, frame)| frame.len() as u64).sum());
        match &self.inner.way {
            Way::InProcess(hub) => hub.send(self.inner.local, frames),
            Way::Tcp { links, .. } => {
                // Stable, so the order within one link stays; then each link is locked and written to once. Urgent sorts first.
                frames.sort_by_key(|(peer, channel, _)| (*channel, *peer));
                let links = links.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                let mut rest = frames.drain(..).peekable();
                while let Some((peer, channel, first)) = rest.next() {
                    let more = std::iter::from_fn(|| {
                        rest.next_if(|(next, on, _)| (*next, *on) == (peer, channel))
                            .map(|(_, _, frame)| frame)
                    });
                    let all = std::iter::once(first).chain(more);
                    match links.get(&(peer, channel)) {
                        Some(link) => link.send(all),
                        None => counters.frames_dropped.add(all.count() as u64),
                    }
                }
            }
        }
    }

    /// Ends all connections; returns the threads that end with them.
    pub(crate) fn close(&self) -> Vec<JoinHandle<()>> {
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Vec<JoinHandle<()>> {
        match &self.way {
            Way::InProcess(hub) => {
                hub.leave(self.local);
                Vec::new()
            }
            Way::Tcp { links, listener, threads, security: _ } => {
                listener.close();
                let mut links = links.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                links.values().for_each(|link| link.close());
                links.clear();
                std::mem::take(&mut *crate::inbox::lock(threads))
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

//! What the connections of one server share: the tree as this server has it, who watches what, and what waits to be told.
//!
//! ```text
//!   applied(view, events) ──► watches ──► the mail of each connection that is to be told
//!                        └──► view          from which all connections read
//! ```
//!
//! Architecture Invariant: the view and the mail move together. A connection that reads its mail before it reads the view has told its client of
//! every change that the view shows (rule K5), and every watch that it sets against the view hears of the very next change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use quorate_wire::zookeeper::WatcherEvent;
use quorate_znodes::{Event, View};

use super::settings::NOTIFICATIONS_WAITING_MAX;
use super::watches::Watches;

/// A connection of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What this server can do at the moment. When it changes, connections that were made before are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Serving,
    /// It has no quorum and may be behind for long: reads, for clients that asked for that.
    ReadOnly,
    /// It has not heard of its leader for so long that the leader may expire sessions that this server still believes in. Whoever asks anything is
    /// sent away, pings above all.
    Isolated,
}

/// Something that a client is to be told.
#[derive(Clone, Debug)]
pub(super) struct Notification {
    pub(super) event: Event,
    /// The packet; the same bytes for all that are told.
    pub(super) packet: Bytes,
}

/// The mail of one connection.
#[derive(Debug)]
enum Mail {
    Waiting(VecDeque<Notification>),
    /// More came than may wait, or nobody knows what would have come.
    Lost,
}

/// What the connections of one server share.
#[derive(Debug)]
pub struct Hub {
    view: View,
    standing: Standing,
    watches: Watches,
    mail: BTreeMap<ConnectionId, Mail>,
    /// Connections with an answer that waits for the view to show what it says, by zxid.
    behind: BTreeMap<u64, BTreeSet<ConnectionId>>,
}

impl Hub {
    /// A server with this tree, and without connections.
    #[must_use]
    pub fn new(view: View) -> Hub {
        Hub {
            view,
            standing: Standing::Serving,
            watches: Watches::default(),
            mail: BTreeMap::new(),
            behind: BTreeMap::new(),
        }
    }

    /// Entries were applied: the tree is now `view`, and all that happened since the view before is in `events`. Returns the connections to be
    /// [woken](super::Input::Wake), each once.
    pub fn applied<'a>(
        &mut self,
        view: View,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Vec<ConnectionId> {
        let mut woken = Vec::new();
        for event in events {
            self.notify(event, &mut woken);
        }
        self.view = view;
        let still_behind = self.behind.split_off(&(self.view.zxid() + 1));
        woken.extend(std::mem::replace(&mut self.behind, still_behind).into_values().flatten());
        woken.sort_unstable();
        woken.dedup();
        woken
    }

    fn notify(&mut self, event: &Event, woken: &mut Vec<ConnectionId>) {
        let told = self.watches.fire(event.kind, &event.path);
        if told.is_empty() {
            return;
        }
        let record = WatcherEvent {
            kind: event.kind as i32,
            state: WatcherEvent::CONNECTED,
            path: event.path.as_ref().to_owned(),
        };
        let packet = record.packet(event.zxid as i64).expect("a path is far shorter than a packet may be");
        for connection in &told {
            let Some(mail) = self.mail.get_mut(connection) else { continue };
            match mail {
                Mail::Waiting(waiting) if waiting.len() < NOTIFICATIONS_WAITING_MAX => {
                    waiting.push_back(Notification { event: event.clone(), packet: packet.clone() });
                }
                Mail::Waiting(_) => *mail = Mail::Lost,
                Mail::Lost => {}
            }
        }
        woken.extend(told);
    }

    /// The tree was replaced by a snapshot: what happened in between is not known, so no watch can be trusted. Returns all connections, to be
    /// [woken](super::Input::Wake): they close, and their clients come back with their watches and are told what they missed.
    pub fn replaced(&mut self, view: View) -> Vec<ConnectionId> {
        self.view = view;
        self.behind.clear();
        self.mail.values_mut().for_each(|mail| *mail = Mail::Lost);
        self.mail.keys().copied().collect()
    }

    /// What this server can do changed. Connections notice at their client's next request.
    pub fn set_standing(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// What this server can do.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The tree.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The watches.
    #[must_use]
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// The newest zxid here, as the wire has it.
    #[must_use]
    pub fn zxid(&self) -> i64 {
        self.view.zxid() as i64
    }

    pub(super) fn watches_mut(&mut self) -> &mut Watches {
        &mut self.watches
    }

    pub(super) fn connect(&mut self, connection: ConnectionId) {
        self.mail.insert(connection, Mail::Waiting(VecDeque::new()));
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.mail.remove(&connection);
        self.watches.forget(connection);
    }

    /// The next of a connection's notifications; none that wait is `Ok(None)`.
    pub(super) fn next_mail(&mut self, connection: ConnectionId) -> Result<Option<Notification>, MailLost> {
        match self.mail.get_mut(&connection) {
            Some(Mail::Waiting(waiting)) => Ok(waiting.pop_front()),
            Some(Mail::Lost) => Err(MailLost),
            None => Ok(None),
        }
    }

    /// Is everything up to `zxid` here? If not, the connection is woken once it is.
    pub(super) fn has(&mut self, zxid: u64, connection: ConnectionId) -> bool {
        if zxid <= self.view.zxid() {
            return true;
        }
        self.behind.entry(zxid).or_default().insert(connection);
        false
    }
}

/// Notifications for the connection were dropped.
#[derive(Debug)]
pub(super) struct MailLost;

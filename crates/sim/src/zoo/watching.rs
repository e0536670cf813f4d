//! What a client watches, and what it must be told of it (K5): everything that happens to what it watches, once, in the order in which it happened, before it
//! is shown a tree in which it has happened. Of what it may not read it is told nothing (K11).

use quorate_service::{
    wire::zookeeper::{SetWatches, SetWatches2},
    znodes::{EventKind, Identity, Permissions, WatchKind},
};

use super::{
    Wrong,
    model::{Happened, Model, permits},
};

/// On what, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Once, by getData, or exists on a znode that was there.
    Data,
    /// Once, by exists on a znode that was not there.
    Exists,
    /// Once, by getChildren.
    Children,
    Persistent,
    Recursive,
}

impl Kind {
    fn is_once(self) -> bool {
        !matches!(self, Kind::Persistent | Kind::Recursive)
    }

    fn of_old(self) -> Option<WatchKind> {
        match self {
            Kind::Data => Some(WatchKind::Data),
            Kind::Exists => Some(WatchKind::Exists),
            Kind::Children => Some(WatchKind::Children),
            Kind::Persistent | Kind::Recursive => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Watch {
    kind: Kind,
    path: String,
    /// The first of what happened that it was not told of, nor was it about it.
    next: usize,
}

impl Watch {
    fn hears(&self, happened: &Happened) -> bool {
        let here = happened.path == self.path;
        match self.kind {
            Kind::Data | Kind::Exists => here && happened.kind != EventKind::ChildrenChanged,
            Kind::Children => {
                here && matches!(happened.kind, EventKind::Deleted | EventKind::ChildrenChanged)
            }
            Kind::Persistent => here,
            Kind::Recursive => {
                let below = happened.path.strip_prefix(&self.path);
                let below = below.is_some_and(|rest| rest.starts_with('/') || self.path == "/");
                (here || below) && happened.kind != EventKind::ChildrenChanged
            }
        }
    }

    /// The next thing that it hears of, readable or not.
    fn seek(&mut self, model: &Model) -> Option<usize> {
        while let Some(happened) = model.happened.get(self.next) {
            if self.hears(happened) {
                return Some(self.next);
            }
            self.next += 1;
        }
        None
    }
}

/// All watches of a client.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    all: Vec<Watch>,
}

/// A watch that is set on a tree hears of what happens after this.
fn from(model: &Model, zxid: u64) -> usize {
    model.happened.partition_point(|happened| happened.zxid <= zxid)
}

impl Watching {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// A watch was set by an answer that showed the tree at `zxid`.
    pub(crate) fn set(&mut self, kind: Kind, path: &str, zxid: u64, model: &Model) {
        // A server has one for both.
        let same = |other: Kind| match kind {
            Kind::Data | Kind::Exists => matches!(other, Kind::Data | Kind::Exists),
            _ => other == kind,
        };
        if !self.all.iter().any(|watch| watch.path == path && same(watch.kind)) {
            self.all.push(Watch { kind, path: path.to_owned(), next: from(model, zxid) });
        }
    }

    /// Passes over what the client may not read: a watch of one telling is spent by it all the same.
    fn pass_unreadable(&mut self, model: &Model, up_to: usize, who: &[Identity]) {
        self.all.retain_mut(|watch| {
            while let Some(next) = watch.seek(model).filter(|next| *next < up_to) {
                if permits(&model.happened[next].acl, Permissions::READ, who) {
                    break;
                }
                if watch.kind.is_once() {
                    return false;
                }
                watch.next += 1;
            }
            true
        });
    }

    /// The client was told of something.
    pub(crate) fn told(
        &mut self,
        (zxid, kind, path): (u64, i32, &str),
        model: &Model,
        who: &[Identity],
    ) -> Result<(), Wrong> {
        let first = model.happened.partition_point(|happened| happened.zxid < zxid);
        let same = |happened: &&Happened| happened.kind as i32 == kind && happened.path == path;
        let of_zxid = model.happened[first..].iter().take_while(|happened| happened.zxid == zxid);
        let mut alike = of_zxid.clone().filter(same).peekable();
        let Some(unreadable) = alike.peek().copied() else {
            return Err(Wrong::new(
                "K5",
                format!("told of {kind} at {path} by {zxid:x}, which did not happen"),
            ));
        };
        // A multi may delete a znode that the client may not read, make one that it may, and delete that as well. Told of both deletions it is told of one that
        // nothing watches.
        let Some(happened) = alike.find(|happened| permits(&happened.acl, Permissions::READ, who)) else {
            return Err(Wrong::new(
                "K11",
                format!("told of {unreadable:?}, which may not be read by {who:?}"),
            ));
        };
        let end = first + of_zxid.count();
        self.pass_unreadable(model, end, who);
        // Twice the same of one change: what is told first is what happened first.
        let is_it = |at: usize| (first..end).contains(&at) && same(&&model.happened[at]);
        let mut next: Vec<usize> = self.all.iter_mut().filter_map(|watch| watch.seek(model)).collect();
        next.sort_unstable();
        let Some(at) = next.iter().copied().find(|at| is_it(*at)) else {
            return Err(Wrong::new("K5", format!("told of what nothing watches any more: {happened:?}")));
        };
        if let Some(missed) = next.first().filter(|first| **first < at) {
            let what = format!("told of {happened:?} before {:?}", model.happened[*missed]);
            return Err(Wrong::new("K5", what));
        }
        self.all.retain_mut(|watch| {
            if watch.seek(model) != Some(at) {
                return true;
            }
            watch.next += 1;
            !watch.kind.is_once()
        });
        Ok(())
    }

    /// The client was shown the tree at `zxid`: it must have been told of all that had happened by then.
    pub(crate) fn shown(&mut self, zxid: u64, model: &Model, who: &[Identity]) -> Result<(), Wrong> {
        let end = from(model, zxid);
        self.pass_unreadable(model, end, who);
        for watch in &mut self.all {
            if let Some(missed) = watch.seek(model).filter(|next| *next < end) {
                let missed = &model.happened[missed];
                return Err(Wrong::new("K5", format!("shown {zxid:x}, and not told before of {missed:?}")));
            }
        }
        Ok(())
    }

    // ── across connections ──────────────────────────────────────────────────────────────────────────────────────────

    fn paths(&self, kind: Kind) -> Vec<String> {
        let those = self.all.iter().filter(|watch| watch.kind == kind);
        those.map(|watch| watch.path.clone()).collect()
    }

    /// What the client says to the next server.
    pub(crate) fn brought_along(&self, relative_zxid: i64) -> SetWatches2 {
        SetWatches2 {
            watches: SetWatches {
                relative_zxid,
                data: self.paths(Kind::Data),
                exist: self.paths(Kind::Exists),
                child: self.paths(Kind::Children),
            },
            persistent: self.paths(Kind::Persistent),
            persistent_recursive: self.paths(Kind::Recursive),
        }
    }

    /// The server has them, as of `zxid`, and has told before of what was missed.
    pub(crate) fn taken_along(
        &mut self,
        relative_zxid: i64,
        zxid: u64,
        told: &[(i32, String)],
        model: &Model,
        who: &[Identity],
    ) -> Result<(), Wrong> {
        let mut missed = Vec::new();
        for kind in [Kind::Data, Kind::Exists, Kind::Children] {
            let Some(of_old) = kind.of_old() else { continue };
            self.all.retain(|watch| {
                let found = Some(&watch.path).filter(|_| watch.kind == kind);
                let Some(path) = found else { return true };
                let Some(event) = model.missed(zxid, of_old, path, relative_zxid) else { return true };
                if model.at(zxid, path).is_none_or(|node| node.readable_by(who)) {
                    missed.push((event as i32, path.clone()));
                }
                false
            });
        }
        for watch in &mut self.all {
            watch.next = from(model, zxid);
        }
        if missed == told {
            return Ok(());
        }
        let hidden =
            |(_, path): &&(i32, String)| model.at(zxid, path).is_some_and(|node| !node.readable_by(who));
        let id = if told.iter().any(|told| hidden(&told)) { "K11" } else { "K5" };
        let what = format!("missed {missed:?} between {relative_zxid:x} and {zxid:x}, and was told {told:?}");
        Err(Wrong::new(id, what))
    }
}

#[cfg(test)]
mod tests {
    use quorate_service::znodes::Acl;

    use super::*;

    /// In one change: what the client may not read is deleted, made anew for anybody, and deleted again.
    fn deleted_twice() -> Model {
        let mut model = Model::new(0, 0);
        let secret = Acl::new(Permissions::ALL, "digest", "u:hash");
        let happened = [
            (EventKind::Deleted, secret),
            (EventKind::Created, Acl::world(Permissions::ALL)),
            (EventKind::Deleted, Acl::world(Permissions::ALL)),
        ];
        model.happened = happened
            .map(|(kind, acl)| Happened { zxid: 9, kind, path: "/a".to_owned(), acl: vec![acl] })
            .into();
        model
    }

    fn telling(model: &Model, kinds: &[EventKind]) -> Result<(), &'static str> {
        let mut watching = Watching::default();
        watching.set(Kind::Persistent, "/a", 8, model);
        kinds
            .iter()
            .try_for_each(|kind| watching.told((9, *kind as i32, "/a"), model, &[]).map_err(|wrong| wrong.id))
    }

    #[test]
    fn k11_of_two_deletions_in_one_change_the_readable_one_is_told_and_no_more() {
        let (created, deleted) = (EventKind::Created, EventKind::Deleted);
        let mut model = deleted_twice();
        assert_eq!(telling(&model, &[created, deleted]), Ok(()));
        assert_eq!(telling(&model, &[deleted, created, deleted]), Err("K5"), "told before what it may hear");
        assert_eq!(telling(&model, &[created, deleted, deleted]), Err("K5"), "once too often");
        model.happened.truncate(1);
        assert_eq!(telling(&model, &[deleted]), Err("K11"));
    }
}

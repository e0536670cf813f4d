//! What a client is told, held against the committed log: K1 to K5, K7, K9, K10, K11.

use bytes::Bytes;
use quorate_service::{
    wire::{
        jute::{Jute as _, Reader},
        zookeeper::{
            AddWatchRequest, ErrorCode, MultiResult, ReplyHeader, Request, Response, WatcherEvent, XID_AUTH,
            XID_SET_WATCHES,
        },
    },
    znodes::SessionId,
};

use super::{
    Log, Wrong,
    client::{Asked, Client},
    expect::{Answer, Reading, to_write},
    line::Line,
    watching::Kind,
};

/// A connection, as its judge sees it.
pub(super) struct Court<'a> {
    pub(super) log: &'a Log,
    pub(super) line: &'a Line,
    /// Its number, and who speaks for the session.
    pub(super) owner: u64,
}

impl Client {
    // ── notifications ───────────────────────────────────────────────────────────────────────────────────────────────

    /// It is told that something happened.
    pub(super) fn notified(&mut self, zxid: i64, event: &WatcherEvent, log: &Log) -> Result<(), Wrong> {
        let who = self.identities();
        if zxid < 0 {
            self.replayed.push((event.kind, event.path.clone()));
            return Ok(());
        }
        let zxid = zxid as u64;
        if zxid > log.model.zxid {
            return Err(Wrong::new("K1", format!("told of {zxid:x}, which is not committed: {event:?}")));
        }
        if zxid <= self.last_zxid && self.watched {
            let what = format!("told of {event:?} by {zxid:x}, after {:x} was shown", self.last_zxid);
            return Err(Wrong::new("K5", what));
        }
        self.watching.told((zxid, event.kind, &event.path), &log.model, &who)
    }

    // ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// It has its answer to what it asked first of all that waits.
    pub(super) fn answered(
        &mut self,
        header: &ReplyHeader,
        body: Bytes,
        court: &Court<'_>,
    ) -> Result<(Asked, Answer), Wrong> {
        let asked = self.pending.pop_front();
        let Some(asked) = asked.filter(|asked| asked.xid == header.xid) else {
            return Err(Wrong::new("K2", format!("{header:?} answers what was not asked first")));
        };
        let answer = match header.error {
            0 => Response::decode(asked.request.op(), body)
                .map_err(|error| Wrong::new("K1", format!("an answer that is none, {error}: {asked:?}")))?,
            error => return self.judged(asked, Err(error), header.zxid, court),
        };
        self.judged(asked, Ok(answer), header.zxid, court)
    }

    fn judged(
        &mut self,
        asked: Asked,
        answer: Answer,
        zxid: i64,
        court: &Court<'_>,
    ) -> Result<(Asked, Answer), Wrong> {
        if asked.xid == XID_AUTH {
            return Ok((asked, answer));
        }
        let (zxid, model, who) = (zxid as u64, &court.log.model, self.identities());
        if zxid < self.last_zxid {
            let what = format!("shown {zxid:x} after {:x}: {asked:?}", self.last_zxid);
            return Err(Wrong::new("K3", what));
        }
        if zxid > model.zxid {
            return Err(Wrong::new("K1", format!("shown {zxid:x}, which is not committed: {asked:?}")));
        }
        let relative = std::mem::replace(&mut self.last_zxid, zxid);
        if let (XID_SET_WATCHES, Request::SetWatches2(brought)) = (asked.xid, &asked.request) {
            let told = std::mem::take(&mut self.replayed);
            let relative_zxid = brought.watches.relative_zxid;
            self.watching.taken_along(relative_zxid, zxid, &told, model, &who)?;
            self.watched = true;
            return Ok((asked, answer));
        }
        if self.watched {
            self.watching.shown(zxid, model, &who)?;
        }
        if asked.writes {
            self.judge_write(&asked, &answer, zxid, court)?;
        } else {
            self.judge_read(&asked, &answer, (relative, zxid), court)?;
            self.watch(&asked.request, &answer, zxid, court.log);
        }
        self.learn(&asked.request, &answer);
        Ok((asked, answer))
    }

    /// K1, K2: it is in the log, where it belongs, and came to what is said.
    fn judge_write(&self, asked: &Asked, answer: &Answer, zxid: u64, court: &Court<'_>) -> Result<(), Wrong> {
        // That its session is over is said of a write that came too late, wherever it stands.
        let expired = ErrorCode::SessionExpired as i32;
        let in_multi = |answer: &Answer| match answer {
            Ok(Response::Multi(several)) => several.0.first() == Some(&MultiResult::Error(expired)),
            _ => false,
        };
        if *answer == Err(expired) || in_multi(answer) {
            return self.judge_end(zxid, court);
        }
        let index = court.log.write_of(court.owner, asked.writes_before);
        let found = index.and_then(|index| Some((index, court.log.step(index)?)));
        let Some((index, step)) = found else {
            return Err(Wrong::new("K1", format!("acknowledged, and in no committed log: {asked:?}")));
        };
        court.line.is_write(asked.writes_before, step.command.as_ref(), index)?;
        if index <= asked.committed.0 {
            let what = format!("{index} was committed before it was asked: {asked:?}");
            return Err(Wrong::new("K1", what));
        }
        if step.zxid > zxid {
            let what = format!("answered at {zxid:x}, though it came to {:x}: {asked:?}", step.zxid);
            return Err(Wrong::new("K2", what));
        }
        let expected = to_write(&asked.request, &step.result);
        if *answer == expected {
            return Ok(());
        }
        let id = match (&asked.request, answer, &expected) {
            (Request::Multi(_), _, _) => "K9",
            (_, Ok(Response::Path(_)), Ok(Response::Path(_))) => "K7",
            (_, Ok(Response::Create2(told)), Ok(Response::Create2(due))) if told.path != due.path => "K7",
            (_, Ok(_), Ok(_)) => "K10",
            (_, Err(_), _) | (_, _, Err(_)) => "K1",
        };
        Err(Wrong::new(id, format!("told {answer:?}, should be {expected:?}: {asked:?}")))
    }

    /// K8: the session is over, as of what is shown.
    fn judge_end(&self, zxid: u64, court: &Court<'_>) -> Result<(), Wrong> {
        let session = self.session.as_ref().map(|session| session.id);
        let end = session.and_then(|session| court.log.ended.get(&session));
        let end = end.and_then(|index| court.log.step(*index));
        if end.is_some_and(|step| step.zxid <= zxid) {
            return Ok(());
        }
        Err(Wrong::new("K8", format!("told at {zxid:x} that {session:?} is over, which ends with {end:?}")))
    }

    /// K2: it is read between the writes that it was asked between. K4: a barrier is one. K3, K6, K10, K11: what is read is what was there.
    fn judge_read(
        &self,
        asked: &Asked,
        answer: &Answer,
        (_, zxid): (u64, u64),
        court: &Court<'_>,
    ) -> Result<(), Wrong> {
        // A barrier and a ping look at nothing, and nothing waits for them.
        let looks =
            !matches!(asked.request, Request::Sync(_) | Request::Ping(()) | Request::CloseSession(()));
        let next = court.log.write_of(court.owner, asked.writes_before).filter(|_| looks);
        if let Some(next) = next.and_then(|index| court.log.step(index))
            && next.changed
            && next.zxid <= zxid
        {
            let what = format!("shown {zxid:x} of a later write of the same client, {next:?}: {asked:?}");
            return Err(Wrong::new("K2", what));
        }
        if matches!(asked.request, Request::Sync(_)) && zxid < asked.committed.1 {
            let what =
                format!("{:x} was committed, the barrier shows {zxid:x}: {asked:?}", asked.committed.1);
            return Err(Wrong::new("K4", what));
        }
        let session = self.session.as_ref().map_or(SessionId(0), |session| session.id);
        let who = self.identities();
        let reading = Reading { model: &court.log.model, zxid, who: &who, session };
        let Some(expected) = reading.answer(&asked.request).filter(|expected| expected != answer) else {
            return Ok(());
        };
        let what = format!("told {answer:?} at {zxid:x}, should be {expected:?}: {asked:?}");
        Err(Wrong::new(blamed(&asked.request, answer, &expected), what))
    }

    // ── what it remembers of answers ────────────────────────────────────────────────────────────────────────────────

    fn watch(&mut self, request: &Request, answer: &Answer, zxid: u64, log: &Log) {
        let no_node = *answer == Err(ErrorCode::NoNode as i32);
        let (kind, path) = match request {
            Request::GetData(read) if read.watch && answer.is_ok() => (Kind::Data, &read.path),
            Request::Exists(read) if read.watch && answer.is_ok() => (Kind::Data, &read.path),
            Request::Exists(read) if read.watch && no_node => (Kind::Exists, &read.path),
            Request::GetChildren(read) | Request::GetChildren2(read) if read.watch && answer.is_ok() => {
                (Kind::Children, &read.path)
            }
            Request::AddWatch(AddWatchRequest { path, mode }) if answer.is_ok() => {
                (if *mode == 0 { Kind::Persistent } else { Kind::Recursive }, path)
            }
            _ => return,
        };
        self.watching.set(kind, path, zxid, &log.model);
    }

    fn learn(&mut self, request: &Request, answer: &Answer) {
        let seen = match (request, answer) {
            (Request::GetData(read), Ok(Response::Data(found))) => (read.path.clone(), found.stat.version),
            (Request::SetData(write), Ok(Response::Stat(found))) => (write.path.clone(), found.stat.version),
            (_, Ok(Response::Create2(found))) => (found.path.clone(), found.stat.version),
            (_, Ok(Response::Path(found))) if matches!(request, Request::Create(_)) => {
                (found.path.clone(), 0)
            }
            (Request::Delete(write), Ok(_)) => {
                self.seen.remove(&write.path);
                return;
            }
            _ => return,
        };
        if seen.0 != "/" {
            self.seen.insert(seen.0, seen.1);
        }
        while self.seen.len() > 12 {
            self.seen.pop_first();
        }
    }
}

/// Which promise a wrong answer to a read breaks.
fn blamed(request: &Request, answer: &Answer, expected: &Answer) -> &'static str {
    let no_auth = Err(ErrorCode::NoAuth as i32);
    match (request, answer, expected) {
        (_, answer, expected) if *answer == no_auth || *expected == no_auth => "K11",
        (Request::GetAcl(_), ..) => "K11",
        (Request::GetEphemerals(_), ..) => "K6",
        (_, Ok(Response::Data(told)), Ok(Response::Data(due))) if told.data == due.data => "K10",
        (_, Ok(Response::Stat(_)), Ok(Response::Stat(_))) => "K10",
        (_, Ok(Response::Children2(told)), Ok(Response::Children2(due))) if told.children == due.children => {
            "K10"
        }
        (_, Ok(Response::Data(told)), Err(_)) if told.stat.ephemeral_owner != 0 => "K6",
        (_, Ok(Response::Stat(told)), Err(_)) if told.stat.ephemeral_owner != 0 => "K6",
        _ => "K3",
    }
}

/// Reads what stands before every answer.
pub(super) fn header(packet: Bytes) -> Option<(ReplyHeader, Bytes)> {
    let mut from = Reader::new(packet);
    let header = ReplyHeader::read(&mut from).ok()?;
    Some((header, from.rest()))
}

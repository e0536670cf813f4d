//! Frames on their way: checked as they leave, then in the hands of the network.

use quorate_consensus::{NodeId, fingerprint_of};
use quorate_node::Channel;

use crate::{
    claims,
    film::Sending,
    marks::Mark,
    network::Sent,
    world::{Event, World},
};

impl World {
    /// A frame leaves. True if it makes a promise that must be durable.
    pub(crate) fn frame(&mut self, host: usize, to: NodeId, channel: Channel, bytes: bytes::Bytes) -> bool {
        let now = self.now();
        self.trace.event(now, 5, to.0, fingerprint_of(&bytes[..]));
        let promises = claims::check(host, &bytes, &self.hosts, &mut self.checker, &mut self.marks);
        if self.trace.wanted() {
            let words = claims::words(&bytes);
            self.trace.say(now, || format!("host {host} → node {to} {channel:?}: {words}"));
        }
        self.frames += 1;
        let frame = self.frames;
        let Some(target) = self.hosts.iter().position(|other| other.id == to) else {
            let sending =
                Sending { frame, from: host, to: None, bytes: &bytes, sent: Sent::default(), by_hand: false };
            self.trace.film(|film| film.sends(now, &sending));
            return promises;
        };
        let mut sent = self.network.send(now, host, target, channel, bytes.len());
        let tampers = self.tampering.get(&frame).map_or(&[][..], Vec::as_slice);
        let mut by_hand = false;
        for tamper in tampers {
            by_hand |= tamper.apply(&mut sent);
        }
        let sending = Sending { frame, from: host, to: Some(target), bytes: &bytes, sent, by_hand };
        self.trace.film(|film| film.sends(now, &sending));
        if sent.cut {
            self.marks.hit(Mark::FrameCut);
        }
        if sent.flapped {
            self.marks.hit(Mark::LinkFlapping);
        }
        if sent.stalled {
            self.marks.hit(Mark::LinkStalled);
        }
        if sent.lost {
            self.marks.hit(Mark::FrameLost);
        }
        if sent.reordered {
            self.marks.hit(Mark::FrameReordered);
        }
        if sent.arrivals[1].is_some() {
            self.marks.hit(Mark::FrameDuplicated);
        }
        if let Some(at) = sent.noticed {
            self.schedule.at(at, Event::Lost { host, peer: to });
        }
        for at in sent.arrivals.into_iter().flatten() {
            self.schedule.at(at, Event::Arrive { host: target, frame, bytes: bytes.clone() });
        }
        promises
    }
}

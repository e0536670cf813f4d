//! What stays broken when the faults are over: the cluster must do without it, for ever. A core that is whole, or connected through one member, elects
//! a leader, keeps it, and serves (I20, I21); beside it some pairs of hosts do not reach each other, or a disk never answers again.

use quorate_consensus::{EngineKind, Random};
use quorate_service::TREE;

use crate::{
    invariants::Oracle,
    marks::Mark,
    plan::Shape,
    schedule::{MILLIS, SECONDS, Time},
    world::World,
};

/// What begins a second after the other faults have ended, in a cluster that is well by then, and never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// The leader and one voter do not reach each other; all others reach both (OmniPaxos' chained scenario; Cloudflare, November 2020).
    Pair,
    /// Everybody reaches one voter alone, which does not lead: nobody else is connected to a quorum (OmniPaxos' quorum-loss scenario).
    Star,
    /// The link between the leader and one voter comes and goes in the rhythm of election timeouts.
    Flap,
    /// The leader's disk answers nothing any more.
    HungDisk,
}

/// How long the cluster has been whole by then.
pub(crate) const LASTING_AFTER: Time = SECONDS;

impl Lasting {
    /// One run in eight has something that lasts.
    pub(crate) fn draw(random: &mut Random) -> Option<Lasting> {
        let drawn =
            [Lasting::Pair, Lasting::Star, Lasting::Flap, Lasting::HungDisk][random.below(4) as usize];
        random.chance(1, 8).then_some(drawn)
    }

    /// Can a cluster of this shape live with it?
    fn suits(self, shape: &Shape) -> bool {
        // The centre of a star may have a lower id than the others, and as long a log: then ZAB's elections, in which each votes for the greatest that it hears of,
        // never give it the votes of those who hear of nobody but it. A limit of the protocol, and no fault of a run.
        let zab = shape.groups().iter().any(|group| shape.engine_of(*group) == EngineKind::Zab)
            || shape.shards.as_ref().is_some_and(|shards| shards.engine == EngineKind::Zab);
        self != Lasting::Star || !zab
    }
}

impl World {
    /// Begins what lasts. Nothing does if the cluster is not of one mind, or too small.
    pub(crate) fn begin_lasting(&mut self) {
        let Some(lasting) = self.shape.lasting.filter(|lasting| lasting.suits(&self.shape)) else { return };
        let voters: Vec<usize> = {
            let wanted = self.checker.records().desired_membership();
            (0..self.hosts.len()).filter(|host| wanted.is_voter(self.hosts[*host].id)).collect()
        };
        let well = self.is_settled() && self.hosts.iter().all(|host| !host.is_lost());
        let least = if lasting == Lasting::Star { 4 } else { 3 };
        let tree = self.checker.group(TREE).filter(|_| self.random.chance(1, 2));
        let leader = tree.unwrap_or_else(|| self.checker.keys()).leader(&self.hosts);
        let Some(leader) = leader.filter(|_| well && voters.len() >= least && self.outcast.is_none()) else {
            return;
        };
        let others: Vec<usize> = voters.into_iter().filter(|host| *host != leader).collect();
        let Some(other) = others.get(self.random.below(others.len() as u64) as usize).copied() else {
            return;
        };
        self.trace.say(self.schedule.now(), || format!("for ever: {lasting:?} of {leader} and {other}"));
        match lasting {
            Lasting::Pair => {
                self.marks.hit(Mark::PairApartForEver);
                self.part_for_ever(leader, other);
            }
            Lasting::Star => {
                self.marks.hit(Mark::StarForEver);
                for a in (0..self.hosts.len()).filter(|a| *a != other) {
                    (0..a).filter(|b| *b != other).for_each(|b| self.part_for_ever(a, b));
                }
            }
            Lasting::Flap => {
                self.marks.hit(Mark::FlapForEver);
                let half_ms = self.random.between(60, 400);
                self.network.flap(leader, other, half_ms * MILLIS, Time::MAX);
                self.outcast = Some(other);
                // {3 leads the tree, and its link to 0 flaps; 0 leads the keys}: there it is 3 that may lose what it sends on to its leader.
                self.apart.insert((other, leader));
            }
            Lasting::HungDisk => {
                self.marks.hit(Mark::DiskHungForEver);
                self.hosts[leader].disk.trouble.hang_until = Time::MAX;
                self.outcast = Some(leader);
            }
        }
    }

    fn part_for_ever(&mut self, a: usize, b: usize) {
        self.network.cut(a, b);
        self.network.cut(b, a);
        self.apart.insert((a, b));
        self.apart.insert((b, a));
    }

    /// Does this host not reach, for ever, the leader of the group in this place? Nothing is expected of it there.
    pub(crate) fn is_cut_off(&self, host: usize, place: usize) -> bool {
        if self.outcast == Some(host) {
            return true;
        }
        let group = self.checker.groups().get(place).filter(|_| !self.apart.is_empty());
        group
            .and_then(|group| group.leader(&self.hosts))
            .is_some_and(|leader| self.apart.contains(&(leader, host)))
    }

    /// What the host whose disk hangs knows to be committed in each group, six election timeouts and more before it is judged.
    pub(crate) fn note_commits(&mut self) {
        let commit = |oracle: &Oracle| self.outcast.map(|hung| oracle.status(hung).commit);
        self.noted_commits = self.checker.groups().iter().map_while(commit).collect();
    }

    /// I20: a leader whose disk hangs for ever has handed over, to one that can write what the others' disks commit.
    ///
    /// By what was committed long before: {the steward of leases writes an entry in the last moment of a run}: of that one it may not know yet that its disk will not take it.
    pub(crate) fn judge_hung_disk(&mut self) {
        let Some(hung) = self.outcast.filter(|_| self.shape.lasting == Some(Lasting::HungDisk)) else {
            return;
        };
        for (oracle, noted) in self.checker.groups().iter().zip(&self.noted_commits) {
            let durable = oracle.status(hung).durable;
            if oracle.leader(&self.hosts) == Some(hung) && durable < *noted {
                let group = oracle.group();
                let what = format!("{group}: leads on, its disk at {durable}, the others' at {noted}");
                return self.checker.fail("I20", Some(hung), what);
            }
        }
    }

    /// A host whose links or disk trouble it for ever may leave the others a late election; links that come and go, and a pair that is apart, must not.
    pub(crate) fn may_elect_late(&self) -> bool {
        self.outcast.is_some() && self.shape.lasting != Some(Lasting::Flap)
    }
}

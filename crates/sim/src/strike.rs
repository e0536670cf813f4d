//! Carries actions out: cuts, slow disks, wrong clocks; crashes have a room of their own.

use quorate_consensus::{Engine as _, EngineKind, Epoch, Incarnation, Index, NodeId, Role};
use quorate_node::{Address, EngineMessage, FrameWriter, GroupEngine, NodeInput};
use quorate_service::{KEYS, META, TREE};

use crate::{
    faults::{Action, Who},
    film::What,
    host::{CLUSTER, Standing, Trap},
    invariants::Oracle,
    marks::Mark,
    network::Style,
    schedule::{MICROS, MILLIS, Time},
    world::World,
};

impl World {
    /// The host that an action means.
    pub(crate) fn resolve(&self, who: Who) -> usize {
        match who {
            Who::Host(host) => (host as usize).min(self.hosts.len() - 1),
            Who::Leader => self.aimed_at().leader(&self.hosts).unwrap_or(0),
        }
    }

    /// The group whose leader is meant by faults that strike a leader.
    fn aimed_at(&self) -> &Oracle {
        if let Some(shard) = self.aimed_shard() {
            return shard;
        }
        let aimed = self.shape.tree.as_ref().is_some_and(|tree| tree.aimed);
        self.checker.group(TREE).filter(|_| aimed).unwrap_or_else(|| self.checker.keys())
    }

    pub(crate) fn node_id(&self, host: u64) -> NodeId {
        self.hosts[(host as usize).min(self.hosts.len() - 1)].id
    }

    /// The end of something that lasts: no trouble outlives the phase of faults.
    fn until(&self, ms: u64) -> Time {
        (self.now() + ms * MILLIS).min(self.shape.faults_end)
    }

    pub(crate) fn act(&mut self, number: usize) {
        if !self.faults_over {
            self.trace.event(self.now(), 9, number as u64, 0);
            let (now, action) = (self.now(), self.action(number));
            self.trace.film(|film| film.add(now, None, What::Act { number, text: action.to_string() }));
            self.strike(action);
            let cuts = &self.network;
            self.trace.film(|film| film.links(now, cuts.cuts()));
        }
    }

    pub(crate) fn strike(&mut self, action: Action) {
        let now = self.now();
        if self.faults_over {
            return;
        }
        self.trace.say(now, || format!("──── {action}"));
        match action {
            Action::Crash { who, down_ms } => {
                let host = self.resolve(who);
                self.marks.hit(Mark::PowerLoss);
                self.crash(host, down_ms, true);
            }
            Action::CrashAll { down_ms } => {
                self.marks.hit(Mark::PowerLossOfAll);
                for host in 0..self.hosts.len() {
                    let own = self.random.below(down_ms + 1);
                    self.crash(host, own, true);
                }
            }
            Action::Kill { who, down_ms } => {
                let host = self.resolve(who);
                self.marks.hit(Mark::ProcessKilled);
                self.crash(host, down_ms, false);
            }
            Action::CrashAt { who, moment, skip, down_ms } => {
                let host = self.resolve(who);
                self.hosts[host].trap = Some(Trap { moment, skip, down_ms });
            }
            Action::Pause { who, ms } => {
                let (host, until) = (self.resolve(who), self.until(ms));
                self.marks.hit(Mark::Paused);
                self.hosts[host].paused_until = until;
                self.trace.film(|film| film.add(now, Some(host), What::Paused { until }));
            }
            Action::Heal {} => self.network.heal(),
            Action::Start { who } => {
                let host = self.resolve(who);
                if self.hosts[host].standing == Standing::Member {
                    self.start(host);
                }
            }
            Action::Snapshot { who } => {
                let host = self.resolve(who);
                self.input(host, NodeInput::TakeSnapshot { group: KEYS });
            }
            Action::Cut { from, to } => self.network.cut(from as usize, to as usize),
            Action::Mend { from, to } => self.network.mend(from as usize, to as usize),
            Action::Request { who, call, key, value } => {
                let host = self.resolve(who);
                self.ask_once(host, call, (key, value));
            }
            Action::DivideKeys { shards } => self.divide_keys(shards),
            Action::SplitShard { place } => self.split_shard(place),
            Action::MergeShards { place } => self.merge_shards(place),
            // They strike the frame when it is sent.
            Action::Lose { .. } | Action::Hold { .. } | Action::Twice { .. } => {}
            Action::Split { .. }
            | Action::OneWay { .. }
            | Action::Isolate { .. }
            | Action::Deaf { .. }
            | Action::Mute { .. }
            | Action::Bridge { .. }
            | Action::Sever { .. } => self.cut(action),
            Action::Flap { a, b, half_ms, ms } => {
                let place = |host: u64| (host as usize).min(self.hosts.len() - 1);
                let (a, b, until) = (place(a), place(b), self.until(ms));
                self.network.flap(a, b, half_ms * MILLIS, until);
            }
            Action::Style { loss, duplicate, reorder, delay_us } => {
                self.network.style = Style {
                    loss_permille: loss,
                    duplicate_permille: duplicate,
                    reorder_permille: reorder,
                    delay_min_micros: Style::SHORTEST_MICROS.min(delay_us),
                    delay_max_micros: delay_us,
                };
                if delay_us > 1_000 {
                    self.marks.hit(Mark::NetworkSlow);
                }
            }
            Action::Drift { who, ppm } => {
                let host = self.resolve(who);
                let drift = if ppm >= 1_000_000 { 1_000_000 - ppm as i64 } else { ppm as i64 };
                self.marks.hit(Mark::ClockDrift);
                self.note_clocks();
                self.hosts[host].clock.set_drift(now, drift);
                self.wake(host, now);
            }
            Action::Jump { who, ms } | Action::Edge { who, ms } => {
                let host = self.resolve(who);
                let edge = matches!(action, Action::Edge { .. });
                // Who has begun an election, or won it, is not hurried any more.
                let role = self.checker.keys().status(host).role;
                if edge && matches!(role, Role::Candidate | Role::Leader) {
                    return;
                }
                self.marks.hit(if edge { Mark::LeaseAtItsEdge } else { Mark::ClockJump });
                self.note_clocks();
                self.hosts[host].clock.jump(now, ms * MILLIS);
                self.note_clocks();
                self.wake(host, now);
            }
            Action::SlowApply { who, more_us, ms } => {
                let (host, until) = (self.resolve(who), self.until(ms));
                self.marks.hit(Mark::ApplySlow);
                self.hosts[host].slow_apply = more_us * MICROS;
                self.hosts[host].slow_apply_until = until;
            }
            Action::Burst { ms } => self.burst_until = self.until(ms),
            Action::Stall { mask, to, ms } => {
                let (to, until) = (self.resolve(to), self.until(ms));
                let held = (0..self.hosts.len()).filter(|from| mask >> from & 1 == 1 && *from != to);
                held.for_each(|from| self.network.stall(from, to, until));
            }
            Action::Quiet { ms } => {
                self.marks.hit(Mark::ClientsQuiet);
                self.quiet_until = now + ms * MILLIS;
            }
            Action::Forge { from, to, meta } => self.forge((from as usize, to as usize), meta == 1),
            Action::Part { mask, ms } => self.part = Some((mask, self.until(ms))),
            Action::Hasty { host, ms } => self.hasty = Some((host, self.until(ms), Epoch::ZERO)),
            Action::DiskSlow { .. }
            | Action::DiskHang { .. }
            | Action::DiskFull { .. }
            | Action::DiskFail { .. }
            | Action::LoseDisk { .. }
            | Action::Rot { .. } => self.disk_trouble(action),
            Action::Transfer { .. }
            | Action::AddLearner { .. }
            | Action::AddVoter { .. }
            | Action::Promote { .. }
            | Action::Remove { .. }
            | Action::Replace { .. } => self.operate(action),
        }
    }

    /// A message that nobody sent arrives, whole and well addressed, with a term near the end of the numbers.
    fn forge(&mut self, (from, to): (usize, usize), meta: bool) {
        let (Some(sender), Some(receiver)) = (self.hosts.get(from), self.hosts.get(to)) else { return };
        let group = if meta { META } else { KEYS };
        if from == to || self.shape.engine_of(group) != EngineKind::Raft || sender.is_lost() {
            return;
        }
        let address = Address {
            cluster: CLUSTER,
            sender: sender.id,
            incarnation: sender.incarnation,
            receiver: receiver.id,
            receiver_disk: None,
        };
        let message =
            quorate_raft::Message::Heartbeat { term: Epoch(u64::MAX), commit: Index::ZERO, round: 0 };
        let mut frame = FrameWriter::new(&address);
        frame.engine(group, |to| GroupEngine::encode_message(&EngineMessage::Raft(message), to));
        self.marks.hit(Mark::Forged);
        self.input(to, NodeInput::Frame(frame.finish()));
    }

    // ── the network ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// A network that splits just when a change of voters has begun.
    pub(crate) fn split_when_joint(&mut self, host: usize) {
        let Some((mask, until)) = self.part else { return };
        let status = self.checker.keys().status(host);
        let begun = status.role == Role::Leader && status.membership.is_joint();
        if begun && !self.faults_over && self.now() < until {
            self.part = None;
            self.marks.hit(Mark::PartedWhileJoint);
            self.cut(Action::Split { mask });
        }
    }

    fn cut(&mut self, action: Action) {
        let count = self.hosts.len();
        let inside = |mask: u64, host: usize| mask >> host & 1 == 1;
        let mut cuts: Vec<(usize, usize)> = Vec::new();
        let pairs = || (0..count).flat_map(move |a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b);
        match action {
            Action::Split { mask } => {
                self.marks.hit(Mark::PartitionSymmetric);
                cuts.extend(pairs().filter(|(a, b)| inside(mask, *a) != inside(mask, *b)));
            }
            Action::OneWay { mask } => {
                self.marks.hit(Mark::PartitionOneWay);
                cuts.extend(pairs().filter(|(a, b)| inside(mask, *a) && !inside(mask, *b)));
            }
            Action::Isolate { who } => {
                let host = self.resolve(who);
                self.marks.hit(if who == Who::Leader {
                    Mark::LeaderIsolated
                } else {
                    Mark::PartitionSymmetric
                });
                cuts.extend(pairs().filter(|(a, b)| *a == host || *b == host));
            }
            Action::Deaf { who } => {
                let host = self.resolve(who);
                self.marks.hit(Mark::HostDeaf);
                cuts.extend(pairs().filter(|(_, b)| *b == host));
            }
            Action::Mute { who } => {
                let host = self.resolve(who);
                self.marks.hit(Mark::HostMute);
                cuts.extend(pairs().filter(|(a, _)| *a == host));
            }
            Action::Sever { a, b } => {
                self.marks.hit(Mark::PartitionOfPair);
                cuts.extend(pairs().filter(|(from, to)| {
                    let (from, to) = (*from as u64, *to as u64);
                    (from, to) == (a, b) || (from, to) == (b, a)
                }));
            }
            Action::Bridge { who, mask } => {
                let host = self.resolve(who);
                self.marks.hit(Mark::PartitionBridge);
                let apart = |a: usize, b: usize| a != host && b != host && inside(mask, a) != inside(mask, b);
                cuts.extend(pairs().filter(|(a, b)| apart(*a, *b)));
            }
            _ => {}
        }
        for (a, b) in cuts {
            self.network.cut(a, b);
        }
    }

    // ── disks ───────────────────────────────────────────────────────────────────────────────────────────────────────

    fn disk_trouble(&mut self, action: Action) {
        match action {
            Action::DiskSlow { who, more_ms, ms } => {
                let (host, until) = (self.resolve(who), self.until(ms));
                self.marks.hit(Mark::DiskSlow);
                self.hosts[host].disk.trouble.slow = more_ms * MILLIS;
                self.hosts[host].disk.trouble.slow_until = until;
            }
            Action::DiskHang { who, ms } => {
                let (host, until) = (self.resolve(who), self.until(ms));
                self.marks.hit(Mark::DiskHung);
                self.hosts[host].disk.trouble.hang_until = until;
            }
            Action::DiskFull { who, ms } => {
                let (host, until) = (self.resolve(who), self.until(ms));
                self.marks.hit(Mark::DiskFull);
                self.hosts[host].disk.trouble.full_until = until;
            }
            Action::DiskFail { who, .. } => {
                let host = self.resolve(who);
                self.marks.hit(Mark::DiskFailed);
                self.hosts[host].disk.trouble.fail_next = true;
            }
            Action::LoseDisk { who, down_ms } => {
                let host = self.resolve(who);
                if self.may_lose(host) {
                    self.marks.hit(Mark::DiskLost);
                    self.crash(host, down_ms, true);
                    let this = &mut self.hosts[host];
                    this.disk.erase();
                    this.reborn = Some(Incarnation(this.incarnation.0 + 0x1000));
                    // {1 founds a cluster alone, 2 and 3 join, 1's disk is lost}: with what it was founded with it would found the cluster a second time, and nobody whom it
                    // has to ask would know better. Who has taken in others starts it as a member of a cluster that exists.
                    if this.bootstrap.as_ref().is_some_and(|bootstrap| bootstrap.birth.voters().len() == 1) {
                        this.bootstrap = None;
                    }
                    self.checker.lost(host);
                }
            }
            Action::Rot { who, down_ms } => {
                let host = self.resolve(who);
                if self.may_lose(host) {
                    self.crash(host, down_ms, true);
                    if self.hosts[host].disk.rot() {
                        self.marks.hit(Mark::DiskRot);
                        self.hosts[host].rotten = true;
                    }
                }
            }
            _ => {}
        }
    }

    /// One host may be lost for good, and only while the others are enough, of one mind about the membership, and know every disk.
    fn may_lose(&self, host: usize) -> bool {
        let records = self.checker.records();
        records.desired_membership().voters().len() >= 3
            && records.member(self.hosts[host].id).is_some()
            && self.hosts.iter().all(|other| !other.is_lost())
            && self.hosts[host].process.is_some()
            && self.is_settled()
            && !self.may_change(&records)
    }

    // ── for ever ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn faulty_for_ever(&mut self) {
        let enough = self.checker.records().desired_membership().voters().len() >= 3;
        // A membership that is not committed everywhere may need the very host that is cut off.
        if !enough || !self.is_settled() || self.hosts.iter().any(|host| host.is_lost()) {
            return;
        }
        if !self.random.chance(1, 3) || self.shape.lasting.is_some() {
            return;
        }
        let leader = self.random.chance(2, 3);
        let victim = self.resolve(if leader { Who::Leader } else { Who::Host(0) });
        let who = Who::Host(victim as u64);
        let action = match self.random.below(3) {
            0 => Action::Mute { who },
            1 => Action::Deaf { who },
            _ => Action::Isolate { who },
        };
        self.trace.say(self.schedule.now(), || format!("for ever: {action}"));
        self.cut(action);
        self.outcast = Some(victim);
    }

    /// The phase of faults is over: everything is mended that can be. In some runs one host stays deaf or mute for ever; the others must do
    /// without it.
    pub(crate) fn heal(&mut self) {
        let now = self.now();
        self.network.heal();
        self.faulty_for_ever();
        self.faults_over = true;
        self.network.style = Style::CALM;
        self.burst_until = 0;
        for host in 0..self.hosts.len() {
            let this = &mut self.hosts[host];
            this.trap = None;
            this.paused_until = 0;
            this.slow_apply_until = 0;
            this.clock.set_drift(now, 0);
            this.disk.trouble = crate::disk::Trouble::default();
            if this.process.as_ref().is_some_and(|process| process.stopped) {
                self.crash(host, 0, true);
            }
            self.wake(host, now);
        }
    }
}

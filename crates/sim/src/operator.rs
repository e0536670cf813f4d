//! The operator: asks for changes of members the way the API does, and starts the machines that are added.
//!
//! A change is a command in the log of `meta`, proposed through any host and answered there once every group has followed. It asks to be refused if too few
//! voters would then have started, and does not wait for the changes before it. What stands before the command is what the etcd front end looks at. A machine that is added has an empty
//! disk and an id that nobody had before; it starts when somebody tells it that it is a member.

use quorate_consensus::{Membership, NodeId, Random, StateMachine};
use quorate_node::{Answer, NodeInput, Origin, Outcome, TaggedCommand, Ticket, ToState};
use quorate_service::{
    KEYS, META, Reply,
    cluster::{LEARNERS_MAX_DEFAULT, in_sync},
    placement::{Command, PlacementError, Response, View},
};

use crate::{
    clients::Told,
    faults::Action,
    host::{Host, Process, Standing},
    invariants::Oracle,
    marks::Mark,
    schedule::MILLIS,
    world::{Event, World},
};

/// Who waits for a ticket of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A client's attempt.
    Client { client: usize, attempt: u64 },
    /// The operator, for this request.
    Operator { request: usize },
    /// A host's own front end of the tree, for one of its lanes.
    Tree { lane: u64, request: u64 },
    /// A host's own front end of the keys, or a client of it.
    Keys(crate::etcd::Lane),
    /// Whoever has asked for a change of the shards.
    Shards,
    /// A host that joins, for the list of members.
    Join { host: usize, id: NodeId },
}

/// What became of a request, as far as the operator was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// No word yet.
    Asked,
    /// Every group has followed, or it was so already.
    Done,
    /// Certainly not done.
    Refused,
    /// Whoever was asked has died.
    Unknown,
}

#[derive(Debug)]
struct Request {
    command: Command,
    asked: usize,
    fate: Fate,
}

#[derive(Debug)]
pub(crate) struct Operator {
    requests: Vec<Request>,
    /// Ids are never used twice.
    next_id: u64,
    /// A machine that nobody has used yet comes as the node of its own place: scenes name hosts so.
    pub(crate) places_are_ids: bool,
    random: Random,
}

impl Operator {
    pub(crate) fn new(hosts: u64, random: Random) -> Operator {
        Operator { requests: Vec::new(), next_id: hosts + 1, places_are_ids: false, random }
    }

    /// Is an answer still to come?
    pub(crate) fn waits(&self) -> bool {
        self.requests.iter().any(|request| request.fate == Fate::Asked)
    }

    /// A process has ended, and with it whatever it had to say.
    pub(crate) fn host_ended(&mut self, host: usize) {
        for request in &mut self.requests {
            if request.asked == host && request.fate == Fate::Asked {
                request.fate = Fate::Unknown;
            }
        }
    }
}

impl Process {
    /// A new ticket, for who waits.
    pub(crate) fn ticket(&mut self, waiter: Waiter) -> Ticket {
        self.next_ticket += 1;
        self.waiters.insert(self.next_ticket, waiter);
        Ticket(self.next_ticket)
    }
}

impl World {
    pub(crate) fn operate(&mut self, action: Action) {
        if let Action::Transfer { to } = action {
            return self.transfer(to);
        }
        let records = self.checker.records();
        if !records.is_initialised() {
            return;
        }
        match self.wish(action, &records) {
            Some(command) => self.ask_for(command),
            None => self.marks.hit(Mark::ChangeRefused),
        }
    }

    fn transfer(&mut self, to: u64) {
        let group = if self.operator.random.chance(1, 4) { META } else { KEYS };
        let group = self.aimed_shard().map_or(group, Oracle::group);
        let leader = self.checker.group(group).and_then(|oracle| oracle.leader(&self.hosts));
        let to = self.hosts.get(to as usize).map(|host| host.id);
        if let Some(leader) = leader {
            self.input(leader, NodeInput::TransferLeadership { group, to });
        }
    }

    /// May who votes still be changed by requests of which nothing is known yet?
    pub(crate) fn may_change(&self, records: &View) -> bool {
        let votes = |id: &NodeId| records.member(*id).is_some_and(|member| !member.learner);
        let open = self.operator.requests.iter().filter(|r| matches!(r.fate, Fate::Asked | Fate::Unknown));
        open.into_iter().any(|request| match &request.command {
            Command::AddMember { id, learner: false, .. } | Command::PromoteMember { id, .. } => {
                !votes(id) && !records.is_removed(*id)
            }
            Command::RemoveMember { id, .. } | Command::ReplaceMember { old: id, .. } => votes(id),
            _ => false,
        })
    }

    /// The command for an action; `None` if the front end would not propose it.
    fn wish(&mut self, action: Action, records: &View) -> Option<Command> {
        // A lost host is dealt with first: whoever removes another voter meanwhile may leave too few.
        let lost = self.hosts.iter().find(|host| host.is_lost() && records.member(host.id).is_some());
        if let Some(lost) = lost {
            return Some(Command::RemoveMember { id: lost.id, strict: true });
        }
        match action {
            Action::AddLearner { host } => {
                let id = self.machine(host, records);
                Some(add(id, true))
            }
            Action::AddVoter { host } => {
                // The only voter may take in a second one at once, as in etcd, and then needs its word. Should the operator never start that machine, and remove it again
                // by what other members have made possible meanwhile, a group that was slow still waits for it. This operator adds a learner first (CHANGELOG).
                let voters = records.desired_membership().voters().len();
                if voters == 1 || (voters < 5 && self.may_change(records)) {
                    return None;
                }
                let id = self.machine(host, records);
                Some(add(id, false))
            }
            Action::Promote { host } => self.promotion(host, records),
            Action::Remove { who } => {
                let id = self.hosts[self.resolve(who)].id;
                Some(Command::RemoveMember { id, strict: true })
            }
            Action::Replace { old, new } => {
                let old = self.node_id(old);
                let new = self.machine(new, records);
                let peer_urls = vec![Host::peer_url(new)];
                Some(Command::ReplaceMember { old, new, peer_urls, strict: true })
            }
            _ => None,
        }
    }

    /// Only the leader of the keys knows how far a learner has come.
    fn promotion(&self, host: u64, records: &View) -> Option<Command> {
        let own = self.node_id(host);
        let mut learners = records.members().values().filter(|member| member.learner);
        let first = learners.next().map(|member| member.id);
        let own_learns = records.member(own).is_some_and(|member| member.learner);
        let id = if own_learns { own } else { first.unwrap_or(own) };
        let leader = self.checker.keys().leader(&self.hosts)?;
        let matched = &self.checker.keys().status(leader).matched;
        let matched = |id: NodeId| matched.get(&id).map_or(0, |index| index.0);
        let learns = records.member(id).is_some_and(|member| member.learner);
        let ready = learns && in_sync(matched(id), matched(self.hosts[leader].id));
        ready.then_some(Command::PromoteMember { id, strict: true })
    }

    /// A machine for a new member: the one that was meant if nobody lives there, else another that is free, each with an empty disk and a new id. With
    /// none free, the one that was meant, whoever it is.
    fn machine(&mut self, wanted: u64, records: &View) -> NodeId {
        let wanted = (wanted as usize).min(self.hosts.len() - 1);
        let free = |host: &usize| {
            let this = &self.hosts[*host];
            let gone = records.is_removed(this.id) || records.member(this.id).is_none();
            match this.standing {
                Standing::Idle | Standing::Left => true,
                Standing::Member => gone && this.is_lost(),
                Standing::Joining => false,
            }
        };
        let places = std::iter::once(wanted).chain(0..self.hosts.len());
        let Some(host) = places.into_iter().find(free) else { return self.hosts[wanted].id };
        let own = self.hosts[host].id;
        let unused = self.hosts[host].standing == Standing::Idle
            && records.member(own).is_none()
            && !records.is_removed(own);
        let id = if self.operator.places_are_ids && unused {
            own
        } else {
            self.operator.next_id += 1;
            NodeId(self.operator.next_id - 1)
        };
        self.checker.lost(host);
        self.hosts[host].provision(id);
        let at = self.now() + self.operator.random.between(5, 300) * MILLIS;
        self.schedule.at(at, Event::Join { host, id });
        let now = self.now();
        self.trace.say(now, || format!("host {host} is to be node {id}"));
        id
    }

    /// Proposes a change of the records through some host.
    fn ask_for(&mut self, command: Command) {
        let up: Vec<usize> = (0..self.hosts.len()).filter(|host| self.hosts[*host].runs()).collect();
        let Some(asked) = up.get(self.operator.random.below(up.len() as u64) as usize).copied() else {
            return;
        };
        let now = self.now();
        self.trace.say(now, || format!("the operator asks host {asked}: {command:?}"));
        let request = self.operator.requests.len();
        let this = &mut self.hosts[asked];
        let (node, life) = (this.id, this.life);
        let Some(process) = &mut this.process else { return };
        let ticket = process.ticket(Waiter::Operator { request });
        let origin = Origin { node, life, ticket };
        let bytes = TaggedCommand::encode(Some(origin), None, |to| to.raw(&command.encode()));
        self.operator.requests.push(Request { command, asked, fate: Fate::Asked });
        self.input(asked, NodeInput::Propose { group: META, ticket, command: bytes });
    }

    /// A host has an answer for the operator, or for a host that joins.
    pub(crate) fn operator_told(&mut self, host: usize, waiter: Waiter, told: Told) {
        match waiter {
            Waiter::Client { .. } | Waiter::Tree { .. } | Waiter::Keys(_) | Waiter::Shards => {}
            Waiter::Join { host: joins, id } => {
                if let Told::Reply(Reply::MetaView(view)) = told
                    && view.member(id).is_some()
                    && self.is_joining(joins, id)
                {
                    self.marks.hit(Mark::HostJoined);
                    self.start(joins);
                }
            }
            Waiter::Operator { request } => {
                let fate = self.fate(host, &told);
                let now = self.now();
                self.trace.say(now, || format!("the operator is told by host {host}: {told:?}"));
                self.operator.requests[request].fate = fate;
                if fate == Fate::Refused {
                    self.give_back(request);
                }
            }
        }
    }

    fn fate(&mut self, host: usize, told: &Told) -> Fate {
        match told {
            Told::Reply(Reply::Meta(Outcome::Done(Response::Done { version, .. }))) => {
                self.marks.hit(Mark::MembershipChanged);
                self.followed(host, *version);
                Fate::Done
            }
            // Asked twice, the first time without an answer.
            Told::Reply(Reply::Meta(Outcome::Done(Response::Refused {
                error: PlacementError::MemberIdExists(_) | PlacementError::Removed(_),
                ..
            }))) => {
                self.marks.hit(Mark::ChangeRefused);
                Fate::Done
            }
            Told::Reply(_)
            | Told::Answer(Answer::Refused(_) | Answer::Busy | Answer::DiskFull)
            | Told::NotReached => {
                self.marks.hit(Mark::ChangeRefused);
                Fate::Refused
            }
            Told::Answer(Answer::Unknown | Answer::Stopped | Answer::Accepted(_)) => Fate::Unknown,
        }
    }

    /// I14 of a change of members: it is answered when every group has committed what the records then wanted, or what they wanted later.
    fn followed(&mut self, host: usize, version: u64) {
        let this = &self.hosts[host];
        let Some(process) = &this.process else { return };
        let view = process.half.state.meta().machine().view();
        // Each for itself: {24 adds a member and 25 removes another; the tree has had no leader meanwhile, and goes from 23 to 25 while `meta` stands at 24}.
        let execution = &self.checker.meta().execution;
        let followed = self.checker.groups().iter().all(|group| {
            let mut wanted = execution.wanted_since(version);
            wanted.any(|(version, wanted)| group.is_younger_than(version) || group.had(wanted))
        });
        // Who is no member any more hears of no group, and can only say what the records say.
        if view.member(this.id).is_some() && !followed {
            let what = format!("the change {version} is said to be done, but some group never followed");
            self.checker.fail("I14", Some(host), what);
        }
    }

    /// A machine that was prepared for a member which nobody will know.
    fn give_back(&mut self, request: usize) {
        let Some(id) = comes(&self.operator.requests[request].command) else { return };
        // Asked for more than once, and what became of the other time is not known, or it was done.
        let otherwise = |other: &Request| other.fate != Fate::Refused && comes(&other.command) == Some(id);
        if self.operator.requests.iter().any(otherwise) {
            return;
        }
        if let Some(host) = self.hosts.iter_mut().find(|host| host.id == id)
            && host.standing == Standing::Joining
        {
            host.standing = Standing::Idle;
        }
    }

    fn is_joining(&self, host: usize, id: NodeId) -> bool {
        self.hosts[host].id == id && self.hosts[host].standing == Standing::Joining
    }

    /// A host that joins asks somebody who the members are: as of now, or, should there be no leader without it, as far as that one knows.
    pub(crate) fn join(&mut self, host: usize, id: NodeId) {
        if !self.is_joining(host, id) {
            return;
        }
        let again = self.now() + self.operator.random.between(20, 150) * MILLIS;
        self.schedule.at(again, Event::Join { host, id });
        let up: Vec<usize> = (0..self.hosts.len()).filter(|other| self.hosts[*other].runs()).collect();
        let Some(asked) = up.get(self.operator.random.below(up.len() as u64) as usize).copied() else {
            return;
        };
        let Some(process) = &mut self.hosts[asked].process else { return };
        let ticket = process.ticket(Waiter::Join { host, id });
        if self.operator.random.chance(1, 2) {
            self.input(asked, NodeInput::Read { group: META, ticket });
        } else {
            process.to_state.push_back(ToState::ReadLocal { group: META, ticket });
            self.schedule_apply(asked);
        }
    }

    /// Is every member up and of one mind with the records about who the members are, and is nothing being changed?
    pub(crate) fn is_settled(&self) -> bool {
        let records = self.checker.records();
        let wanted = records.desired_membership();
        let same = |membership: &Membership| *membership == wanted;
        let knows = |host: usize| {
            let process = self.hosts[host].process.as_ref();
            let version = process.map(|process| process.half.state.meta().machine().view().version());
            self.hosts[host].runs()
                && version == Some(records.version())
                && self.checker.groups().iter().all(|group| same(&group.status(host).membership))
        };
        let of_one_mind = |id: NodeId| self.hosts.iter().position(|host| host.id == id).is_some_and(knows);
        records.is_initialised()
            && !self.operator.waits()
            && self.checker.groups().iter().all(|group| same(group.membership()))
            && records.members().values().all(|member| member.incarnation.is_some() && of_one_mind(member.id))
    }
}

/// Who becomes a member by a command.
fn comes(command: &Command) -> Option<NodeId> {
    match command {
        Command::AddMember { id, .. } | Command::ReplaceMember { new: id, .. } => Some(*id),
        _ => None,
    }
}

fn add(id: NodeId, learner: bool) -> Command {
    let peer_urls = vec![Host::peer_url(id)];
    Command::AddMember { id, peer_urls, learner, learners_max: LEARNERS_MAX_DEFAULT, strict: true }
}

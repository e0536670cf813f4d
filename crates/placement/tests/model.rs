//! Placement against a model so plain that it is seen to be right: a list of everyone who ever was a member.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{histories, run};
use proptest::prelude::*;
use quorate_consensus::{ClusterId, GroupId, Membership, NodeId, StateMachine};
use quorate_placement::{
    Command, EngineKind, Event, GroupKind, GroupPlace, LEARNERS_MAX, MEMBERS_MAX, Member, Placement,
    PlacementError, Response,
};

/// What is expected of one command.
#[derive(Debug, PartialEq)]
enum Expected {
    Changed,
    Holds,
    AlreadyInitialised,
    Refused(PlacementError),
}

use Expected::{AlreadyInitialised, Changed, Holds, Refused};

#[derive(Clone, Default)]
struct Model {
    cluster: Option<ClusterId>,
    /// Everyone who ever was a member, and whether they still are.
    everyone: Vec<(Member, bool)>,
    /// Each with what it was born with, if that was later than the cluster.
    groups: BTreeMap<GroupId, (GroupPlace, Option<Membership>)>,
}

fn set(urls: &[String]) -> Vec<String> {
    urls.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

impl Model {
    fn now(&self) -> Vec<&Member> {
        self.everyone.iter().filter(|(_, is)| *is).map(|(member, _)| member).collect()
    }

    fn entry(&mut self, id: NodeId) -> Result<&mut (Member, bool), PlacementError> {
        match self.everyone.iter_mut().find(|(member, _)| member.id == id) {
            None => Err(PlacementError::NotMember(id)),
            Some((_, false)) => Err(PlacementError::Removed(id)),
            Some(entry) => Ok(entry),
        }
    }

    fn fresh(&mut self, id: NodeId) -> Result<(), PlacementError> {
        match self.entry(id) {
            Ok(_) => Err(PlacementError::MemberIdExists(id)),
            Err(PlacementError::NotMember(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn free(&self, urls: &[String], but: NodeId) -> Result<(), PlacementError> {
        let mut owners: Vec<NodeId> = Vec::new();
        for url in urls {
            owners.extend(self.now().iter().filter(|m| m.peer_urls.contains(url)).map(|m| m.id));
        }
        owners.retain(|owner| *owner != but);
        match owners.into_iter().min() {
            Some(member) => Err(PlacementError::PeerUrlExists { member }),
            None => Ok(()),
        }
    }

    /// The changes that ask for it leave a majority of the voters started, unless the only voter takes in a second.
    fn enough_started(&self, command: &Command, before: &Model) -> Result<(), PlacementError> {
        let (strict, promoted) = match command {
            Command::AddMember { strict, learner, .. } => (*strict && !learner, None),
            Command::RemoveMember { strict, id } => {
                (*strict && before.now().iter().any(|m| m.id == *id && !m.learner), None)
            }
            Command::PromoteMember { strict, id } => (*strict, Some(*id)),
            Command::ReplaceMember { strict, old, .. } => {
                (*strict && before.now().iter().any(|m| m.id == *old && !m.learner), None)
            }
            _ => (false, None),
        };
        let voters: Vec<Member> = self.now().into_iter().filter(|member| !member.learner).cloned().collect();
        let started = voters.iter().filter(|m| !m.name.is_empty() || Some(m.id) == promoted).count();
        let only = before.now().iter().filter(|member| !member.learner).count() == 1;
        let rebuilt = only && voters.len() == 2;
        if strict && !rebuilt && started * 2 <= voters.len() {
            let (started, voters) = (started as u8, voters.len() as u8);
            return Err(PlacementError::NotEnoughStarted { started, voters });
        }
        Ok(())
    }

    fn add_group(
        &mut self,
        id: GroupId,
        place: GroupPlace,
        members: &BTreeSet<NodeId>,
    ) -> Result<(), PlacementError> {
        if let Some((found, _)) = self.groups.get(&id) {
            return if found.kind == place.kind { Ok(()) } else { Err(PlacementError::BadGroups) };
        }
        if self.now().iter().map(|member| member.id).collect::<BTreeSet<_>>() != *members {
            return Err(PlacementError::OtherMembers);
        }
        let second = self.groups.values().any(|(found, _)| found.kind == place.kind);
        let wrong = match place.kind {
            GroupKind::Meta | GroupKind::Order => second || place.engine != EngineKind::Raft,
            GroupKind::Tree => second,
            GroupKind::Keys => false,
        };
        if wrong {
            return Err(PlacementError::BadGroups);
        }
        let of = |learner| self.now().into_iter().filter(move |m| m.learner == learner).map(|m| m.id);
        let birth = Membership::new(of(false), of(true));
        self.groups.insert(id, (place, Some(birth)));
        Ok(())
    }

    fn step(&mut self, command: &Command) -> Expected {
        if self.cluster.is_some() && matches!(command, Command::Initialise { .. }) {
            return AlreadyInitialised;
        }
        let before = self.clone();
        match command.check().and_then(|()| self.try_step(command)) {
            Err(error) => {
                *self = before;
                Refused(error)
            }
            Ok(())
                if self.cluster == before.cluster
                    && self.everyone == before.everyone
                    && self.groups == before.groups =>
            {
                Holds
            }
            Ok(()) => Changed,
        }
    }

    fn try_step(&mut self, command: &Command) -> Result<(), PlacementError> {
        if let Command::Initialise { cluster, members, groups } = command {
            self.cluster = Some(*cluster);
            self.groups = groups.iter().map(|(id, place)| (*id, (*place, None))).collect();
            for member in members {
                let (peer_urls, client_urls) = (set(&member.peer_urls), set(&member.client_urls));
                self.everyone.push((Member { peer_urls, client_urls, ..member.clone() }, true));
            }
            return Ok(());
        }
        if self.cluster.is_none() {
            return Err(PlacementError::NotInitialised);
        }
        let before = self.clone();
        match command {
            Command::Initialise { .. } => unreachable!(),
            Command::AddMember { id, peer_urls, learner, learners_max, .. } => {
                self.fresh(*id)?;
                self.free(peer_urls, *id)?;
                self.everyone.push((Member::new(*id, set(peer_urls), *learner), true));
                let learners = self.now().iter().filter(|member| member.learner).count();
                if self.now().len() > MEMBERS_MAX {
                    return Err(PlacementError::TooManyMembers);
                }
                let learners_max = (*learners_max).min(LEARNERS_MAX as u8);
                if *learner && learners > usize::from(learners_max) {
                    return Err(PlacementError::TooManyLearners { learners_max });
                }
            }
            Command::RemoveMember { id, .. } => {
                self.entry(*id)?.1 = false;
                if self.now().iter().all(|member| member.learner) {
                    return Err(PlacementError::LastVoter);
                }
            }
            Command::UpdateMember { id, peer_urls } => {
                self.entry(*id)?;
                self.free(peer_urls, *id)?;
                self.entry(*id)?.0.peer_urls = set(peer_urls);
            }
            Command::PromoteMember { id, .. } => {
                let (member, _) = self.entry(*id)?;
                if !member.learner {
                    return Err(PlacementError::NotLearner(*id));
                }
                member.learner = false;
            }
            Command::ReplaceMember { old, new, peer_urls, .. } => {
                let learner = self.entry(*old)?.0.learner;
                self.fresh(*new)?;
                self.free(peer_urls, *old)?;
                self.entry(*old)?.1 = false;
                self.everyone.push((Member::new(*new, set(peer_urls), learner), true));
            }
            Command::Publish { id, name, client_urls } => {
                let (member, _) = self.entry(*id)?;
                member.name.clone_from(name);
                member.client_urls = set(client_urls);
            }
            Command::RegisterDisk { id, incarnation } => {
                let (member, _) = self.entry(*id)?;
                if let Some(registered) = member.incarnation.filter(|one| one != incarnation) {
                    return Err(PlacementError::OtherDisk { registered });
                }
                member.incarnation = Some(*incarnation);
            }
            Command::AddGroup { id, place, members } => return self.add_group(*id, *place, members),
        }
        self.enough_started(command, &before)
    }
}

/// Does the state keep what it promises?
fn assert_invariants(placement: &Placement) {
    let view = placement.view();
    let (members, removed) = (view.members(), view.removed());
    assert!(members.keys().all(|id| !view.is_removed(*id)));
    assert!(removed.iter().all(|id| view.member(*id).is_none()));
    assert_eq!(view.is_initialised(), members.values().any(|member| !member.learner));
    let urls: Vec<&String> = members.values().flat_map(|member| &member.peer_urls).collect();
    assert_eq!(urls.iter().collect::<BTreeSet<_>>().len(), urls.len());
    assert!(members.values().filter(|member| member.learner).count() <= LEARNERS_MAX);
    let desired = view.desired_membership();
    assert!(members.values().all(|m| desired.contains(m.id) && desired.is_voter(m.id) != m.learner));
    assert_eq!(desired.members().count(), members.len());
}

proptest! {
    #[test]
    fn every_command_does_what_the_model_says(history in histories()) {
        let (mut placement, mut model) = (Placement::new(), Model::default());
        for command in &history {
            let before = placement.clone();
            let expected = model.step(command);
            let placed = run(&mut placement, command);
            let version = before.number() + u64::from(expected == Changed);
            let now: Vec<Member> = placement.view().members().values().cloned().collect();

            let mut members: Vec<Member> = model.now().into_iter().cloned().collect();
            members.sort_by_key(|member| member.id);
            prop_assert_eq!(&now, &members);
            for (member, is) in &model.everyone {
                prop_assert_eq!(placement.view().is_removed(member.id), !is);
            }
            let response = match expected {
                Changed | Holds => Response::Done { version, members },
                AlreadyInitialised => {
                    Response::AlreadyInitialised { version, cluster: model.cluster.expect("initialised") }
                }
                Refused(error) => Response::Refused { version, error },
            };
            prop_assert_eq!(placed.response, response);
            let view = placement.view();
            let groups = view.groups().iter();
            let groups = groups.map(|(id, place)| (*id, (*place, view.birth(*id).cloned()))).collect();
            prop_assert_eq!(&model.groups, &groups);
            if expected == Changed {
                prop_assert_eq!(placed.events, vec![Event::MembersChanged { version }]);
                prop_assert_ne!(placement.digest(), before.digest());
            } else {
                prop_assert!(placed.events.is_empty());
                prop_assert_eq!(&placement, &before);
            }
            prop_assert_eq!(placement.number(), version);
            assert_invariants(&placement);
        }
    }

    /// C17: an answer was lost, and the command is proposed again at once.
    #[test]
    fn c17_a_command_proposed_again_changes_nothing(history in histories()) {
        let mut placement = Placement::new();
        for command in &history {
            run(&mut placement, command);
            let once = placement.clone();
            run(&mut placement, command);
            prop_assert_eq!(&placement, &once);
        }
    }

    /// C17: an answer was lost, and the command is proposed again much later.
    #[test]
    fn c17_a_change_of_who_is_a_member_is_never_done_twice(history in histories()) {
        let mut placement = Placement::new();
        let mut done = Vec::new();
        for command in &history {
            if !run(&mut placement, command).events.is_empty() {
                done.push(command);
            }
        }
        let after = placement.clone();
        for command in done {
            if matches!(command, Command::UpdateMember { .. } | Command::Publish { .. }) {
                continue;
            }
            run(&mut placement, command);
            prop_assert_eq!(&placement, &after);
        }
    }

    #[test]
    fn a_restored_state_is_the_same_state_and_goes_on_the_same(history in histories(), at in 0usize..40) {
        let at = at.min(history.len());
        let mut placement = Placement::new();
        for command in &history[..at] {
            run(&mut placement, command);
        }
        let mut restored = Placement::restore(&mut placement.snapshot()).expect("a snapshot of ours");
        prop_assert_eq!(&restored, &placement);
        for command in &history[at..] {
            prop_assert_eq!(run(&mut restored, command), run(&mut placement, command));
        }
        prop_assert_eq!(restored.digest(), placement.digest());
        prop_assert_eq!(restored.size_bytes(), placement.size_bytes());
        prop_assert!(restored.snapshot().eq(placement.snapshot()));
    }
}

//! What operators and nodes may rely on, rule by rule.

mod common;

use common::{
    add, add_tree, changed, disk, holds, initialise, promote, refused, remove, run, three, url, urls, voter,
};
use quorate_consensus::{
    ClusterId, GroupId, Incarnation, Membership, NodeId, Placed, Position, StateMachine,
};
use quorate_placement::{
    Command, EngineKind, GROUPS_MAX, GroupKind, GroupPlace, LEARNERS_MAX, MEMBER_IDS_MAX, MEMBERS_MAX,
    Member, NAME_BYTES_MAX, Placement, PlacementError, Response, URL_BYTES_MAX, URLS_MAX, UrlError,
};

fn update(id: u64, peer_urls: Vec<String>) -> Command {
    Command::UpdateMember { id: NodeId(id), peer_urls }
}

fn replace(old: u64, new: u64, peer_urls: Vec<String>) -> Command {
    Command::ReplaceMember { old: NodeId(old), new: NodeId(new), peer_urls, strict: false }
}

fn publish(id: u64, name: &str, client_urls: Vec<String>) -> Command {
    Command::Publish { id: NodeId(id), name: name.to_owned(), client_urls }
}

fn voters(ids: &[u64]) -> Membership {
    Membership::new(ids.iter().copied().map(NodeId), [])
}

#[test]
fn nothing_happens_before_the_first_leader_has_brought_the_members() {
    let mut placement = Placement::new();
    assert!(!placement.view().is_initialised());
    assert_eq!(placement.view().desired_membership(), Membership::default());
    for command in
        [add(1, false), remove(1), promote(1), disk(1, 1), update(1, url(1)), publish(1, "", vec![])]
    {
        assert_eq!(refused(&mut placement, &command), PlacementError::NotInitialised);
    }
}

#[test]
fn the_first_initialisation_counts_and_later_ones_are_ignored() {
    let mut placement = three();
    let before = placement.clone();
    for later in
        [initialise(vec![voter(1), voter(2), voter(3)]), initialise(vec![voter(9)]), initialise(vec![])]
    {
        let Placed { response, events } = run(&mut placement, &later);
        assert_eq!(response, Response::AlreadyInitialised { version: 1, cluster: ClusterId(0xc) });
        assert_eq!((&placement, events.len()), (&before, 0));
    }
    let view = placement.view();
    assert_eq!(view.cluster(), Some(ClusterId(0xc)));
    assert_eq!(view.desired_membership(), voters(&[1, 2, 3]));
    assert_eq!(view.groups()[&GroupId(1)], GroupPlace { kind: GroupKind::Keys, engine: EngineKind::Raft });
}

#[test]
fn a_cluster_that_makes_no_sense_does_not_begin() {
    let learner = |id| Member { learner: true, ..voter(id) };
    let with_url = |id, peer_urls| Member { peer_urls, ..voter(id) };
    for (members, error) in [
        (vec![], PlacementError::LastVoter),
        (vec![learner(1)], PlacementError::LastVoter),
        (vec![voter(1), voter(1)], PlacementError::MemberIdExists(NodeId(1))),
        (vec![voter(1), with_url(2, url(1))], PlacementError::PeerUrlExists { member: NodeId(1) }),
        (vec![with_url(1, vec![])], PlacementError::NoUrls),
        (vec![with_url(1, urls(&["http://a"]))], PlacementError::BadUrl(UrlError::NoPort)),
        (vec![voter(0)], PlacementError::Malformed),
        (
            (1..=LEARNERS_MAX as u64 + 2).map(|id| if id == 1 { voter(id) } else { learner(id) }).collect(),
            PlacementError::TooManyLearners { learners_max: LEARNERS_MAX as u8 },
        ),
    ] {
        let command = initialise(members);
        assert_eq!(command.check(), Err(error));
        assert_eq!(refused(&mut Placement::new(), &command), error);
    }
    let Command::Initialise { members, groups, .. } = initialise(vec![voter(1)]) else { unreachable!() };
    let nobody = Command::Initialise { cluster: ClusterId(0), members, groups };
    assert_eq!(refused(&mut Placement::new(), &nobody), PlacementError::Malformed);
}

#[test]
fn meta_and_order_run_raft_and_only_keys_have_many_groups() {
    let check = |places: &[(GroupKind, EngineKind)]| {
        let place = |(at, &(kind, engine)): (usize, &_)| (GroupId(at as u64), GroupPlace { kind, engine });
        let groups = places.iter().enumerate().map(place).collect();
        Command::Initialise { cluster: ClusterId(1), members: vec![voter(1)], groups }.check()
    };
    use {EngineKind::*, GroupKind::*};
    assert_eq!(check(&[(Meta, Raft), (Keys, Zab), (Keys, Raft), (Tree, Zab), (Order, Raft)]), Ok(()));
    assert_eq!(check(&[(Tree, Raft)]), Ok(()));
    for bad in [
        &[(Meta, Zab)][..],
        &[(Order, Zab)],
        &[(Meta, Raft), (Meta, Raft)],
        &[(Tree, Zab), (Tree, Raft)],
        &[(Order, Raft), (Order, Raft)],
    ] {
        assert_eq!(check(bad), Err(PlacementError::BadGroups));
    }
    assert_eq!(check(&vec![(Keys, Raft); GROUPS_MAX]), Ok(()));
    assert_eq!(check(&vec![(Keys, Raft); GROUPS_MAX + 1]), Err(PlacementError::BadGroups));
}

#[test]
fn a_learner_is_added_then_promoted_once() {
    let mut placement = three();
    changed(&mut placement, &add(4, true));
    let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    assert_eq!(placement.view().desired_membership(), Membership::new(ids(&[1, 2, 3]), ids(&[4])));
    changed(&mut placement, &promote(4));
    assert_eq!(placement.view().desired_membership(), voters(&[1, 2, 3, 4]));
    assert_eq!(refused(&mut placement, &promote(4)), PlacementError::NotLearner(NodeId(4)));
    assert_eq!(refused(&mut placement, &promote(5)), PlacementError::NotMember(NodeId(5)));
}

#[test]
fn there_are_no_more_learners_than_the_operator_allows_and_never_more_than_the_limit() {
    let mut placement = three();
    changed(&mut placement, &add(4, true));
    assert_eq!(refused(&mut placement, &add(5, true)), PlacementError::TooManyLearners { learners_max: 1 });
    changed(&mut placement, &add(5, false));
    let allowing = |id, learners_max| Command::AddMember {
        id: NodeId(id),
        peer_urls: url(id),
        learner: true,
        learners_max,
        strict: false,
    };
    for id in 10..10 + LEARNERS_MAX as u64 - 1 {
        changed(&mut placement, &allowing(id, u8::MAX));
    }
    let error = PlacementError::TooManyLearners { learners_max: LEARNERS_MAX as u8 };
    assert_eq!(refused(&mut placement, &allowing(99, u8::MAX)), error);
}

/// {1 and 2 have started, 3 never has}: the front ends of two operators let 4 in and 1 out, each on records in which that was well. In the log one comes first.
#[test]
fn two_strict_changes_that_leave_too_few_started_together_are_not_both_done() {
    let strictly = |command: Command| match command {
        Command::AddMember { id, peer_urls, learner, learners_max, .. } => {
            Command::AddMember { id, peer_urls, learner, learners_max, strict: true }
        }
        Command::RemoveMember { id, .. } => Command::RemoveMember { id, strict: true },
        Command::PromoteMember { id, .. } => Command::PromoteMember { id, strict: true },
        Command::ReplaceMember { old, new, peer_urls, .. } => {
            Command::ReplaceMember { old, new, peer_urls, strict: true }
        }
        other => other,
    };
    let begin = || {
        let mut placement = three();
        for (id, name) in [(1, "a"), (2, "b")] {
            changed(&mut placement, &publish(id, name, vec![]));
        }
        placement
    };
    let error = |started, voters| PlacementError::NotEnoughStarted { started, voters };
    // Either alone would leave enough if 3 had started; with 3 unstarted nothing more may come, and nobody who started may go.
    let mut placement = begin();
    assert_eq!(refused(&mut placement, &strictly(add(4, false))), error(2, 4));
    assert_eq!(refused(&mut placement, &strictly(remove(1))), error(1, 2));
    assert_eq!(refused(&mut placement, &strictly(replace(1, 5, url(5)))), error(1, 3));
    changed(&mut placement, &strictly(remove(3)));
    changed(&mut placement, &strictly(add(4, false)));
    assert_eq!(refused(&mut placement, &strictly(remove(1))), error(1, 2));
    // Learners never count against it, and one that is promoted counts as started.
    changed(&mut placement, &strictly(add(6, true)));
    changed(&mut placement, &strictly(promote(6)));
    // Not asked for, it is not looked at; and the only voter may take in a second.
    let mut placement = begin();
    changed(&mut placement, &remove(1));
    changed(&mut placement, &remove(3));
    assert_eq!(refused(&mut placement, &strictly(replace(2, 8, url(8)))), error(0, 1));
    changed(&mut placement, &strictly(add(7, false)));
}

#[test]
fn an_id_is_never_given_again() {
    let mut placement = three();
    assert_eq!(refused(&mut placement, &add(1, false)), PlacementError::MemberIdExists(NodeId(1)));
    assert_eq!(refused(&mut placement, &replace(1, 2, url(9))), PlacementError::MemberIdExists(NodeId(2)));
    assert_eq!(refused(&mut placement, &replace(1, 1, url(1))), PlacementError::MemberIdExists(NodeId(1)));
    changed(&mut placement, &remove(3));
    assert!(placement.view().is_removed(NodeId(3)) && placement.view().member(NodeId(3)).is_none());
    let removed = PlacementError::Removed(NodeId(3));
    for command in [
        add(3, false),
        remove(3),
        promote(3),
        update(3, url(3)),
        replace(3, 9, url(9)),
        replace(1, 3, url(9)),
        publish(3, "c", vec![]),
        disk(3, 1),
    ] {
        assert_eq!(refused(&mut placement, &command), removed, "{command:?}");
    }
    assert_eq!(refused(&mut placement, &add(0, false)), PlacementError::Malformed);
}

#[test]
fn two_members_never_share_a_peer_url() {
    let mut placement = three();
    let taken = PlacementError::PeerUrlExists { member: NodeId(2) };
    let with = |id, peer_urls| Command::AddMember {
        id: NodeId(id),
        peer_urls,
        learner: false,
        learners_max: 1,
        strict: false,
    };
    assert_eq!(refused(&mut placement, &with(4, urls(&["http://x:1", "http://node-2:2380"]))), taken);
    assert_eq!(refused(&mut placement, &update(1, url(2))), taken);
    assert_eq!(refused(&mut placement, &replace(1, 4, url(2))), taken);
    changed(&mut placement, &remove(2));
    changed(&mut placement, &with(4, url(2)));
}

#[test]
fn the_last_voter_stays_and_can_be_replaced() {
    let mut placement = three();
    changed(&mut placement, &remove(1));
    changed(&mut placement, &remove(2));
    changed(&mut placement, &add(4, true));
    assert_eq!(refused(&mut placement, &remove(3)), PlacementError::LastVoter);
    changed(&mut placement, &replace(3, 5, url(3)));
    assert_eq!(placement.view().desired_membership(), Membership::new([NodeId(5)], [NodeId(4)]));
    changed(&mut placement, &remove(4));
}

#[test]
fn a_replacement_takes_the_role_and_may_take_the_urls_but_nothing_else() {
    let mut placement = three();
    changed(&mut placement, &add(4, true));
    for id in [3, 4] {
        changed(&mut placement, &publish(id, "name", url(90 + id)));
        changed(&mut placement, &disk(id, 7));
        changed(&mut placement, &replace(id, 10 + id, url(id)));
        let new = Member::new(NodeId(10 + id), url(id), id == 4);
        assert_eq!(placement.view().member(new.id), Some(&new));
        assert!(placement.view().is_removed(NodeId(id)));
    }
    assert_eq!(refused(&mut placement, &replace(9, 20, url(20))), PlacementError::NotMember(NodeId(9)));
}

/// C14: a node that comes back under its id with an empty disk has forgotten its votes.
#[test]
fn c14_a_member_has_one_disk_in_its_life() {
    let mut placement = three();
    changed(&mut placement, &disk(1, 7));
    holds(&mut placement, &disk(1, 7));
    assert_eq!(
        refused(&mut placement, &disk(1, 8)),
        PlacementError::OtherDisk { registered: Incarnation(7) }
    );
    assert_eq!(refused(&mut placement, &disk(9, 8)), PlacementError::NotMember(NodeId(9)));
    changed(&mut placement, &update(1, url(40)));
    changed(&mut placement, &publish(1, "a", vec![]));
    assert_eq!(
        refused(&mut placement, &disk(1, 8)),
        PlacementError::OtherDisk { registered: Incarnation(7) }
    );
    changed(&mut placement, &replace(1, 4, url(40)));
    changed(&mut placement, &disk(4, 8));
}

#[test]
fn what_is_so_already_is_done_without_a_change() {
    let mut placement = three();
    changed(&mut placement, &update(1, urls(&["http://b:1", "http://a:1"])));
    holds(&mut placement, &update(1, urls(&["http://a:1", "http://b:1", "http://a:1"])));
    changed(&mut placement, &publish(1, "a", urls(&["http://a:2", "http://b:2"])));
    holds(&mut placement, &publish(1, "a", urls(&["http://b:2", "http://a:2"])));
    changed(&mut placement, &publish(1, "a", vec![]));
}

#[test]
fn a_cluster_has_a_limit_of_members_and_replacing_is_possible_at_it() {
    let mut placement = Placement::new();
    changed(&mut placement, &initialise((1..=MEMBERS_MAX as u64).map(voter).collect()));
    assert_eq!(refused(&mut placement, &add(100, false)), PlacementError::TooManyMembers);
    changed(&mut placement, &replace(1, 100, url(1)));
    changed(&mut placement, &remove(100));
    changed(&mut placement, &add(101, false));
    let many = initialise((1..=MEMBERS_MAX as u64 + 1).map(voter).collect());
    assert_eq!(many.check(), Err(PlacementError::TooManyMembers));
    assert_eq!(refused(&mut Placement::new(), &many), PlacementError::Malformed);
}

#[test]
fn when_all_ids_are_used_members_can_still_be_removed() {
    let mut placement = three();
    for id in 4..=MEMBER_IDS_MAX as u64 {
        let effect = placement.evaluate(Position::new(1, 1), &replace(id - 1, id, url(id)).encode());
        let number = placement.number() + 1;
        assert!(Placement::changes(&effect));
        placement.place(effect, number);
    }
    assert_eq!(refused(&mut placement, &add(70_000, false)), PlacementError::TooManyMemberIds);
    assert_eq!(refused(&mut placement, &replace(1, 70_000, url(1))), PlacementError::TooManyMemberIds);
    changed(&mut placement, &remove(1));
    assert!(placement.snapshot().all(|chunk| chunk.len() <= Placement::CHUNK_BYTES_MAX));
    assert_eq!(Placement::restore(&mut placement.snapshot()), Ok(placement));
}

#[test]
fn sizes_are_checked_before_the_log_and_in_it() {
    let many: Vec<String> = (0..=URLS_MAX).map(|at| format!("http://h{at}:1")).collect();
    let long = vec![format!("http://{}:1", "h".repeat(URL_BYTES_MAX))];
    let name = "n".repeat(NAME_BYTES_MAX + 1);
    for (command, error) in [
        (update(1, many.clone()), PlacementError::TooManyUrls),
        (publish(1, "", many), PlacementError::TooManyUrls),
        (update(1, long), PlacementError::BadUrl(UrlError::TooLong)),
        (publish(1, &name, vec![]), PlacementError::NameTooLong),
    ] {
        assert_eq!(command.check(), Err(error));
        assert_eq!(refused(&mut three(), &command), PlacementError::Malformed);
    }
    assert_eq!(refused(&mut three(), &update(1, vec![])), PlacementError::NoUrls);
    let path = PlacementError::BadUrl(UrlError::Path);
    assert_eq!(refused(&mut three(), &publish(1, "", urls(&["http://h:1/"]))), path);
    changed(&mut three(), &publish(1, &name[1..], vec![]));
}

#[test]
fn a_view_stays_as_it_is() {
    let mut placement = three();
    let (view, snapshot) = (placement.view(), placement.snapshot());
    let before = placement.clone();
    changed(&mut placement, &remove(3));
    assert_eq!((view.version(), view.members().len()), (1, 3));
    assert_eq!((placement.view().version(), placement.view().members().len()), (2, 2));
    assert_eq!(Placement::restore(&mut snapshot.into_iter()), Ok(before));
}

#[test]
#[should_panic(expected = "placed before the next command is evaluated")]
fn an_effect_belongs_to_the_state_it_was_evaluated_in() {
    let mut placement = three();
    let late = placement.evaluate(Position::new(1, 1), &remove(2).encode());
    changed(&mut placement, &remove(3));
    placement.place(late, 9);
}

/// A group is born with the members of the moment at which it is added, whoever comes and goes afterwards; one that is as old as the cluster has no such entry.
#[test]
fn a_group_that_is_added_keeps_the_members_that_it_was_born_with() {
    let mut placement = three();
    changed(&mut placement, &add(4, true));
    changed(&mut placement, &add_tree(EngineKind::Zab, &[1, 2, 3, 4]));
    changed(&mut placement, &promote(4));
    changed(&mut placement, &remove(1));
    let view = placement.view();
    let birth = Membership::new([1, 2, 3].map(NodeId), [NodeId(4)]);
    assert_eq!(view.birth(GroupId(3)), Some(&birth));
    assert_eq!(view.groups()[&GroupId(3)], GroupPlace { kind: GroupKind::Tree, engine: EngineKind::Zab });
    assert!(view.groups().keys().filter(|id| **id != GroupId(3)).all(|id| view.birth(*id).is_none()));
}

#[test]
fn adding_a_group_that_is_there_changes_nothing_whatever_is_asked_for() {
    let mut placement = three();
    changed(&mut placement, &add_tree(EngineKind::Zab, &[1, 2, 3]));
    holds(&mut placement, &add_tree(EngineKind::Zab, &[1, 2, 3]));
    holds(&mut placement, &add_tree(EngineKind::Raft, &[1, 2, 3]));
    changed(&mut placement, &remove(3));
    holds(&mut placement, &add_tree(EngineKind::Zab, &[1, 2, 3]));
    assert!(placement.view().birth(GroupId(3)).is_some_and(|birth| birth.contains(NodeId(3))));
}

/// {1 to 3 know the command, and 4, which joins before it is executed, was never asked}: were it executed all the same, 4 could have other records.
#[test]
fn a_group_is_added_only_if_those_who_were_asked_are_all_members_that_there_are() {
    let mut placement = three();
    changed(&mut placement, &add(4, false));
    assert_eq!(refused(&mut placement, &add_tree(EngineKind::Zab, &[1, 2, 3])), PlacementError::OtherMembers);
    changed(&mut placement, &remove(1));
    let all = add_tree(EngineKind::Zab, &[1, 2, 3, 4]);
    assert_eq!(refused(&mut placement, &all), PlacementError::OtherMembers);
    changed(&mut placement, &add_tree(EngineKind::Zab, &[2, 3, 4]));
}

#[test]
fn a_group_that_cannot_be_is_not_added() {
    let mut placement = three();
    let members: std::collections::BTreeSet<NodeId> = [1, 2, 3].map(NodeId).into();
    let group = |id, kind, engine| Command::AddGroup {
        id: GroupId(id),
        place: GroupPlace { kind, engine },
        members: members.clone(),
    };
    let bad = PlacementError::BadGroups;
    assert_eq!(
        refused(&mut placement, &group(1, GroupKind::Tree, EngineKind::Zab)),
        bad,
        "the id of another"
    );
    assert_eq!(refused(&mut placement, &group(7, GroupKind::Meta, EngineKind::Raft)), bad, "a second meta");
    assert_eq!(refused(&mut placement, &group(7, GroupKind::Order, EngineKind::Zab)), bad);
    changed(&mut placement, &add_tree(EngineKind::Zab, &[1, 2, 3]));
    assert_eq!(refused(&mut placement, &group(7, GroupKind::Tree, EngineKind::Zab)), bad, "a second tree");
    let mut before = Placement::new();
    assert_eq!(refused(&mut before, &add_tree(EngineKind::Zab, &[])), PlacementError::NotInitialised);
}

#[test]
fn a_cluster_whose_other_members_are_lost_goes_on_with_one_that_votes_and_never_gives_their_ids_again() {
    let mut placement = three();
    changed(&mut placement, &disk(1, 7));
    changed(&mut placement, &add(4, true));
    changed(&mut placement, &add_tree(EngineKind::Zab, &[1, 2, 3, 4]));
    for survivor in [1, 4] {
        let mut alone = placement.clone();
        let before = alone.view();
        alone.go_on_alone(ClusterId(0xd), NodeId(survivor)).unwrap();
        let view = alone.view();
        assert_eq!(view.cluster(), Some(ClusterId(0xd)));
        assert_eq!(view.version(), before.version() + 1);
        assert_eq!(view.desired_membership(), voters(&[survivor]));
        assert_eq!(view.birth(GroupId(3)), Some(&voters(&[survivor])));
        assert_eq!(view.groups(), before.groups());
        // It may have been copied: whoever has the disk of before is not believed.
        assert_eq!(view.member(NodeId(survivor)).unwrap().incarnation, None);
        let lost = (1..=4).find(|id| *id != survivor).unwrap();
        assert_eq!(refused(&mut alone, &add(lost, false)), PlacementError::Removed(NodeId(lost)));
        let restored = Placement::restore(&mut alone.snapshot()).unwrap();
        assert_eq!((restored.digest(), &restored), (alone.digest(), &alone));
    }
    let stranger = placement.go_on_alone(ClusterId(0xd), NodeId(9));
    assert_eq!(stranger, Err(PlacementError::NotMember(NodeId(9))));
    changed(&mut placement, &remove(3));
    assert_eq!(placement.go_on_alone(ClusterId(0xd), NodeId(3)), Err(PlacementError::Removed(NodeId(3))));
    let nothing = Placement::new().go_on_alone(ClusterId(0xd), NodeId(1));
    assert_eq!(nothing, Err(PlacementError::NotInitialised));
}

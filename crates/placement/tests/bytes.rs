//! Bytes: what was written is read, one value has one encoding, and whatever else is in a log or a snapshot does no harm.

mod common;

use bytes::Bytes;
use common::{commands, histories, initialise, run, run_bytes, three, voter};
use proptest::prelude::*;
use quorate_consensus::{
    ClusterId, DecodeError, GroupId, Incarnation, NodeId, Reader, RestoreError, StateMachine, Writer,
};
use quorate_placement::{
    Command, EngineKind, GROUPS_MAX, GroupKind, GroupPlace, LEARNERS_MAX, MEMBERS_MAX, Member,
    NAME_BYTES_MAX, Placement, PlacementError, Response, URL_BYTES_MAX, URLS_MAX, UrlError,
};

fn decode_response(bytes: Bytes) -> Result<Response, DecodeError> {
    let mut from = Reader::new(bytes);
    let response = Placement::decode_response(&mut from)?;
    from.finish()?;
    Ok(response)
}

fn encode_response(response: &Response) -> Bytes {
    let mut to = Writer::new();
    Placement::encode_response(response, &mut to);
    to.finish()
}

/// The state with as much in it as the limits allow.
fn full() -> Placement {
    let url = |what: &str, id: u64, at: usize| {
        let tail = format!("-{what}-{id:02}-{at}:2380");
        format!("http://{}{tail}", "h".repeat(URL_BYTES_MAX - "http://".len() - tail.len()))
    };
    let member = |id: u64| Member {
        id: NodeId(u64::MAX - id),
        name: "n".repeat(NAME_BYTES_MAX),
        peer_urls: (0..URLS_MAX).map(|at| url("p", id, at)).collect(),
        client_urls: (0..URLS_MAX).map(|at| url("c", id, at)).collect(),
        learner: id < LEARNERS_MAX as u64,
        incarnation: Some(Incarnation(u64::MAX)),
    };
    let place = GroupPlace { kind: GroupKind::Keys, engine: EngineKind::Zab };
    let command = Command::Initialise {
        cluster: ClusterId(u64::MAX),
        members: (0..MEMBERS_MAX as u64).map(member).collect(),
        groups: (0..GROUPS_MAX as u64).map(|id| (GroupId(u64::MAX - id), place)).collect(),
    };
    assert_eq!(command.check(), Ok(()));
    let mut placement = Placement::new();
    let response = run(&mut placement, &command).response;
    assert_eq!(decode_response(encode_response(&response)), Ok(response));
    placement
}

#[test]
fn a_full_state_goes_through_chunks_of_the_agreed_size() {
    let placement = full();
    let chunks: Vec<Bytes> = placement.snapshot().collect();
    assert!(chunks.len() > 10);
    assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= Placement::CHUNK_BYTES_MAX));
    assert_eq!(Placement::restore(&mut chunks.clone().into_iter()), Ok(placement));
    for missing in 0..chunks.len() {
        let mut rest = chunks.clone();
        rest.remove(missing);
        assert!(Placement::restore(&mut rest.into_iter()).is_err());
    }
    let end = chunks.len() - 1;
    assert_eq!(Placement::restore(&mut chunks[..end].iter().cloned()), Err(RestoreError::Incomplete));
    let twice = chunks.iter().chain(&chunks[end..]).cloned();
    assert!(Placement::restore(&mut twice.into_iter()).is_err());
}

#[test]
fn a_snapshot_begins_with_its_version() {
    let mut chunks: Vec<Vec<u8>> = three().snapshot().map(|chunk| chunk.to_vec()).collect();
    assert_eq!(chunks[0][0], 1);
    chunks[0][0] = 3;
    let restored = Placement::restore(&mut chunks.into_iter().map(Bytes::from));
    assert_eq!(restored, Err(RestoreError::Version(3)));
    assert_eq!(Placement::restore(&mut std::iter::empty()), Err(RestoreError::Incomplete));
}

#[test]
fn an_empty_state_is_a_snapshot_too() {
    assert_eq!(Placement::restore(&mut Placement::new().snapshot()), Ok(Placement::new()));
}

/// Logs, tables of answers and snapshots of earlier builds stay readable: these bytes may never change.
#[test]
fn the_bytes_never_change_between_builds() {
    let mut placement = Placement::new();
    let command = initialise(vec![Member { incarnation: Some(Incarnation(5)), ..voter(1) }]);
    let response = run(&mut placement, &command).response;
    run(&mut placement, &common::add(2, true));
    run(&mut placement, &common::remove(2));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let member = concat!(
        "0100000000000000",
        "00",
        "01",
        "12",
        "687474703a2f2f6e6f64652d313a32333830",
        "00",
        "00",
        "01"
    )
    .to_owned()
        + "0500000000000000";
    let groups = "000101010201";
    assert_eq!(hex(&command.encode()), format!("01010c0000000000000001{member}02{groups}"));
    assert_eq!(hex(&encode_response(&response)), format!("01010101{member}"));
    let chunks: Vec<u8> = placement.snapshot().flatten().collect();
    assert_eq!(hex(&chunks), format!("01010c0000000000000003010102{member}0200000000000000{groups}"));
    assert_eq!(placement.digest(), FIXED_DIGEST);
}

/// Nor may these, of records with a group that was added while the cluster ran. Before it is added they are what a build writes that knows of no such groups.
#[test]
fn the_bytes_with_a_birth_never_change_between_builds() {
    let mut placement = three();
    let before: Vec<u8> = placement.snapshot().flatten().collect();
    assert_eq!(before[0], 1);
    let command = common::add_tree(EngineKind::Zab, &[1, 2, 3]);
    run(&mut placement, &command);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let ids = "010000000000000002000000000000000300000000000000";
    assert_eq!(hex(&command.encode()), format!("010903030203{ids}"));
    let after: Vec<u8> = placement.snapshot().flatten().collect();
    // A version, a change, a group and the count of births more in the header, then the group, then the birth.
    assert_eq!(hex(&after[..14]), "02010c0000000000000002030003");
    assert_eq!(after[14], 1);
    assert_eq!(&after[15..after.len() - 31], &before[14..]);
    assert_eq!(hex(&after[after.len() - 31..]), format!("0303020303{ids}0000"));
    assert_eq!(placement.digest(), DIGEST_WITH_BIRTH);
}

const DIGEST_WITH_BIRTH: u64 = 8_501_304_813_386_538_337;

/// A birth of a group that is not there, or that no members ever were, is in no log.
#[test]
fn a_snapshot_with_a_birth_that_cannot_be_is_refused() {
    let mut placement = three();
    run(&mut placement, &common::add_tree(EngineKind::Raft, &[1, 2, 3]));
    let sound: Vec<u8> = placement.snapshot().flatten().collect();
    let at = sound.len() - 28;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        Placement::restore(&mut [Bytes::from(bytes)].into_iter())
    };
    assert_eq!(with(&|_| {}), Ok(placement));
    assert!(with(&|bytes| bytes[at] = 9).is_err(), "of no group");
    assert!(with(&|bytes| bytes[at + 2] = 0).is_err(), "of member 0");
    let nobody = |bytes: &mut Vec<u8>| {
        bytes.truncate(at + 1);
        bytes.extend([0, 0, 0]);
    };
    assert!(with(&nobody).is_err(), "of nobody");
    let no_births = |bytes: &mut Vec<u8>| {
        bytes.truncate(at);
        bytes[14] = 0;
    };
    assert!(with(&no_births).is_err(), "one state has one snapshot");
}

const FIXED_DIGEST: u64 = 14_582_090_406_328_853_250;

#[test]
fn every_answer_is_read_as_it_was_written() {
    let urls = [
        UrlError::TooLong,
        UrlError::Scheme,
        UrlError::Credentials,
        UrlError::Path,
        UrlError::NoHost,
        UrlError::BadHost,
        UrlError::NoPort,
        UrlError::BadPort,
    ];
    let errors = [
        PlacementError::NotInitialised,
        PlacementError::MemberIdExists(NodeId(1)),
        PlacementError::PeerUrlExists { member: NodeId(2) },
        PlacementError::NotMember(NodeId(3)),
        PlacementError::Removed(NodeId(4)),
        PlacementError::NotLearner(NodeId(5)),
        PlacementError::TooManyLearners { learners_max: 6 },
        PlacementError::TooManyMembers,
        PlacementError::TooManyMemberIds,
        PlacementError::LastVoter,
        PlacementError::NoUrls,
        PlacementError::TooManyUrls,
        PlacementError::NameTooLong,
        PlacementError::OtherDisk { registered: Incarnation(7) },
        PlacementError::BadGroups,
        PlacementError::Malformed,
        PlacementError::OtherMembers,
    ];
    let errors = errors.into_iter().chain(urls.map(PlacementError::BadUrl));
    let refusals = errors.map(|error| Response::Refused { version: 300, error });
    let others = [
        Response::Done { version: u64::MAX, members: vec![voter(1), voter(2)] },
        Response::AlreadyInitialised { version: 1, cluster: ClusterId(8) },
    ];
    for response in refusals.chain(others) {
        let bytes = encode_response(&response);
        assert_eq!(decode_response(bytes.clone()), Ok(response));
        for end in 0..bytes.len() {
            assert!(decode_response(bytes.slice(..end)).is_err());
        }
    }
}

/// An encoding with one byte changed, or cut, or lengthened.
fn damaged(bytes: &Bytes, at: prop::sample::Index, damage: u16) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = at.index(bytes.len());
    match damage {
        0..=255 => bytes[at] = damage as u8,
        256..=300 => bytes.truncate(at),
        _ => bytes.insert(at, damage as u8),
    }
    Bytes::from(bytes)
}

proptest! {
    #[test]
    fn a_command_is_read_as_it_was_written(command in commands()) {
        let bytes = command.encode();
        prop_assert_eq!(Command::decode(&bytes), Ok(command));
        for end in 0..bytes.len() {
            prop_assert!(Command::decode(&bytes.slice(..end)).is_err());
        }
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        prop_assert_eq!(Command::decode(&longer.into()), Err(DecodeError::Trailing { bytes: 1 }));
    }

    #[test]
    fn bytes_that_are_no_command_change_nothing(
        tag in prop::option::of(1u8..11),
        rest in prop::collection::vec(any::<u8>(), 0..200),
        command in commands(),
        at in any::<prop::sample::Index>(),
        damage in 0u16..400,
    ) {
        let head: Vec<u8> = tag.map_or(vec![], |tag| vec![1, tag]);
        let noise = Bytes::from([head, rest].concat());
        for bytes in [noise, damaged(&command.encode(), at, damage)] {
            for mut placement in [Placement::new(), three()] {
                let before = placement.clone();
                let response = run_bytes(&mut placement, &bytes).response;
                match Command::decode(&bytes) {
                    Ok(command) => prop_assert_eq!(command.encode(), bytes.clone()),
                    Err(_) => {
                        let version = before.number();
                        prop_assert_eq!(
                            response,
                            Response::Refused { version, error: PlacementError::Malformed }
                        );
                        prop_assert_eq!(placement, before);
                    }
                }
            }
            if let Ok(response) = decode_response(bytes.clone()) {
                prop_assert_eq!(encode_response(&response), bytes);
            }
        }
    }

    /// A damaged snapshot is refused, or describes another sound state, whose digest gives it away.
    #[test]
    fn a_damaged_snapshot_is_never_taken_for_the_state(
        history in histories(),
        at in any::<prop::sample::Index>(),
        damage in 0u16..400,
    ) {
        let mut placement = Placement::new();
        for command in &history {
            run(&mut placement, command);
        }
        let chunks: Vec<Bytes> = placement.snapshot().collect();
        prop_assert_eq!(chunks.len(), 1);
        let other = damaged(&chunks[0], at, damage);
        let same = other == chunks[0];
        if let Ok(restored) = Placement::restore(&mut [other.clone()].into_iter()) {
            prop_assert_eq!(restored.digest() == placement.digest(), same);
            prop_assert_eq!(restored.snapshot().collect::<Vec<_>>(), vec![other]);
        }
    }
}

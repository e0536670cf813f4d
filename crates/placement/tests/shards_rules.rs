//! What operators, stewards and clients may rely on, rule by rule.

mod shards_common;

use bytes::Bytes;
use quorate_consensus::{DecodeError, EngineKind, GroupId, Membership, NodeId, ShardId, Writer};
use quorate_placement::shards::{
    CHANGES_AT_ONCE_DEFAULT, CHANGES_AT_ONCE_MAX, CUT_BYTES_MAX, Command, Entry, Founder, GROUP_STEP_MAX,
    Phase, Rule, SHARD_MEMBERS_MAX, SHARDS_MAX, ShardError, ShardMap, Shards, Span, Token, Vacancy,
};
use shards_common::{
    RULES, abort_merge, abort_split, begin_merge, begin_split, changed, cut_at, end_merge, end_split, holds,
    keys, move_to, moved, one, refused, voters,
};

const PODS: Rule = Rule::Prefix { delimiter: b'/', parts: 3 };

fn entry(shards: &Shards, shard: u32) -> Entry {
    shards.map().get(ShardId(shard)).expect("it is there").clone()
}

fn fresh(shards: &Shards, shard: u32) -> Box<Entry> {
    Box::new(entry(shards, shard))
}

fn set_limit(changes_at_once: u16) -> Command {
    Command::SetLimit { changes_at_once }
}

// Tokens.

/// What is stored lies where its hash says: no build may come to another number. The numbers were computed by a second program.
#[test]
fn hashes_never_change_between_builds() {
    let all: Vec<u8> = (0..=255).collect();
    for (key, hash) in [
        (&b""[..], 0xf52a_15e9_a9b5_e89b_u64),
        (b"a", 0x02c0_bdbf_4814_20f8),
        (b"foo", 0x6c2f_e770_3e1b_0bca),
        (b"/registry/pods/default/a", 0x3465_e5f0_b3d4_d55d),
        (&all, 0xef26_87f0_d437_1fe2),
    ] {
        assert_eq!(Rule::Hash.token(key).as_bytes(), hash.to_be_bytes());
    }
}

#[test]
fn by_hash_keys_that_look_alike_are_strewn_evenly() {
    let mut eighths = [0; 8];
    for at in 0..8000 {
        let token = Rule::Hash.token(format!("/registry/pods/default/pod-{at}").as_bytes());
        eighths[usize::from(token.as_bytes()[0] >> 5)] += 1;
    }
    assert!(eighths.iter().all(|count| (900..1100).contains(count)), "{eighths:?}");
}

#[test]
fn by_prefix_the_keys_of_a_prefix_have_one_token() {
    for (key, token) in [
        ("/registry/pods/default/a", "/registry/pods/"),
        ("/registry/pods/", "/registry/pods/"),
        ("/registry/pods", "/registry/pods"),
        ("///", "///"),
        ("////", "///"),
        ("a", "a"),
        ("", ""),
    ] {
        assert_eq!(PODS.token(key.as_bytes()), Token::from(token), "{key}");
    }
    assert_eq!(Rule::Prefix { delimiter: b'/', parts: 1 }.token(b"a/b/c"), Token::from("a/"));
    assert_eq!(Rule::Prefix { delimiter: 0, parts: 255 }.token(b"a/b/c"), Token::from("a/b/c"));
    assert_eq!(Rule::Prefix { delimiter: b'/', parts: 0 }.check(), Err(ShardError::BadRule));
}

/// The span of a range has the tokens of all its keys; and where it ends, it ends.
#[test]
fn a_range_of_keys_covers_the_tokens_of_its_keys_and_no_more_than_it_must() {
    let mut keys = keys();
    keys.extend(
        [&b""[..], b"/registry/pods/", b"/registry/pods", b"/registry/pods0", b"a"].map(<[u8]>::to_vec),
    );
    for rule in RULES {
        for from in &keys {
            for to in keys.iter().map(Some).chain([None]) {
                let span = rule.covers(from, to.map(Vec::as_slice));
                let held: Vec<&Vec<u8>> =
                    keys.iter().filter(|key| *key >= from && to.is_none_or(|to| *key < to)).collect();
                assert!(held.iter().all(|key| span.holds(&rule.token(key))));
                // By range and by prefix, what is touched has a key in the range, among all keys that there could be.
                let last = to
                    .map(|to| rule.token(to))
                    .filter(|_| rule != Rule::Hash && to.is_some_and(|to| to > from));
                let beyond = |key: &&Vec<u8>| last.as_ref().is_some_and(|last| rule.token(key) > *last);
                assert!(!keys.iter().filter(beyond).any(|key| span.holds(&rule.token(key))));
            }
        }
    }
    let span = |from: &str, to: Option<&str>| Span { from: Token::from(from), to: to.map(Token::from) };
    assert_eq!(
        PODS.covers(b"/registry/pods/", Some(b"/registry/pods0")),
        span("/registry/pods/", Some("/registry/pods0"))
    );
    assert_eq!(
        PODS.covers(b"/a/b/c", Some(b"/c/d/e")),
        span("/a/b/", Some("/c/d/\0")),
        "/c/d/a is among them"
    );
    assert_eq!(PODS.covers(b"/a/b/c", Some(b"/c/d/")), span("/a/b/", Some("/c/d/")));
    assert_eq!(Rule::Range.covers(b"a", None), span("a", None));
    assert_eq!(Rule::Hash.covers(b"a", Some(b"b")), span("", None));
    for rule in RULES {
        assert_eq!(rule.covers(b"a", Some(b"a\0")), rule.point(b"a"), "one key");
        assert_eq!(
            rule.covers(b"b", Some(b"a")),
            rule.point(b"b"),
            "no key: whoever holds the beginning says so"
        );
        assert_eq!(rule.covers(b"b", Some(b"b")), rule.point(b"b"));
    }
}

#[test]
fn a_shard_begins_only_where_a_key_could_stand() {
    for (rule, token, may) in [
        (Rule::Range, "/registry/pods/x", true),
        (Rule::Range, "", false),
        (PODS, "/registry/pods/", true),
        (PODS, "/registry/pods0", true),
        (PODS, "/registry/pods/x", false),
        (Rule::Hash, "12345678", true),
        (Rule::Hash, "1234567", false),
        (Rule::Hash, "123456789", false),
    ] {
        assert_eq!(rule.is_cut(&Token::from(token)), may, "{rule} {token}");
    }
    assert!(Rule::Range.is_cut(&Token::new(vec![b'k'; CUT_BYTES_MAX])));
    assert!(!Rule::Range.is_cut(&Token::new(vec![b'k'; CUT_BYTES_MAX + 1])));
}

// The map.

#[test]
fn it_begins_with_one_shard_that_holds_everything() {
    let shards = one();
    let map = shards.map();
    assert_eq!((map.version(), map.rule(), map.changes_at_once()), (1, Rule::Range, CHANGES_AT_ONCE_DEFAULT));
    assert_eq!((map.next_shard(), map.last_group()), (ShardId(2), GroupId(1)));
    let only = entry(&shards, 1);
    assert_eq!((only.from, only.to, only.phase), (Token::least(), None, Phase::Whole));
    assert_eq!((only.range_version, only.config_version), (1, 1));
    for nobody in
        [voters(&[]), voters(&[0, 1]), voters(&(1..=SHARD_MEMBERS_MAX as u64 + 1).collect::<Vec<_>>())]
    {
        assert_eq!(Shards::new(GroupId(1), nobody, EngineKind::Raft), Err(ShardError::BadMembers));
    }
}

#[test]
fn a_key_belongs_to_the_shard_that_begins_at_it_and_not_to_the_one_that_ends_there() {
    let shards = cut_at(&["g", "p"]);
    for (key, shard) in [("", 1), ("a", 1), ("fzz", 1), ("g", 2), ("g\0", 2), ("ozz", 2), ("p", 3), ("z", 3)]
    {
        assert_eq!(shards.map().locate(key.as_bytes()).shard, ShardId(shard), "{key}");
    }
    let range = |from: &str, to: Option<&str>| -> Vec<u32> {
        let to = to.map(str::as_bytes);
        shards.map().locate_range(from.as_bytes(), to).map(|entry| entry.shard.0).collect()
    };
    assert_eq!(range("a", Some("g")), [1]);
    assert_eq!(range("a", Some("g\0")), [1, 2]);
    assert_eq!(range("g", Some("p")), [2]);
    assert_eq!(range("h", None), [2, 3]);
    assert_eq!(range("", None), [1, 2, 3]);
    assert_eq!(range("z", Some("a")), [3]);
}

#[test]
fn explain_says_where_a_key_lives_and_why() {
    let mut shards = cut_at(&["m"]);
    changed(&mut shards, &move_to(2, 1, &[4, 5, 10]));
    assert_eq!(
        shards.map().explain(b"pe\xffar").to_string(),
        "rule      range\n\
         token     \"pe\\xffar\"\n\
         shard     s2, group g102, raft\n\
         holds     from \"m\" to the end\n\
         versions  range 2, config 1, map 4\n\
         members   1 2 3\n\
         phase     being moved to 4 5 a"
    );
    let mut shards = one();
    changed(&mut shards, &Command::SetRule { rule: Rule::Hash, range_version: 1 });
    assert!(
        shards.map().explain(b"a").to_string().starts_with("rule      hash\ntoken     0x02c0bdbf481420f8\n")
    );
    assert_eq!(PODS.to_string(), "prefix of 3 parts that end with '/'");
}

// Founding, rule, limit.

fn founder(shard: u32, from: &str) -> Founder {
    let group = if shard == 1 { GroupId(1) } else { GroupId(u64::from(shard) + 10) };
    let members = voters(&[1, 2, 3]);
    Founder { shard: ShardId(shard), group, from: Token::from(from), members, engine: EngineKind::Raft }
}

fn found(shards: Vec<Founder>) -> Command {
    Command::Found { rule: PODS, shards }
}

#[test]
fn one_shard_becomes_many_in_one_version_and_once() {
    let mut shards = one();
    let zab = Founder { engine: EngineKind::Zab, members: voters(&[4, 5, 6]), ..founder(3, "/registry/") };
    let command = found(vec![founder(2, ""), zab, founder(1, "/registry/pods/")]);
    changed(&mut shards, &command);
    assert_eq!((shards.map().version(), shards.map().rule()), (2, PODS));
    assert_eq!((shards.map().next_shard(), shards.map().last_group()), (ShardId(4), GroupId(13)));
    assert_eq!(entry(&shards, 3).engine, EngineKind::Zab);
    assert!(shards.map().shards().iter().all(|entry| entry.range_version == 2));
    holds(&mut shards, &command);
    let other = found(vec![founder(1, ""), founder(2, "b")]);
    assert_eq!(refused(&mut shards, &other), ShardError::AlreadyFounded);
    // Nor after all have been merged into one.
    let mut shards = cut_at(&["m"]);
    changed(&mut shards, &begin_merge(1, 2, 2, 2));
    changed(&mut shards, &end_merge(1, 2, 2));
    assert_eq!(refused(&mut shards, &other), ShardError::AlreadyFounded);
}

#[test]
fn a_founding_that_makes_no_sense_is_refused() {
    let group = |group: u64, founder: Founder| Founder { group: GroupId(group), ..founder };
    let last = ShardError::GroupNumber { last: GroupId(1) };
    for (list, error) in [
        (vec![], ShardError::BadFounding),
        (vec![founder(1, "")], ShardError::BadFounding),
        (vec![founder(1, "a"), founder(2, "b")], ShardError::BadFounding),
        (vec![founder(1, ""), founder(2, "b"), founder(3, "b")], ShardError::BadFounding),
        (vec![founder(1, ""), founder(3, "b")], ShardError::BadFounding),
        (vec![founder(2, ""), founder(3, "b")], ShardError::BadFounding),
        (vec![founder(1, ""), founder(2, "b"), founder(2, "c")], ShardError::BadFounding),
        (vec![group(2, founder(1, "")), founder(2, "b")], ShardError::BadFounding),
        (vec![Founder { members: voters(&[4]), ..founder(1, "") }, founder(2, "b")], ShardError::BadFounding),
        (vec![founder(1, ""), founder(2, "/registry/pods/x")], ShardError::NotCut),
        (vec![founder(1, ""), group(1, founder(2, "b"))], last.clone()),
        (vec![founder(1, ""), group(7, founder(2, "b")), group(7, founder(3, "c"))], last.clone()),
        (vec![founder(1, ""), group(GROUP_STEP_MAX + 2, founder(2, "b"))], last),
        (vec![founder(1, ""), Founder { members: voters(&[]), ..founder(2, "b") }], ShardError::BadMembers),
    ] {
        assert_eq!(refused(&mut one(), &found(list)), error);
    }
    let mut shards = one();
    changed(&mut shards, &move_to(1, 1, &[4, 5, 6]));
    let busy = ShardError::Busy { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &found(vec![founder(1, ""), founder(2, "b")])), busy);
}

#[test]
fn the_largest_map_there_may_be_is_founded_and_read_back() {
    let from =
        |at: usize| if at == 0 { Token::least() } else { Token::new((at as u32).to_be_bytes().to_vec()) };
    let list = |count: usize| {
        (0..count).map(|at| Founder { from: from(at), ..founder(at as u32 + 1, "") }).collect()
    };
    let command = |count| Command::Found { rule: Rule::Range, shards: list(count) };
    assert_eq!(command(SHARDS_MAX + 1).check(), Err(ShardError::TooManyShards));
    assert!(Command::decode(&command(SHARDS_MAX + 1).encode()).is_err());
    let mut shards = one();
    changed(&mut shards, &command(SHARDS_MAX));
    assert_eq!(Shards::decode(&shards.encode()), Ok(shards.clone()));
    let next = shards.map().next_shard().0;
    assert_eq!(refused(&mut shards, &begin_split(9, 2, "\0\0\0\u{8}a", next)), ShardError::TooManyShards);
}

#[test]
fn the_rule_is_changed_only_while_there_is_one_shard() {
    let rule = |rule, range_version| Command::SetRule { rule, range_version };
    let mut shards = one();
    changed(&mut shards, &rule(Rule::Hash, 1));
    holds(&mut shards, &rule(Rule::Hash, 1));
    changed(&mut shards, &rule(Rule::Range, 2));
    // An answer was lost, and the first one comes again.
    let stale = ShardError::Stale { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &rule(Rule::Hash, 1)), stale);
    changed(&mut shards, &begin_split(1, 3, "m", 2));
    let busy = ShardError::Busy { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &rule(Rule::Hash, 3)), busy, "the split is at a token of the old rule");
    changed(&mut shards, &end_split(1, 3, 2));
    assert_eq!(refused(&mut shards, &rule(Rule::Hash, 4)), ShardError::AlreadyFounded);
}

#[test]
fn so_many_changes_are_under_way_as_the_limit_says_and_no_more() {
    let mut shards = cut_at(&["c", "e", "g", "i"]);
    changed(&mut shards, &set_limit(2));
    holds(&mut shards, &set_limit(2));
    changed(&mut shards, &begin_merge(1, 2, 2, 3));
    changed(&mut shards, &move_to(3, 1, &[1, 2, 4]));
    let full = ShardError::TooManyChanges { changes_at_once: 2 };
    for more in [begin_split(5, 5, "m", 6), begin_merge(4, 5, 5, 5), move_to(4, 1, &[1, 2, 4])] {
        assert_eq!(refused(&mut shards, &more), full);
    }
    // A merge counts once, and another goal for a move is not one more.
    changed(&mut shards, &move_to(3, 1, &[1, 2, 5]));
    changed(&mut shards, &set_limit(3));
    changed(&mut shards, &move_to(4, 1, &[1, 2, 4]));
    // What is under way goes on under a lower limit.
    changed(&mut shards, &set_limit(0));
    changed(&mut shards, &moved(4, 1, &[1, 2, 4]));
    assert_eq!(set_limit(CHANGES_AT_ONCE_MAX + 1).check(), Err(ShardError::BadLimit));
    assert_eq!(refused(&mut shards, &set_limit(CHANGES_AT_ONCE_MAX + 1)), ShardError::BadLimit);
}

// Splits.

#[test]
fn a_split_changes_who_holds_what_when_it_ends_and_in_one_version() {
    let mut shards = one();
    changed(&mut shards, &begin_split(1, 1, "m", 2));
    assert_eq!(shards.map().locate(b"z").shard, ShardId(1));
    assert_eq!(entry(&shards, 1).range_version, 1);
    changed(&mut shards, &end_split(1, 1, 2));
    let (left, right) = (entry(&shards, 1), entry(&shards, 2));
    assert_eq!((left.range_version, right.range_version), (2, 2));
    assert_eq!((left.to, &right.from, right.to), (Some(Token::from("m")), &Token::from("m"), None));
    assert_eq!((right.group, right.members, right.engine), (GroupId(102), left.members, left.engine));
    assert!(left.phase == Phase::Whole && right.phase == Phase::Whole);
}

#[test]
fn a_split_that_makes_no_sense_is_refused() {
    let mut shards = cut_at(&["m"]);
    for (command, error) in [
        (begin_split(9, 2, "c", 3), ShardError::NoShard(ShardId(9))),
        (begin_split(1, 1, "c", 3), ShardError::Stale { fresh: fresh(&shards, 1) }),
        (begin_split(1, 3, "c", 3), ShardError::Stale { fresh: fresh(&shards, 1) }),
        (begin_split(1, 2, "m", 3), ShardError::Outside { fresh: fresh(&shards, 1) }),
        (begin_split(2, 2, "m", 3), ShardError::Outside { fresh: fresh(&shards, 2) }),
        (begin_split(1, 2, "", 3), ShardError::NotCut),
        (begin_split(1, 2, "c", 2), ShardError::ShardNumber { next: ShardId(3) }),
        (begin_split(1, 2, "c", 4), ShardError::ShardNumber { next: ShardId(3) }),
        (begin_split(1, 2, &"c".repeat(CUT_BYTES_MAX + 1), 3), ShardError::CutTooLong),
        (end_split(1, 2, 3), ShardError::NotUnderWay { fresh: fresh(&shards, 1) }),
        (abort_split(1, 2, 3), ShardError::NotUnderWay { fresh: fresh(&shards, 1) }),
        (abort_split(1, 2, 2), ShardError::AlreadySplit { fresh: fresh(&shards, 2) }),
        (end_split(8, 1, 9), ShardError::NoShard(ShardId(8))),
        (end_split(1, 2, 1), ShardError::NotUnderWay { fresh: fresh(&shards, 1) }),
    ] {
        assert_eq!(refused(&mut shards, &command), error);
    }
    let group = |group| Command::BeginSplit {
        shard: ShardId(1),
        range_version: 2,
        at: Token::from("c"),
        child: ShardId(3),
        group: GroupId(group),
    };
    for number in [1, 102, 102 + GROUP_STEP_MAX + 1, u64::MAX] {
        assert_eq!(refused(&mut shards, &group(number)), ShardError::GroupNumber { last: GroupId(102) });
    }
    changed(&mut shards, &group(102 + GROUP_STEP_MAX));
}

#[test]
fn a_prefix_is_never_parted() {
    let mut shards = one();
    changed(&mut shards, &Command::SetRule { rule: PODS, range_version: 1 });
    assert_eq!(refused(&mut shards, &begin_split(1, 2, "/registry/pods/default/", 2)), ShardError::NotCut);
    changed(&mut shards, &begin_split(1, 2, "/registry/pods/", 2));
    changed(&mut shards, &end_split(1, 2, 2));
    for key in ["/registry/pods/", "/registry/pods/a", "/registry/pods/zzz"] {
        assert_eq!(shards.map().locate(key.as_bytes()).shard, ShardId(2));
    }
    assert_eq!(shards.map().locate(b"/registry/pods").shard, ShardId(1));
}

#[test]
fn a_split_that_is_given_up_leaves_no_trace_but_its_number() {
    let mut shards = one();
    changed(&mut shards, &begin_split(1, 1, "m", 2));
    changed(&mut shards, &abort_split(1, 1, 2));
    holds(&mut shards, &abort_split(1, 1, 2));
    assert_eq!(entry(&shards, 1), entry(&one(), 1));
    // The first command comes again, late.
    assert_eq!(
        refused(&mut shards, &begin_split(1, 1, "m", 2)),
        ShardError::ShardNumber { next: ShardId(3) }
    );
    let error = ShardError::NotUnderWay { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &end_split(1, 1, 2)), error);
    changed(&mut shards, &begin_split(1, 1, "m", 3));
    // Another shard's split is not given up by naming it for this one.
    changed(&mut shards, &end_split(1, 1, 3));
    changed(&mut shards, &begin_split(3, 2, "t", 4));
    let error = ShardError::NotUnderWay { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &abort_split(1, 2, 4)), error);
}

// Merges.

#[test]
fn a_merge_gives_the_left_one_all_and_a_version_above_both() {
    let mut shards = cut_at(&["g", "p"]);
    assert_eq!((entry(&shards, 2).range_version, entry(&shards, 3).range_version), (3, 3));
    changed(&mut shards, &begin_merge(1, 2, 2, 3));
    holds(&mut shards, &begin_merge(1, 2, 2, 3));
    assert_eq!(shards.map().locate(b"h").shard, ShardId(2));
    changed(&mut shards, &end_merge(1, 2, 2));
    holds(&mut shards, &end_merge(1, 2, 2));
    let left = entry(&shards, 1);
    assert_eq!((left.range_version, left.to, left.phase), (4, Some(Token::from("p")), Phase::Whole));
    assert_eq!(shards.map().get(ShardId(2)), None);
    assert_eq!(refused(&mut shards, &begin_split(2, 3, "h", 4)), ShardError::NoShard(ShardId(2)));
    assert_eq!(refused(&mut shards, &abort_merge(1, 2, 2)), ShardError::NoShard(ShardId(2)));
}

#[test]
fn a_shard_that_was_merged_is_vacant_and_comes_back_as_what_it_was() {
    let mut shards = cut_at(&["g", "p"]);
    // It has had versions of its own, and other members than the one that it comes back from.
    changed(&mut shards, &begin_merge(2, 3, 3, 3));
    changed(&mut shards, &abort_merge(2, 3, 3));
    changed(&mut shards, &begin_merge(1, 2, 2, 4));
    changed(&mut shards, &end_merge(1, 2, 2));
    let vacancy = shards.map().vacancies().next().expect("it is vacant").clone();
    assert_eq!((vacancy.shard, vacancy.group, vacancy.range_version), (ShardId(2), GroupId(102), 4));
    changed(&mut shards, &move_to(3, 1, &[4, 5, 6]));
    changed(&mut shards, &moved(3, 1, &[4, 5, 6]));

    let back = |group| Command::BeginSplit {
        shard: ShardId(3),
        range_version: 4,
        at: Token::from("t"),
        child: ShardId(2),
        group: GroupId(group),
    };
    let vacant = ShardError::Vacant { shard: ShardId(2), group: GroupId(102) };
    assert_eq!(refused(&mut shards, &back(104)), vacant);
    assert!(vacant.to_string().ends_with("or take a new one"));
    changed(&mut shards, &back(102));
    assert_eq!(shards.map().next_shard(), ShardId(4), "no number is used up");
    assert_eq!(refused(&mut shards, &begin_split(1, 5, "c", 2)), vacant, "of one split at a time");
    // It is given up, and the command comes again, late.
    changed(&mut shards, &abort_split(3, 4, 2));
    assert_eq!(shards.map().vacancy(ShardId(2)), Some(&vacancy));
    assert_eq!(refused(&mut shards, &back(102)), ShardError::Stale { fresh: fresh(&shards, 3) });

    changed(&mut shards, &begin_split(1, 5, "c", 2));
    let late = ShardError::Stale { fresh: fresh(&shards, 1) };
    assert_eq!(
        refused(&mut shards, &end_split(1, 2, 2)),
        late,
        "the end of the split by which it came first"
    );
    changed(&mut shards, &end_split(1, 5, 2));
    let again = entry(&shards, 2);
    assert_eq!((again.group, again.range_version, &again.members), (vacancy.group, 6, &vacancy.members));
    assert_eq!(shards.map().vacancies().count(), 0);
    changed(&mut shards, &begin_split(3, 5, "t", 4));
}

/// {the vacant one had more versions than the one that it comes back from}: it goes on from its own.
#[test]
fn a_range_version_is_never_had_twice() {
    let mut shards = cut_at(&["g", "p"]);
    for version in 3..9 {
        changed(&mut shards, &begin_merge(2, version, 3, version));
        changed(&mut shards, &abort_merge(2, version, 3));
    }
    changed(&mut shards, &begin_merge(2, 9, 3, 9));
    changed(&mut shards, &end_merge(2, 9, 3));
    changed(&mut shards, &begin_split(1, 2, "c", 3));
    changed(&mut shards, &end_split(1, 2, 3));
    assert_eq!((entry(&shards, 1).range_version, entry(&shards, 3).range_version), (3, 10));
}

#[test]
fn only_idle_neighbours_with_the_same_members_and_engine_are_merged() {
    let mut shards = cut_at(&["g", "p"]);
    for (command, error) in [
        (begin_merge(1, 2, 3, 3), ShardError::NotNeighbours { fresh: fresh(&shards, 1) }),
        (begin_merge(2, 3, 1, 2), ShardError::NotNeighbours { fresh: fresh(&shards, 2) }),
        (begin_merge(3, 3, 3, 3), ShardError::NotNeighbours { fresh: fresh(&shards, 3) }),
        (begin_merge(1, 1, 2, 3), ShardError::Stale { fresh: fresh(&shards, 1) }),
        (begin_merge(1, 2, 2, 2), ShardError::Stale { fresh: fresh(&shards, 2) }),
        (begin_merge(1, 2, 9, 1), ShardError::NoShard(ShardId(9))),
        (end_merge(1, 2, 2), ShardError::NotUnderWay { fresh: fresh(&shards, 1) }),
        (end_merge(1, 2, 9), ShardError::NoShard(ShardId(9))),
    ] {
        assert_eq!(refused(&mut shards, &command), error);
    }
    changed(&mut shards, &move_to(2, 1, &[1, 2, 4]));
    let busy = ShardError::Busy { fresh: fresh(&shards, 2) };
    assert_eq!(refused(&mut shards, &begin_merge(1, 2, 2, 3)), busy);
    changed(&mut shards, &moved(2, 1, &[1, 2, 4]));
    let error = refused(&mut shards, &begin_merge(1, 2, 2, 3));
    assert_eq!(error, ShardError::OtherMembers { fresh: fresh(&shards, 1) });
    assert!(error.to_string().ends_with("first move the other to where shard s1 is"));
    changed(&mut shards, &move_to(2, 2, &[1, 2, 3]));
    changed(&mut shards, &moved(2, 2, &[1, 2, 3]));
    changed(&mut shards, &begin_merge(1, 2, 2, 3));

    let mut shards = one();
    let zab = Founder { engine: EngineKind::Zab, ..founder(2, "b") };
    changed(&mut shards, &Command::Found { rule: Rule::Range, shards: vec![founder(1, ""), zab] });
    assert_eq!(refused(&mut shards, &begin_merge(1, 2, 2, 2)), ShardError::OtherEngine);
}

/// {a merge is given up and begun again; then the first one's begin, end and abort come late}: none of them touches the second.
#[test]
fn a_merge_that_is_given_up_is_not_mistaken_for_the_next_one() {
    let mut shards = cut_at(&["m"]);
    changed(&mut shards, &begin_merge(1, 2, 2, 2));
    changed(&mut shards, &abort_merge(1, 2, 2));
    holds(&mut shards, &abort_merge(1, 2, 2));
    assert_eq!((entry(&shards, 1).range_version, entry(&shards, 2).range_version), (3, 3));
    let stale = ShardError::Stale { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &begin_merge(1, 2, 2, 2)), stale);
    changed(&mut shards, &begin_merge(1, 3, 2, 3));
    let stale = ShardError::Stale { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &abort_merge(1, 2, 2)), stale);
    assert_eq!(refused(&mut shards, &end_merge(1, 2, 2)), stale);
    changed(&mut shards, &end_merge(1, 3, 2));
}

// Moves.

#[test]
fn a_move_is_a_wish_until_it_has_been_carried_out() {
    let mut shards = one();
    changed(&mut shards, &move_to(1, 1, &[4, 5, 6]));
    holds(&mut shards, &move_to(1, 1, &[4, 5, 6]));
    assert_eq!(entry(&shards, 1).members, voters(&[1, 2, 3]));
    assert_eq!(entry(&shards, 1).phase, Phase::Moving { to: voters(&[4, 5, 6]) });
    let other = ShardError::NotUnderWay { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &moved(1, 1, &[4, 5])), other);
    changed(&mut shards, &moved(1, 1, &[4, 5, 6]));
    holds(&mut shards, &moved(1, 1, &[4, 5, 6]));
    holds(&mut shards, &move_to(1, 1, &[4, 5, 6]));
    let now = entry(&shards, 1);
    assert_eq!((now.members, now.config_version, now.range_version), (voters(&[4, 5, 6]), 2, 1));
    // Back again; and then the first move comes late.
    changed(&mut shards, &move_to(1, 2, &[1, 2, 3]));
    changed(&mut shards, &moved(1, 2, &[1, 2, 3]));
    let stale = ShardError::Stale { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &move_to(1, 1, &[4, 5, 6])), stale);
    assert_eq!(refused(&mut shards, &moved(1, 1, &[4, 5, 6])), stale);
}

/// {s1 moves to 4 5 6, and 6 is lost}: the move gets another goal, and what was said of the first one counts no more.
#[test]
fn a_move_that_cannot_end_gets_another_goal_or_goes_back() {
    let mut shards = one();
    changed(&mut shards, &move_to(1, 1, &[4, 5, 6]));
    changed(&mut shards, &move_to(1, 1, &[4, 5, 7]));
    let stale = ShardError::Stale { fresh: fresh(&shards, 1) };
    assert_eq!(refused(&mut shards, &move_to(1, 1, &[4, 5, 6])), stale);
    assert_eq!(refused(&mut shards, &moved(1, 1, &[4, 5, 6])), stale);
    changed(&mut shards, &move_to(1, 2, &[1, 2, 3]));
    changed(&mut shards, &moved(1, 3, &[1, 2, 3]));
    let now = entry(&shards, 1);
    assert_eq!((now.members, now.config_version, now.phase), (voters(&[1, 2, 3]), 4, Phase::Whole));
    for nobody in [voters(&[]), voters(&[0])] {
        let command = Command::Move { shard: ShardId(1), config_version: 4, members: nobody };
        assert_eq!(refused(&mut shards, &command), ShardError::BadMembers);
    }
}

#[test]
fn one_thing_is_done_to_a_shard_at_a_time() {
    let begins = |shards: &Shards| {
        [
            begin_split(1, 2, "c", shards.map().next_shard().0),
            begin_merge(1, 2, 2, 2),
            move_to(1, 1, &[4, 5, 6]),
        ]
    };
    for first in 0..3 {
        let mut shards = cut_at(&["m"]);
        let command = begins(&shards)[first].clone();
        changed(&mut shards, &command);
        let busy = ShardError::Busy { fresh: fresh(&shards, 1) };
        for second in (0..3).filter(|second| *second != first) {
            let command = begins(&shards)[second].clone();
            assert_eq!(refused(&mut shards, &command), busy);
        }
        assert!(busy.to_string().contains("wait for that, or give it up"));
    }
}

// Bytes.

#[test]
fn a_map_that_is_no_partition_is_not_read() {
    let heads = |to: &mut Writer, version: u8, count: u64| {
        to.u8(version);
        to.varint(7);
        to.u8(1);
        to.varint(8);
        to.varint(4);
        to.varint(103);
        to.varint(count);
    };
    let read_all = |version: u8, entries: &[Entry], vacant: &[Vacancy]| {
        let mut to = Writer::new();
        heads(&mut to, version, entries.len() as u64);
        entries.iter().for_each(|entry| entry.encode(&mut to));
        to.varint(vacant.len() as u64);
        for vacancy in vacant {
            to.varint(u64::from(vacancy.shard.0));
            to.varint(vacancy.group.0);
            to.varint(vacancy.range_version);
            to.varint(vacancy.config_version);
            vacancy.members.encode(&mut to);
            to.u8(1);
        }
        ShardMap::decode(&to.finish())
    };
    let read = |version: u8, entries: &[Entry]| read_all(version, entries, &[]);
    let good = cut_at(&["g", "p"]).map().shards().to_vec();
    assert_eq!(read(2, &good).expect("ours").shards(), good);
    for version in [1, 3] {
        let value = version.into();
        let unknown = Err(DecodeError::Unknown { what: "version of a shard map", value });
        assert_eq!(read(version, &good), unknown);
    }
    let with = |at: usize, change: &dyn Fn(&mut Entry)| {
        let mut entries = good.clone();
        change(&mut entries[at]);
        entries
    };
    let splitting = |at: &str, child: u32, group: u64| Phase::Splitting {
        at: Token::from(at),
        child: ShardId(child),
        group: GroupId(group),
    };
    for (what, bad) in [
        ("nothing", vec![]),
        ("no beginning", good[1..].to_vec()),
        ("no end", good[..2].to_vec()),
        ("a hole", vec![good[0].clone(), good[2].clone()]),
        ("order", vec![good[1].clone(), good[0].clone(), good[2].clone()]),
        ("an overlap", with(0, &|entry| entry.to = Some(Token::from("h")))),
        ("an end before the beginning", with(1, &|entry| entry.to = Some(Token::from("a")))),
        ("a shard twice", with(1, &|entry| entry.shard = ShardId(1))),
        ("a shard that was never given", with(1, &|entry| entry.shard = ShardId(4))),
        ("shard 0", with(1, &|entry| entry.shard = ShardId(0))),
        ("a group twice", with(1, &|entry| entry.group = GroupId(1))),
        ("a group that was never given", with(1, &|entry| entry.group = GroupId(104))),
        ("no version", with(1, &|entry| entry.range_version = 0)),
        ("too high a version", with(1, &|entry| entry.config_version = u64::MAX)),
        ("nobody", with(1, &|entry| entry.members = Membership::default())),
        (
            "half a merge",
            with(1, &|entry| entry.phase = Phase::Merging { with: ShardId(1), survives: false }),
        ),
        ("a split outside", with(1, &|entry| entry.phase = splitting("p", 4, 103))),
        ("a child that is there", with(1, &|entry| entry.phase = splitting("h", 3, 103))),
        ("a child's group that is there", with(1, &|entry| entry.phase = splitting("h", 3, 1))),
    ] {
        assert!(read(2, &bad).is_err(), "{what}");
    }
    let vacant = |shard: u32, group: u64| Vacancy {
        shard: ShardId(shard),
        group: GroupId(group),
        range_version: 9,
        config_version: 1,
        members: good[0].members.clone(),
        engine: good[0].engine,
    };
    // Two shards, and the third one vacant.
    let merged = vec![good[0].clone(), Entry { to: None, ..good[1].clone() }];
    let of = |shards: &[Entry], all: &[Vacancy]| read_all(2, shards, all);
    let read_back = of(&merged, &[vacant(3, 103)]).expect("ours");
    assert_eq!(read_back.vacancies().collect::<Vec<_>>(), [&vacant(3, 103)]);
    let coming = |group| {
        let mut shards = merged.clone();
        shards[0].phase = splitting("c", 3, group);
        shards
    };
    assert!(of(&coming(103), &[vacant(3, 103)]).is_ok(), "it comes back as what it was");
    for (what, shards, bad) in [
        ("a vacant shard that is there", &merged, vec![vacant(2, 103)]),
        ("a vacant shard's group that is there", &merged, vec![vacant(3, 102)]),
        ("a vacant shard that was never given", &merged, vec![vacant(4, 103)]),
        ("a vacant shard's group that was never given", &merged, vec![vacant(3, 104)]),
        ("a vacant shard twice", &merged, vec![vacant(3, 103), vacant(3, 103)]),
        ("a vacant shard that comes back in another group", &coming(101), vec![vacant(3, 103)]),
        ("one that comes back in another's", &coming(102), vec![vacant(3, 103)]),
    ] {
        assert!(of(shards, &bad).is_err(), "{what}");
    }
    let members = Membership::new([NodeId(1), NodeId(2)], [NodeId(3)]);
    let learner = with(2, &|entry| entry.members = members.clone());
    assert_eq!(read(2, &learner).expect("a learner may be").shards(), learner);
    assert_eq!(
        Command::decode(&Bytes::from_static(&[2, 3, 8])).unwrap_err().to_string(),
        "unknown version of a shard command 2"
    );
}

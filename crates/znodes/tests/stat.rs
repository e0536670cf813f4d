//! The fields of a stat, as each operation leaves them (rule K10), and the numbers of sequential names (K7).

mod common;

use common::shell::{Shell, create, deleting, making, open, setting};
use quorate_consensus::{Epoch, Position, StateMachine};
use quorate_znodes::*;

const EPOCH: u64 = 1 << 32;

#[test]
fn z10_a_tree_is_born_as_zookeepers_is() {
    let view = Shell::new().tree.view();
    assert_eq!(view.get_children("/", &[]).unwrap().0, ["zookeeper"]);
    assert_eq!(view.get_children("/zookeeper", &[]).unwrap().0, ["config", "quota"]);
    assert_eq!(view.get_all_children_number("/", &[]), Ok(3));
    assert_eq!(
        view.get_all_children_number("", &[]),
        Ok(4),
        "the root by its other name is below none but itself"
    );
    assert_eq!(view.get_all_children_number("/zookeeper", &[]), Ok(2));
    let born = Stat { num_children: 1, cversion: -1, ..Stat::default() };
    assert_eq!(view.exists("/", &[]), Ok(born));
    assert_eq!(view.exists("/zookeeper", &[]), Ok(Stat { num_children: 2, cversion: -2, ..born }));
    assert_eq!(view.exists("/zookeeper/quota", &[]), Ok(Stat::default()));
    assert_eq!(view.exists("/zookeeper/config", &[]), Ok(Stat { aversion: -1, ..Stat::default() }));
    assert_eq!(view.get_acl("/zookeeper/config", &[]).unwrap().0, [Acl::world(Permissions::READ)]);
    assert_eq!(view.get_acl("/", &[]).unwrap().0, open());
    assert_eq!(view.get_data("/", &[]).unwrap().0, Some("".into()));
    assert_eq!((view.znode_count(), view.data_bytes()), (4, 44));
}

#[test]
fn k10_every_field_moves_when_zookeepers_does() {
    let mut shell = Shell::new(); // The session took 1.
    let reply = shell
        .ask(Operation::Create(Create { data: Some("abc".into()), ..create("/a", CreateMode::Persistent) }));
    let made = Stat {
        czxid: EPOCH | 2,
        mzxid: EPOCH | 2,
        pzxid: EPOCH | 2,
        ctime: 100,
        mtime: 100,
        data_length: 3,
        ..Stat::default()
    };
    assert_eq!(reply, Ok(OperationReply::Created { path: "/a".into(), stat: made }));

    shell.caller.time_ms = 200;
    let set = Stat { mzxid: EPOCH | 3, mtime: 200, version: 1, data_length: 5, ..made };
    assert_eq!(shell.ask(setting("/a", "12345", 0)), Ok(OperationReply::DataSet(set)));

    let acl = Operation::SetAcl { path: "/a".into(), acl: open(), version: 0 };
    let owned = Stat { aversion: 1, ..set };
    assert_eq!(shell.ask(acl), Ok(OperationReply::AclSet(owned)));

    shell.caller.time_ms = 300;
    shell.ask(making("/a/b")).unwrap();
    let parent = Stat { pzxid: EPOCH | 5, cversion: 1, num_children: 1, ..owned };
    assert_eq!(shell.stat("/a"), parent);

    // What happens in a child is nothing to its parent, and what happens to a grandchild nothing to its grandparent.
    shell.ask(setting("/a/b", "x", -1)).unwrap();
    shell.ask(making("/a/b/c")).unwrap();
    shell.ask(deleting("/a/b/c", -1)).unwrap();
    assert_eq!(shell.stat("/a"), parent);

    shell.ask(deleting("/a/b", -1)).unwrap();
    assert_eq!(shell.stat("/a"), Stat { pzxid: EPOCH | 9, cversion: 2, num_children: 0, ..owned });
    assert_eq!(shell.tree.view().exists("/a", &[]), Ok(shell.stat("/a")));
}

#[test]
fn k10_only_an_ephemeral_shows_an_owner() {
    let mut shell = Shell::new();
    for mode in 0..=6 {
        let mode = CreateMode::from_flags(mode).unwrap();
        let path = shell.make(&format!("/{mode:?}"), mode).unwrap();
        let ephemeral = matches!(mode, CreateMode::Ephemeral | CreateMode::EphemeralSequential);
        assert_eq!(shell.stat(&path).ephemeral_owner, SessionId(if ephemeral { 1 } else { 0 }), "{mode:?}");
    }
}

#[test]
fn k10_nothing_and_no_bytes_are_told_apart() {
    let mut shell = Shell::new();
    shell.ask(Operation::Create(Create { data: None, ..create("/null", CreateMode::Persistent) })).unwrap();
    shell.ask(making("/empty")).unwrap();
    for (path, data) in [("/null", None), ("/empty", Some("".into()))] {
        assert_eq!(shell.tree.view().get_data(path, &[]).unwrap().0, data);
        assert_eq!(shell.stat(path).data_length, 0);
    }
    let restored = shell.restored();
    assert_eq!(restored.view().get_data("/null", &[]).unwrap().0, None);
}

#[test]
fn k7_sequential_names_count_all_children_ever_created() {
    let mut shell = Shell::new();
    shell.ask(making("/q")).unwrap();
    let mut next = |mode| shell.make("/q/n-", mode).unwrap();
    assert_eq!(next(CreateMode::PersistentSequential), "/q/n-0000000000");
    assert_eq!(next(CreateMode::EphemeralSequential), "/q/n-0000000001");
    assert_eq!(next(CreateMode::TtlSequential), "/q/n-0000000002");
    shell.ask(making("/q/other")).unwrap();
    shell.ask(deleting("/q/n-0000000002", -1)).unwrap();
    assert_eq!(shell.make("/q/m-", CreateMode::PersistentSequential), Ok("/q/m-0000000004".into()));
    // A name that somebody took before is in the way, and the number is not used up.
    shell.ask(making("/q/n-0000000006")).unwrap();
    let taken = shell.make("/q/n-", CreateMode::PersistentSequential);
    assert_eq!(taken, Err(ZnodeError::NodeExists));
    assert_eq!(shell.make("/q/o-", CreateMode::PersistentSequential), Ok("/q/o-0000000006".into()));
    let mut restored = Shell { tree: shell.restored(), ..shell };
    assert_eq!(restored.make("/q/n-", CreateMode::PersistentSequential), Ok("/q/n-0000000007".into()));
}

#[test]
fn z01_a_new_epoch_begins_its_zxids_anew() {
    let mut shell = Shell::new();
    let command = Command::Operation(shell.caller.clone(), making("/a"));
    let placed = shell.tree.apply(Position::new(7, 9), &command.encode());
    assert_eq!(placed.response.zxid, 7 << 32 | 1);
    assert_eq!(shell.tree.number(), 7 << 32 | 1);
}

#[test]
fn z01_a_full_counter_is_said_before_it_overflows() {
    let mut shell = Shell::new();
    let command = Command::Operation(shell.caller.clone(), making("/a"));
    let effect = shell.tree.evaluate(Position::new(1, 9), &command.encode());
    shell.tree.place(effect, EPOCH | 0xffff_fffd);
    assert_eq!(shell.tree.next_zxid(Epoch(1)), Some(EPOCH | 0xffff_fffe));
    assert!(shell.ask(making("/b")).is_ok());
    assert_eq!(shell.tree.next_zxid(Epoch(1)), None);
    assert_eq!(shell.tree.next_zxid(Epoch(2)), Some(2 << 32 | 1));
}

#[test]
fn z01_in_a_full_epoch_changes_are_refused_on_every_replica_and_change_nothing() {
    let mut shell = Shell::new();
    let command = Command::Operation(shell.caller.clone(), making("/a"));
    let effect = shell.tree.evaluate(Position::new(1, 9), &command.encode());
    shell.tree.place(effect, EPOCH | 0xffff_fffe);
    let (digest, zxid) = (shell.tree.digest(), shell.tree.number());
    for operation in [making("/b"), deleting("/a", -1), setting("/a", "x", -1)] {
        assert_eq!(shell.ask(operation), Err(ZnodeError::EpochFull));
    }
    assert_eq!(shell.session(2), Err(ZnodeError::EpochFull));
    // Its turn stays: what the client sent behind it is not done without it.
    shell.caller.sequence = Some(0);
    assert_eq!(shell.ask(making("/b")), Err(ZnodeError::EpochFull));
    shell.caller.sequence = Some(1);
    assert_eq!(shell.ask(making("/c")), Err(ZnodeError::OutOfOrder));
    shell.caller.sequence = None;
    // What takes no zxid is answered as ever, and what is wrong is told so.
    assert_eq!(shell.ask(making("/a")), Err(ZnodeError::NodeExists));
    let reattach =
        Reattach { session: SessionId(1), owner: 1, timeout_ms: 4000, password: Password([1; 16]) };
    assert!(shell.apply(&Command::Reattach(reattach)).result.is_ok());
    assert_eq!((shell.tree.digest(), shell.tree.number()), (digest, zxid));
    let mut restored = shell.restored();
    let again = Command::Operation(shell.caller.clone(), making("/b")).encode();
    let refused = restored.apply(Position::new(1, 20), &again);
    assert_eq!((refused.response.result, refused.response.zxid), (Err(ZnodeError::EpochFull), zxid));
    // The next epoch takes it; and the last epoch of all is not the end of the replica.
    assert_eq!(restored.apply(Position::new(2, 21), &again).response.zxid, 2 << 32 | 1);
    for epoch in [1 << 31, 1 << 32, u64::MAX] {
        let placed = restored.apply(Position::new(epoch, 22), &command.encode());
        assert_eq!(placed.response.result, Err(ZnodeError::NodeExists));
        assert_eq!(restored.next_zxid(Epoch(epoch)), None);
    }
}

#[test]
#[should_panic(expected = "a zxid that cannot be the next one")]
fn z01_zxids_rise() {
    let mut shell = Shell::new();
    let command = Command::Operation(shell.caller.clone(), making("/a"));
    let effect = shell.tree.evaluate(Position::new(1, 5), &command.encode());
    shell.tree.place(effect, EPOCH | 1);
}

//! Quotas (rule Z10): what is counted, and what is refused.

mod common;

use common::shell::{Shell, create, deleting, making, setting};
use quorate_consensus::StateMachine;
use quorate_znodes::*;

fn put(shell: &mut Shell, path: &str, data: &'static str) -> Result<OperationReply, ZnodeError> {
    shell.ask(Operation::Create(Create { data: Some(data.into()), ..create(path, CreateMode::Persistent) }))
}

/// `/a` with data of 3 bytes and a child of 2, and a quota on it.
fn limited(limits: &'static str) -> Shell {
    let mut shell = Shell::new();
    put(&mut shell, "/a", "123").unwrap();
    put(&mut shell, "/a/x", "12").unwrap();
    shell.ask(making("/zookeeper/quota/a")).unwrap();
    put(&mut shell, "/zookeeper/quota/a/zookeeper_limits", limits).unwrap();
    put(&mut shell, "/zookeeper/quota/a/zookeeper_stats", "count=0,bytes=0").unwrap();
    shell
}

fn stats(shell: &Shell) -> String {
    let (data, _) = shell.tree.view().get_data("/zookeeper/quota/a/zookeeper_stats", &[]).unwrap();
    String::from_utf8(data.unwrap().to_vec()).unwrap()
}

#[test]
fn z10_a_quota_counts_what_is_there_and_what_comes_and_goes() {
    let mut shell = limited("count=3,bytes=20");
    assert_eq!(stats(&shell), "count=2,bytes=5");
    let before = shell.stat("/zookeeper/quota/a/zookeeper_stats");
    put(&mut shell, "/a/y", "1234").unwrap();
    assert_eq!(shell.told(), ["Created /a/y", "ChildrenChanged /a"], "nobody wrote the stats");
    assert_eq!(stats(&shell), "count=3,bytes=9");
    shell.ask(setting("/a/y", "1", -1)).unwrap();
    shell.ask(deleting("/a/x", -1)).unwrap();
    assert_eq!(stats(&shell), "count=2,bytes=4");
    shell.make("/a/e", CreateMode::Ephemeral).unwrap();
    shell.multi(vec![making("/a/m"), making("/a/m/n")]).unwrap();
    assert_eq!(stats(&shell), "count=5,bytes=4");
    shell.close(1).unwrap();
    assert_eq!(stats(&shell), "count=4,bytes=4");
    let after = shell.stat("/zookeeper/quota/a/zookeeper_stats");
    assert_eq!(Stat { data_length: before.data_length, ..after }, before);
    let quota = shell.tree.view().quota("/a/m/n").unwrap();
    assert_eq!((quota.path.as_str(), quota.count_soft, quota.bytes_soft), ("/a", 3, 20));
    assert_eq!((quota.count_hard, quota.bytes_hard, quota.count_used, quota.bytes_used), (-1, -1, 4, 4));
    assert_eq!(shell.tree.view().quota("/b"), None);
    assert_eq!(shell.restored().view().quota("/a").unwrap(), shell.tree.view().quota("/a").unwrap());
}

#[test]
fn z10_soft_limits_refuse_nothing_and_hard_ones_only_if_they_are_enforced() {
    let mut shell = limited("count=1,bytes=1");
    shell.caller.enforce_quota = true;
    put(&mut shell, "/a/y", "1234").unwrap();

    let mut shell = limited("count=-1,bytes=-1=;byteHardLimit=7;countHardLimit=3");
    put(&mut shell, "/a/y", "").unwrap();
    assert_eq!(stats(&shell), "count=3,bytes=5");
    shell.caller.enforce_quota = true;
    assert_eq!(put(&mut shell, "/a/z", ""), Err(ZnodeError::QuotaExceeded));
    assert_eq!(shell.ask(setting("/a/y", "123", -1)), Err(ZnodeError::QuotaExceeded));
    assert_eq!(shell.ask(setting("/a/y", "123", 99)), Err(ZnodeError::QuotaExceeded), "before the version");
    assert!(shell.ask(setting("/a/y", "12", -1)).is_ok());
    assert!(shell.ask(setting("/a/x", "1", -1)).is_ok());
    assert!(put(&mut shell, "/b", "123456789").is_ok(), "elsewhere there is no quota");
    shell.ask(deleting("/a/x", -1)).unwrap();
    let two = vec![making("/a/1"), making("/a/2")];
    let reply = shell.multi(two);
    assert!(matches!(
        reply,
        Ok(Reply::MultiFailed(MultiFailure { at: 1, error: ZnodeError::QuotaExceeded, .. }))
    ));
    shell.caller.enforce_quota = false;
    assert!(put(&mut shell, "/a/z", "123456789").is_ok());
}

#[test]
fn z10_the_deepest_quota_counts_and_a_deleted_one_no_more() {
    let mut shell = limited("count=9,bytes=9");
    shell.ask(making("/zookeeper/quota/a/x")).unwrap();
    put(&mut shell, "/zookeeper/quota/a/x/zookeeper_limits", "count=5").unwrap();
    put(&mut shell, "/zookeeper/quota/a/x/zookeeper_stats", "").unwrap();
    let path = |shell: &Shell, of: &str| shell.tree.view().quota(of).map(|quota| quota.path);
    assert_eq!((path(&shell, "/a/x/y"), path(&shell, "/a/y")), (Some("/a/x".into()), Some("/a".into())));
    put(&mut shell, "/a/x/y", "1").unwrap();
    assert_eq!(stats(&shell), "count=2,bytes=5");
    shell.ask(deleting("/zookeeper/quota/a/zookeeper_limits", -1)).unwrap();
    assert_eq!((path(&shell, "/a/x/y"), path(&shell, "/a/y")), (Some("/a/x".into()), None));
    put(&mut shell, "/a/z", "1").unwrap();
    assert_eq!(stats(&shell), "count=2,bytes=5");
    shell.ask(deleting("/zookeeper/quota/a/x/zookeeper_limits", -1)).unwrap();
    assert_eq!(path(&shell, "/a/x/y"), None);
}

#[test]
fn z10_what_is_no_quota_is_refused_where_quotas_stand() {
    let mut shell = limited("count=1");
    shell.ask(making("/zookeeper/quota/b")).unwrap();
    for (path, data) in [
        ("/zookeeper/quota/b/zookeeper_limits", "many"),
        ("/zookeeper/quota/b/zookeeper_stats", "count=x"),
        ("/zookeeper/quota/zookeeper_limits", "count=1"),
    ] {
        assert_eq!(put(&mut shell, path, data), Err(ZnodeError::BadArguments), "{path}");
    }
    let path = "/zookeeper/quota/a/zookeeper_limits";
    assert_eq!(shell.ask(setting(path, "x", 99)), Err(ZnodeError::BadArguments), "before the version");
    assert!(shell.ask(setting(path, "count=7,bytes=-1", -1)).is_ok());
    assert_eq!(shell.tree.view().quota("/a").unwrap().count_soft, 7);
}

//! In the place of an etcd: its flags and variables, its versions, and a backup from which another cluster begins.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use support::{
    Folder, free_ports,
    process::{Member, QUORATE, ask, run, start},
};

#[test]
fn etcds_flags_variables_and_name_start_a_member() {
    let folder = Folder::new("etcd-flags");
    let [client, peer] = free_ports();
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let etcd = folder.0.join("etcd");
    std::os::unix::fs::symlink(QUORATE, &etcd).expect("a link");
    let version = Command::new(&etcd).arg("--version").output().expect("it starts");
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("etcd Version: 3.6.6\n"));
    let mut member = start(
        Command::new(&etcd)
            .args(["--name=solo", "-listen-client-urls", &client, "--advertise-client-urls", &client])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
                "--snapshot-count",
                "5",
            ])
            .env("ETCD_DATA_DIR", folder.0.join("data"))
            .env("ETCD_INITIAL_CLUSTER", format!("solo={peer}"))
            .stderr(Stdio::null()),
    );
    member.wait_until_it_serves();
    assert_eq!(ask(&["put", "a", "1", "--endpoints", &client]), "OK\n");
    let unknown = Command::new(&etcd).arg("--no-such-flag").output().expect("it starts");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("flag provided but not defined: -no-such-flag")
    );
}

/// What every member of a cluster of three is told, but for what is its own.
fn options(
    number: usize,
    folder: &Path,
    token: &str,
    engine: &str,
    clients: [u16; 3],
    peers: [u16; 3],
) -> Vec<String> {
    let url = |n: usize| format!("n{n}=http://127.0.0.1:{}", peers[n]);
    vec![
        format!("--name=n{number}"),
        format!("--listen-client=127.0.0.1:{}", clients[number]),
        format!("--listen-peer=127.0.0.1:{}", peers[number]),
        format!("--initial-cluster={}", [url(0), url(1), url(2)].join(",")),
        format!("--initial-cluster-token={token}"),
        format!("--keys-engine={engine}"),
        format!("--data-dir={}", folder.join(format!("{token}-{number}")).display()),
    ]
}

#[test]
fn a_new_cluster_begins_with_a_backup_on_either_engine() {
    for engine in ["raft", "zab"] {
        let folder = Folder::new(&format!("etcd-backup-{engine}"));
        let (clients, peers) = (free_ports(), free_ports());
        let told = |number, token| options(number, &folder.0, token, engine, clients, peers);
        let serve = |token| {
            let mut members = [0, 1, 2].map(|n| {
                start(Command::new(QUORATE).arg("serve").args(told(n, token)).stderr(Stdio::null()))
            });
            members.iter_mut().for_each(Member::wait_until_it_serves);
            members
        };
        let at = clients.map(|port| format!("127.0.0.1:{port}"));
        let all = at.join(",");
        let before = serve("before");
        for key in 0..30 {
            ask(&["put", &format!("k{key}"), "old", "--endpoints", &at[key % 3]]);
        }
        // A backup is of what its member has: by then that is all.
        ask(&["get", "k29", "--endpoints", &at[1]]);
        let file = folder.0.join("backup").display().to_string();
        assert!(ask(&["snapshot", "save", &file, "--endpoints", &at[1]]).starts_with("revision 31,"));
        ask(&["put", "k1", "lost", "--endpoints", &all]);
        drop(before);

        for number in 0..3 {
            let mut words = vec!["snapshot", "restore", &file, "--bump-revision", "1000", "--mark-compacted"];
            let told = told(number, "after");
            words.extend(told.iter().map(String::as_str));
            assert!(ask(&words).starts_with("restored 30 keys"));
            assert_eq!(run(&words).status.code(), Some(1), "not a second time");
        }
        let after = serve("after");
        for endpoint in &at {
            assert_eq!(ask(&["get", "k1", "--endpoints", endpoint]), "k1\nold\n");
        }
        assert!(!run(&["get", "k1", "--rev", "20", "--endpoints", &all]).status.success(), "it is compacted");
        ask(&["put", "k1", "new", "--endpoints", &all]);
        drop(after);
        let _again = serve("after");
        assert_eq!(ask(&["get", "k1", "--endpoints", &at[2]]), "k1\nnew\n");

        std::fs::write(&file, b"something else").expect("it is written");
        let refused = run(&["snapshot", "status", &file]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("no backup of quorate's keys"));
    }
}

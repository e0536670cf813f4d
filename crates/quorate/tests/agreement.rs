//! A member whose keys are not what the others have does not serve them, and the cluster says so.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use support::{
    Folder, free_ports,
    process::{Member, QUORATE, ask, run, start},
};

#[test]
fn a_member_that_starts_with_other_keys_ends_and_the_cluster_refuses_writes_until_it_is_told_otherwise() {
    let folder = Folder::new("agreement");
    let (clients, peers) = (free_ports::<3>(), free_ports::<3>());
    // Two histories of one length, which differ in one value. What a member says of itself takes places in the log
    // as well, sooner or later: each is saved at every length, and one is taken that both have had.
    let saved = ["right", "wrong"].map(|value| {
        let data = folder.0.join(format!("alone-{value}"));
        let mut alone = start(
            Command::new(QUORATE)
                .args(["serve", "--log-level=error", "--name=alone"])
                .arg(format!("--listen-client=127.0.0.1:{}", clients[0]))
                .arg(format!("--listen-peer=127.0.0.1:{}", peers[0]))
                .arg(format!("--data-dir={}", data.display())),
        );
        alone.wait_until_it_serves();
        let at = format!("127.0.0.1:{}", clients[0]);
        let mut files = BTreeMap::new();
        while files.last_key_value().is_none_or(|(length, _)| *length < 16) {
            let file = folder.0.join(format!("{value}-{}", files.len())).display().to_string();
            ask(&["put", "k", value, "--endpoints", &at]);
            let saved = ask(&["snapshot", "save", &file, "--endpoints", &at]);
            let length = saved.trim_end().rsplit_once(' ').expect("an index").1;
            files.insert(length.parse::<u64>().expect("an index"), file);
        }
        files
    });
    let length =
        saved[0].keys().rev().find(|length| saved[1].contains_key(length)).expect("a length of both");
    let files = saved.each_ref().map(|saved| saved[length].clone());

    let url = |n: usize| format!("n{n}=http://127.0.0.1:{}", peers[n]);
    let told = |number: usize| {
        vec![
            format!("--name=n{number}"),
            format!("--listen-client=127.0.0.1:{}", clients[number]),
            format!("--listen-peer=127.0.0.1:{}", peers[number]),
            format!("--initial-cluster={}", [url(0), url(1), url(2)].join(",")),
            format!("--data-dir={}", folder.0.join(format!("data-{number}")).display()),
            "--log-level=error".to_owned(),
        ]
    };
    for number in 0..3 {
        let told = told(number);
        let mut words = vec!["snapshot", "restore", &files[usize::from(number == 2)]];
        words.extend(told.iter().map(String::as_str));
        ask(&words);
    }
    let mut members =
        [0, 1, 2].map(|n| start(Command::new(QUORATE).arg("serve").args(told(n)).stderr(Stdio::piped())));
    let deadline = Instant::now() + Duration::from_secs(60);
    let ended = loop {
        if let Some(ended) = members[2].0.try_wait().expect("it can be asked") {
            break ended;
        }
        assert!(Instant::now() < deadline, "it goes on");
        sleep(Duration::from_millis(50));
    };
    let mut said = String::new();
    std::io::Read::read_to_string(&mut members[2].0.stderr.take().expect("piped"), &mut said).expect("text");
    assert!(ended.code() == Some(1) && said.contains("is not what a majority has"), "{said}");
    let at = [0, 1].map(|n| format!("127.0.0.1:{}", clients[n])).join(",");
    members[..2].iter_mut().for_each(Member::wait_until_it_serves);
    assert_eq!(ask(&["get", "k", "--endpoints", &at]), "k\nright\n");
    let refused = loop {
        let put = run(&["put", "k", "new", "--endpoints", &at, "--timeout", "30s"]);
        if !put.status.success() {
            break String::from_utf8_lossy(&put.stderr).into_owned();
        }
        assert!(Instant::now() < deadline, "nothing is refused");
        sleep(Duration::from_millis(50));
    };
    assert!(refused.contains("corrupt cluster"), "{refused}");
}

//! Members that come to a cluster that runs, take places in it, and go.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test starts processes and has deadlines"
)]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use support::{
    dev::{Dev, Killed, eventually, free_address, ok, run},
    process::QUORATE,
};

#[test]
fn a_member_is_added_joins_votes_and_is_removed() {
    comes_and_goes("3");
}

/// The joint membership of a change from two voters to one needs the one that leaves until it is committed.
#[test]
fn a_second_member_comes_and_goes() {
    comes_and_goes("1");
}

/// A member that is added to a cluster that runs.
struct Late {
    name: &'static str,
    client: String,
    peer: String,
    folder: std::path::PathBuf,
    all: String,
}

impl Late {
    fn new(name: &'static str, all: &str) -> Late {
        let (client, peer) = (free_address(), free_address());
        let folder = std::env::temp_dir().join(format!("quorate-join-test-{}-{peer}", std::process::id()));
        Late { name, client, peer, folder, all: all.to_owned() }
    }

    /// Adds it as a learner, through these endpoints.
    fn add(name: &'static str, all: &str) -> Late {
        let late = Late::new(name, all);
        let url = format!("http://{}", late.peer);
        // In its very first moments a cluster has no records yet, and says so.
        eventually("it is added", || {
            let output = run(&["member", "add", name, "--peer-urls", &url, "--learner", "--endpoints", all]);
            String::from_utf8_lossy(&output.stdout).contains("--join=")
        });
        late
    }

    fn serve(&self) -> Killed {
        self.serve_with(&[])
    }

    fn serve_with(&self, options: &[&str]) -> Killed {
        Command::new(QUORATE)
            .args(["serve", "--initial-cluster-state=existing", "--log-level=error"])
            .args(options)
            .arg(format!("--name={}", self.name))
            .arg(format!("--join={}", self.all))
            .arg(format!("--listen-client={}", self.client))
            .arg(format!("--listen-peer={}", self.peer))
            .arg(format!("--data-dir={}", self.folder.display()))
            .stdout(Stdio::piped())
            .spawn()
            .map(Killed)
            .expect("it starts")
    }

    fn ready(&self, member: &mut Killed) {
        let mut ready = String::new();
        BufReader::new(member.0.stdout.take().expect("piped"))
            .read_line(&mut ready)
            .expect("it says that it is ready");
        assert!(ready.starts_with(&format!("ready: {} serves etcd clients on ", self.name)), "{ready}");
    }

    fn promote(&self) {
        eventually("it is promoted", || {
            run(&["member", "promote", self.name, "--endpoints", &self.all]).status.success()
        });
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn comes_and_goes(nodes: &str) {
    let dev = Dev::start(&["--nodes", nodes]);
    let all = dev.all();
    ok(&["put", "before", "it came", "--endpoints", &all]);
    let late = Late::add(if nodes == "1" { "second" } else { "fourth" }, &all);
    let mut member = late.serve();
    late.ready(&mut member);
    eventually("the learner has what was there before", || {
        let output = run(&["get", "before", "--serializable", "--endpoints", &late.client]);
        output.stdout == b"before\nit came\n"
    });
    late.promote();
    assert_eq!(ok(&["get", "before", "--endpoints", &late.client, "--timeout", "30s"]), "before\nit came\n");
    eventually("it is removed", || {
        run(&["member", "remove", late.name, "--endpoints", &all]).status.success()
    });
    assert_eq!(member.0.wait().expect("it ends").code(), Some(1), "a removed member stops");
    let list = ok(&["member", "list", "--endpoints", &all]);
    assert_eq!(list.lines().count(), 1 + dev.endpoints.len(), "{list}");
}

/// The first learner has itself promoted; the second takes its place by one command, which is told of nothing in between.
#[test]
fn a_learner_votes_by_itself_and_another_takes_its_place_in_one_step() {
    let dev = Dev::start(&["--nodes", "1"]);
    let all = dev.all();
    ok(&["put", "before", "they came", "--endpoints", &all]);
    let first = Late::add("first", &all);
    let mut member = first.serve_with(&["--auto-promote"]);
    first.ready(&mut member);
    let voters = || ok(&["member", "list", "--endpoints", &all]).matches(" voter ").count();
    eventually("it votes, and nobody promoted it", || voters() == 2);

    let second = Late::new("second", &all);
    let url = format!("http://{}", second.peer);
    let mut replace = Command::new(QUORATE)
        .args([
            "member",
            "replace",
            "first",
            "second",
            "--peer-urls",
            &url,
            "--wait",
            "60s",
            "--endpoints",
            &all,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)
        .expect("it runs");
    let mut said = BufReader::new(replace.0.stdout.take().expect("piped"));
    let mut lines = String::new();
    while !lines.contains("quorate serve --name=second") {
        assert!(said.read_line(&mut lines).expect("it says how") > 0, "{lines}");
    }
    let mut newcomer = second.serve();
    second.ready(&mut newcomer);
    said.read_to_string(&mut lines).expect("it says the rest");
    assert!(replace.0.wait().expect("it ends").success(), "{lines}");
    assert!(lines.contains("votes from now on") && lines.contains("2 members are left"), "{lines}");
    assert_eq!(member.0.wait().expect("it ends").code(), Some(1), "a removed member stops");
    assert_eq!(voters(), 2);
    assert_eq!(
        ok(&["get", "before", "--endpoints", &second.client, "--timeout", "30s"]),
        "before\nthey came\n"
    );
    // Where another member is, nobody can come.
    let there = ok(&["member", "list", "--endpoints", &all]);
    let founder = there.lines().find(|line| line.contains(" n1 ")).expect("the founder");
    let taken = founder.split_whitespace().find(|word| word.starts_with("http://")).expect("its peer URL");
    let refused = run(&["member", "replace", "second", "third", "--peer-urls", taken, "--endpoints", &all]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(voters(), 2);
    // Once more changes nothing but to say so.
    let again = run(&["member", "replace", "first", "second", "--peer-urls", &url, "--endpoints", &all]);
    assert_eq!(again.status.code(), Some(1), "there is no first any more");
}

/// {One founder, two members that joined; the power fails for all, and the founder never comes back}: the two find each other by what each has kept, although
/// no configuration names the other and there is nobody to ask.
#[test]
fn members_that_joined_find_each_other_without_a_founder() {
    let dev = Dev::start(&["--nodes", "1"]);
    let all = dev.all();
    ok(&["put", "before", "the power failed", "--endpoints", &all]);
    let late = ["two", "three"].map(|name| {
        let late = Late::add(name, &all);
        let mut member = late.serve();
        late.ready(&mut member);
        late.promote();
        (late, member)
    });
    let [(two, first), (three, second)] = late;
    eventually("each has kept where the other is", || {
        let knows = |who: &Late, whom: &Late| {
            std::fs::read_to_string(who.folder.join("peers")).is_ok_and(|book| book.contains(&whom.peer))
        };
        knows(&two, &three) && knows(&three, &two)
    });
    drop((dev, first, second));
    let (mut first, mut second) = (two.serve(), three.serve());
    two.ready(&mut first);
    three.ready(&mut second);
    let value = ok(&["get", "before", "--endpoints", &three.client, "--timeout", "30s"]);
    assert_eq!(value, "before\nthe power failed\n");
}

//! Stories as scripts: `traces/*.txt` are read line by line, every `expect` is checked. With `REGENERATE=1` in the environment the expected values
//! are written anew, to be read in the diff.
//!
//! ```text
//! start 1 2 3            voters at birth            learner 4           a node that will be told its membership
//! counter 5, bytes 1     before start               timeout 1           node 1's timer fires
//! deliver 1->2 3->4      what waits there           drop 1->2           loses it
//! settle                 until nobody speaks        wait 500            milliseconds pass, all timers run
//! partition 1 2 | 3 4 5  heal                       crash 1, restart 1, slow 1, fast 1, sync 1, snapshot 1
//! propose 1 x            read 2                     transfer 1 3        unreachable 1 3     the connection to 3 closed
//! change 1 learner 4     voter 4, promote 4, remove 3, replace 3 4, set 1 2 4
//! because 1 snap         node 1 gave this reason since the last `because`, of whichever node
//! expect 1: role leader, epoch 2, commit 3, last 2.3, leader 1, log 1: 1:x, voters 1 2 3, reads 3, refused ...
//! ```
#![allow(clippy::disallowed_methods, reason = "tests may ask whether to regenerate")]

mod support;

use quorate_consensus::{Input, MembershipChange, NodeId};
use quorate_zab::Config;
use support::{Cluster, Disk, birth};

struct Script {
    config: Config,
    cluster: Option<Cluster>,
}

fn numbers(words: &[&str]) -> Vec<u64> {
    words.iter().map(|word| word.parse().unwrap_or_else(|_| panic!("{word} is no node"))).collect()
}

impl Script {
    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("start comes first")
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (command, rest) = words.split_first().expect("a command");
        if *command == "counter" {
            self.config.counter_max = numbers(rest)[0];
            return;
        }
        if *command == "bytes" {
            self.config.message_bytes_max = numbers(rest)[0];
            return;
        }
        if *command == "start" {
            self.cluster = Some(Cluster::with(self.config.clone(), &numbers(rest)));
            return;
        }
        let arrows = || rest.iter().map(|word| word.split_once("->").expect("from->to")).collect::<Vec<_>>();
        let node = |at: usize| rest[at].parse::<u64>().expect("a node");
        let cluster = self.cluster();
        match *command {
            "learner" => cluster.boot(node(0), Disk { hard: None, snapshot: birth(&[]), log: Vec::new() }),
            "timeout" => cluster.timeout(node(0)),
            "deliver" => {
                for (from, to) in arrows() {
                    cluster.deliver(from.parse().expect("a node"), to.parse().expect("a node"));
                }
            }
            "drop" => {
                for (from, to) in arrows() {
                    cluster.drop(from.parse().expect("a node"), to.parse().expect("a node"));
                }
            }
            "settle" => cluster.settle(),
            "wait" => cluster.wait(node(0)),
            "partition" => {
                let sides: Vec<Vec<u64>> = rest.split(|word| *word == "|").map(numbers).collect();
                cluster.partition(&sides);
            }
            "heal" => cluster.cut.clear(),
            "crash" => cluster.crash(node(0)),
            "restart" => cluster.restart(node(0)),
            "slow" => cluster.nodes.get_mut(&NodeId(node(0))).expect("a node").slow = true,
            "fast" => {
                cluster.nodes.get_mut(&NodeId(node(0))).expect("a node").slow = false;
                cluster.sync(node(0));
            }
            "sync" => cluster.sync(node(0)),
            "unreachable" => cluster.step(node(0), Input::PeerUnreachable { peer: NodeId(node(1)) }),
            "because" => {
                assert!(cluster.gave(node(0), rest[1]), "node {} gave no reason {}", rest[0], rest[1]);
                cluster.reasons.clear();
            }
            "snapshot" => cluster.snapshot(node(0)),
            "propose" => {
                cluster.propose(node(0), rest[1]);
            }
            "read" => {
                cluster.read(node(0));
            }
            "transfer" => cluster.step(node(0), Input::TransferLeadership { to: Some(NodeId(node(1))) }),
            "change" => {
                let nodes: Vec<NodeId> = numbers(&rest[2..]).into_iter().map(NodeId).collect();
                let change = match rest[1] {
                    "learner" => MembershipChange::AddLearner(nodes[0]),
                    "voter" => MembershipChange::AddVoter(nodes[0]),
                    "promote" => MembershipChange::Promote(nodes[0]),
                    "remove" => MembershipChange::Remove(nodes[0]),
                    "replace" => MembershipChange::Replace { old: nodes[0], new: nodes[1] },
                    "set" => MembershipChange::Set { voters: nodes, learners: Vec::new() },
                    other => panic!("unknown change {other}"),
                };
                cluster.change(node(0), change);
            }
            other => panic!("unknown command {other}"),
        }
    }

    /// The present value of a key of `expect`.
    fn value(&mut self, id: u64, key: &str) -> String {
        let cluster = self.cluster();
        let status = cluster.status(id);
        let list = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match key {
            "role" => format!("{:?}", status.role).to_lowercase(),
            "epoch" => status.epoch.to_string(),
            "commit" => status.commit.to_string(),
            "last" => status.last.to_string(),
            "compacted" => status.compacted.to_string(),
            "leader" => status.leader.map_or("none".into(), |leader| leader.to_string()),
            "log" => cluster.log(id).join(" "),
            "voters" => list(status.membership.voters()),
            "outgoing" => list(status.membership.outgoing()),
            "learners" => list(status.membership.learners()),
            "accepted" => cluster.answers.accepted.len().to_string(),
            "refused" => cluster
                .answers
                .refused
                .values()
                .last()
                .map_or("none".into(), |refusal| refusal.to_string().replace(',', ";")),
            "reads" => cluster.answers.safe.values().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            other => panic!("unknown key {other}"),
        }
    }

    fn expect(&mut self, line: &str, regenerate: bool) -> String {
        let (who, what) =
            line.strip_prefix("expect ").and_then(|rest| rest.split_once(": ")).expect("expect NODE: …");
        let id: u64 = who.trim().parse().expect("a node");
        let mut shown = Vec::new();
        for part in what.split(", ") {
            let (key, wanted) = part.split_once(' ').unwrap_or((part, ""));
            let value = self.value(id, key);
            if !regenerate {
                assert_eq!(value, wanted, "node {id}: {key}");
            }
            shown.push(format!("{key} {value}").trim_end().to_owned());
        }
        format!("expect {id}: {}", shown.join(", "))
    }
}

fn tell(path: &std::path::Path, regenerate: bool) {
    let text = std::fs::read_to_string(path).expect("a trace");
    let mut script = Script { config: Config::default(), cluster: None };
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        println!("{}:{}: {line}", path.display(), number + 1);
        if line.is_empty() || line.starts_with('#') {
            lines.push(line.to_owned());
        } else if line.starts_with("expect ") {
            lines.push(script.expect(line, regenerate));
        } else {
            script.run(line);
            lines.push(line.to_owned());
        }
    }
    if regenerate {
        std::fs::write(path, lines.join("\n") + "\n").expect("the trace is written");
    }
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traces");

#[test]
fn every_trace_tells_what_happens() {
    let regenerate = std::env::var("REGENERATE").is_ok_and(|value| value == "1");
    let files = std::fs::read_dir(FOLDER).expect("tests/traces");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "txt"));
    paths.sort();
    assert!(paths.len() >= 10, "where are the traces?");
    for path in paths {
        tell(&path, regenerate);
    }
}

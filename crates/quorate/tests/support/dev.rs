//! `quorate dev`, driven: a cluster of processes, and what is asked of it.

use std::{
    process::{Child, Command, Output, Stdio},
    sync::mpsc::Receiver,
    thread,
    time::{Duration, Instant},
};

use super::process::{QUORATE, lines_of};

/// Far beyond what anything here takes; only a test that fails waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// `quorate dev`, and what it says.
pub(crate) struct Dev {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
    pub(crate) seen: Vec<String>,
    pub(crate) endpoints: Vec<String>,
}

impl Dev {
    pub(crate) fn start(arguments: &[&str]) -> Dev {
        let mut child = Command::new(QUORATE)
            .args(["dev", "--free-ports"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let lines = lines_of(&mut child);
        let mut dev = Dev { child, lines, seen: Vec::new(), endpoints: Vec::new() };
        let first = dev.until("etcd endpoints: ");
        dev.endpoints = first["etcd endpoints: ".len()..].split(',').map(str::to_string).collect();
        dev.until("Ctrl-C");
        dev
    }

    /// The next line that has `part` in it.
    pub(crate) fn until(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| {
                panic!("no line with {part:?} came; dev said:\n{}", self.seen.join("\n"))
            });
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Name and process of each node, and which leads, from the table that was printed.
    pub(crate) fn nodes(&self) -> Vec<(String, u32, bool)> {
        let row = |line: &String| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = words.first().filter(|name| name.starts_with('n') && name.len() == 2)?;
            Some(((*name).to_string(), words.get(4)?.parse().ok()?, words.get(5) == Some(&"leads")))
        };
        self.seen.iter().filter_map(row).collect()
    }

    /// Where each node serves ZooKeeper's clients, from the same table.
    pub(crate) fn zookeepers(&self) -> Vec<String> {
        let row = |line: &String| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // A line that a member logged begins with its name, too, and a bar.
            let is_node = words.first().is_some_and(|name| name.starts_with('n') && name.len() == 2);
            words.get(2).filter(|_| is_node && words[1] != "|").map(|address| (*address).to_string())
        };
        self.seen.iter().filter_map(row).collect()
    }

    pub(crate) fn all(&self) -> String {
        self.endpoints.join(",")
    }

    pub(crate) fn signal(&self, signal: &str) {
        signal_process(self.child.id(), signal);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Asked to end, it removes its folder; a test that killed it does that here.
        let pid = self.child.id();
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("kill").args(["-INT", &pid.to_string()]).status();
        }
        let _ = self.child.wait();
        for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("quorate-dev-{pid}-")) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

pub(crate) fn signal_process(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "kill {signal} {pid}");
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(QUORATE)
        .args(arguments)
        .env_remove("QUORATE_ENDPOINTS")
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

/// What a command prints; it must succeed.
pub(crate) fn ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "quorate {}: {out}{err}", arguments.join(" "));
    out.into_owned()
}

/// Is the process gone, or only waiting to be reaped by whoever adopted it?
pub(crate) fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// Looks again and again, up to the deadline.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

/// A process that ends with the test.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", quorate_ports::free(1).expect("a port is free")[0])
}

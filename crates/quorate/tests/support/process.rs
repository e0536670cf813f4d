//! Processes of the real binary: members, and commands that ask them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

pub(crate) const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// One member; killed when dropped.
pub(crate) struct Member(pub(crate) Child, BufReader<ChildStdout>);

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a member. What it logs goes where the command says.
pub(crate) fn start(command: &mut Command) -> Member {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    Member(child, out)
}

impl Member {
    pub(crate) fn wait_until_it_serves(&mut self) {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("it says so");
        assert!(line.starts_with("ready: "), "{line:?}");
    }
}

pub(crate) fn run(words: &[&str]) -> Output {
    Command::new(QUORATE).args(words).output().expect("the binary starts")
}

/// What a command prints; it must succeed.
pub(crate) fn ask(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What a process prints, line by line, as it comes: whoever waits for a line can give up.
pub(crate) fn lines_of(child: &mut Child) -> Receiver<String> {
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

//! The shell as a process: what it is told, and all that it says to it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{PATIENCE, QUIET};
use crate::{Fallible, zookeeper::real};

/// A command whose answer says that all before it has been answered.
const END: (&str, &str) = ("redo 1000000", "Command index out of range");

/// Ended when dropped.
pub(super) struct Shell {
    process: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    /// Connected to one of these servers.
    pub(super) fn start(servers: &str) -> Fallible<Shell> {
        let (said, to) = std::io::pipe()?;
        let mut process =
            real::shell(servers)?.stdin(Stdio::piped()).stdout(to.try_clone()?).stderr(to).spawn().map_err(
                |error| {
                    format!("cannot start java: {error}; Debian has it in the package default-jre-headless")
                },
            )?;
        let commands = process.stdin.take().ok_or("the shell has no standard input")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut shell = Shell { process, commands, lines };
        shell.ask("printwatches", Some(0))?;
        Ok(shell)
    }

    /// All that it says to this command, and to what happened since the one before, without blank lines. Waits for this many events; for nothing more
    /// to come, if nobody knows how many there are.
    pub(super) fn ask(&mut self, command: &str, events: Option<usize>) -> Fallible<Vec<String>> {
        writeln!(self.commands, "{command}\n{}", END.0)?;
        self.commands.flush()?;
        let (mut said, mut seen, mut ended) = (Vec::new(), 0, false);
        let end = Instant::now() + PATIENCE;
        loop {
            let wait = match (ended, events) {
                (true, Some(events)) if seen >= events => return Ok(said),
                (true, None) => QUIET,
                _ => end.saturating_duration_since(Instant::now()),
            };
            match self.lines.recv_timeout(wait) {
                Ok(line) if line == END.1 && !ended => ended = true,
                // That a connection came and went is not what the script is about.
                Ok(line) if line.is_empty() || line == "WATCHER::" || line.contains(" type:None ") => {}
                Ok(line) => {
                    seen += usize::from(line.starts_with("WatchedEvent "));
                    said.push(line);
                }
                // Too few events: what was said shows it.
                Err(RecvTimeoutError::Timeout) if ended => return Ok(said),
                Err(error) => {
                    return Err(format!("`{command}` has no end: {error}; so far: {said:?}").into());
                }
            }
        }
    }

    /// It closes its session and goes.
    pub(super) fn end(mut self) -> Fallible<()> {
        writeln!(self.commands, "quit")?;
        let end = Instant::now() + PATIENCE;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err("the shell does not quit".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

//! Plays lessons from files and says what in them does not hold; for whoever writes one.
//!
//! ```text
//!   cargo run -p quorate-console --example lesson -- crates/console/lessons/raft-01-roles.txt [--show [FROM_MS [TO_MS]]]
//! ```
//!
//! `--show` tells the story of the run: roles, reasons, faults, questions and answers, with the times to refer to.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a tool for people reads files")]

use std::process::ExitCode;

use quorate_console::lesson::{Lesson, check};
use quorate_sim::film::{Film, What};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut failed = false;
    let mut shown = None;
    let mut files = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--show" {
            let mut number =
                || arguments.next_if(|text| text.parse::<u64>().is_ok()).and_then(|text| text.parse().ok());
            shown = Some((number().unwrap_or(0), number().unwrap_or(u64::MAX / 1_000_000)));
        } else {
            files.push(argument);
        }
    }
    for file in files {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                println!("{file}: {error}");
                failed = true;
                continue;
            }
        };
        let lesson = match Lesson::read(&text) {
            Ok(lesson) => lesson,
            Err(error) => {
                println!("{file}: {error}");
                failed = true;
                continue;
            }
        };
        if let Some((from, to)) = shown {
            for engine in lesson.engines() {
                match lesson.run(*engine).play() {
                    Ok(film) => show(&film, from, to),
                    Err(error) => println!("{file}: {error}"),
                }
            }
        }
        match check(&lesson) {
            Ok(wrong) if wrong.is_empty() => println!("{file}: holds"),
            Ok(wrong) => {
                failed = true;
                wrong.iter().for_each(|what| println!("{file}: {what}"));
            }
            Err(error) => {
                failed = true;
                println!("{file}: {error}");
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn show(film: &Film, from_ms: u64, to_ms: u64) {
    println!("── {:?}", film.shape.engine);
    let mut roles = std::collections::BTreeMap::new();
    for happened in &film.events {
        let host = happened.host.map_or(String::new(), |host| format!("S{} ", host + 1));
        let words = match &happened.what {
            What::State { group, stand } => {
                let now = (stand.role, stand.epoch, stand.leader, stand.commit);
                if roles.insert((happened.host, *group), now) == Some(now) {
                    continue;
                }
                format!(
                    "{group} {:?} epoch {} leader {:?} commit {} last {}",
                    stand.role,
                    stand.epoch,
                    stand.leader.map(|node| node.0),
                    stand.commit,
                    stand.last
                )
            }
            What::Why { group, reason } => {
                format!("{group} why {} {} {:?}", reason.rule, reason.what, reason.values)
            }
            What::Log { group, base, from, entries } => {
                let texts: Vec<String> =
                    entries.iter().map(|label| format!("{}:{}", label.epoch, label.text)).collect();
                format!("{group} log base {base} from {from}: {}", texts.join(" | "))
            }
            What::Send(sent)
                if sent.group.0 == 2
                    && !["Heartbeat", "HeartbeatReply", "Ping", "Pong"].contains(&sent.name.as_str()) =>
            {
                format!(
                    "g2 sends m{} f{} {} to {:?} {:?} arrives {:?}",
                    sent.message,
                    sent.frame,
                    sent.name,
                    sent.to.map(|to| to + 1),
                    sent.fate,
                    sent.arrivals.iter().map(|at| at / 1_000_000).collect::<Vec<_>>()
                )
            }
            What::Send(_)
            | What::Arrive { .. }
            | What::Disk { .. }
            | What::DiskEnds { .. }
            | What::Applied { .. } => continue,
            other => format!("{other:?}"),
        };
        let at = happened.at as f64 / 1e6;
        if happened.at >= from_ms * 1_000_000 && happened.at < to_ms.saturating_mul(1_000_000) {
            println!("{at:>10.3} {host}{words}");
        }
    }
}

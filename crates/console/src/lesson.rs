//! Lessons: text files that narrate, do, ask and assert. The same file is shown by the page and checked by a test, so that none can be wrong.
//!
//! ```text
//!   title-en: A split vote          head: name: value, one a line; then steps
//!   title-zh: 平票
//!   rules: R09 R04
//!   engine: raft                    raft, zab, or both (shown side by side, checked on each)
//!   nodes: 4                        and whatever else a scene has: spares, clients, rest_ms, seed, until_ms, election_ms, heartbeat_ms, delay_us, snapshot_bytes, lease, pre_vote
//!
//!   @600                            a step, at this time in milliseconds; `@` times never fall
//!   do: crash who=leader down_ms=2000   (do-at: 600000000 … strikes to the nanosecond, as exported runs say it)
//!   en: Text of the step. A line that begins
//!     with two blanks goes on.
//!   zh: 这一步的文字。
//!   look: logs 0 1                  what the page points at: cluster, lanes, logs, why, invariants or history, and hosts by place
//!   ask-en: Who can win now?        a prediction; `+` is right, `-` is not, and `>` says why
//!   ask-zh: 谁能当选？
//!   + S2 or S3 | S2 或 S3
//!   > Their logs are as new. | 它们的日志一样新。
//!   expect: leader none             what must hold at the step's time, or, of what happened, since the step before
//! ```

mod claim;
mod parse;
mod show;

pub use claim::{Claim, Moment};
pub use parse::{BadLesson, Lesson, Predict, Step, Words};
pub(crate) use show::{export, list, to_json};

use quorate_sim::film::Film;

use crate::run::BadRun;

static LESSONS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/lessons.rs"));

/// All lessons' names and texts, in their order.
#[must_use]
pub fn all() -> &'static [(&'static str, &'static str)] {
    LESSONS
}

/// Plays a lesson on each of its engines and checks everything that it says. What does not hold, in words.
///
/// # Errors
/// It cannot be played.
pub fn check(lesson: &Lesson) -> Result<Vec<String>, BadRun> {
    let mut wrong = Vec::new();
    for engine in lesson.engines() {
        let film = lesson.run(*engine).play()?;
        let name = crate::run::engine_name(*engine);
        wrong.extend(check_film(lesson, &film).into_iter().map(|what| format!("{name}: {what}")));
    }
    Ok(wrong)
}

fn check_film(lesson: &Lesson, film: &Film) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut since = 0;
    for step in &lesson.steps {
        let moment = Moment::at(film, since, step.at_ms);
        for claim in &step.expect {
            if let Err(instead) = moment.holds(claim) {
                wrong.push(format!("@{}: expected {claim:?}, but {instead}", step.at_ms));
            }
        }
        since = step.at_ms;
    }
    wrong
}

//! Lessons as the page reads them, and a run as a text that a test plays again.

use std::fmt::Write as _;

use quorate_sim::film::Film;
use serde_json::{Value, json};

use super::{LESSONS, Lesson, Words};
use crate::run::{Run, What, engine_name};

fn words(words: &Words) -> Value {
    json!({ "en": words.en, "zh": words.zh })
}

fn kind(lesson: &Lesson) -> &'static str {
    if lesson.is_mission { "mission" } else { "lesson" }
}

fn engine(lesson: &Lesson) -> &'static str {
    match (lesson.is_multi, lesson.both) {
        (true, _) => "multi",
        (false, true) => "both",
        (false, false) => engine_name(lesson.scene.engine),
    }
}

/// All of them, by title.
pub(crate) fn list() -> Value {
    let entries: Vec<Value> = LESSONS
        .iter()
        .filter_map(|(id, text)| {
            let lesson = Lesson::read(text).ok()?;
            Some(json!({
                "id": id,
                "kind": kind(&lesson),
                "engine": engine(&lesson),
                "rules": lesson.rules,
                "title": words(&lesson.title),
                "steps": lesson.steps.len(),
                "plant": lesson.plant,
                // A mission needs a build with planted bugs in it.
                "playable": lesson.plant.is_empty() || quorate_consensus::PLANTS_COMPILED,
            }))
        })
        .collect();
    Value::Array(entries)
}

/// One of them, whole.
pub(crate) fn to_json(id: &str) -> Option<Value> {
    let (_, text) = LESSONS.iter().find(|(known, _)| *known == id)?;
    let lesson = Lesson::read(text).ok()?;
    let run = lesson.run(lesson.engines()[0]);
    let actions = run.actions.as_deref().map(quorate_sim::actions_to_text).unwrap_or_default();
    let steps: Vec<Value> = lesson
        .steps
        .iter()
        .map(|step| {
            let predict = step.predict.as_ref().map(|predict| {
                let options: Vec<Value> = predict
                    .choices
                    .iter()
                    .map(|choice| {
                        json!({
                            "text": words(&choice.text),
                            "right": choice.right,
                            "because": words(&choice.because),
                        })
                    })
                    .collect();
                json!({ "ask": words(&predict.ask), "options": options })
            });
            json!({
                "at": step.at_ms,
                "say": words(&step.say),
                "act": step.act.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "look": step.look,
                "look_at": step.look_at,
                "predict": predict,
                "expect": step.expect.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    Some(json!({
        "id": id,
        "kind": kind(&lesson),
        "engine": engine(&lesson),
        "rules": lesson.rules,
        "title": words(&lesson.title),
        "both": lesson.both,
        "run": run.to_json(&actions),
        "steps": steps,
    }))
}

/// A run as a text to be kept in `crates/console/tests/scenes`, where a test plays all of them.
pub(crate) fn export(run: &Run, film: &Film) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| _ = writeln!(text, "{name}: {value}");
    line("title-en", "A run from the Lab".to_owned());
    line("title-zh", "来自实验室的一次运行".to_owned());
    line("engine", engine_name(run.engine()).to_owned());
    match &run.what {
        What::Seed { seed, .. } => line("seed-run", seed.to_string()),
        What::Scene(scene) => {
            let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
            for (name, value) in [
                ("nodes", scene.nodes),
                ("spares", scene.spares),
                ("clients", u64::from(scene.clients)),
                ("rest_ms", scene.rest_ms),
                ("seed", scene.seed),
                ("until_ms", scene.until_ms),
                ("election_ms", scene.election_ms),
                ("heartbeat_ms", scene.heartbeat_ms),
                ("delay_us", scene.delay_us),
                ("snapshot_bytes", scene.snapshot_bytes),
            ] {
                line(name, value.to_string());
            }
            line("lease", yes(scene.lease));
            line("pre_vote", yes(scene.pre_vote));
        }
    }
    if !run.plant.is_empty() {
        line("plant", run.plant.clone());
    }
    for planned in run.actions.iter().flatten() {
        // A frame is met wherever its action stands; everything else strikes to the nanosecond.
        _ = writeln!(text, "\n@{}\ndo-at: {} {}", planned.at / 1_000_000, planned.at, planned.action);
    }
    let end = film.end.div_ceil(1_000_000) + 1;
    let expect =
        film.violations.first().map_or_else(|| "clean".to_owned(), |first| format!("broken {}", first.id));
    _ = writeln!(text, "\n@{end}\nexpect: {expect}");
    text
}

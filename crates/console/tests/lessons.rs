//! Every lesson is played, on each of its engines, and everything that it claims holds there; so none can be wrong.

use std::collections::BTreeSet;

use quorate_console::lesson::{self, Lesson, Words};

fn read() -> Vec<(&'static str, Lesson)> {
    lesson::all()
        .iter()
        .map(|(id, text)| (*id, Lesson::read(text).unwrap_or_else(|error| panic!("{id}: {error}"))))
        .collect()
}

/// A mission needs a build that has its bug.
fn is_playable(lesson: &Lesson) -> bool {
    lesson.plant.is_empty() || cfg!(feature = "planted-bugs")
}

#[test]
fn everything_that_a_lesson_claims_holds() {
    let mut wrong = Vec::new();
    for (id, lesson) in read().into_iter().filter(|(_, lesson)| is_playable(lesson)) {
        match lesson::check(&lesson) {
            Ok(found) => wrong.extend(found.into_iter().map(|what| format!("{id}: {what}"))),
            Err(error) => wrong.push(format!("{id}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_lesson_claims_something_and_speaks_both_languages() {
    for (id, lesson) in read() {
        let claims: usize = lesson.steps.iter().map(|step| step.expect.len()).sum();
        assert!(claims >= 3, "{id} claims {claims} things");
        assert!(lesson.steps.len() >= 3, "{id} has {} steps", lesson.steps.len());
        let spoken = |words: &Words, what: &str| {
            let chinese = words.zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(!words.en.is_empty() && chinese, "{id}: {what}: {words:?}");
            assert!(
                !words.en.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)),
                "{id}: {what}: {words:?}"
            );
        };
        spoken(&lesson.title, "title");
        for step in &lesson.steps {
            let at = format!("@{}", step.at_ms);
            if !step.say.en.is_empty() || !step.say.zh.is_empty() {
                spoken(&step.say, &at);
            }
            let Some(predict) = &step.predict else { continue };
            spoken(&predict.ask, &at);
            let right = predict.choices.iter().filter(|choice| choice.right).count();
            assert!(right == 1 && predict.choices.len() >= 2, "{id} {at}: one answer is right, among others");
            for choice in &predict.choices {
                let named = !choice.text.en.is_empty() && !choice.text.zh.is_empty();
                assert!(
                    named && !choice.because.en.is_empty() && !choice.because.zh.is_empty(),
                    "{id} {at}: {choice:?}"
                );
            }
        }
    }
}

#[test]
fn lessons_cover_every_rule_scenario_and_question() {
    let lessons = read();
    let missions = lessons.iter().filter(|(_, lesson)| lesson.is_mission).count();
    let of = |start: &str| {
        lessons.iter().filter(|(id, lesson)| id.starts_with(start) && !lesson.is_mission).count()
    };
    assert!(of("raft") >= 14 && of("zab") >= 7 && of("multi") >= 3 && missions >= 6);
    let covered: BTreeSet<&str> =
        lessons.iter().flat_map(|(_, lesson)| lesson.rules.iter().map(String::as_str)).collect();
    let wanted = [("R", 26), ("Z", 11), ("M", 4), ("S", 10), ("Q", 11), ("N", 5)];
    let missing: Vec<String> = wanted
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number:02}")))
        .filter(|id| !covered.contains(id.as_str()))
        .collect();
    assert!(missing.is_empty(), "no lesson shows {missing:?}");
}

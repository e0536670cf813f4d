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

/// A checker that agrees to everything would find every lesson right: of each kind of claim, what is so holds, and what is not so is refused.
#[test]
fn a_claim_that_is_not_so_is_found_out() {
    let pairs = [
        ("leader S2", "leader S1"),
        ("leader one", "leader none"),
        ("leaders 1", "leaders 2"),
        ("S2 is leader", "S2 is follower"),
        ("S3 is down", "S3 is up"),
        ("S1 is up", "S1 is down"),
        ("S1 epoch = 1", "S1 epoch = 2"),
        ("S1 commit >= 3", "S1 commit >= 9"),
        ("S1 last <= 9", "S1 last <= 2"),
        ("S1 base = 0", "S1 base >= 1"),
        ("S1 applied >= 3", "S1 applied = 1"),
        ("logs agree S1 S2", "logs differ S1 S2"),
        ("logs differ S1 S3", "logs agree S1 S3"),
        ("S1 has k0 = 5", "S1 has k0 = 6"),
        ("S1 lacks k0 = 6", "S1 lacks k0 = 5"),
        ("reason committed S2", "reason committed S1"),
        ("no reason leader_elected", "no reason committed"),
        ("message AppendEntries", "message RequestVote"),
        ("no message RequestVote", "no message AppendEntries"),
        ("answer ok put k0 = 5", "answer failed put k0 = 5"),
        ("answer ok get k0", "answer open get k0"),
        ("told k0 = 5", "told k0 = 6"),
        ("clean", "broken I1"),
        ("linearizable", "not linearizable"),
        ("records: leader one", "records: leader none"),
    ];
    let story = |claim: &str| {
        let text = format!(
            "nodes: 3\nuntil_ms: 2200\n@1000\ndo: kill who=2 down_ms=3600000\ndo: request who=0 call=0 key=0 value=5\n\
             do-at: 1500000000 request who=0 call=1 key=0 value=0\n@2000\nexpect: {claim}\n"
        );
        lesson::check(&Lesson::read(&text).unwrap_or_else(|error| panic!("{claim}: {error}"))).unwrap()
    };
    for (so, not_so) in pairs {
        assert_eq!(story(so), Vec::<String>::new(), "{so}");
        assert_eq!(story(not_so).len(), 1, "{not_so} is not so");
    }
}

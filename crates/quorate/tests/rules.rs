//! What the documents say of the code is true: each rule of `docs/rules.md` stands where the table says, and the README shows what is compiled.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test looks at files")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const RULES: &str = "docs/rules.md";

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).ok()
}

/// A place in the code, written `path#function`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'a> {
    path: &'a str,
    function: &'a str,
}

impl Place<'_> {
    /// The lines up to the function, itself the last; `None` if it is not there.
    fn lines(self, source: &str) -> Option<Vec<&str>> {
        let is_it = |line: &str| {
            let after = line.split_once(&format!("fn {}", self.function)).map(|(_, after)| after);
            !line.trim_start().starts_with("//")
                && after.is_some_and(|after| after.starts_with('(') || after.starts_with('<'))
        };
        let lines: Vec<&str> = source.lines().collect();
        let at = lines.iter().position(|line| is_it(line))?;
        Some(lines[..=at].to_vec())
    }

    /// Does one of the attributes right above the function make it a test?
    fn is_test(self, source: &str) -> bool {
        let lines = self.lines(source).unwrap_or_default();
        let above = lines.iter().rev().skip(1).map(|line| line.trim());
        above
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    }
}

/// Every place that a text names in backticks.
fn places(text: &str) -> Vec<Place<'_>> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|quoted| quoted.split_once('#'))
        .map(|(path, function)| Place { path, function })
        .filter(|place| place.path.ends_with(".rs"))
        .collect()
}

/// The places that a rule names, in code and in tests.
type Row<'a> = (Vec<Place<'a>>, Vec<Place<'a>>);

fn row(line: &str) -> Option<(&str, Row<'_>)> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, id, _, code, tests, _] = cells[..] else { return None };
    let is_id = id.len() == 3 && id.starts_with(['R', 'N', 'Z']) && id[1..].parse::<u8>().is_ok();
    is_id.then(|| (id, (places(code), places(tests))))
}

fn rows(text: &str) -> BTreeMap<&str, Row<'_>> {
    text.lines().filter_map(row).collect()
}

#[test]
fn every_rule_has_its_code_and_its_test() {
    let text = read(RULES).expect("the rules are there");
    let rows = rows(&text);
    let all = |letter: char, last: u8| (1..=last).map(move |n| format!("{letter}{n:02}"));
    let wanted = all('R', 26).chain(all('Z', 11)).chain(all('N', 5));
    let mut wrong = Vec::new();
    for id in wanted {
        match rows.get(id.as_str()) {
            None => wrong.push(format!("{id} has no row")),
            Some((code, _)) if code.is_empty() => wrong.push(format!("{id} names no code")),
            Some((_, tests)) if tests.is_empty() => wrong.push(format!("{id} names no test")),
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{RULES}:\n{}", wrong.join("\n"));
}

#[test]
fn every_place_that_the_rules_name_exists() {
    let text = read(RULES).expect("the rules are there");
    let named: BTreeSet<Place<'_>> = places(&text).into_iter().collect();
    let tests: BTreeSet<Place<'_>> = rows(&text).into_values().flat_map(|(_, tests)| tests).collect();
    assert!(named.len() > 40, "only {} places were found: is the format another?", named.len());
    let mut wrong = Vec::new();
    for place in named {
        let Place { path, function } = place;
        match read(path) {
            None => wrong.push(format!("{path}: no such file")),
            Some(source) if place.lines(&source).is_none() => {
                wrong.push(format!("{path}: no function {function}"));
            }
            Some(source) if tests.contains(&place) && !place.is_test(&source) => {
                wrong.push(format!("{path}: {function} stands in the column of tests and is none"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{RULES}:\n{}", wrong.join("\n"));
}

#[test]
fn every_trace_stands_in_the_row_of_its_rules() {
    let text = read(RULES).expect("the rules are there");
    let mut checked = 0;
    for (engine, letter) in [("raft", 'r'), ("zab", 'z')] {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(engine).join("tests").join("traces");
        for file in std::fs::read_dir(folder).expect("the traces are there") {
            let name = file.expect("a file").file_name().into_string().expect("a name");
            for id in name.split(['-', '.']).filter(|word| word.len() == 3 && word.starts_with(letter)) {
                let row = format!("| {} |", id.to_uppercase());
                let row = text.lines().find(|line| line.starts_with(&row)).unwrap_or_default();
                assert!(
                    row.contains(&format!("crates/{engine}/tests/traces/{name}")),
                    "{RULES}: {name} is missing in the row of {id}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 35, "only {checked} names were understood");
    let gone = |path: &&str| path.ends_with(".txt") && path.contains('/') && read(path).is_none();
    let named = text.split('`').skip(1).step_by(2);
    assert_eq!(named.filter(gone).collect::<Vec<_>>(), Vec::<&str>::new(), "named and not there");
}

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let example = read("crates/quorate/examples/counter.rs").expect("the example is there");
    let shown = |line: &&str| !line.starts_with("//!") && line.trim() != "#[rustfmt::skip]";
    let code = example.lines().filter(shown).collect::<Vec<_>>().join("\n");
    let lines = code.lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 20, "{lines} lines: the README promises that 20 are enough");
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = read(readme).expect("the README is there");
        assert!(text.contains(code.trim()), "{readme} shows other code than examples/counter.rs");
    }
}

#[test]
fn what_the_guide_names_is_there() {
    let guide = read("docs/guide.md").expect("docs/guide.md");
    let mut missing = Vec::new();
    for place in places(&guide) {
        let found = read(place.path).is_some_and(|source| place.lines(&source).is_some());
        if !found {
            missing.push(format!("{}#{}", place.path, place.function));
        }
    }
    let quoted = guide.split('`').skip(1).step_by(2);
    let files = quoted.filter(|quoted| quoted.starts_with("crates/") && !quoted.contains(['#', '*']));
    missing.extend(files.filter(|file| read(file).is_none()).map(str::to_owned));
    assert!(missing.is_empty(), "docs/guide.md names what is not there: {missing:#?}");
    for question in 1..=11 {
        assert!(guide.contains(&format!("## Q{question:02} ")), "question {question} has no answer");
    }
    for note in 1..=5 {
        assert!(guide.contains(&format!("**N{note:02}**")), "note {note} has no answer");
    }
}

/// The lessons of the Lab and the rules, scenarios and questions that each says it shows.
fn lessons() -> BTreeMap<String, BTreeSet<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console/lessons");
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the lessons") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a text");
        let rules = text.lines().find_map(|line| line.strip_prefix("rules: ")).unwrap_or_default();
        for rule in rules.split_whitespace() {
            shown.entry(rule.to_owned()).or_default().insert(name.clone());
        }
    }
    shown
}

/// Every scenario and question of the notes, and every rule, is linked to the lessons that show it, and to no other.
#[test]
fn the_table_of_lessons_is_what_the_lessons_say() {
    let text = read(RULES).expect("the rules are there");
    let (_, section) = text.split_once("## In the Lab").expect("the table of lessons");
    let (section, _) = section.split_once("\n## ").expect("what comes after it");
    let named = |cell: &str| {
        cell.split("](")
            .filter_map(|part| part.split_once(".txt)"))
            .filter_map(|(path, _)| path.rsplit('/').next().map(str::to_owned))
            .collect()
    };
    let table: BTreeMap<String, BTreeSet<String>> = section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, id, cell, _] = cells[..] else { return None };
            cell.contains(".txt)").then(|| (id.to_owned(), named(cell)))
        })
        .collect();
    assert_eq!(table, lessons(), "{RULES}, in the Lab");
    let guide = read("docs/guide.md").expect("the guide is there");
    for (question, lessons) in lessons().iter().filter(|(id, _)| id.starts_with('Q')) {
        let (_, answer) = guide.split_once(&format!("## {question} ")).expect("an answer");
        let answer = answer.split_once("\n## ").map_or(answer, |(answer, _)| answer);
        for lesson in lessons {
            assert!(
                answer.contains(&format!("{lesson}.txt)")),
                "docs/guide.md: {question} does not link to {lesson}"
            );
        }
    }
}

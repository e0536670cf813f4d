//! Reads a lesson's text.

use std::fmt;

use quorate_consensus::EngineKind;
use quorate_sim::{Action, Planned, at_ms, film::Scene};

use super::Claim;
use crate::run::{Run, What};

/// A text in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// English.
    pub en: String,
    /// 简体中文.
    pub zh: String,
}

/// An answer that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The answer.
    pub text: Words,
    /// It is right.
    pub right: bool,
    /// Why it is, or is not.
    pub because: Words,
}

/// A question about what comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predict {
    /// The question.
    pub ask: Words,
    /// The answers.
    pub choices: Vec<Choice>,
}

/// A step of a lesson.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What is told.
    pub say: Words,
    /// What is done at the step's time.
    pub act: Vec<Action>,
    /// What is done at a time of its own, to the nanosecond.
    pub exactly: Vec<Planned>,
    /// Where to look.
    pub look: Option<String>,
    /// At which hosts.
    pub look_at: Vec<usize>,
    /// What is asked.
    pub predict: Option<Predict>,
    /// What must hold.
    pub expect: Vec<Claim>,
}

/// A lesson.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesson {
    /// Its title.
    pub title: Words,
    /// The rules, scenarios and questions that it shows.
    pub rules: Vec<String>,
    /// It asks for a planted bug to be found.
    pub is_mission: bool,
    /// It is about several groups.
    pub is_multi: bool,
    /// The cluster.
    pub scene: Scene,
    /// It is shown on both engines.
    pub both: bool,
    /// The bug that is planted.
    pub plant: String,
    /// If it is about a seed of the campaign.
    pub seed_run: bool,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Why a lesson cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLesson {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for BadLesson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadLesson {}

/// Lines that begin with two blanks belong to the line before them.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("  "), lines.last_mut()) {
            (Some(more), Some((_, line))) if !more.trim().is_empty() => {
                // Chinese has no blanks between words.
                let narrow = line.ends_with(|c: char| c.is_ascii())
                    || more.trim_start().starts_with(|c: char| c.is_ascii());
                line.push_str(if narrow { " " } else { "" });
                line.push_str(more.trim());
            }
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            _ => lines.push((number + 1, line.trim_end().to_owned())),
        }
    }
    lines
}

fn pair(text: &str) -> Result<Words, String> {
    let (en, zh) = text.split_once(" | ").ok_or("it needs English | 中文")?;
    Ok(Words { en: en.trim().to_owned(), zh: zh.trim().to_owned() })
}

impl Lesson {
    /// Reads a lesson.
    ///
    /// # Errors
    /// The first line that cannot be read.
    pub fn read(text: &str) -> Result<Lesson, BadLesson> {
        let mut lesson = Lesson {
            title: Words::default(),
            rules: Vec::new(),
            is_mission: false,
            is_multi: false,
            scene: Scene::default(),
            both: false,
            plant: String::new(),
            seed_run: false,
            steps: Vec::new(),
        };
        for (line, text) in joined(text) {
            lesson.line(&text).map_err(|why| BadLesson { line, why })?;
        }
        Ok(lesson)
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        if let Some(at) = text.strip_prefix('@') {
            let at_ms = at.trim().parse().map_err(|_| format!("{at:?} is no time in milliseconds"))?;
            if self.steps.last().is_some_and(|step| step.at_ms > at_ms) {
                return Err("it is before the step above".to_owned());
            }
            self.steps.push(Step { at_ms, ..Step::default() });
            return Ok(());
        }
        match self.steps.last_mut() {
            None => self.head(text),
            Some(step) => step.line(text),
        }
    }

    fn head(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once(':').ok_or("it needs name: value")?;
        let value = value.trim();
        let number = || value.parse::<u64>().map_err(|_| format!("{value:?} is no number"));
        let flag = || match value {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(format!("{value:?} is neither yes nor no")),
        };
        let scene = &mut self.scene;
        match name {
            "title-en" => value.clone_into(&mut self.title.en),
            "title-zh" => value.clone_into(&mut self.title.zh),
            "rules" => self.rules = value.split_whitespace().map(str::to_owned).collect(),
            "kind" if value == "mission" => self.is_mission = true,
            "kind" if value == "multi" => self.is_multi = true,
            "engine" => match value {
                "raft" => scene.engine = EngineKind::Raft,
                "zab" => scene.engine = EngineKind::Zab,
                "both" => self.both = true,
                _ => return Err(format!("{value:?} is none of raft, zab and both")),
            },
            "plant" => value.clone_into(&mut self.plant),
            "seed-run" => (self.seed_run, scene.seed) = (true, number()?),
            "nodes" => scene.nodes = number()?,
            "spares" => scene.spares = number()?,
            "clients" => scene.clients = u32::try_from(number()?).unwrap_or(u32::MAX),
            "rest_ms" => scene.rest_ms = number()?,
            "seed" => scene.seed = number()?,
            "until_ms" => scene.until_ms = number()?,
            "election_ms" => scene.election_ms = number()?,
            "heartbeat_ms" => scene.heartbeat_ms = number()?,
            "delay_us" => scene.delay_us = number()?,
            "snapshot_bytes" => scene.snapshot_bytes = number()?,
            "lease" => scene.lease = flag()?,
            "pre_vote" => scene.pre_vote = flag()?,
            other => return Err(format!("a lesson has no {other:?}")),
        }
        Ok(())
    }

    /// The engines on which it is played.
    #[must_use]
    pub fn engines(&self) -> &'static [EngineKind] {
        match (self.both, self.scene.engine) {
            (true, _) => &[EngineKind::Raft, EngineKind::Zab],
            (false, EngineKind::Raft) => &[EngineKind::Raft],
            (false, EngineKind::Zab) => &[EngineKind::Zab],
        }
    }

    /// What is played, on one of its engines.
    #[must_use]
    pub fn run(&self, engine: EngineKind) -> Run {
        let of = |step: &Step| -> Vec<Planned> {
            let act = step.act.iter().map(|action| at_ms(step.at_ms, *action));
            act.chain(step.exactly.iter().copied()).collect()
        };
        let mut actions: Vec<Planned> = self.steps.iter().flat_map(of).collect();
        actions.sort_by_key(|planned| planned.at);
        let what = if self.seed_run {
            What::Seed { engine, seed: self.scene.seed }
        } else {
            What::Scene(Scene { engine, ..self.scene.clone() })
        };
        // A seed draws its own, unless it is said what they are.
        let actions = (!self.seed_run || !actions.is_empty()).then_some(actions);
        Run { what, actions, plant: self.plant.clone() }
    }
}

impl Step {
    fn line(&mut self, text: &str) -> Result<(), String> {
        if let Some(text) = text.strip_prefix("+ ") {
            return self.choice(text, true);
        }
        if let Some(text) = text.strip_prefix("- ") {
            return self.choice(text, false);
        }
        if let Some(text) = text.strip_prefix("> ") {
            let choice = self.predict.as_mut().and_then(|predict| predict.choices.last_mut());
            choice.ok_or("there is no answer above it")?.because = pair(text)?;
            return Ok(());
        }
        let (name, value) = text.split_once(':').ok_or("it needs name: value")?;
        let value = value.trim();
        match name {
            "en" => value.clone_into(&mut self.say.en),
            "zh" => value.clone_into(&mut self.say.zh),
            "do" => self.act.push(value.parse()?),
            "do-at" => {
                let (at, action) = value.split_once(' ').ok_or("it needs nanoseconds and an action")?;
                let at = at.parse().map_err(|_| format!("{at:?} is no time in nanoseconds"))?;
                self.exactly.push(Planned { at, action: action.parse()? });
            }
            "ask-en" => value.clone_into(&mut self.predict.get_or_insert_default().ask.en),
            "ask-zh" => value.clone_into(&mut self.predict.get_or_insert_default().ask.zh),
            "look" => return self.looks(value),
            "expect" => self.expect.push(value.parse()?),
            other => return Err(format!("a step has no {other:?}")),
        }
        Ok(())
    }

    fn choice(&mut self, text: &str, right: bool) -> Result<(), String> {
        let predict = self.predict.as_mut().ok_or("there is no question above it")?;
        predict.choices.push(Choice { text: pair(text)?, right, because: Words::default() });
        Ok(())
    }

    fn looks(&mut self, value: &str) -> Result<(), String> {
        let mut words = value.split_whitespace();
        let place = words.next().ok_or("where?")?;
        if !["cluster", "lanes", "logs", "why", "invariants", "history"].contains(&place) {
            return Err(format!("{place:?} is no part of the page"));
        }
        self.look = Some(place.to_owned());
        for word in words {
            self.look_at.push(word.parse().map_err(|_| format!("{word:?} is no host"))?);
        }
        Ok(())
    }
}

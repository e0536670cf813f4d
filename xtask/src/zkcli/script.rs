//! The script: commands, what is done to the servers between them, and the answers.

/// What the events in an answer begin with.
pub(super) const EVENT: &str = "* ";

/// One line of the script that is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A comment, or nothing.
    Remark(String),
    /// A command of the shell.
    Command(String),
    /// The leader is killed.
    Kill,
    /// It is started again.
    Start,
}

/// That, and what was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) act: Act,
    pub(super) answer: Vec<String>,
}

impl Step {
    /// How many events the answer has.
    pub(super) fn events(&self) -> usize {
        self.answer.iter().filter(|line| line.starts_with(EVENT)).count()
    }
}

const KILL: &str = "! kill the leader";
const START: &str = "! start it again";

pub(super) fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        let act = match line {
            KILL => Act::Kill,
            START => Act::Start,
            _ if line.is_empty() || line.starts_with('#') => Act::Remark(line.to_owned()),
            _ => match (line.strip_prefix("> "), steps.last_mut()) {
                (Some(command), _) => Act::Command(command.to_owned()),
                (None, Some(step)) => {
                    step.answer.push(line.to_owned());
                    continue;
                }
                (None, None) => Act::Remark(line.to_owned()),
            },
        };
        steps.push(Step { act, answer: Vec::new() });
    }
    steps
}

/// The same as text.
pub(super) fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match &step.act {
            Act::Remark(line) => text.push_str(line),
            Act::Command(command) => text.push_str(&format!("> {command}")),
            Act::Kill => text.push_str(KILL),
            Act::Start => text.push_str(START),
        }
        text.push('\n');
        for line in &step.answer {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_and_written() {
        let said = "# a remark\n\n> set /a 1\n* NodeDataChanged /a\n! kill the leader\n> get /a\n1\n! start it again\n";
        let steps = parse(said);
        assert_eq!(text(&steps), said);
        assert_eq!(steps[2].act, Act::Command("set /a 1".to_owned()));
        assert_eq!((steps[2].events(), steps[4].events()), (1, 0));
        assert_eq!(steps[4].answer, ["1"]);
    }
}

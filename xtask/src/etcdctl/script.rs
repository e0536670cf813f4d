//! The script: which commands, and how they are compared. `foreign/etcdctl/everyday.txt` says what its lines mean.

/// How what was printed is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// But for ids, addresses and terms.
    Exactly,
    /// But for numbers and the width of tables.
    ByShape,
    /// As the first, in the end.
    InTheEnd,
    /// It differs, and it is known why.
    Differs,
}

/// A line of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A part begins, with a command that says whether ours is there.
    Part { name: String, probe: Vec<String> },
    /// One command.
    Command { compared: Compared, words: Vec<String>, input: String },
    /// One that goes on.
    Begin { words: Vec<String>, input: String },
    /// It has printed so many lines.
    End { lines: usize },
}

/// # Errors
/// A line that means nothing.
pub(super) fn parse(text: &str) -> Result<Vec<Act>, String> {
    let (mut acts, mut input, mut differs) = (Vec::new(), String::new(), false);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut take = || std::mem::take(&mut input);
        let command = |compared, rest: &str, input| Act::Command { compared, words: words(rest), input };
        if let Some((name, probe)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            acts.push(Act::Part { name: name.to_owned(), probe: words(probe) });
            continue;
        }
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            ">" if std::mem::take(&mut differs) => acts.push(command(Compared::Differs, rest, take())),
            ">" => acts.push(command(Compared::Exactly, rest, take())),
            "~" => acts.push(command(Compared::ByShape, rest, take())),
            "?" => acts.push(command(Compared::InTheEnd, rest, take())),
            "&" => acts.push(Act::Begin { words: words(rest), input: take() }),
            "." => acts.push(Act::End { lines: rest.parse().map_err(|_| format!("no number: {line}"))? }),
            "!" => differs = true,
            "<" => input = rest.replace("\\n", "\n"),
            _ => return Err(format!("this line means nothing: {line}")),
        }
    }
    Ok(acts)
}

/// As a shell splits them, with double quotes alone.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for letter in text.chars() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            letter => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let acts =
            parse("# a remark\n[part] user list\n< a\\nb\n> put \"\" \"a b\"\n& watch a\n. 3\n").unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let put = words(&["put", "", "a b"]);
        assert_eq!(
            acts,
            [
                Act::Part { name: "part".into(), probe: words(&["user", "list"]) },
                Act::Command { compared: Compared::Exactly, words: put, input: "a\nb".into() },
                Act::Begin { words: words(&["watch", "a"]), input: String::new() },
                Act::End { lines: 3 }
            ]
        );
        assert!(parse("nonsense").is_err());
    }
}

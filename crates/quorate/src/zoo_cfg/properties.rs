//! Java's properties, as far as configurations use them.

/// Names and values in their order. A line that begins with `#` or `!` says nothing, a backslash at a line's end joins the next one, and what follows a
/// backslash elsewhere stands for itself.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut lines = text.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while ends_in_a_backslash(&whole) {
            whole.pop();
            whole.push_str(lines.next().unwrap_or_default());
        }
        all.push(split(&whole));
    }
    all
}

fn ends_in_a_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// At the first `=`, `:` or blank that has no backslash before it.
fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line.find(|letter: char| {
        let ends = !escaped && (matches!(letter, '=' | ':') || letter.is_whitespace());
        escaped = !escaped && letter == '\\';
        ends
    });
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim();
    (plain(name), plain(value))
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_split_as_java_splits_them() {
        let text =
            "# one\n! two\n\n a=1\nb : 2\nc 3\nd\\=e = f=g \nlist=x,\\\n   y\npath=C\\:\\\\x\nempty=\nalone";
        let pairs = parse(text);
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let wanted = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d=e", "f=g"),
            ("list", "x,y"),
            ("path", "C:\\x"),
            ("empty", ""),
            ("alone", ""),
        ];
        assert_eq!(pairs, wanted);
    }
}

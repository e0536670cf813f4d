//! What etcdctl printed, without what differs from cluster to cluster; but whether two ids are one must not.

use std::collections::BTreeMap;

use super::script::Compared;

/// An id has so many digits at least, of either base.
const ID_DIGITS_MIN: usize = 14;

/// Names for what one side calls otherwise than the other.
#[derive(Clone, Default)]
pub(super) struct Plain {
    /// Members, the cluster; and whatever else was met, by the order in which it was.
    ids: BTreeMap<u64, String>,
    /// Addresses and versions.
    texts: Vec<(String, String)>,
    met: usize,
}

impl Plain {
    pub(super) fn call(&mut self, id: u64, name: &str) {
        self.ids.insert(id, name.to_owned());
    }

    pub(super) fn say(&mut self, text: &str, name: &str) {
        self.texts.push((text.to_owned(), name.to_owned()));
    }

    /// What came from both outputs, made plain.
    pub(super) fn of(&mut self, words: &[String], out: &[u8], errors: &[u8], compared: Compared) -> String {
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let mut said =
            if has("protobuf") { protobuf(out) } else { String::from_utf8_lossy(out).into_owned() };
        // What the client's library logs has times in it.
        for line in String::from_utf8_lossy(errors).lines().filter(|line| !line.starts_with("{\"level\"")) {
            said.push_str(line);
            said.push('\n');
        }
        for (text, name) in &self.texts {
            said = said.replace(text, name);
        }
        let mut said = terms(&self.named(&said));
        // Who answered is chance; who is listed is not.
        for name in ["n1", "n2", "n3"] {
            said = said.replace(&format!("\"member_id\":{name}"), "\"member_id\":…");
            said = said.replace(&format!("\"MemberID\" : {name}"), "\"MemberID\" : …");
            said = said.replace(&format!("transferred from {name} to "), "transferred from … to ");
            said = said.replace(&format!(" to {name}\n"), " to …\n");
        }
        if compared == Compared::ByShape {
            said = shape(&said);
        }
        if has("member") || has("list") {
            said = sorted(&said);
        }
        said
    }

    /// With names for ids.
    fn named(&mut self, text: &str) -> String {
        let (mut named, mut token) = (String::new(), String::new());
        for letter in text.chars().chain(['\n']) {
            if letter.is_ascii_digit() || ('a'..='f').contains(&letter) {
                token.push(letter);
                continue;
            }
            named.push_str(&self.name(&std::mem::take(&mut token)));
            named.push(letter);
        }
        named.pop();
        named
    }

    fn name(&mut self, token: &str) -> String {
        let numbers = [token.parse().ok(), u64::from_str_radix(token, 16).ok()];
        let numbers: Vec<u64> = numbers.into_iter().flatten().collect();
        if token.len() < ID_DIGITS_MIN || numbers.is_empty() {
            return token.to_owned();
        }
        if let Some(name) = numbers.iter().find_map(|number| self.ids.get(number)) {
            return name.clone();
        }
        self.met += 1;
        let name = format!("id-{}", self.met);
        self.ids.insert(numbers[0], name.clone());
        name
    }
}

/// The number behind what says that it is a term.
fn terms(text: &str) -> String {
    let mut plain = text.to_owned();
    for before in ["\"raft_term\":", "\"raftTerm\":", "\"RaftTerm\" : "] {
        let parts: Vec<&str> = plain.split(before).collect();
        let rest =
            parts[1..].iter().map(|part| part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
        plain = std::iter::once(parts[0]).chain(rest).collect::<Vec<_>>().join(&format!("{before}…"));
    }
    plain
}

/// Numbers, units, and rows of what tables are drawn with, each as one character.
fn shape(text: &str) -> String {
    let (mut shape, mut last) = (String::new(), ' ');
    for word in text.replace('|', " | ").split_inclusive([' ', '\n', ',', ':', '=']) {
        let end = word.chars().last().filter(|end| " \n,:=".contains(*end));
        let body = word.trim_end_matches([' ', '\n', ',', ':', '=']);
        let number = body.starts_with(|digit: char| digit.is_ascii_digit());
        let drawn = !body.is_empty() && body.chars().all(|letter| letter == '-' || letter == '+');
        match body {
            "kB" | "MB" | "B" | "GB" => {}
            _ if drawn => shape.push('-'),
            _ if number => shape.push('#'),
            body => shape.push_str(body),
        }
        match end {
            Some(' ') if last == ' ' || shape.ends_with([' ', '\n']) => {}
            Some(end) => {
                shape.push(end);
                last = end;
                continue;
            }
            None => {}
        }
        last = shape.chars().last().unwrap_or(' ');
    }
    shape.lines().map(str::trim_end).map(digits).collect::<Vec<_>>().join("\n")
}

/// Digits that are left, with letters before them.
fn digits(line: &str) -> String {
    let mut plain = String::new();
    for letter in line.chars() {
        match letter {
            '0'..='9' | '#' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            letter => plain.push(letter),
        }
    }
    // {one answers in 950 µs, the other in 1 ms}: how long it took is no difference.
    plain.replace("#µs", "#ms")
}

/// Members come in the order of their ids, which is another in each cluster, leases in that of the time left to them, and tables are as wide as what is
/// in them: the pieces, by themselves.
fn sorted(text: &str) -> String {
    let pieces = text.split(['\n', '[', ']', '{', '}', '|', ',', '"', ' ']).map(str::trim);
    let mut pieces: Vec<&str> = pieces.filter(|piece| !piece.is_empty() && !piece.starts_with('+')).collect();
    pieces.sort_unstable();
    pieces.join("\n")
}

/// A message: of its header what is there and the revision, all else as it is.
fn protobuf(bytes: &[u8]) -> String {
    // Field 1, by its length.
    let (Some(0x0a), Some(length)) = (bytes.first(), bytes.get(1)) else { return format!("{bytes:02x?}") };
    let end = 2 + usize::from(*length);
    let (header, rest) = (bytes.get(2..end).unwrap_or_default(), bytes.get(end..).unwrap_or_default());
    let mut said = String::from("header");
    let mut at = 0;
    while at < header.len() {
        let field = header[at] >> 3;
        let mut value: u64 = 0;
        let mut shift = 0;
        loop {
            at += 1;
            let Some(byte) = header.get(at) else { break };
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += 1;
        match field {
            3 => said.push_str(&format!(" revision {value}")),
            field => said.push_str(&format!(" {field}")),
        }
    }
    format!("{said}, {rest:02x?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_names_in_either_base_and_numbers_lose_theirs_where_shapes_are_compared() {
        let mut plain = Plain::default();
        plain.call(0x8e9e_05c5_2164_694d, "n1");
        plain.say("127.0.0.1:2379", "e1");
        let mut of = |text: &str, compared| plain.of(&[], text.as_bytes(), b"", compared);
        assert_eq!(of("127.0.0.1:2379 8e9e05c52164694d 10276657743932975437", Compared::Exactly), "e1 n1 n1");
        assert_eq!(of("lease 694da21da947480b of 5", Compared::Exactly), "lease id-1 of 5");
        assert_eq!(of("694da21da947480b 694da21da947480c", Compared::Exactly), "id-1 id-2");
        assert_eq!(of("{\"raft_term\":12,\"x\":12}", Compared::Exactly), "{\"raft_term\":…,\"x\":12}");
        let (one, two) = ("+---+\n| 29 kB |  1.5ms |\n", "+-----+\n| 1.2 MB | 17ms |\n");
        assert_eq!(of(one, Compared::ByShape), of(two, Compared::ByShape));
        let (one, two) = ("\"took\":\"950.1µs\"", "\"took\":\"1.2ms\"");
        assert_eq!(of(one, Compared::ByShape), of(two, Compared::ByShape));
    }
}

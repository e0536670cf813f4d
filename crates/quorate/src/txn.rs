//! The small language of `quorate txn`: compares, then operations, as etcdctl writes them.
//!
//! ```text
//! value("door") = "open"        value, version, mod, create, lease; = != < >
//! mod("door") > 5
//!                               an empty line
//! put door closed               if all compares hold
//! get --prefix door
//!                               an empty line
//! del door                      otherwise
//! ```

use quorate_client::wire::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};

/// The end of the range of all keys that begin with `prefix`.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// A transaction from text: three blocks divided by empty lines, or the same lines as JSON: `{"if": […], "then": […], "else": […]}`.
pub(crate) fn parse(text: &str) -> Result<TxnRequest, String> {
    if text.trim_start().starts_with('{') {
        return parse_json(text);
    }
    let mut blocks: [Vec<&str>; 3] = Default::default();
    let mut block = 0;
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        if line.is_empty() {
            block += 1;
        } else if let Some(lines) = blocks.get_mut(block) {
            lines.push(line);
        } else {
            return Err(format!(
                "{line:?} stands in a fourth block; write compares, an empty line, what to do if all hold, an empty line, what else"
            ));
        }
    }
    let [compares, success, failure] = blocks;
    build(compares, success, failure)
}

fn parse_json(text: &str) -> Result<TxnRequest, String> {
    let form = r#"write {"if": ["value(\"a\") = \"1\""], "then": ["put a 2"], "else": ["get a"]}"#;
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("no JSON: {error}; {form}"))?;
    let object = value.as_object().ok_or_else(|| form.to_string())?;
    let mut blocks: [Vec<&str>; 3] = Default::default();
    for (key, lines) in object {
        let block = match key.as_str() {
            "if" => 0,
            "then" => 1,
            "else" => 2,
            _ => return Err(format!("unknown key {key:?}; {form}")),
        };
        blocks[block] = lines
            .as_array()
            .and_then(|lines| lines.iter().map(serde_json::Value::as_str).collect::<Option<Vec<_>>>())
            .ok_or_else(|| format!("{key:?} is no list of lines; {form}"))?;
    }
    let [compares, success, failure] = blocks;
    build(compares, success, failure)
}

/// A transaction from its lines.
pub(crate) fn build<'a>(
    compares: impl IntoIterator<Item = &'a str>,
    success: impl IntoIterator<Item = &'a str>,
    failure: impl IntoIterator<Item = &'a str>,
) -> Result<TxnRequest, String> {
    Ok(TxnRequest {
        compare: compares.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: success.into_iter().map(operation).collect::<Result<_, _>>()?,
        failure: failure.into_iter().map(operation).collect::<Result<_, _>>()?,
    })
}

/// Words, with "…" and '…' around what has spaces, and \n, \t, \", \\ and \xHH inside "…".
fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut chars = line.chars();
    let mut buffer = [0; 4];
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') => {
                let byte = match chars.next() {
                    Some('n') => b'\n',
                    Some('t') => b'\t',
                    Some('r') => b'\r',
                    Some('0') => 0,
                    Some(c @ ('"' | '\\' | '\'')) => c as u8,
                    Some('x') => {
                        let digits: String = chars.by_ref().take(2).collect();
                        u8::from_str_radix(&digits, 16).map_err(|_| {
                            format!("\\x{digits} in {line:?} is no byte; write two hexadecimal digits")
                        })?
                    }
                    other => {
                        let other = other.map(String::from).unwrap_or_default();
                        return Err(format!(
                            "\\{other} in {line:?} means nothing; write \\\\ for a backslash"
                        ));
                    }
                };
                word.get_or_insert_default().push(byte);
            }
            (Some(_), c) => {
                word.get_or_insert_default().extend_from_slice(c.encode_utf8(&mut buffer).as_bytes())
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => {
                word.get_or_insert_default().extend_from_slice(c.encode_utf8(&mut buffer).as_bytes())
            }
        }
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} in {line:?} is never closed; close it"));
    }
    words.extend(word);
    Ok(words)
}

fn compare(line: &str) -> Result<Compare, String> {
    let form =
        "write value(\"KEY\") = \"VALUE\", or version, mod, create or lease with a number, and =, !=, < or >";
    let wrong = |what: &str| format!("compare {line:?}: {what}; {form}");
    let (target, rest) = line.split_once('(').ok_or_else(|| wrong("the parenthesis is missing"))?;
    let close = closing(rest).ok_or_else(|| wrong("the parenthesis is not closed"))?;
    let key =
        one_word(&rest[..close]).ok_or_else(|| wrong("there is not one key between the parentheses"))?;
    let rest = rest[close + 1..].trim_start();
    let (result, rest) = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        ("<", CompareResult::Less),
        (">", CompareResult::Greater),
    ]
    .into_iter()
    .find_map(|(sign, result)| rest.strip_prefix(sign).map(|rest| (result, rest)))
    .ok_or_else(|| wrong("the sign is missing"))?;
    let operand = one_word(rest).ok_or_else(|| wrong("there is not one value after the sign"))?;
    let number = || {
        let text = std::str::from_utf8(&operand).ok();
        text.and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| wrong("the value is no number"))
    };
    let (target, union) = match target.trim() {
        "value" | "val" => (CompareTarget::Value, TargetUnion::Value(operand.clone().into())),
        "version" | "ver" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "mod" | "mod_revision" | "m" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "create" | "create_revision" | "c" => (CompareTarget::Create, TargetUnion::CreateRevision(number()?)),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number()?)),
        _ => return Err(wrong("what is to be compared is unknown")),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        range_end: Default::default(),
        target_union: Some(union),
    })
}

/// The place of the parenthesis that closes, quotes minded.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, ')') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

fn one_word(text: &str) -> Option<Vec<u8>> {
    let mut words = words(text).ok()?;
    if words.len() == 1 { words.pop() } else { None }
}

fn operation(line: &str) -> Result<RequestOp, String> {
    let form = "write put KEY VALUE, get [--prefix] KEY, or del [--prefix] KEY";
    let wrong = |what: &str| format!("operation {line:?}: {what}; {form}");
    let mut words = words(line)?.into_iter();
    let verb = words.next().unwrap_or_default();
    let (flags, rest): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with(b"--"));
    let prefix = match flags.as_slice() {
        [] => false,
        [flag] if flag == b"--prefix" && verb != b"put" => true,
        [flag, ..] => return Err(wrong(&format!("{} is unknown here", String::from_utf8_lossy(flag)))),
    };
    let end = |key: &[u8]| if prefix { prefix_end(key) } else { Vec::new() };
    let request = match (verb.as_slice(), rest.as_slice()) {
        (b"put", [key, value]) => Request::RequestPut(PutRequest {
            key: key.clone().into(),
            value: value.clone().into(),
            ..Default::default()
        }),
        (b"get", [key]) => Request::RequestRange(RangeRequest {
            key: key.clone().into(),
            range_end: end(key).into(),
            ..Default::default()
        }),
        (b"del", [key]) => Request::RequestDeleteRange(DeleteRangeRequest {
            key: key.clone().into(),
            range_end: end(key).into(),
            ..Default::default()
        }),
        (b"put" | b"get" | b"del", _) => return Err(wrong("words are missing or too many")),
        _ => return Err(wrong("the first word is unknown")),
    };
    Ok(RequestOp { request: Some(request) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_blocks_are_compares_then_success_then_failure() {
        let txn = parse(
            "value(\"a b\") != \"1\"\nmod(c) > 5\n\nput \"a b\" \"2\\n\\x00\"\nget --prefix c\n\ndel c\n",
        )
        .unwrap();
        assert_eq!(txn.compare.len(), 2);
        assert_eq!(txn.compare[0].key, "a b");
        assert_eq!(txn.compare[0].result(), CompareResult::NotEqual);
        assert_eq!(txn.compare[0].target_union, Some(TargetUnion::Value("1".into())));
        assert_eq!(txn.compare[1].target(), CompareTarget::Mod);
        assert_eq!(txn.compare[1].target_union, Some(TargetUnion::ModRevision(5)));
        let Some(Request::RequestPut(put)) = &txn.success[0].request else { panic!("{:?}", txn.success) };
        assert_eq!((&put.key[..], &put.value[..]), (&b"a b"[..], &b"2\n\0"[..]));
        let Some(Request::RequestRange(range)) = &txn.success[1].request else { panic!("{:?}", txn.success) };
        assert_eq!((&range.key[..], &range.range_end[..]), (&b"c"[..], &b"d"[..]));
        let Some(Request::RequestDeleteRange(delete)) = &txn.failure[0].request else {
            panic!("{:?}", txn.failure)
        };
        assert_eq!((&delete.key[..], &delete.range_end[..]), (&b"c"[..], &b""[..]));
    }

    #[test]
    fn json_says_the_same() {
        let json = r#"{"if": ["version(\"a\") = 0"], "then": ["put a 1"], "else": ["get a"]}"#;
        assert_eq!(parse(json), parse("version(\"a\") = \"0\"\n\nput a 1\n\nget a"));
        assert!(parse(r#"{"then": "put a 1"}"#).unwrap_err().contains("\"then\""));
        assert!(parse(r#"{"when": []}"#).unwrap_err().contains("\"when\""));
    }

    #[test]
    fn compares_may_be_missing() {
        let txn = parse("\nput a 1\n").unwrap();
        assert_eq!((txn.compare.len(), txn.success.len(), txn.failure.len()), (0, 1, 0));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_line() {
        for (text, part) in [
            ("value(a = 1", "not closed"),
            ("value(a) ~ 1", "sign"),
            ("mod(a) = x", "no number"),
            ("size(a) = 1", "unknown"),
            ("value(a) =", "value"),
            ("\nput a", "missing"),
            ("\nput a \"1", "never closed"),
            ("\nput a \"\\q\"", "\\q"),
            ("\nincrement a", "first word"),
            ("\nget --rev a", "--rev"),
            ("\n\n\nget a", "fourth"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.contains(part) && error.contains("write ") || error.contains("close it"),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end(b"a"), b"b");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
    }
}

//! What commands print.

use std::io::{self, Write};

use quorate_client::wire::{etcdserverpb::ResponseHeader, mvccpb::KeyValue};
use serde_json::{Map, Value, json};

/// Writes to standard output. A reader that has gone (`quorate get … | head`) is no error.
pub(crate) fn print(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// One JSON value and a newline.
pub(crate) fn print_json(value: &Value) {
    print(format!("{value}\n").as_bytes());
}

/// A table with a heading: columns as wide as their widest cell, two spaces between.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .chain([heading[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    };
    line(&mut heading.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Puts `bytes` under `name` if they are text, and under `name_base64` if not.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_string(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), base64(bytes).into()),
    };
}

/// A key and its value.
pub(crate) fn key_value(kv: &KeyValue) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "key", &kv.key);
    put_bytes(&mut object, "value", &kv.value);
    object.insert("create_revision".into(), kv.create_revision.into());
    object.insert("mod_revision".into(), kv.mod_revision.into());
    object.insert("version".into(), kv.version.into());
    if kv.lease != 0 {
        object.insert("lease".into(), format!("{:x}", kv.lease).into());
    }
    Value::Object(object)
}

/// Who answered, and at which revision. Ids are hexadecimal text: they do not fit into a JSON number.
pub(crate) fn header(header: Option<&ResponseHeader>) -> Value {
    let header = header.copied().unwrap_or_default();
    json!({
        "cluster_id": format!("{:x}", header.cluster_id),
        "member_id": format!("{:x}", header.member_id),
        "revision": header.revision,
        "raft_term": header.raft_term,
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let joined = three.iter().fold(0_u32, |joined, byte| joined << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for place in 0..4 {
            if place <= three.len() {
                text.push(char::from(DIGITS[(joined >> (18 - 6 * place)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn tables_line_up_and_have_no_trailing_spaces() {
        let rows = [vec!["a".to_string(), "bb".to_string()], vec!["ccc".to_string(), "".to_string()]];
        assert_eq!(table(&["x", "y"], &rows), "x    y\na    bb\nccc\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_said_to_be_base64() {
        let kv = KeyValue { key: "k".into(), value: vec![0xff].into(), ..Default::default() };
        let shown = key_value(&kv);
        assert_eq!(
            (&shown["key"], &shown["value_base64"], &shown["value"]),
            (&"k".into(), &"/w==".into(), &Value::Null)
        );
    }
}

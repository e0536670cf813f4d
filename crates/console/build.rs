//! Puts the page into the binary, and finds the lines of our sources that its words are about.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it builds from files, where cargo says they are"
)]

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Lines of a function that are shown, at most.
const EXCERPT_LINES: usize = 36;

fn main() -> Outcome<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out.join("assets.rs"), assets()?)?;
    fs::write(out.join("lessons.rs"), lessons()?)?;
    fs::write(out.join("words.json"), serde_json::to_string(&words(&root)?)?)?;
    Ok(())
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found)?;
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
            found.push(path);
        }
    }
    Ok(())
}

/// The files of the page, as a table.
fn assets() -> Outcome<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let mut found = Vec::new();
    files(&folder, &mut found)?;
    let mut table = String::from("&[\n");
    for path in found {
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => continue,
        };
        let name = path.strip_prefix(&folder)?.to_string_lossy().replace('\\', "/");
        writeln!(table, "    ({name:?}, {kind:?}, include_bytes!({:?})),", path.display().to_string())?;
    }
    Ok(table + "]\n")
}

/// The lessons, in the order of their names.
fn lessons() -> Outcome<String> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons"), &mut found)?;
    let mut table = String::from("&[\n");
    for path in found {
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            writeln!(table, "    ({name:?}, include_str!({:?})),", path.display().to_string())?;
        }
    }
    Ok(table + "]\n")
}

/// Everything that the page says about rules, reasons, invariants and messages, with the places in our sources.
fn words(root: &Path) -> Outcome<Value> {
    let table = |name: &str| -> Outcome<Map<String, Value>> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("words").join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
    };
    let mut rules = table("rules.json")?;
    let places = rule_places(root)?;
    for (id, rule) in &mut rules {
        rule["places"] = Value::Array(places.get(id).cloned().unwrap_or_default());
    }
    let mut reasons = table("reasons.json")?;
    for engine in ["raft", "zab"] {
        let mut sources = Vec::new();
        files(&root.join("crates").join(engine).join("src"), &mut sources)?;
        for path in sources {
            let text = fs::read_to_string(&path)?;
            let shown = shown(root, &path)?;
            for (what, reason) in &mut reasons {
                if let Some(place) = named(&text, what, &shown)
                    && reason.get(engine).is_none()
                {
                    reason[engine] = place;
                }
            }
        }
    }
    Ok(json!({
        "build": env!("CARGO_PKG_VERSION"),
        "rules": rules,
        "reasons": reasons,
        "invariants": table("invariants.json")?,
        "messages": table("messages.json")?,
    }))
}

fn shown(root: &Path, path: &Path) -> Outcome<String> {
    Ok(path.strip_prefix(root)?.to_string_lossy().replace('\\', "/"))
}

/// Where the sources say a reason's name, and what stands around it.
fn named(text: &str, what: &str, path: &str) -> Option<Value> {
    let lines: Vec<&str> = text.lines().collect();
    let line = lines.iter().position(|line| line.contains(&format!("\"{what}\"")))?;
    let begins = |line: &&str| {
        line.trim_start().starts_with("fn ") || line.contains(") fn ") || line.contains("pub fn ")
    };
    let first = lines[..line].iter().rposition(begins).unwrap_or(line);
    let first = first.max((line + 3).saturating_sub(EXCERPT_LINES));
    let ends = |text: &&str| **text == *"    }" || **text == *"}";
    let last = lines[line..].iter().position(ends).map_or(line, |after| line + after);
    let last = last.min(first + EXCERPT_LINES).min(lines.len() - 1);
    Some(
        json!({ "path": path, "line": line + 1, "first": first + 1, "excerpt": lines[first..=last].join("\n") }),
    )
}

/// The functions that `docs/rules.md` names for each rule, with the lines on which they begin.
fn rule_places(root: &Path) -> Outcome<BTreeMap<String, Vec<Value>>> {
    let page = root.join("docs/rules.md");
    println!("cargo::rerun-if-changed={}", page.display());
    let mut places: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in fs::read_to_string(page)?.lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, id, _, code, ..] = cells[..] else { continue };
        for place in code.split('`').filter(|place| place.contains(".rs#")) {
            let Some((path, function)) = place.split_once('#') else { continue };
            let text = fs::read_to_string(root.join(path))?;
            let found = text.lines().position(|line| line.contains(&format!("fn {function}")));
            let line = found.map_or(1, |line| line + 1);
            places
                .entry(id.to_owned())
                .or_default()
                .push(json!({ "path": path, "function": function, "line": line }));
        }
    }
    Ok(places)
}

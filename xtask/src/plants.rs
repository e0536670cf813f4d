//! Every planted bug must be found by its named checker.
//!
//! ```text
//!   tests of crates, built at once ─► what they said ───────┐
//!                                                           ├─► rows, docs/plants.md
//!   the simulator, seed after seed ─────────────────────────┘
//! ```
//! The hunt is an example of the simulator's, built with its feature `planted-bugs`: only the few crates that have bugs to plant are compiled a
//! second time, into the same target folder as everything else. The example has the catalogue, so it says which tests of crates there are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Fallible;

/// Written by a hunt for all bugs, and read by hunts for some, which begin at the seeds in it.
const TABLE: &str = "docs/plants.md";
/// What the tests of crates said.
const SAID: &str = "target/plants-said.txt";

/// Hunts the bugs with these ids; without any, all, and writes the table.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    if arguments.iter().any(|argument| argument == "--smoke") {
        return smoke();
    }
    if !arguments.is_empty() {
        return hunt(&["--release"], &["--known", TABLE], arguments);
    }
    // No seed is known: what a bug took is told as it was.
    let done = hunt(&["--release"], &["--write", TABLE], &[]);
    let table = fs::read_to_string(TABLE)?;
    let result = table.lines().rev().find(|line| line.starts_with("plants: ")).unwrap_or("no result");
    crate::ledger::add("cargo xtask plants", result)?;
    done
}

/// Bugs of every group that are found at once, by seeds that found them before and by a crate's test: the checkers still look.
pub(crate) fn smoke() -> Fallible<()> {
    let ids = ["A02", "B01", "B21", "C04", "D01", "E07", "H02", "H11", "H16", "F04", "P01"];
    // Beside the tests' build, which has compiled all but the crates with bugs in them.
    hunt(&[], &["--known", TABLE, "--seeds-max", "100"], &ids.map(str::to_owned))
}

fn hunt(profile: &[&str], options: &[&str], ids: &[String]) -> Fallible<()> {
    let tests = plants(profile).arg("--crate-tests").args(ids).stdout(Stdio::piped()).output()?;
    if !tests.status.success() {
        return Err("the hunt does not compile".into());
    }
    let tests =
        String::from_utf8(tests.stdout)?.lines().map(CrateTest::parse).collect::<Fallible<Vec<_>>>()?;
    let built = build(&tests)?;
    let mut said = String::new();
    for test in &tests {
        said.push_str(&test.said(&built)?);
    }
    fs::write(SAID, said)?;
    let status = plants(profile).args(["--said", SAID]).args(options).args(ids).status()?;
    if status.success() { Ok(()) } else { Err("a planted bug was not found".into()) }
}

/// The simulator's example.
fn plants(profile: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "quorate-sim", "--features", "planted-bugs"]);
    command.args(["--example", "plants"]).args(profile).arg("--");
    command
}

/// A test of a crate that hunts, as the catalogue says it: `-p PACKAGE --test NAME -- FILTER`, or with `--lib`.
struct CrateTest {
    package: String,
    /// The name of a test, or nothing for those in the library.
    test: Option<String>,
    filter: Option<String>,
}

impl CrateTest {
    fn parse(line: &str) -> Fallible<CrateTest> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (package, rest) = match words.as_slice() {
            ["-p", package, rest @ ..] => (*package, rest),
            _ => return Err(format!("no test of a crate: {line}").into()),
        };
        let (test, rest) = match rest {
            ["--lib", rest @ ..] => (None, rest),
            ["--test", name, rest @ ..] => (Some((*name).to_owned()), rest),
            _ => return Err(format!("neither a library nor a test: {line}").into()),
        };
        let filter = rest.iter().find(|word| **word != "--").map(|word| (*word).to_owned());
        Ok(CrateTest { package: package.to_owned(), test, filter })
    }

    /// What it said of the bugs that it found: nothing, if it failed.
    fn said(&self, built: &[Built]) -> Fallible<String> {
        let ours = |built: &&Built| built.package == self.package && built.test == self.test;
        let built = built.iter().find(ours).ok_or_else(|| format!("{} has no such test", self.package))?;
        let output = Command::new(&built.executable)
            .current_dir(&built.folder)
            .args(&self.filter)
            .arg("--nocapture")
            .env("RUST_BACKTRACE", "0")
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        // Most of the panics in it are the bugs' own.
        let errors = String::from_utf8_lossy(&output.stderr);
        eprintln!("{}: failed: {errors}\n{said}", built.executable);
        Ok(String::new())
    }
}

/// An executable that cargo has made of tests.
struct Built {
    package: String,
    test: Option<String>,
    executable: String,
    /// Where cargo would run it.
    folder: PathBuf,
}

/// Builds all of them at once: one by one, each would have the crates below it compiled again, with the features that it alone asks for.
fn build(tests: &[CrateTest]) -> Fallible<Vec<Built>> {
    let packages: BTreeSet<&str> = tests.iter().map(|test| test.package.as_str()).collect();
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let features: Vec<String> = packages.iter().map(|package| format!("{package}/planted-bugs")).collect();
    let target =
        |test: &CrateTest| test.test.as_ref().map_or("--lib".to_owned(), |name| format!("--test={name}"));
    let targets: BTreeSet<String> = tests.iter().map(target).collect();
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--no-run", "--message-format=json"])
        .args(["--features", &features.join(",")])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .args(&targets)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("tests of crates that hunt do not compile".into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().filter_map(built).collect())
}

/// One line of what cargo says of what it has built.
fn built(line: &str) -> Option<Built> {
    let said: serde_json::Value = serde_json::from_str(line).ok()?;
    let executable = said["executable"].as_str()?.to_owned();
    let folder = Path::new(said["manifest_path"].as_str()?).parent()?.to_owned();
    let name = said["target"]["name"].as_str()?;
    let is_test = said["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    // A package's folder has its name, without what all of them begin with.
    let package = format!("quorate-{}", folder.file_name()?.to_str()?);
    Some(Built { package, test: is_test.then(|| name.to_owned()), executable, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_catalogue_is_a_test_of_a_crate() {
        let parsed = |line| CrateTest::parse(line).map(|test| (test.package, test.test, test.filter)).ok();
        let word = |word: &str| Some(word.to_owned());
        assert_eq!(
            parsed("-p a --test rules -- planted"),
            Some(("a".into(), word("rules"), word("planted")))
        );
        assert_eq!(parsed("-p a --lib --"), Some(("a".into(), None, None)));
        assert_eq!(parsed("-p a --bench b"), None);
    }
}

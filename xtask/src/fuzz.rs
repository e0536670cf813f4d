//! The targets of `fuzz/` under libFuzzer, guided by coverage. It works with the stable compiler: only the sanitizers would need another one.

use std::{fs, path::Path, process::Command};

use crate::Fallible;

/// What libFuzzer wants to see of a run: the edges of the program, and what it compares.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 --cfg fuzzing";

const TARGET_FOLDER: &str = "target/fuzz";
/// What each target has learnt stays here between runs.
const CORPUS: &str = "target/fuzz-corpus";
/// What broke a target; `cargo test -p quorate-fuzz` replays it for ever.
const FOUND: &str = "fuzz/found";

const SECONDS: &str = "60";

/// `[TARGET…] [--seconds N]`: each target for so long; none named, all.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    let mut seconds = SECONDS.to_owned();
    let mut names = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => seconds = rest.next().ok_or("--seconds needs a number")?.clone(),
            name => names.push(name.to_owned()),
        }
    }
    seconds.parse::<u64>().map_err(|_| format!("--seconds {seconds}: a whole number is wanted"))?;
    let binary = build()?;
    let all = listed(&binary)?;
    if let Some(wrong) = names.iter().find(|name| !all.contains(name)) {
        return Err(format!("{wrong} is no target; there are {}", all.join(", ")).into());
    }
    if names.is_empty() {
        names = all;
    }
    let mut results = Vec::new();
    let mut broken = Vec::new();
    for name in &names {
        match one(&binary, name, &seconds)? {
            Some(runs) => results.push(format!("{name} {runs}")),
            None => broken.push(name.as_str()),
        }
    }
    let result = match broken.as_slice() {
        [] => format!("clean; inputs: {}", results.join(", ")),
        _ => format!("FAILED: {}; what broke them is in {FOUND}", broken.join(", ")),
    };
    crate::ledger::add(
        &format!("cargo xtask fuzz --seconds {seconds} {}", arguments_shown(arguments)),
        &result,
    )?;
    if broken.is_empty() { Ok(()) } else { Err(result.into()) }
}

fn arguments_shown(arguments: &[String]) -> String {
    arguments
        .iter()
        .filter(|argument| !argument.starts_with("--") && argument.parse::<u64>().is_err())
        .cloned()
        .collect::<Vec<_>>()
        .join(" ")
}

fn host() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn build() -> Fallible<String> {
    let host = host();
    // With a target named, build scripts and procedural macros are built without the flags.
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "quorate-fuzz", "--features", "libfuzzer", "--bin", "fuzz"])
        .args(["--target", &host, "--target-dir", TARGET_FOLDER])
        .env("RUSTFLAGS", FLAGS)
        .status()?;
    if !status.success() {
        return Err("the fuzzer does not build; it needs a C++ compiler".into());
    }
    Ok(format!("{TARGET_FOLDER}/{host}/release/fuzz"))
}

/// The names of all targets, one on a line.
fn listed(binary: &str) -> Fallible<Vec<String>> {
    let output = Command::new(binary).env("QUORATE_FUZZ_TARGET", "list").output()?;
    let text = String::from_utf8(output.stdout)?;
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    if names.is_empty() { Err(format!("{binary} lists no targets").into()) } else { Ok(names) }
}

/// How many inputs were tried; none if one of them broke it.
fn one(binary: &str, name: &str, seconds: &str) -> Fallible<Option<u64>> {
    let (corpus, found) = (format!("{CORPUS}/{name}"), format!("{FOUND}/{name}"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&found)?;
    let log = format!("{CORPUS}/{name}.log");
    println!("fuzz {name}: {seconds} s, log in {log}");
    let status = Command::new(binary)
        .env("QUORATE_FUZZ_TARGET", name)
        .args([format!("-max_total_time={seconds}"), format!("-artifact_prefix={found}/")])
        .args([
            "-rss_limit_mb=2048",
            "-malloc_limit_mb=512",
            "-timeout=20",
            "-max_len=16384",
            "-print_final_stats=1",
        ])
        .arg(&corpus)
        .stderr(fs::File::create(&log)?)
        .status()?;
    let _ = fs::remove_dir(&found);
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let runs = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    if !status.success() {
        let why = text.lines().find(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
        println!("fuzz {name}: BROKEN: {}", why.unwrap_or("see the log"));
        return Ok(None);
    }
    let runs = runs.and_then(|runs| runs.trim().parse().ok()).unwrap_or(0);
    println!("fuzz {name}: {runs} inputs, {} in the corpus", entries(Path::new(&corpus)));
    Ok(Some(runs))
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).into_iter().flatten().count()
}

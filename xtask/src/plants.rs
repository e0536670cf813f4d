//! Every planted bug must be found by its named checker. Needs a build with the feature `planted-bugs`, and asks cargo for one.

use crate::Fallible;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn run(ids: &[String]) -> Fallible<()> {
    let flags = ["run", "--quiet", "--release", "--package", "xtask", "--features", "planted-bugs"];
    let status = std::process::Command::new(env!("CARGO"))
        .args(flags)
        .args(["--target-dir", "target/plants", "--", "plants"])
        .args(ids)
        .status()?;
    if status.success() { Ok(()) } else { Err("a planted bug was not found".into()) }
}

/// The most seeds for one bug.
#[cfg(feature = "planted-bugs")]
const SEEDS_MAX: u64 = 1_000;

#[cfg(feature = "planted-bugs")]
pub(crate) fn run(ids: &[String]) -> Fallible<()> {
    let hunts = quorate_sim::plants::run_plants(ids, SEEDS_MAX, &mut |hunt| println!("{hunt}"));
    let found = hunts.iter().filter(|hunt| hunt.succeeded()).count();
    let missed = hunts.len() - found;
    println!("plants: {found} found, {missed} missed");
    if ids.is_empty() {
        crate::ledger::add(
            "cargo xtask plants",
            &format!("{found} found, {missed} missed, at most {SEEDS_MAX} seeds each"),
        )?;
    }
    if missed == 0 { Ok(()) } else { Err(format!("{missed} planted bugs were not found").into()) }
}

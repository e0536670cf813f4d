//! The targets under libFuzzer: `QUORATE_FUZZ_TARGET` says which, or `list` for their names.
#![no_main]
#![allow(missing_docs, reason = "what the macro writes")]

use std::{path::PathBuf, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use quorate_fuzz::{TARGETS, Target, target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fn chosen() -> &'static Target {
    CHOSEN.get_or_init(|| {
        let name = std::env::var("QUORATE_FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| panic!("QUORATE_FUZZ_TARGET = {name:?} is no target; try list"))
    })
}

/// Before the first input: the list, if that is asked for, and the target's seeds, written into the corpus (the last argument) if it is empty.
fn begin() {
    if std::env::var("QUORATE_FUZZ_TARGET").is_ok_and(|name| name == "list") {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(0);
    }
    let Some(corpus) = std::env::args().next_back().map(PathBuf::from).filter(|path| path.is_dir()) else {
        return;
    };
    if std::fs::read_dir(&corpus).is_ok_and(|mut entries| entries.next().is_none()) {
        for (number, seed) in (chosen().seeds)().iter().enumerate() {
            std::fs::write(corpus.join(format!("seed-{number}")), seed).expect("the corpus can be written");
        }
    }
}

fuzz_target!(init: begin(), |bytes: &[u8]| (chosen().run)(bytes));

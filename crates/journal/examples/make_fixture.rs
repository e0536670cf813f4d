//! Writes the fixture of the present format: `cargo run -p quorate-journal --example make_fixture -- crates/journal/tests/fixtures/v1`.
//!
//! A fixture is written once for each version of the format and never again: it stands for the files that are out there.
#![allow(unreachable_pub, reason = "the disk is shared with the tests")]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/disk.rs"]
mod disk;
#[path = "../tests/support/fixture.rs"]
mod fixture;

fn main() {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("where to? usage: make_fixture DIRECTORY");
        return;
    };
    for (name, content) in fixture::make() {
        let path = std::path::Path::new(&directory).join(name);
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, content));
        if let Err(error) = written {
            eprintln!("cannot write {}: {error}", path.display());
        }
    }
}

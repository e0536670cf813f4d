//! The Lab as people use it: a real binary, Debian's Chromium, and scripts that press what they can read.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{Fallible, cluster::binary};

/// What the scripts need, from npm's registry, in the target folder.
const MODULES: &str = "target/lab";
const PACKAGES: [&str; 3] = ["playwright-core@1.56.1", "axe-core@4.11.0", "typescript@5.9.3"];
const SCRIPTS: &str = "foreign/lab";

/// A server that is killed when it is no longer needed.
struct Lab {
    child: Child,
    address: String,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lab {
    fn start(mut command: Command) -> Fallible<Lab> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(said) = child.stdout.take() {
            BufReader::new(said).read_line(&mut line)?;
        }
        let address =
            line.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_default().to_owned();
        let lab = Lab { child, address };
        if lab.address.is_empty() {
            Err("the Lab does not start; what it says is above".into())
        } else {
            Ok(lab)
        }
    }
}

/// The page's walk, its tour of everything, and the planted bugs; `pictures` keeps the walk's screenshots where documents show them.
pub(crate) fn run(pictures: bool) -> Fallible<()> {
    if !Path::new("/usr/bin/chromium").exists() {
        return Err("there is no /usr/bin/chromium; Debian has it in the package chromium".into());
    }
    install()?;
    types()?;
    let shots = if pictures { "docs/lab" } else { "target/lab/shots" };
    std::fs::create_dir_all(shots)?;
    let mut server = Command::new(binary());
    server.args(["lab", "--port", "0"]);
    let lab = Lab::start(server)?;
    script("walk.mjs", &lab, shots)?;
    script("tour.mjs", &lab, "target/lab/shots")?;
    let planted = Lab::start(planted()?)?;
    script("planted.mjs", &planted, shots)
}

fn install() -> Fallible<()> {
    std::fs::create_dir_all(MODULES)?;
    let installed = Command::new("npm")
        .args(["install", "--prefix", MODULES, "--no-audit", "--no-fund", "--silent"])
        .args(PACKAGES)
        .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
        .status();
    if installed.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(format!("npm does not install {}; Debian has it in the package npm", PACKAGES.join(" and "))
            .into())
    }
}

/// The page's types stand in comments; they are checked here, and not needed to build.
fn types() -> Fallible<()> {
    let checked = Command::new(format!("{MODULES}/node_modules/.bin/tsc"))
        .args(["--allowJs", "--checkJs", "--noEmit", "--strict", "--target", "es2022", "--module", "es2022"])
        .args([
            "--moduleResolution",
            "bundler",
            "--lib",
            "es2023,dom,dom.iterable",
            "crates/console/web/app.js",
        ])
        .status()?;
    if checked.success() { Ok(()) } else { Err("the page's types do not agree".into()) }
}

/// The Lab of a build with planted bugs, which is not the one that is shipped.
fn planted() -> Fallible<Command> {
    let mut build = Command::new("cargo");
    build.args([
        "build",
        "--release",
        "--quiet",
        "-p",
        "quorate-console",
        "--features",
        "planted-bugs",
        "--example",
        "lab",
    ]);
    if !build.status()?.success() {
        return Err("the Lab with planted bugs does not build".into());
    }
    Ok(Command::new("target/release/examples/lab"))
}

fn script(name: &str, lab: &Lab, shots: &str) -> Fallible<()> {
    println!("lab: {name}");
    let modules = std::env::current_dir()?.join(MODULES);
    let played = Command::new("node")
        .arg(format!("{SCRIPTS}/{name}"))
        .args([lab.address.as_str(), shots])
        .env("LAB_MODULES", modules)
        .status()?;
    if played.success() { Ok(()) } else { Err(format!("{name} has found something").into()) }
}

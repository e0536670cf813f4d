//! The table of floors: which crate may use which. An import upwards, a socket on a pure floor, or a crate that nobody gave a place fails here.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test looks at files and starts cargo"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

/// A floor's number, its crate, and the crates of ours that it may use: all of it, and nothing else.
const FLOORS: &[(u8, &str, &[&str])] = &[
    (1, "consensus", &[]),
    (2, "raft", &["consensus"]),
    (2, "zab", &["consensus"]),
    (2, "journal", &["consensus"]),
    (2, "keyspace", &["consensus"]),
    (2, "znodes", &["consensus"]),
    (2, "placement", &["consensus"]),
    (2, "order", &["consensus"]),
    (2, "wire", &[]),
    (3, "node", &["consensus", "raft", "zab", "journal"]),
    (4, "service", &["node", "keyspace", "znodes", "placement", "order", "wire", "consensus"]),
    (
        5,
        "server",
        &["tls", "service", "wire", "node", "keyspace", "placement", "consensus", "raft", "journal"],
    ),
    (
        5,
        "sim",
        &["service", "wire", "node", "keyspace", "placement", "order", "consensus", "raft", "zab", "journal"],
    ),
    (5, "client", &["wire", "placement"]),
    (5, "explore", &["consensus", "raft", "zab"]),
    (5, "ports", &[]),
    (5, "tls", &["consensus"]),
    (
        6,
        "etcd",
        &[
            "tls",
            "server",
            "service",
            "wire",
            "node",
            "keyspace",
            "placement",
            "consensus",
            "raft",
            "journal",
        ],
    ),
    (
        6,
        "zookeeper",
        &["tls", "server", "service", "wire", "node", "keyspace", "placement", "znodes", "consensus"],
    ),
    (6, "console", &["sim", "client", "wire", "consensus"]),
    (
        7,
        "quorate",
        &[
            "consensus",
            "raft",
            "journal",
            "keyspace",
            "placement",
            "wire",
            "node",
            "service",
            "server",
            "sim",
            "console",
            "client",
            "ports",
            "tls",
            "etcd",
            "zookeeper",
        ],
    ),
];

/// Floors up to this one are pure: values, without clock, disk, network, threads or randomness of their own.
const PURE_MAX: u8 = 4;

/// What the pure floors may use of others.
const PURE_MAY_USE: &[&str] = &["bytes", "crc32fast", "prost", "sha2"];

/// What no pure floor may reach, however indirectly.
const NEVER_PURE: &[&str] = &[
    "tokio",
    "tonic",
    "hyper",
    "h2",
    "mio",
    "rustix",
    "nix",
    "libc",
    "rand",
    "rand_core",
    "getrandom",
    "fastrand",
    "socket2",
    "chrono",
    "time",
    "futures",
    "async-std",
    "smol",
    "crossbeam",
    "rayon",
    "tracing",
    "log",
    "parking_lot",
    "ahash",
    "hashbrown",
    "dashmap",
];

/// Not part of the product: may use what it needs.
const OUTSIDE: &[&str] = &["xtask", "quorate-fuzz"];

struct Metadata {
    /// Each package of the workspace, by name.
    ours: BTreeMap<String, Value>,
    /// Every package's name, by id.
    names: BTreeMap<String, String>,
    /// What a package of this id needs to run, by id.
    needs: BTreeMap<String, Vec<String>>,
}

/// Asked for once: cargo takes a while.
fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(ask)
}

fn ask() -> Metadata {
    let output = Command::new(env!("CARGO"))
        // For one platform, and offline: what was built has been downloaded, what other platforms need has not.
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().expect("text").to_string();
    let members: BTreeSet<String> = list(&all["workspace_members"]).iter().map(text).collect();
    let packages = list(&all["packages"]);
    let ours = packages
        .iter()
        .filter(|package| members.contains(&text(&package["id"])))
        .map(|package| (text(&package["name"]), package.clone()))
        .collect();
    let names = packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let runs = |dependency: &&Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    let needs = list(&all["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let needed =
                list(&node["deps"]).iter().filter(runs).map(|dependency| text(&dependency["pkg"])).collect();
            (text(&node["id"]), needed)
        })
        .collect();
    Metadata { ours, names, needs }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `quorate-raft` as the table has it.
fn floor_of(package: &str) -> Option<&'static (u8, &'static str, &'static [&'static str])> {
    let name = package.strip_prefix("quorate-").unwrap_or(package);
    FLOORS.iter().find(|(_, known, _)| *known == name)
}

fn dependencies<'a>(package: &'a Value, dev: bool) -> impl Iterator<Item = &'a str> {
    let wanted = move |dependency: &&'a Value| (dependency["kind"].as_str() == Some("dev")) == dev;
    list(&package["dependencies"]).iter().filter(wanted).filter_map(|dependency| dependency["name"].as_str())
}

#[test]
fn every_crate_has_a_place_and_uses_only_what_it_may() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for (name, package) in &metadata.ours {
        if OUTSIDE.contains(&name.as_str()) {
            continue;
        }
        let Some((floor, crate_name, may_use)) = floor_of(name) else {
            wrong.push(format!(
                "{name} has no floor: give it one in the table of tests/floors.rs and of the architecture"
            ));
            continue;
        };
        for dependency in dependencies(package, false).filter(|name| metadata.ours.contains_key(*name)) {
            let short = dependency.strip_prefix("quorate-").unwrap_or(dependency);
            if !may_use.contains(&short) {
                wrong.push(format!(
                    "{crate_name} (floor {floor}) uses {short}, which the table does not allow"
                ));
            }
        }
        // Tests may look across, never up.
        for dependency in dependencies(package, true).filter(|name| metadata.ours.contains_key(*name)) {
            if floor_of(dependency).is_none_or(|(other, ..)| other > floor) {
                wrong.push(format!(
                    "tests of {crate_name} (floor {floor}) use {dependency}, which lies above"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_floors_reach_nothing_of_the_real_world() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for (name, package) in &metadata.ours {
        let Some((floor, ..)) = floor_of(name).filter(|(floor, ..)| *floor <= PURE_MAX) else { continue };
        let direct = list(&package["dependencies"]).iter().filter(|dependency| dependency["kind"].is_null());
        for dependency in direct.filter_map(|dependency| dependency["name"].as_str()) {
            if !metadata.ours.contains_key(dependency) && !PURE_MAY_USE.contains(&dependency) {
                wrong.push(format!(
                    "{name} (floor {floor}) uses {dependency}; pure floors use {PURE_MAY_USE:?} alone"
                ));
            }
        }
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = package["id"].as_str().into_iter().collect();
        while let Some(id) = next.pop() {
            for needed in metadata.needs.get(id).into_iter().flatten() {
                // Macros run in the compiler, not in the product; what they need is not in it.
                let name = metadata.names[needed].as_str();
                if reached.insert(name) && name != "prost-derive" {
                    next.push(needed);
                }
            }
        }
        wrong.extend(
            reached
                .iter()
                .filter(|name| NEVER_PURE.contains(name))
                .map(|reached| format!("{name} reaches {reached}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_crate_has_unsafe_code() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for (name, package) in metadata.ours.iter().filter(|(name, _)| !OUTSIDE.contains(&name.as_str())) {
        let roots = list(&package["targets"]).iter().filter(|target| {
            list(&target["kind"]).iter().any(|kind| ["lib", "bin"].iter().any(|wanted| kind == wanted))
        });
        for path in roots.filter_map(|target| target["src_path"].as_str()).map(PathBuf::from) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if !text.contains("#![forbid(unsafe_code)]") {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
                let shown =
                    root.canonicalize().ok().and_then(|root| Some(path.strip_prefix(root).ok()?.to_owned()));
                wrong
                    .push(format!("{name}: {} does not forbid unsafe code", shown.unwrap_or(path).display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_no_crate_that_is_gone() {
    let metadata = metadata();
    for (_, name, _) in FLOORS {
        let package = if *name == "quorate" { "quorate".to_string() } else { format!("quorate-{name}") };
        assert!(
            metadata.ours.contains_key(&package),
            "{package} stands in the table and not in the workspace"
        );
    }
}

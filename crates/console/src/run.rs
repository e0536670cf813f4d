//! A run as the page names it: JSON, with every limit checked before anything is played.

use std::fmt;

use quorate_consensus::EngineKind;
use quorate_sim::{
    ACTIONS_HEADER, Planned, actions_from_text,
    film::{Film, Scene, film_of_scene, film_of_seed},
};
use serde_json::{Map, Value, json};

/// The version of a run's form.
pub(crate) const VERSION: u64 = 1;
/// The largest number of an action, whatever it counts: eleven days, if it is milliseconds. Times of the list are held to it in microseconds.
const NUMBER_MAX: u64 = 1_000_000_000;
/// The most actions of a run.
const ACTIONS_MAX: usize = 5_000;

/// What is to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The cluster.
    pub what: What,
    /// What is done to it; none: what the seed draws.
    pub actions: Option<Vec<Planned>>,
    /// The bug that is planted, if any.
    pub plant: String,
}

/// What a run is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A cluster that somebody set up.
    Scene(Scene),
    /// A seed of the simulator's campaign.
    Seed {
        /// What drives the keys.
        engine: EngineKind,
        /// The seed.
        seed: u64,
    },
}

/// Why a run cannot be played: a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRun(pub String);

impl fmt::Display for BadRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRun {}

fn bad<T>(what: impl Into<String>) -> Result<T, BadRun> {
    Err(BadRun(what.into()))
}

/// The fields of a run, by their names.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn number(&self, name: &str, default: u64) -> Result<u64, BadRun> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::String(text)) if text.parse::<u64>().is_ok() => Ok(text.parse().unwrap_or(default)),
            Some(value) => value
                .as_u64()
                .map_or_else(|| bad(format!("{name} is {value}; it has to be a whole number")), Ok),
        }
    }

    fn text(&self, name: &str) -> Result<&str, BadRun> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(value) => bad(format!("{name} is {value}; it has to be a text")),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, BadRun> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => bad(format!("{name} is {value}; it has to be true or false")),
        }
    }

    fn engine(&self) -> Result<EngineKind, BadRun> {
        match self.text("engine")? {
            "" | "raft" => Ok(EngineKind::Raft),
            "zab" => Ok(EngineKind::Zab),
            other => bad(format!("the engine {other:?} is unknown; there are raft and zab")),
        }
    }

    fn actions(&self) -> Result<Option<Vec<Planned>>, BadRun> {
        let text = self.text("actions")?;
        if text.is_empty() {
            return Ok(None);
        }
        let actions = actions_from_text(text)
            .map_err(|why| BadRun(format!("the list of actions cannot be read: {why}")))?;
        if actions.len() > ACTIONS_MAX {
            return bad(format!("there are {} actions; {ACTIONS_MAX} may be", actions.len()));
        }
        for planned in &actions {
            let line = planned.action.to_string();
            let numbers = line.split(['=', ' ']).filter_map(|word| word.parse::<u64>().ok());
            if let Some(number) = numbers.chain([planned.at / 1_000]).find(|number| *number > NUMBER_MAX) {
                return bad(format!(
                    "{number} in {line:?} is more than {NUMBER_MAX}, the most that an action takes"
                ));
            }
        }
        Ok(Some(actions))
    }

    fn scene(&self) -> Result<Scene, BadRun> {
        let default = Scene::default();
        let scene = Scene {
            engine: self.engine()?,
            nodes: self.number("nodes", default.nodes)?,
            spares: self.number("spares", default.spares)?,
            clients: u32::try_from(self.number("clients", 0)?).unwrap_or(u32::MAX),
            rest_ms: self.number("rest_ms", default.rest_ms)?,
            seed: self.number("seed", default.seed)?,
            until_ms: self.number("until_ms", default.until_ms)?,
            election_ms: self.number("election_ms", default.election_ms)?,
            heartbeat_ms: self.number("heartbeat_ms", default.heartbeat_ms)?,
            delay_us: self.number("delay_us", default.delay_us)?,
            snapshot_bytes: self.number("snapshot_bytes", default.snapshot_bytes)?,
            lease: self.flag("lease", default.lease)?,
            pre_vote: self.flag("pre_vote", default.pre_vote)?,
        };
        scene.check().map_err(|why| BadRun(format!("{why}. Change it and play the run again")))?;
        Ok(scene)
    }
}

impl Run {
    /// Reads what the page sends.
    ///
    /// # Errors
    /// What is wrong, and what it has to be.
    pub fn read(value: &Value) -> Result<Run, BadRun> {
        let Value::Object(fields) = value else {
            return bad("a run is a JSON object; this is none");
        };
        let fields = Fields(fields);
        let version = fields.number("version", VERSION)?;
        if version != VERSION {
            return bad(format!(
                "this run is of version {version}, and this build plays version {VERSION}; open it with the build that made it"
            ));
        }
        let what = match fields.text("kind")? {
            "" | "scene" => What::Scene(fields.scene()?),
            "seed" => What::Seed { engine: fields.engine()?, seed: fields.number("seed", 1)? },
            other => return bad(format!("a run of the kind {other:?} is unknown; there are scene and seed")),
        };
        let plant = fields.text("plant")?.to_owned();
        if !plant.is_empty() && !quorate_consensus::PLANTS_COMPILED {
            return bad(
                "this binary has no planted bugs in it; build one that has: cargo build -p quorate --features planted-bugs",
            );
        }
        if plant.len() > 8 {
            return bad(format!("{plant:?} is no planted bug; their names are like A02"));
        }
        Ok(Run { what, actions: fields.actions()?, plant })
    }

    /// Plays it, on this thread.
    ///
    /// # Errors
    /// A limit is broken.
    pub fn play(&self) -> Result<Film, BadRun> {
        // Whatever was planted for an earlier film of this thread is gone.
        #[cfg(feature = "planted-bugs")]
        quorate_consensus::activate_plant(&self.plant);
        match &self.what {
            What::Scene(scene) => film_of_scene(scene, self.actions.clone().unwrap_or_default())
                .map_err(|why| BadRun(why.to_string())),
            What::Seed { engine, seed } => Ok(film_of_seed(*engine, *seed, self.actions.clone())),
        }
    }

    /// What drives the keys.
    #[must_use]
    pub fn engine(&self) -> EngineKind {
        match &self.what {
            What::Scene(scene) => scene.engine,
            What::Seed { engine, .. } => *engine,
        }
    }

    /// As the page keeps it, with the actions that were played.
    #[must_use]
    pub fn to_json(&self, actions: &str) -> Value {
        let engine = engine_name(self.engine());
        let actions = if actions.is_empty() { ACTIONS_HEADER } else { actions };
        match &self.what {
            What::Scene(scene) => json!({
                "version": VERSION,
                "kind": "scene",
                "engine": engine,
                "nodes": scene.nodes,
                "spares": scene.spares,
                "clients": scene.clients,
                "rest_ms": scene.rest_ms,
                "seed": scene.seed.to_string(),
                "until_ms": scene.until_ms,
                "election_ms": scene.election_ms,
                "heartbeat_ms": scene.heartbeat_ms,
                "delay_us": scene.delay_us,
                "snapshot_bytes": scene.snapshot_bytes,
                "lease": scene.lease,
                "pre_vote": scene.pre_vote,
                "plant": self.plant,
                "actions": actions,
            }),
            What::Seed { seed, .. } => json!({
                "version": VERSION,
                "kind": "seed",
                "engine": engine,
                "seed": seed.to_string(),
                "plant": self.plant,
                "actions": actions,
            }),
        }
    }
}

/// The name of an engine, as runs have it.
pub(crate) fn engine_name(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Raft => "raft",
        EngineKind::Zab => "zab",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(run: Value) -> String {
        Run::read(&run).unwrap_err().0
    }

    #[test]
    fn a_run_reads_back_as_it_was_written() {
        let run = json!({ "version": 1, "nodes": 3, "seed": "18446744073709551615", "actions": "quorate-sim actions 1\n5 heal\n" });
        let run = Run::read(&run).unwrap();
        let text = "quorate-sim actions 1\n5 heal\n";
        assert_eq!(Run::read(&run.to_json(text)).unwrap(), run);
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_what_it_may_be() {
        assert_eq!(refused(json!([])), "a run is a JSON object; this is none");
        assert!(refused(json!({ "version": 2 })).contains("of version 2, and this build plays version 1"));
        assert!(refused(json!({ "nodes": 0 })).starts_with("the number of nodes is 0; it may be 1 to 9"));
        assert!(refused(json!({ "nodes": "many" })).contains("has to be a whole number"));
        assert!(refused(json!({ "engine": "paxos" })).contains("there are raft and zab"));
        assert!(refused(json!({ "kind": "story" })).contains("scene and seed"));
        assert!(
            refused(json!({ "actions": "quorate-sim actions 1\n5 explode\n" }))
                .contains("unknown action explode")
        );
        assert!(refused(json!({ "actions": "nonsense" })).contains("the first line is not"));
        let forever = "quorate-sim actions 1\n5 kill who=1 down_ms=18446744073709551615\n";
        assert!(refused(json!({ "actions": forever })).contains("is more than 1000000000"));
        let late = "quorate-sim actions 1\n18446744073709551615 heal\n";
        assert!(refused(json!({ "actions": late })).contains("is more than 1000000000"));
    }

    #[test]
    #[cfg(not(feature = "planted-bugs"))]
    fn a_planted_bug_needs_a_build_that_has_it() {
        assert!(refused(json!({ "plant": "A02" })).contains("--features planted-bugs"));
    }
}

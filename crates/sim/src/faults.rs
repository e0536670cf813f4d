//! What is done to a cluster, as a list of actions: a run is (configuration, seed, actions), so that a run survives a change in how the
//! actions are drawn. The list has a text form, one action a line.

use std::{fmt, str::FromStr};

use crate::schedule::{MILLIS, Time};

/// The version of the text form, its first line.
pub const ACTIONS_HEADER: &str = "quorate-sim actions 1";

/// Whom an action strikes. Resolved when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The host in this place.
    Host(u64),
    /// Whoever leads in the greatest term; host 0 if nobody does.
    Leader,
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])* $name:ident $text:literal { $($field:ident: $kind:ty),* },)*) => {
        /// Something done to the cluster.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Action {
            $($(#[doc = $doc])* $name { $(#[doc = "See the variant."] $field: $kind),* },)*
        }

        impl fmt::Display for Action {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Action::$name { $($field),* } => {
                        f.write_str($text)?;
                        $(write!(f, " {}={}", stringify!($field), Value::from(*$field).0)?;)*
                        Ok(())
                    })*
                }
            }
        }

        impl FromStr for Action {
            type Err = String;
            fn from_str(line: &str) -> Result<Action, String> {
                let mut words = line.split_whitespace();
                let name = words.next().ok_or("an empty line")?;
                let fields: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
                match name {
                    $($text => Ok(Action::$name {
                        $($field: <$kind>::try_from(Value(field(&fields, stringify!($field))?))?,)*
                    }),)*
                    other => Err(format!("unknown action {other}")),
                }
            }
        }
    };
}

actions! {
    /// The power of a host fails; it comes back after `down_ms`.
    Crash "crash" { who: Who, down_ms: u64 },
    /// The power of all hosts fails; they come back one by one.
    CrashAll "crash-all" { down_ms: u64 },
    /// A process is killed; what it wrote stays readable.
    Kill "kill" { who: Who, down_ms: u64 },
    /// The host's power fails right after it has, `skip` times more, sent a frame (0), submitted disk operations (1), had a disk operation
    /// end (2), become leader (3), sent a grant or acknowledgement (4), handed a snapshot over (5), truncated its log (6).
    CrashAt "crash-at" { who: Who, moment: u64, skip: u64, down_ms: u64 },
    /// A process does nothing for a while.
    Pause "pause" { who: Who, ms: u64 },
    /// The hosts in the mask and the others do not reach each other.
    Split "split" { mask: u64 },
    /// What hosts in the mask send does not reach the others.
    OneWay "one-way" { mask: u64 },
    /// Nobody reaches the host, and it nobody.
    Isolate "isolate" { who: Who },
    /// The host receives nothing.
    Deaf "deaf" { who: Who },
    /// Nothing the host sends arrives.
    Mute "mute" { who: Who },
    /// Two halves that only reach one host in the middle.
    Bridge "bridge" { who: Who, mask: u64 },
    /// Two hosts do not reach each other; all others do.
    Sever "sever" { a: u64, b: u64 },
    /// Every link is whole.
    Heal "heal" {},
    /// The links of a pair come and go.
    Flap "flap" { a: u64, b: u64, half_ms: u64, ms: u64 },
    /// The network loses, doubles, reorders and delays.
    Style "style" { loss: u64, duplicate: u64, reorder: u64, delay_us: u64 },
    /// A clock runs fast (or, above a million, slow by what is above it) by so many millionths.
    Drift "drift" { who: Who, ppm: u64 },
    /// A clock jumps ahead.
    Jump "jump" { who: Who, ms: u64 },
    /// A clock steps ahead by no more than a lease allows for, or that of one whose word no lease rests on by more.
    Edge "edge" { who: Who, ms: u64 },
    /// Syncs take up to `more_ms` longer.
    DiskSlow "disk-slow" { who: Who, more_ms: u64, ms: u64 },
    /// No disk operation ends for a while.
    DiskHang "disk-hang" { who: Who, ms: u64 },
    /// The disk is full for a while.
    DiskFull "disk-full" { who: Who, ms: u64 },
    /// The next write or sync fails; the host is started again after `down_ms`.
    DiskFail "disk-fail" { who: Who, down_ms: u64 },
    /// The host's disk is replaced by an empty one.
    LoseDisk "lose-disk" { who: Who, down_ms: u64 },
    /// The host's power fails, and while it is off a durable bit flips.
    Rot "rot" { who: Who, down_ms: u64 },
    /// The state half takes up to `more_us` longer for each batch.
    SlowApply "slow-apply" { who: Who, more_us: u64, ms: u64 },
    /// Leadership is to move; to the most advanced voter if `to` is beyond the hosts.
    Transfer "transfer" { to: u64 },
    /// A host becomes a learner.
    AddLearner "add-learner" { host: u64 },
    /// A host becomes a voter at once.
    AddVoter "add-voter" { host: u64 },
    /// A learner becomes a voter.
    Promote "promote" { host: u64 },
    /// A member goes.
    Remove "remove" { who: Who },
    /// A member takes another's place.
    Replace "replace" { old: u64, new: u64 },
    /// Clients stop resting between operations for a while.
    Burst "burst" { ms: u64 },
    /// What the hosts in the mask send to a host is held up for a while, and then arrives at once.
    Stall "stall" { mask: u64, to: Who, ms: u64 },
    /// Clients only read for a while, which may be longer than the faults last.
    Quiet "quiet" { ms: u64 },
    /// Whoever begins to lead within a while is asked at once to remove a host, or, if it is no member, to make it a voter.
    Hasty "hasty" { host: u64, ms: u64 },
    /// As soon as a leader has a joint membership in its log, within a while, the hosts in the mask and the others do not reach each other: those beyond
    /// have not heard of it.
    Part "part" { mask: u64, ms: u64 },
    /// A message that nobody sent arrives at a host as if from another, of the records' group or the keys', in a term near the end of the numbers.
    Forge "forge" { from: u64, to: u64, meta: u64 },
    /// A host that is down starts now.
    Start "start" { who: Who },
    /// A host takes a snapshot of the keys.
    Snapshot "snapshot" { who: Who },
    /// What one host sends does not reach another.
    Cut "cut" { from: u64, to: u64 },
    /// What one host sends reaches another again.
    Mend "mend" { from: u64, to: u64 },
    /// A client of its own asks a host once: to put a key (0), for a key (1), for a key as the host has it (2), to delete a key (3), or to put a key if the value before this
    /// one is there (4).
    Request "request" { who: Who, call: u64, key: u64, value: u64 },
    /// The frame with this number does not arrive, whenever it is sent.
    Lose "lose" { frame: u64 },
    /// The frame with this number arrives so much later.
    Hold "hold" { frame: u64, ms: u64 },
    /// The frame with this number arrives a second time, so much later.
    Twice "twice" { frame: u64, ms: u64 },
    /// The keys are divided among so many shards, if they are not.
    DivideKeys "divide-keys" { shards: u64 },
    /// The shard in this place of the map, counted round and round, is split.
    SplitShard "split-shard" { place: u64 },
    /// The shard in this place of the map, counted round and round, gets all that its right neighbour has.
    MergeShards "merge-shards" { place: u64 },
}

struct Value(String);

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value(value.to_string())
    }
}
impl From<Who> for Value {
    fn from(value: Who) -> Value {
        Value(match value {
            Who::Host(host) => host.to_string(),
            Who::Leader => "leader".to_owned(),
        })
    }
}
impl TryFrom<Value> for u64 {
    type Error = String;
    fn try_from(value: Value) -> Result<u64, String> {
        value.0.parse().map_err(|_| format!("{} is not a number", value.0))
    }
}
impl TryFrom<Value> for Who {
    type Error = String;
    fn try_from(value: Value) -> Result<Who, String> {
        if value.0 == "leader" { Ok(Who::Leader) } else { u64::try_from(value).map(Who::Host) }
    }
}

fn field(fields: &[(&str, &str)], name: &str) -> Result<String, String> {
    let found = fields.iter().find(|(field, _)| *field == name);
    found.map(|(_, value)| (*value).to_owned()).ok_or_else(|| format!("{name}= is missing"))
}

/// An action and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// True virtual time, in nanoseconds.
    pub at: u64,
    /// What.
    pub action: Action,
}

/// Writes a list of actions as text.
#[must_use]
pub fn actions_to_text(actions: &[Planned]) -> String {
    let mut text = format!("{ACTIONS_HEADER}\n");
    for Planned { at, action } in actions {
        text.push_str(&format!("{at} {action}\n"));
    }
    text
}

/// Reads what [`actions_to_text`] wrote.
///
/// # Errors
/// Which line is wrong, and why.
pub fn actions_from_text(text: &str) -> Result<Vec<Planned>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(ACTIONS_HEADER) {
        return Err(format!("the first line is not {ACTIONS_HEADER:?}"));
    }
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (at, action) = line.split_once(' ').ok_or_else(|| format!("{line}: no action"))?;
            let at = at.parse().map_err(|_| format!("{line}: no time"))?;
            Ok(Planned { at, action: action.parse().map_err(|why| format!("{line}: {why}"))? })
        })
        .collect()
}

/// A moment so many milliseconds into the run.
#[must_use]
pub fn at_ms(ms: u64, action: Action) -> Planned {
    Planned { at: (ms * MILLIS) as Time, action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_actions_reads_back() {
        let actions = vec![
            at_ms(5, Action::Crash { who: Who::Leader, down_ms: 100 }),
            at_ms(6, Action::Style { loss: 1, duplicate: 2, reorder: 3, delay_us: 4 }),
            at_ms(7, Action::Heal {}),
            at_ms(8, Action::Replace { old: 1, new: 4 }),
        ];
        let text = actions_to_text(&actions);
        assert_eq!(actions_from_text(&text).unwrap(), actions);
        assert!(actions_from_text("other").is_err());
        assert!(actions_from_text(&format!("{ACTIONS_HEADER}\n5 crash who=leader\n")).is_err());
    }
}

//! What clients ask, at random.

use quorate_service::keyspace::{
    self, Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseId, Operation, Put,
    Range, Txn,
};

use crate::world::World;

fn key(world: &mut World) -> String {
    format!("k{}", world.pick(12))
}

fn end(world: &mut World) -> &'static str {
    ["", "", "\0", "k5", "l"][world.pick(5) as usize]
}

fn put(world: &mut World) -> Put {
    let lease = if world.chance(4) { LeaseId(1 + world.pick(3) as i64) } else { LeaseId(0) };
    let value = format!("{}", world.pick(5)).into();
    Put { key: key(world).into(), value, lease, prev_kv: world.chance(2), ..Put::default() }
}

fn delete(world: &mut World) -> DeleteRange {
    DeleteRange { key: key(world).into(), range_end: end(world).into(), prev_kv: world.chance(2) }
}

fn txn(world: &mut World) -> Txn {
    let seen = world.seen();
    let compare = (0..world.pick(3)).map(|_| {
        let target = match world.pick(3) {
            0 => CompareTarget::Mod(world.pick(seen + 6) as i64),
            1 => CompareTarget::Version(world.pick(4) as i64),
            _ => CompareTarget::Value("1".into()),
        };
        let result =
            [CompareResult::Equal, CompareResult::Greater, CompareResult::Less][world.pick(3) as usize];
        Compare { key: key(world).into(), range_end: "".into(), result, target }
    });
    let compare = compare.collect();
    let branch = |world: &mut World| {
        let operation = |world: &mut World| match world.pick(6) {
            0..3 => Operation::Put(put(world)),
            3 => Operation::DeleteRange(delete(world)),
            _ => {
                let revision = if world.chance(3) { (seen - world.pick(seen.min(3))) as i64 } else { 0 };
                let range_end = end(world).into();
                Operation::Range(Range { key: key(world).into(), range_end, revision, ..Range::default() })
            }
        };
        (0..world.pick(4)).map(|_| operation(world)).collect()
    };
    Txn { compare, success: branch(world), failure: branch(world) }
}

/// A client asks for something of any kind.
pub(crate) fn asks(world: &mut World) {
    let command = command(world);
    asks_for(world, command);
}

/// A client asks for a change of keys alone: many changes of leases at one revision have more orders than the judge tries.
pub(crate) fn asks_of_keys(world: &mut World) {
    let command = match world.pick(3) {
        0 => Command::Put(put(world)),
        1 => Command::DeleteRange(delete(world)),
        _ => Command::Txn(txn(world)),
    };
    asks_for(world, command);
}

fn asks_for(world: &mut World, command: Command) {
    // What fails by itself is refused before anything is proposed.
    if keyspace::check(&command, &keyspace::Limits::default()).is_ok() {
        world.asks(command);
    }
}

fn command(world: &mut World) -> Command {
    match world.pick(20) {
        0..9 => Command::Put(put(world)),
        9..12 => Command::DeleteRange(delete(world)),
        12..16 => Command::Txn(txn(world)),
        // One key, as it was at a revision of which its shard may not have heard.
        16 => {
            let (put, revision) = (put(world), (world.seen() - world.pick(world.seen().min(3))) as i64);
            let range = Range { key: put.key.clone(), revision, ..Range::default() };
            let success = vec![Operation::Range(range), Operation::Put(put)];
            Command::Txn(Txn { success, ..Txn::default() })
        }
        // One that nobody revokes.
        17 if world.chance(3) => {
            Command::LeaseGrant { id: LeaseId(101 + world.requests.len() as i64), ttl_s: 10 }
        }
        17 => Command::LeaseGrant { id: LeaseId(1 + world.pick(3) as i64), ttl_s: 10 },
        18 => Command::LeaseRevoke { id: LeaseId(1 + world.pick(3) as i64) },
        _ => {
            let revision = world.seen() as i64 + 3 - world.pick(20) as i64;
            Command::Compact(Compact { revision, physical: false })
        }
    }
}

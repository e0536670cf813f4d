//! Leases, locks, elections, maintenance.

use quorate_client::wire::{
    etcdserverpb::{self as pb},
    v3electionpb as election, v3lockpb as lock,
};

use super::{Call, LEASES_MAX, World, kv::DEPTH_MAX};
use crate::etcd_differential::call::Whom;

/// The shortest TTL that is granted: no lease ends by itself while a run lasts, for then revisions would depend on the time.
const TTL_MIN_S: u64 = 40_000;
/// The longest that etcd grants.
const TTL_MAX_S: i64 = 9_000_000_000;
/// From this id on leases are granted and revoked at once.
const FLEETING: i64 = 5_000_000;

impl World {
    pub(super) fn lease(&mut self) -> Vec<Call> {
        match self.random.below(10) {
            0..3 => self.grant(),
            3 => vec![self.revoke()],
            4..6 => {
                let request = pb::LeaseTimeToLiveRequest { id: self.some_lease(), keys: self.one_in(2) };
                vec![Call::LeaseTimeToLive(request)]
            }
            6 => vec![Call::LeaseLeases],
            7 => {
                let count = 1 + self.random.below(4);
                vec![Call::LeaseKeepAlive((0..count).map(|_| self.some_lease()).collect())]
            }
            _ => {
                let mut put = self.put();
                put.lease = self.some_lease();
                vec![Call::Put(put)]
            }
        }
    }

    fn grant(&mut self) -> Vec<Call> {
        let ttl = (TTL_MIN_S + self.random.below(1_000)) as i64;
        let grant = |id, ttl| Call::LeaseGrant(pb::LeaseGrantRequest { ttl, id });
        match self.random.below(12) {
            0 => vec![grant(FLEETING, TTL_MAX_S + 1)],
            // Raised to the shortest that there is, and gone before it ends.
            1 => {
                let ttl = self.pick(&[0, -5, 1, i64::MIN]);
                vec![grant(FLEETING, ttl), Call::LeaseRevoke(pb::LeaseRevokeRequest { id: FLEETING })]
            }
            2 => vec![grant(self.some_lease(), ttl)],
            _ if self.leases.len() >= LEASES_MAX => vec![self.revoke()],
            _ => {
                let id = 1_000 + self.random.below(100) as i64;
                let id = if self.one_in(8) { -id } else { id };
                if !self.leases.contains(&id) {
                    self.leases.push(id);
                }
                vec![grant(id, ttl)]
            }
        }
    }

    fn revoke(&mut self) -> Call {
        let id = self.some_lease();
        self.leases.retain(|lease| *lease != id);
        Call::LeaseRevoke(pb::LeaseRevokeRequest { id })
    }

    /// Locks and elections under names of their own, so that nobody ever waits.
    pub(super) fn recipe(&mut self) -> Vec<Call> {
        self.names += 1;
        let lease = self.some_lease();
        let key = |name: &str| format!("{name}/{}", hexadecimal(lease));
        if self.one_in(2) {
            let name = format!("lock-{}", self.names);
            let lock = || Call::Lock(lock::LockRequest { name: name.clone().into(), lease });
            let unlock = || Call::Unlock(lock::UnlockRequest { key: key(&name).into() });
            let look = Call::Range(pb::RangeRequest {
                key: format!("{name}/").into(),
                range_end: format!("{name}0").into(),
                ..Default::default()
            });
            let empty = Call::Unlock(lock::UnlockRequest::default());
            return vec![lock(), look, lock(), unlock(), unlock(), empty];
        }
        let name = format!("vote-{}", self.names);
        let campaign = |value: &'static str| {
            Call::Campaign(election::CampaignRequest {
                name: name.clone().into(),
                lease,
                value: value.into(),
            })
        };
        let leader = || Call::Leader(election::LeaderRequest { name: name.clone().into() });
        let observe = Call::Observe(election::LeaderRequest { name: name.clone().into() });
        // The key is created by the first call, whatever it does to the revision: if it does not, nobody leads and this one is wrong.
        let leads =
            |rev| election::LeaderKey { name: name.clone().into(), key: key(&name).into(), rev, lease };
        let proclaim = |leader| Call::Proclaim(election::ProclaimRequest { leader, value: "said".into() });
        let resign = |leader| Call::Resign(election::ResignRequest { leader });
        let (right, wrong) = (leads(self.revision + 1), leads(self.revision + 77));
        let mut calls = vec![leader(), campaign("first"), leader()];
        if self.leases.contains(&lease) {
            calls.push(observe);
        }
        calls.extend([
            campaign("first"),
            campaign("second"),
            proclaim(Some(right.clone())),
            proclaim(Some(wrong.clone())),
            proclaim(None),
            leader(),
            resign(Some(wrong)),
            resign(None),
            resign(Some(right.clone())),
            leader(),
            resign(Some(right)),
        ]);
        calls
    }

    pub(super) fn maintenance(&mut self) -> Vec<Call> {
        let call = match self.random.below(12) {
            0 => Call::Status,
            1 => Call::Hash,
            2..5 => Call::HashKv(pb::HashKvRequest { revision: self.some_revision() }),
            5 => Call::Defragment,
            6 => Call::MoveLeader(self.pick(&[Whom::Nobody, Whom::Leader, Whom::Stranger])),
            7 => {
                let version = self.pick(&["3.5", "3.5.0", "3.4", "x", "", "3.6.0.0"]).to_owned();
                Call::Downgrade(pb::DowngradeRequest { action: 0, version })
            }
            8 => Call::RangeStream(self.range()),
            9 => Call::MemberList { linearizable: self.one_in(2) },
            _ => Call::Alarm { action: 0, whom: Whom::Nobody, alarm: self.random.below(3) as i32 },
        };
        vec![call]
    }

    /// An alarm is raised, calls are refused, and it is lowered.
    pub(super) fn alarm(&mut self) -> Vec<Call> {
        let kind = self.pick(&[1, 1, 2]);
        let whom = self.pick(&[Whom::First, Whom::Nobody, Whom::Stranger]);
        let alarm = |action, whom, alarm| Call::Alarm { action, whom, alarm };
        let mut calls = vec![alarm(1, whom, kind), alarm(1, whom, kind), Call::Status];
        for _ in 0..12 {
            calls.push(match self.random.below(8) {
                0 => Call::Put(self.put()),
                1 => Call::DeleteRange(self.delete()),
                // Nested ones would count from etcd 3.7.1 on; that would set the stores apart.
                2 | 3 => Call::Txn(self.txn(DEPTH_MAX)),
                4 => Call::LeaseGrant(pb::LeaseGrantRequest { ttl: TTL_MIN_S as i64, id: FLEETING }),
                5 => Call::LeaseRevoke(pb::LeaseRevokeRequest { id: FLEETING }),
                6 => Call::Range(self.range()),
                _ => alarm(0, Whom::Nobody, self.random.below(3) as i32),
            });
        }
        // Of another kind, of another member: nothing happens.
        calls.extend([alarm(2, whom, 3 - kind), alarm(2, Whom::Leader, 0), alarm(2, whom, kind)]);
        calls.extend([alarm(2, whom, kind), alarm(0, Whom::Nobody, 0), Call::Status]);
        calls.push(Call::LeaseRevoke(pb::LeaseRevokeRequest { id: FLEETING }));
        calls
    }
}

/// As Go prints a signed number in base 16.
fn hexadecimal(id: i64) -> String {
    let sign = if id < 0 { "-" } else { "" };
    format!("{sign}{:x}", id.unsigned_abs())
}

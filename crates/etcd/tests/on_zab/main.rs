//! The suite of etcd's API once more, with the keys on ZAB: the same files, the same promises.
#![allow(
    clippy::duplicate_mod,
    reason = "each file brings the same support, as it does where it is a program of its own"
)]

#[path = "../auth.rs"]
mod auth;
#[path = "../cluster.rs"]
mod cluster;
#[path = "../etcdctl.rs"]
mod etcdctl;
#[path = "../kv.rs"]
mod kv;
#[path = "../lease.rs"]
mod lease;
#[path = "../recipes.rs"]
mod recipes;
#[path = "../watch.rs"]
mod watch;

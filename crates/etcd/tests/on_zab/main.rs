//! The suite of etcd's API once more, with the keys on ZAB: the same files, the same promises.

#[path = "../auth.rs"]
mod auth;
#[path = "../cluster.rs"]
mod cluster;
#[path = "../divide.rs"]
mod divide;
#[path = "../etcdctl.rs"]
mod etcdctl;
#[path = "../kv.rs"]
mod kv;
#[path = "../lease.rs"]
mod lease;
#[path = "../recipes.rs"]
mod recipes;
#[path = "../support/mod.rs"]
mod support;
#[path = "../watch.rs"]
mod watch;

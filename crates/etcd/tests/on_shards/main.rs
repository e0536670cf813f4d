//! The suite of etcd's API once more, with the keys in eight shards: the same files, the same promises.

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
mod merge;
#[path = "../recipes.rs"]
mod recipes;
mod split;
#[path = "../support/mod.rs"]
mod support;
#[path = "../watch.rs"]
mod watch;

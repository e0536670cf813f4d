//! The suite of etcd's API once more, with the keys on ZAB: the same files, the same promises.

#[path = "../cluster.rs"]
mod cluster;
#[path = "../etcdctl.rs"]
mod etcdctl;
#[path = "../kv.rs"]
mod kv;

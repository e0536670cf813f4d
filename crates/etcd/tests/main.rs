//! The suite of etcd's API: every service, from a client's side, against clusters in this process. One program, because what tonic and hyper make of each
//! call is compiled again for every program of tests; `on_zab` is the other, for the keys on ZAB.

mod auth;
mod auth_jwt;
mod cluster;
mod divide;
mod etcdctl;
#[path = "http/main.rs"]
mod http;
mod kv;
mod lease;
mod recipes;
mod sockets;
mod support;
mod tls;
mod watch;

//! The state of a ZooKeeper connection: each test is named by what it holds.
#![allow(unreachable_pub, reason = "a test's own modules")]

mod common;
mod order;
mod requests;
mod session;
mod stewards;
mod storm;
mod watch;

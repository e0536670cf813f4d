//! The front end over real sockets, before a node without a log.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test lives in the real world")]
#![allow(unreachable_pub, reason = "a test's parts see each other, and nobody else sees them")]

mod admin;
mod common;
mod hostile;
mod requests;
mod sessions;
mod tls;
mod words;

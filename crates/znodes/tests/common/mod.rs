//! A second tree, naive: a map from path to znode, written apart from the first. It knows nothing of directory numbers, records,
//! indexes or hashes; what it keeps beside the znodes it finds by looking at all of them.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

pub mod generate;
pub mod model;
pub mod rules;
pub mod shell;

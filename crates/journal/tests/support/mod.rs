//! What the tests share: a disk that crashes, and a journal driven on it beside a naive model.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod disk;
pub(crate) mod world;

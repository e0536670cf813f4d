//! etcd's watches (E3): rules one by one, and a storm against a naive model.
mod common;
mod rules;
mod storm;

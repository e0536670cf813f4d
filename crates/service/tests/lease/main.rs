//! The steward of leases and those who ask it (E5): rules one by one, and a storm of clients, leaders and lost words.
mod common;
mod rules;
mod storm;

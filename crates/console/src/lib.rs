//! Floor 6: the Lab, a web page on which anyone can watch the shipped engines think.
//!
//! ```text
//!   page (web/) ── POST a run ──► routes ──► run ──► quorate-sim plays it on the real engines ──► film ──► json ──► page draws it
//!                                  ├──► words    rules, reasons and the lines of our sources that they are about
//!                                  ├──► lessons  text files: narrate, do, predict, assert
//!                                  └──► live     a running cluster through its API, read only
//! ```
//!
//! A run is (build, configuration, seed, actions), and the server keeps none: the page has it in its address. Protocol logic lives in the engines alone; the page draws
//! what happened.
//!
//! Architecture Invariant: nothing here decides what an engine does; a lesson's claim about a run is checked against the film of it.
#![forbid(unsafe_code)]

mod json;
pub mod lesson;
mod live;
mod page;
mod routes;
mod run;
mod serve;

pub use live::Live;
pub use run::{BadRun, Run};
pub use serve::serve;

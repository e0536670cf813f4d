//! Ours beside Debian's ZooKeeper, in one run, on one machine, with one client: and beside a server that does nothing.

mod connection;
mod load;
pub(crate) mod nothing;
mod packets;
pub(crate) mod real;
mod session;
mod single;
mod system;

use crate::Fallible;

/// `cargo xtask compare-zookeeper`, and what stands after it.
pub(crate) fn run(arguments: &[String]) -> Fallible<()> {
    single::run(arguments)
}

/// What stands behind this flag.
fn value<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(at + 1).map(String::as_str)
}

/// The number behind this flag.
fn number(arguments: &[String], flag: &str, default: u64) -> Fallible<u64> {
    value(arguments, flag).map_or(Ok(default), |text| {
        text.parse().map_err(|_| format!("{flag} takes a number, not {text}").into())
    })
}

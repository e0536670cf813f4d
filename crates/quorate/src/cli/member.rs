//! The members of a cluster, on the command line.

use std::time::Duration;

use clap::Subcommand;

use super::{Remote, duration};

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Show the members
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Add a member; then start it with what is printed
    Add {
        /// Its name
        name: String,
        /// Where the other members will reach it
        #[arg(long, value_name = "URL,…", value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        /// It receives everything and does not vote, until it is promoted
        #[arg(long)]
        learner: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Let a new member take the place of another: it is added as a learner, votes once it has caught up, and then the other is removed
    ///
    /// Start the new member when you are told how. Should this command end before, run it again: it goes on where it was.
    Replace {
        /// Who goes: its id or name
        member: String,
        /// The name of who comes
        name: String,
        /// Where the other members will reach who comes
        #[arg(long, value_name = "URL,…", value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        /// How long to wait for it to catch up
        #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
        wait: Duration,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a member, for good
    Remove {
        /// Its id or name
        member: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Change where the other members reach a member
    Update {
        /// Its id or name
        member: String,
        /// Where the other members will reach it
        #[arg(long, value_name = "URL,…", value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Let a learner vote
    Promote {
        /// Its id or name
        member: String,
        #[command(flatten)]
        remote: Remote,
    },
}

//! Through `kill -9` of the leader: sessions, what they hold and what they watch live on.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use zookeeper_client::{AddWatchMode, Client, Error, EventType, SessionState};

use crate::{EPHEMERAL, Fallible, PATIENCE, PERSISTENT, again, within};

/// As many as it takes for each client to have been connected to one of those that died, most likely.
const KILLS: usize = 3;

pub(crate) async fn of_the_leader(servers: &[String], client: &Client, other: &Client) -> Fallible<()> {
    let mut states = client.state_watcher();
    client.create("/mine", b"", &EPHEMERAL).await?;
    client.create("/watched", b"", &PERSISTENT).await?;
    for n in 0..KILLS {
        let (path, later) = (format!("/through-{n}"), format!("/later-{n}"));
        let (_, made) = again("a watch", || client.check_and_watch_stat(&later)).await??;
        let leader = leader(servers).ok_or("nobody leads")?;
        let began = Instant::now();
        ask("kill", leader)?;
        // What was sent and not answered may have been done.
        match again("a write after the death", || other.create(&path, b"", &PERSISTENT)).await? {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        let took = began.elapsed();
        match again("another write", || other.create(&later, b"", &PERSISTENT)).await? {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        let event = within("a watch that was set before the death", made.changed()).await?;
        assert_eq!((event.event_type, event.path.as_str()), (EventType::NodeCreated, later.as_str()));
        println!("note the leader, server {leader}, was killed; the crate wrote again after {took:.2?}");

        again("a sync", || client.sync("/")).await??;
        assert!(again("a read", || client.check_stat(&path)).await??.is_some(), "what was written is there");
        let mine = again("a read", || client.check_stat("/mine")).await??;
        assert_eq!(
            mine.map(|stat| stat.ephemeral_owner),
            Some(client.session_id().0),
            "its ephemeral lives on"
        );
        // The crate (0.11.2) leaves persistent watches out of what it sets again on a new connection, so this one is new.
        let mut watcher = again("a watch", || client.watch("/watched", AddWatchMode::Persistent)).await??;
        again("a change", || other.set_data("/watched", path.as_bytes(), None)).await??;
        let event = within("a watch that was set after the death", watcher.changed()).await?;
        assert_eq!((event.event_type, event.path.as_str()), (EventType::NodeDataChanged, "/watched"));
        ask("start", leader)?;
        let end = Instant::now() + PATIENCE;
        while mode(&servers[leader]).as_deref() != Some("follower") {
            if Instant::now() > end {
                return Err(format!("server {leader} does not follow again within {PATIENCE:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    again("a sync", || client.sync("/")).await??;
    assert_eq!(again("a read", || client.list_ephemerals("/mine")).await??, ["/mine"]);
    assert_eq!(states.state(), SessionState::SyncConnected);
    Ok(())
}

/// Asks for this to be done to a server, and waits until it is.
fn ask(what: &str, server: usize) -> Fallible<()> {
    println!("{what} {server}");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "done" { Ok(()) } else { Err(format!("asked to {what} {server}: {answer:?}").into()) }
}

fn leader(servers: &[String]) -> Option<usize> {
    servers.iter().position(|server| mode(server).as_deref() == Some("leader"))
}

/// What a server says it is, by the four-letter word `srvr`; none while it says nothing.
fn mode(server: &str) -> Option<String> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"srvr").ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    said.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}

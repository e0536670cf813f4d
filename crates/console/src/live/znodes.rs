//! ZooKeeper's tree as anybody may read it, and how its servers stand.
//!
//! A client of its wire that only reads: one connection for each question, whose session is closed at once.

use std::{collections::BTreeMap, io, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use quorate_wire::{
    jute::{Jute, JuteError, Reader},
    zookeeper::{
        Children2Response, ConnectRequest, ConnectResponse, DataResponse, ErrorCode, FourLetterWord,
        GetChildrenRequest, GetDataRequest, PASSWORD_BYTES, ReplyHeader, Request, Secret, Stat, packet,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    Query, Refused,
    keys::{VALUE_BYTES_MAX, shown},
};

/// How long one server may take.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long all of them may take together; the page waits a little longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// The shortest session that ZooKeeper gives by default: should it not be closed, it is over soon.
const SESSION_MS: i32 = 4000;
/// Children of one answer, at most.
const CHILDREN_MAX: usize = 500;
/// Bytes of a packet that are taken, and of what a word is answered.
const PACKET_BYTES_MAX: u64 = 8 << 20;
const WORD_BYTES_MAX: u64 = 64 << 10;

fn refused(status: StatusCode, what: impl Into<String>) -> Refused {
    // A user of etcd's API is none of ZooKeeper's: a name and a password would not help.
    Refused { status, what: what.into(), needs_user: false }
}

fn known(addresses: &[String]) -> Result<&[String], Refused> {
    if addresses.is_empty() {
        let what =
            "this Lab was given no address of ZooKeeper's; start it with --zookeeper, or use quorate dev";
        return Err(refused(StatusCode::NOT_FOUND, what));
    }
    Ok(addresses)
}

/// `path`: a znode with its data, its stat and the names of its children.
pub(super) async fn znode(addresses: &[String], query: &Query) -> Result<Value, Refused> {
    let addresses = known(addresses)?;
    let path = asked_path(query)?;
    let mut why = "none in time".to_owned();
    let asked = async {
        for address in addresses {
            match timeout(SERVER_PATIENCE, read(address, &path)).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => why = format!("{address}: {}", said(&error)),
                Err(_) => why = format!("{address}: no answer within {} s", SERVER_PATIENCE.as_secs()),
            }
        }
        None
    };
    match timeout(PATIENCE, asked).await.ok().flatten() {
        Some(Ok(znode)) => Ok(znode.into_json(&path)),
        Some(Err(number)) => Err(why_not(&path, number)),
        None => Err(refused(StatusCode::BAD_GATEWAY, format!("no server of ZooKeeper's answers ({why})"))),
    }
}

/// The rest of what a path may be is the server's to say.
fn asked_path(query: &Query) -> Result<String, Refused> {
    let path = String::from_utf8(query.bytes("path")?)
        .map_err(|_| Refused::bad("a path of ZooKeeper's is text in UTF-8"))?;
    if !path.starts_with('/') {
        return Err(Refused::bad(format!("a path of ZooKeeper's begins with /, and this is {path:?}")));
    }
    Ok(path)
}

/// The number of an error, as a sentence.
fn why_not(path: &str, number: i32) -> Refused {
    match ErrorCode::from_number(number) {
        Some(ErrorCode::NoNode) => refused(StatusCode::NOT_FOUND, format!("there is no znode {path}")),
        Some(ErrorCode::NoAuth) => refused(
            StatusCode::FORBIDDEN,
            format!(
                "the ACL of {path} does not let everybody read it, and the Lab asks as nobody in particular"
            ),
        ),
        Some(ErrorCode::BadArguments) => Refused::bad(format!("{path:?} is no path of ZooKeeper's")),
        Some(code) => {
            refused(StatusCode::BAD_GATEWAY, format!("ZooKeeper does not show {path}: {code:?} ({number})"))
        }
        None => refused(StatusCode::BAD_GATEWAY, format!("ZooKeeper does not show {path}: error {number}")),
    }
}

struct Znode {
    children: Vec<String>,
    data: Option<Bytes>,
    stat: Stat,
}

impl Znode {
    fn into_json(mut self, path: &str) -> Value {
        self.children.sort_unstable();
        let more = self.children.len() > CHILDREN_MAX;
        let children: Vec<Value> =
            self.children.iter().take(CHILDREN_MAX).map(|name| json!({ "name": name })).collect();
        let stat = &self.stat;
        json!({
            "path": path,
            "children": children,
            "more": more,
            "data": shown(self.data.as_deref().unwrap_or_default(), VALUE_BYTES_MAX),
            "stat": {
                "czxid": stat.czxid,
                "mzxid": stat.mzxid,
                "pzxid": stat.pzxid,
                "version": stat.version,
                "cversion": stat.cversion,
                "aversion": stat.aversion,
                "ephemeralOwner": (stat.ephemeral_owner != 0).then(|| format!("0x{:x}", stat.ephemeral_owner)),
                "numChildren": stat.num_children,
                "dataLength": stat.data_length,
                "ctime": stat.ctime,
                "mtime": stat.mtime,
            },
        })
    }
}

/// Reads a znode from this server. The inner error is an answer: its number.
async fn read(address: &str, path: &str) -> io::Result<Result<Znode, i32>> {
    let mut stream = TcpStream::connect(address).await?;
    let hello = ConnectRequest {
        timeout_ms: SESSION_MS,
        password: Secret(Some(Bytes::from_static(&[0; PASSWORD_BYTES]))),
        read_only: Some(false),
        ..ConnectRequest::default()
    };
    stream.write_all(&packet(|to| hello.write(to)).map_err(io::Error::other)?).await?;
    let welcome = ConnectResponse::read(&mut next(&mut stream).await?).map_err(io::Error::other)?;
    if welcome.timeout_ms == 0 {
        return Err(io::Error::other("it gives no session"));
    }
    let (children, data) = (
        Request::GetChildren2(GetChildrenRequest { path: path.to_owned(), watch: false }),
        Request::GetData(GetDataRequest { path: path.to_owned(), watch: false }),
    );
    let listed = ask::<Children2Response>(&mut stream, 1, &children).await?;
    let held = match listed {
        Ok(_) => ask::<DataResponse>(&mut stream, 2, &data).await?,
        Err(number) => Err(number),
    };
    // What was read is not lost if the server is slow to say farewell.
    let _ = timeout(SERVER_PATIENCE / 4, ask::<()>(&mut stream, 3, &Request::CloseSession(()))).await;
    Ok(listed.and_then(|listed| {
        held.map(|held| Znode { children: listed.children, data: held.data, stat: held.stat })
    }))
}

async fn ask<T: Jute>(stream: &mut TcpStream, xid: i32, request: &Request) -> io::Result<Result<T, i32>> {
    stream.write_all(&request.packet(xid).map_err(io::Error::other)?).await?;
    let mut answer = next(stream).await?;
    let read = |error: JuteError| io::Error::other(error);
    let header = ReplyHeader::read(&mut answer).map_err(read)?;
    if header.xid != xid {
        return Err(io::Error::other("it answers what was not asked"));
    }
    if header.error != 0 {
        return Ok(Err(header.error));
    }
    T::read(&mut answer).map(Ok).map_err(read)
}

/// The next packet, without its length. Room is made for what comes, not for what is announced.
async fn next(stream: &mut TcpStream) -> io::Result<Reader> {
    let length = stream.read_i32().await?;
    let length = u64::try_from(length).ok().filter(|length| *length <= PACKET_BYTES_MAX).ok_or_else(|| {
        io::Error::other(format!(
            "a packet of {length} bytes: another protocol, or more than the Lab takes ({PACKET_BYTES_MAX})"
        ))
    })?;
    let mut body = Vec::new();
    let got = stream.take(length).read_to_end(&mut body).await?;
    if (got as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Reader::new(body.into()))
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it turned the Lab away; does it have a leader?".to_owned(),
        _ => error.to_string(),
    }
}

/// How each server stands, by its own word.
pub(super) async fn servers(addresses: &[String]) -> Result<Value, Refused> {
    let asked: Vec<_> = known(addresses)?
        .iter()
        .map(|address| (address, tokio::spawn(timeout(SERVER_PATIENCE, standing(address.clone())))))
        .collect();
    let mut servers = Vec::new();
    for (address, asked) in asked {
        let mut server = match asked.await {
            Ok(Ok(Ok(server))) => server,
            Ok(Ok(Err(error))) => json!({ "error": said(&error) }),
            Ok(Err(_)) => json!({ "error": format!("no answer within {} s", SERVER_PATIENCE.as_secs()) }),
            Err(_) => json!({ "error": "the Lab did not get to ask it" }),
        };
        server["address"] = address.as_str().into();
        servers.push(server);
    }
    Ok(json!({ "servers": servers }))
}

/// `mntr` tells all; a server that does not answer it may still answer `srvr`, as all do by default.
async fn standing(address: String) -> io::Result<Value> {
    let figures = word(&address, FourLetterWord::Mntr).await?;
    if let Some(server) = monitored(&figures) {
        return Ok(server);
    }
    let state = word(&address, FourLetterWord::Srvr).await?;
    served(&state).ok_or_else(|| {
        let line = state.lines().next().unwrap_or_default();
        io::Error::other(if line.is_empty() { "it answers neither mntr nor srvr" } else { line }.to_owned())
    })
}

async fn word(address: &str, word: FourLetterWord) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(word.text().as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(WORD_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What `mntr` answers; none if these are no figures.
fn monitored(text: &str) -> Option<Value> {
    let figures: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('\t')).collect();
    let state = figures.get("zk_server_state")?;
    let number = |name: &str| figures.get(name).and_then(|figure| figure.trim().parse::<u64>().ok());
    Some(json!({
        "state": state.trim(),
        "connections": number("zk_num_alive_connections"),
        "watches": number("zk_watch_count"),
        "znodes": number("zk_znode_count"),
        "ephemerals": number("zk_ephemerals_count"),
        "sessions": number("zk_global_sessions"),
    }))
}

/// What `srvr` answers, which is less.
fn served(text: &str) -> Option<Value> {
    let figures: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    let state = figures.get("Mode")?;
    let number = |name: &str| figures.get(name).and_then(|figure| figure.trim().parse::<u64>().ok());
    Some(
        json!({ "state": state.trim(), "connections": number("Connections"), "znodes": number("Node count") }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    fn query(path: &[u8]) -> Query {
        Query::read(&format!("path={}", URL_SAFE_NO_PAD.encode(path)))
    }

    #[test]
    fn mntr_is_read_by_its_names_and_what_is_missing_stays_away() {
        let text = "zk_version\t3.10\nzk_server_state\tleader\nzk_num_alive_connections\t3\nzk_znode_count\t9\n\
                    zk_watch_count\tmany\nzk_ephemerals_count\t2\nzk_global_sessions\t4\n";
        let server = monitored(text).unwrap();
        let expected = json!({ "state": "leader", "connections": 3, "watches": null, "znodes": 9, "ephemerals": 2, "sessions": 4 });
        assert_eq!(server, expected);
        assert_eq!(monitored("mntr is not executed because it is not in the whitelist.\n"), None);
        let less =
            served("Zookeeper version: 3.10\nConnections: 2\nZxid: 0x5\nMode: follower\nNode count: 7\n")
                .unwrap();
        assert_eq!(less, json!({ "state": "follower", "connections": 2, "znodes": 7 }));
        assert_eq!(served("This ZooKeeper instance is not currently serving requests\n"), None);
    }

    #[test]
    fn a_path_is_text_that_begins_with_a_slash() {
        assert_eq!(asked_path(&query("/é".as_bytes())).unwrap(), "/é");
        for wrong in [b"a".as_slice(), b"", b"/\xff"] {
            assert_eq!(asked_path(&query(wrong)).unwrap_err().status, StatusCode::BAD_REQUEST);
        }
        assert!(asked_path(&Query::read("path=!")).is_err());
    }

    #[test]
    fn refusals_are_sentences_and_never_ask_for_a_user_of_the_other_api() {
        for (code, status) in [
            (ErrorCode::NoNode, StatusCode::NOT_FOUND),
            (ErrorCode::NoAuth, StatusCode::FORBIDDEN),
            (ErrorCode::BadArguments, StatusCode::BAD_REQUEST),
            (ErrorCode::ThrottledOp, StatusCode::BAD_GATEWAY),
        ] {
            let refused = why_not("/a", code.number());
            assert_eq!((refused.status, refused.needs_user), (status, false));
            assert!(refused.what.contains("/a"), "{}", refused.what);
        }
    }

    #[test]
    fn children_are_sorted_and_cut_and_an_owner_is_a_session() {
        let children = (0..=CHILDREN_MAX).rev().map(|n| format!("c{n:04}")).collect();
        let stat = Stat { ephemeral_owner: 0x1f, ..Stat::default() };
        let shown = Znode { children, data: None, stat }.into_json("/a");
        assert_eq!((&shown["children"][0]["name"], &shown["more"]), (&"c0000".into(), &true.into()));
        assert_eq!(shown["children"].as_array().unwrap().len(), CHILDREN_MAX);
        assert_eq!((&shown["stat"]["ephemeralOwner"], &shown["data"]["bytes"]), (&"0x1f".into(), &0.into()));
    }

    #[tokio::test]
    async fn without_an_address_there_is_no_tree_and_a_dead_server_says_so() {
        let nowhere = znode(&[], &query(b"/")).await.unwrap_err();
        assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
        assert!(nowhere.what.contains("--zookeeper"));
        assert_eq!(servers(&[]).await.unwrap_err(), nowhere);
        // Bound and closed again: nobody listens there.
        let dead =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let refused = znode(std::slice::from_ref(&dead), &query(b"/")).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
        let all = servers(std::slice::from_ref(&dead)).await.unwrap();
        assert_eq!(all["servers"][0]["address"], dead);
        assert!(all["servers"][0]["error"].is_string());
    }
}

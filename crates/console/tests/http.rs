//! The Lab's server as a browser meets it: real connections on loopback.

use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

async fn server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(quorate_console::serve(listener, None));
    address
}

struct Answer {
    status: StatusCode,
    kind: String,
    policy: String,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

async fn ask(address: std::net::SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let header = |name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let (status, kind, policy) =
        (response.status(), header("content-type"), header("content-security-policy"));
    Answer { status, kind, policy, body: response.into_body().collect().await.unwrap().to_bytes() }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "localhost").body(Full::default()).unwrap()
}

fn post(path: &str, kind: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "localhost").header("content-type", kind);
    request.body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn the_page_its_words_and_its_lessons_are_served_under_a_strict_policy() {
    let address = server().await;
    let page = ask(address, get("/")).await;
    assert_eq!((page.status, page.kind.as_str()), (StatusCode::OK, "text/html; charset=utf-8"));
    assert!(page.policy.starts_with("default-src 'none'; script-src 'self';"), "{}", page.policy);
    let text = String::from_utf8_lossy(&page.body).into_owned();
    // Whatever the page names is there.
    for name in text.split('"').filter_map(|part| part.strip_prefix("/assets/")) {
        assert_eq!(ask(address, get(&format!("/assets/{name}"))).await.status, StatusCode::OK, "{name}");
    }
    assert!(ask(address, get("/api/words")).await.json()["rules"]["R07"]["places"][0]["line"].is_u64());
    let lessons = ask(address, get("/api/lessons")).await.json();
    for lesson in lessons.as_array().unwrap() {
        let path = format!("/api/lessons/{}", lesson["id"].as_str().unwrap());
        assert!(ask(address, get(&path)).await.json()["steps"].as_array().unwrap().len() > 1, "{path}");
    }
    assert_eq!(ask(address, get("/nothing")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_run_becomes_a_film_and_the_same_run_the_same_film() {
    let address = server().await;
    let run =
        json!({ "version": 1, "kind": "scene", "engine": "zab", "nodes": 3, "until_ms": 1_000, "seed": "7" });
    let request = || post("/api/film", "application/json", run.to_string());
    let (one, two) = (ask(address, request()).await, ask(address, request()).await);
    assert_eq!(one.status, StatusCode::OK);
    assert!(one.body == two.body);
    let film = one.json();
    assert_eq!((&film["hosts"], &film["violations"]), (&json!(3), &json!([])));
    let kinds: Vec<&str> =
        film["events"].as_array().unwrap().iter().filter_map(|event| event["k"].as_str()).collect();
    for kind in ["start", "runs", "send", "recv", "why", "state", "log", "applied", "disk", "disked"] {
        assert!(kinds.contains(&kind), "{kind}");
    }
    // What comes back is the whole run: it can be played again.
    let again = ask(address, post("/api/film", "application/json", film["run"].to_string())).await;
    assert_eq!(again.json()["hash"], film["hash"]);
}

#[tokio::test]
async fn a_run_is_exported_as_a_text_that_plays_the_same() {
    let address = server().await;
    let run = json!({ "engine": "raft", "nodes": 3, "until_ms": 1_500, "actions": "quorate-sim actions 1\n700000000 crash who=leader down_ms=300\n" });
    let body = json!({ "run": run, "as": "test" }).to_string();
    let exported = ask(address, post("/api/export", "application/json", body)).await;
    let text = String::from_utf8(exported.body.to_vec()).unwrap();
    let lesson =
        quorate_console::lesson::Lesson::read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(lesson.steps[0].at_ms, 700);
    assert_eq!(quorate_console::lesson::check(&lesson), Ok(Vec::new()));
}

#[tokio::test]
async fn what_is_wrong_is_said_in_a_sentence() {
    let address = server().await;
    let film = |body: String| post("/api/film", "application/json", body);
    let refused = ask(address, film(json!({ "nodes": 40 }).to_string())).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.error().starts_with("the number of nodes is 40; it may be 1 to 9"));
    assert!(ask(address, film("{".to_owned())).await.error().starts_with("this is no JSON"));
    let large = ask(address, film("x".repeat((1 << 20) + 1))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    // A page of another origin could send this without asking anybody.
    let foreign = ask(address, post("/api/film", "text/plain", "{}")).await;
    assert_eq!(foreign.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(ask(address, post("/api/else", "application/json", "{}")).await.status, StatusCode::NOT_FOUND);
    let picture = ask(
        address,
        post("/api/export", "application/json", json!({ "run": {}, "as": "painting" }).to_string()),
    )
    .await;
    assert_eq!(picture.status, StatusCode::BAD_REQUEST);
}

/// A name that somebody else gives this machine's address is how a page from elsewhere would read what is here.
#[tokio::test]
async fn it_is_asked_by_an_address_or_as_localhost_and_by_no_other_name() {
    let address = server().await;
    let asked = |host: &str| Request::get("/api/about").header("host", host).body(Full::default()).unwrap();
    for host in ["localhost", "localhost:7070", "127.0.0.1:7070", "[::1]:7070", "[::1]"] {
        assert_eq!(ask(address, asked(host)).await.status, StatusCode::OK, "{host}");
    }
    for host in ["elsewhere.example", "localhost.elsewhere.example:7070", "127.0.0.1.elsewhere.example"] {
        assert_eq!(ask(address, asked(host)).await.status, StatusCode::FORBIDDEN, "{host}");
    }
}

//! A small client of HTTP/1, so that bytes on the wire are what the tests say.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) async fn get(url: &str, path: &str) -> Answer {
    request(url, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await
}

pub(crate) async fn post(url: &str, path: &str, body: &str) -> Answer {
    request(url, posted(path, body).as_bytes()).await
}

fn posted(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Whatever is asked, and the whole answer.
pub(crate) async fn request(url: &str, bytes: &[u8]) -> Answer {
    let mut http = Http1::send(url, bytes).await;
    let whole = async {
        let mut body = Vec::new();
        while let Some(piece) = http.piece().await {
            body.extend_from_slice(&piece);
        }
        String::from_utf8(body).expect("text")
    };
    let body = timeout(PATIENCE, whole).await.expect("the answer ends");
    Answer { status: http.status, headers: http.headers, body }
}

/// An answer that is under way.
pub(crate) struct Http1 {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    stream: BufReader<TcpStream>,
    read: Vec<u8>,
    ended: bool,
}

impl Http1 {
    pub(crate) async fn post(url: &str, path: &str, body: &str) -> Http1 {
        Http1::send(url, posted(path, body).as_bytes()).await
    }

    pub(crate) async fn send(url: &str, bytes: &[u8]) -> Http1 {
        let at = url.strip_prefix("http://").unwrap_or(url);
        let mut stream = TcpStream::connect(at).await.expect("a connection");
        // The server may answer before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut http = Http1 {
            status: 0,
            headers: Vec::new(),
            stream: BufReader::new(stream),
            read: Vec::new(),
            ended: false,
        };
        let first = http.text_line().await;
        http.status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        loop {
            let line = http.text_line().await;
            let Some((name, value)) = line.split_once(": ") else { break };
            http.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        http
    }

    async fn text_line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("in time").expect("a line");
        line.trim_end().to_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The next piece of the body.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut piece = Vec::new();
        if self.header("transfer-encoding") == Some("chunked") {
            let length = usize::from_str_radix(&self.text_line().await, 16).expect("a chunk's length");
            piece.resize(length, 0);
            self.stream.read_exact(&mut piece).await.expect("the chunk");
            self.text_line().await;
            self.ended = length == 0;
        } else if let Some(length) = self.header("content-length") {
            piece.resize(length.parse().expect("a length"), 0);
            self.stream.read_exact(&mut piece).await.expect("the body");
            self.ended = true;
        } else {
            let _ = self.stream.read_to_end(&mut piece).await;
            self.ended = true;
        }
        (!piece.is_empty()).then_some(piece)
    }

    /// The next line of a stream of JSON.
    pub(crate) async fn line(&mut self) -> serde_json::Value {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line).expect("a line of JSON");
            }
            let piece = timeout(PATIENCE, self.piece()).await.expect("a line in time");
            self.read.extend(piece.expect("another line"));
        }
    }
}

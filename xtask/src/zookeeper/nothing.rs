//! The ceiling: a server that speaks ZooKeeper's wire and answers at once. No log, no tree, no peers, one thread.

use bytes::{Bytes, BytesMut};
use quorate_wire::{
    jute::Jute as _,
    zookeeper::{
        ConnectResponse, FRAME_BYTES_MAX, Incoming, OpCode, PASSWORD_BYTES, Secret, Stat, next_packet, packet,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{packets::DATA_BYTES, session};
use crate::{Fallible, client};

/// Answers on all these addresses until the process is killed.
pub(crate) fn serve(addresses: &[String]) -> Fallible<()> {
    client::runtime()?.block_on(async {
        let mut listeners = tokio::task::JoinSet::new();
        for address in addresses {
            listeners.spawn(accept(TcpListener::bind(address).await?));
        }
        while let Some(ended) = listeners.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener) -> Fallible<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // It ends when its client has had enough.
            let _ = converse(stream).await;
        });
    }
}

async fn converse(mut stream: TcpStream) -> Fallible<()> {
    let (mut received, mut answers) = (BytesMut::new(), Vec::new());
    let mut part = vec![0; 64 << 10];
    let mut connected = false;
    loop {
        match stream.read(&mut part).await? {
            0 => return Ok(()),
            bytes => received.extend_from_slice(&part[..bytes]),
        }
        while let Some(Incoming::Packet(bytes)) = next_packet(&mut received, connected, FRAME_BYTES_MAX)? {
            if connected {
                answer(&bytes, &mut answers);
            } else {
                answers.extend_from_slice(&welcome()?);
                connected = true;
            }
        }
        stream.write_all(&answers).await?;
        answers.clear();
    }
}

fn welcome() -> Fallible<Bytes> {
    let password = Secret(Some(vec![0; PASSWORD_BYTES].into()));
    let answer = ConnectResponse {
        timeout_ms: session::TIMEOUT_MS,
        session: 1,
        password,
        read_only: Some(false),
        ..Default::default()
    };
    Ok(packet(|to| answer.write(to))?)
}

/// What a server would answer that had the znode; its path, where there is one, is the request's.
fn answer(request: &[u8], to: &mut Vec<u8>) {
    const STAT: [u8; Stat::BYTES] = [0; Stat::BYTES];
    const DATA: [u8; DATA_BYTES] = [b'x'; DATA_BYTES];
    let int =
        |at: usize| request.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, i32::from_be_bytes);
    let path = || {
        let end = 12 + usize::try_from(int(8)).unwrap_or(0);
        request.get(8..end).unwrap_or_default()
    };
    let begin = to.len();
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&int(0).to_be_bytes());
    to.extend_from_slice(&1_i64.to_be_bytes());
    to.extend_from_slice(&0_i32.to_be_bytes());
    match OpCode::from_number(int(4)) {
        Some(OpCode::SetData) => to.extend_from_slice(&STAT),
        Some(OpCode::GetData) => {
            to.extend_from_slice(&(DATA_BYTES as i32).to_be_bytes());
            to.extend_from_slice(&DATA);
            to.extend_from_slice(&STAT);
        }
        Some(OpCode::Create | OpCode::Sync) => to.extend_from_slice(path()),
        _ => {}
    }
    let length = (to.len() - begin - 4) as i32;
    to[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
}

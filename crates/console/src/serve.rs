//! Connections of the page, a bounded number of them, and of films being made.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};

use crate::{
    Live,
    routes::{Door, respond},
};

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the Lab until the listener fails for good. `live`: the cluster that it shows beside.
///
/// # Errors
/// None at present: what fails is one connection.
pub async fn serve(listener: TcpListener, live: Option<Live>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let door = Door::new(live);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the Lab could not be accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let door = door.clone();
        tokio::spawn(async move {
            connection(stream, door).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, door: Door) {
    let service = service_fn(|request: Request<Incoming>| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(respond(request, &door).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the Lab ended");
    }
}

//! One connection, from its first bytes to its last.

use std::pin::pin;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::timeout,
};

use crate::{
    Backend, Tuning,
    door::{Door, Speaks, Stream},
    routes::Routes,
    silence::Place,
};

async fn stops(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

pub(crate) async fn connection<B: Backend>(
    stream: TcpStream,
    mut silent: Place,
    door: Door,
    routes: Routes<B>,
    tuning: Tuning,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let opened = tokio::select! {
        opened = timeout(tuning.first_bytes_timeout, door.open(stream)) => opened,
        () = silent.lost() => return,
        () = stops(&mut stopping) => return,
    };
    drop(silent);
    let (stream, speaks, name) = match opened {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection was not let in"),
    };
    let routes = routes.of(name);
    match stream {
        Stream::Clear(stream) => serve(stream, speaks, routes, tuning, stopping).await,
        Stream::Tls(stream) => serve(*stream, speaks, routes, tuning, stopping).await,
    }
}

async fn serve<B: Backend>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    speaks: Speaks,
    routes: Routes<B>,
    tuning: Tuning,
    mut stopping: watch::Receiver<bool>,
) {
    let stream = TokioIo::new(stream);
    // What a connection ends with is its client's doing, or the network's.
    let ended = match speaks {
        Speaks::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(tuning.stream_window_bytes)
                .initial_connection_window_size(tuning.connection_window_bytes)
                .max_concurrent_streams(tuning.streams_max)
                .max_header_list_size(tuning.metadata_bytes_max)
                .max_send_buf_size(tuning.send_buffer_bytes)
                .keep_alive_interval(tuning.keepalive_interval)
                .keep_alive_timeout(tuning.keepalive_timeout)
                .serve_connection(stream, routes);
            let mut connection = pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = stops(&mut stopping) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Speaks::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(tuning.first_bytes_timeout)
                .max_buf_size(tuning.metadata_bytes_max as usize)
                .serve_connection(stream, routes);
            let mut connection = pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = stops(&mut stopping) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

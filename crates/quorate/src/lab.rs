//! `quorate lab`: the page on which the engines can be watched.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use tokio::net::TcpListener;

use quorate_console::Live;

use crate::{
    cli::{self, Lab},
    commands::{ENDPOINTS_VARIABLE, Failed, connect},
    output::print,
};

pub(crate) async fn lab(wanted: Lab) -> Result<ExitCode, Failed> {
    let failed = |error: std::io::Error| Failed {
        code: 1,
        message: format!(
            "cannot serve the Lab at {}, port {}: {error}. Choose another with --port, or 0 for a free one",
            wanted.listen, wanted.port
        ),
    };
    let listener = TcpListener::bind((wanted.listen, wanted.port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let live = live(&wanted.remote, wanted.zookeeper)?;
    let mut text = format!("The Lab is at http://{address}/\n");
    if let Some(seed) = wanted.seed {
        text.push_str(&format!(
            "This run:      http://{address}/{}\n",
            fragment(&wanted.engine, seed, wanted.plant.as_deref())
        ));
    }
    if !wanted.listen.is_loopback() {
        let sees = if live.is_some() { "see what the cluster lets strangers see" } else { "see no data" };
        text.push_str(&format!("Whoever reaches this address can play runs here, and {sees}.\n"));
    }
    text.push_str("Ctrl-C ends it.\n");
    print(text.as_bytes());
    tokio::select! {
        served = quorate_console::serve(listener, live) => served.map_err(failed)?,
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The cluster that the page shows beside its runs.
fn live(remote: &cli::Remote, zookeeper: Vec<String>) -> Result<Option<Live>, Failed> {
    let named = !remote.endpoints.is_empty() || std::env::var_os(ENDPOINTS_VARIABLE).is_some();
    if !named && !zookeeper.is_empty() {
        let message =
            "--zookeeper adds the tree to a cluster that is watched; name the cluster with --endpoints";
        return Err(Failed { code: 2, message: message.to_owned() });
    }
    named.then(|| connect(remote).map(|client| Live::new(client).with_zookeeper(zookeeper))).transpose()
}

/// Where the page is found, unless it is asked for elsewhere.
const PORT: u16 = 7070;

/// Serves the Lab beside the cluster with these endpoints, and these addresses of ZooKeeper's if it has a tree, at its usual port or at a free one. None, if this machine gives no port at all.
pub(crate) async fn beside(endpoints: Vec<String>, zookeeper: Vec<String>) -> Option<SocketAddr> {
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await;
    let listener = match usual {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?,
    };
    let address = listener.local_addr().ok()?;
    let client = quorate_client::Client::connect(endpoints, quorate_client::Options::default()).ok();
    let live = client.map(|client| Live::new(client).with_zookeeper(zookeeper));
    tokio::spawn(quorate_console::serve(listener, live));
    Some(address)
}

/// What stands behind the page's address for a seed of the campaign.
fn fragment(engine: &str, seed: u64, plant: Option<&str>) -> String {
    let plant = plant.map(|plant| format!("&plant={plant}")).unwrap_or_default();
    format!("#seed={seed}&engine={engine}{plant}")
}

/// How to watch a seed's run.
pub(crate) fn to_watch(engine: &str, seed: u64, plant: Option<&str>) -> String {
    let plant = plant.map(|plant| format!(" --plant {plant}")).unwrap_or_default();
    format!("to watch it: quorate lab --engine {engine} --seed {seed}{plant}\n")
}

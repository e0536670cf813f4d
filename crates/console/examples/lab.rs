//! The Lab alone, at a free port of loopback: what `cargo xtask lab` opens to see planted bugs.
#![allow(clippy::disallowed_methods, reason = "a tool for people")]

use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("The Lab is at http://{}/", listener.local_addr()?);
        quorate_console::serve(listener, None).await
    })
}

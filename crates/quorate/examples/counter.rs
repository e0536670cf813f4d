//! Three nodes and a counter, in one process: `cargo run -p quorate --example counter`.

use quorate::{Cluster, Machine};

#[derive(Clone, Default)]
struct Counter(i64);

#[rustfmt::skip]
impl Machine for Counter {
    fn apply(&mut self, command: &[u8]) -> Vec<u8> {
        self.0 += String::from_utf8_lossy(command).trim_start_matches("add ").parse().unwrap_or(0);
        self.query(b"")
    }
    fn query(&self, _: &[u8]) -> Vec<u8> { self.0.to_string().into() }
    fn snapshot(&self) -> Vec<u8> { self.0.to_le_bytes().into() }
    fn restore(bytes: &[u8]) -> Self { Counter(bytes.try_into().map_or(0, i64::from_le_bytes)) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), quorate::Error> {
    let cluster = Cluster::start(3, Counter::default).await?;
    cluster.propose(b"add 5").await?;
    println!("{}", String::from_utf8_lossy(&cluster.query(b"").await?));
    Ok(())
}

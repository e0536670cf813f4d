//! Generates the traits of the services that are served, over the messages of `quorate-wire`.

use std::error::Error;

/// Services that this crate implements. Others are answered by `routes.rs` without a trait.
const SERVED: [&str; 9] =
    ["KV", "Watch", "Lease", "Cluster", "Auth", "Maintenance", "Lock", "Election", "Shards"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../wire/proto");
    println!("cargo::rerun-if-changed=proto");
    let mut served =
        protox::compile(["rpc.proto", "lock.proto", "election.proto", "shards.proto"], ["../wire/proto"])?;
    for file in &mut served.file {
        // Comments on the services would become documentation that is not ours to check.
        file.source_code_info = None;
    }
    for file in &mut served.file {
        file.service.retain(|service| SERVED.contains(&service.name()));
    }
    tonic_prost_build::configure()
        .extern_path(".etcdserverpb", "::quorate_wire::etcdserverpb")
        .extern_path(".mvccpb", "::quorate_wire::mvccpb")
        .extern_path(".authpb", "::quorate_wire::authpb")
        .extern_path(".v3lockpb", "::quorate_wire::v3lockpb")
        .extern_path(".v3electionpb", "::quorate_wire::v3electionpb")
        .extern_path(".quoratepb", "::quorate_wire::quoratepb")
        // Its events are encoded before, once for all watchers.
        .extern_path(".etcdserverpb.WatchResponse", "crate::watch::Frame")
        .build_client(false)
        .codec_path("crate::codec::Codec")
        .compile_fds(served)?;

    let health = protox::compile(["health.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(health)?;
    Ok(())
}

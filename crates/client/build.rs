//! Generates the clients of etcd's services, and of our own, over the messages of `quorate-wire`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../wire/proto");
    let mut descriptors =
        protox::compile(["rpc.proto", "lock.proto", "election.proto", "shards.proto"], ["../wire/proto"])?;
    for file in &mut descriptors.file {
        // Comments on the services would become documentation that is not ours to check.
        file.source_code_info = None;
    }
    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".etcdserverpb", "::quorate_wire::etcdserverpb")
        .extern_path(".mvccpb", "::quorate_wire::mvccpb")
        .extern_path(".authpb", "::quorate_wire::authpb")
        .extern_path(".v3lockpb", "::quorate_wire::v3lockpb")
        .extern_path(".v3electionpb", "::quorate_wire::v3electionpb")
        .extern_path(".quoratepb", "::quorate_wire::quoratepb")
        .compile_fds(descriptors)?;
    Ok(())
}

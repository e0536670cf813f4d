//! Compiles `proto/` without protoc: messages for this crate, and the descriptor set for whoever generates services.

use std::error::Error;
use std::path::Path;

use prost::Message as _;

/// What holds a password, its hash or a token: `src/secrets.rs` writes their `Debug`.
const SECRET: [&str; 5] = [
    ".authpb.User",
    ".etcdserverpb.AuthenticateRequest",
    ".etcdserverpb.AuthenticateResponse",
    ".etcdserverpb.AuthUserAddRequest",
    ".etcdserverpb.AuthUserChangePasswordRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut descriptors =
        protox::compile(["rpc.proto", "lock.proto", "election.proto", "shards.proto"], ["proto"])?;

    // The published set is etcd's alone, under etcd's names, which the JSON gateway speaks, and without the comments.
    let mut published = descriptors.clone();
    published.file.retain(|file| file.package() != "quoratepb");
    for file in &mut published.file {
        file.source_code_info = None;
    }
    let out =
        std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts; run this through cargo")?;
    std::fs::write(Path::new(&out).join("descriptors.bin"), published.encode_to_vec())?;

    // prost would turn `peerURLs` into `peer_ur_ls`. Names are not on the wire, so the generator is given better ones.
    for field in descriptors
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type)
        .flat_map(|message| &mut message.field)
    {
        match field.name() {
            "peerURLs" => field.name = Some("peer_urls".into()),
            "clientURLs" => field.name = Some("client_urls".into()),
            _ => {}
        }
    }
    prost_build::Config::new().bytes(["."]).skip_debug(SECRET).compile_fds(descriptors)?;
    Ok(())
}

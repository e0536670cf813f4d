//! Ranges of many keys, while others write them.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use quorate_client::{
    rpc::KvClient,
    tonic::{Request, client::Grpc, transport::Channel},
    wire::etcdserverpb as pb,
};

use super::{
    calls::{self, Meter, Outcome},
    figure::{Figure, percentile_ms},
    lazy::{Lazy, fields},
    size::Size,
};
use crate::{Fallible, cluster::Cluster};

const READERS: usize = 4;
const WRITERS: usize = 20;
const VALUE_BYTES: usize = 100;
/// Number of the field `kvs` of a `RangeResponse`.
const KVS: u64 = 2;

pub(super) fn run(cluster: &Cluster, size: &Size) -> Fallible<Vec<Figure>> {
    let (leader, keys) = (calls::leader(cluster), size.keys);
    calls::block_on(async {
        let channels = calls::connect(&leader, READERS + WRITERS).await?;
        calls::load(&channels, keys, put).await?;
        both(&channels, keys, size.counted / 4).await?;
        let meter = Meter::start(cluster);
        let (ranges, puts) = both(&channels, keys, size.counted).await?;
        let what = format!("range of {keys} keys, {READERS} readers, {WRITERS} writers");
        let p99 = |outcome: &Outcome| percentile_ms(&outcome.latency, 99.0);
        let mut figures = vec![
            Figure::rate(format!("{what}: ranges"), ranges.per_second()),
            Figure::milliseconds(format!("{what}: p99 of a range"), p99(&ranges)),
            Figure::rate(format!("{what}: puts"), puts.per_second()),
            Figure::milliseconds(format!("{what}: p99 of a put"), p99(&puts)),
        ];
        let [_, share] = meter.figures(&what, "range", ranges.latency.len());
        figures.push(share);
        Ok(figures)
    })
}

fn put(n: usize) -> pb::PutRequest {
    let value = vec![b'a' + (n % 26) as u8; VALUE_BYTES].into();
    pb::PutRequest { key: format!("range/{n:08}").into(), value, ..Default::default() }
}

/// Readers and writers at once.
async fn both(channels: &[Channel], keys: usize, time: Duration) -> Fallible<(Outcome, Outcome)> {
    let ranges = calls::repeat(READERS, time, |n| {
        let channel = channels[n % channels.len()].clone();
        move || {
            let channel = channel.clone();
            async move {
                let got = fields(&range(channel).await?, KVS);
                if got == keys { Ok(true) } else { Err(format!("a range of {got} keys, not {keys}").into()) }
            }
        }
    });
    let puts = calls::repeat(WRITERS, time, |n| {
        let kv = KvClient::new(channels[(READERS + n) % channels.len()].clone());
        let mut at = n * keys / WRITERS;
        move || {
            let mut kv = kv.clone();
            at = (at + 1) % keys;
            let request = put(at);
            async move {
                kv.put(request).await?;
                Ok(true)
            }
        }
    });
    tokio::try_join!(ranges, puts)
}

/// All of the keys, as they came.
async fn range(channel: Channel) -> Fallible<Bytes> {
    let request = pb::RangeRequest { key: "range/".into(), range_end: "range0".into(), ..Default::default() };
    let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    client.ready().await?;
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
    Ok(client.unary(Request::new(request), path, Lazy::<pb::RangeRequest>::default()).await?.into_inner())
}

//! Bytes that no honest client sends: never a panic, and never memory out of proportion. One test, for it counts what the process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quorate_wire::jute::{Jute as _, Reader};
use quorate_wire::zookeeper::*;

/// Counts what is held, and the most that was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that decoding may take for each byte of input. The worst is the answer to a multi of deletions, nine bytes each, in a vector that is just
/// growing: 1 MiB of it takes 31. Of requests, a multi of deletions takes 20.
const FACTOR_MAX: usize = 32;

/// Decodes the bytes as everything that they could be, and returns the most that any of it took at a time.
fn most_taken(bytes: &Bytes) -> usize {
    let mut most = 0;
    let mut measure = |decode: &dyn Fn()| {
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        decode();
        most = most.max(MOST.load(Ordering::Relaxed) - before);
    };
    for op in OpCode::ALL {
        measure(&|| drop(Request::decode(*op, bytes.clone())));
        measure(&|| drop(Response::decode(*op, bytes.clone())));
    }
    measure(&|| drop(ConnectRequest::read(&mut Reader::new(bytes.clone()))));
    measure(&|| drop(ConnectResponse::read(&mut Reader::new(bytes.clone()))));
    measure(&|| drop(WatcherEvent::read(&mut Reader::new(bytes.clone()))));
    let mut received = BytesMut::from(&bytes[..]);
    while let Ok(Some(_)) = next_packet(&mut received, true, FRAME_BYTES_MAX) {}
    most
}

/// Numbers that lengths and opcodes could be mistaken for, between bytes of all kinds.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        6 => 0..24_i32,
        2 => prop::sample::select(vec![-1, -2, i32::MAX, i32::MIN, 0xf_ffff, 0x10_0000, 1 << 28, 100, 101]),
        1 => any::<i32>(),
    ];
    let piece = prop_oneof![
        5 => number.prop_map(|number| number.to_be_bytes().to_vec()),
        1 => Just(vec![0]),
        1 => Just(vec![1]),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..48).prop_map(|pieces| pieces.concat())
}

#[test]
fn no_bytes_panic_or_take_memory_out_of_proportion() {
    // The worst that was thought of: as many of the smallest items as fit.
    let many = |head: &[u8], item: &[u8], count: usize| -> Bytes {
        let mut bytes = head.to_vec();
        bytes.extend_from_slice(&item.repeat(count));
        bytes.into()
    };
    let count = 80_000_i32;
    let watches = [&[0; 8][..], &count.to_be_bytes()].concat();
    let acl = [&[0; 8][..], &count.to_be_bytes()].concat();
    let worst = [
        many(&watches, &[0; 4], count as usize),
        many(&acl, &[0; 12], count as usize),
        many(&[], b"\0\0\0\x0d\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0", count as usize),
        many(&[], b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0", count as usize),
        many(&[], b"\0\0\0\x02\0\0\0\0\0", count as usize),
        many(&[], &[0xff; 4], count as usize),
        many(&2_000_000_000_i32.to_be_bytes(), &[0; 4], 16),
    ];
    for bytes in worst {
        let taken = most_taken(&bytes);
        assert!(taken <= FACTOR_MAX * bytes.len(), "{taken} bytes for {}", bytes.len());
    }

    let mut runner = TestRunner::new(Config::with_cases(4_000));
    runner
        .run(&hostile(), |bytes| {
            let bytes = Bytes::from(bytes);
            let taken = most_taken(&bytes);
            // Small vectors begin with room for four.
            prop_assert!(taken <= FACTOR_MAX * bytes.len() + 1024, "{} bytes for {}", taken, bytes.len());
            Ok(())
        })
        .unwrap();
}

//! TLS between members over real sockets: what peers send arrives, in full and in order, and who is no peer is refused at no cost.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_consensus::NodeId;
use quorate_node::{Channel, NodeInput};
use quorate_tls::{Authorities, MemberFiles, Members, rustls};

use crate::{
    core::CoreInput,
    preamble::{PREAMBLE_BYTES, Verdict},
    reader::FrameReader,
    secure::{self, ByDeadline, Unsealed},
    transport::{
        HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, PeerAddress, Security, URGENT_FRAME_BYTES_MAX,
        URGENT_QUEUE_BYTES_MAX,
    },
    transport_tests::{End, PATIENCE, last_words, lost, preamble, stranger},
};

#[path = "../../tls/tests/support/mod.rs"]
mod certificates;

use certificates::{Folder, Issuer, authority, revoke, sign_for};

/// Members' certificates are for the address that they are dialled at.
const HOSTS: &[&str] = &["127.0.0.1"];

/// An authority, and the files of those whom it signed.
struct Town {
    folder: Folder,
    issuer: Issuer,
}

impl Town {
    fn new(name: &str) -> Town {
        Town { folder: Folder::new(&format!("server-{name}")), issuer: authority() }
    }

    fn files(&self, name: &str, serial: u64, hosts: &[&str]) -> MemberFiles {
        let signed = sign_for(&self.issuer, name, serial, hosts);
        MemberFiles {
            certificate: self.folder.put(&format!("{name}.pem"), &signed.pem),
            key: self.folder.put(&format!("{name}.key"), &signed.key_pem),
            to_dial: None,
            authorities: Authorities {
                certificates: self.folder.put("authority.pem", &self.issuer.pem()),
                revoked: Some(self.folder.put(&format!("{name}.crl"), &revoke(&self.issuer, 99))),
            },
            names: Vec::new(),
        }
    }

    fn member(&self, name: &str, serial: u64) -> Members {
        load(self.files(name, serial, HOSTS))
    }
}

fn load(files: MemberFiles) -> Members {
    Members::load_looking_every(files, Duration::ZERO).unwrap()
}

fn end(node: u64, members: &Members) -> End {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    End::with(listener, node, Security::Tls(members.clone()))
}

/// Sends until something has arrived; what that is.
fn until_heard(from: &End, to: &mut End, word: &'static str) -> Bytes {
    let until = Instant::now() + PATIENCE;
    let mut arrived = Vec::new();
    while Instant::now() < until {
        from.send(2, Channel::Urgent, [Bytes::from_static(word.as_bytes())]);
        to.inbox.wait(&mut arrived, Some(Instant::now() + Duration::from_millis(20)));
        for input in arrived.drain(..) {
            if let CoreInput::Node(NodeInput::Frame(frame)) = input {
                return frame;
            }
        }
    }
    panic!("nothing was heard");
}

/// What a peer with these members is told by `at` when it dials by hand.
fn dialled(members: &Members, at: &End) -> String {
    let address = at.transport.address().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let mut socket = ByDeadline::new(&stream, Instant::now() + PATIENCE);
    let mut tls = match secure::dial(members, &mut socket, &PeerAddress(address.to_string())) {
        Ok(tls) => tls,
        Err(error) => return error.to_string(),
    };
    let mut talk = rustls::Stream::new(&mut *tls, &mut socket);
    let said = talk.write_all(&preamble(Channel::Urgent)).and_then(|()| {
        let mut verdict = [0; 5];
        talk.read_exact(&mut verdict).map(|()| verdict)
    });
    match said.map_err(secure::explain) {
        Ok(verdict) => format!("{:?}", Verdict::decode(&verdict)),
        Err(error) => error.to_string(),
    }
}

#[test]
fn frames_arrive_in_order_and_long_ones_whole() {
    let town = Town::new("order");
    let (a, mut b) = (end(1, &town.member("a", 1)), end(2, &town.member("b", 2)));
    a.dial(2, &b);
    let small: Vec<Bytes> = (0..100u32).map(|n| Bytes::from(n.to_le_bytes().to_vec())).collect();
    a.send(2, Channel::Bulk, small.clone());
    assert_eq!(b.frames(|frames| frames.len() >= 100), small);
    // More than the buffers of both sockets and of TLS take.
    let long = Bytes::from((0..20_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    a.send(2, Channel::Bulk, [long.clone(), small[7].clone(), long.clone(), small[8].clone()]);
    let heard = b.frames(|frames| frames.len() >= 4);
    assert!(heard == [long.clone(), small[7].clone(), long, small[8].clone()]);
}

#[test]
fn nothing_that_is_said_can_be_read_on_the_way() {
    let town = Town::new("secret");
    let tap = TcpListener::bind("127.0.0.1:0").unwrap();
    let (a, mut b) = (end(1, &town.member("a", 1)), end(2, &town.member("b", 2)));
    let (to, via) = (b.transport.address().unwrap(), PeerAddress(tap.local_addr().unwrap().to_string()));
    a.transport.set_peers(&BTreeMap::from([(NodeId(2), via)])).unwrap();
    // Both connections go through here.
    let taps: Vec<_> = (0..2)
        .map(|_| {
            let (mut near, _) = tap.accept().unwrap();
            let mut far = TcpStream::connect(to).unwrap();
            let (mut back, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut to_near));
            std::thread::spawn(move || {
                let (mut heard, mut bytes) = (Vec::<u8>::new(), [0; 4096]);
                while let Ok(count @ 1..) = near.read(&mut bytes) {
                    heard.extend_from_slice(&bytes[..count]);
                    far.write_all(&bytes[..count]).unwrap();
                }
                heard
            })
        })
        .collect();
    assert_eq!(until_heard(&a, &mut b, "a word between members"), "a word between members");
    drop((a, b));
    for tap in taps {
        let heard = tap.join().unwrap();
        assert!(heard.len() > 100, "it went this way");
        for plain in [&b"a word between"[..], b"QRT"] {
            assert!(!heard.windows(plain.len()).any(|window| window == plain));
        }
    }
}

/// A peer that takes the connection and then reads nothing. What it holds is handed back.
#[test]
fn a_peer_that_does_not_read_costs_no_more_than_its_queue_and_what_was_taken_arrives_in_order() {
    let town = Town::new("deaf");
    let (members_a, members_b) = (town.member("a", 1), town.member("b", 2));
    let mut a = end(1, &members_a);
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = PeerAddress(deaf.local_addr().unwrap().to_string());
    a.transport.set_peers(&BTreeMap::from([(NodeId(2), address)])).unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let stream = Arc::new(deaf.accept().unwrap().0);
        let mut socket = ByDeadline::new(&stream, Instant::now() + PATIENCE);
        let mut tls = secure::accept(&members_b, &mut socket).unwrap();
        let mut said = [0; PREAMBLE_BYTES];
        let mut talk = rustls::Stream::new(&mut *tls, &mut socket);
        talk.read_exact(&mut said).unwrap();
        talk.write_all(&Verdict::Welcome.encode()).unwrap();
        held.push((said[4] == 1, tls, stream));
    }
    // Of an odd length, so that records and pieces of a write end within a frame.
    let piece = |n: u32| {
        let mut bytes = vec![n as u8; 40_001];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        Bytes::from(bytes)
    };
    let until = Instant::now() + PATIENCE;
    let (mut sent, mut inputs) = (0, Vec::new());
    while Instant::now() < until
        && !inputs.iter().any(|input| matches!(input, CoreInput::Node(NodeInput::PeerLost(_))))
    {
        a.send(2, Channel::Urgent, (sent..sent + 16).map(piece));
        sent += 16;
        inputs.clear();
        a.inbox.wait(&mut inputs, Some(Instant::now() + Duration::from_millis(5)));
    }
    assert!(matches!(inputs[..], [CoreInput::Node(NodeInput::PeerLost(NodeId(2)))]), "{inputs:?}");
    assert!(sent as usize * 40_001 > URGENT_QUEUE_BYTES_MAX);
    let dropped = a.counters.frames_dropped.get();
    a.send(2, Channel::Urgent, [piece(0)]);
    assert_eq!(a.counters.frames_dropped.get(), dropped + 1, "there is no room for more");
    // Now it reads: all that was not dropped is there, in order.
    let (_, tls, stream) = held.remove(held.iter().position(|(urgent, ..)| *urgent).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut unsealed = Unsealed::new(tls, &stream);
    let (mut reader, mut frames) = (FrameReader::new(URGENT_FRAME_BYTES_MAX), Vec::new());
    while (frames.len() as u64) < u64::from(sent) - dropped {
        reader.read(&mut unsealed, &mut frames).unwrap();
    }
    let numbers: Vec<u32> =
        frames.iter().map(|frame| u32::from_le_bytes(frame[..4].try_into().unwrap())).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(frames.iter().zip(&numbers).all(|(frame, n)| *frame == piece(*n)));
    // The queue is empty again, so what is sent now arrives.
    a.send(2, Channel::Urgent, [Bytes::from_static(b"more")]);
    while frames.last().is_none_or(|frame| frame != "more") {
        reader.read(&mut unsealed, &mut frames).unwrap();
    }
    drop((held, unsealed));
    stream.shutdown(Shutdown::Both).unwrap();
    assert_eq!(a.next(lost), NodeId(2));
}

#[test]
fn a_lost_connection_is_made_again() {
    let town = Town::new("again");
    let (members_a, members_b) = (town.member("a", 1), town.member("b", 2));
    let (mut a, mut b) = (end(1, &members_a), end(2, &members_b));
    a.dial(2, &b);
    until_heard(&a, &mut b, "one");
    let port = b.transport.address().unwrap();
    drop(b);
    assert_eq!(a.next(lost), NodeId(2));
    let listener = TcpListener::bind(port).unwrap();
    let mut b = End::with(listener, 2, Security::Tls(members_b));
    assert_eq!(until_heard(&a, &mut b, "two"), "two");
}

#[test]
fn in_the_clear_and_through_tls_do_not_meet_and_both_sides_are_told_what_to_do() {
    let town = Town::new("clear");
    let members = town.member("a", 1);
    let a = end(1, &members);
    let words = last_words(&mut stranger(&a, &preamble(Channel::Urgent)));
    assert_eq!(words, Verdict::Tls.encode());
    assert!(Verdict::Tls.to_string().contains("give this member peer-tls-certificate"));
    assert_eq!(last_words(&mut stranger(&a, b"GET / HTTP/1.1\r\nHost: quorate.example\r\n\r\n")), b"");
    let clear = End::new(1);
    let told = dialled(&members, &clear);
    assert!(told.contains("speaks in the clear"), "{told}");
}

#[test]
fn who_has_no_good_certificate_is_refused_and_nothing_of_it_reaches_the_core() {
    let (ours, theirs) = (Town::new("ours"), Town::new("theirs"));
    let files = ours.files("a", 1, HOSTS);
    let (members, crl) = (load(files.clone()), files.authorities.revoked.unwrap());
    let mut a = end(1, &members);
    assert_eq!(dialled(&ours.member("good", 2), &a), "Some(Welcome)");
    // It trusts ours, so that it does not refuse us first.
    let mut stranger = theirs.files("stranger", 2, HOSTS);
    stranger.authorities.certificates = ours.folder.0.join("authority.pem");
    stranger.authorities.revoked = None;
    let told = dialled(&load(stranger), &a);
    assert!(told.contains("received fatal alert"), "{told}");
    let revoked = ours.member("revoked", 7);
    assert_eq!(dialled(&revoked, &a), "Some(Welcome)", "not yet");
    std::fs::write(&crl, revoke(&ours.issuer, 7)).unwrap();
    let told = dialled(&revoked, &a);
    assert!(told.contains("received fatal alert: CertificateRevoked"), "{told}");
    // The other way round: whoever is dialled must be who was meant.
    let elsewhere = end(1, &load(ours.files("elsewhere", 3, &["10.9.9.9"])));
    let told = dialled(&members, &elsewhere);
    assert!(told.contains("not valid for name"), "{told}");
    let late = end(1, &revoked);
    let told = dialled(&members, &late);
    assert!(told.contains("Revoked"), "{told}");
    assert!(a.counters.connections_refused.get() >= 2);
    until_heard_nothing(&mut a);
}

#[test]
fn of_one_authority_only_those_with_the_names_are_peers() {
    let town = Town::new("names");
    let mut files = town.files("etcd-1", 1, HOSTS);
    files.names = vec!["etcd-1".to_owned(), "etcd-2".to_owned()];
    let members = load(files);
    let a = end(1, &members);
    assert_eq!(dialled(&town.member("etcd-2", 2), &a), "Some(Welcome)");
    let client = town.member("client", 3);
    let told = dialled(&client, &a);
    assert!(told.contains("hung up"), "{told}");
    let told = dialled(&members, &end(1, &client));
    assert!(told.contains("peer-tls-names"), "{told}");
}

/// Nothing but losses has come.
fn until_heard_nothing(end: &mut End) {
    let mut arrived = Vec::new();
    end.inbox.wait(&mut arrived, Some(Instant::now() + Duration::from_millis(50)));
    assert!(arrived.is_empty(), "{arrived:?}");
}

#[test]
fn renewed_files_count_for_the_next_connection() {
    let (town, next) = (Town::new("renewed"), Town::new("renewed-next"));
    let (files_a, files_b) = (town.files("a", 1, HOSTS), town.files("b", 2, HOSTS));
    let (a, mut b) = (end(1, &load(files_a.clone())), end(2, &load(files_b.clone())));
    a.dial(2, &b);
    until_heard(&a, &mut b, "one");
    // Both are renewed by another authority; the old one is trusted no more.
    for (files, name) in [(&files_a, "a"), (&files_b, "b")] {
        let renewed = next.files(name, 5, HOSTS);
        std::fs::copy(renewed.certificate, &files.certificate).unwrap();
        std::fs::copy(renewed.key, &files.key).unwrap();
        std::fs::copy(renewed.authorities.certificates, &files.authorities.certificates).unwrap();
        std::fs::copy(renewed.authorities.revoked.unwrap(), files.authorities.revoked.as_ref().unwrap())
            .unwrap();
    }
    // The connection that stands goes on; a new one is made with the new files.
    assert_eq!(until_heard(&a, &mut b, "two"), "two");
    assert_eq!(dialled(&next.member("c", 6), &b), "Some(Receiver)", "its words are for node 1");
    assert!(dialled(&town.member("d", 7), &b).contains("invalid peer certificate"));
}

#[test]
fn silent_and_slow_handshakes_are_bounded_in_number_and_time() {
    let town = Town::new("bounded");
    let (a, mut b) = (end(1, &town.member("a", 1)), end(2, &town.member("b", 2)));
    let began = Instant::now();
    let held: Vec<TcpStream> = (0..HANDSHAKES_MAX).map(|_| stranger(&b, &[22])).collect();
    // One too many: hung up on at once, without a word.
    let mut more = stranger(&b, &[]);
    assert_eq!(last_words(&mut more), b"");
    assert!(began.elapsed() < HANDSHAKE_TIMEOUT, "{:?}", began.elapsed());
    // A byte now and then does not extend it.
    let mut slow = held.into_iter().next().unwrap();
    let mut closed = false;
    while !closed && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
        closed = slow.write_all(&[3]).is_err();
    }
    assert!(closed && began.elapsed() < 3 * HANDSHAKE_TIMEOUT, "{:?}", began.elapsed());
    a.dial(2, &b);
    assert_eq!(until_heard(&a, &mut b, "there is room again"), "there is room again");
}

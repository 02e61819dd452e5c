//! `cargo bench --bench session`: a DM session of the gateway as a client, four messages in WBXML
//! with auth-md5 both ways, over HTTP on loopback: wall time and allocations.
//!
//! Yardstick of the same run: as many bare POSTs of the same sizes by the same client, answered by
//! an HTTP server of the same make that knows nothing of DM. Each session, and each yardstick, has
//! a connection of its own. The simulated DM server runs on another thread of this process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

#[path = "../common/post.rs"]
mod post;
#[path = "../common/tree.rs"]
mod tree;

use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::session::client::{Account, ClientSession, Incoming, Nonces, Options, Step};
use dm_gateway::proto::syncml::{Data, Encoding, Item, Location};
use dm_gateway::simulate::managing::{self, Answer, Manager, Script, Server};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming as Body};
use hyper::{Request, Response};
use post::Post;
use smol::Async;
use smol_hyper::rt::FuturesIo;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;
use tree::Tree;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Sessions of one measurement: each opens a port, of which there are some 28,000.
const SESSIONS: u16 = 2000;

/// What was allocated.
#[derive(Default)]
struct Used {
    allocations: usize,
    octets: usize,
}

impl Used {
    fn add(&mut self, change: Stats) {
        self.allocations += change.allocations;
        self.octets += change.bytes_allocated;
    }
}

fn main() {
    let sizes = in_memory();
    let bare = bare(&sizes);
    let session = over_http();
    let (difference, ratio) = (session - bare, session / bare);
    println!("DM costs {difference:.0} us of it: {ratio:.2} of the bare POSTs' time");
}

/// A session without HTTP: its sizes, and what the client's side of it takes.
fn in_memory() -> Vec<(usize, usize)> {
    let (mut sizes, mut used, mut times) = (Vec::new(), Used::default(), Vec::new());
    for _ in 0..SESSIONS {
        sizes.clear();
        let mut manager = Manager::new(server());
        let mut tree = Tree::of(&[("./Gw/Name", "hall")]);
        let (region, mut busy) = (Region::new(ALLOCATOR), 0.0);
        let options = client("http://127.0.0.1/dm", 1, first());
        used = Used::default();
        let begun = Instant::now();
        let before = region.change();
        let (mut session, mut outgoing) = ClientSession::start(options).unwrap();
        used.add(region.change() - before);
        busy += begun.elapsed().as_secs_f64();
        loop {
            let Answer::Message { encoding, body, .. } =
                manager.answer(Encoding::Wbxml, &outgoing.body, None, &outgoing.uri, b"next")
            else {
                panic!("no answer")
            };
            sizes.push((outgoing.body.len(), body.len()));
            let (begun, before) = (Instant::now(), region.change());
            let incoming = Incoming { encoding, body: &body, mac: None };
            let step = match session.receive(&incoming, [7; 16], &mut tree) {
                Step::Commit(_) => session.committed(true),
                step => step,
            };
            used.add(region.change() - before);
            busy += begun.elapsed().as_secs_f64();
            match step {
                Step::Send(next) => outgoing = next,
                Step::End(ending) => break assert!(ending.ok(), "{ending:?}"),
                Step::Commit(_) => unreachable!("committed once"),
            }
        }
        times.push(busy * 1e6);
    }
    let messages = 2 * sizes.len();
    assert_eq!(messages, 4);
    println!("{messages} messages, octets out and in: {sizes:?}");
    print("the client's side, no HTTP", &mut times, &used, 1);
    sizes
}

/// Microseconds of a session over HTTP, the median.
fn over_http() -> f64 {
    let server = Server::start("127.0.0.1:0".parse().unwrap(), server()).unwrap();
    let (url, mut nonces) = (server.url(), first());
    let mut session_id = 0;
    let median = measured("a session over HTTP, both sides", || {
        session_id += 1;
        let mut tree = Tree::of(&[("./Gw/Name", "hall")]);
        let options = client(&url, session_id, nonces.clone());
        let (session, outgoing) = ClientSession::start(options).unwrap();
        let ending = post::hold(session, outgoing, &mut tree).unwrap();
        assert!(ending.ok(), "{ending:?}");
        nonces = ending.nonces;
    });
    server.stop();
    median
}

/// Microseconds of POSTs of those sizes, the median.
fn bare(sizes: &[(usize, usize)]) -> f64 {
    let listener = Async::<TcpListener>::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let url = format!("http://{}/dm", listener.get_ref().local_addr().unwrap());
    // The answer's size is the request's path.
    thread::spawn(move || smol::block_on(answer(&listener)));
    measured("the bare POSTs, both sides", || {
        let mut connection = Post::to(&url).unwrap();
        for (out, back) in sizes {
            let body = vec![0; *out];
            let kind = Encoding::Wbxml.content_type();
            let answered = connection.post(&format!("/{back}"), kind, None, &body).unwrap();
            assert_eq!((answered.status, answered.body.len()), (200, *back));
        }
    })
}

async fn answer(listener: &Async<TcpListener>) {
    let connections = smol::LocalExecutor::new();
    let respond = |request: Request<Body>| async move {
        let size = request.uri().path().trim_start_matches('/').parse().unwrap();
        request.into_body().collect().await?;
        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(vec![0; size]))))
    };
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.get_ref().set_nodelay(true).unwrap();
            let service = hyper::service::service_fn(respond);
            let serve = hyper::server::conn::http1::Builder::new()
                .serve_connection(FuturesIo::new(stream), service);
            connections.spawn(async { drop(serve.await) }).detach();
        }
    };
    connections.run(accept).await
}

/// Runs and prints; the median in microseconds.
fn measured(name: &str, mut run: impl FnMut()) -> f64 {
    let region = Region::new(ALLOCATOR);
    let mut times = Vec::with_capacity(SESSIONS.into());
    for _ in 0..SESSIONS {
        let begun = Instant::now();
        run();
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let mut used = Used::default();
    used.add(region.change());
    print(name, &mut times, &used, SESSIONS.into())
}

/// The median of `times`, which are in microseconds.
fn print(name: &str, times: &mut [f64], used: &Used, runs: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let (median, best) = (times[times.len() / 2], times[0]);
    println!(
        "{name:<32} {median:>7.1} us, best {best:>6.1}, {:>4} allocations of {:>6} octets",
        used.allocations / runs,
        used.octets / runs,
    );
    median
}

fn first() -> Nonces {
    Nonces { client: b"first".to_vec(), server: b"first".to_vec() }
}

fn client(uri: &str, session_id: u16, nonces: Nonces) -> Options {
    let account = |name: &str| {
        let secret = Secret::new(format!("{name}'s secret"));
        Some(Account { scheme: Scheme::Md5, name: name.into(), secret })
    };
    let leaf = |name: &str, value: &'static str| Item {
        source: Some(Location { uri: format!("./DevInfo/{name}").into(), name: None }),
        data: Some(Data::Text(value.into())),
        ..Item::default()
    };
    Options {
        device_id: "IMEI:490154203237518".into(),
        server_id: "com.example.dm".into(),
        uri: uri.into(),
        hosts: Vec::new(),
        session_id,
        server_initiated: true,
        encoding: Encoding::Wbxml,
        secure: false,
        client: account("gateway"),
        server: account("server"),
        nonces,
        max_message_size: 16 * 1024,
        max_object_size: 256 * 1024,
        device_info: vec![
            leaf("DevId", "IMEI:490154203237518"),
            leaf("Man", "Example"),
            leaf("Mod", "Gateway"),
            leaf("DmV", "1.2"),
            leaf("Lang", "en"),
        ],
        alerts: Vec::new(),
    }
}

fn server() -> managing::Options {
    let account = |name: &str| {
        let secret = Secret::new(format!("{name}'s secret"));
        let (scheme, name, nonce) = (Scheme::Md5, name.to_owned(), b"first".to_vec());
        Some(managing::Account { scheme, name, secret, nonce })
    };
    let script = "get ./Gw/Name\nreplace ./Gw/Name chr cellar\nget ./Gw/Name\nget ./Gw/None\n";
    managing::Options {
        id: "com.example.dm".into(),
        client: account("gateway"),
        server: account("server"),
        script: Script::parse(script).unwrap(),
        ..managing::Options::default()
    }
}

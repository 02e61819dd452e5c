//! The impure parts on real sockets: loopback, temporary directories, child processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers are part of the tests")]

#[path = "bench/plain.rs"]
mod plain;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dm_gateway::gateway::seam::Response;
use dm_gateway::io::control_socket::{self, ControlSocket};
use dm_gateway::io::http_server::{Handler, LanListener, LanRequest};
use dm_gateway::io::push::{PushReceiver, PushSender};
use dm_gateway::limits;
use smol::{LocalExecutor, Timer, future};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

// --- Pushes --------------------------------------------------------------------------------

#[test]
fn pushes_in_batches_arrive_complete_and_in_order() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        smol::block_on(async {
            let mut receiver = PushReceiver::bind(address.parse().unwrap(), Some("lo")).unwrap();
            let to = receiver.local_address().unwrap();
            let sender = RefCell::new(PushSender::open(Some("lo")).unwrap());
            let mut expected = 0;
            for round in 0..10_u32 {
                for number in 0..100 {
                    let datagram = (round * 100 + number).to_be_bytes();
                    if !sender.borrow_mut().queue(to, &datagram) {
                        PushSender::flush(&sender).await;
                        assert!(sender.borrow_mut().queue(to, &datagram));
                    }
                }
                PushSender::flush(&sender).await;
                while expected < (round + 1) * 100 {
                    for (from, octets) in receive(&mut receiver).await {
                        assert_eq!(from.ip(), to.ip());
                        assert_eq!(octets, expected.to_be_bytes());
                        expected += 1;
                    }
                }
            }
            assert_eq!(
                (receiver.counters().datagrams, sender.borrow().counters().datagrams),
                (1000, 1000)
            );
        });
    }
}

#[test]
fn a_datagram_that_the_kernel_refuses_loses_only_itself() {
    // Broadcasting was not asked for: EACCES.
    lose_one("255.255.255.255:9");
}

#[test]
fn an_unreachable_target_loses_only_its_own_datagram() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("left out: wants root for a network namespace");
    }
    let script = "ip link set lo up && ip route add unreachable 198.51.100.1 && exec \"$0\" \"$@\"";
    let status = Command::new("unshare")
        .args(["-n", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_with_an_unreachable_target", "--ignored"])
        .status();
    assert!(status.unwrap().success());
}

#[test]
#[ignore = "run by an_unreachable_target_loses_only_its_own_datagram"]
fn child_with_an_unreachable_target() {
    lose_one("198.51.100.1:2948");
    lose_one("[2001:db8::1]:2948");
}

/// The octets and sources of the next batch.
async fn receive(receiver: &mut PushReceiver) -> Vec<(SocketAddr, Vec<u8>)> {
    loop {
        if let Some(batch) = receiver.receive().unwrap() {
            return batch.iter().map(|(from, octets)| (from, octets.to_vec())).collect();
        }
        poll_fn(|context| receiver.poll_readable(context)).await.unwrap();
    }
}

/// Sends 20 datagrams with one to `bad` among them.
fn lose_one(bad: &str) {
    smol::block_on(async {
        let mut receiver = PushReceiver::bind(LOOPBACK, None).unwrap();
        let to = receiver.local_address().unwrap();
        let mut sender = PushSender::open(None).unwrap();
        for number in 0..20_u8 {
            let to = if number == 7 { bad.parse().unwrap() } else { to };
            assert!(sender.queue(to, &[number]));
        }
        assert!(sender.send());
        let mut arrived = Vec::new();
        while arrived.len() < 19 {
            arrived.extend(receive(&mut receiver).await.iter().map(|(_, octets)| octets[0]));
        }
        assert_eq!(arrived, (0..20).filter(|number| *number != 7).collect::<Vec<_>>());
        assert_eq!((sender.counters().datagrams, sender.counters().refused), (19, 1));
    });
}

#[test]
fn oversize_datagrams_are_counted_and_skipped() {
    smol::block_on(async {
        let mut receiver = PushReceiver::bind(LOOPBACK, None).unwrap();
        let to = receiver.local_address().unwrap();
        let raw = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        for length in [limits::DATAGRAM, limits::DATAGRAM + 1, 0, limits::DATAGRAM + 9, 3] {
            raw.send_to(&vec![1; length], to).unwrap();
        }
        let mut lengths = Vec::new();
        while lengths.len() < 3 {
            lengths.extend(receive(&mut receiver).await.iter().map(|(_, o)| o.len()));
        }
        assert_eq!(lengths, [limits::DATAGRAM, 0, 3]);
        assert_eq!(receiver.counters().oversize, 2);
    });
}

#[test]
fn what_the_kernel_dropped_is_counted() {
    smol::block_on(async {
        let mut receiver = PushReceiver::bind(LOOPBACK, None).unwrap();
        let to = receiver.local_address().unwrap();
        let raw = std::net::UdpSocket::bind(LOOPBACK).unwrap();
        // Even the largest buffer the kernel may give is less than this.
        let mut sent = 0;
        for _ in 0..20_000 {
            sent += u64::from(raw.send_to(&[0; 1000], to).is_ok());
        }
        // The counter comes with datagrams that came after the drops.
        for _ in 0..1000 {
            if receiver.counters().dropped > 0 {
                break;
            }
            raw.send_to(&[1], to).unwrap();
            sent += 1;
            receive(&mut receiver).await;
        }
        loop {
            let quiet = async {
                Timer::after(Duration::from_millis(200)).await;
                false
            };
            let more = async {
                receive(&mut receiver).await;
                true
            };
            if !future::or(more, quiet).await {
                break;
            }
        }
        let counters = receiver.counters();
        assert!(counters.dropped > 0);
        assert_eq!(counters.datagrams + counters.dropped, sent);
    });
}

#[test]
fn an_occupied_push_port_is_an_error_that_names_it() {
    let first = PushReceiver::bind(LOOPBACK, None).unwrap();
    let address = first.local_address().unwrap();
    let Err(error) = PushReceiver::bind(address, None) else { panic!("bound twice") };
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let Err(error) = PushReceiver::bind(LOOPBACK, Some("nope0")) else { panic!("no interface") };
    assert!(error.to_string().contains("nope0"), "{error}");
}

#[test]
fn probing_sends_an_empty_datagram_and_needs_no_listener() {
    let sender = smol::block_on(async { PushSender::open(None) }).unwrap();
    sender.discard("127.0.0.1".parse().unwrap(), 0).unwrap();
    sender.discard("::1".parse().unwrap(), 0).unwrap();
}

#[test]
fn the_plain_forwarder_carries_everything_and_takes_targets_in_turn() {
    let (front, back) = (plain::socket(LOOPBACK).unwrap(), plain::socket(LOOPBACK).unwrap());
    let sinks = [plain::socket(LOOPBACK).unwrap(), plain::socket(LOOPBACK).unwrap()];
    let targets: Vec<_> = sinks.iter().map(|sink| sink.local_addr().unwrap()).collect();
    let (stop, counts) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    thread::scope(|scope| {
        let forwarder = scope.spawn(|| plain::forward(&front, &back, &targets, &stop));
        for (socket, count) in sinks.iter().zip(&counts) {
            let stop = &stop;
            scope.spawn(move || plain::sink(socket, count, stop));
        }
        let generator = plain::socket(LOOPBACK).unwrap();
        let to = front.local_addr().unwrap();
        let mut datagrams: Vec<_> = (0..7_u8).map(|number| vec![number; 100]).collect();
        let pace = plain::Pace::PerSecond(20_000.0);
        let time = Duration::from_secs(10);
        let sent = plain::generate(&generator, to, &mut datagrams, pace, time, 1000).unwrap();
        assert_eq!(sent, 1000);
        let arrived = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
        wait_until(|| arrived() == 1000);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(forwarder.join().unwrap().unwrap(), 1000);
    });
    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 500));
}

// --- HTTP ----------------------------------------------------------------------------------

/// Answers each request with what it saw. The path says how: `/slow` in 300 ms.
#[derive(Default)]
struct Echo {
    requests: Cell<u32>,
}

impl Handler for Echo {
    async fn request(&self, request: LanRequest) -> Response {
        self.requests.set(self.requests.get() + 1);
        if request.path == "/slow" {
            Timer::after(Duration::from_millis(300)).await;
        }
        let LanRequest { from, method, path, content_type, body, .. } = &request;
        let text = format!(
            "{method} {path} {} {} {}",
            content_type.as_deref().unwrap_or("-"),
            body.len(),
            from
        );
        let retry_after = (request.path == "/later").then_some(7);
        Response {
            status: if retry_after.is_some() { 503 } else { 200 },
            content_type: Some("text/plain"),
            retry_after,
            body: text.into_bytes(),
        }
    }
}

/// A LAN server in a thread of its own; stops when dropped.
struct Lan {
    address: SocketAddr,
    stop: smol::channel::Sender<()>,
    thread: Option<JoinHandle<Duration>>,
}

impl Lan {
    fn start(address: &str, connections: usize) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = smol::channel::bounded(1);
        let thread = thread::spawn(move || {
            let executor = LocalExecutor::new();
            smol::block_on(executor.run(async {
                let listener = LanListener::bind(address, Some("lo")).unwrap();
                let listener = listener.with_connections(connections);
                tell.send(listener.local_address().unwrap()).unwrap();
                let stopper = listener.stopper();
                let mut since = Instant::now();
                let stop = async {
                    // Dropping the sender says the same.
                    let _ = stopped.recv().await;
                    since = Instant::now();
                    stopper.stop();
                    future::pending().await
                };
                let serve = listener.serve(&executor, Rc::new(Echo::default()));
                future::or(serve, stop).await;
                since.elapsed()
            }))
        });
        Self { address: told.recv().unwrap(), stop, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends and reads until the server closes.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn begin_stop(&self) {
        self.stop.try_send(()).unwrap();
    }

    /// How long the server took to stop.
    fn finish(mut self) -> Duration {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

fn lan() -> Lan {
    Lan::start("127.0.0.1:0", limits::LAN_CONNECTIONS)
}

const CLOSE: &str = "Host: x\r\nConnection: close\r\n";

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// Reads one answer with a Content-Length off a kept connection.
fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut octet = [0; 1];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).unwrap();
        answer.push(octet[0]);
    }
    let head = String::from_utf8(answer).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

#[test]
fn an_answer_carries_what_it_should_and_nothing_else_in_one_segment() {
    let lan = lan();
    let mut stream = lan.connect();
    stream.write_all(&post("/later?x=1", "Host: x\r\nContent-Type: a/b\r\n", "12345")).unwrap();
    let mut segment = [0; 4096];
    let length = stream.read(&mut segment).unwrap();
    let answer = std::str::from_utf8(&segment[..length]).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("POST /later a/b 5 127.0.0.1:"), "{body}");
    let mut lines: Vec<_> = head.split("\r\n").map(str::to_lowercase).collect();
    assert_eq!(lines.remove(0), "http/1.1 503 service unavailable");
    lines.sort();
    let length = format!("content-length: {}", body.len());
    let expected =
        ["cache-control: no-store", &length, "content-type: text/plain", "retry-after: 7"];
    assert_eq!(lines, expected);
}

#[test]
fn a_kept_connection_takes_one_request_after_another() {
    let lan = lan();
    let mut stream = lan.connect();
    for body in ["", "a", "bcd"] {
        stream.write_all(&post("/dm", "Host: x\r\n", body)).unwrap();
        let answer = read_answer(&mut stream);
        assert!(answer.contains(&format!("POST /dm - {} ", body.len())), "{answer}");
    }
    let both = [post("/1", "Host: x\r\n", "a"), post("/2", "Host: x\r\n", "b")].concat();
    stream.write_all(&both).unwrap();
    assert!(read_answer(&mut stream).contains("/1"));
    assert!(read_answer(&mut stream).contains("/2"));
}

#[test]
fn a_body_over_the_cap_is_refused_with_413_whether_declared_or_chunked() {
    let lan = lan();
    let fits = "x".repeat(limits::LAN_BODY);
    assert_eq!(status(&lan.exchange(&post("/", CLOSE, &fits))), "200");
    let too_long = "x".repeat(limits::LAN_BODY + 1);
    assert_eq!(status(&lan.exchange(&post("/", "Host: x\r\n", &too_long))), "413");
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{:x}\r\n{too_long}\r\n0\r\n\r\n", too_long.len());
    assert_eq!(status(&lan.exchange(chunked.as_bytes())), "413");
    let huge = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
    assert_eq!(status(&lan.exchange(huge.as_bytes())), "413");
}

#[test]
fn a_request_with_two_lengths_is_refused_and_its_connection_closed() {
    let lan = lan();
    let body = "1\r\na\r\n0\r\n\r\n";
    let (length, coding) = ("Content-Length: 11\r\n", "Transfer-Encoding: chunked\r\n");
    for pair in [format!("{length}{coding}"), format!("{coding}{length}")] {
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{pair}\r\n{body}");
        assert_eq!(status(&lan.exchange(request.as_bytes())), "400");
        // Also as a later request of a kept connection.
        let mut stream = lan.connect();
        stream.write_all(&post("/", "Host: x\r\n", "a")).unwrap();
        assert_eq!(status(&read_answer(&mut stream)), "200");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), "400");
    }
    let two = post("/", "Host: x\r\nContent-Length: 7\r\n", "a");
    assert_eq!(status(&lan.exchange(&two)), "400");
}

#[test]
fn chunked_bodies_are_put_together() {
    let head = "Transfer-Encoding: chunked\r\n";
    let request = format!("POST /dm HTTP/1.1\r\n{CLOSE}{head}\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let answer = lan().exchange(request.as_bytes());
    assert!(answer.contains("POST /dm - 5 "), "{answer}");
}

#[test]
fn a_character_set_as_content_encoding_is_tolerated_and_a_coding_is_not() {
    let lan = lan();
    for (coding, expected) in
        [("UTF-8", "200"), ("utf8", "200"), ("identity", "200"), ("gzip", "415"), ("br", "415")]
    {
        let headers = format!("{CLOSE}Content-Encoding: {coding}\r\n");
        assert_eq!(status(&lan.exchange(&post("/", &headers, "a"))), expected, "{coding}");
    }
}

#[test]
fn http_1_0_is_accepted_and_closed() {
    let answer = lan().exchange(b"POST /dm HTTP/1.0\r\nContent-Length: 2\r\n\r\nab");
    assert!(answer.contains("POST /dm - 2 "), "{answer}");
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let lan = lan();
    let mut stream = lan.connect();
    let head = "POST /dm HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ";
    stream.write_all(format!("{head}2\r\n\r\n").as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ab").unwrap();
    assert!(read_answer(&mut stream).contains("POST /dm - 2 "));
    let refused = lan.exchange(format!("{head}99999999\r\n\r\n").as_bytes());
    assert_eq!(status(&refused), "413");
}

#[test]
fn a_peer_that_stops_sending_after_its_request_is_answered() {
    let lan = lan();
    let mut stream = lan.connect();
    stream.write_all(&post("/slow", "Host: x\r\n", "a")).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(status(&read_answer(&mut stream)), "200");
}

#[test]
fn garbage_and_endless_heads_are_refused() {
    let lan = lan();
    assert_eq!(status(&lan.exchange(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")), "400");
    let mut stream = lan.connect();
    stream.write_all(b"POST / HTTP/1.1\r\n").unwrap();
    let line = format!("A: {}\r\n", "b".repeat(1000));
    for _ in 0..17 {
        stream.write_all(line.as_bytes()).unwrap();
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert_eq!(status(&answer), "431");
}

#[test]
fn peers_that_dawdle_over_head_or_body_are_cut_off_and_others_served() {
    let lan = lan();
    let begin = Instant::now();
    let mut slow_head = lan.connect();
    slow_head.write_all(b"POST / HTTP/1.1\r\nHo").unwrap();
    let mut slow_body = lan.connect();
    slow_body.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab").unwrap();
    let mut idle = lan.connect();
    idle.write_all(&post("/", "Host: x\r\n", "a")).unwrap();
    assert_eq!(status(&read_answer(&mut idle)), "200");
    assert_eq!(status(&lan.exchange(&post("/", CLOSE, "a"))), "200");
    let mut answer = String::new();
    slow_body.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "408");
    let mut nothing = Vec::new();
    slow_head.read_to_end(&mut nothing).unwrap();
    idle.read_to_end(&mut nothing).unwrap();
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn idle_connections_give_way_to_waiting_ones() {
    let lan = Lan::start("127.0.0.1:0", 1);
    let mut kept = lan.connect();
    kept.write_all(&post("/", "Host: x\r\n", "a")).unwrap();
    assert_eq!(status(&read_answer(&mut kept)), "200");
    let begin = Instant::now();
    assert_eq!(status(&lan.exchange(&post("/", CLOSE, "a"))), "200");
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(kept.read(&mut [0; 1]).unwrap(), 0);
    let _silent = lan.connect();
    thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    assert_eq!(status(&lan.exchange(&post("/", CLOSE, "a"))), "200");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn six_hundred_connections_against_a_cap_of_four_are_all_served() {
    let lan = Lan::start("127.0.0.1:0", 4);
    let mut streams: Vec<_> = (0..600).map(|_| lan.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&post("/", "Host: x\r\n", "a")).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(status(&read_answer(stream)), "200", "connection {number}");
    }
}

#[test]
fn a_lack_of_descriptors_delays_and_does_not_refuse() {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 24 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_serves_until_its_input_ends", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut stderr = child.stderr.take().unwrap();
    let mut octet = [0; 1];
    while stderr.read(&mut octet).unwrap() == 1 && octet[0] != b'\n' {
        address.push(octet[0].into());
    }
    let address: SocketAddr = address.parse().unwrap();
    let mut streams: Vec<_> = (0..80).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(&post("/slow", CLOSE, "a")).unwrap();
    }
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(status(&read_answer(stream)), "200");
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "run by a_lack_of_descriptors_delays_and_does_not_refuse"]
fn child_serves_until_its_input_ends() {
    let lan = lan();
    eprintln!("{}", lan.address);
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(lan);
}

#[test]
fn a_stop_lets_requests_in_progress_end_and_closes_idle_connections() {
    let lan = lan();
    let mut idle = lan.connect();
    idle.write_all(&post("/", "Host: x\r\n", "a")).unwrap();
    read_answer(&mut idle);
    let mut silent = lan.connect();
    let mut busy = lan.connect();
    busy.write_all(&post("/slow", "Host: x\r\n", "a")).unwrap();
    thread::sleep(Duration::from_millis(100));
    lan.begin_stop();
    let answer = read_answer(&mut busy);
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("connection: close"));
    assert_eq!(idle.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    let address = lan.address;
    assert!(lan.finish() < Duration::from_millis(900));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_stop_does_not_wait_for_those_who_never_end() {
    let lan = lan();
    let mut stuck = lan.connect();
    stuck.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab").unwrap();
    thread::sleep(Duration::from_millis(100));
    lan.begin_stop();
    assert!(lan.finish() < Duration::from_millis(1500));
}

#[cfg(feature = "simulate")]
#[test]
fn the_client_binds_its_address_keeps_its_connection_and_replaces_a_closed_one() {
    use dm_gateway::io::http_client::Client;
    let time = Duration::from_secs(5);
    for (listen, from) in [("127.0.0.1:0", Some("127.0.1.9")), ("[::1]:0", None)] {
        let lan = Lan::start(listen, 1);
        let url = format!("http://{}/dm", lan.address);
        smol::block_on(async {
            let mut client = Client::new(from.map(|from| from.parse().unwrap()));
            let first = client.post(&url, "a/b", b"abc", time).await.unwrap();
            assert_eq!((first.0, first.1.as_deref()), (200, Some("text/plain")));
            let text = String::from_utf8(first.2.clone()).unwrap();
            assert!(text.starts_with("POST /dm a/b 3 "), "{text}");
            assert!(text.contains(from.unwrap_or("::1")), "{text}");
            // The same port of ours: the same connection.
            assert_eq!(client.post(&url, "a/b", b"abc", time).await.unwrap(), first);
            // Somebody else needs the only place.
            assert_eq!(status(&lan.exchange(&post("/", CLOSE, "a"))), "200");
            let other = client.post(&url, "a/b", b"abc", time).await.unwrap();
            assert!(other.0 == 200 && other != first);
            let gone = "http://127.0.0.1:9/";
            let error = client.post(gone, "a/b", b"", time).await.unwrap_err();
            assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
        });
    }
}

// --- Control socket ------------------------------------------------------------------------

/// Accepts one operator in a thread, answers with two lines, and returns the request.
fn answer_one(path: &Path) -> JoinHandle<(String, u32)> {
    let (tell, bound) = std::sync::mpsc::channel();
    let path = path.to_owned();
    let thread = thread::spawn(move || {
        smol::block_on(async {
            let socket = ControlSocket::bind(&path).unwrap();
            tell.send(()).unwrap();
            let mut operator = socket.accept().await.unwrap();
            let request = operator.request().await.unwrap();
            operator.send("{\"line\":1}").await.unwrap();
            operator.send("{\"line\":2}").await.unwrap();
            (request, operator.peer_uid())
        })
    });
    bound.recv().unwrap();
    thread
}

fn ask(path: &Path, line: &str) -> Vec<String> {
    let client = control_socket::connect(path).unwrap();
    client.ask(line).unwrap().map(Result::unwrap).collect()
}

fn bind_error(path: &Path) -> std::io::Error {
    match smol::block_on(async { ControlSocket::bind(path) }) {
        Ok(_) => panic!("bound {}", path.display()),
        Err(error) => error,
    }
}

#[test]
fn an_operator_asks_one_line_and_gets_lines_until_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let daemon = answer_one(&path);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(ask(&path, "{\"ask\":\"ä\"}"), ["{\"line\":1}", "{\"line\":2}"]);
    let (request, uid) = daemon.join().unwrap();
    assert_eq!(request, "{\"ask\":\"ä\"}");
    assert_eq!(uid, nix::unistd::geteuid().as_raw());
    assert!(!path.exists(), "a clean stop leaves no file");
}

#[test]
fn a_path_that_is_too_long_names_its_length_and_the_key() {
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(limits::CONTROL_PATH)));
    let error = bind_error(&long);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("112 octets") && text.contains("[control] socket"), "{text}");
    assert!(control_socket::connect(&long).is_err());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(control_socket::connect(&path).is_err());
    let daemon = answer_one(&path);
    let error = bind_error(&path);
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("another dm-gateway answers on"), "{error}");
    // The daemon under test saw that as an operator who said nothing.
    assert!(daemon.join().is_err());
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = bind_error(&path);
    assert!(error.to_string().contains("is not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_stop_removes_no_file_but_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let first = smol::block_on(async { ControlSocket::bind(&path) }).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _second = smol::block_on(async { ControlSocket::bind(&path) }).unwrap();
    drop(first);
    assert!(path.symlink_metadata().unwrap().file_type().is_socket());
}

#[test]
fn requests_without_end_and_connections_without_number_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    smol::block_on(async {
        let socket = ControlSocket::bind(&path).unwrap();
        let writer = thread::spawn({
            let path = path.clone();
            move || {
                let client = control_socket::connect(&path).unwrap();
                client.ask(&"x".repeat(limits::CONTROL_LINE + 1)).map(Iterator::count)
            }
        });
        let mut operator = socket.accept().await.unwrap();
        let error = operator.request().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        drop(operator);
        let _ = writer.join().unwrap();

        let mut held = Vec::new();
        let clients: Vec<_> = (0..limits::CONTROL_CONNECTIONS)
            .map(|_| control_socket::connect(&path).unwrap())
            .collect();
        for _ in &clients {
            held.push(socket.accept().await.unwrap());
        }
        let asker = thread::spawn({
            let path = path.clone();
            move || ask(&path, "{}")
        });
        let accept = async { socket.accept().await.is_ok() };
        let refused = async {
            Timer::after(Duration::from_millis(500)).await;
            false
        };
        assert!(!future::or(accept, refused).await);
        let lines = asker.join().unwrap();
        assert!(lines.len() == 1 && lines[0].contains("\"error\":\"too many"), "{lines:?}");
        drop(clients);
        held.pop().unwrap().closed().await;
        let _client = control_socket::connect(&path).unwrap();
        assert!(socket.accept().await.is_ok());
    });
}

#[test]
fn another_user_is_told_why_it_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("left out: wants root to become another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let open = |mode, path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(0o755, directory.path());
    let program = directory.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    open(0o755, &program);
    let path = directory.path().join("control.sock");
    let ask_as = |group: u32| {
        let output = Command::new(&program)
            .args(["--exact", "child_asks_the_control_socket", "--ignored", "--nocapture"])
            .env("CONTROL_SOCKET", &path)
            .current_dir(directory.path())
            .uid(65534)
            .gid(group)
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let daemon = answer_one(&path);
    assert!(ask_as(65534).contains("Permission denied"));
    // Should the mode be opened, the peer's credentials still count.
    open(0o666, &path);
    let answer = ask_as(65534);
    assert!(answer.contains("{\"error\":\"permission denied"), "{answer}");
    assert!(answer.contains("\"schema\":1"), "{answer}");
    let group = 65533;
    std::os::unix::fs::chown(&path, None, Some(group)).unwrap();
    let answer = ask_as(group);
    assert!(answer.contains("{\"line\":2}"), "{answer}");
    assert_eq!(daemon.join().unwrap().1, 65534);
}

#[test]
#[ignore = "run by another_user_is_told_why_it_is_refused"]
fn child_asks_the_control_socket() {
    let path = std::env::var("CONTROL_SOCKET").unwrap();
    match control_socket::connect(Path::new(&path)) {
        Ok(client) => client.ask("{}").unwrap().for_each(|line| eprintln!("{}", line.unwrap())),
        Err(error) => eprintln!("{error}"),
    }
}

// --- Logger and service manager ------------------------------------------------------------

#[test]
fn the_journal_and_the_service_manager_are_told_in_their_forms() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let log = directory.path().join("log");
    let run = |journal: bool| {
        let file = std::fs::File::create(&log).unwrap();
        let metadata = file.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_logs_and_notifies", "--ignored", "--nocapture"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "3000000")
            .env("JOURNAL_STREAM", if journal { &stream } else { "1:2" })
            .env("DM_GATEWAY_LOG", "debug")
            .stdout(Stdio::null())
            .stderr(file)
            .status();
        assert!(status.unwrap().success());
        let mut told = Vec::new();
        let mut message = [0; 256];
        for _ in 0..4 {
            let length = manager.recv(&mut message).unwrap();
            told.push(std::str::from_utf8(&message[..length]).unwrap().trim_end().to_owned());
        }
        assert_eq!(told, ["READY=1\nSTATUS=3 devices", "STATUS=4", "WATCHDOG=1", "STOPPING=1"]);
        std::fs::read_to_string(&log).unwrap()
    };
    assert_eq!(run(true), "<4>careful\n<7>small\n<3>sled: theirs\n");
    assert_eq!(run(false), "WARN  careful\nDEBUG small\nERROR sled: theirs\n");
}

#[test]
#[ignore = "run by the_journal_and_the_service_manager_are_told_in_their_forms"]
fn child_logs_and_notifies() {
    use dm_gateway::io::{logger, systemd};
    logger::init(None);
    log::warn!(target: "dm_gateway::io", "careful");
    log::debug!(target: "dm_gateway::io", "small");
    log::trace!(target: "dm_gateway::io", "below the level");
    log::info!(target: "sled", "not ours and nothing wrong");
    log::error!(target: "sled", "theirs");
    systemd::ready("3 devices");
    systemd::status("4");
    systemd::watchdog();
    systemd::stopping();
    assert_eq!(systemd::watchdog_interval(), Some(Duration::from_millis(1500)));
}

fn wait_until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "waited for too long");
        thread::sleep(Duration::from_millis(5));
    }
}

//! The client for calls to servers, on plain HTTP: peers that are scripts on a loopback socket.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dm_gateway::io::dm_client::{CallAnswer, CallFailure, CallRequest, Clients, Method, Trust};

// --- What goes out -------------------------------------------------------------------------

#[test]
fn http_without_leave_is_refused_before_any_packet() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/dm", listener.local_addr().unwrap());
    let outcome = call(CallRequest { allow_http: false, ..post(&url, b"<SyncML/>") });
    assert_eq!(outcome, Err(CallFailure::HttpNotAllowed));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_message_is_posted_with_its_headers_and_length() {
    let peer = Peer::answering(&[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let headers = vec![
        ("Content-Type".to_owned(), "application/vnd.syncml.dm+xml".to_owned()),
        ("Accept".to_owned(), "application/vnd.syncml.dm+xml".to_owned()),
    ];
    let request = CallRequest { headers, ..post(&peer.url("/dm?a=b"), b"<SyncML/>") };
    assert_eq!(call(request).unwrap().body, b"ok");
    let [seen] = peer.seen().try_into().unwrap();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /dm?a=b HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
    for line in ["content-length: 9", "content-type: application/vnd.syncml.dm+xml"] {
        assert!(head.lines().any(|it| it == line), "{line} in {head}");
    }
    assert_eq!(body, "<SyncML/>");
}

#[test]
fn a_document_is_asked_for_without_a_body() {
    let peer = Peer::answering(&[b"HTTP/1.0 200 OK\r\n\r\nuntil the end"]);
    let answer = call(CallRequest { method: Method::Get, ..post(&peer.url(""), b"not sent") });
    assert_eq!(answer.unwrap().body, b"until the end");
    let [seen] = peer.seen().try_into().unwrap();
    assert!(seen.starts_with("GET / HTTP/1.1\r\n") && seen.ends_with("\r\n\r\n"), "{seen}");
    assert!(!seen.to_lowercase().contains("content-length"), "{seen}");
}

#[test]
fn a_header_that_would_be_two_is_not_sent() {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", peer.local_addr().unwrap());
    let headers = vec![("Accept".to_owned(), "a\r\nX-Other: b".to_owned())];
    let outcome = call(CallRequest { headers, ..post(&url, b"") });
    assert!(matches!(outcome, Err(CallFailure::NotHttp(_))), "{outcome:?}");
}

// --- What comes back -----------------------------------------------------------------------

#[test]
fn a_redirect_is_reported_and_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("http://{}/other", elsewhere.local_addr().unwrap());
    for status in [301, 302, 307, 308] {
        let text = format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        );
        let peer = Peer::answering(&[text.as_bytes()]);
        let answer = call(post(&peer.url("/dm"), b"secret")).unwrap();
        assert_eq!((answer.status, answer.location.as_deref()), (status, Some(&*location)));
    }
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn chunks_and_interim_answers_are_understood() {
    let peer = Peer::answering(&[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-SyncML-HMAC: algorithm=MD5, mac=x\r\n\r\n\
        3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"]);
    let answer = call(post(&peer.url("/"), b"x")).unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"abcde"[..]));
    assert_eq!(answer.mac.as_deref(), Some("algorithm=MD5, mac=x"));
}

#[test]
fn a_busy_server_says_when_to_come_again() {
    for (value, seconds) in [("120", 120), ("Thu, 01 Jan 1970 00:30:00 GMT", 800)] {
        let text =
            format!("HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 4\r\n\r\nbusy");
        let peer = Peer::answering(&[text.as_bytes()]);
        let answer = call(CallRequest { now: 1000, ..post(&peer.url("/"), b"x") }).unwrap();
        assert_eq!(answer.retry_after, Some(Duration::from_secs(seconds)));
    }
}

#[test]
fn a_body_larger_than_allowed_is_refused_whatever_tells_its_length() {
    let large = vec![b'x'; 1001];
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n".to_vec();
    chunked.extend_from_slice(&large);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    endless.extend_from_slice(&large);
    for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"[..], &chunked, &endless] {
        let peer = Peer::answering(&[answer]);
        let request = CallRequest { max_body: 1000, ..post(&peer.url("/"), b"x") };
        assert_eq!(call(request), Err(CallFailure::TooLarge));
    }
    let mut fits = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
    fits.extend_from_slice(&large[..1000]);
    let peer = Peer::answering(&[&fits]);
    let request = CallRequest { max_body: 1000, ..post(&peer.url("/"), b"x") };
    assert_eq!(call(request).unwrap().body.len(), 1000);
}

#[test]
fn the_status_of_a_refusal_counts_however_large_the_page_that_explains_it() {
    let peer = Peer::answering(&[
        b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 99999\r\n\r\n...",
    ]);
    let answer = call(CallRequest { max_body: 1000, ..post(&peer.url("/"), b"x") }).unwrap();
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    assert_eq!(answer.retry_after, Some(Duration::from_secs(9)));
}

#[test]
fn an_answer_that_is_cut_anywhere_is_no_answer() {
    for cut in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let peer = Peer::answering(&[cut]);
        let outcome = call(post(&peer.url("/"), b"x"));
        assert_eq!(outcome, Err(CallFailure::Cut), "{}", String::from_utf8_lossy(cut));
        assert_eq!(peer.seen().len(), 1, "it is not sent again");
    }
}

#[test]
fn what_is_not_http_is_refused() {
    let mut head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    head.resize(100_000, b'x');
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
        &head,
    ] {
        let peer = Peer::answering(&[answer]);
        let outcome = call(post(&peer.url("/"), b"x"));
        assert!(matches!(outcome, Err(CallFailure::NotHttp(_))), "{outcome:?}");
    }
}

#[test]
fn a_slow_server_costs_the_timeout_and_no_more() {
    let drop_by_drop = Peer::start(|mut stream, _| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b".").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let silent = Peer::start(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for peer in [drop_by_drop, silent] {
        let started = Instant::now();
        let timeout = Duration::from_millis(300);
        let outcome = call(CallRequest { timeout, ..post(&peer.url("/"), b"x") });
        assert_eq!(outcome, Err(CallFailure::TimedOut));
        assert!((timeout..timeout * 5).contains(&started.elapsed()), "{:?}", started.elapsed());
    }
}

#[test]
fn hosts_that_are_not_there_are_told_apart() {
    let unresolved = call(post("http://no-such-host.invalid/", b"x"));
    assert!(matches!(unresolved, Err(CallFailure::Unresolved(_))), "{unresolved:?}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = call(post(&format!("http://{closed}/"), b"x"));
    assert!(matches!(unreachable, Err(CallFailure::Unreachable(_))), "{unreachable:?}");
    assert_eq!(call(post("ftp://127.0.0.1/", b"x")), Err(CallFailure::BadUrl));
}

// --- Connections ---------------------------------------------------------------------------

const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn messages_of_a_session_share_a_connection_until_nothing_needs_it() {
    let peer = Peer::answering(&[EMPTY, EMPTY, EMPTY]);
    let clients = Clients::new();
    for message in [b"1", b"2", b"3"] {
        let answer = smol::block_on(clients.call(post(&peer.url("/"), message)));
        assert_eq!(answer.unwrap().status, 200);
    }
    clients.close_idle();
    assert_eq!(peer.connections_and_seen(), (1, 3));
}

#[test]
fn a_kept_connection_that_its_server_has_closed_is_replaced() {
    let peer = Peer::start(|mut stream, _| {
        if read_request(&mut stream).is_some() {
            let _ = stream.write_all(EMPTY);
        }
    });
    let clients = Clients::new();
    for _ in 0..3 {
        let answer = smol::block_on(clients.call(post(&peer.url("/"), b"x")));
        assert_eq!(answer.unwrap().status, 200);
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_message_cut_on_a_kept_connection_is_not_sent_twice() {
    let peer = Peer::answering(&[EMPTY, b""]);
    let clients = Clients::new();
    let url = peer.url("/");
    assert!(smol::block_on(clients.call(post(&url, b"1"))).is_ok());
    let second = smol::block_on(clients.call(post(&url, b"2")));
    assert_eq!(second, Err(CallFailure::Cut));
    assert_eq!(peer.connections_and_seen(), (1, 2));
}

#[test]
fn calls_at_the_same_time_do_not_wait_for_each_other() {
    let slow = Peer::start(|mut stream, _| {
        read_request(&mut stream);
        thread::sleep(Duration::from_millis(300));
        let _ = stream.write_all(EMPTY);
    });
    let clients = Clients::new();
    let started = Instant::now();
    let url = slow.url("/");
    let (first, second) = smol::block_on(smol::future::zip(
        clients.call(post(&url, b"1")),
        clients.call(post(&url, b"2")),
    ));
    assert!(first.is_ok() && second.is_ok());
    assert!(started.elapsed() < Duration::from_millis(590), "{:?}", started.elapsed());
}

// --- Peers ---------------------------------------------------------------------------------

fn post(url: &str, body: &[u8]) -> CallRequest {
    CallRequest {
        method: Method::Post,
        url: url.to_owned(),
        allow_http: true,
        trust: Arc::new(Trust::default()),
        headers: Vec::new(),
        body: body.to_vec(),
        max_body: 64 * 1024,
        timeout: Duration::from_secs(10),
        now: 0,
    }
}

fn call(request: CallRequest) -> Result<CallAnswer, CallFailure> {
    smol::block_on(Clients::new().call(request))
}

/// A server whose connections are handled by a function, each in a thread.
struct Peer {
    address: SocketAddr,
    /// Requests seen, by connection.
    seen: std::sync::mpsc::Receiver<Vec<String>>,
    _accepting: JoinHandle<()>,
}

impl Peer {
    fn start(handle: impl Fn(TcpStream, &mut Vec<String>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = std::sync::mpsc::channel();
        let handle = Arc::new(handle);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, handle) = (sender.clone(), Arc::clone(&handle));
                thread::spawn(move || {
                    let mut requests = Vec::new();
                    handle(stream, &mut requests);
                    let _ = sender.send(requests);
                });
            }
        });
        Self { address, seen, _accepting: accepting }
    }

    /// Answers the requests of each connection with these octets in turn, then closes.
    fn answering(answers: &[&[u8]]) -> Self {
        let answers: Vec<Vec<u8>> = answers.iter().map(|octets| octets.to_vec()).collect();
        Self::start(move |mut stream, requests| {
            for answer in &answers {
                let Some(request) = read_request(&mut stream) else { return };
                requests.push(request);
                let _ = stream.write_all(answer);
            }
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests of the first connection, when it has ended.
    fn seen(&self) -> Vec<String> {
        self.seen.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    fn connections_and_seen(&self) -> (usize, usize) {
        let first = self.seen();
        let further: Vec<Vec<String>> =
            std::iter::from_fn(|| self.seen.recv_timeout(Duration::from_millis(100)).ok())
                .collect();
        (1 + further.len(), first.len() + further.iter().map(Vec::len).sum::<usize>())
    }
}

/// One request with a `Content-Length` or none; `None` at the end of the connection.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut octets = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&octets).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => octets.extend_from_slice(&buffer[..count]),
        }
    }
}

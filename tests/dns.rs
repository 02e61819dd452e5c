//! DNS SRV, asked of a real dnsmasq on a loopback port.
//!
//! Without the tool each test says `left out`; `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dm_gateway::io::dns::{DnsFailure, Srv, srv};

#[test]
fn records_of_a_service_come_with_priority_weight_port_and_target() {
    let records = [
        "_dm._tcp.example.test,a.example.test,443,10,60",
        "_dm._tcp.example.test,b.example.test,8443,20,5",
    ];
    let Some(server) = Dnsmasq::start(&records) else { return };
    for name in ["_dm._tcp.example.test", "_DM._tcp.Example.test."] {
        let mut found = ask(name, &[server.address]).unwrap();
        found.sort();
        let expected: [Srv; 2] =
            [(10, 60, 443, "a.example.test".into()), (20, 5, 8443, "b.example.test".into())];
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_name_without_records_and_a_name_that_is_not_there_are_told_apart() {
    let Some(server) = Dnsmasq::start(&["_dm._tcp.example.test,a.example.test,443"]) else {
        return;
    };
    let ask = |name| ask(name, &[server.address]);
    assert_eq!(ask("host.example.test"), Err(DnsFailure::NoRecords));
    assert_eq!(ask("_other._tcp.example.test"), Err(DnsFailure::NoSuchName));
    assert!(matches!(ask("_dm._tcp.elsewhere.invalid"), Err(DnsFailure::NoAnswer(_))));
    for bad in ["", ".", "a..b", "ä.test", "a b", &"a".repeat(64), &"a.".repeat(200)] {
        assert_eq!(ask(bad), Err(DnsFailure::BadName), "{bad}");
    }
}

#[test]
fn an_answer_too_large_for_a_datagram_comes_by_tcp() {
    let records: Vec<String> = (0..40)
        .map(|number| {
            format!(
                "_dm._tcp.example.test,server-with-a-long-name-{number}.example.test,443,{number},0"
            )
        })
        .collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let Some(server) = Dnsmasq::start(&records) else { return };
    let mut found = ask("_dm._tcp.example.test", &[server.address]).unwrap();
    found.sort();
    assert_eq!(found.len(), 40);
    assert_eq!(found[39], (39, 0, 443, "server-with-a-long-name-39.example.test".into()));
}

#[test]
fn a_silent_or_absent_name_server_is_followed_by_the_next() {
    let Some(server) = Dnsmasq::start(&["_dm._tcp.example.test,a.example.test,443"]) else {
        return;
    };
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let servers = ["127.0.0.1:1".parse().unwrap(), silent.local_addr().unwrap(), server.address];
    assert_eq!(ask("_dm._tcp.example.test", &servers).unwrap().len(), 1);
}

#[test]
fn forged_answers_are_passed_over_and_a_flood_of_them_is_bounded() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let peer = thread::spawn(move || {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let mut query = [0; 512];
            let (length, from) = server.recv_from(&mut query).unwrap();
            ids.push((query[0], query[1], from.port()));
            for number in 0..1000_u16 {
                let mut forged = query;
                forged[..2].copy_from_slice(&number.to_be_bytes());
                forged[2] |= 0x80;
                if forged[..2] != query[..2] {
                    let _ = server.send_to(&forged[..length], from);
                }
            }
        }
        ids
    });
    let outcome = ask("_dm._tcp.example.test", &[address]);
    assert!(matches!(outcome, Err(DnsFailure::NoAnswer(_))), "{outcome:?}");
    let ids = peer.join().unwrap();
    assert_ne!(ids[0], ids[1], "neither id nor port stay the same");
}

#[test]
fn without_a_name_server_there_is_no_answer() {
    assert!(matches!(ask("_dm._tcp.example.test", &[]), Err(DnsFailure::NoAnswer(_))));
}

fn ask(name: &str, servers: &[SocketAddr]) -> Result<Vec<Srv>, DnsFailure> {
    smol::block_on(srv(name, servers))
}

struct Dnsmasq {
    child: Child,
    address: SocketAddr,
}

impl Dnsmasq {
    /// Serves `example.test` with these records; `None` without the tool.
    fn start(records: &[&str]) -> Option<Self> {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file="]);
        command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--local=/example.test/"]);
        command.args(["--listen-address=127.0.0.1", "--host-record=host.example.test,192.0.2.1"]);
        command.args([format!("--port={}", free.port()), "--log-facility=-".to_owned()]);
        command.args(user.map(|user| format!("--user={}", user.name)));
        command.args(records.iter().map(|record| format!("--srv-host={record}")));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        let child = match command.stdin(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                assert!(
                    std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"),
                    "dnsmasq is required and not installed"
                );
                println!("left out: dnsmasq not installed");
                return None;
            }
            Err(error) => panic!("dnsmasq: {error}"),
        };
        let server = Self { child, address: free };
        let start = Instant::now();
        while std::net::TcpStream::connect(free).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "dnsmasq does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

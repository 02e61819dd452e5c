//! A real push proxy gateway in the WAN: kannel, as DM servers use one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dm_gateway::proto::notification::{Notification, UiMode};

use crate::lab::{Lab, PUBLIC, SERVER};
use crate::process::{Gateway, PATIENCE, Process, completed, device, receive, server};
use crate::{ACME, DM, TRANSPARENT, WAN};

#[test]
fn a_push_of_kannel_wakes_a_device() {
    let tools = ["bearerbox", "wapbox"];
    let Some(lab) = Lab::new("a_push_of_kannel_wakes_a_device", 1, &tools) else { return };
    let gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let mut acme = server(&lab, "acme", &format!("{SERVER}:8000"), &[]);
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let id = "mac:00-16-3e-00-00-0a";
    let options = ["--gateway", DM, "--server", ACME];
    let mut radio = device(&lab, &host, id, "192.168.4.20:2948", &options);
    host.announce("192.168.4.20");
    assert_eq!(radio.next("list-answered")["status"], 200);
    gateway.until_mapped(&[("acme", id)]);

    let config = lab.path("kannel.conf");
    std::fs::write(&config, include_str!("kannel.conf")).unwrap();
    let config = config.to_str().unwrap();
    let _bearerbox = Process::start(&lab, "wan", "bearerbox", "bearerbox", &[config]);
    // wapbox gives up where bearerbox is not there yet.
    wait_for(&lab, 13002);
    let _wapbox = Process::start(&lab, "wan", "wapbox", "wapbox", &[config]);
    wait_for(&lab, 13003);

    // Octets that text would not survive among them.
    let vendor: Vec<u8> = (0..=255).collect();
    for (session, vendor) in [(1, &[][..]), (2, &vendor)] {
        let notification = Notification {
            digest: *b"\x00\xff16 octets\r\n--p",
            version: 11,
            ui_mode: UiMode::Background,
            server_initiated: true,
            session_id: session,
            server_id: "acme",
            vendor,
        };
        let package0 = notification.encode();
        let answer = submit(&lab, id, session, &package0);
        assert!(answer.contains("code =\"1001\""), "not accepted: {answer}");
        receive(&mut radio, "acme", &hex(&package0));
        completed(&mut acme, id, session);
    }
    assert_eq!(radio.count_of("push-refused"), 0);
}

/// Has kannel push `package0`: PAP, a POST of XML and content. kannel takes further headers of
/// the push from the HTTP request, not from the content.
fn submit(lab: &Lab, device: &str, id: u16, package0: &[u8]) -> String {
    let mut body = format!(
        "--part\r\n\
         Content-Type: application/xml\r\n\
         \r\n\
         <?xml version=\"1.0\"?>\n\
         <!DOCTYPE pap PUBLIC \"-//WAPFORUM//DTD PAP 1.0//EN\" \
         \"http://www.wapforum.org/DTD/pap_1.0.dtd\">\n\
         <pap><push-message push-id=\"{id}@acme.example\">\
         <address address-value=\"WAPPUSH={PUBLIC}/TYPE=IPv4@ppg.example\"/>\
         <quality-of-service delivery-method=\"unconfirmed\"/>\
         </push-message></pap>\r\n\
         --part\r\n\
         Content-Type: application/vnd.syncml.notification\r\n\
         \r\n"
    )
    .into_bytes();
    body.extend_from_slice(package0);
    body.extend_from_slice(b"\r\n--part--\r\n");
    let head = format!(
        "POST /wappush HTTP/1.1\r\n\
         Host: 127.0.0.1\r\n\
         Content-Type: multipart/related; boundary=part; type=\"application/xml\"\r\n\
         Content-Length: {}\r\n\
         X-Wap-Application-Id: x-wap-application:syncml.dm\r\n\
         X-Oma-GwMO: {device}\r\n\
         Connection: close\r\n\
         \r\n",
        body.len()
    );
    lab.inside("wan", || {
        let mut stream = TcpStream::connect("127.0.0.1:13003").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    })
}

fn wait_for(lab: &Lab, port: u16) {
    let end = Instant::now() + PATIENCE;
    lab.inside("wan", || {
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "nobody listens on port {port}");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

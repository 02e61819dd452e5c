//! The status page in a real Chromium, driven by chromedriver (W3C WebDriver, by hand).

use crate::live::{Live, SOON, get, left_out, request, text};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const RADIO: &str = "IMEI:490154203237518";
const SERVERS: [&str; 3] = ["com.example.dms.ambulance", "com.example.dms.fire", "urn:dms:cameras"];
/// Identities that would be more than text.
const HOSTILE: [&str; 2] =
    ["<script>document.title='owned'</script>", "x\"><img/src=x/onerror=document.title='owned'>"];

#[test]
fn only_a_browser_on_this_machine_gets_the_page_and_only_to_look() {
    let live = Live::start(7, "");
    let page = Page::serve(&live, "127.6.7.9:8088");
    let connect = || TcpStream::connect("127.6.7.9:8088").unwrap();
    let (code, answer) = get(&mut connect(), "/", "127.6.7.9:8088");
    assert_eq!(code, 200, "{answer}");
    for field in [
        "content-security-policy: default-src 'none'; script-src 'self'",
        "x-content-type-options: nosniff",
        "x-frame-options: DENY",
    ] {
        assert!(answer.contains(field), "{field}: {answer}");
    }
    assert!(!answer.contains("http://") && !answer.contains("https://"), "nothing from elsewhere");
    assert!(!answer.contains("<script>") && !answer.contains(" style="), "nothing inline");
    for host in ["evil.example", "127.6.7.9.evil.example:8088", "192.0.2.1", ""] {
        let (code, answer) = get(&mut connect(), "/state", host);
        assert!(code == 421 && !answer.contains("gateway.test"), "{host}: {answer}");
    }
    let head = "POST /state HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(request(&mut connect(), head).0, 405);
    assert_eq!(get(&mut connect(), "/etc/passwd", "localhost").0, 404);
    let (code, answer) = get(&mut connect(), "/state", "localhost");
    assert!(code == 200 && answer.contains("\"id\":\"gateway.test\""), "{answer}");
    drop(live);
    let (code, answer) = get(&mut connect(), "/state", "localhost:9000");
    thread::sleep(Duration::from_secs(1));
    assert!(code == 503 || get(&mut connect(), "/state", "localhost").0 == 503, "{answer}");
    drop(page);

    for address in ["0.0.0.0:8088", "192.0.2.1:8088", "8088"] {
        let refused = Live::new(8, "").ask(&["web", "--listen", address]);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(64) && said.contains("--listen is a"), "{said}");
    }
}

#[test]
fn a_browser_sees_the_network_and_what_happens_in_it() {
    let live = Live::start(
        9,
        "[[lan]]\nname = \"cameras\"\ninterface = \"no-such0\"\n\
         listen = \"127.6.9.101:8080\"\npolicy = \"bootstrap\"\n",
    );
    let page = Page::serve(&live, "127.6.9.9:8088");
    let Some(browser) = Browser::start(1280, 900) else { return };
    browser.open(&page.url);
    browser.until(
        "nothing is there",
        "document.querySelectorAll('#lans .node').length === 0 && \
        document.querySelectorAll('.lan .none:not([hidden])').length === 2",
    );
    browser.until("a problem is told", "!!document.querySelector('#health .degraded')");

    live.session(20, RADIO, &[SERVERS[0], SERVERS[1]]);
    live.session(21, HOSTILE[0], &[SERVERS[1]]);
    live.session(22, HOSTILE[1], &[SERVERS[2]]);
    for host in 30..40 {
        live.session(host, &format!("IMEI:3500000000000{host}"), &SERVERS[..host as usize % 3]);
    }
    live.session(
        41,
        "urn:uuid:6f1d3a52-9f0c-4b7e-8a3d-2c5b7e9f1a04-and-more-of-it-than-anybody-\
        should-have-to-read-in-one-line-of-a-table",
        &SERVERS,
    );
    browser.until("14 devices came by themselves", "state.devices.length === 14");
    browser.until(
        "each is a row or a dot",
        "document.querySelectorAll('#lans [data-kind]').length === 14",
    );
    browser.until("servers are there", "document.querySelectorAll('#servers .node').length === 3");
    browser.until("lines too", "document.querySelectorAll('#lines path').length > 6");

    let forwarded = "[...document.querySelectorAll('#flow div')].find(it => \
        it.firstChild.textContent === 'forwarded').lastChild.textContent";
    assert_eq!(browser.eval(forwarded), json!("0"));
    live.push(SERVERS[0], RADIO, 7);
    browser.until(
        "the push is told",
        "[...document.querySelectorAll('#events li')].some(it => \
        it.querySelector('.kind').textContent === 'forwarded')",
    );
    browser.until("and counted", &format!("{forwarded} === '1'"));
    live.push("com.example.stranger", RADIO, 8);
    browser.until("so is a refusal", "document.querySelectorAll('#refused-rows tr').length === 1");

    for hostile in HOSTILE {
        let shown = format!(
            "[...document.querySelectorAll('#device-rows td span')].some(it => \
            it.textContent === {})",
            json!(hostile)
        );
        browser.until("it is text", &shown);
    }
    assert_eq!(browser.eval("document.querySelectorAll('main script, main img').length"), json!(0));
    assert_eq!(browser.eval("document.title"), json!("degraded · gateway.test"));
    // By keyboard: what has the focus shows its lines.
    browser.eval("document.querySelector('#servers .node').focus(), 0");
    browser.until("its lines are lit", "document.querySelectorAll('#lines path.lit').length > 0");
    browser.eval("document.activeElement.blur(), looked = null, drawLines(), 0");
    browser.shoot("page");
    browser.scheme("dark");
    let paper = "getComputedStyle(document.documentElement).backgroundColor";
    browser.until("it is dark", &format!("{paper} === 'rgb(20, 25, 23)'"));
    browser.shoot("page-dark");
    browser.scheme("light");
    browser.resize(390, 844);
    browser.until(
        "no line is too long for a phone",
        "document.documentElement.scrollWidth <= window.innerWidth",
    );
    browser.until(
        "nor is a part of the table out of sight",
        "[...document.querySelectorAll('.devices')].every(it => it.scrollWidth <= it.clientWidth)",
    );
    browser.shoot("page-phone");

    drop(live);
    browser.until(
        "it is told that the gateway is gone",
        "document.querySelector('#live').textContent === 'the gateway does not answer'",
    );
}

#[test]
fn three_hundred_devices_fold() {
    let live = Live::start(10, "");
    let page = Page::serve(&live, "127.6.10.9:8088");
    let Some(browser) = Browser::start(1280, 900) else { return };
    browser.open(&page.url);
    for number in 0..300_u16 {
        let id = format!("IMEI:35000000000{number:04}");
        live.session(20 + (number % 200) as u8, &id, &SERVERS[..number as usize % 4]);
    }
    browser.until("all are known", "state && state.devices.length === 300");
    browser.until("few are rows", "document.querySelectorAll('#lans .node').length === 8");
    browser.until("the others are dots", "document.querySelectorAll('.dots i').length === 292");
    browser.shoot("page-300");
    browser.eval("document.querySelector('.lan .fold').click(), 0");
    browser.until("all are rows", "document.querySelectorAll('#lans .node').length === 300");
}

/// `dm-gateway web`.
struct Page {
    child: Child,
    url: String,
}

impl Page {
    fn serve(live: &Live, address: &str) -> Self {
        let mut command = live.command(&["web", "--listen", address]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with(&format!("http://{address}/ shows the gateway")), "{said}");
        Self { child, url: format!("http://{address}/") }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session with a browser.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Nothing where there is no Chromium.
    fn start(width: u32, height: u32) -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(driver) = driver else {
            left_out("web", "chromedriver is missing (Debian package chromium-driver)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self { driver, port, session: String::new(), profile };
        let late = Instant::now() + SOON;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < late, "chromedriver does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let mut arguments: Vec<_> = arguments.map(str::to_owned).into();
        arguments.push(format!("--window-size={width},{height}"));
        arguments.push(format!("--user-data-dir={}", browser.profile.path().display()));
        let asked = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": {
            "args": arguments } } } });
        let answer = browser.ask("POST", "/session", &asked);
        let session = answer["sessionId"].as_str();
        browser.session = session.unwrap_or_else(|| panic!("{answer}")).to_owned();
        Some(browser)
    }

    fn open(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    fn resize(&self, width: u32, height: u32) {
        self.tell("goog/cdp/execute", &json!({
            "cmd": "Emulation.setDeviceMetricsOverride",
            "params": { "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true },
        }));
    }

    fn scheme(&self, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        let body = json!({ "cmd": "Emulation.setEmulatedMedia", "params": media });
        self.tell("goog/cdp/execute", &body);
    }

    fn eval(&self, expression: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    fn until(&self, what: &str, condition: &str) {
        let late = Instant::now() + 2 * SOON;
        while self.eval(condition) != json!(true) {
            if Instant::now() > late {
                let text = self.eval("document.body.innerText");
                panic!("not in time: {what}: {condition}: {text}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Puts a picture of the whole page below `target`.
    fn shoot(&self, name: &str) {
        let shot = self.tell(
            "goog/cdp/execute",
            &json!({
                "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true },
            }),
        );
        let octets = BASE64.decode(shot["data"].as_str().unwrap()).unwrap();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        fs::write(&path, octets).unwrap();
        println!("{}", path.display());
    }

    fn tell(&self, what: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{what}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        // It keeps the connection, whatever it is asked for.
        let mut answer = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            assert!(answer.read_line(&mut line).unwrap() > 0, "{head}");
            let of_length = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("content-length");
            if let Some((_, value)) = line.split_once(':').filter(of_length) {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body).unwrap();
        let body = &*text(&body);
        assert!(head.contains(" 200"), "{body}");
        serde_json::from_str::<Value>(body).unwrap()["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

//! TLS towards servers: real `openssl s_server` processes with good and bad certificates.
//!
//! Without the tool each test says `left out`; `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.
//! Revocation has no test: it is not checked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dm_gateway::io::dm_client::{
    CallAnswer, CallFailure, CallRequest, Clients, Method, Roots, Trust,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

// --- Refused -------------------------------------------------------------------------------

/// A bad server: its certificate, how it is started, and what the sentence says.
struct Bad {
    kind: &'static str,
    leaf: Leaf<'static>,
    url_host: &'static str,
    chain: &'static [&'static str],
    server: &'static [&'static str],
    says: &'static str,
}

const BAD: Bad =
    Bad { kind: "", leaf: LEAF, url_host: "localhost", chain: &[], server: &[], says: "" };

/// Lets s_server show what its own library would not accept.
const LAX: &[&str] = &["-cipher", "DEFAULT@SECLEVEL=0"];

const SERVER: &str = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n";

#[test]
fn every_bad_certificate_is_refused_and_the_sentence_says_why() {
    let Some(pki) = Pki::new() else { return };
    pki.issue("stranger", CA.named("A stranger's CA").by("stranger"));
    pki.issue("stranger-sub", CA.named("A stranger's subordinate").by("stranger"));
    pki.issue("sub", CA.named("Subordinate"));
    pki.issue("old-sub", CA.named("Old subordinate").until("20240201000000Z"));
    pki.issue("not-a-ca", LEAF.named("No CA"));
    pki.issue(
        "narrow",
        Leaf {
            extensions: "basicConstraints=critical,CA:TRUE\n\
                     nameConstraints=critical,permitted;DNS:example.org\n",
            ..CA.named("Narrow CA")
        },
    );
    pki.issue(
        "short",
        Leaf {
            extensions: "basicConstraints=critical,CA:TRUE,pathlen:0\n",
            ..CA.named("Short CA")
        },
    );
    pki.issue("below-short", CA.named("Below the short CA").by("short"));

    let with = |extensions| Leaf { extensions, ..LEAF };
    let cases = [
        Bad {
            kind: "expired",
            leaf: LEAF.until("20240201000000Z"),
            says: "expired on Thu, 01 Feb 2024",
            ..BAD
        },
        Bad {
            kind: "not yet valid",
            leaf: LEAF.from("20990101000000Z"),
            says: "is not valid before Thu, 01 Jan 2099",
            ..BAD
        },
        Bad {
            kind: "other host",
            leaf: with("subjectAltName=DNS:other.example\n"),
            says: "is not for localhost but for other.example",
            ..BAD
        },
        Bad {
            kind: "address not named",
            leaf: with(SERVER),
            url_host: "127.0.0.1",
            says: "is not for 127.0.0.1 but for localhost",
            ..BAD
        },
        Bad {
            kind: "common name only",
            leaf: with("extendedKeyUsage=serverAuth\n").named("localhost"),
            says: "no name at all",
            ..BAD
        },
        Bad { kind: "self-signed", leaf: LEAF.by("self-signed"), says: "is self-signed", ..BAD },
        Bad {
            kind: "unknown CA",
            leaf: LEAF.by("stranger"),
            says: "unknown CA, or the server does not send the intermediate",
            ..BAD
        },
        Bad {
            kind: "unknown chain",
            leaf: LEAF.by("stranger-sub"),
            chain: &["stranger-sub", "stranger"],
            says: "ends at an unknown CA",
            ..BAD
        },
        Bad {
            kind: "missing intermediate",
            leaf: LEAF.by("sub"),
            says: "unknown CA, or the server does not send the intermediate",
            ..BAD
        },
        Bad {
            kind: "expired intermediate",
            leaf: LEAF.by("old-sub"),
            chain: &["old-sub"],
            says: "expired on Thu, 01 Feb 2024",
            ..BAD
        },
        Bad {
            kind: "issued by no CA",
            leaf: LEAF.by("not-a-ca"),
            chain: &["not-a-ca"],
            says: "is no CA and signed another one",
            ..BAD
        },
        Bad {
            kind: "path too long",
            leaf: LEAF.by("below-short"),
            chain: &["below-short", "short"],
            says: "longer than one of its CAs allows",
            ..BAD
        },
        Bad {
            kind: "name constraint",
            leaf: LEAF.by("narrow"),
            chain: &["narrow"],
            says: "may not issue for this name",
            ..BAD
        },
        Bad {
            kind: "for clients only",
            leaf: with("subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth\n"),
            says: "is not meant for servers",
            ..BAD
        },
        Bad {
            kind: "critical extension",
            leaf: with("subjectAltName=DNS:localhost\n1.2.3.4=critical,DER:0500\n"),
            says: "critical extension that is not understood",
            ..BAD
        },
        Bad {
            kind: "a CA itself",
            leaf: with("subjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n"),
            says: "is that of a CA",
            ..BAD
        },
        Bad {
            kind: "SHA-1",
            leaf: Leaf { digest: "sha1", ..LEAF },
            server: LAX,
            says: "not accepted (SHA-1",
            ..BAD
        },
        Bad {
            kind: "RSA of 1024 bits",
            leaf: Leaf { key: "rsa:1024", ..LEAF },
            server: LAX,
            says: "too weak (RSA below 2048 bits)",
            ..BAD
        },
        Bad { kind: "broken signature", leaf: LEAF, says: "a signature is broken", ..BAD },
        Bad {
            kind: "TLS 1.1",
            leaf: LEAF,
            server: &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
            says: "does not speak TLS 1.2",
            ..BAD
        },
    ];
    let trust = pki.trust("root");
    let mut wrong = Vec::new();
    for Bad { kind, leaf, url_host, chain, server, says } in cases {
        let name = kind.replace(' ', "-");
        pki.issue(&name, if kind == "self-signed" { leaf.by(&name) } else { leaf });
        if kind == "broken signature" {
            pki.break_signature(&name);
        }
        let server = pki.serve(&name, chain, server);
        match get(&trust, &server.url(url_host)) {
            Err(CallFailure::Tls(sentence, _)) if sentence.contains(says) => {
                println!("{kind}: {sentence}");
            }
            other => wrong.push(format!("{kind}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_pin_replaces_the_chain_but_neither_host_name_nor_validity_nor_key() {
    let Some(pki) = Pki::new() else { return };
    pki.issue("good", LEAF.by("good"));
    pki.issue("old", LEAF.by("old").until("20240201000000Z"));
    pki.issue("future", LEAF.by("future").from("20990101000000Z"));
    pki.issue("old-ca", CA.by("old-ca").until("20240201000000Z"));
    pki.issue(
        "client",
        Leaf { extensions: "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth\n", ..LEAF },
    );
    pki.issue("other", LEAF.by("other"));
    let refused = |served: &str, pinned: &str, host: &str| {
        let server = pki.serve(served, &[], &[]);
        match get(&pki.pinned(pinned), &server.url(host)) {
            Err(CallFailure::Tls(sentence, _)) => sentence,
            other => panic!("{served}: {other:?}"),
        }
    };
    assert!(refused("good", "good", "127.0.0.1").contains("is not for 127.0.0.1"));
    assert!(refused("old", "old", "localhost").contains("expired on"));
    assert!(refused("old-ca", "old-ca", "localhost").contains("expired on"));
    assert!(refused("future", "future", "localhost").contains("is not valid before"));
    assert!(refused("client", "client", "localhost").contains("is not meant for servers"));
    let sentence = refused("other", "good", "localhost");
    assert!(sentence.contains("not the pinned one"), "{sentence}");
    let Roots::Pin(pin) = pki.pinned("other").roots.clone() else { panic!() };
    let hex: String = pin.iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(sentence.ends_with(&hex), "{sentence}: the operator can compare");
}

#[test]
fn a_server_that_speaks_no_tls_or_ends_the_handshake_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        first.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        let _ = first.read_to_end(&mut Vec::new());
        let (mut second, _) = listener.accept().unwrap();
        let _ = second.read(&mut [0; 4096]);
    });
    let trust = Arc::new(Trust { roots: Roots::Pin([0; 32]), identity: None });
    let sentence = |outcome| match outcome {
        Err(CallFailure::Tls(sentence, _)) => sentence,
        other => panic!("{other:?}"),
    };
    assert!(sentence(get(&trust, &url)).contains("is not TLS"));
    assert!(sentence(get(&trust, &url)).contains("during the handshake"));
    peer.join().unwrap();
}

#[test]
fn the_cas_of_the_system_do_not_vouch_for_a_private_one() {
    let Some(pki) = Pki::new() else { return };
    pki.issue("server", LEAF);
    let server = pki.serve("server", &[], &[]);
    match get(&Arc::new(Trust::default()), &server.url("localhost")) {
        Err(CallFailure::Tls(sentence, _)) => assert!(
            sentence.contains("unknown CA") || sentence.contains("no bundle of CA certificates"),
            "{sentence}"
        ),
        other => panic!("{other:?}"),
    }
}

// --- Accepted ------------------------------------------------------------------------------

#[test]
fn good_certificates_are_accepted_by_ca_chain_address_and_pin() {
    let Some(pki) = Pki::new() else { return };
    pki.issue("sub", CA.named("Subordinate"));
    pki.issue("plain", LEAF);
    pki.issue("rsa", Leaf { key: "rsa:2048", ..LEAF });
    pki.issue("chained", LEAF.by("sub"));
    let addresses = "subjectAltName=IP:127.0.0.1,IP:::1\n";
    pki.issue("address", Leaf { extensions: addresses, ..LEAF });
    pki.issue("own", LEAF.by("own"));
    pki.issue(
        "own-ca",
        Leaf {
            extensions: "subjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n",
            ..LEAF.by("own-ca")
        },
    );
    let accepted = |trust: &Arc<Trust>, leaf: &str, chain: &[&str], more: &[&str], host: &str| {
        let server = pki.serve(leaf, chain, more);
        let answer =
            get(trust, &server.url(host)).unwrap_or_else(|error| panic!("{leaf}: {error}"));
        assert_eq!(answer.status, 200, "{leaf}");
        String::from_utf8(answer.body).unwrap()
    };
    let root = pki.trust("root");
    let page = accepted(&root, "plain", &[], &[], "localhost");
    assert!(page.contains("TLSv1.3"), "{page}");
    let page = accepted(&root, "plain", &[], &["-tls1_2"], "localhost");
    assert!(page.contains("TLSv1.2"), "{page}");
    accepted(&root, "rsa", &[], &[], "localhost");
    accepted(&root, "chained", &["sub"], &[], "localhost");
    accepted(&root, "address", &[], &[], "127.0.0.1");
    // A certificate without a CA's mark may be its own root.
    accepted(&pki.trust("own"), "own", &[], &[], "localhost");
    accepted(&pki.pinned("own"), "own", &[], &[], "localhost");
    accepted(&pki.pinned("own-ca"), "own-ca", &[], &[], "localhost");
    accepted(&pki.pinned("plain"), "plain", &[], &["-tls1_2"], "localhost");
}

#[test]
fn a_client_certificate_is_shown_where_one_is_demanded() {
    let Some(pki) = Pki::new() else { return };
    pki.issue("server", LEAF);
    pki.issue(
        "gateway",
        Leaf { extensions: "extendedKeyUsage=clientAuth\n", ..LEAF }.named("gw-1"),
    );
    let root = pki.path("root.pem");
    let root = root.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = pki.serve(
            "server",
            &[],
            &[version, "-Verify", "2", "-verify_return_error", "-CAfile", root],
        );
        let known = Trust {
            roots: Roots::File(pki.path("root.pem")),
            identity: Some((pki.path("gateway.pem"), pki.path("gateway.key"))),
        };
        let page = get(&Arc::new(known), &server.url("localhost")).unwrap();
        assert!(String::from_utf8_lossy(&page.body).contains("gw-1"), "{version}");
        match get(&pki.trust("root"), &server.url("localhost")) {
            Err(CallFailure::Tls(sentence, _)) => {
                assert!(sentence.contains("client certificate"), "{version}: {sentence}");
            }
            // After a TLS 1.3 handshake the reset may overtake the alert.
            Err(CallFailure::Cut) if version == "-tls1_3" => {}
            other => panic!("{version}: {other:?}"),
        }
    }
}

#[test]
fn files_that_change_are_read_again() {
    let Some(pki) = Pki::new() else { return };
    pki.issue("later", CA.named("A later CA").by("later"));
    pki.issue("server", LEAF.by("later"));
    let server = pki.serve("server", &[], &[]);
    let bundle = pki.path("bundle.pem");
    fs::copy(pki.path("root.pem"), &bundle).unwrap();
    let trust = Arc::new(Trust { roots: Roots::File(bundle.clone()), identity: None });
    let clients = Clients::new();
    let call = || smol::block_on(clients.call(request(&trust, &server.url("localhost"))));
    assert!(matches!(call(), Err(CallFailure::Tls(..))));
    let both = [pki.path("root.pem"), pki.path("later.pem")].map(|path| fs::read(path).unwrap());
    fs::write(&bundle, both.concat()).unwrap();
    assert_eq!(call().unwrap().status, 200);
    fs::remove_file(&bundle).unwrap();
    let Err(CallFailure::Tls(sentence, _)) = call() else { panic!() };
    assert!(sentence.contains("cannot read"), "{sentence}");
}

#[test]
fn a_message_goes_out_and_its_answer_comes_back_octet_for_octet() {
    let Some(pki) = Pki::new() else { return };
    pki.issue("server", LEAF);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
        .arg("-cert")
        .arg(pki.path("server.pem"))
        .arg("-key")
        .arg(pki.path("server.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut into, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let server = Server { child, port };
    let body: Vec<u8> = (0..20_000_u32).map(|number| (number % 251) as u8).collect();
    let expected = body.clone();
    let peer = thread::spawn(move || {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.ends_with(&expected) {
            let count = from.read(&mut buffer).unwrap();
            assert!(count > 0, "the request ends early");
            seen.extend_from_slice(&buffer[..count]);
        }
        into.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.syncml.dm+wbxml\r\n")
            .unwrap();
        into.write_all(b"x-syncml-hmac: algorithm=MD5\r\nContent-Length: 3\r\n\r\n\x03\0\x01")
            .unwrap();
        into.flush().unwrap();
        (String::from_utf8_lossy(&seen[..seen.len() - expected.len()]).into_owned(), into)
    });
    let trust = pki.trust("root");
    let clients = Clients::new();
    let answer = loop {
        let message = CallRequest {
            method: Method::Post,
            headers: vec![("X-Syncml-Hmac".into(), "algorithm=MD5, username=\"gw\"".into())],
            body: body.clone(),
            ..request(&trust, &server.url("localhost"))
        };
        match smol::block_on(clients.call(message)) {
            Err(CallFailure::Unreachable(_)) => thread::sleep(Duration::from_millis(20)),
            outcome => break outcome.unwrap(),
        }
    };
    assert_eq!((answer.status, answer.body), (200, vec![3, 0, 1]));
    assert_eq!(answer.content_type.as_deref(), Some("application/vnd.syncml.dm+wbxml"));
    assert_eq!(answer.mac.as_deref(), Some("algorithm=MD5"));
    let (head, _into) = peer.join().unwrap();
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    for header in [
        &format!("host: localhost:{port}"),
        "content-length: 20000",
        "x-syncml-hmac: algorithm=MD5, username=\"gw\"",
    ] {
        assert!(head.contains(&format!("{header}\r\n")), "{header} in {head}");
    }
}

// --- Certificates and servers --------------------------------------------------------------

/// How a certificate is to be.
#[derive(Clone, Copy)]
struct Leaf<'a> {
    name: &'a str,
    issuer: &'a str,
    key: &'a str,
    digest: &'a str,
    extensions: &'a str,
    from: &'a str,
    until: &'a str,
}

const LEAF: Leaf<'static> = Leaf {
    name: "A server",
    issuer: "root",
    key: "ec",
    digest: "sha256",
    extensions: SERVER,
    from: "20240101000000Z",
    until: "20991231000000Z",
};

const CA: Leaf<'static> = Leaf {
    extensions: "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
                 subjectAltName=DNS:localhost\n",
    ..LEAF
};

impl<'a> Leaf<'a> {
    const fn named(self, name: &'a str) -> Self {
        Self { name, ..self }
    }

    const fn by(self, issuer: &'a str) -> Self {
        Self { issuer, ..self }
    }

    const fn from(self, from: &'a str) -> Self {
        Self { from, ..self }
    }

    const fn until(self, until: &'a str) -> Self {
        Self { until, ..self }
    }
}

/// A folder of certificates and keys, `root` the CA that clients trust.
struct Pki(TempDir);

impl Pki {
    /// `None` without OpenSSL.
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            assert!(
                std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"),
                "openssl is required and not installed"
            );
            println!("left out: openssl not installed");
            return None;
        }
        let pki = Self(tempfile::tempdir().unwrap());
        fs::write(
            pki.path("ca.cnf"),
            "[ca]\ndefault_ca=here\n[here]\nnew_certs_dir=.\ndatabase=index\nrand_serial=yes\n\
             unique_subject=no\npolicy=any\n[any]\ncommonName=supplied\n[req]\n\
             distinguished_name=name\n[name]\n",
        )
        .unwrap();
        fs::write(pki.path("index"), "").unwrap();
        pki.issue("root", CA.named("The root").by("root"));
        Some(pki)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn trust(&self, root: &str) -> Arc<Trust> {
        let roots = Roots::File(self.path(&format!("{root}.pem")));
        Arc::new(Trust { roots, identity: None })
    }

    /// The pin as OpenSSL computes it.
    fn pinned(&self, name: &str) -> Arc<Trust> {
        let key = self.run(&["pkey", "-in", &format!("{name}.key"), "-pubout", "-outform", "DER"]);
        Arc::new(Trust { roots: Roots::Pin(Sha256::digest(key).into()), identity: None })
    }

    /// Makes `NAME.key` and `NAME.pem`.
    fn issue(&self, name: &str, leaf: Leaf<'_>) {
        let file = |end: &str| format!("{name}.{end}");
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let subject = format!("/CN={}", leaf.name);
        let mut arguments = vec!["req", "-new", "-config", "ca.cnf", "-nodes", "-subj", &subject];
        arguments.extend(["-keyout", &key, "-out", &request, "-newkey", leaf.key]);
        if leaf.key == "ec" {
            arguments.extend(["-pkeyopt", "ec_paramgen_curve:P-256"]);
        }
        self.run(&arguments);
        fs::write(self.path(&file("ext")), leaf.extensions).unwrap();
        let extensions = file("ext");
        let (issuer, issuer_key) = (format!("{}.pem", leaf.issuer), format!("{}.key", leaf.issuer));
        let mut arguments = vec!["ca", "-batch", "-notext", "-config", "ca.cnf"];
        arguments.extend(["-in", &request, "-out", &certificate, "-md", leaf.digest]);
        arguments.extend(["-startdate", leaf.from, "-enddate", leaf.until]);
        arguments.extend(["-extfile", &extensions, "-keyfile", &issuer_key]);
        match leaf.issuer == name {
            true => arguments.push("-selfsign"),
            false => arguments.extend(["-cert", &issuer]),
        }
        self.run(&arguments);
    }

    fn break_signature(&self, name: &str) {
        let path = self.path(&format!("{name}.pem"));
        let text = fs::read_to_string(&path).unwrap();
        let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = STANDARD.decode(base64).unwrap();
        *der.last_mut().unwrap() ^= 1;
        let base64 = STANDARD.encode(der);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        fs::write(path, pem).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output =
            Command::new("openssl").args(arguments).current_dir(self.0.path()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {complaint}");
        output.stdout
    }

    /// Starts a server that answers GET with a page about the connection.
    fn serve(&self, leaf: &str, chain: &[&str], more: &[&str]) -> Server {
        let read = |name: &&str| fs::read(self.path(&format!("{name}.pem"))).unwrap();
        fs::write(self.path("chain.pem"), chain.iter().flat_map(read).collect::<Vec<u8>>())
            .unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-accept", "127.0.0.1:0", "-no-CAfile", "-no-CApath"]);
        command.args(["-cert", &format!("{leaf}.pem"), "-key", &format!("{leaf}.key")]);
        if !chain.is_empty() {
            command.args(["-cert_chain", "chain.pem"]);
        }
        command.args(more).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("ACCEPT 127.0.0.1:").and_then(|port| port.parse().ok())
        });
        let Some(port) = port else {
            let mut complaint = String::new();
            child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
            panic!("openssl s_server with {leaf}: {complaint}");
        };
        let mut errors = child.stderr.take().unwrap();
        thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        thread::spawn(move || lines.for_each(drop));
        Server { child, port }
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(trust: &Arc<Trust>, url: &str) -> CallRequest {
    CallRequest {
        method: Method::Get,
        url: url.to_owned(),
        allow_http: false,
        trust: Arc::clone(trust),
        headers: Vec::new(),
        body: Vec::new(),
        max_body: 64 * 1024,
        timeout: Duration::from_secs(20),
        now: 0,
    }
}

fn get(trust: &Arc<Trust>, url: &str) -> Result<CallAnswer, CallFailure> {
    smol::block_on(Clients::new().call(request(trust, url)))
}

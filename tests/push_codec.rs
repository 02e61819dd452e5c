//! Pushes, Package #0 and alert payloads against the fixtures: each file with what it says
//! beside it, every truncation and every changed octet without a panic.

#![expect(clippy::unwrap_used, reason = "a test may fail on what it did not expect")]

use dm_gateway::gateway::alert::{parse_gateway_address, parse_server_list};
use dm_gateway::proto::notification::{self, Notification};
use dm_gateway::proto::wsp::{self, ContentType, HeaderName, HeaderValue, Push};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_push_says_what_stands_beside_it() {
    check("wsp", push);
}

#[test]
fn every_package_0_says_what_stands_beside_it() {
    check("notification", package);
}

#[test]
fn every_payload_says_what_stands_beside_it() {
    check("payload", payload);
}

#[test]
fn no_truncation_and_no_changed_octet_panics() {
    let kinds: [(&str, Read); 3] = [("wsp", push), ("notification", package), ("payload", payload)];
    for (kind, read) in kinds {
        for (_, input) in inputs(kind, "valid") {
            for length in 0..input.len() {
                let _ = read(&input[..length]);
            }
            for position in 0..input.len() {
                for flip in [0x01, 0x20, 0x80, 0xff] {
                    let mut changed = input.clone();
                    changed[position] ^= flip;
                    let _ = read(&changed);
                }
            }
        }
    }
}

#[test]
fn what_is_emitted_is_the_shortest_form_of_what_was_read() {
    for (name, input) in inputs("wsp", "valid") {
        let push = Push::decode(&input).unwrap();
        if !push.is_notification() || !push.is_for_dm() {
            continue;
        }
        let mut emitted = Vec::new();
        let id = push.transaction_id;
        wsp::encode_notification(&mut emitted, id, push.gateway_header(), push.body);
        assert!(emitted.len() <= input.len(), "{name}");
        let again = Push::decode(&emitted).unwrap();
        assert_eq!(again.content_type, ContentType::WellKnown(0x44), "{name}");
        assert_eq!(again.gateway_header(), push.gateway_header(), "{name}");
        assert_eq!((again.body, again.is_for_dm()), (push.body, true), "{name}");
    }
}

/// What reads an input: the lines that describe it, or the error.
type Read = fn(&[u8]) -> Result<String, String>;

fn check(kind: &str, read: Read) {
    for validity in ["valid", "invalid"] {
        let inputs = inputs(kind, validity);
        assert!(!inputs.is_empty(), "no fixtures of {kind}");
        for (name, input) in inputs {
            let result = read(&input);
            assert_eq!(result.is_ok(), validity == "valid", "{kind} {name}: {result:?}");
            let said = result.unwrap_or_else(|error| error + "\n");
            let path = folder(kind, validity).join(format!("{name}.expected"));
            let expected = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(said, expected, "{}", path.display());
        }
    }
}

fn folder(kind: &str, validity: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind).join(validity)
}

/// Names and octets of the fixtures: `.hex` as digits, all else as it stands.
fn inputs(kind: &str, validity: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(kind, validity)).unwrap() {
        let path = entry.unwrap().path();
        let octets = match path.extension().and_then(|extension| extension.to_str()) {
            Some("hex") => unhex(&fs::read_to_string(&path).unwrap()),
            Some("xml") => fs::read(&path).unwrap(),
            _ => continue,
        };
        inputs.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), octets));
    }
    inputs.sort();
    inputs
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn push(octets: &[u8]) -> Result<String, String> {
    let push = Push::decode(octets).map_err(|error| error.to_string())?;
    let mut said = format!("transaction {}\n", push.transaction_id);
    match push.content_type {
        ContentType::WellKnown(code) => writeln!(said, "content type 0x{code:02x}").unwrap(),
        ContentType::Text(text) => writeln!(said, "content type {text}").unwrap(),
    }
    for field in push.fields() {
        match field.name {
            HeaderName::WellKnown(code) => write!(said, "field 0x{code:02x} ").unwrap(),
            HeaderName::Text(name) => write!(said, "field {name} ").unwrap(),
        }
        match field.value {
            HeaderValue::Short(code) => writeln!(said, "number {code}").unwrap(),
            HeaderValue::Text(text) => writeln!(said, "text {text}").unwrap(),
            HeaderValue::Octets(octets) => writeln!(said, "octets {octets:02x?}").unwrap(),
        }
    }
    writeln!(said, "notification {}, for dm {}", push.is_notification(), push.is_for_dm()).unwrap();
    if let Some(value) = push.gateway_header() {
        match wsp::route(value) {
            Some(route) => {
                let further = if route.has_further_hops { " and further" } else { "" };
                writeln!(said, "to {}{further}", route.device).unwrap();
            }
            None => writeln!(said, "to nobody").unwrap(),
        }
    }
    writeln!(said, "body of {} octets", push.body.len()).unwrap();
    Ok(said)
}

fn package(octets: &[u8]) -> Result<String, String> {
    let package = Notification::decode(octets).map_err(|error| error.to_string())?;
    let verified = |nonce: &[u8]| notification::verify(octets, package.server_id, "srvpwd", nonce);
    let signed = if !package.is_signed() {
        "unsigned"
    } else if verified(b"Nonce") {
        "signed with nonce"
    } else if verified(&notification::RESYNC_NONCE) {
        "signed with resync nonce"
    } else {
        "signed by another"
    };
    let mut said = format!("{signed}\nversion {}\n{:?}\n", package.version, package.ui_mode);
    writeln!(said, "server initiated {}", package.server_initiated).unwrap();
    writeln!(said, "reserved {:07x}", notification::reserved_bits(octets)).unwrap();
    writeln!(said, "session {:04x}", package.session_id).unwrap();
    writeln!(said, "server {}", package.server_id).unwrap();
    writeln!(said, "vendor {:02x?}", package.vendor).unwrap();
    Ok(said)
}

fn payload(octets: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(octets).map_err(|error| error.to_string())?;
    if ["GwAdd", "Share", "Gateway"].iter().any(|name| text.contains(name))
        || text.trim().is_empty()
    {
        return match parse_gateway_address(text) {
            Ok(detection) => Ok(format!(
                "address {}\nshare {}\n",
                detection.address.as_deref().unwrap_or("none"),
                detection.share
            )),
            Err(error) => Err(format!("{}: {error}", error.status().0)),
        };
    }
    match parse_server_list(text) {
        Ok(servers) => {
            Ok(servers.iter().fold(format!("{} servers\n", servers.len()), |said, server| {
                said + server.as_str() + "\n"
            }))
        }
        Err(error) => Err(format!("{}: {error}", error.status().0)),
    }
}

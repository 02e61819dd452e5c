//! libwbxml (Debian: libwbxml2-utils) as the judge of our WBXML, both ways.
//!
//! Without the tools each test says SKIPPED; `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use dm_gateway::proto::syncml::{Encoding, Message, wbxml, xml};
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;
use std::path::Path;

/// Runs one of the tools over `input`; `None` if it is not installed.
fn run(tool: &str, arguments: &[&str], input: &[u8]) -> Option<Result<Vec<u8>, String>> {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::write(&source, input).unwrap();
    let mut command = std::process::Command::new(tool);
    let output = match command.args(arguments).arg("-o").arg(&target).arg(&source).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"),
                "{tool} is required and not installed"
            );
            println!("left out: {tool} not installed");
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    if !output.status.success() {
        return Some(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Some(std::fs::read(&target).map_err(|error| error.to_string()))
}

/// The elements and the text of a document: what remains without prefixes, namespaces, white
/// space between elements, and the choice between escapes and CDATA.
fn stream(document: &[u8]) -> Vec<String> {
    fn utf8(octets: &[u8]) -> &str {
        std::str::from_utf8(octets).unwrap()
    }
    let mut reader = Reader::from_str(utf8(document));
    reader.config_mut().expand_empty_elements = true;
    let mut stream = Vec::new();
    let mut held = String::new();
    loop {
        let line = match reader.read_event().unwrap() {
            Event::Start(element) => format!("<{}>", utf8(element.local_name().into_inner())),
            Event::End(element) => format!("</{}>", utf8(element.local_name().into_inner())),
            Event::Text(text) => {
                held.push_str(utf8(&text));
                continue;
            }
            Event::CData(text) => {
                held.push_str(utf8(&text));
                continue;
            }
            Event::GeneralRef(name) => {
                match name.resolve_char_ref().unwrap() {
                    Some(character) => held.push(character),
                    None => held.push_str(resolve_xml_entity(utf8(&name)).unwrap()),
                }
                continue;
            }
            Event::Eof => return stream,
            _ => continue,
        };
        let text = std::mem::take(&mut held);
        if !text.trim().is_empty() {
            stream.push(text.trim().to_owned());
        }
        stream.push(line);
    }
}

/// The message without what libwbxml changes on purpose: it writes the text of most `Data` as
/// OPAQUE, and names the type of a serialised tree after the encoding of the message.
fn flattened(message: &Message<'_>) -> String {
    let text = format!("{message:#?}").replace("Markup(", "Text(");
    text.replace("dmtnds+wbxml", "dmtnds+xml")
}

fn messages(check: impl Fn(&str, &Message<'_>) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/syncml/valid");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let octets = std::fs::read(&path).unwrap();
        let (encoding, octets) = if name.ends_with(".xml") {
            (Encoding::Xml, octets)
        } else if name.ends_with(".hex") {
            let text = String::from_utf8(octets).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let octets = lines.flat_map(str::split_whitespace);
            let octets = octets.map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
            (Encoding::Wbxml, octets)
        } else {
            continue;
        };
        let message = encoding.decode(&octets).unwrap();
        if !check(name, &message) {
            return;
        }
    }
}

/// The messages of the golden conversations, which the client's side of a session emits.
fn conversations(check: impl Fn(&str, &Message<'_>) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/session");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        for part in text.split("\nclient ").skip(1) {
            let lines = part.lines().skip_while(|line| !line.trim().starts_with('<'));
            let lines: Vec<_> = lines.take_while(|line| line.trim().starts_with('<')).collect();
            let document = lines.concat();
            // Some messages are told as what differs from the one before.
            let Ok(message) = xml::decode(document.as_bytes()) else { continue };
            count += 1;
            if !check(name, &message) {
                return;
            }
        }
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn libwbxml_reads_the_messages_of_a_session_as_our_xml() {
    conversations(|name, message| {
        let Some(judged) = run("wbxml2xml", &[], &wbxml::encode(message)) else { return false };
        let judged = judged.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(stream(&judged), stream(&xml::encode(message)), "{name}");
        true
    });
}

#[test]
fn libwbxml_reads_what_we_write_as_our_xml() {
    messages(|name, message| {
        if format!("{message:?}").contains("Binary(") {
            // wbxml2xml puts the octets into its XML as they are, which makes it no XML.
            return true;
        }
        let Some(judged) = run("wbxml2xml", &[], &wbxml::encode(message)) else { return false };
        let judged = judged.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(stream(&judged), stream(&xml::encode(message)), "{name}");
        true
    });
}

#[test]
fn we_read_what_libwbxml_writes_of_our_xml_as_the_same_message() {
    messages(|name, message| {
        let text = String::from_utf8(xml::encode(message)).unwrap();
        for arguments in [&["-k", "-n", "-v", "1.2"][..], &["-k", "-v", "1.3"]] {
            let Some(judged) = run("xml2wbxml", arguments, text.as_bytes()) else { return false };
            let judged = judged.unwrap_or_else(|error| panic!("{name}: {error}"));
            let read = wbxml::decode(&judged).unwrap_or_else(|error| panic!("{name}: {error}"));
            let ours = xml::decode(text.as_bytes()).unwrap();
            assert_eq!(flattened(&read), flattened(&ours), "{name}");
        }
        true
    });
}

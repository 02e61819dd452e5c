//! SyncML messages, read and written in both encodings.
//!
//! `tests/fixtures/syncml/valid` holds messages and, beside each, the XML that the gateway writes
//! for what it read, one tag a line; `invalid` holds the error. `UPDATE_EXPECTED=1` rewrites them.

#![allow(clippy::unwrap_used, clippy::panic)]

use dm_gateway::proto::syncml::{
    Alert, AlertCode, Command, Credentials, Data, Encoding, Group, Header, Item, Location, Message,
    Meta, Operation, Results, Status, StatusCode, Verb, wbxml, xml,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

struct Fixture {
    path: PathBuf,
    encoding: Encoding,
    octets: Vec<u8>,
}

fn fixtures(folder: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/syncml").join(folder);
    let mut fixtures = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let octets = std::fs::read(&path).unwrap();
        if name.ends_with(".xml") {
            fixtures.push(Fixture { path, encoding: Encoding::Xml, octets });
        } else if name.ends_with(".wbxml.hex") {
            let octets = unhex(std::str::from_utf8(&octets).unwrap());
            fixtures.push(Fixture { path, encoding: Encoding::Wbxml, octets });
        }
    }
    assert!(fixtures.len() > 20, "the fixtures are there");
    fixtures.sort_by(|left, right| left.path.cmp(&right.path));
    fixtures
}

fn unhex(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect()
}

fn check_expected(fixture: &Fixture, found: &str) {
    let path = PathBuf::from(format!("{}.expected", fixture.path.display()));
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

fn readable(message: &Message<'_>) -> String {
    let text = String::from_utf8(xml::encode(message)).unwrap();
    text.replace("><", ">\n<") + "\n"
}

#[test]
fn every_valid_message_is_read_as_written_beside_it() {
    for fixture in fixtures("valid") {
        match fixture.encoding.decode(&fixture.octets) {
            Ok(message) => check_expected(&fixture, &readable(&message)),
            Err(error) => panic!("{}: {error}", fixture.path.display()),
        }
    }
}

#[test]
fn every_invalid_message_is_refused_with_the_reason_beside_it() {
    for fixture in fixtures("invalid") {
        match fixture.encoding.decode(&fixture.octets) {
            Ok(_) => panic!("{} was read", fixture.path.display()),
            Err(error) => check_expected(&fixture, &format!("{error}\n")),
        }
    }
}

fn check_round_trips(message: &Message<'_>) {
    let written = wbxml::encode(message);
    assert_eq!(&wbxml::decode(&written).unwrap(), message);
    let text = xml::encode(message);
    let read = xml::decode(&text).unwrap();
    // XML carries octets as base64 text.
    if !format!("{message:?}").contains("Binary(") {
        assert_eq!(&read, message);
    }
    assert_eq!(xml::encode(&read), text);
    assert_eq!(wbxml::decode(&wbxml::encode(&read)).unwrap(), read);
}

#[test]
fn every_valid_message_survives_both_encodings() {
    for fixture in fixtures("valid") {
        let message = fixture.encoding.decode(&fixture.octets).unwrap();
        check_round_trips(&message);
    }
}

/// The message without the difference of text and markup: libwbxml writes the text of most
/// `Data` as OPAQUE.
fn flattened(message: &Message<'_>) -> String {
    format!("{message:#?}").replace("Markup(", "Text(")
}

#[test]
fn one_message_reads_the_same_from_either_encoding() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/syncml/valid");
    for name in ["package-1", "package-2-registered", "challenge-md5", "groups-and-operations"] {
        let text = std::fs::read(folder.join(format!("{name}.xml"))).unwrap();
        let hex = std::fs::read_to_string(folder.join(format!("{name}.wbxml.hex"))).unwrap();
        let octets = unhex(&hex);
        let (text, octets) = (xml::decode(&text).unwrap(), wbxml::decode(&octets).unwrap());
        assert_eq!(flattened(&text), flattened(&octets), "{name}");
    }
}

#[test]
fn no_truncation_panics_and_none_is_taken_for_the_whole() {
    for fixture in fixtures("valid") {
        let end = fixture.octets.trim_ascii_end().len();
        let whole = fixture.encoding.decode(&fixture.octets).unwrap();
        for length in 0..end {
            let cut = fixture.encoding.decode(&fixture.octets[..length]);
            // Only what follows the root element may be missing.
            if let Ok(message) = cut {
                assert_eq!(message, whole, "{} at {length}", fixture.path.display());
            }
        }
    }
}

#[test]
fn no_changed_octet_panics() {
    for fixture in fixtures("valid") {
        let mut octets = fixture.octets.clone();
        for index in 0..octets.len() {
            let original = octets[index];
            for changed in [0x00, 0x01, 0xff, original ^ 0x01, original ^ 0x40, original ^ 0x80] {
                octets[index] = changed;
                if let Ok(message) = fixture.encoding.decode(&octets) {
                    let again = wbxml::encode(&message);
                    assert!(wbxml::decode(&again).is_ok(), "{}", fixture.path.display());
                }
            }
            octets[index] = original;
        }
    }
}

#[test]
fn text_is_borrowed_from_the_input() {
    let path = "tests/fixtures/syncml/valid/package-3-list-cdata.xml";
    let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let message = xml::decode(&text).unwrap();
    let Some(Command::Alert(alert)) = message.commands.last() else { panic!("no alert") };
    assert!(matches!(alert.items[0].data, Some(Data::Markup(Cow::Borrowed(_)))));
    assert!(matches!(alert.items[0].meta.kind, Some(Cow::Borrowed(_))));
    let octets = wbxml::encode(&message);
    let message = wbxml::decode(&octets).unwrap();
    let Some(Command::Alert(alert)) = message.commands.last() else { panic!("no alert") };
    assert!(matches!(alert.items[0].data, Some(Data::Markup(Cow::Borrowed(_)))));
}

#[test]
fn characters_that_text_does_not_have_are_replaced() {
    let mut message = Message {
        header: Header {
            session_id: "1".into(),
            message_id: 1,
            source: Location { uri: "urn:a\0\u{b}".into(), name: None },
            ..Header::default()
        },
        commands: Vec::new(),
        is_final: true,
    };
    let text = xml::encode(&message);
    let octets = wbxml::encode(&message);
    message.header.source.uri = "urn:a\u{fffd}\u{fffd}".into();
    assert_eq!(xml::decode(&text).as_ref(), Ok(&message));
    assert_eq!(wbxml::decode(&octets).as_ref(), Ok(&message));
}

#[test]
fn octets_are_base64_in_xml_and_the_format_follows_the_encoding() {
    let octets: &[u8] = &[0, 0xff, 1];
    let item = Item {
        meta: Meta { format: Some("bin".into()), ..Meta::default() },
        data: Some(Data::Binary(octets.into())),
        ..Item::default()
    };
    let results = Results { items: vec![item], ..Results::default() };
    let header = Header {
        session_id: "1".into(),
        message_id: 1,
        source: Location { uri: "urn:a".into(), name: None },
        ..Header::default()
    };
    let commands = vec![Command::Results(results)];
    let message = Message { header, commands, is_final: false };
    let text = String::from_utf8(xml::encode(&message)).unwrap();
    assert!(text.contains("<Format xmlns=\"syncml:metinf\">b64</Format></Meta><Data>AP8B</Data>"));
    assert_eq!(wbxml::decode(&wbxml::encode(&message)), Ok(message));
}

// --- Random messages -----------------------------------------------------------------------

fn word() -> BoxedStrategy<Cow<'static, str>> {
    prop_oneof![
        4 => "[!-~]{0,12}",
        1 => "[!-~]([ -~é€😀\n\t\r]{0,12}[!-~])?",
    ]
    .prop_map(Cow::Owned)
    .boxed()
}

fn some_word() -> BoxedStrategy<Option<Cow<'static, str>>> {
    option::of(word()).boxed()
}

fn content() -> BoxedStrategy<Data<'static>> {
    prop_oneof![
        3 => "[ -~é€😀\n\t\r]{0,40}".prop_map(|text| Data::Text(text.into())),
        2 => "([ -~é€😀\n\t\r]|]]>|&#1;){0,40}".prop_map(|text| Data::Markup(text.into())),
    ]
    .boxed()
}

fn meta() -> BoxedStrategy<Meta<'static>> {
    let numbers = (option::of(any::<u64>()), option::of(any::<u64>()), option::of(any::<u64>()));
    (some_word(), some_word(), some_word(), some_word(), numbers)
        .prop_map(|(kind, format, mark, next_nonce, (size, max_message_size, max_object_size))| {
            Meta { kind, format, mark, size, next_nonce, max_message_size, max_object_size }
        })
        .boxed()
}

fn some_meta() -> BoxedStrategy<Meta<'static>> {
    option::of(meta()).prop_map(Option::unwrap_or_default).boxed()
}

fn location() -> BoxedStrategy<Location<'static>> {
    (word(), some_word()).prop_map(|(uri, name)| Location { uri, name }).boxed()
}

fn items() -> BoxedStrategy<Vec<Item<'static>>> {
    let item = (
        option::of(location()),
        option::of(location()),
        some_meta(),
        option::of(content()),
        any::<bool>(),
    )
        .prop_map(|(target, source, meta, data, more_data)| Item {
            target,
            source,
            meta,
            data,
            more_data,
        });
    vec(item, 0..3).boxed()
}

fn status() -> BoxedStrategy<Command<'static>> {
    let refs = (vec(word(), 0..3), vec(word(), 0..3));
    let rest = (option::of(meta()), any::<u16>(), items());
    (word(), word(), word(), word(), refs, rest)
        .prop_map(
            |(
                command_id,
                message_ref,
                command_ref,
                command,
                (target_refs, source_refs),
                (challenge, code, items),
            )| {
                Command::Status(Status {
                    command_id,
                    message_ref,
                    command_ref,
                    command,
                    target_refs,
                    source_refs,
                    challenge,
                    code: StatusCode(code),
                    items,
                })
            },
        )
        .boxed()
}

fn results() -> BoxedStrategy<Command<'static>> {
    (word(), some_word(), word(), some_meta(), some_word(), some_word(), items())
        .prop_map(|(command_id, message_ref, command_ref, meta, target_ref, source_ref, items)| {
            Command::Results(Results {
                command_id,
                message_ref,
                command_ref,
                meta,
                target_ref,
                source_ref,
                items,
            })
        })
        .boxed()
}

fn alert() -> BoxedStrategy<Command<'static>> {
    let loose = option::of(prop_oneof![
        "[!-~]([ -~]{0,9}[!-~])?".prop_map(|text| Data::Text(text.into())),
        "(<[!-~]([ -~\n]{0,30}>))?".prop_map(|text| Data::Markup(text.into())),
    ]);
    (word(), option::of(any::<u16>()), some_word(), some_meta(), items(), loose)
        .prop_map(|(command_id, code, correlator, meta, items, loose)| {
            let code = code.map(AlertCode);
            Command::Alert(Alert { command_id, code, correlator, meta, items, loose })
        })
        .boxed()
}

fn operation() -> BoxedStrategy<Command<'static>> {
    let verbs = [Verb::Add, Verb::Copy, Verb::Delete, Verb::Exec, Verb::Get, Verb::Replace];
    (prop::sample::select(verbs.to_vec()), word(), some_meta(), some_word(), items())
        .prop_map(|(verb, command_id, meta, correlator, items)| {
            Command::Operation(Operation { verb, command_id, meta, correlator, items })
        })
        .boxed()
}

fn command() -> BoxedStrategy<Command<'static>> {
    let names = vec!["Put", "Sync", "Map", "Search", "Move"];
    let other = (prop::sample::select(names), word())
        .prop_map(|(name, command_id)| Command::Other { name, command_id });
    let leaf = prop_oneof![status(), results(), alert(), operation(), other];
    leaf.prop_recursive(3, 8, 3, |inner| {
        (any::<bool>(), word(), some_meta(), vec(inner, 0..3)).prop_map(
            |(atomic, command_id, meta, commands)| {
                Command::Group(Group { atomic, command_id, meta, commands })
            },
        )
    })
    .boxed()
}

prop_compose! {
    fn message()(
        ids in ("[0-9A-F]{1,4}", 1..=u32::MAX, "[!-~]{1,20}", some_word()),
        versions in (word(), word()),
        target in location(),
        response_uri in some_word(),
        credentials in option::of((some_meta(), option::of(content()))),
        meta in some_meta(),
        commands in vec(command(), 0..4),
        is_final in any::<bool>(),
    ) -> Message<'static> {
        let (session_id, message_id, uri, name) = ids;
        let credentials = credentials.map(|(meta, data)| Credentials { meta, data });
        let header = Header {
            version_dtd: versions.0,
            version_protocol: versions.1,
            session_id: session_id.into(),
            message_id,
            target,
            source: Location { uri: uri.into(), name },
            response_uri,
            credentials,
            meta,
        };
        Message { header, commands, is_final }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_survives_both_encodings(message in message()) {
        let octets = wbxml::encode(&message);
        prop_assert_eq!(&wbxml::decode(&octets).unwrap(), &message);
        let text = xml::encode(&message);
        prop_assert_eq!(&xml::decode(&text).unwrap(), &message);
    }

    #[test]
    fn no_octets_panic(octets in vec(any::<u8>(), 0..200)) {
        let _ = xml::decode(&octets);
        let _ = wbxml::decode(&octets);
        let mut document = vec![0x02, 0xa4, 0x01, 0x6a, 0x00, 0x6d];
        document.extend(octets);
        let _ = wbxml::decode(&document);
    }
}

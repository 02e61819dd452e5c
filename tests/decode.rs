//! `decode` shows what it is given, and marks what violates the specification.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail on what it did not expect"
)]

use dm_gateway::cli::decode;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn fixture(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    path.to_str().unwrap().to_owned()
}

/// Whether the input was clean, and what was written.
fn decoded(input: &str) -> (bool, String) {
    let mut out = Vec::new();
    let is_clean = decode::run(input, &mut out).unwrap();
    let shown = String::from_utf8(out).unwrap();
    assert_eq!(is_clean, !shown.lines().any(|line| line.starts_with("! ")), "{shown}");
    (is_clean, shown)
}

/// The violations found in a fixture.
fn violations(path: &str) -> Vec<String> {
    let (_, shown) = decoded(&fixture(path));
    shown.lines().filter_map(|line| line.strip_prefix("! ")).map(String::from).collect()
}

#[test]
fn a_push_in_the_prescribed_form_is_clean() {
    let (is_clean, shown) = decoded(&fixture("wsp/valid/prescribed_form.hex"));
    assert!(is_clean, "{shown}");
    for expected in [
        "WSP push, 48 octets, transaction 01",
        "content type 0x44",
        "X-Wap-Application-Id: 7",
        "Package #0, 42 octets",
        "version 1.1",
        "ui-mode Background, initiator server",
        "session id 1234",
        "server id com.mgmtsrv.manage",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
}

#[test]
fn hex_on_the_command_line_may_hold_blanks_colons_and_prefixes() {
    let text = fs::read_to_string(fixture("wsp/valid/prescribed_form.hex")).unwrap();
    for around in [" : ", ", 0x", ","] {
        let spaced = text.replace('\n', around);
        let spaced = spaced.trim_end_matches("0x");
        assert_eq!(decoded(spaced), decoded(&fixture("wsp/valid/prescribed_form.hex")));
    }
}

#[test]
fn a_bootstrap_document_shows_its_accounts_and_no_secret() {
    for fixture_of in ["factory_tree.xml", "provisioning_full.xml"] {
        let (is_clean, shown) = decoded(&fixture(&format!("bootstrap/valid/{fixture_of}")));
        assert!(is_clean, "{shown}");
        assert!(shown.contains("account with "), "{shown}");
        assert!(shown.contains("CLCRED "), "{shown}");
        assert!(!shown.contains("to-the-server"), "{shown}");
    }
    let hex =
        fs::read_to_string(fixture("bootstrap/valid/provisioning_full_libwbxml.hex")).unwrap();
    let digits: String = hex.lines().filter(|line| !line.starts_with('#')).collect();
    let (is_clean, shown) = decoded(&digits);
    assert!(is_clean && shown.contains("account with com.example.dm"), "{shown}");
    let found = violations("bootstrap/invalid/no_server_id.xml");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_bootstrap_in_any_form_shows_its_account() {
    for name in ["factory_tree.xml", "factory_tree_libwbxml.hex", "message_cdata.xml"] {
        let path = fixture(&format!("bootstrap/valid/{name}"));
        let text = fs::read_to_string(&path).unwrap();
        let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        let (_, shown) = decoded(if name.ends_with(".hex") { &digits } else { &path });
        assert!(shown.contains("account with com.example.dm"), "{name}: {shown}");
    }
}

#[test]
fn a_bootstrap_push_shows_what_proves_it() {
    let document = "3c4d676d74547265652f3e";
    let mac = "41".repeat(40);
    let (_, shown) = decoded(&format!("0106311f2dc3918192{mac}00af87{document}"));
    assert!(shown.contains("SEC USERPIN, with a MAC"), "{shown}");
    let (_, shown) = decoded(&format!("010603c3af87{document}"));
    assert!(shown.contains("nothing proves it"), "{shown}");
}

#[test]
fn an_alert_that_stands_alone_is_shown_without_a_header() {
    let (_, shown) = decoded(
        "<Alert><CmdID>9</CmdID><Data>1226</Data><Item><Meta><Type xmlns='syncml:metinf'>\
         urn:oma:gwmo:1.0:AssociatedGateway</Type></Meta><Data><![CDATA[<GwAddress>2001:db8::1\
         </GwAddress>]]></Data></Item></Alert>",
    );
    assert!(shown.contains("gateway address 2001:db8::1"), "{shown}");
    assert!(!shown.contains("SyncHdr") && !shown.contains("Share"), "{shown}");
}

#[test]
fn the_push_of_the_manual_is_clean_and_names_its_device() {
    let package0 = fs::read_to_string(fixture("notification/valid/known_digest.hex")).unwrap();
    let manual = include_str!("../src/manual/pushes.md");
    let push = manual.lines().find(|line| line.ends_with("…Package #0…")).unwrap();
    let (is_clean, shown) = decoded(&push.replace("…Package #0…", &package0));
    assert!(is_clean && shown.contains("for device IMEI:490154203237518"), "{shown}");
}

#[test]
fn a_file_of_octets_and_one_of_hex_say_the_same() {
    let text = fs::read_to_string(fixture("notification/valid/known_digest.hex")).unwrap();
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let octets: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("package");
    fs::write(&path, octets).unwrap();
    let shown = decoded(path.to_str().unwrap());
    assert_eq!(shown, decoded(&fixture("notification/valid/known_digest.hex")));
    assert!(shown.0);
}

#[test]
fn each_difference_of_the_proxy_form_is_marked() {
    let found = violations("wsp/valid/kannel_form.hex");
    assert_eq!(
        found,
        [
            "content type is not in its short form (C4)",
            "X-Oma-GwMO stands before the application id",
            "X-Oma-GwMO is not in its short form (D0)",
            "79 header octets; 48 are allowed",
        ]
    );
}

#[test]
fn what_is_wrong_in_a_package_0_is_marked() {
    let of = |name: &str| violations(&format!("notification/valid/{name}.hex"));
    let unsigned = "digest is 16 zero octets: nobody signed this";
    assert_eq!(of("unsigned"), [unsigned]);
    assert_eq!(of("version_1_2"), [unsigned, "version is not 1.1, that of DM 1.2"]);
    assert_eq!(of("reserved_bits_set"), [unsigned, "reserved bits are set: 7000001"]);
    assert_eq!(of("session_zero"), [unsigned, "session id is 0; the lowest is 1"]);
    assert!(of("known_digest").is_empty());
}

#[test]
fn what_the_change_request_prints_is_taken_and_marked() {
    let of = |name: &str| violations(&format!("payload/valid/{name}.xml"));
    let blanks = "white space around a value";
    let dashes = "stray -- behind the last tag";
    assert_eq!(of("list_change_request"), [blanks, dashes]);
    assert_eq!(of("address_change_request_associated"), [dashes]);
    assert_eq!(
        of("address_change_request_share"),
        ["Share is written in capitals; XML has true and false"]
    );
    assert_eq!(of("address_schema_name"), ["element GwAddr; the registered form is GwAddress"]);
    assert!(of("list_registered").is_empty());
    assert!(of("address_registered").is_empty());
}

#[test]
fn a_multicast_address_is_no_device() {
    let (_, shown) = decoded("00 06 0b c4 af 87 d0 6d 61 63 3a 30 31 00");
    assert!(shown.contains("! mac:01: not a MAC address"), "{shown}");
    let mut push = vec![0x00, 0x06, 0x1a, 0xc4, 0xaf, 0x87, 0xd0];
    push.extend(b"mac:01-ab-34-ef-69-0c\0");
    let hex: String = push.iter().map(|octet| format!("{octet:02x}")).collect();
    let (_, shown) = decoded(&hex);
    assert!(shown.contains("! mac:01-ab-34-ef-69-0c: multicast bit set"), "{shown}");
}

#[test]
fn every_invalid_fixture_is_shown_as_violating() {
    for kind in ["wsp", "notification", "payload"] {
        for entry in fs::read_dir(fixture(&format!("{kind}/invalid"))).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension != "expected") {
                let (is_clean, shown) = decoded(path.to_str().unwrap());
                assert!(!is_clean, "{}: {shown}", path.display());
            }
        }
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let (_, shown) = decoded("00 06 0a c4 af 87 f9 61 1b 5b 32 4a 00");
    assert!(!shown.contains('\u{1b}') && shown.contains("\\u{1b}[2J"), "{shown}");
}

#[test]
fn what_is_neither_a_file_nor_hex_is_an_error_with_advice() {
    for input in ["no-such-file", "", "123"] {
        let error = decode::run(input, &mut Vec::new()).unwrap_err();
        assert!(error.contains("try: "), "{error}");
    }
}

#[test]
fn a_capture_is_no_message_and_the_way_to_its_messages_is_told() {
    let capture = fixture("pushes.pcapng");
    let error = decode::run(&capture, &mut Vec::new()).unwrap_err();
    assert!(
        error.contains("is a capture of packets") && error.contains("; try: tshark "),
        "{error}"
    );
    // A capture of any size is told from the beginning.
    let large = tempfile::NamedTempFile::new().unwrap();
    let mut octets = vec![0xd4, 0xc3, 0xb2, 0xa1];
    octets.resize(3 << 20, 0);
    fs::write(large.path(), octets).unwrap();
    let error = decode::run(large.path().to_str().unwrap(), &mut Vec::new()).unwrap_err();
    assert!(error.contains("is a capture of packets"), "{error}");
    // What is advised works, where there is a tshark.
    let advice = fixture("pushes.pcapng");
    let fields = ["-Y", "udp.port == 2948", "-T", "fields", "-e", "udp.payload"];
    let Ok(told) = Command::new("tshark").args(["-r", &advice]).args(fields).output() else {
        println!("left out: decode: tshark is not there");
        return;
    };
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.lines().count() > 0, "{told}");
    assert!(told.lines().any(|line| decoded(line).1.starts_with("WSP push")), "{told}");
}

#[test]
fn octets_of_nothing_known_do_not_flood_the_terminal() {
    let (_, shown) = decoded(&"ab".repeat(20_000));
    assert!(shown.lines().count() < 40, "{shown}");
    assert!(shown.contains("… 19488 more"), "{shown}");
}

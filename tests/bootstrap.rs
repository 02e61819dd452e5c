//! Bootstrap documents against the fixtures (each with what it says beside it), what is written
//! for end devices read back and judged by libwbxml, MACs judged by openssl, pushes recognised.
//!
//! `DM_GATEWAY_BLESS=1` writes what is missing beside a fixture, for a person to read. Without a
//! tool its test says so and passes, unless `DM_GATEWAY_REQUIRE_TOOLS=1`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use dm_gateway::proto::auth::Secret;
use dm_gateway::proto::bootstrap::dm::TreeForm;
use dm_gateway::proto::bootstrap::security::{Keys, Method, sign};
use dm_gateway::proto::bootstrap::{
    Account, Address, AddressKind, AuthenticationKind, Credential, Leaf, Level, Profile, Source,
    Value, cp, dm, push, read,
};
use dm_gateway::proto::syncml::{Data, Encoding, StatusCode, Verb, wbxml};
use dm_gateway::proto::tree::{
    Caller, DM_ACC, Format, NoProvider, Request, Subject, Transaction, Tree,
};
use dm_gateway::proto::wsp::Push;
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn every_document_says_what_stands_beside_it() {
    for validity in ["valid", "invalid"] {
        let inputs = inputs(validity);
        assert!(inputs.len() > 9);
        for (path, octets) in inputs {
            let result = said(&octets);
            assert_eq!(result.is_ok(), validity == "valid", "{}: {result:?}", path.display());
            let said = result.unwrap_or_else(|error| error + "\n");
            let beside = path.with_extension("expected");
            if std::env::var("DM_GATEWAY_BLESS").is_ok() && !beside.exists() {
                fs::write(&beside, &said).unwrap();
            }
            let expected = fs::read_to_string(&beside).unwrap_or_default();
            assert_eq!(said, expected, "{}", beside.display());
        }
    }
}

#[test]
fn libwbxml_s_wbxml_makes_the_accounts_of_the_xml_beside_it() {
    let valid = inputs("valid");
    let mut pairs = 0;
    for (path, octets) in &valid {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let Some(stem) = stem.strip_suffix("_libwbxml") else { continue };
        let xml = fs::read(path.with_file_name(format!("{stem}.xml"))).unwrap();
        assert_eq!(read(octets, Source::Push), read(&xml, Source::Push), "{stem}");
        pairs += 1;
    }
    assert_eq!(pairs, 4);
}

#[test]
fn no_truncation_and_no_changed_octet_panics_or_makes_a_bad_account() {
    for validity in ["valid", "invalid"] {
        for (_, octets) in inputs(validity) {
            for length in 0..octets.len() {
                judge(&octets[..length]);
            }
            for position in 0..octets.len() {
                let mut changed = octets.clone();
                changed[position] ^= [0x01, 0x20, 0x80, 0xff][position % 4];
                judge(&changed);
            }
        }
    }
}

#[test]
fn what_is_written_for_a_device_is_read_as_the_same_account() {
    let account = account();
    for form in [TreeForm::Document, TreeForm::Elements] {
        let message = dm::write(&account, "urn:imei:490154203237518", form);
        assert_eq!(read(&message, Source::Push), Ok(vec![account.clone()]));
        // The one message model of a session reads it too.
        let session = wbxml::decode(&message).unwrap();
        assert_eq!(session.header.source.uri, "com.example.gateway");
    }

    let document = cp::write(&account);
    let mut read_back = read(&document, Source::Push).unwrap().remove(0);
    assert_eq!(
        read_back.acl.as_deref(),
        Some("Get=com.example.gateway&Replace=com.example.gateway&Delete=com.example.gateway")
    );
    read_back.acl = account.acl.clone();
    // Neither has a parameter in the profile.
    read_back.max_message_size = account.max_message_size;
    read_back.preferred_authentication = account.preferred_authentication.clone();
    assert_eq!(read_back, account);
}

#[test]
fn an_account_survives_the_management_tree() {
    let account = account();
    let mut tree = Tree::new(&[DM_ACC]).unwrap();
    let caller = Caller { subject: Subject::Gateway, now: 0, encoding: Encoding::Wbxml };
    let mut transaction = Transaction::default();
    for leaf in account.leaves() {
        let uri = format!("./DMAcc/gateway/{}", leaf.uri);
        let data = match &leaf.value {
            Value::Text(text) => Data::Text(text.into()),
            Value::Number(number) => Data::Text(number.to_string().into()),
            Value::Octets(octets) => Data::Binary(octets.into()),
        };
        let request = Request {
            verb: Verb::Add,
            uri: &uri,
            source: None,
            kind: None,
            format: Some(leaf.value.format()),
            data: Some(&data),
        };
        let outcome = tree.execute(&request, &caller, &mut NoProvider, &mut transaction);
        assert_eq!(outcome.status, StatusCode::OK, "{uri}");
        assert_eq!(tree.is_readable(&uri), !leaf.is_secret(), "{uri}");
    }

    let mut leaves = Vec::new();
    leaves_of(&tree, "./DMAcc/gateway", "", &mut leaves);
    let read_back = Account::from_leaves(&leaves, account.source).unwrap();
    assert_eq!(Account { acl: account.acl.clone(), ..read_back }, account);
}

#[test]
fn a_signed_push_of_either_profile_fits_an_ethernet_frame() {
    let keys = Keys { network: None, user: Some(Secret::new("4711")) };
    for profile in [Profile::Dm, Profile::Cp] {
        let document = match profile {
            Profile::Dm => dm::write(&account(), "mac:02-ab-34-ef-69-0c", TreeForm::Document),
            Profile::Cp => cp::write(&account()),
        };
        let security = sign(profile, Method::UserPin, &keys, &document).unwrap();
        let mut datagram = Vec::new();
        push::encode(&mut datagram, 1, profile, Some(&security), &document);
        assert!(datagram.len() < 1400, "{profile:?}: {} octets", datagram.len());
        let pushed = Push::decode(&datagram).unwrap();
        let received = push::Received::of_push(&pushed).unwrap();
        assert_eq!(received.verify(&keys), Ok(()));
        assert_eq!(read(received.document, Source::Push).unwrap().len(), 1);
    }
}

#[test]
fn every_push_is_taken_or_refused_as_stands_beside_it() {
    for validity in ["push/valid", "push/invalid"] {
        let inputs = inputs(validity);
        assert!(inputs.len() > 9);
        for (path, datagram) in inputs {
            // A comment may tell the user's pin.
            let text = fs::read_to_string(&path).unwrap();
            let pin = text.lines().find_map(|line| line.strip_prefix("# user "));
            let keys = Keys {
                network: Some(Secret::new("001010123456789")),
                user: Some(Secret::new(pin.unwrap_or("1234"))),
            };
            let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
            let said = judged(&datagram, &keys);
            assert_eq!(said, expected.trim_end(), "{}", path.display());
            assert_eq!(said.ends_with("accepted"), validity == "push/valid");
            for length in 0..datagram.len() {
                let said = judged(&datagram[..length], &keys);
                assert!(!said.ends_with("accepted"), "{}: {length}: {said}", path.display());
            }
        }
    }
}

#[test]
fn libwbxml_reads_what_is_written() {
    for (octets, marks) in [
        (
            dm::write(&account(), "mac:02-ab-34-ef-69-0c", TreeForm::Document),
            &["<MgmtTree", "<LocURI>./Inbox</LocURI>", "<DDFName>urn:oma:mo:oma-dm-dmacc:1.0"][..],
        ),
        (
            cp::write(&account()),
            &[
                "\"APPLICATION\"",
                "name=\"PROVIDER-ID\" value=\"com.example.gateway\"",
                "\"APPSRV\"",
            ],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("in"), folder.path().join("out"));
        fs::write(&source, &octets).unwrap();
        let mut command = Command::new("wbxml2xml");
        command.arg("-o").arg(&target).arg(&source);
        let Some(output) = run(&mut command, "wbxml2xml", b"") else { return };
        assert!(output.is_ok(), "{output:?}");
        let judged = fs::read(&target).unwrap();
        let text = String::from_utf8_lossy(&judged);
        for mark in marks {
            assert!(text.contains(mark), "no {mark} in {text}");
        }
    }
}

#[test]
fn openssl_computes_the_same_mac() {
    let document = cp::write(&account());
    let text = |text| Some(Secret::new(text));
    let keys = Keys { network: text("001010123456789"), user: text("1234") };
    for (profile, method, key) in [
        (Profile::Cp, Method::NetworkPin, "0910101032547698"),
        (Profile::Cp, Method::UserNetworkPin, "091010103254769831323334"),
        (Profile::Cp, Method::UserPin, "31323334"),
        (Profile::Dm, Method::NetworkPin, "303031303130313233343536373839"),
        (Profile::Dm, Method::UserNetworkPin, "313233343a303031303130313233343536373839"),
    ] {
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha1", "-mac", "HMAC", "-macopt"]).arg(format!("hexkey:{key}"));
        let Some(output) = run(&mut command, "openssl", &document) else { return };
        let judged = String::from_utf8(output.unwrap()).unwrap();
        let security = sign(profile, method, &keys, &document).unwrap();
        let ours: String = security.mac.unwrap().iter().map(|it| format!("{it:02x}")).collect();
        assert!(judged.trim().ends_with(&ours), "{method:?}: {judged} {ours}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * ProptestConfig::default().cases))]

    #[test]
    fn any_octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        judge(&octets);
    }
}

// --- Helpers ------------------------------------------------------------------------------------

fn judge(octets: &[u8]) {
    if let Ok(accounts) = read(octets, Source::Factory) {
        for account in accounts {
            account.check().unwrap();
            let again = Account::from_leaves(&account.leaves(), Source::Factory).unwrap();
            assert_eq!(Account { acl: account.acl.clone(), ..again }, account);
        }
    }
}

/// The leaves below `uri` in a tree.
fn leaves_of(tree: &Tree, root: &str, below: &str, leaves: &mut Vec<Leaf>) {
    for name in tree.children(&format!("{root}{below}")) {
        let below = format!("{below}/{name}");
        let facts = tree.facts(&format!("{root}{below}")).unwrap();
        let text = || String::from_utf8(facts.value.to_vec()).unwrap();
        let value = match facts.format {
            Format::Node => {
                leaves_of(tree, root, &below, leaves);
                continue;
            }
            Format::Bin => Value::Octets(facts.value.to_vec()),
            Format::Int => Value::Number(text().parse().unwrap()),
            _ => Value::Text(text()),
        };
        leaves.push(Leaf { uri: below[1..].to_owned(), value });
    }
}

/// What becomes of a datagram.
fn judged(datagram: &[u8], keys: &Keys) -> String {
    let Ok(pushed) = Push::decode(datagram) else { return "no push".into() };
    let Some(received) = push::Received::of_push(&pushed) else { return "no bootstrap".into() };
    let method = received.security.map(|it| format!(" {:?}", it.method)).unwrap_or_default();
    let verdict = match received.verify(keys) {
        Ok(()) => "accepted".into(),
        Err(refusal) => format!("{refusal:?}"),
    };
    format!("{:?}{method}: {verdict}", received.profile)
}

fn account() -> Account {
    let mut account = Account::new("com.example.gateway", Source::Push);
    account.name = Some("Gateway".into());
    account.addresses = vec![
        Address { ports: vec![8080], ..Address::uri("http://192.168.7.1/dm") },
        Address { text: "192.168.7.1".into(), kind: AddressKind::Ipv4, ports: vec![8080, 80] },
    ];
    account.preferred_connection = Some("lan0".into());
    account.preferred_authentication = Some(AuthenticationKind::Digest);
    account.max_message_size = Some(65_536);
    account.acl = Some("Get=com.example.gateway&Replace=com.example.gateway".into());
    let credential = |level, secret: &str| Credential {
        level,
        kind: AuthenticationKind::Digest,
        name: Some("com.example.gateway".into()),
        secret: Some(Secret::new(secret)),
        nonce: Some(vec![0x00, 0xff, 0x4e, 0x6f, 0x6e, 0x63, 0x65, 0x01]),
    };
    account.credentials =
        vec![credential(Level::Client, "to-the-server"), credential(Level::Server, "to-us")];
    account
}

/// The accounts of a document, as lines.
fn said(octets: &[u8]) -> Result<String, String> {
    let accounts = read(octets, Source::Factory).map_err(|fault| fault.to_string())?;
    let mut said = String::new();
    for account in accounts {
        said += &format!("account {} at {}\n", account.server_id, account.url().unwrap());
        if let Some(acl) = &account.acl {
            said += &format!("  ACL {acl}\n");
        }
        for leaf in account.leaves() {
            // A fixture's secrets are made up: here they are shown.
            said += &format!("  {} = {:?}\n", leaf.uri, leaf.value);
        }
    }
    Ok(said)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bootstrap").join(name)
}

fn inputs(validity: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(validity)).unwrap() {
        let path = entry.unwrap().path();
        let octets = match path.extension().and_then(|extension| extension.to_str()) {
            Some("hex") => unhex(&fs::read_to_string(&path).unwrap()),
            Some("xml") => fs::read(&path).unwrap(),
            _ => continue,
        };
        inputs.push((path, octets));
    }
    inputs.sort();
    inputs
}

fn unhex(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: Vec<u8> =
        lines.flat_map(str::chars).filter_map(|it| it.to_digit(16)).map(|it| it as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Runs a tool over `input`; `None` if it is not installed.
fn run(command: &mut Command, tool: &str, input: &[u8]) -> Option<Result<Vec<u8>, String>> {
    use std::io::Write as _;
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match pipes.spawn() {
        Ok(child) => child,
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
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Some(if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    })
}

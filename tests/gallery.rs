//! The message gallery of the manual, `src/manual/gallery.md`, is made from the fixtures by the
//! decoders of the daemon. `UPDATE_EXPECTED=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use dm_gateway::cli::decode;
use dm_gateway::gateway::event::Reason;
use dm_gateway::proto::notification::Notification;
use dm_gateway::proto::syncml::Encoding;
use dm_gateway::proto::wsp::{self, Push};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a fixture that are shown, and octets of one line.
const LINES: usize = 44;
const LINE: usize = 160;

/// What is to be said about a fixture beside what the decoders say, by its path below
/// `tests/fixtures`.
const NOTES: &[(&str, &str)] = &[
    (
        "notification/valid/known_digest",
        "The digest is right for the server id `com.mgmtsrv.manage`, the secret `srvpwd` and the nonce `Nonce`.",
    ),
    (
        "notification/valid/reserved_bits_set",
        "Reserved bits are ignored, as the specification wants, and go on to the device untouched: the digest covers them.",
    ),
    (
        "notification/valid/resync_nonce_octets",
        "The digest is made with the nonce of four zero octets, by which a server says that it has lost its nonce. It goes on to devices; a trigger for the gateway itself is refused with it, because such a digest can be replayed for ever.",
    ),
    (
        "notification/valid/session_zero",
        "Session ids begin at 1. Whether 0 is obeyed is for the device to say; the gateway passes it on.",
    ),
    (
        "notification/valid/unsigned",
        "A digest of zero octets is what the gateway itself sends to a device that it shares no secret with. Many clients ignore it.",
    ),
    (
        "notification/valid/version_1_2",
        "libdmclient refuses any version but 1.1. The gateway passes it on to the device.",
    ),
    (
        "notification/valid/vendor_octets",
        "Octets behind the server id belong to the trigger, and the digest covers them.",
    ),
    (
        "payload/valid/address_change_request_associated",
        "As the change request prints it, stray dashes included.",
    ),
    (
        "payload/valid/address_change_request_keep",
        "As the change request prints it: the address is not to be shared.",
    ),
    ("payload/valid/address_change_request_share", "As the change request prints it."),
    (
        "payload/valid/address_schema_name",
        "The change request's schema says `GwAddr` where its examples say `GwAddress`.",
    ),
    (
        "payload/valid/list_bootstrap_address",
        "`BootstrapAddr` is an extension that some drafts had. It is read over: no address that a device names is ever called.",
    ),
    (
        "payload/valid/list_change_request",
        "As the change request prints it: blanks around the ids, dashes behind the last tag. The ids look like URLs and are names all the same.",
    ),
    ("payload/valid/list_duplicates", "One server named twice is one server."),
    (
        "payload/valid/list_empty",
        "It ends no mapping at once: see [what keeps devices honest][architecture].",
    ),
    ("payload/valid/list_sixteen_servers", "The most that a list may name."),
    (
        "syncml/valid/alert-associated-gateway",
        "A device tells its DM server where its gateway is. The gateway never sees this one; it is here for servers.",
    ),
    (
        "syncml/valid/alert-deviceattached",
        "The gateway tells a DM server of a device that came. The Source is the device's record in the inventory.",
    ),
    ("syncml/valid/alert-devicedetached", "The gateway tells a DM server of a device that went."),
    (
        "syncml/valid/package-2-registered",
        "The Device Detection Alert as the gateway sends it by default (`wire-profile = \"registered\"`). Two Items, the payload first: the only form that all four clients tried survived.",
    ),
    (
        "syncml/valid/package-2-as-printed",
        "The Device Detection Alert as the change request prints it. The payload stands directly below Alert, where SyncML has no place for it; strict parsers drop the session. `wire-profile = \"draft\"` sends it.",
    ),
    ("syncml/valid/package-3-list-cdata", "A device's answer: its servers, as CDATA."),
    ("syncml/valid/package-3-list-escaped", "The same list as escaped text."),
    (
        "syncml/valid/package-3-list-stray-dashes",
        "The same list with the dashes of the change request's example.",
    ),
    ("syncml/valid/package-3-list-unescaped", "The same list as bare elements inside of Data."),
    (
        "syncml/valid/quirk-bare-ampersand",
        "The AOSP engine's own test messages have an unescaped `&`.",
    ),
    (
        "syncml/valid/quirk-correlator-first",
        "libdmclient writes Correlator before Data, Koneki behind it.",
    ),
    ("syncml/valid/quirk-duplicate-command-ids", "hs20-osu-client uses a CmdID twice."),
    (
        "syncml/valid/quirk-empty-basic-cred",
        "Koneki sends credentials of type basic with nothing in them. They count as none.",
    ),
    ("syncml/valid/quirk-format-chr-capital", "hs20-osu-client writes `Chr`."),
    ("syncml/valid/quirk-locname-in-target", "The AOSP engine puts LocName into Target."),
    ("syncml/valid/quirk-meta-on-command", "Koneki puts Meta on the command instead of the Item."),
    ("syncml/valid/quirk-metinf-wrapper", "Some writers wrap the children of Meta into MetInf."),
    ("syncml/valid/quirk-no-status-for-header", "hs20-osu-client gives no Status for SyncHdr."),
    (
        "syncml/valid/quirk-prefixes-and-doctype",
        "Namespace prefixes and a bare DOCTYPE are read over; nothing is fetched.",
    ),
    (
        "syncml/valid/unknown-elements-and-commands",
        "Elements that are not known are read over. Commands that are not known are answered with Status 406.",
    ),
    (
        "syncml/valid/unknown-version",
        "It can be read and is not obeyed: the answer is Status 505 or 513.",
    ),
    (
        "wsp/valid/kannel_form",
        "As the push proxy kannel sends it: everything as text, the gateway's header first. 79 header octets, more than the 48 that DM Notification 1.2 allows.",
    ),
    (
        "wsp/valid/prescribed_form",
        "The form of DM Notification 1.2. Without X-Oma-GwMO it is for the gateway itself.",
    ),
];

/// The alerts of GwMO, in messages.
const ALERTS_SHOWN: [&str; 6] = [
    "package-2-registered",
    "package-2-as-printed",
    "package-3-list-cdata",
    "alert-associated-gateway",
    "alert-deviceattached",
    "alert-devicedetached",
];

/// The header that most messages of `tests/fixtures/syncml` have; shown once.
const HEADER: &str = "  <SyncHdr>
    <VerDTD>1.2</VerDTD>
    <VerProto>DM/1.2</VerProto>
    <SessionID>1A2B</SessionID>
    <MsgID>1</MsgID>
    <Target><LocURI>http://192.168.4.1:8080/dm</LocURI></Target>
    <Source><LocURI>IMEI:493005100592800</LocURI></Source>
  </SyncHdr>
";

/// Which of the three kinds a form is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Valid,
    Tolerated,
    Refused,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Tolerated => "tolerated",
            Self::Refused => "refused",
        }
    }
}

#[test]
fn the_gallery_is_what_the_decoders_say_of_the_fixtures() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/gallery.md");
    let gallery = gallery();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &gallery).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    for (index, (made, kept)) in gallery.lines().zip(committed.lines()).enumerate() {
        assert_eq!(kept, made, "line {} of gallery.md; try: UPDATE_EXPECTED=1", index + 1);
    }
    assert!(committed == gallery, "gallery.md has another length; try: UPDATE_EXPECTED=1");
}

/// `tests/fixtures/pushes.pcapng`, for people with Wireshark: every push of the gallery, each with
/// its name as a comment.
#[test]
fn the_sample_capture_holds_every_push_of_the_gallery() {
    let mut capture = Vec::new();
    // Section header: little endian, version 1.0, length unknown. Interface: raw IPv4.
    let version = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    pcapng_block(&mut capture, 0x0a0d_0d0a, &version);
    pcapng_block(&mut capture, 1, &[228, 0, 0, 0, 0, 0, 0, 0]);
    for name in ["wsp/valid", "wsp/invalid", "bootstrap/push/valid", "bootstrap/push/invalid"] {
        for path in paths(&fixtures().join(name)) {
            let fixture = Fixture::read(&path);
            let datagram = ipv4_udp(&fixture.octets);
            let length = u32::try_from(datagram.len()).unwrap().to_le_bytes();
            let comment = u16::try_from(fixture.name.len()).unwrap().to_le_bytes();
            let packet = [
                &[0; 12][..],
                &length,
                &length,
                &padded(&datagram),
                &[1, 0],
                &comment,
                &padded(fixture.name.as_bytes()),
                &[0; 4],
            ];
            pcapng_block(&mut capture, 6, &packet.concat());
        }
    }
    let path = fixtures().join("pushes.pcapng");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &capture).unwrap();
    }
    assert!(fs::read(&path).unwrap() == capture, "pushes.pcapng; try: UPDATE_EXPECTED=1");
}

fn pcapng_block(capture: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
    for part in [&kind.to_le_bytes()[..], &length, body, &length] {
        capture.extend_from_slice(part);
    }
}

fn padded(octets: &[u8]) -> Vec<u8> {
    let mut padded = octets.to_vec();
    padded.resize(octets.len().next_multiple_of(4), 0);
    padded
}

/// From a server of the documentation to a gateway of it, without a UDP checksum.
fn ipv4_udp(payload: &[u8]) -> Vec<u8> {
    let length = |octets: usize| u16::try_from(octets).unwrap().to_be_bytes();
    let mut header =
        [&[0x45, 0][..], &length(28 + payload.len()), &[0, 0, 0, 0, 64, 17, 0, 0]].concat();
    header.extend([203, 0, 113, 7, 198, 51, 100, 2]);
    let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let ports = [9200_u16.to_be_bytes(), 2948_u16.to_be_bytes()].concat();
    [&header, &ports[..], &length(8 + payload.len()), &[0, 0], payload].concat()
}

#[test]
fn every_note_is_about_a_fixture() {
    for (name, _) in NOTES {
        let there =
            ["xml", "hex"].iter().any(|it| fixtures().join(format!("{name}.{it}")).exists());
        assert!(there, "{name}");
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn gallery() -> String {
    let mut out = INTRODUCTION.to_owned();
    octet_by_octet(&mut out);

    section(&mut out, "The alerts of GwMO", ALERTS);
    for name in ALERTS_SHOWN {
        let path = fixtures().join(format!("syncml/valid/{name}.xml"));
        entry(&mut out, &path, message_kind);
    }
    section(&mut out, "Payloads: the server list and the gateway's address", PAYLOADS);
    folder(&mut out, "payload", message_kind);
    section(&mut out, "Package #0", PACKAGES);
    folder(&mut out, "notification", message_kind);
    section(&mut out, "Pushes", PUSHES);
    folder(&mut out, "wsp", push_kind);
    section(&mut out, "SyncML messages", MESSAGES);
    folder(&mut out, "syncml", message_kind);
    section(&mut out, "Bootstrap documents", DOCUMENTS);
    folder(&mut out, "bootstrap", message_kind);
    section(&mut out, "Bootstrap pushes", BOOTSTRAP_PUSHES);
    folder(&mut out, "bootstrap/push", bootstrap_push_kind);
    conversations(&mut out);
    out.push_str("\n[architecture]: architecture.md\n");
    out
}

const INTRODUCTION: &str = "\
<!-- Made by tests/gallery.rs from tests/fixtures; UPDATE_EXPECTED=1 writes it anew. -->

# The message gallery

Every message that the gateway reads or writes, in every form that its tests know. Each stands here
as it is on the wire, with what `dm-gateway decode` says of it. `decode` and the daemon use the same
decoders: what stands here is what the daemon believes.

- **valid**: as the specifications write it.
- **tolerated**: not as they write it, and yet taken, because real peers do it. Lines that begin with
  `! ` say what is wrong.
- **refused**: the daemon does not take it. The line that begins with `! ` is the reason.

Try one yourself; the argument is a file, hexadecimal digits, or `-`:

```console
$ dm-gateway decode 010603C4AF87BC135AF33D8BDA335E2E634142E0B08702D8000000123412636F6D2E6D676D747372762E6D616E616765
```

Long forms are cut, the files below `tests/fixtures` in the source have them whole. Blanks and line
ends of XML are as in the file.
";

const ALERTS: &str = "\
What the gateway, an end device and a DM server tell each other. The types are those of OMA's alert
registry; `decode` and the daemon take the change request's types (`urn:oma:gwmo:1.0:…`) as well.
The payloads of `deviceattached` and `devicedetached` are our choice, as no public text has them.
";
const PAYLOADS: &str = "\
What stands in the Data of a BootstrappedDMSList, of the Device Detection Alert and of an
AssociatedGateway. The grammar is fixed and small: no attributes, no DOCTYPE, no entities but XML's
own. A list that is refused changes nothing; the Status of its alert is in the line.
";
const PACKAGES: &str = "\
The trigger of a DM session, 24 octets and more. The gateway passes it on octet by octet, odd bits
included: its digest is between the server and the device. Only one without X-Oma-GwMO is for the
gateway itself, which then does check the digest.
";
const PUSHES: &str = "\
A connectionless WSP push: one UDP datagram to port 2948. The last line of each says what the daemon
makes of it. Nothing is ever answered.
";
const MESSAGES: &str = "\
Whole messages, as XML and as WBXML. The forms called *quirk* are those of four clients in the field:
libdmclient, the AOSP engine, hs20-osu-client and Koneki. Where `<SyncHdr>…</SyncHdr>` stands, it has
VerDTD 1.2, VerProto DM/1.2, SessionID 1A2B,
MsgID 1, the gateway as Target and the device as Source.
";
const DOCUMENTS: &str = "\
What makes an account: a serialised tree, a DM bootstrap message, or a provisioning document, each as
XML or WBXML. All accounts of a document are made, or none. `decode` prints no secret.
";
const BOOTSTRAP_PUSHES: &str = "\
A bootstrap that comes as a push has to be proven by a MAC. Here the gateway knows the network's
secret `001010123456789` and the user's pin `1234`; the last line says what it makes of the push.
";

fn section(out: &mut String, title: &str, text: &str) {
    write!(out, "\n## {title}\n\n{text}").unwrap();
}

/// The entries of `<name>/valid`, then those of `<name>/invalid`.
fn folder(out: &mut String, name: &str, kind_of: fn(&Fixture) -> (Kind, Option<String>)) {
    for half in ["valid", "invalid"] {
        for path in paths(&fixtures().join(name).join(half)) {
            // The WBXML twin stands below its XML.
            let is_twin = text_name(&path).ends_with(".wbxml.hex")
                && path.with_extension("").with_extension("xml").exists();
            let is_above = ALERTS_SHOWN.iter().any(|it| text_name(&path) == format!("{it}.xml"));
            if !is_twin && !is_above {
                entry(out, &path, kind_of);
            }
        }
    }
}

/// The fixtures of a folder, in order.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "xml" || it == "hex"))
        .collect();
    paths.sort();
    assert!(paths.len() > 3, "{}", folder.display());
    paths
}

/// A file of `tests/fixtures`.
struct Fixture {
    /// Below `tests/fixtures`, without the extension.
    name: String,
    /// As it stands in the file.
    text: String,
    /// What the file stands for.
    octets: Vec<u8>,
    /// What `decode` says, and whether nothing violates the specification.
    decoded: String,
    is_clean: bool,
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let raw = fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&raw).into_owned();
        let is_hex = path.extension().is_some_and(|it| it == "hex");
        let octets = if is_hex { unhex(&text) } else { raw };
        let mut decoded = Vec::new();
        let input = if is_hex { hex(&octets, "") } else { path.to_str().unwrap().to_owned() };
        let (is_clean, decoded) = match decode::run(&input, &mut decoded) {
            Ok(is_clean) => (is_clean, String::from_utf8(decoded).unwrap()),
            Err(error) => (false, format!("! {}\n", error.split("; try: ").next().unwrap())),
        };
        let below = path.strip_prefix(fixtures()).unwrap().to_str().unwrap();
        let name = below.trim_end_matches(".xml").trim_end_matches(".hex").to_owned();
        Self { name, text, octets, decoded, is_clean }
    }

    fn is_valid(&self) -> bool {
        !self.name.contains("/invalid/")
    }
}

fn entry(out: &mut String, path: &Path, kind_of: fn(&Fixture) -> (Kind, Option<String>)) {
    let fixture = Fixture::read(path);
    let (kind, verdict) = kind_of(&fixture);
    let short = fixture.name.rsplit('/').next().unwrap();
    writeln!(
        out,
        "\n### {} · {}\n",
        short.replace(['-', '_'], " ").replace(".wbxml", ", WBXML"),
        kind.name()
    )
    .unwrap();
    if let Some((_, note)) = NOTES.iter().find(|(name, _)| *name == fixture.name) {
        writeln!(out, "{note}\n").unwrap();
    }
    if let Some(comment) = fixture.text.lines().next().and_then(|line| line.strip_prefix("# ")) {
        let mut comment = comment.trim_end_matches('.').to_owned();
        if !comment.split(' ').next().unwrap_or_default().contains(['.', '_']) {
            comment[..1].make_ascii_uppercase();
        }
        writeln!(out, "{comment}.\n").unwrap();
    }
    let is_xml = path.extension().is_some_and(|it| it == "xml");
    if is_xml {
        block(out, "xml", &fixture.text.replace(HEADER, "  <SyncHdr>…</SyncHdr>\n"));
        let twin = path.with_extension("wbxml.hex");
        if twin.exists() {
            let octets = unhex(&fs::read_to_string(&twin).unwrap());
            writeln!(out, "\nThe same as WBXML, {} octets:\n", octets.len()).unwrap();
            block(out, "text", &dump(&octets));
        } else if let Some(octets) = as_wbxml(&fixture) {
            writeln!(
                out,
                "\nThe same as WBXML, as the gateway writes it, {} octets:\n",
                octets.len()
            )
            .unwrap();
            block(out, "text", &dump(&octets));
        }
    } else {
        block(out, "text", &dump(&fixture.octets));
    }
    out.push_str("\nWhat `decode` says:\n\n");
    block(out, "text", &fixture.decoded);
    if let Some(verdict) = verdict {
        writeln!(out, "\n{verdict}").unwrap();
    }
}

/// The alerts of GwMO are shown in both encodings.
fn as_wbxml(fixture: &Fixture) -> Option<Vec<u8>> {
    let message = Encoding::Xml.decode(&fixture.octets).ok()?;
    fixture.name.starts_with("syncml/valid/alert-").then(|| Encoding::Wbxml.encode(&message))
}

fn message_kind(fixture: &Fixture) -> (Kind, Option<String>) {
    let kind = match fixture.is_valid() {
        false => Kind::Refused,
        true if fixture.is_clean && !fixture.name.contains("/quirk-") => Kind::Valid,
        true => Kind::Tolerated,
    };
    assert!(kind != Kind::Refused || !fixture.is_clean, "{}", fixture.name);
    (kind, None)
}

/// What the daemon makes of a push, in its order.
fn push_kind(fixture: &Fixture) -> (Kind, Option<String>) {
    let refused = |reason: Reason| {
        let why = reason.sentence();
        (Kind::Refused, Some(format!("The daemon: refused as `{}`, {why}.", reason.name())))
    };
    let Ok(push) = Push::decode(&fixture.octets) else { return refused(Reason::MalformedPush) };
    assert!(fixture.is_valid(), "{}", fixture.name);
    if !push.is_notification() {
        return refused(Reason::NotNotification);
    }
    if !push.is_for_dm() {
        return refused(Reason::NotForDm);
    }
    if Notification::decode(push.body).is_err() {
        return refused(Reason::MalformedPackage0);
    }
    let kind = if fixture.is_clean { Kind::Valid } else { Kind::Tolerated };
    let verdict = match push.gateway_header().map(wsp::route) {
        None => {
            "The daemon: for the gateway itself, if it has an account with this server.".to_owned()
        }
        Some(None) => return refused(Reason::UnknownDevice),
        Some(Some(route)) if route.has_further_hops => return refused(Reason::UnknownDevice),
        Some(Some(route)) => {
            format!("The daemon: for `{}`, if the pair is mapped.", route.device)
        }
    };
    (kind, Some(verdict))
}

/// Their documents are empty: what proves them is all that matters here.
fn bootstrap_push_kind(fixture: &Fixture) -> (Kind, Option<String>) {
    let path = fixtures().join(format!("{}.expected", fixture.name));
    let expected = fs::read_to_string(path).unwrap();
    let kind = match fixture.is_valid() {
        true => Kind::Valid,
        false => Kind::Refused,
    };
    assert_eq!(kind == Kind::Valid, expected.trim().ends_with("accepted"), "{}", fixture.name);
    (kind, Some(format!("What the gateway makes of it: {}.", expected.trim())))
}

/// One push, each octet explained.
fn octet_by_octet(out: &mut String) {
    out.push_str("\n## One push, octet by octet\n\n");
    let path = fixtures().join("wsp/valid/gateway_header_after_application_id.hex");
    let octets = Fixture::read(&path).octets;
    let push = Push::decode(&octets).unwrap();
    let package = Notification::decode(push.body).unwrap();
    assert!(push.is_notification() && push.is_for_dm());
    let device = push.gateway_header().unwrap();
    let id = package.server_id;
    let rows = [
        (1, "transaction id: any octet".to_owned()),
        (1, "PDU type: Push".to_owned()),
        (1, format!("{} octets of headers follow", octets[2])),
        (1, "content type 0x44: application/vnd.syncml.notification".to_owned()),
        (1, "header 0x2F: X-Wap-Application-Id".to_owned()),
        (1, "7: the DM client".to_owned()),
        (1, "header 0x50: X-Oma-GwMO".to_owned()),
        (device.len() + 1, format!("`{device}`, ended by 00: the device that is meant")),
        (
            16,
            "Package #0 begins: digest, MD5 over server id, secret, nonce and all that follows"
                .to_owned(),
        ),
        (
            5,
            "version 1.1 (10 bits), ui-mode background (2), initiator server (1), reserved (27)"
                .to_owned(),
        ),
        (2, format!("session id {:04X}", package.session_id)),
        (1, format!("{} octets of server id follow", id.len())),
        (id.len(), format!("`{id}`: the DM server that the device is to call")),
    ];
    out.push_str("| octets | meaning |\n|---|---|\n");
    let mut rest = &octets[..];
    for (length, meaning) in rows {
        let (these, behind) = rest.split_at(length);
        writeln!(out, "| `{}` | {meaning} |", hex(these, " ")).unwrap();
        rest = behind;
    }
    assert!(rest.is_empty() && package.vendor.is_empty());
    writeln!(
        out,
        "\nWhat goes on to the device is the same Package #0 behind `01 06 03 C4 AF 87`: without the header \
         X-Oma-GwMO,\nand with the body octet for octet."
    )
    .unwrap();
}

/// The conversations of `tests/fixtures/session`: what each is about.
fn conversations(out: &mut String) {
    out.push_str(
        "\n## Whole sessions\n\nConversations between a DM server and the gateway as a DM client, message by message \
         as XML, with\nwhat was executed and what became of the nonces. They stand in `tests/fixtures/session`.\n\n\
         | file | what happens |\n|---|---|\n",
    );
    let mut paths: Vec<_> = fs::read_dir(fixtures().join("session"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let about: Vec<_> =
            text.lines().take_while(|it| it.starts_with('#')).map(|it| it[1..].trim()).collect();
        let about = about.join(" ").replace('|', "\\|");
        assert!(!about.is_empty(), "{}", path.display());
        writeln!(out, "| `{}` | {about} |", text_name(&path)).unwrap();
    }
}

fn block(out: &mut String, language: &str, text: &str) {
    let fence = if text.contains("```") { "~~~" } else { "```" };
    writeln!(out, "{fence}{language}").unwrap();
    let lines: Vec<_> = text.lines().collect();
    for line in lines.iter().take(LINES) {
        let shown: String = line.trim_end().chars().take(LINE).map(visible).collect();
        let cut = if line.chars().count() > LINE { " …" } else { "" };
        writeln!(out, "{shown}{cut}").unwrap();
    }
    if lines.len() > LINES {
        writeln!(out, "… {} lines more", lines.len() - LINES).unwrap();
    }
    writeln!(out, "{fence}").unwrap();
}

/// Control characters and what else would harm a text file are shown as a sign.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{fffd}' => '?',
        c if c.is_control() => '\u{b7}',
        c => c,
    }
}

fn dump(octets: &[u8]) -> String {
    octets.chunks(24).map(|line| hex(line, " ") + "\n").collect()
}

fn hex(octets: &[u8], between: &str) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(between)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.chars().filter_map(|c| c.to_digit(16)))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn text_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

//! `dm-gateway decode`: shows what octets say, and what in them violates the specification.
//!
//! It takes a file, hex text or standard input, finds out what it was given, and reads it with
//! the decoders of the daemon. Lines that start with `! ` name violations; everything else
//! describes. Credentials are not printed.

mod bootstrap;
mod input;
mod message;

use crate::cli::client::{Stop, print};
use crate::cli::definition::{self, Command, Form, Given, Kind, Operand, PRINTING, Times};
use crate::cli::table::printable;
use crate::control;
use crate::gateway::alert::payload::{self, PayloadError, Quirk};
use crate::limits;
use crate::proto::bootstrap::push::Received;
use crate::proto::notification::{self, Notification};
use crate::proto::syncml::Encoding;
use crate::proto::wsp::{self, ContentType, HeaderName, HeaderValue, Push};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};

/// Most header octets of a push that DM Notification 1.2 allows.
const PUSH_HEADERS: usize = 48;
/// Octets in a line of a hex dump.
const HEX_LINE: usize = 16;

/// `decode`.
pub const COMMAND: Command = Command {
    name: "decode",
    summary: "what a push, a Package #0 or a SyncML message says, and violates",
    text: "\
Shows what octets say: a WSP push, a Package #0, WBXML, SyncML as XML, a bootstrap document, or the
payload of an alert. Lines that start with `! ` name violations of the specification. Credentials
are not printed.",
    operands: &[Operand {
        name: "FILE|HEX|-",
        text: "a file, hex digits in one word or several, or - for standard input",
        times: Times::Many,
        kind: Kind::File,
    }],
    options: &[PRINTING],
    exits: &[(1, "something violates the specification, or nothing can be decoded")],
    examples: &[("dm-gateway decode 0106 03C4 AF87", "hex digits, blanks between them")],
    run: Some(decode),
    ..definition::COMMAND
};

fn decode(given: Given) -> Result<u8, Stop> {
    // In memory first: a reader of ours that goes away in the middle changes no verdict.
    let mut text = Vec::new();
    let conforms =
        run(&given.operands.join(" "), &mut text).map_err(|error| Stop::failed(&error))?;
    let text = String::from_utf8_lossy(&text);
    print(&match given.form() {
        Form::Table => text.into_owned(),
        Form::Json | Form::Lines => json(conforms, &text),
    })?;
    Ok(u8::from(!conforms))
}

/// What was decoded as a document.
#[derive(Debug, Serialize)]
struct Decoded<'t> {
    /// Whether nothing violates the specification.
    conforms: bool,
    /// What it says, in order.
    lines: Vec<DecodedLine<'t>>,
}

/// One line of what was decoded.
#[derive(Debug, Serialize)]
struct DecodedLine<'t> {
    /// How deep it stands in what stands before it.
    depth: usize,
    /// Whether it names a violation of the specification.
    violation: bool,
    /// What it says, for people.
    text: &'t str,
}

fn json(conforms: bool, text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix("! ") {
        Some(text) => DecodedLine { depth: 0, violation: true, text },
        None => {
            let text = line.trim_start();
            DecodedLine { depth: (line.len() - text.len()) / 2, violation: false, text }
        }
    });
    control::document(Decoded { conforms, lines: lines.collect() }) + "\n"
}

/// Decodes `input` (the path of a file, `-` for standard input, or hex digits between which
/// blanks, colons, commas and `0x` may stand) and writes what it says to `out`. True if nothing
/// in it violates the specification.
///
/// # Errors
/// A sentence for the user where there is nothing to decode: no such file and no hex text, an
/// input beyond 1 MiB, or where `out` cannot be written.
pub fn run(input: &str, out: &mut impl Write) -> Result<bool, String> {
    let octets = input::octets_of(input)?;
    let mut dump = Dump { out, depth: 0, is_clean: true, masks: false };
    let written = sniff(&mut dump, &octets).and_then(|()| dump.out.flush());
    written.map_err(|error| format!("cannot write the result: {error}"))?;
    Ok(dump.is_clean)
}

/// What octets say, for the eyes of operators: no credentials, nonces, digests, pins and MACs, and no
/// values that may be one. A line that begins with `! ` names a violation.
pub(crate) fn masked(octets: &[u8]) -> Vec<String> {
    let mut text = Vec::new();
    let mut dump = Dump { out: &mut text, depth: 0, is_clean: true, masks: true };
    // Memory takes everything.
    let _ = sniff(&mut dump, octets);
    let text = String::from_utf8_lossy(&text);
    let shown = text.lines().take(limits::TRACE_LINES);
    shown.map(|line| line.chars().take(limits::TRACE_LINE).collect()).collect()
}

/// Whether what stands under this name, or is written so, may be a secret.
fn is_secret(text: &str) -> bool {
    const MARKS: [&str; 12] = [
        "secret",
        "nonce",
        "passw",
        "pwd",
        "aauth",
        "auth-",
        "credential",
        "token",
        "apikey",
        "/pin",
        "privatekey",
        "mac=",
    ];
    let text = text.to_ascii_lowercase();
    MARKS.iter().any(|mark| text.contains(mark))
}

/// Whether the node of a URI may hold a secret, by its name.
fn is_secret_node(uri: &str) -> bool {
    const NAMES: [&str; 8] = ["pin", "puk", "ki", "opc", "psk", "trk", "pass", "key"];
    let name = uri.split('?').next().unwrap_or_default().trim_end_matches('/');
    let name = name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    is_secret(uri)
        || NAMES.contains(&&*name)
        || name.ends_with("key")
        || name.contains("passphrase")
}

/// Finds out what `octets` are, by what can be told apart at their start.
fn sniff(dump: &mut Dump<'_>, octets: &[u8]) -> io::Result<()> {
    if let Ok(text) = std::str::from_utf8(octets) {
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with('<') {
            return markup(dump, text);
        }
    }
    match *octets {
        [_, 0x06, ..] if Push::decode(octets).is_ok() => push(dump, octets),
        // The public identifier of provisioning documents.
        [0x01..=0x03, 0x0b, ..] => bootstrap::document(dump, octets),
        [0x01..=0x03, 0x00 | 0x01 | 0x80..=0xff, ..] => {
            if bootstrap::is_tree(octets) {
                return bootstrap::document(dump, octets);
            }
            dump.line(format_args!("WBXML, {} octets", octets.len()))?;
            message::dump(dump, Encoding::Wbxml, octets)?;
            bootstrap::within_message(dump, octets)
        }
        _ if Notification::decode(octets).is_ok() => package(dump, octets),
        [_, 0x06, ..] => push(dump, octets),
        _ => package(dump, octets),
    }
}

/// XML: a whole message, an Alert as the change request prints them, or a payload.
fn markup(dump: &mut Dump<'_>, text: &str) -> io::Result<()> {
    if bootstrap::is_markup(text) && !text.contains("<SyncML") {
        return bootstrap::document(dump, text.as_bytes());
    }
    if text.contains("<SyncML") {
        dump.line(format_args!("SyncML as XML, {} octets", text.len()))?;
        message::dump(dump, Encoding::Xml, text.as_bytes())?;
        return bootstrap::within_message(dump, text.as_bytes());
    }
    if text.trim_start().starts_with("<Alert") {
        dump.line(format_args!("one Alert command, without a message around it"))?;
        return message::command(dump, text);
    }
    if text.contains("ServerList") {
        server_list(dump, text)
    } else {
        gateway_address(dump, text, true)
    }
}

fn push(dump: &mut Dump<'_>, octets: &[u8]) -> io::Result<()> {
    let push = match Push::decode(octets) {
        Ok(push) => push,
        Err(error) => return dump.violation(format_args!("not a WSP push: {error}")),
    };
    let id = push.transaction_id;
    dump.line(format_args!("WSP push, {} octets, transaction {id:02X}", octets.len()))?;
    dump.depth += 1;
    match push.content_type {
        ContentType::WellKnown(code) => dump.line(format_args!("content type 0x{code:02X}"))?,
        ContentType::Text(text) => {
            // Its parameters may be a MAC.
            let media = text.split(';').next().unwrap_or_default();
            dump.line(format_args!("content type {}", if dump.masks { media } else { text }))?;
            dump.violation(format_args!("content type is not in its short form (C4)"))?;
        }
    }
    if let Some(received) = Received::of_push(&push) {
        bootstrap::pushed(dump, &received)?;
        dump.depth -= 1;
        return Ok(());
    }
    if !push.is_notification() {
        dump.violation(format_args!("content type is not application/vnd.syncml.notification"))?;
    }
    push_fields(dump, &push)?;
    let headers = octets.len() - push.body.len();
    if headers > PUSH_HEADERS {
        dump.violation(format_args!("{headers} header octets; 48 are allowed"))?;
    }
    dump.line(format_args!("body, {} octets", push.body.len()))?;
    if push.is_notification() {
        package(dump, push.body)?;
    } else {
        dump.hex(push.body)?;
    }
    dump.depth -= 1;
    Ok(())
}

fn push_fields(dump: &mut Dump<'_>, push: &Push<'_>) -> io::Result<()> {
    let mut has_application_id = false;
    for field in push.fields() {
        let name = match field.name {
            _ if field.name.is_application_id() => "X-Wap-Application-Id".to_owned(),
            _ if field.name.is_gateway() => "X-Oma-GwMO".to_owned(),
            HeaderName::WellKnown(code) => format!("header 0x{code:02X}"),
            HeaderName::Text(name) => format!("header {name}"),
        };
        match field.value {
            HeaderValue::Text(text) if dump.masks && (is_secret(&name) || is_secret(text)) => {
                dump.line(format_args!("{name}: {} octets, not shown", text.len()))?;
            }
            HeaderValue::Octets(octets) if dump.masks => {
                dump.line(format_args!("{name}: {} octets, not shown", octets.len()))?;
            }
            HeaderValue::Short(code) => dump.line(format_args!("{name}: {code}"))?,
            HeaderValue::Text(text) => dump.line(format_args!("{name}: {text}"))?,
            HeaderValue::Octets(octets) => dump.line(format_args!("{name}: {octets:02X?}"))?,
        }
        if field.name.is_application_id() {
            has_application_id = true;
            let is_short = matches!(field.name, HeaderName::WellKnown(_))
                && matches!(field.value, HeaderValue::Short(_));
            if !is_short {
                dump.violation(format_args!("application id is not in its short form (AF 87)"))?;
            }
        } else if !has_application_id {
            dump.violation(format_args!("{name} stands before the application id"))?;
        }
        if field.name.is_gateway() && matches!(field.name, HeaderName::Text(_)) {
            dump.violation(format_args!("X-Oma-GwMO is not in its short form (D0)"))?;
        }
    }
    if !push.is_for_dm() {
        dump.violation(format_args!("application id is not 07, that of the DM client"))?;
    }
    let Some(value) = push.gateway_header() else { return Ok(()) };
    match wsp::route(value) {
        None => dump.violation(format_args!("X-Oma-GwMO is no device id with parameters"))?,
        Some(route) => {
            let further = if route.has_further_hops { ", further hops follow" } else { "" };
            dump.line(format_args!("for device {}{further}", route.device))?;
            dump.device_id(route.device)?;
        }
    }
    Ok(())
}

fn package(dump: &mut Dump<'_>, octets: &[u8]) -> io::Result<()> {
    let package = match Notification::decode(octets) {
        Ok(package) => package,
        Err(error) => {
            dump.violation(format_args!("not a Package #0: {error}"))?;
            return dump.hex(octets);
        }
    };
    dump.line(format_args!("Package #0, {} octets", octets.len()))?;
    dump.depth += 1;
    let digest: String = package.digest.iter().map(|octet| format!("{octet:02X}")).collect();
    if dump.masks {
        dump.line(format_args!("digest, not shown"))?;
    } else {
        dump.line(format_args!("digest {digest}"))?;
    }
    if !package.is_signed() {
        dump.violation(format_args!("digest is 16 zero octets: nobody signed this"))?;
    }
    dump.line(format_args!("version {}.{}", package.version / 10, package.version % 10))?;
    if package.version != notification::VERSION {
        dump.violation(format_args!("version is not 1.1, that of DM 1.2"))?;
    }
    let initiator = if package.server_initiated { "server" } else { "client" };
    dump.line(format_args!("ui-mode {:?}, initiator {initiator}", package.ui_mode))?;
    if notification::reserved_bits(octets) != 0 {
        let bits = notification::reserved_bits(octets);
        dump.violation(format_args!("reserved bits are set: {bits:07X}"))?;
    }
    dump.line(format_args!("session id {:04X}", package.session_id))?;
    if package.session_id == 0 {
        dump.violation(format_args!("session id is 0; the lowest is 1"))?;
    }
    dump.line(format_args!("server id {}", package.server_id))?;
    if !package.vendor.is_empty() {
        dump.line(format_args!("vendor specific, {} octets", package.vendor.len()))?;
        dump.hex(package.vendor)?;
    }
    dump.depth -= 1;
    Ok(())
}

fn server_list(dump: &mut Dump<'_>, text: &str) -> io::Result<()> {
    let mut quirks = Vec::new();
    let servers = payload::server_list(text, &mut |quirk| quirks.push(quirk));
    if let Some(servers) = judged(dump, "server list", servers, &quirks)? {
        dump.line(format_args!("servers listed: {}", servers.len()))?;
        for server in servers {
            dump.line(format_args!("  {server}"))?;
        }
    }
    Ok(())
}

/// The payload of an alert 1230, where `Share` belongs, or of an AssociatedGateway.
fn gateway_address(dump: &mut Dump<'_>, text: &str, shares: bool) -> io::Result<()> {
    let mut quirks = Vec::new();
    let detection = payload::gateway_address(text, &mut |quirk| quirks.push(quirk));
    if let Some(detection) = judged(dump, "gateway address", detection, &quirks)? {
        let address = detection.address.as_deref().unwrap_or("none");
        dump.line(format_args!("gateway address {address}"))?;
        if detection.share {
            dump.line(format_args!("Share true: servers may be told"))?;
        } else if shares {
            dump.line(format_args!("Share false or left out: servers may not be told"))?;
        }
    }
    Ok(())
}

/// Writes what was noted about a payload, and its error if it has one.
fn judged<T>(
    dump: &mut Dump<'_>,
    name: &str,
    result: Result<T, PayloadError>,
    quirks: &[Quirk],
) -> io::Result<Option<T>> {
    let mut seen = Vec::new();
    for quirk in quirks {
        if !seen.contains(quirk) {
            seen.push(*quirk);
            dump.violation(format_args!("{quirk}"))?;
        }
    }
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let status = error.status().0;
            dump.violation(format_args!("not a {name}: {error} (answered with {status})"))?;
            Ok(None)
        }
    }
}

/// What is written so far: how deep it is indented, and whether it was clean.
struct Dump<'w> {
    out: &'w mut dyn Write,
    depth: usize,
    is_clean: bool,
    /// Whether whoever reads it may not know secrets.
    masks: bool,
}

impl Dump<'_> {
    /// Writes a line; control characters are shown, not sent to the terminal.
    fn line(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let indent = 2 * self.depth;
        writeln!(self.out, "{:indent$}{}", "", printable(&text.to_string()))
    }

    fn violation(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.is_clean = false;
        writeln!(self.out, "! {}", printable(&text.to_string()))
    }

    fn hex(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.masks {
            return self.line(format_args!("  {} octets, not shown", octets.len()));
        }
        for line in octets.chunks(HEX_LINE).take(limits::DECODE_HEX_LINES) {
            let digits: Vec<String> = line.iter().map(|octet| format!("{octet:02x}")).collect();
            self.line(format_args!("  {}", digits.join(" ")))?;
        }
        match octets.len().checked_sub(limits::DECODE_HEX_LINES * HEX_LINE) {
            Some(more @ 1..) => self.line(format_args!("  … {more} more")),
            _ => Ok(()),
        }
    }

    /// A URI as it may be shown: what stands behind the `?` may be a token.
    fn uri<'u>(&self, uri: &'u str) -> &'u str {
        if self.masks { uri.split('?').next().unwrap_or_default() } else { uri }
    }

    /// Judges an id: `mac:` wants six octets of one interface.
    fn device_id(&mut self, id: &str) -> io::Result<()> {
        let Some((scheme, address)) = id.split_once(':') else { return Ok(()) };
        if !scheme.eq_ignore_ascii_case("mac") {
            return Ok(());
        }
        let octets: Option<Vec<u8>> = address
            .split(['-', ':'])
            .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
            .collect();
        match octets.as_deref() {
            Some([first, _, _, _, _, _]) if first & 1 == 0 => Ok(()),
            Some([_, _, _, _, _, _]) => {
                self.violation(format_args!("{id}: multicast bit set, no interface has that"))
            }
            _ => self.violation(format_args!("{id}: not a MAC address")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::bootstrap::{Profile, Source, push, security};
    use std::fs;
    use std::path::Path;

    /// The octets as whoever reads a trace could find them again.
    fn forms(secret: &[u8]) -> Vec<String> {
        use base64::Engine as _;
        let hex: Vec<_> = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        let encoded = base64::prelude::BASE64_STANDARD.encode(secret);
        vec![
            String::from_utf8_lossy(secret).into_owned(),
            hex.concat(),
            hex.concat().to_uppercase(),
            hex.join(" "),
            encoded.trim_end_matches('=').to_owned(),
        ]
    }

    fn assert_hidden(what: &str, octets: &[u8], secrets: &[&[u8]]) -> String {
        let shown = masked(octets).join("\n");
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            assert!(!shown.contains(&form), "{what}: {form}: {shown}");
        }
        shown
    }

    const CANARY: &str = "Canary-7f3a";

    /// A message in XML with these in its header and its body, and the same in WBXML.
    fn messages(header: &str, body: &str) -> [Vec<u8>; 2] {
        let text = format!(
            "<SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2\
             </VerProto><SessionID>1</SessionID><MsgID>1</MsgID><Target><LocURI>t</LocURI>\
             </Target><Source><LocURI>s</LocURI></Source>{header}</SyncHdr><SyncBody>{body}<Final/>\
             </SyncBody></SyncML>"
        );
        let message = Encoding::Xml.decode(text.as_bytes()).unwrap();
        [text.clone().into_bytes(), Encoding::Wbxml.encode(&message)]
    }

    #[test]
    fn credentials_and_nonces_of_a_session_are_not_shown() {
        let encoded = forms(CANARY.as_bytes())[4].clone();
        let cred = format!(
            "<Cred><Meta><Format xmlns='syncml:metinf'>b64</Format><Type xmlns='syncml:metinf'>\
             syncml:auth-md5</Type></Meta><Data>{encoded}</Data></Cred>"
        );
        let challenge = format!(
            "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Chal>\
             <Meta><Format xmlns='syncml:metinf'>b64</Format><Type xmlns='syncml:metinf'>\
             syncml:auth-md5</Type><NextNonce xmlns='syncml:metinf'>{encoded}</NextNonce></Meta>\
             </Chal><Data>407</Data></Status>"
        );
        for octets in messages(&cred, &challenge) {
            let shown = assert_hidden("session", &octets, &[CANARY.as_bytes()]);
            assert!(shown.contains("Cred syncml:auth-md5, "), "{shown}");
            assert!(shown.contains("NextNonce not shown"), "{shown}");
        }
    }

    #[test]
    fn values_of_nodes_that_hold_secrets_are_not_shown_in_whatever_command() {
        let plain =
            "<Item><Source><LocURI>./DevDetail/FwV</LocURI></Source><Data>shown-7</Data></Item>";
        for uri in [
            "./DMAcc/acme/AppAuth/1/AAuthSecret",
            "./DMAcc/acme/AppAuth/1/AAuthData",
            "./DMAcc/acme/ToConRef/1/Password",
            "./MCPTT/UE/1/IdMSClientSecret",
            "./MCPTT/UE/1/EncryptionKey",
            "./MCPTT/UE/1/TrK/",
            "./WiFi/depot/PSK?prop=Value",
            "./WiFi/depot/Passphrase",
            "./Sim/1/PIN",
        ] {
            for (verb, side) in [
                ("Add", "Target"),
                ("Replace", "Target"),
                ("Exec", "Target"),
                ("Results", "Source"),
            ] {
                let item = format!(
                    "<Item><{side}><LocURI>{uri}</LocURI></{side}><Data>{CANARY}</Data></Item>"
                );
                let body = match verb {
                    "Results" => format!(
                        "<Results><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>3</CmdRef>{item}{plain}\
                         </Results>"
                    ),
                    _ => format!(
                        "<Atomic><CmdID>1</CmdID><{verb}><CmdID>2</CmdID>{item}</{verb}></Atomic>"
                    ),
                };
                for octets in messages("", &body) {
                    let what = format!("{verb} {uri}");
                    let shown = assert_hidden(&what, &octets, &[CANARY.as_bytes()]);
                    let length = format!("Data, {} octets, not shown", CANARY.len());
                    assert!(shown.contains(&length), "{what}: {shown}");
                    assert_eq!(shown.contains("shown-7"), verb == "Results", "{shown}");
                }
            }
        }
        // A tree as one value, and one that no decoder takes.
        for tree in [
            format!("&lt;MgmtTree&gt;&lt;Node&gt;&lt;Value&gt;{CANARY}&lt;/Value&gt;"),
            format!("<![CDATA[<wap-provisioningdoc><parm name='AAUTHSECRET' value='{CANARY}'/>]]>"),
        ] {
            let body = format!(
                "<Replace><CmdID>1</CmdID><Item><Target><LocURI>./DMAcc/acme</LocURI></Target><Data>\
                 {tree}</Data></Item></Replace>"
            );
            for octets in messages("", &body) {
                assert_hidden(&tree, &octets, &[CANARY.as_bytes()]);
            }
        }
    }

    #[test]
    fn bootstrap_documents_are_shown_without_secrets_pins_and_macs() {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bootstrap/valid");
        let mut judged = 0;
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let octets = match path.extension().and_then(|it| it.to_str()) {
                Some("xml") => fs::read(&path).unwrap(),
                Some("hex") => {
                    let text = fs::read_to_string(&path).unwrap();
                    let digits = text.lines().filter(|line| !line.starts_with('#'));
                    input::unhex(digits.collect::<Vec<_>>().join(" ").as_bytes()).unwrap()
                }
                _ => continue,
            };
            let accounts = crate::proto::bootstrap::read(&octets, Source::Factory).unwrap();
            let credentials: Vec<_> = accounts.iter().flat_map(|it| &it.credentials).collect();
            let secrets = credentials.iter().filter_map(|it| it.secret.as_ref());
            let secrets = secrets.map(|secret| secret.expose().as_bytes());
            let nonces = credentials.iter().filter_map(|it| it.nonce.as_deref());
            let secrets: Vec<_> = secrets.chain(nonces).filter(|it| it.len() > 3).collect();
            judged += secrets.len();
            let what = path.display().to_string();
            assert_hidden(&what, &octets, &secrets);
            if what.ends_with(".hex") {
                for profile in [Profile::Cp, Profile::Dm] {
                    let mac = *b"canary-of-mac-7f3a/x";
                    let method = security::Method::UserPin;
                    let sec = security::Security { method, mac: Some(mac) };
                    let mut datagram = Vec::new();
                    push::encode(&mut datagram, 7, profile, Some(&sec), &octets);
                    let hidden: Vec<_> = secrets.iter().copied().chain([&mac[..]]).collect();
                    let shown = assert_hidden(&what, &datagram, &hidden);
                    assert!(shown.contains("with a MAC"), "{shown}");
                }
            }
        }
        assert!(judged > 10, "{judged}");
    }
}

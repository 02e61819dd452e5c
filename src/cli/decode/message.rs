//! SyncML messages for people: an indented view, with codes explained.

use super::{Dump, gateway_address, is_secret, is_secret_node, server_list};
use crate::gateway::alert::{self, AlertType, WireProfile};
use crate::proto::syncml::{
    Alert, AlertCode, Command, Data, Encoding, Header, Item, Location, Message, Meta, Results,
    Status, StatusCode,
};
use std::io;

/// Decodes a message and writes it.
pub(super) fn dump(dump: &mut Dump<'_>, encoding: Encoding, octets: &[u8]) -> io::Result<()> {
    match encoding.decode(octets) {
        Ok(message) => whole(dump, &message),
        Err(error) => dump.violation(format_args!("not a SyncML message: {error}")),
    }
}

/// Decodes a command that stands alone, and writes it.
pub(super) fn command(dump: &mut Dump<'_>, text: &str) -> io::Result<()> {
    // The decoder knows commands in messages only; what stands around this one is not shown.
    let around = format!(
        "<SyncML><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID>\
         <MsgID>1</MsgID><Target><LocURI>-</LocURI></Target><Source><LocURI>-</LocURI></Source>\
         </SyncHdr><SyncBody>{text}</SyncBody></SyncML>"
    );
    match Encoding::Xml.decode(around.as_bytes()) {
        Ok(message) => nested(dump, &message.commands, &mut Vec::new()),
        Err(error) => dump.violation(format_args!("not a SyncML command: {error}")),
    }
}

/// Writes a decoded message.
fn whole(dump: &mut Dump<'_>, message: &Message<'_>) -> io::Result<()> {
    dump.line(format_args!("SyncML"))?;
    dump.depth += 1;
    header(dump, &message.header)?;
    dump.line(format_args!("SyncBody"))?;
    let mut ids = Vec::new();
    nested(dump, &message.commands, &mut ids)?;
    if message.is_final {
        dump.line(format_args!("  Final"))?;
    }
    dump.depth -= 1;
    Ok(())
}

fn header(dump: &mut Dump<'_>, header: &Header<'_>) -> io::Result<()> {
    dump.line(format_args!(
        "SyncHdr  {} {}, session {}, message {}",
        header.version_dtd, header.version_protocol, header.session_id, header.message_id
    ))?;
    if header.version_dtd != "1.2" {
        dump.violation(format_args!("VerDTD is not 1.2 but {}", header.version_dtd))?;
    }
    if header.version_protocol != "DM/1.2" {
        dump.violation(format_args!("VerProto is not DM/1.2 but {}", header.version_protocol))?;
    }
    let session = &*header.session_id;
    let is_number = (1..=4).contains(&session.len())
        && session.bytes().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_lowercase());
    if !is_number || session.starts_with('0') {
        dump.violation(format_args!("SessionID is not 1 to FFFF in hex: {session}"))?;
    }
    if header.message_id == 0 {
        dump.violation(format_args!("MsgID is 0; the first is 1"))?;
    }
    dump.depth += 1;
    location(dump, "Target", Some(&header.target))?;
    location(dump, "Source", Some(&header.source))?;
    if let Some(uri) = &header.response_uri {
        dump.line(format_args!("RespURI {}", dump.uri(uri)))?;
    }
    if let Some(credentials) = &header.credentials {
        let kind = credentials.meta.kind.as_deref().unwrap_or("of no type");
        let length = credentials.data.as_ref().map_or(0, length_of);
        dump.line(format_args!("Cred {kind}, {length} octets, not shown"))?;
    }
    meta(dump, &header.meta)?;
    dump.depth -= 1;
    Ok(())
}

fn nested<'m>(
    dump: &mut Dump<'_>,
    commands: &'m [Command<'_>],
    ids: &mut Vec<&'m str>,
) -> io::Result<()> {
    dump.depth += 1;
    for command in commands {
        let id = &**command.command_id();
        if id.is_empty() || id == "0" {
            dump.violation(format_args!("{}: CmdID is missing or 0", command.name()))?;
        } else if ids.contains(&id) {
            dump.violation(format_args!("{}: CmdID {id} is used twice", command.name()))?;
        }
        ids.push(id);
        match command {
            Command::Status(status) => status_line(dump, status)?,
            Command::Results(results) => results_lines(dump, results)?,
            Command::Alert(alert) => alert_lines(dump, alert)?,
            Command::Operation(operation) => {
                dump.line(format_args!("{} {id}", operation.verb.name()))?;
                inside(dump, &operation.meta, operation.correlator.as_deref())?;
                items(dump, &operation.items)?;
            }
            Command::Group(group) => {
                dump.line(format_args!("{} {id}", command.name()))?;
                inside(dump, &group.meta, None)?;
                nested(dump, &group.commands, ids)?;
            }
            Command::Other { name, .. } => {
                dump.line(format_args!("{name} {id}"))?;
                dump.violation(format_args!("{name} is no command of OMA DM"))?;
            }
        }
    }
    dump.depth -= 1;
    Ok(())
}

fn status_line(dump: &mut Dump<'_>, status: &Status<'_>) -> io::Result<()> {
    let Status { command_id, command, command_ref, message_ref, code, .. } = status;
    dump.line(format_args!(
        "Status {command_id}  {} ({}) for {command} {command_ref} of message {message_ref}",
        code.0,
        status_name(*code)
    ))?;
    dump.depth += 1;
    for uri in &status.target_refs {
        dump.line(format_args!("TargetRef {uri}"))?;
    }
    for uri in &status.source_refs {
        dump.line(format_args!("SourceRef {uri}"))?;
    }
    if let Some(challenge) = &status.challenge {
        dump.line(format_args!("Chal"))?;
        inside(dump, challenge, None)?;
    }
    dump.depth -= 1;
    items(dump, &status.items)
}

fn results_lines(dump: &mut Dump<'_>, results: &Results<'_>) -> io::Result<()> {
    let Results { command_id, command_ref, .. } = results;
    dump.line(format_args!("Results {command_id}  of command {command_ref}"))?;
    inside(dump, &results.meta, None)?;
    items(dump, &results.items)
}

fn alert_lines(dump: &mut Dump<'_>, alert: &Alert<'_>) -> io::Result<()> {
    let code = alert.code.unwrap_or_default();
    dump.line(format_args!("Alert {}  {} ({})", alert.command_id, code.0, alert_name(code)))?;
    if alert.code.is_none() {
        dump.violation(format_args!("the alert has no code"))?;
    }
    inside(dump, &alert.meta, alert.correlator.as_deref())?;
    if alert.meta != Meta::default() {
        dump.violation(format_args!("Meta stands on the command; an alert has it in the Item"))?;
    }
    if let Some(loose) = alert.loose.as_ref().filter(|_| !dump.masks) {
        dump.violation(format_args!("data directly below Alert, outside of an Item"))?;
        dump.depth += 1;
        data(dump, loose)?;
        dump.depth -= 1;
    }
    items(dump, &alert.items)?;
    dump.depth += 1;
    if let Some(payload) = alert::detection_payload(alert) {
        gateway_address(dump, payload, true)?;
    }
    if code == AlertCode::GENERIC {
        for item in &alert.items {
            kind_line(dump, item.meta.kind.as_deref().or(alert.meta.kind.as_deref()))?;
        }
    }
    for found in alert::find(alert) {
        match (found.kind, found.payload) {
            (AlertType::BootstrappedDmsList, Some(payload)) => server_list(dump, payload)?,
            (AlertType::AssociatedGateway, Some(payload)) => {
                gateway_address(dump, payload, false)?;
            }
            (AlertType::BootstrappedDmsList | AlertType::AssociatedGateway, None) => {
                dump.violation(format_args!("the alert has no payload"))?;
            }
            _ => {}
        }
    }
    dump.depth -= 1;
    Ok(())
}

/// Explains the type of a generic alert.
fn kind_line(dump: &mut Dump<'_>, kind: Option<&str>) -> io::Result<()> {
    let Some(kind) = kind else {
        return dump.violation(format_args!("generic alert without a Type"));
    };
    if kind.trim() != kind {
        dump.violation(format_args!("white space around the Type"))?;
    }
    match (AlertType::of(kind), alert::profile_of(kind)) {
        (Some(known), Some(WireProfile::Registered)) => {
            dump.line(format_args!("this is {}", explained(known)))
        }
        (Some(known), _) => {
            dump.line(format_args!("this is {}", explained(known)))?;
            let registered = known.urn(WireProfile::Registered);
            dump.violation(format_args!("draft Type; registered is {registered}"))
        }
        (None, Some(_)) => dump.violation(format_args!("no such GwMO alert is registered")),
        (None, None) => Ok(()),
    }
}

fn items(dump: &mut Dump<'_>, items: &[Item<'_>]) -> io::Result<()> {
    dump.depth += 1;
    for item in items {
        dump.line(format_args!("Item"))?;
        dump.depth += 1;
        location(dump, "Target", item.target.as_ref())?;
        location(dump, "Source", item.source.as_ref())?;
        meta(dump, &item.meta)?;
        if let Some(content) = &item.data {
            let of = [&item.target, &item.source];
            let named = of.into_iter().flatten().any(|location| is_secret_node(&location.uri));
            if dump.masks && (named || hides(content)) {
                dump.line(format_args!("Data, {} octets, not shown", length_of(content)))?;
            } else {
                data(dump, content)?;
            }
        }
        if item.more_data {
            dump.line(format_args!("MoreData"))?;
        }
        dump.depth -= 1;
    }
    dump.depth -= 1;
    Ok(())
}

/// The Meta and Correlator of a command.
fn inside(dump: &mut Dump<'_>, of: &Meta<'_>, correlator: Option<&str>) -> io::Result<()> {
    dump.depth += 1;
    if let Some(correlator) = correlator {
        dump.line(format_args!("Correlator {correlator}"))?;
    }
    meta(dump, of)?;
    dump.depth -= 1;
    Ok(())
}

fn location(dump: &mut Dump<'_>, name: &str, of: Option<&Location<'_>>) -> io::Result<()> {
    let Some(Location { uri, name: user }) = of else { return Ok(()) };
    let uri = dump.uri(uri);
    match user {
        Some(user) => dump.line(format_args!("{name} {uri}, LocName {user}"))?,
        None => dump.line(format_args!("{name} {uri}"))?,
    }
    dump.device_id(uri)
}

fn meta(dump: &mut Dump<'_>, meta: &Meta<'_>) -> io::Result<()> {
    let mut parts = Vec::new();
    let texts = [
        ("Type", &meta.kind),
        ("Format", &meta.format),
        ("Mark", &meta.mark),
        ("NextNonce", &meta.next_nonce),
    ];
    for (name, text) in texts {
        let masks = dump.masks && name == "NextNonce";
        parts.extend(text.as_ref().map(|text| match masks {
            true => format!("{name} not shown"),
            false => format!("{name} {}", text.trim()),
        }));
    }
    let numbers = [
        ("Size", meta.size),
        ("MaxMsgSize", meta.max_message_size),
        ("MaxObjSize", meta.max_object_size),
    ];
    for (name, number) in numbers {
        parts.extend(number.map(|number| format!("{name} {number}")));
    }
    if !parts.is_empty() {
        dump.line(format_args!("Meta {}", parts.join(", ")))?;
    }
    if meta.format.as_ref().is_some_and(|format| format.contains('/')) {
        dump.violation(format_args!("Format holds a MIME type; it takes chr, xml, bin, int, …"))?;
    }
    Ok(())
}

fn data(dump: &mut Dump<'_>, data: &Data<'_>) -> io::Result<()> {
    match data {
        Data::Text(text) | Data::Markup(text) if text.trim().contains('\n') => {
            dump.line(format_args!("Data, {} octets", text.len()))?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                dump.line(format_args!("| {line}"))?;
            }
            Ok(())
        }
        Data::Text(text) | Data::Markup(text) => dump.line(format_args!("Data {}", text.trim())),
        Data::Binary(octets) => {
            dump.line(format_args!("Data, {} octets", octets.len()))?;
            dump.hex(octets)
        }
    }
}

/// Whether a value may hold a secret: a document of accounts, or what is written like one.
fn hides(data: &Data<'_>) -> bool {
    match data {
        Data::Text(text) | Data::Markup(text) => {
            text.contains("MgmtTree") || text.contains("wap-provisioningdoc") || is_secret(text)
        }
        Data::Binary(_) => true,
    }
}

fn length_of(data: &Data<'_>) -> usize {
    match data {
        Data::Text(text) | Data::Markup(text) => text.len(),
        Data::Binary(octets) => octets.len(),
    }
}

fn explained(kind: AlertType) -> &'static str {
    match kind {
        AlertType::BootstrappedDmsList => "BootstrappedDMSList: the servers the device knows",
        AlertType::AssociatedGateway => "AssociatedGateway: where the device's gateway is",
        AlertType::DeviceAttached => "deviceattached: the gateway sees a new device",
        AlertType::DeviceDetached => "devicedetached: the gateway lost a device",
        AlertType::ResultAggregation => "resultaggregation: what a fan-out gave",
        AlertType::CompletionStatus => "completionstatus: a fan-out has ended",
        AlertType::ImageReady => "imageready: the gateway holds an image",
    }
}

fn alert_name(code: AlertCode) -> &'static str {
    match code.0 {
        1100 => "display",
        1101 => "confirm or reject",
        1102 => "text input",
        1103 => "single choice",
        1104 => "multiple choice",
        1200 => "session asked for by the server",
        1201 => "session by the client's own will",
        1222 => "next message, please",
        1223 => "session abort",
        1224 => "client event",
        1225 => "no end of data",
        1226 => "generic alert",
        1230 => "Device Detection Alert",
        _ => "unknown",
    }
}

fn status_name(code: StatusCode) -> &'static str {
    match code.0 {
        101 => "in progress",
        200 => "done",
        202 => "accepted for processing",
        212 => "authenticated for the session",
        213 => "chunk stored",
        214 => "cancelled by the user",
        215 => "not executed",
        216 => "rolled back",
        304 => "not modified, or the user said no",
        400 => "bad request",
        401 => "wrong credentials",
        403 => "forbidden",
        404 => "not found",
        405 => "not allowed on this node",
        406 => "optional feature not supported",
        407 => "credentials missing",
        408 => "timeout",
        412 => "incomplete command",
        413 => "too large",
        414 => "URI too long",
        415 => "type or format not supported",
        417 => "retry later",
        418 => "exists already",
        420 => "device full",
        424 => "size mismatch",
        425 => "permission denied by the ACL",
        500 => "failed",
        501 => "command not implemented",
        503 => "busy",
        505 => "DTD version not supported",
        507 => "atomic failed",
        511 => "server failure",
        513 => "protocol version not supported",
        516 => "rollback of an atomic failed",
        517 => "reply of an atomic too large",
        _ if code.is_success() => "success",
        _ => "failure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_with_its_codes_explained_and_its_flaws_marked() {
        let servers = [alert::ServerId::new("http://one.example").unwrap()];
        let mut list = alert::bootstrapped_dms_list(
            &servers,
            "mac:01-ab-34-ef-69-0c",
            "g",
            WireProfile::Draft,
        );
        list.command_id = "2".into();
        let detection = alert::device_detection(Some("2001:db8::1"), true, WireProfile::Draft);
        let status = Status { command_id: "1".into(), code: StatusCode(212), ..Status::default() };
        let message = Message {
            header: Header {
                version_dtd: "1.2".into(),
                version_protocol: "DM/1.1".into(),
                session_id: "1A".into(),
                message_id: 1,
                ..Header::default()
            },
            commands: vec![
                Command::Status(status),
                Command::Alert(list),
                Command::Alert(detection),
            ],
            is_final: true,
        };
        let mut out = Vec::new();
        let mut target = Dump { out: &mut out, depth: 0, is_clean: true, masks: false };
        whole(&mut target, &message).unwrap();
        assert!(!target.is_clean);
        let shown = String::from_utf8(out).unwrap();
        for expected in [
            "Status 1  212 (authenticated for the session)",
            "Alert 2  1226 (generic alert)",
            "this is BootstrappedDMSList",
            "http://one.example",
            "gateway address 2001:db8::1",
            "Share true: servers may be told",
            "! VerProto is not DM/1.2",
            "! mac:01-ab-34-ef-69-0c: multicast bit set",
            "! draft Type",
            "! Format holds a MIME type",
            "! stray --",
            "! white space around a value",
            "! Alert: CmdID is missing",
            "! data directly below Alert",
            "! Share is written in capitals",
        ] {
            assert!(shown.contains(expected), "{expected} is not in\n{shown}");
        }
    }
}

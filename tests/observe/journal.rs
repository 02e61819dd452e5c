//! The log: what the journal is sent, what stands on stderr, and how much of it.

use crate::live::{Live, PROGRAM, left_out, text};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

const DEVICE: &str = "IMEI:490154203237518";

/// A name that tries to be more. One with a blank or an end of line is no identity and is refused
/// before.
const FORGER: &str = "IMEI:4901\"GW_FORGED=1=<script>";
/// A push that tries it with an end of line.
const FORGED: &str = "urn:dms:1\nGW_FORGED=1\nPRIORITY=0";

#[test]
fn events_go_to_the_journal_with_fields_that_nobody_can_forge() {
    let mut live = Live::new(4, "");
    let place = live.path().join("journal");
    fs::create_dir(&place).unwrap();
    let socket = UnixDatagram::bind(place.join("socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // In a mount namespace of its own the test's socket is the journal's.
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                  mount --bind \"$1\" /run/systemd/journal && shift && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, "sh"]).arg(&place);
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "sh", "-c", script, "sh"]).arg(&place).arg("true");
    if !probe.output().is_ok_and(|output| output.status.success()) {
        return left_out("journal", "unshare --mount is not allowed");
    }
    // The daemon takes stderr for the journal's by its device and inode.
    let log = fs::File::create(live.path().join("log")).unwrap();
    let stream = log.metadata().unwrap();
    let stream = format!("{}:{}", stream.st_dev(), stream.st_ino());
    unshare.arg(PROGRAM).args(["run", "--config"]).arg(live.config());
    unshare.env("JOURNAL_STREAM", stream);
    live.run(unshare);
    live.session(20, DEVICE, &["com.example.dms"]);
    live.session(21, FORGER, &["com.example.dms"]);
    live.push(FORGED, DEVICE, 9);
    for session in 0..5 {
        live.push("com.example.stranger", DEVICE, session);
    }
    live.until("the pushes came", |live| live.json(&["status"])["counters"]["pushes"] == 6);

    let mut entries = Vec::new();
    let mut datagram = [0; 65_536];
    while let Ok(length) = socket.recv(&mut datagram) {
        entries.push(fields(&datagram[..length]));
    }
    assert!(entries.iter().all(|it| it["SYSLOG_IDENTIFIER"] == "dm-gateway"));
    assert!(entries.iter().any(|it| it["MESSAGE"].starts_with("ready: ")), "{entries:#?}");
    let of = |event: &str, device: &str| {
        let is = |it: &&HashMap<String, String>| {
            it.get("GW_EVENT").is_some_and(|it| it == event)
                && it.get("GW_DEVICE").is_none_or(|it| it == device)
        };
        entries.iter().filter(is).collect::<Vec<_>>()
    };
    let [mapped] = of("mapped", DEVICE)[..] else { panic!("{entries:#?}") };
    assert_eq!(mapped["MESSAGE_ID"], "405320079fe08b2686c24d2652a37e52");
    assert_eq!((&*mapped["GW_SERVER"], &*mapped["GW_LAN"]), ("com.example.dms", "depot"));
    assert_eq!(mapped["PRIORITY"], "6");
    // Five of a kind are one line.
    let refused = of("refused", DEVICE);
    let unknown = refused.iter().filter(|it| it["GW_REASON"] == "unknown-server");
    assert_eq!(unknown.count(), 1, "{refused:#?}");

    let [forged] = of("detected", FORGER)[..] else { panic!("{entries:#?}") };
    assert_eq!(forged["GW_DEVICE"], FORGER);
    assert_eq!(forged["PRIORITY"], "6");
    assert!(entries.iter().all(|it| !it.contains_key("GW_FORGED")), "{entries:#?}");
    assert_eq!(live.log(), "", "nothing is said twice");
}

#[test]
fn json_is_one_object_a_line_with_the_same_fields() {
    let live = Live::start(5, "[log]\nformat = \"json\"\nlevel = \"debug\"");
    live.session(20, FORGER, &["com.example.dms"]);
    live.until("it is mapped", |live| live.log().contains("\"mapped\""));
    let log = live.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mapped = lines.iter().find(|line| line["event"] == "mapped").unwrap();
    assert_eq!((&mapped["device"], &mapped["level"]), (&FORGER.into(), &"info".into()));
    assert!(lines.iter().any(|line| line["event"] == "session" && line["level"] == "debug"));
    assert!(lines.iter().all(|line| line["time"].as_f64() > Some(1.0)));
}

#[test]
fn what_is_wrong_has_its_code_wherever_it_is_told() {
    let live = Live::start(22, "[log]\nformat = \"json\"\n[events]\ndirectory = \"DIR/nowhere\"");
    let good = fs::read_to_string(live.config()).unwrap();
    fs::write(live.config(), format!("{good}[wan.x]\n")).unwrap();
    assert_eq!(live.ask(&["reload"]).status.code(), Some(1));
    fs::write(live.config(), good).unwrap();
    live.ask(&["reload"]);
    let line = |event: &str| {
        let log = live.log();
        let mut lines = log.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
        lines.find(|line| line["event"] == event).unwrap_or_default()
    };
    for (event, code, level) in [
        ("config-refused", "GW-CONF-07".into(), "error"),
        ("hook-failed", "GW-OBS-02".into(), "warn"),
        ("configured", Value::Null, "info"),
    ] {
        let line = line(event);
        assert_eq!((&line["code"], &line["level"]), (&code, &level.into()), "{}", live.log());
        assert_eq!(line["message_id"].as_str().map(str::len), Some(32));
    }
}

#[test]
fn the_environment_counts_before_the_configuration() {
    let mut live = Live::new(6, "[log]\nformat = \"json\"\nlevel = \"debug\"");
    let mut command = live.command(&["run"]);
    command.env("DM_GATEWAY_LOG", "info").env("DM_GATEWAY_LOG_FORMAT", "text");
    live.run(command);
    live.session(20, DEVICE, &["com.example.dms"]);
    live.until("it is mapped", |live| live.log().contains("mapped: "));
    let log = live.log();
    let line = format!(
        "INFO  {DEVICE} mapped: the policy is transparent: this server may wake \
                        this device (server com.example.dms, LAN depot)\n"
    );
    assert!(log.contains(&line), "{log}");
    assert!(!log.contains("DEBUG"), "{log}");
    let wrong = Live::new(6, "[log]\nformat = \"xml\"").ask(&["run"]);
    assert!(text(&wrong.stderr).contains("one of \"text\", \"json\", \"journal\""), "{wrong:?}");
}

/// Reads a datagram as journald does.
fn fields(mut octets: &[u8]) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    while !octets.is_empty() {
        let end = octets.iter().position(|octet| *octet == b'\n').unwrap();
        let (line, rest) = (&octets[..end], &octets[end + 1..]);
        let (name, value);
        if let Some(equals) = line.iter().position(|octet| *octet == b'=') {
            (name, value, octets) = (&line[..equals], &line[equals + 1..], rest);
        } else {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            (name, value, octets) = (line, &rest[8..8 + length], &rest[8 + length + 1..]);
            assert_eq!(rest[8 + length], b'\n');
        }
        assert!(fields.insert(text(name), text(value)).is_none(), "{}", text(name));
    }
    fields
}

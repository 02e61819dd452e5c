//! `trace`: the messages of one peer, in both directions, and none of their secrets.

use crate::live::{Live, text};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

const DEVICE: &str = "IMEI:490154203237518";
const OTHER: &str = "IMEI:350000000000017";
const SERVER: &str = "com.example.dms";

/// A trace that runs, and its lines.
fn begin(live: &Live, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = live.command(&["trace"]);
    let mut child =
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

#[test]
fn one_peers_messages_are_shown_without_secrets_until_the_number_is_up() {
    let live = Live::start(15, "");
    let (mut child, said) = begin(&live, &[DEVICE, "--messages", "4", "--format", "jsonl"]);
    let mut lines = said.lines().map(|line| line.unwrap());
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!((&first["monitor"], &first["trace"]), (&true.into(), &"begin".into()));
    live.session(21, OTHER, &[SERVER]);
    live.session(20, DEVICE, &[SERVER]);
    live.push(SERVER, OTHER, 1);
    live.push(SERVER, DEVICE, 2);
    live.push(SERVER, DEVICE, 3);
    let text: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success());
    let lines: Vec<Value> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| (line["trace"].as_str().unwrap(), line["carrier"].as_str().unwrap_or("")))
        .collect();
    let expected = [
        ("in", "device-http"),
        ("out", "device-http"),
        ("in", "push"),
        ("out", "push"),
        ("end", ""),
    ];
    assert_eq!(kinds, expected, "{text:#?}");
    let all = text.join("\n");
    for shown in ["BootstrappedDMSList", "Cred syncml:auth-basic, ", "session id 0002", SERVER] {
        assert!(all.contains(shown), "{shown}: {all}");
    }
    // The credentials, the digest in hexadecimal, and whatever belongs to others.
    for hidden in ["Y2FuYXJ5", "canary", "63616E617279", "63616e617279", OTHER] {
        assert!(!all.contains(hidden), "{hidden}: {all}");
    }
    assert!(lines.iter().all(|line| line["schema"] == 1));
}

#[test]
fn a_trace_ends_by_its_time_and_a_server_is_traced_like_a_device() {
    let live = Live::start(16, "");
    live.session(20, DEVICE, &[SERVER]);
    let (child, said) = begin(&live, &[SERVER, "--for", "4s"]);
    thread::sleep(Duration::from_millis(1500));
    live.push(SERVER, DEVICE, 7);
    let shown: Vec<String> = said.lines().map(|line| line.unwrap()).collect();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert!(text(&ended.stderr).ends_with("ended: the time is up\n"), "{ended:?}");
    let shown = shown.join("\n");
    assert!(shown.contains(" <- push 127.0.0.1:") && shown.contains(" -> push 127.6.16.20:2949"));
    assert!(shown.contains("X-Oma-GwMO: IMEI:490154203237518"), "{shown}");
    // A slip of the pen is told at once; who is to come yet may be meant.
    let slip = live.ask(&["trace", "com.exmaple.dms", "--for", "1s"]);
    let said = text(&slip.stderr);
    let told = "no end device and no DM server is known as com.exmaple.dms yet; did you mean \
                com.example.dms?\n";
    assert!(slip.status.success() && said.starts_with(told), "{said}");
    for (wrong, code) in [(&["x", "--for", "2d"][..], 64), (&["x", "--for", "0s"], 64), (&[], 64)] {
        let mut arguments = vec!["trace"];
        arguments.extend(wrong);
        assert_eq!(live.ask(&arguments).status.code(), Some(code), "{wrong:?}");
    }
}

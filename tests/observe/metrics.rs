//! OpenMetrics and health by HTTP, and `dm-gateway metrics`.

use crate::live::{Live, SOON, get, left_out, request, text};
use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const DEVICE: &str = "IMEI:490154203237518";

#[test]
fn a_listener_serves_metrics_and_health() {
    let live = Live::start(1, "[metrics]\nlisten = \"127.6.1.9:9464\"");
    live.session(20, DEVICE, &["com.example.dms"]);
    live.push("com.example.dms", DEVICE, 1);
    live.push("com.example.stranger", DEVICE, 2);
    live.until("both pushes came", |live| live.json(&["status"])["counters"]["pushes"] == 2);

    let connect = || TcpStream::connect("127.6.1.9:9464").unwrap();
    let (code, answer) = get(&mut connect(), "/metrics", "localhost");
    assert_eq!(code, 200, "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    for line in [
        "dm_gateway_pushes_received_total 2\n",
        "dm_gateway_pushes_forwarded_total 1\n",
        "dm_gateway_refusals_total{reason=\"unknown-server\"} 1\n",
        "dm_gateway_devices_attached 1\n",
        "dm_gateway_lan_up{lan=\"depot\"} 1\n",
        "dm_gateway_health{dm_gateway_health=\"healthy\"} 1\n",
        "# UNIT dm_gateway_push_sent_bytes bytes\n",
    ] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    assert!(answer.ends_with("# EOF\n") && !answer.contains(DEVICE));

    assert_eq!(get(&mut connect(), "/livez", "localhost").0, 200);
    let (code, answer) = get(&mut connect(), "/readyz", "127.6.1.9:9464");
    assert!(code == 200 && answer.ends_with("\r\n\r\nhealthy\n"), "{answer}");
    assert_eq!(get(&mut connect(), "/", "localhost").0, 404);
    let (code, answer) =
        request(&mut connect(), "POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(code == 405 && answer.contains("allow: GET, HEAD"), "{answer}");
    let (code, answer) =
        request(&mut connect(), "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(code == 200 && answer.ends_with("\r\n\r\n"), "{answer}");

    // However many come and say nothing, an honest scraper gets its turn.
    let silent: Vec<_> = (0..40).map(|_| connect()).collect();
    drop(silent);
    assert_eq!(get(&mut connect(), "/metrics", "localhost").0, 200);
    // A page from elsewhere whose name was bound to this address.
    let (code, answer) = get(&mut connect(), "/metrics", "evil.example:9464");
    assert!(code == 421 && !answer.contains("dm_gateway"), "{answer}");
}

#[test]
fn a_unix_socket_and_the_verb_tell_the_same() {
    let live = Live::start(2, "[metrics]\nlisten = \"unix:metrics.sock\"");
    let mut stream = UnixStream::connect(live.path().join("metrics.sock")).unwrap();
    let (code, answer) = get(&mut stream, "/metrics", "x");
    assert_eq!(code, 200, "{answer}");
    let said = live.ask(&["metrics"]);
    let names = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("# TYPE"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(names(&answer).len() > 40, "{answer}");
    assert_eq!(names(&answer), names(&text(&said.stdout)));
    judge(&text(&said.stdout), "openmetrics.parser");

    let file = live.path().join("dm-gateway.prom");
    fs::write(&file, "old").unwrap();
    let done = live.ask(&["metrics", "--output", file.to_str().unwrap()]);
    assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
    let written = fs::read_to_string(&file).unwrap();
    judge(&written, "parser");
    read_by_node_exporter(&live, &written);

    let nowhere = live.ask(&["metrics", "--output", "/nowhere/at/all.prom"]);
    let said = text(&nowhere.stderr);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(said.starts_with("error[GW-CLI-03]: cannot write") && said.contains("\n  try: "));
}

#[test]
fn metrics_for_more_than_this_machine_are_refused() {
    for (listen, why) in [
        ("0.0.0.0:9464", "which others than this machine reach"),
        ("192.0.2.1:9464", "which others than this machine reach"),
        ("[::]:9464", "which others than this machine reach"),
        ("unix:", "which is no path of a socket"),
        ("localhost", "not an address with a port"),
    ] {
        let live = Live::new(3, &format!("[metrics]\nlisten = \"{listen}\""));
        let refused = live.ask(&["run"]);
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains(why), "{listen}: {said}");
    }
}

/// A parser of Prometheus' own client library reads it.
fn judge(metrics: &str, parser: &str) {
    let Some(python) = python() else { return };
    let script = "\
import sys
from prometheus_client.PARSER import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
assert len({f.name for f in families}) == len(families)
assert all(f.documentation and f.type != 'unknown' for f in families)
print(len(families), sum(len(f.samples) for f in families))
";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), metrics).unwrap();
    let input = fs::File::open(file.path()).unwrap();
    let judged = Command::new(python)
        .args(["-c", &script.replace("PARSER", parser)])
        .stdin(input)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", text(&judged.stderr));
    println!("families and samples: {}", text(&judged.stdout));
}

/// The textfile collector of node exporter takes the file as a whole.
fn read_by_node_exporter(live: &Live, written: &str) {
    // It has no other types.
    for line in written.lines().filter(|line| line.starts_with("# TYPE")) {
        assert!(line.ends_with(" gauge") || line.ends_with(" counter"), "{line}");
    }
    let exporter = Command::new("prometheus-node-exporter")
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", live.path().display()))
        .arg("--web.listen-address=127.6.2.9:9465")
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut exporter) = exporter else {
        return left_out("metrics", "prometheus-node-exporter is missing");
    };
    let late = Instant::now() + SOON;
    let mut stream = loop {
        match TcpStream::connect("127.6.2.9:9465") {
            Ok(stream) => break stream,
            Err(_) => assert!(Instant::now() < late, "the exporter does not listen"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let head = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let (code, answer) = request(&mut stream, head);
    exporter.kill().unwrap();
    exporter.wait().unwrap();
    assert_eq!(code, 200, "{answer}");
    for line in ["node_textfile_scrape_error 0\n", "dm_gateway_devices_attached 0\n"] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    assert!(answer.contains("dm_gateway_info{version=") && answer.contains("dm_gateway_health{"));
}

/// A Python with `prometheus_client`, which is put below `target` if that can be done.
fn python() -> Option<PathBuf> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
    let python = home.join("bin/python3");
    let has = |python: &PathBuf| {
        let said = Command::new(python).args(["-c", "import prometheus_client"]).output();
        said.is_ok_and(|said| said.status.success())
    };
    if !has(&python) {
        let _ = Command::new("python3").args(["-m", "venv"]).arg(&home).output();
        let pip = ["-m", "pip", "install", "--quiet", "prometheus_client"];
        let _ = Command::new(&python).args(pip).output();
    }
    if has(&python) {
        return Some(python);
    }
    left_out("metrics", "no Python with prometheus_client");
    None
}

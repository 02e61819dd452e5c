//! What the real daemon and its commands print, judged by the JSON Schema files: by Python's
//! `jsonschema`, and by a check that no field is unknown. A schema that nothing real is judged by
//! fails the test.
//!
//! Without that package it is fetched into a virtual environment below `target`; where that does
//! not work either, the judge is left out by name and the check alone judges.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/schema.rs"]
mod schema;

use dm_gateway::proto::bootstrap::{Account, Address, Source, dm};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
const RADIO: &str = "IMEI:490154203237518";
const SERVER: &str = "com.example.dms";
const SOON: Duration = Duration::from_secs(60);

#[test]
fn what_the_daemon_and_its_commands_print_is_valid_by_the_schemas() {
    let bench = Bench::start();
    let mut documents = Vec::new();
    let mut judged = BTreeSet::new();
    let mut judge = |name: &str, text: &[u8]| {
        assert!(!text.is_empty(), "nothing to be judged by {name}");
        judged.insert(name.to_owned());
        for line in String::from_utf8_lossy(text).lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            schema::check(name, &document);
            documents.push(json!([schema::file(name), document]));
        }
    };
    for (arguments, code) in [
        (&["status"][..], 0),
        (&["devices"], 0),
        (&["devices", "show", RADIO], 0),
        (&["servers"], 0),
        (&["servers", "show", SERVER], 0),
        (&["map", "list"], 0),
        (&["map", "explain", SERVER, RADIO], 0),
        (&["map", "explain", "nobody", RADIO], 1),
        (&["tree"], 0),
        (&["decode", "0106"], 1),
        (&["config", "check"], 0),
        (&["config", "show"], 0),
        (&["reload"], 0),
        (&["reload", "--dry-run"], 0),
        (&["apply", "--dry-run", &bench.piece()], 0),
        (&["apply", &bench.piece()], 0),
        (&["confirm", "--dry-run"], 0),
        (&["confirm"], 0),
        (&["log-level", "debug", "--for", "5s"], 0),
        (&["log-level", "info", "--dry-run"], 0),
        (&["map", "remove", SERVER, RADIO, "--dry-run"], 0),
        (&["audit"], 0),
        (&["audit", "--verify"], 0),
        (&["check", "--list"], 0),
        (&["support-bundle", &bench.file("bundle.tar.gz")], 0),
        (&["backup", &bench.file("backup.jsonl")], 0),
        (&["factory-reset", "--dry-run"], 0),
    ] {
        let ended = bench.ask(&[arguments, &["--json"]].concat());
        assert_eq!(ended.status.code(), Some(code), "{arguments:?} {ended:?}");
        judge(schema::of_command(arguments).unwrap(), &ended.stdout);
    }
    for (arguments, row) in [
        (&["devices"][..], "devices-row"),
        (&["servers"], "servers-row"),
        (&["map", "list"], "mappings-row"),
        (&["tree", "./DevInfo"], "tree-row"),
        (&["audit"], "audit-row"),
        (&["check", "GW-CONF-01"], "check-row"),
    ] {
        let ended = bench.ask(&[arguments, &["--format", "jsonl"]].concat());
        assert!(!ended.stdout.is_empty(), "{arguments:?}");
        judge(row, &ended.stdout);
    }
    for refused in [&["devices", "show", "nobody"][..], &["tree", "./Nowhere"], &["session", "no"]]
    {
        let ended = bench.ask(&[refused, &["--json"]].concat());
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        judge("error", &ended.stdout);
    }
    let ended = bench.ask(&["bootstrap", "apply", &bench.account(), "--json"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    judge("done", &ended.stdout);

    // On this machine something may well be amiss.
    judge("check", &bench.ask(&["check", "--json"]).stdout);
    let doc = Command::new(PROGRAM).args(["config", "doc", "--json"]).output().unwrap();
    judge("config-doc", &doc.stdout);
    // The account of the server leads to a port that nobody listens on.
    let tested =
        String::from_utf8(bench.ask(&["servers", "test", SERVER, "--json"]).stdout).unwrap();
    let (steps, error): (Vec<_>, Vec<_>) =
        tested.split_inclusive('\n').partition(|line| line.contains("\"step\":"));
    assert!(steps.len() > 1, "{tested}");
    judge("step", steps.concat().as_bytes());
    if !error.is_empty() {
        judge("error", error.concat().as_bytes());
    }
    for (name, request) in [
        ("in-force", r#"{"request":"configuration"}"#),
        ("refused", r#"{"request":"device","device":"nobody"}"#),
        ("fault", "nonsense"),
    ] {
        judge(name, bench.says(request).as_bytes());
    }
    let trace = bench.trace();
    let (begun, messages) = trace.split_once('\n').unwrap();
    judge("trace", begun.as_bytes());
    assert!(messages.lines().count() > 1, "{trace}");
    judge("trace", messages.as_bytes());

    let events = bench.events();
    let (watching, events) = events.split_once('\n').unwrap();
    judge("watching", watching.as_bytes());
    assert!(events.lines().count() > 1, "{events}");
    judge("event", events.as_bytes());
    let all = fs::read_dir(schema::file("").parent().unwrap()).unwrap();
    let all = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let all: BTreeSet<_> =
        all.filter_map(|name| name.strip_suffix(".schema.json").map(str::to_owned)).collect();
    assert_eq!(all, judged, "every schema is a judge of something real");
    python(&bench.path("documents.json"), &documents);
}

/// Has Python judge.
fn python(path: &Path, documents: &[Value]) {
    let Some(python) = interpreter() else {
        assert!(
            std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"),
            "no Python jsonschema"
        );
        return println!("left out: Python's jsonschema not installed");
    };
    fs::write(path, serde_json::to_string(documents).unwrap()).unwrap();
    let script = "
import json, sys
from jsonschema import Draft202012Validator as Validator
checked = set()
for path, document in json.load(open(sys.argv[1])):
    schema = json.load(open(path))
    if path not in checked:
        Validator.check_schema(schema)
        checked.add(path)
    Validator(schema).validate(document)
    broken = {key: value for key, value in document.items() if key != 'schema'}
    assert list(Validator(schema).iter_errors(broken)), 'anything fits ' + path
print(len(checked))
";
    let ended = Command::new(python).args(["-c", script]).arg(path).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let checked: usize = String::from_utf8_lossy(&ended.stdout).trim().parse().unwrap();
    let schemas = documents.iter().map(|it| it[0].as_str()).collect::<BTreeSet<_>>();
    assert_eq!(checked, schemas.len());
}

/// A Python that has the package, of the system or of `target`.
fn interpreter() -> Option<PathBuf> {
    let works = |python: &Path| {
        let asked = Command::new(python).args(["-c", "import jsonschema"]).output();
        asked.is_ok_and(|it| it.status.success())
    };
    let system = PathBuf::from("python3");
    if works(&system) {
        return Some(system);
    }
    let target = Path::new(PROGRAM).ancestors().nth(2)?.join("judges/python");
    let own = target.join("bin/python");
    if !works(&own) {
        let made = Command::new(system).args(["-m", "venv"]).arg(&target).output().ok()?;
        made.status.success().then_some(())?;
        let mut install = Command::new("timeout");
        install.arg("120").arg(&own).args(["-m", "pip", "install", "-q", "jsonschema"]);
        install.output().ok()?;
    }
    works(&own).then_some(own)
}

/// A daemon on 127.6.0.x, and a simulated device that has named a server.
struct Bench {
    directory: tempfile::TempDir,
    children: Vec<Child>,
}

impl Bench {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = "
[gateway]
id = \"gateway.test\"
state-dir = \"state\"

[wan]
push-listen = \"127.6.0.2:2948\"

[[lan]]
name = \"radios\"
interface = \"lo\"
listen = \"127.6.0.1:8080\"
policy = \"transparent\"
verify = \"none\"

[bootstrap]
directories = [\"none\"]

[control]
socket = \"control.sock\"
";
        let mut bench = Self { directory, children: Vec::new() };
        fs::write(bench.path("gateway.toml"), text).unwrap();
        bench.spawn(&["run"]);
        bench.until("it runs", |bench| bench.ask(&["status"]).status.code() == Some(0));
        let server = format!("{SERVER}=http://127.6.0.9:9/dm");
        bench.spawn(&[
            "simulate",
            "device",
            "--id",
            RADIO,
            "--listen",
            "127.6.0.7:2948",
            "--gateway",
            "http://127.6.0.1:8080/dm",
            "--server",
            &server,
            "--open-session",
        ]);
        let explain = ["map", "explain", SERVER, RADIO];
        bench.until("it is mapped", |bench| bench.ask(&explain).status.code() == Some(0));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn spawn(&mut self, arguments: &[&str]) {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if arguments == ["run"] {
            command.arg("--config").arg(self.path("gateway.toml"));
        }
        self.children.push(command.spawn().unwrap());
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null());
        if arguments[0] != "decode" {
            command.arg("--config").arg(self.path("gateway.toml"));
        }
        command.output().unwrap()
    }

    /// The path of a file that a command writes.
    fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A piece of configuration that changes something.
    fn piece(&self) -> String {
        fs::write(self.path("piece.toml"), "[gateway]\npush-rate = 3\n").unwrap();
        self.file("piece.toml")
    }

    /// The first line that the daemon answers a line with.
    fn says(&self, line: &str) -> String {
        let mut socket = UnixStream::connect(self.path("control.sock")).unwrap();
        writeln!(socket, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        answer
    }

    /// What `trace --json` tells of a push for a server.
    fn trace(&self) -> String {
        let told = self.path("trace");
        let mut command = Command::new(PROGRAM);
        command.args(["trace", SERVER, "--messages", "1", "--for", "60s", "--json", "--config"]);
        command.arg(self.path("gateway.toml"));
        command.stdout(fs::File::create(&told).unwrap()).stderr(Stdio::null());
        let mut trace = command.spawn().unwrap();
        let read = || fs::read_to_string(&told).unwrap();
        self.until("it watches", |_| read().contains("monitor"));
        // It is looked up from then on.
        self.until("it is told", |bench| {
            bench.push();
            read().contains("\"end\"")
        });
        assert!(trace.wait().unwrap().success());
        read()
    }

    /// A server pushes for the device.
    fn push(&self) {
        let push = ["simulate", "server", "--id", SERVER, "--listen", "127.6.0.9:0", "--push-to"];
        let to = ["127.6.0.2:2948", "--device", RADIO, "--wait", "push-sent", "--timeout", "20"];
        let pushed = Command::new(PROGRAM).args(push).args(to).output().unwrap();
        assert!(pushed.status.success(), "{pushed:?}");
    }

    /// A bootstrap document.
    fn account(&self) -> String {
        let path = self.path("account.xml");
        let mut account = Account::new(SERVER, Source::Factory);
        account.addresses = vec![Address::uri("https://127.6.0.9:9/dm")];
        let text = dm::write(&account, "gateway.test", dm::TreeForm::Document);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// What `monitor --json` tells while a server pushes.
    fn events(&self) -> String {
        let told = self.path("events");
        let mut command = Command::new(PROGRAM);
        command.args(["monitor", "--json", "--config"]).arg(self.path("gateway.toml"));
        command.stdout(fs::File::create(&told).unwrap()).stderr(Stdio::null());
        let mut monitor = command.spawn().unwrap();
        let read = || fs::read_to_string(&told).unwrap();
        self.until("it watches", |_| read().contains("monitor"));
        self.push();
        self.until("it is told", |_| {
            ["forwarded", "refused", "held"].iter().any(|event| read().contains(event))
                && read().ends_with('\n')
                && read().lines().count() > 2
        });
        monitor.kill().unwrap();
        monitor.wait().unwrap();
        let told = read();
        told[..=told.rfind('\n').unwrap()].to_owned()
    }

    fn until(&self, what: &str, mut is: impl FnMut(&Self) -> bool) {
        let late = Instant::now() + SOON;
        while !is(self) {
            assert!(Instant::now() < late, "{what}: not in time");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

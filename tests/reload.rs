//! The real daemon reads its configuration anew: all of it or nothing, by command and by SIGHUP;
//! a configuration on trial is taken back; the watchdog is fed by progress only.
//!
//! A store that hangs is made with a shared library, built by `cc`, whose `fsync` waits as long as
//! a file is there.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "common/schema.rs"]
mod schema;

use serde_json::Value;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
/// The machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// A directory with a configuration on loopback, and a daemon.
struct Bench {
    directory: tempfile::TempDir,
    net: u8,
    daemon: Option<Child>,
}

impl Bench {
    /// Uses the addresses 127.43.`net`.x.
    fn new(net: u8) -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap(), net, daemon: None };
        bench.configure("");
        bench
    }

    fn start(net: u8) -> Self {
        let mut bench = Self::new(net);
        bench.run(&[]);
        bench
    }

    /// Writes the main file, with these lines at its end.
    fn configure(&self, more: &str) {
        let net = self.net;
        let text = format!(
            "[gateway]\nid = \"gateway.test\"\nstate-dir = \"state\"\n\
             public-address = \"gateway.example\"\n\
             [[lan]]\nname = \"crew\"\ninterface = \"lo\"\nlisten = \"127.43.{net}.1:8080\"\n\
             verify = \"none\"\n[wan]\npush-listen = \"127.43.{net}.2:2948\"\n{more}\n"
        );
        self.file("gateway.toml", &text);
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(verb).arg("--config").arg(self.path("gateway.toml"));
        command.env("DM_GATEWAY_VENDOR", self.path("vendor")).env_remove("DM_GATEWAY_LOG");
        command
    }

    fn run(&mut self, environment: &[(&str, &str)]) {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(&["run"]);
        command.envs(environment.iter().copied()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        self.until("it is up", |bench| bench.ask(&["status"]).status.code() != Some(3));
    }

    fn ask(&self, verb: &[&str]) -> Output {
        self.command(verb).output().unwrap()
    }

    /// What a command prints, with its errors, and its exit code.
    fn say(&self, verb: &[&str]) -> (String, i32) {
        let output = self.ask(verb);
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).unwrap(), output.status.code().unwrap())
    }

    /// The same of a command that wants no configuration.
    fn say_alone(&self, verb: &[&str]) -> (String, i32) {
        let output = Command::new(PROGRAM).args(verb).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).unwrap(), output.status.code().unwrap())
    }

    /// What a command prints as JSON, which is as its schema says.
    fn json(&self, verb: &[&str]) -> Value {
        let output = self.ask(&[verb, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let document = serde_json::from_str(&text);
        let document = document.unwrap_or_else(|error| panic!("{error}: {text}"));
        schema::check(schema::of_command(verb).unwrap(), &document);
        document
    }

    /// The value of a key that is in force, and its origin.
    fn value(&self, key: &str) -> (Value, String) {
        let shown = self.json(&["config", "show", key]);
        assert_eq!(shown["running"], true, "{shown}");
        let value = &shown["values"][0];
        (value["value"].clone(), value["origin"].as_str().unwrap_or_default().to_owned())
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let late = Instant::now() + SOON;
        while !is_so(self) {
            assert!(Instant::now() < late, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        let id = self.daemon.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn end(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Whether somebody takes pushes at an address.
    fn takes_pushes(&self, host: u8) -> bool {
        UdpSocket::bind(format!("127.43.{}.{host}:2948", self.net)).is_err()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.end();
    }
}

// --- Reload -----------------------------------------------------------------------------------

#[test]
fn a_reload_tells_what_counts_now_and_what_waits_for_a_restart() {
    let bench = Bench::start(1);
    assert_eq!(bench.json(&["reload"])["applied"], Value::Array(Vec::new()));
    bench.configure(
        "[[device]]\nid = \"IMEI:1\"\naddress = \"127.43.1.7\"\n[log]\nlevel = \"debug\"\n\
         [wan.http-push]\n",
    );
    bench.file(
        "conf.d/10-rates.toml",
        "[gateway]\npush-rate = 3\n[[lan]]\nname = \"crew\"\npolicy = \"transparent\"\n",
    );
    let reloaded = bench.json(&["reload"]);
    let applied = ["device.IMEI:1 (new)", "gateway.push-rate", "lan.crew.policy", "log.level"];
    assert_eq!(reloaded["applied"], serde_json::json!(applied), "{reloaded}");
    assert_eq!(reloaded["restart"], serde_json::json!([]));
    assert!(bench.log().contains("IMEI:1 detected"), "{}", bench.log());
    assert_eq!(bench.value("gateway.push-rate"), (3.into(), "drop-in".into()));
    assert_eq!(bench.json(&["status"])["lans"][0]["policy"], "transparent");

    // A section waits as a whole.
    bench.file(
        "conf.d/20-wan.toml",
        "[wan]\npush-listen = \"127.43.1.3:2948\"\ntrusted-sources = \"10.0.0.0/8\"\n",
    );
    let (text, code) = bench.say(&["reload"]);
    assert_eq!(code, 0, "{text}");
    for line in [
        "waits for a restart: wan.push-listen\n",
        "waits for a restart: wan.trusted-sources\n",
        "try: dm-gateway reload --restart",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(bench.value("wan.trusted-sources").1, "default");
    assert_eq!(bench.json(&["status"])["configuration"]["restart"][0], "wan.push-listen");
    assert!(bench.takes_pushes(2) && !bench.takes_pushes(3));
    let (text, _) = bench.say(&["reload", "--restart"]);
    assert!(text.contains("the daemon starts anew now"), "{text}");
    bench.until("it has started anew", |bench| bench.takes_pushes(3));
    bench.until("it answers", |bench| bench.ask(&["status"]).status.code() == Some(0));
    assert_eq!(bench.value("wan.trusted-sources").1, "drop-in");
    assert!(!bench.takes_pushes(2));
}

#[test]
fn a_dry_run_of_a_reload_tells_what_it_would_do_and_does_nothing() {
    let bench = Bench::start(14);
    assert!(bench.say(&["reload", "--dry-run"]).0.starts_with("nothing would change\n"));
    bench.file("conf.d/10.toml", "[gateway]\npush-rate = 3\n[log]\nlevel = \"debug\"\n");
    bench.file("conf.d/20.toml", "[wan]\npush-listen = \"127.43.14.3:2948\"\n");
    let dry = bench.json(&["reload", "--restart", "--dry-run"]);
    assert_eq!(dry["applied"], serde_json::json!(["gateway.push-rate", "log.level"]), "{dry}");
    assert_eq!(dry["restart"], serde_json::json!(["wan.push-listen"]), "{dry}");
    assert_eq!((&dry["seconds"], &dry["restarts"]), (&0.into(), &false.into()), "{dry}");
    let (text, code) = bench.say(&["reload", "--dry-run"]);
    let expected = "\
- gateway.push-rate = 1
+ gateway.push-rate = 3
- log.level = \"info\"
+ log.level = \"debug\"
- wan.push-listen = \"127.43.14.2:2948\"
+ wan.push-listen = \"127.43.14.3:2948\"
would be applied: gateway.push-rate
would be applied: log.level
would wait for a restart: wan.push-listen
nothing is applied: this was a dry run
";
    assert_eq!((text.as_str(), code), (expected, 0));
    // A mistake is told, and nothing remembers it.
    bench.file("conf.d/10.toml", "[gateway]\npush-rte = 3\n");
    let (text, code) = bench.say(&["reload", "--dry-run"]);
    assert!(code == 1 && text.contains("10.toml line 2: unknown key `push-rte`"), "{text}");
    assert_eq!(bench.say(&["status"]).1, 0);
    assert_eq!(bench.value("gateway.push-rate").0, 1);
    assert!(bench.takes_pushes(2) && !bench.log().contains("read anew"), "{}", bench.log());
}

#[test]
fn a_mistake_anywhere_keeps_all_of_the_old_and_names_the_line() {
    let bench = Bench::start(2);
    bench.file("conf.d/10.toml", "[gateway]\npush-rate = 3\n");
    bench.file("conf.d/20.toml", "[[lan]]\nname = \"crew\"\n\npolcy = \"transparent\"\n");
    let (text, code) = bench.say(&["reload"]);
    assert_eq!(code, 1);
    assert!(text.contains("error[GW-CONF-07]: nothing is applied, the old"), "{text}");
    assert!(text.contains("conf.d/20.toml line 4: unknown key `polcy` in [[lan]]"), "{text}");
    assert!(text.contains("try: `policy`"), "{text}");
    assert_eq!(bench.value("gateway.push-rate"), (1.into(), "default".into()));
    // Whoever looks later is told, until it is mended.
    let (text, code) = bench.say(&["status"]);
    assert!(code == 1 && text.contains("20.toml line 4"), "{text}");
    bench.file("conf.d/20.toml", "");
    assert_eq!(bench.say(&["reload"]).1, 0);
    assert_eq!(bench.say(&["status"]).1, 0);
    assert_eq!(bench.value("gateway.push-rate").0, 3);
}

#[test]
fn sighup_is_a_reload() {
    let bench = Bench::start(3);
    bench.file("conf.d/10.toml", "[gateway]\npush-rate = 3\n");
    bench.signal("HUP");
    bench.until("it has read it", |bench| bench.value("gateway.push-rate").0 == 3);
    bench.file("conf.d/10.toml", "[gateway]\npush-rate = \"x\"\n");
    bench.signal("HUP");
    bench.until("it has refused it", |bench| bench.log().contains("the old one stays"));
    assert_eq!(bench.value("gateway.push-rate").0, 3);
}

/// The status line of an answer to a push over HTTP with this token.
fn push_with(address: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_token_that_cannot_be_read_any_more_opens_no_door() {
    let mut bench = Bench::new(4);
    let more = "http-push-listen = \"127.43.4.2:8081\"\n[wan.http-push]\ntoken-file = \"token\"\n";
    bench.configure(more);
    bench.file("token", "0123456789abcdef-one\n");
    bench.run(&[]);
    let push = |token: &str| push_with("127.43.4.2:8081", token);
    assert!(push("0123456789abcdef-one").contains("400"), "known, but no push");
    assert!(push("wrong").contains("403"));
    // Gone, empty, or not mentioned any more.
    fs::remove_file(bench.path("token")).unwrap();
    for (content, says) in [(None, "does not exist"), (Some("\n"), "is empty")] {
        if let Some(content) = content {
            bench.file("token", content);
        }
        let (text, code) = bench.say(&["reload"]);
        assert!(code == 1 && text.contains(says), "{text}");
        assert!(push("wrong").contains("403"));
        assert!(push("").contains("403"));
        assert!(push("0123456789abcdef-one").contains("400"));
    }
    bench.configure("http-push-listen = \"127.43.4.2:8081\"\n");
    let (text, code) = bench.say(&["reload"]);
    assert!(code == 1 && text.contains("would take pushes over HTTP from anybody"), "{text}");
    assert!(push("wrong").contains("403"));
    // Without the listener in the files, it still asks for its token until the restart.
    bench.configure("");
    let (text, code) = bench.say(&["reload"]);
    assert!(code == 0 && text.contains("waits for a restart: wan.http-push.token-file"), "{text}");
    assert!(push("wrong").contains("403"));
    // Another token in the same file counts at once.
    bench.configure(more);
    bench.file("token", "0123456789abcdef-two\n");
    let (text, _) = bench.say(&["reload"]);
    assert!(text.contains("applied: wan.http-push.token-file (its file)"), "{text}");
    assert!(push("0123456789abcdef-one").contains("403"));
    assert!(push("0123456789abcdef-two").contains("400"));
}

/// A certificate of this name, and its key.
fn certificate(name: &str, certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "30", "-subj", &format!("/CN={name}")])
        .args([Path::new("-keyout"), key, Path::new("-out"), certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// Whose certificate a listener shows.
fn shown_by(address: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address]).stdin(Stdio::null());
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
    subject.unwrap_or_default().replace(' ', "")
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload_and_its_key_may_be_a_credential() {
    if Command::new("openssl").arg("version").output().is_err() {
        assert!(std::env::var_os("DM_GATEWAY_REQUIRE_TOOLS").is_none(), "no openssl");
        return println!("left out: openssl not installed");
    }
    let mut bench = Bench::new(15);
    let listens = "127.43.15.2:8443";
    bench.configure(&format!(
        "http-push-listen = \"{listens}\"\n[wan.http-push]\ncertificate = \"push.pem\"\n\
         key = \"credential:push-key\"\ntoken-file = \"token\"\n[[server]]\nid = \"acme\"\n\
         client-certificate = \"push.pem\"\nclient-key = \"credential:push-key\"\n"
    ));
    bench.file("token", "0123456789abcdef-one\n");
    bench.file("credentials/README", "");
    let (pem, key) = (bench.path("push.pem"), bench.path("credentials/push-key"));
    certificate("one", &pem, &key);
    // Who is not the service takes it on trust; the service does not.
    let (text, code) = bench.say(&["config", "check"]);
    assert_eq!(code, 0, "{text}");
    let (text, code) = bench.say(&["run"]);
    assert!(
        code == 1 && text.contains("names a credential, and systemd handed over none"),
        "{text}"
    );
    bench.run(&[("CREDENTIALS_DIRECTORY", bench.path("credentials").to_str().unwrap())]);
    assert_eq!(shown_by(listens), "CN=one");

    // Half of a new pair is none: the old one is shown on.
    certificate("two", &pem, &bench.path("key-of-two"));
    let (text, code) = bench.say(&["reload"]);
    assert!(code == 1 && text.contains("is not the key of the certificate"), "{text}");
    assert_eq!(shown_by(listens), "CN=one");
    fs::rename(bench.path("key-of-two"), &key).unwrap();
    let reloaded = bench.json(&["reload"]);
    let applied = reloaded["applied"].as_array().unwrap();
    for key in ["wan.http-push.certificate", "wan.http-push.key", "server.acme.client-key"] {
        assert!(applied.contains(&format!("{key} (its file)").into()), "{reloaded}");
    }
    assert_eq!(reloaded["restart"], Value::Array(Vec::new()));
    assert_eq!(shown_by(listens), "CN=two");
}

#[test]
fn a_locked_key_is_not_overridden_and_show_tells_who_set_what() {
    let mut bench = Bench::new(5);
    bench.file(
        "vendor/10.toml",
        "[gateway]\nlocked = [\"lan.*.policy\"]\ntrigger-expiry = \"5m\"\n[[lan]]\nname = \"crew\"\npolicy = \"bootstrap\"\n",
    );
    bench.file("conf.d/10.toml", "[gateway]\ntrigger-expiry = \"9m\"\n");
    bench.run(&[]);
    bench.file("conf.d/20.toml", "[[lan]]\nname = \"crew\"\npolicy = \"transparent\"\n");
    let (text, code) = bench.say(&["reload"]);
    let locked = "`policy` in [[lan]] is locked by";
    assert!(code == 1 && text.contains(locked) && text.contains("vendor/10.toml"), "{text}");
    let (text, _) = bench.say(&["config", "show", "--origin"]);
    for part in [
        "policy = \"bootstrap\"\n    vendor: ",
        ", locked by ",
        "trigger-expiry = \"9m\"\n    drop-in: ",
        "    overrides \"5m\" of vendor: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (text, _) = bench.say(&["tree", "./GwConfig/LAN/crew"]);
    assert!(text.contains("1 (locked)"), "{text}");
}

/// `config check` of a main file, without a daemon.
#[test]
fn a_check_tells_every_mistake_at_once_and_no_consequence_of_one() {
    let bench = Bench::new(12);
    // What the service's user may read is another test's.
    let errors = || -> Vec<Value> {
        let checked = bench.json(&["config", "check"]);
        let errors = checked["errors"].as_array().unwrap().iter();
        errors
            .filter(|error| error["code"] != "GW-FILE-01" || !error["line"].is_null())
            .cloned()
            .collect()
    };
    assert_eq!(errors(), [Value::Null; 0]);
    bench.configure(
        "trusted-sources = \"10.0.0.0/33\"\nhttp-push-listen = \"127.43.12.2:8081\"\n\
         [wan.http-push]\ntoken-file = \"nope\"\n[[server]]\nid = \"x\"\ntrust = \"nope\"\n\
         client-key = \"nope\"\n[[device]]\nlan = \"crew\"\n[colour]\n",
    );
    bench.file(
        "conf.d/10.toml",
        "[gateway]\npush-rte = 1\n[[lan]]\nname = \"crew\"\npolicy = \"x\"\n",
    );
    bench.file("conf.d/20.toml", "[gateway]\nid = \"a\n");
    assert!(errors().iter().any(|error| error["code"] == "GW-CONF-03" && error["line"] == 2));
    bench.file("conf.d/20.toml", "");
    let said = errors();
    let said: Vec<_> = said
        .iter()
        .map(|error| {
            let file = error["file"].as_str().unwrap();
            let file = file.rsplit('/').next().unwrap();
            format!("{file}:{} {} {}", error["line"], error["code"], error["key"])
        })
        .map(|line| line.replace('"', ""))
        .collect();
    let mut sorted = said.clone();
    sorted.sort();
    let expected = [
        "10.toml:2 GW-CONF-04 null",
        "10.toml:5 GW-CONF-01 lan.crew.policy",
        "gateway.toml:12 GW-CONF-01 wan.trusted-sources",
        "gateway.toml:15 GW-FILE-01 wan.http-push.token-file",
        "gateway.toml:19 GW-CONF-01 server.x.client-key",
        "gateway.toml:20 GW-CONF-01 device..id",
        "gateway.toml:22 GW-CONF-04 null",
    ];
    assert_eq!(sorted, expected);
    let (text, code) = bench.say(&["config", "check"]);
    assert!(code == 1 && text.contains("takes: text: \"ignore\", \"bootstrap\""), "{text}");
    let (doc, _) = bench.say_alone(&["config", "doc", "--json"]);
    schema::check("config-doc", &serde_json::from_str(&doc).unwrap());
    let (text, code) = bench.say_alone(&["config", "doc", "lan.crew.polcy"]);
    assert!(code == 1 && text.contains("try: lan.NAME.policy?"), "{text}");
    let (text, code) = bench.say_alone(&["config", "doc", "lan.polcy"]);
    assert!(code == 1 && text.contains("no key lan.polcy\n  try: lan.NAME.policy?"), "{text}");
    assert_eq!(bench.say_alone(&["config", "doc", "lan.crew"]).1, 0);
    // A running daemon knows none of this: the files are shown without one.
    let (text, code) = bench.say(&["config", "show", "lan.crew.policy"]);
    assert!(
        code == 0 && text.contains("no dm-gateway answers: this is what the files say"),
        "{text}"
    );
}

#[test]
fn a_check_tells_which_files_the_services_user_may_not_read() {
    if !nix::unistd::geteuid().is_root()
        || nix::unistd::User::from_name("dm-gateway").ok().flatten().is_none()
    {
        return println!("left out: wants root and the user dm-gateway");
    }
    let bench = Bench::new(13);
    bench.file("secret", "s3cret-of-the-device\n");
    bench.configure("[[device]]\nid = \"IMEI:1\"\nsecret-file = \"secret\"\n");
    let checked = bench.json(&["config", "check"]);
    let errors = checked["errors"].as_array().unwrap().iter();
    let of_secret = errors.clone().filter(|it| it["key"] == "device.IMEI:1.secret-file");
    assert_eq!(of_secret.map(|it| &it["code"]).collect::<Vec<_>>(), ["GW-FILE-01"], "{checked}");
    assert!(!checked.to_string().contains("s3cret"));
}

// --- On trial ---------------------------------------------------------------------------------

#[test]
fn what_is_on_trial_is_taken_back_unless_confirmed() {
    let bench = Bench::start(6);
    bench.file("new.toml", "[gateway]\npush-rate = 9\n");
    let new = bench.path("new.toml").display().to_string();
    let (text, code) = bench.say(&["apply", "--dry-run", &new]);
    assert!(code == 0 && text.contains("+ gateway.push-rate = 9\n"), "{text}");
    assert_eq!(bench.value("gateway.push-rate").0, 1);
    let dry = bench.json(&["apply", "--dry-run", &new]);
    assert_eq!(dry["differences"][0]["after"], 9, "{dry}");
    let (text, code) = bench.say(&["apply", "--trial", "3s", &new]);
    assert!(code == 0 && text.contains("taken back in 3 s unless"), "{text}");
    bench.until("it is taken back", |bench| bench.value("gateway.push-rate").0 == 1);
    assert!(bench.log().contains("nobody confirmed it in time"), "{}", bench.log());

    let (text, code) = bench.say(&["apply", &new]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(bench.value("gateway.push-rate"), (9.into(), "trial".into()));
    let (text, code) = bench.say(&["apply", &new]);
    assert!(code == 1 && text.contains("error[GW-CONF-09]"), "{text}");
    let (text, code) = bench.say(&["confirm", "--dry-run"]);
    let kept =
        "would: keep: gateway.push-rate = 9, before the trial it was 1\nnothing was changed\n";
    assert_eq!((text.as_str(), code), (kept, 0));
    let (text, code) = bench.say(&["confirm", "--discard", "--dry-run"]);
    assert!(code == 0 && text.contains("take back: gateway.push-rate = 9, then it is 1"), "{text}");
    assert_eq!(bench.value("gateway.push-rate"), (9.into(), "trial".into()));
    assert_eq!(bench.say(&["confirm"]).1, 0);
    assert_eq!(bench.value("gateway.push-rate"), (9.into(), "applied".into()));
    assert!(bench.path("state/config/applied.toml").exists());
    assert_eq!(bench.say(&["confirm"]).1, 1);
    // The next one takes its place, and a discarded one gives it back.
    bench.file("new.toml", "");
    assert_eq!(bench.say(&["apply", &new]).1, 0);
    assert_eq!(bench.value("gateway.push-rate").0, 1);
    assert_eq!(bench.say(&["confirm", "--discard"]).1, 0);
    assert_eq!(bench.value("gateway.push-rate").0, 9);
    bench.file("new.toml", "[gateway]\npush-rte = 9\n");
    let (text, code) = bench.say(&["apply", &new]);
    assert!(code == 1 && text.contains("error[GW-CONF-11]"), "{text}");
    assert!(text.contains("new.toml line 2: unknown key `push-rte`"), "{text}");
}

#[test]
fn a_trial_ends_also_after_kill_9_and_a_daemon_that_cannot_start_with_it_starts_without() {
    let mut bench = Bench::start(7);
    bench.file("new.toml", "[gateway]\npush-rate = 9\n");
    let new = bench.path("new.toml").display().to_string();
    assert_eq!(bench.say(&["apply", "--trial", "8s", &new]).1, 0);
    bench.end();
    bench.run(&[]);
    bench.until("it is taken back", |bench| bench.value("gateway.push-rate").0 == 1);

    // What needs a restart gets one, and the way back as well.
    bench.file("new.toml", "[wan]\npush-listen = \"127.43.7.3:2948\"\n");
    assert_eq!(bench.say(&["apply", "--trial", "8s", "--restart", &new]).1, 0);
    bench.until("it listens there", |bench| bench.takes_pushes(3));
    bench.until("it is back", |bench| bench.takes_pushes(2) && !bench.takes_pushes(3));
    bench.until("it answers", |bench| bench.ask(&["status"]).status.code() == Some(0));

    // An address of somebody else: the start fails, and the trial with it.
    let taken = UdpSocket::bind("127.43.7.4:2948").unwrap();
    bench.file("new.toml", "[wan]\npush-listen = \"127.43.7.4:2948\"\n");
    assert_eq!(bench.say(&["apply", "--trial", "1h", "--restart", &new]).1, 0);
    bench.until("it has given up", |bench| bench.log().contains("does not start with the new"));
    bench.until("it answers", |bench| bench.ask(&["status"]).status.code() == Some(0));
    assert!(bench.takes_pushes(2));
    assert_eq!(bench.say(&["confirm"]).1, 1, "nothing is on trial any more");
    drop(taken);
}

#[test]
fn more_is_logged_for_some_time_only() {
    let bench = Bench::start(8);
    let (text, code) = bench.say(&["log-level", "debug", "--for", "3s"]);
    assert!(code == 0 && text.contains("the level is debug"), "{text}");
    bench.until("it is as before", |bench| bench.say(&["log-level"]).0 == "the level is info\n");
    let (text, _) = bench.say(&["log-level", "trace", "--module", "gateway::forward"]);
    assert!(text.contains("of gateway::forward is trace"), "{text}");
    let (text, code) = bench.say(&["log-level", "trace", "--module", "nowhere"]);
    assert!(code == 1 && text.contains("there is no module nowhere"), "{text}");
    assert_eq!(bench.say(&["log-level", "loud"]).1, 64);
    let dry = ["log-level", "warn", "--module", "gateway::forward", "--dry-run"];
    let would = bench.json(&dry)["would"][0].as_str().unwrap().to_owned();
    assert!(would.starts_with("the level of gateway::forward becomes warn for 900 s"), "{would}");
    assert!(would.ends_with("now it is trace"), "{would}");
    assert_eq!(bench.say(&["log-level", "trace", "--module", "nowhere", "--dry-run"]).1, 1);
    assert!(bench.say(&["log-level", "--dry-run"]).0.contains("of gateway::forward it is trace"));
    bench.json(&["log-level", "debug"]);
    assert_eq!(bench.say(&["log-level", "info"]).0, "the level is info, as it usually is\n");
    assert_eq!(bench.say(&["log-level"]).0, "the level is info\n");
}

// --- The service manager ------------------------------------------------------------------------

/// The service manager's end of the notify socket.
struct Manager {
    socket: UnixDatagram,
    /// Told, and not looked at yet.
    waiting: RefCell<VecDeque<String>>,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, waiting: RefCell::default() }
    }

    /// What comes within this time.
    fn told(&self, time: Duration) -> Vec<String> {
        let (end, mut told) = (Instant::now() + time, Vec::new());
        let mut buffer = [0; 4096];
        while Instant::now() < end {
            if let Ok(length) = self.socket.recv(&mut buffer) {
                told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
        told
    }

    /// The next message with these words; what was told before it is forgotten.
    fn until(&self, what: &str) -> String {
        let late = Instant::now() + SOON;
        while Instant::now() < late {
            while let Some(message) = self.waiting.borrow_mut().pop_front() {
                if message.contains(what) {
                    return message;
                }
            }
            let told = self.told(Duration::from_millis(100));
            self.waiting.borrow_mut().extend(told);
        }
        panic!("{what} was not told");
    }
}

#[test]
fn the_service_manager_is_told_when_a_reload_begins_and_ends() {
    let mut bench = Bench::new(9);
    let manager = Manager::at(&bench.path("notify"));
    let notify = bench.path("notify").display().to_string();
    bench.run(&[("NOTIFY_SOCKET", &notify)]);
    manager.until("READY=1");
    bench.signal("HUP");
    let began = manager.until("RELOADING=1");
    assert!(began.contains("MONOTONIC_USEC="), "{began}");
    assert!(manager.until("READY=1").contains("STATUS=LANs 1"));
    bench.file("conf.d/10.toml", "x\n");
    bench.signal("HUP");
    manager.until("RELOADING=1");
    assert!(manager.until("READY=1").contains("the new configuration is not used"));
}

const HANGING: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
static void wait_while_told(void) {
    const char *path = getenv("HANG_WHILE");
    if (!path || access(path, F_OK) != 0) return;
    /* The threads of the store may sleep almost a minute too long. */
    prctl(PR_SET_TIMERSLACK, 1000000, 0, 0, 0);
    while (access(path, F_OK) == 0) poll(NULL, 0, 20);
}
int fsync(int fd) {
    wait_while_told();
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}
int fdatasync(int fd) {
    wait_while_told();
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
int sync_file_range(int fd, off_t offset, off_t length, unsigned flags) {
    wait_while_told();
    int (*real)(int, off_t, off_t, unsigned) = dlsym(RTLD_NEXT, "sync_file_range");
    return real(fd, offset, length, flags);
}
"#;

#[test]
fn a_store_that_hangs_ends_the_feeding_of_the_watchdog() {
    let mut bench = Bench::new(10);
    bench.file("hang.c", HANGING);
    let library = bench.path("hang.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &bench.path("hang.c")])
        .arg("-ldl")
        .status();
    if !built.is_ok_and(|status| status.success()) {
        let required = std::env::var_os("DM_GATEWAY_REQUIRE_TOOLS").is_some_and(|it| it == "1");
        assert!(!required, "cc cannot build it");
        return println!("left out: cc cannot build a shared library");
    }
    let manager = Manager::at(&bench.path("notify"));
    let name = |path: PathBuf| path.display().to_string();
    bench.run(&[
        ("NOTIFY_SOCKET", &name(bench.path("notify"))),
        // Fed each second.
        ("WATCHDOG_USEC", "2000000"),
        ("LD_PRELOAD", &name(library)),
        ("HANG_WHILE", &name(bench.path("hang"))),
    ]);
    manager.until("WATCHDOG=1");
    bench.file("hang", "");
    // A device that comes is to be kept: the store's thread waits for the disk now.
    bench.configure("[[device]]\nid = \"IMEI:7\"\naddress = \"127.43.10.7\"\n");
    assert_eq!(bench.say(&["reload"]).1, 0);
    bench.until("it is noticed", |bench| bench.log().contains("no answer of the store"));
    manager.told(Duration::from_secs(1));
    manager.waiting.borrow_mut().clear();
    let told = manager.told(Duration::from_secs(6));
    assert!(!told.iter().any(|message| message.contains("WATCHDOG=1")), "{told:?}");
    // All else goes on.
    assert!(bench.say(&["status"]).0.contains("gateway.test"));
    fs::remove_file(bench.path("hang")).unwrap();
    manager.until("WATCHDOG=1");
}

#[test]
fn a_daemon_without_work_feeds_the_watchdog() {
    let mut bench = Bench::new(11);
    let manager = Manager::at(&bench.path("notify"));
    let notify = bench.path("notify").display().to_string();
    bench.run(&[("NOTIFY_SOCKET", &notify), ("WATCHDOG_USEC", "2000000")]);
    for _ in 0..4 {
        manager.until("WATCHDOG=1");
    }
    assert!(!bench.log().contains("no answer"), "{}", bench.log());
}

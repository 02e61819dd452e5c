//! The real binary: what changes or carries off its state.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
const RADIO: &str = "IMEI:490154203237518";
const DMS: &str = "com.example.dms";

/// A directory with a configuration on loopback, and perhaps a daemon.
struct Bench {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Bench {
    /// Uses the addresses 127.77.`net`.x. One device is known by the configuration.
    fn new(net: u8) -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap(), daemon: None };
        let text = format!(
            r#"
[gateway]
id = "gateway.test"
state-dir = "state"

[wan]
push-listen = ["127.77.{net}.2:2948"]

[[lan]]
name = "radios"
interface = "lo"
listen = "127.77.{net}.1:8080"
policy = "bootstrap"
verify = "none"
detect = ["static"]
trusted-link = true

[[device]]
id = "{RADIO}"
lan = "radios"
address = "127.77.{net}.9"
"#
        );
        fs::write(bench.config(), text).unwrap();
        bench
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("gateway.toml")
    }

    fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("--config").arg(self.config()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command that must succeed.
    fn text(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let text = self.text(&[words, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The id that the daemon runs with; all need not be well.
    fn id(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["id"].clone()
    }

    /// Runs a command that must fail: its exit code, and what it says.
    fn fails(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?}: {output:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn start(&mut self) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        self.daemon = Some(self.command(&["run"]).stderr(log).spawn().unwrap());
        let late = Instant::now() + Duration::from_secs(30);
        while self.run(&["status"]).status.code() == Some(3) {
            let log = fs::read_to_string(self.path().join("log")).unwrap();
            assert!(Instant::now() < late, "not up: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&mut self, name: &str) {
        let mut daemon = self.daemon.take().unwrap();
        let id = daemon.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
        daemon.wait().unwrap();
    }

    fn stop(&mut self) {
        self.signal("TERM");
    }

    /// The audit, when it has that many entries at least.
    fn audit(&self, count: usize) -> Vec<Value> {
        let late = Instant::now() + Duration::from_secs(30);
        loop {
            let audit = self.json(&["audit"])["audit"].as_array().unwrap().clone();
            if audit.len() >= count {
                return audit;
            }
            assert!(Instant::now() < late, "{audit:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

// --- The audit -------------------------------------------------------------------------------

#[test]
fn the_audit_tells_who_did_what_with_and_without_a_daemon_and_its_chain_is_whole() {
    let mut bench = Bench::new(1);
    bench.start();
    assert!(bench.text(&["devices", "block", RADIO]).contains("blocked"));
    assert_eq!(bench.fails(&["devices", "forget", "IMEI:0"]).0, 1);
    let entries = bench.audit(3);
    let uid = format!("uid:{}", nix::unistd::getuid());
    let whats: Vec<_> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["start", "block", "forget"]);
    assert_eq!(entries[0]["after"], concat!("version ", env!("CARGO_PKG_VERSION")));
    assert_eq!((&entries[1]["by"], &entries[1]["subject"]), (&uid.into(), &RADIO.into()));
    assert!(entries[1]["after"].as_str().unwrap().ends_with("; blocked"));
    assert_eq!(entries[2]["result"], "failed");
    assert!(bench.text(&["audit", "--verify"]).starts_with("the chain of 3 lines is whole"));
    bench.stop();
    // Read from the files now.
    assert_eq!(bench.audit(4)[3]["what"], "stop");
    assert!(bench.text(&["audit"]).contains(RADIO));
    assert!(bench.text(&["audit", "--since", "1h"]).contains("block"));
    assert!(!bench.text(&["audit", "--server", DMS]).contains("block"));
    let lines = bench.text(&["audit", "--format", "jsonl"]);
    assert!(lines.lines().count() == 4 && lines.lines().all(|line| line.contains("\"hash\":")));
    let file = bench.state().join("audit/000001.jsonl");
    assert_eq!(fs::read_to_string(&file).unwrap(), lines);
    fs::write(&file, lines.replace("\"block\"", "\"blick\"")).unwrap();
    let (code, said) = bench.fails(&["audit", "--verify"]);
    assert!(code == 1 && said.contains("GW-AUDIT-01") && said.contains("line 2 of "), "{said}");
}

// --- Rehearsals ------------------------------------------------------------------------------

#[test]
fn no_changing_command_changes_anything_with_dry_run() {
    let mut bench = Bench::new(2);
    bench.start();
    let document = "tests/fixtures/bootstrap/valid/factory_tree.xml";
    for words in [
        &["devices", "block", RADIO][..],
        &["devices", "forget", RADIO],
        &["devices", "trust", RADIO],
        &["devices", "trust", RADIO, "--mac", "00-16-3e-00-00-01"],
        &["devices", "provision", RADIO],
        &["map", "add", DMS, RADIO],
        &["map", "remove", DMS, RADIO],
        &["servers", "deny", DMS],
        &["servers", "approve", DMS],
        &["bootstrap", "apply", document],
        &["reload"],
        &["reload", "--restart"],
        &["confirm"],
        &["confirm", "--discard"],
        &["log-level", "debug"],
        &["session", DMS],
    ] {
        let views = ["devices", "servers", "audit"].map(|view| bench.json(&[view]));
        let mut dry = words.to_vec();
        dry.push("--dry-run");
        let would = bench.run(&dry);
        let text = String::from_utf8(would.stdout.clone()).unwrap();
        assert!(
            !would.status.success()
                || text.ends_with("nothing was changed\n")
                || text.ends_with("nothing is applied: this was a dry run\n"),
            "{words:?}: {would:?}"
        );
        let after = ["devices", "servers", "audit"].map(|view| bench.json(&[view]));
        let without_ages = |views: &[Value; 3]| {
            let mut views = views.clone();
            for device in views[0]["devices"].as_array_mut().unwrap() {
                device["age"].take();
                device["seen"].take();
            }
            views
        };
        assert_eq!(without_ages(&views), without_ages(&after), "{words:?}");
    }
    let would = bench.json(&["map", "add", DMS, RADIO, "--dry-run"]);
    assert!(would["would"][0].as_str().unwrap().starts_with("before: refused: "), "{would}");
    assert_eq!(bench.text(&["map", "add", DMS, RADIO]).lines().count(), 2);
    assert!(bench.text(&["map", "list"]).contains("by an operator"));
    assert!(bench.text(&["map", "explain", DMS, RADIO]).contains("operator-added"));
}

// --- Backup and restore ----------------------------------------------------------------------

const ACCOUNTS: &str = "tests/fixtures/bootstrap/valid/provisioning_full.xml";

/// A bench whose daemon ran: a mapping by an operator, an account, an account for the radio.
fn used(net: u8) -> Bench {
    let mut bench = Bench::new(net);
    bench.start();
    bench.text(&["map", "add", DMS, RADIO]);
    bench.text(&["bootstrap", "apply", ACCOUNTS]);
    bench.text(&["devices", "provision", RADIO]);
    bench.text(&["servers", "deny", "denied.example"]);
    bench
}

impl Bench {
    fn backup(&self, name: &str, more: &[&str]) -> String {
        let file = self.path().join(name).display().to_string();
        self.text(&[&["backup", &file], more].concat());
        file
    }

    /// Another unit, whose daemon never ran.
    fn another(net: u8) -> Self {
        let bench = Self::new(net);
        let text = fs::read_to_string(bench.config()).unwrap();
        fs::write(bench.config(), text.replace("gateway.test", "other.test")).unwrap();
        bench
    }
}

/// The lines of a backup but those that tell when and which it is.
fn body(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().skip(1).filter(|line| !line.contains("\"kind\":\"end\""));
    lines.filter(|line| !line.contains("\"kind\":\"sealed\"")).map(str::to_owned).collect()
}

#[test]
fn a_backup_is_the_same_with_and_without_a_daemon_and_comes_back_whole() {
    let mut bench = used(3);
    let phrase = bench.path().join("phrase").display().to_string();
    fs::write(&phrase, "correct horse battery\n").unwrap();
    let sealing = ["--with-secrets", "--passphrase-file", &phrase];
    let live = bench.backup("live.jsonl", &sealing);
    bench.stop();
    let plain = bench.backup("plain.jsonl", &[]);
    assert_eq!(body(&live), body(&plain));
    assert!(body(&plain).iter().any(|line| line.contains(RADIO) && line.contains(DMS)));
    // No secret stands there, in whatever form; the store has it.
    let secrets = secrets_of(ACCOUNTS);
    assert!(!secrets.is_empty());
    for file in [&live, &plain] {
        let text = fs::read_to_string(file).unwrap();
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    // A new store has the same afterwards.
    fs::rename(bench.state().join("store"), bench.path().join("lost")).unwrap();
    let would = bench.text(&["restore", &plain, "--dry-run"]);
    assert!(would.contains(&format!("would: + device {RADIO}")), "{would}");
    assert!(!bench.state().join("store").exists());
    let wrong = bench.path().join("wrong").display().to_string();
    fs::write(&wrong, "correct horse cattery\n").unwrap();
    let (_, said) = bench.fails(&["restore", &live, "--passphrase-file", &wrong]);
    assert!(said.contains("the passphrase is wrong"), "{said}");
    assert!(!bench.state().join("store").exists());
    bench.text(&["restore", &live, "--passphrase-file", &phrase]);
    let again = bench.backup("again.jsonl", &sealing);
    assert_eq!(body(&live), body(&again));
    // The restored accounts have their secrets: nothing is left to change.
    let would = bench.text(&["restore", &live, "--passphrase-file", &phrase, "--dry-run"]);
    assert!(would.contains("the unit knows just that"), "{would}");
    bench.start();
    assert!(bench.text(&["map", "list"]).contains("by an operator"));
    let (_, said) = bench.fails(&["restore", &plain]);
    assert!(said.contains("GW-STORE-06") && said.contains("systemctl stop"), "{said}");
    let whats = bench.text(&["audit"]);
    assert!(whats.contains("backup") && whats.contains("restore"), "{whats}");
}

/// The secrets in a provisioning document.
fn secrets_of(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let names = ["AAUTHSECRET", "AAUTHDATA"];
    let parms = text.split("<parm ").filter(|it| names.iter().any(|name| it.contains(name)));
    let value = |parm: &str| Some(parm.split("value=\"").nth(1)?.split('"').next()?.to_owned());
    parms.filter_map(value).collect()
}

#[test]
fn a_backup_of_another_unit_comes_with_a_question_of_identity() {
    let mut bench = used(4);
    bench.stop();
    let file = bench.backup("backup.jsonl", &[]);
    let other = Bench::another(5);
    let (code, said) = other.fails(&["restore", &file]);
    assert!(code == 1 && said.contains("GW-BACKUP-04"), "{said}");
    assert!(said.contains("gateway.test") && said.contains("--keep-identity"), "{said}");
    assert!(!other.state().join("store").exists());
    other.text(&["restore", &file, "--keep-identity"]);
    let kept = body(&other.backup("kept.jsonl", &[]));
    assert!(kept.iter().any(|line| line.contains("\"kind\":\"device\"")), "{kept:?}");
    assert!(!kept.iter().any(|line| line.contains("DMAcc")), "{kept:?}");
    other.text(&["restore", &file, "--take-identity"]);
    // What the backup does not have are the secrets.
    let open: Vec<_> =
        body(&file).into_iter().filter(|line| !line.contains("\"secret\":true")).collect();
    assert_eq!(body(&other.backup("taken.jsonl", &[])), open);
    let identity = fs::read_to_string(other.state().join("config/identity.toml")).unwrap();
    assert!(identity.contains("id = \"gateway.test\""), "{identity}");
}

#[test]
fn a_backup_that_is_cut_changed_or_newer_changes_nothing() {
    let mut bench = used(6);
    bench.stop();
    let file = bench.backup("backup.jsonl", &[]);
    let before = fs::read_to_string(&file).unwrap();
    let whole: Vec<_> = before.lines().collect();
    let cut = whole[..whole.len() - 1].join("\n");
    let shorter = [&whole[..1], &whole[2..]].concat().join("\n");
    let changed = before.replace(DMS, "com.example.bad");
    let newer = before.replacen("\"schema\":1", "\"schema\":2", 1);
    for (text, code) in [
        (&*cut, "GW-BACKUP-03"),
        (&shorter, "GW-BACKUP-03"),
        (&changed, "GW-BACKUP-03"),
        ("", "GW-BACKUP-03"),
        ("{}\n", "GW-BACKUP-03"),
        (&newer, "GW-BACKUP-02"),
    ] {
        let bad = bench.path().join("bad").display().to_string();
        fs::write(&bad, text).unwrap();
        let (exit, said) = bench.fails(&["restore", &bad]);
        assert!(exit == 1 && said.contains(code), "{said}");
    }
    assert_eq!(body(&bench.backup("after.jsonl", &[])), body(&file));
}

#[test]
fn a_store_of_a_newer_version_is_left_alone_and_one_of_the_older_is_read() {
    use dm_gateway::gateway::seam::Change;
    use dm_gateway::gateway::store::Store;
    use dm_gateway::io::sled_store::SledStore;
    let mut bench = used(7);
    bench.stop();
    let file = bench.backup("backup.jsonl", &[]);
    let set = |schema: &str| {
        let mut store = SledStore::open(&bench.state().join("store")).unwrap();
        let value = Some(schema.as_bytes().to_vec());
        store.commit(&[vec![Change { key: Vec::new(), value }]]).unwrap();
    };
    set("1");
    let mut store = SledStore::open(&bench.state().join("store")).unwrap();
    assert!(!store.load().unwrap().to_vec().is_empty());
    drop(store);
    set("3");
    for words in [&["run"][..], &["backup", "/dev/null"], &["restore", &file]] {
        let (_, said) = bench.fails(words);
        assert!(said.contains("was written by a newer dm-gateway"), "{said}");
        assert!(said.contains("dm-gateway factory-reset"), "{said}");
        assert!(said.contains("error[GW-STORE-07]: downgrade refused: "), "{said}");
    }
    let checked = bench.run(&["check", "GW-STORE-05"]);
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("FAIL  GW-STORE-07") && said.contains("downgrade refused"), "{said}");
    assert!(bench.state().join("store/db").exists());
    assert!(!bench.state().join("store.broken").exists());
    bench.text(&["factory-reset", "--yes"]);
    bench.start();
}

// --- What goes wrong -------------------------------------------------------------------------

#[test]
fn whoever_may_not_ask_or_gets_no_answer_is_told_that() {
    let mut bench = Bench::new(15);
    bench.start();
    let nobody = |words: &[&str]| {
        let output = bench.command(words).uid(65534).gid(65534).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    if nix::unistd::geteuid().is_root() {
        mode(bench.path(), 0o755);
        mode(&bench.config(), 0o644);
        mode(&bench.state(), 0o700);
        let check = nobody(&["check", "CTL"]);
        assert!(check.contains("WARN  GW-CTL-02    you may not use "), "{check}");
        assert!(!check.contains("no daemon") && !check.contains("does not run"), "{check}");
        let target = bench.path().join("backup").display().to_string();
        let backup = nobody(&["backup", &target]);
        assert!(backup.contains("state cannot be looked at"), "{backup}");
        assert!(backup.contains("you may not use ") && backup.contains("try: as root"), "{backup}");
        let shown = nobody(&["config", "show"]);
        assert!(shown.contains("you may not use "), "{shown}");
        assert!(shown.contains(": this is what the files say"), "{shown}");
        mode(&bench.config(), 0o600);
        let status = nobody(&["status"]);
        assert!(
            status.starts_with("error[GW-CONF-02]: the control socket is not known"),
            "{status}"
        );
        assert!(status.contains("may not be read by this user\n  try: as root"), "{status}");
    }
    // A daemon that is stopped is no daemon that does not run.
    let id = bench.daemon.as_ref().unwrap().id().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    };
    signal("STOP");
    let check = String::from_utf8(bench.run(&["check", "GW-CTL-01"]).stdout).unwrap();
    signal("CONT");
    assert!(check.contains("GW-CTL-01    the daemon is there and does not answer"), "{check}");
    assert!(check.contains("cause: it is stopped, or hangs"), "{check}");
}

#[test]
fn what_is_wrong_is_told_with_its_cause_and_what_to_try() {
    let mut bench = Bench::new(16);
    bench.start();
    let file = |name: &str, octets: &[u8]| {
        fs::write(bench.path().join(name), octets).unwrap();
        bench.path().join(name).display().to_string()
    };
    let (some, short) = (file("some.toml", b"[a]\n"), file("short", b"11-letters-"));
    let (long, odd) = (file("long", b"twelve-letters"), file("odd.toml", b"\xff\xfe"));
    let secret = bench.path().join("secret.jsonl").display().to_string();
    bench.text(&["devices", "block", RADIO]);
    bench.text(&["backup", &secret, "--with-secrets", "--passphrase-file", &long]);
    let here = bench.path().display().to_string();
    for (words, said) in [
        (&["config", "check", "/nonexistent/a.toml"][..], "try: a file that is there"),
        (&["config", "check", &here], "try: the file, not its directory\n1 error; no file could"),
        (&["config", "check", &odd], "try: a TOML file, saved as UTF-8"),
        (
            &["restore", &some],
            "some.toml is no backup\n  cause: its first line is none of a backup",
        ),
        (&["restore", "/nonexistent/b"], "try: ls -l /nonexistent/b"),
        (&["backup", "/nonexistent/x/y"], "try: a directory that is there"),
        (
            &["backup", &secret, "--with-secrets", "--passphrase-file", &short],
            "shorter than 12 characters\n  cause: ",
        ),
        (&["check", "FILE", "--config", "/nonexistent"], "skip  GW-FILE-01 "),
        (&["check", "FILE", "--config", "/nonexistent"], "0 ok, "),
        (&["check", "--only", "NOPE"], "try: dm-gateway check --list"),
        (&["confirm"], "no configuration is on trial\n  cause: "),
        (&["apply", "/nonexistent/c"], "try: ls -l /nonexistent/c"),
        (&["devices", "block", RADIO], "is blocked already\n  try: dm-gateway devices show "),
        (&["map", "explain", DMS, RADIO], "dm-gateway devices unblock IMEI:490154203237518"),
    ] {
        let output = match words {
            // FILE and --config are the same.
            ["config", ..] | [.., "/nonexistent"] => {
                Command::new(PROGRAM).args(words).output().unwrap()
            }
            _ => bench.run(words),
        };
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(said), "{words:?}: {text}");
    }
    bench.stop();
    let (_, said) = bench.fails(&["restore", &secret, "--passphrase-file", &short]);
    assert!(said.contains("try: the passphrase that it was written with"), "{said}");
}

#[test]
fn changes_of_the_configuration_are_in_the_audit_with_what_was_before() {
    let mut bench = Bench::new(30);
    bench.start();
    let change = bench.path().join("change.toml");
    let apply = |bench: &Bench, rate: u8| {
        fs::write(&change, format!("[gateway]\npush-rate = {rate}\n")).unwrap();
        bench.text(&["apply", change.to_str().unwrap()]);
        bench.text(&["confirm"]);
    };
    apply(&bench, 7);
    apply(&bench, 8);
    let text = fs::read_to_string(bench.config()).unwrap();
    let text = text.replace("state-dir", "public-address = \"192.0.2.1\"\nstate-dir");
    fs::write(bench.config(), text).unwrap();
    bench.text(&["reload"]);
    let audit = bench.audit(6);
    let of = |what: &str| audit.iter().filter(|it| it["what"] == what).collect::<Vec<_>>();
    let [_, second] = of("apply")[..] else { panic!("{audit:?}") };
    assert_eq!(second["before"], "gateway.push-rate = 7");
    assert_eq!(second["after"], "gateway.push-rate = 8");
    let [reload] = of("reload")[..] else { panic!("{audit:?}") };
    assert_eq!(reload["before"], "gateway.public-address not set");
    assert_eq!(reload["after"], "gateway.public-address = \"192.0.2.1\"");
    assert!(of("confirm").iter().all(|it| it["before"].is_null()), "{audit:?}");
}

// --- Factory reset ---------------------------------------------------------------------------

#[test]
fn a_factory_reset_asks_leaves_the_audit_and_works_with_a_broken_store() {
    let mut bench = used(8);
    bench.stop();
    let (code, said) = bench.fails(&["factory-reset"]);
    assert!(code == 1 && said.contains("GW-RESET-01") && said.contains("--yes"), "{said}");
    let would = bench.text(&["factory-reset", "--dry-run"]);
    assert!(would.contains("/store goes") && bench.state().join("store/db").exists(), "{would}");
    fs::write(bench.state().join("store/db"), "broken").unwrap();
    bench.text(&["factory-reset", "--yes"]);
    assert!(!bench.state().join("store").exists());
    bench.start();
    assert!(!bench.text(&["map", "list"]).contains(DMS));
    let audit = bench.text(&["audit"]);
    assert!(audit.contains("map-add") && audit.contains("factory-reset"), "{audit}");
    assert!(bench.text(&["audit", "--verify"]).contains("is whole"));
}

#[test]
fn a_factory_reset_while_the_daemon_runs_is_done_at_its_next_start() {
    let mut bench = used(9);
    let said = bench.text(&["factory-reset", "--yes"]);
    assert!(said.contains("systemctl restart dm-gateway"), "{said}");
    assert!(bench.text(&["map", "list"]).contains(DMS));
    for words in [&["status"][..], &["check", "--only", "GW-RUN-08"]] {
        let output = bench.run(words);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("the next start forgets everything"), "{text}");
    }
    bench.signal("KILL");
    bench.start();
    assert!(!bench.text(&["status"]).contains("GW-RESET-02"));
    assert!(!bench.text(&["map", "list"]).contains(DMS));
    assert!(bench.text(&["audit", "--verify"]).contains("is whole"));
}

#[test]
fn a_factory_reset_takes_what_was_applied_and_kept_in_conf_d() {
    let mut bench = used(29);
    let drop_in = bench.path().join("conf.d/90-applied.toml");
    fs::create_dir(bench.path().join("conf.d")).unwrap();
    let change = bench.path().join("change.toml");
    fs::write(&change, "[gateway]\npush-rate = 7\n").unwrap();
    bench.text(&["apply", change.to_str().unwrap()]);
    bench.text(&["confirm"]);
    assert!(drop_in.exists());
    let would = bench.text(&["factory-reset", "--dry-run"]);
    assert!(would.contains("conf.d/90-applied.toml goes"), "{would}");
    bench.text(&["factory-reset", "--yes"]);
    bench.stop();
    assert!(drop_in.exists());
    bench.start();
    assert!(!drop_in.exists());
    assert!(!bench.text(&["config", "show"]).contains("90-applied"));
}

// --- The support bundle ----------------------------------------------------------------------

/// Every text of a secret that was planted, and the forms in which it could stand.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine;
    use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut forms = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    // Of base64 the middle, wherever in a text the secret begins.
    for skip in 0..3 {
        for text in [
            BASE64_STANDARD_NO_PAD.encode([&vec![0; skip][..], secret].concat()),
            BASE64_URL_SAFE_NO_PAD.encode([&vec![0; skip][..], secret].concat()),
        ] {
            let middle = text.get(4..text.len() - 4).unwrap();
            forms.push(middle.as_bytes().to_vec());
        }
    }
    forms
}

/// The files of a bundle, by name, as tar and gzip themselves read them.
fn unpacked(bundle: &str) -> Vec<(String, Vec<u8>)> {
    let into = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").args(["-xzf", bundle, "-C"]).arg(into.path()).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    let folder = into.path().join("dm-gateway-support");
    let files = fs::read_dir(folder).unwrap().map(|file| {
        let path = file.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
    });
    files.collect()
}

#[test]
fn a_support_bundle_has_what_helps_and_none_of_the_secrets_that_were_planted() {
    let mut bench = Bench::new(10);
    let secret = |name: &str| format!("canary-{name}-0f9a1c");
    let write = |name: &str, text: &str| fs::write(bench.path().join(name), text).unwrap();
    for name in ["device", "device-server", "device-pin", "network-pin", "user-pin", "token"] {
        let text = if name.ends_with("pin") { "73519284" } else { &secret(name) };
        write(name, text);
    }
    let key = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=gateway", "-days", "2", "-keyout"])
        .arg(bench.path().join("client.key"))
        .arg("-out")
        .arg(bench.path().join("client.crt"))
        .output();
    if !key.is_ok_and(|key| key.status.success()) {
        println!("left out: the canaries of a support bundle: no openssl");
        return;
    }
    let config = fs::read_to_string(bench.config()).unwrap();
    let device = "secret-file = \"device\"\nserver-secret-file = \"device-server\"\n\
                  pin-file = \"device-pin\"\n";
    let wan = "http-push-listen = [\"127.77.10.2:8081\"]\n";
    let more = format!(
        "[wan.http-push]\ntoken-file = \"token\"\n\n[bootstrap]\nnetwork-pin-file = \
         \"network-pin\"\nuser-pin-file = \"user-pin\"\n\n[[server]]\nid = \"com.example.dm\"\n\
         client-certificate = \"client.crt\"\nclient-key = \"client.key\"\n\n\
         # once: https://admin:{}@boot.example/x\n",
        secret("userinfo")
    );
    let config = config.replace("[[lan]]", &format!("{wan}\n[[lan]]"));
    fs::write(bench.config(), format!("{config}{device}\n{more}")).unwrap();
    let document = fs::read_to_string(ACCOUNTS)
        .unwrap()
        .replace("to-the-server", &secret("account-server"))
        .replace("to-the-client", &secret("account-client"))
        .replace("Tm9uY2U=", "Y2FuYXJ5LW5vbmNlLTBmOWExYw==");
    write("accounts.xml", &document);
    bench.start();
    bench.text(&["bootstrap", "apply", &bench.path().join("accounts.xml").display().to_string()]);
    bench.text(&["map", "add", DMS, RADIO]);
    let mut secrets: Vec<Vec<u8>> =
        ["device", "device-server", "token", "userinfo", "account-server", "account-client"]
            .map(|name| secret(name).into_bytes())
            .to_vec();
    secrets.extend([b"73519284".to_vec(), b"canary-nonce-0f9a1c".to_vec()]);
    let pem = fs::read_to_string(bench.path().join("client.key")).unwrap();
    let lines: Vec<_> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    for (state, name) in [("running", "live.tar.gz"), ("stopped", "dead.tar.gz")] {
        if state == "stopped" {
            bench.stop();
        }
        let file = bench.path().join(name).display().to_string();
        let said = bench.text(&["support-bundle", &file]);
        let end = format!("written: {file} (");
        assert!(said.starts_with("in the bundle:\n") && said.contains(&end), "{said}");
        assert!(fs::metadata(&file).unwrap().len() <= 5_000_000);
        let files = unpacked(&file);
        let names: Vec<_> = files.iter().map(|(name, _)| &**name).collect();
        for name in ["CONTENTS.txt", "status.json", "audit.jsonl", "files.txt", "network.txt"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let text = |name: &str| {
            let file = files.iter().find(|(known, _)| known == name).unwrap();
            String::from_utf8(file.1.clone()).unwrap()
        };
        assert!(text("CONTENTS.txt").contains("status.json"));
        assert!(text("audit.jsonl").contains("map-add"));
        assert!(text("files.txt").contains("https://(secret)@boot.example/x"));
        if state == "running" {
            assert!(text("events.jsonl").contains("\"mapped\""), "{}", text("events.jsonl"));
        }
        let knows = if state == "running" { "devices.json" } else { "memory.jsonl" };
        assert!(text(knows).contains(RADIO), "{}", text(knows));
        for (name, octets) in &files {
            for secret in &secrets {
                for form in forms(secret) {
                    let hit = octets.windows(form.len()).any(|window| window == form);
                    assert!(!hit, "{state}: {name} has {}", String::from_utf8_lossy(&form));
                }
            }
            let content = String::from_utf8_lossy(octets);
            assert!(!lines.iter().any(|line| content.contains(line)), "{name} has the key");
        }
    }
}

// --- Provisioning ----------------------------------------------------------------------------

impl Bench {
    fn file(&self, name: &str) -> String {
        self.path().join(name).display().to_string()
    }

    /// Whose bundles are taken, and where they are looked for.
    fn trusts(&self, signer: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        let more = format!("\n[provision]\nsigners = [\"{signer}\"]\nmount = \"stick\"\n");
        fs::write(self.config(), text + &more).unwrap();
        fs::create_dir(self.path().join("stick")).unwrap();
    }

    /// A bundle with an account, a file and configuration.
    fn bundle(&self, name: &str, serial: u64, more: &str, config: &str) -> String {
        let document = fs::read_to_string(ACCOUNTS).unwrap();
        let text = format!(
            "schema = 1\nserial = {serial}\n{more}\nconfig = '''\n{config}'''\n\n[[file]]\nname = \
             \"secret.txt\"\ntext = \"provisioned-secret-{serial}\"\n\n[[bootstrap]]\nname = \
             \"fleet.xml\"\ntext = '''{document}'''\n"
        );
        fs::write(self.path().join(name), text).unwrap();
        self.file(name)
    }
}

const IDENTITY: &str = "[gateway]\nid = \"truck-17.example\"\n";

#[test]
fn a_signed_bundle_counts_after_the_next_start_and_older_ones_are_refused() {
    let mut bench = Bench::new(11);
    let signer = bench.text_alone(&["provision", "keygen", &bench.file("key.pem")]);
    bench.trusts(signer.trim());
    assert_eq!(bench.text_alone(&["provision", "key", &bench.file("key.pem")]), signer);
    let sign = |file: &str| {
        bench.text_alone(&["provision", "sign", "--key", &bench.file("key.pem"), file]);
    };
    let bundle = bench.bundle("bundle.toml", 7, "gateways = [\"gateway.test\"]", IDENTITY);
    let (_, said) = bench.fails(&["provision", &bundle]);
    assert!(said.contains("GW-PROV-01"), "{said}");
    sign(&bundle);
    sign(&bundle);
    let would = bench.text(&["provision", &bundle, "--dry-run"]);
    for line in [
        "would: the unit is truck-17.example, it was gateway.test",
        "would: gateway.id: \"gateway.test\" becomes \"truck-17.example\"",
        "would: file secret.txt, 20 octets, new",
        "would: account with com.example.dm, https://dm.example.com",
    ] {
        assert!(would.contains(line), "{line}: {would}");
    }
    assert!(!bench.state().join("provisioned").exists());
    assert!(!bench.state().join("provisioned.d").exists());
    let done = bench.text(&["provision", &bundle]);
    assert!(done.contains("account with com.example.dm, https://dm.example.com"), "{done}");
    let result = fs::read_to_string(format!("{bundle}.gateway.test.result")).unwrap();
    assert!(result.starts_with("done: serial number 7"), "{result}");
    let (_, said) = bench.fails(&["provision", &bundle]);
    assert!(said.contains("GW-PROV-03") || said.contains("GW-PROV-02"), "{said}");
    let again = bench.bundle("again.toml", 7, "", IDENTITY);
    sign(&again);
    let (_, said) = bench.fails(&["provision", &again]);
    assert!(said.contains("GW-PROV-02"), "{said}");
    let other = bench.bundle("other.toml", 8, "gateways = [\"truck-18.example\"]", "");
    sign(&other);
    let (_, said) = bench.fails(&["provision", &other]);
    assert!(said.contains("GW-PROV-03"), "{said}");
    // What is wrong in it changes nothing.
    for (config, what) in [
        ("[gateway]\nidd = \"x\"\n", "not valid"),
        ("[gateway]\nstate-dir = \"/tmp/x\"\n", "not valid"),
        ("[[device]]\nid = \"a\"\nsecret-file = \"{files}/none\"\n", "not valid"),
    ] {
        let wrong = bench.bundle("wrong.toml", 9, "", config);
        sign(&wrong);
        let (_, said) = bench.fails(&["provision", &wrong]);
        assert!(said.contains("GW-PROV-04") && said.contains(what), "{said}");
    }
    let newer = format!(
        "{IDENTITY}[[device]]\nid = \"IMEI:2\"\nlan = \"radios\"\nsecret-file = \
         \"{{files}}/secret.txt\"\n"
    );
    let stick = bench.bundle("stick/dm-gateway-truck-17.example.toml", 10, "", &newer);
    sign(&stick);
    bench.text(&["provision", "--from-mount"]);
    bench.start();
    assert_eq!(bench.id(), "truck-17.example");
    assert!(bench.text(&["servers"]).contains("com.example.dm"));
    let shown = bench.text(&["config", "show", "gateway.id", "--origin"]);
    assert!(shown.contains("provisioned"), "{shown}");
    assert!(!bench.state().join("provisioned.d/7").exists());
    let audit = bench.text(&["audit"]);
    assert!(audit.contains("provision") && audit.contains("not valid"), "{audit}");
    bench.stop();
    // What a later layer sets is not the bundle's to set, and that is said.
    let later = bench.bundle("later.toml", 11, "", "[gateway]\npush-rate = 7\n[wan]\n");
    bench.text_alone(&["provision", "sign", "--key", &bench.file("key.pem"), &later]);
    fs::create_dir_all(bench.state().join("config")).unwrap();
    fs::write(bench.state().join("config/applied.toml"), "[gateway]\npush-rate = 9\n").unwrap();
    let would = bench.text(&["provision", &later, "--dry-run"]);
    let said = "gateway.push-rate of the bundle does not count: ";
    assert!(would.contains(said) && would.contains("applied.toml line 2 sets it"), "{would}");
    assert!(would.contains("file secret.txt, 21 octets, changed"), "{would}");
    assert!(would.contains("document fleet.xml, ") && would.contains(" as before"), "{would}");
    fs::remove_file(bench.state().join("config/applied.toml")).unwrap();
    // A reset unit is provisioned anew, by the same stick too.
    bench.text(&["factory-reset", "--yes", "--keep-identity"]);
    bench.start();
    assert_eq!(bench.id(), "truck-17.example");
    assert!(!bench.text(&["servers"]).contains("com.example.dm"));
    bench.stop();
    bench.text(&["provision", "--from-mount"]);
}

#[test]
fn the_example_of_a_bundle_is_one() {
    let bench = Bench::new(18);
    let signer = bench.text_alone(&["provision", "keygen", &bench.file("key.pem")]);
    bench.trusts(signer.trim());
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/provision.toml.example");
    let ca = fs::read_to_string("tests/fixtures/config/valid/secrets/push-clients.pem").unwrap();
    let text = fs::read_to_string(root).unwrap();
    let begin = text.find("-----BEGIN").unwrap();
    let end =
        text.find("-----END").unwrap() + text[text.find("-----END").unwrap()..].find('\n').unwrap();
    let text = format!("{}{}{}", &text[..begin], ca.trim(), &text[end..]);
    let file = bench.file("bundle.toml");
    fs::write(&file, text.replace("gw.truck-17.example", "gateway.test")).unwrap();
    bench.text_alone(&["provision", "sign", "--key", &bench.file("key.pem"), &file]);
    let would = bench.text(&["provision", &file, "--dry-run"]);
    assert!(would.contains("becomes \"truck-17.fleet.example\""), "{would}");
    assert!(would.contains("server.dms.fleet.example.trust: nothing becomes \""), "{would}");
    assert!(would.contains("file fleet-ca.pem, "), "{would}");
    // The manual tells every key of it.
    let manual = fs::read_to_string("src/manual/integrators.md").unwrap();
    for key in ["`schema`", "`serial`", "`gateways`", "`config`", "`[[file]]`", "`[[bootstrap]]`"] {
        assert!(manual.contains(key), "{key}");
    }
}

#[test]
fn a_running_daemon_takes_a_bundle_over_with_a_reload() {
    let mut bench = Bench::new(14);
    let signer = bench.text_alone(&["provision", "keygen", &bench.file("key.pem")]);
    bench.trusts(signer.trim());
    bench.start();
    let bundle = bench.bundle("bundle.toml", 1, "", "[gateway]\npush-rate = 7\n");
    bench.text_alone(&["provision", "sign", "--key", &bench.file("key.pem"), &bundle]);
    let done = bench.text(&["provision", &bundle]);
    assert!(done.contains("it counts after: dm-gateway reload --restart, or "), "{done}");
    assert!(!bench.text(&["servers"]).contains("com.example.dm"));
    let reloaded = bench.json(&["reload", "--restart"]);
    assert_eq!(reloaded["applied"], serde_json::json!(["gateway.push-rate"]), "{reloaded}");
    assert_eq!(reloaded["restarts"], false);
    let late = Instant::now() + Duration::from_secs(30);
    while !bench.text(&["servers"]).contains("com.example.dm") {
        assert!(Instant::now() < late, "no account");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Once only.
    let accounts = || bench.json(&["audit"])["audit"].as_array().unwrap().len();
    let before = accounts();
    bench.text(&["reload"]);
    assert_eq!(bench.audit(before + 1).len(), before + 1, "the reload alone");
}

impl Bench {
    /// Runs a command that needs no configuration.
    fn text_alone(&self, words: &[&str]) -> String {
        let output = Command::new(PROGRAM).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn what_openssl_signs_is_taken_and_what_was_changed_afterwards_is_not() {
    let bench = Bench::new(12);
    let openssl = |words: &[&str]| {
        let ended = Command::new("openssl").args(words).output();
        ended.is_ok_and(|ended| ended.status.success())
    };
    let key = bench.file("key.pem");
    if !openssl(&["genpkey", "-algorithm", "ed25519", "-out", &key]) {
        println!("left out: bundles signed by openssl: no openssl");
        return;
    }
    let public = bench.file("public.pem");
    assert!(openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]));
    let signer = bench.text_alone(&["provision", "key", &public]);
    assert_eq!(bench.text_alone(&["provision", "key", &key]), signer);
    bench.trusts(signer.trim());
    let bundle = bench.bundle("bundle.toml", 1, "", IDENTITY);
    let signature = format!("{bundle}.sig");
    let sign = ["pkeyutl", "-sign", "-rawin", "-inkey", &key, "-in", &bundle, "-out", &signature];
    assert!(openssl(&sign));
    let text = fs::read_to_string(&bundle).unwrap();
    fs::write(&bundle, text.replace("truck-17", "truck-18")).unwrap();
    let (_, said) = bench.fails(&["provision", &bundle]);
    assert!(said.contains("GW-PROV-01"), "{said}");
    fs::write(&bundle, &text).unwrap();
    assert!(bench.text(&["provision", &bundle]).contains("serial number 1"));
    // A key of ours is one for openssl, too, and so is what it signs.
    let own = bench.file("own.pem");
    bench.text_alone(&["provision", "keygen", &own]);
    let public = bench.file("own-public.pem");
    assert!(openssl(&["pkey", "-in", &own, "-pubout", "-out", &public]));
    assert_eq!(
        bench.text_alone(&["provision", "key", &public]),
        bench.text_alone(&["provision", "key", &own])
    );
    // Nobody is trusted who is not named.
    let bundle = bench.bundle("own.toml", 2, "", IDENTITY);
    bench.text_alone(&["provision", "sign", "--key", &own, &bundle]);
    let (_, said) = bench.fails(&["provision", &bundle]);
    assert!(said.contains("GW-PROV-01"), "{said}");
}

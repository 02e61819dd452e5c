//! The Yocto layer: BitBake's own parser reads it, it fits `Cargo.lock` and the rest of the tree,
//! the linter of OE finds nothing, and the init script does its work.
//!
//! Parser and linter come from PyPI into `target/yocto-tools`, once. What cannot be had is left out
//! by name; `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
#![expect(clippy::print_stdout, reason = "a suite that is left out says so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

const RECIPES: &str = "yocto/meta-dm-gateway/recipes-connectivity/dm-gateway";

/// With their versions, so that a new rule of the linter comes when we want it.
const PACKAGES: [&str; 2] = ["bitbake-setup==2.19.0", "oelint-adv==9.11.2"];

/// What the linter asks for and we do not do.
const SUPPRESSED: [&str; 3] = [
    // There is no page that it could name.
    "oelint.var.mandatoryvar.HOMEPAGE",
    // Variables of ours and of meta-rauc, meta-swupdate.
    "oelint.vars.mispell",
    "oelint.vars.mispell.unknown",
];

#[test]
fn the_list_of_crates_is_that_of_cargo_lock() {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let text = |package: &toml::Value, key| {
        package.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    let (mut addresses, mut sums) = (Vec::new(), Vec::new());
    for package in packages.iter().filter(|package| package.get("source").is_some()) {
        let (name, version) = (text(package, "name"), text(package, "version"));
        let source = text(package, "source");
        assert!(source.contains("crates.io-index"), "BitBake cannot fetch {name} of {source}");
        addresses.push(format!("    crate://crates.io/{name}/{version} \\"));
        let sum = text(package, "checksum");
        sums.push(format!("SRC_URI[{name}-{version}.sha256sum] = \"{sum}\""));
    }
    let list = read(&format!("{RECIPES}/dm-gateway-crates.inc"));
    let lines = |start| list.lines().filter(move |line| line.starts_with(start));
    assert!(lines("    crate://").eq(&addresses), "not the crates of Cargo.lock: run yocto/crates");
    assert!(lines("SRC_URI[").eq(&sums), "not the sums of Cargo.lock: run yocto/crates");
}

#[test]
fn bitbakes_parser_reads_the_layer_and_it_fits_the_rest_of_the_tree() {
    let Some(python) = tool("python") else { return };
    let output = Command::new(python)
        .env("LC_ALL", "C.UTF-8")
        .args([root().join("tests/yocto/parse.py"), root()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn the_linter_of_openembedded_finds_no_error_and_no_warning() {
    let Some(linter) = tool("oelint-adv") else { return };
    let mut files = Vec::new();
    collect(&root().join("yocto/meta-dm-gateway"), &mut files);
    assert!(files.len() >= 8, "{files:?}");
    let mut command = Command::new(linter);
    command.args(["--release", "wrynose", "--quiet", "--exit-zero", "--hide", "info"]);
    for rule in SUPPRESSED {
        command.args(["--suppress", rule]);
    }
    let output = command.env("LC_ALL", "C.UTF-8").args(files).output().unwrap();
    let mut found = words(&output);
    // OE's own class writes the list in this form, which OE's linter does not like.
    let excepted = |line: &str| line.contains("-crates.inc:4:error:oelint.vars.inconspaces:");
    found = found.lines().filter(|line| !excepted(line)).collect();
    assert!(output.status.success() && found.trim().is_empty(), "{found}");
}

#[test]
fn the_init_script_starts_the_daemon_keeps_it_running_and_stops_it() {
    if !nix::unistd::geteuid().is_root() {
        return println!("left out: the init script wants root, to become another user");
    }
    let place = Place::new();
    assert_eq!(place.init("status").status.code(), Some(3));
    assert_eq!(place.init("start").status.code(), Some(6), "without a configuration");
    fs::write(place.path("etc.toml"), "").unwrap();

    let output = place.init("start");
    assert!(output.status.success(), "{}", words(&output));
    let first = place.wait_for_a_process_beside("");
    assert_eq!(place.init("status").status.code(), Some(0));
    assert!(words(&place.init("start")).contains("runs already"));
    let state = fs::metadata(place.path("state")).unwrap().permissions().mode();
    assert_eq!(state & 0o777, 0o700);

    // It ends by itself, as by a fault: it comes again.
    assert!(Command::new("kill").args(["-KILL", &first]).status().unwrap().success());
    let second = place.wait_for_a_process_beside(&first);
    assert!(place.init("reload").status.success());
    place.wait_for("reloaded", |said| said.contains("hangup"));
    assert!(is_there(&second), "a reload ended it");

    assert!(place.init("stop").status.success());
    assert!(!is_there(&second));
    assert_eq!(place.init("status").status.code(), Some(3));
    assert!(place.init("stop").status.success(), "stopping twice is no error");
    // What it was started as, and what it said in the end.
    let said = fs::read_to_string(place.path("log")).unwrap();
    assert!(said.contains("run --config") && said.contains("terminated"), "{said}");
}

/// The init script with all its paths in a folder of their own, and a shell as the daemon.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let text = read(&format!("{RECIPES}/files/dm-gateway.init"));
        let daemon = format!(
            "#!/bin/sh\necho \"$$ $*\" >>{log}\ntrap 'echo hangup >>{log}' HUP\n\
             trap 'echo terminated >>{log}; exit 0' TERM\nwhile :; do sleep 0.1; done\n",
            log = here("log")
        );
        for (name, text) in [
            ("daemon", daemon),
            (
                "init",
                text.replace("/usr/bin/dm-gateway", &here("daemon"))
                    .replace("/etc/dm-gateway/dm-gateway.toml", &here("etc.toml"))
                    .replace("/var/lib/dm-gateway", &here("state"))
                    .replace("/run/dm-gateway", &here("run"))
                    .replace("/etc/default/dm-gateway", &here("default")),
            ),
        ] {
            fs::write(here(name), text).unwrap();
            fs::set_permissions(here(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Root stands for the daemon's user, which this machine may not have.
        let default = format!("OWNER=root\nLOG={}\n", here("out"));
        fs::write(here("default"), default).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn init(&self, verb: &str) -> Output {
        Command::new("sh").arg(self.path("init")).arg(verb).output().unwrap()
    }

    /// The daemon's process, when it is another than `before`.
    fn wait_for_a_process_beside(&self, before: &str) -> String {
        let mut process = String::new();
        self.wait_for("a new process", |said| {
            let line = said.lines().rfind(|line| line.contains("run --config"));
            process = line.and_then(|it| it.split(' ').next()).unwrap_or_default().to_owned();
            process != before && is_there(&process)
        });
        process
    }

    fn wait_for(&self, what: &str, mut is_so: impl FnMut(&str) -> bool) {
        let started = Instant::now();
        while !is_so(&fs::read_to_string(self.path("log")).unwrap_or_default()) {
            let said = fs::read_to_string(self.path("out")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(60), "no {what}: {said}");
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.init("stop");
    }
}

fn is_there(process: &str) -> bool {
    !process.is_empty() && Path::new("/proc").join(process).exists()
}

/// A program of the Python packages, installed if it is not there.
fn tool(name: &str) -> Option<PathBuf> {
    static TOOLS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match TOOLS.get_or_init(install) {
        Ok(folder) => Some(folder.join(name)),
        Err(why) => {
            assert!(
                std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"),
                "BitBake's parser and oelint-adv are required: {why}"
            );
            println!("left out: BitBake's parser and oelint-adv cannot be had: {why}");
            None
        }
    }
}

/// The folder of the programs.
fn install() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("yocto-tools");
    let (programs, ready) = (folder.join("bin"), folder.join("ready"));
    if fs::read_to_string(&ready).is_ok_and(|text| text == PACKAGES.concat()) {
        return Ok(programs);
    }
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(words(&output).lines().last().unwrap_or_default().to_owned()),
        Err(error) => Err(format!("{:?}: {error}", command.get_program())),
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(programs.join("pip")).args(["install", "--quiet"]).args(PACKAGES))?;
    fs::write(ready, PACKAGES.concat()).map_err(|error| error.to_string())?;
    Ok(programs)
}

/// The layer's files that the linter reads, examples too.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if path.is_dir() {
            collect(&path, files);
        } else if matches!(name, "bb" | "bbappend" | "inc") || path.ends_with("layer.conf") {
            files.push(path);
        }
    }
}

fn words(output: &Output) -> String {
    let text = |octets| String::from_utf8_lossy(octets).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

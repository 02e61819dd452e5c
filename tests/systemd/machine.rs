//! A Debian 13 that runs its own systemd, in a container (systemd-nspawn), from its boot to its
//! power-off. Its root file system is made once, below the target directory; what a test changes
//! in it is gone with it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for anything that happens in the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Where the machine sees the packages.
pub(crate) const PACKAGES: &str = "/run/packages";

/// The release, and what its smallest system lacks.
const RELEASE: &str = "trixie";
const INCLUDED: &str = "systemd-sysv,dbus,iproute2,procps";

/// One at a time: they share the root file system, and the machine of the tests may be small.
static TURN: Mutex<()> = Mutex::new(());

/// A machine that has booted. Dropping it powers it off.
pub(crate) struct Machine {
    container: Child,
    /// Its first process, seen from outside.
    leader: String,
    directory: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// Boots one; or `None`, and a line that says why, where that cannot be done.
    pub(crate) fn boot(test: &str) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let root = match root() {
            Ok(root) => root,
            Err(reason) => {
                left_out(test, &reason);
                return None;
            }
        };
        let directory = tempfile::tempdir().unwrap();
        let packages = directory.path().join("packages");
        fs::create_dir(&packages).unwrap();
        let log = fs::File::create(directory.path().join("console")).unwrap();
        let container = Command::new("systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--private-network"])
            .args(["--console=pipe", "--volatile=overlay", "--boot"])
            .arg(format!("--machine=dm-gateway-{}", std::process::id()))
            .arg(format!("--bind-ro={}:{PACKAGES}", packages.display()))
            .arg(format!("--directory={}", root.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut machine = Self { container, leader: String::new(), directory, _turn: turn };
        if let Err(reason) = machine.wait_for_boot() {
            let console = fs::read_to_string(machine.directory.path().join("console"));
            left_out(test, &format!("{reason}: {}", console.unwrap_or_default().trim()));
            return None;
        }
        Some(machine)
    }

    /// The directory that the machine sees as [`PACKAGES`].
    pub(crate) fn packages(&self) -> PathBuf {
        self.directory.path().join("packages")
    }

    /// What a shell in the machine makes of `script`, which must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{stdout}{stderr}", output.status);
        stdout
    }

    /// The same, whatever comes of it.
    pub(crate) fn try_sh(&self, script: &str) -> Output {
        self.command(script).output().unwrap()
    }

    /// A command that runs `script` in the machine.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.leader, "--mount", "--uts", "--ipc", "--net", "--pid"])
            .args(["--cgroup", "sh", "-c", &format!("cd /\n{script}")])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// Writes a file in the machine, and the directories above it.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let mut child = self
            .command(&format!("mkdir -p $(dirname {path}) && cat >{path}"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{path}");
    }

    /// Runs `script` until what it prints is as wanted.
    pub(crate) fn until(&self, script: &str, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let printed = text(&self.try_sh(script).stdout);
            if wanted(printed.trim()) {
                return printed.trim().to_owned();
            }
            assert!(Instant::now() < end, "not {what}: {script}\n{printed}{}", self.journal());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A property of the service, as `systemctl show` tells it.
    pub(crate) fn property(&self, name: &str) -> String {
        self.sh(&format!("systemctl show --value -p {name} dm-gateway")).trim().to_owned()
    }

    /// What the service and the service manager wrote about the service.
    pub(crate) fn journal(&self) -> String {
        text(&self.try_sh("journalctl --no-pager -o cat -u dm-gateway | tail -n 40").stdout)
    }

    fn wait_for_boot(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.container.try_wait().unwrap() {
                return Err(format!("systemd-nspawn ended, {status}"));
            }
            if let Some(leader) = child_named_systemd(self.container.id()) {
                self.leader = leader;
                let state = text(&self.try_sh("systemctl is-system-running").stdout);
                if matches!(state.trim(), "running" | "degraded") {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("it did not boot".to_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.journal());
        }
        if !self.leader.is_empty() {
            let _ = self.try_sh("systemctl poweroff");
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end && matches!(self.container.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let _ = self.container.kill();
        let _ = self.container.wait();
    }
}

/// Says that a test did nothing; with `DM_GATEWAY_REQUIRE_TOOLS=1` that is a failure.
pub(crate) fn left_out(test: &str, reason: &str) {
    let required = std::env::var_os("DM_GATEWAY_REQUIRE_TOOLS").is_some_and(|v| v == "1");
    assert!(!required, "{test}: {reason}");
    // Not `println!`, which a test that passes keeps to itself.
    let _ = writeln!(std::io::stdout(), "\nleft out: systemd: {test} ({reason})");
}

/// Whether a program can be started at all.
pub(crate) fn exists(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// `target/` or whatever it is called here.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}

/// The root file system, made if it is not there.
fn root() -> Result<PathBuf, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    for (program, package) in
        [("systemd-nspawn", "systemd-container"), ("mmdebstrap", "mmdebstrap")]
    {
        if !exists(program) {
            return Err(format!("needs {program}, Debian package {package}"));
        }
    }
    let directory = target_directory().join("systemd");
    let (root, unfinished) = (directory.join(RELEASE), directory.join("unfinished"));
    if root.exists() {
        return Ok(root);
    }
    // What an interrupted run left; no more than a tree of files.
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let output = Command::new("timeout")
        .args(["500", "mmdebstrap", "--quiet", "--variant=minbase", "--format=directory"])
        .args([&format!("--include={INCLUDED}"), RELEASE])
        .arg(&unfinished)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let stderr = text(&output.stderr);
        let last = stderr.lines().last().unwrap_or_default().to_owned();
        return Err(format!("no Debian mirror in reach? mmdebstrap: {last}"));
    }
    fs::rename(&unfinished, &root).map_err(|error| error.to_string())?;
    Ok(root)
}

fn child_named_systemd(parent: u32) -> Option<String> {
    let output = Command::new("pgrep").args(["-x", "-P", &parent.to_string(), "systemd"]).output();
    let found = text(&output.ok()?.stdout);
    found.lines().next().map(str::to_owned)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

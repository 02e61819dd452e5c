//! The Debian package under a real systemd: it is installed, runs as the unit says, is killed and
//! comes back, is upgraded, removed and purged.
//!
//! Needs root, systemd-nspawn, mmdebstrap, cargo-deb (`.ci/package --tools`), and a Debian mirror
//! at the first run. Where they are missing a test says `left out: systemd: …` and passes;
//! `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure. `DM_GATEWAY_DEB=FILE` tests that package
//! instead of building one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::{Machine, PACKAGES, exists, left_out, target_directory};

/// The bar for `systemd-analyze security`, in tenths.
const EXPOSURE: u32 = 15;

const CONFIGURATION: &str = r#"
[gateway]
id = "gateway.test"
state-dir = "/var/lib/dm-gateway"
public-address = "198.51.100.2"

[wan]
push-listen = ["0.0.0.0:2948"]

[[lan]]
name = "radios"
interface = "lan0"
listen = "192.168.4.1:8080"
policy = "transparent"
detect = ["neighbours"]

[control]
socket = "/run/dm-gateway/control.sock"
"#;

/// A LAN with one radio, which is a network namespace. The kernel does not look at an entry that
/// is stale for a minute, unless somebody asks it to.
const LAN: &str = "
ip netns add radio
ip link add lan0 type veth peer name eth0 netns radio
ip address add 192.168.4.1/24 dev lan0
ip link set lan0 up
ip -n radio address add 192.168.4.20/24 dev eth0
ip -n radio link set eth0 address 00:16:3e:00:00:0a up
ip -n radio link set lo up
ip -n radio route add default via 192.168.4.1
echo 60 >/proc/sys/net/ipv4/neigh/lan0/delay_first_probe_time
";

const RADIO: &str = "IMEI:490154203237518";

#[test]
fn the_units_are_valid_and_their_exposure_is_at_most_one_and_a_half() {
    let test = "the_units_are_valid_and_their_exposure_is_at_most_one_and_a_half";
    if !exists("systemd-analyze") {
        return left_out(test, "needs systemd-analyze, Debian package systemd");
    }
    let version = run(Command::new("systemd-analyze").arg("--version")).0;
    let version = version.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let directory = tempfile::tempdir().unwrap();
    // The program need not be installed here.
    let text = fs::read_to_string(unit("dm-gateway.service")).unwrap();
    let text = text.replace("ExecStart=/usr/bin/dm-gateway", "ExecStart=/bin/true");
    let service = directory.path().join("dm-gateway.service");
    fs::write(&service, text).unwrap();
    let socket = directory.path().join("dm-gateway.socket");
    fs::copy(unit("sockets/dm-gateway.socket"), &socket).unwrap();

    let (stdout, stderr) =
        run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args([&service, &socket]));
    let of_ours = |line: &&str| line.contains("dm-gateway");
    // Before 253 the line above it counts, as the unit says.
    let known = |line: &&str| !line.ends_with("ignoring: notify-reload");
    let found: Vec<&str> =
        stdout.lines().chain(stderr.lines()).filter(of_ours).filter(known).collect();
    assert!(found.is_empty(), "systemd {version}: {found:#?}");

    let (table, _) = run(Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(&service));
    assert_exposure(&version, &table);
}

#[test]
fn a_package_waits_for_its_configuration_and_leaves_nothing_when_it_is_purged() {
    let test = "a_package_waits_for_its_configuration_and_leaves_nothing_when_it_is_purged";
    let Some((machine, package)) = machine_and_package(test) else { return };

    // Enabled, but the example is nobody's configuration.
    let printed = machine.sh(&format!("dpkg -i {PACKAGES}/new.deb"));
    assert!(printed.contains("systemctl start dm-gateway"), "{printed}");
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert_eq!(machine.property("UnitFileState"), "enabled");
    assert!(!machine.try_sh("systemctl is-enabled dm-gateway.socket").status.success());
    assert!(machine.journal().contains("still the example"), "{}", machine.journal());
    assert_eq!(
        machine.sh("stat -c '%a %U:%G' /etc/dm-gateway/bootstrap.d"),
        "750 root:dm-gateway\n"
    );
    assert_eq!(machine.sh("stat -c '%a %U:%G' /etc/dm-gateway/secrets"), "700 root:root\n");

    machine.sh(LAN);
    machine.write("/etc/dm-gateway/dm-gateway.toml", CONFIGURATION);
    machine.sh("systemctl start dm-gateway");
    let before = machine.property("MainPID");
    machine.sh("dm-gateway status");
    machine.write("/etc/dm-gateway/bootstrap.d/ours.xml.bak", "a file of ours");

    // A newer package with another example: what was edited stays.
    newer(&package, &machine.packages().join("newer.deb"));
    machine.sh(&format!("dpkg -i --force-confold {PACKAGES}/newer.deb"));
    assert_eq!(machine.property("ActiveState"), "active");
    assert_ne!(machine.property("MainPID"), before, "the newer program runs");
    let configuration = machine.sh("cat /etc/dm-gateway/dm-gateway.toml");
    assert_eq!(configuration.trim(), CONFIGURATION.trim());
    machine.sh("grep -q 'of a newer version' /etc/dm-gateway/dm-gateway.toml.dpkg-dist");
    let version = machine.sh("dpkg-query -W -f '${Version}' dm-gateway");
    assert!(version.ends_with("+newer"), "{version}");

    // Removed: it runs no more; configuration and state wait for its return.
    machine.sh("dpkg --remove dm-gateway");
    assert!(!machine.try_sh("pgrep -x dm-gateway").status.success());
    machine.sh("test ! -e /usr/bin/dm-gateway && test -e /etc/dm-gateway/dm-gateway.toml");
    machine.sh("test -d /var/lib/dm-gateway/store");
    machine.sh(&format!("dpkg -i --force-confold {PACKAGES}/new.deb"));
    assert_eq!(machine.property("ActiveState"), "active");

    machine.sh("systemctl enable /usr/share/dm-gateway/dm-gateway.socket");
    machine.sh("systemctl stop dm-gateway && systemctl start dm-gateway.socket");
    machine.sh("systemctl start dm-gateway");
    machine.sh("dpkg --purge dm-gateway");
    assert!(!machine.try_sh("systemctl is-active dm-gateway.socket").status.success());
    assert!(!machine.try_sh("pgrep -x dm-gateway").status.success());
    machine.sh("test ! -e /var/lib/dm-gateway && test ! -e /run/dm-gateway");
    let left =
        machine.sh("find / -xdev -path '*dm-gateway*' -not -path '/proc/*' -not -path '/run/*'");
    let left: Vec<&str> = left.lines().collect();
    let ours = [
        "/etc/dm-gateway",
        "/etc/dm-gateway/bootstrap.d",
        "/etc/dm-gateway/bootstrap.d/ours.xml.bak",
    ];
    assert_eq!(left, ours, "an administrator's file stays, nothing else does");
}

#[test]
fn the_service_is_confined_tells_how_it_is_and_comes_back_when_it_dies_or_hangs() {
    let test = "the_service_is_confined_tells_how_it_is_and_comes_back_when_it_dies_or_hangs";
    let Some((machine, _)) = machine_and_package(test) else { return };
    installed(&machine);

    // It says so itself: `systemctl start` came back after READY=1.
    assert_eq!(machine.property("Type"), "notify-reload");
    assert_eq!(machine.property("ActiveState"), "active");
    let told = machine.property("StatusText");
    assert!(told.contains("device"), "{told}");
    machine.sh("dm-gateway status");

    let pid = machine.property("MainPID");
    let status = machine.sh(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_ne!(field("Uid"), "0");
    // CAP_NET_ADMIN is number 12.
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), 1 << 12, "{set}");
    }
    assert_eq!(u64::from_str_radix(&field("CapAmb"), 16).unwrap(), 0, "nobody inherits it");
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
    let modes =
        "stat -c '%a %U:%G' /var/lib/dm-gateway /run/dm-gateway /run/dm-gateway/control.sock";
    let expected = ["700", "750", "660"].map(|mode| format!("{mode} dm-gateway:dm-gateway\n"));
    assert_eq!(machine.sh(modes), expected.concat());
    let version = machine.sh("systemctl --version | sed -n '1s/systemd //p'");
    let table = machine.sh("systemd-analyze security --no-pager dm-gateway.service");
    assert_exposure(version.trim(), &table);
    let found = machine.try_sh("systemd-analyze verify --man=no dm-gateway.service 2>&1").stdout;
    assert_eq!(String::from_utf8_lossy(&found), "");

    // Its group may ask, others may not.
    machine.sh("runuser -u nobody -G dm-gateway -- dm-gateway status");
    assert!(!machine.try_sh("runuser -u nobody -- dm-gateway status").status.success());

    reloads(&machine);

    for (signal, result) in [("KILL", "signal"), ("STOP", "watchdog")] {
        let (pid, restarts) = (machine.property("MainPID"), machine.property("NRestarts"));
        machine.sh(&format!("kill -{signal} {pid}"));
        machine.until("systemctl show --value -p NRestarts dm-gateway", "begun anew", |now| {
            now != restarts
        });
        machine.until("systemctl is-active dm-gateway", "active again", |state| state == "active");
        assert_ne!(machine.property("MainPID"), pid);
        let journal = machine.journal();
        assert!(journal.contains(&format!("'{result}'")), "{signal}: {journal}");
        machine.sh("dm-gateway status");
    }

    // A stop is a stop: in time, and for good.
    machine.sh("systemctl stop dm-gateway");
    assert_eq!(machine.property("Result"), "success");
    assert_eq!(machine.try_sh("dm-gateway status").status.code(), Some(3));

    // Optional: systemd holds the port for pushes. What arrives without a service starts one, which
    // finds it there.
    machine.sh("systemctl enable --now /usr/share/dm-gateway/dm-gateway.socket");
    machine.sh("bash -c 'echo early >/dev/udp/127.0.0.1/2948'");
    machine.until("dm-gateway status --json", "the push that waited", |status| {
        status.contains("\"pushes\":1,")
    });
    let journal = machine.journal();
    assert!(journal.contains("a socket at [::]:2948, which no push-listen names"), "{journal}");
    machine.sh("systemctl stop dm-gateway.socket dm-gateway");

    // Secrets: a copy that only the service can read. A missing one keeps it from starting.
    machine.write("/etc/dm-gateway/secrets/user-pin", "1234\n");
    machine.sh("chmod 600 /etc/dm-gateway/secrets/user-pin");
    machine.write(
        "/etc/systemd/system/dm-gateway.service.d/credentials.conf",
        "[Service]\nLoadCredential=user-pin:/etc/dm-gateway/secrets/user-pin\n",
    );
    let pin = "[bootstrap]\nuser-pin-file = \"/run/credentials/dm-gateway.service/user-pin\"\n";
    machine.write("/etc/dm-gateway/dm-gateway.toml", &format!("{CONFIGURATION}{pin}"));
    machine.sh("systemctl daemon-reload && systemctl start dm-gateway");
    keys(&machine, &format!("{CONFIGURATION}{pin}"));
    assert!(
        !machine
            .try_sh("runuser -u nobody -- ls /run/credentials/dm-gateway.service")
            .status
            .success()
    );
    machine.sh("systemctl stop dm-gateway && rm /etc/dm-gateway/secrets/user-pin");
    assert!(!machine.try_sh("systemctl start dm-gateway").status.success());
    let status = "systemctl show --value -p ExecMainStatus dm-gateway";
    machine.until(status, "243/CREDENTIALS", |status| status == "243");
}

/// The unit has one capability. Without it the service runs, but a push does not make the kernel
/// look whether its device is still there.
#[test]
fn with_the_units_capability_a_neighbour_is_probed_and_with_one_less_it_is_not() {
    let test = "with_the_units_capability_a_neighbour_is_probed_and_with_one_less_it_is_not";
    let Some((machine, _)) = machine_and_package(test) else { return };
    installed(&machine);
    assert_eq!(machine.property("CapabilityBoundingSet"), "cap_net_admin");
    // A program in events.d has none.
    machine.write(
        "/etc/dm-gateway/events.d/10-status",
        "#!/bin/sh\ngrep ^Cap /proc/self/status > /var/lib/dm-gateway/hook\n",
    );
    machine.sh("chmod 755 /etc/dm-gateway/events.d/10-status");
    let hooks = "[events]\ndirectory = \"/etc/dm-gateway/events.d\"\n";
    machine.write("/etc/dm-gateway/dm-gateway.toml", &format!("{CONFIGURATION}{hooks}"));
    machine.sh("systemctl restart dm-gateway");
    machine.sh(&format!(
        "ip netns exec radio dm-gateway simulate device --id {RADIO} --listen 192.168.4.20:2948 \
             --gateway http://192.168.4.1:8080/dm --server acme=http://192.0.2.9/dm \
             --open-session --wait list-answered --timeout 60"
    ));
    machine.until("dm-gateway map list --json", "mapped", |list| list.contains("acme"));

    let none = format!("{:016x}", 0);
    machine.until("cat /var/lib/dm-gateway/hook", "the program was run", |sets| {
        let of = |name: &str| sets.lines().find_map(|line| line.strip_prefix(name));
        ["CapPrm:\t", "CapEff:\t", "CapAmb:\t"].iter().all(|name| of(name) == Some(&none))
    });

    assert!(probed(&machine, 1), "with the capability");

    machine.write(
        "/etc/systemd/system/dm-gateway.service.d/less.conf",
        "[Service]\nCapabilityBoundingSet=\nAmbientCapabilities=\n",
    );
    machine.sh("systemctl daemon-reload && systemctl restart dm-gateway");
    assert_eq!(machine.property("CapabilityBoundingSet"), "");
    assert!(!probed(&machine, 2), "without it");
}

/// The private key of a certificate can be a credential: the service listens with it, and may not
/// read the file that it is from.
fn keys(machine: &Machine, configuration: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (key, certificate) = (directory.path().join("key"), directory.path().join("certificate"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "30", "-subj", "/CN=gateway.test", "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        return println!("left out: keys as credentials: openssl not installed");
    }
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    machine.write("/etc/dm-gateway/push.pem", &text(&certificate));
    machine.write("/etc/dm-gateway/secrets/push-key.pem", &text(&key));
    machine.write("/etc/dm-gateway/secrets/push-token", "0123456789abcdef0123456789abcdef\n");
    machine.sh("chmod 600 /etc/dm-gateway/secrets/*");
    machine.write(
        "/etc/systemd/system/dm-gateway.service.d/keys.conf",
        "[Service]\nLoadCredential=push-key:/etc/dm-gateway/secrets/push-key.pem\n\
         LoadCredential=push-token:/etc/dm-gateway/secrets/push-token\n",
    );
    let listens = configuration
        .replace("[wan]\n", "[wan]\nhttp-push-listen = \"127.0.0.1:8443\"\n")
        + "[wan.http-push]\ncertificate = \"push.pem\"\nkey = \"credential:push-key\"\n\
           token-file = \"credential:push-token\"\n";
    machine.write("/etc/dm-gateway/dm-gateway.toml", &listens);
    machine.sh("systemctl daemon-reload && systemctl restart dm-gateway");
    machine.sh("ss -Hltn sport = :8443 | grep -q 8443");
    assert!(
        !machine
            .try_sh("runuser -u dm-gateway -- cat /etc/dm-gateway/secrets/push-key.pem")
            .status
            .success()
    );
    machine.sh("dm-gateway config check");
    // What is no part of what follows.
    machine.sh("rm /etc/systemd/system/dm-gateway.service.d/keys.conf && systemctl daemon-reload");
    machine.write("/etc/dm-gateway/dm-gateway.toml", configuration);
}

// --- Steps -----------------------------------------------------------------------------------

/// Whether the kernel asks a neighbour of which it has not heard for long, because a push for it
/// came in.
fn probed(machine: &Machine, session: u32) -> bool {
    let entry = "ip neigh show 192.168.4.20 dev lan0";
    machine.sh("ip neigh replace 192.168.4.20 lladdr 00:16:3e:00:00:0a dev lan0 nud stale");
    machine
        .until("dm-gateway devices --json", "attached", |devices| devices.contains("\"attached\""));
    machine.sh(&format!(
        "dm-gateway simulate server --id acme --listen 127.0.0.1:8000 --push-to 127.0.0.1:2948 \
             --device {RADIO} --session {session} --wait push-sent --timeout 60"
    ));
    // The push itself goes by the stale entry, which makes it DELAY; who probes does it at once.
    machine.until(entry, "used", |entry| !entry.contains("STALE"));
    for _ in 0..20 {
        if machine.sh(entry).contains("REACHABLE") {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    false
}

/// Installs the package and starts its service with a LAN and a watchdog that is quick to bite.
fn installed(machine: &Machine) {
    machine.sh(LAN);
    machine.sh(&format!("dpkg -i {PACKAGES}/new.deb"));
    machine.write("/etc/dm-gateway/dm-gateway.toml", CONFIGURATION);
    machine.write(
        "/etc/systemd/system/dm-gateway.service.d/quick.conf",
        "[Service]\nWatchdogSec=10\nRestartSec=100ms\n",
    );
    machine.sh("systemctl daemon-reload && systemctl start dm-gateway");
}

fn reloads(machine: &Machine) {
    let pid = machine.property("MainPID");
    let reload = |configuration: &str| {
        machine.write("/etc/dm-gateway/dm-gateway.toml", configuration);
        machine.sh("systemctl reload dm-gateway");
        assert_eq!(machine.property("ActiveState"), "active");
        assert_eq!(machine.property("MainPID"), pid);
        // 1 says that something is not as it should be: so it is with a mistake in the file.
        machine.sh("dm-gateway status --json || test $? -eq 1")
    };
    let ignoring = CONFIGURATION.replace("\"transparent\"", "\"ignore\"");
    assert!(reload(&ignoring).contains("\"ignore\""));
    // Nothing of a configuration with a mistake counts.
    let mistaken = CONFIGURATION.replace("[[lan]]", "[[lan]]\npolice = 1");
    assert!(reload(&mistaken).contains("\"ignore\""));
    assert!(reload(CONFIGURATION).contains("\"transparent\""));
}

// --- Packages --------------------------------------------------------------------------------

/// A machine that finds the package at `PACKAGES/new.deb`, and its path outside.
fn machine_and_package(test: &str) -> Option<(Machine, PathBuf)> {
    let package = match package() {
        Ok(package) => package,
        Err(reason) => {
            left_out(test, &reason);
            return None;
        }
    };
    let machine = Machine::boot(test)?;
    fs::copy(&package, machine.packages().join("new.deb")).unwrap();
    Some((machine, package))
}

/// Builds the package of this tree, once in a run.
fn package() -> Result<PathBuf, String> {
    static PACKAGE: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    PACKAGE.get_or_init(built).clone()
}

fn built() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("DM_GATEWAY_DEB") {
        return Ok(PathBuf::from(given));
    }
    if !target_directory().join("tools/bin/cargo-deb").exists() {
        return Err("needs cargo-deb: .ci/package --tools".to_owned());
    }
    if !exists("dpkg-deb") {
        return Err("needs dpkg-deb, Debian package dpkg".to_owned());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/package");
    let (stdout, stderr) = run(&mut Command::new(script));
    let last = stdout.lines().last().unwrap_or_default();
    assert!(last.ends_with(".deb"), "{stdout}{stderr}");
    Ok(PathBuf::from(last))
}

/// The same package with a higher version and another example of a configuration.
fn newer(package: &Path, to: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    run(Command::new("dpkg-deb").arg("-R").arg(package).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let version = text.lines().find(|line| line.starts_with("Version:")).unwrap();
    fs::write(&control, text.replace(version, &format!("{version}+newer"))).unwrap();
    for example in
        ["etc/dm-gateway/dm-gateway.toml", "usr/share/dm-gateway/dm-gateway.toml.example"]
    {
        let text = fs::read_to_string(tree.join(example)).unwrap();
        fs::write(tree.join(example), format!("{text}# of a newer version\n")).unwrap();
    }
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "-b"]).arg(&tree).arg(to));
    assert!(to.exists());
}

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// → Overall exposure level for dm-gateway.service: 1.5 OK
fn assert_exposure(version: &str, table: &str) {
    let line = table.lines().find(|line| line.contains("Overall exposure")).unwrap_or_default();
    let score = line.split_whitespace().find_map(|word| {
        let (whole, tenths) = word.split_once('.')?;
        Some(whole.parse::<u32>().ok()? * 10 + tenths.parse::<u32>().ok()?)
    });
    let Some(score) = score else { panic!("no score: {table}") };
    assert!(score <= EXPOSURE, "systemd {version}: {table}");
    println!("systemd {version}: exposure {}.{}", score / 10, score % 10);
}

/// Both outputs of a command that can be started.
fn run(command: &mut Command) -> (String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

//! Programs in events.d: who is run, with what, for how long, and what it costs the daemon.

use crate::live::{Live, PROGRAM, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

const DEVICE: &str = "IMEI:490154203237518";

fn program(directory: &Path, name: &str, mode: u32, script: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn programs_are_told_each_event_and_nothing_else() {
    let live = Live::new(12, "[events]\ndirectory = \"DIR/events.d\"");
    let (directory, out) = (live.path().join("events.d"), live.path().join("out"));
    fs::create_dir(&directory).unwrap();
    fs::create_dir(&out).unwrap();
    let out = out.display();
    program(
        &directory,
        "50-all",
        0o755,
        &format!("cat >> {out}/all\nenv >> {out}/env\npwd >> {out}/pwd"),
    );
    program(&directory, "50-some.mapped", 0o700, &format!("echo $GW_EVENT >> {out}/mapped"));
    program(&directory, "60-fails.sh", 0o755, "echo 'no modem' >&2; exit 7");
    program(&directory, "70-plain", 0o644, &format!("touch {out}/never"));
    program(&directory, "70-open", 0o777, &format!("touch {out}/never"));
    program(&directory, ".hidden", 0o755, &format!("touch {out}/never"));
    program(&directory, "80-old~", 0o755, &format!("touch {out}/never"));
    let mut live = live;
    let mut command = live.command(&["run"]);
    command.env("CANARY", "of-the-daemons-environment");
    live.run(command);
    live.session(20, DEVICE, &["com.example.dms", "urn:dms:2"]);
    let read = |live: &Live, name: &str| {
        fs::read_to_string(live.path().join("out").join(name)).unwrap_or_default()
    };
    live.until("both are told", |live| read(live, "mapped").lines().count() == 2);
    live.until("the failure is told", |live| {
        live.log().contains("60-fails.sh ended with exit code 7: no modem")
    });
    assert_eq!(read(&live, "mapped"), "mapped\nmapped\n");
    assert_eq!(live.log().matches("60-fails.sh").count(), 1, "once a minute");
    assert!(live.log().contains("70-open is not run: others than its owner"), "{}", live.log());
    assert_eq!(read(&live, "never"), "");
    let events: Vec<serde_json::Value> =
        read(&live, "all").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mapped = events.iter().find(|event| event["event"] == "mapped").unwrap();
    assert_eq!((&mapped["schema"], &mapped["device"]), (&1.into(), &DEVICE.into()));
    let environment = read(&live, "env");
    assert!(environment.contains("GW_EVENT=mapped\n") && environment.contains("PATH="));
    assert!(!environment.contains("CANARY") && !environment.contains("DM_GATEWAY"));
    assert!(read(&live, "pwd").lines().all(|line| line == "/"));
    let io = live.json(&["status"])["io"].clone();
    assert!(io["hooks_run"].as_u64() > Some(4) && io["hooks_failed"].as_u64() > Some(1), "{io}");

    // The status tells of it as well, until it works again.
    let said = text(&live.ask(&["status"]).stdout);
    assert!(said.contains("WARN  GW-OBS-02    events are not told to a program: "), "{said}");
    program(&directory, "60-fails.sh", 0o755, "true");
    fs::remove_file(directory.join("70-open")).unwrap();
    live.until("nothing is wrong any more", |live| {
        live.push("com.example.stranger", DEVICE, 8);
        !text(&live.ask(&["status"]).stdout).contains("GW-OBS-02")
    });

    // What is put there while the daemon runs counts.
    program(&directory, "90-late.refused", 0o755, &format!("cat > {out}/late"));
    live.until("it is told", |live| {
        live.push("com.example.stranger", DEVICE, 9);
        std::thread::sleep(std::time::Duration::from_millis(300));
        read(live, "late").contains("unknown-server")
    });
}

#[test]
fn a_slow_program_ends_and_a_flood_is_bounded() {
    let live = Live::new(13, "[events]\ndirectory = \"DIR/events.d\"");
    let directory = live.path().join("events.d");
    fs::create_dir(&directory).unwrap();
    let out = live.path().join("out");
    // A grandchild that holds everything open ends with it.
    let script = format!("echo $$ >> {}\nsleep 600 & sleep 601", out.display());
    program(&directory, "slow", 0o755, &script);
    let mut live = live;
    let command = live.command(&["run"]);
    live.run(command);
    for session in 0..400 {
        live.push("com.example.stranger", DEVICE, session);
    }
    live.until("events are left out", |live| {
        live.json(&["status"])["io"]["hooks_dropped"].as_u64() > Some(100)
    });
    assert!(live.log().contains("works too slowly: "), "{}", live.log());
    live.until("the program ends", |live| {
        live.log().contains("took longer than 10 s and was killed")
    });
    let first = fs::read_to_string(&out).unwrap().lines().next().unwrap().to_owned();
    live.until("it is gone", |_| !Path::new("/proc").join(&first).exists());
    // Meanwhile the daemon works.
    live.session(20, DEVICE, &["com.example.dms"]);
    live.push("com.example.dms", DEVICE, 1);
    live.until("it forwards", |live| live.json(&["status"])["counters"]["forwarded"] == 1);
}

#[test]
fn a_missing_directory_is_told_and_hurts_nobody() {
    let live = Live::start(14, "[events]\ndirectory = \"DIR/nowhere\"");
    live.session(20, DEVICE, &["com.example.dms"]);
    live.until("it is told", |live| live.log().contains("(GW-OBS-02)"));
    assert!(live.log().contains("nowhere cannot be read: No such file"), "{}", live.log());
}

#[test]
fn a_program_has_none_of_the_capabilities_that_the_daemon_was_given_to_pass_on() {
    const NOBODY: u32 = 65534;
    let as_nobody = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.args(["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]).arg(program);
        command
    };
    let tried = as_nobody(Path::new("true")).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return println!("left out: wants root, setpriv and CAP_NET_ADMIN");
    }
    let mut live = Live::new(23, "[events]\ndirectory = \"DIR/events.d\"");
    let directory = live.path().join("events.d");
    fs::create_dir(&directory).unwrap();
    program(&directory, "10-status", 0o755, "cat /proc/self/status > $0.out");
    let out = directory.join("10-status.out");
    // Where nobody may read, too.
    let own = live.path().join("dm-gateway");
    fs::copy(PROGRAM, &own).unwrap();
    for path in [live.path(), &directory] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut command = as_nobody(&own);
    command.arg("run").arg("--config").arg(live.config());
    live.run(command);
    live.session(20, DEVICE, &["com.example.dms"]);
    let is_told = |text: &str| text.contains("CapAmb");
    live.until("the program has run", |_| is_told(&fs::read_to_string(&out).unwrap_or_default()));
    let text = fs::read_to_string(&out).unwrap();
    let of = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        u64::from_str_radix(line, 16).unwrap()
    };
    for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(of(&text, set), 0, "{set} {text}");
    }
    // The daemon itself has it.
    let daemon = fs::read_to_string(format!("/proc/{}/status", live.pid())).unwrap();
    assert_eq!(of(&daemon, "CapEff:"), 1 << 12, "{daemon}");
}

//! The store on flash: kill -9 at any instant, planted damage, a full disk, and fdatasync.
//!
//! Tests that need another process start themselves again; `DM_GATEWAY_TEST_STORE` names the
//! directory for it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dm_gateway::gateway::seam::{Change, StoreError};
use dm_gateway::gateway::store::Store;
use dm_gateway::io::sled_store::SledStore;

const DIRECTORY: &str = "DM_GATEWAY_TEST_STORE";

fn put(key: u64, length: usize) -> Vec<Change> {
    let value = Some(value(key, length));
    vec![Change { key: key.to_be_bytes().to_vec(), value }]
}

fn value(key: u64, length: usize) -> Vec<u8> {
    key.to_be_bytes().iter().copied().cycle().take(length).collect()
}

fn keys(store: &mut SledStore) -> Vec<u64> {
    let records = store.load().unwrap().to_vec();
    records.into_iter().map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap())).collect()
}

/// A store with 200 records, closed as if by kill -9: its process is gone.
fn planted(parent: &Path) -> PathBuf {
    let directory = parent.join("store");
    let mut child = again("committer", &directory);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap() == "acknowledged 199").unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    directory
}

/// Runs the test `name` of this binary in a process of its own.
fn again(name: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn skipped(test: &str, missing: &str) {
    let required = std::env::var_os("DM_GATEWAY_REQUIRE_TOOLS").is_some_and(|v| v == "1");
    assert!(!required, "{test}: {missing}");
    println!("left out: {test}: {missing}");
}

/// The other process: commits one record after the other, and acknowledges each when durable.
#[test]
fn committer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let say = |text: String| {
        // One write each: a line is there as a whole or not at all.
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    say("\nopening\n".to_owned());
    let mut store = match SledStore::open(Path::new(&directory)) {
        Ok(store) => store,
        Err(e) => return say(format!("error {e}\n")),
    };
    let first = keys(&mut store).last().map_or(0, |last| last + 1);
    for key in first.. {
        store.commit(&[put(key, 300)]).unwrap();
        say(format!("acknowledged {key}\n"));
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_at_any_instant() {
    let kills = std::env::var("DM_GATEWAY_KILLS").map_or(100, |n| n.parse().unwrap());
    let parent = tempfile::tempdir().unwrap();
    let mut directory = PathBuf::new();
    let (mut acknowledged, mut opening) = (None, 0);
    let mut random = u64::from(std::process::id()) | 1;
    for round in 0..kills {
        if round % 200 == 0 {
            directory = parent.path().join(format!("store {round}"));
            acknowledged = None;
        }
        let mut child = again("committer", &directory);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Every other round dies while it opens the store.
        lines.find(|line| line.as_ref().unwrap() == "opening");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let wait = if round % 2 == 0 { random % 8_000 } else { random % 150_000 };
        thread::sleep(Duration::from_micros(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut any = false;
        for line in lines {
            let line = line.unwrap();
            assert!(!line.starts_with("error"), "round {round}: {line}");
            if let Some(key) = line.strip_prefix("acknowledged ") {
                acknowledged = Some(key.parse::<u64>().unwrap());
                any = true;
            }
        }
        opening += usize::from(!any);
        let mut store = SledStore::open(&directory).unwrap();
        let keys = keys(&mut store);
        let expected = acknowledged.map_or(0, |last| last as usize + 1);
        assert!(keys.len() >= expected, "round {round}: {} of {expected}", keys.len());
        assert!(keys.iter().enumerate().all(|(i, &key)| i as u64 == key), "round {round}: a gap");
        drop(store);
    }
    let names = fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().ends_with(".broken")));
    println!("{kills} kills, {opening} before the first record, {acknowledged:?} acknowledged");
}

#[test]
fn a_half_written_snapshot_of_a_killed_process_is_ignored() {
    let parent = tempfile::tempdir().unwrap();
    let directory = planted(parent.path());
    for octets in [&b""[..], b"cut"] {
        fs::write(directory.join("snap.7FFFFFFFFFFFFFFF.generating"), octets).unwrap();
        assert!(keys(&mut SledStore::open(&directory).unwrap()).len() >= 200);
    }
    assert!(!parent.path().join("store.broken").exists());
}

#[test]
fn a_store_with_damaged_snapshots_is_read_from_its_log() {
    let parent = tempfile::tempdir().unwrap();
    let directory = planted(parent.path());
    // Opening it once more makes a snapshot.
    drop(SledStore::open(&directory).unwrap());
    let mut damaged = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::write(&path, vec![0x55; 100]).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0, "there was a snapshot");
    assert!(keys(&mut SledStore::open(&directory).unwrap()).len() >= 200);
    assert!(!parent.path().join("store.broken").exists());
}

#[test]
fn a_store_damaged_beyond_repair_is_kept_once_and_an_empty_one_begun() {
    let parent = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let directory = planted(parent.path());
        fs::write(directory.join(format!("round {round}")), "").unwrap();
        fs::write(directory.join("conf"), vec![0x55; 64]).unwrap();
        let mut store = SledStore::open(&directory).unwrap();
        assert_eq!(keys(&mut store), [] as [u64; 0]);
        store.commit(&[put(7, 10)]).unwrap();
        drop(store);
        assert_eq!(keys(&mut SledStore::open(&directory).unwrap()), [7]);
        fs::remove_dir_all(&directory).unwrap();
    }
    assert!(!parent.path().join("store.broken/round 0").exists());
    assert!(parent.path().join("store.broken/round 1").exists());
}

#[test]
fn a_store_with_a_cut_or_overwritten_log_opens_with_what_is_left() {
    for damage in 0..8u64 {
        let parent = tempfile::tempdir().unwrap();
        let directory = planted(parent.path());
        if damage % 2 == 0 {
            drop(SledStore::open(&directory).unwrap());
        }
        let log = directory.join("db");
        let file = OpenOptions::new().read(true).write(true).open(&log).unwrap();
        let length = file.metadata().unwrap().len();
        match damage / 2 {
            0 => file.set_len(0).unwrap(),
            1 => file.set_len(length / 2).unwrap(),
            2 => file.set_len(12_345).unwrap(),
            _ => fs::write(&log, vec![0x55; length as usize]).unwrap(),
        }
        let mut store = SledStore::open(&directory).unwrap();
        let left = keys(&mut store).len();
        store.commit(&[put(1_000_000, 10)]).unwrap();
        drop(store);
        let broken = parent.path().join("store.broken").exists();
        println!("damage {damage}: {left} records left, moved aside: {broken}");
        assert_eq!(broken, left == 0, "an empty store is begun only after moving the old aside");
        assert!(keys(&mut SledStore::open(&directory).unwrap()).contains(&1_000_000));
    }
}

#[test]
fn a_second_process_is_told_that_another_dm_gateway_has_the_store() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state/store");
    let store = SledStore::open(&directory).unwrap();
    let output = again("committer", &directory).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("error another dm-gateway uses the store "), "{text}");
    let StoreError(text) = SledStore::open(&directory).unwrap_err();
    assert!(text.starts_with("another dm-gateway uses the store "), "{text}");
    drop(store);
    SledStore::open(&directory).unwrap();
}

#[test]
fn a_missing_state_directory_is_made_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("state/store");
    SledStore::open(&directory).unwrap();
    for directory in [&directory, &parent.path().join("state")] {
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
    let blocked = parent.path().join("file");
    fs::write(&blocked, "").unwrap();
    assert!(SledStore::open(&blocked.join("store")).is_err());
}

#[test]
fn a_batch_is_applied_in_order_and_read_back() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    let mut store = SledStore::open(&directory).unwrap();
    let remove = vec![Change { key: 1u64.to_be_bytes().to_vec(), value: None }];
    store.commit(&[put(1, 10), put(2, 10), remove.clone(), put(3, 10)]).unwrap();
    assert_eq!(keys(&mut store), [2, 3], "load after a commit sees it");
    store.commit(&[remove, put(1, 20)]).unwrap();
    store.commit(&[]).unwrap();
    drop(store);
    let records = SledStore::open(&directory).unwrap().load().unwrap().to_vec();
    assert_eq!(records.first().unwrap().1, value(1, 20));
    assert_eq!(records.len(), 3);
}

#[test]
fn every_commit_ends_with_an_fdatasync() {
    const NAME: &str = "every_commit_ends_with_an_fdatasync";
    const COMMITS: u64 = 20;
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let mut store = SledStore::open(Path::new(&directory)).unwrap();
        (0..COMMITS).for_each(|key| store.commit(&[put(key, 100)]).unwrap());
        return;
    }
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return skipped(NAME, "needs strace");
    }
    let parent = tempfile::tempdir().unwrap();
    let trace = parent.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fdatasync,fsync", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(DIRECTORY, parent.path().join("store"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let Ok(trace) = fs::read_to_string(&trace) else { return skipped(NAME, "may not trace") };
    if trace.is_empty() && !status.success() {
        return skipped(NAME, "may not trace");
    }
    assert!(status.success());
    let syncs = trace.lines().filter(|l| l.contains("fdatasync(") && l.contains("/store/db>"));
    // One more for the store's own record.
    assert_eq!(syncs.count() as u64, COMMITS + 1, "{trace}");
}

#[test]
fn a_full_disk_is_an_error_and_heals_without_a_restart() {
    const NAME: &str = "a_full_disk_is_an_error_and_heals_without_a_restart";
    if let Some(mount) = std::env::var_os(DIRECTORY) {
        return full_disk(Path::new(&mount));
    }
    let parent = tempfile::tempdir().unwrap();
    let mount = parent.path();
    let script = r#"mount -t tmpfs -o size=6m tmpfs "$0" || exit 99; exec "$@""#;
    let status = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(mount)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(DIRECTORY, mount)
        .status();
    match status.map(|status| status.code()) {
        Err(_) | Ok(Some(1 | 99)) => skipped(NAME, "needs root and unshare"),
        Ok(code) => assert_eq!(code, Some(0)),
    }
}

fn full_disk(mount: &Path) {
    let ballast = mount.join("ballast");
    let fill = || {
        let mut file = OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    };
    let directory = mount.join("store");
    let mut store = SledStore::open(&directory).unwrap();
    store.commit(&[put(0, 300)]).unwrap();
    fill();
    let end = Instant::now() + Duration::from_secs(20);
    let (failed, error) = (1..)
        .find_map(|key| {
            assert!(Instant::now() < end, "the disk never got full");
            store.commit(&[put(key, 4000)]).err().map(|error| (key, error))
        })
        .unwrap();
    assert!(error.0.contains("no space left"), "{error}");
    let StoreError(text) = store.commit(&[put(failed, 4000)]).unwrap_err();
    assert!(text.contains("no space left"), "{text}");
    fs::remove_file(&ballast).unwrap();
    store.commit(&[put(failed, 4000)]).unwrap();
    assert_eq!(keys(&mut store), (0..=failed).collect::<Vec<_>>());

    // A machine that starts with a full disk.
    drop(store);
    let empty = mount.join("other");
    fill();
    let StoreError(text) = SledStore::open(&empty).unwrap_err();
    assert!(text.contains("no space left"), "{text}");
    assert!(!mount.join("store.broken").exists());
    fs::remove_file(&ballast).unwrap();
    assert_eq!(keys(&mut SledStore::open(&directory).unwrap()).len() as u64, failed + 1);
}

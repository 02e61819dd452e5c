//! The configuration, the files that it names, the state directory, the store, certificates.

use super::{Check, Finding, Scene};
use crate::cli::table::count;
use crate::codes;
use crate::config::files::{Named, Role};
use crate::daemon::is_left_over;
use crate::gateway::health::date;
use crate::gateway::store::Store as _;
use crate::io::certificate::{Validity, validities};
use crate::io::inspect::{self, Access, Account};
use crate::io::sled_store::{self, SledStore};
use crate::io::{facts, leases, plain, read_bounded};
use crate::limits;
use crate::proto::bootstrap;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

pub(super) const CHECKS: &[Check] = &[
    Check::new(codes::CONFIG, "the configuration is valid", configuration),
    Check::new(codes::CONFIG_READ, "the service may read the configuration", configuration_file),
    Check::new(codes::CONFIG_ODD, "the configuration says nothing that is rarely meant", oddities),
    Check::new(codes::UNREADABLE, "the service may read every file of the configuration", readable),
    Check::new(codes::EXPOSED, "no secret is open to everybody", exposed),
    Check::new(codes::WRITABLE, "nobody else may change what the service believes", writable),
    Check::new(codes::STATE_DIR, "the service may write its state directory", state_directory),
    Check::new(codes::DISK_FULL, "the disk of the state directory has room", disk),
    Check::new(codes::STORE_UNREADABLE, "the store can be read", store),
    Check::new(codes::EXPIRED, "no certificate of the configuration has expired", expired),
    Check::new(codes::NOT_YET_VALID, "every certificate is valid already", not_yet_valid),
    Check::new(codes::EXPIRES, "no certificate expires within 30 days", expires),
    Check::new(codes::NO_CA, "the system has CA certificates", system_cas),
    Check::new(codes::BOOTSTRAP_FILE, "every factory file is a bootstrap document", factory_files),
    Check::new(codes::LEASES, "lease files can be read and have leases", lease_files),
];

fn configuration(scene: &Scene) -> Vec<Finding> {
    match &scene.config {
        Ok(_) => vec![Finding::ok(format!("{} is valid", scene.path.display()))],
        Err(_) if std::fs::File::open(&scene.path).is_err() => {
            vec![Finding::skipped(format!("{} cannot be read here", scene.path.display()))]
        }
        Err(error) => {
            let mut finding = Finding::fail(error.code(), "");
            finding.trouble = error.trouble();
            vec![finding]
        }
    }
}

fn configuration_file(scene: &Scene) -> Vec<Finding> {
    let user = scene.service();
    let bad = scene.written.iter().filter_map(|file| obstacle(file, &user, READ));
    let bad: Vec<_> = bad.map(|why| Finding::fail(codes::CONFIG_READ, why)).collect();
    match scene.written.len() {
        _ if !bad.is_empty() => bad,
        1 => vec![Finding::ok(format!("{} may read it", user.name))],
        number => vec![Finding::ok(format!("{} may read its {number} files", user.name))],
    }
}

fn oddities(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let warning = |text: &String| {
            let told = codes::Trouble::new(codes::CONFIG_ODD, text);
            let mut finding = Finding::warn(codes::CONFIG_ODD, told.what);
            (finding.trouble.cause, finding.trouble.next) = (told.cause, told.next);
            finding
        };
        some(config.warnings.iter().map(warning).collect())
    })
}

fn readable(scene: &Scene) -> Vec<Finding> {
    let user = scene.service();
    let bad = scene.files.iter().filter_map(|file| {
        let why = obstacle(&file.path, &user, READ)?;
        let path = file.path.display();
        let finding = Finding::fail(codes::UNREADABLE, format!("`{}`: {why}", file.key));
        Some(finding.then(format!("chown root:{} {path}; chmod 640 {path}", user.name)))
    });
    some_of_named(scene, bad.collect())
}

fn exposed(scene: &Scene) -> Vec<Finding> {
    let secrets = scene.files.iter().filter(|file| file.role == Role::Secret);
    let open = secrets.filter(|file| others(&file.path) & READ != 0);
    let open = open.map(|file| complain(file, codes::EXPOSED, "read", "chmod o-rwx"));
    some_of_named(scene, open.collect())
}

fn writable(scene: &Scene) -> Vec<Finding> {
    let open = scene.files.iter().filter(|file| others(&file.path) & WRITE != 0);
    let mut found: Vec<_> =
        open.map(|file| complain(file, codes::WRITABLE, "change", "chmod o-w")).collect();
    let open = scene.written.iter().filter(|file| others(file) & WRITE != 0);
    found.extend(open.map(|file| {
        let what = format!("everybody may change {}", file.display());
        Finding::warn(codes::WRITABLE, what).then(format!("chmod o-w {}", file.display()))
    }));
    some_of_named(scene, found)
}

/// What was found of the files that the configuration names, if it tells which they are.
fn some_of_named(scene: &Scene, found: Vec<Finding>) -> Vec<Finding> {
    let unread = [codes::CONFIG_READ, codes::CONFIG_SYNTAX];
    match &scene.config {
        Err(error) if found.is_empty() && unread.contains(&error.code()) => {
            vec![Finding::skipped("the configuration does not tell its files: it cannot be read")]
        }
        _ => some(found),
    }
}

fn complain(file: &Named, code: codes::Code, verb: &str, remedy: &str) -> Finding {
    let path = file.path.display();
    Finding::warn(code, format!("everybody may {verb} {path} (`{}`)", file.key))
        .then(format!("{remedy} {path}"))
}

fn state_directory(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let (path, user) = (&config.state_dir, scene.service());
        if !path.exists() {
            let what = format!("there is no {} yet: the daemon makes it", path.display());
            let parent = path.parent().unwrap_or(path);
            return vec![match obstacle(parent, &user, WRITE | SEARCH) {
                None => Finding::ok(what),
                Some(why) => Finding::fail(codes::STATE_DIR, why),
            }];
        }
        match obstacle(path, &user, READ | WRITE | SEARCH) {
            None => vec![Finding::ok(format!("{} may write {}", user.name, path.display()))],
            Some(why) => vec![Finding::fail(codes::STATE_DIR, why).then(format!(
                "chown -R {} {}; chmod 700 {}",
                user.name,
                path.display(),
                path.display()
            ))],
        }
    })
}

fn disk(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let there = config.state_dir.ancestors().find(|path| path.exists());
        let there = there.unwrap_or_else(|| Path::new("/"));
        match facts::disk(there) {
            Err(error) => vec![Finding::skipped(format!("{}: {}", there.display(), plain(&error)))],
            Ok(disk) => match disk.trouble() {
                None => {
                    let (free, size) = (disk.free >> 20, disk.size >> 20);
                    vec![Finding::ok(format!("{free} of {size} MiB are free"))]
                }
                Some((code, what)) => {
                    let next = format!("df -h {0}; df -i {0}; and make room", there.display());
                    vec![if code == codes::DISK_FULL {
                        Finding::fail(code, what).then(next)
                    } else {
                        Finding::warn(code, what).then(next)
                    }]
                }
            },
        }
    })
}

/// A copy is opened: to open a store is to repair it, and that is the daemon's.
fn store(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let directory = config.state_dir.join("store");
        if !directory.exists() {
            return vec![Finding::ok("there is no store yet: the daemon makes it")];
        }
        let lock = OpenOptions::new().read(true).open(config.state_dir.join("store.lock"));
        let held = lock.ok().map(|file| Flock::lock(file, FlockArg::LockSharedNonblock));
        if matches!(held, Some(Err(_))) {
            return vec![Finding::ok("the daemon has it open")];
        }
        // Held until the end: no daemon may start on a store that is being copied.
        let copied = opened(&directory);
        drop(held);
        match copied {
            Ok(records) => {
                vec![Finding::ok(format!("a copy of it has {}", count(records as u64, "record")))]
            }
            Err((Some(code), why)) => vec![Finding::fail(code, why)],
            Err((None, why)) => vec![Finding::skipped(why)],
        }
    })
}

/// How many records a copy of the store has; or why not, with a code if the store is at fault.
fn opened(directory: &Path) -> Result<usize, (Option<codes::Code>, String)> {
    let place = std::env::temp_dir().join(format!("dm-gateway-check-{}", std::process::id()));
    let copied = inspect::copy(directory, &place, limits::STORE_COPY);
    let result = match copied {
        Err(error) => Err((None, format!("it cannot be copied: {}", plain(&error)))),
        Ok(_) => SledStore::open(&place)
            .and_then(|mut store| store.load())
            .map(|records| records.iter().len())
            .map_err(|error| {
                let code = sled_store::code(&error).unwrap_or(codes::STORE_UNREADABLE);
                (Some(code), codes::Trouble::new(code, &error.0).what)
            }),
    };
    for leftover in [place.clone(), place.with_extension("lock"), beside(&place, ".broken")] {
        let _ = fs::remove_dir_all(&leftover);
    }
    let _ = fs::remove_file(beside(&place, ".lock"));
    result
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn expired(scene: &Scene) -> Vec<Finding> {
    certificates(scene, |path, it| {
        (it.not_after < scene.now).then(|| {
            let (end, now) = (date(it.not_after), date(scene.now));
            let what = format!("a certificate in {} expired on {end}", path.display());
            Finding::fail(codes::EXPIRED, what)
                .because(format!("{}; the clock says {now}", codes::EXPIRED.cause))
        })
    })
}

fn not_yet_valid(scene: &Scene) -> Vec<Finding> {
    certificates(scene, |path, it| {
        (it.not_before > scene.now).then(|| {
            let (from, now) = (date(it.not_before), date(scene.now));
            let what = format!("a certificate in {} is not valid before {from}", path.display());
            Finding::fail(codes::NOT_YET_VALID, what)
                .because(format!("{}; the clock says {now}", codes::NOT_YET_VALID.cause))
        })
    })
}

fn expires(scene: &Scene) -> Vec<Finding> {
    certificates(scene, |path, it| {
        let soon = it.not_after >= scene.now && it.not_after - scene.now < limits::EXPIRES_SOON;
        soon.then(|| {
            let end = date(it.not_after);
            Finding::warn(
                codes::EXPIRES,
                format!("a certificate in {} expires on {end}", path.display()),
            )
        })
    })
}

/// Judges every certificate that the configuration names.
fn certificates(
    scene: &Scene,
    judge: impl Fn(&Path, &Validity) -> Option<Finding>,
) -> Vec<Finding> {
    let files = scene.files.iter().filter(|file| file.role == Role::Certificate);
    let mut any = false;
    let mut bad = Vec::new();
    for file in files {
        let Ok(pem) = read_bounded(&file.path, limits::TRUST_FILE as usize) else { continue };
        for validity in validities(&pem) {
            any = true;
            bad.extend(judge(&file.path, &validity));
        }
    }
    if any { some(bad) } else { vec![Finding::skipped("the configuration names no certificate")] }
}

fn system_cas(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        use crate::io::dm_client::Roots;
        let trusts = config.client.trust.values().chain([&config.client.bootstrap_trust]);
        match crate::io::dm_client::Trust::default().check() {
            Ok(()) => vec![Finding::ok("")],
            Err(_) if trusts.clone().all(|trust| trust.roots != Roots::SystemBundle) => {
                vec![Finding::skipped("every server has a `trust` of its own")]
            }
            Err(why) => vec![Finding::warn(codes::NO_CA, why)],
        }
    })
}

fn factory_files(scene: &Scene) -> Vec<Finding> {
    scene.configured(|config| {
        let user = scene.service();
        let (mut bad, mut good) = (Vec::new(), 0);
        for directory in &config.client.directories {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths.iter().filter(|path| path.is_file() && !is_left_over(path)) {
                match factory_file(path, &user) {
                    Ok(()) => good += 1,
                    Err(why) => {
                        let what = format!("{}: {why}", path.display());
                        bad.push(Finding::fail(codes::BOOTSTRAP_FILE, what));
                    }
                }
            }
        }
        if bad.is_empty() { vec![Finding::ok(format!("{good} factory files"))] } else { bad }
    })
}

fn factory_file(path: &Path, user: &Account) -> Result<(), String> {
    if let Some(why) = obstacle(path, user, READ) {
        return Err(why);
    }
    let document = read_bounded(path, limits::BOOTSTRAP).map_err(|error| plain(&error))?;
    let accounts = bootstrap::read(&document, bootstrap::Source::Factory);
    accounts.map(drop).map_err(|fault| fault.to_string())
}

fn lease_files(scene: &Scene) -> Vec<Finding> {
    let files: Vec<_> = scene.files.iter().filter(|file| file.role == Role::Leases).collect();
    if files.is_empty() {
        return vec![Finding::skipped("no LAN has a lease-file")];
    }
    let judge = |file: &&Named| {
        let path = file.path.display();
        match read_bounded(&file.path, limits::LEASE_FILE) {
            Err(error) => Finding::fail(codes::LEASES, format!("{path}: {}", plain(&error))),
            Ok(octets) if octets.is_empty() => Finding::ok(format!("{path} has no lease yet")),
            Ok(octets) => match leases::parse(&octets).len() {
                0 => Finding::warn(codes::LEASES, format!("{path} has no lease that can be read")),
                number => Finding::ok(format!("{path} has {}", count(number as u64, "lease"))),
            },
        }
    };
    files.iter().map(judge).collect()
}

// --- Who may do what with a file ------------------------------------------------------------------

const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;

/// What keeps a user from a path, if anything does.
fn obstacle(path: &Path, user: &Account, wanted: u32) -> Option<String> {
    let parts = match inspect::accesses(path) {
        Ok(parts) => parts,
        Err((part, error)) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!("there is no {}", part.display()));
        }
        Err((part, error)) => return Some(format!("{}: {}", part.display(), plain(&error))),
    };
    let last = parts.len() - 1;
    let bad = parts.iter().enumerate().find_map(|(index, (part, access))| {
        let wanted = if index == last { wanted } else { SEARCH };
        (!may(*access, user, wanted)).then_some((part, access, wanted))
    });
    let (part, access, wanted) = bad?;
    let verb = match wanted {
        READ => "read",
        SEARCH => "enter",
        _ => "write",
    };
    let (part, name) = (part.display(), &user.name);
    let (mode, uid) = (access.mode & 0o7777, access.uid);
    Some(format!("{name} may not {verb} {part}, whose mode is {mode:03o} and owner {uid}"))
}

/// The kernel's own rule: the first of owner, group and others that fits decides. Root may all.
fn may(access: Access, user: &Account, wanted: u32) -> bool {
    let bits = if user.uid == access.uid {
        access.mode >> 6
    } else if user.groups.contains(&access.gid) {
        access.mode >> 3
    } else {
        access.mode
    };
    user.uid == 0 || bits & wanted == wanted
}

/// What everybody may do with a file that all may reach.
fn others(path: &Path) -> u32 {
    let Ok(parts) = inspect::accesses(path) else { return 0 };
    let Some(((_, access), directories)) = parts.split_last() else { return 0 };
    let reachable = directories.iter().all(|(_, directory)| directory.mode & SEARCH != 0);
    if reachable { access.mode & 7 } else { 0 }
}

/// What was found; all is well if that is nothing.
fn some(found: Vec<Finding>) -> Vec<Finding> {
    if found.is_empty() { vec![Finding::ok("")] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_owner_group_and_others_that_fits_decides() {
        let user = |uid, groups: &[u32]| Account { name: "x".into(), uid, groups: groups.into() };
        let file = |mode| Access { uid: 7, gid: 70, mode };
        assert!(may(file(0o400), &user(7, &[]), READ));
        assert!(!may(file(0o077), &user(7, &[70]), READ), "the owner's bits count for the owner");
        assert!(may(file(0o640), &user(8, &[70]), READ));
        assert!(!may(file(0o640), &user(8, &[71]), READ));
        assert!(!may(file(0o604), &user(8, &[70]), READ));
        assert!(may(file(0), &user(0, &[]), READ | WRITE));
        assert!(!may(file(0o750), &user(8, &[70]), READ | WRITE));
    }
}

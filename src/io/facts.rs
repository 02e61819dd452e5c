//! What the system knows of itself, read when somebody asks: the disk, the clock.

use std::path::Path;
use std::{fs, io};

use nix::sys::statvfs::statvfs;

use crate::gateway::health::Disk;

/// Where systemd-timesyncd tells, by a file, that the clock is synchronised.
const TIMESYNC: &str = "run/systemd/timesync";

/// Other keepers of the clock: a file that is there from the start of one, and what it writes, once
/// an hour, of a clock that it has synchronised.
const KEEPERS: [(&[&str], &[&str]); 2] = [
    (
        &["run/chrony/chronyd.pid", "run/chronyd.pid"],
        &["var/lib/chrony/chrony.drift", "var/lib/chrony/drift"],
    ),
    (
        &["run/ntpd.pid", "run/ntp.pid"],
        &["var/lib/ntpsec/ntp.drift", "var/lib/ntp/ntp.drift", "var/lib/ntp/drift"],
    ),
];

/// The disk that a path is on.
///
/// # Errors
/// There is no such path, or it may not be looked at.
#[allow(clippy::useless_conversion, reason = "they have 32 bits where a long has")]
pub fn disk(path: &Path) -> io::Result<Disk> {
    let found = statvfs(path)?;
    let fragment = u64::from(found.fragment_size());
    Ok(Disk {
        size: u64::from(found.blocks()) * fragment,
        free: u64::from(found.blocks_available()) * fragment,
        files: (found.files() > 0).then(|| u64::from(found.files_available())),
    })
}

/// Whether a time server keeps the clock; `None` where no file tells: that of systemd-timesyncd does
/// at once, those of chrony and ntpd an hour after their start, and only to who may look at them.
pub fn synchronised() -> Option<bool> {
    synchronised_below(Path::new("/"))
}

fn synchronised_below(root: &Path) -> Option<bool> {
    let timesync = root.join(TIMESYNC);
    if timesync.join("synchronized").exists() {
        return Some(true);
    }
    let written = |name: &&str| fs::metadata(root.join(name)).ok()?.modified().ok();
    let keeps = |(began, drift): &(&[&str], &[&str])| {
        let began = began.iter().find_map(written);
        began.is_some() && drift.iter().any(|drift| written(drift) > began)
    };
    if KEEPERS.iter().any(keeps) {
        return Some(true);
    }
    timesync.exists().then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn whether_the_clock_is_kept_is_told_by_the_files_of_who_keeps_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, time: SystemTime| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::File::create(path).unwrap().set_modified(time).unwrap();
        };
        let ask = || synchronised_below(root.path());
        let start = SystemTime::now() - Duration::from_secs(9000);
        assert_eq!(ask(), None);
        write("var/lib/chrony/chrony.drift", start - Duration::from_secs(1));
        assert_eq!(ask(), None, "chrony does not run");
        write("run/chrony/chronyd.pid", start);
        assert_eq!(ask(), None, "it wrote nothing since its start");
        write("var/lib/chrony/chrony.drift", start + Duration::from_secs(3600));
        assert_eq!(ask(), Some(true));
        fs::remove_dir_all(root.path().join("var")).unwrap();
        fs::create_dir_all(root.path().join(TIMESYNC)).unwrap();
        assert_eq!(ask(), Some(false));
        write("run/systemd/timesync/synchronized", start);
        assert_eq!(ask(), Some(true));
    }
}

//! What the system knows of itself, read when somebody asks: the disk, the clock.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::gateway::health::Disk;

/// Where systemd-timesyncd tells, by a file, that the clock is synchronised.
const TIMESYNC: &str = "/run/systemd/timesync";

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

/// Whether a time server keeps the clock; `None` where nobody here can tell.
pub fn synchronised() -> Option<bool> {
    let timesync = Path::new(TIMESYNC);
    if timesync.join("synchronized").exists() {
        return Some(true);
    }
    timesync.exists().then_some(false)
}

//! The only reader of clocks and entropy.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::gateway::seam::Now;

/// Reads the clocks, relative to when it was started, and the kernel's random numbers.
#[derive(Debug)]
pub struct Clock {
    start: Duration,
    random: File,
}

impl Clock {
    /// Starts the uptime at zero.
    ///
    /// # Errors
    ///
    /// There is no `/dev/urandom`.
    pub fn start() -> io::Result<Self> {
        let random = File::open("/dev/urandom")
            .map_err(|e| io::Error::new(e.kind(), format!("cannot open /dev/urandom: {e}")))?;
        Ok(Self { start: since_boot(), random })
    }

    /// This moment. The uptime goes on while the machine is suspended.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            uptime: since_boot().saturating_sub(self.start),
            unix: unix.unwrap_or_default().as_secs(),
        }
    }

    /// 32 octets that nobody can foresee.
    ///
    /// # Panics
    ///
    /// Never on Linux, where an open `/dev/urandom` can always be read.
    pub fn entropy(&self) -> [u8; 32] {
        let mut octets = [0; 32];
        (&self.random).read_exact(&mut octets).expect("an open /dev/urandom can be read");
        octets
    }

    /// A number that nobody can foresee.
    pub fn random(&self) -> u64 {
        let octets = self.entropy();
        octets.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets))
    }
}

/// CLOCK_BOOTTIME: never jumps, and counts the time asleep.
pub(super) fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has CLOCK_BOOTTIME since 2.6.39").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_starts_at_zero_and_goes_forward() {
        let clock = Clock::start().unwrap();
        let first = clock.now();
        assert!(first.uptime < Duration::from_secs(1));
        assert!(clock.now().uptime >= first.uptime);
    }

    #[test]
    fn entropy_differs_each_time() {
        let clock = Clock::start().unwrap();
        assert_ne!(clock.entropy(), clock.entropy());
    }
}
